#include "cli/cli.h"

#include "activation/credential.h"
#include "base/clock.h"
#include "base/error.h"
#include "cli/cli_text.h"
#include "db/account.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static int add_role(const char *name, unsigned *bits)
{
    for (const struct word_bits *w = account_role_names; w->word != NULL; w++)
        if (strcmp(w->word, name) == 0) {
            *bits |= w->bits;
            return 0;
        }
    return error_set(ERROR_INPUT,
        "there is no role %.40s: the roles are admin, operator, maker (or module_maker and "
        "product_maker), owner, application_server and auditor",
        name);
}

static void write_client(
    const struct db_client *client, const struct act_secret *secret, struct text *out)
{
    const char *comma = "";

    text_add(out, "{\"client_id\":\"");
    text_add_hex(out, client->id, sizeof(client->id));
    text_add(out, "\",\"client_secret\":");
    text_add_json(out, secret->text);
    text_add(out, ",\"organization\":");
    text_add_json(out, client->organization);
    text_add(out, ",\"roles\":[");
    for (const struct word_bits *w = account_role_names; w->word != NULL; w++) {
        /* "maker" is written as the two that it is. */
        if ((w->bits & (w->bits - 1)) != 0 || (client->roles & w->bits) == 0)
            continue;
        text_addf(out, "%s\"%s\"", comma, w->word);
        comma = ",";
    }
    text_add(out, "]}\n");
}

int cli_client_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {
        {"organization", required_argument, NULL, 'o'},
        {"role", required_argument, NULL, 'r'},
        {0},
    };
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(act_secret_wipe) struct act_secret secret = {0};
    struct db_client client = {0};
    const char *organization = NULL;
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'o')
            organization = optarg;
        else if (c != 'r')
            return CLI_USAGE;
        else if ((r = add_role(optarg, &client.roles)) < 0)
            return r;
    }
    if (optind != argc || organization == NULL || client.roles == 0)
        return CLI_USAGE;
    if (!cli_name_valid(organization, ACCOUNT_NAME_MAX))
        return error_set(ERROR_INPUT,
            "an organization's name has 1 to %d bytes and no control characters", ACCOUNT_NAME_MAX);
    (void)snprintf(client.organization, sizeof(client.organization), "%s", organization);
    if ((r = random_bytes(client.id, sizeof(client.id))) < 0 ||
        (r = act_secret_make(&secret, client.secret_hash)) < 0 ||
        (r = cli_open_db(settings, &db)) < 0 || (r = db_client_add(db, &client)) < 0)
        return r;
    write_client(&client, &secret, out);
    return 0;
}
