/* /v1/batches/{batch}/test-window: a maker's factory test. Devices that nobody owns yet join in the
 * network that their maker names, so often and so long. */
#include "activation/batches.h"
#include "activation/operator_check.h"
#include "base/hex.h"
#include "db/device_change.h"
#include "db/test_window.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_JOINS_DEFAULT 3
#define MAX_JOINS_MAX 50
#define HOURS_DEFAULT 24
#define HOURS_MAX 168 /* a week; it may be opened anew */
#define LISTED_MAX 1000
#define DETAIL_MAX 240

struct window_body {
    char net_id[NET_ID_TEXT_LEN + 1];
    char as_id[PEER_ID_MAX + 1];
    bool has_as_id;
    uint32_t max_joins, hours;
    bool has_max_joins, has_hours;
    struct eui64 devices[LISTED_MAX];
    size_t n_devices;
    bool has_devices;
};

#define FIELD(member, k)                                                                           \
    .name = #member, .kind = (k), .offset = offsetof(struct window_body, member)

static const struct json_field fields[] = {
    {FIELD(net_id, JSON_TEXT), .size = NET_ID_TEXT_LEN + 1, .required = true,
        .present_offset = JSON_NO_PRESENT},
    {FIELD(as_id, JSON_TEXT), .size = PEER_ID_MAX + 1,
        .present_offset = offsetof(struct window_body, has_as_id)},
    {FIELD(max_joins, JSON_UNSIGNED), .max = MAX_JOINS_MAX,
        .present_offset = offsetof(struct window_body, has_max_joins)},
    {FIELD(hours, JSON_UNSIGNED), .max = HOURS_MAX,
        .present_offset = offsetof(struct window_body, has_hours)},
    {FIELD(devices, JSON_DEVICES), .size = sizeof(struct eui64), .max = LISTED_MAX,
        .len_offset = offsetof(struct window_body, n_devices),
        .present_offset = offsetof(struct window_body, has_devices)},
};

/* As of a home network: it must be one that is known here. */
static unsigned check_known(struct act_call *call, const struct db_test_window *window)
{
    bool net_id_known, as_known;
    int r =
        db_home_known(call->worker->db, &window->net_id, window->as_id, &net_id_known, &as_known);

    if (r < 0)
        return act_call_failed(call, r);
    if (!net_id_known)
        return act_call_bad_field(
            call, "net_id", "net_id is of no network server that is known here");
    return as_known || window->as_id[0] == '\0'
               ? 0
               : act_call_bad_field(
                     call, "as_id", "as_id is no application server that is known here");
}

/* 0, or the status of the answer it set. */
static unsigned read_window(
    struct act_call *call, struct window_body *body, struct db_test_window *ret)
{
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), body);

    if (status != 0)
        return status;
    *ret = (struct db_test_window){
        .max_joins = body->has_max_joins ? body->max_joins : MAX_JOINS_DEFAULT,
        .hours = body->has_hours ? body->hours : HOURS_DEFAULT};
    if (ret->max_joins == 0)
        return act_call_bad_field(call, "max_joins", "max_joins is not an integer from 1 to 50");
    if (ret->hours == 0)
        return act_call_bad_field(call, "hours", "hours is not an integer from 1 to 168");
    if (body->has_devices && body->n_devices == 0)
        return act_call_bad_field(call, "devices", "devices names none");
    if (!net_id_parse(body->net_id, strlen(body->net_id), &ret->net_id))
        return act_call_bad_field(call, "net_id", "net_id is not 6 hexadecimal digits");
    if (body->has_as_id && !act_as_id_valid(body->as_id))
        return act_call_bad_field(call, "as_id",
            "as_id is not 1 to 64 printable characters without blank, quote and backslash");
    memcpy(ret->as_id, body->as_id, sizeof(ret->as_id));
    return check_known(call, ret);
}

static void write_window(struct text *out, const struct db_test_window *w)
{
    char net_id[NET_ID_TEXT_LEN + 1];

    text_addf(out, "{\"net_id\":\"%s\",\"as_id\":", net_id_format(&w->net_id, net_id));
    if (w->as_id[0] != '\0')
        text_add_json(out, w->as_id);
    else
        text_add(out, "null");
    text_addf(out,
        ",\"max_joins\":%" PRIu32 ",\"opened_at\":\"%s\",\"expires_at\":\"%s\",\"expired\":%s"
        ",\"devices\":%" PRId64 ",\"joins\":%" PRId64 ",\"used_up\":%" PRId64 "}",
        w->max_joins, w->opened_at, w->expires_at, w->expired ? "true" : "false", w->n_devices,
        w->n_joins, w->n_used_up);
}

static int audit(
    struct act_call *call, const struct db_batch *batch, const char *action, const char *detail)
{
    char id[2 * ACCOUNT_ID_LEN + 1];

    return act_call_audit(call, call->caller->organization_id, action,
        hex_encode(batch->id, sizeof(batch->id), id), detail);
}

