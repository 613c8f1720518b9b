/* What a device's first join needs, each thing looked at by itself: one table. Pure; the database
 * room fills the facts. */
#pragma once

#include "device/record.h"

struct device_preflight {
    struct device_record record;
    struct device_join_state state; /* of it: join_nonce, last_dev_nonce, nonce_epoch */
    uint32_t n_used;                /* random DevNonces of its JoinEUI and nonce epoch */
    bool has_app, has_nwk;          /* root keys in slots 1 and 2 */
    bool home_is_known;             /* a network server speaks for the home NetID */
    bool home_has_kek;              /* for it, or for an NSID of it */
    bool home_may_have_plain_keys;
    bool home_has_plain_app_s_key;
    bool as_is_known;
    bool as_has_kek;
    bool join_eui_is_routed;
    bool is_entitled; /* its subscription runs, or it needs none */
};

enum device_check {
    CHECK_CREDENTIAL,
    CHECK_CLAIMED,
    CHECK_SERVICE,
    CHECK_TRUST,
    CHECK_HOME_NAMED,
    CHECK_HOME_KNOWN,
    CHECK_HOME_KEK,
    CHECK_AS_NAMED,
    CHECK_AS_KNOWN,
    CHECK_AS_KEK,
    CHECK_JOIN_EUI,
    CHECK_ROOT_KEYS,
    CHECK_DEV_NONCES,
    CHECK_JOIN_NONCES,
    CHECK_SUBSCRIPTION,
    N_DEVICE_CHECKS
};

/** As it is called outside. */
const char *device_check_name(enum device_check check);
/** What there is to do where it is not passed: a sentence. */
const char *device_check_to_do(enum device_check check);
/** Not all do to a Sigfox device, which never joins. */
bool device_check_applies(enum device_check check, enum device_kind kind);
bool device_check_passes(enum device_check check, const struct device_preflight *facts);
