#include "cli/cli.h"

#include "activation/credential.h"
#include "activation/import_text.h"
#include "base/error.h"
#include "cli/cli_text.h"
#include "cli/peer_known.h"
#include "cli/peer_settings.h"
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

/* What a verb takes besides the peer's name. */
#define TAKES_NET_ID (1u << 0)
#define TAKES_TRUST (1u << 1)
#define TAKES_SETTINGS (1u << 2)

#define ALL_SETTINGS (~0u)
#define OWN_OPTIONS_MAX 5 /* name, NetID, SAN, CA, CRL */

struct arguments {
    const char *name;
    /* Of a peer that is known by certificate: the first two or none. */
    const char *san, *ca, *crl;
    unsigned set; /* DB_PEER_... */
};

static const char *name_option(enum peer_kind kind)
{
    return kind == PEER_NETWORK_SERVER ? "name" : "as-id";
}

/* The member of the answer that holds the name. */
static const char *name_member(enum peer_kind kind)
{
    return kind == PEER_NETWORK_SERVER ? "name" : "as_id";
}

static size_t own_options(
    enum peer_kind kind, unsigned takes, struct option ret[static OWN_OPTIONS_MAX])
{
    size_t n = 0;

    ret[n++] = (struct option){name_option(kind), required_argument, NULL, 'n'};
    if ((takes & TAKES_NET_ID) != 0)
        ret[n++] = (struct option){"net-id", required_argument, NULL, 'i'};
    if ((takes & TAKES_TRUST) != 0) {
        ret[n++] = (struct option){"san", required_argument, NULL, 's'};
        ret[n++] = (struct option){"ca", required_argument, NULL, 'a'};
        ret[n++] = (struct option){"crl", required_argument, NULL, 'r'};
    }
    return n;
}

static int take_option(int c, struct db_peer *peer, struct arguments *ret)
{
    int r;

    switch (c) {
    case 'n':
        ret->name = optarg;
        return 0;
    case 'i':
        return add_net_id(optarg, peer);
    case 's':
        ret->san = optarg;
        return 0;
    case 'a':
        ret->ca = optarg;
        return 0;
    case 'r':
        ret->crl = optarg;
        return 0;
    default:
        r = cli_peer_option_take(c, optarg, peer, &ret->set);
        return r > 0 ? CLI_USAGE : r;
    }
}

/* Reads into `peer`, whose kind is set. A name is there afterwards, and trust whole or not at all.
 */
static int read_arguments(
    int argc, char **argv, unsigned takes, struct db_peer *peer, struct arguments *ret)
{
    struct option table[OWN_OPTIONS_MAX + CLI_PEER_OPTIONS_MAX + 1];
    size_t n = own_options(peer->kind, takes, table);
    int c, r;

    if ((takes & TAKES_SETTINGS) != 0)
        n += cli_peer_options(peer->kind, table + n);
    table[n] = (struct option){0};
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == '?')
            return cli_usage(argv[optind - 1], "is no option of this verb, or lacks its value");
        if ((r = take_option(c, peer, ret)) != 0)
            return r;
    }
    if ((ret->san == NULL) != (ret->ca == NULL) || (ret->crl != NULL && ret->ca == NULL))
        return cli_usage("--san", "and --ca go together, and --crl only with both");
    return optind == argc && ret->name != NULL ? 0 : CLI_USAGE;
}

/* The name of a peer that is there already, or is not. */
static int take_name(const char *name, struct db_peer *peer)
{
    if (strlen(name) > PEER_ID_MAX)
        return error_set(ERROR_INPUT, "there is no peer %.64s...", name);
    (void)snprintf(peer->name, sizeof(peer->name), "%s", name);
    return 0;
}

static int no_such_peer(const struct db_peer *peer)
{
    return error_set(ERROR_INPUT, "there is no %s %.64s, or it is revoked already",
        peer->kind == PEER_NETWORK_SERVER ? "network server" : "application server", peer->name);
}

static void begin_answer(struct text *out, const struct db_peer *peer)
{
    text_addf(out, "{\"%s\":", name_member(peer->kind));
    text_add_json(out, peer->name);
}

