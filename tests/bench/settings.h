/* What the verbs of cradle-bench are told: a private file written by scripts/bench, and options
 * --NAME VALUE for the settings of section [run]. */
#pragma once

#include "cli/device_session.h"
#include "hsm/client.h"

#define BENCH_CONNECTIONS_MAX 4096
#define BENCH_PORTS_MAX 16

struct bench_settings {
    /* [database]: as the activation service, to insert devices; as the join server, to read nonces
     * and to commit joins */
    char *conninfo;
    char *join_conninfo;
    /* [hsm] */
    char *hsm_uri;
    char *hsm_lock;
    char *keyd;
    /* [peer]: the network server that the load generator is, and the application server */
    char *token;
    char *certificate; /* PEM files for mutual TLS: its own, its key, and the join servers' CA */
    char *key;
    char *ca;
    char *as_token;
    char *owner_token; /* access token of a client that may claim */
    char *net_id;
    char *as_id;
    char *ns_kek_label;
    char *ns_kek;
    char *as_kek_label;
    char *as_kek;
    /* [run] */
    char *version;
    char *ports; /* of the join servers on the loopback address, with commas between */
    unsigned devices;
    unsigned seed;
    unsigned connections;
    unsigned seconds;
    unsigned rate;   /* requests a second; 0: closed loop */
    unsigned within; /* of a storm: seconds in which every device joins; 0: another kind of storm */
    unsigned threads;
    unsigned processes;
    unsigned tls;      /* 1: over mutual TLS, `ports` are of the listeners for it */
    unsigned first;    /* the number that the first DevEUI is made of */
    unsigned stride;   /* from one DevEUI to the next */
    unsigned tries;    /* of each class of refusals */
    unsigned in_a_row; /* of one class, before the next class is drawn */
    char *message;     /* MessageType of what is refused */
    char *format;      /* of an import file: csv or jsonl */
    char *tokens;      /* path of a file: access tokens of clients that may claim, one a line */
    unsigned codes;    /* 1: each device of an import file has a code */
    unsigned batch;    /* claims of a call, 1: one alone, without a list; joins of a batch */
    char *out;         /* its path */
};

/** Reads `--config FILE [--NAME VALUE]...`. ERROR_CONFIG says what is wrong. */
int bench_settings_read(int argc, char **argv, struct bench_settings *ret);
void bench_settings_done(struct bench_settings *settings);

/** The network every device joins: NetID, the channels of EU868, KEKs. DevAddr and OptNeg are the
 * device's. Wipe it: it holds KEKs. */
int bench_network_make(const struct bench_settings *settings, struct simdev_network *ret);
void bench_network_wipe(struct simdev_network *network);

int bench_ports_parse(
    const struct bench_settings *settings, uint16_t ret[static BENCH_PORTS_MAX], size_t *ret_n);

/** The keyds of this measurement, with `n_channels` threads to ask them. */
struct keyd_pool_config bench_keyd_config(
    const struct bench_settings *settings, unsigned n_processes, unsigned n_channels);
