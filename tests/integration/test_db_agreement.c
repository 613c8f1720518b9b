#include "base/clock.h"
#include "db/account.h"
#include "db/agreement.h"
#include "tests/integration/db_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 20000

static struct db *activation, *join;

static const struct net_id a = {{0, 0, 0x13}}, b = {{0, 0, 0x24}}, c = {{0, 0, 0x35}};

static void setup(void)
{
    activation = open_as("cradle_activation");
    join = open_as("cradle_join");
}

static void teardown(void)
{
    db_close(activation);
    db_close(join);
}

static struct db_agreement add(struct device_agreement is)
{
    struct db_agreement made = {.is = is};

    if (made.is.ends_s == 0)
        made.is.ends_s = AGREEMENT_NO_END;
    ck_ok(db_agreement_add(activation, &made));
    return made;
}

static enum device_agreed judge(
    const struct net_id *home, const struct net_id *visited, unsigned what, int64_t now_s)
{
    CLEANUP(device_agreements_done) struct device_agreements all = {0};

    ck_ok(db_agreements_load(join, &all));
    return device_agreements_judge(&all, home, visited, what, now_s);
}

START_TEST(an_agreement_is_kept_as_it_was_said)
{
    struct db_agreement one, found;

    one = add((struct device_agreement){
        .home = a, .visited = b, .allows = AWAY_HOME_NS, .starts_s = 1000, .ends_s = 2000});
    ck_assert_str_eq(one.starts_at, "1970-01-01T00:16:40Z");
    ck_assert_str_eq(one.ends_at, "1970-01-01T00:33:20Z");
    ck_assert_str_eq(one.group, "");
    ck_ok(db_agreement_find(activation, one.id, &found));
    ck_assert_mem_eq(&found.is.home, &a, sizeof(a));
    ck_assert_mem_eq(&found.is.visited, &b, sizeof(b));
    ck_assert_int_eq(found.is.starts_s, 1000);
    ck_assert_int_eq(found.is.ends_s, 2000);
    ck_assert_uint_eq(found.is.allows, AWAY_HOME_NS);
    ck_assert(!found.is.both_ways);
    ck_assert_int_eq(db_agreement_find(activation, one.id + 1, &found), 1);
    ck_assert_int_eq(db_agreement_find(activation, 0, &found), 1);
    ck_assert_int_eq(db_agreement_find(activation, -1, &found), 1);
}
END_TEST

START_TEST(what_is_loaded_is_judged_by_the_time_of_who_asks)
{
    struct db_agreement one = add((struct device_agreement){
        .home = a, .visited = b, .allows = AWAY_ALL, .starts_s = 1000, .ends_s = 2000});

    ck_assert_int_eq(judge(&a, &b, AWAY_ACTIVATION, 999), AGREED_NOT_BEGUN);
    ck_assert_int_eq(judge(&a, &b, AWAY_ACTIVATION, 1000), AGREED);
    ck_assert_int_eq(judge(&a, &b, AWAY_ACTIVATION, 1999), AGREED);
    ck_assert_int_eq(judge(&a, &b, AWAY_ACTIVATION, 2000), AGREED_ENDED);
    ck_assert_int_eq(judge(&b, &a, AWAY_ACTIVATION, 1500), AGREED_NOTHING);
    one.is.both_ways = true;
    one.is.allows = AWAY_ACTIVATION;
    one.is.ends_s = AGREEMENT_NO_END;
    ck_ok(db_agreement_set(activation, &one));
    ck_assert_str_eq(one.ends_at, "");
    ck_assert_int_eq(judge(&b, &a, AWAY_ACTIVATION, 5000), AGREED);
    ck_assert_int_eq(judge(&b, &a, AWAY_HOME_NS, 5000), AGREED_ELSE);
    ck_ok(db_agreement_remove(activation, one.id));
    ck_assert_int_eq(db_agreement_remove(activation, one.id), 1);
    ck_assert_int_eq(db_agreement_set(activation, &one), 1);
    ck_assert_int_eq(judge(&b, &a, AWAY_ACTIVATION, 5000), AGREED_NOTHING);
}
END_TEST

START_TEST(one_without_a_start_has_begun)
{
    struct db_agreement one =
        add((struct device_agreement){.home = a, .visited = b, .allows = AWAY_ALL});

    ck_assert_int_gt(one.is.starts_s, 0);
    ck_assert_int_eq(judge(&a, &b, AWAY_ALL, clock_unix_s()), AGREED);
}
END_TEST

