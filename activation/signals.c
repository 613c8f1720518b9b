/* GET /v1/devices/{dev_eui}/signals: what speaks for a device being cloned or attacked, and what it
 * weighs; /v1/policy: what an organization wants done about it. */
#include "activation/devices.h"
#include "base/error.h"
#include "db/signal.h"
#include <inttypes.h>
#include <stdlib.h>

static void write_signal(struct text *out, const struct db_signal *s, bool is_held)
{
    const struct device_signal_row *row = device_signal_row(s->signal);

    text_addf(out, "{\"kind\":\"%s\",\"at\":\"%s\",\"weight\":%u,\"weight_now\":%.1f", row->name,
        s->at, row->weight, device_signal_weight(s->signal, s->age_s));
    /* What the device sent is its holder's to know. */
    if (is_held)
        text_addf(out, ",\"from\":%" PRId64 ",\"to\":%" PRId64, s->from_value, s->to_value);
    else
        text_add(out, ",\"from\":null,\"to\":null");
    text_add(out, ",\"explanation\":{\"what\":");
    text_add_json(out, row->what);
    text_add(out, ",\"why\":");
    text_add_json(out, row->why);
    text_add(out, ",\"do\":");
    text_add_json(out, row->to_do);
    text_add(out, "}}");
}

static unsigned get_signals(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_signal_list *list = NULL;
    const struct act_settings *settings = &call->worker->service->settings;
    struct db_device device;
    char dev_eui[EUI64_TEXT_LEN + 1];
    unsigned status = act_device_find(call, 0, &device);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if ((r = db_signal_list(call->worker->db, &device.record.dev_eui, list)) < 0)
        return act_call_failed(call, r);
    text_addf(&body,
        "{\"dev_eui\":\"%s\",\"trust\":\"%s\",\"score\":%.1f,\"suspect_at\":%u,"
        "\"quarantine_at\":%u,\"signals\":[",
        device_id_format(&device.record.dev_eui, dev_eui), device_trust_text(device.record.trust),
        db_signal_list_score(list), settings->trust_suspect_at, settings->trust_quarantine_at);
    for (size_t i = 0; i < list->n; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_signal(&body, &list->items[i], device.is_held);
    }
    text_add(&body, "]}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* --- policy ---------------------------------------------------------------------------------- */

static unsigned answer_policy(struct act_call *call, bool quarantine_clones)
{
    struct text body = {0};

    text_addf(&body, "{\"quarantine_clones\":%s}\n", quarantine_clones ? "true" : "false");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned get_policy(struct act_call *call)
{
    bool quarantine_clones;
    int r =
        db_organization_policy(call->worker->db, call->caller->organization_id, &quarantine_clones);

    return r < 0 ? act_call_failed(call, r) : answer_policy(call, quarantine_clones);
}

struct policy_body {
    bool quarantine_clones;
    bool has_quarantine_clones;
};

static const struct json_field fields[] = {
    {.name = "quarantine_clones",
        .kind = JSON_BOOL,
        .offset = offsetof(struct policy_body, quarantine_clones),
        .present_offset = offsetof(struct policy_body, has_quarantine_clones)},
};

/* Devices that are suspect are judged by it within minutes. What is in quarantine stays there. */
static unsigned patch_policy(struct act_call *call)
{
    const struct act_caller *caller = call->caller;
    struct policy_body body;
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &body);
    int r;

    if (status != 0)
        return status;
    r = db_organization_set_policy(
        call->worker->db, caller->organization_id, body.quarantine_clones);
    if (r == 0)
        r = act_call_audit(call, caller->organization_id, "organization.policy", "policy",
            body.quarantine_clones ? "{\"quarantine_clones\":true}"
                                   : "{\"quarantine_clones\":false}");
    return r < 0 ? act_call_failed(call, r) : answer_policy(call, body.quarantine_clones);
}

static const struct act_route routes[] = {
    {.method = API_GET,
        .path = "/v1/devices/{dev_eui}/signals",
        .right = RIGHT_DEVICES,
        .work = get_signals},
    {.method = API_GET, .path = "/v1/policy", .right = RIGHT_POLICY, .work = get_policy},
    {.method = API_PATCH,
        .path = "/v1/policy",
        .right = RIGHT_POLICY,
        .body_max = ACT_JSON_BODY_MAX,
        .work = patch_policy,
        .changes = true},
};

const struct act_area act_area_signals = ACT_AREA(routes);
