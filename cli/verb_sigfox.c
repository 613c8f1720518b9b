/* cradle sigfox decrypt: on a maker's machine, what was made elsewhere becomes a file to import. */
#include "base/error.h"
#include "base/hex.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/sigfox_files.h"
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE_LEN 65536
#define FILE_MAX ((size_t)64 * 1024 * 1024) /* bytes: of two million records */

/* All of a file, wiped wherever it moves. */
static int read_file(const char *path, struct secret_buffer *ret)
{
    CLEANUP(cli_file_done) FILE *file = fopen(path, "re");
    uint8_t piece[PIECE_LEN];
    size_t n;
    int r = 0;

    if (file == NULL)
        return error_set_errno("cannot read %s", path);
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy stays in a buffer */
    while (r == 0 && (n = fread(piece, 1, sizeof(piece), file)) > 0)
        r = ret->len + n <= FILE_MAX ? secret_buffer_append(ret, piece, n)
                                     : error_set(ERROR_INPUT, "%s is longer than 64 MiB", path);
    secret_wipe(piece, sizeof(piece));
    if (r == 0 && ferror(file) != 0)
        r = error_set_errno("cannot read %s", path);
    return r;
}

static int read_key(const char *path, struct secret_key *ret)
{
    CLEANUP(secret_buffer_done) struct secret_buffer text = {0};
    int r = read_file(path, &text);

    if (r < 0)
        return r;
    while (text.len > 0 && strchr("\r\n \t", text.data[text.len - 1]) != NULL)
        text.len--;
    return hex_decode((const char *)text.data, text.len, ret->bytes, sizeof(ret->bytes))
               ? 0
               : error_set(ERROR_INPUT, "%s is not 32 hexadecimal digits", path);
}

static int write_lines(const struct sigfox_files *files, FILE *to)
{
    char line[SIGFOX_LINE_LEN + 1];
    bool good = true;

    for (size_t i = 0; good && i < files->n_pacs; i++) {
        sigfox_files_line(files, i, line);
        good = fwrite(line, 1, SIGFOX_LINE_LEN, to) == SIGFOX_LINE_LEN;
    }
    secret_wipe(line, sizeof(line));
    return good ? 0 : error_set_errno("cannot write the devices");
}

/* Readable by who made it alone, from its first byte. */
static int write_file(const struct sigfox_files *files, const char *path)
{
    CLEANUP(cli_output_done) struct cli_output output = {.path = path};
    mode_t before = umask(S_IRWXG | S_IRWXO | S_IXUSR);
    int r = cli_output_open(&output);

    (void)umask(before);
    if (r < 0)
        return r;
    (void)setvbuf(output.file, NULL, _IONBF, 0); /* as of main's standard output */
    r = write_lines(files, output.file);
    return r == 0 ? cli_output_end(&output) : r;
}

static int decrypt(const char *key_path, const char *id_key_path, const char *id_pac_path,
    struct sigfox_files *files)
{
    CLEANUP(secret_buffer_done) struct secret_buffer id_key = {0}, id_pac = {0};
    CLEANUP(secret_key_wipe) struct secret_key key;
    int r = read_key(key_path, &key);

    if (r == 0)
        r = read_file(id_key_path, &id_key);
    if (r == 0)
        r = sigfox_files_read_keys(files, &key, id_key.data, id_key.len);
    if (r == 0)
        r = read_file(id_pac_path, &id_pac);
    if (r == 0)
        r = sigfox_files_read_pacs(files, (const char *)id_pac.data, id_pac.len);
    return r == 0 ? sigfox_files_join(files) : r;
}

int cli_sigfox_decrypt(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {{"key-file", required_argument, NULL, 'k'},
        {"id-key", required_argument, NULL, 'i'}, {"id-pac", required_argument, NULL, 'p'},
        {"out", required_argument, NULL, 'o'}, {0}};
    CLEANUP(sigfox_files_done) struct sigfox_files files = {0};
    const char *key = NULL, *id_key = NULL, *id_pac = NULL, *to = NULL;
    int c, r;

    (void)settings, (void)out;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == '?')
            return CLI_USAGE;
        *(c == 'k' ? &key : c == 'i' ? &id_key : c == 'p' ? &id_pac : &to) = optarg;
    }
    if (optind != argc || key == NULL || id_key == NULL || id_pac == NULL)
        return CLI_USAGE;
    if ((r = decrypt(key, id_key, id_pac, &files)) < 0)
        return r;
    return to != NULL ? write_file(&files, to) : write_lines(&files, stdout);
}
