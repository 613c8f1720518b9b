/* A caller's RSA public key: from PEM to the numbers that keyd takes. */
#pragma once

#include "hsm/client.h"

enum rsa_public_outcome {
    RSA_PUBLIC_OK = 0,
    RSA_PUBLIC_MALFORMED = 1, /* not one PEM block of a SubjectPublicKeyInfo, or not of RSA */
    RSA_PUBLIC_PRIVATE = 2,   /* a private key: it was never to leave its owner */
    RSA_PUBLIC_WEAK = 3,      /* not 2048 to 4096 bits, or an exponent that keyd does not take */
};

enum rsa_public_outcome rsa_public_parse(const char *pem, struct keyd_public_key *ret) MUST_CHECK;
