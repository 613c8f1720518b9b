#include "cli/cli.h"

#include "activation/credential.h"
#include "activation/import_csv.h"
#include "base/error.h"
#include "cli/cli_text.h"
#include "cli/peer_trust.h"
#include "db/peer.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static int add_net_id(const char *text, struct db_peer *peer)
{
    struct net_id net_id;

    if (!net_id_parse(text, strlen(text), &net_id))
        return error_set(ERROR_INPUT, "a NetID has 6 hexadecimal digits, not \"%.40s\"", text);
    for (size_t i = 0; i < peer->n_net_ids; i++)
        if (memcmp(&peer->net_ids[i], &net_id, sizeof(net_id)) == 0)
            return error_set(ERROR_INPUT, "NetID %.40s is given twice", text);
    if (peer->n_net_ids == PEER_NET_IDS_MAX)
        return error_set(
            ERROR_INPUT, "a network server may speak for at most %d NetIDs", PEER_NET_IDS_MAX);
    peer->net_ids[peer->n_net_ids++] = net_id;
    return 0;
}

/* The options of a peer that is known by certificate; all or none are given. */
struct trust_options {
    const char *san, *ca, *crl;
};

#define TRUST_OPTIONS                                                                              \
    {"san", required_argument, NULL, 's'}, {"ca", required_argument, NULL, 'a'},                   \
    {                                                                                              \
        "crl", required_argument, NULL, 'r'                                                        \
    }

static bool take_trust_option(int c, const char *value, struct trust_options *options)
{
    if (c == 's')
        options->san = value;
    else if (c == 'a')
        options->ca = value;
    else if (c == 'r')
        options->crl = value;
    else
        return false;
    return true;
}

static bool trust_complete(const struct trust_options *options)
{
    return (options->san == NULL) == (options->ca == NULL) &&
           (options->crl == NULL || options->ca != NULL);
}

static void add_san(struct text *out, const struct db_peer *peer)
{
    if (peer->san[0] == '\0')
        return;
    text_add(out, ",\"san\":");
    text_add_json(out, peer->san);
}

/* Makes the token, stores the peer with its hash, and says what is refused. */
static int add_peer(const struct cli_settings *settings, const struct trust_options *trust,
    struct db_peer *peer, struct act_secret *ret_token)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    int r = 0;

    if (trust->san != NULL)
        r = cli_peer_trust_read(trust->san, trust->ca, trust->crl, peer);
    if (r < 0 || (r = act_secret_make(ret_token, peer->token_hash)) < 0 ||
        (r = cli_open_db(settings, &db)) < 0 || (r = db_peer_add(db, peer)) < 0)
        return r;
    return r == 0 ? 0
                  : error_set(ERROR_INPUT, "%s %.64s%s is there already",
                        peer->kind == PEER_NETWORK_SERVER ? "a network server" : "the AS-ID",
                        peer->name, peer->san[0] != '\0' ? " or its SAN" : "");
}

int cli_ns_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {
        {"name", required_argument, NULL, 'n'},
        {"net-id", required_argument, NULL, 'i'},
        TRUST_OPTIONS,
        {0},
    };
    CLEANUP(act_secret_wipe) struct act_secret token = {0};
    CLEANUP(cli_peer_trust_done) struct db_peer peer = {.kind = PEER_NETWORK_SERVER};
    struct trust_options trust = {0};
    const char *name = NULL;
    char net_id[NET_ID_TEXT_LEN + 1];
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'n')
            name = optarg;
        else if (take_trust_option(c, optarg, &trust))
            continue;
        else if (c != 'i')
            return CLI_USAGE;
        else if ((r = add_net_id(optarg, &peer)) < 0)
            return r;
    }
    if (optind != argc || name == NULL || peer.n_net_ids == 0 || !trust_complete(&trust))
        return CLI_USAGE;
    if (!cli_name_valid(name, PEER_ID_MAX))
        return error_set(ERROR_INPUT,
            "a network server's name has 1 to %d bytes and no control characters", PEER_ID_MAX);
    (void)snprintf(peer.name, sizeof(peer.name), "%s", name);
    if ((r = add_peer(settings, &trust, &peer, &token)) < 0)
        return r;
    text_add(out, "{\"name\":");
    text_add_json(out, peer.name);
    text_add(out, ",\"net_ids\":[");
    for (size_t i = 0; i < peer.n_net_ids; i++)
        text_addf(out, "%s\"%s\"", i > 0 ? "," : "", net_id_format(&peer.net_ids[i], net_id));
    text_add(out, "]");
    add_san(out, &peer);
    text_addf(out, ",\"token\":\"%s\"}\n", token.text);
    return 0;
}

int cli_as_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {
        {"as-id", required_argument, NULL, 'i'},
        TRUST_OPTIONS,
        {0},
    };
    CLEANUP(act_secret_wipe) struct act_secret token = {0};
    CLEANUP(cli_peer_trust_done) struct db_peer peer = {.kind = PEER_APPLICATION_SERVER};
    struct trust_options trust = {0};
    const char *as_id = NULL;
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'i')
            as_id = optarg;
        else if (!take_trust_option(c, optarg, &trust))
            return CLI_USAGE;
    }
    if (optind != argc || as_id == NULL || !trust_complete(&trust))
        return CLI_USAGE;
    if (!import_id_valid(as_id, strlen(as_id)))
        return error_set(ERROR_INPUT,
            "an AS-ID has 1 to %d printable characters without blank, quote and backslash",
            PEER_ID_MAX);
    (void)snprintf(peer.name, sizeof(peer.name), "%s", as_id);
    if ((r = add_peer(settings, &trust, &peer, &token)) < 0)
        return r;
    text_add(out, "{\"as_id\":");
    text_add_json(out, peer.name);
    add_san(out, &peer);
    text_addf(out, ",\"token\":\"%s\"}\n", token.text);
    return 0;
}

