/* A token's PIN that no one person knows. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/hex.h"
#include "base/secret.h"
#include "base/shares.h"
#include "cli/files.h"
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PIN_LEN (2 * SHARES_SECRET_LEN)

struct pin_options {
    const char *pin_file;
    const char *shares[SHARES_MAX];
    unsigned n_shares, needed;
    bool on_disk;
};

/* A PIN on a disk is there for whoever takes the disk away, and in its backups. */
static int must_be_in_memory(const char *path)
{
    char dir[PATH_MAX];
    char *slash;
    struct statfs fs;

    (void)snprintf(dir, sizeof(dir), "%s", path);
    slash = strrchr(dir, '/');
    if (slash == NULL)
        (void)snprintf(dir, sizeof(dir), ".");
    else
        slash[slash == dir ? 1 : 0] = '\0';
    if (statfs(dir, &fs) != 0) {
        (void)error_set_errno("cannot look at %s", dir);
        return ERROR_CONFIG;
    }
    if (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC)
        return error_set(ERROR_CONFIG,
            "%s is on a disk: name a file on a tmpfs, as /run is, or say --on-disk", path);
    return 0;
}

static int write_line(const char *path, const char *text)
{
    CLEANUP(cli_output_done) struct cli_output output = {.path = path};
    const mode_t before = umask(0077);
    int r = cli_output_open(&output);

    (void)umask(before);
    if (r == 0 && fputs(text, output.file) < 0)
        r = error_set_errno("cannot write %s", path);
    return r < 0 ? r : cli_output_end(&output);
}

static int write_pin(const struct pin_options *o, const uint8_t secret[static SHARES_SECRET_LEN])
{
    char pin[PIN_LEN + 2];
    int r;

    (void)hex_encode(secret, SHARES_SECRET_LEN, pin);
    pin[PIN_LEN] = '\n';
    pin[PIN_LEN + 1] = '\0';
    r = write_line(o->pin_file, pin);
    secret_wipe(pin, sizeof(pin));
    return r;
}

/* What is no such number must not be taken for another. */
static bool parse_needed(const char *text, unsigned *ret)
{
    char *end = NULL;
    const unsigned long v = strtoul(text, &end, 10);

    *ret = v <= SHARES_MAX ? (unsigned)v : 0;
    return text[0] >= '1' && text[0] <= '9' && *end == '\0' && *ret != 0;
}

/* A PIN that not all custodians have a share of is no PIN: what was made goes, so that it can be
 * made again. */
static void drop_split(const struct pin_options *o, unsigned n_written)
{
    (void)unlink(o->pin_file);
    for (unsigned i = 0; i < n_written; i++)
        (void)unlink(o->shares[i]);
}

static int read_options(int argc, char **argv, struct pin_options *ret)
{
    static const struct option table[] = {
        {"pin-file", required_argument, NULL, 'p'},
        {"needed", required_argument, NULL, 'k'},
        {"on-disk", no_argument, NULL, 'd'},
        {0},
    };
    bool good = true;
    int c;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'p')
            ret->pin_file = optarg;
        else if (c == 'k')
            good = good && parse_needed(optarg, &ret->needed);
        else if (c == 'd')
            ret->on_disk = true;
        else
            return CLI_USAGE;
    }
    if (!good || ret->pin_file == NULL || optind == argc || argc - optind > SHARES_MAX)
        return CLI_USAGE;
    while (optind < argc)
        ret->shares[ret->n_shares++] = argv[optind++];
    return ret->on_disk ? 0 : must_be_in_memory(ret->pin_file);
}

int cli_hsm_pin_split(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct pin_options o = {0};
    struct share shares[SHARES_MAX];
    uint8_t secret[SHARES_SECRET_LEN];
    char text[SHARES_TEXT_MAX];
    bool pin_written = false;
    unsigned n_written = 0;
    int r = read_options(argc, argv, &o);

    (void)settings;
    if (r != 0)
        return r;
    if (o.needed == 0)
        o.needed = o.n_shares;
    if ((r = random_bytes(secret, sizeof(secret))) == 0 &&
        (r = shares_split(secret, o.needed, o.n_shares, shares)) == 0)
        pin_written = (r = write_pin(&o, secret)) == 0;
    for (unsigned i = 0; r == 0 && i < o.n_shares; i++) {
        share_write(&shares[i], text);
        if ((r = write_line(o.shares[i], text)) == 0)
            n_written++;
    }
    if (r < 0 && pin_written)
        drop_split(&o, n_written);
    secret_wipe(secret, sizeof(secret));
    secret_wipe(shares, sizeof(shares));
    secret_wipe(text, sizeof(text));
    if (r == 0)
        text_addf(out, "a PIN was made, in %s until it is removed; %u of %u shares give it back\n",
            o.pin_file, o.needed, o.n_shares);
    return r;
}

int cli_hsm_unlock(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct pin_options o = {0};
    struct share shares[SHARES_MAX];
    uint8_t secret[SHARES_SECRET_LEN];
    char text[SHARES_TEXT_MAX];
    int r = read_options(argc, argv, &o);

    (void)settings;
    if (r != 0)
        return r;
    if (o.needed != 0)
        return CLI_USAGE;
    for (unsigned i = 0; r == 0 && i < o.n_shares; i++) {
        if ((r = config_read_secret_file(o.shares[i], text, sizeof(text))) == 0 &&
            share_read(text, &shares[i]) < 0)
            r = error_set(
                ERROR_INPUT, "%s: this is no share, or a character of it is wrong", o.shares[i]);
    }
    if (r == 0)
        r = shares_join(shares, o.n_shares, secret);
    if (r == 0)
        r = write_pin(&o, secret);
    if (r == 0)
        text_addf(out, "the PIN is in %s\n", o.pin_file);
    secret_wipe(secret, sizeof(secret));
    secret_wipe(shares, sizeof(shares));
    secret_wipe(text, sizeof(text));
    return r;
}
