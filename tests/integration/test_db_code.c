#include "db/code.h"

#include "db/batch_view.h"
#include "tests/integration/db_fixture.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_DEVICES 5
#define N_MAX 16

/* Devices number 1 to N_DEVICES, of lines 2 and on; nobody owns the first three. */
static struct db *make_batch(struct db_code_call *call, uint8_t made_by)
{
    make_devices(1, N_DEVICES, LW_MAC_1_0_3);
    pg_sql(cluster, database,
        "UPDATE device SET ownership = 'unowned', owner_id = NULL, service = 'inactive'"
        " WHERE dev_eui <= '\\x70b3d50000000003'");
    *call = (struct db_code_call){
        .batch_id = pg_number(cluster, database, "SELECT max(id) FROM batch")};
    memset(call->made_by, made_by, sizeof(call->made_by));
    return open_as("cradle_activation");
}

static struct db_code code_of(uint32_t number, uint32_t generation, uint8_t hash)
{
    struct db_code code = {.dev_eui = eui_of(number), .generation = generation};

    memset(code.hash, hash, sizeof(code.hash));
    return code;
}

/* Which devices are due, as digits of their numbers. */
static const char *due_of(struct db *db, const struct db_code_call *call, char out[static N_MAX])
{
    struct db_code_device devices[N_MAX];
    size_t n, n_due = 0;

    ck_ok(db_code_walk(db, call, 0, devices, N_MAX, &n));
    ck_assert_uint_eq(n, N_DEVICES);
    for (size_t i = 0; i < n; i++) {
        struct eui64 expected = eui_of((uint32_t)i + 1);

        ck_assert_mem_eq(devices[i].dev_eui.bytes, expected.bytes, sizeof(expected.bytes));
        ck_assert_int_eq(devices[i].line, (int64_t)i + 2);
        if (devices[i].due)
            out[n_due++] = (char)('1' + i);
    }
    out[n_due] = '\0';
    return out;
}

/* One transaction; whether it is stored. */
static bool make(struct db *db, const struct db_code_call *call, struct db_code code)
{
    bool stored;

    ck_ok(db_begin(db));
    ck_ok(db_code_make(db, call, &code, 1, &stored));
    ck_ok(db_commit(db));
    return stored;
}

static void give(struct db *db, struct db_code code)
{
    ck_ok(db_code_give(db, &code, 1));
}

START_TEST(a_given_code_is_kept_as_it_was_given)
{
    struct db_code_call call;
    CLEANUP(db_cleanup) struct db *db = make_batch(&call, 1);
    struct db_code codes[] = {code_of(1, 1, 0xaa), code_of(2, 1, 0xbb)};
    char *rows;

    codes[1].weak = true;
    ck_ok(db_code_give(db, codes, 2));
    ck_ok(db_code_give(db, codes, 0));
    rows = pg_text(cluster, database,
        "SELECT encode(dev_eui, 'hex'), generation, encode(substr(hash, 32), 'hex'), weak, origin,"
        " made_by IS NULL FROM claim_code ORDER BY dev_eui");
    ck_assert_str_eq(rows, "70b3d50000000001 1 aa f given t \n70b3d50000000002 1 bb t given t \n");
    free(rows);
    /* A device has one. */
    ck_assert_int_eq(db_code_give(db, codes, 1), ERROR_DB);
}
END_TEST

START_TEST(due_are_devices_without_owner_whose_code_is_the_calls_to_make)
{
    struct db_code_call call, other, renew;
    CLEANUP(db_cleanup) struct db *db = make_batch(&call, 1);
    char due[N_MAX];

    other = renew = call;
    memset(other.made_by, 2, sizeof(other.made_by));
    memset(renew.made_by, 3, sizeof(renew.made_by));
    renew.renew = true;
    ck_assert_str_eq(due_of(db, &call, due), "123");
    give(db, code_of(1, 1, 0xaa));
    give(db, code_of(4, 1, 0xaa)); /* came claimed */
    ck_ok(db_code_begin(db, &call));
    ck_assert(make(db, &call, code_of(2, 1, 0xbb)));
    ck_assert_str_eq(due_of(db, &call, due), "23");
    ck_assert_str_eq(due_of(db, &other, due), "3");
    ck_assert_str_eq(due_of(db, &renew, due), "23");
    pg_sql(cluster, database,
        "UPDATE device SET ownership = 'claimed', owner_id = organization_id"
        " WHERE dev_eui = '\\x70b3d50000000002'");
    ck_assert_str_eq(due_of(db, &call, due), "3");
    ck_assert_str_eq(due_of(db, &renew, due), "3");
    db_code_end(db, &call);
}
END_TEST

