/* /v1/claim-rules: a maker says beforehand whose the devices of a batch are to be, the owner
 * accepts that once, and then they become his without a code (activation/rule_run.h). */
#include "activation/devices.h"
#include "activation/home.h"
#include "base/error.h"
#include "base/hex.h"
#include "db/claim_rule.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALLOW_MAX 10000
#define RANGES_MAX 1000
#define BODY_MAX 524288 /* bytes */
#define EUI_TEXT_MAX 40 /* characters, in any spelling */
#define DAYS 365
#define DAYS_MAX 3650
#define DETAIL_MAX 240
#define FIELD_MAX 40 /* "allow_ranges[999].first" */

static const char no_rule[] = "there is no such rule, or it is neither by you nor to you";

struct range_item {
    char first[EUI_TEXT_MAX + 1];
    char last[EUI_TEXT_MAX + 1];
};

struct rule_body {
    struct act_home home; /* first: its fields say so */
    uint8_t batch[ACCOUNT_ID_LEN], to[ACCOUNT_ID_LEN];
    uint32_t max_devices, days;
    bool has_days, has_allow, has_ranges;
    size_t n_allow, n_ranges;
    uint8_t allow[ALLOW_MAX][sizeof(struct eui64)];
    struct range_item ranges[RANGES_MAX];
};

#define RANGE_TEXT(member)                                                                         \
    {                                                                                              \
        .name = #member, .kind = JSON_TEXT, .offset = offsetof(struct range_item, member),         \
        .size = sizeof(((struct range_item *)0)->member), .required = true,                        \
        .present_offset = JSON_NO_PRESENT                                                          \
    }
static const struct json_field range_fields[] = {RANGE_TEXT(first), RANGE_TEXT(last)};

#define ID(member)                                                                                 \
    {                                                                                              \
        .name = #member, .kind = JSON_HEX, .offset = offsetof(struct rule_body, member),           \
        .size = ACCOUNT_ID_LEN, .required = true, .present_offset = JSON_NO_PRESENT                \
    }
static const struct json_field fields[] = {
    ACT_HOME_FIELD(home_net_id),
    ACT_HOME_FIELD(as_id),
    ID(batch),
    ID(to),
    {.name = "max_devices",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct rule_body, max_devices),
        .max = INT32_MAX,
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "days",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct rule_body, days),
        .max = DAYS_MAX,
        .present_offset = offsetof(struct rule_body, has_days)},
    {.name = "allow",
        .kind = JSON_DEVICES,
        .offset = offsetof(struct rule_body, allow),
        .size = sizeof(struct eui64),
        .max = ALLOW_MAX,
        .present_offset = offsetof(struct rule_body, has_allow),
        .len_offset = offsetof(struct rule_body, n_allow)},
    {.name = "allow_ranges",
        .kind = JSON_LIST,
        .offset = offsetof(struct rule_body, ranges),
        .size = sizeof(struct range_item),
        .max = RANGES_MAX,
        .present_offset = offsetof(struct rule_body, has_ranges),
        .len_offset = offsetof(struct rule_body, n_ranges),
        .fields = range_fields,
        .n_fields = sizeof(range_fields) / sizeof(range_fields[0])},
};

/* --- answers ---------------------------------------------------------------------------------- */

static void write_rule(struct text *out, const struct db_rule *rule)
{
    char net_id[NET_ID_TEXT_LEN + 1];

    text_add(out, "{\"id\":\"");
    text_add_hex(out, rule->id, sizeof(rule->id));
    text_add(out, "\",\"batch\":\"");
    text_add_hex(out, rule->batch, sizeof(rule->batch));
    text_add(out, "\",\"from\":\"");
    text_add_hex(out, rule->from, sizeof(rule->from));
    text_add(out, "\",\"to\":\"");
    text_add_hex(out, rule->to, sizeof(rule->to));
    text_addf(out,
        "\",\"state\":\"%s\",\"listed\":%s,\"max_devices\":%" PRIu32 ",\"used\":%" PRIu32,
        db_rule_state_text(rule->state), rule->is_listed ? "true" : "false", rule->max_devices,
        rule->n_used);
    if (rule->has_home_net_id) {
        text_addf(
            out, ",\"home_net_id\":\"%s\",\"as_id\":", net_id_format(&rule->home_net_id, net_id));
        text_add_json(out, rule->as_id);
    } else {
        text_add(out, ",\"home_net_id\":null,\"as_id\":null");
    }
    text_addf(
        out, ",\"created_at\":\"%s\",\"expires_at\":\"%s\"", rule->created_at, rule->expires_at);
}

