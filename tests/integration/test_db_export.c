#include "db/export.h"

#include "base/error.h"
#include "tests/integration/db_fixture.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEM "-----BEGIN PUBLIC KEY-----\n"
#define DEVICES 100
#define MANY "4000"
#define READ_A_DEVICE 10 /* rows and index entries that may be read for a device of a chunk */

static struct db *one, *two;
static uint8_t client[ACCOUNT_ID_LEN] = {7};
static int64_t organization;
static struct db_export_row rows[DB_EXPORT_ROWS_MAX];

static void setup(void)
{
    one = open_as("cradle_activation");
    two = open_as("cradle_activation");
}

static void teardown(void)
{
    db_close(one);
    db_close(two);
}

static int64_t number(const char *sql)
{
    return pg_number(cluster, database, sql);
}

static void sql(const char *text)
{
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

/* Devices of one organization with a client. */
static void populate(uint32_t n, enum lw_mac_version version)
{
    make_devices(1, n, version);
    organization = number("SELECT min(organization_id) FROM device");
    sql("INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT '\\x07000000000000000000000000000000', min(organization_id), 2, sha256('')"
        " FROM device");
}

static struct db_job add(enum db_export_format format)
{
    struct db_export_order order = {.format = format, .request_id = "r"};
    struct db_job job;

    if (format == EXPORT_CRADLE_JSONL)
        (void)snprintf(order.public_key, sizeof(order.public_key), PEM);
    ck_ok(db_export_add(one, organization, client, &order, &job));
    ck_assert_int_eq(job.state, JOB_WAITING);
    ck_assert_int_eq(job.kind, JOB_EXPORT);
    return job;
}

static struct db_export take(struct db *db)
{
    struct db_export export;

    ck_ok(db_export_take(db, true, &export));
    return export;
}

static bool none_to_take(struct db *db, bool may_export_keys)
{
    struct db_export export;

    return db_export_take(db, may_export_keys, &export) == 1;
}

/* A chunk of `n` devices as a worker commits it; what db_export_expose says. */
static int chunk(struct db *db, struct db_export *export, size_t n)
{
    struct eui64 dev_euis[DB_EXPORT_ROWS_MAX];
    size_t n_rows;
    int r;

    ck_ok(db_export_load(db, export, rows, &n_rows));
    ck_assert_uint_ge(n_rows, n);
    for (size_t i = 0; i < n; i++)
        dev_euis[i] = rows[i].record.dev_eui;
    ck_ok(db_begin(db));
    ck_ok(db_export_advance(db, export, &dev_euis[n - 1], (int64_t)n, 0));
    if ((r = db_export_expose(db, export, dev_euis, n)) == 0)
        r = db_export_write(db, export, "piece\n", 6);
    if (r == 0)
        ck_ok(db_commit(db));
    else
        db_rollback(db);
    return r;
}

START_TEST(a_job_is_taken_once_and_the_oldest_first)
{
    struct db_export first, second;
    struct db_job a, b;

    populate(1, LW_MAC_1_0_3);
    ck_assert(none_to_take(one, true));
    a = add(EXPORT_CRADLE_JSONL);
    b = add(EXPORT_TTS_CSV);
    first = take(one);
    second = take(two);
    ck_assert_int_eq(first.job.row_id, a.row_id);
    ck_assert_int_eq(second.job.row_id, b.row_id);
    ck_assert(none_to_take(one, true));
    ck_assert_int_eq(first.job.state, JOB_RUNNING);
    ck_assert_str_eq(first.order.public_key, PEM);
    ck_assert_str_eq(second.order.public_key, "");
    ck_assert_mem_eq(first.client_id, client, sizeof(client));
    ck_assert(!first.has_last);
}
END_TEST

/* The job of the next turn, which is over at once. */
static int64_t turn_of(void)
{
    struct db_export export = take(one);

    ck_ok(db_export_put_back(one, &export, 0));
    return export.job.row_id;
}

START_TEST(organizations_take_turns_and_so_do_their_exports)
{
    struct db_export export;
    int64_t a[2], b, c;

    populate(1, LW_MAC_1_0_3);
    for (size_t i = 0; i < 2; i++)
        a[i] = add(EXPORT_TTS_CSV).row_id;
    ck_assert_int_eq(turn_of(), a[0]);
    sql("INSERT INTO organization (name) VALUES ('other')");
    organization = number("SELECT id FROM organization WHERE name = 'other'");
    b = add(EXPORT_TTS_CSV).row_id;
    ck_assert_int_eq(turn_of(), b);
    ck_assert_int_eq(turn_of(), a[1]);
    ck_assert_int_eq(turn_of(), b);
    ck_assert_int_eq(turn_of(), a[0]);
    /* Who always has a fresh one does not come first by that. */
    export = take(one);
    ck_assert_int_eq(export.job.row_id, b);
    ck_ok(db_export_end(one, &export, JOB_DONE, NULL));
    c = add(EXPORT_TTS_CSV).row_id;
    ck_assert_int_eq(turn_of(), a[1]);
    ck_assert_int_eq(turn_of(), c);
    ck_assert_int_eq(turn_of(), a[0]);
}
END_TEST

START_TEST(faults_in_a_row_are_counted_until_a_chunk_is_done)
{
    struct db_export export;

    populate(2, LW_MAC_1_0_3);
    (void)add(EXPORT_CRADLE_JSONL);
    for (int i = 0; i < 3; i++) {
        export = take(one);
        ck_assert_int_eq(export.n_broken, i);
        export.n_broken++;
        ck_ok(db_export_put_back(one, &export, 0));
    }
    export = take(one);
    ck_assert_int_eq(chunk(one, &export, 1), 0);
    ck_assert_int_eq(export.n_broken, 0);
    ck_ok(db_export_put_back(one, &export, 0));
    ck_assert_int_eq(take(one).n_broken, 0);
}
END_TEST

START_TEST(each_turn_tells_whether_its_client_was_revoked)
{
    struct db_export export;

    populate(1, LW_MAC_1_0_3);
    (void)add(EXPORT_CRADLE_JSONL);
    export = take(one);
    ck_assert(!export.is_revoked);
    ck_ok(db_export_put_back(one, &export, 0));
    sql("UPDATE client SET revoked_at = now()");
    ck_assert(take(one).is_revoked);
}
END_TEST

START_TEST(a_statement_without_memory_is_no_fault_of_the_program)
{
    struct db_params *p = db_params_of(one);

    p->failed = p->no_memory = true;
    ck_assert_int_eq(db_run_quiet(one, DB_EXPORT_SWEEP), ERROR_SYSTEM);
    p = db_params_of(one);
    p->failed = true;
    ck_assert_int_eq(db_run_quiet(one, DB_EXPORT_SWEEP), ERROR_INTERNAL);
    ck_ok(db_export_sweep(one));
}
END_TEST

START_TEST(one_that_is_being_taken_is_not_waited_for)
{
    struct db_job second;
    struct db_export export;

    populate(1, LW_MAC_1_0_3);
    (void)add(EXPORT_CRADLE_JSONL);
    second = add(EXPORT_CRADLE_JSONL);
    ck_ok(db_begin(two));
    (void)take(two);
    ck_ok(db_export_take(one, true, &export)); /* waiting would end this test by its time limit */
    ck_assert_int_eq(export.job.row_id, second.row_id);
    db_rollback(two);
}
END_TEST

START_TEST(keys_are_for_those_who_may_export_them)
{
    struct db_export export;
    struct db_job plain;

    populate(1, LW_MAC_1_0_3);
    (void)add(EXPORT_CRADLE_JSONL);
    ck_assert(none_to_take(one, false));
    plain = add(EXPORT_THINGPARK_CSV);
    ck_ok(db_export_take(one, false, &export));
    ck_assert_int_eq(export.job.row_id, plain.row_id);
}
END_TEST

START_TEST(a_chunk_moves_on_marks_and_writes_together)
{
    struct db_export export;
    struct db_job job;

    populate(DEVICES, LW_MAC_1_0_3);
    job = add(EXPORT_CRADLE_JSONL);
    export = take(one);
    ck_assert_int_eq(chunk(one, &export, DB_EXPORT_ROWS_MAX), 0);
    ck_assert_int_eq(export.job.line, DB_EXPORT_ROWS_MAX);
    ck_assert_int_eq(
        number("SELECT count(*) FROM device WHERE exposed_since IS NOT NULL"), DB_EXPORT_ROWS_MAX);
    ck_assert_int_eq(number("SELECT count(DISTINCT object) FROM audit_event"
                            " WHERE action = 'device.export' AND request_id = 'r'"),
        DB_EXPORT_ROWS_MAX);
    ck_assert_int_eq(number("SELECT count(*) FROM job_part"), 1);
    /* The next one begins behind it. */
    sql("UPDATE job SET lease_until = now()");
    export = take(two);
    ck_assert_int_eq(export.job.row_id, job.row_id);
    ck_assert_int_eq(export.job.line, DB_EXPORT_ROWS_MAX);
    ck_assert_int_eq(chunk(two, &export, DEVICES - DB_EXPORT_ROWS_MAX), 0);
    ck_assert_mem_eq(
        rows[0].record.dev_eui.bytes, eui_of(1 + DB_EXPORT_ROWS_MAX).bytes, sizeof(struct eui64));
    ck_assert_int_eq(number("SELECT max(n) FROM job_part"), 2);
}
END_TEST

START_TEST(who_was_overtaken_moves_nothing)
{
    struct db_export old, new;
    struct eui64 last = eui_of(1);

    populate(3, LW_MAC_1_0_3);
    (void)add(EXPORT_CRADLE_JSONL);
    old = take(one);
    ck_assert(none_to_take(two, true)); /* it is held */
    sql("UPDATE job SET lease_until = now()");
    new = take(two);
    ck_assert_int_eq(new.job.turn, old.job.turn + 1);
    ck_assert_int_eq(db_export_advance(one, &old, &last, 1, 0), 1);
    ck_assert_int_eq(db_export_end(one, &old, JOB_DONE, NULL), 1);
    ck_ok(db_export_put_back(one, &old, 0));
    ck_assert_int_eq(number("SELECT count(*) FROM job WHERE state = 'running' AND line = 0"), 1);
    ck_assert_int_eq(chunk(two, &new, 3), 0);
    ck_ok(db_export_end(two, &new, JOB_DONE, NULL));
    ck_assert_int_eq(db_export_end(two, &new, JOB_FAILED, NULL), 1);
}
END_TEST

START_TEST(a_device_that_may_not_go_any_more_stops_the_chunk)
{
    static const char *const changes[] = {
        "UPDATE device SET trust = 'quarantined' WHERE dev_eui = (SELECT dev_eui FROM device ORDER BY dev_eui DESC LIMIT 1)",
        "UPDATE device SET trust = 'ok', credential = 'scrapped'"
        " WHERE dev_eui = (SELECT dev_eui FROM device ORDER BY dev_eui DESC LIMIT 1)",
        "WITH o AS (INSERT INTO organization (name) VALUES ('other') RETURNING id)"
        " UPDATE device SET credential = 'activable', ownership = 'claimed', owner_id = o.id FROM o"
        " WHERE dev_eui = (SELECT dev_eui FROM device ORDER BY dev_eui DESC LIMIT 1)"};
    struct db_export export;

    populate(2, LW_MAC_1_0_3);
    (void)add(EXPORT_CRADLE_JSONL);
    export = take(one);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct db_export before = export;
        struct eui64 both[2];
        size_t n;

        if (i == 0)
            ck_ok(db_export_load(one, &export, rows, &n));
        both[0] = rows[0].record.dev_eui;
        both[1] = rows[1].record.dev_eui;
        sql(changes[i]);
        ck_ok(db_begin(one));
        ck_ok(db_export_advance(one, &export, &both[1], 2, 0));
        ck_assert_int_eq(db_export_expose(one, &export, both, 2), 1);
        db_rollback(one);
        export = before;
    }
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE exposed_since IS NOT NULL"), 0);
    ck_assert_int_eq(chunk(one, &export, 1), 0); /* the other one is still there */
}
END_TEST

