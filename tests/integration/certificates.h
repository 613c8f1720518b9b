/* Certificates made while a test runs: CAs, leaves that are right or wrong in one way, and
 * revocation lists. Faults end the test. */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>

struct certificate {
    EVP_PKEY *key;
    X509 *x509;
};

struct certificate_plan {
    const char *common_name;
    const char *alt_names; /* as in OpenSSL's configuration: "URI:urn:x,DNS:y"; NULL: none */
    const char *purposes;  /* "clientAuth"; NULL: none */
    bool is_ca;
    long serial;
    long from_s, to_s; /* from now; to_s 0: a day */
};

/** Signed by `issuer`, or by itself when that is NULL. */
struct certificate certificate_make(
    const struct certificate *issuer, const struct certificate_plan *plan);
void certificate_done(struct certificate *certificate);

/** PEM on the heap. */
char *certificate_pem(const struct certificate *certificate);
char *certificate_key_pem(const struct certificate *certificate);
/** The issuer's list of one serial number, good until `to_s` from now. */
char *certificate_crl_pem(const struct certificate *issuer, long revoked, long to_s);
