/* The public half of the exchange key. Inside hsm/ only. */
#pragma once

#include "hsm/p11_token.h"
#include <openssl/evp.h>

/** Reads the public half from the attributes of the private one. */
int p11_exchange_read(struct p11_token *token, CK_OBJECT_HANDLE handle, EVP_PKEY **ret) MUST_CHECK;

void p11_pkey_free(EVP_PKEY **p);
void p11_pkey_ctx_free(EVP_PKEY_CTX **p);
