/* The KEK that an application server may bring with a claim: its own, under which AppSKeys go out
 * to it. It comes in clear inside TLS, is encrypted to the exchange key at once, and opened again
 * in the HSM alone, as one that an operator brings (activation/keks.c). */
#pragma once

#include "activation/call.h"
#include "db/directory.h"

#define TTJS_KEK_KEY_MAX 32 /* bytes */

struct ttjs_kek {
    bool is_new; /* no KEK of the application server has its label */
    struct sealed_kek kek;
};

/** Takes the key, which the caller wipes. 0, or the status of the answer it set. */
unsigned ttjs_kek_take(struct act_call *call, const char *label, const uint8_t *key, size_t key_len,
    struct ttjs_kek *ret);
/** In the transaction of a claim that came through: keeps a new one, with its audit event. It is
 * the current one where there is none yet; else an operator makes it so. 0 or negative. */
int ttjs_kek_keep(struct act_call *call, const struct ttjs_kek *kek) MUST_CHECK;
