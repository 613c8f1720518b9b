/* Keys that are sealed anew; items and rows. */
#include "hsm/frame_items.h"

#include <string.h>

static void write_key(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_rewrap_key_request *q = (const struct keyd_rewrap_key_request *)items + i;

    (void)n_keks;
    if (q->slot != KEY_SLOT_APP && q->slot != KEY_SLOT_NWK)
        w->failed = true;
    bytes_write(w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write(w, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    bytes_write_u8(w, (uint8_t)q->slot);
    keyd_write_sealed_key(w, &q->key);
}

static void read_key(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_rewrap_key_request *q = &request->rewrap_keys[i];

    *q = (struct keyd_rewrap_key_request){0};
    bytes_read(r, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_read(r, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    q->slot = (enum key_slot)keyd_read_ranged(r, KEY_SLOT_APP, KEY_SLOT_NWK);
    keyd_read_sealed_key(r, &q->key);
}

static void write_kek(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    (void)n_keks;
    keyd_write_kek(w, (const struct sealed_kek *)items + i);
}

static void read_kek(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    keyd_read_kek(r, &request->rewrap_keks[i]);
}

#define NONE_LEN 24 /* bytes of a blob of zeros */

static const char no_label[SEALED_LABEL_MAX + 1] = "-";

static void write_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_rewrap_reply *a = &reply->rewraps[i];

    /* Where nothing changed, a key of zeros that names what is the newest: one form. */
    struct sealed_key key = {
        .blob_len = NONE_LEN, .tag_version = a->newest_tag > 0 ? a->newest_tag : 1};

    memcpy(key.kek_label, a->newest[0] != '\0' ? a->newest : no_label, sizeof(key.kek_label));
    if (a->changed)
        key = a->sealed;
    if (a->changed && a->status != KEYD_OK)
        w->failed = true;
    keyd_write_status(w, a->status);
    bytes_write_u8(w, a->changed);
    keyd_write_sealed_key(w, &key);
}

/* What is written where nothing changed. */
static bool is_none(const struct sealed_key *key)
{
    static const struct sealed_key none = {.blob_len = NONE_LEN};

    return key->blob_len == none.blob_len && memcmp(key->blob, none.blob, sizeof(none.blob)) == 0 &&
           memcmp(key->tag, none.tag, sizeof(none.tag)) == 0;
}

static void read_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_rewrap_reply *a = &reply->rewraps[i];

    *a = (struct keyd_rewrap_reply){.status = keyd_read_status(r)};
    a->changed = keyd_read_ranged(r, 0, 1) == 1;
    keyd_read_sealed_key(r, &a->sealed);
    if (!a->changed) {
        memcpy(a->newest, a->sealed.kek_label, sizeof(a->newest));
        a->newest_tag = a->sealed.tag_version;
    }
    if (a->changed ? a->status != KEYD_OK : !is_none(&a->sealed))
        r->failed = true;
}

#define KEY_LEN (8 + 8 + 1 + KEYD_SEALED_KEY_WIRE_LEN)
#define REPLY_LEN (1 + 1 + KEYD_SEALED_KEY_WIRE_LEN)

const struct keyd_verb_shape keyd_shape_rewrap_key = {.items_max = KEYD_BATCH_MAX,
    .request_len = KEY_LEN,
    .reply_len = REPLY_LEN,
    .write_request = write_key,
    .read_request = read_key,
    .write_reply = write_reply,
    .read_reply = read_reply};
KEYD_ASSERT_FITS(0, 0, KEYD_BATCH_MAX, KEY_LEN, REPLY_LEN);

const struct keyd_verb_shape keyd_shape_rewrap_kek = {.items_max = KEYD_BATCH_MAX,
    .request_len = KEYD_KEK_WIRE_LEN,
    .reply_len = REPLY_LEN,
    .write_request = write_kek,
    .read_request = read_kek,
    .write_reply = write_reply,
    .read_reply = read_reply};
KEYD_ASSERT_FITS(0, 0, KEYD_BATCH_MAX, KEYD_KEK_WIRE_LEN, REPLY_LEN);
