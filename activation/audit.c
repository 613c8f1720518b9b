/* /v1/audit: what was done. */
#include "activation/audit_export.h"
#include "activation/call.h"

#include <inttypes.h>

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
    text_addf(out, ",\"detail\":%s", e->detail);
    if (e->seq == 0) {
        text_add(out, ",\"seq\":null,\"hash\":null}");
        return;
    }
    text_addf(out, ",\"seq\":%" PRId64 ",\"hash\":\"", e->seq);
    text_add_hex(out, e->hash, sizeof(e->hash));
    text_add(out, "\"}");
}

static unsigned get_audit(struct act_call *call)
{
    CLEANUP(db_audit_list_done) struct db_audit_list list = {0};
    CLEANUP(text_done) struct text body = {0};
    bool is_admin = (call->caller->roles & ROLE_ADMIN) != 0;
    int64_t after;
    size_t limit;
    unsigned status = act_call_page_number(call, &limit, &after);
    int r;

    if (status != 0)
        return status;
    r = db_audit_list_load(
        call->worker->db, is_admin ? 0 : call->caller->organization_id, after, limit + 1, &list);
    if (r < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < list.n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_event(&body, &list.entries[i]);
    }
    act_list_end_number(&body, list.n > limit ? list.entries[limit - 1].id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static const struct act_route routes[] = {
    {.method = API_GET, .path = "/v1/audit", .right = RIGHT_AUDIT, .work = get_audit},
    {.method = API_GET,
        .path = "/v1/audit/export",
        .right = RIGHT_AUDIT,
        .work = act_get_audit_export,
        .is_long = true,
        .streams = STREAMS_ANSWER},
    {.method = API_GET,
        .path = "/v1/audit/key",
        .right = RIGHT_DESCRIPTION,
        .answer = act_get_audit_key},
};

const struct act_area act_area_audit = ACT_AREA(routes);
