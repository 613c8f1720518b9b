/* GET /v1/roaming/refusals: what networks away from home were refused, and why: here ("home"), and
 * by others that their requests were carried to, or not carried to ("carried"). An operator sees
 * all of it, between which networks and for which JoinEUIs; an owner what was about devices that
 * were his, and which one was the last, and nothing of what was carried. */
#include "activation/call.h"
#include "db/agreement.h"
#include "device/carried.h"
#include "device/refusal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define APP_S_KEY_REQ "AppSKeyReq" /* asked by an application server, all others by a network */

static const enum device_refusal refusals[N_ROAMING_REASONS] = {
    [ROAMING_NO_AGREEMENT] = REFUSAL_NOT_HOME,
    [ROAMING_ENDED] = REFUSAL_AGREEMENT_ENDED,
    [ROAMING_NOT_BEGUN] = REFUSAL_AGREEMENT_NOT_BEGUN,
    [ROAMING_NOT_ALLOWED] = REFUSAL_AGREEMENT_ELSE,
    [ROAMING_NARROWED] = REFUSAL_ROAMING_NARROWED,
};

static const struct device_explanation *explain(const struct db_roaming_refusal *r)
{
    return r->what == AWAY_HOME_NS ? device_refusal_explain_home_ns(refusals[r->reason])
                                   : device_refusal_explain(refusals[r->reason]);
}

static void write_explanation(struct text *out, const struct device_explanation *e)
{
    text_add(out, ",\"explanation\":{\"what\":");
    text_add_json(out, e->what);
    text_add(out, ",\"why\":");
    text_add_json(out, e->why);
    text_add(out, ",\"do\":");
    text_add_json(out, e->to_do);
    text_add(out, "}");
}

static void write_counts(struct text *out, const struct db_roaming_refusal *r)
{
    text_addf(out, ",\"count\":%" PRId64 ",\"first_at\":\"%s\",\"last_at\":\"%s\"", r->n,
        r->first_at, r->last_at);
}

static void write_range(struct text *out, const struct eui64 *prefix, unsigned bits)
{
    char eui[EUI64_TEXT_LEN + 1];

    text_addf(
        out, ",\"join_euis\":{\"prefix\":\"%s\",\"bits\":%u}", eui64_format(prefix, eui), bits);
}

static void write_home(struct text *out, const struct db_roaming_refusal *r, bool tells_device)
{
    char home[NET_ID_TEXT_LEN + 1], sender[NET_ID_TEXT_LEN + 1], eui[EUI64_TEXT_LEN + 1];

    text_addf(out, "{\"side\":\"home\",\"sender_net_id\":\"%s\",\"home_net_id\":\"%s\"",
        net_id_format(&r->sender, sender), net_id_format(&r->home, home));
    write_range(out, &r->join_prefix, DB_ROAMING_PREFIX_BITS);
    text_addf(out, ",\"service\":\"%s\",\"reason\":\"%s\"", db_away_text(r->what),
        db_roaming_reason_text(r->reason));
    write_explanation(out, explain(r));
    write_counts(out, r);
    text_add(out, ",\"organization\":\"");
    text_add_hex(out, r->organization, sizeof(r->organization));
    text_add(out, "\",\"last_dev_eui\":");
    if (tells_device)
        text_addf(out, "\"%s\"}", eui64_format(&r->last_dev_eui, eui));
    else
        text_add(out, "null}");
}

static void write_text_or_null(struct text *out, const char *text)
{
    if (text[0] != '\0')
        text_add_json(out, text);
    else
        text_add(out, "null");
}

static void write_carried(struct text *out, const struct db_roaming_refusal *r)
{
    const struct db_roaming_carried *c = &r->carried;
    const bool is_net_id = strcmp(c->message_type, APP_S_KEY_REQ) != 0;

    text_add(out, "{\"side\":\"carried\",\"sender_net_id\":");
    write_text_or_null(out, is_net_id ? c->sender : "");
    text_add(out, ",\"sender_as_id\":");
    write_text_or_null(out, is_net_id ? "" : c->sender);
    text_addf(out, ",\"by\":\"%s\",\"partner\":", c->partner_id == 0 ? "dns" : "partner");
    write_text_or_null(out, r->partner);
    write_range(out, &c->join_prefix, c->join_prefix_len);
    text_add(out, ",\"message_type\":");
    text_add_json(out, c->message_type);
    text_add(out, ",\"outcome\":");
    text_add_json(out, c->outcome);
    text_add(out, ",\"result_code\":");
    write_text_or_null(out, c->result_code);
    write_explanation(out, device_carried_explain(c->outcome, c->result_code));
    write_counts(out, r);
    text_add(out, "}");
}

static unsigned get_refusals(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_roaming_refusal *list = NULL;
    const bool sees_all = (call->caller->roles & ROLE_OPERATOR) != 0;
    const bool owns = (call->caller->roles & ROLE_OWNER) != 0;
    const int64_t own = call->caller->organization_id;
    int64_t before;
    size_t limit, n;
    unsigned status = act_call_page_number(call, &limit, &before);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if ((r = db_roaming_refusal_list(
             call->worker->db, sees_all ? 0 : own, before, list, limit + 1, &n)) < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < n && i < limit; i++) {
        const bool is_own = list[i].organization_id == own;

        text_add(&body, i > 0 ? "," : "");
        if (list[i].side == ROAMING_CARRIED)
            write_carried(&body, &list[i]);
        else
            write_home(&body, &list[i], owns && is_own);
    }
    act_list_end_number(&body, n > limit ? list[limit - 1].id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static const struct act_route routes[] = {
    {.method = API_GET,
        .path = "/v1/roaming/refusals",
        .right = RIGHT_ROAMING_REFUSALS,
        .work = get_refusals},
};

const struct act_area act_area_roaming_refusals = ACT_AREA(routes);
