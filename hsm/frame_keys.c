/* Adoption, hashes and random bytes: items and rows. */
#include "hsm/frame_items.h"

#include <string.h>

/* --- items of requests ----------------------------------------------------------------------- */

/* Bytes of a key's text; the place is KEYD_OAEP_LEN in every form. */
static size_t form_len(enum keyd_key_form form)
{
    static const size_t lengths[] = {
        [KEYD_FORM_CLEAR] = AES_KEY_LEN,
        [KEYD_FORM_WRAPPED] = KEYD_WRAPPED_LEN,
        [KEYD_FORM_SEALED] = KEYD_OAEP_LEN,
    };

    return lengths[form];
}

static bool transport_valid(const struct keyd_adopt_request *q, size_t n_keks)
{
    return q->form == KEYD_FORM_WRAPPED ? q->transport_kek < n_keks
                                        : q->transport_kek == KEYD_NO_KEK;
}

static void write_adopt(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_adopt_request *q = (const struct keyd_adopt_request *)items + i;
    const bool wrapped = q->form == KEYD_FORM_WRAPPED;

    if ((q->slot != KEY_SLOT_APP && q->slot != KEY_SLOT_NWK) || (int)q->form < KEYD_FORM_CLEAR ||
        q->form > KEYD_FORM_SEALED || (wrapped && !transport_valid(q, n_keks))) {
        w->failed = true;
        return;
    }
    bytes_write(w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write(w, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    bytes_write_u8(w, (uint8_t)q->slot);
    bytes_write_u8(w, (uint8_t)q->form);
    bytes_write_u8(w, wrapped ? q->transport_kek : KEYD_NO_KEK);
    /* Every form begins where the longest does. */
    keyd_write_padded(w, q->sealed, form_len(q->form), KEYD_OAEP_LEN);
}

static void read_adopt(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_adopt_request *q = &request->adopts[i];

    *q = (struct keyd_adopt_request){0};
    bytes_read(r, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_read(r, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    q->slot = (enum key_slot)keyd_read_ranged(r, KEY_SLOT_APP, KEY_SLOT_NWK);
    q->form = (enum keyd_key_form)keyd_read_ranged(r, KEYD_FORM_CLEAR, KEYD_FORM_SEALED);
    q->transport_kek = bytes_read_u8(r);
    if (!transport_valid(q, request->n_keks))
        r->failed = true;
    keyd_read_padded(r, q->sealed, form_len(q->form), KEYD_OAEP_LEN);
}
#define ADOPT_LEN (8 + 8 + 1 + 1 + 1 + KEYD_OAEP_LEN)

static void write_adopt_kek(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_adopt_kek_request *q = (const struct keyd_adopt_kek_request *)items + i;

    (void)n_keks;
    if (!keyd_kek_key_len_valid(q->key_len))
        w->failed = true;
    bytes_write(w, q->oaep, sizeof(q->oaep));
    bytes_write_u8(w, q->key_len);
    keyd_write_kek_name(w, &q->kek);
}

static void read_adopt_kek(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_adopt_kek_request *q = &request->adopt_kek + i;

    bytes_read(r, q->oaep, sizeof(q->oaep));
    q->key_len = bytes_read_u8(r);
    if (!keyd_kek_key_len_valid(q->key_len))
        r->failed = true;
    keyd_read_kek_name(r, &q->kek);
}
#define ADOPT_KEK_LEN (KEYD_OAEP_LEN + 1 + KEYD_KEK_NAME_WIRE_LEN)

static void write_code(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_claim_code *q = (const struct keyd_claim_code *)items + i;

    (void)n_keks;
    if (q->code_len > KEYD_CODE_MAX) {
        w->failed = true;
        return;
    }
    bytes_write(w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write_u32_be(w, q->generation);
    if (q->version > KEYED_VERSION_MAX)
        w->failed = true;
    bytes_write_u16_be(w, q->version);
    bytes_write_u8(w, q->code_len);
    keyd_write_padded(w, (const uint8_t *)q->code, q->code_len, KEYD_CODE_MAX);
}

static void read_code(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_claim_code *q = &request->codes[i];

    memset(q, 0, sizeof(*q));
    bytes_read(r, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    q->generation = bytes_read_u32_be(r);
    q->version = keyd_read_version(r, 0);
    q->code_len = (uint8_t)keyd_read_ranged(r, 0, KEYD_CODE_MAX);
    keyd_read_padded(r, (uint8_t *)q->code, q->code_len, KEYD_CODE_MAX);
}
#define CODE_LEN (8 + 4 + 2 + 1 + KEYD_CODE_MAX)

static void write_random(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_random_request *q = (const struct keyd_random_request *)items + i;

    (void)n_keks;
    if (q->len < 1 || q->len > KEYD_RANDOM_MAX)
        w->failed = true;
    bytes_write_u8(w, q->len);
}

static void read_random(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    request->randoms[i].len = (uint8_t)keyd_read_ranged(r, 1, KEYD_RANDOM_MAX);
}
#define RANDOM_LEN 1

static void write_token(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_token_request *q = (const struct keyd_token_request *)items + i;

    (void)n_keks;
    if (q->body_len > KEYD_TOKEN_MAX) {
        w->failed = true;
        return;
    }
    bytes_write_u8(w, q->body_len);
    keyd_write_padded(w, q->body, q->body_len, KEYD_TOKEN_MAX);
}

static void read_token(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_token_request *q = &request->tokens[i];

    memset(q, 0, sizeof(*q));
    q->body_len = (uint8_t)keyd_read_ranged(r, 0, KEYD_TOKEN_MAX);
    keyd_read_padded(r, q->body, q->body_len, KEYD_TOKEN_MAX);
}
#define TOKEN_LEN (1 + KEYD_TOKEN_MAX)

/* --- items of replies ------------------------------------------------------------------------ */

static void write_adopt_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_adopt_reply *a = &reply->adopts[i];

    keyd_write_sealed_reply(w, a->status, &a->sealed, a->kcv);
    keyd_write_padded(
        w, a->fingerprint, a->status == KEYD_OK ? KEYD_FINGERPRINT_LEN : 0, KEYD_FINGERPRINT_LEN);
}

static void read_adopt_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_adopt_reply *a = &reply->adopts[i];

    a->status = keyd_read_sealed_reply(r, &a->sealed, a->kcv);
    memset(a->fingerprint, 0, sizeof(a->fingerprint));
    keyd_read_padded(
        r, a->fingerprint, a->status == KEYD_OK ? KEYD_FINGERPRINT_LEN : 0, KEYD_FINGERPRINT_LEN);
}
#define ADOPT_REPLY_LEN (KEYD_SEALED_REPLY_LEN + KEYD_FINGERPRINT_LEN)

static void write_adopt_kek_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_adopt_kek_reply *a = &reply->adopt_kek + i;

    keyd_write_sealed_reply(w, a->status, &a->sealed, a->kcv);
}

static void read_adopt_kek_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_adopt_kek_reply *a = &reply->adopt_kek + i;

    a->status = keyd_read_sealed_reply(r, &a->sealed, a->kcv);
}

void keyd_write_hash_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_hash_reply *a = &reply->hashes[i];

    keyd_write_status(w, a->status);
    bytes_write_u16_be(w, a->version);
    bytes_write(w, a->hash, sizeof(a->hash));
}

void keyd_read_hash_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_hash_reply *a = &reply->hashes[i];

    a->status = keyd_read_status(r);
    a->version = keyd_read_version(r, 0);
    bytes_read(r, a->hash, sizeof(a->hash));
}

