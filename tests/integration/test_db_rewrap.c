#include "db/rewrap.h"

#include "tests/integration/db_fixture.h"
#include <stdio.h>
#include <string.h>

#define TARGET "store-device.2 store-kek.1"
#define OLD "store-device.1"
#define NEW "store-device.2"
#define OTHER "store-device.3"

static struct db_rewrap_row rows[DB_REWRAP_PIECE];

/* A step with what was found, as if nothing could be sealed anew. */
static void go_on(struct db *db, struct db_rewrap *walk, size_t n)
{
    const struct db_rewrap_step step = {.end = n == 0};

    ck_assert_int_eq(db_rewrap_write(db, walk, rows, n, &step), 0);
}

/* Two keys a device: more than are looked at in one statement. */
START_TEST(statement_looks_at_so_many_rows_whatever_they_are_under)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_activation");
    const uint32_t n_devices = DB_REWRAP_LOOK / 2 + 10;
    const struct eui64 last = eui_of(DB_REWRAP_LOOK / 2), late = eui_of(n_devices);
    struct db_rewrap walk;
    size_t n;

    make_devices(1, n_devices, LW_MAC_1_1);
    ck_ok(db_rewrap_take(db, TARGET, &walk));
    ck_ok(db_rewrap_load(db, &walk, OLD, 1, rows, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_mem_eq(&rows[0].dev_eui, &last, sizeof(last));
    ck_assert_int_eq(rows[0].slot, KEY_SLOT_NWK);
    ck_assert_str_eq(rows[0].kek.key.kek_label, OLD);
    go_on(db, &walk, n);

    /* What is under another label is found behind it, and told once. */
    ck_assert_int_eq(
        pg_sql(cluster, database,
            "UPDATE device_key SET kek_label = '" OTHER "' WHERE slot = 2 AND dev_eui ="
            " (SELECT dev_eui FROM device_key ORDER BY 1 DESC LIMIT 1)"),
        0);
    ck_ok(db_rewrap_load(db, &walk, OLD, 1, rows, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert_mem_eq(&rows[0].dev_eui, &late, sizeof(late));
    ck_assert_str_eq(rows[0].kek.key.kek_label, OTHER);
    go_on(db, &walk, n);
    ck_ok(db_rewrap_load(db, &walk, OLD, 1, rows, &n));
    ck_assert_uint_eq(n, 0);
    go_on(db, &walk, n);
    ck_assert_int_eq(walk.part, DB_REWRAP_PART_KEKS);
}
END_TEST

START_TEST(piece_is_of_the_first_rows_and_the_walk_goes_on_behind_them)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_activation");
    struct db_rewrap walk;
    size_t n;

    make_devices(1, DB_REWRAP_PIECE + 2, LW_MAC_1_0_3);
    ck_ok(db_rewrap_take(db, TARGET, &walk));
    ck_ok(db_rewrap_load(db, &walk, NEW, 1, rows, &n));
    ck_assert_uint_eq(n, DB_REWRAP_PIECE);
    go_on(db, &walk, n);
    ck_ok(db_rewrap_load(db, &walk, NEW, 1, rows, &n));
    ck_assert_uint_eq(n, 2);
}
END_TEST

START_TEST(finished_walk_begins_anew_when_it_is_told_to)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_activation");
    CLEANUP(db_cleanup) struct db *owner = open_as("cradle_owner");
    struct db_rewrap_progress progress;
    struct db_rewrap walk;

    ck_ok(db_rewrap_take(db, TARGET, &walk));
    ck_assert_int_eq(
        pg_sql(cluster, database, "UPDATE key_rewrap SET started_at = now() - interval '1 h'"), 0);
    for (int part = 0; part < N_DB_REWRAP_PARTS; part++)
        go_on(db, &walk, 0);
    ck_ok(db_rewrap_progress(owner, &progress));
    ck_assert(progress.finished);
    ck_assert_int_eq(db_rewrap_take(db, TARGET, &walk), 1);
    ck_ok(db_rewrap_again(owner, TARGET));
    ck_assert_int_eq(db_rewrap_take(db, TARGET, &walk), 0);
    ck_assert_int_eq(walk.part, DB_REWRAP_PART_DEVICES);
}
END_TEST

static int64_t uses_of(struct db *db, const char *key, const char *what)
{
    static struct db_rewrap_use uses[DB_REWRAP_USES_MAX];
    size_t n;

    ck_ok(db_rewrap_uses(db, key, uses, &n));
    for (size_t i = 0; i < n; i++) {
        ck_assert(key[0] == '\0' || strcmp(uses[i].key, key) == 0);
        if (strcmp(uses[i].what, what) == 0)
            return uses[i].n;
    }
    return 0;
}

/* Between the reading of a piece and its writing: by an import, a replacement, another walk. */
START_TEST(row_that_changed_since_it_was_read_stays_as_it_is)
{
    enum { N = 5 };
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_activation");
    CLEANUP(db_cleanup) struct db *owner = open_as("cradle_owner");
    const struct db_rewrap_step step = {.n_changed = N};
    struct db_rewrap walk;
    size_t n;

    make_devices(1, N, LW_MAC_1_0_3);
    ck_ok(db_rewrap_take(db, TARGET, &walk));
    ck_ok(db_rewrap_load(db, &walk, OLD, 1, rows, &n));
    ck_assert_uint_eq(n, 1); /* how far was looked */
    ck_ok(db_rewrap_load(db, &walk, OLD, 2, rows, &n));
    ck_assert_uint_eq(n, N);
    for (size_t i = 0; i < N; i++) {
        ck_assert_uint_eq(rows[i].kek.key.tag_version, 1);
        rows[i].changed = true;
        rows[i].fresh = rows[i].kek.key;
        memset(rows[i].fresh.tag, (int)(i + 1), sizeof(rows[i].fresh.tag));
        rows[i].fresh.tag_version = 2;
    }
    ck_assert_int_eq(pg_sql(cluster, database,
                         "UPDATE device_key SET tag = sha256('another') WHERE dev_eui ="
                         " (SELECT dev_eui FROM device_key ORDER BY 1 OFFSET 2 LIMIT 1)"),
        0);
    ck_ok(db_rewrap_write(db, &walk, rows, n, &step));
    ck_assert_int_eq(uses_of(owner, "tag.1", "device keys"), 1);
    ck_assert_int_eq(uses_of(owner, "tag.2", "device keys"), N - 1);
    ck_assert_int_eq(uses_of(owner, OLD, "device keys"), N);
    ck_assert_int_eq(uses_of(owner, NEW, "device keys"), 0);
    ck_assert_int_eq(uses_of(owner, "", "device keys"), N);
    ck_assert_int_eq(
        pg_number(cluster, database,
            "SELECT count(*) FROM device_key WHERE tag = sha256('another') AND n_rewrapped = 0"),
        1);
    /* The next pass comes upon it, and what was written is read again as it was. */
    walk.at_device = (struct eui64){0};
    walk.at_id = 0;
    ck_ok(db_rewrap_load(db, &walk, OLD, 2, rows, &n));
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(rows[0].kek.key.tag_version, 1);
    ck_assert_uint_eq(rows[1].kek.key.tag_version, 2);
    ck_assert_uint_eq(rows[1].kek.key.tag[31], N);
}
END_TEST

START_TEST(tag_that_says_no_version_cannot_be_stored)
{
    static const char *const wrong[] = {"tag || '\\x0001'", "tag || '\\x2710'", "tag || '\\x02'",
        "tag || '\\x000002'", "substring(tag FROM 2)"};

    make_devices(1, 1, LW_MAC_1_0_3);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char sql[128];

        (void)snprintf(sql, sizeof(sql), "UPDATE device_key SET tag = %s", wrong[i]);
        ck_assert_msg(pg_sql(cluster, database, sql) != 0, "%s", wrong[i]);
    }
    ck_assert_int_eq(pg_sql(cluster, database, "UPDATE device_key SET tag = tag || '\\x270f'"), 0);
}
END_TEST