static void add_san(struct text *out, const struct db_peer *peer)
{
    if (peer->san[0] == '\0')
        return;
    text_add(out, ",\"san\":");
    text_add_json(out, peer->san);
}

static void add_ns_ids(struct text *out, const struct db_peer *peer)
{
    char ns_id[EUI64_TEXT_LEN + 1];

    text_add(out, ",\"ns_ids\":[");
    for (size_t i = 0; i < peer->n_ns_ids; i++)
        text_addf(out, "%s\"%s\"", i > 0 ? "," : "", eui64_format(&peer->ns_ids[i], ns_id));
    text_add(out, "]");
}

/* Makes the token, stores the peer with its hash, and says what is refused. */
static int add_peer(const struct cli_settings *settings, const struct arguments *arguments,
    struct db_peer *peer, struct act_secret *ret_token)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    int r = 0;

    if (peer->answer_credential[0] != '\0' && peer->answer_url[0] == '\0')
        return error_set(ERROR_INPUT, "--answer-credential needs --answer-url");
    if (arguments->san != NULL)
        r = cli_peer_trust_read(arguments->san, arguments->ca, arguments->crl, peer);
    if (r < 0 || (r = act_secret_make(ret_token, peer->token_hash)) < 0 ||
        (r = cli_open_db(settings, &db)) < 0 || (r = db_peer_add(db, peer)) < 0)
        return r;
    return r == 0 ? 0 : cli_peer_is_taken(db, peer);
}

int cli_ns_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(act_secret_wipe) struct act_secret token = {0};
    CLEANUP(cli_peer_trust_done) struct db_peer peer = {.kind = PEER_NETWORK_SERVER};
    struct arguments arguments = {0};
    char net_id[NET_ID_TEXT_LEN + 1];
    int r =
        read_arguments(argc, argv, TAKES_NET_ID | TAKES_TRUST | TAKES_SETTINGS, &peer, &arguments);

    if (r != 0 || peer.n_net_ids == 0)
        return r != 0 ? r : CLI_USAGE;
    if (!cli_name_valid(arguments.name, PEER_ID_MAX))
        return error_set(ERROR_INPUT,
            "a network server's name has 1 to %d bytes and no control characters", PEER_ID_MAX);
    (void)snprintf(peer.name, sizeof(peer.name), "%s", arguments.name);
    if ((r = add_peer(settings, &arguments, &peer, &token)) < 0)
        return r;
    begin_answer(out, &peer);
    text_add(out, ",\"net_ids\":[");
    for (size_t i = 0; i < peer.n_net_ids; i++)
        text_addf(out, "%s\"%s\"", i > 0 ? "," : "", net_id_format(&peer.net_ids[i], net_id));
    text_add(out, "]");
    if (peer.n_ns_ids > 0)
        add_ns_ids(out, &peer);
    add_san(out, &peer);
    cli_peer_settings_write(out, &peer, arguments.set);
    text_addf(out, ",\"token\":\"%s\"}\n", token.text);
    return 0;
}

int cli_as_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(act_secret_wipe) struct act_secret token = {0};
    CLEANUP(cli_peer_trust_done) struct db_peer peer = {.kind = PEER_APPLICATION_SERVER};
    struct arguments arguments = {0};
    int r = read_arguments(argc, argv, TAKES_TRUST | TAKES_SETTINGS, &peer, &arguments);

    if (r != 0)
        return r;
    if (!import_id_valid(arguments.name, strlen(arguments.name)))
        return error_set(ERROR_INPUT,
            "an AS-ID has 1 to %d printable characters without blank, quote and backslash",
            PEER_ID_MAX);
    (void)snprintf(peer.name, sizeof(peer.name), "%s", arguments.name);
    if ((r = add_peer(settings, &arguments, &peer, &token)) < 0)
        return r;
    begin_answer(out, &peer);
    add_san(out, &peer);
    cli_peer_settings_write(out, &peer, arguments.set);
    text_addf(out, ",\"token\":\"%s\"}\n", token.text);
    return 0;
}

