"""The devices of a benchmark: made by cradle-bench load-devices as an import makes them, in a database
that nobody else uses meanwhile."""
import json

from bench_stack import Failed

TABLES = "('device'::regclass, 'device_key'::regclass, 'device_join'::regclass)"
# What can be made in one go when the rows are there: indexes that hold no row back, and foreign keys. The
# latter look at every row when they are made.
INDEXES = f"FROM pg_index i WHERE indrelid IN {TABLES} AND NOT indisunique"
FOREIGN_KEYS = f"FROM pg_constraint WHERE conrelid IN {TABLES} AND contype = 'f'"
DROP = ("SELECT format('DROP INDEX %s', indexrelid::regclass) " + INDEXES,
        "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) " + FOREIGN_KEYS)
MAKE = ("SELECT pg_get_indexdef(indexrelid) " + INDEXES,
        "SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) "
        + FOREIGN_KEYS)
# What joins look into beside those.
READ = f"{TABLES[:-1]}, 'dev_nonce_page'::regclass)"
SORTING_MEMORY = "512MB"
# A database that has run for a while has its WAL segments (min_wal_size of scripts/run): without them the
# first minutes would measure how fast files are made.
WAL_SEGMENTS = 64


def make_wal_segments(stack):
    stack.psql.ask("\n".join("SELECT pg_logical_emit_message(false, 'bench', ''); SELECT pg_switch_wal();"
                             for _ in range(WAL_SEGMENTS)) + "CHECKPOINT")


def statements(stack, queries):
    return [statement for query in queries for statement in stack.psql.ask(query)]


def settle(stack):
    """What time does to tables: they are vacuumed, in the cache of the machine, and no longer dirty."""
    stack.psql.ask("VACUUM ANALYZE device, device_key, device_join, dev_nonce_page; CREATE EXTENSION IF NOT EXISTS pg_prewarm")
    stack.psql.ask(f"SELECT pg_prewarm(indrelid, 'read') FROM (SELECT DISTINCT indrelid FROM pg_index WHERE indrelid IN {READ}) t; "
                   f"SELECT pg_prewarm(indexrelid, 'read') FROM pg_index WHERE indrelid IN {READ}; CHECKPOINT")


def load(stack, **options):
    """Seconds that it took to make them, everything that the schema has included."""
    again = statements(stack, MAKE)
    for statement in statements(stack, DROP):
        stack.psql.ask(statement)
    process = stack.bench("load-devices", **options)
    lines = process.stdout.read().splitlines()
    if process.wait() != 0:
        raise Failed("cradle-bench load-devices failed: the reason is above.")
    stack.psql.ask(f"SET maintenance_work_mem = '{SORTING_MEMORY}'")
    began = stack.psql.ask("SELECT clock_timestamp()")[0]
    for statement in again:
        stack.psql.ask(statement)
    seconds = float(stack.psql.ask(f"SELECT extract(epoch FROM clock_timestamp() - '{began}')")[0])
    settle(stack)
    return json.loads(lines[-1])["seconds"] + seconds


def sizes(stack):
    """MiB of each table of the devices with its indexes, and of the whole database."""
    rows = stack.psql.ask(f"SELECT c::regclass::text, pg_total_relation_size(c) FROM unnest(ARRAY[{TABLES[1:-1]}]) c "
                          "UNION ALL SELECT 'database', pg_database_size(current_database())")
    return {name: round(int(size) / 2**20) for name, size in (row.split("|") for row in rows)}
