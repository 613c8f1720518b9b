#include "activation/routes.h"

#include "activation/import.h"
#include "activation/public.h"
#include "activation/token_grant.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct act_route routes[] = {
    {.method = API_GET, .path = "/healthz", .right = RIGHT_HEALTH, .answer = act_get_health},
    {.method = API_GET, .path = "/readyz", .right = RIGHT_HEALTH, .answer = act_get_ready},
    {.method = API_GET, .path = "/metrics", .right = RIGHT_METRICS, .answer = act_get_metrics},
    {.method = API_GET,
        .path = "/v1/openapi.json",
        .right = RIGHT_DESCRIPTION,
        .answer = act_get_openapi},
    {.method = API_GET,
        .path = "/v1/exchange-key",
        .right = RIGHT_DESCRIPTION,
        .answer = act_get_exchange_key},
    {.method = API_POST,
        .path = "/v1/token",
        .right = RIGHT_TOKEN,
        .body_max = TOKEN_GRANT_BODY_MAX,
        .work = act_post_token},
    {.method = API_POST,
        .path = "/v1/batches/import",
        .right = RIGHT_IMPORT,
        .body_max = IMPORT_BODY_MAX,
        .work = act_post_import,
        .is_long = true},
};

#define N_ROUTES (sizeof(routes) / sizeof(routes[0]))
_Static_assert(N_ROUTES <= ACT_ROUTES_MAX, "the tables made for each route are too small");

static const char *const method_names[] = {
    [API_GET] = "GET",
    [API_POST] = "POST",
    [API_PUT] = "PUT",
    [API_PATCH] = "PATCH",
    [API_DELETE] = "DELETE",
    [API_OTHER] = "other",
};

const char *act_method_text(enum api_method method)
{
    return method_names[method];
}

enum act_route_outcome act_route_find(enum api_method method, const char *path,
    const struct act_route **ret, char ret_allow[ACT_ALLOW_MAX])
{
    enum act_route_outcome outcome = ROUTE_NO_PATH;
    char allow[ACT_ALLOW_MAX] = "";
    size_t len;

    for (size_t i = 0; i < N_ROUTES; i++) {
        const char *name = method_names[routes[i].method];

        if (strcmp(routes[i].path, path) != 0)
            continue;
        if (routes[i].method == method) {
            *ret = &routes[i];
            return ROUTE_FOUND;
        }
        outcome = ROUTE_NO_METHOD;
        len = strlen(allow);
        (void)snprintf(allow + len, sizeof(allow) - len, "%s%s", len > 0 ? ", " : "", name);
    }
    if (outcome == ROUTE_NO_METHOD && ret_allow != NULL)
        memcpy(ret_allow, allow, sizeof(allow));
    return outcome;
}

size_t act_route_count(void)
{
    return N_ROUTES;
}

const struct act_route *act_route_at(size_t index)
{
    assert(index < N_ROUTES);
    return &routes[index];
}

size_t act_route_index(const struct act_route *route)
{
    return (size_t)(route - routes);
}
