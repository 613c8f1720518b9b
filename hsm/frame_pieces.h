/* What items of several verbs are made of. Inside of the frames only. A writer fails on what its
 * reader would refuse. */
#pragma once

#include "base/bytes.h"
#include "hsm/frame.h"

#define KEYD_SEALED_KEY_WIRE_LEN (SEALED_LABEL_MAX + 1 + 1 + SEALED_BLOB_MAX + SEALED_TAG_LEN)
#define KEYD_KEK_NAME_WIRE_LEN (1 + PEER_ID_MAX + 1 + 1 + KEK_LABEL_MAX + 1)
#define KEYD_KEK_WIRE_LEN (KEYD_KEK_NAME_WIRE_LEN + KEYD_SEALED_KEY_WIRE_LEN)

/** NUL-terminated printable ASCII, zeros after: one text has one form. */
void keyd_read_label(struct bytes_reader *r, char *label, size_t size);
/** A byte from `min` to `max`; `min` where it fails. */
unsigned keyd_read_ranged(struct bytes_reader *r, unsigned min, unsigned max);
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
