/* cradle partner: the join servers that requests are carried to whose JoinEUI is not ours. */
#include "base/error.h"
#include "cli/cli.h"
#include "cli/members.h"
#include <getopt.h>

#define PARTNERS "/v1/partners"

static const struct cli_member members[] = {
    {.option = "name", .is_first_said = true},
    {.option = "url"},
    {.option = "protocol-version"},
    {.option = "credential", .may_be_none = true},
    {.option = "async", .is_truth = true},
    {.option = "timeout-ms", .is_number = true},
    {.option = "max-in-flight", .is_number = true},
    {.option = "net-ids", .is_list = true},
    {.option = "san", .may_be_none = true},
    {.option = "ca", .is_file = true, .may_be_none = true},
    {.option = "crl", .is_file = true, .may_be_none = true},
};
#define N_MEMBERS (sizeof(members) / sizeof(members[0]))

int cli_partner_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    int r = cli_members_read(members, N_MEMBERS, false, argc, argv, body);

    if (r != 0 || optind != argc || json_object_get(body, "name") == NULL ||
        json_object_get(body, "url") == NULL)
        return r != 0 ? r : CLI_USAGE;
    return cli_item_call(settings, "POST", PARTNERS, body, "name", out);
}

int cli_partner_set(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    CLEANUP(text_done) struct text path = {0};
    int r = cli_members_read(members, N_MEMBERS, true, argc, argv, body);

    if (r != 0 || optind + 1 != argc || json_object_size(body) == 0)
        return r != 0 ? r : CLI_USAGE;
    r = cli_rest_path(&path, PARTNERS, argv[optind]);
    return r < 0 ? r : cli_item_call(settings, "PATCH", path.data, body, "name", out);
}

int cli_partner_show(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(text_done) struct text path = {0};
    int r;

    if (argc != 2)
        return CLI_USAGE;
    r = cli_rest_path(&path, PARTNERS, argv[1]);
    return r < 0 ? r : cli_item_call(settings, "GET", path.data, NULL, "name", out);
}

int cli_partner_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)argv;
    return cli_item_list(settings, PARTNERS, argc, out);
}

int cli_partner_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(text_done) struct text path = {0};
    int r;

    if (argc != 2)
        return CLI_USAGE;
    if ((r = cli_rest_path(&path, PARTNERS, argv[1])) < 0 ||
        (r = cli_rest_open(settings, &rest)) < 0 ||
        (r = cli_rest_call(&rest, "DELETE", path.data, NULL, NULL)) < 0)
        return r;
    text_add(out, "{\"name\":");
    text_add_json(out, argv[1]);
    text_add(out, "}\n");
    return 0;
}
