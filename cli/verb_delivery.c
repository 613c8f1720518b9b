/* cradle delivery open: what a maker does with delivery.jwe at a bench. Asks nobody. */
#include "base/error.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/delivery_file.h"
#include "cli/files.h"
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PEM_MAX 16384
#define LINE_MAX_LEN 512  /* bytes of a device's line */
#define LINE_DIGITS_MAX 7 /* more than any delivery has lines */

/* The caller's, by secret_free. */
static int read_pem(const char *path, char **ret)
{
    CLEANUP(cli_file_done) FILE *file = fopen(path, "re");
    char *pem = secret_realloc(NULL, PEM_MAX);
    size_t n;

    if (pem == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a key");
    if (file == NULL) {
        secret_free(pem);
        return error_set_errno("cannot read %s", path);
    }
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy stays behind */
    n = fread(pem, 1, PEM_MAX - 1, file);
    if (ferror(file) != 0) {
        secret_free(pem);
        return error_set_errno("cannot read %s", path);
    }
    pem[n] = '\0';
    *ret = pem;
    return 0;
}

static void add_key(
    struct text *line, const char *member, const struct secret_key *key, bool is_there)
{
    text_addf(line, is_there ? ",\"%s\":\"" : ",\"%s\":null", member);
    if (is_there) {
        text_add_hex(line, key->bytes, sizeof(key->bytes));
        text_add(line, "\"");
    }
}

/* To standard output as they come: a million of them are not held back until the last. */
static int print(void *context, const struct delivery_opened *device)
{
    CLEANUP(text_done) struct text line = {0};
    const struct delivery_shape *shape = device->shape;
    char id[DEVICE_ID_TEXT_LEN + 1];
    size_t n;

    text_reserve(&line, LINE_MAX_LEN); /* what a secret is written into is not moved */
    text_addf(&line, "{\"line\":%" PRIu32 ",\"dev_eui\":\"%s\"", device->line,
        device_id_format(&device->dev_eui, id));
    if (shape->is_sigfox) {
        add_key(&line, "nak", &device->app_key, true);
    } else {
        text_addf(&line, ",\"join_eui\":\"%s\",\"mac_version\":\"%s\"",
            eui64_format(&shape->join_eui, id), lw_mac_version_text(shape->mac_version));
        add_key(&line, "app_key", &device->app_key, true);
        add_key(&line, "nwk_key", &device->nwk_key, shape->has_nwk);
    }
    text_addf(&line, ",\"code\":\"%s\"}\n", device->code);
    if (line.failed)
        return error_set(ERROR_SYSTEM, "out of memory for a device");
    n = fwrite(line.data, 1, line.len, context);
    secret_wipe(line.data, line.len);
    return n == line.len ? 0 : error_set_errno("cannot write");
}

static bool read_number(const char *text, int64_t *ret)
{
    char *end;

    *ret = strtoll(text, &end, 10);
    return *end == '\0' && *ret > 0 && strlen(text) <= LINE_DIGITS_MAX;
}

int cli_delivery_open(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {{"key", required_argument, NULL, 'k'},
        {"audit-key", required_argument, NULL, 'a'}, {"line", required_argument, NULL, 'l'}, {0}};
    CLEANUP(audit_key_freep) struct audit_key *audit_key = NULL;
    CLEANUP(cli_file_done) FILE *file = NULL;
    const char *key_path = NULL, *audit_path = NULL;
    int64_t line = 0;
    char *pem = NULL;
    int c, r;

    (void)settings;
    (void)out;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'k')
            key_path = optarg;
        else if (c == 'a')
            audit_path = optarg;
        else if (c != 'l' || !read_number(optarg, &line))
            return CLI_USAGE;
    }
    if (key_path == NULL || audit_path == NULL || optind + 1 != argc)
        return CLI_USAGE;
    if ((file = fopen(argv[optind], "re")) == NULL)
        return error_set_errno("cannot read %s", argv[optind]);
    if ((r = cli_audit_key_read(audit_path, &audit_key)) < 0 || (r = read_pem(key_path, &pem)) < 0)
        return r;
    r = delivery_file_open(file, pem, audit_key, line, print, stdout);
    secret_free(pem);
    if (r == 0 && fflush(stdout) != 0)
        r = error_set_errno("cannot write");
    return r;
}
