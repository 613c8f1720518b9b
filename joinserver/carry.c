#include "joinserver/carry.h"

#include "api/json_edit.h"
#include "base/hex.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CHANGES_MAX 16
#define DERIVED_NS_ID 0x02 /* locally administered */

static const char *const version_names[N_TS002_VERSIONS] = {
    [TS002_1_0] = "1.0", [TS002_1_1] = "1.1"};

/* The codes of TS002 that a join server may give, as they are called in each version; codes of one
 * row that are not its own in a version are read as that. What is not here becomes Other: a
 * requester's list may be closed. */
static const struct {
    const char *heard;
    const char *said[N_TS002_VERSIONS];
} codes[] = {
#define BOTH(code)                                                                                 \
    {                                                                                              \
        code,                                                                                      \
        {                                                                                          \
            [TS002_1_0] = code, [TS002_1_1] = code                                                 \
        }                                                                                          \
    }
    BOTH("Success"),
    BOTH("MICFailed"),
    BOTH("JoinReqFailed"),
    BOTH("NoRoamingAgreement"),
    BOTH("DevRoamingDisallowed"),
    BOTH("RoamingActDisallowed"),
    BOTH("ActivationDisallowed"),
    BOTH("UnknownDevEUI"),
    BOTH("UnknownDevAddr"),
    BOTH("UnknownSender"),
    BOTH("UnkownReceiver"),
    BOTH("Deferred"),
    BOTH("XmitFailed"),
    BOTH("InvalidFPort"),
    BOTH("StaleDeviceProfile"),
    BOTH("FrameSizeError"),
    BOTH("Other"),
#undef BOTH
    {"NoAction", {"Other", "NoAction"}},
    {"FrameReplayed", {"JoinReqFailed", "FrameReplayed"}},
    {"MalformedRequest", {"MalformedRequest", "MalformedMessage"}},
    {"MalformedMessage", {"MalformedRequest", "MalformedMessage"}},
    {"UnknownReceiver", {"UnkownReceiver", "UnkownReceiver"}},
    {"RoamingActDisallowedA", {"RoamingActDisallowed", "RoamingActDisallowed"}},
};
_Static_assert(sizeof(codes) / sizeof(codes[0]) == CARRY_CODE_UNKNOWN, "a number of each code");

/* What is decided by here before a request goes on. There are join servers that find members
 * whatever the case of their names, and take the last of them. */
static const char *const judged_names[] = {"ProtocolVersion", "MessageType", "SenderID",
    "ReceiverID", "TransactionID", "SenderNSID", "ReceiverNSID", "DevEUI", "PHYPayload"};
#define N_JUDGED_NAMES (sizeof(judged_names) / sizeof(judged_names[0]))

#define CODE_OTHER "Other"
#define CODE_SUCCESS "Success"
#define CODE_INVALID_VERSION "InvalidProtocolVersion"

/* What is read of an answer. */
struct answer {
    char message_type[24];
    char sender_id[PEER_ID_MAX + 1];
    char receiver_id[PEER_ID_MAX + 1];
    uint32_t transaction_id;
    char code[CARRY_CODE_MAX];
    uint8_t phy_payload[1]; /* whether there is one is all that is asked */
    size_t phy_payload_len;
    char h_net_id[16];
    bool has_transaction_id, has_phy_payload, has_code;
};

#define TEXT(wire, member)                                                                         \
    {                                                                                              \
        .name = wire, .kind = JSON_TEXT, .offset = offsetof(struct answer, member),                \
        .size = sizeof(((struct answer *)0)->member), .present_offset = JSON_NO_PRESENT            \
    }

static const struct json_field result_fields[] = {
    {.name = "ResultCode",
        .kind = JSON_TEXT,
        .offset = offsetof(struct answer, code),
        .size = CARRY_CODE_MAX,
        .present_offset = offsetof(struct answer, has_code)},
};

static const struct json_field answer_fields[] = {
    TEXT("MessageType", message_type),
    TEXT("SenderID", sender_id),
    TEXT("ReceiverID", receiver_id),
    {.name = "TransactionID",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct answer, transaction_id),
        .max = UINT32_MAX,
        .present_offset = offsetof(struct answer, has_transaction_id)},
    {.name = "Result",
        .kind = JSON_OBJECT,
        .fields = result_fields,
        .n_fields = sizeof(result_fields) / sizeof(result_fields[0]),
        .present_offset = JSON_NO_PRESENT},
    {.name = "PHYPayload",
        .kind = JSON_BYTES,
        .offset = offsetof(struct answer, phy_payload),
        .size = sizeof(((struct answer *)0)->phy_payload),
        .len_offset = offsetof(struct answer, phy_payload_len),
        .empty_is_absent = true,
        .present_offset = offsetof(struct answer, has_phy_payload)},
    TEXT("HNetID", h_net_id),
};
#define N_ANSWER_FIELDS (sizeof(answer_fields) / sizeof(answer_fields[0]))

