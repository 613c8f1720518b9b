/* cradle device move: many devices by one call, and what became of each. */
#include "base/error.h"
#include "base/eui.h"
#include "cli/cli.h"
#include "cli/rest.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOVES "/v1/devices/moves"
#define JOBS "/v1/jobs"
#define LOOK_NS 500000000 /* between two looks at a job */
#define NUMBER_MAX 1000000

static void close_file(FILE **file)
{
    if (*file != NULL)
        (void)fclose(*file);
}

/* An identifier a line, in any common spelling; empty lines and those that begin with '#' are
 * skipped.
 */
static int read_devices(const char *path, json_t *ret)
{
    CLEANUP(close_file) FILE *file = fopen(path, "re");
    CLEANUP(cleanup_free) char *line = NULL;
    char text[DEVICE_ID_TEXT_LEN + 1];
    struct eui64 dev_eui;
    size_t size = 0, number = 0;
    ssize_t len;

    if (file == NULL)
        return error_set(ERROR_INPUT, "%s: %s", path, strerror(errno));
    while ((len = getline(&line, &size, file)) >= 0) {
        number++;
        while (len > 0 && strchr("\r\n \t", line[len - 1]) != NULL)
            len--;
        if (len == 0 || line[0] == '#')
            continue;
        if (!device_id_parse(line, (size_t)len, &dev_eui))
            return error_set(
                ERROR_INPUT, "%s: line %zu is no DevEUI and no Sigfox id", path, number);
        if (json_array_append_new(ret, json_string(device_id_format(&dev_eui, text))) != 0)
            return error_set(ERROR_SYSTEM, "out of memory");
    }
    return ferror(file) != 0 ? error_set(ERROR_INPUT, "%s cannot be read", path) : 0;
}

static int read_number(const char *option, const char *text, json_t **ret)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > NUMBER_MAX)
        return error_set(ERROR_INPUT, "--%s is a number, not \"%.40s\"", option, text);
    *ret = json_integer(value);
    return 0;
}

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_FILE };
static const struct {
    const char *member;
    enum option_kind kind;
} options[] = {
    {"batch", OPTION_TEXT},
    {"devices", OPTION_FILE},
    {"home_net_id", OPTION_TEXT},
    {"as_id", OPTION_TEXT},
    {"to", OPTION_TEXT},
    {"days", OPTION_NUMBER},
    {"confirm", OPTION_NUMBER},
};

static int put_option(json_t *body, int which, const char *name, const char *value)
{
    json_t *put = NULL;
    int r = 0;

    switch (options[which].kind) {
    case OPTION_TEXT:
        put = json_string(value);
        break;
    case OPTION_NUMBER:
        r = read_number(name, value, &put);
        break;
    case OPTION_FILE:
        put = json_array();
        r = read_devices(value, put);
        break;
    }
    if (r != 0) {
        json_decref(put);
        return r;
    }
    return json_object_set_new(body, options[which].member, put) == 0
               ? 0
               : error_set(ERROR_INPUT, "--%s is no text", name);
}

static int read_arguments(int argc, char **argv, json_t *body)
{
    static const struct option table[] = {
        {"batch", required_argument, NULL, 0},
        {"file", required_argument, NULL, 1},
        {"ns", required_argument, NULL, 2},
        {"as", required_argument, NULL, 3},
        {"to", required_argument, NULL, 4},
        {"days", required_argument, NULL, 5},
        {"confirm", required_argument, NULL, 6},
        {0},
    };
    int c, at, r;

    while ((c = getopt_long(argc, argv, "", table, &at)) != -1) {
        if (c == '?')
            return CLI_USAGE;
        if ((r = put_option(body, c, table[c].name, optarg)) != 0)
            return r;
    }
    if (optind != argc - 1)
        return CLI_USAGE;
    return json_object_set_new(body, "move", json_string(argv[optind])) == 0
               ? 0
               : error_set(ERROR_INPUT, "the move is no text");
}

/* Until it has ended. What it came to stands in its report, if it did. */
static int wait_for(struct cli_rest *rest, const char *path)
{
    for (;;) {
        CLEANUP(cli_json_done) json_t *job = NULL;
        int r = cli_rest_call(rest, "GET", path, NULL, &job);
        const char *state;

        if (r < 0 || (r = cli_rest_need(rest, job, "state", &state)) < 0)
            return r;
        if (strcmp(state, "done") == 0)
            return 0;
        if (strcmp(state, "waiting") != 0 && strcmp(state, "running") != 0)
            return error_set(ERROR_INPUT, "the job was %s: %.200s; what was done stands: %s/report",
                state, cli_json_text(job, "fault"), path);
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

static int download(struct cli_rest *rest, const char *path, struct text *out)
{
    CLEANUP(cleanup_free) char *bytes = NULL;
    size_t len = 0;
    FILE *into = open_memstream(&bytes, &len);
    int r = into != NULL ? cli_rest_download(rest, path, into)
                         : error_set(ERROR_SYSTEM, "out of memory for a report");

    if (into != NULL && fclose(into) != 0 && r == 0)
        r = error_set(ERROR_SYSTEM, "out of memory for a report");
    if (r == 0)
        text_add_len(out, bytes, len);
    return r;
}

int cli_device_move(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *body = json_object();
    CLEANUP(cli_json_done) json_t *job = NULL;
    CLEANUP(text_done) struct text path = {0};
    const char *id;
    int r = read_arguments(argc, argv, body);

    if (r != 0 || (r = cli_rest_open(settings, &rest)) < 0 ||
        (r = cli_rest_call(&rest, "POST", MOVES, body, &job)) < 0 ||
        (r = cli_rest_need(&rest, job, "id", &id)) < 0 ||
        (r = cli_rest_path(&path, JOBS, id)) < 0 || (r = wait_for(&rest, path.data)) < 0)
        return r;
    text_add(&path, "/report");
    if (path.failed)
        return error_set(ERROR_SYSTEM, "out of memory");
    return download(&rest, path.data, out);
}
