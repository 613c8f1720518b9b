#include "tests/integration/certificates.h"

#include <check.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400

static void add_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    ck_assert_ptr_nonnull(extension);
    ck_assert_int_eq(X509_add_ext(x509, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void set_name(X509_NAME *name, const char *common_name)
{
    ck_assert_int_eq(X509_NAME_add_entry_by_txt(
                         name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0),
        1);
}

struct certificate certificate_make(
    const struct certificate *issuer, const struct certificate_plan *plan)
{
    struct certificate c = {.key = EVP_EC_gen("P-256"), .x509 = X509_new()};
    X509 *issuer_x509 = issuer != NULL ? issuer->x509 : c.x509;

    ck_assert(c.key != NULL && c.x509 != NULL);
    ck_assert_int_eq(X509_set_version(c.x509, X509_VERSION_3), 1);
    ck_assert_int_eq(ASN1_INTEGER_set(X509_get_serialNumber(c.x509), plan->serial), 1);
    ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notBefore(c.x509), plan->from_s - 60));
    ck_assert_ptr_nonnull(
        X509_gmtime_adj(X509_getm_notAfter(c.x509), plan->to_s != 0 ? plan->to_s : DAY_S));
    ck_assert_int_eq(X509_set_pubkey(c.x509, c.key), 1);
    set_name(X509_get_subject_name(c.x509), plan->common_name);
    ck_assert_int_eq(X509_set_issuer_name(c.x509, X509_get_subject_name(issuer_x509)), 1);
    add_extension(c.x509, issuer_x509, NID_basic_constraints,
        plan->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(c.x509, issuer_x509, NID_subject_key_identifier, "hash");
    if (plan->is_ca)
        add_extension(c.x509, issuer_x509, NID_key_usage, "critical,keyCertSign,cRLSign");
    if (plan->alt_names != NULL)
        add_extension(c.x509, issuer_x509, NID_subject_alt_name, plan->alt_names);
    if (plan->purposes != NULL)
        add_extension(c.x509, issuer_x509, NID_ext_key_usage, plan->purposes);
    ck_assert_int_gt(X509_sign(c.x509, issuer != NULL ? issuer->key : c.key, EVP_sha256()), 0);
    return c;
}

void certificate_done(struct certificate *certificate)
{
    EVP_PKEY_free(certificate->key);
    X509_free(certificate->x509);
    *certificate = (struct certificate){0};
}

static char *take_text(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *text;

    ck_assert_int_gt(len, 0);
    text = strndup(data, (size_t)len);
    (void)BIO_free(bio);
    ck_assert_ptr_nonnull(text);
    return text;
}

char *certificate_pem(const struct certificate *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());

    ck_assert_int_eq(PEM_write_bio_X509(bio, certificate->x509), 1);
    return take_text(bio);
}

char *certificate_key_pem(const struct certificate *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());

    ck_assert_int_eq(PEM_write_bio_PrivateKey(bio, certificate->key, NULL, NULL, 0, NULL, NULL), 1);
    return take_text(bio);
}

char *certificate_crl_pem(const struct certificate *issuer, long revoked, long to_s)
{
    X509_CRL *crl = X509_CRL_new();
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *from = X509_gmtime_adj(NULL, -2 * DAY_S), *to = X509_gmtime_adj(NULL, to_s);
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    BIO *bio = BIO_new(BIO_s_mem());

    ck_assert(crl != NULL && entry != NULL && from != NULL && to != NULL && serial != NULL);
    ck_assert_int_eq(ASN1_INTEGER_set(serial, revoked), 1);
    ck_assert_int_eq(X509_REVOKED_set_serialNumber(entry, serial), 1);
    ck_assert_int_eq(X509_REVOKED_set_revocationDate(entry, from), 1);
    ck_assert_int_eq(X509_CRL_add0_revoked(crl, entry), 1);
    ck_assert_int_eq(X509_CRL_set_version(crl, X509_CRL_VERSION_2), 1);
    ck_assert_int_eq(X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->x509)), 1);
    ck_assert_int_eq(X509_CRL_set1_lastUpdate(crl, from), 1);
    ck_assert_int_eq(X509_CRL_set1_nextUpdate(crl, to), 1);
    ck_assert_int_eq(X509_CRL_sort(crl), 1);
    ck_assert_int_gt(X509_CRL_sign(crl, issuer->key, EVP_sha256()), 0);
    ck_assert_int_eq(PEM_write_bio_X509_CRL(bio, crl), 1);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    ASN1_INTEGER_free(serial);
    X509_CRL_free(crl);
    return take_text(bio);
}
