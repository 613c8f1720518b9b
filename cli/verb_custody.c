/* cradle device custody, cradle custody verify: signed statements of where root keys have been. */
#include "base/custody_form.h"
#include "base/error.h"
#include "cli/files.h"
#include "cli/rest.h"
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define DEVICES "/v1/devices"
#define STATEMENT_MAX ((size_t)2 * CUSTODY_DOCUMENT_MAX)
#define TIME_TEXT_MAX 32

/* What is read back from a temporary file: a download has any size. */
static int take(FILE *file, struct text *out)
{
    char bytes[STATEMENT_MAX];
    size_t n;

    rewind(file);
    n = fread(bytes, 1, sizeof(bytes), file);
    if (ferror(file) != 0)
        return error_set_errno("cannot read back a statement");
    text_add_len(out, bytes, n);
    text_add(out, "\n");
    return 0;
}

static int write_out(const char *path, const struct text *statement)
{
    CLEANUP(cli_output_done) struct cli_output output = {.path = path};
    int r = cli_output_open(&output);

    if (r < 0)
        return r;
    (void)fwrite(statement->data, 1, statement->len, output.file);
    return cli_output_end(&output);
}

int cli_device_custody(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {{"out", required_argument, NULL, 'o'}, {0}};
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(text_done) struct text path = {0}, statement = {0};
    CLEANUP(cli_file_done) FILE *file = NULL;
    const char *to = NULL;
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c != 'o')
            return CLI_USAGE;
        to = optarg;
    }
    if (optind + 1 != argc)
        return CLI_USAGE;
    if ((r = cli_rest_path(&path, DEVICES, argv[optind])) < 0 ||
        (r = cli_rest_open(settings, &rest)) < 0)
        return r;
    text_add(&path, "/custody");
    if (path.failed)
        return error_set(ERROR_SYSTEM, "out of memory");
    if ((file = tmpfile()) == NULL)
        return error_set_errno("cannot make a temporary file in " P_tmpdir);
    if ((r = cli_rest_download(&rest, path.data, file)) < 0 || (r = take(file, &statement)) < 0)
        return r;
    if (statement.failed)
        return error_set(ERROR_SYSTEM, "out of memory");
    if (to != NULL)
        return write_out(to, &statement);
    text_add_len(out, statement.data, statement.len);
    return 0;
}

static int read_statement(const char *path, struct text *out)
{
    CLEANUP(cli_file_done) FILE *file = fopen(path, "re");
    char bytes[STATEMENT_MAX + 1];
    size_t n;

    if (file == NULL)
        return error_set_errno("cannot read %s", path);
    n = fread(bytes, 1, sizeof(bytes), file);
    if (ferror(file) != 0)
        return error_set_errno("cannot read %s", path);
    while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
        n--;
    text_add_len(out, bytes, n);
    return out->failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

int cli_custody_verify(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {{"key", required_argument, NULL, 'k'}, {0}};
    CLEANUP(audit_key_freep) struct audit_key *key = NULL;
    CLEANUP(text_done) struct text statement = {0}, document = {0};
    char when[TIME_TEXT_MAX] = "?";
    const char *key_path = NULL;
    uint64_t time = 0;
    struct tm parts;
    time_t seconds;
    int c, r;

    (void)settings;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c != 'k')
            return CLI_USAGE;
        key_path = optarg;
    }
    if (key_path == NULL || optind + 1 != argc)
        return CLI_USAGE;
    if ((r = cli_audit_key_read(key_path, &key)) < 0 ||
        (r = read_statement(argv[optind], &statement)) < 0 ||
        (r = custody_open(CUSTODY_OF_DEVICE, statement.data != NULL ? statement.data : "",
             statement.len, key, &time, &document)) < 0)
        return r;
    seconds = (time_t)time;
    if (gmtime_r(&seconds, &parts) != NULL)
        (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
    text_addf(out, "signed at %s\n", when);
    text_add_len(out, document.data, document.len);
    text_add(out, "\n");
    return 0;
}