START_TEST(members_of_a_group_agree_as_long_as_they_are_members)
{
    CLEANUP(db_group_list_done) struct db_group_list list = {0};
    struct db_agreement one;
    bool has_agreement;
    int64_t id;

    ck_ok(db_group_add(activation, "alliance", (const struct net_id[]){c, a, b, a}, 4));
    ck_assert_int_eq(db_group_add(activation, "alliance", &a, 1), DB_GROUP_TAKEN);
    ck_ok(db_group_hold(activation, "alliance", &id, &has_agreement));
    ck_assert(!has_agreement);
    ck_ok(db_group_list(activation, "alliance", 0, 10, &list));
    ck_assert_uint_eq(list.n, 1);
    ck_assert_str_eq(list.groups[0].net_ids, "000013,000024,000035");
    ck_assert_int_eq(judge(&a, &b, AWAY_ALL, 1000), AGREED_NOTHING);
    one = add((struct device_agreement){.group_id = id, .allows = AWAY_ALL, .starts_s = 1000});
    ck_assert_str_eq(one.group, "alliance");
    ck_assert_int_eq(judge(&a, &b, AWAY_ALL, 1000), AGREED);
    ck_assert_int_eq(judge(&c, &a, AWAY_ALL, 1000), AGREED);
    ck_ok(db_group_set(activation, id, (const struct net_id[]){a, c}, 2));
    ck_assert_int_eq(judge(&a, &b, AWAY_ALL, 1000), AGREED_NOTHING);
    ck_assert_int_eq(judge(&c, &a, AWAY_ALL, 1000), AGREED);
    ck_ok(db_group_hold(activation, "alliance", &id, &has_agreement));
    ck_assert(has_agreement);
    ck_assert_int_lt(db_group_remove(activation, id), 0); /* the database itself says no */
    ck_ok(db_agreement_remove(activation, one.id));
    ck_ok(db_group_remove(activation, id));
    ck_assert_int_eq(db_group_hold(activation, "alliance", &id, &has_agreement), 1);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM roaming_group_member"), 0);
}
END_TEST

START_TEST(the_directory_is_told_of_every_change)
{
    struct db_agreement one;
    bool has_agreement;
    int64_t id;

    ck_ok(db_directory_listen(join));
    while (db_directory_wait(join, 0) > 0)
        continue;
    one = add((struct device_agreement){.home = a, .visited = b, .allows = AWAY_ALL});
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    one.is.allows = AWAY_HOME_NS;
    ck_ok(db_agreement_set(activation, &one));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_agreement_remove(activation, one.id));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_group_add(activation, "g", (const struct net_id[]){a, b}, 2));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_group_hold(activation, "g", &id, &has_agreement));
    ck_ok(db_group_set(activation, id, (const struct net_id[]){a, c}, 2));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
    ck_ok(db_group_remove(activation, id));
    ck_assert_int_eq(db_directory_wait(join, PATIENCE_MS), 1);
}
END_TEST

START_TEST(the_table_takes_no_agreement_that_is_none)
{
    static const char *const bad[] = {
        "('\\x000013', '\\x000013', false, NULL, true, true, now(), NULL)",
        "('\\x000013', NULL, false, NULL, true, true, now(), NULL)",
        "(NULL, NULL, false, NULL, true, true, now(), NULL)",
        "('\\x000013', '\\x000024', false, NULL, false, false, now(), NULL)",
        "('\\x000013', '\\x000024', false, NULL, true, true, now(), now())",
        "('\\x000013', '\\x000024', false, (SELECT id FROM roaming_group), true, true, now(), NULL)",
        "(NULL, NULL, true, (SELECT id FROM roaming_group), true, true, now(), NULL)",
        "('\\x0013', '\\x000024', false, NULL, true, true, now(), NULL)",
    };

    ck_ok(db_group_add(activation, "g", (const struct net_id[]){a, b}, 2));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char sql[400];

        (void)snprintf(sql, sizeof(sql),
            "INSERT INTO roaming_agreement (home_net_id, visited_net_id, both_ways, group_id,"
            " activation, home_ns, starts_at, ends_at) VALUES %s",
            bad[i]);
        ck_assert_msg(pg_sql(cluster, database, sql) != 0, "%s", bad[i]);
    }
}
END_TEST

/* --- the owner's narrowing -------------------------------------------------------------------- */

START_TEST(narrowing_is_loaded_and_moves_the_gate)
{
    struct db_join_row before, after;
    struct db_join_commit commit;
    bool won;

    make_devices(1, 1, LW_MAC_1_0_4);
    before = load_one(join, 1, 5);
    ck_assert(!before.record.roaming.narrowed);
    commit = commit_of(&before, 5, true);
    ck_assert_int_eq(pg_sql(cluster, database, "UPDATE device SET roaming = '\\x000024000035'"), 0);
    ck_ok(db_join_commit(join, &commit, 1, &won));
    ck_assert_msg(!won, "a join that was decided before the narrowing came through");
    after = load_one(join, 1, 5);
    ck_assert(after.record.roaming.narrowed);
    ck_assert_uint_eq(after.record.roaming.n, 2);
    ck_assert_mem_eq(&after.record.roaming.net_ids[1], &c, sizeof(c));
    ck_assert_int_eq(pg_sql(cluster, database, "UPDATE device SET roaming = ''"), 0);
    after = load_one(join, 1, 5);
    ck_assert(after.record.roaming.narrowed);
    ck_assert_uint_eq(after.record.roaming.n, 0);
    ck_assert_int_ne(pg_sql(cluster, database, "UPDATE device SET roaming = '\\x00002400'"), 0);
}
END_TEST

