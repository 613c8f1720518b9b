#include "cli/cli.h"

#include "hsm/ceremony.h"
#include <getopt.h>

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

int cli_hsm_init(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {
        {"exchange-key-out", required_argument, NULL, 'o'},
        {0},
    };
    struct hsm_ceremony ceremony = {0};
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c != 'o')
            return CLI_USAGE;
        ceremony.exchange_key_path = optarg;
    }
    if (optind != argc || ceremony.exchange_key_path == NULL)
        return CLI_USAGE;
    if ((r = fill_ceremony(settings, &ceremony)) < 0)
        return r;
    return hsm_ceremony_init(&ceremony, out);
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
    return hsm_ceremony_list(&ceremony, out);
}
