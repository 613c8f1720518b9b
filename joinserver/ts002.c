#include "joinserver/ts002.h"

#include "api/json.h"
#include "base/bytes.h"
#include "base/hex.h"
#include <stdio.h>
#include <string.h>

#define RX_DELAY_MAX 15
#define SENDER_NS_ID "SenderNSID"

#define TEXT(wire, member)                                                                         \
    {                                                                                              \
        .name = wire, .kind = JSON_TEXT, .offset = offsetof(struct ts002_request, member),         \
        .size = sizeof(((struct ts002_request *)0)->member), .present_offset = JSON_NO_PRESENT     \
    }
#define HEX(wire, member, blank)                                                                   \
    {                                                                                              \
        .name = wire, .kind = JSON_HEX, .offset = offsetof(struct ts002_request, member),          \
        .size = sizeof(((struct ts002_request *)0)->member), .empty_is_absent = blank,             \
        .present_offset = offsetof(struct ts002_request, has_##member)                             \
    }

/* Nothing is required here: what is missing is judged after the sender is known. */
static const struct json_field fields[] = {
    TEXT("ProtocolVersion", protocol_version),
    TEXT("MessageType", message_type),
    TEXT("SenderID", sender_id),
    TEXT("ReceiverID", receiver_id),
    {.name = "TransactionID",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct ts002_request, transaction_id),
        .max = UINT32_MAX,
        .present_offset = JSON_NO_PRESENT},
    {.name = "SenderToken",
        .kind = JSON_TEXT,
        .offset = offsetof(struct ts002_request, sender_token),
        .size = sizeof(((struct ts002_request *)0)->sender_token),
        .empty_is_absent = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "PHYPayload",
        .kind = JSON_BYTES,
        .offset = offsetof(struct ts002_request, frame),
        .size = LW_REJOIN_MAX,
        .len_offset = offsetof(struct ts002_request, frame_len),
        .empty_is_absent = true,
        .present_offset = offsetof(struct ts002_request, has_frame)},
    HEX("DevEUI", dev_eui, false),
    HEX("DevAddr", dev_addr, false),
    HEX("DLSettings", dl_settings, false),
    {.name = "RxDelay",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct ts002_request, rx_delay),
        .max = RX_DELAY_MAX,
        .present_offset = offsetof(struct ts002_request, has_rx_delay)},
    HEX("CFList", cf_list, true),
    {.name = "SessionKeyID",
        .kind = JSON_BYTES,
        .offset = offsetof(struct ts002_request, session_key_id),
        .size = SESSION_KEY_ID_LEN,
        .len_offset = offsetof(struct ts002_request, session_key_id_len),
        .empty_is_absent = true,
        .present_offset = offsetof(struct ts002_request, has_session_key_id)},
    /* The last, so that a fault about it says that all others are good: 1.0 overlooks it. */
    {.name = SENDER_NS_ID,
        .kind = JSON_BYTES,
        .offset = offsetof(struct ts002_request, sender_ns_id),
        .size = sizeof(((struct ts002_request *)0)->sender_ns_id),
        .len_offset = offsetof(struct ts002_request, sender_ns_id_len),
        .empty_is_absent = true,
        .present_offset = offsetof(struct ts002_request, has_sender_ns_id)},
};

static const char *const versions[N_TS002_VERSIONS] = {[TS002_1_0] = "1.0", [TS002_1_1] = "1.1"};

static void describe(char description[static TS002_DESCRIPTION_MAX], const char *text)
{
    (void)snprintf(description, TS002_DESCRIPTION_MAX, "%s", text);
}

/* The prefix of TS002 1.0's hexadecimal is as good here as elsewhere. */
static bool is_hex(const char *text)
{
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        text += 2;
    return text[strspn(text, "0123456789abcdefABCDEF")] == '\0';
}

/* False when it is none that is known. */
static bool read_version(struct ts002_request *request)
{
    for (int i = 0; i < N_TS002_VERSIONS; i++)
        if (strcmp(request->protocol_version, versions[i]) == 0) {
            request->version = (enum ts002_version)i;
            return true;
        }
    return false;
}

/* What is malformed, and matters in the request's version. `fault` is the JSON reader's, or empty.
 */
