#include "activation/batches.h"

#include "base/hex.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

unsigned act_batch_find(struct act_call *call, size_t index, struct db_batch *ret)
{
    const char *text = act_call_param(call, index);
    uint8_t id[ACCOUNT_ID_LEN];
    int r = 1;

    if (strlen(text) == (size_t)2 * ACCOUNT_ID_LEN &&
        hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_batch_find(call->worker->db, id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || ret->organization_id != call->caller->organization_id)
        return act_call_problem(
            call, PROBLEM_NOT_FOUND, "there is no such batch, or it is not yours to see");
    return 0;
}

/* What a bench that wants id_key.bin is to know. */
#define LEGACY_WARNING                                                                             \
    "nothing protects records of id_key.bin against being changed or swapped, their encryption "   \
    "shows which are alike and begins with a block that is known, and who has the file's key "     \
    "reads every device's: use jwe where the bench can"

static void add_text_or_null(struct text *out, const char *member, const char *text)
{
    text_addf(out, ",\"%s\":", member);
    if (*text != '\0')
        text_add_json(out, text);
    else
        text_add(out, "null");
}

/* `len` 0: null. */
static void add_hex_or_null(struct text *out, const char *member, const uint8_t *bytes, size_t len)
{
    text_addf(out, len > 0 ? ",\"%s\":\"" : ",\"%s\":null", member);
    text_add_hex(out, bytes, len);
    text_add(out, len > 0 ? "\"" : "");
}

static void write_lorawan(struct text *out, const struct db_order *o)
{
    const bool is_lorawan = o->kind == DEVICE_LORAWAN;

    add_hex_or_null(out, "join_eui", o->join_eui.bytes, is_lorawan ? sizeof(o->join_eui.bytes) : 0);
    add_text_or_null(out, "mac_version", is_lorawan ? lw_mac_version_text(o->mac_version) : "");
    add_hex_or_null(
        out, "profile_id", o->profile_id, o->has_profile_id ? sizeof(o->profile_id) : 0);
}

static void write_given(struct text *out, const struct db_order *o)
{
    struct eui64 last;
    char text[DEVICE_ID_TEXT_LEN + 1];

    add_hex_or_null(out, "block", o->block, o->has_block ? sizeof(o->block) : 0);
    if (!o->is_given) {
        text_add(out, ",\"first\":null,\"last\":null");
        return;
    }
    last = db_eui_block_at(&o->first, o->n - 1);
    add_text_or_null(out, "first", device_id_format(&o->first, text));
    add_text_or_null(out, "last", device_id_format(&last, text));
}

static void write_order(struct text *out, const struct db_batch *b)
{
    const struct db_order *o = &b->order;

    text_addf(out, ",\"order\":{\"kind\":\"%s\",\"count\":%" PRId64 ",\"certificate\":\"%s\"",
        device_kind_text(o->kind), o->n, o->certificate);
    write_lorawan(out, o);
    write_given(out, o);
    text_addf(out, ",\"state\":\"%s\",\"delivery\":\"%s\"", db_order_state_text(o->state),
        db_order_delivery_text(o->delivery));
    add_hex_or_null(out, "public_key_sha256", o->key_digest, sizeof(o->key_digest));
    add_text_or_null(out, "warning", o->delivery == ORDER_LEGACY ? LEGACY_WARNING : "");
    text_addf(out, ",\"claim_code_length\":%u,\"done\":%" PRId64, o->code_length, b->n_done);
    add_hex_or_null(out, "asked_by", o->asked_by, sizeof(o->asked_by));
    add_hex_or_null(out, "decided_by", o->decided_by, o->is_decided ? sizeof(o->decided_by) : 0);
    add_text_or_null(out, "decided_at", o->decided_at);
    add_text_or_null(out, "reason", o->reason);
    add_text_or_null(out, "ready_at", o->ready_at);
    add_text_or_null(out, "delivered_at", o->delivered_at);
    add_text_or_null(out, "files_until", o->files_until);
    add_text_or_null(out, "files_deleted_at", o->files_deleted_at);
    text_add(out, "}}");
}

void act_batch_write(struct text *out, const struct db_batch *b)
{
    text_add(out, "{\"id\":\"");
    text_add_hex(out, b->id, sizeof(b->id));
    text_add(out, "\",\"format\":");
    text_add_json(out, b->format);
    text_addf(out,
        ",\"created\":%" PRId64 ",\"exists\":%" PRId64 ",\"refused\":%" PRId64 ",\"job\":",
        b->created, b->exists, b->refused);
    if (b->has_job) {
        text_add(out, "\"");
        text_add_hex(out, b->job_id, sizeof(b->job_id));
        text_add(out, "\"");
    } else {
        text_add(out, "null");
    }
    text_addf(out, ",\"created_at\":\"%s\",\"finished_at\":", b->created_at);
    text_addf(out, b->finished_at[0] != '\0' ? "\"%s\"" : "null%s", b->finished_at);
    if (b->is_order)
        write_order(out, b);
    else
        text_add(out, ",\"order\":null}");
}

static unsigned get_batches(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    uint8_t cursor[ACCOUNT_ID_LEN];
    struct db_batch *list;
    bool has_cursor;
    size_t limit, n;
    unsigned status = act_call_page(call, &limit, cursor, &has_cursor);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_batch_list(call->worker->db, call->caller->organization_id, has_cursor ? cursor : NULL,
        list, limit + 1, &n);
    if (r == 0) {
        text_add(&body, ACT_LIST_BEGIN);
        for (size_t i = 0; i < n && i < limit; i++) {
            text_add(&body, i > 0 ? "," : "");
            act_batch_write(&body, &list[i]);
        }
        act_list_end(&body, n > limit ? list[limit - 1].id : NULL);
    }
    free(list);
    return r < 0 ? act_call_failed(call, r) : act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned get_batch(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    struct db_batch batch;
    unsigned status = act_batch_find(call, 0, &batch);

    if (status != 0)
        return status;
    act_batch_write(&body, &batch);
    text_add(&body, "\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static const struct act_route routes[] = {
    {.method = API_GET, .path = "/v1/batches", .right = RIGHT_BATCHES, .work = get_batches},
    {.method = API_GET, .path = "/v1/batches/{batch}", .right = RIGHT_BATCHES, .work = get_batch},
};

const struct act_area act_area_batches = ACT_AREA(routes);
