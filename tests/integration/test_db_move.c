#include "db/move.h"

#include "base/error.h"
#include "tests/integration/db_fixture.h"
#include <string.h>

#define MANY "100000" /* and one more is too many */
#define DEVICES (DB_DEVICE_CHANGE_MAX + 6)

static struct db *one, *two;
static uint8_t client[ACCOUNT_ID_LEN] = {7};
static int64_t organization;
static struct eui64 listed[DEVICES], euis[DB_DEVICE_CHANGE_MAX];
static struct db_device_moving found[DB_DEVICE_CHANGE_MAX];

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

/* Devices of one organization, which owns them, with a client. */
static void populate(uint32_t n)
{
    make_devices(1, n, LW_MAC_1_0_3);
    organization = number("SELECT min(organization_id) FROM device");
    sql("INSERT INTO client (id, organization_id, roles, secret_hash)"
        " SELECT '\\x07000000000000000000000000000000', min(organization_id), 16, sha256('')"
        " FROM device");
    for (uint32_t i = 0; i < n && i < DEVICES; i++)
        listed[i] = eui_of(1 + i);
}

static struct db_job add(enum device_move move, size_t n)
{
    struct db_move_order order = {.move = move, .request_id = "r"};
    struct db_move_devices devices = {.list = listed, .n = n};
    struct db_job job;

    ck_ok(db_begin(one));
    ck_ok(db_move_add(one, organization, client, &order, &devices, &job));
    ck_ok(db_commit(one));
    ck_assert_int_eq(job.state, JOB_WAITING);
    ck_assert_int_eq(job.kind, JOB_MOVE);
    ck_assert_int_eq(job.n_rows, (int64_t)n);
    return job;
}

static struct db_move take(struct db *db)
{
    struct db_move move;

    ck_ok(db_move_take(db, &move));
    return move;
}

static int move_all(struct db *db, const struct db_move *move, size_t n)
{
    struct db_device_change changes[DB_DEVICE_CHANGE_MAX];
    struct device_record after[DB_DEVICE_CHANGE_MAX];

    for (size_t i = 0; i < n; i++) {
        after[i] = found[i].device.record;
        device_move_make(move->order.move, &after[i]);
        changes[i] = (struct db_device_change){.owner_id = organization,
            .new_owner_id = organization,
            .before = &found[i].device,
            .after = &after[i],
            .name = found[i].device.name,
            .quarantined_by = ""};
    }
    return db_device_change(db, changes, n);
}

/* A chunk as a worker commits it: *ret_n devices; what the change says. `meanwhile`: after it was
 * read. */
static int chunk(struct db *db, struct db_move *move, const char *meanwhile, size_t *ret_n)
{
    struct db_move before = *move;
    struct db_job_row rows[DB_DEVICE_CHANGE_MAX];
    size_t n;
    int r;

    ck_ok(db_move_load(db, move, euis, &n));
    ck_ok(db_device_load_moving(db, euis, n, organization, found));
    if (meanwhile != NULL)
        sql(meanwhile);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct db_job_row){.line = move->job.line + (int64_t)i + 1,
            .has_dev_eui = true,
            .dev_eui = euis[i],
            .outcome = "moved"};
    ck_ok(db_begin(db));
    ck_ok(db_move_advance(db, move, (int64_t)n, 0));
    if ((r = move_all(db, move, n)) == 0)
        r = db_job_rows_add(db, move->job.row_id, rows, n);
    if (r == 0) {
        ck_ok(db_commit(db));
    } else {
        db_rollback(db);
        *move = before;
    }
    *ret_n = n;
    return r;
}

