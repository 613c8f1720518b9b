#include "joinserver/result.h"

#include "device/refusal.h"
#include "tests/support/suite.h"

#include <stdbool.h>
#include <string.h>

START_TEST(every_result_has_a_code_an_outcome_and_a_word_for_the_peer)
{
    for (int i = 0; i < N_JOIN_RESULTS; i++) {
        const struct join_result_row *row = join_result_row((enum join_result)i);

        for (int v = 0; v < N_TS002_VERSIONS; v++)
            ck_assert_ptr_nonnull(row->result_code[v]);
        ck_assert_ptr_nonnull(row->outcome);
        ck_assert_int_eq(row->description == NULL, i == JOIN_SUCCESS);
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(row->outcome, join_result_row((enum join_result)j)->outcome);
    }
}
END_TEST

static bool is_one_of(const char *code, const char *const *codes, size_t n_codes)
{
    for (size_t i = 0; i < n_codes; i++)
        if (strcmp(codes[i], code) == 0)
            return true;
    return false;
}

START_TEST(answers_use_codes_of_their_own_version_only)
{
    static const char *const both[] = {"Success", "MICFailed", "JoinReqFailed",
        "NoRoamingAgreement", "ActivationDisallowed", "UnknownDevEUI", "UnknownSender",
        "UnkownReceiver", "InvalidProtocolVersion", "FrameSizeError", "Other"};
    static const char *const only[N_TS002_VERSIONS][2] = {
        [TS002_1_0] = {"MalformedRequest", "MalformedRequest"},
        [TS002_1_1] = {"MalformedMessage", "FrameReplayed"},
    };

    for (int i = 0; i < N_JOIN_RESULTS; i++)
        for (int v = 0; v < N_TS002_VERSIONS; v++) {
            const char *code = join_result_row((enum join_result)i)->result_code[v];

            ck_assert_msg(is_one_of(code, both, sizeof(both) / sizeof(both[0])) ||
                              is_one_of(code, only[v], 2),
                "%s", code);
        }
}
END_TEST

START_TEST(what_is_recorded_in_words_of_its_own_is_explained_by_its_outcome)
{
    static const struct {
        enum join_result result;
        enum device_refusal refusal;
    } cases[] = {
        {JOIN_MALFORMED, REFUSAL_MALFORMED},
        {JOIN_FRAME_SIZE, REFUSAL_FRAME_SIZE},
        {JOIN_UNKNOWN_RECEIVER, REFUSAL_JOIN_EUI_NOT_ROUTED},
        {JOIN_MIC_FAILED, REFUSAL_MIC_WRONG},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_int_eq(
            device_refusal_find(join_result_row(cases[i].result)->outcome, "in other words"),
            cases[i].refusal);
}
END_TEST

SUITE_MAIN("joinserver result", 4, every_result_has_a_code_an_outcome_and_a_word_for_the_peer,
    answers_use_codes_of_their_own_version_only,
    what_is_recorded_in_words_of_its_own_is_explained_by_its_outcome)
