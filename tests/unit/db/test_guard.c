#include "db/guard.h"

#include "tests/support/suite.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLUSTER 7000000000000000001u
#define OTHER 7000000000000000002u

/* The database that all cases begin with: bumped twice, on timeline 3, seen at position 1000. */
static const struct db_epoch epoch_0 = {
    .epoch = 2, .mark = {2}, .join_nonce_total = 200, .system_identifier = CLUSTER, .timeline = 3};
static const struct db_place place_0 = {
    .system_identifier = CLUSTER, .timeline = 3, .lsn = 1000, .has_standbys = true};
static const struct db_seen seen_0 = {.any = true,
    .mark = {2},
    .join_nonce_total = 200,
    .system_identifier = CLUSTER,
    .timeline = 3,
    .lsn = 1000};

/* What is different, and what comes of it under each setting. */
static const struct {
    const char *what;
    uint64_t system_identifier, lsn; /* 0: as it was */
    uint32_t timeline, row_timeline, total, seen_timeline, went_back;
    uint8_t mark;
    bool unseen, alone, is_dump;
    enum db_verdict bump, synchronous;
} cases[] = {
    {.what = "nothing"},
    {.what = "never seen before", .unseen = true, .lsn = 1},
    {.what = "went on", .lsn = 1001},
    {.what = "dump restored into another cluster",
        .system_identifier = OTHER,
        .bump = DB_VERDICT_OTHER_CLUSTER,
        .synchronous = DB_VERDICT_OTHER_CLUSTER},
    {.what = "dump restored, nobody has seen it before",
        .unseen = true,
        .system_identifier = OTHER,
        .bump = DB_VERDICT_OTHER_CLUSTER,
        .synchronous = DB_VERDICT_OTHER_CLUSTER},
    {.what = "dump restored into the same cluster",
        .is_dump = true,
        .lsn = 5000,
        .bump = DB_VERDICT_DUMP,
        .synchronous = DB_VERDICT_DUMP},
    {.what = "snapshot of the same timeline",
        .lsn = 999,
        .bump = DB_VERDICT_WENT_BACK,
        .synchronous = DB_VERDICT_WENT_BACK},
    {.what = "promoted, whatever was lost",
        .timeline = 4,
        .lsn = 1100,
        .bump = DB_VERDICT_OTHER_TIMELINE,
        .synchronous = DB_VERDICT_TAKE},
    {.what = "promoted without what was answered",
        .timeline = 4,
        .lsn = 999,
        .bump = DB_VERDICT_WENT_BACK,
        .synchronous = DB_VERDICT_WENT_BACK},
    {.what = "promoted, no standby yet",
        .timeline = 4,
        .alone = true,
        .bump = DB_VERDICT_OTHER_TIMELINE,
        .synchronous = DB_VERDICT_NO_STANDBY},
    {.what = "promoted, taken by another service",
        .timeline = 4,
        .row_timeline = 4,
        .bump = DB_VERDICT_TAKEN_BY_OTHERS,
        .synchronous = DB_VERDICT_GOOD},
    {.what = "promoted and taken by another service, without what was answered",
        .timeline = 4,
        .row_timeline = 4,
        .lsn = 999,
        .bump = DB_VERDICT_WENT_BACK,
        .synchronous = DB_VERDICT_WENT_BACK},
    {.what = "promoted and bumped",
        .timeline = 4,
        .row_timeline = 4,
        .total = 300,
        .mark = 3,
        .lsn = 1},
    {.what = "former primary is back",
        .seen_timeline = 4,
        .lsn = 5000,
        .bump = DB_VERDICT_OTHER_TIMELINE,
        .synchronous = DB_VERDICT_STALE},
    {.what = "refused before for having gone back, and written to since",
        .went_back = 3,
        .lsn = 5000,
        .bump = DB_VERDICT_WENT_BACK,
        .synchronous = DB_VERDICT_WENT_BACK},
    {.what = "another than the one that had gone back", .went_back = 4, .lsn = 5000},
    {.what = "bumped since it had gone back", .went_back = 3, .total = 300, .mark = 3, .lsn = 1},
    {.what = "older timeline than the row's, nobody has seen it",
        .unseen = true,
        .timeline = 2,
        .bump = DB_VERDICT_OTHER_TIMELINE,
        .synchronous = DB_VERDICT_STALE},
    {.what = "bumped since", .total = 300, .mark = 3, .lsn = 1},
    {.what = "bumped since in another cluster, and not there",
        .total = 300,
        .mark = 3,
        .timeline = 4,
        .bump = DB_VERDICT_OTHER_TIMELINE,
        .synchronous = DB_VERDICT_TAKE},
    {.what = "from before the last bump",
        .total = 100,
        .mark = 1,
        .lsn = 5000,
        .bump = DB_VERDICT_BEFORE_BUMP,
        .synchronous = DB_VERDICT_BEFORE_BUMP},
    {.what = "same backup bumped a second time to the same gap",
        .mark = 9,
        .lsn = 5000,
        .bump = DB_VERDICT_BEFORE_BUMP,
        .synchronous = DB_VERDICT_BEFORE_BUMP},
};
#define N_CASES (sizeof(cases) / sizeof(*cases))