static unsigned answer_rule(struct act_call *call, unsigned status, const struct db_rule *rule)
{
    struct text body = {0};

    write_rule(&body, rule);
    text_add(&body, "}\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

/* In the histories of both. */
static int audit(struct act_call *call, const struct db_rule *rule, const char *word)
{
    char action[40], id[2 * ACCOUNT_ID_LEN + 1], detail[DETAIL_MAX], batch[2 * ACCOUNT_ID_LEN + 1];
    char net_id[NET_ID_TEXT_LEN + 1] = "";
    int r;

    if (rule->has_home_net_id)
        (void)net_id_format(&rule->home_net_id, net_id);
    (void)snprintf(action, sizeof(action), "claim-rule.%s", word);
    (void)snprintf(detail, sizeof(detail),
        "{\"batch\":\"%s\",\"max_devices\":%" PRIu32 ",\"home_net_id\":\"%s\",\"as_id\":\"%s\"}",
        hex_encode(rule->batch, sizeof(rule->batch), batch), rule->max_devices, net_id,
        rule->as_id);
    (void)hex_encode(rule->id, sizeof(rule->id), id);
    r = act_call_audit(call, rule->from_id, action, id, detail);
    return r < 0 || rule->to_id == rule->from_id
               ? r
               : act_call_audit(call, rule->to_id, action, id, detail);
}

/* --- making one ------------------------------------------------------------------------------- */

/* Whose batch, and who is meant. 0, or the status of the answer it set. */
static unsigned find_sides(struct act_call *call, const struct rule_body *body, struct db_rule *ret)
{
    struct db_organization to;
    struct db_batch batch;
    int r = db_batch_find(call->worker->db, body->batch, &batch);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || batch.organization_id != call->caller->organization_id)
        return act_call_bad_field(
            call, "batch", "batch is none that this organization has brought in");
    if ((r = db_organization_find(call->worker->db, body->to, &to)) < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return act_call_bad_field(call, "to", "to is no organization that is known here");
    ret->batch_id = batch.row_id;
    ret->from_id = batch.organization_id;
    ret->to_id = to.row_id;
    return 0;
}

/* What the body names, in its order. 0, or the status of the answer it set. */
static unsigned read_ranges(
    struct act_call *call, const struct rule_body *body, struct db_rule_range *ret)
{
    char field[FIELD_MAX];

    for (size_t i = 0; i < body->n_allow; i++) {
        memcpy(ret[i].first.bytes, body->allow[i], sizeof(ret[i].first.bytes));
        ret[i].last = ret[i].first;
    }
    ret += body->n_allow;
    for (size_t i = 0; i < body->n_ranges; i++) {
        const struct range_item *item = &body->ranges[i];

        (void)snprintf(field, sizeof(field), "allow_ranges[%zu].first", i);
        if (!device_id_parse(item->first, strlen(item->first), &ret[i].first))
            return act_call_bad_field(
                call, field, "first is no DevEUI of 16 hexadecimal digits and no Sigfox id");
        (void)snprintf(field, sizeof(field), "allow_ranges[%zu].last", i);
        if (!device_id_parse(item->last, strlen(item->last), &ret[i].last))
            return act_call_bad_field(
                call, field, "last is no DevEUI of 16 hexadecimal digits and no Sigfox id");
        if (eui64_to_u64(&ret[i].last) < eui64_to_u64(&ret[i].first))
            return act_call_bad_field(call, field, "last is less than first");
    }
    return 0;
}

/* Each holds a device of the batch, and the answer names one that does not. */
static unsigned check_ranges(struct act_call *call, const struct rule_body *body, int64_t batch_id,
    const struct db_rule_range *ranges)
{
    char field[FIELD_MAX];
    size_t at;
    int r = db_rule_check(call->worker->db, batch_id, ranges, body->n_allow + body->n_ranges, &at);

    if (r <= 0)
        return r < 0 ? act_call_failed(call, r) : 0;
    if (at < body->n_allow) {
        (void)snprintf(field, sizeof(field), "allow[%zu]", at);
        return act_call_bad_field(call, field, "no device of the batch has this identifier");
    }
    (void)snprintf(field, sizeof(field), "allow_ranges[%zu]", at - body->n_allow);
    return act_call_bad_field(call, field, "no device of the batch is in this range");
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = eui64_to_u64(&((const struct db_rule_range *)a)->first);
    const uint64_t y = eui64_to_u64(&((const struct db_rule_range *)b)->first);

    return x < y ? -1 : x > y;
}

/* In order, and those that overlap made one. How many are left. */
static size_t merge(struct db_rule_range *ranges, size_t n)
{
    size_t n_merged = 0;

    qsort(ranges, n, sizeof(ranges[0]), compare);
    for (size_t i = 0; i < n; i++) {
        struct db_rule_range *before = n_merged > 0 ? &ranges[n_merged - 1] : NULL;

        if (before == NULL || eui64_to_u64(&ranges[i].first) > eui64_to_u64(&before->last))
            ranges[n_merged++] = ranges[i];
        else if (eui64_to_u64(&ranges[i].last) > eui64_to_u64(&before->last))
            before->last = ranges[i].last;
    }
    return n_merged;
}

/* 0, or the status of the answer it set. *ret_n: how many ranges the rule has. */
static unsigned set_ranges(struct act_call *call, const struct rule_body *body,
    struct db_rule *rule, struct db_rule_range *ranges, size_t *ret_n)
{
    const size_t n = body->n_allow + body->n_ranges;
    unsigned status;

    rule->is_listed = body->has_allow || body->has_ranges;
    if (!rule->is_listed) {
        memset(ranges[0].first.bytes, 0, sizeof(ranges[0].first.bytes));
        memset(ranges[0].last.bytes, 0xff, sizeof(ranges[0].last.bytes));
        *ret_n = 1;
        return 0;
    }
    if (n == 0)
        return act_call_bad_field(call, "allow", "the list is empty: leave it away to mean all");
    if ((status = read_ranges(call, body, ranges)) != 0 ||
        (status = check_ranges(call, body, rule->batch_id, ranges)) != 0)
        return status;
    *ret_n = merge(ranges, n);
    return 0;
}

static unsigned set_home(struct act_call *call, const struct act_home *home, struct db_rule *rule)
{
    struct device_record record = {
        .has_home_net_id = rule->has_home_net_id, .home_net_id = rule->home_net_id};
    unsigned status;

    memcpy(record.as_id, rule->as_id, sizeof(record.as_id));
    if ((status = act_home_set(call, home, &record)) != 0)
        return status;
    rule->has_home_net_id = record.has_home_net_id;
    rule->home_net_id = record.home_net_id;
    memcpy(rule->as_id, record.as_id, sizeof(rule->as_id));
    return 0;
}

static unsigned add(struct act_call *call, const struct rule_body *body)
{
    CLEANUP(cleanup_free)
    struct db_rule_range *ranges = calloc(body->n_allow + body->n_ranges + 1, sizeof(*ranges));
    char id[2 * ACCOUNT_ID_LEN + 1];
    struct db_rule rule = {.max_devices = body->max_devices};
    unsigned status;
    size_t n;
    int r;

    if (ranges == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if (body->max_devices == 0)
        return act_call_bad_field(call, "max_devices", "max_devices is not an integer from 1");
    if (body->has_days && body->days == 0)
        return act_call_bad_field(call, "days", "days is not an integer from 1 to 3650");
    if ((status = find_sides(call, body, &rule)) != 0 ||
        (status = set_ranges(call, body, &rule, ranges, &n)) != 0 ||
        (status = set_home(call, &body->home, &rule)) != 0)
        return status;
    r = db_rule_add(call->worker->db, &rule, body->has_days ? body->days : DAYS, ranges, n);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "this organization has 1,000 rules that are open or active: cancel some");
    if (r < 0 || (r = audit(call, &rule, "create")) < 0)
        return act_call_failed(call, r);
    act_call_locate(call, "/v1/claim-rules/%s", hex_encode(rule.id, sizeof(rule.id), id));
    return answer_rule(call, 201, &rule);
}
_Static_assert(DAYS_MAX == 3650 && DB_RULE_LIVE_MAX == 1000, "the sentences say other numbers");

static unsigned post_rule(struct act_call *call)
{
    CLEANUP(cleanup_free) struct rule_body *body = calloc(1, sizeof(*body));
    unsigned status;

    if (body == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), body);
    return status != 0 ? status : add(call, body);
}

/* --- looking ---------------------------------------------------------------------------------- */

static unsigned find_rule(struct act_call *call, struct db_rule *ret)
{
    const char *text = act_call_param(call, 0);
    uint8_t id[ACCOUNT_ID_LEN];
    int r = 1;

    if (hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_rule_find(call->worker->db, id, call->caller->organization_id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 ? act_call_problem(call, PROBLEM_NOT_FOUND, no_rule) : 0;
}

/* So that nobody accepts what he has not seen. */
static int write_ranges(struct act_call *call, const struct db_rule *rule, struct text *out)
{
    CLEANUP(cleanup_free) struct db_rule_range *ranges = NULL;
    char first[EUI64_TEXT_LEN + 1], last[EUI64_TEXT_LEN + 1];
    size_t n;
    int r;

    if (!rule->is_listed) {
        text_add(out, ",\"ranges\":null");
        return 0;
    }
    if ((ranges = calloc(ALLOW_MAX + RANGES_MAX, sizeof(*ranges))) == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a claim rule's list");
    r = db_rule_ranges(call->worker->db, rule, ranges, ALLOW_MAX + RANGES_MAX, &n);
    text_add(out, ",\"ranges\":[");
    for (size_t i = 0; r == 0 && i < n; i++)
        text_addf(out, "%s{\"first\":\"%s\",\"last\":\"%s\"}", i > 0 ? "," : "",
            device_id_format(&ranges[i].first, first), device_id_format(&ranges[i].last, last));
    text_add(out, "]");
    return r;
}

static unsigned get_rule(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    struct db_rule rule;
    int64_t n_skipped;
    unsigned status = find_rule(call, &rule);
    int r;

    if (status != 0)
        return status;
    write_rule(&body, &rule);
    if ((r = write_ranges(call, &rule, &body)) < 0 ||
        (r = db_rule_skipped(call->worker->db, &rule, &n_skipped)) < 0)
        return act_call_failed(call, r);
    if (r == 0)
        text_addf(&body, ",\"skipped\":%" PRId64 "}\n", n_skipped);
    else
        text_add(&body, ",\"skipped\":null}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned get_rules(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_rule *list = NULL;
    int64_t before;
    size_t limit, n;
    unsigned status = act_call_page_number(call, &limit, &before);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_rule_list(call->worker->db, call->caller->organization_id, before, list, limit + 1, &n);
    if (r < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_rule(&body, &list[i]);
        text_add(&body, "}");
    }
    act_list_end_number(&body, n > limit ? list[limit - 1].row_id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* --- accepting and ending one ----------------------------------------------------------------- */

static unsigned against(struct act_call *call, enum db_rule_state state)
{
    char fault[60];

    (void)snprintf(fault, sizeof(fault), "the rule is %s", db_rule_state_text(state));
    return act_call_problem(call, PROBLEM_CONFLICT, fault);
}

static const char changed[] = "the rule has changed since it was looked at: look again";

static unsigned post_accept(struct act_call *call)
{
    struct act_home home;
    struct db_rule rule;
    unsigned status = act_home_read(call, &home);
    int r;

    if (status != 0 || (status = find_rule(call, &rule)) != 0)
        return status;
    if (rule.to_id != call->caller->organization_id)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "the rule is by you: only who it is to can accept it");
    if (rule.state != RULE_OPEN)
        return against(call, rule.state);
    if ((status = set_home(call, &home, &rule)) != 0)
        return status;
    r = db_rule_accept(call->worker->db, &rule, call->caller->client_id);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, changed);
    if (r < 0 || (r = audit(call, &rule, "accept")) < 0)
        return act_call_failed(call, r);
    rule.state = RULE_ACTIVE;
    return answer_rule(call, 200, &rule);
}

/* By either, and for good; what it has claimed stays claimed. */
static unsigned delete_rule(struct act_call *call)
{
    struct db_rule rule;
    unsigned status = find_rule(call, &rule);
    bool declines;
    int r;

    if (status != 0)
        return status;
    if (rule.state != RULE_OPEN && rule.state != RULE_ACTIVE)
        return against(call, rule.state);
    declines = rule.state == RULE_OPEN && rule.from_id != call->caller->organization_id;
    rule.state = declines ? RULE_DECLINED : RULE_CANCELLED;
    r = db_rule_end(call->worker->db, rule.row_id, rule.state);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, changed);
    if (r < 0 || (r = audit(call, &rule, declines ? "decline" : "cancel")) < 0)
        return act_call_failed(call, r);
    return answer_rule(call, 200, &rule);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/claim-rules",
        .right = RIGHT_RULES_MAKE,
        .body_max = BODY_MAX,
        .work = post_rule,
        .changes = true},
    {.method = API_GET, .path = "/v1/claim-rules", .right = RIGHT_RULES, .work = get_rules},
    {.method = API_GET, .path = "/v1/claim-rules/{rule}", .right = RIGHT_RULES, .work = get_rule},
    {.method = API_DELETE,
        .path = "/v1/claim-rules/{rule}",
        .right = RIGHT_RULES,
        .work = delete_rule,
        .changes = true},
    {.method = API_POST,
        .path = "/v1/claim-rules/{rule}/accept",
        .right = RIGHT_CLAIM,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_accept,
        .changes = true},
};

const struct act_area act_area_claim_rules = ACT_AREA(routes);
