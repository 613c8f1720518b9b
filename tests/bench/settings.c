#include "tests/bench/settings.h"

#include "base/config.h"
#include "base/error.h"
#include "base/hex.h"
#include <stdio.h>
#include <string.h>

#define OVERRIDES_MAX 32
#define OVERRIDE_TEXT_MAX 160
#define DEVICES_MAX 10000000
#define DEV_EUIS_MAX 1000000000 /* 32 bits of a DevEUI count */
#define BENCH_CLAIMS_MAX 1000   /* of a call */
#define RX_DELAY 1

#define AT(member) offsetof(struct bench_settings, member)

static const struct config_setting table[] = {
    {"database.conninfo", NULL, CONFIG_TEXT, AT(conninfo), NULL, 0, 0,
        "PostgreSQL as cradle_activation"},
    {"database.join_conninfo", NULL, CONFIG_TEXT, AT(join_conninfo), NULL, 0, 0,
        "PostgreSQL as cradle_join"},
    {"hsm.uri", NULL, CONFIG_TEXT, AT(hsm_uri), NULL, 0, 0, "RFC 7512 URI of the token"},
    {"hsm.lock_file", NULL, CONFIG_TEXT, AT(hsm_lock), NULL, 0, 0, "lock of the token"},
    {"hsm.keyd", NULL, CONFIG_TEXT, AT(keyd), NULL, 0, 0, "path of cradle-keyd"},
    {"peer.token", NULL, CONFIG_TEXT, AT(token), NULL, 0, 0, "the network server's token"},
    {"peer.certificate", NULL, CONFIG_TEXT, AT(certificate), "", 0, 0, "its certificate, PEM"},
    {"peer.key", NULL, CONFIG_TEXT, AT(key), "", 0, 0, "the key of that, PEM"},
    {"peer.ca", NULL, CONFIG_TEXT, AT(ca), "", 0, 0, "CA of the join servers, PEM"},
    {"peer.as_token", NULL, CONFIG_TEXT, AT(as_token), NULL, 0, 0,
        "the application server's token"},
    {"peer.owner_token", NULL, CONFIG_TEXT, AT(owner_token), "", 0, 0,
        "access token of a client that may claim"},
    {"peer.net_id", NULL, CONFIG_TEXT, AT(net_id), NULL, 0, 0, "its NetID"},
    {"peer.as_id", NULL, CONFIG_TEXT, AT(as_id), NULL, 0, 0, "AS-ID of the application server"},
    {"peer.ns_kek_label", NULL, CONFIG_TEXT, AT(ns_kek_label), NULL, 0, 0, "label of the NS KEK"},
    {"peer.ns_kek", NULL, CONFIG_TEXT, AT(ns_kek), NULL, 0, 0, "the NS KEK, hex"},
    {"peer.as_kek_label", NULL, CONFIG_TEXT, AT(as_kek_label), NULL, 0, 0, "label of the AS KEK"},
    {"peer.as_kek", NULL, CONFIG_TEXT, AT(as_kek), NULL, 0, 0, "the AS KEK, hex"},
    {"run.version", NULL, CONFIG_TEXT, AT(version), "1.0.3", 0, 0,
        "LoRaWAN version of the devices, or mix"},
    {"run.ports", NULL, CONFIG_TEXT, AT(ports), "", 0, 0, "ports of the join servers"},
    {"run.devices", NULL, CONFIG_UNSIGNED, AT(devices), "10000", 1, DEVICES_MAX, "devices"},
    {"run.seed", NULL, CONFIG_UNSIGNED, AT(seed), "1", 0, UINT32_MAX,
        "keys, order and DevNonces follow from it"},
    {"run.connections", NULL, CONFIG_UNSIGNED, AT(connections), "64", 1, BENCH_CONNECTIONS_MAX,
        "keep-alive connections"},
    {"run.seconds", NULL, CONFIG_UNSIGNED, AT(seconds), "10", 1, 3600, "measured time"},
    {"run.rate", NULL, CONFIG_UNSIGNED, AT(rate), "0", 0, 1000000,
        "requests a second; 0: the next when one is answered"},
    {"run.within", NULL, CONFIG_UNSIGNED, AT(within), "0", 0, 3600,
        "seconds in which every device joins"},
    {"run.threads", NULL, CONFIG_UNSIGNED, AT(threads), "1", 1, 64, "threads that commit"},
    {"run.tls", NULL, CONFIG_UNSIGNED, AT(tls), "0", 0, 1, "1: mutual TLS"},
    {"run.processes", NULL, CONFIG_UNSIGNED, AT(processes), "1", 1, 64, "key processes"},
    {"run.first", NULL, CONFIG_UNSIGNED, AT(first), "0", 0, DEV_EUIS_MAX,
        "the number that the first DevEUI is made of"},
    {"run.stride", NULL, CONFIG_UNSIGNED, AT(stride), "1", 1, DEVICES_MAX,
        "from one DevEUI to the next"},
    {"run.tries", NULL, CONFIG_UNSIGNED, AT(tries), "100000", 10, 10000000,
        "of each class of refusals"},
    {"run.in-a-row", NULL, CONFIG_UNSIGNED, AT(in_a_row), "1", 1, 10000,
        "refusals of one class before the next class is drawn"},
    {"run.message", NULL, CONFIG_TEXT, AT(message), "JoinReq", 0, 0, "what is refused"},
    {"run.format", NULL, CONFIG_TEXT, AT(format), "csv", 0, 0, "of an import file: csv or jsonl"},
    {"run.tokens", NULL, CONFIG_TEXT, AT(tokens), "", 0, 0, "path of a file of access tokens"},
    {"run.codes", NULL, CONFIG_UNSIGNED, AT(codes), "0", 0, 1, "1: with a code each"},
    {"run.batch", NULL, CONFIG_UNSIGNED, AT(batch), "1", 1, BENCH_CLAIMS_MAX,
        "claims of a call, or joins of a batch"},
    {"run.out", NULL, CONFIG_TEXT, AT(out), "", 0, 0, "path of the import file"},
};
#define N_SETTINGS (sizeof(table) / sizeof(table[0]))

