/* What a token must be able to do, asked and then tried. Inside hsm/ only. */
#pragma once

#include "hsm/p11_keys.h"
#include "hsm/p11_ops.h"

#define P11_OAEP_LEN 384 /* RSA-3072 */

/** What the live token keys answered at start; the self-test asks again and compares. */
struct p11_known {
    uint8_t wrapped[P11_WRAPPED_MAX]; /* a published key under the newest store-device KEK */
    size_t wrapped_len;
    uint8_t tag[32];            /* of a fixed text, by the newest tag key */
    uint8_t oaep[P11_OAEP_LEN]; /* a published key, encrypted to the exchange key */
};

/** Asks for every mechanism (ERROR_CONFIG names one that is missing), then runs published vectors
 * on session keys: CMAC (RFC 4493), key wrap (RFC 3394), ECB decryption and ECB_ENCRYPT_DATA
 * derivation (SP 800-38A). ERROR_HSM: the token computes something else, or fails. */
int p11_probe_mechanisms(struct p11_token *token) MUST_CHECK;
/** Tries the live keys: none can be modified; each storage KEK opens what it should and refuses the
 * other kind; the exchange key opens nothing that could be read. ERROR_CONFIG names the key. */
int p11_probe_keys(
    struct p11_token *token, const struct p11_keys *keys, struct p11_known *ret) MUST_CHECK;
/** Whether a session key can leave in clear: some tokens derive no readable key from one that
 * cannot be read, and it is better to know at start. Only where the operator allows it. */
int p11_probe_clear(struct p11_token *token) MUST_CHECK;
/** Wraps, opens, signs, derives and tags once more on the live keys and compares. */
int p11_self_test(
    struct p11_token *token, const struct p11_keys *keys, const struct p11_known *known) MUST_CHECK;
/** Opens the known OAEP text: whether the exchange key works, when another text did not open. */
int p11_exchange_test(
    struct p11_token *token, const struct p11_keys *keys, const struct p11_known *known) MUST_CHECK;
/** Wraps a published key under a transport KEK and opens it again: whether KEK and token work, when
 * a text under it did not open. */
int p11_transport_test(struct p11_token *token, CK_OBJECT_HANDLE kek) MUST_CHECK;
