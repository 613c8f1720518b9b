#include "cli/device_options.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/error.h"
#include "base/hex.h"
#include <errno.h>
#include <getopt.h>
#include <string.h>

#define SECRET_TEXT_MAX (SIMDEV_TOKEN_MAX + 2)
#define HELP_COLUMN 24

typedef int option_set(struct simdev_options *options, const char *name, const char *value);

static int wrong(const char *name, const char *wanted)
{
    return error_set(ERROR_INPUT, "--%s: wants %s", name, wanted);
}

static int set_hex(const char *name, const char *value, void *out, size_t len, const char *wanted)
{
    return hex_decode_spelled(value, strlen(value), out, len) ? 0 : wrong(name, wanted);
}

static int set_number(const char *name, const char *value, unsigned long max, unsigned long *ret)
{
    char *end = NULL;

    errno = 0;
    unsigned long n = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end != '\0' || errno != 0 || n > max)
        return error_set(ERROR_INPUT, "--%s: wants a number from 0 to %lu", name, max);
    *ret = n;
    return 0;
}

/* The value itself, or for @FILE the content of a file that only its owner may read. `out` has
 * SECRET_TEXT_MAX bytes. */
static int read_secret(const char *name, const char *value, char *out)
{
    if (value[0] == '@') {
        int r = config_read_secret_file(value + 1, out, SECRET_TEXT_MAX);
        char why[ERROR_TEXT_MAX];

        if (r == 0)
            return 0;
        (void)snprintf(why, sizeof(why), "%s", error_text());
        return error_set(r, "--%s: %s", name, why);
    }
    if (strlen(value) >= SECRET_TEXT_MAX)
        return wrong(name, "a shorter value");
    memcpy(out, value, strlen(value) + 1);
    return 0;
}

static int set_key(const char *name, const char *value, struct secret_key *key)
{
    char text[SECRET_TEXT_MAX];
    int r = read_secret(name, value, text);

    if (r == 0)
        r = set_hex(name, text, key->bytes, sizeof(key->bytes),
            "a key of 32 hex digits, or @FILE with one");
    secret_wipe(text, sizeof(text));
    return r;
}

/* LABEL=HEX or LABEL=@FILE, added to a ring. */
static int add_kek(const char *name, const char *value, struct simdev_key_ring *ring)
{
    static const char wanted[] = "LABEL=HEX with 32, 48 or 64 hex digits, or LABEL=@FILE";
    const char *equals = strchr(value, '=');
    char text[SECRET_TEXT_MAX];

    if (equals == NULL || equals == value || (size_t)(equals - value) > KEK_LABEL_MAX)
        return wrong(name, wanted);
    if (ring->n_keks == SIMDEV_KEKS_MAX)
        return error_set(ERROR_INPUT, "--%s: at most %d times", name, SIMDEV_KEKS_MAX);
    int r = read_secret(name, equals + 1, text);
    if (r == 0) {
        struct simdev_kek *kek = &ring->keks[ring->n_keks];
        size_t len = strlen(text) / 2;

        *kek = (struct simdev_kek){.len = len};
        memcpy(kek->label, value, (size_t)(equals - value));
        if ((len != 16 && len != 24 && len != 32) ||
            !hex_decode(text, strlen(text), kek->bytes, len))
            r = wrong(name, wanted);
        else
            ring->n_keks++;
    }
    secret_wipe(text, sizeof(text));
    return r;
}

static int set_dev_eui(struct simdev_options *o, const char *name, const char *value)
{
    return set_hex(name, value, o->device.dev_eui.bytes, 8, "an EUI of 16 hex digits");
}

static int set_join_eui(struct simdev_options *o, const char *name, const char *value)
{
    return set_hex(name, value, o->device.join_eui.bytes, 8, "an EUI of 16 hex digits");
}

static int set_app_key(struct simdev_options *o, const char *name, const char *value)
{
    return set_key(name, value, &o->device.app_key);
}

static int set_nwk_key(struct simdev_options *o, const char *name, const char *value)
{
    return set_key(name, value, &o->device.nwk_key);
}

static int set_mac_version(struct simdev_options *o, const char *name, const char *value)
{
    return lw_mac_version_parse(value, &o->device.mac_version)
               ? 0
               : wrong(name, "1.0.0, 1.0.1, 1.0.2, 1.0.3, 1.0.4 or 1.1");
}

static int set_net_id(struct simdev_options *o, const char *name, const char *value)
{
    return set_hex(name, value, o->network.net_id.bytes, 3, "a NetID of 6 hex digits");
}