static int set_trust(const struct cli_settings *settings, enum peer_kind kind, int argc,
    char **argv, struct text *out)
{
    CLEANUP(cli_peer_trust_done) struct db_peer peer = {.kind = kind};
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct arguments arguments = {0};
    int r = read_arguments(argc, argv, TAKES_TRUST, &peer, &arguments);

    if (r != 0 || arguments.san == NULL)
        return r != 0 ? r : CLI_USAGE;
    if ((r = take_name(arguments.name, &peer)) < 0 ||
        (r = cli_peer_trust_read(arguments.san, arguments.ca, arguments.crl, &peer)) < 0 ||
        (r = cli_open_db(settings, &db)) < 0 || (r = db_peer_set_trust(db, &peer)) < 0)
        return r;
    if (r > 0)
        return no_such_peer(&peer);
    begin_answer(out, &peer);
    add_san(out, &peer);
    text_add(out, "}\n");
    return 0;
}

int cli_ns_trust(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return set_trust(settings, PEER_NETWORK_SERVER, argc, argv, out);
}

int cli_as_trust(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return set_trust(settings, PEER_APPLICATION_SERVER, argc, argv, out);
}

static int set_peer(const struct cli_settings *settings, enum peer_kind kind, int argc, char **argv,
    struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct db_peer peer = {.kind = kind};
    struct arguments arguments = {0};
    int r = read_arguments(argc, argv, TAKES_SETTINGS, &peer, &arguments);

    if (r != 0 || arguments.set == 0)
        return r != 0 ? r : CLI_USAGE;
    if ((r = take_name(arguments.name, &peer)) < 0 || (r = cli_open_db(settings, &db)) < 0 ||
        (r = db_peer_set(db, &peer, arguments.set)) < 0)
        return r;
    if (r == DB_PEER_HAS_NO_URL)
        return error_set(ERROR_INPUT, "%.64s has no answer URL to show a credential at", peer.name);
    if (r != 0)
        return no_such_peer(&peer);
    begin_answer(out, &peer);
    if ((arguments.set & DB_PEER_NS_IDS) != 0)
        add_ns_ids(out, &peer);
    cli_peer_settings_write(out, &peer, arguments.set);
    if ((arguments.set & DB_PEER_ALLOW_PLAIN_KEYS) != 0 && peer.allow_plain_keys &&
        (r = cli_peer_keks_write(db, peer.name, out)) < 0)
        return r;
    text_add(out, "}\n");
    return 0;
}

int cli_ns_set(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return set_peer(settings, PEER_NETWORK_SERVER, argc, argv, out);
}

int cli_as_set(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return set_peer(settings, PEER_APPLICATION_SERVER, argc, argv, out);
}

/* "000013,000024" as a JSON array of both. */
static void add_ids(struct text *out, const char *name, const char *ids)
{
    text_addf(out, ",\"%s\":[", name);
    for (const char *id = ids; id != NULL; id = strchr(id, ',')) {
        if (*id == ',')
            id++;
        text_addf(out, "%s\"%.*s\"", id == ids ? "" : ",", (int)strcspn(id, ","), id);
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

        begin_answer(out, &entry->peer);
        if (kind == PEER_NETWORK_SERVER) {
            add_ids(out, "net_ids", entry->net_ids);
            add_ids(out, "ns_ids", entry->ns_ids);
        }
        add_san(out, &entry->peer);
        cli_peer_settings_write(out, &entry->peer, ALL_SETTINGS);
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

static int revoke_peer(const struct cli_settings *settings, enum peer_kind kind, int argc,
    char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct db_peer peer = {.kind = kind};
    struct arguments arguments = {0};
    int r = read_arguments(argc, argv, 0, &peer, &arguments);

    if (r != 0 || (r = take_name(arguments.name, &peer)) < 0 ||
        (r = cli_open_db(settings, &db)) < 0 || (r = db_peer_revoke(db, kind, peer.name)) < 0)
        return r;
    if (r > 0)
        return no_such_peer(&peer);
    begin_answer(out, &peer);
    text_add(out, "}\n");
    return 0;
}

int cli_ns_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return revoke_peer(settings, PEER_NETWORK_SERVER, argc, argv, out);
}

int cli_as_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    return revoke_peer(settings, PEER_APPLICATION_SERVER, argc, argv, out);
}