static void check_case(size_t i)
{
    struct db_epoch epoch = epoch_0;
    struct db_place place = place_0;
    struct db_seen seen = cases[i].unseen ? (struct db_seen){0} : seen_0;

    if (cases[i].system_identifier != 0)
        place.system_identifier = cases[i].system_identifier;
    if (cases[i].lsn != 0)
        place.lsn = cases[i].lsn;
    if (cases[i].timeline != 0)
        place.timeline = cases[i].timeline;
    if (cases[i].row_timeline != 0)
        epoch.timeline = cases[i].row_timeline;
    if (cases[i].seen_timeline != 0)
        seen.timeline = cases[i].seen_timeline;
    seen.went_back = cases[i].went_back;
    if (cases[i].total != 0)
        epoch.join_nonce_total = cases[i].total;
    if (cases[i].mark != 0)
        epoch.mark[0] = cases[i].mark;
    place.has_standbys = !cases[i].alone;
    place.is_dump = cases[i].is_dump;
    ck_assert_msg(db_guard_judge(&epoch, &place, &seen, DB_FAILOVER_BUMP) == cases[i].bump,
        "bump: %s", cases[i].what);
    ck_assert_msg(
        db_guard_judge(&epoch, &place, &seen, DB_FAILOVER_SYNCHRONOUS) == cases[i].synchronous,
        "synchronous: %s", cases[i].what);
}

START_TEST(verdict_is_as_the_table_says)
{
    for (size_t i = 0; i < N_CASES; i++)
        check_case(i);
}
END_TEST

static char path[64];

