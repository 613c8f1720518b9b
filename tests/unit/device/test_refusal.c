#include "device/refusal.h"

#include "device/gate.h"
#include "device/nonce.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_MAX 65536
#define ROW_MAX 1200
#define REASON_MAX 120 /* of join_event: a longer one is stored in part, and not found again */

/* REFUSAL_NONE is none, and REFUSAL_OTHER has no reason of its own. */
#define FIRST (REFUSAL_NONE + 1)

START_TEST(every_reason_is_explained_and_found_again_by_its_words)
{
    for (int i = FIRST; i < REFUSAL_OTHER; i++) {
        const struct device_explanation *e = device_refusal_explain((enum device_refusal)i);
        const char *reason = device_refusal_reason((enum device_refusal)i);

        ck_assert_msg(reason != NULL && strlen(reason) > 0, "refusal %d has no reason", i);
        ck_assert_msg(strlen(reason) <= REASON_MAX, "%s", reason);
        ck_assert_msg(e->what != NULL && e->why != NULL && e->to_do != NULL, "%s", reason);
        ck_assert_msg(e->what[0] != '\0' && e->why[0] != '\0' && e->to_do[0] != '\0', "%s", reason);
        ck_assert_int_eq(device_refusal_find("whatever", reason), i);
    }
    ck_assert_ptr_null(device_refusal_reason(REFUSAL_NONE));
    ck_assert_ptr_null(device_refusal_reason(REFUSAL_OTHER));
}
END_TEST

START_TEST(each_shut_gate_and_each_bad_nonce_has_a_reason_of_its_own)
{
    bool seen[N_DEVICE_REFUSALS] = {false};

    ck_assert_int_eq(device_gate_refusal(GATE_OPEN), REFUSAL_NONE);
    ck_assert_int_eq(device_gate_refusal(GATE_TEST), REFUSAL_NONE);
    ck_assert_int_eq(device_nonce_refusal(NONCE_FRESH), REFUSAL_NONE);
    for (int i = 0; i < N_DEVICE_GATES; i++) {
        enum device_refusal refusal = device_gate_refusal((enum device_gate)i);

        if (i == GATE_TEST) /* as open as the other */
            continue;
        ck_assert(i == GATE_OPEN || (refusal > REFUSAL_NONE && refusal < REFUSAL_OTHER));
        ck_assert_msg(!seen[refusal], "gate %d", i);
        seen[refusal] = true;
    }
    seen[REFUSAL_NONE] = false;
    for (int i = 0; i < N_DEVICE_NONCES; i++) {
        enum device_refusal refusal = device_nonce_refusal((enum device_nonce)i);

        ck_assert(i == NONCE_FRESH || (refusal > REFUSAL_NONE && refusal < REFUSAL_OTHER));
        ck_assert_msg(!seen[refusal], "nonce %d", i);
        seen[refusal] = true;
    }
}
END_TEST

START_TEST(what_is_in_words_of_its_own_is_explained_by_its_outcome)
{
    ck_assert_int_eq(device_refusal_find("malformed", "DevAddr is missing"), REFUSAL_MALFORMED);
    ck_assert_int_eq(
        device_refusal_find("mic_failed", "the MIC is of another key"), REFUSAL_MIC_WRONG);
    ck_assert_int_eq(device_refusal_find("mic_failed", device_refusal_reason(REFUSAL_NO_SESSION)),
        REFUSAL_NO_SESSION);
    ck_assert_int_eq(device_refusal_find("malformed", NULL), REFUSAL_MALFORMED);
}
END_TEST

START_TEST(a_reason_that_nobody_knows_is_not_lost)
{
    ck_assert_int_eq(device_refusal_find("strange", "of another version"), REFUSAL_OTHER);
    ck_assert_int_eq(device_refusal_find("strange", NULL), REFUSAL_OTHER);
    ck_assert_ptr_eq(device_refusal_explain(REFUSAL_NONE), device_refusal_explain(REFUSAL_OTHER));
    ck_assert_ptr_nonnull(device_refusal_explain(REFUSAL_OTHER)->to_do);
}
END_TEST

