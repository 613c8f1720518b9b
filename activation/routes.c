#include "activation/routes.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct act_area *const areas[] = {&act_area_public, &act_area_accounts,
    &act_area_audit, &act_area_imports, &act_area_jobs, &act_area_batches, &act_area_claims,
    &act_area_codes, &act_area_devices, &act_area_device_moves, &act_area_moves, &act_area_offers,
    &act_area_replace, &act_area_claim_rules, &act_area_trust, &act_area_ttjs, &act_area_exports,
    &act_area_peers, &act_area_keks, &act_area_join_routes, &act_area_partners,
    &act_area_certificates, &act_area_eui_blocks, &act_area_orders, &act_area_delivery,
    &act_area_webhooks, &act_area_subscriptions, &act_area_signals, &act_area_test_windows,
    &act_area_id_pac};
#define N_AREAS (sizeof(areas) / sizeof(areas[0]))

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

/* Segment by segment; a parameter takes a segment that is not empty. */
static bool matches(const char *pattern, const char *path, struct act_params *params)
{
    params->n = 0;
    while (*pattern != '\0') {
        size_t in_pattern = strcspn(pattern + 1, "/") + 1;
        size_t in_path = *path == '/' ? strcspn(path + 1, "/") + 1 : 0;

        if (pattern[1] == '{') {
            if (in_path < 2 || in_path - 1 > ACT_PARAM_MAX || params->n == ACT_PARAMS_MAX)
                return false;
            memcpy(params->values[params->n], path + 1, in_path - 1);
            params->values[params->n++][in_path - 1] = '\0';
        } else if (in_path != in_pattern || memcmp(pattern, path, in_path) != 0) {
            return false;
        }
        pattern += in_pattern;
        path += in_path;
    }
    return *path == '\0';
}

enum act_route_outcome act_route_find(enum api_method method, const char *path,
    const struct act_route **ret, struct act_params *ret_params, char ret_allow[ACT_ALLOW_MAX])
{
    const struct act_route *found = NULL;
    bool any = false;
    char allow[ACT_ALLOW_MAX] = "";
    struct act_params params, best = {.n = ACT_PARAMS_MAX};

    for (size_t i = 0; i < act_route_count(); i++) {
        const struct act_route *route = act_route_at(i);
        size_t len;

        if (!matches(route->path, path, &params) || params.n > best.n)
            continue;
        if (params.n < best.n) { /* the routes before are of another path */
            found = NULL;
            allow[0] = '\0';
        }
        any = true;
        best = params;
        len = strlen(allow);
        if (route->method == method)
            found = route;
        else
            (void)snprintf(allow + len, sizeof(allow) - len, "%s%s", len > 0 ? ", " : "",
                method_names[route->method]);
    }
    if (found != NULL) {
        *ret = found;
        *ret_params = best;
        return ROUTE_FOUND;
    }
    if (any && ret_allow != NULL)
        memcpy(ret_allow, allow, sizeof(allow));
    return any ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}

size_t act_route_count(void)
{
    size_t n = 0;

    for (size_t i = 0; i < N_AREAS; i++)
        n += areas[i]->n_routes;
    assert(n <= ACT_ROUTES_MAX);
    return n;
}

const struct act_route *act_route_at(size_t index)
{
    size_t i = 0;

    while (index >= areas[i]->n_routes) {
        index -= areas[i++]->n_routes;
        assert(i < N_AREAS);
    }
    return &areas[i]->routes[index];
}

size_t act_route_index(const struct act_route *route)
{
    size_t before = 0;

    for (size_t i = 0; i < N_AREAS; i++) {
        if (route >= areas[i]->routes && route < areas[i]->routes + areas[i]->n_routes)
            return before + (size_t)(route - areas[i]->routes);
        before += areas[i]->n_routes;
    }
    assert(false);
    return 0;
}
