#include "activation/routes.h"

#include "activation/metrics.h"
#include "activation/public.h"
#include "db/account.h"
#include "tests/support/suite.h"
#include <ctype.h>
#include <jansson.h>
#include <string.h>

static struct act_params params;

START_TEST(every_route_is_complete)
{
    for (size_t i = 0; i < act_route_count(); i++) {
        const struct act_route *route = act_route_at(i);

        ck_assert(route->path[0] == '/');
        ck_assert_uint_lt(strlen(route->path), API_PATH_MAX);
        ck_assert(route->method < API_OTHER);
        ck_assert(route->right < N_ACT_RIGHTS);
        ck_assert_int_ne(route->answer != NULL, route->work != NULL);
        ck_assert_uint_eq(act_route_index(route), i);
        if (route->method == API_GET || route->method == API_DELETE)
            ck_assert_uint_eq(route->body_max, 0);
        if (route->method == API_GET)
            ck_assert(!route->changes);
        /* Its audit event and its key are somebody's. */
        ck_assert(route->changes || route->query == NULL);
        if (route->changes)
            ck_assert_uint_ne(act_right_roles(route->right), ROLES_ANYONE);
        /* A certificate is no client of our API, and a stream has no connection to look at. */
        ck_assert_int_eq(route->by_certificate, strncmp(route->path, "/api/v2/", 8) == 0);
        if (route->by_certificate) {
            ck_assert_uint_eq(act_right_roles(route->right), ROLE_APPLICATION_SERVER);
            ck_assert_int_eq(route->streams, STREAMS_NOT);
        }
        /* What many are answered by at once knows no path but this one, and nobody but clients. */
        if (route->work_together != NULL) {
            ck_assert(route->work != NULL && !route->changes && !route->is_long);
            ck_assert(!route->by_certificate && route->streams == STREAMS_NOT);
            ck_assert_ptr_null(strchr(route->path, '{'));
            ck_assert_uint_ne(act_right_roles(route->right), ROLES_ANYONE);
        }
        if (act_right_roles(route->right) != ROLES_ANYONE)
            ck_assert_msg(route->work != NULL, "%s: nobody checks the token", route->path);
    }
}
END_TEST

START_TEST(no_route_is_there_twice)
{
    for (size_t i = 0; i < act_route_count(); i++)
        for (size_t k = 0; k < i; k++)
            ck_assert(act_route_at(i)->method != act_route_at(k)->method ||
                      strcmp(act_route_at(i)->path, act_route_at(k)->path) != 0);
}
END_TEST

START_TEST(every_route_is_found_by_its_method_and_path)
{
    for (size_t i = 0; i < act_route_count(); i++) {
        const struct act_route *route = NULL;

        ck_assert_int_eq(
            act_route_find(act_route_at(i)->method, act_route_at(i)->path, &route, &params, NULL),
            ROUTE_FOUND);
        ck_assert_ptr_eq(route, act_route_at(i));
    }
}
END_TEST

START_TEST(an_unknown_path_and_a_wrong_method_are_told_apart)
{
    const struct act_route *route = NULL;
    char allow[ACT_ALLOW_MAX] = "";

    ck_assert_int_eq(act_route_find(API_GET, "/nowhere", &route, &params, allow), ROUTE_NO_PATH);
    ck_assert_int_eq(act_route_find(API_GET, "/v1/token/", &route, &params, allow), ROUTE_NO_PATH);
    ck_assert_int_eq(act_route_find(API_GET, "", &route, &params, allow), ROUTE_NO_PATH);
    ck_assert_int_eq(act_route_find(API_GET, "/v1/token", &route, &params, allow), ROUTE_NO_METHOD);
    ck_assert_str_eq(allow, "POST");
    ck_assert_int_eq(
        act_route_find(API_OTHER, "/healthz", &route, &params, allow), ROUTE_NO_METHOD);
    ck_assert_str_eq(allow, "GET");
    ck_assert_ptr_null(route);
}
END_TEST

START_TEST(parameters_are_what_stands_in_their_places)
{
    const struct act_route *route = NULL;

    ck_assert_int_eq(
        act_route_find(API_DELETE, "/v1/organizations/ab/clients/cd", &route, &params, NULL),
        ROUTE_FOUND);
    ck_assert_str_eq(route->path, "/v1/organizations/{organization}/clients/{client}");
    ck_assert_uint_eq(params.n, 2);
    ck_assert_str_eq(params.values[0], "ab");
    ck_assert_str_eq(params.values[1], "cd");
    ck_assert_int_eq(
        act_route_find(API_GET, "/v1/organizations", &route, &params, NULL), ROUTE_FOUND);
    ck_assert_uint_eq(params.n, 0);
    ck_assert_int_eq(
        act_route_find(API_GET, "/v1/organizations/", &route, &params, NULL), ROUTE_NO_PATH);
    ck_assert_int_eq(act_route_find(API_GET, "/v1/organizations//clients", &route, &params, NULL),
        ROUTE_NO_PATH);
    ck_assert_int_eq(
        act_route_find(API_GET, "/v1/organizations/ab/clients/cd/ef", &route, &params, NULL),
        ROUTE_NO_PATH);
}
END_TEST

