#include "base/audit_key.h"

#include "base/base64.h"
#include "base/error.h"
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#define PEM_LINE 64
#define SCALAR_LEN (AUDIT_SIGNATURE_LEN / 2)
#define PEM_MAX 8192
#define GROUP "prime256v1"
#define GROUP_MAX 32
#define DER_MAX 80 /* of a signature: two numbers of at most 33 bytes, and their heads */

/* SubjectPublicKeyInfo of a point of P-256 up to the point: id-ecPublicKey, prime256v1 (RFC 5480).
 */
static const uint8_t spki_head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

struct audit_key {
    EVP_PKEY *pkey;
};

void audit_key_write(const uint8_t point[static AUDIT_POINT_LEN], struct text *out)
{
    uint8_t der[sizeof(spki_head) + AUDIT_POINT_LEN];
    char text[BASE64_LEN(sizeof(der)) + 1];

    memcpy(der, spki_head, sizeof(spki_head));
    memcpy(der + sizeof(spki_head), point, AUDIT_POINT_LEN);
    (void)base64_encode(der, sizeof(der), text);
    text_add(out, "-----BEGIN PUBLIC KEY-----\n");
    for (size_t at = 0; at < sizeof(text) - 1; at += PEM_LINE)
        text_addf(out, "%.*s\n", PEM_LINE, text + at);
    text_add(out, "-----END PUBLIC KEY-----\n");
}

int audit_key_read(const char *pem, size_t len, struct audit_key **ret)
{
    BIO *bio = len <= PEM_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    CLEANUP(audit_key_freep) struct audit_key *key = calloc(1, sizeof(*key));
    char group[GROUP_MAX] = "";

    if (bio != NULL && key != NULL)
        key->pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (key == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the audit key");
    if (key->pkey == NULL ||
        EVP_PKEY_get_utf8_string_param(
            key->pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), NULL) != 1 ||
        strcmp(group, GROUP) != 0)
        return error_set(ERROR_INPUT, "the audit key is not a public key of P-256 in PEM");
    *ret = key;
    key = NULL;
    return 0;
}

void audit_key_free(struct audit_key *key)
{
    if (key != NULL)
        EVP_PKEY_free(key->pkey);
    free(key);
}

/* As OpenSSL wants it; 0 when it cannot be written so. */
static size_t to_der(const uint8_t signature[static AUDIT_SIGNATURE_LEN], uint8_t out[DER_MAX])
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, SCALAR_LEN, NULL);
    BIGNUM *s = BN_bin2bn(signature + SCALAR_LEN, SCALAR_LEN, NULL);
    unsigned char *at = out;
    int len = 0;

    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL; /* the signature's now */
        len = i2d_ECDSA_SIG(sig, NULL) <= DER_MAX ? i2d_ECDSA_SIG(sig, &at) : 0;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

bool audit_key_signed_bytes(const struct audit_key *key, const void *bytes, size_t len,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN])
{
    uint8_t der[DER_MAX];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t der_len = to_der(signature, der);
    bool good = ctx != NULL && der_len > 0 &&
                EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
                EVP_DigestVerify(ctx, der, der_len, bytes, len) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

bool audit_key_signed(const struct audit_key *key, const struct audit_checkpoint *checkpoint,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN])
{
    uint8_t bytes[AUDIT_CHECKPOINT_LEN];

    audit_checkpoint_write(checkpoint, bytes);
    return audit_key_signed_bytes(key, bytes, sizeof(bytes), signature);
}
