/* /v1/join-routes: which JoinEUIs are ours, whose, and where the others go. */
#include "activation/call.h"
#include "activation/operator_check.h"
#include "base/hex.h"
#include "db/join_route.h"
#include "db/partner.h"
#include <stdio.h>
#include <string.h>

#define ROUTE_NAME_MAX (EUI64_TEXT_LEN + 3) /* "70b3d57ed0000000-40" */
#define PREFIX_BITS_MAX JOIN_ROUTE_BITS_MAX
#define KIND_MAX 9 /* "local-any" */
#define HOST_MAX 255

struct route_body {
    char prefix[ACT_PREFIX_TEXT_MAX + 1];
    uint32_t bits;
    char kind[KIND_MAX + 1];
    char partner[PEER_ID_MAX + 1];
    uint8_t organization[ACCOUNT_ID_LEN];
    bool has_kind, has_partner, has_organization;
};

#define TARGET_FIELDS                                                                              \
    {.name = "kind",                                                                               \
        .kind = JSON_TEXT,                                                                         \
        .offset = offsetof(struct route_body, kind),                                               \
        .size = sizeof(((struct route_body *)0)->kind),                                            \
        .present_offset = offsetof(struct route_body, has_kind)},                                  \
        {.name = "partner",                                                                        \
            .kind = JSON_TEXT,                                                                     \
            .offset = offsetof(struct route_body, partner),                                        \
            .size = sizeof(((struct route_body *)0)->partner),                                     \
            .nullable = true,                                                                      \
            .present_offset = offsetof(struct route_body, has_partner)},                           \
    {                                                                                              \
        .name = "organization", .kind = JSON_HEX,                                                  \
        .offset = offsetof(struct route_body, organization),                                       \
        .size = sizeof(((struct route_body *)0)->organization), .nullable = true,                  \
        .present_offset = offsetof(struct route_body, has_organization)                            \
    }

static const struct json_field fields[] = {
    {.name = "prefix",
        .kind = JSON_TEXT,
        .offset = offsetof(struct route_body, prefix),
        .size = sizeof(((struct route_body *)0)->prefix),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "bits",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct route_body, bits),
        .max = PREFIX_BITS_MAX,
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    TARGET_FIELDS,
};
static const struct json_field change_fields[] = {TARGET_FIELDS};
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Without the closing brace. */
static void write_route(struct text *out, const struct db_route_entry *entry)
{
    const struct db_join_route *route = &entry->route;
    char prefix[EUI64_TEXT_LEN + 1], organization[2 * ACCOUNT_ID_LEN + 1];

    text_addf(out, "{\"prefix\":\"%s\",\"bits\":%u,\"kind\":\"%s\",\"partner\":",
        eui64_format(&route->prefix, prefix), route->prefix_len, db_route_kind_name(route->kind));
    if (entry->partner[0] != '\0')
        text_add_json(out, entry->partner);
    else
        text_add(out, "null");
    if (route->organization_id != 0)
        text_addf(out, ",\"organization\":\"%s\"",
            hex_encode(entry->organization, sizeof(entry->organization), organization));
    else
        text_add(out, ",\"organization\":null");
    text_addf(out, ",\"created_at\":\"%s\"", entry->created);
}

static const char *name_of(const struct db_join_route *route, char ret[static ROUTE_NAME_MAX + 1])
{
    char prefix[EUI64_TEXT_LEN + 1];

    (void)snprintf(ret, ROUTE_NAME_MAX + 1, "%s-%u", eui64_format(&route->prefix, prefix),
        route->prefix_len % 100);
    return ret;
}

/* --- where it goes and whose it is ------------------------------------------------------------ */

/* Each of these: 0, or the status of the answer that it set. */

/* The partner is held until the call is over: one that a route names is not revoked. */
static unsigned take_partner(
    struct act_call *call, const struct route_body *body, struct db_join_route *route)
{
    char why[ACT_NONE_MAX];
    int r = 1;

    if (route->kind != DB_ROUTE_PARTNER) {
        route->partner_id = 0;
        return body->partner[0] == '\0'
                   ? 0
                   : act_call_bad_field(call, "partner", "partner is for a route of kind partner");
    }
    if (!body->has_partner && route->partner_id != 0)
        return 0;
    if (body->partner[0] == '\0')
        return act_call_bad_field(
            call, "partner", "partner is missing: a route of kind partner goes to one");
    if (act_peer_name_valid(body->partner))
        r = db_partner_hold(call->worker->db, body->partner, &route->partner_id);
    if (r < 0)
        return act_call_failed(call, r);
    return r == 0 ? 0
                  : act_call_bad_field(call, "partner",
                        act_none_named("partner", body->partner, ", or it is revoked", why));
}

