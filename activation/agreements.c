/* /v1/roaming/agreements and /v1/roaming/groups: what networks have agreed upon about devices of
 * each other. The join server hears of every change by the commit. */
#include "activation/call.h"
#include "activation/moment.h"
#include "activation/operator_check.h"
#include "activation/peer_body.h"
#include "base/clock.h"
#include "db/agreement.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS "/v1/roaming/groups"
#define DETAIL_MAX 120
#define NUMBER_TEXT_MAX 20
#define NUMBER_DIGITS_MAX 18

static const char bad_group[] =
    "a group's name is a text of 1 to 64 bytes without control characters and /";

static const struct word_bits allows_words[] = {
    {"activation", AWAY_ACTIVATION},
    {"home_ns", AWAY_HOME_NS},
    {NULL, 0},
};

static unsigned none(struct act_call *call, const char *what, const char *name)
{
    char why[ACT_NONE_MAX];

    return act_call_problem(call, PROBLEM_NOT_FOUND, act_none_named(what, name, "", why));
}

/* --- agreements: reading and writing ---------------------------------------------------------- */

struct agreement_body {
    char home[NET_ID_TEXT_LEN + 1], visited[NET_ID_TEXT_LEN + 1];
    char group[DB_GROUP_NAME_MAX + 1];
    char starts_at[ACT_MOMENT_MAX + 1], ends_at[ACT_MOMENT_MAX + 1]; /* ends_at "": null */
    unsigned allows;
    bool both_ways;
    bool has_home, has_visited, has_group, has_starts_at, has_ends_at, has_allows, has_both_ways;
};

