/* A caller's RSA public key: from PEM to the numbers that keyd takes. */
#pragma once

#include "hsm/client.h"

enum rsa_public_outcome {
    RSA_PUBLIC_OK = 0,
    RSA_PUBLIC_MALFORMED = 1, /* not one PEM block of a SubjectPublicKeyInfo, or not of RSA */
    RSA_PUBLIC_PRIVATE = 2,   /* a private key: it was never to leave its owner */
    RSA_PUBLIC_WEAK = 3,      /* of a size, or with an exponent, that keyd does not take */
};

#define RSA_PUBLIC_DIGEST_LEN 32
#define RSA_PUBLIC_PEM_MAX 4096 /* characters; RSA-8192 has 1,480 */

/** `modulus_max`: the bytes that the verb of keyd takes. */
enum rsa_public_outcome rsa_public_parse(
    const char *pem, size_t modulus_max, struct keyd_public_key *ret) MUST_CHECK;

/** SHA-256 of one that was parsed, as DER (SubjectPublicKeyInfo), as `openssl pkey -pubin -outform
 * DER | sha256sum` has it. False: there is no memory. */
bool rsa_public_digest(const char *pem, uint8_t ret[static RSA_PUBLIC_DIGEST_LEN]) MUST_CHECK;

#define RSA_PUBLIC_TEXT_MAX 160
/** What a person is told of an outcome other than RSA_PUBLIC_OK; the member's name is public_key.
 */
void rsa_public_explain(
    enum rsa_public_outcome outcome, size_t modulus_max, char out[static RSA_PUBLIC_TEXT_MAX]);
