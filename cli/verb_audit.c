#include "base/error.h"
#include "cli/audit_check.h"
#include "cli/files.h"
#include "cli/rest.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT_PATH "/v1/audit/export"
#define LINE_ROOM ((int)AUDIT_CHECK_LINE_MAX + 2) /* a longer one is told to be too long */

int cli_audit_export(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_output_done) struct cli_output output = {.path = argc == 2 ? argv[1] : NULL};
    int r;

    (void)out;
    if (output.path == NULL)
        return CLI_USAGE;
    if ((r = cli_rest_open(settings, &rest)) < 0 || (r = cli_output_open(&output)) < 0 ||
        (r = cli_rest_download(&rest, EXPORT_PATH, output.file)) < 0)
        return r;
    return cli_output_end(&output);
}

static int check_file(FILE *file, const char *path, struct audit_check *check)
{
    CLEANUP(cleanup_free) char *line = malloc(LINE_ROOM);
    int r = 0;

    if (line == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a line of %s", path);
    while (r == 0 && fgets(line, LINE_ROOM, file) != NULL)
        r = audit_check_line(check, line, strlen(line));
    if (r == 0 && ferror(file) != 0)
        return error_set_errno("cannot read %s", path);
    return r;
}

/* The first line of a file: what was kept may be a whole export. */
static int read_kept(const char *path, struct audit_check *check)
{
    CLEANUP(cleanup_free) char *line = malloc(LINE_ROOM);
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return error_set_errno("cannot read %s", path);
    if (line != NULL && fgets(line, LINE_ROOM, file) == NULL)
        line[0] = '\0';
    (void)fclose(file);
    if (line == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a line of %s", path);
    return audit_check_expect(check, line, strlen(line));
}

int cli_audit_verify(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {
        {"key", required_argument, NULL, 'k'},
        {"kept", required_argument, NULL, 'e'},
        {0},
    };
    CLEANUP(audit_key_freep) struct audit_key *key = NULL;
    CLEANUP(audit_check_freep) struct audit_check *check = NULL;
    const char *key_path = NULL, *kept_path = NULL;
    FILE *file;
    int c, r;

    (void)settings;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'k')
            key_path = optarg;
        else if (c == 'e')
            kept_path = optarg;
        else
            return CLI_USAGE;
    }
    if (key_path == NULL || optind + 1 != argc)
        return CLI_USAGE;
    if ((r = cli_audit_key_read(key_path, &key)) < 0 || (r = audit_check_new(key, &check)) < 0 ||
        (kept_path != NULL && (r = read_kept(kept_path, check)) < 0))
        return r;
    if ((file = fopen(argv[optind], "re")) == NULL)
        return error_set_errno("cannot read %s", argv[optind]);
    r = check_file(file, argv[optind], check);
    (void)fclose(file);
    return r < 0 ? r : audit_check_end(check, out);
}