START_TEST(who_asked_for_the_home_network_is_not_told_of_a_join)
{
    static const enum device_refusal roaming[] = {REFUSAL_NOT_HOME, REFUSAL_AGREEMENT_ENDED,
        REFUSAL_AGREEMENT_NOT_BEGUN, REFUSAL_AGREEMENT_ELSE, REFUSAL_ROAMING_NARROWED};
    const struct device_explanation *e;

    for (size_t i = 0; i < sizeof(roaming) / sizeof(roaming[0]); i++) {
        e = device_refusal_explain_home_ns(roaming[i]);
        ck_assert_ptr_nonnull(strstr(e->what, "asked who is home"));
        ck_assert_ptr_null(strstr(e->what, "asked for the join"));
        ck_assert_msg(e->why != NULL && e->why[0] != '\0', "%s", e->what);
        ck_assert_msg(e->to_do != NULL && e->to_do[0] != '\0', "%s", e->what);
        ck_assert_ptr_nonnull(strstr(device_refusal_explain(roaming[i])->what, "for the join"));
    }
    /* Each is refused what its agreement leaves out, and that is the other one. */
    e = device_refusal_explain_home_ns(REFUSAL_AGREEMENT_ELSE);
    ck_assert_ptr_nonnull(strstr(e->why, "joins alone"));
    ck_assert_ptr_nonnull(strstr(e->to_do, "--allows activation,home_ns"));
    e = device_refusal_explain(REFUSAL_AGREEMENT_ELSE);
    ck_assert_ptr_nonnull(strstr(e->why, "HomeNSReq alone"));
    ck_assert_ptr_eq(device_refusal_explain_home_ns(REFUSAL_SUSPENDED),
        device_refusal_explain(REFUSAL_SUSPENDED));
}
END_TEST

START_TEST(every_reason_is_in_the_document_in_the_tables_words)
{
    static char document[DOCUMENT_MAX];
    const char *table;
    char path[400];
    FILE *file;
    size_t len, n_rows = 0;

    (void)snprintf(path, sizeof(path), "%s/explain.md", getenv("CRADLE_DOCS"));
    file = fopen(path, "rbe");
    ck_assert_msg(file != NULL, "%s", path);
    len = fread(document, 1, sizeof(document) - 1, file);
    (void)fclose(file);
    ck_assert(len > 0 && len < sizeof(document) - 1);
    for (int i = FIRST; i < REFUSAL_OTHER; i++) {
        const struct device_explanation *e = device_refusal_explain((enum device_refusal)i);
        char row[ROW_MAX];

        (void)snprintf(row, sizeof(row), "\n| `%s` | %s %s | %s |\n",
            device_refusal_reason((enum device_refusal)i), e->what, e->why, e->to_do);
        ck_assert_msg(strstr(document, row) != NULL, "not in explain.md: %s", row);
    }
    /* Nor any other. */
    table = strstr(document, "\n| reason |");
    ck_assert_ptr_nonnull(table);
    for (const char *at = table; (at = strstr(at, "\n| `")) != NULL; at++)
        n_rows++;
    ck_assert_uint_eq(n_rows, REFUSAL_OTHER - FIRST);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("device refusal");
    TCase *tc = tcase_create("refusal");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_test(tc, every_reason_is_explained_and_found_again_by_its_words);
    tcase_add_test(tc, each_shut_gate_and_each_bad_nonce_has_a_reason_of_its_own);
    tcase_add_test(tc, what_is_in_words_of_its_own_is_explained_by_its_outcome);
    tcase_add_test(tc, a_reason_that_nobody_knows_is_not_lost);
    tcase_add_test(tc, who_asked_for_the_home_network_is_not_told_of_a_join);
    tcase_add_test(tc, every_reason_is_in_the_document_in_the_tables_words);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
