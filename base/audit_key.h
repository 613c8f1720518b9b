/* The public key of audit checkpoints, and whether a checkpoint was signed by it. Pure. */
#pragma once

#include "base/audit_form.h"

/** The PEM text (RFC 7468, SubjectPublicKeyInfo) of a point of P-256, added. */
void audit_key_write(const uint8_t point[static AUDIT_POINT_LEN], struct text *out);

struct audit_key;
/** From that text. ERROR_INPUT: it is no public key of P-256. */
int audit_key_read(const char *pem, size_t len, struct audit_key **ret) MUST_CHECK;
/** NULL is fine. */
void audit_key_free(struct audit_key *key);
static inline void audit_key_freep(struct audit_key **key)
{
    audit_key_free(*key);
}
bool audit_key_signed_bytes(const struct audit_key *key, const void *bytes, size_t len,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN]) MUST_CHECK;
bool audit_key_signed(const struct audit_key *key, const struct audit_checkpoint *checkpoint,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN]) MUST_CHECK;
