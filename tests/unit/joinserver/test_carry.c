#include "joinserver/carry.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

#define MINE 77
#define HEAD_1_0                                                                                   \
    "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"000013\",\"ReceiverID\":\"70b3d57ed0000001\","    \
    "\"TransactionID\":5,"
#define HEAD_1_1                                                                                   \
    "{\"ProtocolVersion\":\"1.1\",\"SenderID\":\"000013\",\"ReceiverID\":\"70b3d57ed0000001\","    \
    "\"TransactionID\":5,\"SenderNSID\":\"70b3d57ed0000099\","
#define JOIN_REQ                                                                                   \
    "\"MessageType\":\"JoinReq\",\"SenderToken\":\"0aFF\",\"DevEUI\":\"0102030405060708\","        \
    "\"PHYPayload\":\"00\",\"CFList\":null,\"VSExtension\":{\"VendorID\":\"00000a\",\"Object\":"   \
    "{\"a\":[1,2.5,\"\\u00e9\"]}},\"Unknown\":true}"
#define ANSWER(type, rest)                                                                         \
    "{\"ProtocolVersion\":\"1.1\",\"SenderID\":\"70B3D57ED0000001\",\"ReceiverID\":\"0x000013\","  \
    "\"TransactionID\":77,\"MessageType\":\"" type "\"," rest "}"
#define SUCCESS "\"Result\":{\"ResultCode\":\"Success\"}"
#define JOINED SUCCESS ",\"PHYPayload\":\"20aa\""

static struct ts002_request request;
static struct text text;
static struct carry_answer carried;

static const char *carry(const char *body, struct carry_out out)
{
    char description[TS002_DESCRIPTION_MAX];
    enum join_result result;

    out.transaction_id = MINE;
    ck_assert_int_eq(ts002_read(body, strlen(body), &request, &result, description), TS002_OK);
    text_clear(&text);
    ck_assert(carry_request(body, strlen(body), &request, &out, &text));
    return text.data;
}

static enum carry_fault answer(const char *body)
{
    text_clear(&text);
    return carry_answer(
        body, strlen(body), &request, &(struct carry_out){.transaction_id = MINE}, &carried, &text);
}

static bool has(const char *piece)
{
    return strstr(text.data, piece) != NULL;
}

static void read_request(const char *body)
{
    (void)carry(body, (struct carry_out){.version = TS002_1_0});
}

START_TEST(all_members_go_on_but_the_mapped_ones)
{
    ck_assert_str_eq(carry(HEAD_1_0 JOIN_REQ, (struct carry_out){.version = TS002_1_0}),
        "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"000013\",\"ReceiverID\":\"70b3d57ed0000001\","
        "\"TransactionID\":77,\"MessageType\":\"JoinReq\",\"SenderToken\":\"0aFF\","
        "\"DevEUI\":\"0102030405060708\",\"PHYPayload\":\"00\",\"CFList\":null,\"VSExtension\":"
        "{\"VendorID\":\"00000a\",\"Object\":{\"a\":[1,2.5,\"\xc3\xa9\"]}},\"Unknown\":true}");
}
END_TEST

START_TEST(what_was_judged_here_is_not_said_again_in_another_case)
{
    carry("{\"senderid\":\"000099\",\"ProtocolVersion\":\"1.0\",\"SenderID\":\"000013\","
          "\"ReceiverID\":\"70b3d57ed0000001\",\"TransactionID\":5,\"MessageType\":\"JoinReq\","
          "\"SENDERID\":\"000099\",\"sendernsid\":\"70b3d57ed0000099\",\"me\\u017f\xc5\xbf"
          "ageType\":\"AppSKeyReq\",\"receiverid\":\"70b3d57ed0000099\",\"deveui\":"
          "\"0102030405060708\",\"transactionid\":6,\"phypayload\":\"00\",\"protocolVersion\":"
          "\"1.1\",\"SenderIDs\":1,\"Sender\":2,\"receivertoken\":\"3\"}",
        (struct carry_out){.version = TS002_1_0});
    ck_assert_str_eq(text.data,
        "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"000013\",\"ReceiverID\":\"70b3d57ed0000001\","
        "\"TransactionID\":77,\"MessageType\":\"JoinReq\",\"SenderIDs\":1,\"Sender\":2,"
        "\"receivertoken\":\"3\"}");
}
END_TEST