START_TEST(a_new_owner_says_anew_where_a_device_roams)
{
    make_devices(1, 1, LW_MAC_1_0_4);
    ck_assert_int_eq(pg_sql(cluster, database, "UPDATE device SET roaming = '\\x000024'"), 0);
    ck_assert_int_eq(pg_sql(cluster, database, "UPDATE device SET service = 'suspended'"), 0);
    ck_assert(load_one(join, 1, 5).record.roaming.narrowed);
    ck_assert_int_eq(
        pg_sql(cluster, database, "UPDATE device SET ownership_epoch = ownership_epoch + 1"), 0);
    ck_assert(!load_one(join, 1, 5).record.roaming.narrowed);
}
END_TEST

/* --- refusals --------------------------------------------------------------------------------- */

static struct db_roaming_refused refused_of(uint32_t device, enum db_roaming_reason reason)
{
    struct db_join_row row = load_one(join, device, 5);

    return (struct db_roaming_refused){.dev_eui = eui_of(device),
        .ownership_epoch = row.record.ownership_epoch,
        .home = a,
        .sender = b,
        .what = AWAY_ACTIVATION,
        .reason = reason,
        .n = 1,
        .first_ms = clock_monotonic_ms(),
        .last_ms = clock_monotonic_ms()};
}

static size_t list(int64_t organization_id, struct db_roaming_refusal *ret, size_t n_max)
{
    size_t n;

    ck_ok(db_roaming_refusal_list(activation, organization_id, 0, ret, n_max, &n));
    return n;
}

START_TEST(refusals_are_counted_by_networks_owner_service_and_reason)
{
    struct db_roaming_refused refused[4];
    struct db_roaming_refusal found[8];
    int64_t owner;

    make_devices(1, 3, LW_MAC_1_0_4);
    owner = pg_number(cluster, database, "SELECT max(owner_id) FROM device");
    refused[0] = refused_of(1, ROAMING_NO_AGREEMENT);
    refused[1] = refused_of(2, ROAMING_NO_AGREEMENT);
    refused[1].n = 5;
    refused[2] = refused_of(1, ROAMING_NARROWED);
    refused[3] = refused_of(3, ROAMING_NO_AGREEMENT);
    refused[3].what = AWAY_HOME_NS;
    for (int i = 0; i < 2; i++)
        ck_ok(db_roaming_refused_add(join, refused, 4));
    ck_assert_uint_eq(list(0, found, 8), 3);
    ck_assert_uint_eq(list(owner, found, 8), 3);
    ck_assert_uint_eq(list(owner + 1000, found, 8), 0);
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT n FROM roaming_refusal WHERE reason = 'no_agreement'"
                         " AND service = 'activation'"),
        12);
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT count(*) FROM roaming_refusal WHERE last_at >= first_at"
                         " AND last_at <= now() AND n IN (2, 12)"),
        3);
    (void)list(0, found, 8);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_mem_eq(&found[i].home, &a, sizeof(a));
        ck_assert_mem_eq(&found[i].sender, &b, sizeof(b));
        ck_assert_int_eq(found[i].organization_id, owner);
    }
}
END_TEST

START_TEST(nothing_is_kept_of_what_is_not_here_or_anothers_by_now)
{
    struct db_roaming_refused refused[2];

    make_devices(1, 1, LW_MAC_1_0_4);
    refused[0] = refused_of(1, ROAMING_ENDED);
    refused[0].dev_eui = eui_of(77);
    refused[1] = refused_of(1, ROAMING_ENDED);
    refused[1].ownership_epoch++;
    ck_ok(db_roaming_refused_add(join, refused, 2));
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM roaming_refusal"), 0);
}
END_TEST

