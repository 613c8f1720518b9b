/* The options of `cradle-device join`, read from one table that also prints the help. */
#pragma once

#include "cli/device_session.h"
#include <stdio.h>

#define SIMDEV_TOKEN_MAX 4096
#define SIMDEV_TIMEOUT_S 5 /* default; a device has given up by then (RX1 opens at 5 s) */
#define SIMDEV_TIMEOUT_S_MAX 300

struct simdev_options {
    struct simdev device;
    struct simdev_network network;
    uint16_t dev_nonce; /* or the RJcount of a rejoin */
    const char *url;    /* these point into argv */
    const char *cert;   /* with key: a client certificate, in the place of the token or beside it */
    const char *key;
    const char *ca; /* of the join server; NULL: the system's */
    char token[SIMDEV_TOKEN_MAX + 1];
    unsigned timeout_s;
    bool json;
    bool show_keys;
    bool print_request;
    bool help;
    unsigned given; /* bits of the option table: which options were there */
};

/** Reads argv, whose first element is the verb, and fills what was not given: DevNonce, DevAddr and
 * DLSettings. Keys and tokens are wiped from argv, so that they do not stay in a process list.
 * ERROR_INPUT (a bad or missing value), ERROR_CONFIG (a file of a key): error_text() names the
 * option. With --help only `help` is set. */
int simdev_options_read(int argc, char **argv, struct simdev_options *ret);
void simdev_options_wipe(struct simdev_options *options);
void simdev_options_help(FILE *out);
