/* The items of keyd's messages, a row a verb: the inside of frame.c. */
#pragma once

#include "hsm/frame_pieces.h"

#define KEYD_REQUEST_HEADER_LEN 16
#define KEYD_REPLY_HEADER_LEN 24

struct keyd_verb_shape {
    size_t keks_max;
    size_t items_max;
    size_t request_len; /* of an item */
    size_t reply_len;
    size_t head_len; /* of what the items of a request share; NULL below where nothing is */
    void (*write_head)(struct bytes_writer *w, const void *items);
    void (*read_head)(struct bytes_reader *r, struct keyd_request *request);
    void (*write_request)(struct bytes_writer *w, const void *items, size_t i, size_t n_keks);
    void (*read_request)(struct bytes_reader *r, struct keyd_request *request, size_t i);
    void (*write_reply)(struct bytes_writer *w, const struct keyd_reply *reply, size_t i);
    void (*read_reply)(struct bytes_reader *r, struct keyd_reply *reply, size_t i);
};

/* A row's greatest messages fit a frame. */
#define KEYD_ASSERT_FITS(keks_max, head_len, items_max, request_len, reply_len)                    \
    _Static_assert(KEYD_REQUEST_HEADER_LEN + (keks_max)*KEYD_KEK_WIRE_LEN + (head_len) +           \
                           (items_max) * (request_len) <=                                          \
                       KEYD_FRAME_MAX,                                                             \
        "the greatest request fits a frame");                                                      \
    _Static_assert(KEYD_REPLY_HEADER_LEN + (items_max) * (reply_len) <= KEYD_FRAME_MAX,            \
        "the greatest reply fits a frame")

/* The rows of frame_keys.c, frame_export.c, frame_audit.c, frame_make.c,
 * frame_rewrap.c and frame_webhook.c. */
extern const struct keyd_verb_shape keyd_shape_adopt_key;
extern const struct keyd_verb_shape keyd_shape_adopt_kek;
extern const struct keyd_verb_shape keyd_shape_hash_code;
extern const struct keyd_verb_shape keyd_shape_hash_token;
extern const struct keyd_verb_shape keyd_shape_self_test;
extern const struct keyd_verb_shape keyd_shape_random;
extern const struct keyd_verb_shape keyd_shape_export_key;
extern const struct keyd_verb_shape keyd_shape_make_kek;
extern const struct keyd_verb_shape keyd_shape_sign_checkpoint;
extern const struct keyd_verb_shape keyd_shape_audit_key;
extern const struct keyd_verb_shape keyd_shape_webhook_secret;
extern const struct keyd_verb_shape keyd_shape_sign_custody;
extern const struct keyd_verb_shape keyd_shape_make_key;
extern const struct keyd_verb_shape keyd_shape_delivery_key;
extern const struct keyd_verb_shape keyd_shape_rewrap_key;
extern const struct keyd_verb_shape keyd_shape_rewrap_kek;

/* The reply of every verb that gives hashes. */
#define KEYD_HASH_REPLY_LEN (1 + 2 + KEYD_HASH_LEN)
void keyd_write_hash_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i);
void keyd_read_hash_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i);

/** Whether a frame on the air that keyd is asked about can be that long. */
bool keyd_frame_len_valid(unsigned len);
/** NULL when there is no such verb. */
const struct keyd_verb_shape *keyd_verb_shape(unsigned verb);
