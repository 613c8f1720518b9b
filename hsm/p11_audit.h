/* The key pair that signs audit checkpoints: found by its label, used where it is. Inside hsm/
 * only. */
#pragma once

#include "base/audit_form.h"
#include "hsm/p11_token.h"

/* CKA_EC_POINT is the point as a DER OCTET STRING. */
#define P11_POINT_HEAD_LEN 2

struct p11_audit_key {
    CK_OBJECT_HANDLE private_key; /* CK_INVALID_HANDLE: not looked for yet, or not there */
    uint8_t encoded[P11_POINT_HEAD_LEN + AUDIT_POINT_LEN];
};

/** Outcome 1: the token holds no such pair. ERROR_CONFIG: two of them, or one that is not of P-256;
 * ERROR_HSM. */
int p11_audit_find(struct p11_token *token, struct p11_audit_key *ret) MUST_CHECK;
/** ECDSA over a hash of SHA-256. */
int p11_audit_sign(struct p11_token *token, const struct p11_audit_key *key,
    const uint8_t hash[static MERKLE_HASH_LEN], uint8_t ret[static AUDIT_SIGNATURE_LEN]) MUST_CHECK;
