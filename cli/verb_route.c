#include "activation/operator_check.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/members.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define ROUTES "/v1/join-routes"
#define PATH_MAX_LEN 96
#define NOT_FOUND 404

static const struct cli_member members[] = {
    {.option = "kind"},
    {.option = "partner", .may_be_none = true},
    {.option = "organization", .may_be_none = true},
};
#define N_MEMBERS (sizeof(members) / sizeof(members[0]))

static int read_route(const char *text, struct db_join_route *ret)
{
    return act_route_parse(text, '/', ret)
               ? 0
               : error_set(ERROR_INPUT,
                     "a route is PREFIX/BITS, like 20635f0000000000/24, with no bit set behind the "
                     "first BITS, not \"%.40s\"",
                     text);
}

static void write_route(struct text *out, const struct db_join_route *route)
{
    char prefix[EUI64_TEXT_LEN + 1];

    text_addf(out, "{\"prefix\":\"%s\",\"bits\":%u}\n", eui64_format(&route->prefix, prefix),
        route->prefix_len);
}

static const char *path_of(const struct db_join_route *route, char ret[static PATH_MAX_LEN])
{
    char prefix[EUI64_TEXT_LEN + 1];

    (void)snprintf(ret, PATH_MAX_LEN, ROUTES "/%s-%u", eui64_format(&route->prefix, prefix),
        route->prefix_len);
    return ret;
}

int cli_route_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    struct db_join_route route = {0};
    char prefix[EUI64_TEXT_LEN + 1];
    int r = cli_members_read(members, N_MEMBERS, false, argc, argv, body);

    if (r != 0 || optind + 1 != argc)
        return r != 0 ? r : CLI_USAGE;
    if ((r = read_route(argv[optind], &route)) < 0)
        return r;
    (void)json_object_set_new(body, "prefix", json_string(eui64_format(&route.prefix, prefix)));
    (void)json_object_set_new(body, "bits", json_integer(route.prefix_len));
    return cli_item_call(settings, "POST", ROUTES, body, "prefix", out);
}

int cli_route_set(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    struct db_join_route route = {0};
    char path[PATH_MAX_LEN];
    int r = cli_members_read(members, N_MEMBERS, true, argc, argv, body);

    if (r != 0 || optind + 1 != argc || json_object_size(body) == 0)
        return r != 0 ? r : CLI_USAGE;
    if ((r = read_route(argv[optind], &route)) < 0)
        return r;
    return cli_item_call(settings, "PATCH", path_of(&route, path), body, "prefix", out);
}

int cli_route_explain(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct cli_member question[] = {{.option = "net-id"}};
    CLEANUP(cli_json_done) json_t *asked = json_object();
    char path[PATH_MAX_LEN], eui[EUI64_TEXT_LEN + 1], text[NET_ID_TEXT_LEN + 1];
    struct eui64 join_eui;
    struct net_id net_id;
    const char *said;
    int r = cli_members_read(question, 1, false, argc, argv, asked);

    if (r != 0 || optind + 1 != argc)
        return r != 0 ? r : CLI_USAGE;
    if (!eui64_parse(argv[optind], strlen(argv[optind]), &join_eui))
        return error_set(
            ERROR_INPUT, "a JoinEUI has 16 hexadecimal digits, not \"%.40s\"", argv[optind]);
    said = cli_json_text(asked, "net_id");
    if (said[0] != '\0' && !net_id_parse(said, strlen(said), &net_id))
        return error_set(ERROR_INPUT, "a NetID has 6 hexadecimal digits, not \"%.40s\"", said);
    (void)snprintf(path, sizeof(path), ROUTES "/explain?join_eui=%s%s%s",
        eui64_format(&join_eui, eui), said[0] != '\0' ? "&net_id=" : "",
        said[0] != '\0' ? net_id_format(&net_id, text) : "");
    return cli_item_call(settings, "GET", path, NULL, "goes_to", out);
}

int cli_route_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)argv;
    return cli_item_list(settings, ROUTES, argc, out);
}

int cli_route_remove(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    struct db_join_route route = {0};
    char prefix[EUI64_TEXT_LEN + 1], path[PATH_MAX_LEN];
    int r;

    if (argc != 2)
        return CLI_USAGE;
    if ((r = read_route(argv[1], &route)) < 0 || (r = cli_rest_open(settings, &rest)) < 0)
        return r;
    r = cli_rest_call(&rest, "DELETE", path_of(&route, path), NULL, NULL);
    if (rest.status == NOT_FOUND)
        return error_set(ERROR_INPUT, "there is no route %s/%u",
            eui64_format(&route.prefix, prefix), route.prefix_len);
    if (r < 0)
        return r;
    write_route(out, &route);
    return 0;
}