static int set_url(struct simdev_options *o, const char *name, const char *value)
{
    if (strncmp(value, "http://", 7) != 0 && strncmp(value, "https://", 8) != 0)
        return wrong(name, "an http:// or https:// address");
    o->url = value;
    return 0;
}

static int set_token(struct simdev_options *o, const char *name, const char *value)
{
    char text[SECRET_TEXT_MAX];
    int r = read_secret(name, value, text);

    /* A line end would end the HTTP header. */
    if (r == 0 &&
        (text[0] == '\0' || strlen(text) > SIMDEV_TOKEN_MAX || strpbrk(text, "\r\n ") != NULL))
        r = wrong(name, "a bearer token, or @FILE with one");
    if (r == 0)
        memcpy(o->token, text, strlen(text) + 1);
    secret_wipe(text, sizeof(text));
    return r;
}

static int set_cert(struct simdev_options *o, const char *name, const char *value)
{
    (void)name;
    o->cert = value;
    return 0;
}

static int set_cert_key(struct simdev_options *o, const char *name, const char *value)
{
    (void)name;
    o->key = value;
    return 0;
}

static int set_ca(struct simdev_options *o, const char *name, const char *value)
{
    (void)name;
    o->ca = value;
    return 0;
}

static int set_ns_kek(struct simdev_options *o, const char *name, const char *value)
{
    return add_kek(name, value, &o->network.ns);
}

static int set_as_kek(struct simdev_options *o, const char *name, const char *value)
{
    return add_kek(name, value, &o->network.as);
}

static int set_dev_nonce(struct simdev_options *o, const char *name, const char *value)
{
    unsigned long n = 0;
    int r = set_number(name, value, UINT16_MAX, &n);

    o->dev_nonce = (uint16_t)n;
    return r;
}

static int set_rejoin(struct simdev_options *o, const char *name, const char *value)
{
    unsigned long n = 0;
    int r = set_number(name, value, LW_REJOIN_2, &n);

    o->device.rejoins = true;
    o->device.rejoin_type = (enum lw_join_type)n;
    return r;
}

/* JOINNONCE,NONCE: the join or rejoin that made the session. */
static int set_session(struct simdev_options *o, const char *name, const char *value)
{
    unsigned long nonce = 0, join_nonce = 0;
    const char *comma = strchr(value, ',');
    char first[16];

    if (comma == NULL || (size_t)(comma - value) >= sizeof(first))
        return wrong(name, "a JoinNonce, a comma, and a DevNonce or RJcount");
    memcpy(first, value, (size_t)(comma - value));
    first[comma - value] = '\0';
    int r = set_number(name, first, LW_JOIN_NONCE_MAX, &join_nonce);
    if (r == 0)
        r = set_number(name, comma + 1, UINT16_MAX, &nonce);
    o->device.session_join_nonce = (uint32_t)join_nonce;
    o->device.session_nonce = (uint16_t)nonce;
    return r;
}

static int set_last_join_nonce(struct simdev_options *o, const char *name, const char *value)
{
    unsigned long n = 0;
    int r = set_number(name, value, LW_JOIN_NONCE_MAX, &n);

    o->device.last_join_nonce = (uint32_t)n;
    return r;
}

static int set_dev_addr(struct simdev_options *o, const char *name, const char *value)
{
    return set_hex(name, value, o->network.dev_addr.bytes, 4, "a DevAddr of 8 hex digits");
}

static int set_dl_settings(struct simdev_options *o, const char *name, const char *value)
{
    return set_hex(name, value, &o->network.dl_settings, 1, "2 hex digits");
}

static int set_rx_delay(struct simdev_options *o, const char *name, const char *value)
{
    unsigned long n = 0;
    int r = set_number(name, value, 15, &n);

    o->network.rx_delay = (uint8_t)n;
    return r;
}

static int set_cf_list(struct simdev_options *o, const char *name, const char *value)
{
    o->network.has_cf_list = true;
    return set_hex(name, value, o->network.cf_list, LW_CF_LIST_LEN, "32 hex digits");
}

static int set_timeout(struct simdev_options *o, const char *name, const char *value)
{
    unsigned long n = 0;
    int r = set_number(name, value, SIMDEV_TIMEOUT_S_MAX, &n);

    if (r == 0 && n == 0)
        return wrong(name, "at least 1 second");
    o->timeout_s = (unsigned)n;
    return r;
}

