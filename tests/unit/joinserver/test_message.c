#include "joinserver/message.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

static struct ts002_request request_of(const char *type, enum ts002_version version)
{
    struct ts002_request r = {.version = version};

    (void)snprintf(r.message_type, sizeof(r.message_type), "%s", type);
    return r;
}

START_TEST(each_message_is_known_in_its_versions_and_nothing_else_is)
{
    static const struct {
        const char *type;
        bool known[N_TS002_VERSIONS];
        bool notifies, answered;
    } cases[] = {
        {"JoinReq", {true, true}, false, true},
        {"HomeNSReq", {true, true}, false, true},
        {"RejoinReq", {true, true}, false, true},
        {"AppSKeyReq", {true, true}, false, true},
        {"ErrorNotif", {false, true}, true, false},
        {"JoinAns", {false, false}, false, false},
        {"PRStartReq", {false, false}, false, false},
        {"joinreq", {false, false}, false, false},
        {"JoinReq ", {false, false}, false, false},
        {"", {false, false}, false, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int v = 0; v < N_TS002_VERSIONS; v++) {
            struct ts002_request r = request_of(cases[i].type, (enum ts002_version)v);
            const struct join_message *m = join_message_find(&r);

            ck_assert_msg((m != NULL) == cases[i].known[v], "%s", cases[i].type);
            if (m == NULL)
                continue;
            ck_assert_int_eq(m->notifies, cases[i].notifies);
            ck_assert_int_eq(m->check != NULL, cases[i].answered);
            /* What is checked is decided and answered too. */
            ck_assert_int_eq(m->decide != NULL, m->check != NULL);
            ck_assert_int_eq(m->write != NULL, m->check != NULL);
        }
}
END_TEST

START_TEST(what_is_not_answered_is_malformed_and_told_so)
{
    static const struct {
        const char *type, *told;
    } cases[] = {
        {"JoinAns", "MessageType is not one that this join server answers"},
        {"PRStartReq", "MessageType is not one that this join server answers"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ts002_request r = request_of(cases[i].type, TS002_1_0);
        char description[TS002_DESCRIPTION_MAX] = "";

        ck_assert_int_eq(
            join_message_check(join_message_find(&r), &r, description), JOIN_MALFORMED);
        ck_assert_str_eq(description, cases[i].told);
    }
}
END_TEST

START_TEST(a_home_ns_request_needs_its_dev_eui_and_no_frame)
{
    struct ts002_request r = request_of("HomeNSReq", TS002_1_0);
    char description[TS002_DESCRIPTION_MAX] = "";

    ck_assert_int_eq(join_message_check(join_message_find(&r), &r, description), JOIN_MALFORMED);
    r.has_dev_eui = true;
    ck_assert_int_eq(join_message_check(join_message_find(&r), &r, description), JOIN_SUCCESS);
    (void)snprintf(r.fault, sizeof(r.fault), "DevEUI is bad");
    ck_assert_int_eq(join_message_check(join_message_find(&r), &r, description), JOIN_MALFORMED);
}
END_TEST

START_TEST(an_app_s_key_request_needs_its_dev_eui_and_a_session)
{
    static const struct {
        uint8_t first, nonce_high;
        size_t len;
        uint32_t join_nonce;
    } cases[] = {
        {1, 0, SESSION_KEY_ID_LEN, 0x020304},
        {2, 0, SESSION_KEY_ID_LEN, 0}, /* of another device */
        {1, 1, SESSION_KEY_ID_LEN, 0}, /* no JoinNonce is so great */
        {1, 0, SESSION_KEY_ID_LEN - 1, 0},
        {1, 0, SESSION_KEY_ID_LEN + 4, 0},
    };
    struct ts002_request r = request_of("AppSKeyReq", TS002_1_0);
    char description[TS002_DESCRIPTION_MAX] = "";

    r.has_session_key_id = true;
    ck_assert_int_eq(join_message_check(join_message_find(&r), &r, description), JOIN_MALFORMED);
    ck_assert_str_eq(description, "DevEUI is missing");
    r.has_session_key_id = false;
    r.has_dev_eui = true;
    description[0] = '\0';
    ck_assert_int_eq(join_message_check(join_message_find(&r), &r, description), JOIN_MALFORMED);
    ck_assert_str_eq(description, "SessionKeyID is missing");
    r.has_session_key_id = true;
    r.dev_eui.bytes[0] = 1;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        description[0] = '\0';
        r.session_join_nonce = 0;
        memset(r.session_key_id, 0, sizeof(r.session_key_id));
        r.session_key_id[0] = cases[i].first;
        memcpy(r.session_key_id + 8, (uint8_t[]){cases[i].nonce_high, 2, 3, 4}, 4);
        r.session_key_id_len = cases[i].len;
        ck_assert_int_eq(join_message_check(join_message_find(&r), &r, description), JOIN_SUCCESS);
        ck_assert_uint_eq(r.session_join_nonce, cases[i].join_nonce);
    }
    (void)snprintf(r.fault, sizeof(r.fault), "SessionKeyID is bad");
    ck_assert_int_eq(join_message_check(join_message_find(&r), &r, description), JOIN_MALFORMED);
}
END_TEST

SUITE_MAIN("joinserver message", 4, each_message_is_known_in_its_versions_and_nothing_else_is,
    what_is_not_answered_is_malformed_and_told_so, a_home_ns_request_needs_its_dev_eui_and_no_frame,
    an_app_s_key_request_needs_its_dev_eui_and_a_session)
