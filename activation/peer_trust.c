#include "activation/peer_trust.h"

#include "activation/pem.h"
#include "base/error.h"
#include "base/text.h"
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define QUOTED_MAX 60 /* bytes of what is refused */

static void x509_free(X509 **x509)
{
    X509_free(*x509);
}

static void crl_free(X509_CRL **crl)
{
    X509_CRL_free(*crl);
}

static void bio_free(BIO **bio)
{
    (void)BIO_free(*bio);
}

static void cas_free(STACK_OF(X509) * *cas)
{
    sk_X509_pop_free(*cas, X509_free);
}

/* What a name may hold that is compared byte by byte: no blank, no quote, and no wildcard, which
 * would be taken for itself. */
static int read_san(const char *san, struct db_peer *peer)
{
    size_t len = strlen(san);

    for (size_t i = 0; i < len; i++)
        if (san[i] <= ' ' || san[i] > '~' || strchr("*\"\\,", san[i]) != NULL)
            len = 0;
    if (len == 0 || len > PEER_SAN_MAX)
        return error_set(ERROR_INPUT,
            "a SAN is one exact DNS name or URI of at most %d characters, not \"%.*s\"",
            PEER_SAN_MAX, (int)text_fit(san, QUOTED_MAX), san);
    memcpy(peer->san, san, len + 1);
    return 0;
}

static int take_text(BIO *bio, size_t max, const char *what, char **ret)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);

    if (len <= 0 || (size_t)len > max)
        return error_set(ERROR_INPUT, "%s holds more than %zu bytes", what, max);
    *ret = strndup(data, (size_t)len);
    return *ret != NULL ? 0 : error_set(ERROR_SYSTEM, "out of memory for PEM");
}

static int read_cas(const char *pem, STACK_OF(X509) * cas, char **ret)
{
    CLEANUP(bio_free) BIO *in = BIO_new_mem_buf(pem, -1);
    CLEANUP(bio_free) BIO *out = BIO_new(BIO_s_mem());
    int r;

    if (in == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for PEM");
    for (;;) {
        CLEANUP(x509_free) X509 *ca = PEM_read_bio_X509(in, NULL, act_pem_no_pass_phrase, NULL);

        if (ca == NULL)
            break;
        if (X509_check_ca(ca) == 0)
            return error_set(ERROR_INPUT, "ca holds a certificate that is no CA's");
        if (out == NULL || PEM_write_bio_X509(out, ca) != 1 || sk_X509_push(cas, ca) <= 0)
            return error_set(ERROR_SYSTEM, "out of memory for PEM");
        ca = NULL;
    }
    if ((r = act_pem_check_end("ca", (size_t)sk_X509_num(cas))) < 0)
        return r;
    if (sk_X509_num(cas) == 0)
        return error_set(ERROR_INPUT, "ca holds no certificate in PEM");
    return take_text(out, PEER_ANCHOR_MAX, "ca", ret);
}

static bool is_of(X509_CRL *crl, STACK_OF(X509) * cas)
{
    for (int i = 0; i < sk_X509_num(cas); i++) {
        EVP_PKEY *key = X509_get0_pubkey(sk_X509_value(cas, i));

        if (key != NULL && X509_CRL_verify(crl, key) == 1)
            return true;
    }
    return false;
}

/* The join server lets nobody of the peer in by a list that is too old or of another CA. */
static int read_crls(const char *pem, STACK_OF(X509) * cas, char **ret)
{
    CLEANUP(bio_free) BIO *in = BIO_new_mem_buf(pem, -1);
    CLEANUP(bio_free) BIO *out = BIO_new(BIO_s_mem());
    size_t n = 0;
    int r;

    if (in == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for PEM");
    for (;; n++) {
        CLEANUP(crl_free)
        X509_CRL *crl = PEM_read_bio_X509_CRL(in, NULL, act_pem_no_pass_phrase, NULL);
        const ASN1_TIME *next;

        if (crl == NULL)
            break;
        next = X509_CRL_get0_nextUpdate(crl);
        if (next != NULL && X509_cmp_current_time(next) < 0)
            return error_set(ERROR_INPUT, "the revocation list in crl is out of date");
        if (!is_of(crl, cas))
            return error_set(ERROR_INPUT, "the revocation list in crl is not of the CA");
        if (out == NULL || PEM_write_bio_X509_CRL(out, crl) != 1)
            return error_set(ERROR_SYSTEM, "out of memory for PEM");
    }
    if ((r = act_pem_check_end("crl", n)) < 0)
        return r;
    if (n == 0)
        return error_set(ERROR_INPUT, "crl holds no revocation list in PEM");
    return take_text(out, PEER_CRL_MAX, "crl", ret);
}

int act_peer_trust_read(
    const char *san, const char *ca, const char *crl, struct db_peer *peer, const char **ret_field)
{
    CLEANUP(cas_free) STACK_OF(X509) *cas = sk_X509_new_null();
    int r;

    if (cas == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for certificates");
    *ret_field = "san";
    if ((r = read_san(san, peer)) < 0)
        return r;
    *ret_field = "ca";
    if ((r = read_cas(ca, cas, &peer->trust_anchor)) < 0 || crl == NULL)
        return r;
    *ret_field = "crl";
    return read_crls(crl, cas, &peer->crl);
}

void act_peer_trust_done(struct db_peer *peer)
{
    free(peer->trust_anchor);
    free(peer->crl);
    peer->trust_anchor = peer->crl = NULL;
}
