/* cradle subscription: what an operator sells. */
#include "cli/cli.h"
#include "cli/members.h"
#include <getopt.h>

#define SUBSCRIPTIONS "/v1/subscriptions"

static const struct cli_member members[] = {
    {.option = "organization", .is_first_said = true},
    {.option = "name"},
    {.option = "starts-at", .is_first_said = true},
    {.option = "ends-at"},
    {.option = "count", .is_number = true},
    {.option = "renewal"},
    {.option = "notice-days", .is_number = true},
};
#define N_MEMBERS (sizeof(members) / sizeof(members[0]))

int cli_subscription_add(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    int r = cli_members_read(members, N_MEMBERS, false, argc, argv, body);

    if (r != 0 || optind != argc)
        return r != 0 ? r : CLI_USAGE;
    return cli_item_call(settings, "POST", SUBSCRIPTIONS, body, "id", out);
}

int cli_subscription_change(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    CLEANUP(text_done) struct text path = {0};
    int r = cli_members_read(members, N_MEMBERS, true, argc, argv, body);

    if (r != 0 || optind + 1 != argc || json_object_size(body) == 0)
        return r != 0 ? r : CLI_USAGE;
    r = cli_rest_path(&path, SUBSCRIPTIONS, argv[optind]);
    return r < 0 ? r : cli_item_call(settings, "PATCH", path.data, body, "id", out);
}

int cli_subscription_show(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(text_done) struct text path = {0};
    int r;

    if (argc != 2)
        return CLI_USAGE;
    r = cli_rest_path(&path, SUBSCRIPTIONS, argv[1]);
    return r < 0 ? r : cli_item_call(settings, "GET", path.data, NULL, "id", out);
}

int cli_subscription_list(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)argv;
    return cli_item_list(settings, SUBSCRIPTIONS, argc, out);
}
