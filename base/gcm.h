/* AES-256-GCM with one key, for what leaves in pieces or record by record: what keys of the HSM
 * have wrapped already, and claim codes. Belongs to one thread. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GCM_KEY_LEN 32
#define GCM_IV_LEN 12 /* never the same twice with one key */
#define GCM_TAG_LEN 16

struct gcm;

int gcm_new(const uint8_t key[static GCM_KEY_LEN], struct gcm **ret) MUST_CHECK;
/** Wipes the key. NULL is fine. */
void gcm_free(struct gcm *gcm);
static inline void gcm_freep(struct gcm **gcm)
{
    gcm_free(*gcm);
}

/** Begins a message: to be sealed, or with `open` to be opened. One at a time. */
int gcm_begin(struct gcm *gcm, bool open, const uint8_t iv[static GCM_IV_LEN], const void *aad,
    size_t aad_len) MUST_CHECK;
/** As many bytes out as in. Of what is opened nothing may be believed before gcm_end_open. */
int gcm_add(struct gcm *gcm, const void *in, size_t len, uint8_t *out) MUST_CHECK;
int gcm_end_seal(struct gcm *gcm, uint8_t ret_tag[static GCM_TAG_LEN]) MUST_CHECK;
/** Outcome 1: it was not sealed so. */
int gcm_end_open(struct gcm *gcm, const uint8_t tag[static GCM_TAG_LEN]) MUST_CHECK;
