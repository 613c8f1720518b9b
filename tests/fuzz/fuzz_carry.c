/* Any bytes as what a partner says to a request that was carried to it, and as what a requester
 * says of its way. The first byte chooses the request. An answer that is believed is judged by
 * another reading of it: it is the answer to that request, in the requester's numbers, version and
 * codes, and what of it was not to be changed is what came. */
#include "joinserver/carry.h"
#include "joinserver/trace.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#define MINE 77
#define THEIRS 5

static const char *const requests[] = {
    "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"000013\",\"ReceiverID\":\"70b3d57ed0000001\","
    "\"TransactionID\":5,\"MessageType\":\"JoinReq\",\"SenderToken\":\"0aff\"}",
    "{\"ProtocolVersion\":\"1.1\",\"SenderID\":\"000013\",\"ReceiverID\":\"70b3d57ed0000001\","
    "\"TransactionID\":5,\"MessageType\":\"RejoinReq\",\"SenderNSID\":\"70b3d57ed0000099\"}",
    "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"000013\",\"ReceiverID\":\"70b3d57ed0000001\","
    "\"TransactionID\":5,\"MessageType\":\"HomeNSReq\"}",
    "{\"ProtocolVersion\":\"1.1\",\"SenderID\":\"as\",\"ReceiverID\":\"70b3d57ed0000001\","
    "\"TransactionID\":5,\"MessageType\":\"AppSKeyReq\"}",
};
#define N_REQUESTS (sizeof(requests) / sizeof(requests[0]))

static const char *const mapped[] = {
    "ProtocolVersion", "TransactionID", "ReceiverToken", "ReceiverNSID", "SenderNSID", "HNSID"};

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static bool is_mapped(const char *name)
{
    for (size_t i = 0; i < sizeof(mapped) / sizeof(mapped[0]); i++)
        if (strcmp(mapped[i], name) == 0)
            return true;
    return false;
}

/* But for its code. */
static void check_result(json_t *came, json_t *went, const char *code)
{
    FUZZ_HOLDS(json_is_object(went) && strcmp(text_of(went, "ResultCode"), code) == 0);
    FUZZ_HOLDS(strlen(code) > 0 && strcmp(code, "InvalidProtocolVersion") != 0);
    (void)json_object_set(came, "ResultCode", json_object_get(went, "ResultCode"));
    FUZZ_HOLDS(json_equal(came, went));
}

static void check_members(json_t *came, json_t *went, const char *code)
{
    const char *name;
    json_t *value;

    json_object_foreach(came, name, value)
    {
        json_t *other = json_object_get(went, name);

        if (strcmp(name, "Result") == 0)
            check_result(value, other, code);
        else if (!is_mapped(name))
            FUZZ_HOLDS(json_equal(value, other));
    }
    json_object_foreach(went, name, value)
    {
        FUZZ_HOLDS(is_mapped(name) || json_object_get(came, name) != NULL);
    }
}

static void check_answer(const struct ts002_request *request, const char *body, size_t len,
    const struct text *text, const char *code)
{
    const bool marked = len >= 3 && memcmp(body, "\xef\xbb\xbf", 3) == 0;
    json_t *came =
        json_loadb(body + (marked ? 3 : 0), len - (marked ? 3 : 0), JSON_REJECT_DUPLICATES, NULL);
    json_t *went = json_loadb(text->data, text->len, JSON_REJECT_DUPLICATES, NULL);
    const char *type;

    FUZZ_HOLDS(json_is_object(came) && json_is_object(went));
    type = text_of(went, "MessageType");
    FUZZ_HOLDS(strncmp(type, request->message_type, strlen(type) - 3) == 0);
    FUZZ_HOLDS(json_integer_value(json_object_get(came, "TransactionID")) == MINE);
    FUZZ_HOLDS(json_integer_value(json_object_get(went, "TransactionID")) == THEIRS);
    FUZZ_HOLDS(strcmp(text_of(went, "ProtocolVersion"),
                   request->version == TS002_1_1 ? "1.1" : "1.0") == 0);
    FUZZ_HOLDS((json_object_get(went, "ReceiverNSID") != NULL) == request->has_sender_ns_id);
    FUZZ_HOLDS(
        (json_object_get(went, "ReceiverToken") != NULL) == (request->sender_token[0] != '\0'));
    check_members(came, went, code);
    json_decref(came);
    json_decref(went);
}