struct changes {
    struct json_change all[CHANGES_MAX];
    size_t n;
};

static void set_text(struct changes *c, const char *name, const char *text)
{
    c->all[c->n++] = (struct json_change){.name = name, .kind = JSON_SET_TEXT, .text = text};
}

static void set_number(struct changes *c, const char *name, uint32_t number)
{
    c->all[c->n++] =
        (struct json_change){.name = name, .kind = JSON_SET_UNSIGNED, .number = number};
}

static void drop(struct changes *c, const char *name)
{
    c->all[c->n++] = (struct json_change){.name = name, .kind = JSON_REMOVE};
}

static void drop_alike(struct changes *c, const char *name)
{
    c->all[c->n++] = (struct json_change){.name = name, .kind = JSON_REMOVE_ALIKE};
}

/* The requester's own where that is known, else one of its network. */
static const char *ns_id_of(const struct ts002_request *request, const struct carry_out *out,
    char text[static EUI64_TEXT_LEN + 1])
{
    struct eui64 ns_id = {{DERIVED_NS_ID}};

    if (request->has_sender_ns_id && out->ns_id_is_its_own)
        ns_id = request->sender_ns_id;
    else
        memcpy(ns_id.bytes + sizeof(ns_id) - sizeof(request->sender), request->sender.bytes,
            sizeof(request->sender));
    return eui64_format(&ns_id, text);
}

bool carry_request(const char *body, size_t len, const struct ts002_request *request,
    const struct carry_out *out, struct text *ret)
{
    struct changes changes = {0};
    char ns_id[EUI64_TEXT_LEN + 1];

    for (size_t i = 0; i < N_JUDGED_NAMES; i++)
        drop_alike(&changes, judged_names[i]);
    set_text(&changes, "ProtocolVersion", version_names[out->version]);
    set_number(&changes, "TransactionID", out->transaction_id);
    if (out->version == TS002_1_0 || strcmp(request->message_type, TS002_APP_S_KEY_REQ) == 0)
        drop(&changes, "SenderNSID"); /* an application server has none */
    else
        set_text(&changes, "SenderNSID", ns_id_of(request, out, ns_id));
    if (out->version == TS002_1_0)
        drop(&changes, "ReceiverNSID");
    return json_edit(body, len, changes.all, changes.n, ret) == JSON_OK && !ret->failed;
}

/* "JoinReq" and "JoinAns". */
static bool answers_type(const char *answer, const char *request)
{
    const size_t len = strlen(request);

    return len > 3 && strlen(answer) == len && strncmp(answer, request, len - 3) == 0 &&
           strcmp(answer + len - 3, "Ans") == 0;
}

static bool is_eui(const char *text, const struct eui64 *wanted)
{
    struct eui64 eui;

    return hex_decode(text, strlen(text), eui.bytes, sizeof(eui.bytes)) &&
           memcmp(&eui, wanted, sizeof(eui)) == 0;
}

/* A NetID in any case, an AS-ID as it is. */
static bool is_sender(const char *text, const struct ts002_request *request)
{
    struct net_id net_id;

    if (strcmp(request->message_type, TS002_APP_S_KEY_REQ) == 0)
        return strcmp(text, request->sender_id) == 0;
    return hex_decode(text, strlen(text), net_id.bytes, sizeof(net_id.bytes)) &&
           memcmp(&net_id, &request->sender, sizeof(net_id)) == 0;
}

/* Of a Success: what an answer without would be of no use for, and worse than a refusal. */
static bool is_complete(
    const struct answer *answer, const struct ts002_request *request, const char *body, size_t len)
{
    if (strcmp(request->message_type, "HomeNSReq") == 0)
        return answer->h_net_id[0] != '\0';
    if (strcmp(request->message_type, TS002_APP_S_KEY_REQ) == 0)
        return json_any_has(body, len, "AESKey", NULL);
    return answer->has_phy_payload && answer->phy_payload_len > 0;
}

/* CARRY_CODE_UNKNOWN for none of these. */
static unsigned find_code(const char *code)
{
    for (unsigned i = 0; i < CARRY_CODE_UNKNOWN; i++)
        if (strcmp(codes[i].heard, code) == 0)
            return i;
    return CARRY_CODE_UNKNOWN;
}