START_TEST(a_partner_of_1_1_hears_1_1_and_an_ns_id_of_the_network)
{
    carry(HEAD_1_0 JOIN_REQ, (struct carry_out){.version = TS002_1_1});
    ck_assert(has("\"ProtocolVersion\":\"1.1\""));
    ck_assert(has("\"SenderNSID\":\"0200000000000013\""));
    carry(HEAD_1_1 JOIN_REQ, (struct carry_out){.version = TS002_1_1});
    ck_assert(has("\"SenderNSID\":\"0200000000000013\"")); /* anybody may name any */
    carry(HEAD_1_1 JOIN_REQ, (struct carry_out){.version = TS002_1_1, .ns_id_is_its_own = true});
    ck_assert(has("\"SenderNSID\":\"70b3d57ed0000099\""));
}
END_TEST

START_TEST(a_partner_of_1_0_hears_no_ns_id)
{
    carry(HEAD_1_1 JOIN_REQ, (struct carry_out){.version = TS002_1_0, .ns_id_is_its_own = true});
    ck_assert(has("\"ProtocolVersion\":\"1.0\""));
    ck_assert(!has("NSID"));
}
END_TEST

START_TEST(an_application_server_has_no_ns_id)
{
    carry("{\"ProtocolVersion\":\"1.1\",\"SenderID\":\"as\",\"ReceiverID\":\"70b3d57ed0000001\","
          "\"MessageType\":\"AppSKeyReq\",\"SessionKeyID\":\"01\"}",
        (struct carry_out){.version = TS002_1_1});
    ck_assert(!has("NSID"));
    ck_assert(has("\"TransactionID\":77"));
    ck_assert_int_eq(
        answer("{\"SenderID\":\"70b3d57ed0000001\",\"ReceiverID\":\"as\",\"TransactionID\":77,"
               "\"MessageType\":\"AppSKeyAns\"," SUCCESS ",\"AppSKey\":{\"KEKLabel\":\"k\","
               "\"AESKey\":\"00\"}}"),
        CARRY_GOOD);
    ck_assert_int_eq(
        answer("{\"SenderID\":\"70b3d57ed0000001\",\"ReceiverID\":\"AS\",\"TransactionID\":77,"
               "\"MessageType\":\"AppSKeyAns\"," SUCCESS "}"),
        CARRY_OTHER_IDS);
    ck_assert_int_eq(
        answer("{\"SenderID\":\"70b3d57ed0000001\",\"ReceiverID\":\"as\",\"TransactionID\":77,"
               "\"MessageType\":\"AppSKeyAns\"," SUCCESS "}"),
        CARRY_INCOMPLETE);
}
END_TEST

START_TEST(an_answer_comes_back_in_the_requesters_version_and_numbers)
{
    read_request(HEAD_1_0 JOIN_REQ);
    ck_assert_int_eq(answer(ANSWER("JoinAns",
                         JOINED ",\"ReceiverToken\":\"99\",\"SenderToken\":\"ab\","
                                "\"ReceiverNSID\":\"0200000000000013\",\"SenderNSID\":\"1\","
                                "\"Lifetime\":0,\"Own\":{\"x\":1}")),
        CARRY_GOOD);
    ck_assert_str_eq(text.data,
        "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"70B3D57ED0000001\",\"ReceiverID\":\"0x000013\","
        "\"TransactionID\":5,\"MessageType\":\"JoinAns\",\"Result\":{\"ResultCode\":\"Success\"},"
        "\"PHYPayload\":\"20aa\",\"ReceiverToken\":\"0aFF\",\"SenderToken\":\"ab\",\"Lifetime\":0,"
        "\"Own\":{\"x\":1}}");
    ck_assert_str_eq(carried.code, "Success");
    read_request(HEAD_1_1 JOIN_REQ);
    ck_assert_int_eq(answer(ANSWER("JoinAns", JOINED)), CARRY_GOOD);
    ck_assert(has("\"ProtocolVersion\":\"1.1\""));
    ck_assert(has("\"ReceiverNSID\":\"70b3d57ed0000099\""));
}
END_TEST