static int audit_open(
    struct act_call *call, const struct db_batch *batch, const struct db_test_window *w)
{
    CLEANUP(text_done) struct text detail = {0};
    char net_id[NET_ID_TEXT_LEN + 1];

    text_addf(&detail, "{\"net_id\":\"%s\",\"as_id\":", net_id_format(&w->net_id, net_id));
    if (w->as_id[0] != '\0')
        text_add_json(&detail, w->as_id);
    else
        text_add(&detail, "null");
    text_addf(&detail, ",\"max_joins\":%" PRIu32 ",\"hours\":%" PRIu32 ",\"devices\":%" PRId64 "}",
        w->max_joins, w->hours, w->n_devices);
    return audit(call, batch, "test_window.open", detail.data);
}

/* 0, or the status of the answer it set. */
static unsigned check_kinds(struct act_call *call, const struct window_body *body)
{
    char text[DEVICE_ID_TEXT_LEN + 1], detail[DETAIL_MAX];

    for (size_t i = 0; i < body->n_devices; i++) {
        if (device_kind_of(&body->devices[i]) == DEVICE_LORAWAN)
            continue;
        (void)snprintf(detail, sizeof(detail),
            "device %s is a Sigfox device: it does not join, and has no join to be tested",
            device_id_format(&body->devices[i], text));
        return act_call_bad_field(call, "devices", detail);
    }
    return 0;
}

/* All that were listed, or none. */
static unsigned check_listed(
    struct act_call *call, const struct db_batch *batch, const struct window_body *body)
{
    char text[EUI64_TEXT_LEN + 1], detail[DETAIL_MAX];
    struct eui64 missing;
    int r = db_test_window_missing(
        call->worker->db, batch->row_id, body->devices, body->n_devices, &missing);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return 0;
    (void)snprintf(detail, sizeof(detail),
        "device %s is not of this batch, has or had an owner, or was scrapped: it cannot be tested",
        device_id_format(&missing, text));
    return act_call_problem_of(call, PROBLEM_CONFLICT, "devices", detail);
}

static unsigned post_window(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct window_body *wanted = calloc(1, sizeof(*wanted));
    struct db_test_window window;
    struct db_batch batch;
    unsigned status = act_batch_find(call, 0, &batch);
    int r;

    if (wanted == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if (status != 0 || (status = read_window(call, wanted, &window)) != 0 ||
        (status = check_kinds(call, wanted)) != 0)
        return status;
    r = db_test_window_open(call->worker->db, batch.row_id, call->caller->organization_id,
        wanted->has_devices ? wanted->devices : NULL, wanted->n_devices, &window,
        &window.n_devices);
    if (r < 0)
        return act_call_failed(call, r);
    if (wanted->has_devices && (status = check_listed(call, &batch, wanted)) != 0)
        return status;
    if (window.n_devices == 0)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "the batch has no device that can be tested: all have or had an owner, were scrapped, or "
            "are Sigfox devices, which do not join");
    if (window.n_devices > DB_TEST_DEVICES_MAX)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "the batch has more than 10,000 devices that can be tested: name them in devices, 1,000 "
            "a call");
    if ((r = audit_open(call, &batch, &window)) < 0)
        return act_call_failed(call, r);
    write_window(&body, &window);
    text_add(&body, "\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned get_windows(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_test_window *list = calloc(DB_TEST_WINDOWS_MAX, sizeof(*list));
    struct db_batch batch;
    unsigned status = act_batch_find(call, 0, &batch);
    size_t n;
    int r;

    if (list == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if (status != 0)
        return status;
    if ((r = db_test_window_list(call->worker->db, batch.row_id, list, &n)) < 0)
        return act_call_failed(call, r);
    text_add(&body, "{\"windows\":[");
    for (size_t i = 0; i < n; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_window(&body, &list[i]);
    }
    text_add(&body, "]}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned delete_windows(struct act_call *call)
{
    char detail[DETAIL_MAX];
    struct db_batch batch;
    unsigned status = act_batch_find(call, 0, &batch);
    int64_t n;
    int r;

    if (status != 0)
        return status;
    if ((r = db_test_window_close(call->worker->db, batch.row_id, &n)) < 0)
        return act_call_failed(call, r);
    if (n == 0)
        return act_call_problem(
            call, PROBLEM_NOT_FOUND, "no device of the batch has a test window");
    (void)snprintf(detail, sizeof(detail), "{\"devices\":%" PRId64 "}", n);
    if ((r = audit(call, &batch, "test_window.end", detail)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/batches/{batch}/test-window",
        .right = RIGHT_TEST_WINDOWS,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_window,
        .changes = true,
        .is_long = true},
    {.method = API_GET,
        .path = "/v1/batches/{batch}/test-window",
        .right = RIGHT_TEST_WINDOWS,
        .work = get_windows},
    {.method = API_DELETE,
        .path = "/v1/batches/{batch}/test-window",
        .right = RIGHT_TEST_WINDOWS,
        .work = delete_windows,
        .changes = true,
        .is_long = true},
};

const struct act_area act_area_test_windows = ACT_AREA(routes);
