/* Test windows on a real PostgreSQL: whose they may be, how they end, and that their joins are
 * counted whoever counts. */
#include "db/test_window.h"
#include "device/gate.h"
#include "tests/integration/db_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_SERVERS 8
#define MAX_JOINS 5

static const struct net_id test_network = {{0, 0, 0x24}};

static struct db *join, *activation;
static int64_t organization, batch;

static void setup(void)
{
    join = open_as("cradle_join");
    activation = open_as("cradle_activation");
}

static void teardown(void)
{
    db_close(join);
    db_close(activation);
}

static void sql(const char *text)
{
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

static int64_t number(const char *text)
{
    return pg_number(cluster, database, text);
}

/* Devices 1 to n, nobody's. */
static void make_unowned(uint32_t n, enum lw_mac_version version)
{
    make_devices(1, n, version);
    sql("UPDATE device SET ownership = 'unowned', owner_id = NULL, service = 'inactive',"
        " home_net_id = NULL, as_id = NULL, credential = 'personalized'");
    organization = number("SELECT id FROM organization");
    batch = number("SELECT max(id) FROM batch");
}

static int64_t open_window(const struct eui64 *devices, size_t n_devices)
{
    struct db_test_window w = {
        .net_id = test_network, .as_id = "test-as", .max_joins = MAX_JOINS, .hours = 1};
    int64_t n = -1;

    ck_ok(db_test_window_open(activation, batch, organization, devices, n_devices, &w, &n));
    return n;
}

static enum device_gate gate_of(const struct db_join_row *row)
{
    return device_gate_judge(&row->record, &test_network, &row->record.join_eui);
}

static struct db_join_commit test_commit(const struct db_join_row *row, uint16_t dev_nonce)
{
    struct db_join_commit c = commit_of(row, dev_nonce, false);

    c.test_join = (uint16_t)(row->record.test.joins + 1);
    c.net_id = test_network;
    return c;
}

static bool commit_one(const struct db_join_commit *c)
{
    bool won = false;

    ck_ok(db_join_commit(join, c, 1, &won));
    return won;
}

START_TEST(a_window_is_read_with_its_device_and_its_joins_are_counted_and_marked)
{
    struct db_join_row row;
    struct db_join_commit c;

    make_unowned(2, LW_MAC_1_0_3);
    ck_assert_int_eq(open_window((const struct eui64[]){eui_of(1)}, 1), 1);
    for (uint16_t i = 0; i < MAX_JOINS; i++) {
        row = load_one(join, 1, i);
        ck_assert_int_eq(gate_of(&row), GATE_TEST);
        ck_assert_uint_eq(row.record.test.joins, i);
        ck_assert_str_eq(device_as_id(&row.record), "test-as");
        c = test_commit(&row, i);
        ck_assert(commit_one(&c));
    }
    row = load_one(join, 1, MAX_JOINS);
    ck_assert_int_eq(gate_of(&row), GATE_HIDDEN_TEST_USED_UP);
    ck_assert_int_eq(number("SELECT count(*) FROM join_event WHERE test_join = join_nonce"), 5);
    row = load_one(join, 2, 0);
    ck_assert_int_eq(gate_of(&row), GATE_HIDDEN_CREDENTIAL);
    /* What was used stays used: no JoinNonce and no DevNonce comes again in the next window. */
    ck_assert_int_eq(open_window(NULL, 0), 2);
    row = load_one(join, 1, 0);
    ck_assert_int_eq(gate_of(&row), GATE_TEST);
    ck_assert_uint_eq(row.record.test.joins, 0);
    ck_assert_uint_eq(row.state.join_nonce, MAX_JOINS);
    ck_assert(row.dev_nonce_used);
}
END_TEST

START_TEST(an_ordinary_join_counts_nothing)
{
    struct db_join_row row;
    struct db_join_commit c;

    make_devices(1, 1, LW_MAC_1_0_3);
    row = load_one(join, 1, 1);
    ck_assert(!row.record.test.present);
    c = commit_of(&row, 1, false);
    ck_assert(commit_one(&c));
    ck_assert_int_eq(number("SELECT count(*) FROM device_join WHERE test_joins IS NOT NULL"), 0);
    ck_assert_int_eq(number("SELECT count(*) FROM join_event WHERE test_join IS NOT NULL"), 0);
}
END_TEST

static const char *const no_windows[] = {
    "UPDATE device SET ownership = 'claimed', owner_id = organization_id",
    "UPDATE device SET credential = 'scrapped'",
    "UPDATE device SET credential = 'ordered'",
    ("INSERT INTO organization (name) VALUES ('owner');"
     " INSERT INTO claim_code (dev_eui, generation, hash, weak, origin, made_by, released_by,"
     "  released_at) SELECT dev_eui, 1, sha256(''), false, 'claimed', sha256(''),"
     "  (SELECT id FROM organization WHERE name = 'owner'), now() FROM device"),
    "UPDATE device SET batch_id = NULL",
    ("INSERT INTO organization (name) VALUES ('other');"
     " UPDATE device SET organization_id = (SELECT id FROM organization WHERE name = 'other')"),
};

START_TEST(only_what_nobody_has_owned_may_have_a_window)
{
    make_unowned(1, LW_MAC_1_0_3);
    sql(no_windows[_i]);
    ck_assert_msg(open_window(NULL, 0) == 0, "%s", no_windows[_i]);
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE test_net_id IS NOT NULL"), 0);
}
END_TEST

/** Each between load and commit: the join loses, and the window is over or another. */
static const struct {
    const char *sql;
    bool ends; /* it, and its sessions */
} ends[] = {
    {"UPDATE device SET ownership = 'claimed', owner_id = organization_id,"
     " ownership_epoch = ownership_epoch + 1, service = 'active'",
        true},
    {"UPDATE device SET ownership_epoch = ownership_epoch + 1", true},
    {"UPDATE device SET credential = 'scrapped'", true},
    {"UPDATE device SET test_net_id = NULL, test_as_id = NULL, test_max_joins = NULL,"
     " test_opened_at = NULL, test_until = NULL",
        true},
    {"UPDATE device SET test_until = test_until - interval '2 hours'", false},
    {"UPDATE device SET test_net_id = '\\x000025'", false},
    {"UPDATE device SET trust = 'quarantined'", false},
};

START_TEST(whatever_ends_a_window_makes_a_join_lose_its_race)
{
    char sqlstate[6];
    struct db_join_row row;
    struct db_join_commit c;

    make_unowned(1, LW_MAC_1_1);
    ck_assert_int_eq(open_window(NULL, 0), 1);
    row = load_one(join, 1, 1);
    c = test_commit(&row, 1);
    c.opt_neg = true;
    ck_assert(commit_one(&c));
    row = load_one(join, 1, 2);
    pg_try(cluster, database, "cradle_activation", ends[_i].sql, sqlstate);
    ck_assert_str_eq(sqlstate, "00000");
    c = test_commit(&row, 2);
    ck_assert_msg(!commit_one(&c), "%s", ends[_i].sql);
    row = load_one(join, 1, 2);
    ck_assert_int_ne(gate_of(&row), GATE_TEST);
    if (ends[_i].ends) {
        ck_assert(!row.record.test.present);
        ck_assert_int_eq(number("SELECT count(*) FROM device_join WHERE pending_join_nonce IS NULL"
                                " AND test_joins IS NULL"),
            1);
    }
}
END_TEST

START_TEST(what_is_claimed_and_released_has_no_window_any_more)
{
    make_unowned(1, LW_MAC_1_0_3);
    ck_assert_int_eq(open_window(NULL, 0), 1);
    sql("UPDATE device SET ownership = 'claimed', owner_id = organization_id,"
        " ownership_epoch = ownership_epoch + 1");
    sql("UPDATE device SET ownership = 'unowned', owner_id = NULL,"
        " ownership_epoch = ownership_epoch + 1");
    ck_assert(!load_one(join, 1, 1).record.test.present);
}
END_TEST

START_TEST(a_batch_is_closed_whole_and_told_as_it_was_opened)
{
    static struct db_test_window list[DB_TEST_WINDOWS_MAX];
    struct db_join_row row;
    struct db_join_commit c;
    struct eui64 missing;
    int64_t n;
    size_t n_windows;

    make_unowned(4, LW_MAC_1_0_3);
    ck_assert_int_eq(open_window(NULL, 0), 4);
    row = load_one(join, 2, 1);
    c = test_commit(&row, 1);
    ck_assert(commit_one(&c));
    ck_assert_int_eq(open_window((const struct eui64[]){eui_of(4)}, 1), 1);
    ck_ok(db_test_window_list(activation, batch, list, &n_windows));
    ck_assert_uint_eq(n_windows, 2);
    ck_assert_int_eq(list[0].n_devices, 1);
    ck_assert_int_eq(list[1].n_devices, 3);
    ck_assert_int_eq(list[1].n_joins, 1);
    ck_assert_uint_eq(list[1].max_joins, MAX_JOINS);
    ck_assert_str_eq(list[1].as_id, "test-as");
    ck_assert(!list[1].expired);
    ck_ok(db_begin(activation));
    ck_assert_int_eq(open_window((const struct eui64[]){eui_of(3), eui_of(9)}, 2), 1);
    ck_ok(db_test_window_missing(
        activation, batch, (const struct eui64[]){eui_of(3), eui_of(9)}, 2, &missing));
    ck_assert_mem_eq(&missing, eui_of(9).bytes, sizeof(missing));
    db_rollback(activation);
    ck_ok(db_test_window_close(activation, batch, &n));
    ck_assert_int_eq(n, 4);
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE test_until IS NOT NULL"), 0);
    ck_ok(db_test_window_close(activation, batch, &n));
    ck_assert_int_eq(n, 0);
}
END_TEST

START_TEST(a_batch_with_too_many_is_left_alone)
{
    char text[400];

    make_unowned(1, LW_MAC_1_0_3);
    (void)snprintf(text, sizeof(text),
        "INSERT INTO device (dev_eui, join_eui, mac_version, organization_id, batch_id, credential)"
        " SELECT decode('02ffff00' || lpad(to_hex(i), 8, '0'), 'hex'), join_eui, mac_version,"
        "  organization_id, batch_id, credential FROM device, generate_series(1, %d) i",
        DB_TEST_DEVICES_MAX);
    sql(text);
    ck_assert_int_eq(open_window(NULL, 0), DB_TEST_DEVICES_MAX + 1);
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE test_net_id IS NOT NULL"), 0);
}
END_TEST

struct server {
    pthread_t thread;
    struct db *db;
    uint16_t first_nonce;
    unsigned n_won;
    int result;
};

/* A join server that has a new DevNonce for every try, and stops when the gate does. */
static void *serve(void *arg)
{
    struct server *s = arg;
    uint16_t dev_nonce = s->first_nonce;

    for (;;) {
        struct db_join_key key = {.dev_eui = eui_of(1), .dev_nonce = dev_nonce};
        struct db_join_commit c;
        struct db_join_row row;
        bool won = false;

        if ((s->result = db_join_load(s->db, &key, 1, &row)) < 0 || gate_of(&row) != GATE_TEST)
            return NULL;
        c = test_commit(&row, dev_nonce++);
        if ((s->result = db_join_commit(s->db, &c, 1, &won)) < 0)
            return NULL;
        s->n_won += won;
    }
}

struct change {
    pthread_t thread;
    int result;
};

/* Of device 1 the gate alone changes, of device 2 its window ends. */
static void *change_both(void *arg)
{
    struct change *c = arg;

    c->result = db_exec(activation,
        "UPDATE device SET credential = CASE WHEN test_net_id IS NULL THEN 'activable'"
        " ELSE 'scrapped' END",
        true);
    return NULL;
}

static const char *hot_row(char text[static 120], uint32_t number, const char *how)
{
    char hex[EUI64_TEXT_LEN + 1];
    const struct eui64 eui = eui_of(number);

    (void)snprintf(text, 120, "SELECT FROM device_join WHERE dev_eui = '\\x%s' FOR %s",
        eui64_format(&eui, hex), how);
    return text;
}

/* Or a batch of joins and such a change would wait for each other. */
START_TEST(whatever_changes_of_devices_their_hot_rows_are_locked_in_the_order_of_deveuis)
{
    const struct eui64 second = eui_of(2);
    struct change change = {.result = -1};
    char text[120];

    make_unowned(2, LW_MAC_1_0_3);
    ck_assert_int_eq(open_window(&second, 1), 1);
    ck_ok(db_begin(join));
    ck_ok(db_exec(join, hot_row(text, 1, "NO KEY UPDATE"), false));
    ck_assert_int_eq(pthread_create(&change.thread, NULL, change_both, &change), 0);
    wait_until("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
               " AND query LIKE 'UPDATE device SET credential%'");
    sql(hot_row(text, 2, "UPDATE NOWAIT")); /* it has not come so far */
    db_rollback(join);
    pthread_join(change.thread, NULL);
    ck_ok(change.result);
}
END_TEST

START_TEST(however_many_servers_count_a_window_has_the_joins_it_has)
{
    static struct server servers[N_SERVERS];
    unsigned n_won = 0;

    make_unowned(1, LW_MAC_1_0_3);
    ck_assert_int_eq(open_window(NULL, 0), 1);
    for (uint16_t i = 0; i < N_SERVERS; i++) {
        servers[i] =
            (struct server){.db = open_as("cradle_join"), .first_nonce = (uint16_t)(i * 1000)};
        ck_assert_int_eq(pthread_create(&servers[i].thread, NULL, serve, &servers[i]), 0);
    }
    for (unsigned i = 0; i < N_SERVERS; i++) {
        pthread_join(servers[i].thread, NULL);
        db_close(servers[i].db);
        ck_assert_int_eq(servers[i].result, 0);
        n_won += servers[i].n_won;
    }
    ck_assert_uint_eq(n_won, MAX_JOINS);
    ck_assert_int_eq(number("SELECT count(*) FROM join_event"), MAX_JOINS);
    ck_assert_int_eq(number("SELECT test_joins FROM device_join"), MAX_JOINS);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_window_is_read_with_its_device_and_its_joins_are_counted_and_marked);
    tcase_add_test(tcase, an_ordinary_join_counts_nothing);
    tcase_add_loop_test(tcase, only_what_nobody_has_owned_may_have_a_window, 0,
        sizeof(no_windows) / sizeof(no_windows[0]));
    tcase_add_loop_test(tcase, whatever_ends_a_window_makes_a_join_lose_its_race, 0,
        sizeof(ends) / sizeof(ends[0]));
    tcase_add_test(tcase, what_is_claimed_and_released_has_no_window_any_more);
    tcase_add_test(tcase, a_batch_is_closed_whole_and_told_as_it_was_opened);
    tcase_add_test(tcase, a_batch_with_too_many_is_left_alone);
    tcase_add_test(
        tcase, whatever_changes_of_devices_their_hot_rows_are_locked_in_the_order_of_deveuis);
    tcase_add_test(tcase, however_many_servers_count_a_window_has_the_joins_it_has);
}

int main(void)
{
    return run_suite("db test window", add);
}
