#include "cli/cli.h"

#include "hsm/ceremony.h"
#include <getopt.h>
#include <stdio.h>

static int fill_ceremony(const struct cli_settings *settings, struct hsm_ceremony *ret)
{
    int r;

    if ((r = cli_need(settings->hsm_uri, "hsm.uri")) < 0 ||
        (r = cli_need(settings->hsm_lock_file, "hsm.lock_file")) < 0)
        return r;
    ret->uri = settings->hsm_uri;
    ret->lock_file = settings->hsm_lock_file;
    return 0;
}

/* A report is for the eyes of whoever holds the ceremony, most of all when it went wrong. */
static int show_report(int r, const struct text *report)
{
    if (r < 0 && report->len > 0)
        (void)fwrite(report->data, 1, report->len, stdout);
    (void)fflush(stdout);
    return r;
}

static int read_options(int argc, char **argv, const struct option *table, struct hsm_ceremony *ret)
{
    int c;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'o')
            ret->exchange_key_path = optarg;
        else if (c == 'a')
            ret->audit_key_path = optarg;
        else if (c == 'e')
            ret->escrow_path = optarg;
        else if (c == 'x')
            ret->exportable_keys = true;
        else
            return CLI_USAGE;
    }
    return optind == argc ? 0 : CLI_USAGE;
}

int cli_hsm_init(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {
        {"exchange-key-out", required_argument, NULL, 'o'},
        {"exportable-keys", no_argument, NULL, 'x'},
        {"escrow", required_argument, NULL, 'e'},
        {0},
    };
    struct hsm_ceremony ceremony = {0};
    int r;

    if ((r = read_options(argc, argv, table, &ceremony)) != 0)
        return r;
    if (ceremony.exchange_key_path == NULL)
        return CLI_USAGE;
    if ((r = fill_ceremony(settings, &ceremony)) < 0)
        return r;
    return show_report(hsm_ceremony_init(&ceremony, out), out);
}

int cli_hsm_export(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {
        {"exchange-key-out", required_argument, NULL, 'o'},
        {"audit-key-out", required_argument, NULL, 'a'},
        {0},
    };
    struct hsm_ceremony ceremony = {0};
    int r;

    (void)out;
    if ((r = read_options(argc, argv, table, &ceremony)) != 0)
        return r;
    if (ceremony.exchange_key_path == NULL && ceremony.audit_key_path == NULL)
        return CLI_USAGE;
    if ((r = fill_ceremony(settings, &ceremony)) < 0)
        return r;
    return hsm_ceremony_export(&ceremony);
}

int cli_hsm_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct hsm_ceremony ceremony = {0};
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    if ((r = fill_ceremony(settings, &ceremony)) < 0)
        return r;
    r = show_report(hsm_ceremony_list(&ceremony, out), out);
    return r < 0 ? r : cli_hsm_compare(settings, out);
}
