/* Keys sealed to a public key of somebody's: exports, and KEKs that are made here; items and rows.
 */
#include "hsm/frame_items.h"

/* --- export ---------------------------------------------------------------------------------- */

static void write_export_head(struct bytes_writer *w, const void *items)
{
    keyd_write_public_key(w, &((const struct keyd_export_message *)items)->to, KEYD_EXPORT_RSA_MAX);
}

static void read_export_head(struct bytes_reader *r, struct keyd_request *request)
{
    keyd_read_public_key(r, &request->export.to, KEYD_EXPORT_RSA_MAX);
}
#define EXPORT_HEAD_LEN KEYD_PUBLIC_KEY_WIRE_LEN(KEYD_EXPORT_RSA_MAX)

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

static void write_export_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_export_reply *a = &reply->exports[i];

    keyd_write_status(w, a->status);
    keyd_write_rsa_text(w, a->text, a->len, KEYD_EXPORT_RSA_MAX);
}

static void read_export_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_export_reply *a = &reply->exports[i];

    a->status = keyd_read_status(r);
    a->len = keyd_read_rsa_text(r, a->text, KEYD_EXPORT_RSA_MAX);
}
#define EXPORT_REPLY_LEN (1 + KEYD_RSA_TEXT_WIRE_LEN(KEYD_EXPORT_RSA_MAX))

const struct keyd_verb_shape keyd_shape_export_key = {.items_max = KEYD_BATCH_MAX,
    .head_len = EXPORT_HEAD_LEN,
    .request_len = EXPORT_LEN,
    .reply_len = EXPORT_REPLY_LEN,
    .write_head = write_export_head,
    .read_head = read_export_head,
    .write_request = write_export,
    .read_request = read_export,
    .write_reply = write_export_reply,
    .read_reply = read_export_reply};
KEYD_ASSERT_FITS(0, EXPORT_HEAD_LEN, KEYD_BATCH_MAX, EXPORT_LEN, EXPORT_REPLY_LEN);

/* --- a KEK made here -------------------------------------------------------------------------- */

static void write_make_kek(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_make_kek_request *q = (const struct keyd_make_kek_request *)items + i;

    (void)n_keks;
    if (!keyd_kek_key_len_valid(q->key_len))
        w->failed = true;
    keyd_write_public_key(w, &q->to, KEYD_RSA_MAX);
    bytes_write_u8(w, q->key_len);
    keyd_write_kek_name(w, &q->kek);
}

static void read_make_kek(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_make_kek_request *q = &request->make_kek + i;

    keyd_read_public_key(r, &q->to, KEYD_RSA_MAX);
    q->key_len = bytes_read_u8(r);
    if (!keyd_kek_key_len_valid(q->key_len))
        r->failed = true;
    keyd_read_kek_name(r, &q->kek);
}
#define MAKE_KEK_LEN (KEYD_PUBLIC_KEY_WIRE_LEN(KEYD_RSA_MAX) + 1 + KEYD_KEK_NAME_WIRE_LEN)

/* There is a text where there is a key, and nowhere else. */
static bool text_agrees(enum keyd_status status, uint16_t len)
{
    return (status == KEYD_OK) == (len != 0);
}

static void write_make_kek_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_make_kek_reply *a = &reply->make_kek + i;

    if (!text_agrees(a->status, a->made.len))
        w->failed = true;
    keyd_write_sealed_reply(w, a->status, &a->sealed, a->made.kcv);
    keyd_write_rsa_text(w, a->made.text, a->made.len, KEYD_RSA_MAX);
}

static void read_make_kek_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_make_kek_reply *a = &reply->make_kek + i;

    a->status = keyd_read_sealed_reply(r, &a->sealed, a->made.kcv);
    a->made.len = keyd_read_rsa_text(r, a->made.text, KEYD_RSA_MAX);
    if (!text_agrees(a->status, a->made.len))
        r->failed = true;
}
#define MAKE_KEK_REPLY_LEN (KEYD_SEALED_REPLY_LEN + KEYD_RSA_TEXT_WIRE_LEN(KEYD_RSA_MAX))

const struct keyd_verb_shape keyd_shape_make_kek = {.items_max = 1,
    .request_len = MAKE_KEK_LEN,
    .reply_len = MAKE_KEK_REPLY_LEN,
    .write_request = write_make_kek,
    .read_request = read_make_kek,
    .write_reply = write_make_kek_reply,
    .read_reply = read_make_kek_reply};
