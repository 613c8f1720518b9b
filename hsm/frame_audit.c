/* What the audit asks: items and rows. */
#include "hsm/frame_items.h"

static void write_checkpoint(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct audit_checkpoint *q = (const struct audit_checkpoint *)items + i;

    (void)n_keks;
    bytes_write(w, q->organization, sizeof(q->organization));
    bytes_write_u64_be(w, q->seq);
    bytes_write_u64_be(w, q->count);
    bytes_write(w, q->chain, sizeof(q->chain));
    bytes_write(w, q->root, sizeof(q->root));
}

static void read_checkpoint(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct audit_checkpoint *q = &request->checkpoint + i;

    *q = (struct audit_checkpoint){0};
    bytes_read(r, q->organization, sizeof(q->organization));
    q->seq = bytes_read_u64_be(r);
    q->count = bytes_read_u64_be(r);
    bytes_read(r, q->chain, sizeof(q->chain));
    bytes_read(r, q->root, sizeof(q->root));
}
#define CHECKPOINT_LEN (AUDIT_ID_LEN + 8 + 8 + 2 * MERKLE_HASH_LEN)

static void write_sign_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_sign_reply *a = &reply->signed_checkpoint + i;

    keyd_write_status(w, a->status);
    bytes_write_u64_be(w, a->time);
    bytes_write(w, a->signature, sizeof(a->signature));
}

static void read_sign_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_sign_reply *a = &reply->signed_checkpoint + i;

    a->status = keyd_read_status(r);
    a->time = bytes_read_u64_be(r);
    bytes_read(r, a->signature, sizeof(a->signature));
}
#define SIGN_REPLY_LEN (1 + 8 + AUDIT_SIGNATURE_LEN)

const struct keyd_verb_shape keyd_shape_sign_checkpoint = {.items_max = 1,
    .request_len = CHECKPOINT_LEN,
    .reply_len = SIGN_REPLY_LEN,
    .write_request = write_checkpoint,
    .read_request = read_checkpoint,
    .write_reply = write_sign_reply,
    .read_reply = read_sign_reply};

static bool type_valid(enum custody_type type)
{
    return (int)type >= CUSTODY_OF_DEVICE && type <= CUSTODY_TYPE_LAST;
}

/* Of its whole room: all items of a verb have one length. */
static void write_custody(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_custody_request *q = (const struct keyd_custody_request *)items + i;

    (void)n_keks;
    if (q->len > sizeof(q->document) || !type_valid(q->type))
        w->failed = true;
    bytes_write_u8(w, (uint8_t)q->type);
    bytes_write_u16_be(w, q->len);
    bytes_write(w, q->document, sizeof(q->document));
}

static void read_custody(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_custody_request *q = &request->custody + i;

    q->type = (enum custody_type)keyd_read_ranged(r, CUSTODY_OF_DEVICE, CUSTODY_TYPE_LAST);
    q->len = bytes_read_u16_be(r);
    bytes_read(r, q->document, sizeof(q->document));
    if (q->len > sizeof(q->document))
        r->failed = true;
}
#define CUSTODY_LEN (1 + 2 + CUSTODY_DOCUMENT_MAX)

const struct keyd_verb_shape keyd_shape_sign_custody = {.items_max = 1,
    .request_len = CUSTODY_LEN,
    .reply_len = SIGN_REPLY_LEN,
    .write_request = write_custody,
    .read_request = read_custody,
    .write_reply = write_sign_reply,
    .read_reply = read_sign_reply};
KEYD_ASSERT_FITS(0, 0, 1, CUSTODY_LEN, SIGN_REPLY_LEN);

static void write_nothing(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    (void)w;
    (void)items;
    (void)i;
    (void)n_keks;
}

static void read_nothing(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    (void)r;
    (void)request;
    (void)i;
}

static void write_key_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_audit_key_reply *a = &reply->audit_key + i;

    keyd_write_status(w, a->status);
    bytes_write(w, a->point, sizeof(a->point));
}

static void read_key_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_audit_key_reply *a = &reply->audit_key + i;

    a->status = keyd_read_status(r);
    bytes_read(r, a->point, sizeof(a->point));
}

const struct keyd_verb_shape keyd_shape_audit_key = {.items_max = 1,
    .reply_len = 1 + AUDIT_POINT_LEN,
    .write_request = write_nothing,
    .read_request = read_nothing,
    .write_reply = write_key_reply,
    .read_reply = read_key_reply};
