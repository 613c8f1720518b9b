#include "joinserver/ts002.h"
#include "tests/support/suite.h"

#include "base/hex.h"
#include <stdio.h>
#include <string.h>

/* A good JoinReq; each case replaces one member or none. */
#define FRAME "00010203040506070808070605040302010201cde6acb8"

static const char *const good[][2] = {
    {"ProtocolVersion", "\"1.0\""},
    {"SenderID", "\"010203\""},
    {"ReceiverID", "\"0807060504030201\""},
    {"TransactionID", "1234"},
    {"MessageType", "\"JoinReq\""},
    {"MACVersion", "\"1.0.2\""},
    {"PHYPayload", "\"" FRAME "\""},
    {"DevEUI", "\"0102030405060708\""},
    {"DevAddr", "\"01020304\""},
    {"DLSettings", "\"15\""},
    {"RxDelay", "1"},
    {"CFList", "\"988d8468958400000000000000000000\""},
};

/* `value` NULL leaves the member out. */
static void body_with(struct text *out, const char *name, const char *value)
{
    bool first = true, seen = name == NULL;

    text_add(out, "{");
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        const char *v = good[i][1];

        if (name != NULL && strcmp(name, good[i][0]) == 0) {
            seen = true;
            v = value;
        }
        if (v != NULL)
            text_addf(out, "%s\"%s\":%s", first ? "" : ",", good[i][0], v);
        first = first && v == NULL;
    }
    if (!seen)
        text_addf(out, ",\"%s\":%s", name, value);
    text_add(out, "}");
}

static enum join_result read_with(
    const char *name, const char *value, struct ts002_request *request)
{
    CLEANUP(text_done) struct text body = {0};
    char description[TS002_DESCRIPTION_MAX] = "";
    enum join_result result = JOIN_SUCCESS;

    body_with(&body, name, value);
    switch (ts002_read(body.data, body.len, request, &result, description)) {
    case TS002_NOT_JSON:
        ck_abort_msg("not JSON: %s", body.data);
        break;
    case TS002_REFUSED:
        ck_assert_str_ne(description, "");
        return result;
    case TS002_OK:
        break;
    }
    result = ts002_check_join(request, description);
    ck_assert_int_eq(description[0] == '\0', result == JOIN_SUCCESS);
    return result;
}

START_TEST(a_join_request_is_read_in_any_common_spelling)
{
    static const char *const spellings[][2] = {
        {NULL, NULL},
        {"SenderID", "\"0x010203\""},
        {"DevEUI", "\"0X0102030405060708\""},
        {"PHYPayload", "\"0x00010203040506070808070605040302010201CDE6ACB8\""},
        {"CFList", "\"\""},
        {"CFList", "null"},
        {"CFList", NULL},
        {"RxDelay", NULL},
        {"MACVersion", "\"9.9\""},
        {"MACVersion", "\"a version of a vendor's own\""},
        {"MACVersion", "5"},
        {"MACVersion", NULL},
        {"TransactionID", "0"},
        {"TransactionID", "4294967295"},
        {"ProtocolVersion", "\"1.1\""},
        {"SenderNSID", "\"010203\""},
        {"SenderToken", "\"0x0a0B\""},
        {"SenderNSID", "\"somewhere\""},
        {"SenderNSID", "7"},
        {"VSExtension", "{\"VendorID\":\"000000\",\"Object\":{}}"},
    };

    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        struct ts002_request r;

        ck_assert_msg(read_with(spellings[i][0], spellings[i][1], &r) == JOIN_SUCCESS, "%s: %s",
            spellings[i][0], spellings[i][1]);
        ck_assert_uint_eq(r.dev_nonce, 258);
        ck_assert_uint_eq(r.sender.bytes[2], 3);
        ck_assert_uint_eq(r.frame_join_eui.bytes[0], 8);
        ck_assert_uint_eq(r.dl_settings, 0x15);
    }
}
END_TEST