/* Two organizations with devices that came in owned and others that nobody owns, keys of their own
 * each; the first one's are of two batches. */
static void populate_many(void)
{
    make_devices(1, 2, LW_MAC_1_1);
    organization = number("SELECT id FROM organization WHERE name = 'maker'");
    sql("INSERT INTO organization (name) VALUES ('other')");
    sql("INSERT INTO batch (organization_id, format) VALUES"
        " ((SELECT id FROM organization WHERE name = 'maker'), 'csv')");
    sql("INSERT INTO device (dev_eui, join_eui, mac_version, organization_id, batch_id, batch_line,"
        "  owner_id, credential, ownership)"
        " SELECT int8send(g + (1::int8 << 40)), '\\x70b3d5ff00000001', '1.1', o.id,"
        "  CASE WHEN o.name = 'maker' THEN (SELECT CASE WHEN g % 3 = 0 THEN max(id) ELSE min(id) END"
        "   FROM batch) END, g, CASE WHEN g % 10 <> 0 THEN o.id END, 'activable',"
        "  CASE WHEN g % 10 <> 0 THEN 'claimed' ELSE 'unowned' END"
        " FROM generate_series(1, " MANY ") g, organization o"
        " WHERE o.name = CASE WHEN g % 2 = 0 THEN 'maker' ELSE 'other' END");
    sql("INSERT INTO device_join (dev_eui) SELECT dev_eui FROM device ON CONFLICT DO NOTHING");
    sql("INSERT INTO device_key (dev_eui, slot, kek_label, blob, tag, fingerprint)"
        " SELECT dev_eui, slot, 'store-device.1', decode(repeat('00', 24), 'hex'), sha256(''),"
        "  substr(sha256(dev_eui || slot::text::bytea), 1, 16)"
        " FROM device, generate_series(1, 2) slot ON CONFLICT DO NOTHING");
}