static int set_json(struct simdev_options *o, const char *name, const char *value)
{
    (void)name, (void)value;
    o->json = true;
    return 0;
}

static int set_show_keys(struct simdev_options *o, const char *name, const char *value)
{
    (void)name, (void)value;
    o->show_keys = true;
    return 0;
}

static int set_print_request(struct simdev_options *o, const char *name, const char *value)
{
    (void)name, (void)value;
    o->print_request = true;
    return 0;
}

static int set_help(struct simdev_options *o, const char *name, const char *value)
{
    (void)name, (void)value;
    o->help = true;
    return 0;
}

enum option_id {
    OPT_DEV_EUI,
    OPT_JOIN_EUI,
    OPT_APP_KEY,
    OPT_NWK_KEY,
    OPT_MAC_VERSION,
    OPT_NET_ID,
    OPT_URL,
    OPT_TOKEN,
    OPT_CERT,
    OPT_KEY,
    OPT_CA,
    OPT_NS_KEK,
    OPT_AS_KEK,
    OPT_DEV_NONCE,
    OPT_REJOIN,
    OPT_RJ_COUNT,
    OPT_SESSION,
    OPT_LAST_JOIN_NONCE,
    OPT_DEV_ADDR,
    OPT_DL_SETTINGS,
    OPT_RX_DELAY,
    OPT_CF_LIST,
    OPT_TIMEOUT,
    OPT_JSON,
    OPT_SHOW_KEYS,
    OPT_PRINT_REQUEST,
    OPT_HELP,
};
#define N_OPTIONS (OPT_HELP + 1)

enum { ALWAYS = 1, TO_SEND = 2, SECRET = 4 };

static const struct option_spec {
    const char *name;
    const char *arg; /* NULL: a switch */
    unsigned flags;  /* ALWAYS required; TO_SEND unless --print-request; SECRET wiped from argv */
    option_set *set;
    const char *help;
} specs[N_OPTIONS] = {
    [OPT_DEV_EUI] = {"dev-eui", "EUI", ALWAYS, set_dev_eui, "the device's DevEUI, 16 hex digits"},
    [OPT_JOIN_EUI] = {"join-eui", "EUI", ALWAYS, set_join_eui, "its JoinEUI (AppEUI)"},
    [OPT_APP_KEY] = {"app-key", "KEY", ALWAYS | SECRET, set_app_key,
        "1.1: AppKey; 1.0.x: the one root key"},
    [OPT_NWK_KEY] = {"nwk-key", "KEY", SECRET, set_nwk_key, "1.1 only: NwkKey"},
    [OPT_MAC_VERSION] = {"mac-version", "V", ALWAYS, set_mac_version, "1.0.0 to 1.0.4, or 1.1"},
    [OPT_NET_ID] = {"net-id", "ID", ALWAYS, set_net_id, "the network server's NetID, 6 hex digits"},
    [OPT_URL] = {"url", "URL", TO_SEND, set_url, "the join server's address"},
    [OPT_TOKEN] = {"token", "TOKEN", SECRET, set_token, "the network server's bearer token, or"},
    [OPT_CERT] = {"cert", "FILE", 0, set_cert, "its client certificate, PEM, for mutual TLS, with"},
    [OPT_KEY] = {"key", "FILE", 0, set_cert_key, "the private key of that"},
    [OPT_CA] = {"ca", "FILE", 0, set_ca, "CA of the join server, PEM; default: the system's"},
    [OPT_NS_KEK] = {"ns-kek", "LABEL=KEY", SECRET, set_ns_kek,
        "KEK of the network server; AES-128, 192 or 256; may be repeated"},
    [OPT_AS_KEK] = {"as-kek", "LABEL=KEY", SECRET, set_as_kek,
        "KEK of the application server, the same"},
    [OPT_DEV_NONCE] = {"dev-nonce", "N", 0, set_dev_nonce,
        "default: random up to 1.0.3; 0, the first of a counter, from 1.0.4 on"},
    [OPT_REJOIN] = {"rejoin", "TYPE", 0, set_rejoin,
        "1.1 only: a Rejoin-Request of type 0, 1 or 2 in the place of a join"},
    [OPT_RJ_COUNT] = {"rj-count", "N", 0, set_dev_nonce, "its RJcount; default 0"},
    [OPT_SESSION] = {"session", "N,N", 0, set_session,
        "types 0 and 2: JoinNonce, and DevNonce or RJcount, that the join before has printed"},
    [OPT_LAST_JOIN_NONCE] = {"last-join-nonce", "N", 0, set_last_join_nonce,
        "the device wants a JoinNonce above this; default 0, a fresh device"},
    [OPT_DEV_ADDR] = {"dev-addr", "ADDR", 0, set_dev_addr,
        "8 hex digits; default: random within the NetID"},
    [OPT_DL_SETTINGS] = {"dl-settings", "HEX", 0, set_dl_settings,
        "default 80 (OptNeg) for 1.1, else 00"},
    [OPT_RX_DELAY] = {"rx-delay", "N", 0, set_rx_delay, "0 to 15 seconds; default 1"},
    [OPT_CF_LIST] = {"cf-list", "HEX", 0, set_cf_list, "32 hex digits; default none"},
    [OPT_TIMEOUT] = {"timeout", "S", 0, set_timeout, "seconds to wait for the answer; default 5"},
    [OPT_JSON] = {"json", NULL, 0, set_json, "print one JSON object"},
    [OPT_SHOW_KEYS] = {"show-keys", NULL, 0, set_show_keys, "print the derived session keys too"},
    [OPT_PRINT_REQUEST] = {"print-request", NULL, 0, set_print_request,
        "print the JoinReq, for curl, and send nothing"},
    [OPT_HELP] = {"help", NULL, 0, set_help, "print this"},
};