START_TEST(each_fault_has_its_result)
{
    static const struct {
        const char *name, *value;
        enum join_result result;
    } cases[] = {
        {"ProtocolVersion", "\"1.2\"", JOIN_INVALID_VERSION},
        {"ProtocolVersion", "\"1.10\"", JOIN_INVALID_VERSION},
        {"ProtocolVersion", "\"\"", JOIN_INVALID_VERSION},
        {"ProtocolVersion", NULL, JOIN_INVALID_VERSION},
        {"ProtocolVersion", "1", JOIN_INVALID_VERSION},
        {"SenderID", "\"10203\"", JOIN_UNKNOWN_SENDER},
        {"SenderID", "\"00010203\"", JOIN_UNKNOWN_SENDER},
        {"SenderID", NULL, JOIN_UNKNOWN_SENDER},
        {"ReceiverID", "\"080706050403020\"", JOIN_UNKNOWN_RECEIVER},
        {"ReceiverID", NULL, JOIN_UNKNOWN_RECEIVER},
        {"TransactionID", "1.5", JOIN_MALFORMED},
        {"TransactionID", "4294967296", JOIN_MALFORMED},
        {"TransactionID", "\"1\"", JOIN_MALFORMED},
        {"PHYPayload", NULL, JOIN_MALFORMED},
        {"PHYPayload", "\"zz\"", JOIN_MALFORMED},
        {"PHYPayload", "\"000\"", JOIN_MALFORMED},
        {"PHYPayload", "\"00010203\"", JOIN_FRAME_SIZE},
        {"PHYPayload", "\"" FRAME "00\"", JOIN_FRAME_SIZE},
        {"PHYPayload", "\"" FRAME FRAME FRAME FRAME FRAME FRAME FRAME FRAME "\"", JOIN_FRAME_SIZE},
        {"PHYPayload", "\"0x0x" FRAME "\"", JOIN_MALFORMED},
        {"PHYPayload", "\"\"", JOIN_MALFORMED},
        {"PHYPayload", "\"20010203040506070808070605040302010201cde6acb8\"", JOIN_MALFORMED},
        {"PHYPayload", "\"01010203040506070808070605040302010201cde6acb8\"", JOIN_MALFORMED},
        {"DevEUI", "\"0102030405060709\"", JOIN_MALFORMED},
        {"DevEUI", "\"01020304050607\"", JOIN_MALFORMED},
        {"DevEUI", NULL, JOIN_MALFORMED},
        {"DevAddr", "\"010203\"", JOIN_MALFORMED},
        {"DevAddr", NULL, JOIN_MALFORMED},
        {"DLSettings", "\"1515\"", JOIN_MALFORMED},
        {"DLSettings", NULL, JOIN_MALFORMED},
        {"RxDelay", "16", JOIN_MALFORMED},
        {"RxDelay", "-1", JOIN_MALFORMED},
        {"CFList", "\"00\"", JOIN_MALFORMED},
        {"SenderToken", "\"a\\\"b\"", JOIN_MALFORMED},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ts002_request r;
        enum join_result result = read_with(cases[i].name, cases[i].value, &r);

        ck_assert_msg(result == cases[i].result, "%s: %s gave %s", cases[i].name, cases[i].value,
            join_result_row(result)->outcome);
    }
}
END_TEST

START_TEST(what_is_not_json_has_no_header_to_answer)
{
    static const char *const bodies[] = {"", "[]", "{", "\"x\"",
        "{\"SenderID\":\"1\",\"SenderID\":\"2\"}", "{\"SenderID\":\"\xff\xfe\"}"};

    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct ts002_request r;
        enum join_result result;
        char description[TS002_DESCRIPTION_MAX];

        ck_assert_int_eq(
            ts002_read(bodies[i], strlen(bodies[i]), &r, &result, description), TS002_NOT_JSON);
    }
}
END_TEST

START_TEST(a_refusal_swaps_the_ids_and_copies_transaction_and_token)
{
    CLEANUP(text_done) struct text out = {0};
    struct ts002_request r;

    ck_assert_int_eq(read_with("SenderToken", "\"0a0B\"", &r), JOIN_SUCCESS);
    ts002_write_refusal(&out, &r, JOIN_MIC_FAILED, NULL);
    ck_assert_str_eq(out.data,
        "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"0807060504030201\",\"ReceiverID\":\"010203\","
        "\"TransactionID\":1234,\"MessageType\":\"JoinAns\",\"ReceiverToken\":\"0a0B\","
        "\"Result\":{\"ResultCode\":\"MICFailed\","
        "\"Description\":\"the MIC is wrong\"}}");
}
END_TEST

