/* What the tests of keyd share: pools on a private token, devices with known keys, and a check of
 * every byte of an answer by OpenSSL. */
#pragma once

#include "base/aes.h"
#include "hsm/client.h"
#include "lorawan/derive.h"
#include "lorawan/frame.h"
#include "tests/support/softhsm.h"
#include <check.h>

#define KEYD_TEST_PATIENCE_MS 20000
/* Every verb: no service has so many. */
#define KEYD_TEST_VERBS (KEYD_MAY(KEYD_N_VERBS + 1) - KEYD_MAY(1))

struct keyd_test_device {
    struct eui64 dev_eui, join_eui;
    bool has_nwk;
    struct secret_key app_clear, nwk_clear;
    struct sealed_key app, nwk;
};

/** The peers' KEKs of the tests, in clear and sealed: [0] of an NS, [1] of an AS. */
struct keyd_test_peers {
    uint8_t clear[2][32];
    size_t clear_len[2];
    struct sealed_kek sealed[2];
    const struct sealed_kek *list[2];
};

/* One token for a test program; each test opens its own pool. */
extern struct softhsm keyd_test_hsm;

/** The main of a test program: makes the token once, runs each test between setup and teardown
 * (each may be NULL), removes the token. Returns the exit status. */
int keyd_test_main(const char *name, const TTest *const *tests, size_t n_tests, void (*setup)(void),
    void (*teardown)(void));
/** The same for a test case that already holds loop tests. */
int keyd_test_run(Suite *suite, TCase *tcase, const TTest *const *tests, size_t n_tests,
    void (*setup)(void), void (*teardown)(void));

struct keyd_pool *keyd_test_pool(
    unsigned n_processes, unsigned n_channels, unsigned max_operations);
/** One process and one channel, and session keys may leave in clear. `uri` NULL: the token's own.
 */
struct keyd_pool *keyd_test_plain_pool(const char *uri);
int64_t keyd_test_deadline(void);

/** Invents a device and has keyd seal its keys; fails the test when that fails. */
void keyd_test_adopt(
    struct keyd_channel *channel, uint64_t dev_eui, bool has_nwk, struct keyd_test_device *ret);
/** Has keyd seal the keys in clear of a device that is named. */
void keyd_test_seal(struct keyd_channel *channel, struct keyd_test_device *device);
/** Hashes by the newest code key, or by the one that each names. */
int keyd_test_hash_codes(struct keyd_channel *channel, const struct keyd_claim_code *codes,
    size_t n, uint8_t (*ret)[KEYD_HASH_LEN]);
/** A claim code as keyd is asked about it. */
struct keyd_claim_code keyd_test_code(
    const struct eui64 *dev_eui, uint32_t generation, const char *code);
/** Encrypts a KEK to the exchange key and has keyd adopt it under the name it is given. */
void keyd_test_adopt_kek(
    struct keyd_channel *channel, const uint8_t *clear, size_t len, struct sealed_kek *kek);
/** Encrypts two KEKs to the exchange key and has keyd adopt them. */
void keyd_test_peers(struct keyd_channel *channel, struct keyd_test_peers *ret);
/** RSAES-OAEP with SHA-1 to the token's exchange key. */
void keyd_test_oaep(const uint8_t *key, size_t len, uint8_t out[static KEYD_OAEP_LEN]);

/** A valid Join-Request of the device, with a plan for its answer. */
void keyd_test_request(const struct keyd_test_device *device, uint16_t dev_nonce, bool opt_neg,
    bool cf_list, struct keyd_join_request *ret);
/** A valid Rejoin-Request of a device of 1.1, with a plan for its answer. Types 0 and 2 are proven
 * by `session`, which becomes the first of the request's; type 1 takes none. */
void keyd_test_rejoin(const struct keyd_test_device *device, enum lw_join_type type,
    uint16_t rj_count, const struct keyd_session *session, struct keyd_join_request *ret);
/** One of the session keys of 1.1, as the device derives it. */
void keyd_test_session_key(const struct keyd_test_device *device, enum lw_session_key key,
    uint32_t join_nonce, uint16_t nonce, uint8_t out[static AES_KEY_LEN]);
/** Decrypts the accept as the device would, derives the session keys, opens the envelopes as NS and
 * AS would (what was asked for in clear must be so); fails the test when anything differs. */
void keyd_test_check(const struct keyd_test_device *device, const struct keyd_test_peers *peers,
    const struct keyd_join_request *request, const struct keyd_join_reply *reply);

/** Children of this process that are not reaped, zombies included. */
unsigned keyd_test_children(void);
