#include "device/signal.h"

#include "tests/support/suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_S 3600
#define DOCUMENT_MAX 65536
#define ROW_MAX 1200
#define NEAR(a, b) ck_assert_msg((a) > (b)-0.01 && (a) < (b) + 0.01, "%g is not %g", (a), (b))

static const struct device_signal_limits limits = {
    .suspect_at = DEVICE_SUSPECT_AT, .quarantine_at = DEVICE_QUARANTINE_AT, .may_quarantine = true};

START_TEST(every_signal_is_explained_and_found_again_by_its_name)
{
    for (int i = 0; i < N_DEVICE_SIGNALS; i++) {
        const struct device_signal_row *row = device_signal_row((enum device_signal)i);
        enum device_signal found = N_DEVICE_SIGNALS;

        ck_assert(row->name != NULL && row->what != NULL && row->why != NULL && row->to_do != NULL);
        ck_assert_uint_gt(row->weight, 0);
        ck_assert_uint_gt(row->half_life, 0);
        ck_assert_uint_ge(row->most, row->weight);
        ck_assert(device_signal_parse(row->name, &found));
        ck_assert_int_eq(found, i);
    }
    ck_assert(!device_signal_parse("strange", &(enum device_signal){0}));
}
END_TEST

START_TEST(a_signal_weighs_half_after_its_half_life)
{
    for (int i = 0; i < N_DEVICE_SIGNALS; i++) {
        enum device_signal signal = (enum device_signal)i;
        const struct device_signal_row *row = device_signal_row(signal);
        int64_t half_s = (int64_t)row->half_life * HOUR_S;

        NEAR(device_signal_weight(signal, 0), (double)row->weight);
        NEAR(device_signal_weight(signal, half_s), row->weight / 2.0);
        NEAR(device_signal_weight(signal, 3 * half_s), row->weight / 8.0);
        NEAR(device_signal_weight(signal, -5), (double)row->weight);
        NEAR(device_signal_weight(signal, INT64_MAX), 0.0);
    }
}
END_TEST

START_TEST(a_score_is_the_sum_and_no_kind_gives_more_than_its_most)
{
    struct device_signal_seen seen[200] = {{SIGNAL_DEV_NONCE_SERIES, 0}, {SIGNAL_SHARED_KEY, 0}};

    NEAR(device_signal_score(seen, 0), 0.0);
    NEAR(device_signal_score(seen, 2), (double)(device_signal_row(SIGNAL_DEV_NONCE_SERIES)->weight +
                                                device_signal_row(SIGNAL_SHARED_KEY)->weight));
    for (int i = 0; i < N_DEVICE_SIGNALS; i++) {
        for (size_t n = 0; n < 200; n++)
            seen[n] = (struct device_signal_seen){(enum device_signal)i, 0};
        NEAR(
            device_signal_score(seen, 200), (double)device_signal_row((enum device_signal)i)->most);
    }
}
END_TEST

/* Whoever listens near a device, delays its frames and sends them elsewhere. */
START_TEST(what_needs_no_key_puts_nothing_into_quarantine)
{
    unsigned sum = 0;

    for (int i = 0; i < N_DEVICE_SIGNALS; i++)
        if (i != SIGNAL_DEV_NONCE_SERIES && i != SIGNAL_DEV_NONCE_JUMP && i != SIGNAL_SHARED_KEY)
            sum += device_signal_row((enum device_signal)i)->most;
    ck_assert_uint_lt(sum, DEVICE_QUARANTINE_AT);
}
END_TEST

START_TEST(a_device_without_its_counter_is_not_suspect_by_that)
{
    unsigned sum = device_signal_row(SIGNAL_DEV_NONCE_LOWER)->most +
                   device_signal_row(SIGNAL_RJ_COUNT_LOWER)->most +
                   device_signal_row(SIGNAL_DEV_NONCE_JUMP)->most;

    ck_assert_uint_lt(sum, DEVICE_SUSPECT_AT);
}
END_TEST

static bool judge(enum device_trust trust, double score, bool may_quarantine, enum device_move *ret)
{
    struct device_record record = {.credential = CREDENTIAL_ACTIVABLE, .trust = trust};
    struct device_signal_limits l = limits;

    l.may_quarantine = may_quarantine;
    return device_signal_judge(&record, score, &l, ret);
}

START_TEST(a_device_is_moved_at_the_thresholds_and_not_before)
{
    enum device_move move;

    ck_assert(!judge(TRUST_OK, 29.9, true, &move));
    ck_assert(judge(TRUST_OK, 30, true, &move) && move == MOVE_SUSPECT);
    ck_assert(judge(TRUST_OK, 59.9, true, &move) && move == MOVE_SUSPECT);
    ck_assert(judge(TRUST_OK, 60, true, &move) && move == MOVE_QUARANTINE);
    ck_assert(judge(TRUST_OK, 90, false, &move) && move == MOVE_SUSPECT);
    ck_assert(judge(TRUST_SUSPECT, 60, true, &move) && move == MOVE_QUARANTINE);
    ck_assert(!judge(TRUST_SUSPECT, 90, false, &move));
}
END_TEST

START_TEST(a_suspect_device_is_trusted_again_well_below_what_made_it_suspect)
{
    enum device_move move;

    ck_assert(!judge(TRUST_SUSPECT, 29.9, true, &move));
    ck_assert(!judge(TRUST_SUSPECT, 15, true, &move));
    ck_assert(judge(TRUST_SUSPECT, 14.9, true, &move) && move == MOVE_TRUST);
    ck_assert(!judge(TRUST_OK, 0, true, &move));
}
END_TEST

START_TEST(quarantine_is_lifted_by_people_only)
{
    enum device_move move;

    for (int score = 0; score < 100; score++)
        ck_assert(!judge(TRUST_QUARANTINED, score, score % 2 == 0, &move));
}
END_TEST

START_TEST(each_signal_stands_in_the_document)
{
    static char document[DOCUMENT_MAX];
    const char *docs = getenv("CRADLE_DOCS");
    char path[512], row[ROW_MAX];
    FILE *file;
    size_t len;

    ck_assert_ptr_nonnull(docs);
    (void)snprintf(path, sizeof(path), "%s/explain.md", docs);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    len = fread(document, 1, sizeof(document) - 1, file);
    (void)fclose(file);
    document[len] = '\0';
    for (int i = 0; i < N_DEVICE_SIGNALS; i++) {
        const struct device_signal_row *r = device_signal_row((enum device_signal)i);

        (void)snprintf(row, sizeof(row), "\n| %s | %u | %u d | %u | %s %s | %s |\n", r->name,
            r->weight, r->half_life / 24, r->most, r->what, r->why, r->to_do);
        ck_assert_msg(strstr(document, row) != NULL, "not in explain.md: %s", row);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("device signal");
    TCase *tc = tcase_create("signal");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, every_signal_is_explained_and_found_again_by_its_name);
    tcase_add_test(tc, a_signal_weighs_half_after_its_half_life);
    tcase_add_test(tc, a_score_is_the_sum_and_no_kind_gives_more_than_its_most);
    tcase_add_test(tc, what_needs_no_key_puts_nothing_into_quarantine);
    tcase_add_test(tc, a_device_without_its_counter_is_not_suspect_by_that);
    tcase_add_test(tc, a_device_is_moved_at_the_thresholds_and_not_before);
    tcase_add_test(tc, a_suspect_device_is_trusted_again_well_below_what_made_it_suspect);
    tcase_add_test(tc, quarantine_is_lifted_by_people_only);
    tcase_add_test(tc, each_signal_stands_in_the_document);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
