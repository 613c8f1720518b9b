#include "base/error.h"
#include "cli/cli.h"
#include "cli/cli_text.h"
#include "db/peer.h"

static int read_route(int argc, char **argv, struct db_join_route *ret)
{
    if (argc != 2)
        return CLI_USAGE;
    if (!cli_route_parse(argv[1], &ret->prefix, &ret->prefix_len))
        return error_set(ERROR_INPUT,
            "a route is PREFIX/BITS, like 20635f0000000000/24, with no bit set behind the first "
            "BITS, not \"%.40s\"",
            argv[1]);
    return 0;
}

int cli_route_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct db_join_route route = {0};
    char prefix[EUI64_TEXT_LEN + 1];
    int r;

    if ((r = read_route(argc, argv, &route)) != 0 || (r = cli_open_db(settings, &db)) < 0 ||
        (r = db_join_route_add(db, &route)) < 0)
        return r;
    (void)eui64_format(&route.prefix, prefix);
    if (r > 0)
        return error_set(ERROR_INPUT, "the route %s/%u is there already", prefix, route.prefix_len);
    text_addf(out, "{\"prefix\":\"%s\",\"bits\":%u}\n", prefix, route.prefix_len);
    return 0;
}

int cli_route_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(db_route_list_done) struct db_route_list list = {0};
    char prefix[EUI64_TEXT_LEN + 1];
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    if ((r = cli_open_db(settings, &db)) < 0 || (r = db_route_list_load(db, &list)) < 0)
        return r;
    for (size_t i = 0; i < list.n; i++)
        text_addf(out, "{\"prefix\":\"%s\",\"bits\":%u,\"created\":\"%s\"}\n",
            eui64_format(&list.entries[i].route.prefix, prefix), list.entries[i].route.prefix_len,
            list.entries[i].created);
    return 0;
}

int cli_route_remove(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct db_join_route route = {0};
    char prefix[EUI64_TEXT_LEN + 1];
    int r;

    if ((r = read_route(argc, argv, &route)) != 0 || (r = cli_open_db(settings, &db)) < 0 ||
        (r = db_join_route_remove(db, &route)) < 0)
        return r;
    (void)eui64_format(&route.prefix, prefix);
    if (r > 0)
        return error_set(ERROR_INPUT, "there is no route %s/%u", prefix, route.prefix_len);
    text_addf(out, "{\"prefix\":\"%s\",\"bits\":%u}\n", prefix, route.prefix_len);
    return 0;
}