/* What cannot be sealed anew is asked about seldom, until somebody has done something about it. */
START_TEST(walk_that_changes_nothing_rests_longer_and_longer)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_activation");
    CLEANUP(db_cleanup) struct db *owner = open_as("cradle_owner");
    const struct db_rewrap_step stuck = {.n_stuck = 1, .reason = "stuck"};
    static const int rests[] = {5, 10, 20, 40, 80, 160, 320, 600, 600};
    struct db_rewrap walk;

    make_devices(1, 1, LW_MAC_1_0_3);
    for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
        size_t n;

        ck_assert_int_eq(db_rewrap_take(db, TARGET, &walk), 0);
        ck_ok(db_rewrap_load(db, &walk, NEW, 1, rows, &n));
        ck_assert_uint_eq(n, 1);
        ck_ok(db_rewrap_write(db, &walk, rows, n, &stuck));
        for (int part = 0; part < N_DB_REWRAP_PARTS; part++)
            go_on(db, &walk, 0);
        ck_assert_int_eq(db_rewrap_take(db, TARGET, &walk), 1);
        ck_assert_int_eq(pg_number(cluster, database,
                             "SELECT ceil(extract(epoch FROM lease_until - now()) / 5)::int * 5"
                             " FROM key_rewrap"),
            rests[i]);
        ck_assert_int_eq(
            pg_sql(cluster, database, "UPDATE key_rewrap SET lease_until = '-infinity'"), 0);
    }
    ck_assert_int_eq(
        pg_sql(cluster, database, "UPDATE key_rewrap SET lease_until = now() + interval '1 h'"), 0);
    ck_ok(db_rewrap_wake(owner));
    ck_assert_int_eq(db_rewrap_take(db, TARGET, &walk), 0);
}
END_TEST