/* What was read of these tables, in rows and index entries. A session of the fixture's reports when
 * it ends, which may be behind the answer. */
static int64_t n_read(struct db *db)
{
    ck_ok(db_exec(db, "SELECT pg_stat_force_next_flush()", false));
    while (number("SELECT count(*) FROM pg_stat_activity"
                  " WHERE backend_type = 'client backend' AND usename = 'postgres'"
                  " AND pid <> pg_backend_pid()") > 0)
        (void)poll(NULL, 0, 1);
    return number("SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables"
                  "  WHERE relname IN ('device', 'device_key', 'device_join'))"
                  " + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes"
                  "  WHERE relname IN ('device', 'device_key', 'device_join'))");
}

/* The whole walk, chunk by chunk. */
static void check_reads(struct db *db, struct db_export *export)
{
    int64_t before = n_read(db);
    size_t n;

    *export = (struct db_export){.job.organization_id = organization, .order = export->order};
    do {
        ck_ok(db_export_load(db, export, rows, &n));
        if (n > 0)
            export->last = rows[n - 1].record.dev_eui;
        export->has_last = true;
        export->job.line += (int64_t)n;
    } while (n > 0);
    ck_assert_int_le(n_read(db) - before, (export->job.line + DB_EXPORT_ROWS_MAX) * READ_A_DEVICE);
}