static void folder_up(void)
{
    (void)snprintf(path, sizeof(path), "/tmp/test_guard.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    (void)snprintf(path + strlen(path), sizeof(path) - strlen(path), "/w");
}

static void folder_down(void)
{
    (void)unlink(path);
    *strrchr(path, '/') = '\0';
    (void)rmdir(path);
}

START_TEST(witness_keeps_what_was_seen_and_the_highest_position)
{
    struct db_witness *w = NULL, *second = NULL;
    struct db_seen seen, bumped = seen_0;
    struct stat at;

    folder_up();
    ck_assert_int_eq(db_witness_open(path, &w), 0);
    ck_assert_int_eq(stat(path, &at), 0);
    ck_assert_int_gt(at.st_blocks, 0); /* no hole: a full disk would kill who writes into it */
    db_witness_read(w, &seen);
    ck_assert(!seen.any);
    db_witness_write(w, &seen_0);
    db_witness_note(w, 1500);
    db_witness_note(w, 1400);
    /* Beside the first, as while a service is replaced by another. */
    ck_assert_int_eq(db_witness_open(path, &second), 0);
    db_witness_note(second, 1600);
    db_witness_close(second);
    db_witness_close(w);
    ck_assert_int_eq(db_witness_open(path, &w), 0);
    db_witness_read(w, &seen);
    ck_assert(seen.any);
    ck_assert_uint_eq(seen.lsn, 1600);
    ck_assert_uint_eq(seen.timeline, seen_0.timeline);
    ck_assert_uint_eq(seen.system_identifier, seen_0.system_identifier);
    ck_assert_uint_eq(seen.join_nonce_total, seen_0.join_nonce_total);
    ck_assert_mem_eq(seen.mark, seen_0.mark, sizeof(seen.mark));
    /* What is noted while a timeline is taken stays; a bump begins anew. */
    db_witness_write(w, &seen_0);
    db_witness_read(w, &seen);
    ck_assert_uint_eq(seen.lsn, 1600);
    bumped.mark[0]++;
    bumped.lsn = 0;
    db_witness_write(w, &bumped);
    db_witness_read(w, &seen);
    ck_assert_uint_eq(seen.lsn, 0);
    db_witness_close(w);
    folder_down();
}
END_TEST

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void check_file(uint64_t lsn, uint8_t mark)
{
    struct db_witness *w = NULL;
    struct db_seen seen;

    ck_assert_int_eq(db_witness_open(path, &w), 0);
    db_witness_read(w, &seen);
    ck_assert_uint_eq(seen.lsn, lsn);
    ck_assert_uint_eq(seen.mark[0], mark);
    db_witness_close(w);
}

/* The kernel refuses each write, as it does where a disk is full. */
START_TEST(witness_that_cannot_be_written_knows_all_itself_and_writes_it_later)
{
    struct db_seen seen, bumped = seen_0;
    struct db_witness *w = NULL;

    folder_up();
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(db_witness_open(path, &w), 0);
    db_witness_write(w, &seen_0);
    limit_files(0);
    db_witness_note(w, 2000);
    db_witness_sync(w);
    db_witness_read(w, &seen);
    ck_assert_uint_eq(seen.lsn, 2000);
    check_file(seen_0.lsn, seen_0.mark[0]);
    bumped.mark[0] = 7;
    bumped.join_nonce_total++;
    bumped.lsn = 5;
    db_witness_write(w, &bumped);
    db_witness_note(w, 10);
    db_witness_read(w, &seen);
    ck_assert_uint_eq(seen.lsn, 10);
    ck_assert_uint_eq(seen.mark[0], 7);
    check_file(seen_0.lsn, seen_0.mark[0]);
    limit_files(RLIM_INFINITY);
    db_witness_sync(w);
    check_file(10, 7);
    db_witness_close(w);
    folder_down();
}
END_TEST

START_TEST(what_could_not_be_written_is_given_up_for_what_another_process_has_seen_later)
{
    struct db_witness *w = NULL, *other = NULL;
    struct db_seen seen, later = seen_0;

    folder_up();
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(db_witness_open(path, &w), 0);
    ck_assert_int_eq(db_witness_open(path, &other), 0);
    db_witness_write(w, &seen_0);
    limit_files(0);
    db_witness_note(w, 2000);
    limit_files(RLIM_INFINITY);
    later.mark[0] = 8;
    later.join_nonce_total++;
    later.lsn = 20;
    db_witness_write(other, &later);
    db_witness_sync(w);
    check_file(20, 8);
    db_witness_read(w, &seen);
    ck_assert_uint_eq(seen.mark[0], 8);
    ck_assert_uint_eq(seen.lsn, 20);
    /* And a lower position of one hides that of the other until its next sync. */
    db_witness_note(other, 40);
    db_witness_note(w, 30);
    db_witness_sync(other);
    check_file(40, 8);
    db_witness_close(other);
    db_witness_close(w);
    folder_down();
}
END_TEST

/* As the file was before it had the timeline that went back. */
START_TEST(shorter_file_of_before_is_read_and_goes_on)
{
    struct db_witness *w = NULL;
    struct db_seen seen;

    folder_up();
    ck_assert_int_eq(db_witness_open(path, &w), 0);
    db_witness_write(w, &seen_0);
    db_witness_close(w);
    ck_assert_int_eq(truncate(path, 56), 0);
    ck_assert_int_eq(db_witness_open(path, &w), 0);
    db_witness_read(w, &seen);
    ck_assert_uint_eq(seen.lsn, seen_0.lsn);
    ck_assert_uint_eq(seen.went_back, 0);
    seen.went_back = 3;
    db_witness_write(w, &seen);
    db_witness_close(w);
    ck_assert_int_eq(db_witness_open(path, &w), 0);
    db_witness_read(w, &seen);
    ck_assert_uint_eq(seen.went_back, 3);
    db_witness_close(w);
    folder_down();
}
END_TEST

START_TEST(file_that_is_no_witness_is_refused_and_left_alone)
{
    static const char *const texts[] = {
        "x", "0123456789abcdef0123456789abcdef0123456789abcdef01234567"};
    struct db_witness *w = NULL;
    char text[80];

    folder_up();
    for (size_t i = 0; i < 2; i++) {
        FILE *file = fopen(path, "we");

        ck_assert_int_ge(fputs(texts[i], file), 0);
        ck_assert_int_eq(fclose(file), 0);
        ck_assert_int_eq(db_witness_open(path, &w), ERROR_CONFIG);
        ck_assert_ptr_nonnull(strstr(error_text(), path));
        file = fopen(path, "re");
        ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
        ck_assert_int_eq(fclose(file), 0);
        ck_assert_str_eq(text, texts[i]);
    }
    ck_assert_int_eq(db_witness_open("/nowhere/witness", &w), ERROR_CONFIG);
    folder_down();
}
END_TEST

START_TEST(failover_is_one_of_two_words)
{
    struct db_guard *guard = NULL;

    ck_assert_int_eq(db_guard_new("async", "", &guard), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "database.failover"));
    ck_assert_int_eq(db_guard_new("synchronous", "", &guard), 0);
    ck_assert_int_eq(db_guard_look(guard), 0);
    db_guard_free(guard);
}
END_TEST

SUITE_MAIN("db guard", 10, verdict_is_as_the_table_says,
    witness_keeps_what_was_seen_and_the_highest_position,
    witness_that_cannot_be_written_knows_all_itself_and_writes_it_later,
    what_could_not_be_written_is_given_up_for_what_another_process_has_seen_later,
    shorter_file_of_before_is_read_and_goes_on, file_that_is_no_witness_is_refused_and_left_alone,
    failover_is_one_of_two_words)
