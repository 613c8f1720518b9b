#include "base/gcm.h"

#include "base/error.h"
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct gcm {
    EVP_CIPHER_CTX *seal, *open, *now; /* each with the key's schedule; the one in use */
};

static int failed(void)
{
    return error_set(ERROR_INTERNAL, "OpenSSL refused AES-256-GCM");
}

int gcm_new(const uint8_t key[static GCM_KEY_LEN], struct gcm **ret)
{
    CLEANUP(gcm_freep) struct gcm *gcm = calloc(1, sizeof(*gcm));

    if (gcm == NULL || (gcm->seal = EVP_CIPHER_CTX_new()) == NULL ||
        (gcm->open = EVP_CIPHER_CTX_new()) == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a cipher");
    if (EVP_EncryptInit_ex(gcm->seal, EVP_aes_256_gcm(), NULL, key, NULL) != 1 ||
        EVP_DecryptInit_ex(gcm->open, EVP_aes_256_gcm(), NULL, key, NULL) != 1)
        return failed();
    *ret = gcm;
    gcm = NULL;
    return 0;
}

void gcm_free(struct gcm *gcm)
{
    if (gcm == NULL)
        return;
    EVP_CIPHER_CTX_free(gcm->seal); /* which wipes it */
    EVP_CIPHER_CTX_free(gcm->open);
    free(gcm);
}

int gcm_begin(struct gcm *gcm, bool open, const uint8_t iv[static GCM_IV_LEN], const void *aad,
    size_t aad_len)
{
    int n = 0;

    gcm->now = open ? gcm->open : gcm->seal;
    if (aad_len > INT_MAX || EVP_CipherInit_ex(gcm->now, NULL, NULL, NULL, iv, -1) != 1 ||
        EVP_CipherUpdate(gcm->now, NULL, &n, aad, (int)aad_len) != 1)
        return failed();
    return 0;
}

int gcm_add(struct gcm *gcm, const void *in, size_t len, uint8_t *out)
{
    int n = 0;

    if (len > INT_MAX || EVP_CipherUpdate(gcm->now, out, &n, in, (int)len) != 1 || (size_t)n != len)
        return failed();
    return 0;
}

int gcm_end_seal(struct gcm *gcm, uint8_t ret_tag[static GCM_TAG_LEN])
{
    uint8_t nothing[1];
    int n = 0;

    if (EVP_CipherFinal_ex(gcm->now, nothing, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(gcm->now, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_LEN, ret_tag) != 1)
        return failed();
    return 0;
}

int gcm_end_open(struct gcm *gcm, const uint8_t tag[static GCM_TAG_LEN])
{
    uint8_t expected[GCM_TAG_LEN], nothing[1];
    int n = 0;

    memcpy(expected, tag, sizeof(expected)); /* OpenSSL takes it as something it may change */
    if (EVP_CIPHER_CTX_ctrl(gcm->now, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_LEN, expected) != 1)
        return failed();
    return EVP_CipherFinal_ex(gcm->now, nothing, &n) == 1 ? 0 : 1;
}