START_TEST(a_chunk_reads_its_own_devices_and_no_others)
{
    struct db_export whole = {0}, batch = {0};

    /* Plans of a database with next to nothing in it do not stay: autovacuum analyzes what grows.
     */
    batch.order.of_batch = 1;
    check_reads(one, &whole);
    check_reads(one, &batch);
    populate_many();
    sql("ANALYZE");
    batch.order.of_batch = number("SELECT max(id) FROM batch");
    check_reads(one, &whole);
    ck_assert_int_eq(whole.job.line,
        number("SELECT count(*) FROM device WHERE coalesce(owner_id, organization_id) ="
               " (SELECT id FROM organization WHERE name = 'maker')"));
    check_reads(one, &batch);
    ck_assert_int_eq(batch.job.line,
        number("SELECT count(*) FROM device WHERE batch_id = (SELECT max(id) FROM batch)"));
    /* Nor are devices read again and again that were sold. */
    sql("UPDATE device SET owner_id = (SELECT id FROM organization WHERE name = 'other')"
        " WHERE organization_id = (SELECT id FROM organization WHERE name = 'maker')"
        " AND owner_id IS NOT NULL");
    sql("VACUUM device");
    check_reads(two, &whole);
    ck_assert_int_eq(whole.job.line,
        number("SELECT count(*) FROM device WHERE owner_id IS NULL AND organization_id ="
               " (SELECT id FROM organization WHERE name = 'maker')"));
    check_reads(two, &batch);
    ck_assert_int_eq(batch.job.line,
        number("SELECT count(*) FROM device WHERE batch_id = (SELECT max(id) FROM batch)"
               " AND owner_id IS NULL"));
}
END_TEST

