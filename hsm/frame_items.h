/* The items of keyd's messages, a row a verb: the inside of frame.c. */
#pragma once

#include "base/bytes.h"
#include "hsm/frame.h"

#define KEYD_REQUEST_HEADER_LEN 16
#define KEYD_REPLY_HEADER_LEN 24
#define KEYD_KEK_WIRE_LEN (KEYD_KEK_NAME_WIRE_LEN + KEYD_SEALED_KEY_WIRE_LEN)
#define KEYD_KEK_NAME_WIRE_LEN (1 + PEER_ID_MAX + 1 + 1 + KEK_LABEL_MAX + 1)
#define KEYD_SEALED_KEY_WIRE_LEN (SEALED_LABEL_MAX + 1 + 1 + SEALED_BLOB_MAX + SEALED_TAG_LEN)

struct keyd_verb_shape {
    size_t keks_max;
    size_t items_max;
    size_t request_len; /* of an item */
    size_t reply_len;
    void (*write_request)(struct bytes_writer *w, const void *items, size_t i, size_t n_keks);
    void (*read_request)(struct bytes_reader *r, struct keyd_request *request, size_t i);
    void (*write_reply)(struct bytes_writer *w, const struct keyd_reply *reply, size_t i);
    void (*read_reply)(struct bytes_reader *r, struct keyd_reply *reply, size_t i);
};

/** Whether a frame on the air that keyd is asked about can be that long. */
bool keyd_frame_len_valid(unsigned len);
/** NULL when there is no such verb. */
const struct keyd_verb_shape *keyd_verb_shape(unsigned verb);
void keyd_write_kek(struct bytes_writer *w, const struct sealed_kek *kek);
void keyd_read_kek(struct bytes_reader *r, struct sealed_kek *kek);
/** NUL-terminated printable ASCII, zeros after: one text has one form. */
void keyd_read_label(struct bytes_reader *r, char *label, size_t size);
