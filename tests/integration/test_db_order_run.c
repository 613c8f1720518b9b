#include "db/order_run.h"

#include "base/error.h"
#include "db/order_file.h"
#include "tests/integration/db_fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 600

static struct db *one, *two;
static uint8_t client[ACCOUNT_ID_LEN] = {7};
static const uint8_t digest[DB_JOB_DIGEST_LEN] = {1};
static const uint8_t made_by[DB_CODE_CALL_LEN] = {2};

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

/* A maker, and an order that has begun; its organization is named by a letter. */
static void populate(char name, unsigned first)
{
    char text[2000];

    (void)snprintf(text, sizeof(text),
        "WITH g AS (INSERT INTO organization (name) VALUES ('%c') RETURNING id),"
        " c AS (INSERT INTO client (id, organization_id, roles, secret_hash)"
        "  SELECT '\\x07%02x0000000000000000000000000000', id, 2, sha256('') FROM g RETURNING *),"
        " m AS (INSERT INTO certificate (number, kind, organization_id, name)"
        "  SELECT 'M_%04X_0000_01', 'module', organization_id, 'm' FROM c RETURNING id),"
        " b AS (INSERT INTO batch (organization_id, format) SELECT organization_id, 'order' FROM c"
        "  RETURNING id),"
        " e AS (INSERT INTO eui_block (organization_id, kind, first, last, size, n_given, span)"
        "  SELECT organization_id, 'lorawan', '\\x20635f00%08x', '\\x20635f00%08x', 600, 600,"
        "   numrange(%u, %u) FROM c RETURNING id),"
        " o AS (INSERT INTO batch_order (batch_id, module_id, device_kind, n, block_id, first,"
        "   join_eui, mac_version, delivery, public_key, key_digest, code_length, state, asked_by, request_id)"
        "  SELECT b.id, m.id, 'lorawan', 600, e.id, '\\x20635f00%08x', '\\x20635f0000000100',"
        "   '1.1', 'jwe', 'PEM', sha256('PEM'), 16, 'approved', c.id, 'r' FROM b, m, e, c)"
        " INSERT INTO job (organization_id, client_id, kind, state, fingerprint, batch_id, n_rows,"
        "  lease_until) SELECT c.organization_id, c.id, 'order', 'waiting', sha256(''), b.id, 600,"
        "  now() FROM c, b",
        name, first / N, first / N, first, first + N - 1, first, first + N, first);
    sql(text);
}

static struct db_order_run take(struct db *db)
{
    struct db_order_run run;

    ck_ok(db_order_run_take(db, &run));
    return run;
}

static bool none_to_take(struct db *db)
{
    struct db_order_run run;

    return db_order_run_take(db, &run) == 1;
}

/* A chunk of `n` devices as a worker stores it; what db_order_run_advance says. */
static int chunk(struct db *db, struct db_order_run *run, size_t n)
{
    static struct db_batch_row rows[DB_BATCH_ROWS_MAX];
    enum db_batch_outcome outcomes[DB_BATCH_ROWS_MAX];
    struct db_code codes[DB_BATCH_ROWS_MAX];
    int64_t line = run->job.line + 1;
    int r;

    for (size_t i = 0; i < n; i++) {
        struct db_batch_key key = {
            .sealed = {.kek_label = "store-device.1", .blob_len = 24}, .origin = DB_KEY_MADE};
        uint64_t id = eui64_to_u64(&run->first) + (uint64_t)line - 1 + i;

        rows[i] = (struct db_batch_row){.record = {.join_eui = run->join_eui,
                                            .mac_version = run->mac_version,
                                            .credential = CREDENTIAL_GENERATED},
            .line = line + (int64_t)i,
            .app = key,
            .has_nwk = true,
            .nwk = key,
            .last_dev_nonce = DEVICE_NO_NONCE};
        for (int b = 7; b >= 0; b--, id >>= 8)
            rows[i].record.dev_eui.bytes[b] = (uint8_t)id;
        codes[i] = (struct db_code){.dev_eui = rows[i].record.dev_eui, .generation = 1};
    }
    ck_ok(db_begin(db));
    ck_ok(db_batch_insert(db, run->job.batch_id, run->job.organization_id, rows, n, outcomes));
    ck_ok(db_order_run_codes(db, codes, n, made_by));
    ck_ok(db_order_run_write(db, run, line, "piece", 5));
    if ((r = db_order_run_advance(db, run, (int64_t)n, 0, digest)) == 0)
        ck_ok(db_commit(db));
    else
        db_rollback(db);
    return r;
}

