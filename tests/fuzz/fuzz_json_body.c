/* The JSON reader over a table shaped like a TS002 JoinReq. */
#include "api/json.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

struct target {
    char version[4];
    char type[16];
    char sender[65];
    uint8_t phy_payload[23];
    uint8_t dev_eui[8];
    uint8_t cf_list[16];
    uint32_t transaction, rx_delay;
    bool has_cf_list, has_rx_delay, has_result;
    char result[32];
};

#define FIELD(member)                                                                              \
    .offset = offsetof(struct target, member), .size = sizeof(((struct target *)0)->member)
#define NO_PRESENT .present_offset = JSON_NO_PRESENT

static const struct json_field result_fields[] = {
    {.name = "ResultCode", .kind = JSON_TEXT, FIELD(result), .required = true, NO_PRESENT},
};

static const struct json_field fields[] = {
    {.name = "ProtocolVersion", .kind = JSON_TEXT, FIELD(version), .required = true, NO_PRESENT},
    {.name = "MessageType", .kind = JSON_TEXT, FIELD(type), .required = true, NO_PRESENT},
    {.name = "SenderID", .kind = JSON_TEXT, FIELD(sender), .required = true, NO_PRESENT},
    {.name = "TransactionID",
        .kind = JSON_UNSIGNED,
        FIELD(transaction),
        .max = UINT32_MAX,
        .required = true,
        NO_PRESENT},
    {.name = "PHYPayload", .kind = JSON_HEX, FIELD(phy_payload), .required = true, NO_PRESENT},
    {.name = "DevEUI", .kind = JSON_HEX, FIELD(dev_eui), .required = true, NO_PRESENT},
    {.name = "RxDelay",
        .kind = JSON_UNSIGNED,
        FIELD(rx_delay),
        .max = 15,
        .present_offset = offsetof(struct target, has_rx_delay)},
    {.name = "CFList",
        .kind = JSON_HEX,
        FIELD(cf_list),
        .empty_is_absent = true,
        .present_offset = offsetof(struct target, has_cf_list)},
    {.name = "Result",
        .kind = JSON_OBJECT,
        .present_offset = offsetof(struct target, has_result),
        .fields = result_fields,
        .n_fields = 1},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct target target;
    char fault[JSON_FAULT_MAX];
    enum json_outcome outcome;

    memset(&target, 0xa5, sizeof(target));
    outcome = json_read(
        (const char *)data, size, fields, sizeof(fields) / sizeof(fields[0]), &target, fault);
    FUZZ_HOLDS((outcome == JSON_OK) == (fault[0] == '\0'));
    FUZZ_HOLDS(memchr(fault, '\0', sizeof(fault)) != NULL);
    if (outcome == JSON_NOT_JSON)
        return 0;
    /* Filled or cleared, but never left as it was. */
    FUZZ_HOLDS(memchr(target.version, '\0', sizeof(target.version)) != NULL);
    FUZZ_HOLDS(memchr(target.type, '\0', sizeof(target.type)) != NULL);
    FUZZ_HOLDS(memchr(target.sender, '\0', sizeof(target.sender)) != NULL);
    FUZZ_HOLDS(memchr(target.result, '\0', sizeof(target.result)) != NULL);
    FUZZ_HOLDS(target.rx_delay <= 15);
    FUZZ_HOLDS(target.has_rx_delay || target.rx_delay == 0);
    return 0;
}