START_TEST(what_is_loaded_is_what_the_device_has_counted)
{
    struct db_export_nonces pages[DB_EXPORT_PAGES];
    struct db_export export;
    size_t n, n_pages;

    populate(2, LW_MAC_1_0_3);
    sql("UPDATE device_join SET join_nonce = 9, last_dev_nonce = 5, nonce_epoch = 1");
    sql("INSERT INTO dev_nonce_page (dev_eui, join_eui, nonce_epoch, page, newest, bits)"
        " SELECT dev_eui, join_eui, e, p, 0, set_bit(decode(repeat('00', 256), 'hex'), 3, 1)"
        " FROM device, generate_series(0, 1) e, (VALUES (31), (2)) v(p)");
    (void)add(EXPORT_CRADLE_JSONL);
    export = take(one);
    ck_ok(db_export_load(one, &export, rows, &n));
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(rows[0].join_nonce, 9);
    ck_assert_int_eq(rows[0].last_dev_nonce, DEVICE_NO_NONCE); /* of another epoch */
    ck_assert(rows[0].has_app && !rows[0].has_nwk);
    ck_ok(db_export_load_nonces(one, rows, n, pages, DB_EXPORT_PAGES, &n_pages));
    ck_assert_uint_eq(n_pages, 4);
    for (size_t i = 0; i < n_pages; i++) {
        ck_assert_uint_eq(pages[i].row, i / 2);
        ck_assert_uint_eq(pages[i].page, i % 2 == 0 ? 2 : 31);
        ck_assert_uint_eq(pages[i].bits[0], 8);
    }
    sql("UPDATE device SET nonce_epoch = 1");
    ck_ok(db_export_load(one, &export, rows, &n));
    ck_assert_int_eq(rows[0].last_dev_nonce, 5);
    /* What is in no page yet: 2 * 2048 + 8, 5 and 3; of the second device for another JoinEUI. */
    sql("UPDATE device_join j SET recent_nonces = '\\x100800050003', recent_join_eui ="
        " CASE WHEN d.dev_eui = (SELECT dev_eui FROM device ORDER BY 1 LIMIT 1) THEN d.join_eui"
        " ELSE d.dev_eui END FROM device d WHERE d.dev_eui = j.dev_eui");
    ck_ok(db_export_load_nonces(one, rows, n, pages, DB_EXPORT_PAGES, &n_pages));
    ck_assert_uint_eq(n_pages, 5);
    ck_assert(pages[0].row == 0 && pages[0].page == 0 && pages[0].bits[0] == (1 << 5 | 1 << 3));
    ck_assert(pages[1].row == 0 && pages[1].page == 2 && pages[1].bits[0] == 8);
    ck_assert_uint_eq(pages[1].bits[1], 1);
    ck_assert(pages[2].row == 0 && pages[2].page == 31);
    ck_assert(pages[3].row == 1 && pages[3].page == 2 && pages[3].bits[1] == 0);
    ck_assert_int_lt(db_export_load_nonces(one, rows, n, pages, 4, &n_pages), 0);
}
END_TEST

