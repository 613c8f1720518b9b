/* cradle certificate, block and order: what a maker may build, with which identifiers, and what is
 * made for him. */
#include "base/error.h"
#include "cli/cli.h"
#include "cli/members.h"
#include <getopt.h>
#include <string.h>

#define CERTIFICATES "/v1/certificates"
#define BLOCKS "/v1/eui-blocks"
#define BATCHES "/v1/batches"

static const struct cli_member certificate_members[] = {
    {.option = "organization"},
    {.option = "kind"},
    {.option = "name"},
    {.option = "module"},
    {.option = "prototype-quota", .is_number = true},
};
static const struct cli_member block_members[] = {
    {.option = "organization"},
    {.option = "kind"},
    {.option = "first"},
    {.option = "last"},
    {.option = "size", .is_number = true},
};
static const struct cli_member order_members[] = {
    {.option = "count", .is_number = true},
    {.option = "kind"},
    {.option = "certificate"},
    {.option = "join-eui"},
    {.option = "mac-version"},
    {.option = "profile-id"},
    {.option = "delivery"},
    {.option = "public-key", .is_file = true},
    {.option = "block"},
};
static const struct cli_member reject_members[] = {{.option = "reason"}};
#define N(members) (sizeof(members) / sizeof((members)[0]))

/* The answer has the member `name`. */
static int add(const struct cli_settings *settings, const char *collection,
    const struct cli_member *members, size_t n_members, const char *name, int argc, char **argv,
    struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    int r = cli_members_read(members, n_members, false, argc, argv, body);

    if (r != 0 || optind != argc)
        return r != 0 ? r : CLI_USAGE;
    return cli_item_call(settings, "POST", collection, body, name, out);
}

int cli_certificate_add(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return add(settings, CERTIFICATES, certificate_members, N(certificate_members), "number", argc,
        argv, out);
}

int cli_certificate_list(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)argv;
    return cli_item_list(settings, CERTIFICATES, argc, out);
}

int cli_block_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return add(settings, BLOCKS, block_members, N(block_members), "id", argc, argv, out);
}

int cli_block_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)argv;
    return cli_item_list(settings, BLOCKS, argc, out);
}

int cli_order_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return add(settings, BATCHES, order_members, N(order_members), "id", argc, argv, out);
}

/* A batch that was brought in is none. */
static int write_order(const json_t *item, void *out)
{
    return json_is_object(json_object_get(item, "order")) ? cli_item_write(item, out) : 0;
}

int cli_order_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    r = cli_rest_open(settings, &rest);
    return r < 0 ? r : cli_rest_list(&rest, BATCHES, write_order, out);
}

static int say(const struct cli_settings *settings, const char *id, const char *word,
    const json_t *body, struct text *out)
{
    CLEANUP(text_done) struct text path = {0};
    int r = cli_rest_path(&path, BATCHES, id);

    if (r < 0)
        return r;
    text_addf(&path, "/%s", word);
    return path.failed ? error_set(ERROR_SYSTEM, "out of memory")
                       : cli_item_call(settings, "POST", path.data, body, "id", out);
}

int cli_order_approve(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return argc == 2 ? say(settings, argv[1], "approve", NULL, out) : CLI_USAGE;
}

int cli_order_reject(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    int r = cli_members_read(reject_members, N(reject_members), false, argc, argv, body);

    if (r != 0 || optind + 1 != argc)
        return r != 0 ? r : CLI_USAGE;
    return say(settings, argv[optind], "reject", body, out);
}

int cli_order_withdraw(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return argc == 2 ? say(settings, argv[1], "withdraw", NULL, out) : CLI_USAGE;
}
