/* Any bytes as a TS002 body: read, checked and answered as a request is on its way, whatever its
 * MessageType and version. An answer is judged by another JSON parser's reading of it: one object,
 * whole, with the ids of the request the other way round, a ResultCode of its version, and hex
 * where peers want hex. What passes is answered with every refusal too. */
#include "joinserver/message.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

#define HEX_OF(member) (2 * sizeof(((struct ts002_request *)0)->member))
#define ANY_LENGTH 0
#define WRAPPED                                                                                    \
    {                                                                                              \
        .len = KEYD_WRAPPED_LEN, .bytes = { 0xa5 }                                                 \
    }

/* What no peer may have to unescape, and how long it is. */
static const struct {
    const char *name;
    size_t len;
} hex_members[] = {
    {"ReceiverToken", ANY_LENGTH},
    {"ReceiverNSID", HEX_OF(sender_ns_id)},
    {"PHYPayload", ANY_LENGTH},
    {"DevEUI", HEX_OF(dev_eui)},
    {"SessionKeyID", HEX_OF(session_key_id)},
    {"HNetID", HEX_OF(sender)},
    {"AESKey", 2 * KEYD_WRAPPED_LEN},
};

static bool is_hex(const char *text, size_t len)
{
    size_t n = strspn(text, "0123456789abcdefABCDEF");

    return text[n] == '\0' && n > 0 && n % 2 == 0 && (len == ANY_LENGTH || n == len);
}

static void check_hex(const struct text *out, json_t *object)
{
    for (size_t i = 0; i < sizeof(hex_members) / sizeof(hex_members[0]); i++) {
        json_t *member = json_object_get(object, hex_members[i].name);
        char raw[512];
        const char *value;

        if (member == NULL)
            continue;
        value = json_string_value(member);
        /* A token is echoed as it came: odd, or with the prefix of TS002 1.0. */
        if (strcmp(hex_members[i].name, "ReceiverToken") == 0)
            FUZZ_HOLDS(value[strspn(value, "0123456789abcdefABCDEFxX")] == '\0');
        else
            FUZZ_HOLDS(is_hex(value, hex_members[i].len));
        /* As it stands in the text, without an escape. */
        FUZZ_HOLDS((size_t)snprintf(raw, sizeof(raw), "\"%s\":\"%s\"", hex_members[i].name, value) <
                   sizeof(raw));
        FUZZ_HOLDS(strstr(out->data, raw) != NULL);
    }
}

static bool is_code(const char *code, enum ts002_version version)
{
    for (int i = 0; i < N_JOIN_RESULTS; i++)
        if (strcmp(code, join_result_row((enum join_result)i)->result_code[version]) == 0)
            return true;
    return false;
}

static void check_header(const struct ts002_request *request, json_t *answer)
{
    const char *type = json_string_value(json_object_get(answer, "MessageType"));
    json_t *result = json_object_get(answer, "Result");
    size_t len;

    FUZZ_HOLDS(type != NULL && (len = strlen(type)) > 3 && strcmp(type + len - 3, "Ans") == 0);
    for (const char *c = type; *c != '\0'; c++)
        FUZZ_HOLDS(isalpha((unsigned char)*c));
    FUZZ_HOLDS(strcmp(json_string_value(json_object_get(answer, "ProtocolVersion")),
                   request->version == TS002_1_1 ? "1.1" : "1.0") == 0);
    FUZZ_HOLDS(
        strcmp(json_string_value(json_object_get(answer, "SenderID")), request->receiver_id) == 0);
    FUZZ_HOLDS(
        strcmp(json_string_value(json_object_get(answer, "ReceiverID")), request->sender_id) == 0);
    FUZZ_HOLDS(json_is_integer(json_object_get(answer, "TransactionID")));
    FUZZ_HOLDS(json_integer_value(json_object_get(answer, "TransactionID")) ==
               (json_int_t)request->transaction_id);
    FUZZ_HOLDS(request->version != TS002_1_0 || json_object_get(answer, "ReceiverNSID") == NULL);
    FUZZ_HOLDS(is_code(json_string_value(json_object_get(result, "ResultCode")), request->version));
}

