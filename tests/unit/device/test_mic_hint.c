#include "device/mic_hint.h"

#include "db/join.h"
#include "tests/support/suite.h"
#include <string.h>

START_TEST(each_mistake_has_a_sentence_of_its_own_that_fits)
{
    for (unsigned i = 0; i < LW_N_MIC_MISTAKES; i++) {
        const char *reason = device_mic_hint_reason((enum lw_mic_mistake)i);

        ck_assert_uint_le(strlen(reason), DB_REASON_MAX);
        ck_assert_int_eq(strncmp(reason, "the MIC is wrong", strlen("the MIC is wrong")), 0);
        for (unsigned j = 0; j < i; j++)
            ck_assert_str_ne(reason, device_mic_hint_reason((enum lw_mic_mistake)j));
    }
}
END_TEST

START_TEST(no_mistake_and_an_unknown_one_are_no_more_than_a_wrong_mic)
{
    ck_assert_str_eq(device_mic_hint_reason(LW_MIC_NO_MISTAKE), "the MIC is wrong");
    ck_assert_str_eq(
        device_mic_hint_reason((enum lw_mic_mistake)LW_N_MIC_MISTAKES), "the MIC is wrong");
}
END_TEST

SUITE_MAIN("mic_hint", 10, each_mistake_has_a_sentence_of_its_own_that_fits,
    no_mistake_and_an_unknown_one_are_no_more_than_a_wrong_mic)
