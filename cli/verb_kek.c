#include "cli/cli.h"

#include "activation/import_text.h"
#include "base/clock.h"
#include "base/error.h"
#include "cli/cli_text.h"
#include "db/peer.h"
#include "hsm/client.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define KEYD_WAIT_MS 30000

struct arguments {
    const char *ns, *as, *label, *sealed, *length;
    bool last;
};

static int read_arguments(int argc, char **argv, struct arguments *ret)
{
    static const struct option table[] = {
        {"ns", required_argument, NULL, 'n'},
        {"as", required_argument, NULL, 'a'},
        {"label", required_argument, NULL, 'l'},
        {"sealed", required_argument, NULL, 's'},
        {"length", required_argument, NULL, 'b'},
        {"last", no_argument, NULL, 't'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'n':
            ret->ns = optarg;
            break;
        case 'a':
            ret->as = optarg;
            break;
        case 'l':
            ret->label = optarg;
            break;
        case 's':
            ret->sealed = optarg;
            break;
        case 'b':
            ret->length = optarg;
            break;
        case 't':
            ret->last = true;
            break;
        default:
            return CLI_USAGE;
        }
    }
    return optind == argc && (ret->ns == NULL) != (ret->as == NULL) && ret->label != NULL
               ? 0
               : CLI_USAGE;
}

static int name_kek(const struct arguments *arguments, struct sealed_kek *kek)
{
    struct net_id net_id;
    struct eui64 ns_id = {0};
    bool has_ns_id;

    if (!import_id_valid(arguments->label, strlen(arguments->label)))
        return error_set(ERROR_INPUT,
            "a KEK label has 1 to %d printable characters without blank, quote and backslash",
            KEK_LABEL_MAX);
    (void)snprintf(kek->label, sizeof(kek->label), "%s", arguments->label);
    if (arguments->as != NULL) {
        if (!import_id_valid(arguments->as, strlen(arguments->as)))
            return error_set(ERROR_INPUT, "\"%.64s\" cannot be an AS-ID", arguments->as);
        kek->peer_kind = PEER_APPLICATION_SERVER;
        kek->kek_class = KEK_CLASS_AS;
        (void)snprintf(kek->peer_id, sizeof(kek->peer_id), "%s", arguments->as);
        return 0;
    }
    if (!cli_network_parse(arguments->ns, &net_id, &has_ns_id, &ns_id))
        return error_set(ERROR_INPUT,
            "a NetID has 6 hexadecimal digits, and an NSID behind it and a / has 16; not \"%.40s\"",
            arguments->ns);
    kek->peer_kind = PEER_NETWORK_SERVER;
    kek->kek_class = KEK_CLASS_NS;
    db_kek_peer_id(&net_id, has_ns_id ? &ns_id : NULL, kek->peer_id);
    return 0;
}

static int read_sealed(const char *path, uint8_t ret[static KEYD_OAEP_LEN])
{
    uint8_t bytes[KEYD_OAEP_LEN + 1];
    FILE *file = fopen(path, "re");
    size_t n;

    if (file == NULL)
        return error_set_errno("cannot read %s", path);
    n = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);
    if (n != KEYD_OAEP_LEN)
        return error_set(ERROR_INPUT,
            "%s is not a key encrypted to the exchange key: that has exactly %d bytes", path,
            KEYD_OAEP_LEN);
    memcpy(ret, bytes, KEYD_OAEP_LEN);
    return 0;
}

static bool is_ns_id_known(
    const struct db_directory *directory, const struct net_id *net_id, const struct eui64 *ns_id)
{
    for (size_t i = 0; i < directory->n_peers; i++) {
        const struct db_peer *peer = &directory->peers[i];

        if (db_peer_has_net_id(peer, net_id) && db_peer_has_ns_id(peer, ns_id))
            return true;
    }
    return false;
}