/* A key process may be late to see what seals. */
START_TEST(walk_does_not_end_before_all_have_seen_what_seals)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_activation");
    CLEANUP(db_cleanup) struct db *owner = open_as("cradle_owner");
    struct db_rewrap_progress progress;
    struct db_rewrap walk;

    for (int late = 0; late < 2; late++) {
        ck_ok(db_rewrap_take(db, TARGET, &walk));
        ck_assert_int_eq(pg_sql(cluster, database,
                             late ? "UPDATE key_rewrap SET started_at = now() - interval '21 s'"
                                  : "UPDATE key_rewrap SET started_at = now() - interval '10 s'"),
            0);
        for (int part = 0; part < N_DB_REWRAP_PARTS; part++)
            go_on(db, &walk, 0);
        ck_ok(db_rewrap_progress(owner, &progress));
        ck_assert_int_eq(progress.finished, late);
        ck_assert_int_eq(
            pg_sql(cluster, database, "UPDATE key_rewrap SET lease_until = '-infinity'"), 0);
    }
}
END_TEST

START_TEST(end_of_a_walk_is_told_once)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_activation");
    struct db_rewrap walk;

    ck_ok(db_rewrap_take(db, TARGET, &walk));
    ck_assert_int_eq(
        pg_sql(cluster, database, "UPDATE key_rewrap SET started_at = now() - interval '1 h'"), 0);
    for (int part = 0; part < N_DB_REWRAP_PARTS; part++)
        go_on(db, &walk, 0);
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT count(*) FROM audit_event WHERE action = 'keys.rewrap.end' AND"
                         " object = '" TARGET "' AND organization_id IS NULL"),
        1);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, row_that_changed_since_it_was_read_stays_as_it_is);
    tcase_add_test(tcase, tag_that_says_no_version_cannot_be_stored);
    tcase_add_test(tcase, walk_that_changes_nothing_rests_longer_and_longer);
    tcase_add_test(tcase, walk_does_not_end_before_all_have_seen_what_seals);
    tcase_add_test(tcase, end_of_a_walk_is_told_once);
    tcase_add_test(tcase, statement_looks_at_so_many_rows_whatever_they_are_under);
    tcase_add_test(tcase, finished_walk_begins_anew_when_it_is_told_to);
    tcase_add_test(tcase, piece_is_of_the_first_rows_and_the_walk_goes_on_behind_them);
}

int main(void)
{
    return run_suite("db rewrap", add);
}
