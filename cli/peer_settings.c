#include "cli/peer_settings.h"

#include "activation/operator_check.h"
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

static int read_answer_url(const char *value, struct db_peer *peer)
{
    int r;

    if (strcmp(value, NONE) == 0)
        value = "";
    else if ((r = act_answer_url_check(value)) < 0)
        return r;
    (void)snprintf(peer->answer_url, sizeof(peer->answer_url), "%s", value);
    return 0;
}

static int read_answer_credential(const char *value, struct db_peer *peer)
{
    int r;

    if (strcmp(value, NONE) == 0) {
        peer->answer_credential[0] = '\0';
        return 0;
    }
    if ((r = act_answer_credential_check(value)) < 0)
        return r;
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