/* A KEK of a peer nobody knows is a slip of the pen, found much later as a join without keys. */
static int check_peer(struct db *db, const struct sealed_kek *kek)
{
    CLEANUP(db_directory_done) struct db_directory directory = {0};
    struct net_id net_id;
    struct eui64 ns_id;
    bool has_ns_id;
    int r = db_directory_load(db, &directory);

    if (r < 0)
        return r;
    if (kek->peer_kind == PEER_APPLICATION_SERVER)
        return db_directory_has_as(&directory, kek->peer_id)
                   ? 0
                   : error_set(ERROR_INPUT,
                         "there is no application server %s: add it with cradle as add",
                         kek->peer_id);
    if (!cli_network_parse(kek->peer_id, &net_id, &has_ns_id, &ns_id) ||
        !db_directory_speaks(&directory, &net_id))
        return error_set(ERROR_INPUT,
            "no network server speaks for NetID %.*s: add it with cradle ns add", NET_ID_TEXT_LEN,
            kek->peer_id);
    if (has_ns_id && !is_ns_id_known(&directory, &net_id, &ns_id))
        return error_set(ERROR_INPUT,
            "no network server of NetID %.*s has that NSID: name it with cradle ns set --ns-id",
            NET_ID_TEXT_LEN, kek->peer_id);
    return 0;
}

static int adopt(const struct cli_settings *settings, const uint8_t sealed[static KEYD_OAEP_LEN],
    unsigned length, struct sealed_kek *kek, uint8_t ret_kcv[static KEYD_KCV_LEN])
{
    const struct keyd_pool_config config = {
        .program = settings->hsm_keyd,
        .uri = settings->hsm_uri,
        .lock_file = settings->hsm_lock_file,
        .verbs = KEYD_MAY(KEYD_VERB_ADOPT_KEK) | KEYD_MAY(KEYD_VERB_SELF_TEST),
        .n_processes = 1,
        .n_channels = 1,
    };
    struct keyd_pool *pool = NULL;
    enum keyd_status status = KEYD_HSM_FAILED;
    int r;

    if ((r = cli_need(settings->hsm_uri, "hsm.uri")) < 0 ||
        (r = cli_need(settings->hsm_lock_file, "hsm.lock_file")) < 0 ||
        (r = cli_need(settings->hsm_keyd, "hsm.keyd")) < 0 ||
        (r = keyd_pool_open(&config, &pool)) < 0)
        return r;
    r = keyd_adopt_kek(keyd_pool_channel(pool, 0), sealed, length, kek, ret_kcv, &status,
        clock_monotonic_ms() + KEYD_WAIT_MS);
    keyd_pool_close(pool);
    if (r < 0)
        return r;
    if (status == KEYD_BAD_INPUT)
        return error_set(ERROR_INPUT,
            "the file does not open with the exchange key to a key of %u bytes", length);
    return status == KEYD_OK
               ? 0
               : error_set(ERROR_HSM, "the KEK was not sealed: %s", keyd_status_text(status));
}

int cli_kek_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct arguments arguments = {0};
    struct sealed_kek kek = {0};
    uint8_t sealed[KEYD_OAEP_LEN], kcv[KEYD_KCV_LEN];
    unsigned length;
    int r;

    if (read_arguments(argc, argv, &arguments) != 0 || arguments.sealed == NULL ||
        arguments.length == NULL || arguments.last)
        return CLI_USAGE;
    if (!cli_key_length_parse(arguments.length, &length))
        return error_set(ERROR_INPUT, "--length is 16, 24 or 32");
    if ((r = name_kek(&arguments, &kek)) < 0 || (r = read_sealed(arguments.sealed, sealed)) < 0 ||
        (r = cli_open_db(settings, &db)) < 0 || (r = check_peer(db, &kek)) < 0 ||
        (r = adopt(settings, sealed, length, &kek, kcv)) < 0 || (r = db_kek_add(db, &kek)) < 0)
        return r;
    if (r > 0)
        return error_set(ERROR_INPUT, "a KEK with the label %s is there already", kek.label);
    text_add(out, "{\"label\":");
    text_add_json(out, kek.label);
    text_add(out, ",\"kcv\":\"");
    text_add_hex(out, kcv, sizeof(kcv));
    text_add(out, "\"}\n");
    return 0;
}

