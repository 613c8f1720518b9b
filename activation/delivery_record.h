/* What a maker gets of one new credential, as it stands in delivery_part and in delivery.jwe: what
 * anybody may see in clear, and behind it, sealed with the key of the batch, the keys and the claim
 * code. The keys have been wrapped in the HSM before, under the order's transport key: who has the
 * batch's key alone has no key of a device. Pure but for the cipher.
 *
 *   line 4 | identifier 8 | check value of the AppKey 3 | of the NwkKey 3, where there is one
 *   | IV 12 | ciphertext | tag 16                                      numbers are big-endian
 *
 * The ciphertext is AES-256-GCM, with the batch's id (16 bytes), line (4) and identifier (8) as
 * additional data, of: the keys | number of the code's characters, 1 byte | the code, 32 bytes,
 * zeros behind it. The keys are 24 bytes each, RFC 3394; or the record of id_key.bin: 32 bytes of a
 * Sigfox credential, else 48. */
#pragma once

#include "base/eui.h"
#include "base/gcm.h"
#include "base/text.h"
#include "hsm/client.h"

#define DELIVERY_CODE_MAX KEYD_CODE_MAX
#define DELIVERY_KEYS_MAX 48
#define DELIVERY_SEALED_MAX (GCM_IV_LEN + DELIVERY_KEYS_MAX + 1 + DELIVERY_CODE_MAX + GCM_TAG_LEN)
#define DELIVERY_RECORD_MAX (4 + 8 + 2 * KEYD_KCV_LEN + DELIVERY_SEALED_MAX)
#define DELIVERY_BATCH_ID_LEN KEYD_BATCH_ID_LEN
#define DELIVERY_DIGEST_LEN 32
#define DELIVERY_LINE_MAX 512 /* bytes of a line in delivery.jwe */

/** What all records of an order have in common. */
struct delivery_shape {
    bool is_sigfox, has_nwk, is_legacy;
    struct eui64 join_eui;
    enum lw_mac_version mac_version;
};
size_t delivery_keys_len(const struct delivery_shape *shape);
size_t delivery_record_len(const struct delivery_shape *shape);

struct delivery_record {
    uint32_t line;
    struct eui64 dev_eui;
    uint8_t app_kcv[KEYD_KCV_LEN], nwk_kcv[KEYD_KCV_LEN];
    uint8_t sealed[DELIVERY_SEALED_MAX];
};
size_t delivery_sealed_len(const struct delivery_shape *shape);

/** What is sealed: wipe it. */
struct delivery_secret {
    uint8_t keys[DELIVERY_KEYS_MAX];
    char code[DELIVERY_CODE_MAX + 1];
};

/** `gcm` has the batch's key. Fills `sealed` of the record, whose line and identifier are bound. */
int delivery_seal(struct gcm *gcm, const uint8_t batch[static DELIVERY_BATCH_ID_LEN],
    const struct delivery_shape *shape, const struct delivery_secret *secret,
    const uint8_t iv[static GCM_IV_LEN], struct delivery_record *record) MUST_CHECK;
/** Outcome 1: it was not sealed so. */
int delivery_open(struct gcm *gcm, const uint8_t batch[static DELIVERY_BATCH_ID_LEN],
    const struct delivery_shape *shape, const struct delivery_record *record,
    struct delivery_secret *ret) MUST_CHECK;

/** delivery_record_len(shape) bytes. */
void delivery_record_write(
    const struct delivery_shape *shape, const struct delivery_record *record, uint8_t *out);
void delivery_record_read(
    const struct delivery_shape *shape, const uint8_t *bytes, struct delivery_record *ret);

/** The record's line in delivery.jwe, with its line feed. */
void delivery_line_write(
    const struct delivery_shape *shape, const struct delivery_record *record, struct text *out);
/** The digest of records: of none zeros, of one more SHA-256 over the digest before and its line in
 * delivery.jwe, line feed included, of at most DELIVERY_LINE_MAX. So it goes on where a chunk
 * ended, whatever the chunks are. */
void delivery_digest_add(uint8_t digest[static DELIVERY_DIGEST_LEN], const char *line, size_t len);