START_TEST(a_path_of_its_own_hides_one_with_a_parameter)
{
    const struct act_route *route = NULL;
    char allow[ACT_ALLOW_MAX] = "";

    ck_assert_int_eq(
        act_route_find(API_GET, "/v1/batches/0123", &route, &params, allow), ROUTE_FOUND);
    ck_assert_str_eq(params.values[0], "0123");
    ck_assert_int_eq(
        act_route_find(API_POST, "/v1/batches/import", &route, &params, allow), ROUTE_FOUND);
    ck_assert_uint_eq(params.n, 0);
    ck_assert_int_eq(
        act_route_find(API_GET, "/v1/batches/import", &route, &params, allow), ROUTE_NO_METHOD);
    ck_assert_str_eq(allow, "POST");
}
END_TEST

START_TEST(a_parameter_that_is_too_long_finds_nothing)
{
    const struct act_route *route = NULL;
    char path[ACT_PARAM_MAX + 40] = "/v1/organizations/";
    size_t len = strlen(path);

    memset(path + len, 'a', ACT_PARAM_MAX);
    ck_assert_int_eq(act_route_find(API_GET, path, &route, &params, NULL), ROUTE_FOUND);
    path[len + ACT_PARAM_MAX] = 'a';
    ck_assert_int_eq(act_route_find(API_GET, path, &route, &params, NULL), ROUTE_NO_PATH);
}
END_TEST

static const char *lower(const char *text, char out[static 16])
{
    size_t n = 0;

    for (; text[n] != '\0' && n < 15; n++)
        out[n] = (char)tolower((unsigned char)text[n]);
    out[n] = '\0';
    return out;
}

/* x-roles as bits; without it every role may. */
static unsigned roles_of(const json_t *operation)
{
    const json_t *names = json_object_get(operation, "x-roles");
    unsigned roles = 0;

    if (names == NULL)
        return ROLES_CLIENT;
    for (size_t i = 0; i < json_array_size(names); i++)
        for (const struct word_bits *w = account_role_names; w->word != NULL; w++)
            if (strcmp(w->word, json_string_value(json_array_get(names, i))) == 0)
                roles |= w->bits;
    return roles;
}

START_TEST(the_description_has_exactly_the_routes)
{
    json_t *root = json_loadb(act_openapi_json, act_openapi_json_len, JSON_REJECT_DUPLICATES, NULL);
    json_t *paths = json_object_get(root, "paths");
    const char *path, *method;
    json_t *item, *operation;
    size_t n = 0;

    ck_assert_ptr_nonnull(root);
    ck_assert_str_eq(json_string_value(json_object_get(root, "openapi")), "3.1.0");
    for (size_t i = 0; i < act_route_count(); i++) {
        const struct act_route *route = act_route_at(i);
        char name[16];

        operation = json_object_get(
            json_object_get(paths, route->path), lower(act_method_text(route->method), name));
        ck_assert_msg(operation != NULL, "%s %s is not described", name, route->path);
        ck_assert_msg((json_object_get(operation, "requestBody") != NULL) ==
                          (route->body_max > 0 || route->streams == STREAMS_BOTH),
            "%s: request body", route->path);
        ck_assert_msg((json_object_get(json_object_get(operation, "responses"), "403") != NULL) ==
                          (act_right_roles(route->right) != ROLES_ANYONE),
            "%s: who may call", route->path);
        ck_assert_msg(roles_of(operation) == act_right_roles(route->right) ||
                          act_right_roles(route->right) == ROLES_ANYONE,
            "%s %s: x-roles", name, route->path);
    }
    json_object_foreach(paths, path, item)
    {
        json_object_foreach(item, method, operation)
        {
            n++;
        }
    }
    ck_assert_uint_eq(n, act_route_count());
    json_decref(root);
}
END_TEST

START_TEST(each_route_and_class_has_one_counter)
{
    static struct act_metrics metrics;
    struct text text = {0};

    act_metrics_init(&metrics);
    act_metrics_request(&metrics, act_route_at(0), 200);
    act_metrics_request(&metrics, act_route_at(0), 200);
    act_metrics_request(&metrics, NULL, 404);
    act_metrics_write(&metrics, &text);
    ck_assert_ptr_nonnull(strstr(text.data,
        "cradle_activation_requests_total{route=\"/healthz\",method=\"GET\",class=\"2xx\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(text.data,
        "cradle_activation_requests_total{route=\"none\",method=\"any\",class=\"4xx\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(text.data,
        "cradle_activation_requests_total{route=\"/v1/token\",method=\"POST\",class=\"5xx\"} 0\n"));
    for (size_t i = 0; i < metrics.n_requests; i++)
        for (size_t k = 0; k < i; k++)
            ck_assert_str_ne(metrics.labels[i], metrics.labels[k]);
    text_done(&text);
}
END_TEST

SUITE_MAIN("routes", 10, every_route_is_complete, no_route_is_there_twice,
    every_route_is_found_by_its_method_and_path, an_unknown_path_and_a_wrong_method_are_told_apart,
    parameters_are_what_stands_in_their_places, a_path_of_its_own_hides_one_with_a_parameter,
    a_parameter_that_is_too_long_finds_nothing, the_description_has_exactly_the_routes,
    each_route_and_class_has_one_counter)
