/* /v1/devices: what an organization holds, for its owner and, while it has none, its maker. */
#include "activation/devices.h"

#include "base/hex.h"
#include "db/signal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A list's cursor is its last DevEUI, at the end of what every cursor has. */
#define CURSOR_PAD (ACCOUNT_ID_LEN - sizeof(struct eui64))

unsigned act_device_find(struct act_call *call, size_t index, struct db_device *ret)
{
    const char *text = act_call_param(call, index);
    struct eui64 dev_eui;
    int r = 1;

    if (device_id_parse(text, strlen(text), &dev_eui))
        r = db_device_find(call->worker->db, &dev_eui, call->caller->organization_id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 ? act_call_problem(call, PROBLEM_NOT_FOUND, ACT_NO_DEVICE) : 0;
}

unsigned act_device_find_held(struct act_call *call, size_t index, struct db_device *ret)
{
    unsigned status = act_device_find(call, index, ret);

    if (status != 0)
        return status;
    return ret->is_held ? 0 : act_call_problem(call, PROBLEM_NOT_FOUND, ACT_NO_DEVICE);
}

/* --- writing --------------------------------------------------------------------------------- */

static void add_text(struct text *out, const char *member, const char *value)
{
    text_addf(out, ",\"%s\":", member);
    if (value[0] != '\0')
        text_add_json(out, value);
    else
        text_add(out, "null");
}

static void write_test_window(struct text *out, const struct db_device *d)
{
    const struct device_test_window *w = &d->record.test;
    char net_id[NET_ID_TEXT_LEN + 1];

    text_add(out, ",\"test_window\":");
    if (!w->present) {
        text_add(out, "null");
        return;
    }
    text_addf(out, "{\"state\":\"%s\",\"net_id\":\"%s\"", device_test_window_text(w),
        net_id_format(&w->net_id, net_id));
    add_text(out, "as_id", w->as_id);
    text_addf(out, ",\"max_joins\":%u,\"joins\":%u,\"opened_at\":\"%s\",\"expires_at\":\"%s\"}",
        w->max_joins, w->joins, d->test_opened_at, d->test_until);
}

static void write_subscription(struct text *out, const struct db_device *d)
{
    const struct db_device_subscription *s = &d->subscription;

    text_addf(out, ",\"suspended_by\":%s,\"subscription\":",
        d->record.service != SERVICE_SUSPENDED ? "null"
        : d->is_suspended_by_subscription      ? "\"subscription\""
                                               : "\"owner\"");
    if (!s->present) {
        text_add(out, "null");
        return;
    }
    text_add(out, "{\"id\":\"");
    text_add_hex(out, s->id, sizeof(s->id));
    text_add(out, "\",\"name\":");
    text_add_json(out, s->name);
    text_addf(out, ",\"state\":\"%s\",\"ends_at\":\"%s\"}",
        db_subscription_state_text(s->runs ? SUBSCRIPTION_RUNNING : SUBSCRIPTION_ENDED),
        s->ends_at);
}

/* "agreed", "none", or a list: as it is said. */
static void write_roaming(struct text *out, const struct device_roaming *roaming)
{
    char net_id[NET_ID_TEXT_LEN + 1];

    text_add(out, ",\"roaming\":");
    if (!roaming->narrowed || roaming->n == 0) {
        text_add(out, roaming->narrowed ? "\"none\"" : "\"agreed\"");
        return;
    }
    for (size_t i = 0; i < roaming->n; i++)
        text_addf(out, "%s\"%s\"", i == 0 ? "[" : ",", net_id_format(&roaming->net_ids[i], net_id));
    text_add(out, "]");
}

/* What its holder may know, and nobody else. */
static void write_holding(struct text *out, const struct db_device *d)
{
    const struct device_record *r = &d->record;
    char net_id[NET_ID_TEXT_LEN + 1] = "", dev_eui[EUI64_TEXT_LEN + 1];

    if (r->has_home_net_id)
        (void)net_id_format(&r->home_net_id, net_id);
    add_text(out, "name", d->name);
    text_addf(out, ",\"ownership\":\"%s\",\"service\":\"%s\",\"ownership_epoch\":%" PRIu32,
        device_ownership_text(r->ownership), device_service_text(r->service), r->ownership_epoch);
    add_text(out, "home_net_id", net_id);
    add_text(out, "as_id", r->as_id);
    write_roaming(out, &r->roaming);
    add_text(out, "exposed_since", d->exposed_since);
    add_text(
        out, "replaced_by", d->has_replaced_by ? device_id_format(&d->replaced_by, dev_eui) : "");
    add_text(out, "replaces", d->has_replaces ? device_id_format(&d->replaces, dev_eui) : "");
    write_test_window(out, d);
    write_subscription(out, d);
}

void act_device_identity_write(struct text *out, const struct device_record *r)
{
    enum device_kind kind = device_kind_of(&r->dev_eui);
    bool joins = kind == DEVICE_LORAWAN;
    char dev_eui[DEVICE_ID_TEXT_LEN + 1], join_eui[EUI64_TEXT_LEN + 1];

    text_addf(out, "\"dev_eui\":\"%s\",\"kind\":\"%s\"", device_id_format(&r->dev_eui, dev_eui),
        device_kind_text(kind));
    add_text(out, "join_eui", joins ? eui64_format(&r->join_eui, join_eui) : "");
    add_text(out, "mac_version", joins ? lw_mac_version_text(r->mac_version) : "");
}

void act_device_write(struct text *out, const struct db_device *d)
{
    const struct device_record *r = &d->record;
    char batch[2 * ACCOUNT_ID_LEN + 1] = "";

    if (d->has_batch)
        (void)hex_encode(d->batch_id, sizeof(d->batch_id), batch);
    text_add(out, "{");
    act_device_identity_write(out, r);
    text_addf(out, ",\"held\":%s,\"credential\":\"%s\",\"trust\":\"%s\",\"created_at\":\"%s\"",
        d->is_held ? "true" : "false", device_credential_text(r->credential),
        device_trust_text(r->trust), d->created_at);
    add_text(out, "serial", d->serial);
    add_text(out, "batch", batch);
    if (d->is_held)
        write_holding(out, d);
}

/* A place is its owner's, and free when the device is no more. */
void act_device_moved(struct db_device *device, const struct device_record *after)
{
    if (after->ownership_epoch != device->record.ownership_epoch ||
        after->credential == CREDENTIAL_SCRAPPED)
        device->subscription.present = false;
    device->is_suspended_by_subscription &= after->service == SERVICE_SUSPENDED;
    /* What it replaced, and what replaced it, is its owner's affair of then. */
    device->has_replaces &= after->ownership_epoch == device->record.ownership_epoch;
    device->has_replaced_by &= after->ownership_epoch == device->record.ownership_epoch &&
                               device->record.service == after->service;
    device->record = *after;
}

/* --- routes ---------------------------------------------------------------------------------- */

/* *ret_row_id is 0 without one. */
static unsigned find_batch(struct act_call *call, const char *text, int64_t *ret_row_id)
{
    uint8_t id[ACCOUNT_ID_LEN];
    struct db_batch batch;
    int r = 1;

    *ret_row_id = 0;
    if (text == NULL)
        return 0;
    if (hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_batch_find(call->worker->db, id, &batch);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || batch.organization_id != call->caller->organization_id)
        return act_call_bad_field(
            call, "batch", "batch is none that this organization has brought in");
    *ret_row_id = batch.row_id;
    return 0;
}

static unsigned get_devices(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_device *list = NULL;
    uint8_t cursor[ACCOUNT_ID_LEN] = {0};
    const char *batch;
    struct eui64 after;
    int64_t batch_row_id;
    bool has_cursor;
    size_t limit, n;
    unsigned status = act_call_page_of(call, "batch", &limit, cursor, &has_cursor, &batch);
    int r;

    if (status != 0 || (status = find_batch(call, batch, &batch_row_id)) != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    memcpy(after.bytes, cursor + CURSOR_PAD, sizeof(after.bytes));
    r = db_device_list(call->worker->db, call->caller->organization_id, has_cursor ? &after : NULL,
        batch_row_id, list, limit + 1, &n);
    if (r < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        act_device_write(&body, &list[i]);
        text_add(&body, "}");
    }
    memset(cursor, 0, CURSOR_PAD);
    if (n > limit)
        memcpy(cursor + CURSOR_PAD, list[limit - 1].record.dev_eui.bytes, sizeof(after.bytes));
    act_list_end(&body, n > limit ? cursor : NULL);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned get_device(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_signal_list *signals = NULL;
    struct db_device device;
    unsigned status = act_device_find(call, 0, &device);
    int r;

    if (status != 0)
        return status;
    if ((signals = calloc(1, sizeof(*signals))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if ((r = db_signal_list(call->worker->db, &device.record.dev_eui, signals)) < 0)
        return act_call_failed(call, r);
    act_device_write(&body, &device);
    text_addf(&body, ",\"trust_score\":%.1f", db_signal_list_score(signals));
    if (device.is_held)
        text_addf(&body, ",\"rejoin_pending\":%s", device.rejoin_pending ? "true" : "false");
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static const char sigfox_note[] =
    "A Sigfox device does not join: joins are of LoRaWAN alone. What is checked is whether it may "
    "be used.";

static unsigned get_preflight(struct act_call *call)
{
    CLEANUP(text_done) struct text checks = {0}, body = {0};
    struct db_device device;
    struct device_preflight facts;
    char dev_eui[EUI64_TEXT_LEN + 1];
    enum device_kind kind;
    bool ready = true;
    unsigned status = act_device_find_held(call, 0, &device);
    int r;

    if (status != 0)
        return status;
    kind = device_kind_of(&device.record.dev_eui);
    if ((r = db_device_preflight(call->worker->db, &device.record.dev_eui, &facts)) != 0)
        return r < 0 ? act_call_failed(call, r)
                     : act_call_problem(call, PROBLEM_NOT_FOUND, ACT_NO_DEVICE);
    for (unsigned i = 0; i < N_DEVICE_CHECKS; i++) {
        enum device_check check = (enum device_check)i;
        bool passes;

        if (!device_check_applies(check, kind))
            continue;
        passes = device_check_passes(check, &facts);
        ready &= passes;
        text_addf(&checks, "%s{\"check\":\"%s\",\"ok\":%s", checks.len > 0 ? "," : "",
            device_check_name(check), passes ? "true" : "false");
        add_text(&checks, "what_to_do", passes ? "" : device_check_to_do(check));
        text_add(&checks, "}");
    }
    text_addf(&body, "{\"dev_eui\":\"%s\",\"kind\":\"%s\",\"ready\":%s",
        device_id_format(&device.record.dev_eui, dev_eui), device_kind_text(kind),
        ready ? "true" : "false");
    add_text(&body, "note", kind == DEVICE_SIGFOX ? sigfox_note : "");
    text_add(&body, ",\"checks\":[");
    text_add(&body, checks.failed ? "" : checks.data);
    text_add(&body, "]");
    write_roaming(&body, &device.record.roaming);
    write_test_window(&body, &device);
    text_add(&body, "}\n");
    body.failed |= checks.failed;
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static const struct act_route routes[] = {
    {.method = API_GET, .path = "/v1/devices", .right = RIGHT_DEVICES, .work = get_devices},
    {.method = API_GET,
        .path = "/v1/devices/{dev_eui}",
        .right = RIGHT_DEVICES,
        .work = get_device},
    {.method = API_GET,
        .path = "/v1/devices/{dev_eui}/joins",
        .right = RIGHT_DEVICES,
        .work = act_device_joins},
    {.method = API_GET,
        .path = "/v1/devices/{dev_eui}/custody",
        .right = RIGHT_DEVICES,
        .work = act_device_custody},
    {.method = API_GET,
        .path = "/v1/devices/{dev_eui}/preflight",
        .right = RIGHT_DEVICES,
        .work = get_preflight},
};

const struct act_area act_area_devices = ACT_AREA(routes);
