#include "base/error.h"
#include "cli/organization.h"
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define ORGANIZATIONS "/v1/organizations"
#define CONFLICT 409

struct search {
    const char *name;
    struct text *ret_id;
};

#define FOUND 1 /* ends the list */

static int compare(const json_t *item, void *context)
{
    const struct search *search = context;

    if (strcmp(cli_json_text(item, "name"), search->name) != 0)
        return 0;
    text_add(search->ret_id, cli_json_text(item, "id"));
    return FOUND;
}

int cli_organization_id(struct cli_rest *rest, const char *name, bool make, struct text *ret_id)
{
    CLEANUP(cli_json_done) json_t *body = NULL;
    CLEANUP(cli_json_done) json_t *made = NULL;
    struct search search = {.name = name, .ret_id = ret_id};
    const char *id;
    int r;

    if (make) {
        body = json_pack("{s:s}", "name", name);
        r = cli_rest_call(rest, "POST", ORGANIZATIONS, body, &made);
        if (r == 0 && (r = cli_rest_need(rest, made, "id", &id)) == 0)
            text_add(ret_id, id);
        if (rest->status != CONFLICT)
            return r;
    }
    r = cli_rest_list(rest, ORGANIZATIONS, compare, &search);
    if (r == 0)
        return error_set(ERROR_INPUT, "there is no organization %.100s", name);
    return r < 0 ? r : 0;
}

static void write_organization(struct text *out, const json_t *item)
{
    text_add(out, "{\"id\":");
    text_add_json(out, cli_json_text(item, "id"));
    text_add(out, ",\"name\":");
    text_add_json(out, cli_json_text(item, "name"));
    text_addf(out,
        ",\"allow_clear_keys\":\"%s\",\"subscription_required\":\"%s\""
        ",\"claim_code_length\":%" JSON_INTEGER_FORMAT,
        cli_json_true(item, "allow_clear_keys") ? "yes" : "no",
        cli_json_true(item, "subscription_required") ? "yes" : "no",
        json_integer_value(json_object_get(item, "claim_code_length")));
    text_addf(out, ",\"orders_need_approval\":\"%s\",\"allow_legacy_delivery\":\"%s\",\"created\":",
        cli_json_true(item, "orders_need_approval") ? "yes" : "no",
        cli_json_true(item, "allow_legacy_delivery") ? "yes" : "no");
    text_add_json(out, cli_json_text(item, "created_at"));
    text_add(out, "}\n");
}

/* -1 or 0: it is not said. */
struct arguments {
    const char *name;
    int allow_clear_keys, subscription_required, orders_need_approval, allow_legacy_delivery;
    long length; /* of claim codes */
};

static int read_choice(const char *option, int *ret)
{
    if (strcmp(optarg, "yes") != 0 && strcmp(optarg, "no") != 0)
        return error_set(ERROR_INPUT, "--%s is yes or no, not \"%.40s\"", option, optarg);
    *ret = optarg[0] == 'y';
    return 0;
}

static int read_length(const char *text, long *ret)
{
    if (strcmp(text, "16") != 0 && strcmp(text, "26") != 0)
        return error_set(ERROR_INPUT, "--claim-code-length is 16 or 26, not \"%.40s\"", text);
    *ret = strtol(text, NULL, 10);
    return 0;
}

static int read_arguments(int argc, char **argv, struct arguments *ret)
{
    static const struct option table[] = {
        {"name", required_argument, NULL, 'n'},
        {"allow-clear-keys", required_argument, NULL, 'c'},
        {"subscription-required", required_argument, NULL, 's'},
        {"claim-code-length", required_argument, NULL, 'l'},
        {"orders-need-approval", required_argument, NULL, 'a'},
        {"allow-legacy-delivery", required_argument, NULL, 'd'},
        {0},
    };
    int c, r = 0;

    *ret = (struct arguments){.allow_clear_keys = -1,
        .subscription_required = -1,
        .orders_need_approval = -1,
        .allow_legacy_delivery = -1};
    while (r == 0 && (c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'n')
            ret->name = optarg;
        else if (c == 'c')
            r = read_choice("allow-clear-keys", &ret->allow_clear_keys);
        else if (c == 's')
            r = read_choice("subscription-required", &ret->subscription_required);
        else if (c == 'l')
            r = read_length(optarg, &ret->length);
        else if (c == 'a')
            r = read_choice("orders-need-approval", &ret->orders_need_approval);
        else if (c == 'd')
            r = read_choice("allow-legacy-delivery", &ret->allow_legacy_delivery);
        else
            return CLI_USAGE;
    }
    if (r < 0)
        return r;
    return optind == argc && ret->name != NULL ? 0 : CLI_USAGE;
}

/* What is said beside the name, to a body. */
static int put_settings(json_t *body, const struct arguments *arguments)
{
    const struct {
        const char *member;
        int choice;
    } choices[] = {
        {"allow_clear_keys", arguments->allow_clear_keys},
        {"subscription_required", arguments->subscription_required},
        {"orders_need_approval", arguments->orders_need_approval},
        {"allow_legacy_delivery", arguments->allow_legacy_delivery},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(choices) / sizeof(choices[0]); i++)
        if (choices[i].choice >= 0)
            r = json_object_set_new(body, choices[i].member, json_boolean(choices[i].choice));
    if (r == 0 && arguments->length != 0)
        r = json_object_set_new(body, "claim_code_length", json_integer(arguments->length));
    return r == 0 ? 0 : error_set(ERROR_SYSTEM, "out of memory");
}

int cli_organization_add(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *body = NULL;
    CLEANUP(cli_json_done) json_t *made = NULL;
    struct arguments arguments;
    const char *id;
    int r = read_arguments(argc, argv, &arguments);

    if (r != 0 || (r = cli_rest_open(settings, &rest)) < 0)
        return r;
    body = json_pack("{s:s}", "name", arguments.name);
    if ((r = put_settings(body, &arguments)) < 0 ||
        (r = cli_rest_call(&rest, "POST", ORGANIZATIONS, body, &made)) < 0 ||
        (r = cli_rest_need(&rest, made, "id", &id)) < 0)
        return r;
    write_organization(out, made);
    return 0;
}

int cli_organization_set(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *body = NULL;
    CLEANUP(cli_json_done) json_t *changed = NULL;
    CLEANUP(text_done) struct text id = {0}, path = {0};
    struct arguments arguments;
    const char *same;
    int r = read_arguments(argc, argv, &arguments);

    body = json_object();
    if (r != 0 || (r = put_settings(body, &arguments)) < 0)
        return r;
    if (json_object_size(body) == 0)
        return CLI_USAGE;
    if ((r = cli_rest_open(settings, &rest)) < 0 ||
        (r = cli_organization_id(&rest, arguments.name, false, &id)) < 0 ||
        (r = cli_rest_path(&path, ORGANIZATIONS, id.data)) < 0)
        return r;
    if ((r = cli_rest_call(&rest, "PATCH", path.data, body, &changed)) < 0 ||
        (r = cli_rest_need(&rest, changed, "id", &same)) < 0)
        return r;
    write_organization(out, changed);
    return 0;
}

static int list_one(const json_t *item, void *out)
{
    write_organization(out, item);
    return 0;
}

int cli_organization_list(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    r = cli_rest_open(settings, &rest);
    return r < 0 ? r : cli_rest_list(&rest, ORGANIZATIONS, list_one, out);
}
