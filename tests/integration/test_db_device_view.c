#include "db/device_view.h"

#include "base/text.h"
#include "db/attempt.h"
#include "db/statement.h"
#include "tests/integration/db_fixture.h"
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_MAX 16
#define AT "'2026-01-02 03:04:05+00'::timestamptz"
#define AT_US 1767323045000000

static struct db *db;
static int64_t maker, owner;

/* Devices 1 to 5 of `maker`, with an owner of their own: 2 and 4 belong to `owner`, 5 to nobody. */
static void up(void)
{
    make_devices(1, 5, LW_MAC_1_0_3);
    maker = pg_number(cluster, database, "SELECT id FROM organization WHERE name = 'maker'");
    ck_assert_int_eq(
        pg_sql(cluster, database, "INSERT INTO organization (name) VALUES ('owner'), ('other')"),
        0);
    owner = pg_number(cluster, database, "SELECT id FROM organization WHERE name = 'owner'");
    ck_assert_int_eq(
        pg_sql(cluster, database,
            "UPDATE device SET owner_id = (SELECT id FROM organization WHERE name = 'owner'),"
            " ownership_epoch = 2, name = 'pump', serial = 'S1'"
            " WHERE dev_eui IN ('\\x70b3d50000000002', '\\x70b3d50000000004');"
            "UPDATE device SET owner_id = NULL, ownership = 'unowned', service = 'inactive',"
            " ownership_epoch = 0, home_net_id = NULL, as_id = NULL"
            " WHERE dev_eui = '\\x70b3d50000000005'"),
        0);
    db = open_as("cradle_activation");
}

static void down(void)
{
    db_close(db);
}

static void sql(const char *text)
{
    ck_assert_int_eq(pg_sql(cluster, database, text), 0);
}

/* The generic plan, as the session runs it. */
static char *plan(enum db_statement_id id)
{
    const struct db_statement *s = db_statement_at(id);
    struct text text = {0};
    PGresult *result;

    ck_ok(db_prepare(db, id));
    text_addf(&text, "EXPLAIN EXECUTE %s (", s->name);
    for (size_t i = 0; i < s->n_params; i++)
        text_add(&text, i > 0 ? ", NULL" : "NULL");
    text_add(&text, ")");
    result = PQexec(db->conn, text.data);
    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
    text_clear(&text);
    for (int i = 0; i < PQntuples(result); i++)
        text_addf(&text, "%s\n", PQgetvalue(result, i, 0));
    PQclear(result);
    return text.data;
}

/* The numbers of what an organization's list has, one digit each. */
static const char *listed(
    int64_t organization, const struct eui64 *after, int64_t batch, size_t n_max, char *out)
{
    static struct db_device list[N_MAX];
    size_t n;

    ck_ok(db_device_list(db, organization, after, batch, list, n_max, &n));
    for (size_t i = 0; i < n; i++) {
        ck_assert(list[i].is_held);
        out[i] = (char)('0' + list[i].record.dev_eui.bytes[7]);
    }
    out[n] = '\0';
    return out;
}

START_TEST(a_list_is_one_scan_of_the_holders_index_whenever_it_was_planned)
{
    char *all = plan(DB_DEVICE_LIST), *batch = plan(DB_DEVICE_LIST_BATCH);

    ck_assert_msg(strstr(all, "Index Scan using device_holder") != NULL, "%s", all);
    ck_assert_msg(strstr(all, "Sort") == NULL && strstr(all, "Seq Scan") == NULL, "%s", all);
    ck_assert_msg(strstr(batch, "Index Scan using device_of_batch") != NULL, "%s", batch);
    ck_assert_msg(strstr(batch, "Sort") == NULL && strstr(batch, "Seq Scan") == NULL, "%s", batch);
    free(all);
    free(batch);
}
END_TEST

START_TEST(attempts_are_found_by_their_indexes)
{
    char *list = plan(DB_ATTEMPT_LIST), *uses = plan(DB_ATTEMPT_USES), *find = plan(DB_DEVICE_FIND);

    ck_assert_msg(
        strstr(list, "Seq Scan") == NULL && strstr(list, "Index Scan") != NULL, "%s", list);
    ck_assert_msg(
        strstr(uses, "Seq Scan") == NULL && strstr(uses, "Index Scan") != NULL, "%s", uses);
    ck_assert_msg(strstr(find, "Seq Scan on join_event") == NULL, "%s", find);
    free(list);
    free(uses);
    free(find);
}
END_TEST

