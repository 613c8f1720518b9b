/* cradle agreement, group, refusals: what networks have agreed upon about roaming. */
#include "base/error.h"
#include "cli/cli.h"
#include "cli/members.h"
#include <getopt.h>
#include <string.h>

#define AGREEMENTS "/v1/roaming/agreements"
#define GROUPS "/v1/roaming/groups"
#define REFUSALS "/v1/roaming/refusals"
#define DEVICES "/v1/devices"
#define WORD_MAX 64 /* bytes of an element of a list, with room for a mistake */

enum { HOME, VISITED, GROUP, STARTS, ENDS, ALLOWS, BOTH_WAYS, ONE_WAY, N_OPTIONS };
static const struct option agreement_options[] = {
    {"home", required_argument, NULL, HOME},
    {"visited", required_argument, NULL, VISITED},
    {"group", required_argument, NULL, GROUP},
    {"starts-at", required_argument, NULL, STARTS},
    {"ends-at", required_argument, NULL, ENDS},
    {"allows", required_argument, NULL, ALLOWS},
    {"both-ways", no_argument, NULL, BOTH_WAYS},
    {"one-way", no_argument, NULL, ONE_WAY},
    {0},
};
static const char *const agreement_members[N_OPTIONS] = {"home_net_id", "visited_net_id", "group",
    "starts_at", "ends_at", "allows", "both_ways", "both_ways"};

/* "a,b" as an array of texts; "" as an empty one. NULL: no memory, or no text. */
static json_t *list_of(const char *text)
{
    json_t *list = json_array();

    for (const char *at = text; *at != '\0'; at += *at == ',') {
        size_t len = strcspn(at, ",");

        if (len > WORD_MAX || json_array_append_new(list, json_stringn(at, len)) != 0) {
            json_decref(list);
            return NULL;
        }
        at += len;
    }
    return list;
}

static json_t *value_of(int option, const char *text)
{
    switch (option) {
    case ALLOWS:
        return list_of(text);
    case BOTH_WAYS:
    case ONE_WAY:
        return json_boolean(option == BOTH_WAYS);
    case ENDS:
        if (strcmp(text, "never") == 0)
            return json_null();
        return json_string(text);
    default:
        return json_string(text);
    }
}

static int read_agreement(int argc, char **argv, bool change, json_t *body)
{
    int c;

    while ((c = getopt_long(argc, argv, "", agreement_options, NULL)) != -1) {
        if (c < 0 || c >= N_OPTIONS || (change && c <= GROUP))
            return CLI_USAGE;
        if (json_object_set_new(body, agreement_members[c], value_of(c, optarg)) != 0)
            return error_set(ERROR_INPUT, "--%s is no text", agreement_options[c].name);
    }
    return 0;
}

/* An agreement's id is a number: no text that an answer has to have. */
static int call_agreement(const struct cli_settings *settings, const char *method, const char *path,
    const json_t *body, struct text *out)
{
    return cli_item_call(settings, method, path, body, "created_at", out);
}

int cli_agreement_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    int r = read_agreement(argc, argv, false, body);

    if (r != 0 || optind != argc || json_object_size(body) == 0)
        return r != 0 ? r : CLI_USAGE;
    return call_agreement(settings, "POST", AGREEMENTS, body, out);
}

int cli_agreement_set(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    CLEANUP(text_done) struct text path = {0};
    int r = read_agreement(argc, argv, true, body);

    if (r != 0 || optind + 1 != argc || json_object_size(body) == 0)
        return r != 0 ? r : CLI_USAGE;
    r = cli_rest_path(&path, AGREEMENTS, argv[optind]);
    return r < 0 ? r : call_agreement(settings, "PATCH", path.data, body, out);
}

static int remove_item(
    const struct cli_settings *settings, const char *collection, int argc, char **argv)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(text_done) struct text path = {0};
    int r;

    if (argc != 2)
        return CLI_USAGE;
    if ((r = cli_rest_path(&path, collection, argv[1])) < 0 ||
        (r = cli_rest_open(settings, &rest)) < 0)
        return r;
    return cli_rest_call(&rest, "DELETE", path.data, NULL, NULL);
}

int cli_agreement_remove(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)out;
    return remove_item(settings, AGREEMENTS, argc, argv);
}

int cli_agreement_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)argv;
    return cli_item_list(settings, AGREEMENTS, argc, out);
}

/* NAME NETID,NETID,... */
static int call_group(
    const struct cli_settings *settings, bool is_new, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    CLEANUP(text_done) struct text path = {0};
    int r;

    if (argc != 3)
        return CLI_USAGE;
    if (json_object_set_new(body, "net_ids", list_of(argv[2])) != 0 ||
        (is_new && json_object_set_new(body, "name", json_string(argv[1])) != 0))
        return error_set(ERROR_INPUT, "a group is a name and NetIDs with commas between them");
    if (is_new)
        return cli_item_call(settings, "POST", GROUPS, body, "name", out);
    r = cli_rest_path(&path, GROUPS, argv[1]);
    return r < 0 ? r : cli_item_call(settings, "PATCH", path.data, body, "name", out);
}

int cli_group_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return call_group(settings, true, argc, argv, out);
}

int cli_group_set(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return call_group(settings, false, argc, argv, out);
}

int cli_group_remove(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)out;
    return remove_item(settings, GROUPS, argc, argv);
}

int cli_group_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)argv;
    return cli_item_list(settings, GROUPS, argc, out);
}

int cli_refusals(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)argv;
    return cli_item_list(settings, REFUSALS, argc, out);
}

/* The words as they are; anything else is a list. */
int cli_device_roaming(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    CLEANUP(text_done) struct text path = {0};
    bool is_word;
    int r;

    if (argc != 3)
        return CLI_USAGE;
    is_word = strcmp(argv[2], "agreed") == 0 || strcmp(argv[2], "none") == 0;
    if (json_object_set_new(body, "roaming", is_word ? json_string(argv[2]) : list_of(argv[2])) !=
        0)
        return error_set(
            ERROR_INPUT, "roaming is agreed, none, or NetIDs with commas between them");
    r = cli_rest_path(&path, DEVICES, argv[1]);
    return r < 0 ? r : cli_item_call(settings, "PATCH", path.data, body, "dev_eui", out);
}