static void write_random_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_random_reply *a = &reply->randoms[i];

    if (a->len > KEYD_RANDOM_MAX) {
        w->failed = true;
        return;
    }
    keyd_write_status(w, a->status);
    bytes_write_u8(w, a->len);
    keyd_write_padded(w, a->bytes, a->len, KEYD_RANDOM_MAX);
}

static void read_random_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_random_reply *a = &reply->randoms[i];

    *a = (struct keyd_random_reply){.status = keyd_read_status(r)};
    a->len = (uint8_t)keyd_read_ranged(r, 0, KEYD_RANDOM_MAX);
    keyd_read_padded(r, a->bytes, a->len, KEYD_RANDOM_MAX);
}
#define RANDOM_REPLY_LEN (1 + 1 + KEYD_RANDOM_MAX)

/* --- rows ------------------------------------------------------------------------------------ */

const struct keyd_verb_shape keyd_shape_adopt_key = {.keks_max = KEYD_KEKS_MAX,
    .items_max = KEYD_BATCH_MAX,
    .request_len = ADOPT_LEN,
    .reply_len = ADOPT_REPLY_LEN,
    .write_request = write_adopt,
    .read_request = read_adopt,
    .write_reply = write_adopt_reply,
    .read_reply = read_adopt_reply};
KEYD_ASSERT_FITS(KEYD_KEKS_MAX, 0, KEYD_BATCH_MAX, ADOPT_LEN, ADOPT_REPLY_LEN);

const struct keyd_verb_shape keyd_shape_adopt_kek = {.items_max = 1,
    .request_len = ADOPT_KEK_LEN,
    .reply_len = KEYD_SEALED_REPLY_LEN,
    .write_request = write_adopt_kek,
    .read_request = read_adopt_kek,
    .write_reply = write_adopt_kek_reply,
    .read_reply = read_adopt_kek_reply};

const struct keyd_verb_shape keyd_shape_hash_code = {.items_max = KEYD_BATCH_MAX,
    .request_len = CODE_LEN,
    .reply_len = KEYD_HASH_REPLY_LEN,
    .write_request = write_code,
    .read_request = read_code,
    .write_reply = keyd_write_hash_reply,
    .read_reply = keyd_read_hash_reply};
KEYD_ASSERT_FITS(0, 0, KEYD_BATCH_MAX, CODE_LEN, KEYD_HASH_REPLY_LEN);

const struct keyd_verb_shape keyd_shape_random = {.items_max = KEYD_BATCH_MAX,
    .request_len = RANDOM_LEN,
    .reply_len = RANDOM_REPLY_LEN,
    .write_request = write_random,
    .read_request = read_random,
    .write_reply = write_random_reply,
    .read_reply = read_random_reply};
KEYD_ASSERT_FITS(0, 0, KEYD_BATCH_MAX, RANDOM_LEN, RANDOM_REPLY_LEN);

const struct keyd_verb_shape keyd_shape_hash_token = {.items_max = KEYD_BATCH_MAX,
    .request_len = TOKEN_LEN,
    .reply_len = KEYD_HASH_REPLY_LEN,
    .write_request = write_token,
    .read_request = read_token,
    .write_reply = keyd_write_hash_reply,
    .read_reply = keyd_read_hash_reply};
KEYD_ASSERT_FITS(0, 0, KEYD_BATCH_MAX, TOKEN_LEN, KEYD_HASH_REPLY_LEN);

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

const struct keyd_verb_shape keyd_shape_self_test = {.items_max = 1,
    .reply_len = KEYD_HASH_REPLY_LEN,
    .write_request = write_nothing,
    .read_request = read_nothing,
    .write_reply = keyd_write_hash_reply,
    .read_reply = keyd_read_hash_reply};