START_TEST(devices_are_walked_by_their_lines)
{
    struct db_code_call call;
    CLEANUP(db_cleanup) struct db *db = make_batch(&call, 1);
    struct db_code_device devices[N_MAX];
    size_t n;

    ck_ok(db_code_walk(db, &call, 0, devices, 2, &n));
    ck_assert_uint_eq(n, 2);
    ck_ok(db_code_walk(db, &call, devices[1].line, devices, N_MAX, &n));
    ck_assert_uint_eq(n, N_DEVICES - 2);
    ck_assert_int_eq(devices[0].line, 4);
    ck_ok(db_code_walk(db, &call, 100, devices, N_MAX, &n));
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(a_code_is_stored_only_on_what_was_looked_at)
{
    struct db_code_call call;
    CLEANUP(db_cleanup) struct db *db = make_batch(&call, 1);

    ck_ok(db_code_begin(db, &call));
    ck_assert(make(db, &call, code_of(1, 1, 0xaa)));
    ck_assert(!make(db, &call, code_of(1, 1, 0xbb))); /* has one by now */
    ck_assert(!make(db, &call, code_of(1, 3, 0xbb)));
    ck_assert(make(db, &call, code_of(1, 2, 0xcc)));
    ck_assert(!make(db, &call, code_of(5, 1, 0xcc))); /* claimed */
    give(db, code_of(3, 1, 0xdd));
    ck_assert(!make(db, &call, code_of(3, 2, 0xcc))); /* given */
    ck_assert_int_eq(
        pg_number(cluster, database,
            "SELECT generation FROM claim_code WHERE"
            " dev_eui = '\\x70b3d50000000001' AND hash = decode(repeat('cc', 32), 'hex')"
            " AND origin = 'made' AND NOT weak AND made_by = decode(repeat('01', 32), 'hex')"),
        2);
    db_code_end(db, &call);
}
END_TEST

START_TEST(of_many_codes_each_is_answered_by_itself)
{
    struct db_code_call call;
    CLEANUP(db_cleanup) struct db *db = make_batch(&call, 1);
    struct db_code codes[] = {
        code_of(3, 1, 3), code_of(4, 1, 4), code_of(1, 1, 1), code_of(99, 1, 9), code_of(2, 1, 2)};
    static const bool expected[] = {true, false, true, false, true};
    bool stored[5];

    ck_ok(db_code_begin(db, &call));
    ck_ok(db_begin(db));
    ck_ok(db_code_make(db, &call, codes, 5, stored));
    ck_ok(db_commit(db));
    ck_assert_mem_eq(stored, expected, sizeof(stored));
    db_code_end(db, &call);
}
END_TEST

struct maker {
    struct db *db;
    const struct db_code_call *call;
    struct db_code codes[2];
    bool stored[2];
    int r;
};

static void *make_in_thread(void *context)
{
    struct maker *m = context;

    if ((m->r = db_begin(m->db)) == 0 &&
        (m->r = db_code_make(m->db, m->call, m->codes, 2, m->stored)) == 0)
        m->r = db_commit(m->db);
    return NULL;
}

START_TEST(a_device_that_is_being_claimed_gets_no_code)
{
    struct db_code_call call;
    CLEANUP(db_cleanup) struct db *db = make_batch(&call, 1);
    CLEANUP(db_cleanup) struct db *owner = open_as("cradle_activation");
    struct maker maker = {
        .db = db, .call = &call, .codes = {code_of(1, 1, 0xaa), code_of(2, 1, 0xbb)}, .r = 1};
    pthread_t thread;

    ck_ok(db_code_begin(db, &call));
    ck_ok(db_begin(owner));
    ck_ok(db_exec(owner,
        "UPDATE device SET ownership = 'claimed', owner_id = organization_id"
        " WHERE dev_eui = '\\x70b3d50000000001'",
        false));
    ck_assert_int_eq(pthread_create(&thread, NULL, make_in_thread, &maker), 0);
    while (pg_number(cluster, database, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 0)
        ;
    ck_ok(db_commit(owner));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(maker.r, 0);
    ck_assert(!maker.stored[0]);
    ck_assert(maker.stored[1]);
    db_code_end(db, &call);
}
END_TEST

START_TEST(a_batch_is_one_calls_until_it_ends_or_its_connection_does)
{
    struct db_code_call call, second;
    CLEANUP(db_cleanup) struct db *db = make_batch(&call, 1);
    CLEANUP(db_cleanup) struct db *other = open_as("cradle_activation");
    struct db_code code = code_of(1, 1, 0xaa);
    struct db_code_call elsewhere = call;
    bool stored;

    second = call;
    elsewhere.batch_id++;
    ck_ok(db_code_begin(db, &call));
    ck_assert_int_eq(db_code_begin(other, &second), 1);
    ck_ok(db_code_begin(other, &elsewhere));
    db_code_end(other, &elsewhere);
    db_code_end(db, &call);
    ck_ok(db_code_begin(other, &second));
    db_drop(other);
    /* The server learns of it when it learns of it: the end of the session is awaited. */
    while (pg_number(
               cluster, database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") > 0)
        ;
    ck_ok(db_code_begin(db, &call));
    /* Another session than the one that has the batch makes nothing. */
    ck_ok(db_begin(other));
    ck_assert_int_eq(db_code_make(other, &second, &code, 1, &stored), ERROR_DB);
    db_rollback(other);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM claim_code"), 0);
    db_code_end(db, &call);
}
END_TEST

START_TEST(batches_are_found_and_listed_for_their_organization)
{
    struct db_code_call call;
    CLEANUP(db_cleanup) struct db *db = make_batch(&call, 1);
    struct db_batch first, list[N_MAX];
    size_t n;

    make_devices(100, 2, LW_MAC_1_0_3);
    pg_sql(cluster, database,
        "INSERT INTO organization (name) VALUES ('another');"
        "INSERT INTO batch (organization_id, format)"
        " SELECT id, 'csv' FROM organization WHERE name = 'another'");
    ck_ok(db_batch_list(db,
        pg_number(cluster, database, "SELECT id FROM organization WHERE name = 'maker'"), NULL,
        list, N_MAX, &n));
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(list[0].row_id, call.batch_id);
    ck_assert_int_eq(list[0].created, N_DEVICES);
    ck_assert(!list[0].has_job);
    ck_assert_str_ne(list[0].finished_at, "");
    ck_ok(db_batch_find(db, list[0].id, &first));
    ck_assert_mem_eq(&first, &list[0], sizeof(first));
    ck_ok(db_batch_list(db, list[0].organization_id, first.id, list, N_MAX, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(list[0].created, 2);
    first.id[0] ^= 1;
    ck_assert_int_eq(db_batch_find(db, first.id, &list[0]), 1);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, a_given_code_is_kept_as_it_was_given);
    tcase_add_test(tcase, due_are_devices_without_owner_whose_code_is_the_calls_to_make);
    tcase_add_test(tcase, devices_are_walked_by_their_lines);
    tcase_add_test(tcase, a_code_is_stored_only_on_what_was_looked_at);
    tcase_add_test(tcase, of_many_codes_each_is_answered_by_itself);
    tcase_add_test(tcase, a_device_that_is_being_claimed_gets_no_code);
    tcase_add_test(tcase, a_batch_is_one_calls_until_it_ends_or_its_connection_does);
    tcase_add_test(tcase, batches_are_found_and_listed_for_their_organization);
}

int main(void)
{
    return run_suite("db code", add);
}
