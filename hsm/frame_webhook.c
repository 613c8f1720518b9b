/* Secrets of webhooks: items and row. */
#include "hsm/frame_items.h"

static void write_webhook(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_webhook *q = (const struct keyd_webhook *)items + i;

    (void)n_keks;
    if (q->generation < 1)
        w->failed = true;
    bytes_write(w, q->id, sizeof(q->id));
    bytes_write_u32_be(w, q->generation);
}

static void read_webhook(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_webhook *q = &request->webhooks[i];

    bytes_read(r, q->id, sizeof(q->id));
    q->generation = bytes_read_u32_be(r);
    if (q->generation < 1)
        r->failed = true;
}
#define WEBHOOK_LEN (KEYD_WEBHOOK_ID_LEN + 4)

const struct keyd_verb_shape keyd_shape_webhook_secret = {.items_max = KEYD_BATCH_MAX,
    .request_len = WEBHOOK_LEN,
    .reply_len = KEYD_HASH_REPLY_LEN,
    .write_request = write_webhook,
    .read_request = read_webhook,
    .write_reply = keyd_write_hash_reply,
    .read_reply = keyd_read_hash_reply};
KEYD_ASSERT_FITS(0, 0, KEYD_BATCH_MAX, WEBHOOK_LEN, KEYD_HASH_REPLY_LEN);
