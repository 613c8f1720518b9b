#include "api/trust.h"

#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_MAX 8 /* certificates that a client may send */
#define SANS_MAX 64 /* names of a certificate that are looked at */
#define PURPOSES_MAX 32
#define OID_MAX 128

/* What the library may find wrong, the most telling first. */
static const struct {
    unsigned status;
    const char *fault;
} faults[] = {
    {GNUTLS_CERT_REVOKED, "the certificate is on the peer's revocation list"},
    {GNUTLS_CERT_EXPIRED, "the certificate has expired"},
    {GNUTLS_CERT_NOT_ACTIVATED, "the certificate is not valid yet"},
    {GNUTLS_CERT_PURPOSE_MISMATCH, "the certificate is not for a TLS client"},
    {GNUTLS_CERT_INSECURE_ALGORITHM, "the certificate's algorithm or key is too weak"},
    {GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, "the CA may not issue this certificate"},
    {GNUTLS_CERT_SIGNER_NOT_CA, "the issuer is not a CA"},
    {GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS, "the certificate has an unknown critical extension"},
    {GNUTLS_CERT_SIGNATURE_FAILURE, "a signature is wrong"},
    {GNUTLS_CERT_SIGNER_NOT_FOUND, "the certificate is not of this peer's CA"},
    {~0u, "the certificate cannot be verified"},
};

struct chain {
    gnutls_x509_crt_t crts[CHAIN_MAX];
    unsigned n;
};

static void chain_done(struct chain *chain)
{
    for (unsigned i = 0; i < chain->n; i++)
        gnutls_x509_crt_deinit(chain->crts[i]);
    chain->n = 0;
}

static const char *chain_read(struct chain *chain, const gnutls_datum_t *ders, unsigned n)
{
    if (n == 0)
        return "the client sent no certificate";
    if (n > CHAIN_MAX)
        return "the client sent too many certificates";
    for (unsigned i = 0; i < n; i++) {
        if (gnutls_x509_crt_init(&chain->crts[i]) < 0)
            return "out of memory for a certificate";
        chain->n++;
        if (gnutls_x509_crt_import(chain->crts[i], &ders[i], GNUTLS_X509_FMT_DER) < 0)
            return "a certificate cannot be read";
    }
    return NULL;
}

static void trust_done(struct api_trust *trust)
{
    free(trust->anchors);
    free(trust->crls);
    *trust = (struct api_trust){0};
}

static void list_free(gnutls_x509_trust_list_t *list)
{
    if (*list != NULL)
        gnutls_x509_trust_list_deinit(*list, 1);
}

static gnutls_datum_t datum_of(char *text)
{
    return (gnutls_datum_t){.data = (unsigned char *)text, .size = (unsigned)strlen(text)};
}

/* The library leaves out silently a list that is too old or of another CA: that must not let in
 * what the list was meant to keep out. */
static const char *add_crls(gnutls_x509_trust_list_t list, char *pem)
{
    const gnutls_datum_t data = datum_of(pem);
    gnutls_x509_crl_t *crls = NULL;
    unsigned n = 0;
    int added;

    if (gnutls_x509_crl_list_import2(&crls, &n, &data, GNUTLS_X509_FMT_PEM, 0) < 0)
        return "the peer's revocation list cannot be read";
    /* Those that were not taken are freed by the call. */
    added = gnutls_x509_trust_list_add_crls(
        list, crls, n, GNUTLS_TL_VERIFY_CRL | GNUTLS_TL_NO_DUPLICATES, 0);
    gnutls_free(crls);
    return added >= 0 && (unsigned)added == n
               ? NULL
               : "the peer's revocation list is out of date or not of its CA";
}