START_TEST(each_lists_what_it_holds_in_the_order_of_dev_euis)
{
    struct eui64 second = eui_of(2);
    int64_t batch = pg_number(cluster, database, "SELECT max(id) FROM batch");
    char out[N_MAX + 1];

    ck_assert_str_eq(listed(maker, NULL, 0, N_MAX, out), "135");
    ck_assert_str_eq(listed(owner, NULL, 0, N_MAX, out), "24");
    ck_assert_str_eq(listed(owner + 1, NULL, 0, N_MAX, out), "");
    ck_assert_str_eq(listed(maker, &second, 0, N_MAX, out), "35");
    ck_assert_str_eq(listed(maker, NULL, 0, 2, out), "13");
    ck_assert_str_eq(listed(maker, NULL, batch, N_MAX, out), "135");
    ck_assert_str_eq(listed(maker, NULL, batch + 1, N_MAX, out), "");
}
END_TEST

START_TEST(a_device_is_found_by_its_holder_and_who_brought_it_in)
{
    struct eui64 sold = eui_of(2), missing = eui_of(9);
    struct db_device device;

    ck_ok(db_device_find(db, &sold, owner, &device));
    ck_assert(device.is_held && !device.is_brought && !device.has_batch);
    ck_assert_str_eq(device.name, "pump");
    ck_assert_str_eq(device.serial, "S1");
    ck_assert_str_eq(device.record.as_id, "demo-as");
    ck_assert_uint_eq(device.record.ownership_epoch, 2);
    ck_ok(db_device_find(db, &sold, maker, &device));
    ck_assert(!device.is_held && device.is_brought && device.has_batch);
    ck_assert_int_eq(db_device_find(db, &sold, owner + 1, &device), 1);
    ck_assert_int_eq(db_device_find(db, &missing, owner, &device), 1);
}
END_TEST

static bool is_pending(uint32_t number, int64_t organization)
{
    struct eui64 dev_eui = eui_of(number);
    struct db_device device;

    ck_ok(db_device_find(db, &dev_eui, organization, &device));
    return device.rejoin_pending;
}

START_TEST(a_rejoin_is_pending_until_a_join_under_the_present_owner)
{
    ck_assert(is_pending(2, owner));
    ck_assert(!is_pending(5, maker)); /* nobody's */
    sql("INSERT INTO join_event (at, dev_eui, join_type, outcome, ownership_epoch) VALUES"
        " (now(), '\\x70b3d50000000002', 255, 'success', 1),"
        " (now(), '\\x70b3d50000000002', 255, 'mic_failed', 2)");
    ck_assert(is_pending(2, owner));
    sql("INSERT INTO join_event (at, dev_eui, join_type, outcome, ownership_epoch) VALUES"
        " (clock_timestamp() + interval '1 ms', '\\x70b3d50000000002', 255, 'success', 2)");
    ck_assert(!is_pending(2, owner));
    sql("UPDATE device SET service = 'suspended' WHERE dev_eui = '\\x70b3d50000000004'");
    ck_assert(!is_pending(4, owner));
}
END_TEST

/* Of device 2: three of one moment, one before, and others' that are none of ours. */
static void make_attempts(void)
{
    sql("INSERT INTO join_event (at, dev_eui, join_type, outcome, reason, sender_id, dev_nonce,"
        "  join_nonce, net_id, dev_addr, ownership_epoch) VALUES"
        " (" AT ", '\\x70b3d50000000002', 255, 'success', NULL, '000013', 7, 4, '\\x000013',"
        "  '\\x26010203', 2),"
        " (" AT
        ", '\\x70b3d50000000002', 255, 'mic_failed', 'no', '000013', 8, NULL, NULL, NULL, 2),"
        " (" AT ", '\\x70b3d50000000002', 1, 'mic_failed', 'no', '000013', 9, NULL, NULL, NULL, 2),"
        " (" AT " - interval '1 ms', '\\x70b3d50000000002', 255, 'unavailable', 'why', '000024', 6,"
        "  NULL, NULL, NULL, 2),"
        " (" AT ", '\\x70b3d50000000002', 255, 'success', NULL, '000013', 5, 3, '\\x000013',"
        "  '\\x26010203', 1),"
        " (" AT ", '\\x70b3d50000000004', 255, 'success', NULL, '000013', 5, 3, '\\x000013',"
        "  '\\x26010203', 2)");
}

