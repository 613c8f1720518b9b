#include "activation/operator_check.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/rest.h"
#include <stdio.h>

#define ROUTES "/v1/join-routes"
#define PATH_MAX_LEN 64
#define NOT_FOUND 404

static int read_route(int argc, char **argv, struct db_join_route *ret)
{
    if (argc != 2)
        return CLI_USAGE;
    if (!act_route_parse(argv[1], '/', ret))
        return error_set(ERROR_INPUT,
            "a route is PREFIX/BITS, like 20635f0000000000/24, with no bit set behind the first "
            "BITS, not \"%.40s\"",
            argv[1]);
    return 0;
}

static void write_route(struct text *out, const struct db_join_route *route, const char *created)
{
    char prefix[EUI64_TEXT_LEN + 1];

    text_addf(out, "{\"prefix\":\"%s\",\"bits\":%u", eui64_format(&route->prefix, prefix),
        route->prefix_len);
    if (created != NULL)
        text_addf(out, ",\"created\":\"%s\"", created);
    text_add(out, "}\n");
}

int cli_route_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *body = NULL;
    struct db_join_route route = {0};
    char prefix[EUI64_TEXT_LEN + 1];
    int r;

    if ((r = read_route(argc, argv, &route)) != 0 || (r = cli_rest_open(settings, &rest)) < 0)
        return r;
    body = json_pack(
        "{s:s,s:i}", "prefix", eui64_format(&route.prefix, prefix), "bits", (int)route.prefix_len);
    if ((r = cli_rest_call(&rest, "POST", ROUTES, body, NULL)) < 0)
        return r;
    write_route(out, &route, NULL);
    return 0;
}

static int list_route(const json_t *item, void *out)
{
    struct db_join_route route;

    if (!act_route_make(cli_json_text(item, "prefix"),
            (unsigned)json_integer_value(json_object_get(item, "bits")), &route))
        return error_set(ERROR_INPUT, "the activation service answers with a route that is none");
    write_route(out, &route, cli_json_text(item, "created_at"));
    return 0;
}

int cli_route_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    r = cli_rest_open(settings, &rest);
    return r < 0 ? r : cli_rest_list(&rest, ROUTES, list_route, out);
}

int cli_route_remove(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    struct db_join_route route = {0};
    char prefix[EUI64_TEXT_LEN + 1], path[PATH_MAX_LEN];
    int r;

    if ((r = read_route(argc, argv, &route)) != 0 || (r = cli_rest_open(settings, &rest)) < 0)
        return r;
    (void)snprintf(
        path, sizeof(path), ROUTES "/%s-%u", eui64_format(&route.prefix, prefix), route.prefix_len);
    r = cli_rest_call(&rest, "DELETE", path, NULL, NULL);
    if (rest.status == NOT_FOUND)
        return error_set(ERROR_INPUT, "there is no route %s/%u", prefix, route.prefix_len);
    if (r < 0)
        return r;
    write_route(out, &route, NULL);
    return 0;
}
