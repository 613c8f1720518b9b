/* /v1/eui-blocks: identifiers that makers have devices made with. */
#include "activation/call.h"
#include "base/hex.h"
#include "db/eui_block.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_TEXT_LEN ((size_t)2 * ACCOUNT_ID_LEN)
#define KIND_MAX 7        /* "lorawan" */
#define IDENTIFIER_MAX 31 /* of any spelling of base/eui.h */
#define DETAIL_MAX 200

struct block_body {
    uint8_t organization[ACCOUNT_ID_LEN];
    char kind[KIND_MAX + 1];
    char first[IDENTIFIER_MAX + 1];
    char last[IDENTIFIER_MAX + 1];
    uint32_t size;
    bool has_last, has_size;
};

#define MEMBER(member, as, ...)                                                                    \
    {                                                                                              \
        .name = #member, .kind = (as), .offset = offsetof(struct block_body, member),              \
        .size = sizeof(((struct block_body *)0)->member), __VA_ARGS__                              \
    }
#define REQUIRED .required = true, .present_offset = JSON_NO_PRESENT
static const struct json_field fields[] = {
    MEMBER(organization, JSON_HEX, REQUIRED),
    MEMBER(kind, JSON_TEXT, REQUIRED),
    MEMBER(first, JSON_TEXT, REQUIRED),
    MEMBER(last, JSON_TEXT, .present_offset = offsetof(struct block_body, has_last)),
    MEMBER(size, JSON_UNSIGNED, .max = UINT32_MAX,
        .present_offset = offsetof(struct block_body, has_size)),
};

static void write_block(struct text *out, const struct db_eui_block *b)
{
    const struct eui64 last = db_eui_block_at(&b->first, b->size - 1);
    char text[DEVICE_ID_TEXT_LEN + 1];

    text_add(out, "{\"id\":\"");
    text_add_hex(out, b->id, sizeof(b->id));
    text_add(out, "\",\"organization\":\"");
    text_add_hex(out, b->organization_public_id, sizeof(b->organization_public_id));
    text_addf(out, "\",\"kind\":\"%s\",\"first\":\"%s\"", device_kind_text(b->kind),
        device_id_format(&b->first, text));
    text_addf(out, ",\"last\":\"%s\",\"size\":%" PRId64 ",\"given\":%" PRId64,
        device_id_format(&last, text), b->size, b->n_given);
    text_addf(out, ",\"created_at\":\"%s\",\"closed_at\":", b->created);
    text_addf(out, b->closed_at[0] != '\0' ? "\"%s\"}" : "null%s}", b->closed_at);
}

static unsigned answer_block(
    struct act_call *call, unsigned status, const struct db_eui_block *block)
{
    struct text body = {0};

    write_block(&body, block);
    text_add(&body, "\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

static int audit(struct act_call *call, const char *action, const struct db_eui_block *b)
{
    char id[ID_TEXT_LEN + 1], detail[DETAIL_MAX], text[DEVICE_ID_TEXT_LEN + 1];

    (void)snprintf(detail, sizeof(detail),
        "{\"kind\":\"%s\",\"first\":\"%s\",\"size\":%" PRId64 ",\"given\":%" PRId64 "}",
        device_kind_text(b->kind), device_id_format(&b->first, text), b->size, b->n_given);
    return act_call_audit(
        call, b->organization_id, action, hex_encode(b->id, sizeof(b->id), id), detail);
}

/* --- making one ------------------------------------------------------------------------------- */

/* Of a Sigfox id also its 8 digits alone. */
static bool read_identifier(enum device_kind kind, const char *text, struct eui64 *ret)
{
    struct eui64 id = {{0}};
    size_t len = strlen(text);

    if (kind == DEVICE_LORAWAN)
        return eui64_parse(text, len, ret) && !device_id_is_sigfox(ret);
    if (len == (size_t)2 * SIGFOX_ID_LEN) {
        if (!hex_decode(text, len, id.bytes + sizeof(id.bytes) - SIGFOX_ID_LEN, SIGFOX_ID_LEN))
            return false;
        *ret = id;
        return true;
    }
    return device_id_parse(text, len, ret) && device_id_is_sigfox(ret);
}

static unsigned refuse_identifier(struct act_call *call, enum device_kind kind, const char *member)
{
    char detail[DETAIL_MAX];

    (void)snprintf(detail, sizeof(detail),
        kind == DEVICE_LORAWAN ? "%s is no DevEUI: 16 hexadecimal digits, not 8 zeros first"
                               : "%s is no Sigfox id: 8 hexadecimal digits",
        member);
    return act_call_bad_field(call, member, detail);
}

/* From where to where. 0, or the status of the answer it set. */
static unsigned read_run(
    struct act_call *call, const struct block_body *body, struct db_eui_block *block)
{
    const uint64_t end = block->kind == DEVICE_SIGFOX ? UINT32_MAX : UINT64_MAX;
    struct eui64 last;
    uint64_t first;

    if (!read_identifier(block->kind, body->first, &block->first))
        return refuse_identifier(call, block->kind, "first");
    if (body->has_last == body->has_size)
        return act_call_bad_field(
            call, "size", "how many? Give size, or last: the one or the other");
    first = eui64_to_u64(&block->first);
    if (body->has_size) {
        if (body->size == 0 || body->size - 1 > end - first)
            return act_call_bad_field(call, "size",
                "size is not a number from 1 on, or there are not so many behind first");
        block->size = body->size;
        return 0;
    }
    if (!read_identifier(block->kind, body->last, &last))
        return refuse_identifier(call, block->kind, "last");
    if (eui64_to_u64(&last) < first || eui64_to_u64(&last) - first >= DB_EUI_BLOCK_SIZE_MAX)
        return act_call_bad_field(
            call, "last", "last is before first, or more than 1,099,511,627,776 from it");
    block->size = (int64_t)(eui64_to_u64(&last) - first) + 1;
    return 0;
}

static unsigned refuse_overlap(struct act_call *call, const struct db_eui_block *block)
{
    struct db_eui_block other;
    char id[ID_TEXT_LEN + 1], first[DEVICE_ID_TEXT_LEN + 1], detail[DETAIL_MAX];
    int r = db_eui_block_overlapping(call->worker->db, &block->first, block->size, &other);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0) /* made by somebody whose transaction came to nothing */
        return act_call_problem(call, PROBLEM_CONFLICT, "it overlaps another block: try again");
    (void)snprintf(detail, sizeof(detail),
        "it overlaps block %s, which is %" PRId64 " identifiers from %s on",
        hex_encode(other.id, sizeof(other.id), id), other.size,
        device_id_format(&other.first, first));
    return act_call_problem_of(call, PROBLEM_CONFLICT, "first", detail);
}

static unsigned post_block(struct act_call *call)
{
    struct db_eui_block block = {0};
    struct db_organization o;
    struct block_body body;
    char id[ID_TEXT_LEN + 1];
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &body);
    int r;