static unsigned take_organization(
    struct act_call *call, const struct route_body *body, struct db_join_route *route)
{
    static const uint8_t none[ACCOUNT_ID_LEN];
    struct db_organization organization;
    int r;

    if (body->has_organization) {
        route->organization_id = 0;
        if (memcmp(body->organization, none, sizeof(none)) != 0) {
            r = db_organization_find(call->worker->db, body->organization, &organization);
            if (r < 0)
                return act_call_failed(call, r);
            if (r > 0)
                return act_call_bad_field(
                    call, "organization", "there is no organization with this id");
            route->organization_id = organization.row_id;
        }
    }
    return route->organization_id == 0 || db_route_is_local(route)
               ? 0
               : act_call_bad_field(call, "organization",
                     "an organization's JoinEUIs are answered here: kind local or local-any, or "
                     "null for organization");
}

/* What the body says, over what the route is. */
static unsigned take_target(
    struct act_call *call, const struct route_body *body, struct db_join_route *route)
{
    unsigned status;

    if (body->has_kind && !db_route_kind_parse(body->kind, &route->kind))
        return act_call_bad_field(call, "kind", "kind is local, local-any, partner, dns or refuse");
    status = take_partner(call, body, route);
    return status != 0 ? status : take_organization(call, body, route);
}

/* The route as it is now, in an answer and in the audit. */
static unsigned answer_route(
    struct act_call *call, unsigned status, const char *action, const struct db_join_route *route)
{
    CLEANUP(text_done) struct text detail = {0};
    struct db_route_entry entry;
    struct text body = {0};
    char name[ROUTE_NAME_MAX + 1];
    int r = db_join_route_find(call->worker->db, route, &entry);

