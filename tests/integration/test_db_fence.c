/* The fence before a version of a key that is being retired: what is stored meanwhile is counted or
 * refused, and nothing is in between. */
#include "db/fence.h"

#include "base/error.h"
#include "tests/integration/db_fixture.h"
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define STALE "ZK001"
#define DONE "00000"
#define LOCK_WAITERS                                                                               \
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"                     \
    " AND wait_event = 'advisory'"

static struct db *owner, *service;
static struct db_rewrap_use uses[DB_REWRAP_USES_MAX];

static void setup(void)
{
    make_devices(1, 3, LW_MAC_1_0_3);
    owner = open_as("cradle_owner");
    service = open_as("cradle_activation");
}

static void teardown(void)
{
    db_close(owner);
    db_close(service);
}

static int64_t number(const char *sql)
{
    return pg_number(cluster, database, sql);
}

static void sql(const char *text)
{
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

/* An order that has begun, for the statements below. */
static void make_order(void)
{
    sql("WITH g AS (INSERT INTO organization (name) VALUES ('of orders') RETURNING id),"
        " c AS (INSERT INTO client (id, organization_id, roles, secret_hash)"
        "  SELECT substring(sha256('client') FROM 1 FOR 16), id, 2, sha256('') FROM g RETURNING *),"
        " m AS (INSERT INTO certificate (number, kind, organization_id, name)"
        "  SELECT 'M_0001_0000_01', 'module', organization_id, 'm' FROM c RETURNING id),"
        " b AS (INSERT INTO batch (organization_id, format) SELECT organization_id, 'order' FROM c"
        "  RETURNING id)"
        " INSERT INTO batch_order (batch_id, module_id, device_kind, n, delivery, public_key,"
        "  key_digest, code_length, state, asked_by, request_id)"
        " SELECT b.id, m.id, 'sigfox', 600, 'jwe', 'PEM', sha256('PEM'), 16, 'requested', c.id, 'r'"
        "  FROM b, m, c");
}

#define TAG "sha256('')"
#define BLOB "substring(sha256('') FROM 1 FOR 24)"
#define DEVICE_KEY(label, tag)                                                                     \
    "INSERT INTO device_key (dev_eui, slot, kek_label, blob, tag) SELECT dev_eui, 2, '" label      \
    "', " BLOB ", " tag " FROM device ORDER BY dev_eui LIMIT 1 ON CONFLICT (dev_eui, slot)"        \
    " DO UPDATE SET kek_label = excluded.kek_label, tag = excluded.tag"
#define KEK(label, tag)                                                                            \
    "INSERT INTO kek (peer_kind, peer_id, class, label, is_current, kek_label, blob, tag) VALUES"  \
    " ('network_server', '000013', 'ns', '" label "' || random(), false, '" label "', " BLOB       \
    ", " tag ")"
#define ORDER(label, tag, code)                                                                    \
    "UPDATE batch_order SET transport_label = 't', transport_kek_label = '" label                  \
    "', transport_blob = " BLOB ", transport_tag = " tag                                           \
    ", transport_kcv = '\\x000000', transport_text = decode(repeat('00', 256), 'hex'), code_key = " code
#define CODE(hash)                                                                                 \
    "INSERT INTO claim_code (dev_eui, generation, hash, weak, origin) SELECT dev_eui, 1, " hash    \
    ", false, 'given' FROM device ORDER BY dev_eui LIMIT 1 ON CONFLICT (dev_eui)"                  \
    " DO UPDATE SET hash = excluded.hash"

/* What each of them needs; what stands before a version is refused, and its neighbours are not. */
static const struct {
    const char *sql, *sqlstate;
} acts[] = {
    {DEVICE_KEY("store-device.1", TAG), STALE},
    {DEVICE_KEY("store-device.2", TAG), DONE},
    {DEVICE_KEY("store-device.2", TAG " || '\\x0002'"), STALE},
    {DEVICE_KEY("store-device.2", TAG " || '\\x0003'"), DONE},
    {"UPDATE device_key SET kek_label = 'store-device.1' WHERE slot = 2", STALE},
    {"UPDATE device_key SET tag = " TAG " || '\\x0002' WHERE slot = 2", STALE},
    {KEK("store-kek.1", TAG), STALE},
    {KEK("store-kek.2", TAG), DONE},
    {KEK("store-kek.2", TAG " || '\\x0002'"), STALE},
    {"UPDATE kek SET kek_label = 'store-kek.1'", STALE},
    {ORDER("store-kek.1", TAG, "2"), STALE},
    {ORDER("store-kek.2", TAG " || '\\x0002'", "2"), STALE},
    {ORDER("store-kek.2", TAG, "1"), STALE},
    {ORDER("store-kek.2", TAG, "2"), DONE},
    {CODE(TAG), STALE},
    {CODE(TAG " || '\\x0002'"), DONE},
    {"UPDATE claim_code SET hash = " TAG, STALE},
    {"UPDATE claim_code SET weak = true", DONE},
};

START_TEST(what_needs_a_version_behind_its_fence_is_not_stored)
{
    static const char *const fenced[] = {"store-device.1", "store-kek.1", "tag.2", "code.1"};
    char state[6];

    make_order();
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        if (strcmp(acts[i].sqlstate, STALE) == 0)
            continue;
        pg_try(cluster, database, "cradle_activation", acts[i].sql, state);
        ck_assert_msg(strcmp(state, DONE) == 0, "%s: %s", acts[i].sql, state);
    }
    for (size_t i = 0; i < sizeof(fenced) / sizeof(*fenced); i++)
        ck_ok(db_fence_raise(owner, fenced[i]));
    ck_ok(db_fence_raise(owner, fenced[0])); /* as whoever was killed behind it */
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        pg_try(cluster, database, "cradle_activation", acts[i].sql, state);
        ck_assert_msg(strcmp(state, acts[i].sqlstate) == 0, "%s: %s", acts[i].sql, state);
    }
    sql("DELETE FROM key_fence");
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        pg_try(cluster, database, "cradle_activation", acts[i].sql, state);
        ck_assert_msg(strcmp(state, DONE) == 0, "%s: %s", acts[i].sql, state);
    }
}
END_TEST