static void judge_members(struct ts002_request *request, const char *fault)
{
    bool about_ns_id = strncmp(fault, SENDER_NS_ID " ", sizeof(SENDER_NS_ID)) == 0;

    /* The Things Stack has sent its NetID as SenderNSID under 1.0, which has no such member. */
    if (request->version == TS002_1_0) {
        request->has_sender_ns_id = false;
        if (about_ns_id)
            fault = "";
    }
    if (fault[0] != '\0')
        describe(request->fault, fault);
    else if (request->has_sender_ns_id &&
             request->sender_ns_id_len != sizeof(request->sender_ns_id))
        describe(request->fault, SENDER_NS_ID " is not a text of 16 hexadecimal digits");
    else if (!is_hex(request->sender_token))
        describe(request->fault, "SenderToken is not hexadecimal");
    if (request->sender_ns_id_len != sizeof(request->sender_ns_id))
        request->has_sender_ns_id = false;
}

enum ts002_outcome ts002_read(const char *body, size_t len, struct ts002_request *request,
    enum join_result *ret_result, char description[static TS002_DESCRIPTION_MAX])
{
    char fault[JSON_FAULT_MAX];
    enum json_outcome outcome;

    *request = (struct ts002_request){0};
    outcome = json_read(body, len, fields, sizeof(fields) / sizeof(fields[0]), request, fault);
    if (outcome == JSON_NOT_JSON) {
        describe(description, fault);
        return TS002_NOT_JSON;
    }
    *ret_result = JOIN_MALFORMED;
    if (!read_version(request)) {
        request->has_sender_ns_id = false; /* the answer is of 1.0 */
        *ret_result = JOIN_INVALID_VERSION;
        describe(description, join_result_row(JOIN_INVALID_VERSION)->description);
        return TS002_REFUSED;
    }
    judge_members(request, outcome == JSON_BAD_FIELD ? fault : "");
    /* Six and sixteen digits exactly: a shortened NetID is another NetID. */
    if (strcmp(request->message_type, TS002_APP_S_KEY_REQ) != 0 &&
        !hex_decode(request->sender_id, strlen(request->sender_id), request->sender.bytes,
            sizeof(request->sender.bytes))) {
        *ret_result = JOIN_UNKNOWN_SENDER;
        describe(description, "SenderID must be a NetID of six hexadecimal digits");
        return TS002_REFUSED;
    }
    if (!hex_decode(request->receiver_id, strlen(request->receiver_id), request->receiver.bytes,
            sizeof(request->receiver.bytes))) {
        *ret_result = JOIN_UNKNOWN_RECEIVER;
        describe(description, "ReceiverID must be a JoinEUI of sixteen hexadecimal digits");
        return TS002_REFUSED;
    }
    return TS002_OK;
}

/* What a JoinReq and a RejoinReq must have, whatever is in it. */
static enum join_result check_activation(
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX])
{
    const char *missing = NULL;

    if (request->fault[0] != '\0') {
        describe(description, request->fault);
        return JOIN_MALFORMED;
    }
    if (!request->has_frame)
        missing = "PHYPayload";
    else if (!request->has_dev_eui)
        missing = "DevEUI";
    else if (!request->has_dev_addr)
        missing = "DevAddr";
    else if (!request->has_dl_settings)
        missing = "DLSettings";
    if (missing != NULL) {
        (void)snprintf(description, TS002_DESCRIPTION_MAX, "%s is missing", missing);
        return JOIN_MALFORMED;
    }
    return JOIN_SUCCESS;
}

static enum join_result check_frame_dev_eui(const struct ts002_request *request,
    const struct eui64 *dev_eui, char description[static TS002_DESCRIPTION_MAX])
{
    if (memcmp(dev_eui, &request->dev_eui, sizeof(*dev_eui)) == 0)
        return JOIN_SUCCESS;
    describe(description, "DevEUI is not the one in PHYPayload");
    return JOIN_MALFORMED;
}

enum join_result ts002_check_join(
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX])
{
    struct lw_join_request parsed;
    enum join_result result = check_activation(request, description);

    request->join_type = LW_JOIN;
    if (result != JOIN_SUCCESS)
        return result;
    if (request->frame_len != LW_JOIN_REQUEST_LEN) {
        describe(description, "PHYPayload of a Join-Request is 23 bytes");
        return JOIN_FRAME_SIZE;
    }
    if (lw_join_request_parse(request->frame, LW_JOIN_REQUEST_LEN, &parsed) != LW_FRAME_OK) {
        describe(description, "PHYPayload is not a Join-Request");
        return JOIN_MALFORMED;
    }
    request->frame_join_eui = parsed.join_eui;
    request->dev_nonce = parsed.dev_nonce;
    return check_frame_dev_eui(request, &parsed.dev_eui, description);
}