START_TEST(a_full_table_counts_what_it_has_and_takes_nothing_new)
{
    struct db_roaming_refused refused;

    make_devices(1, 1, LW_MAC_1_0_4);
    refused = refused_of(1, ROAMING_ENDED);
    ck_ok(db_roaming_refused_add(join, &refused, 1));
    ck_assert_int_eq(pg_sql(cluster, database,
                         "INSERT INTO roaming_refusal (organization_id, home_net_id,"
                         " sender_net_id, join_prefix, service, reason, n, first_at, last_at,"
                         " last_dev_eui) SELECT organization_id, home_net_id, sender_net_id,"
                         " substr(int4send(i), 2), service, reason, 1,"
                         " now() - interval '91 days', now() - interval '91 days', last_dev_eui"
                         " FROM roaming_refusal, generate_series(1, 9999) AS i"),
        0);
    ck_ok(db_roaming_refused_add(join, &refused, 1));
    ck_assert_int_eq(pg_number(cluster, database, "SELECT max(n) FROM roaming_refusal"), 2);
    refused.reason = ROAMING_NARROWED;
    ck_ok(db_roaming_refused_add(join, &refused, 1));
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM roaming_refusal"),
        DB_ROAMING_REFUSALS_MAX);
    for (size_t n = 1; n > 0;)
        ck_ok(db_roaming_refusal_purge(activation, &n));
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM roaming_refusal"), 1);
    ck_ok(db_roaming_refused_add(join, &refused, 1));
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM roaming_refusal"), 2);
}
END_TEST

/* Or the first networks that were ever refused would hide all that come after them. */
START_TEST(a_full_table_makes_room_by_what_has_not_come_for_longest)
{
    struct db_roaming_refused refused;

    make_devices(1, 1, LW_MAC_1_0_4);
    refused = refused_of(1, ROAMING_ENDED);
    ck_ok(db_roaming_refused_add(join, &refused, 1));
    ck_assert_int_eq(pg_sql(cluster, database,
                         "INSERT INTO roaming_refusal (organization_id, home_net_id,"
                         " sender_net_id, join_prefix, service, reason, n, first_at, last_at,"
                         " last_dev_eui) SELECT organization_id, home_net_id, sender_net_id,"
                         " substr(int4send(i), 2), service, reason, i,"
                         " now() - i * interval '1 minute', now() - i * interval '1 minute',"
                         " last_dev_eui FROM roaming_refusal, generate_series(1, 9999) AS i"),
        0);
    for (size_t n = 1; n > 0;)
        ck_ok(db_roaming_refusal_purge(activation, &n));
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM roaming_refusal"),
        DB_ROAMING_REFUSALS_KEPT);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT max(n) FROM roaming_refusal"),
        DB_ROAMING_REFUSALS_KEPT - 1);
    refused.reason = ROAMING_NARROWED;
    ck_ok(db_roaming_refused_add(join, &refused, 1));
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT count(*) FROM roaming_refusal WHERE reason = 'narrowed'"),
        1);
}
END_TEST

START_TEST(a_list_goes_from_the_newest_back)
{
    struct db_roaming_refused refused[N_ROAMING_REASONS];
    struct db_roaming_refusal found[2];
    int64_t before = 0;
    size_t n, total = 0;

    make_devices(1, 1, LW_MAC_1_0_4);
    for (unsigned i = 0; i < N_ROAMING_REASONS; i++)
        refused[i] = refused_of(1, (enum db_roaming_reason)i);
    ck_ok(db_roaming_refused_add(join, refused, N_ROAMING_REASONS));
    do {
        ck_ok(db_roaming_refusal_list(activation, 0, before, found, 2, &n));
        for (size_t i = 0; i < n; i++) {
            ck_assert(before == 0 || found[i].id < before);
            before = found[i].id;
        }
        total += n;
    } while (n > 0);
    ck_assert_uint_eq(total, N_ROAMING_REASONS);
    ck_assert_int_lt(db_roaming_refused_add(join, refused, 0), 0);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_agreement_is_kept_as_it_was_said);
    tcase_add_test(tcase, what_is_loaded_is_judged_by_the_time_of_who_asks);
    tcase_add_test(tcase, one_without_a_start_has_begun);
    tcase_add_test(tcase, members_of_a_group_agree_as_long_as_they_are_members);
    tcase_add_test(tcase, the_directory_is_told_of_every_change);
    tcase_add_test(tcase, the_table_takes_no_agreement_that_is_none);
    tcase_add_test(tcase, narrowing_is_loaded_and_moves_the_gate);
    tcase_add_test(tcase, a_new_owner_says_anew_where_a_device_roams);
    tcase_add_test(tcase, refusals_are_counted_by_networks_owner_service_and_reason);
    tcase_add_test(tcase, nothing_is_kept_of_what_is_not_here_or_anothers_by_now);
    tcase_add_test(tcase, a_full_table_counts_what_it_has_and_takes_nothing_new);
    tcase_add_test(tcase, a_full_table_makes_room_by_what_has_not_come_for_longest);
    tcase_add_test(tcase, a_list_goes_from_the_newest_back);
}

int main(void)
{
    return run_suite("db agreements", add_tests);
}
