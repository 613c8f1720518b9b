#include "cli/cli.h"

#include "activation/operator_check.h"
#include "base/error.h"
#include "cli/peer_settings.h"
#include "cli/rest.h"
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
#define READ_CHUNK 4096
#define BAD_REQUEST 400
#define NOT_FOUND 404
#define OWN_OPTIONS_MAX 6 /* name, NetID, SAN, CA, CRL, no CRL */

struct arguments {
    const char *name;
    /* Of a peer that is known by certificate: the first two or none. */
    const char *san, *ca, *crl;
    bool no_crl;
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
        ret[n++] = (struct option){"no-crl", no_argument, NULL, 'x'};
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
    case 'x':
        ret->no_crl = true;
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
    if (ret->no_crl && (ret->crl != NULL || ret->ca == NULL))
        return cli_usage("--no-crl", "is for --san and --ca, and instead of --crl");
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

static int read_file(const char *path, struct text *ret)
{
    char chunk[READ_CHUNK];
    FILE *file = fopen(path, "re");
    size_t n;

    if (file == NULL)
        return error_set_errno("cannot read %s", path);
    while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0 && ret->len <= PEER_CRL_MAX)
        text_add_len(ret, chunk, n);
    (void)fclose(file);
    if (ret->len > PEER_CRL_MAX)
        return error_set(ERROR_INPUT, "%s holds more than %d bytes", path, PEER_CRL_MAX);
    text_add(ret, "");
    return ret->failed ? error_set(ERROR_SYSTEM, "out of memory for %s", path) : 0;
}

/* The files as they are: the service says what is wrong with them. */
static int add_trust(json_t *body, const struct arguments *arguments, struct db_peer *peer)
{
    CLEANUP(text_done) struct text ca = {0}, crl = {0};
    int r;

    if (arguments->san == NULL)
        return 0;
    if ((r = read_file(arguments->ca, &ca)) < 0 ||
        (arguments->crl != NULL && (r = read_file(arguments->crl, &crl)) < 0))
        return r;
    (void)snprintf(peer->san, sizeof(peer->san), "%s", arguments->san);
    (void)json_object_set_new(body, "san", json_string(arguments->san));
    (void)json_object_set_new(body, "ca", json_string(ca.data));
    if (arguments->crl != NULL || arguments->no_crl)
        (void)json_object_set_new(
            body, "crl", arguments->no_crl ? json_null() : json_string(crl.data));
    return json_object_get(body, "ca") != NULL &&
                   (arguments->crl == NULL || json_object_get(body, "crl") != NULL)
               ? 0
               : error_set(ERROR_INPUT, "%s or the revocation list is no text", arguments->ca);
}

static json_t *text_or_null(const char *text)
{
    return text[0] != '\0' ? json_string(text) : json_null();
}

/* What the options said, as the service takes it. */
static void add_settings(json_t *body, const struct db_peer *peer, unsigned set)
{
    if ((set & DB_PEER_NS_IDS) != 0) {
        json_t *ids = json_array();
        char ns_id[EUI64_TEXT_LEN + 1];

        for (size_t i = 0; i < peer->n_ns_ids; i++)
            (void)json_array_append_new(ids, json_string(eui64_format(&peer->ns_ids[i], ns_id)));
        (void)json_object_set_new(body, "ns_ids", ids);
    }
    if ((set & DB_PEER_ALLOW_PLAIN_KEYS) != 0)
        (void)json_object_set_new(body, "allow_plain_keys", json_boolean(peer->allow_plain_keys));
    if ((set & DB_PEER_APP_S_KEY_PLAIN) != 0)
        (void)json_object_set_new(body, "app_s_key",
            json_string(act_peer_words[PEER_CHOICE_APP_S_KEY][peer->app_s_key_plain]));
    if ((set & DB_PEER_SESSION_KEY_ID_OMIT) != 0)
        (void)json_object_set_new(body, "session_key_id",
            json_string(act_peer_words[PEER_CHOICE_SESSION_KEY_ID][peer->session_key_id_omit]));
    if ((set & DB_PEER_ANSWER_URL) != 0)
        (void)json_object_set_new(body, "answer_url", text_or_null(peer->answer_url));
    if ((set & DB_PEER_ANSWER_CREDENTIAL) != 0)
        (void)json_object_set_new(body, "answer_credential", text_or_null(peer->answer_credential));
}

static const char *collection(enum peer_kind kind)
{
    return kind == PEER_NETWORK_SERVER ? "/v1/network-servers" : "/v1/application-servers";
}

