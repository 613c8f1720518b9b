#include "cli/members.h"

#include "base/error.h"
#include "base/secret.h"
#include "cli/files.h"
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX 16384 /* bytes of what is a member: more than any the service takes */
#define MEMBER_MAX 40

static int read_number(const struct cli_member *member, const char *text, json_t **ret)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        return error_set(ERROR_INPUT, "--%s is no number: \"%.40s\"", member->option, text);
    *ret = json_integer(value);
    return 0;
}

/* A private key must not get so far. */
static int read_text_of(const char *path, json_t **ret)
{
    CLEANUP(cli_file_done) FILE *file = fopen(path, "re");
    char text[FILE_MAX + 1];
    size_t len;
    int r = 0;

    if (file == NULL)
        return error_set_errno("cannot read %s", path);
    len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    if (ferror(file) != 0)
        r = error_set_errno("cannot read %s", path);
    else if (len == FILE_MAX || strlen(text) != len)
        r = error_set(ERROR_INPUT, "%s is no text, or too long", path);
    else if (strstr(text, "PRIVATE KEY") != NULL)
        r = error_set(ERROR_INPUT, "%s is a private key, which stays where it is", path);
    else
        *ret = json_string(text);
    secret_wipe(text, sizeof(text));
    return r;
}

static int read_truth(const struct cli_member *member, const char *text, json_t **ret)
{
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
        return error_set(ERROR_INPUT, "--%s is yes or no, not \"%.40s\"", member->option, text);
    *ret = json_boolean(strcmp(text, "yes") == 0);
    return 0;
}

/* Behind what the option said before. */
static json_t *add_to_list(json_t *list, const char *text)
{
    json_t *longer = list != NULL ? json_copy(list) : json_array();

    if (strcmp(text, "none") != 0 && json_array_append_new(longer, json_string(text)) != 0) {
        json_decref(longer);
        return NULL;
    }
    return longer;
}

static int put_member(json_t *body, const struct cli_member *member, const char *text)
{
    char name[MEMBER_MAX + 1] = "";
    json_t *value = NULL;
    int r = 0;

    for (size_t i = 0; i < MEMBER_MAX && member->option[i] != '\0'; i++)
        name[i] = member->option[i] == '-' ? '_' : member->option[i];
    if (member->may_be_none && strcmp(text, "none") == 0)
        value = json_null();
    else if (member->is_list)
        value = add_to_list(json_object_get(body, name), text);
    else if (member->is_truth)
        r = read_truth(member, text, &value);
    else if (member->is_number)
        r = read_number(member, text, &value);
    else if (member->is_file)
        r = read_text_of(text, &value);
    else
        value = json_string(text);
    if (r < 0)
        return r;
    return json_object_set_new(body, name, value) == 0
               ? 0
               : error_set(ERROR_INPUT, "--%s is no text, or there is no memory", member->option);
}

int cli_members_read(const struct cli_member *members, size_t n_members, bool change, int argc,
    char **argv, json_t *body)
{
    struct option options[CLI_MEMBERS_MAX + 1] = {{0}};
    int c, at, r = 0;

    assert(n_members <= CLI_MEMBERS_MAX);
    for (size_t i = 0; i < n_members; i++)
        options[i] = (struct option){members[i].option, required_argument, NULL, 0};
    while (r == 0 && (c = getopt_long(argc, argv, "", options, &at)) != -1) {
        if (c != 0 || (change && members[at].is_first_said))
            return CLI_USAGE;
        r = put_member(body, &members[at], optarg);
    }
    return r;
}

int cli_item_write(const json_t *item, void *out)
{
    char *line = json_dumps(item, JSON_COMPACT);

    if (line == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    text_addf(out, "%s\n", line);
    secret_free(line); /* cli_wipe_libraries has jansson allocate so */
    return 0;
}

int cli_item_call(const struct cli_settings *settings, const char *method, const char *path,
    const json_t *body, const char *name, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *answer = NULL;
    const char *value;
    int r;

    if ((r = cli_rest_open(settings, &rest)) < 0 ||
        (r = cli_rest_call(&rest, method, path, body, &answer)) < 0 ||
        (r = cli_rest_need(&rest, answer, name, &value)) < 0)
        return r;
    return cli_item_write(answer, out);
}

int cli_item_list(
    const struct cli_settings *settings, const char *collection, int argc, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    int r;

    if (argc != 1)
        return CLI_USAGE;
    r = cli_rest_open(settings, &rest);
    return r < 0 ? r : cli_rest_list(&rest, collection, cli_item_write, out);
}