static size_t read_file(const struct db_job *job)
{
    uint8_t *bytes = malloc(DB_EXPORT_PART_MAX);
    size_t total = 0, len;
    int64_t n = 0;
    int r;

    while ((r = db_export_read(one, job->row_id, &n, bytes, &len)) == 0)
        total += len;
    ck_assert_int_eq(r, 1);
    free(bytes);
    return total;
}

START_TEST(only_a_file_that_is_whole_is_kept_and_not_for_ever)
{
    static const enum db_job_state endings[] = {JOB_CANCELLED, JOB_FAILED, JOB_DONE};

    populate(1, LW_MAC_1_0_3);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        struct db_job job = add(EXPORT_CRADLE_JSONL);
        struct db_export export = take(one);

        ck_assert_int_eq(chunk(one, &export, 1), 0);
        ck_assert_uint_eq(read_file(&job), 6);
        ck_ok(db_export_end(one, &export, endings[i], "why"));
        ck_assert_uint_eq(read_file(&job), endings[i] == JOB_DONE ? 6 : 0);
        ck_ok(db_job_find(one, job.id, &job));
        ck_assert_int_eq(job.state, endings[i]);
        ck_assert_int_eq(job.result_until[0] != '\0', endings[i] == JOB_DONE);
        ck_ok(db_export_sweep(one));
        ck_assert_uint_eq(read_file(&job), endings[i] == JOB_DONE ? 6 : 0);
        sql("UPDATE job SET result_until = now() - interval '1 second'"
            " WHERE result_until IS NOT NULL");
        ck_ok(db_export_sweep(one));
        ck_assert_uint_eq(read_file(&job), 0);
        ck_assert_int_eq(db_export_discard(one, job.row_id), 1);
    }
}
END_TEST

START_TEST(a_waiting_one_is_cancelled_at_once_and_a_running_one_hears_of_it)
{
    struct db_export export;
    struct eui64 last = eui_of(1);
    struct db_job waiting, running;

    populate(1, LW_MAC_1_0_3);
    running = add(EXPORT_CRADLE_JSONL);
    waiting = add(EXPORT_CRADLE_JSONL);
    export = take(one);
    ck_ok(db_job_cancel(two, &running));
    ck_ok(db_job_cancel(two, &waiting));
    ck_assert(none_to_take(two, true));
    ck_ok(db_job_find(two, waiting.id, &waiting));
    ck_assert_int_eq(waiting.state, JOB_CANCELLED);
    ck_ok(db_export_advance(one, &export, &last, 1, 0));
    ck_assert(export.job.cancel_wanted);
    /* Also who takes it from a dead one. */
    sql("UPDATE job SET lease_until = now()");
    ck_assert(take(two).job.cancel_wanted);
}
END_TEST

START_TEST(an_organization_has_so_many_and_no_more)
{
    const struct db_export_order order = {.format = EXPORT_TTS_CSV, .request_id = "r"};
    struct db_export export;
    struct db_job job;

    populate(1, LW_MAC_1_0_3);
    for (int i = 0; i < DB_EXPORT_OPEN_MAX; i++)
        (void)add(EXPORT_TTS_CSV);
    ck_assert_int_eq(db_export_add(one, organization, client, &order, &job), 1);
    export = take(one);
    ck_assert_int_eq(db_export_add(one, organization, client, &order, &job), 1);
    ck_ok(db_export_end(one, &export, JOB_DONE, NULL));
    ck_ok(db_export_add(one, organization, client, &order, &job));
}
END_TEST