/* For the verbs that name a KEK and need nothing else; `ret_last` may be NULL: no such option. */
static int read_name(int argc, char **argv, struct sealed_kek *kek, bool *ret_last)
{
    struct arguments arguments = {0};

    if (read_arguments(argc, argv, &arguments) != 0 || arguments.sealed != NULL ||
        arguments.length != NULL || (arguments.last && ret_last == NULL))
        return CLI_USAGE;
    if (ret_last != NULL)
        *ret_last = arguments.last;
    return name_kek(&arguments, kek);
}

static const char *class_name(enum kek_class kek_class)
{
    switch (kek_class) {
    case KEK_CLASS_NS:
        return "ns";
    case KEK_CLASS_AS:
        return "as";
    case KEK_CLASS_TRANSPORT:
        break;
    }
    return "transport";
}

static int no_such_kek(const struct sealed_kek *kek)
{
    return error_set(ERROR_INPUT, "%s %s has no KEK with the label %s",
        kek->kek_class == KEK_CLASS_NS ? "NetID" : "AS-ID", kek->peer_id, kek->label);
}

static void add_kek(
    struct text *out, const char *peer_id, enum kek_class kek_class, const char *label)
{
    text_add(out, "{\"peer\":");
    text_add_json(out, peer_id);
    text_addf(out, ",\"class\":\"%s\",\"label\":", class_name(kek_class));
    text_add_json(out, label);
}

int cli_kek_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(db_kek_list_done) struct db_kek_list list = {0};
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    if ((r = cli_open_db(settings, &db)) < 0 || (r = db_kek_list_load(db, &list)) < 0)
        return r;
    for (size_t i = 0; i < list.n; i++) {
        const struct db_kek_entry *entry = &list.entries[i];

        add_kek(out, entry->peer_id, entry->kek_class, entry->label);
        text_addf(out, ",\"current\":%s,\"created\":\"%s\"}\n",
            entry->is_current ? "true" : "false", entry->created);
    }
    return 0;
}

int cli_kek_use(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct sealed_kek kek = {0};
    int r;

    if ((r = read_name(argc, argv, &kek, NULL)) != 0 || (r = cli_open_db(settings, &db)) < 0 ||
        (r = db_kek_use(db, &kek)) < 0)
        return r;
    if (r > 0)
        return no_such_kek(&kek);
    add_kek(out, kek.peer_id, kek.kek_class, kek.label);
    text_add(out, ",\"current\":true}\n");
    return 0;
}

int cli_kek_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct sealed_kek kek = {0};
    bool last = false;
    int r;

    if ((r = read_name(argc, argv, &kek, &last)) != 0 || (r = cli_open_db(settings, &db)) < 0 ||
        (r = db_kek_revoke(db, &kek, last)) < 0)
        return r;
    if (r == DB_KEK_UNKNOWN)
        return no_such_kek(&kek);
    if (r == DB_KEK_IS_CURRENT && last)
        return error_set(ERROR_INPUT,
            "%s is the current KEK of %s and not its last one: remove the others first", kek.label,
            kek.peer_id);
    if (r == DB_KEK_IS_CURRENT)
        return error_set(ERROR_INPUT,
            "%s is the current KEK of %s: add another first (cradle kek add), or make another one "
            "current (cradle kek use); --last removes it when it is the only one, and joins that "
            "need it are refused from then on, or answered in clear where that is allowed",
            kek.label, kek.peer_id);
    add_kek(out, kek.peer_id, kek.kek_class, kek.label);
    text_add(out, "}\n");
    return 0;
}