START_TEST(codes_are_those_of_the_requesters_version)
{
    static const struct {
        const char *heard, *said_1_0, *said_1_1;
    } rows[] = {{"MICFailed", "MICFailed", "MICFailed"},
        {"FrameReplayed", "JoinReqFailed", "FrameReplayed"},
        {"JoinReqFailed", "JoinReqFailed", "JoinReqFailed"},
        {"MalformedMessage", "MalformedRequest", "MalformedMessage"},
        {"MalformedRequest", "MalformedRequest", "MalformedMessage"},
        {"UnknownReceiver", "UnkownReceiver", "UnkownReceiver"}, {"NoAction", "Other", "NoAction"},
        {"Nonsense", "Other", "Other"}, {"success", "Other", "Other"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char body[512];

        (void)snprintf(body, sizeof(body),
            ANSWER("JoinAns", "\"Result\":{\"ResultCode\":\"%s\",\"Description\":\"d\"}"),
            rows[i].heard);
        read_request(HEAD_1_0 JOIN_REQ);
        ck_assert_int_eq(answer(body), CARRY_GOOD);
        ck_assert_str_eq(carried.code, rows[i].said_1_0);
        ck_assert(has("\"Description\":\"d\""));
        read_request(HEAD_1_1 JOIN_REQ);
        ck_assert_int_eq(answer(body), CARRY_GOOD);
        ck_assert_str_eq(carried.code, rows[i].said_1_1);
        (void)snprintf(body, sizeof(body), "\"ResultCode\":\"%s\"", carried.code);
        ck_assert(has(body));
    }
}
END_TEST

START_TEST(what_a_partner_must_not_say_is_not_believed)
{
    static const struct {
        enum carry_fault fault;
        const char *body;
    } lies[] = {
        {CARRY_NOT_JSON, ""},
        {CARRY_NOT_JSON, "[]"},
        {CARRY_NOT_JSON, "{\"MessageType\":\"JoinAns\",\"MessageType\":\"JoinAns\"}"},
        {CARRY_NOT_JSON, ANSWER("JoinAns", JOINED) "x"},
        {CARRY_OTHER_MESSAGE, "{}"},
        {CARRY_OTHER_MESSAGE, ANSWER("RejoinAns", JOINED)},
        {CARRY_OTHER_MESSAGE, ANSWER("JoinReq", JOINED)},
        {CARRY_OTHER_TRANSACTION,
            "{\"SenderID\":\"70b3d57ed0000001\",\"ReceiverID\":\"000013\",\"MessageType\":"
            "\"JoinAns\"," JOINED "}"},
        {CARRY_OTHER_TRANSACTION,
            "{\"SenderID\":\"70b3d57ed0000001\",\"ReceiverID\":\"000013\",\"MessageType\":"
            "\"JoinAns\",\"TransactionID\":5," JOINED "}"},
        {CARRY_OTHER_IDS,
            "{\"SenderID\":\"70b3d57ed0000002\",\"ReceiverID\":\"000013\",\"MessageType\":"
            "\"JoinAns\",\"TransactionID\":77," JOINED "}"},
        {CARRY_OTHER_IDS,
            "{\"SenderID\":\"70b3d57ed0000001\",\"ReceiverID\":\"000014\",\"MessageType\":"
            "\"JoinAns\",\"TransactionID\":77," JOINED "}"},
        {CARRY_NO_RESULT, ANSWER("JoinAns", "\"PHYPayload\":\"20aa\"")},
        {CARRY_NO_RESULT, ANSWER("JoinAns", "\"Result\":\"Success\"")},
        {CARRY_NO_RESULT, ANSWER("JoinAns", "\"Result\":{\"ResultCode\":1}")},
        {CARRY_NO_RESULT, ANSWER("JoinAns", "\"Result\":{\"ResultCode\":\"\"}")},
        {CARRY_OTHER_VERSION,
            ANSWER("JoinAns", "\"Result\":{\"ResultCode\":\"InvalidProtocolVersion\"}")},
        {CARRY_INCOMPLETE, ANSWER("JoinAns", SUCCESS)},
        {CARRY_INCOMPLETE, ANSWER("JoinAns", SUCCESS ",\"PHYPayload\":\"\"")},
        {CARRY_INCOMPLETE, ANSWER("JoinAns", SUCCESS ",\"PHYPayload\":\"xx\"")},
    };

    read_request(HEAD_1_0 JOIN_REQ);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        ck_assert_msg(answer(lies[i].body) == lies[i].fault, "%s", lies[i].body);
        ck_assert_uint_eq(text.len, 0);
    }
}
END_TEST