struct raiser {
    pthread_t thread;
    int result;
    char text[ERROR_TEXT_MAX];
};

static void *raise_fence(void *arg)
{
    struct raiser *raiser = arg;

    raiser->result = db_fence_raise(owner, "store-device.2");
    (void)snprintf(raiser->text, sizeof(raiser->text), "%s", error_text());
    return NULL;
}

START_TEST(what_was_stored_before_the_fence_is_counted_behind_it)
{
    struct raiser raiser;
    size_t n;

    ck_ok(db_begin(service));
    ck_ok(db_exec(service, DEVICE_KEY("store-device.2", TAG), false));
    ck_assert_int_eq(pthread_create(&raiser.thread, NULL, raise_fence, &raiser), 0);
    wait_until(LOCK_WAITERS);
    ck_assert_int_eq(number("SELECT count(*) FROM key_fence"), 0);
    ck_ok(db_commit(service));
    pthread_join(raiser.thread, NULL);
    ck_assert_int_eq(raiser.result, 0);
    ck_ok(db_fence_uses(owner, "store-device.2", uses, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(uses[0].what, "device keys");
    ck_assert_int_eq(uses[0].n, 1);
    /* It is needed: so the row may be written again, and the next retirement asks again. */
    ck_assert_int_eq(number("SELECT count(*) FROM key_fence"), 0);
    ck_assert_int_eq(db_fence_uses(owner, "store-device.2", uses, &n), ERROR_DB);
    ck_assert_ptr_nonnull(strstr(error_text(), "was refused"));
    sql("UPDATE device_key SET kek_label = 'store-device.3' WHERE slot = 2");
    ck_ok(db_fence_raise(owner, "store-device.2"));
    ck_ok(db_fence_uses(owner, "store-device.2", uses, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM key_fence"), 1);
}
END_TEST

static void *store(void *arg)
{
    struct raiser *raiser = arg;

    raiser->result = db_exec(service, DEVICE_KEY("store-device.2", TAG), true);
    return NULL;
}

/* Its snapshot is older than the fence, and its rows were written before the fence was seen. */
START_TEST(what_is_stored_while_the_fence_is_put_up_is_refused)
{
    CLEANUP(db_cleanup) struct db *joins = open_as("cradle_join");
    struct raiser writer;
    struct db_join_row row;
    struct db_join_commit commit;
    bool won = false;

    ck_ok(db_check(service));
    ck_ok(db_begin(owner));
    (void)db_params_of(owner);
    ck_ok(db_run_quiet(owner, DB_FENCE_LOCK));
    ck_assert_int_eq(pthread_create(&writer.thread, NULL, store, &writer), 0);
    wait_until(LOCK_WAITERS);
    /* No join asks for it. */
    row = load_one(joins, 1, 1);
    commit = commit_of(&row, 1, false);
    ck_ok(db_join_commit(joins, &commit, 1, &won));
    ck_assert(won);
    db_param_text(db_params_of(owner), "store-device.2");
    ck_ok(db_run_quiet(owner, DB_FENCE_RAISE));
    ck_ok(db_commit(owner));
    pthread_join(writer.thread, NULL);
    ck_assert_int_eq(writer.result, ERROR_STALE_KEY);
    ck_assert_int_eq(number("SELECT count(*) FROM device_key WHERE slot = 2"), 0);
    ck_ok(db_exec(service, DEVICE_KEY("store-device.3", TAG), true));
}
END_TEST

/* One transaction that stores and does not end (an idle one of ours would, db/connection.c): the
 * fence is given up, with its name, and others have stored between the tries. It takes
 * DB_FENCE_WAIT_MS. */
START_TEST(whoever_stores_without_an_end_is_named)
{
    CLEANUP(db_cleanup) struct db *other = open_as("cradle_activation");
    struct raiser raiser;
    char pid[32];

    ck_ok(db_begin(service));
    (void)snprintf(pid, sizeof(pid), ": %d ", PQbackendPID(service->conn));
    ck_ok(db_exec(service, "SET LOCAL idle_in_transaction_session_timeout = 0", false));
    ck_ok(db_exec(service, DEVICE_KEY("store-device.2", TAG), false));
    ck_assert_int_eq(pthread_create(&raiser.thread, NULL, raise_fence, &raiser), 0);
    wait_until(LOCK_WAITERS);
    ck_ok(db_exec(other, KEK("store-kek.2", TAG), true));
    pthread_join(raiser.thread, NULL);
    ck_assert_int_eq(raiser.result, ERROR_DB);
    ck_assert_msg(strstr(raiser.text, pid) != NULL, "%s", raiser.text);
    ck_assert_int_eq(number("SELECT count(*) FROM key_fence"), 0);
    ck_ok(db_commit(service));
    ck_ok(db_fence_raise(owner, "store-device.2"));
}
END_TEST

/* Who has ended meanwhile cannot be named. */
START_TEST(nobody_is_named_who_has_ended)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    char holders[256];

    (void)db_params_of(owner);
    ck_ok(db_run(owner, DB_FENCE_HOLDERS, &rows));
    db_row_text(&rows, 0, 0, holders, sizeof(holders));
    ck_assert_str_eq(holders, "nobody now");
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_needs_a_version_behind_its_fence_is_not_stored);
    tcase_add_test(tcase, what_was_stored_before_the_fence_is_counted_behind_it);
    tcase_add_test(tcase, what_is_stored_while_the_fence_is_put_up_is_refused);
    tcase_add_test(tcase, whoever_stores_without_an_end_is_named);
    tcase_add_test(tcase, nobody_is_named_who_has_ended);
}

int main(void)
{
    return run_suite("db fence", add);
}
