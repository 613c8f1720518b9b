/* GET /v1/devices/{dev_eui}/joins: every attempt, and why it was refused. */
#include "activation/devices.h"
#include "activation/explain.h"
#include "base/error.h"
#include <inttypes.h>
#include <stdlib.h>

/* A cursor is the time of the last attempt given, and how many of that very microsecond were. */
#define SAME_MOMENT_MAX 1024

static const char *join_type_text(enum lw_join_type type)
{
    switch (type) {
    case LW_REJOIN_0:
        return "rejoin_0";
    case LW_REJOIN_1:
        return "rejoin_1";
    case LW_REJOIN_2:
        return "rejoin_2";
    case LW_JOIN:
        break;
    }
    return "join";
}

static struct db_attempt_place place_of(int64_t cursor)
{
    return (struct db_attempt_place){cursor / SAME_MOMENT_MAX, cursor % SAME_MOMENT_MAX};
}

/* Behind the last of a page that began at `from`. */
static int64_t cursor_behind(
    const struct db_attempt *page, size_t n, const struct db_attempt_place *from)
{
    int64_t at_us = page[n - 1].at_us, n_given = 0;

    for (size_t i = n; i > 0 && page[i - 1].at_us == at_us; i--)
        n_given++;
    if (at_us == from->at_us)
        n_given += from->n_given;
    /* As many of one device at once are a flood, and alike. */
    return n_given < SAME_MOMENT_MAX ? at_us * SAME_MOMENT_MAX + n_given
                                     : (at_us - 1) * SAME_MOMENT_MAX;
}

static void write_success(struct text *out, const struct db_attempt *a)
{
    char net_id[NET_ID_TEXT_LEN + 1];

    text_addf(out, ",\"join_nonce\":%" PRIu32 ",\"net_id\":\"%s\",\"dev_addr\":\"", a->join_nonce,
        net_id_format(&a->net_id, net_id));
    text_add_hex(out, a->dev_addr.bytes, sizeof(a->dev_addr.bytes));
    text_add(out, "\",\"test_join\":");
    if (a->test_join > 0)
        text_addf(out, "%u", (unsigned)a->test_join);
    else
        text_add(out, "null");
    text_add(out, ",\"reason\":null,\"explanation\":null");
}

static void write_refusal(
    struct text *out, const struct db_attempt *a, const struct explain_facts *facts)
{
    text_add(out,
        ",\"join_nonce\":null,\"net_id\":null,\"dev_addr\":null,\"test_join\":null,\"reason\":");
    text_add_json(out, a->reason);
    text_add(out, ",\"explanation\":");
    explain_write(out, a, facts);
}

/* The frame of such a request was not read, or not to its end. */
static bool has_nonce(const struct db_attempt *a)
{
    enum device_refusal refusal = explain_refusal(a);

    return a->dev_nonce != DEVICE_NO_NONCE && refusal != REFUSAL_MALFORMED &&
           refusal != REFUSAL_FRAME_SIZE;
}

static void write_attempt(
    struct text *out, const struct db_attempt *a, const struct explain_facts *facts)
{
    char join_eui[EUI64_TEXT_LEN + 1];

    text_addf(out, "{\"at\":\"%s\",\"outcome\":", a->at);
    text_add_json(out, a->outcome);
    text_addf(out,
        ",\"join_type\":\"%s\",\"join_eui\":\"%s\",\"sender_id\":", join_type_text(a->join_type),
        eui64_format(&a->join_eui, join_eui));
    text_add_json(out, a->sender_id);
    if (has_nonce(a))
        text_addf(out, ",\"dev_nonce\":%d", (int)a->dev_nonce);
    else
        text_add(out, ",\"dev_nonce\":null");
    if (a->success)
        write_success(out, a);
    else
        write_refusal(out, a, facts);
    text_add(out, "}");
}

/* Looked up only where a page has need of it. 0 or negative. */
static int load_facts(struct act_call *call, const struct db_device *device,
    const struct db_attempt *page, size_t n, struct db_nonce_use *uses, size_t n_uses_max,
    struct explain_facts *facts)
{
    struct device_preflight now;
    uint16_t nonces[ACT_PAGE_MAX];
    size_t n_nonces = 0;
    int r;

    *facts = (struct explain_facts){.record = &device->record,
        .device = device,
        .last_dev_nonce = DEVICE_NO_NONCE,
        .uses = uses};
    for (size_t i = 0; i < n; i++)
        if (explain_needs_use(&page[i]))
            nonces[n_nonces++] = (uint16_t)page[i].dev_nonce;
    if (n_nonces == 0)
        return 0;
    if ((r = db_device_preflight(call->worker->db, &device->record.dev_eui, &now)) < 0)
        return r;
    if (r == 0 && now.state.nonce_epoch == now.record.nonce_epoch)
        facts->last_dev_nonce = now.state.last_dev_nonce;
    return db_attempt_uses(call->worker->db, &device->record.dev_eui,
        device->record.ownership_epoch, nonces, n_nonces, uses, n_uses_max, &facts->n_uses);
}

unsigned act_device_joins(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_attempt *list = NULL;
    CLEANUP(cleanup_free) struct db_nonce_use *uses = NULL;
    struct explain_facts facts;
    struct db_attempt_place from;
    struct db_device device;
    int64_t cursor;
    size_t limit, n, n_page;
    unsigned status = act_call_page_number(call, &limit, &cursor);
    int r;

    if (status != 0 || (status = act_device_find_held(call, 0, &device)) != 0)
        return status;
    list = calloc(limit + 1, sizeof(*list));
    uses = calloc(limit + 1, sizeof(*uses));
    if (list == NULL || uses == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    from = place_of(cursor);
    r = db_attempt_list(call->worker->db, &device.record.dev_eui, device.record.ownership_epoch,
        cursor != 0 ? &from : NULL, list, limit + 1, &n);
    if (r < 0)
        return act_call_failed(call, r);
    n_page = n < limit ? n : limit;
    if ((r = load_facts(call, &device, list, n_page, uses, limit + 1, &facts)) < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < n_page; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_attempt(&body, &list[i], &facts);
    }
    act_list_end_number(&body, n > limit ? cursor_behind(list, limit, &from) : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}