void simdev_options_help(FILE *out)
{
    (void)fputs(
        "usage: cradle-device join OPTIONS\n\n"
        "One join or rejoin of a simulated device through a simulated network server. Opens\n"
        "the answer as the device, the network server and the application server would, and\n"
        "says whether all three agree.\n\n",
        out);
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const char *mark = (specs[i].flags & (ALWAYS | TO_SEND)) ? "*" : " ";
        int n = fprintf(out, " %s --%s%s%s", mark, specs[i].name, specs[i].arg ? " " : "",
            specs[i].arg ? specs[i].arg : "");

        (void)fprintf(out, "%*s%s\n", n < HELP_COLUMN ? HELP_COLUMN - n : 1, "", specs[i].help);
    }
    (void)fputs(
        "\n * required; --url, and --token or --cert, not with --print-request.\n"
        "A KEY is hex, or @FILE: a file with the hex in it that only its owner may read. So\n"
        "is TOKEN. What stands on a command line is seen by others, if only for a moment.\n\n"
        "exit status: 0 all agree, 1 wrong use or no usable answer, 2 refused by the join\n"
        "server, 3 the answer disagrees with the device.\n",
        out);
}

/* DevAddr within a NetID (TS002-1.0, NetID types): type t has t ones and a zero, then the low bits
 * of the NetID as NwkID, then the network's own part. */
static int default_dev_addr(const struct net_id *net_id, struct dev_addr *ret)
{
    static const unsigned nwk_id_bits[] = {6, 6, 9, 11, 12, 13, 15, 17};
    unsigned type = net_id->bytes[0] >> 5;
    unsigned nwk_addr_bits = 32 - (type + 1) - nwk_id_bits[type];
    uint32_t id =
        ((uint32_t)net_id->bytes[0] << 16 | (uint32_t)net_id->bytes[1] << 8 | net_id->bytes[2]) &
        ((1u << nwk_id_bits[type]) - 1);
    uint32_t addr = 0;
    int r = random_bytes(&addr, sizeof(addr));

    if (r < 0)
        return r;
    addr &= (1u << nwk_addr_bits) - 1;
    addr |= id << nwk_addr_bits;
    addr |= type == 0 ? 0 : ~0u << (32 - type);
    for (unsigned i = 0; i < 4; i++)
        ret->bytes[i] = (uint8_t)(addr >> (24 - 8 * i));
    return 0;
}

static bool given(const struct simdev_options *options, enum option_id id)
{
    return (options->given & 1u << id) != 0;
}

static int fill_defaults(struct simdev_options *o)
{
    int r = 0;

    if (!given(o, OPT_DEV_NONCE) && o->device.mac_version <= LW_MAC_1_0_3)
        r = random_bytes(&o->dev_nonce, sizeof(o->dev_nonce));
    if (r == 0 && !given(o, OPT_DEV_ADDR))
        r = default_dev_addr(&o->network.net_id, &o->network.dev_addr);
    if (!given(o, OPT_DL_SETTINGS) && o->device.mac_version == LW_MAC_1_1)
        o->network.dl_settings = LW_OPT_NEG;
    return r;
}

