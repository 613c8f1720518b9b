/* The JSON reader over three tables: one shaped like a TS002 JoinReq, one of every kind that a
 * plain body may have, one of lists, words and nested objects. The first byte chooses; the rest is
 * the body. Plain bodies are read without a tree: they must be read as by it. Who refuses what is
 * not known reads the same where everything is. */
#include "api/json.h"
#include "base/eui.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define FIELD(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define NO_PRESENT .present_offset = JSON_NO_PRESENT
#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/* --- a request ---------------------------------------------------------------------------------
 */

struct join {
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

static const struct json_field result_fields[] = {
    {.name = "ResultCode",
        .kind = JSON_TEXT,
        FIELD(struct join, result),
        .required = true,
        NO_PRESENT},
};

static const struct json_field join_fields[] = {
    {.name = "ProtocolVersion",
        .kind = JSON_TEXT,
        FIELD(struct join, version),
        .required = true,
        NO_PRESENT},
    {.name = "MessageType",
        .kind = JSON_TEXT,
        FIELD(struct join, type),
        .required = true,
        NO_PRESENT},
    {.name = "SenderID",
        .kind = JSON_TEXT,
        FIELD(struct join, sender),
        .required = true,
        NO_PRESENT},
    {.name = "TransactionID",
        .kind = JSON_UNSIGNED,
        FIELD(struct join, transaction),
        .max = UINT32_MAX,
        .required = true,
        NO_PRESENT},
    {.name = "PHYPayload",
        .kind = JSON_HEX,
        FIELD(struct join, phy_payload),
        .required = true,
        NO_PRESENT},
    {.name = "DevEUI", .kind = JSON_HEX, FIELD(struct join, dev_eui), .required = true, NO_PRESENT},
    {.name = "RxDelay",
        .kind = JSON_UNSIGNED,
        FIELD(struct join, rx_delay),
        .max = 15,
        .present_offset = offsetof(struct join, has_rx_delay)},
    {.name = "CFList",
        .kind = JSON_HEX,
        FIELD(struct join, cf_list),
        .empty_is_absent = true,
        .present_offset = offsetof(struct join, has_cf_list)},
    {.name = "Result",
        .kind = JSON_OBJECT,
        .present_offset = offsetof(struct join, has_result),
        .fields = result_fields,
        .n_fields = N_OF(result_fields)},
};

/* Filled or cleared, but never left as it was. */
static void check_join(const void *target)
{
    const struct join *t = target;

    FUZZ_HOLDS(memchr(t->version, '\0', sizeof(t->version)) != NULL);
    FUZZ_HOLDS(memchr(t->type, '\0', sizeof(t->type)) != NULL);
    FUZZ_HOLDS(memchr(t->sender, '\0', sizeof(t->sender)) != NULL);
    FUZZ_HOLDS(memchr(t->result, '\0', sizeof(t->result)) != NULL);
    FUZZ_HOLDS(t->rx_delay <= 15);
    FUZZ_HOLDS(t->has_rx_delay || t->rx_delay == 0);
}

/* --- a plain body ------------------------------------------------------------------------------
 */

#define COUNT_MAX 1000

struct plain {
    char text[8];
    uint8_t eui[8], bytes[6];
    size_t bytes_len;
    uint32_t count, delay;
    bool flag, has_text, has_delay, has_flag;
};

static const struct json_field plain_fields[] = {
    {.name = "text",
        .kind = JSON_TEXT,
        FIELD(struct plain, text),
        .empty_is_absent = true,
        .present_offset = offsetof(struct plain, has_text)},
    {.name = "eui", .kind = JSON_HEX, FIELD(struct plain, eui), .required = true, NO_PRESENT},
    {.name = "bytes",
        .kind = JSON_BYTES,
        FIELD(struct plain, bytes),
        .len_offset = offsetof(struct plain, bytes_len),
        NO_PRESENT},
    {.name = "count",
        .kind = JSON_UNSIGNED,
        FIELD(struct plain, count),
        .max = COUNT_MAX,
        NO_PRESENT},
    {.name = "delay",
        .kind = JSON_UNSIGNED,
        FIELD(struct plain, delay),
        .max = 15,
        .nullable = true,
        .present_offset = offsetof(struct plain, has_delay)},
    {.name = "flag",
        .kind = JSON_BOOL,
        FIELD(struct plain, flag),
        .present_offset = offsetof(struct plain, has_flag)},
    /* No body has a member of that name, for it is not UTF-8; with it the table is not plain. */
    {.name = "\xff", .kind = JSON_OBJECT, NO_PRESENT},
};

static void check_plain(const void *target)
{
    const struct plain *t = target;

    FUZZ_HOLDS(memchr(t->text, '\0', sizeof(t->text)) != NULL);
    FUZZ_HOLDS(t->has_text == (t->text[0] != '\0'));
    FUZZ_HOLDS(t->count <= COUNT_MAX && t->delay <= 15);
    FUZZ_HOLDS(t->has_delay || t->delay == 0);
    FUZZ_HOLDS(t->has_flag || !t->flag);
}

/* --- what is nested ----------------------------------------------------------------------------
 */

#define IDS_MAX 3
#define IDS_ANY 77 /* how many there are where a word stands in their place */
#define PARTS_MAX 4
#define PARTS_ROOM 3
#define WORD_BITS 7u

struct part {
    char name[8];
    uint8_t ids[2][4];
    size_t n_ids;
    uint32_t number;
    bool has_number;
};

struct nested {
    unsigned words;
    uint8_t ids[IDS_MAX][8];
    struct eui64 devices[IDS_MAX];
    struct part parts[PARTS_ROOM];
    size_t n_ids, n_devices, n_parts;
    char inner[8];
    bool has_words, has_ids, has_devices, has_parts, has_outer, has_deep, flag;
};

static const struct word_bits words[] = {{"join", 1}, {"rejoin", 2}, {"keys", 4}, {NULL, 0}};
static const struct word_bits id_words[] = {{"any", IDS_ANY}, {"none", 0}, {NULL, 0}};

static const struct json_field part_fields[] = {
    {.name = "name", .kind = JSON_TEXT, FIELD(struct part, name), .required = true, NO_PRESENT},
    {.name = "ids",
        .kind = JSON_HEX_LIST,
        .offset = offsetof(struct part, ids),
        .size = sizeof(((struct part *)0)->ids[0]),
        .max = 2,
        .len_offset = offsetof(struct part, n_ids),
        NO_PRESENT},
    {.name = "number",
        .kind = JSON_UNSIGNED,
        FIELD(struct part, number),
        .max = 9,
        .present_offset = offsetof(struct part, has_number)},
};

static const struct json_field deep_fields[] = {
    {.name = "text", .kind = JSON_TEXT, FIELD(struct nested, inner), NO_PRESENT},
    {.name = "flag", .kind = JSON_BOOL, FIELD(struct nested, flag), .required = true, NO_PRESENT},
};

static const struct json_field outer_fields[] = {
    {.name = "deep",
        .kind = JSON_OBJECT,
        .fields = deep_fields,
        .n_fields = N_OF(deep_fields),
        .present_offset = offsetof(struct nested, has_deep)},
};

static const struct json_field nested_fields[] = {
    {.name = "words",
        .kind = JSON_WORDS,
        FIELD(struct nested, words),
        .words = words,
        .present_offset = offsetof(struct nested, has_words)},
    {.name = "ids",
        .kind = JSON_HEX_LIST,
        .offset = offsetof(struct nested, ids),
        .size = sizeof(((struct nested *)0)->ids[0]),
        .max = IDS_MAX,
        .words = id_words,
        .len_offset = offsetof(struct nested, n_ids),
        .present_offset = offsetof(struct nested, has_ids)},
    {.name = "devices",
        .kind = JSON_DEVICES,
        .offset = offsetof(struct nested, devices),
        .size = sizeof(struct eui64),
        .max = IDS_MAX,
        .nullable = true,
        .len_offset = offsetof(struct nested, n_devices),
        .present_offset = offsetof(struct nested, has_devices)},
    {.name = "parts",
        .kind = JSON_LIST,
        .offset = offsetof(struct nested, parts),
        .size = sizeof(struct part),
        .max = PARTS_MAX,
        .room = PARTS_ROOM,
        .fields = part_fields,
        .n_fields = N_OF(part_fields),
        .len_offset = offsetof(struct nested, n_parts),
        .present_offset = offsetof(struct nested, has_parts)},
    {.name = "outer",
        .kind = JSON_OBJECT,
        .fields = outer_fields,
        .n_fields = N_OF(outer_fields),
        .present_offset = offsetof(struct nested, has_outer)},
};

static void check_nested(const void *target)
{
    const struct nested *t = target;

    FUZZ_HOLDS((t->words & ~WORD_BITS) == 0);
    FUZZ_HOLDS(t->n_ids <= IDS_MAX || t->n_ids == IDS_ANY);
    FUZZ_HOLDS(t->n_devices <= IDS_MAX && t->n_parts <= PARTS_ROOM);
    FUZZ_HOLDS((t->has_words || t->words == 0) && (t->has_ids || t->n_ids == 0));
    FUZZ_HOLDS((t->has_devices || t->n_devices == 0) && (t->has_parts || t->n_parts == 0));
    FUZZ_HOLDS(memchr(t->inner, '\0', sizeof(t->inner)) != NULL);
    FUZZ_HOLDS(t->has_deep || (t->inner[0] == '\0' && !t->flag));
    FUZZ_HOLDS(t->has_outer || !t->has_deep);
    for (size_t i = 0; i < t->n_parts; i++) {
        FUZZ_HOLDS(memchr(t->parts[i].name, '\0', sizeof(t->parts[i].name)) != NULL);
        FUZZ_HOLDS(t->parts[i].n_ids <= 2 && t->parts[i].number <= 9);
    }
}

/* --- what is tried -----------------------------------------------------------------------------
 */

union target {
    struct join join;
    struct plain plain;
    struct nested nested;
};

struct reading {
    union target target;
    enum json_outcome outcome;
    char fault[JSON_FAULT_MAX];
};

static const struct table {
    const struct json_field *fields;
    size_t n_fields;
    bool ends_odd; /* all but its last are plain */
    void (*check)(const void *target);
} tables[] = {
    {join_fields, N_OF(join_fields), false, check_join},
    {plain_fields, N_OF(plain_fields), true, check_plain},
    {nested_fields, N_OF(nested_fields), false, check_nested},
};

static void check(const struct table *table, const struct reading *reading)
{
    FUZZ_HOLDS(memchr(reading->fault, '\0', sizeof(reading->fault)) != NULL);
    FUZZ_HOLDS((reading->outcome == JSON_OK) == (reading->fault[0] == '\0'));
    if (reading->outcome != JSON_NOT_JSON)
        table->check(&reading->target);
}

static bool same(const struct reading *a, const struct reading *b)
{
    return a->outcome == b->outcome && strcmp(a->fault, b->fault) == 0 &&
           (a->outcome == JSON_NOT_JSON || memcmp(&a->target, &b->target, sizeof(a->target)) == 0);
}

static void read_body(
    const char *body, size_t len, const struct table *table, size_t n_fields, struct reading *ret)
{
    memset(&ret->target, 0xa5, sizeof(ret->target));
    ret->outcome = json_read(body, len, table->fields, n_fields, &ret->target, ret->fault);
    check(table, ret);
}

static void read_known(const char *body, size_t len, const struct table *table,
    const struct reading *as_any, struct reading *ret)
{
    size_t n = 0;

    memset(&ret->target, 0xa5, sizeof(ret->target));
    ret->outcome =
        json_read_known(body, len, table->fields, table->n_fields, &ret->target, &n, ret->fault);
    check(table, ret);
    FUZZ_HOLDS((ret->outcome == JSON_NOT_JSON) == (as_any->outcome == JSON_NOT_JSON));
    FUZZ_HOLDS(ret->outcome != JSON_NOT_JSON || n == 0);
    FUZZ_HOLDS(ret->outcome != JSON_OK || (n <= table->n_fields && same(ret, as_any)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct reading whole, plain, known;
    const struct table *table;
    const char *body = (const char *)data + 1;

    if (size == 0)
        return 0;
    table = &tables[data[0] % N_OF(tables)];
    read_body(body, size - 1, table, table->n_fields, &whole);
    read_known(body, size - 1, table, &whole, &known);
    if (table->ends_odd) {
        read_body(body, size - 1, table, table->n_fields - 1, &plain);
        FUZZ_HOLDS(same(&plain, &whole));
    }
    return 0;
}