    if (r != 0)
        return act_call_failed(call, r);
    write_route(&detail, &entry);
    text_add(&detail, "}");
    if ((r = act_call_audit(call, 0, action, name_of(&entry.route, name), detail.data)) < 0)
        return act_call_failed(call, r);
    if (status == 201)
        act_call_locate(call, "/v1/join-routes/%s", name);
    write_route(&body, &entry);
    text_add(&body, "}\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

static unsigned post_route(struct act_call *call)
{
    struct route_body wanted;
    struct db_join_route route;
    unsigned status = act_call_read(call, fields, COUNT(fields), &wanted);
    int r;

    if (status != 0)
        return status;
    if (!act_route_make(wanted.prefix, wanted.bits, &route))
        return act_call_bad_field(call, "prefix",
            "prefix has 1 to 16 hexadecimal digits, with no bit set behind the first bits");
    if ((status = take_target(call, &wanted, &route)) != 0)
        return status;
    if ((r = db_join_route_add(call->worker->db, &route, NULL)) > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, "the route is there already");
    if (r < 0)
        return act_call_failed(call, r);
    return answer_route(call, 201, "join_route.create", &route);
}

/* A cursor is the last route: its prefix, then its length. */
static unsigned get_routes(struct act_call *call)
{
    CLEANUP(db_route_list_done) struct db_route_list list = {0};
    CLEANUP(text_done) struct text body = {0};
    uint8_t cursor[ACCOUNT_ID_LEN] = {0};
    struct db_join_route after = {0};
    bool has_cursor;
    size_t limit;
    unsigned status = act_call_page(call, &limit, cursor, &has_cursor);
    int r;

    if (status != 0)
        return status;
    memcpy(after.prefix.bytes, cursor, sizeof(after.prefix.bytes));
    after.prefix_len = cursor[sizeof(after.prefix.bytes)];
    if (after.prefix_len > PREFIX_BITS_MAX)
        return act_call_bad_field(call, "cursor", "cursor is not one that this list gave");
    r = db_route_list_load(call->worker->db, has_cursor ? &after : NULL, limit + 1, &list);
    if (r < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < list.n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_route(&body, &list.entries[i]);
        text_add(&body, "}");
    }
    if (list.n > limit) {
        const struct db_join_route *last = &list.entries[limit - 1].route;

        memset(cursor, 0, sizeof(cursor));
        memcpy(cursor, last->prefix.bytes, sizeof(last->prefix.bytes));
        cursor[sizeof(last->prefix.bytes)] = (uint8_t)last->prefix_len;
    }
    act_list_end(&body, list.n > limit ? cursor : NULL);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned none(struct act_call *call)
{
    const char *name = act_call_param(call, 0);
    char prefix[EUI64_TEXT_LEN + 1], why[ACT_NONE_MAX];
    struct db_join_route route;

    if (!act_route_parse(name, '-', &route))
        return act_call_problem(call, PROBLEM_NOT_FOUND, act_none_named("route", name, "", why));
    (void)snprintf(why, sizeof(why), "there is no route %s/%u", eui64_format(&route.prefix, prefix),
        route.prefix_len);
    return act_call_problem(call, PROBLEM_NOT_FOUND, why);
}

/* The route of the path, held until the call is over. Outcome 1: none. */
static int hold(struct act_call *call, struct db_route_entry *ret)
{
    struct db_join_route route;
    int r = act_route_parse(act_call_param(call, 0), '-', &route)
                ? db_join_route_lock(call->worker->db, &route)
                : 1;

    return r != 0 ? r : db_join_route_find(call->worker->db, &route, ret);
}

static unsigned patch_route(struct act_call *call)
{
    struct db_route_entry entry;
    struct route_body wanted = {0};
    unsigned status;
    int r = hold(call, &entry);

    if (r > 0)
        return none(call);
    if (r < 0)
        return act_call_failed(call, r);
    if ((status = act_call_read(call, change_fields, COUNT(change_fields), &wanted)) != 0 ||
        (status = take_target(call, &wanted, &entry.route)) != 0)
        return status;
    if ((r = db_join_route_set(call->worker->db, &entry.route)) > 0)
        return none(call);
    return r < 0 ? act_call_failed(call, r)
                 : answer_route(call, 200, "join_route.change", &entry.route);
}

static unsigned delete_route(struct act_call *call)
{
    CLEANUP(text_done) struct text detail = {0};
    struct db_route_entry entry;
    char name[ROUTE_NAME_MAX + 1];
    int r = hold(call, &entry);

    if (r == 0)
        r = db_join_route_remove(call->worker->db, &entry.route);
    if (r > 0)
        return none(call);
    if (r < 0)
        return act_call_failed(call, r);
    write_route(&detail, &entry);
    text_add(&detail, "}");
    r = act_call_audit(call, 0, "join_route.remove", name_of(&entry.route, name), detail.data);
    return r < 0 ? act_call_failed(call, r) : act_call_no_content(call);
}

/* --- where would it go ------------------------------------------------------------------------ */

/* ResultCodes stand as they are on the wire: TS002 spells it UnkownReceiver. */
static const struct {
    const char *goes_to, *why;
} ways[N_DB_ROUTE_KINDS] = {
    [DB_ROUTE_LOCAL] = {"here", "the longest route that it has says that it is answered here"},
    [DB_ROUTE_LOCAL_ANY] = {"here",
        "the longest route that it has says that it is answered here, for the device of the DevEUI "
        "whatever that one's own JoinEUI is"},
    [DB_ROUTE_PARTNER] = {"partner", "the longest route that it has goes to a partner"},
    [DB_ROUTE_DNS] = {"dns",
        "the longest route that it has goes to the join server that DNS names, where dns.mode of the "
        "join servers is not off"},
    [DB_ROUTE_REFUSE] = {"nowhere", "the longest route that it has refuses it: UnkownReceiver"},
};
#define NO_ROUTE "it has no route: UnkownReceiver"

/* What a network server with this NetID would have of it. */
enum sender_way {
    SENDER_ANSWERED,
    SENDER_CARRIED,
    SENDER_UNKNOWN,
    SENDER_NOT_TAKEN,
    SENDER_REFUSED,
    N_SENDER_WAYS
};
static const struct {
    const char *outcome, *why;
} sender_ways[N_SENDER_WAYS] = {
    [SENDER_ANSWERED] = {"answered", "it is answered here, as its device and its agreements allow"},
    [SENDER_CARRIED] = {"carried", "it is carried on, and answered there"},
    [SENDER_UNKNOWN] = {"refused",
        "no network server here may speak for this NetID: UnknownSender"},
    [SENDER_NOT_TAKEN] = {"refused",
        "the partner is for other NetIDs than this one: UnkownReceiver"},
    [SENDER_REFUSED] = {"refused", "the JoinEUI goes nowhere: UnkownReceiver"},
};

/* `route` has no `created` where there is none. */
static enum sender_way judge_sender(const struct db_route_entry *route,
    const struct db_partner *partner, const struct net_id *net_id, bool is_spoken)
{
    if (!is_spoken)
        return SENDER_UNKNOWN;
    if (route->created[0] == '\0' || route->route.kind == DB_ROUTE_REFUSE)
        return SENDER_REFUSED;
    if (db_route_is_local(&route->route))
        return SENDER_ANSWERED;
    return partner->id != 0 && !db_partner_takes(partner, net_id) ? SENDER_NOT_TAKEN
                                                                  : SENDER_CARRIED;
}

/* Of a URL that was checked when it was said. */
static void write_host(struct text *out, const char *url)
{
    const char *host = strstr(url, "://");
    char text[HOST_MAX + 1];

    host = host != NULL ? host + 3 : url;
    (void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(host, "/?"), host);
    text_add_json(out, text);
}

static void write_partner(struct text *out, const struct db_partner *partner)
{
    text_add(out, ",\"partner\":");
    if (partner->id == 0) {
        text_add(out, "null");
        return;
    }
    text_add(out, "{\"name\":");
    text_add_json(out, partner->name);
    text_add(out, ",\"host\":");
    write_host(out, partner->url);
    text_addf(out, ",\"protocol_version\":\"%s\",\"async\":%s}", partner->is_1_1 ? "1.1" : "1.0",
        partner->is_async ? "true" : "false");
}

struct explained {
    struct eui64 join_eui;
    struct net_id net_id;
    bool has_net_id, is_spoken;
    struct db_route_entry route, owned;
    struct db_partner_entry partner; /* its id is 0 without one */
};

static void explained_done(struct explained *e)
{
    db_partner_entry_done(&e->partner);
}

static void write_explained(struct text *out, const struct explained *e)
{
    char eui[EUI64_TEXT_LEN + 1], id[2 * ACCOUNT_ID_LEN + 1], net_id[NET_ID_TEXT_LEN + 1];
    bool has_route = e->route.created[0] != '\0';
    enum sender_way way;

    text_addf(out,
        "{\"join_eui\":\"%s\",\"goes_to\":\"%s\",\"why\":", eui64_format(&e->join_eui, eui),
        has_route ? ways[e->route.route.kind].goes_to : "nowhere");
    text_add_json(out, has_route ? ways[e->route.route.kind].why : NO_ROUTE);
    text_add(out, ",\"route\":");
    if (has_route) {
        write_route(out, &e->route);
        text_add(out, "}");
    } else {
        text_add(out, "null");
    }
    write_partner(out, &e->partner.partner);
    text_add(out, ",\"organization\":");
    if (e->owned.created[0] != '\0')
        text_addf(out, "\"%s\"", hex_encode(e->owned.organization, ACCOUNT_ID_LEN, id));
    else
        text_add(out, "null");
    text_add(out, ",\"sender\":");
    if (!e->has_net_id) {
        text_add(out, "null}\n");
        return;
    }
    way = judge_sender(&e->route, &e->partner.partner, &e->net_id, e->is_spoken);
    text_addf(out,
        "{\"net_id\":\"%s\",\"outcome\":\"%s\",\"why\":", net_id_format(&e->net_id, net_id),
        sender_ways[way].outcome);
    text_add_json(out, sender_ways[way].why);
    text_add(out, "}}\n");
}

static unsigned read_question(struct act_call *call, struct explained *e)
{
    static const char *const known[] = {"join_eui", "net_id"};
    const char *join_eui = api_request_query(call->request, "join_eui");
    const char *net_id = api_request_query(call->request, "net_id");

    if (api_request_unknown_query(call->request, known, COUNT(known)) != NULL)
        return act_call_problem(
            call, PROBLEM_BAD_REQUEST, "the query may have join_eui and net_id, and nothing else");
    if (join_eui == NULL || !eui64_parse(join_eui, strlen(join_eui), &e->join_eui))
        return act_call_bad_field(
            call, "join_eui", "join_eui is missing, or not 16 hexadecimal digits");
    e->has_net_id = net_id != NULL;
    if (net_id != NULL && !net_id_parse(net_id, strlen(net_id), &e->net_id))
        return act_call_bad_field(call, "net_id", "net_id is not 6 hexadecimal digits");
    return 0;
}

static unsigned explain_route(struct act_call *call)
{
    CLEANUP(explained_done) struct explained e = {0};
    struct db *db = call->worker->db;
    struct text body = {0};
    unsigned status = read_question(call, &e);
    int r;

    if (status != 0)
        return status;
    r = db_join_route_longest(db, &e.join_eui, &e.route, &e.owned);
    if (r >= 0 && e.route.partner[0] != '\0')
        r = db_partner_find(db, e.route.partner, &e.partner);
    if (r >= 0 && e.has_net_id)
        r = db_net_id_is_spoken(db, &e.net_id, &e.is_spoken);
    if (r < 0)
        return act_call_failed(call, r);
    write_explained(&body, &e);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/join-routes",
        .right = RIGHT_JOIN_ROUTES,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_route,
        .changes = true},
    {.method = API_GET, .path = "/v1/join-routes", .right = RIGHT_JOIN_ROUTES, .work = get_routes},
    {.method = API_GET,
        .path = "/v1/join-routes/explain",
        .right = RIGHT_JOIN_ROUTES,
        .work = explain_route},
    {.method = API_PATCH,
        .path = "/v1/join-routes/{route}",
        .right = RIGHT_JOIN_ROUTES,
        .body_max = ACT_JSON_BODY_MAX,
        .work = patch_route,
        .changes = true},
    {.method = API_DELETE,
        .path = "/v1/join-routes/{route}",
        .right = RIGHT_JOIN_ROUTES,
        .work = delete_route,
        .changes = true},
};

const struct act_area act_area_join_routes = ACT_AREA(routes);
