/* The chain over the audit events: late ones, killed ones, and several at once. */
#include "base/clock.h"
#include "db/audit_chain.h"

#include "db/audit.h"
#include "db/audit_read.h"
#include "db/migrate.h"
#include "tests/integration/db_fixture.h"
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_SEQUENCERS 3
#define N_WRITERS 2
#define N_WRITTEN 150 /* events of a writer */
#define N_ORGANIZATIONS 2

static struct db *db;

static void sql(const char *text)
{
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

static int64_t number(const char *text)
{
    return pg_number(cluster, database, text);
}

static void setup(void)
{
    db = open_as("cradle_activation");
    sql("INSERT INTO organization (name) VALUES ('a'), ('b')");
}

static void teardown(void)
{
    db_close(db);
}

static void add_event(struct db *with, int64_t organization, const char *object)
{
    const struct db_audit_event event = {.organization_id = organization,
        .request_id = "r",
        .action = "a",
        .object = object,
        .detail = "{\"b\": [1.50, \"\\u00e4\"], \"a\": null}"};

    ck_ok(db_audit_add(with, &event));
}

static size_t step(struct db *with)
{
    size_t n = 99;

    ck_ok(db_audit_chain_step(with, &n));
    return n;
}

/* Every event of the extent is in its place, with its hashes made anew from what it says. */
static void must_hold(int64_t organization, uint64_t n_expected)
{
    struct db_audit_extent extent;
    uint8_t chain[MERKLE_HASH_LEN] = {0};
    uint64_t n = 0;

    ck_ok(db_audit_extent_load(db, organization, &extent));
    ck_assert_uint_eq(extent.checkpoint.count, n_expected);
    ck_assert(audit_checkpoint_valid(&extent.checkpoint));
    while (true) {
        CLEANUP(db_audit_page_done) struct db_audit_page page = {0};

        ck_ok(db_audit_page_load(db, &extent, n, &page));
        if (page.n == 0)
            break;
        for (size_t i = 0; i < page.n; i++) {
            struct db_audit_chained *e = &page.events[i];
            const struct audit_record *record = &e->event.record;
            uint8_t hash[MERKLE_HASH_LEN];

            n++;
            ck_assert_uint_eq(organization == 0 ? e->link.seq : e->link.organization_seq, n);
            ck_ok(audit_chain(chain, record, chain));
            ck_assert_mem_eq(chain, organization == 0 ? e->link.chain : e->link.organization_chain,
                sizeof(chain));
            ck_ok(audit_leaf(&e->link, record->organization, hash));
            ck_assert_mem_eq(hash, e->leaf, sizeof(hash));
            ck_assert(merkle_path_root(
                extent.checkpoint.seq, e->link.seq - 1, e->leaf, e->path, e->n_path, hash));
            ck_assert_mem_eq(hash, extent.checkpoint.root, sizeof(hash));
        }
    }
    ck_assert_uint_eq(n, n_expected);
    if (n > 0)
        ck_assert_mem_eq(chain, extent.checkpoint.chain, sizeof(chain));
}

static void nothing_may_wait(int64_t n_events)
{
    ck_assert_int_eq(number("SELECT count(*) FROM audit_pending"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM audit_event"), n_events);
    ck_assert_int_eq(number("SELECT count(*) FROM audit_chain"), n_events);
    ck_assert_int_eq(number("SELECT max(seq) FROM audit_chain"), n_events);
}

START_TEST(events_are_chained_for_all_and_for_each_organization)
{
    must_hold(0, 0);
    must_hold(1, 0);
    for (int i = 0; i < 7; i++)
        add_event(db, i % 3, "o");
    ck_assert_uint_eq(step(db), 7);
    for (int i = 0; i < 4; i++)
        add_event(db, i % 3, "p");
    ck_assert_uint_eq(step(db), 4);
    ck_assert_uint_eq(step(db), 0);
    nothing_may_wait(11);
    must_hold(0, 11);
    must_hold(1, 3);
    must_hold(2, 3);
}
END_TEST

START_TEST(more_than_one_step_holds_is_chained_in_several)
{
    char text[160];
    const uint64_t n = DB_AUDIT_CHAIN_MAX + 3;

    (void)snprintf(text, sizeof(text),
        "INSERT INTO audit_event (organization_id, request_id, action, object)"
        " SELECT 1 + n %% 2, 'r', 'a', n::text FROM generate_series(1, %llu) n",
        (unsigned long long)n);
    sql(text);
    ck_assert_uint_eq(step(db), DB_AUDIT_CHAIN_MAX);
    ck_assert_uint_eq(step(db), 3);
    must_hold(0, n);
    must_hold(2, (n + 1) / 2);
}
END_TEST

START_TEST(what_is_committed_late_is_chained_behind_what_was_there)
{
    CLEANUP(db_cleanup) struct db *slow = open_as("cradle_activation");

    ck_ok(db_begin(slow));
    add_event(slow, 1, "late");
    add_event(db, 1, "early");
    ck_assert_uint_eq(step(db), 1);
    ck_ok(db_commit(slow));
    ck_assert_uint_eq(step(db), 1);
    ck_assert_int_eq(number("SELECT count(*) FROM audit_chain a JOIN audit_chain b"
                            " ON a.seq < b.seq AND a.event_id > b.event_id"),
        1);
    nothing_may_wait(2);
    must_hold(1, 2);
}
END_TEST

START_TEST(what_is_rolled_back_leaves_no_gap)
{
    CLEANUP(db_cleanup) struct db *slow = open_as("cradle_activation");

    ck_ok(db_begin(slow));
    add_event(slow, 1, "never");
    db_rollback(slow);
    add_event(db, 1, "o");
    ck_assert_uint_eq(step(db), 1);
    nothing_may_wait(1);
}
END_TEST

struct sequencer {
    pthread_t thread;
    struct db *db;
    size_t n;
    int result;
};

static void *run_step(void *arg)
{
    struct sequencer *s = arg;

    s->result = db_audit_chain_step(s->db, &s->n);
    return NULL;
}

#define WAITING_HERE                                                                               \
    " FROM pg_stat_activity WHERE datname = current_database() AND usename = 'cradle_activation'"  \
    " AND wait_event = 'advisory'"

START_TEST(one_that_is_killed_has_done_nothing_and_the_next_does_it)
{
    struct sequencer killed = {.db = open_as("cradle_activation")};
    CLEANUP(db_cleanup) struct db *holder = open_as("postgres");

    add_event(db, 1, "o");
    add_event(db, 2, "o");
    sql("CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;"
        "GRANT EXECUTE ON FUNCTION wait_here() TO PUBLIC;"
        "CREATE TRIGGER wait_here AFTER INSERT ON audit_node EXECUTE FUNCTION wait_here()");
    ck_ok(db_check(holder));
    PQclear(PQexec((PGconn *)holder->conn, "SELECT pg_advisory_lock(4711)"));
    ck_assert_int_eq(pthread_create(&killed.thread, NULL, run_step, &killed), 0);
    wait_until("SELECT count(*)" WAITING_HERE);
    /* Meanwhile it is nobody else's turn. */
    ck_assert_uint_eq(step(db), 0);
    ck_assert_int_eq(
        number("SELECT count(*) FROM (SELECT pg_terminate_backend(pid)" WAITING_HERE ") t"), 1);
    pthread_join(killed.thread, NULL);
    ck_assert_int_lt(killed.result, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM audit_chain"), 0);
    PQclear(PQexec((PGconn *)holder->conn, "SELECT pg_advisory_unlock(4711)"));
    ck_assert_uint_eq(step(db), 2);
    nothing_may_wait(2);
    must_hold(0, 2);
    db_close(killed.db);
}
END_TEST

static _Atomic bool written;

static void *write_events(void *arg)
{
    struct sequencer *s = arg;

    for (int i = 0; i < N_WRITTEN && s->result == 0; i++) {
        const struct db_audit_event event = {.organization_id = 1 + i % N_ORGANIZATIONS,
            .request_id = "r",
            .action = "a",
            .object = "o",
            .detail = "{}"};

        if ((s->result = db_begin(s->db)) == 0 && (s->result = db_audit_add(s->db, &event)) == 0)
            s->result = db_commit(s->db);
    }
    return NULL;
}

static void *run_steps(void *arg)
{
    struct sequencer *s = arg;
    bool last = false;

    while (s->result == 0 && !last) {
        size_t n = 0;

        last = atomic_load(&written);
        s->result = db_audit_chain_step(s->db, &n);
        s->n += n;
    }
    return NULL;
}

START_TEST(several_at_once_make_one_chain)
{
    struct sequencer all[N_SEQUENCERS + N_WRITERS] = {{0}};
    const int64_t n_events = N_WRITERS * N_WRITTEN;

    atomic_store(&written, false);
    for (size_t i = 0; i < N_SEQUENCERS + N_WRITERS; i++) {
        all[i].db = open_as("cradle_activation");
        ck_ok(db_check(all[i].db));
        ck_assert_int_eq(pthread_create(&all[i].thread, NULL,
                             i < N_SEQUENCERS ? run_steps : write_events, &all[i]),
            0);
    }
    for (size_t i = N_SEQUENCERS + N_WRITERS; i-- > 0;) {
        pthread_join(all[i].thread, NULL);
        ck_assert_int_eq(all[i].result, 0);
        db_close(all[i].db);
        atomic_store(&written, i <= N_SEQUENCERS);
    }
    while (step(db) > 0)
        ;
    nothing_may_wait(n_events);
    must_hold(0, (uint64_t)n_events);
    for (int64_t organization = 1; organization <= N_ORGANIZATIONS; organization++)
        must_hold(organization, (uint64_t)n_events / N_ORGANIZATIONS);
}
END_TEST

START_TEST(what_was_done_before_there_was_a_chain_is_chained)
{
    CLEANUP(db_cleanup) struct db *owner = open_as("cradle_owner");
    CLEANUP(text_done) struct text report = {0};

    /* As it was before 0019. */
    sql("DROP TABLE audit_pending, audit_checkpoint, audit_node, audit_chain;"
        "DROP FUNCTION audit_event_waits, audit_pending_is_chained CASCADE;"
        "DELETE FROM schema_migration WHERE number >= 19");
    add_event(db, 1, "o");
    add_event(db, 0, "o");
    add_event(db, 1, "o");
    (void)db_migrate(owner, &report); /* what follows is there already */
    ck_assert_ptr_nonnull(strstr(report.data, "applied 0019_audit_chain\n"));
    add_event(db, 2, "o");
    ck_assert_uint_eq(step(db), 4);
    nothing_may_wait(4);
    must_hold(0, 4);
    must_hold(1, 2);
}
END_TEST

START_TEST(nothing_stops_waiting_before_it_is_chained)
{
    char sqlstate[6];

    add_event(db, 1, "o");
    pg_try(cluster, database, "cradle_activation", "DELETE FROM audit_pending", sqlstate);
    ck_assert_str_eq(sqlstate, "23514");
    ck_assert_uint_eq(step(db), 1);
    pg_try(cluster, database, "cradle_activation",
        "INSERT INTO audit_chain (seq, event_id, organization_id, organization_seq, chain,"
        " organization_chain, salt) SELECT seq + 2, event_id, 7, 1, chain, organization_chain,"
        " salt FROM audit_chain",
        sqlstate);
    ck_assert_msg(strncmp(sqlstate, "23", 2) == 0, "a gap: %s", sqlstate);
}
END_TEST

START_TEST(a_checkpoint_is_due_after_so_many_events_or_so_long)
{
    struct audit_checkpoint checkpoint = {0}, again;
    const uint8_t signature[AUDIT_SIGNATURE_LEN] = {1};
    struct db_audit_signed kept;

    ck_assert_int_eq(db_audit_checkpoint_due(db, 1, 0, &checkpoint), 1);
    add_event(db, 1, "o");
    add_event(db, 2, "o");
    ck_assert_uint_eq(step(db), 2);
    ck_ok(db_audit_checkpoint_due(db, 1000, 600, &checkpoint));
    ck_assert_uint_eq(checkpoint.seq, 2);
    ck_assert_uint_eq(checkpoint.count, 2);
    ck_assert(audit_checkpoint_valid(&checkpoint));
    checkpoint.time = (uint64_t)clock_unix_s();
    ck_ok(db_audit_checkpoint_add(db, &checkpoint, signature));
    ck_ok(db_audit_checkpoint_add(db, &checkpoint, signature)); /* another service, too */
    ck_assert_int_eq(db_audit_checkpoint_due(db, 1, 0, &again), 1);
    add_event(db, 1, "o");
    ck_assert_uint_eq(step(db), 1);
    ck_assert_int_eq(db_audit_checkpoint_due(db, 2, 600, &again), 1);
    ck_ok(db_audit_checkpoint_due(db, 1, 600, &again));
    ck_ok(db_audit_checkpoint_due(db, 2, -1, &again));
    ck_assert_uint_eq(again.seq, 3);
    ck_ok(db_audit_checkpoint_next(db, 0, 3, &kept));
    ck_assert_mem_eq(kept.checkpoint.root, checkpoint.root, MERKLE_HASH_LEN);
    ck_assert_uint_eq(kept.checkpoint.time, checkpoint.time);
    ck_assert_int_eq(db_audit_checkpoint_next(db, 2, 3, &kept), 1);
}
END_TEST

START_TEST(no_look_reads_what_was_chained_before)
{
    static const enum db_statement_id looks[] = {
        DB_AUDIT_WAITING, DB_AUDIT_HEAD, DB_AUDIT_FRONTIER, DB_AUDIT_CHECKPOINT_DUE};
    static const char *const parameters[] = {"(NULL)", "", "(NULL)", "(NULL, NULL)"};

    ck_ok(db_check(db));
    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
        char text[200];
        PGresult *result;

        ck_ok(db_prepare(db, looks[i]));
        (void)snprintf(text, sizeof(text), "EXPLAIN EXECUTE %s %s", db_statement_at(looks[i])->name,
            parameters[i]);
        result = PQexec((PGconn *)db->conn, text);
        ck_assert_int_eq(PQresultStatus(result), PGRES_TUPLES_OK);
        for (int row = 0; row < PQntuples(result); row++) {
            const char *line = PQgetvalue(result, row, 0);

            ck_assert_msg(strstr(line, "Seq Scan on audit_event") == NULL &&
                              strstr(line, "Seq Scan on audit_chain") == NULL &&
                              strstr(line, "Seq Scan on audit_node") == NULL &&
                              strstr(line, "Hash") == NULL,
                "%s: %s", db_statement_at(looks[i])->name, line);
        }
        PQclear(result);
    }
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, events_are_chained_for_all_and_for_each_organization);
    tcase_add_test(tcase, more_than_one_step_holds_is_chained_in_several);
    tcase_add_test(tcase, what_is_committed_late_is_chained_behind_what_was_there);
    tcase_add_test(tcase, what_is_rolled_back_leaves_no_gap);
    tcase_add_test(tcase, one_that_is_killed_has_done_nothing_and_the_next_does_it);
    tcase_add_test(tcase, several_at_once_make_one_chain);
    tcase_add_test(tcase, what_was_done_before_there_was_a_chain_is_chained);
    tcase_add_test(tcase, nothing_stops_waiting_before_it_is_chained);
    tcase_add_test(tcase, a_checkpoint_is_due_after_so_many_events_or_so_long);
    tcase_add_test(tcase, no_look_reads_what_was_chained_before);
}

int main(void)
{
    return run_suite("db chain", add);
}