START_TEST(an_unknown_message_type_is_answered_by_its_own_name_when_it_is_a_name)
{
    static const char *const types[][2] = {{"\"HomeNSReq\"", "\"HomeNSAns\""},
        {"\"Req\"", "\"JoinAns\""}, {"\"a<b>Req\"", "\"JoinAns\""}, {"\"Foo\"", "\"JoinAns\""}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        CLEANUP(text_done) struct text out = {0};
        char wanted[64];
        struct ts002_request r;

        ck_assert_int_eq(read_with("MessageType", types[i][0], &r), JOIN_SUCCESS);
        ts002_write_refusal(&out, &r, JOIN_MALFORMED, NULL);
        (void)snprintf(wanted, sizeof(wanted), "\"MessageType\":%s,", types[i][1]);
        ck_assert_msg(strstr(out.data, wanted) != NULL, "%s", out.data);
    }
}
END_TEST

/* A good JoinReq of 1.1 with one member more. */
static enum join_result read_1_1(const char *member, struct ts002_request *request)
{
    CLEANUP(text_done) struct text body = {0};
    char description[TS002_DESCRIPTION_MAX] = "";
    enum join_result result;

    body_with(&body, "ProtocolVersion", "\"1.1\"");
    body.data[--body.len] = '\0';
    text_addf(&body, ",%s}", member);
    ck_assert_int_eq(ts002_read(body.data, body.len, request, &result, description), TS002_OK);
    return ts002_check_join(request, description);
}

START_TEST(an_ns_id_is_echoed_by_1_1_alone_and_an_eui_64_there)
{
    static const struct {
        const char *member;
        enum join_result result;
        const char *echo;
    } cases[] = {
        {"\"SenderNSID\":\"70B3D57ED0000001\"", JOIN_SUCCESS,
            "\"ReceiverNSID\":\"70b3d57ed0000001\""},
        {"\"SenderNSID\":\"0x70b3d57ed0000001\"", JOIN_SUCCESS,
            "\"ReceiverNSID\":\"70b3d57ed0000001\""},
        {"\"SenderNSID\":\"\"", JOIN_SUCCESS, NULL},
        {"\"SenderNSID\":null", JOIN_SUCCESS, NULL},
        {"\"X\":1", JOIN_SUCCESS, NULL},
        {"\"SenderNSID\":\"010203\"", JOIN_MALFORMED, NULL},
        {"\"SenderNSID\":\"70b3d57ed000000100\"", JOIN_MALFORMED, NULL},
        {"\"SenderNSID\":\"somewhere\"", JOIN_MALFORMED, NULL},
        {"\"SenderNSID\":7", JOIN_MALFORMED, NULL},
    };
    struct ts002_request r;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(text_done) struct text out = {0};

        ck_assert_msg(read_1_1(cases[i].member, &r) == cases[i].result, "%s", cases[i].member);
        ts002_write_refusal(&out, &r, JOIN_MIC_FAILED, NULL);
        ck_assert_ptr_nonnull(strstr(out.data, "{\"ProtocolVersion\":\"1.1\","));
        if (cases[i].echo != NULL)
            ck_assert_ptr_nonnull(strstr(out.data, cases[i].echo));
        else
            ck_assert_ptr_null(strstr(out.data, "NSID"));
    }
    {
        CLEANUP(text_done) struct text out = {0};

        ck_assert_int_eq(read_with("SenderNSID", "\"70b3d57ed0000001\"", &r), JOIN_SUCCESS);
        ts002_write_refusal(&out, &r, JOIN_MIC_FAILED, NULL);
        ck_assert_ptr_null(strstr(out.data, "NSID"));
    }
}
END_TEST

START_TEST(the_code_of_a_refusal_is_one_of_the_requests_version)
{
    CLEANUP(text_done) struct text out = {0};
    struct ts002_request r;

    ck_assert_int_eq(read_1_1("\"X\":1", &r), JOIN_SUCCESS);
    ts002_write_refusal(&out, &r, JOIN_NONCE_REPLAYED, NULL);
    ck_assert_ptr_nonnull(strstr(out.data, "\"FrameReplayed\""));
    text_clear(&out);
    ck_assert_int_eq(read_with(NULL, NULL, &r), JOIN_SUCCESS);
    ts002_write_refusal(&out, &r, JOIN_NONCE_REPLAYED, NULL);
    ck_assert_ptr_nonnull(strstr(out.data, "\"JoinReqFailed\""));
    text_clear(&out);
    ck_assert_int_eq(read_with("ProtocolVersion", "\"2.0\"", &r), JOIN_INVALID_VERSION);
    ts002_write_refusal(&out, &r, JOIN_INVALID_VERSION, NULL);
    ck_assert_ptr_nonnull(strstr(out.data, "{\"ProtocolVersion\":\"1.0\","));
}
END_TEST