START_TEST(keys_in_clear_are_seen)
{
    read_request(HEAD_1_0 JOIN_REQ);
    ck_assert_int_eq(answer(ANSWER("JoinAns", JOINED ",\"NwkSKey\":{\"KEKLabel\":\"k\",\"AESKey\":"
                                                     "\"00\"}")),
        CARRY_GOOD);
    ck_assert(!carried.has_clear_key);
    ck_assert_int_eq(
        answer(ANSWER("JoinAns", JOINED ",\"NwkSKey\":{\"AESKey\":\"00\"}")), CARRY_GOOD);
    ck_assert(carried.has_clear_key);
    ck_assert_int_eq(answer(ANSWER("JoinAns", JOINED ",\"AppSKey\":{\"KEKLabel\":\"\",\"AESKey\":"
                                                     "\"00\"}")),
        CARRY_GOOD);
    ck_assert(carried.has_clear_key);
}
END_TEST

START_TEST(who_is_home_is_said_in_the_version_of_who_asks)
{
    read_request(HEAD_1_0 "\"MessageType\":\"HomeNSReq\",\"DevEUI\":\"0102030405060708\"}");
    ck_assert_int_eq(
        answer(ANSWER("HomeNSAns", SUCCESS ",\"HNetID\":\"000014\",\"HNSID\":\"70\"")), CARRY_GOOD);
    ck_assert(has("\"HNetID\":\"000014\"") && !has("HNSID"));
    ck_assert_int_eq(answer(ANSWER("HomeNSAns", SUCCESS)), CARRY_INCOMPLETE);
}
END_TEST

START_TEST(a_transaction_is_read_of_answers_only)
{
    static const char answered[] = ANSWER("JoinAns", JOINED), asked[] = HEAD_1_0 JOIN_REQ;
    uint32_t transaction = 0;

    ck_assert(carry_read_transaction(answered, sizeof(answered) - 1, &transaction));
    ck_assert_uint_eq(transaction, MINE);
    ck_assert(!carry_read_transaction(asked, sizeof(asked) - 1, &transaction));
    ck_assert(!carry_read_transaction("x", 1, &transaction));
    ck_assert(!carry_read_transaction("{\"MessageType\":\"JoinAns\"}", 25, &transaction));
}
END_TEST

SUITE_MAIN("joinserver carry", 10, all_members_go_on_but_the_mapped_ones,
    what_was_judged_here_is_not_said_again_in_another_case,
    a_partner_of_1_1_hears_1_1_and_an_ns_id_of_the_network, a_partner_of_1_0_hears_no_ns_id,
    an_application_server_has_no_ns_id, an_answer_comes_back_in_the_requesters_version_and_numbers,
    codes_are_those_of_the_requesters_version, what_a_partner_must_not_say_is_not_believed,
    keys_in_clear_are_seen, who_is_home_is_said_in_the_version_of_who_asks,
    a_transaction_is_read_of_answers_only)
