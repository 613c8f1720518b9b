#include "cli/peer_settings.h"

#include "api/client.h"
#include "base/error.h"
#include <stdio.h>
#include <string.h>

#define FIRST_OPTION 256 /* above every letter */
#define NONE "none"
#define N_WORDS 2

#define OF(kind) (1u << (kind))
#define NS OF(PEER_NETWORK_SERVER)
#define NS_AND_AS (OF(PEER_NETWORK_SERVER) | OF(PEER_APPLICATION_SERVER))

struct setting {
    const char *name; /* of the option; in a list with '_' for '-' */
    unsigned kinds;
    unsigned member; /* DB_PEER_... */
    size_t offset;   /* of that member in struct db_peer */
    /* A choice has words, the first for false; any other value has a reader. */
    const char *words[N_WORDS];
    int (*read)(const char *value, struct db_peer *peer);
    bool no_value;
};

static int add_ns_id(const char *value, struct db_peer *peer)
{
    struct eui64 ns_id;

    if (!eui64_parse(value, strlen(value), &ns_id))
        return error_set(ERROR_INPUT, "an NSID has 16 hexadecimal digits, not \"%.40s\"", value);
    for (size_t i = 0; i < peer->n_ns_ids; i++)
        if (memcmp(&peer->ns_ids[i], &ns_id, sizeof(ns_id)) == 0)
            return error_set(ERROR_INPUT, "NSID %.40s is given twice", value);
    if (peer->n_ns_ids == PEER_NS_IDS_MAX)
        return error_set(
            ERROR_INPUT, "a network server may have at most %d NSIDs", PEER_NS_IDS_MAX);
    peer->ns_ids[peer->n_ns_ids++] = ns_id;
    return 0;
}

static int clear_ns_ids(const char *value, struct db_peer *peer)
{
    (void)value;
    peer->n_ns_ids = 0; /* as it was */
    return 0;
}

/* What stands in the database and in lists: nothing that has to be escaped; and it begins as the
 * join server compares it, which takes a scheme in small letters for TLS, with a host, which curl
 * would take from the path. */
static bool is_plainly_written(const char *value)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (const char *c = value; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || strchr("\"\\<>^`{|}#", *c) != NULL)
            return false;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strncmp(value, schemes[i], strlen(schemes[i])) == 0)
            return value[strlen(schemes[i])] != '/';
    return false;
}

static int read_answer_url(const char *value, struct db_peer *peer)
{
    char why[ERROR_TEXT_MAX];
    int r;

    if (strcmp(value, NONE) == 0)
        value = "";
    else if (strlen(value) > PEER_URL_MAX || !is_plainly_written(value))
        return error_set(ERROR_INPUT,
            "an answer URL is https://HOST..., or http:// and a loopback address in digits, of at "
            "most %d characters, without a fragment, or " NONE ", not \"%.60s\"",
            PEER_URL_MAX, value);
    else if ((r = api_client_check_url(value)) < 0) {
        (void)snprintf(why, sizeof(why), "%s", error_text());
        return error_set(r, "the join server would not post to this answer URL: %s", why);
    }
    (void)snprintf(peer->answer_url, sizeof(peer->answer_url), "%s", value);
    return 0;
}

static int read_answer_credential(const char *value, struct db_peer *peer)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    static const char *const endings[] = {".crt", ".key", ".ca", ".header"}; /* api/credential.c */
    size_t len = strlen(value);

    if (strcmp(value, NONE) == 0) {
        peer->answer_credential[0] = '\0';
        return 0;
    }
    if (len == 0 || len > PEER_CREDENTIAL_MAX || value[0] == '.' || strspn(value, letters) != len)
        return error_set(ERROR_INPUT,
            "an answer credential is a name of 1 to %d of A-Z a-z 0-9 . _ -, the first no dot, "
            "or " NONE ", not \"%.64s\"",
            PEER_CREDENTIAL_MAX, value);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (len > strlen(endings[i]) && strcmp(value + len - strlen(endings[i]), endings[i]) == 0)
            return error_set(ERROR_INPUT,
                "an answer credential is named without the ending of its files: \"%.*s\"",
                (int)(len - strlen(endings[i])), value);
    (void)snprintf(peer->answer_credential, sizeof(peer->answer_credential), "%s", value);
    return 0;
}