enum join_result ts002_check_rejoin(
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX])
{
    struct lw_rejoin_request parsed;
    enum lw_frame_outcome outcome;
    size_t len;
    enum join_result result = check_activation(request, description);

    if (result != JOIN_SUCCESS)
        return result;
    /* The second byte is the type. */
    len = request->frame[1] == LW_REJOIN_1 ? LW_REJOIN_LEN_1 : LW_REJOIN_LEN_0_2;
    if (request->frame_len != len) {
        describe(description, "PHYPayload of a Rejoin-Request is 19 bytes, or 24 of type 1");
        return JOIN_FRAME_SIZE;
    }
    outcome = lw_rejoin_request_parse(request->frame, request->frame_len, &parsed);
    if (outcome != LW_FRAME_OK) {
        describe(description, "PHYPayload is not a Rejoin-Request");
        return JOIN_MALFORMED;
    }
    request->join_type = parsed.type;
    request->frame_join_eui = parsed.type == LW_REJOIN_1 ? parsed.join_eui : request->receiver;
    request->frame_net_id = parsed.net_id;
    request->dev_nonce = parsed.rj_count;
    /* Only a 1.1 session can rejoin, and its accept always says so (LoRaWAN 1.1 6.2.4). */
    if ((request->dl_settings & LW_OPT_NEG) == 0) {
        describe(description, "OptNeg of DLSettings must be set to answer a Rejoin-Request");
        return JOIN_MALFORMED;
    }
    return check_frame_dev_eui(request, &parsed.dev_eui, description);
}

enum join_result ts002_check_home_ns(
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX])
{
    if (request->fault[0] != '\0')
        describe(description, request->fault);
    else if (!request->has_dev_eui)
        describe(description, "DevEUI is missing");
    else
        return JOIN_SUCCESS;
    return JOIN_MALFORMED;
}

/* The session's JoinNonce; 0 when the SessionKeyID was not made here for this device. */
static uint32_t join_nonce_of(const struct ts002_request *request)
{
    struct bytes_reader r =
        bytes_reader_over(request->session_key_id, sizeof(request->session_key_id));
    struct eui64 dev_eui;
    uint32_t join_nonce;

    bytes_read(&r, dev_eui.bytes, sizeof(dev_eui.bytes));
    join_nonce = bytes_read_u32_be(&r);
    return request->session_key_id_len == sizeof(request->session_key_id) &&
                   memcmp(&dev_eui, &request->dev_eui, sizeof(dev_eui)) == 0 &&
                   join_nonce <= LW_JOIN_NONCE_MAX
               ? join_nonce
               : 0;
}

enum join_result ts002_check_app_s_key(
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX])
{
    if (request->fault[0] != '\0') {
        describe(description, request->fault);
        return JOIN_MALFORMED;
    }
    if (!request->has_dev_eui || !request->has_session_key_id) {
        describe(
            description, request->has_dev_eui ? "SessionKeyID is missing" : "DevEUI is missing");
        return JOIN_MALFORMED;
    }
    request->session_join_nonce = join_nonce_of(request);
    return JOIN_SUCCESS;
}

void ts002_session_key_id(
    const struct eui64 *dev_eui, uint32_t join_nonce, uint8_t out[static SESSION_KEY_ID_LEN])
{
    struct bytes_writer w = bytes_writer_over(out, SESSION_KEY_ID_LEN);

    bytes_write(&w, dev_eui->bytes, sizeof(dev_eui->bytes));
    bytes_write_u32_be(&w, join_nonce);
}

/* "JoinReq" is answered by "JoinAns"; a type that is not of letters or does not end so, by JoinAns.
 */
