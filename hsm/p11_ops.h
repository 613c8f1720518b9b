/* The few operations keyd needs of a token, and the templates of the keys it makes. Inside hsm/
 * only. All return 0 or ERROR_HSM. Every object made here is a session object and not CKA_PRIVATE:
 * on SoftHSM that is a third of a join's time, and nobody else shares the process. None can be
 * modified: what a key may do is settled when it is made. */
#pragma once

#include "base/cleanup.h"
#include "hsm/p11_token.h"
#include <stddef.h>
#include <stdint.h>

/* What a key is for; each is one row of attributes in p11_ops.c. */
enum p11_use {
    P11_USE_DEVICE,    /* a device's root key: SIGN, DERIVE, DECRYPT; never leaves */
    P11_USE_PEER,      /* an NS's or AS's KEK: WRAP; never leaves */
    P11_USE_TRANSPORT, /* a maker's KEK: WRAP, UNWRAP; never leaves */
    P11_USE_SESSION,   /* a session key, or a block of a record: nothing but to be wrapped */
    P11_USE_CLEAR,     /* a session key that leaves in clear: nothing but to be read */
    P11_USE_MIC,       /* JSIntKey, and SNwkSIntKey of a running session: SIGN */
    P11_USE_JS_ENC,    /* JSEncKey: DECRYPT */
    P11_USE_ADOPT_KEY, /* a root key on its way in, or made here: SIGN for its check value, to be
                          wrapped */
    P11_USE_ADOPT_KEK, /* a peer's KEK on its way in, or made here: the same */
    P11_USE_EXPORT,    /* a root key on its way out: nothing but to be wrapped */
    P11_USE_HMAC,      /* a generic secret: SIGN; never leaves */
    P11_USE_KNOWN,     /* a published test key: everything */
};
#define P11_N_USES (P11_USE_KNOWN + 1)

#define P11_KEY_MAX 32     /* bytes of an AES key */
#define P11_WRAPPED_MAX 40 /* RFC 3394 of it */

int p11_create(struct p11_token *token, enum p11_use use, const uint8_t *key, size_t len,
    CK_OBJECT_HANDLE *ret) MUST_CHECK;
/** A new AES key from the token's generator, for what one item needs. */
int p11_generate(
    struct p11_token *token, enum p11_use use, size_t len, CK_OBJECT_HANDLE *ret) MUST_CHECK;
/** A key for p11_hmac() that lives as long as this process. */
int p11_create_hmac(
    struct p11_token *token, const uint8_t *key, size_t len, CK_OBJECT_HANDLE *ret) MUST_CHECK;
/** `session` owns the new key: anchor for what lives long, work for what one item needs. */
int p11_unwrap(struct p11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE kek,
    enum p11_use use, const uint8_t *blob, size_t len, CK_OBJECT_HANDLE *ret) MUST_CHECK;
/** RSAES-OAEP with SHA-1, MGF1-SHA-1 and an empty label: the only form SoftHSM has. */
int p11_unwrap_oaep(struct p11_token *token, CK_OBJECT_HANDLE private_key, enum p11_use use,
    const uint8_t *text, size_t len, CK_OBJECT_HANDLE *ret) MUST_CHECK;
int p11_wrap(struct p11_token *token, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
    uint8_t out[static P11_WRAPPED_MAX], size_t *ret_len) MUST_CHECK;
/** A key of 16 bytes under a KEK, as one block of AES-ECB (CKM_AES_CBC over one block, IV 0): to
 * one who has asked for keys in that form, and nowhere else. */
int p11_wrap_block(struct p11_token *token, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
    uint8_t out[static 16]) MUST_CHECK;
int p11_cmac(struct p11_token *token, CK_OBJECT_HANDLE key, const uint8_t *in, size_t len,
    uint8_t out[static 16]) MUST_CHECK;
int p11_hmac(struct p11_token *token, CK_OBJECT_HANDLE key, const uint8_t *in, size_t len,
    uint8_t out[static 32]) MUST_CHECK;
int p11_ecb_decrypt(struct p11_token *token, CK_OBJECT_HANDLE key, const uint8_t *in, size_t len,
    uint8_t *out) MUST_CHECK;
/** From the token's generator. */
int p11_random(struct p11_token *token, uint8_t *out, size_t len) MUST_CHECK;
/** A new key = AES-ECB-encrypt(base, block), made inside the token. */
int p11_derive(struct p11_token *token, CK_OBJECT_HANDLE base, enum p11_use use,
    const uint8_t block[static 16], CK_OBJECT_HANDLE *ret) MUST_CHECK;
/** A public key for p11_wrap_oaep() that lives until it is destroyed. */
int p11_create_rsa_public(struct p11_token *token, const uint8_t *modulus, size_t modulus_len,
    const uint8_t *exponent, size_t exponent_len, CK_OBJECT_HANDLE *ret) MUST_CHECK;
/** RSAES-OAEP as p11_unwrap_oaep() opens it; `len` is what `out` can take, then what it took. */
int p11_wrap_oaep(struct p11_token *token, CK_OBJECT_HANDLE public_key, CK_OBJECT_HANDLE key,
    uint8_t *out, size_t *len) MUST_CHECK;
/** The bytes of an AES-128 key of P11_USE_CLEAR; no other can be read. */
int p11_read_clear(
    struct p11_token *token, CK_OBJECT_HANDLE key, uint8_t out[static 16]) MUST_CHECK;
/** Destroys and forgets; CK_INVALID_HANDLE is fine. */
int p11_destroy(struct p11_token *token, CK_OBJECT_HANDLE *handle);

/** The attributes that a key demands of whatever it opens, as its CKA_UNWRAP_TEMPLATE: the row of
 * P11_USE_DEVICE, P11_USE_EXPORT, P11_USE_PEER (UNWRAP is left open, for transport KEKs) or
 * P11_USE_ADOPT_KEK. */
#define P11_RESTRICTION_MAX 16
struct p11_restriction {
    CK_ATTRIBUTE attributes[P11_RESTRICTION_MAX];
    CK_BBOOL values[P11_RESTRICTION_MAX];
    CK_ULONG n;
};
void p11_restriction_fill(struct p11_restriction *restriction, enum p11_use use);