START_TEST(attempts_are_those_of_one_owner_the_newest_first)
{
    struct eui64 dev_eui = eui_of(2);
    struct db_attempt list[N_MAX];
    size_t n;

    make_attempts();
    ck_ok(db_attempt_list(db, &dev_eui, 2, NULL, list, N_MAX, &n));
    ck_assert_uint_eq(n, 4);
    ck_assert(list[0].success && !list[1].success && !list[3].success);
    ck_assert_int_eq(list[0].at_us, AT_US);
    ck_assert_str_eq(list[0].at, "2026-01-02T03:04:05Z");
    ck_assert_uint_eq(list[0].join_nonce, 4);
    ck_assert_uint_eq(list[0].dev_addr.bytes[0], 0x26);
    ck_assert_int_eq(list[1].dev_nonce, 9);
    ck_assert_int_eq(list[1].join_type, LW_REJOIN_1);
    ck_assert_str_eq(list[3].outcome, "unavailable");
    ck_assert_str_eq(list[3].reason, "why");
    ck_assert_str_eq(list[3].sender_id, "000024");
}
END_TEST

START_TEST(a_page_goes_on_among_attempts_of_one_moment)
{
    struct eui64 dev_eui = eui_of(2);
    struct db_attempt list[N_MAX];
    struct db_attempt_place place = {AT_US, 2};
    size_t n;

    make_attempts();
    ck_ok(db_attempt_list(db, &dev_eui, 2, &place, list, N_MAX, &n));
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(list[0].dev_nonce, 8);
    ck_assert_int_eq(list[1].dev_nonce, 6);
    ck_ok(db_attempt_list(db, &dev_eui, 2, &place, list, 1, &n));
    ck_assert_uint_eq(n, 1);
    place = (struct db_attempt_place){AT_US - 1, 0};
    ck_ok(db_attempt_list(db, &dev_eui, 2, &place, list, N_MAX, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(list[0].dev_nonce, 6);
}
END_TEST

START_TEST(uses_of_dev_nonces_are_the_joins_of_one_owner)
{
    struct eui64 dev_eui = eui_of(2);
    struct db_nonce_use uses[N_MAX];
    const uint16_t nonces[] = {5, 7, 7, 8};
    size_t n;

    make_attempts();
    ck_ok(db_attempt_uses(db, &dev_eui, 2, nonces, 4, uses, N_MAX, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(uses[0].dev_nonce, 7);
    ck_assert_int_eq(uses[0].at_us, AT_US);
    ck_assert_str_eq(uses[0].at, "2026-01-02T03:04:05Z");
}
END_TEST

/* Which checks fail, as letters from 'a' on in their order. */
static const char *failing(uint32_t number, char *out)
{
    struct eui64 dev_eui = eui_of(number);
    struct device_preflight facts;
    size_t n = 0;

    ck_ok(db_device_preflight(db, &dev_eui, &facts));
    for (int i = 0; i < N_DEVICE_CHECKS; i++)
        if (!device_check_passes((enum device_check)i, &facts))
            out[n++] = (char)('a' + i);
    out[n] = '\0';
    return out;
}

#define KEK(kind, id, class)                                                                       \
    "INSERT INTO kek (peer_kind, peer_id, class, label, is_current, kek_label, blob, tag) VALUES"  \
    " ('" kind "', '" id                                                                           \
    "', '" class "', 'l', true, 'store-kek.1',"                                                    \
                 "  decode(repeat('00', 24), 'hex'), decode(repeat('00', 32), 'hex'));"
#define PEER(kind, name) "INSERT INTO peer (kind, name) VALUES ('" kind "', '" name "');"

START_TEST(a_preflight_sees_peers_keks_and_routes)
{
    struct eui64 missing = eui_of(9);
    struct device_preflight facts;
    char out[N_DEVICE_CHECKS + 1];

    ck_assert_int_eq(db_device_preflight(db, &missing, &facts), 1);
    ck_assert_str_eq(failing(2, out), "fgijk"); /* neither peers nor routes */
    ck_assert_str_eq(failing(5, out), "bcefghijk");
    sql(PEER("network_server", "ns") PEER("application_server",
        "demo-as") "INSERT INTO peer_net_id SELECT id, '\\x000013' FROM peer WHERE name = 'ns';"
                   "INSERT INTO join_route (prefix, prefix_len, kind) VALUES"
                   " ('\\x70b3d5ff00000000', 40, 'local')");
    ck_assert_str_eq(failing(2, out), "gj");
    sql(KEK("network_server", "000013/70b3d57ed0000001", "ns")
            KEK("application_server", "demo-as", "as"));
    ck_assert_str_eq(failing(2, out), "");
    sql("UPDATE join_route SET prefix = '\\x70b3d5fe00000000'");
    ck_assert_str_eq(failing(2, out), "k");
    sql("UPDATE join_route SET prefix = '\\x0000000000000000', prefix_len = 0");
    ck_assert_str_eq(failing(2, out), "");
    sql("DELETE FROM kek; UPDATE peer SET allow_plain_keys = true, app_s_key = 'plain'"
        " WHERE name = 'ns'");
    ck_assert_str_eq(failing(2, out), "");
    sql("UPDATE peer SET revoked_at = now()");
    ck_assert_str_eq(failing(2, out), "fgij");
}
END_TEST

START_TEST(a_preflight_counts_the_random_dev_nonces_of_the_present_epoch)
{
    struct eui64 dev_eui = eui_of(2);
    struct device_preflight facts;

    sql("INSERT INTO dev_nonce_page (dev_eui, join_eui, nonce_epoch, page, newest, bits) VALUES"
        " ('\\x70b3d50000000002', '\\x70b3d5ff00000001', 0, 0, 0,"
        "  set_bit(set_bit(decode(repeat('00', 256), 'hex'), 5, 1), 9, 1)),"
        " ('\\x70b3d50000000002', '\\x70b3d5ff00000001', 0, 3, 0, decode(repeat('ff', 256), 'hex')),"
        " ('\\x70b3d50000000002', '\\x70b3d5ff00000001', 1, 0, 0, decode(repeat('ff', 256), 'hex'))");
    ck_ok(db_device_preflight(db, &dev_eui, &facts));
    ck_assert_uint_eq(facts.n_used, 2050);
    sql("UPDATE device_join SET recent_nonces = '\\x00070008', recent_join_eui ="
        " '\\x70b3d5ff00000001' WHERE dev_eui = '\\x70b3d50000000002'");
    ck_ok(db_device_preflight(db, &dev_eui, &facts));
    ck_assert_uint_eq(facts.n_used, 2052);
    /* In pages they count no second time, and those of another epoch not at all. */
    sql("UPDATE device_join SET nonce_epoch = 1, has_pages = true, recent_nonces = '\\x0009'");
    ck_ok(db_device_preflight(db, &dev_eui, &facts));
    ck_assert_uint_eq(facts.n_used, 2052);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, up, down);
    tcase_add_test(tc, a_list_is_one_scan_of_the_holders_index_whenever_it_was_planned);
    tcase_add_test(tc, attempts_are_found_by_their_indexes);
    tcase_add_test(tc, each_lists_what_it_holds_in_the_order_of_dev_euis);
    tcase_add_test(tc, a_device_is_found_by_its_holder_and_who_brought_it_in);
    tcase_add_test(tc, a_rejoin_is_pending_until_a_join_under_the_present_owner);
    tcase_add_test(tc, attempts_are_those_of_one_owner_the_newest_first);
    tcase_add_test(tc, a_page_goes_on_among_attempts_of_one_moment);
    tcase_add_test(tc, uses_of_dev_nonces_are_the_joins_of_one_owner);
    tcase_add_test(tc, a_preflight_sees_peers_keks_and_routes);
    tcase_add_test(tc, a_preflight_counts_the_random_dev_nonces_of_the_present_epoch);
}

int main(void)
{
    return run_suite("db device view", add_tests);
}
