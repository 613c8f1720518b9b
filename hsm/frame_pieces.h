/* What items of several verbs are made of. Inside of the frames only. A writer fails on what its
 * reader would refuse. */
#pragma once

#include "base/bytes.h"
#include "hsm/frame.h"

#define KEYD_SEALED_KEY_WIRE_LEN (SEALED_LABEL_MAX + 1 + 1 + SEALED_BLOB_MAX + SEALED_TAG_LEN + 2)
#define KEYD_KEK_NAME_WIRE_LEN (1 + PEER_ID_MAX + 1 + 1 + KEK_LABEL_MAX + 1)
#define KEYD_SEALED_REPLY_LEN (1 + KEYD_SEALED_KEY_WIRE_LEN + KEYD_KCV_LEN)
#define KEYD_PUBLIC_KEY_WIRE_LEN(modulus_max) (2 + (modulus_max) + 1 + KEYD_RSA_EXPONENT_MAX)
#define KEYD_KEK_WIRE_LEN (KEYD_KEK_NAME_WIRE_LEN + KEYD_SEALED_KEY_WIRE_LEN)

/** NUL-terminated printable ASCII, zeros after: one text has one form. */
void keyd_read_label(struct bytes_reader *r, char *label, size_t size);
/** A byte from `min` to `max`; `min` where it fails. */
unsigned keyd_read_ranged(struct bytes_reader *r, unsigned min, unsigned max);
/** Two bytes from `min` to KEYED_VERSION_MAX; `min` where it fails. */
uint16_t keyd_read_version(struct bytes_reader *r, unsigned min);
void keyd_read_zeros(struct bytes_reader *r, size_t len);
void keyd_write_zeros(struct bytes_writer *w, size_t len);
/** `len` bytes of a field of `size`, zeros after. */
void keyd_read_padded(struct bytes_reader *r, uint8_t *out, size_t len, size_t size);
void keyd_write_padded(struct bytes_writer *w, const uint8_t *data, size_t len, size_t size);
void keyd_write_sealed_key(struct bytes_writer *w, const struct sealed_key *key);
void keyd_read_sealed_key(struct bytes_reader *r, struct sealed_key *key);
/** Everything of a KEK but the key. */
void keyd_write_kek_name(struct bytes_writer *w, const struct sealed_kek *kek);
void keyd_read_kek_name(struct bytes_reader *r, struct sealed_kek *kek);
void keyd_write_kek(struct bytes_writer *w, const struct sealed_kek *kek);
void keyd_read_kek(struct bytes_reader *r, struct sealed_kek *kek);
void keyd_write_status(struct bytes_writer *w, enum keyd_status status);
enum keyd_status keyd_read_status(struct bytes_reader *r);
/** Status, sealed key and check value; of what was refused, zeros: there is nothing to seal. */
void keyd_write_sealed_reply(struct bytes_writer *w, enum keyd_status status,
    const struct sealed_key *sealed, const uint8_t kcv[static KEYD_KCV_LEN]);
enum keyd_status keyd_read_sealed_reply(
    struct bytes_reader *r, struct sealed_key *sealed, uint8_t kcv[static KEYD_KCV_LEN]);
bool keyd_kek_key_len_valid(unsigned len);
/** A valid one, its modulus in a place of `modulus_max` bytes. */
void keyd_write_public_key(
    struct bytes_writer *w, const struct keyd_public_key *key, size_t modulus_max);
void keyd_read_public_key(struct bytes_reader *r, struct keyd_public_key *key, size_t modulus_max);
/** What was encrypted to one, and its length, in a place of `modulus_max` bytes; a length of 0 is
 * that of nothing. */
void keyd_write_rsa_text(
    struct bytes_writer *w, const uint8_t *text, uint16_t len, size_t modulus_max);
uint16_t keyd_read_rsa_text(struct bytes_reader *r, uint8_t *text, size_t modulus_max);
#define KEYD_RSA_TEXT_WIRE_LEN(modulus_max) (2 + (modulus_max))