/* Has the peer made; *ret_made holds its token. */
static int add_peer(const struct cli_settings *settings, const struct arguments *arguments,
    struct db_peer *peer, json_t **ret_made)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *body = json_object();
    char net_id[NET_ID_TEXT_LEN + 1];
    const char *token;
    int r;

    if (peer->answer_credential[0] != '\0' && peer->answer_url[0] == '\0')
        return error_set(ERROR_INPUT, "--answer-credential needs --answer-url");
    if ((r = add_trust(body, arguments, peer)) < 0 || (r = cli_rest_open(settings, &rest)) < 0)
        return r;
    (void)json_object_set_new(body, name_member(peer->kind), json_string(peer->name));
    if (peer->n_net_ids > 0) {
        json_t *ids = json_array();

        for (size_t i = 0; i < peer->n_net_ids; i++)
            (void)json_array_append_new(ids, json_string(net_id_format(&peer->net_ids[i], net_id)));
        (void)json_object_set_new(body, "net_ids", ids);
    }
    add_settings(body, peer, arguments->set);
    if ((r = cli_rest_call(&rest, "POST", collection(peer->kind), body, ret_made)) < 0)
        return r;
    return cli_rest_need(&rest, *ret_made, "token", &token);
}

static void add_token(struct text *out, const json_t *made)
{
    text_add(out, ",\"token\":");
    text_add_json(out, cli_json_text(made, "token"));
    text_add(out, "}\n");
}

int cli_ns_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *made = NULL;
    struct db_peer peer = {.kind = PEER_NETWORK_SERVER};
    struct arguments arguments = {0};
    char net_id[NET_ID_TEXT_LEN + 1];
    int r =
        read_arguments(argc, argv, TAKES_NET_ID | TAKES_TRUST | TAKES_SETTINGS, &peer, &arguments);

    if (r != 0 || peer.n_net_ids == 0)
        return r != 0 ? r : CLI_USAGE;
    if (!act_peer_name_valid(arguments.name))
        return error_set(ERROR_INPUT,
            "a network server's name has 1 to %d bytes, no control characters and no /",
            PEER_ID_MAX);
    (void)snprintf(peer.name, sizeof(peer.name), "%s", arguments.name);
    if ((r = add_peer(settings, &arguments, &peer, &made)) < 0)
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
    add_token(out, made);
    return 0;
}

int cli_as_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_json_done) json_t *made = NULL;
    struct db_peer peer = {.kind = PEER_APPLICATION_SERVER};
    struct arguments arguments = {0};
    int r = read_arguments(argc, argv, TAKES_TRUST | TAKES_SETTINGS, &peer, &arguments);

    if (r != 0)
        return r;
    if (!act_as_id_valid(arguments.name))
        return error_set(ERROR_INPUT,
            "an AS-ID has 1 to %d printable characters without blank, quote, backslash and /",
            PEER_ID_MAX);
    (void)snprintf(peer.name, sizeof(peer.name), "%s", arguments.name);
    if ((r = add_peer(settings, &arguments, &peer, &made)) < 0)
        return r;
    begin_answer(out, &peer);
    add_san(out, &peer);
    cli_peer_settings_write(out, &peer, arguments.set);
    add_token(out, made);
    return 0;
}

/* One call for the peer of this name; `ret_answer` may be NULL. */
static int call_peer(struct cli_rest *rest, const struct db_peer *peer, const char *method,
    const json_t *body, json_t **ret_answer)
{
    CLEANUP(text_done) struct text path = {0};
    int r = cli_rest_path(&path, collection(peer->kind), peer->name);

    if (r < 0)
        return r;
    r = cli_rest_call(rest, method, path.data, body, ret_answer);
    return rest->status == NOT_FOUND ? no_such_peer(peer) : r;
}

static int set_trust(const struct cli_settings *settings, enum peer_kind kind, int argc,
    char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *body = json_object();
    struct db_peer peer = {.kind = kind};
    struct arguments arguments = {0};
    char why[ERROR_TEXT_MAX];
    int r = read_arguments(argc, argv, TAKES_TRUST, &peer, &arguments);

    if (r != 0 || arguments.san == NULL)
        return r != 0 ? r : CLI_USAGE;
    if ((r = take_name(arguments.name, &peer)) < 0 ||
        (r = add_trust(body, &arguments, &peer)) < 0 || (r = cli_rest_open(settings, &rest)) < 0)
        return r;
    r = call_peer(&rest, &peer, "PATCH", body, NULL);
    (void)snprintf(why, sizeof(why), "%s", error_text());
    if (r < 0 && rest.status == BAD_REQUEST && strncmp(why, "crl is missing", 14) == 0)
        return error_set(r, "it has a revocation list: give one with --crl, or --no-crl");
    if (r < 0)
        return r;
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

/* A list as the service gives it, under a name of ours. */
static void add_list(struct text *out, const char *name, const json_t *list)
{
    text_addf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *item = json_string_value(json_array_get(list, i));

        text_add(out, i > 0 ? "," : "");
        text_add_json(out, item != NULL ? item : "");
    }
    text_add(out, "]");
}