START_TEST(work_is_announced_and_progress_to_those_who_watch)
{
    struct db_export export;
    struct db_job job;

    populate(1, LW_MAC_1_0_3);
    ck_ok(db_job_listen(one, true));
    ck_ok(db_job_listen(two, false));
    ck_assert_int_eq(db_job_wait(one, 0), 0);
    ck_assert_int_eq(db_job_wait(two, 0), 0);
    job = add(EXPORT_CRADLE_JSONL);
    ck_assert_int_eq(db_job_wait(one, 60000), 1);
    ck_assert_int_eq(db_job_wait(two, 60000), 1);
    export = take(one);
    ck_assert_int_eq(db_job_wait(two, 60000), 1);
    ck_assert_int_eq(chunk(one, &export, 1), 0);
    ck_assert_int_eq(db_job_wait(two, 60000), 1);
    ck_assert_int_eq(db_job_wait(one, 0), 0); /* that was not work */
    ck_ok(db_export_put_back(one, &export, 0));
    ck_assert_int_eq(db_job_wait(one, 60000), 1);
    ck_assert_int_eq(take(one).job.row_id, job.row_id);
}
END_TEST

START_TEST(many_jobs_are_looked_at_together_and_listed_by_age)
{
    uint8_t ids[3][ACCOUNT_ID_LEN] = {{0}};
    struct db_job jobs[3], list[2];
    size_t n;

    populate(1, LW_MAC_1_0_3);
    for (size_t i = 0; i < 3; i++)
        jobs[i] = add(EXPORT_TTS_CSV);
    memcpy(ids[0], jobs[2].id, sizeof(ids[0]));
    memcpy(ids[2], jobs[0].id, sizeof(ids[0]));
    ck_ok(db_job_list(one, organization, NULL, list, 2, &n));
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(list[0].row_id, jobs[0].row_id);
    ck_ok(db_job_list(one, 0, list[1].id, list, 2, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(list[0].row_id, jobs[2].row_id);
    ck_ok(db_job_list(one, organization + 1, NULL, list, 2, &n));
    ck_assert_uint_eq(n, 0);
    ck_ok(db_job_look(one, (const uint8_t(*)[ACCOUNT_ID_LEN])ids, 3, jobs));
    ck_assert_mem_eq(jobs[0].id, ids[0], sizeof(ids[0]));
    ck_assert_int_eq(jobs[1].row_id, 0);
    ck_assert_mem_eq(jobs[2].id, ids[2], sizeof(ids[0]));
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_job_is_taken_once_and_the_oldest_first);
    tcase_add_test(tcase, organizations_take_turns_and_so_do_their_exports);
    tcase_add_test(tcase, faults_in_a_row_are_counted_until_a_chunk_is_done);
    tcase_add_test(tcase, each_turn_tells_whether_its_client_was_revoked);
    tcase_add_test(tcase, a_statement_without_memory_is_no_fault_of_the_program);
    tcase_add_test(tcase, one_that_is_being_taken_is_not_waited_for);
    tcase_add_test(tcase, keys_are_for_those_who_may_export_them);
    tcase_add_test(tcase, a_chunk_moves_on_marks_and_writes_together);
    tcase_add_test(tcase, who_was_overtaken_moves_nothing);
    tcase_add_test(tcase, a_device_that_may_not_go_any_more_stops_the_chunk);
    tcase_add_test(tcase, a_chunk_reads_its_own_devices_and_no_others);
    tcase_add_test(tcase, what_is_loaded_is_what_the_device_has_counted);
    tcase_add_test(tcase, only_a_file_that_is_whole_is_kept_and_not_for_ever);
    tcase_add_test(tcase, a_waiting_one_is_cancelled_at_once_and_a_running_one_hears_of_it);
    tcase_add_test(tcase, an_organization_has_so_many_and_no_more);
    tcase_add_test(tcase, work_is_announced_and_progress_to_those_who_watch);
    tcase_add_test(tcase, many_jobs_are_looked_at_together_and_listed_by_age);
}

int main(void)
{
    return run_suite("db export", add_tests);
}