static void write_message_type(struct text *out, const char *message_type)
{
    size_t len = strlen(message_type);
    size_t n_letters = strspn(message_type, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

    if (len > 3 && n_letters == len && strcmp(message_type + len - 3, "Req") == 0)
        text_add_len(out, message_type, len - 3);
    else
        text_add(out, "Join");
    text_add(out, "Ans");
}

static void write_header(struct text *out, const struct ts002_request *request,
    const char *result_code, const char *description)
{
    text_add(out, "{\"ProtocolVersion\":\"");
    text_add(out, versions[request->version]);
    text_add(out, "\",\"SenderID\":");
    text_add_json(out, request->receiver_id);
    text_add(out, ",\"ReceiverID\":");
    text_add_json(out, request->sender_id);
    text_add(out, ",\"TransactionID\":");
    text_add_unsigned(out, request->transaction_id);
    text_add(out, ",\"MessageType\":\"");
    write_message_type(out, request->message_type);
    text_add(out, "\"");
    /* Hex was checked when it was read: no peer has to undo an escape here. */
    if (request->sender_token[0] != '\0' && is_hex(request->sender_token)) {
        text_add(out, ",\"ReceiverToken\":\"");
        text_add(out, request->sender_token);
        text_add(out, "\"");
    }
    if (request->has_sender_ns_id) {
        text_add(out, ",\"ReceiverNSID\":\"");
        text_add_hex(out, request->sender_ns_id.bytes, sizeof(request->sender_ns_id.bytes));
        text_add(out, "\"");
    }
    text_add(out, ",\"Result\":{\"ResultCode\":\"");
    text_add(out, result_code);
    text_add(out, "\"");
    if (description != NULL) {
        text_add(out, ",\"Description\":");
        text_add_json(out, description);
    }
    text_add(out, "}");
}

void ts002_write_refusal(struct text *out, const struct ts002_request *request,
    enum join_result result, const char *description)
{
    const struct join_result_row *row = join_result_row(result);

    write_header(out, request, row->result_code[request->version],
        description != NULL ? description : row->description);
    text_add(out, "}");
}

static void write_success(struct text *out, const struct ts002_request *request)
{
    write_header(out, request, join_result_row(JOIN_SUCCESS)->result_code[request->version], NULL);
}

static void write_envelope(
    struct text *out, const char *name, const char *kek_label, const struct keyd_envelope *envelope)
{
    text_add(out, ",\"");
    text_add(out, name);
    text_add(out, "\":{");
    if (kek_label != NULL) {
        text_add(out, "\"KEKLabel\":\"");
        text_add(out, kek_label);
        text_add(out, "\",");
    }
    text_add(out, "\"AESKey\":\"");
    text_add_hex(out, envelope->bytes, envelope->len);
    text_add(out, "\"}");
}

void ts002_write_join_ans(struct text *out, const struct ts002_request *request,
    const struct keyd_join_reply *reply, uint32_t join_nonce, const char *ns_kek_label,
    const char *as_kek_label, bool with_session_key_id)
{
    uint8_t session_key_id[SESSION_KEY_ID_LEN];

    write_success(out, request);
    text_add(out, ",\"PHYPayload\":\"");
    text_add_hex(out, reply->phy_payload, reply->phy_payload_len);
    text_add(out, "\"");
    if (reply->opt_neg) {
        write_envelope(out, "SNwkSIntKey", ns_kek_label, &reply->s_nwk_s_int_key);
        write_envelope(out, "FNwkSIntKey", ns_kek_label, &reply->f_nwk_s_int_key);
        write_envelope(out, "NwkSEncKey", ns_kek_label, &reply->nwk_s_enc_key);
    } else {
        write_envelope(out, "NwkSKey", ns_kek_label, &reply->nwk_s_key);
    }
    write_envelope(out, "AppSKey", as_kek_label, &reply->app_s_key);
    if (with_session_key_id) {
        ts002_session_key_id(&request->dev_eui, join_nonce, session_key_id);
        text_add(out, ",\"SessionKeyID\":\"");
        text_add_hex(out, session_key_id, sizeof(session_key_id));
        text_add(out, "\"");
    }
    text_add(out, ",\"Lifetime\":0}");
}

void ts002_write_home_ns_ans(struct text *out, const struct ts002_request *request,
    const struct net_id *home_net_id, const struct eui64 *home_ns_id)
{
    write_success(out, request);
    text_add(out, ",\"HNetID\":\"");
    text_add_hex(out, home_net_id->bytes, sizeof(home_net_id->bytes));
    text_add(out, "\"");
    if (home_ns_id != NULL && request->version != TS002_1_0) {
        text_add(out, ",\"HNSID\":\"");
        text_add_hex(out, home_ns_id->bytes, sizeof(home_ns_id->bytes));
        text_add(out, "\"");
    }
    text_add(out, "}");
}

void ts002_write_app_s_key_ans(struct text *out, const struct ts002_request *request,
    const struct keyd_envelope *app_s_key, const char *as_kek_label)
{
    write_success(out, request);
    text_add(out, ",\"DevEUI\":\"");
    text_add_hex(out, request->dev_eui.bytes, sizeof(request->dev_eui.bytes));
    text_add(out, "\"");
    write_envelope(out, "AppSKey", as_kek_label, app_s_key);
    text_add(out, ",\"SessionKeyID\":\"");
    text_add_hex(out, request->session_key_id, sizeof(request->session_key_id));
    text_add(out, "\"}");
}