#define AT(member) offsetof(struct db_peer, member)

static const struct setting settings[] = {
    {.name = "ns-id", .kinds = NS, .member = DB_PEER_NS_IDS, .read = add_ns_id},
    {.name = "no-ns-id",
        .kinds = NS,
        .member = DB_PEER_NS_IDS,
        .read = clear_ns_ids,
        .no_value = true},
    {.name = "allow-plain-keys",
        .kinds = NS,
        .member = DB_PEER_ALLOW_PLAIN_KEYS,
        .offset = AT(allow_plain_keys),
        .words = {"no", "yes"}},
    {.name = "app-s-key",
        .kinds = NS_AND_AS,
        .member = DB_PEER_APP_S_KEY_PLAIN,
        .offset = AT(app_s_key_plain),
        .words = {"wrapped", "plain"}},
    {.name = "session-key-id",
        .kinds = NS,
        .member = DB_PEER_SESSION_KEY_ID_OMIT,
        .offset = AT(session_key_id_omit),
        .words = {"send", "omit"}},
    {.name = "answer-url",
        .kinds = NS_AND_AS,
        .member = DB_PEER_ANSWER_URL,
        .offset = AT(answer_url),
        .read = read_answer_url},
    {.name = "answer-credential",
        .kinds = NS_AND_AS,
        .member = DB_PEER_ANSWER_CREDENTIAL,
        .offset = AT(answer_credential),
        .read = read_answer_credential},
};

#define N_SETTINGS (sizeof(settings) / sizeof(settings[0]))

_Static_assert(N_SETTINGS <= CLI_PEER_OPTIONS_MAX, "all options fit");

size_t cli_peer_options(enum peer_kind kind, struct option ret[static CLI_PEER_OPTIONS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < N_SETTINGS; i++)
        if ((settings[i].kinds & OF(kind)) != 0)
            ret[n++] = (struct option){settings[i].name,
                settings[i].no_value ? no_argument : required_argument, NULL,
                FIRST_OPTION + (int)i};
    return n;
}

static int take_word(const struct setting *setting, const char *value, struct db_peer *peer)
{
    bool chosen;

    for (int i = 0; i < N_WORDS; i++)
        if (strcmp(setting->words[i], value) == 0) {
            chosen = i != 0;
            memcpy((char *)peer + setting->offset, &chosen, sizeof(chosen));
            return 0;
        }
    return error_set(ERROR_INPUT, "--%s is %s or %s, not \"%.40s\"", setting->name,
        setting->words[0], setting->words[1], value);
}

int cli_peer_option_take(int option, const char *value, struct db_peer *peer, unsigned *set)
{
    const struct setting *setting;
    int r;

    if (option < FIRST_OPTION || option >= FIRST_OPTION + (int)N_SETTINGS)
        return CLI_PEER_NO_OPTION;
    setting = &settings[option - FIRST_OPTION];
    /* Behind --no-ns-id there are none, behind --ns-id at least one. */
    if ((setting->member & *set & DB_PEER_NS_IDS) != 0 &&
        (setting->no_value || peer->n_ns_ids == 0))
        return error_set(ERROR_INPUT, "--ns-id and --no-ns-id exclude each other");
    r = setting->read != NULL ? setting->read(value, peer) : take_word(setting, value, peer);
    if (r == 0)
        *set |= setting->member;
    return r;
}

/* What the option was, or could have been. */
static const char *value_of(const struct setting *setting, const struct db_peer *peer)
{
    const char *at = (const char *)peer + setting->offset;
    bool chosen;

    if (setting->words[0] == NULL)
        return at[0] != '\0' ? at : NONE;
    memcpy(&chosen, at, sizeof(chosen));
    return setting->words[chosen];
}

void cli_peer_settings_write(struct text *out, const struct db_peer *peer, unsigned set)
{
    for (size_t i = 0; i < N_SETTINGS; i++) {
        const struct setting *setting = &settings[i];

        if ((setting->kinds & OF(peer->kind)) == 0 || (setting->member & set) == 0 ||
            setting->member == DB_PEER_NS_IDS)
            continue;
        text_add(out, ",\"");
        for (const char *c = setting->name; *c != '\0'; c++)
            text_addf(out, "%c", *c == '-' ? '_' : *c);
        text_add(out, "\":");
        text_add_json(out, value_of(setting, peer));
    }
}
