/* cradle subscription: what an operator sells. */
#include "base/error.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/rest.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define SUBSCRIPTIONS "/v1/subscriptions"

/* Options, and the members of the body that they are; the service judges what they say. */
static const struct option options[] = {
    {"organization", required_argument, NULL, 0},
    {"name", required_argument, NULL, 0},
    {"starts-at", required_argument, NULL, 0},
    {"ends-at", required_argument, NULL, 0},
    {"count", required_argument, NULL, 0},
    {"renewal", required_argument, NULL, 0},
    {"notice-days", required_argument, NULL, 0},
    {0},
};
static const struct {
    const char *member;
    bool is_number, is_first_said; /* the latter cannot be changed later */
} members[] = {
    {"organization", false, true},
    {"name", false, false},
    {"starts_at", false, true},
    {"ends_at", false, false},
    {"count", true, false},
    {"renewal", false, false},
    {"notice_days", true, false},
};
_Static_assert(sizeof(members) / sizeof(members[0]) + 1 == sizeof(options) / sizeof(options[0]),
    "an option is no member");

static json_t *number_of(const char *text)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' ? json_integer(value) : NULL;
}

/* Behind it optind is at the operands. */
static int read_options(int argc, char **argv, bool change, json_t *body)
{
    int c, at;

    while ((c = getopt_long(argc, argv, "", options, &at)) != -1) {
        json_t *value;

        if (c != 0 || (change && members[at].is_first_said))
            return CLI_USAGE;
        value = members[at].is_number ? number_of(optarg) : json_string(optarg);
        if (value == NULL)
            return error_set(ERROR_INPUT, "--%s is no number: \"%.40s\"", options[at].name, optarg);
        if (json_object_set_new(body, members[at].member, value) != 0)
            return error_set(ERROR_SYSTEM, "out of memory");
    }
    return 0;
}

static int write_item(const json_t *item, void *out)
{
    char *line = json_dumps(item, JSON_COMPACT);

    if (line == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    text_addf(out, "%s\n", line);
    secret_free(line); /* cli_wipe_libraries has jansson allocate so */
    return 0;
}

static int call(const struct cli_settings *settings, const char *method, const char *path,
    const json_t *body, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *answer = NULL;
    const char *id;
    int r;

    if ((r = cli_rest_open(settings, &rest)) < 0 ||
        (r = cli_rest_call(&rest, method, path, body, &answer)) < 0 ||
        (r = cli_rest_need(&rest, answer, "id", &id)) < 0)
        return r;
    return write_item(answer, out);
}

int cli_subscription_add(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    int r = read_options(argc, argv, false, body);

    if (r != 0 || optind != argc)
        return r != 0 ? r : CLI_USAGE;
    return call(settings, "POST", SUBSCRIPTIONS, body, out);
}

int cli_subscription_change(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *body = json_object();
    CLEANUP(text_done) struct text path = {0};
    int r = read_options(argc, argv, true, body);

    if (r != 0 || optind + 1 != argc || json_object_size(body) == 0)
        return r != 0 ? r : CLI_USAGE;
    r = cli_rest_path(&path, SUBSCRIPTIONS, argv[optind]);
    return r < 0 ? r : call(settings, "PATCH", path.data, body, out);
}

int cli_subscription_show(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(text_done) struct text path = {0};
    int r;

    if (argc != 2)
        return CLI_USAGE;
    r = cli_rest_path(&path, SUBSCRIPTIONS, argv[1]);
    return r < 0 ? r : call(settings, "GET", path.data, NULL, out);
}

int cli_subscription_list(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    r = cli_rest_open(settings, &rest);
    return r < 0 ? r : cli_rest_list(&rest, SUBSCRIPTIONS, write_item, out);
}
