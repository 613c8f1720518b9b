#include "device/carried.h"

#include "tests/support/suite.h"
#include <string.h>

static void check(const struct device_explanation *e, const char *word)
{
    ck_assert_msg(e->what[0] != '\0' && e->why[0] != '\0' && e->to_do[0] != '\0', "%s", word);
}

START_TEST(why_one_is_not_even_tried_is_explained)
{
    const char *const words[] = {"loop", "hops", "full", "internal"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        ck_assert_msg(device_carried_is_known(words[i]), "%s", words[i]);
        check(device_carried_explain(words[i], ""), words[i]);
    }
}
END_TEST

START_TEST(an_answer_is_explained_by_its_code_and_anything_else_by_its_outcome)
{
    const struct device_explanation *no_agreement =
        device_carried_explain(CARRIED_ANSWERED, "NoRoamingAgreement");
    const struct device_explanation *unknown =
        device_carried_explain(CARRIED_ANSWERED, "(unknown)");

    ck_assert_ptr_ne(no_agreement, unknown);
    ck_assert_ptr_ne(no_agreement, device_carried_explain("timeout", "NoRoamingAgreement"));
    ck_assert_ptr_eq(device_carried_explain("timeout", ""), device_carried_explain("timeout", "x"));
    check(unknown, "(unknown)");
}
END_TEST

START_TEST(a_word_of_another_version_is_explained_as_such)
{
    ck_assert(!device_carried_is_known("bewitched"));
    check(device_carried_explain("bewitched", ""), "bewitched");
    check(device_carried_explain(CARRIED_ANSWERED, "Bewitched"), "Bewitched");
}
END_TEST

SUITE_MAIN("carried", 4, why_one_is_not_even_tried_is_explained,
    an_answer_is_explained_by_its_code_and_anything_else_by_its_outcome,
    a_word_of_another_version_is_explained_as_such)
