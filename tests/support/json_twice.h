/* One body read in both ways that api/json.c has: as it is, and made one that only the tree can
 * hold, by a member that nobody knows. What comes of it must be the same. */
#pragma once

#include "api/json.h"
#include "base/text.h"
#include <string.h>

struct json_twice {
    char text[8];
    char echoed[6];
    uint8_t hex[4];
    uint8_t bytes[4];
    size_t bytes_len;
    uint32_t number, small;
    bool truth;
    bool has_echoed, has_hex, has_bytes, has_number, has_small, has_truth;
};

#define TWICE(member)                                                                              \
    .offset = offsetof(struct json_twice, member), .size = sizeof(((struct json_twice *)0)->member)
#define TWICE_HAS(member) .present_offset = offsetof(struct json_twice, has_##member)

static const struct json_field json_twice_fields[] = {
    {.name = "Text",
        .kind = JSON_TEXT,
        TWICE(text),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "Echo", .kind = JSON_TEXT, TWICE(echoed), .nullable = true, TWICE_HAS(echoed)},
    {.name = "Hex", .kind = JSON_HEX, TWICE(hex), .empty_is_absent = true, TWICE_HAS(hex)},
    {.name = "Bytes",
        .kind = JSON_BYTES,
        TWICE(bytes),
        .len_offset = offsetof(struct json_twice, bytes_len),
        .empty_is_absent = true,
        .required = true,
        TWICE_HAS(bytes)},
    {.name = "Number",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct json_twice, number),
        .max = UINT32_MAX,
        TWICE_HAS(number)},
    {.name = "Small",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct json_twice, small),
        .max = 15,
        .nullable = true,
        TWICE_HAS(small)},
    {.name = "Truth", .kind = JSON_BOOL, TWICE(truth), TWICE_HAS(truth)},
};
#define N_JSON_TWICE_FIELDS (sizeof(json_twice_fields) / sizeof(json_twice_fields[0]))

/* Behind the first '{'; without one it stays no JSON. */
static void json_twice_treed(const char *body, size_t len, struct text *out)
{
    static const char member[] = "\"\\u002a only the tree \\u002a\":[]";
    const char *brace = memchr(body, '{', len);
    size_t head = brace != NULL ? (size_t)(brace - body) + 1 : 0;
    size_t next = head;

    text_add_len(out, body, head);
    if (head == 0)
        return;
    while (next < len && memchr(" \t\r\n", body[next], 4) != NULL)
        next++;
    text_add(out, member);
    if (next < len && body[next] != '}')
        text_add(out, ",");
    text_add_len(out, body + head, len - head);
}

/** True when both readings agree; what they read is `ret` (JSON_OK, JSON_BAD_FIELD). */
static bool json_twice_agree(
    const char *body, size_t len, enum json_outcome *ret_outcome, struct json_twice *ret)
{
    char fault[JSON_FAULT_MAX], treed_fault[JSON_FAULT_MAX];
    CLEANUP(text_done) struct text treed = {0};
    struct json_twice other;
    enum json_outcome outcome;

    memset(ret, 0xa5, sizeof(*ret)); /* nothing may depend on what stood there before */
    memset(&other, 0xa5, sizeof(other));
    json_twice_treed(body, len, &treed);
    *ret_outcome = json_read(body, len, json_twice_fields, N_JSON_TWICE_FIELDS, ret, fault);
    outcome = json_read(treed.data != NULL ? treed.data : "", treed.len, json_twice_fields,
        N_JSON_TWICE_FIELDS, &other, treed_fault);
    if (outcome != *ret_outcome)
        return false;
    return outcome == JSON_NOT_JSON ||
           (memcmp(ret, &other, sizeof(other)) == 0 && strcmp(fault, treed_fault) == 0);
}