START_TEST(a_home_ns_answer_names_the_net_id_and_in_1_1_its_one_server)
{
    static const struct net_id home = {{0x00, 0x0a, 0x13}};
    static const struct eui64 ns_id = {{0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 1}};
    CLEANUP(text_done) struct text out = {0};
    struct ts002_request r;

    ck_assert_int_eq(read_with("MessageType", "\"HomeNSReq\"", &r), JOIN_SUCCESS);
    ts002_write_home_ns_ans(&out, &r, &home, &ns_id); /* 1.0 has no HNSID */
    ck_assert_str_eq(out.data,
        "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"0807060504030201\",\"ReceiverID\":\"010203\","
        "\"TransactionID\":1234,\"MessageType\":\"HomeNSAns\","
        "\"Result\":{\"ResultCode\":\"Success\"},\"HNetID\":\"000a13\"}");
    ck_assert_int_eq(read_1_1("\"X\":1", &r), JOIN_SUCCESS);
    text_clear(&out);
    ts002_write_home_ns_ans(&out, &r, &home, &ns_id);
    ck_assert_ptr_nonnull(
        strstr(out.data, ",\"HNetID\":\"000a13\",\"HNSID\":\"70b3d57ed0000001\"}"));
    text_clear(&out);
    ts002_write_home_ns_ans(&out, &r, &home, NULL);
    ck_assert_ptr_nonnull(strstr(out.data, ",\"HNetID\":\"000a13\"}"));
}
END_TEST

START_TEST(an_app_s_key_answer_holds_that_key_and_its_session)
{
    static const char body[] = "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"some as\","
                               "\"ReceiverID\":\"0807060504030201\",\"TransactionID\":9,"
                               "\"MessageType\":\"AppSKeyReq\",\"DevEUI\":\"0102030405060708\","
                               "\"SessionKeyID\":\"0x01020304050607080000002A\"}";
    static const struct keyd_envelope key = {.len = KEYD_WRAPPED_LEN, .bytes = {0xab}};
    CLEANUP(text_done) struct text out = {0};
    char description[TS002_DESCRIPTION_MAX] = "";
    enum join_result result = JOIN_SUCCESS;
    struct ts002_request r;

    ck_assert_int_eq(ts002_read(body, strlen(body), &r, &result, description), TS002_OK);
    ck_assert_int_eq(ts002_check_app_s_key(&r, description), JOIN_SUCCESS);
    ck_assert_uint_eq(r.session_join_nonce, 42);
    ts002_write_app_s_key_ans(&out, &r, &key, "as-1");
    ck_assert_str_eq(out.data,
        "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"0807060504030201\",\"ReceiverID\":\"some as\","
        "\"TransactionID\":9,\"MessageType\":\"AppSKeyAns\","
        "\"Result\":{\"ResultCode\":\"Success\"},\"DevEUI\":\"0102030405060708\","
        "\"AppSKey\":{\"KEKLabel\":\"as-1\","
        "\"AESKey\":\"ab0000000000000000000000000000000000000000000000\"},"
        "\"SessionKeyID\":\"01020304050607080000002a\"}");
}
END_TEST

START_TEST(an_answer_holds_the_keys_of_its_scheme_and_no_others)
{
    struct keyd_join_reply reply = {.phy_payload_len = 17,
        .phy_payload = {0x20},
        .nwk_s_key.len = KEYD_WRAPPED_LEN,
        .app_s_key.len = KEYD_WRAPPED_LEN};
    CLEANUP(text_done) struct text out = {0};
    struct ts002_request r;

    ck_assert_int_eq(read_with(NULL, NULL, &r), JOIN_SUCCESS);
    ts002_write_join_ans(&out, &r, &reply, 7, "ns-1", "as-1", true);
    ck_assert_ptr_nonnull(strstr(out.data, "\"NwkSKey\":{\"KEKLabel\":\"ns-1\",\"AESKey\":\"0000"));
    ck_assert_ptr_nonnull(strstr(out.data, "\"AppSKey\":{\"KEKLabel\":\"as-1\""));
    ck_assert_ptr_nonnull(strstr(out.data, "\"SessionKeyID\":\"010203040506070800000007\""));
    ck_assert_ptr_nonnull(strstr(out.data, "\"Lifetime\":0}"));
    ck_assert_ptr_null(strstr(out.data, "SNwkSIntKey"));
    text_clear(&out);
    reply.opt_neg = true;
    ts002_write_join_ans(&out, &r, &reply, 7, "ns-1", "as-1", true);
    ck_assert_ptr_nonnull(strstr(out.data, "\"SNwkSIntKey\""));
    ck_assert_ptr_nonnull(strstr(out.data, "\"FNwkSIntKey\""));
    ck_assert_ptr_nonnull(strstr(out.data, "\"NwkSEncKey\""));
    ck_assert_ptr_null(strstr(out.data, "\"NwkSKey\""));
}
END_TEST

