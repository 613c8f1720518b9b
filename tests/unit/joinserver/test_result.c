#include "joinserver/result.h"
#include "tests/support/suite.h"

#include <stdbool.h>
#include <string.h>

START_TEST(every_result_has_a_code_an_outcome_and_a_word_for_the_peer)
{
    for (int i = 0; i < N_JOIN_RESULTS; i++) {
        const struct join_result_row *row = join_result_row((enum join_result)i);

        ck_assert_ptr_nonnull(row->result_code);
        ck_assert_ptr_nonnull(row->outcome);
        ck_assert_int_eq(row->description == NULL, i == JOIN_SUCCESS);
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(row->outcome, join_result_row((enum join_result)j)->outcome);
    }
}
END_TEST

START_TEST(answers_of_1_0_use_codes_of_1_0_only)
{
    static const char *const codes[] = {"Success", "MICFailed", "JoinReqFailed",
        "NoRoamingAgreement", "ActivationDisallowed", "UnknownDevEUI", "UnknownSender",
        "UnkownReceiver", "InvalidProtocolVersion", "MalformedRequest", "FrameSizeError", "Other"};

    for (int i = 0; i < N_JOIN_RESULTS; i++) {
        bool known = false;

        for (size_t j = 0; j < sizeof(codes) / sizeof(codes[0]); j++)
            known |= strcmp(join_result_row((enum join_result)i)->result_code, codes[j]) == 0;
        ck_assert_msg(known, "%s", join_result_row((enum join_result)i)->result_code);
    }
}
END_TEST

SUITE_MAIN("joinserver result", 4, every_result_has_a_code_an_outcome_and_a_word_for_the_peer,
    answers_of_1_0_use_codes_of_1_0_only)