START_TEST(a_list_is_kept_in_its_order_until_the_end)
{
    struct eui64 last;
    struct db_move move;
    size_t n;

    populate(DEVICES);
    last = listed[0];
    listed[0] = listed[DEVICES - 1];
    listed[DEVICES - 1] = last;
    (void)add(MOVE_SUSPEND, DEVICES);
    move = take(one);
    ck_assert_int_eq(move.order.move, MOVE_SUSPEND);
    ck_assert_str_eq(move.order.request_id, "r");
    ck_assert_mem_eq(move.client_id, client, sizeof(client));
    ck_ok(chunk(one, &move, NULL, &n));
    ck_assert_uint_eq(n, DB_DEVICE_CHANGE_MAX);
    ck_assert_mem_eq(euis, listed, n * sizeof(euis[0]));
    ck_ok(chunk(one, &move, NULL, &n));
    ck_assert_uint_eq(n, DEVICES - DB_DEVICE_CHANGE_MAX);
    ck_assert_mem_eq(euis, listed + DB_DEVICE_CHANGE_MAX, n * sizeof(euis[0]));
    ck_ok(db_move_load(one, &move, euis, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE service = 'suspended'"), DEVICES);
    ck_assert_int_eq(number("SELECT count(*) FROM move_device"), DEVICES);
    ck_ok(db_move_end(one, &move, JOB_DONE, NULL));
    ck_assert_int_eq(number("SELECT count(*) FROM move_device"), 0);
    ck_assert_int_eq(number("SELECT n_kept FROM job"), DEVICES);
}
END_TEST

START_TEST(a_chunk_moves_all_or_nothing)
{
    static const char *const changes[] = {
        "UPDATE device SET service = 'suspended' WHERE dev_eui = (SELECT dev_eui FROM device ORDER BY dev_eui DESC LIMIT 1)",
        "UPDATE device SET service = 'active', name = 'x' WHERE dev_eui ="
        " (SELECT dev_eui FROM device ORDER BY dev_eui DESC LIMIT 1)",
        "WITH o AS (INSERT INTO organization (name) VALUES ('other') RETURNING id)"
        " UPDATE device SET owner_id = o.id FROM o WHERE dev_eui = (SELECT dev_eui FROM device ORDER BY dev_eui DESC LIMIT 1)"};
    struct db_move move;
    size_t n;

    populate(3);
    (void)add(MOVE_RESET_NONCES, 3);
    move = take(one);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        ck_assert_int_eq(chunk(one, &move, changes[i], &n), 1);
        ck_assert_int_eq(number("SELECT sum(nonce_epoch)::int8 FROM device"), 0);
        ck_assert_int_eq(number("SELECT line + n_moved FROM job"), 0);
        ck_assert_int_eq(number("SELECT count(*) FROM job_row"), 0);
    }
}
END_TEST

START_TEST(who_was_overtaken_moves_nothing)
{
    struct db_move old, new, none;
    size_t n;

    populate(3);
    (void)add(MOVE_SUSPEND, 3);
    old = take(one);
    ck_assert_int_eq(db_move_take(two, &none), 1); /* it is held */
    sql("UPDATE job SET lease_until = now()");
    new = take(two);
    ck_assert_int_eq(new.job.turn, old.job.turn + 1);
    ck_assert_int_eq(db_move_advance(one, &old, 3, 0), 1);
    ck_assert_int_eq(db_move_end(one, &old, JOB_DONE, NULL), 1);
    ck_ok(db_move_put_back(one, &old, 0));
    ck_assert_int_eq(number("SELECT count(*) FROM job WHERE state = 'running' AND line = 0"), 1);
    ck_ok(chunk(two, &new, NULL, &n));
    ck_ok(db_move_end(two, &new, JOB_DONE, NULL));
    ck_assert_int_eq(db_move_end(two, &new, JOB_FAILED, NULL), 1);
}
END_TEST

START_TEST(one_that_is_being_taken_is_not_waited_for)
{
    struct db_job second;

    populate(1);
    (void)add(MOVE_SUSPEND, 1);
    second = add(MOVE_RESUME, 1);
    ck_ok(db_begin(two));
    (void)take(two);
    ck_assert_int_eq(take(one).job.row_id, second.row_id); /* waiting would end this test */
    db_rollback(two);
}
END_TEST

START_TEST(faults_in_a_row_are_counted_until_a_chunk_is_done)
{
    struct db_move move;
    size_t n;

    populate(2);
    (void)add(MOVE_SUSPEND, 2);
    for (int i = 0; i < 3; i++) {
        move = take(one);
        ck_assert_int_eq(move.n_broken, i);
        move.n_broken++;
        ck_ok(db_move_put_back(one, &move, 0));
    }
    move = take(one);
    ck_ok(chunk(one, &move, NULL, &n));
    ck_ok(db_move_put_back(one, &move, 0));
    ck_assert(!take(one).is_revoked);
    ck_assert_int_eq(number("SELECT n_broken FROM move"), 0);
    sql("UPDATE client SET revoked_at = now()");
    sql("UPDATE job SET lease_until = now()");
    ck_assert(take(one).is_revoked);
}
END_TEST

START_TEST(a_waiting_one_is_cancelled_at_once_and_a_running_one_hears_of_it)
{
    struct db_job waiting;
    struct db_move move, none;

    populate(2);
    waiting = add(MOVE_SUSPEND, 2);
    ck_ok(db_job_cancel(one, &waiting));
    ck_assert_int_eq(number("SELECT count(*) FROM move_device"), 0);
    ck_assert_int_eq(db_move_take(one, &none), 1);
    (void)add(MOVE_SUSPEND, 2);
    move = take(one);
    ck_ok(db_job_cancel(two, &move.job));
    ck_assert_int_eq(number("SELECT count(*) FROM move_device"), 2);
    ck_ok(db_begin(one));
    ck_ok(db_move_advance(one, &move, 2, 0));
    ck_assert(move.job.cancel_wanted);
    db_rollback(one);
    /* Nobody interrupts what a service takes by itself. */
    sql("UPDATE job SET lease_until = now() WHERE state = 'running'");
    ck_ok(db_job_sweep(one));
    ck_assert_int_eq(number("SELECT count(*) FROM job WHERE state = 'running'"), 1);
}
END_TEST

START_TEST(of_a_batch_there_is_what_the_organization_holds)
{
    struct db_move_order order = {.move = MOVE_QUARANTINE, .request_id = "r"};
    struct db_move_devices devices = {.any_holder = false};
    struct db_job job;

    populate(5);
    devices.batch_id = number("SELECT min(batch_id) FROM device");
    sql("WITH o AS (INSERT INTO organization (name) VALUES ('other') RETURNING id)"
        " UPDATE device SET owner_id = o.id FROM o WHERE dev_eui = (SELECT dev_eui FROM device ORDER BY dev_eui LIMIT 1)");
    ck_ok(db_move_add(one, organization, client, &order, &devices, &job));
    ck_assert_int_eq(job.n_rows, 4);
    devices.any_holder = true;
    ck_ok(db_move_add(one, organization, client, &order, &devices, &job));
    ck_assert_int_eq(job.n_rows, 5);
    sql("DELETE FROM move_device; DELETE FROM move; DELETE FROM job");
    for (int i = 0; i < DB_MOVE_OPEN_MAX; i++)
        (void)add(MOVE_SUSPEND, 1);
    ck_assert_int_eq(
        db_move_add(one, organization, client, &order, &devices, &job), DB_MOVE_TOO_MANY_JOBS);
}
END_TEST

START_TEST(a_batch_that_is_too_large_is_told)
{
    struct db_move_order order = {.move = MOVE_QUARANTINE, .request_id = "r"};
    struct db_move_devices devices = {.any_holder = false};
    struct db_job job;

    populate(1);
    devices.batch_id = number("SELECT min(batch_id) FROM device");
    sql("INSERT INTO device (dev_eui, join_eui, mac_version, organization_id, batch_id, batch_line,"
        "  credential) SELECT decode(lpad(to_hex(g + (1::int8 << 40)), 16, '0'), 'hex'), join_eui,"
        "  mac_version, organization_id, batch_id, g + 10, 'activable'"
        " FROM device, generate_series(1, " MANY ") g");
    ck_ok(db_begin(one));
    ck_assert_int_eq(
        db_move_add(one, organization, client, &order, &devices, &job), DB_MOVE_TOO_MANY_DEVICES);
    db_rollback(one);
    sql("DELETE FROM device WHERE batch_line = 11");
    ck_ok(db_move_add(one, organization, client, &order, &devices, &job));
    ck_assert_int_eq(job.n_rows, DB_MOVE_BATCH_MAX);
    ck_assert_int_eq(number("SELECT count(*) FROM move_device"), DB_MOVE_BATCH_MAX);
}
END_TEST

/* What it comes to for `n_rows` devices, or its outcome. */
static int add_of_batch(enum device_move move, struct db_move_devices devices, int64_t *ret_n_rows)
{
    struct db_move_order order = {.move = move, .request_id = "r"};
    struct db_job job;
    int r;

    ck_ok(db_begin(one));
    r = db_move_add(one, organization, client, &order, &devices, &job);
    if (r == 0)
        ck_ok(db_commit(one));
    else
        db_rollback(one);
    *ret_n_rows = r == 0 ? job.n_rows : 0;
    return r;
}

START_TEST(a_scrapping_by_state_of_a_large_batch_is_made_in_several_calls)
{
    struct db_move_devices devices = {.has_credential = true, .credential = CREDENTIAL_DELIVERED};
    struct db_move_devices all = {0}, scrapped;
    int64_t n_rows;

    populate(1);
    devices.batch_id = all.batch_id = number("SELECT min(batch_id) FROM device");
    sql("INSERT INTO device (dev_eui, join_eui, mac_version, organization_id, batch_id, batch_line,"
        "  credential) SELECT decode(lpad(to_hex(g + (1::int8 << 40)), 16, '0'), 'hex'), join_eui,"
        "  mac_version, organization_id, batch_id, g + 10, 'delivered'"
        " FROM device, generate_series(1, " MANY " + 1) g");
    /* Only a move that ends the state leaves its rest to the next call. */
    ck_assert_int_eq(add_of_batch(MOVE_SCRAP, all, &n_rows), DB_MOVE_TOO_MANY_DEVICES);
    ck_assert_int_eq(add_of_batch(MOVE_QUARANTINE, devices, &n_rows), DB_MOVE_TOO_MANY_DEVICES);
    ck_ok(add_of_batch(MOVE_SCRAP, devices, &n_rows));
    ck_assert_int_eq(n_rows, DB_MOVE_BATCH_MAX);
    ck_assert_int_eq(number("SELECT count(*) FROM move_device m JOIN device d USING (dev_eui)"
                            " WHERE d.batch_line = m.line + 10"),
        DB_MOVE_BATCH_MAX);
    sql("UPDATE device SET credential = 'scrapped', service = 'inactive'"
        " WHERE dev_eui IN (SELECT dev_eui FROM move_device)");
    ck_ok(add_of_batch(MOVE_SCRAP, devices, &n_rows));
    ck_assert_int_eq(n_rows, 1);
    sql("UPDATE device SET credential = 'scrapped', service = 'inactive' WHERE credential = 'delivered'");
    scrapped = devices;
    scrapped.credential = CREDENTIAL_SCRAPPED;
    ck_assert_int_eq(add_of_batch(MOVE_SCRAP, scrapped, &n_rows), DB_MOVE_TOO_MANY_DEVICES);
}
END_TEST

/* A job of moves that is done: device 1 is still the organization's, with the code of the job. */
START_TEST(codes_of_a_job_are_made_where_they_are_its_organization_s)
{
    static const uint8_t job_name[DB_CODE_CALL_LEN] = {1}, other_name[DB_CODE_CALL_LEN] = {3};
    struct db_code_call call = {.made_by = {2}}, other;
    struct db_code codes[3], told;
    struct db_code_device devices[4];
    struct db_move move;
    bool stored[1];
    size_t n;

    populate(3);
    (void)add(MOVE_ROTATE_CODE, 3);
    move = take(one);
    for (size_t i = 0; i < 3; i++)
        codes[i] = (struct db_code){.dev_eui = listed[i], .generation = 1, .hash = {9}};
    ck_ok(db_code_renew(one, codes, 3, CODE_ROTATED, organization, job_name));
    ck_ok(chunk(one, &move, NULL, &n));
    ck_ok(db_move_end(one, &move, JOB_DONE, NULL));
    sql("UPDATE device SET ownership = 'offered' WHERE dev_eui = (SELECT dev_eui FROM device ORDER BY dev_eui DESC LIMIT 1)");
    codes[1].generation = 2;
    ck_ok(db_code_renew(one, &codes[1], 1, CODE_ROTATED, organization, other_name));

    call.job_id = move.job.row_id;
    call.organization_id = organization;
    memcpy(call.untold_by, job_name, sizeof(job_name));
    ck_ok(db_code_begin(one, &call));
    other = call;
    ck_assert_int_eq(db_code_begin(two, &other), 1);
    ck_ok(db_code_walk(one, &call, 0, devices, 4, &n));
    ck_assert_uint_eq(n, 3);
    ck_assert(devices[0].due && !devices[1].due && !devices[2].due);
    call.renew = true;
    ck_ok(db_code_walk(one, &call, 0, devices, 4, &n));
    ck_assert(devices[0].due && devices[1].due && !devices[2].due);
    told = (struct db_code){.dev_eui = listed[0], .generation = 2, .hash = {8}};
    call.organization_id++;
    ck_ok(db_code_make(one, &call, &told, 1, stored));
    ck_assert(!stored[0]);
    call.organization_id--;
    ck_ok(db_code_make(one, &call, &told, 1, stored));
    ck_assert(stored[0]);
    ck_ok(db_code_make(one, &call, &told, 1, stored)); /* another one has come before */
    ck_assert(!stored[0]);
    db_code_end(one, &call);
    ck_ok(db_code_begin(two, &other));
    db_code_end(two, &other);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_list_is_kept_in_its_order_until_the_end);
    tcase_add_test(tcase, a_chunk_moves_all_or_nothing);
    tcase_add_test(tcase, who_was_overtaken_moves_nothing);
    tcase_add_test(tcase, one_that_is_being_taken_is_not_waited_for);
    tcase_add_test(tcase, faults_in_a_row_are_counted_until_a_chunk_is_done);
    tcase_add_test(tcase, a_waiting_one_is_cancelled_at_once_and_a_running_one_hears_of_it);
    tcase_add_test(tcase, of_a_batch_there_is_what_the_organization_holds);
    tcase_add_test(tcase, a_batch_that_is_too_large_is_told);
    tcase_add_test(tcase, a_scrapping_by_state_of_a_large_batch_is_made_in_several_calls);
    tcase_add_test(tcase, codes_of_a_job_are_made_where_they_are_its_organization_s);
}

int main(void)
{
    return run_suite("db move", add_tests);
}