static void end(struct db_order_run *run, enum db_job_state state, const char *manifest)
{
    ck_ok(db_begin(one));
    ck_ok(db_order_run_end(one, run, state, NULL, manifest));
    ck_ok(db_commit(one));
}

START_TEST(an_order_is_taken_once_as_it_was_asked_for)
{
    struct db_order_run run;

    ck_assert(none_to_take(one));
    populate('a', N);
    run = take(one);
    ck_assert(none_to_take(two));
    ck_assert_int_eq(run.job.state, JOB_RUNNING);
    ck_assert_int_eq(run.n, N);
    ck_assert_str_eq(run.module, "M_0001_0000_01");
    ck_assert_str_eq(run.public_key, "PEM");
    ck_assert_int_eq(run.mac_version, LW_MAC_1_1);
    ck_assert_uint_eq(eui64_to_u64(&run.first), UINT64_C(0x20635f0000000000) + N);
    ck_assert_uint_eq(run.code_length, 16);
    ck_assert(!run.has_transport && !run.is_legacy && !run.is_sigfox && !run.is_revoked);
    ck_assert_uint_eq(run.client_id[0], client[0]);
}
END_TEST

START_TEST(its_transport_key_is_kept_once_and_comes_again)
{
    struct db_order_run run, other;

    populate('a', N);
    run = take(one);
    (void)snprintf(run.transport.label, sizeof(run.transport.label), "order-1");
    (void)snprintf(run.transport.key.kek_label, sizeof(run.transport.key.kek_label), "store-kek.1");
    run.transport.key.blob_len = 40;
    run.transport.key.blob[39] = 9;
    run.transport.key.tag_version = 3;
    run.code_key = 2;
    run.transport_text_len = 384;
    run.transport_text[383] = 8;
    ck_ok(db_order_run_begin(one, &run));
    ck_assert_int_eq(db_order_run_begin(one, &run), 1);
    ck_ok(db_order_run_put_back(one, &run, 0));
    other = take(two);
    ck_assert(other.has_transport);
    ck_assert_str_eq(other.transport.label, "order-1");
    ck_assert_mem_eq(&other.transport.key, &run.transport.key, sizeof(run.transport.key));
    ck_assert_uint_eq(other.code_key, 2);
    ck_assert_uint_eq(other.transport_text_len, 384);
    ck_assert_mem_eq(other.transport_text, run.transport_text, 384);
}
END_TEST

START_TEST(who_was_overtaken_stores_nothing)
{
    struct db_order_run run, other;

    populate('a', N);
    run = take(one);
    ck_ok(chunk(one, &run, 10));
    sql("UPDATE job SET lease_until = now()");
    other = take(two);
    ck_assert_int_eq(other.job.line, 10);
    ck_assert_mem_eq(other.job.digest, digest, sizeof(digest));
    ck_assert_int_eq(chunk(one, &run, 10), 1);
    ck_assert_int_eq(db_order_run_begin(one, &run), 1);
    ck_assert_int_eq(db_order_run_end(one, &run, JOB_DONE, NULL, "jws"), 1);
    ck_assert_int_eq(number("SELECT count(*) FROM device"), 10);
    ck_ok(chunk(two, &other, 20));
    ck_assert_int_eq(number("SELECT count(*) FROM device"), 30);
    ck_assert_int_eq(number("SELECT count(*) FROM claim_code WHERE origin = 'made'"), 30);
    ck_assert_int_eq(number("SELECT count(*) FROM device_key WHERE origin = 'made'"), 60);
    ck_assert_int_eq(number("SELECT count(*) FROM delivery_part"), 2);
}
END_TEST

START_TEST(organizations_take_turns)
{
    struct db_order_run run;
    int64_t first;

    populate('a', N);
    populate('b', 2 * N);
    run = take(one);
    first = run.job.organization_id;
    ck_ok(db_order_run_put_back(one, &run, 0));
    run = take(one);
    ck_assert_int_ne(run.job.organization_id, first);
    ck_ok(db_order_run_put_back(one, &run, 0));
    ck_assert_int_eq(take(one).job.organization_id, first);
}
END_TEST