const char *carry_code_name(unsigned code)
{
    return code < CARRY_CODE_UNKNOWN ? codes[code].heard : "(unknown)";
}

bool carry_is_success(unsigned code)
{
    return strcmp(carry_code_name(code), CODE_SUCCESS) == 0;
}

static enum carry_fault judge(const struct answer *answer, const struct ts002_request *request,
    const struct carry_out *out, const char *body, size_t len)
{
    if (!answers_type(answer->message_type, request->message_type))
        return CARRY_OTHER_MESSAGE;
    if (!answer->has_transaction_id || answer->transaction_id != out->transaction_id)
        return CARRY_OTHER_TRANSACTION;
    if (!is_eui(answer->sender_id, &request->receiver) || !is_sender(answer->receiver_id, request))
        return CARRY_OTHER_IDS;
    if (!answer->has_code || answer->code[0] == '\0')
        return CARRY_NO_RESULT;
    if (strcmp(answer->code, CODE_INVALID_VERSION) == 0)
        return CARRY_OTHER_VERSION;
    if (strcmp(answer->code, CODE_SUCCESS) == 0 && !is_complete(answer, request, body, len))
        return CARRY_INCOMPLETE;
    return CARRY_GOOD;
}

/* What is on the way back instead of what came. */
static void plan_answer(struct changes *changes, const struct ts002_request *request,
    const char *code, char ns_id[static EUI64_TEXT_LEN + 1])
{
    set_text(changes, "ProtocolVersion", version_names[request->version]);
    set_number(changes, "TransactionID", request->transaction_id);
    if (request->sender_token[0] != '\0')
        set_text(changes, "ReceiverToken", request->sender_token);
    else
        drop(changes, "ReceiverToken");
    if (request->has_sender_ns_id)
        set_text(changes, "ReceiverNSID", eui64_format(&request->sender_ns_id, ns_id));
    else
        drop(changes, "ReceiverNSID");
    if (request->version == TS002_1_0) {
        drop(changes, "SenderNSID");
        drop(changes, "HNSID");
    }
    changes->all[changes->n++] = (struct json_change){
        .object = "Result", .name = "ResultCode", .kind = JSON_SET_TEXT, .text = code};
}

enum carry_fault carry_answer(const char *body, size_t len, const struct ts002_request *request,
    const struct carry_out *out, struct carry_answer *ret, struct text *ret_text)
{
    char fault[JSON_FAULT_MAX], ns_id[EUI64_TEXT_LEN + 1];
    struct changes changes = {0};
    struct answer answer = {0};
    enum carry_fault judged;

    /* A member that is malformed is as one that is missing. */
    if (json_read(body, len, answer_fields, N_ANSWER_FIELDS, &answer, fault) == JSON_NOT_JSON)
        return CARRY_NOT_JSON;
    if ((judged = judge(&answer, request, out, body, len)) != CARRY_GOOD)
        return judged;
    ret->heard = find_code(answer.code);
    (void)snprintf(ret->code, sizeof(ret->code), "%s",
        ret->heard == CARRY_CODE_UNKNOWN ? CODE_OTHER : codes[ret->heard].said[request->version]);
    ret->has_clear_key = json_any_has(body, len, "AESKey", "KEKLabel");
    plan_answer(&changes, request, ret->code, ns_id);
    return json_edit(body, len, changes.all, changes.n, ret_text) == JSON_OK ? CARRY_GOOD
                                                                             : CARRY_NOT_JSON;
}

bool carry_read_transaction(const char *body, size_t len, uint32_t *ret)
{
    char fault[JSON_FAULT_MAX];
    struct answer answer = {0};
    size_t type_len;

    if (json_read(body, len, answer_fields, N_ANSWER_FIELDS, &answer, fault) == JSON_NOT_JSON)
        return false;
    type_len = strlen(answer.message_type);
    if (!answer.has_transaction_id || type_len <= 3 ||
        strcmp(answer.message_type + type_len - 3, "Ans") != 0)
        return false;
    *ret = answer.transaction_id;
    return true;
}

const char *carry_fault_name(enum carry_fault fault)
{
    static const char *const names[N_CARRY_FAULTS] = {[CARRY_GOOD] = "good",
        [CARRY_NOT_JSON] = "not_json",
        [CARRY_OTHER_MESSAGE] = "other_message",
        [CARRY_OTHER_TRANSACTION] = "other_transaction",
        [CARRY_OTHER_IDS] = "other_ids",
        [CARRY_NO_RESULT] = "no_result",
        [CARRY_INCOMPLETE] = "incomplete",
        [CARRY_OTHER_VERSION] = "other_version"};

    return names[fault];
}