static int check_together(const struct simdev_options *o)
{
    bool is_1_1 = o->device.mac_version == LW_MAC_1_1;
    bool in_session = o->device.rejoins && o->device.rejoin_type != LW_REJOIN_1;
    bool is_tls = o->url != NULL && strncmp(o->url, "https://", 8) == 0;

    for (unsigned i = 0; i < N_OPTIONS; i++) {
        bool required = (specs[i].flags & ALWAYS) != 0 ||
                        ((specs[i].flags & TO_SEND) != 0 && !o->print_request);

        if (required && !given(o, (enum option_id)i))
            return error_set(ERROR_INPUT, "--%s is missing", specs[i].name);
    }
    if (!o->print_request && !given(o, OPT_TOKEN) && !given(o, OPT_CERT))
        return error_set(ERROR_INPUT, "--token or --cert is missing: who asks?");
    if (given(o, OPT_CERT) != given(o, OPT_KEY))
        return error_set(ERROR_INPUT, "--cert and --key go together");
    if ((given(o, OPT_CERT) || given(o, OPT_CA)) && !is_tls && !o->print_request)
        return error_set(ERROR_INPUT, "--cert, --key and --ca want an https:// address");
    if (given(o, OPT_REJOIN) && !is_1_1)
        return error_set(ERROR_INPUT, "--rejoin is for a 1.1 device");
    if (given(o, OPT_REJOIN) && given(o, OPT_DEV_NONCE))
        return error_set(ERROR_INPUT,
            "--dev-nonce does not go with --rejoin: a rejoin has a counter of its own, --rj-count");
    if (!given(o, OPT_SESSION) && in_session)
        return error_set(ERROR_INPUT,
            "--rejoin 0 and 2 need --session: the JoinNonce and the DevNonce (or RJcount) that the "
            "join before has printed, as 7,12");
    if (given(o, OPT_SESSION) && !in_session)
        return error_set(ERROR_INPUT, "--session goes with --rejoin 0 and 2 alone");
    if (given(o, OPT_RJ_COUNT) && !given(o, OPT_REJOIN))
        return error_set(ERROR_INPUT, "--rj-count goes with --rejoin");
    if (is_1_1 && !given(o, OPT_NWK_KEY))
        return error_set(ERROR_INPUT, "--nwk-key is missing: a 1.1 device has two root keys");
    if (!is_1_1 && given(o, OPT_NWK_KEY))
        return error_set(
            ERROR_INPUT, "--nwk-key: a 1.0.x device has one root key, give it as --app-key");
    return 0;
}

static int take_option(struct simdev_options *o, unsigned id, char *value)
{
    int r = specs[id].set(o, specs[id].name, value);

    o->given |= 1u << id;
    if ((specs[id].flags & SECRET) != 0 && value != NULL)
        secret_wipe(value, strlen(value));
    return r;
}

/* What getopt refused, without a value that may stand behind '='. */
static int refuse(const char *arg, const char *why)
{
    return error_set(ERROR_INPUT, "%.*s: %s", (int)strcspn(arg, "="), arg, why);
}

int simdev_options_read(int argc, char **argv, struct simdev_options *ret)
{
    CLEANUP(simdev_options_wipe)
    struct simdev_options o = {.network.rx_delay = 1, .timeout_s = SIMDEV_TIMEOUT_S};
    struct option longs[N_OPTIONS + 1] = {{0}};

    for (unsigned i = 0; i < N_OPTIONS; i++)
        longs[i] = (struct option){
            specs[i].name, specs[i].arg ? required_argument : no_argument, NULL, (int)i + 256};
    optind = 0; /* glibc: start anew */
    for (;;) {
        int c = getopt_long(argc, argv, ":h", longs, NULL);

        if (c == -1)
            break;
        if (c == ':')
            return refuse(argv[optind - 1], "wants a value");
        if (c == '?')
            return refuse(argv[optind - 1], "no such option, see --help");
        unsigned id = c == 'h' ? (unsigned)OPT_HELP : (unsigned)c - 256;
        int r = take_option(&o, id, optarg);
        if (r < 0)
            return r;
    }
    if (!o.help) {
        if (optind < argc)
            return error_set(ERROR_INPUT, "an argument too many: options begin with --");
        int r = check_together(&o);
        if (r == 0)
            r = fill_defaults(&o);
        if (r < 0)
            return r;
    }
    *ret = o;
    return 0;
}

void simdev_options_wipe(struct simdev_options *options)
{
    secret_wipe(options, sizeof(*options));
}