START_TEST(one_that_is_cancelled_while_it_waits_has_no_files)
{
    struct db_order_run run;
    struct db_job job;
    size_t n = 1;

    populate('a', N);
    run = take(one);
    ck_ok(chunk(one, &run, 10));
    ck_ok(db_order_run_put_back(one, &run, 0));
    ck_ok(db_job_find(one, run.job.id, &job));
    ck_ok(db_job_cancel(one, &job));
    ck_assert(none_to_take(one));
    ck_assert_int_eq(number("SELECT count(*) FROM batch_order WHERE state = 'cancelled'"), 1);
    while (n > 0)
        ck_ok(db_order_file_purge(one, &n));
    ck_assert_int_eq(number("SELECT count(*) FROM delivery_part"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE credential = 'generated'"), 10);
    ck_assert_int_eq(
        number("SELECT count(*) FROM batch_order WHERE files_deleted_at IS NOT NULL"), 1);
}
END_TEST

START_TEST(devices_are_marked_by_their_lines_once_a_file_with_keys_was_taken)
{
    struct db_order_files files;
    struct db_order_run run;
    int64_t times;

    populate('a', N);
    run = take(one);
    while (run.job.line < N)
        ck_ok(chunk(one, &run, N - run.job.line < 250 ? (size_t)(N - run.job.line) : 250));
    end(&run, JOB_DONE, "jws");
    ck_ok(db_order_files(one, run.job.batch_id, &files));
    ck_assert(files.is_ready && !files.are_gone);
    ck_assert_str_eq(files.manifest, "jws");
    ck_ok(
        db_order_file_take(one, run.job.batch_id, "id_pac.txt", false, run.client_id, "r", &times));
    ck_assert_int_eq(db_order_run_mark(one), 1);
    ck_ok(db_order_file_take(
        one, run.job.batch_id, "delivery.jwe", true, run.client_id, "r", &times));
    ck_assert_int_eq(times, 1);
    sql("UPDATE device SET credential = 'activable' WHERE batch_line = 2");
    ck_ok(db_order_run_mark(one));
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE credential = 'delivered'"), 255);
    ck_ok(db_order_run_mark(two));
    ck_ok(db_order_run_mark(one));
    ck_assert_int_eq(db_order_run_mark(two), 1);
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE credential = 'delivered'"), N - 1);
    ck_ok(db_order_file_take(
        one, run.job.batch_id, "delivery.jwe", true, run.client_id, "r", &times));
    ck_assert_int_eq(times, 2);
}
END_TEST

START_TEST(files_that_are_over_are_given_no_more_and_deleted_in_pieces)
{
    struct db_order_run run;
    static uint8_t bytes[DB_ORDER_PART_MAX];
    int64_t times, line = 0;
    size_t n, len;

    populate('a', N);
    run = take(one);
    ck_ok(chunk(one, &run, 10));
    ck_assert_int_eq(db_order_file_discard(one, run.job.batch_id), 1);
    end(&run, JOB_DONE, "jws");
    sql("INSERT INTO delivery_part SELECT batch_id, 1000 + i, 'x' FROM batch_order,"
        " generate_series(1, 450) i");
    ck_ok(db_order_file_read(one, run.job.batch_id, &line, bytes, &len));
    ck_assert_int_eq(line, 1);
    ck_ok(db_order_file_purge(one, &n));
    ck_assert_uint_eq(n, 0);
    ck_ok(db_order_file_discard(one, run.job.batch_id));
    ck_assert_int_eq(db_order_file_discard(one, run.job.batch_id), 1);
    ck_assert_int_eq(
        db_order_file_take(one, run.job.batch_id, "f", true, run.client_id, "r", &times), 1);
    ck_ok(db_order_file_purge(one, &n));
    ck_assert_int_eq(number("SELECT count(*) FROM delivery_part"), 251);
    for (n = 1; n > 0;)
        ck_ok(db_order_file_purge(one, &n));
    ck_assert_int_eq(number("SELECT count(*) FROM delivery_part"), 0);
    ck_assert_int_eq(db_order_file_read(one, run.job.batch_id, &line, bytes, &len), 1);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_order_is_taken_once_as_it_was_asked_for);
    tcase_add_test(tcase, its_transport_key_is_kept_once_and_comes_again);
    tcase_add_test(tcase, who_was_overtaken_stores_nothing);
    tcase_add_test(tcase, organizations_take_turns);
    tcase_add_test(tcase, one_that_is_cancelled_while_it_waits_has_no_files);
    tcase_add_test(tcase, devices_are_marked_by_their_lines_once_a_file_with_keys_was_taken);
    tcase_add_test(tcase, files_that_are_over_are_given_no_more_and_deleted_in_pieces);
}

int main(void)
{
    return run_suite("db order_run", add);
}
