#include "hsm/p11_exchange.h"

#include "base/error.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#define MODULUS_MAX 512
#define EXPONENT_MAX 8

void p11_pkey_free(EVP_PKEY **p)
{
    EVP_PKEY_free(*p);
}

void p11_pkey_ctx_free(EVP_PKEY_CTX **p)
{
    EVP_PKEY_CTX_free(*p);
}

int p11_exchange_read(struct p11_token *token, CK_OBJECT_HANDLE handle, EVP_PKEY **ret)
{
    uint8_t modulus[MODULUS_MAX], exponent[EXPONENT_MAX];
    CK_ATTRIBUTE wanted[] = {
        {CKA_MODULUS, modulus, sizeof(modulus)},
        {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)},
    };
    CLEANUP(p11_pkey_ctx_free) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    BIGNUM *n = NULL, *e = NULL;
    CK_RV rv = token->f->C_GetAttributeValue(token->anchor, handle, wanted, 2);
    bool good;

    if (rv != CKR_OK) {
        OSSL_PARAM_BLD_free(build);
        return p11_failed(token, rv, "C_GetAttributeValue (exchange key)");
    }
    n = BN_bin2bn(modulus, (int)wanted[0].ulValueLen, NULL);
    e = BN_bin2bn(exponent, (int)wanted[1].ulValueLen, NULL);
    good = ctx != NULL && build != NULL && n != NULL && e != NULL &&
           OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
           OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1;
    if (good)
        params = OSSL_PARAM_BLD_to_param(build);
    good = params != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
           EVP_PKEY_fromdata(ctx, ret, EVP_PKEY_PUBLIC_KEY, params) == 1;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return good ? 0 : error_set(ERROR_HSM, "the token's exchange key is not a usable RSA key");
}
