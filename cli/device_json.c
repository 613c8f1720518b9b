#include "cli/device_json.h"

#include "base/error.h"
#include "base/hex.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PROTOCOL_VERSION "1.0"

static void json_cleanup(json_t **json)
{
    json_decref(*json);
}

static void add_hex_field(struct text *out, const char *name, const void *bytes, size_t len)
{
    text_addf(out, ",\"%s\":\"", name);
    text_add_hex(out, bytes, len);
    text_add(out, "\"");
}

void simdev_request_json(struct text *out, const struct simdev *device,
    const struct simdev_network *network, const uint8_t *frame, size_t frame_len,
    uint32_t transaction_id)
{
    text_addf(out,
        "{\"ProtocolVersion\":\"" PROTOCOL_VERSION
        "\",\"MessageType\":\"%s\",\"TransactionID\":%u,\"MACVersion\":\"%s\"",
        device->rejoins ? "RejoinReq" : "JoinReq", transaction_id,
        lw_mac_version_text(device->mac_version));
    add_hex_field(out, "SenderID", network->net_id.bytes, sizeof(network->net_id.bytes));
    add_hex_field(out, "ReceiverID", device->join_eui.bytes, sizeof(device->join_eui.bytes));
    add_hex_field(out, "PHYPayload", frame, frame_len);
    add_hex_field(out, "DevEUI", device->dev_eui.bytes, sizeof(device->dev_eui.bytes));
    add_hex_field(out, "DevAddr", network->dev_addr.bytes, sizeof(network->dev_addr.bytes));
    add_hex_field(out, "DLSettings", &network->dl_settings, 1);
    text_addf(out, ",\"RxDelay\":%u", network->rx_delay);
    if (network->has_cf_list)
        add_hex_field(out, "CFList", network->cf_list, sizeof(network->cf_list));
    text_add(out, "}");
}

/* Copies a text field; *ret_present false (and out "") when the field is absent. */
static int read_text(
    const json_t *object, const char *name, char *out, size_t out_size, bool *ret_present)
{
    const json_t *value = json_object_get(object, name);

    out[0] = '\0';
    *ret_present = value != NULL;
    if (value == NULL)
        return 0;
    if (!json_is_string(value) || json_string_length(value) >= out_size)
        return error_set(ERROR_INPUT, "%s of the answer is not a text of at most %zu characters",
            name, out_size - 1);
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return 0;
}

/* Reads hex of any length up to `capacity`; a required field that is absent is an error. */
static int read_hex(
    const json_t *object, const char *name, uint8_t *out, size_t capacity, size_t *ret_len)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);

    if (text == NULL)
        return error_set(ERROR_INPUT, "the answer has no %s", name);
    size_t text_len = json_string_length(value);
    bool prefixed = text_len >= 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    size_t len = (text_len - (prefixed ? 2 : 0)) / 2;
    if (len > capacity || !hex_decode(text, text_len, out, len))
        return error_set(
            ERROR_INPUT, "%s of the answer is not hex of at most %zu bytes", name, capacity);
    *ret_len = len;
    return 0;
}

static int expect_text(const json_t *object, const char *name, const char *expected)
{
    const char *text = json_string_value(json_object_get(object, name));

    if (text == NULL || strcmp(text, expected) != 0)
        return error_set(ERROR_INPUT, "%s of the answer is not %s", name, expected);
    return 0;
}

static int expect_hex(const json_t *object, const char *name, const uint8_t *expected, size_t len)
{
    uint8_t bytes[8];
    size_t n = 0;
    int r = read_hex(object, name, bytes, sizeof(bytes), &n);

    if (r < 0)
        return r;
    if (n != len || memcmp(bytes, expected, len) != 0)
        return error_set(
            ERROR_INPUT, "%s of the answer is not the other side of the request", name);
    return 0;
}

static int check_header(const json_t *root, const struct simdev *device,
    const struct simdev_network *network, uint32_t transaction_id)
{
    const json_t *transaction = json_object_get(root, "TransactionID");
    int r = expect_text(root, "MessageType", device->rejoins ? "RejoinAns" : "JoinAns");

    if (r == 0)
        r = expect_text(root, "ProtocolVersion", PROTOCOL_VERSION);
    if (r == 0)
        r = expect_hex(root, "SenderID", device->join_eui.bytes, sizeof(device->join_eui.bytes));
    if (r == 0)
        r = expect_hex(root, "ReceiverID", network->net_id.bytes, sizeof(network->net_id.bytes));
    if (r < 0)
        return r;
    if (!json_is_integer(transaction) || json_integer_value(transaction) != transaction_id)
        return error_set(ERROR_INPUT, "TransactionID of the answer is not the request's");
    return 0;
}

static int read_envelope(const json_t *root, const char *name, struct simdev_envelope *ret)
{
    const json_t *object = json_object_get(root, name);
    bool labelled = false;

    if (object == NULL)
        return 0;
    if (!json_is_object(object))
        return error_set(ERROR_INPUT, "%s of the answer is no KeyEnvelope", name);
    int r = read_text(object, "KEKLabel", ret->kek_label, sizeof(ret->kek_label), &labelled);
    if (r == 0)
        r = read_hex(object, "AESKey", ret->aes_key, sizeof(ret->aes_key), &ret->aes_key_len);
    ret->present = r == 0;
    return r;
}

static int read_success(const json_t *root, struct simdev_answer *answer)
{
    bool present = false;
    int r = read_hex(root, "PHYPayload", answer->phy_payload, sizeof(answer->phy_payload),
        &answer->phy_payload_len);

    for (size_t k = 0; r == 0 && k < SIMDEV_N_KEYS; k++)
        r = read_envelope(root, simdev_key_name((enum simdev_key)k), &answer->keys[k]);
    if (r == 0)
        r = read_text(
            root, "SessionKeyID", answer->session_key_id, sizeof(answer->session_key_id), &present);
    return r;
}

void simdev_problem_detail(const char *body, size_t len, char *ret, size_t size)
{
    json_error_t fault;
    CLEANUP(json_cleanup) json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &fault);
    const char *detail = json_string_value(json_object_get(root, "detail"));

    (void)snprintf(ret, size, "%s", detail != NULL ? detail : "");
}

int simdev_answer_parse(const char *body, size_t len, const struct simdev *device,
    const struct simdev_network *network, uint32_t transaction_id, struct simdev_answer *ret)
{
    json_error_t fault;
    CLEANUP(json_cleanup) json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &fault);
    const json_t *result = json_object_get(root, "Result");
    bool present = false;

    *ret = (struct simdev_answer){.phy_payload_len = 0};
    if (!json_is_object(root))
        return error_set(ERROR_INPUT, "the answer is not a JSON object");
    int r = check_header(root, device, network, transaction_id);
    if (r < 0)
        return r;
    r = read_text(result, "ResultCode", ret->result_code, sizeof(ret->result_code), &present);
    if (r < 0)
        return r;
    if (!present)
        return error_set(ERROR_INPUT, "the answer has no Result.ResultCode");
    r = read_text(result, "Description", ret->description, sizeof(ret->description), &present);
    if (r < 0 || strcmp(ret->result_code, "Success") != 0)
        return r;
    return read_success(root, ret);
}
