/* Root keys that are made here, and keys of deliveries: items and rows. */
#include "hsm/frame_items.h"

/* --- items of requests ------------------------------------------------------------------------ */

static bool make_valid(const struct keyd_make_request *q, size_t n_keks)
{
    return (q->slot == KEY_SLOT_APP || q->slot == KEY_SLOT_NWK) &&
           (q->form == KEYD_MADE_WRAPPED || q->form == KEYD_MADE_RECORD) &&
           q->transport_kek < n_keks;
}

static void write_make(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_make_request *q = (const struct keyd_make_request *)items + i;

    if (!make_valid(q, n_keks))
        w->failed = true;
    bytes_write(w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write(w, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    bytes_write_u8(w, (uint8_t)q->slot);
    bytes_write_u8(w, q->is_sigfox);
    bytes_write_u8(w, (uint8_t)q->form);
    bytes_write_u8(w, q->transport_kek);
}

static void read_make(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_make_request *q = &request->makes[i];

    bytes_read(r, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_read(r, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    q->slot = (enum key_slot)keyd_read_ranged(r, KEY_SLOT_APP, KEY_SLOT_NWK);
    q->is_sigfox = keyd_read_ranged(r, 0, 1) != 0;
    q->form = (enum keyd_made_form)keyd_read_ranged(r, KEYD_MADE_WRAPPED, KEYD_MADE_RECORD);
    q->transport_kek = bytes_read_u8(r);
    if (!make_valid(q, request->n_keks))
        r->failed = true;
}
#define MAKE_LEN (8 + 8 + 1 + 1 + 1 + 1)

static void write_delivery(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_delivery_request *q = (const struct keyd_delivery_request *)items + i;

    (void)n_keks;
    if (q->version > KEYED_VERSION_MAX)
        w->failed = true;
    bytes_write(w, q->batch, sizeof(q->batch));
    bytes_write_u16_be(w, q->version);
}

static void read_delivery(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_delivery_request *q = &request->delivery + i;

    bytes_read(r, q->batch, sizeof(q->batch));
    q->version = keyd_read_version(r, 0);
}
#define DELIVERY_LEN (KEYD_BATCH_ID_LEN + 2)

/* --- items of replies ------------------------------------------------------------------------- */

static void write_make_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_make_reply *a = &reply->makes[i];
    const size_t n = a->status == KEYD_OK; /* how many of each there are */

    keyd_write_sealed_reply(w, a->status, &a->sealed, a->kcv);
    keyd_write_padded(w, a->fingerprint, n * KEYD_FINGERPRINT_LEN, KEYD_FINGERPRINT_LEN);
    keyd_write_padded(w, a->wrapped, n * KEYD_WRAPPED_LEN, KEYD_WRAPPED_LEN);
    keyd_write_padded(w, a->record.identifier, n * AES_KEY_LEN, AES_KEY_LEN);
    keyd_write_padded(w, a->record.key, n * AES_KEY_LEN, AES_KEY_LEN);
    keyd_write_padded(w, a->record.no_key, n * AES_KEY_LEN, AES_KEY_LEN);
}

static void read_make_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_make_reply *a = &reply->makes[i];
    size_t n;

    *a = (struct keyd_make_reply){0};
    a->status = keyd_read_sealed_reply(r, &a->sealed, a->kcv);
    n = a->status == KEYD_OK;
    keyd_read_padded(r, a->fingerprint, n * KEYD_FINGERPRINT_LEN, KEYD_FINGERPRINT_LEN);
    keyd_read_padded(r, a->wrapped, n * KEYD_WRAPPED_LEN, KEYD_WRAPPED_LEN);
    keyd_read_padded(r, a->record.identifier, n * AES_KEY_LEN, AES_KEY_LEN);
    keyd_read_padded(r, a->record.key, n * AES_KEY_LEN, AES_KEY_LEN);
    keyd_read_padded(r, a->record.no_key, n * AES_KEY_LEN, AES_KEY_LEN);
}
#define MAKE_REPLY_LEN                                                                             \
    (KEYD_SEALED_REPLY_LEN + KEYD_FINGERPRINT_LEN + KEYD_WRAPPED_LEN + 3 * AES_KEY_LEN)

/* --- rows ------------------------------------------------------------------------------------- */

const struct keyd_verb_shape keyd_shape_make_key = {.keks_max = KEYD_KEKS_MAX,
    .items_max = KEYD_BATCH_MAX,
    .request_len = MAKE_LEN,
    .reply_len = MAKE_REPLY_LEN,
    .write_request = write_make,
    .read_request = read_make,
    .write_reply = write_make_reply,
    .read_reply = read_make_reply};
KEYD_ASSERT_FITS(KEYD_KEKS_MAX, 0, KEYD_BATCH_MAX, MAKE_LEN, MAKE_REPLY_LEN);

const struct keyd_verb_shape keyd_shape_delivery_key = {.items_max = 1,
    .request_len = DELIVERY_LEN,
    .reply_len = KEYD_HASH_REPLY_LEN,
    .write_request = write_delivery,
    .read_request = read_delivery,
    .write_reply = keyd_write_hash_reply,
    .read_reply = keyd_read_hash_reply};