START_TEST(a_key_in_clear_has_no_label_and_sixteen_bytes)
{
    const struct keyd_envelope clear = {.len = 16, .bytes = {0xcd, [15] = 0xef, [16] = 0x99}};
    struct keyd_join_reply reply = {.phy_payload_len = 17,
        .nwk_s_key = clear,
        .app_s_key = {.len = KEYD_WRAPPED_LEN, .bytes = {0xab}}};
    CLEANUP(text_done) struct text out = {0};
    struct ts002_request r;

    ck_assert_int_eq(read_with(NULL, NULL, &r), JOIN_SUCCESS);
    ts002_write_join_ans(&out, &r, &reply, 7, NULL, "as-1", true);
    ck_assert_ptr_nonnull(
        strstr(out.data, ",\"NwkSKey\":{\"AESKey\":\"cd0000000000000000000000000000ef\"},"));
    ck_assert_ptr_nonnull(strstr(out.data, ",\"AppSKey\":{\"KEKLabel\":\"as-1\",\"AESKey\":\"ab"));
    reply.app_s_key = clear;
    text_clear(&out);
    ts002_write_join_ans(&out, &r, &reply, 7, "ns-1", NULL, true);
    ck_assert_ptr_nonnull(strstr(out.data, ",\"NwkSKey\":{\"KEKLabel\":\"ns-1\","));
    ck_assert_ptr_nonnull(
        strstr(out.data, ",\"AppSKey\":{\"AESKey\":\"cd0000000000000000000000000000ef\"},"));
    text_clear(&out);
    ts002_write_app_s_key_ans(&out, &r, &clear, NULL);
    ck_assert_ptr_nonnull(
        strstr(out.data, ",\"AppSKey\":{\"AESKey\":\"cd0000000000000000000000000000ef\"},"));
}
END_TEST

START_TEST(a_session_key_id_that_is_not_wanted_is_left_out)
{
    const struct keyd_join_reply reply = {.phy_payload_len = 17,
        .nwk_s_key.len = KEYD_WRAPPED_LEN,
        .app_s_key.len = KEYD_WRAPPED_LEN};
    CLEANUP(text_done) struct text out = {0};
    struct ts002_request r;

    ck_assert_int_eq(read_with(NULL, NULL, &r), JOIN_SUCCESS);
    ts002_write_join_ans(&out, &r, &reply, 7, "ns-1", "as-1", false);
    ck_assert_ptr_null(strstr(out.data, "SessionKeyID"));
    ck_assert_ptr_nonnull(strstr(out.data, "\"AppSKey\""));
    ck_assert_ptr_nonnull(strstr(out.data, "0000\"},\"Lifetime\":0}"));
}
END_TEST

SUITE_MAIN("joinserver ts002", 4, a_join_request_is_read_in_any_common_spelling,
    each_fault_has_its_result, what_is_not_json_has_no_header_to_answer,
    a_refusal_swaps_the_ids_and_copies_transaction_and_token,
    an_unknown_message_type_is_answered_by_its_own_name_when_it_is_a_name,
    an_ns_id_is_echoed_by_1_1_alone_and_an_eui_64_there,
    the_code_of_a_refusal_is_one_of_the_requests_version,
    a_home_ns_answer_names_the_net_id_and_in_1_1_its_one_server,
    an_answer_holds_the_keys_of_its_scheme_and_no_others,
    an_app_s_key_answer_holds_that_key_and_its_session,
    a_key_in_clear_has_no_label_and_sixteen_bytes, a_session_key_id_that_is_not_wanted_is_left_out)