    if (status != 0)
        return status;
    block.kind =
        strcmp(body.kind, device_kind_text(DEVICE_SIGFOX)) == 0 ? DEVICE_SIGFOX : DEVICE_LORAWAN;
    if (strcmp(body.kind, device_kind_text(block.kind)) != 0)
        return act_call_bad_field(call, "kind", "kind is lorawan or sigfox");
    if ((status = read_run(call, &body, &block)) != 0)
        return status;
    if ((r = db_organization_find(call->worker->db, body.organization, &o)) > 0)
        return act_call_bad_field(call, "organization", "there is no such organization");
    if (r < 0)
        return act_call_failed(call, r);
    block.organization_id = o.row_id;
    if ((r = db_eui_block_add(call->worker->db, &block)) > 0)
        return refuse_overlap(call, &block);
    if (r < 0 || (r = audit(call, "eui-block.create", &block)) < 0)
        return act_call_failed(call, r);
    act_call_locate(call, "/v1/eui-blocks/%s", hex_encode(block.id, sizeof(block.id), id));
    return answer_block(call, 201, &block);
}

/* --- seeing and closing ----------------------------------------------------------------------- */

static bool sees_all(const struct act_call *call)
{
    return (call->caller->roles & ROLE_ADMIN) != 0;
}

/* The block of the path. 0, or the status of the answer it set. */
static unsigned find(struct act_call *call, struct db_eui_block *ret)
{
    const char *text = act_call_param(call, 0);
    uint8_t id[ACCOUNT_ID_LEN];
    int r = 1;

    if (strlen(text) == ID_TEXT_LEN && hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_eui_block_find(call->worker->db, id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || (!sees_all(call) && ret->organization_id != call->caller->organization_id))
        return act_call_problem(
            call, PROBLEM_NOT_FOUND, "there is no such block, or it is not yours to see");
    return 0;
}

static unsigned get_block(struct act_call *call)
{
    struct db_eui_block block;
    unsigned status = find(call, &block);

    return status != 0 ? status : answer_block(call, 200, &block);
}

static unsigned get_blocks(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_eui_block *list = NULL;
    size_t limit, n;
    int64_t after;
    unsigned status = act_call_page_number(call, &limit, &after);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_eui_block_list(call->worker->db, sees_all(call) ? 0 : call->caller->organization_id,
        after, list, limit + 1, &n);
    if (r < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_block(&body, &list[i]);
    }
    act_list_end_number(&body, n > limit ? list[limit - 1].row_id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* What was given stays given. */
static unsigned delete_block(struct act_call *call)
{
    struct db_eui_block block;
    unsigned status = find(call, &block);
    int r;

    if (status != 0)
        return status;
    if ((r = db_eui_block_close(call->worker->db, block.row_id)) > 0)
        return act_call_problem(call, PROBLEM_NOT_FOUND, "the block is closed already");
    if (r < 0 || (r = audit(call, "eui-block.close", &block)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/eui-blocks",
        .right = RIGHT_EUI_BLOCKS_MAKE,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_block,
        .changes = true},
    {.method = API_GET, .path = "/v1/eui-blocks", .right = RIGHT_EUI_BLOCKS, .work = get_blocks},
    {.method = API_GET,
        .path = "/v1/eui-blocks/{block}",
        .right = RIGHT_EUI_BLOCKS,
        .work = get_block},
    {.method = API_DELETE,
        .path = "/v1/eui-blocks/{block}",
        .right = RIGHT_EUI_BLOCKS_MAKE,
        .work = delete_block,
        .changes = true},
};

const struct act_area act_area_eui_blocks = ACT_AREA(routes);
