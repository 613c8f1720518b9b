/* Export: the message's public key, items and row. */
#include "hsm/frame_items.h"

bool keyd_public_key_valid(const struct keyd_public_key *key)
{
    const size_t n = key->modulus_len, e = key->exponent_len;

    if (n < KEYD_RSA_MIN || n > KEYD_RSA_MAX || e < 1 || e > KEYD_RSA_EXPONENT_MAX)
        return false;
    /* One number has one form, and KEYD_RSA_MIN bytes are as many bits as they can be. */
    if (key->modulus[0] == 0 || key->exponent[0] == 0 ||
        (n == KEYD_RSA_MIN && (key->modulus[0] & 0x80) == 0))
        return false;
    /* Even numbers are no RSA key; 1 as the exponent would let everything out in clear. */
    return (key->modulus[n - 1] & 1) != 0 && (key->exponent[e - 1] & 1) != 0 &&
           (e > 1 || key->exponent[0] > 1);
}

static void write_public_key(struct bytes_writer *w, const void *items)
{
    const struct keyd_public_key *key = &((const struct keyd_export_message *)items)->to;

    if (!keyd_public_key_valid(key)) {
        w->failed = true;
        return;
    }
    bytes_write_u16_be(w, key->modulus_len);
    keyd_write_padded(w, key->modulus, key->modulus_len, KEYD_RSA_MAX);
    bytes_write_u8(w, key->exponent_len);
    keyd_write_padded(w, key->exponent, key->exponent_len, KEYD_RSA_EXPONENT_MAX);
}

static void read_public_key(struct bytes_reader *r, struct keyd_request *request)
{
    struct keyd_public_key *key = &request->export.to;

    *key = (struct keyd_public_key){.modulus_len = bytes_read_u16_be(r)};
    if (key->modulus_len > KEYD_RSA_MAX) {
        r->failed = true;
        return;
    }
    keyd_read_padded(r, key->modulus, key->modulus_len, KEYD_RSA_MAX);
    key->exponent_len = (uint8_t)keyd_read_ranged(r, 1, KEYD_RSA_EXPONENT_MAX);
    keyd_read_padded(r, key->exponent, key->exponent_len, KEYD_RSA_EXPONENT_MAX);
    if (!keyd_public_key_valid(key))
        r->failed = true;
}
#define HEAD_LEN (2 + KEYD_RSA_MAX + 1 + KEYD_RSA_EXPONENT_MAX)

static void write_export(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_export_request *q = &((const struct keyd_export_message *)items)->items[i];

    (void)n_keks;
    if (q->slot != KEY_SLOT_APP && q->slot != KEY_SLOT_NWK)
        w->failed = true;
    bytes_write(w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write(w, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    bytes_write_u8(w, (uint8_t)q->slot);
    keyd_write_sealed_key(w, &q->key);
}

static void read_export(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_export_request *q = &request->export.items[i];

    *q = (struct keyd_export_request){0};
    bytes_read(r, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_read(r, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    q->slot = (enum key_slot)keyd_read_ranged(r, KEY_SLOT_APP, KEY_SLOT_NWK);
    keyd_read_sealed_key(r, &q->key);
}
#define EXPORT_LEN (8 + 8 + 1 + KEYD_SEALED_KEY_WIRE_LEN)

static bool text_len_valid(unsigned len)
{
    return len == 0 || (len >= KEYD_RSA_MIN && len <= KEYD_RSA_MAX);
}

static void write_export_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_export_reply *a = &reply->exports[i];

    if (!text_len_valid(a->len)) {
        w->failed = true;
        return;
    }
    keyd_write_status(w, a->status);
    bytes_write_u16_be(w, a->len);
    keyd_write_padded(w, a->text, a->len, KEYD_RSA_MAX);
}

static void read_export_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_export_reply *a = &reply->exports[i];

    *a = (struct keyd_export_reply){.status = keyd_read_status(r)};
    a->len = bytes_read_u16_be(r);
    if (!text_len_valid(a->len)) {
        a->len = 0;
        r->failed = true;
        return;
    }
    keyd_read_padded(r, a->text, a->len, KEYD_RSA_MAX);
}
#define EXPORT_REPLY_LEN (1 + 2 + KEYD_RSA_MAX)

const struct keyd_verb_shape keyd_shape_export_key = {.items_max = KEYD_BATCH_MAX,
    .head_len = HEAD_LEN,
    .request_len = EXPORT_LEN,
    .reply_len = EXPORT_REPLY_LEN,
    .write_head = write_public_key,
    .read_head = read_public_key,
    .write_request = write_export,
    .read_request = read_export,
    .write_reply = write_export_reply,
    .read_reply = read_export_reply};
KEYD_ASSERT_FITS(0, HEAD_LEN, KEYD_BATCH_MAX, EXPORT_LEN, EXPORT_REPLY_LEN);