static json_t *read_answer(const struct ts002_request *request, const struct text *out)
{
    json_t *answer;

    FUZZ_HOLDS(!out->failed && out->data != NULL && strlen(out->data) == out->len);
    for (size_t i = 0; i < out->len; i++)
        FUZZ_HOLDS((unsigned char)out->data[i] >= ' '); /* one line, nothing raw */
    answer = json_loadb(out->data, out->len, JSON_REJECT_DUPLICATES, NULL);
    FUZZ_HOLDS(json_is_object(answer));
    check_header(request, answer);
    check_hex(out, answer);
    return answer;
}

static bool says(json_t *answer, const char *code)
{
    return strcmp(
               json_string_value(json_object_get(json_object_get(answer, "Result"), "ResultCode")),
               code) == 0;
}

static void refuse(struct text *out, const struct ts002_request *request, enum join_result result,
    const char *description)
{
    json_t *answer;

    text_clear(out);
    ts002_write_refusal(out, request, result, description);
    answer = read_answer(request, out);
    FUZZ_HOLDS(says(answer, join_result_row(result)->result_code[request->version]));
    FUZZ_HOLDS(json_object_get(answer, "AppSKey") == NULL);
    FUZZ_HOLDS(json_object_get(answer, "PHYPayload") == NULL);
    json_decref(answer);
}

static void check_envelope(const struct text *out, json_t *answer, const char *name)
{
    json_t *envelope = json_object_get(answer, name);

    FUZZ_HOLDS(json_is_string(json_object_get(envelope, "KEKLabel")));
    FUZZ_HOLDS(json_is_string(json_object_get(envelope, "AESKey")));
    check_hex(out, envelope);
}

/* The answer of a device that is there, from a key process that always gives the same. */
static void answer(
    struct text *out, const struct join_message *message, const struct ts002_request *request)
{
    static struct db_join_row row;
    struct keyd_join_reply reply = {.phy_payload_len = request->has_cf_list ? 33 : 17,
        .opt_neg = (request->dl_settings & LW_OPT_NEG) != 0,
        .nwk_s_key = WRAPPED,
        .f_nwk_s_int_key = WRAPPED,
        .s_nwk_s_int_key = WRAPPED,
        .nwk_s_enc_key = WRAPPED,
        .app_s_key = WRAPPED};
    struct keyd_envelope app_s_key = WRAPPED;
    struct join_answer from = {.row = &row,
        .reply = &reply,
        .join_nonce = LW_JOIN_NONCE_MAX,
        .ns_kek_label = "ns",
        .as_kek_label = "as",
        .app_s_key = &app_s_key};
    json_t *read;

    memset(reply.phy_payload, 0x5a, sizeof(reply.phy_payload));
    text_clear(out);
    message->write(out, request, &from);
    read = read_answer(request, out);
    FUZZ_HOLDS(says(read, "Success"));
    if (json_object_get(read, "PHYPayload") != NULL) {
        check_envelope(out, read, reply.opt_neg ? "SNwkSIntKey" : "NwkSKey");
        FUZZ_HOLDS(json_object_get(read, reply.opt_neg ? "NwkSKey" : "NwkSEncKey") == NULL);
    }
    if (json_object_get(read, "SessionKeyID") != NULL)
        check_envelope(out, read, "AppSKey");
    json_decref(read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char description[TS002_DESCRIPTION_MAX] = "";
    enum join_result result = JOIN_SUCCESS;
    const struct join_message *message = NULL;
    struct ts002_request request;
    struct text out = {0};

    switch (ts002_read((const char *)data, size, &request, &result, description)) {
    case TS002_NOT_JSON:
        FUZZ_HOLDS(description[0] != '\0');
        return 0;
    case TS002_OK:
        message = join_message_find(&request);
        if (message != NULL && message->notifies)
            return 0; /* has no answer */
        result = join_message_check(message, &request, description);
        break;
    case TS002_REFUSED:
        FUZZ_HOLDS(result != JOIN_SUCCESS);
        break;
    }
    if (result != JOIN_SUCCESS) {
        FUZZ_HOLDS(description[0] != '\0');
        FUZZ_HOLDS(memchr(description, '\0', sizeof(description)) != NULL);
        refuse(&out, &request, result, description);
    } else {
        FUZZ_HOLDS(message != NULL && message->write != NULL && request.fault[0] == '\0');
        answer(&out, message, &request);
        for (int i = JOIN_SUCCESS + 1; i < N_JOIN_RESULTS; i++)
            refuse(&out, &request, (enum join_result)i, NULL);
    }
    text_done(&out);
    return 0;
}