/* Where keys in clear are allowed: the KEKs that are there, and under which they go all the same.
 */
static int add_keks_that_win(struct text *out, struct cli_rest *rest, const struct db_peer *peer)
{
    CLEANUP(cli_json_done) json_t *found = NULL;
    const json_t *keks;
    int r = call_peer(rest, peer, "GET", NULL, &found);

    if (r < 0)
        return r;
    keks = json_object_get(found, "current_keks");
    if (json_array_size(keks) > 0)
        add_list(out, "keks_that_win", keks);
    return 0;
}

static int set_peer(const struct cli_settings *settings, enum peer_kind kind, int argc, char **argv,
    struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *body = json_object();
    struct db_peer peer = {.kind = kind};
    struct arguments arguments = {0};
    int r = read_arguments(argc, argv, TAKES_SETTINGS, &peer, &arguments);

    if (r != 0 || arguments.set == 0)
        return r != 0 ? r : CLI_USAGE;
    add_settings(body, &peer, arguments.set);
    if ((r = take_name(arguments.name, &peer)) < 0 || (r = cli_rest_open(settings, &rest)) < 0 ||
        (r = call_peer(&rest, &peer, "PATCH", body, NULL)) < 0)
        return r;
    begin_answer(out, &peer);
    if ((arguments.set & DB_PEER_NS_IDS) != 0)
        add_ns_ids(out, &peer);
    cli_peer_settings_write(out, &peer, arguments.set);
    if ((arguments.set & DB_PEER_ALLOW_PLAIN_KEYS) != 0 && peer.allow_plain_keys &&
        (r = add_keks_that_win(out, &rest, &peer)) < 0)
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

struct listing {
    enum peer_kind kind;
    struct text *out;
};

static int list_peer(const json_t *item, void *context)
{
    const struct listing *listing = context;
    struct text *out = listing->out;
    struct db_peer peer = {.kind = listing->kind};

    (void)snprintf(peer.name, sizeof(peer.name), "%s", cli_json_text(item, name_member(peer.kind)));
    (void)snprintf(peer.san, sizeof(peer.san), "%s", cli_json_text(item, "san"));
    peer.allow_plain_keys = cli_json_true(item, "allow_plain_keys");
    (void)act_peer_word_parse(
        PEER_CHOICE_APP_S_KEY, cli_json_text(item, "app_s_key"), &peer.app_s_key_plain);
    (void)act_peer_word_parse(PEER_CHOICE_SESSION_KEY_ID, cli_json_text(item, "session_key_id"),
        &peer.session_key_id_omit);
    (void)snprintf(
        peer.answer_url, sizeof(peer.answer_url), "%s", cli_json_text(item, "answer_url"));
    (void)snprintf(peer.answer_credential, sizeof(peer.answer_credential), "%s",
        cli_json_text(item, "answer_credential"));
    begin_answer(out, &peer);
    if (peer.kind == PEER_NETWORK_SERVER) {
        add_list(out, "net_ids", json_object_get(item, "net_ids"));
        add_list(out, "ns_ids", json_object_get(item, "ns_ids"));
    }
    add_san(out, &peer);
    cli_peer_settings_write(out, &peer, ALL_SETTINGS);
    text_addf(out, ",\"created\":\"%s\"", cli_json_text(item, "created_at"));
    if (cli_json_text(item, "revoked_at")[0] != '\0')
        text_addf(out, ",\"revoked\":\"%s\"", cli_json_text(item, "revoked_at"));
    text_add(out, "}\n");
    return 0;
}

static int list_peers(
    const struct cli_settings *settings, enum peer_kind kind, int argc, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    struct listing listing = {.kind = kind, .out = out};
    int r;

    if (argc != 1)
        return CLI_USAGE;
    r = cli_rest_open(settings, &rest);
    return r < 0 ? r : cli_rest_list(&rest, collection(kind), list_peer, &listing);
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
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    struct db_peer peer = {.kind = kind};
    struct arguments arguments = {0};
    int r = read_arguments(argc, argv, 0, &peer, &arguments);

    if (r != 0 || (r = take_name(arguments.name, &peer)) < 0 ||
        (r = cli_rest_open(settings, &rest)) < 0 ||
        (r = call_peer(&rest, &peer, "DELETE", NULL, NULL)) < 0)
        return r;
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