static void answer(size_t which, const char *body, size_t len)
{
    char description[TS002_DESCRIPTION_MAX];
    struct carry_out out = {.transaction_id = MINE};
    struct carry_answer said = {0};
    struct ts002_request request;
    enum join_result result;
    struct text text = {0};

    FUZZ_HOLDS(ts002_read(requests[which], strlen(requests[which]), &request, &result,
                   description) == TS002_OK);
    if (carry_answer(body, len, &request, &out, &said, &text) == CARRY_GOOD)
        check_answer(&request, body, len, &text, said.code);
    else
        FUZZ_HOLDS(text.len == 0);
    text_done(&text);
}

/* Whoever finds members whatever their case finds the same. */
static void check_alike(const struct text *text)
{
    static const char *const judged[] = {
        "MessageType", "SenderID", "ReceiverID", "SenderNSID", "DevEUI", "PHYPayload"};
    json_t *went = json_loadb(text->data, text->len, JSON_REJECT_DUPLICATES, NULL);
    const char *name;
    json_t *value;

    FUZZ_HOLDS(json_is_object(went));
    json_object_foreach(went, name, value)
    {
        for (size_t i = 0; i < sizeof(judged) / sizeof(judged[0]); i++)
            FUZZ_HOLDS(strcasecmp(name, judged[i]) != 0 || strcmp(name, judged[i]) == 0);
    }
    json_decref(went);
}

/* What was read as a request can be carried, and is one again. */
static void carry(const char *body, size_t len)
{
    char description[TS002_DESCRIPTION_MAX];
    struct ts002_request request, again;
    enum join_result result;
    struct text text = {0};

    if (ts002_read(body, len, &request, &result, description) != TS002_OK)
        return;
    for (int version = 0; version < N_TS002_VERSIONS; version++) {
        text_clear(&text);
        if (!carry_request(body, len, &request,
                &(struct carry_out){.version = (enum ts002_version)version, .transaction_id = MINE},
                &text))
            continue; /* a name twice beside what is known, a number too large, ... */
        FUZZ_HOLDS(ts002_read(text.data, text.len, &again, &result, description) == TS002_OK);
        FUZZ_HOLDS(again.version == (enum ts002_version)version && again.transaction_id == MINE);
        FUZZ_HOLDS(strcmp(again.sender_id, request.sender_id) == 0 &&
                   strcmp(again.receiver_id, request.receiver_id) == 0 &&
                   strcmp(again.sender_token, request.sender_token) == 0 &&
                   again.frame_len == request.frame_len);
        check_alike(&text);
    }
    text_done(&text);
}

static void travel(const char *header)
{
    char text[TRACE_TEXT_LEN + 1];
    struct trace trace, again;
    struct text via = {0};

    if (trace_read(header, &trace))
        FUZZ_HOLDS(trace_is_any(&trace) && trace_read(trace_format(&trace, text), &again) &&
                   memcmp(&trace, &again, sizeof(trace)) == 0);
    (void)via_judge(header, "here", 4);
    via_write(&via, header, "here");
    if (via.len <= VIA_MAX)
        FUZZ_HOLDS(via_judge(via.data, "here", 4) == VIA_LOOP);
    text_done(&via);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char header[256] = "";
    uint32_t transaction_id;
    size_t len;

    if (size == 0)
        return 0;
    answer(data[0] % N_REQUESTS, (const char *)data + 1, size - 1);
    carry((const char *)data + 1, size - 1);
    (void)carry_read_transaction((const char *)data + 1, size - 1, &transaction_id);
    len = size - 1 < sizeof(header) - 1 ? size - 1 : sizeof(header) - 1;
    memcpy(header, data + 1, len);
    travel(header);
    return 0;
}
