/* /v1/join-routes: which JoinEUIs are ours. */
#include "activation/call.h"
#include "activation/operator_check.h"
#include "base/bytes.h"
#include "db/peer.h"
#include <stdio.h>
#include <string.h>

#define ROUTE_NAME_MAX (EUI64_TEXT_LEN + 3) /* "70b3d57ed0000000-40" */
#define PREFIX_BITS_MAX 64

struct route_body {
    char prefix[ACT_PREFIX_TEXT_MAX + 1];
    uint32_t bits;
};

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
};

static void write_route(struct text *out, const struct db_join_route *route, const char *created)
{
    char prefix[EUI64_TEXT_LEN + 1];

    text_addf(out, "{\"prefix\":\"%s\",\"bits\":%u,\"created_at\":\"%s\"}",
        eui64_format(&route->prefix, prefix), route->prefix_len, created);
}

static const char *name_of(const struct db_join_route *route, char ret[static ROUTE_NAME_MAX + 1])
{
    char prefix[EUI64_TEXT_LEN + 1];

    (void)snprintf(ret, ROUTE_NAME_MAX + 1, "%s-%u", eui64_format(&route->prefix, prefix),
        route->prefix_len % 100);
    return ret;
}

static unsigned post_route(struct act_call *call)
{
    struct route_body wanted;
    struct db_join_route route;
    struct text body = {0};
    char created[DB_TIME_TEXT_LEN + 1], name[ROUTE_NAME_MAX + 1];
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &wanted);
    int r;

    if (status != 0)
        return status;
    if (!act_route_make(wanted.prefix, wanted.bits, &route))
        return act_call_bad_field(call, "prefix",
            "prefix has 1 to 16 hexadecimal digits, with no bit set behind the first bits");
    if ((r = db_join_route_add(call->worker->db, &route, created)) > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, "the route is there already");
    if (r < 0 ||
        (r = act_call_audit(call, 0, "join_route.create", name_of(&route, name), NULL)) < 0)
        return act_call_failed(call, r);
    act_call_locate(call, "/v1/join-routes/%s", name);
    write_route(&body, &route, created);
    text_add(&body, "\n");
    return act_call_answer(call, 201, TYPE_JSON, &body);
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
        write_route(&body, &list.entries[i].route, list.entries[i].created);
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

static unsigned delete_route(struct act_call *call)
{
    struct db_join_route route;
    char name[ROUTE_NAME_MAX + 1];
    int r = 1;

    if (act_route_parse(act_call_param(call, 0), '-', &route))
        r = db_join_route_remove(call->worker->db, &route);
    if (r > 0)
        return act_call_problem(call, PROBLEM_NOT_FOUND, "there is no such route");
    if (r < 0 ||
        (r = act_call_audit(call, 0, "join_route.remove", name_of(&route, name), NULL)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/join-routes",
        .right = RIGHT_JOIN_ROUTES,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_route,
        .changes = true},
    {.method = API_GET, .path = "/v1/join-routes", .right = RIGHT_JOIN_ROUTES, .work = get_routes},
    {.method = API_DELETE,
        .path = "/v1/join-routes/{route}",
        .right = RIGHT_JOIN_ROUTES,
        .work = delete_route,
        .changes = true},
};

const struct act_area act_area_join_routes = ACT_AREA(routes);
