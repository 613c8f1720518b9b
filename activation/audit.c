/* /v1/audit: what was done. */
#include "activation/call.h"
#include "base/bytes.h"
#include <string.h>

/* A cursor is the number of the last event, in as many bytes as any other cursor. */
static void write_cursor(struct text *out, int64_t id)
{
    uint8_t cursor[ACCOUNT_ID_LEN] = {0};
    struct bytes_writer w = bytes_writer_over(cursor + 8, sizeof(cursor) - 8);

    bytes_write_u64_be(&w, (uint64_t)id);
    text_add_hex(out, cursor, sizeof(cursor));
}

static bool read_cursor(const uint8_t cursor[static ACCOUNT_ID_LEN], int64_t *ret)
{
    struct bytes_reader r = bytes_reader_over(cursor, ACCOUNT_ID_LEN);
    uint64_t zeros = bytes_read_u64_be(&r), id = bytes_read_u64_be(&r);

    *ret = (int64_t)id;
    return zeros == 0 && id <= INT64_MAX;
}

static void write_event(struct text *out, const struct db_audit_entry *e)
{
    text_addf(out, "{\"at\":\"%s\",\"client_id\":", e->at);
    if (e->client_id[0] != '\0')
        text_add_json(out, e->client_id);
    else
        text_add(out, "null");
    text_add(out, ",\"request_id\":");
    text_add_json(out, e->request_id);
    text_add(out, ",\"action\":");
    text_add_json(out, e->action);
    text_add(out, ",\"object\":");
    text_add_json(out, e->object);
    text_addf(out, ",\"detail\":%s}", e->detail);
}

static unsigned get_audit(struct act_call *call)
{
    CLEANUP(db_audit_list_done) struct db_audit_list list = {0};
    CLEANUP(text_done) struct text body = {0};
    uint8_t cursor[ACCOUNT_ID_LEN] = {0};
    bool is_admin = (call->caller->roles & ROLE_ADMIN) != 0, has_cursor;
    int64_t after;
    size_t limit;
    unsigned status = act_call_page(call, &limit, cursor, &has_cursor);
    int r;

    if (status != 0)
        return status;
    if (!read_cursor(cursor, &after))
        return act_call_bad_field(call, "cursor", "cursor is not one that this list gave");
    r = db_audit_list_load(
        call->worker->db, is_admin ? 0 : call->caller->organization_id, after, limit + 1, &list);
    if (r < 0)
        return act_call_failed(call, r);
    text_add(&body, "{\"items\":[");
    for (size_t i = 0; i < list.n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_event(&body, &list.entries[i]);
    }
    text_add(&body, "],\"next\":");
    if (list.n > limit) {
        text_add(&body, "\"");
        write_cursor(&body, list.entries[limit - 1].id);
        text_add(&body, "\"}\n");
    } else {
        text_add(&body, "null}\n");
    }
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static const struct act_route routes[] = {
    {.method = API_GET, .path = "/v1/audit", .right = RIGHT_AUDIT, .work = get_audit},
};

const struct act_area act_area_audit = ACT_AREA(routes);