static const char *list_of(struct api_trust *trust, gnutls_x509_trust_list_t *ret)
{
    CLEANUP(list_free) gnutls_x509_trust_list_t list = NULL;
    const char *fault;
    gnutls_datum_t anchors;

    if (trust->anchors == NULL || gnutls_x509_trust_list_init(&list, 0) < 0)
        return "the peer has no trust anchor";
    anchors = datum_of(trust->anchors);
    if (gnutls_x509_trust_list_add_trust_mem(list, &anchors, NULL, GNUTLS_X509_FMT_PEM, 0, 0) <= 0)
        return "the peer's trust anchor cannot be read";
    fault = trust->crls != NULL ? add_crls(list, trust->crls) : NULL;
    if (fault != NULL)
        return fault;
    *ret = list;
    list = NULL;
    return NULL;
}

/* The library takes a certificate without any purpose as good for all. */
static bool is_for_clients(gnutls_x509_crt_t leaf)
{
    for (unsigned i = 0; i < PURPOSES_MAX; i++) {
        char oid[OID_MAX] = "";
        size_t size = sizeof(oid);
        int r = gnutls_x509_crt_get_key_purpose_oid(leaf, i, oid, &size, NULL);

        if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return false;
        if (r >= 0 && strcmp(oid, GNUTLS_KP_TLS_WWW_CLIENT) == 0)
            return true;
    }
    return false;
}

static const char *verify(struct chain *chain, struct api_trust *trust)
{
    CLEANUP(list_free) gnutls_x509_trust_list_t list = NULL;
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID};
    char client[] = GNUTLS_KP_TLS_WWW_CLIENT;
    unsigned status = ~0u;
    const char *fault;
    size_t i = 0;

    if (!is_for_clients(chain->crts[0]))
        return "the certificate is not for a TLS client";
    fault = list_of(trust, &list);
    if (fault != NULL)
        return fault;
    purpose.data = (unsigned char *)client;
    if (gnutls_x509_trust_list_verify_crt2(list, chain->crts, chain->n, &purpose, 1,
            GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM), &status, NULL) < 0)
        return "the certificate cannot be verified";
    if (status == 0)
        return NULL;
    while ((status & faults[i].status) == 0)
        i++;
    return faults[i].fault;
}

/* A DNS name never holds a colon and a URI always does, so a peer's name says which of the two it
 * is, and neither can be taken for the other. A NUL would end the comparison early. */
static bool is_name(int type, const char *san, size_t len)
{
    bool colon = memchr(san, ':', len) != NULL;

    if (len == 0 || len > API_SAN_MAX || memchr(san, '\0', len) != NULL)
        return false;
    return (type == GNUTLS_SAN_DNSNAME && !colon) || (type == GNUTLS_SAN_URI && colon);
}

/* The one name of the leaf that belongs to a peer. The common name is never looked at. */
static const char *find_peer(gnutls_x509_crt_t leaf, api_trust_find find, void *context,
    char san[static API_SAN_MAX + 1], struct api_trust *ret)
{
    bool found = false;

    for (unsigned i = 0; i < SANS_MAX; i++) {
        char name[API_SAN_MAX + 1] = "";
        size_t size = sizeof(name);
        struct api_trust trust = {0};
        int type = gnutls_x509_crt_get_subject_alt_name(leaf, i, name, &size, NULL);

        if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return found ? NULL : "no name of the certificate is a peer's";
        /* One that is too long for us is nobody's. */
        if (type < 0 || !is_name(type, name, size) || strlen(name) != size ||
            !find(name, context, &trust))
            continue;
        if (found) {
            trust_done(&trust);
            return "the certificate names more than one peer";
        }
        found = true;
        *ret = trust;
        memcpy(san, name, sizeof(name));
    }
    return "the certificate has too many names";
}

const char *trust_check(const gnutls_datum_t *ders, unsigned n_ders, api_trust_find find,
    void *context, char san[static API_SAN_MAX + 1])
{
    CLEANUP(chain_done) struct chain chain = {.n = 0};
    CLEANUP(trust_done) struct api_trust trust = {0};
    const char *fault;

    san[0] = '\0';
    if ((fault = chain_read(&chain, ders, n_ders)) != NULL ||
        (fault = find_peer(chain.crts[0], find, context, san, &trust)) != NULL)
        return fault;
    return verify(&chain, &trust);
}