/* `name_option` is how the verb calls the peer's name. */
static int set_trust(const struct cli_settings *settings, enum peer_kind kind,
    const char *name_option, int argc, char **argv, struct text *out)
{
    const struct option table[] = {
        {name_option, required_argument, NULL, 'n'},
        TRUST_OPTIONS,
        {0},
    };
    CLEANUP(cli_peer_trust_done) struct db_peer peer = {.kind = kind};
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct trust_options trust = {0};
    const char *name = NULL;
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'n')
            name = optarg;
        else if (!take_trust_option(c, optarg, &trust))
            return CLI_USAGE;
    }
    if (optind != argc || name == NULL || trust.san == NULL || !trust_complete(&trust))
        return CLI_USAGE;
    if (strlen(name) > PEER_ID_MAX)
        return error_set(ERROR_INPUT, "there is no peer %.64s...", name);
    (void)snprintf(peer.name, sizeof(peer.name), "%s", name);
    if ((r = cli_peer_trust_read(trust.san, trust.ca, trust.crl, &peer)) < 0 ||
        (r = cli_open_db(settings, &db)) < 0 || (r = db_peer_set_trust(db, &peer)) < 0)
        return r;
    if (r > 0)
        return error_set(ERROR_INPUT, "there is no peer %.64s, or it is revoked", name);
    text_addf(out, "{\"%s\":", kind == PEER_NETWORK_SERVER ? "name" : "as_id");
    text_add_json(out, peer.name);
    add_san(out, &peer);
    text_add(out, "}\n");
    return 0;
}

int cli_ns_trust(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return set_trust(settings, PEER_NETWORK_SERVER, "name", argc, argv, out);
}

int cli_as_trust(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return set_trust(settings, PEER_APPLICATION_SERVER, "as-id", argc, argv, out);
}

/* "000013,000024" as a JSON array of both. */
static void add_net_ids(struct text *out, const char *net_ids)
{
    text_add(out, ",\"net_ids\":[");
    for (const char *id = net_ids; id != NULL; id = strchr(id, ',')) {
        if (*id == ',')
            id++;
        text_addf(out, "%s\"%.*s\"", id == net_ids ? "" : ",", NET_ID_TEXT_LEN, id);
    }
    text_add(out, "]");
}

static int list_peers(
    const struct cli_settings *settings, enum peer_kind kind, int argc, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(db_peer_list_done) struct db_peer_list list = {0};
    int r;

    if (argc != 1)
        return CLI_USAGE;
    if ((r = cli_open_db(settings, &db)) < 0 || (r = db_peer_list_load(db, kind, &list)) < 0)
        return r;
    for (size_t i = 0; i < list.n; i++) {
        const struct db_peer_entry *entry = &list.entries[i];

        text_addf(out, "{\"%s\":", kind == PEER_NETWORK_SERVER ? "name" : "as_id");
        text_add_json(out, entry->name);
        if (kind == PEER_NETWORK_SERVER)
            add_net_ids(out, entry->net_ids);
        if (entry->san[0] != '\0') {
            text_add(out, ",\"san\":");
            text_add_json(out, entry->san);
        }
        text_addf(out, ",\"created\":\"%s\"", entry->created);
        if (entry->revoked[0] != '\0')
            text_addf(out, ",\"revoked\":\"%s\"", entry->revoked);
        text_add(out, "}\n");
    }
    return 0;
}

int cli_ns_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)argv;
    return list_peers(settings, PEER_NETWORK_SERVER, argc, out);
}

int cli_as_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    (void)argv;
    return list_peers(settings, PEER_APPLICATION_SERVER, argc, out);
}

/* `name_option` is how the verb calls the peer's name. */
static int revoke_peer(const struct cli_settings *settings, enum peer_kind kind,
    const char *name_option, int argc, char **argv, struct text *out)
{
    const struct option table[] = {{name_option, required_argument, NULL, 'n'}, {0}};
    CLEANUP(db_cleanup) struct db *db = NULL;
    const char *name = NULL;
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c != 'n')
            return CLI_USAGE;
        name = optarg;
    }
    if (optind != argc || name == NULL)
        return CLI_USAGE;
    if ((r = cli_open_db(settings, &db)) < 0 || (r = db_peer_revoke(db, kind, name)) < 0)
        return r;
    if (r > 0)
        return error_set(ERROR_INPUT, "there is no %s %.64s, or it is revoked already",
            kind == PEER_NETWORK_SERVER ? "network server" : "application server", name);
    text_addf(out, "{\"%s\":", kind == PEER_NETWORK_SERVER ? "name" : "as_id");
    text_add_json(out, name);
    text_add(out, "}\n");
    return 0;
}

int cli_ns_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return revoke_peer(settings, PEER_NETWORK_SERVER, "name", argc, argv, out);
}

int cli_as_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return revoke_peer(settings, PEER_APPLICATION_SERVER, "as-id", argc, argv, out);
}