int bench_settings_read(int argc, char **argv, struct bench_settings *ret)
{
    char texts[OVERRIDES_MAX][OVERRIDE_TEXT_MAX];
    const char *overrides[OVERRIDES_MAX];
    size_t n = 0;
    const char *file = NULL;

    for (int i = 0; i < argc; i += 2) {
        if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc)
            return error_set(ERROR_CONFIG, "%.60s is not an option with a value", argv[i]);
        if (strcmp(argv[i], "--config") == 0) {
            file = argv[i + 1];
            continue;
        }
        if (n == OVERRIDES_MAX)
            return error_set(ERROR_CONFIG, "more than %d options", OVERRIDES_MAX);
        int len = snprintf(texts[n], sizeof(texts[n]), "run.%s=%s", argv[i] + 2, argv[i + 1]);
        if (len < 0 || (size_t)len >= sizeof(texts[n]))
            return error_set(ERROR_CONFIG, "option %.60s is too long", argv[i]);
        overrides[n] = texts[n];
        n++;
    }
    return config_load(table, N_SETTINGS, file, overrides, n, ret);
}

void bench_settings_done(struct bench_settings *settings)
{
    config_done(table, N_SETTINGS, settings);
}

static int kek_read(const char *label, const char *hex, struct simdev_key_ring *ring)
{
    struct simdev_kek *kek = &ring->keks[0];
    size_t len = strlen(hex) / 2;

    if (strlen(label) > KEK_LABEL_MAX || len > sizeof(kek->bytes) ||
        !hex_decode(hex, strlen(hex), kek->bytes, len))
        return error_set(ERROR_CONFIG, "the KEK %.80s is not a label and hex", label);
    (void)snprintf(kek->label, sizeof(kek->label), "%s", label);
    kek->len = len;
    ring->n_keks = 1;
    return 0;
}

int bench_network_make(const struct bench_settings *settings, struct simdev_network *ret)
{
    /* The five channels that most networks of EU868 add at join, and the type byte. */
    static const uint8_t eu868[LW_CF_LIST_LEN] = {0x18, 0x4f, 0x84, 0xe8, 0x56, 0x84, 0xb8, 0x5e,
        0x84, 0x88, 0x66, 0x84, 0x58, 0x6e, 0x84, 0x00};

    *ret = (struct simdev_network){.rx_delay = RX_DELAY, .has_cf_list = true};
    memcpy(ret->cf_list, eu868, sizeof(eu868));
    if (!net_id_parse(settings->net_id, strlen(settings->net_id), &ret->net_id))
        return error_set(ERROR_CONFIG, "%.20s is not a NetID", settings->net_id);
    int r = kek_read(settings->ns_kek_label, settings->ns_kek, &ret->ns);
    if (r == 0)
        r = kek_read(settings->as_kek_label, settings->as_kek, &ret->as);
    return r;
}

void bench_network_wipe(struct simdev_network *network)
{
    secret_wipe(network, sizeof(*network));
}

int bench_ports_parse(
    const struct bench_settings *settings, uint16_t ret[static BENCH_PORTS_MAX], size_t *ret_n)
{
    const char *at = settings->ports;
    size_t n = 0;

    do {
        char *end = NULL;
        unsigned long port = strtoul(at, &end, 10);

        if (n == BENCH_PORTS_MAX || end == at || (*end != ',' && *end != '\0') || port == 0 ||
            port > UINT16_MAX)
            return error_set(ERROR_CONFIG, "\"%.60s\" is not a list of ports", settings->ports);
        ret[n++] = (uint16_t)port;
        at = end + 1;
        if (*end == '\0')
            break;
    } while (true);
    *ret_n = n;
    return 0;
}

struct keyd_pool_config bench_keyd_config(
    const struct bench_settings *settings, unsigned n_processes, unsigned n_channels)
{
    return (struct keyd_pool_config){.program = settings->keyd,
        .uri = settings->hsm_uri,
        .lock_file = settings->hsm_lock,
        .verbs = KEYD_MAY(KEYD_VERB_JOIN) | KEYD_MAY(KEYD_VERB_ADOPT_KEY) |
                 KEYD_MAY(KEYD_VERB_SELF_TEST),
        .n_processes = n_processes,
        .n_channels = n_channels};
}
