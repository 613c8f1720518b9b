#include "db/rewrap.h"

#include "tests/integration/db_fixture.h"
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

static void add(TCase *tcase)
{
    tcase_add_test(tcase, statement_looks_at_so_many_rows_whatever_they_are_under);
    tcase_add_test(tcase, finished_walk_begins_anew_when_it_is_told_to);
    tcase_add_test(tcase, piece_is_of_the_first_rows_and_the_walk_goes_on_behind_them);
}

int main(void)
{
    return run_suite("db rewrap", add);
}