#define MEMBER(member) offsetof(struct agreement_body, member)
#define TEXT_MEMBER(wire, member)                                                                  \
    .name = (wire), .kind = JSON_TEXT, .offset = MEMBER(member),                                   \
    .size = sizeof(((struct agreement_body *)0)->member), .present_offset = MEMBER(has_##member)
#define CHANGE_FIELDS                                                                              \
    {TEXT_MEMBER("starts_at", starts_at)}, {TEXT_MEMBER("ends_at", ends_at), .nullable = true},    \
        {.name = "both_ways",                                                                      \
            .kind = JSON_BOOL,                                                                     \
            .offset = MEMBER(both_ways),                                                           \
            .present_offset = MEMBER(has_both_ways)},                                              \
    {                                                                                              \
        .name = "allows", .kind = JSON_WORDS, .offset = MEMBER(allows), .words = allows_words,     \
        .present_offset = MEMBER(has_allows)                                                       \
    }
static const struct json_field change_fields[] = {CHANGE_FIELDS};
static const struct json_field new_fields[] = {
    CHANGE_FIELDS,
    {TEXT_MEMBER("home_net_id", home)},
    {TEXT_MEMBER("visited_net_id", visited)},
    {TEXT_MEMBER("group", group)},
};

static unsigned read_moment(
    struct act_call *call, const char *member, const char *text, int64_t *ret_s)
{
    char fault[DETAIL_MAX];

    if (act_moment_parse(text, ret_s))
        return 0;
    (void)snprintf(
        fault, sizeof(fault), "%s is not a time of UTC, as 2027-01-31T00:00:00Z", member);
    return act_call_bad_field(call, member, fault);
}

/* What may change later. 0, or the status of the answer it set. */
static unsigned read_terms(
    struct act_call *call, const struct agreement_body *body, struct device_agreement *ret)
{
    unsigned status = 0;

    if (body->has_starts_at)
        status = read_moment(call, "starts_at", body->starts_at, &ret->starts_s);
    if (status == 0 && body->has_ends_at && body->ends_at[0] == '\0')
        ret->ends_s = AGREEMENT_NO_END;
    else if (status == 0 && body->has_ends_at)
        status = read_moment(call, "ends_at", body->ends_at, &ret->ends_s);
    if (status != 0)
        return status;
    if (body->has_both_ways)
        ret->both_ways = body->both_ways;
    if (body->has_allows)
        ret->allows = body->allows;
    if (ret->allows == 0)
        return act_call_bad_field(
            call, "allows", "allows names none of \"activation\" and \"home_ns\"");
    if (ret->both_ways && ret->group_id != 0)
        return act_call_bad_field(
            call, "both_ways", "both_ways is of a pair: in a group it is always so");
    if (ret->ends_s <= (ret->starts_s != 0 ? ret->starts_s : clock_unix_s()))
        return act_call_bad_field(call, "ends_at", "ends_at is not after starts_at");
    return 0;
}

static unsigned read_net_id(
    struct act_call *call, const char *member, const char *text, struct net_id *ret)
{
    char fault[DETAIL_MAX];

    if (net_id_parse(text, strlen(text), ret))
        return 0;
    (void)snprintf(fault, sizeof(fault), "%s is not a NetID of 6 hexadecimal digits", member);
    return act_call_bad_field(call, member, fault);
}

/* Between whom it is. */
static unsigned read_parties(
    struct act_call *call, const struct agreement_body *body, struct db_agreement *ret)
{
    char why[ACT_NONE_MAX];
    bool has_agreement;
    unsigned status;
    int r;

    if (body->has_group == (body->has_home || body->has_visited))
        return act_call_bad_field(call, body->has_group ? "group" : "home_net_id",
            "an agreement is of home_net_id and visited_net_id, or of a group");
    if (body->has_group) {
        if ((r = act_peer_name_valid(body->group) ? db_group_hold(call->worker->db, body->group,
                                                        &ret->is.group_id, &has_agreement)
                                                  : 1) < 0)
            return act_call_failed(call, r);
        return r > 0 ? act_call_bad_field(
                           call, "group", act_none_named("group", body->group, "", why))
                     : 0;
    }
    if (!body->has_home || !body->has_visited)
        return act_call_bad_field(call, body->has_home ? "visited_net_id" : "home_net_id",
            body->has_home ? "visited_net_id is missing" : "home_net_id is missing");
    if ((status = read_net_id(call, "home_net_id", body->home, &ret->is.home)) != 0 ||
        (status = read_net_id(call, "visited_net_id", body->visited, &ret->is.visited)) != 0)
        return status;
    return memcmp(&ret->is.home, &ret->is.visited, sizeof(ret->is.home)) != 0
               ? 0
               : act_call_bad_field(call, "visited_net_id",
                     "visited_net_id is home_net_id: at home no agreement is needed");
}

static const char *state_of(const struct device_agreement *a)
{
    switch (device_agreement_at(a, AWAY_ALL, clock_unix_s())) {
    case AGREED_NOT_BEGUN:
        return "not_begun";
    case AGREED_ENDED:
        return "ended";
    default:
        return "running";
    }
}

static void write_words(struct text *out, unsigned allows)
{
    const char *comma = "";

    for (const struct word_bits *w = allows_words; w->word != NULL; w++)
        if ((allows & w->bits) != 0) {
            text_addf(out, "%s\"%s\"", comma, w->word);
            comma = ",";
        }
}

static void write_agreement(struct text *out, const struct db_agreement *a)
{
    char home[NET_ID_TEXT_LEN + 1], visited[NET_ID_TEXT_LEN + 1];

    text_addf(out, "{\"id\":%" PRId64 ",\"group\":", a->id);
    if (a->is.group_id != 0) {
        text_add_json(out, a->group);
        text_add(out, ",\"home_net_id\":null,\"visited_net_id\":null");
    } else {
        text_addf(out, "null,\"home_net_id\":\"%s\",\"visited_net_id\":\"%s\"",
            net_id_format(&a->is.home, home), net_id_format(&a->is.visited, visited));
    }
    text_addf(out, ",\"both_ways\":%s,\"allows\":[",
        a->is.both_ways || a->is.group_id != 0 ? "true" : "false");
    write_words(out, a->is.allows);
    text_addf(out, "],\"state\":\"%s\",\"starts_at\":\"%s\",\"ends_at\":", state_of(&a->is),
        a->starts_at);
    if (a->ends_at[0] != '\0')
        text_addf(out, "\"%s\"", a->ends_at);
    else
        text_add(out, "null");
    text_addf(out, ",\"created_at\":\"%s\"}", a->created);
}

static unsigned answer_agreement(
    struct act_call *call, unsigned status, const struct db_agreement *a)
{
    struct text body = {0};

    write_agreement(&body, a);
    text_add(&body, "\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

static int audit_agreement(struct act_call *call, const char *action, const struct db_agreement *a)
{
    CLEANUP(text_done) struct text detail = {0};
    char id[NUMBER_TEXT_MAX + 1];

    write_agreement(&detail, a);
    (void)snprintf(id, sizeof(id), "%" PRId64, a->id);
    return detail.failed ? -1 : act_call_audit(call, 0, action, id, detail.data);
}

/* --- agreements: calls ------------------------------------------------------------------------ */

static unsigned post_agreement(struct act_call *call)
{
    struct db_agreement a = {.is = {.ends_s = AGREEMENT_NO_END, .allows = AWAY_ALL}};
    struct agreement_body body;
    unsigned status =
        act_call_read(call, new_fields, sizeof(new_fields) / sizeof(new_fields[0]), &body);
    int r;

    if (status != 0 || (status = read_parties(call, &body, &a)) != 0 ||
        (status = read_terms(call, &body, &a.is)) != 0)
        return status;
    /* By the clocks of services, as join servers judge it: the database's may be wrong. */
    if (a.is.starts_s == 0)
        a.is.starts_s = clock_unix_s();
    if ((r = db_agreement_add(call->worker->db, &a)) > 0)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "there are as many agreements as there may be: remove some");
    if (r < 0 || (r = audit_agreement(call, "roaming_agreement.create", &a)) < 0)
        return act_call_failed(call, r);
    act_call_locate(call, "/v1/roaming/agreements/%" PRId64, a.id);
    return answer_agreement(call, 201, &a);
}

static unsigned get_agreements(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    CLEANUP(cleanup_free) struct db_agreement *list = NULL;
    int64_t after;
    size_t limit, n;
    unsigned status = act_call_page_number(call, &limit, &after);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if ((r = db_agreement_list(call->worker->db, after, list, limit + 1, &n)) < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_agreement(&body, &list[i]);
    }
    act_list_end_number(&body, n > limit ? list[limit - 1].id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* The one of the path; 0, or the status of the answer it set. */
static unsigned find_agreement(struct act_call *call, bool holds, struct db_agreement *ret)
{
    const char *text = act_call_param(call, 0);
    size_t len = strlen(text);
    int r = 1;

    if (len > 0 && len <= NUMBER_DIGITS_MAX && strspn(text, "0123456789") == len)
        r = holds ? db_agreement_hold(call->worker->db, strtoll(text, NULL, 10), ret)
                  : db_agreement_find(call->worker->db, strtoll(text, NULL, 10), ret);
    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 ? none(call, "agreement", act_call_param(call, 0)) : 0;
}

static unsigned get_agreement(struct act_call *call)
{
    struct db_agreement a;
    unsigned status = find_agreement(call, false, &a);

    return status != 0 ? status : answer_agreement(call, 200, &a);
}

static unsigned patch_agreement(struct act_call *call)
{
    struct agreement_body body;
    struct db_agreement a;
    unsigned status = find_agreement(call, true, &a);
    int r;

    if (status == 0)
        status = act_call_read(
            call, change_fields, sizeof(change_fields) / sizeof(change_fields[0]), &body);
    if (status != 0 || (status = read_terms(call, &body, &a.is)) != 0)
        return status;
    if ((r = db_agreement_set(call->worker->db, &a)) > 0)
        return none(call, "agreement", act_call_param(call, 0));
    if (r < 0 || (r = audit_agreement(call, "roaming_agreement.change", &a)) < 0)
        return act_call_failed(call, r);
    return answer_agreement(call, 200, &a);
}

static unsigned delete_agreement(struct act_call *call)
{
    struct db_agreement a;
    unsigned status = find_agreement(call, true, &a);
    int r;

    if (status != 0)
        return status;
    if ((r = db_agreement_remove(call->worker->db, a.id)) > 0)
        return none(call, "agreement", act_call_param(call, 0));
    if (r < 0 || (r = audit_agreement(call, "roaming_agreement.remove", &a)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

/* --- groups ----------------------------------------------------------------------------------- */

struct group_body {
    char name[DB_GROUP_NAME_MAX + 1];
    struct net_id net_ids[DB_GROUP_NET_IDS_MAX];
    size_t n_net_ids;
    bool has_name, has_net_ids;
};

#define NET_IDS_FIELD                                                                              \
    {                                                                                              \
        .name = "net_ids", .kind = JSON_HEX_LIST, .offset = offsetof(struct group_body, net_ids),  \
        .size = sizeof(struct net_id), .max = DB_GROUP_NET_IDS_MAX, .required = true,              \
        .present_offset = offsetof(struct group_body, has_net_ids),                                \
        .len_offset = offsetof(struct group_body, n_net_ids)                                       \
    }
static const struct json_field group_change_fields[] = {NET_IDS_FIELD};
static const struct json_field group_fields[] = {
    NET_IDS_FIELD,
    {.name = "name",
        .kind = JSON_TEXT,
        .offset = offsetof(struct group_body, name),
        .size = sizeof(((struct group_body *)0)->name),
        .required = true,
        .present_offset = offsetof(struct group_body, has_name)},
};

static void write_group(struct text *out, const struct db_group *group)
{
    text_add(out, "{\"name\":");
    text_add_json(out, group->name);
    text_add(out, ",\"net_ids\":[");
    for (const char *id = group->net_ids; id != NULL; id = strchr(id, ',')) {
        if (*id == ',')
            id++;
        text_addf(out, "%s\"%.*s\"", id == group->net_ids ? "" : ",", NET_ID_TEXT_LEN, id);
    }
    text_addf(out, "],\"created_at\":\"%s\"}", group->created);
}

/* As it is by now, in the audit and, but for a 204, in the answer. */
static unsigned tell_group(
    struct act_call *call, const char *action, const char *name, unsigned status)
{
    CLEANUP(db_group_list_done) struct db_group_list list = {0};
    CLEANUP(text_done) struct text detail = {0};
    struct text body = {0};
    int r = db_group_list(call->worker->db, name, 0, 1, &list);

    if (r < 0)
        return act_call_failed(call, r);
    if (list.n == 0)
        return none(call, "group", name);
    write_group(&detail, &list.groups[0]);
    if (action != NULL &&
        (r = detail.failed ? -1 : act_call_audit(call, 0, action, name, detail.data)) < 0)
        return act_call_failed(call, r);
    write_group(&body, &list.groups[0]);
    text_add(&body, "\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

static unsigned post_group(struct act_call *call)
{
    CLEANUP(cleanup_free) struct group_body *body = calloc(1, sizeof(*body));
    unsigned status;
    int r;

    if (body == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    status =
        act_call_read(call, group_fields, sizeof(group_fields) / sizeof(group_fields[0]), body);
    if (status != 0)
        return status;
    if (!act_peer_name_valid(body->name))
        return act_call_bad_field(call, "name", bad_group);
    if (body->n_net_ids < 2)
        return act_call_bad_field(call, "net_ids", "net_ids names fewer than two networks");
    r = db_group_add(call->worker->db, body->name, body->net_ids, body->n_net_ids);
    if (r == DB_GROUP_TAKEN)
        return act_call_problem(call, PROBLEM_CONFLICT, "there is a group of this name");
    if (r > 0)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "there are as many groups as there may be: remove some");
    if (r < 0)
        return act_call_failed(call, r);
    act_call_locate_name(call, GROUPS, body->name);
    return tell_group(call, "roaming_group.create", body->name, 201);
}

static unsigned get_groups(struct act_call *call)
{
    CLEANUP(db_group_list_done) struct db_group_list list = {0};
    CLEANUP(text_done) struct text body = {0};
    int64_t after;
    size_t limit;
    unsigned status = act_call_page_number(call, &limit, &after);
    int r;

    if (status != 0)
        return status;
    if ((r = db_group_list(call->worker->db, NULL, after, limit + 1, &list)) < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < list.n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_group(&body, &list.groups[i]);
    }
    act_list_end_number(&body, list.n > limit ? list.groups[limit - 1].id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned get_group(struct act_call *call)
{
    const char *name = act_call_param(call, 0);

    return act_peer_name_valid(name) ? tell_group(call, NULL, name, 200)
                                     : none(call, "group", name);
}

/* The group of the path, held until the call is over. */
static unsigned hold_group(struct act_call *call, int64_t *ret_id, bool *ret_has_agreement)
{
    const char *name = act_call_param(call, 0);
    int r = act_peer_name_valid(name)
                ? db_group_hold(call->worker->db, name, ret_id, ret_has_agreement)
                : 1;

    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 ? none(call, "group", name) : 0;
}

static unsigned patch_group(struct act_call *call)
{
    CLEANUP(cleanup_free) struct group_body *body = calloc(1, sizeof(*body));
    bool has_agreement;
    unsigned status;
    int64_t id;
    int r;

    if (body == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if ((status = hold_group(call, &id, &has_agreement)) == 0)
        status = act_call_read(call, group_change_fields,
            sizeof(group_change_fields) / sizeof(group_change_fields[0]), body);
    if (status != 0)
        return status;
    if (body->n_net_ids < 2)
        return act_call_bad_field(call, "net_ids", "net_ids names fewer than two networks");
    if ((r = db_group_set(call->worker->db, id, body->net_ids, body->n_net_ids)) < 0)
        return act_call_failed(call, r);
    return tell_group(call, "roaming_group.change", act_call_param(call, 0), 200);
}

static unsigned delete_group(struct act_call *call)
{
    const char *name = act_call_param(call, 0);
    bool has_agreement;
    int64_t id;
    unsigned status = hold_group(call, &id, &has_agreement);
    int r;

    if (status != 0)
        return status;
    if (has_agreement)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "an agreement is of this group: remove that first");
    if ((r = db_group_remove(call->worker->db, id)) < 0 ||
        (r = act_call_audit(call, 0, "roaming_group.remove", name, NULL)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

#define ROUTES_OF(all, one, a_post, a_list, a_get, a_patch, a_delete)                              \
    {.method = API_POST,                                                                           \
        .path = (all),                                                                             \
        .right = RIGHT_AGREEMENTS,                                                                 \
        .body_max = ACT_JSON_BODY_MAX,                                                             \
        .work = (a_post),                                                                          \
        .changes = true},                                                                          \
        {.method = API_GET, .path = (all), .right = RIGHT_AGREEMENTS, .work = (a_list)},           \
        {.method = API_GET, .path = (one), .right = RIGHT_AGREEMENTS, .work = (a_get)},            \
        {.method = API_PATCH,                                                                      \
            .path = (one),                                                                         \
            .right = RIGHT_AGREEMENTS,                                                             \
            .body_max = ACT_JSON_BODY_MAX,                                                         \
            .work = (a_patch),                                                                     \
            .changes = true},                                                                      \
    {                                                                                              \
        .method = API_DELETE, .path = (one), .right = RIGHT_AGREEMENTS, .work = (a_delete),        \
        .changes = true                                                                            \
    }

static const struct act_route routes[] = {
    ROUTES_OF("/v1/roaming/agreements", "/v1/roaming/agreements/{agreement}", post_agreement,
        get_agreements, get_agreement, patch_agreement, delete_agreement),
    ROUTES_OF(
        GROUPS, GROUPS "/{group}", post_group, get_groups, get_group, patch_group, delete_group),
};

const struct act_area act_area_agreements = ACT_AREA(routes);
