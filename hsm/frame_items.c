#include "hsm/frame_items.h"

#include <string.h>

#define ACCEPT_LEN (4 + 3 + 4 + 1 + 1 + 1 + LW_CF_LIST_LEN)
#define ENVELOPE_LEN (1 + KEYD_WRAPPED_LEN)
#define N_ENVELOPES 5
#define SESSION_LEN (1 + 1 + 4 + 2)

/* --- pieces ---------------------------------------------------------------------------------- */

static bool printable_label(const char *label, size_t size, bool may_be_empty)
{
    size_t len = strnlen(label, size);

    if (len == size || (len == 0 && !may_be_empty))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (label[i] < 0x20 || label[i] > 0x7E)
            return false;
    }
    return true;
}

static void write_label(struct bytes_writer *w, const char *label, size_t size)
{
    static const uint8_t zeros[KEK_LABEL_MAX + 1];
    size_t len = strnlen(label, size);

    bytes_write(w, label, len);
    bytes_write(w, zeros, size - len);
}

/* NUL-terminated, printable before, zero after: one text has one form. */
void keyd_read_label(struct bytes_reader *r, char *label, size_t size)
{
    bytes_read(r, label, size);
    if (r->failed)
        return;
    if (!printable_label(label, size, false)) {
        r->failed = true;
        return;
    }
    for (size_t i = strlen(label); i < size; i++) {
        if (label[i] != '\0')
            r->failed = true;
    }
}

static unsigned read_ranged(struct bytes_reader *r, unsigned min, unsigned max)
{
    unsigned v = bytes_read_u8(r);

    if (v < min || v > max) {
        r->failed = true;
        return min;
    }
    return v;
}

static void read_zeros(struct bytes_reader *r, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes_read_u8(r) != 0)
            r->failed = true;
    }
}

static void write_zeros(struct bytes_writer *w, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes_write_u8(w, 0);
}

static bool blob_len_valid(unsigned len)
{
    return len == 24 || len == 32 || len == 40;
}

bool keyd_sealed_key_valid(const struct sealed_key *key)
{
    return printable_label(key->kek_label, sizeof(key->kek_label), false) &&
           blob_len_valid(key->blob_len);
}

static bool kek_name_valid(const struct sealed_kek *kek)
{
    return (int)kek->peer_kind >= PEER_NETWORK_SERVER && kek->peer_kind <= PEER_ORGANIZATION &&
           (int)kek->kek_class >= KEK_CLASS_NS && kek->kek_class <= KEK_CLASS_TRANSPORT &&
           printable_label(kek->peer_id, sizeof(kek->peer_id), false) &&
           printable_label(kek->label, sizeof(kek->label), false);
}

bool keyd_sealed_kek_valid(const struct sealed_kek *kek)
{
    return kek_name_valid(kek) && keyd_sealed_key_valid(&kek->key);
}

static void write_sealed_key(struct bytes_writer *w, const struct sealed_key *key)
{
    if (!keyd_sealed_key_valid(key)) {
        w->failed = true;
        return;
    }
    write_label(w, key->kek_label, sizeof(key->kek_label));
    bytes_write_u8(w, key->blob_len);
    bytes_write(w, key->blob, key->blob_len);
    write_zeros(w, SEALED_BLOB_MAX - key->blob_len);
    bytes_write(w, key->tag, sizeof(key->tag));
}

static void read_sealed_key(struct bytes_reader *r, struct sealed_key *key)
{
    *key = (struct sealed_key){0};
    keyd_read_label(r, key->kek_label, sizeof(key->kek_label));
    key->blob_len = bytes_read_u8(r);
    if (!blob_len_valid(key->blob_len)) {
        key->blob_len = 0;
        r->failed = true;
        return;
    }
    bytes_read(r, key->blob, key->blob_len);
    read_zeros(r, (size_t)(SEALED_BLOB_MAX - key->blob_len));
    bytes_read(r, key->tag, sizeof(key->tag));
}

static void write_kek_name(struct bytes_writer *w, const struct sealed_kek *kek)
{
    if (!kek_name_valid(kek)) {
        w->failed = true;
        return;
    }
    bytes_write_u8(w, (uint8_t)kek->peer_kind);
    write_label(w, kek->peer_id, sizeof(kek->peer_id));
    bytes_write_u8(w, (uint8_t)kek->kek_class);
    write_label(w, kek->label, sizeof(kek->label));
}

static void read_kek_name(struct bytes_reader *r, struct sealed_kek *kek)
{
    *kek = (struct sealed_kek){0};
    kek->peer_kind = (enum peer_kind)read_ranged(r, PEER_NETWORK_SERVER, PEER_ORGANIZATION);
    keyd_read_label(r, kek->peer_id, sizeof(kek->peer_id));
    kek->kek_class = (enum kek_class)read_ranged(r, KEK_CLASS_NS, KEK_CLASS_TRANSPORT);
    keyd_read_label(r, kek->label, sizeof(kek->label));
}

static void write_status(struct bytes_writer *w, enum keyd_status status)
{
    bytes_write_u8(w, (uint8_t)status);
}

static enum keyd_status read_status(struct bytes_reader *r)
{
    return (enum keyd_status)read_ranged(r, KEYD_OK, KEYD_HSM_FAILED);
}

static bool kek_index_valid(uint8_t index, size_t n_keks)
{
    return index == KEYD_NO_KEK || index == KEYD_PLAIN || index < n_keks;
}

static uint8_t read_kek_index(struct bytes_reader *r, size_t n_keks)
{
    uint8_t v = bytes_read_u8(r);

    if (!kek_index_valid(v, n_keks))
        r->failed = true;
    return v;
}

static uint32_t read_join_nonce(struct bytes_reader *r)
{
    uint32_t v = bytes_read_u32_be(r);

    if (v > LW_JOIN_NONCE_MAX)
        r->failed = true;
    return v;
}

static bool envelope_len_valid(unsigned len)
{
    return len == 0 || len == AES_KEY_LEN || len == KEYD_WRAPPED_LEN;
}

static void write_envelope(struct bytes_writer *w, const struct keyd_envelope *envelope)
{
    if (!envelope_len_valid(envelope->len)) {
        w->failed = true;
        return;
    }
    bytes_write_u8(w, envelope->len);
    bytes_write(w, envelope->bytes, envelope->len);
    write_zeros(w, (size_t)(KEYD_WRAPPED_LEN - envelope->len));
}

static void read_envelope(struct bytes_reader *r, struct keyd_envelope *envelope)
{
    *envelope = (struct keyd_envelope){.len = bytes_read_u8(r)};
    if (!envelope_len_valid(envelope->len)) {
        envelope->len = 0;
        r->failed = true;
        return;
    }
    bytes_read(r, envelope->bytes, envelope->len);
    read_zeros(r, (size_t)(KEYD_WRAPPED_LEN - envelope->len));
}

/* --- items of requests ----------------------------------------------------------------------- */

bool keyd_frame_len_valid(unsigned len)
{
    return len == LW_JOIN_REQUEST_LEN || len == LW_REJOIN_LEN_0_2 || len == LW_REJOIN_LEN_1;
}

static void write_air_frame(struct bytes_writer *w, const struct keyd_join_request *q)
{
    if (!keyd_frame_len_valid(q->frame_len)) {
        w->failed = true;
        return;
    }
    bytes_write_u8(w, q->frame_len);
    bytes_write(w, q->frame, q->frame_len);
    write_zeros(w, (size_t)(LW_REJOIN_MAX - q->frame_len));
}

static void read_air_frame(struct bytes_reader *r, struct keyd_join_request *q)
{
    q->frame_len = bytes_read_u8(r);
    if (!keyd_frame_len_valid(q->frame_len)) {
        q->frame_len = 0;
        r->failed = true;
        return;
    }
    bytes_read(r, q->frame, q->frame_len);
    read_zeros(r, (size_t)(LW_REJOIN_MAX - q->frame_len));
}

/* No other frame is proven by a session. */
static bool needs_sessions(const struct keyd_join_request *q)
{
    return q->frame_len == LW_REJOIN_LEN_0_2;
}

static void write_sessions(struct bytes_writer *w, const struct keyd_join_request *q)
{
    for (size_t i = 0; i < KEYD_SESSIONS_MAX; i++) {
        const struct keyd_session *s = &q->sessions[i];

        if (!s->present || !needs_sessions(q)) {
            write_zeros(w, SESSION_LEN);
            continue;
        }
        if (s->join_nonce > LW_JOIN_NONCE_MAX)
            w->failed = true;
        bytes_write_u8(w, s->present);
        bytes_write_u8(w, s->plan);
        bytes_write_u32_be(w, s->join_nonce);
        bytes_write_u16_be(w, s->nonce);
    }
}

static void read_sessions(struct bytes_reader *r, struct keyd_join_request *q)
{
    for (size_t i = 0; i < KEYD_SESSIONS_MAX; i++) {
        struct keyd_session *s = &q->sessions[i];

        s->present = read_ranged(r, 0, needs_sessions(q)) != 0;
        if (!s->present) {
            read_zeros(r, SESSION_LEN - 1);
            continue;
        }
        s->plan = read_ranged(r, 0, 1) != 0;
        s->join_nonce = read_join_nonce(r);
        s->nonce = bytes_read_u16_be(r);
    }
}

static void write_join(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_join_request *q = (const struct keyd_join_request *)items + i;
    /* Without a plan there is nothing but the frame to look at. */
    static const struct lw_join_accept none;
    const struct lw_join_accept *a = q->plan ? &q->accept : &none;
    const uint8_t ns_kek = q->plan ? q->ns_kek : KEYD_NO_KEK;
    const uint8_t as_kek = q->plan ? q->as_kek : KEYD_NO_KEK;

    if (a->join_nonce > LW_JOIN_NONCE_MAX || !kek_index_valid(ns_kek, n_keks) ||
        !kek_index_valid(as_kek, n_keks))
        w->failed = true;
    bytes_write(w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write(w, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    write_sealed_key(w, &q->app);
    bytes_write_u8(w, q->has_nwk);
    if (q->has_nwk)
        write_sealed_key(w, &q->nwk);
    else
        write_zeros(w, KEYD_SEALED_KEY_WIRE_LEN);
    write_air_frame(w, q);
    write_sessions(w, q);
    bytes_write_u8(w, q->plan);
    bytes_write_u32_be(w, a->join_nonce);
    bytes_write(w, a->net_id.bytes, sizeof(a->net_id.bytes));
    bytes_write(w, a->dev_addr.bytes, sizeof(a->dev_addr.bytes));
    bytes_write_u8(w, a->dl_settings);
    bytes_write_u8(w, a->rx_delay);
    bytes_write_u8(w, a->has_cf_list);
    bytes_write(w, a->cf_list, sizeof(a->cf_list));
    bytes_write_u8(w, ns_kek);
    bytes_write_u8(w, as_kek);
}

static void read_join(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_join_request *q = &request->joins[i];
    struct lw_join_accept *a = &q->accept;

    *q = (struct keyd_join_request){0};
    bytes_read(r, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_read(r, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    read_sealed_key(r, &q->app);
    q->has_nwk = read_ranged(r, 0, 1) != 0;
    if (q->has_nwk)
        read_sealed_key(r, &q->nwk);
    else
        read_zeros(r, KEYD_SEALED_KEY_WIRE_LEN);
    read_air_frame(r, q);
    read_sessions(r, q);
    q->plan = read_ranged(r, 0, 1) != 0;
    if (!q->plan) {
        read_zeros(r, ACCEPT_LEN);
        q->ns_kek = (uint8_t)read_ranged(r, KEYD_NO_KEK, KEYD_NO_KEK);
        q->as_kek = (uint8_t)read_ranged(r, KEYD_NO_KEK, KEYD_NO_KEK);
        return;
    }
    a->join_nonce = read_join_nonce(r);
    bytes_read(r, a->net_id.bytes, sizeof(a->net_id.bytes));
    bytes_read(r, a->dev_addr.bytes, sizeof(a->dev_addr.bytes));
    a->dl_settings = bytes_read_u8(r);
    a->rx_delay = bytes_read_u8(r);
    a->has_cf_list = read_ranged(r, 0, 1) != 0;
    bytes_read(r, a->cf_list, sizeof(a->cf_list));
    q->ns_kek = read_kek_index(r, request->n_keks);
    q->as_kek = read_kek_index(r, request->n_keks);
}
#define JOIN_LEN                                                                                   \
    (8 + 8 + KEYD_SEALED_KEY_WIRE_LEN + 1 + KEYD_SEALED_KEY_WIRE_LEN + 1 + LW_REJOIN_MAX +         \
        KEYD_SESSIONS_MAX * SESSION_LEN + 1 + ACCEPT_LEN + 2)

static void write_adopt(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_adopt_request *q = (const struct keyd_adopt_request *)items + i;

    (void)n_keks;
    if (q->slot != KEY_SLOT_APP && q->slot != KEY_SLOT_NWK)
        w->failed = true;
    bytes_write(w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write(w, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    bytes_write_u8(w, (uint8_t)q->slot);
    bytes_write(w, q->key.bytes, sizeof(q->key.bytes));
}

static void read_adopt(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_adopt_request *q = &request->adopts[i];

    bytes_read(r, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_read(r, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    q->slot = (enum key_slot)read_ranged(r, KEY_SLOT_APP, KEY_SLOT_NWK);
    bytes_read(r, q->key.bytes, sizeof(q->key.bytes));
}
#define ADOPT_LEN (8 + 8 + 1 + AES_KEY_LEN)

static bool kek_key_len_valid(unsigned len)
{
    return len == 16 || len == 24 || len == 32;
}

static void write_adopt_kek(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_adopt_kek_request *q = (const struct keyd_adopt_kek_request *)items + i;

    (void)n_keks;
    if (!kek_key_len_valid(q->key_len))
        w->failed = true;
    bytes_write(w, q->oaep, sizeof(q->oaep));
    bytes_write_u8(w, q->key_len);
    write_kek_name(w, &q->kek);
}

static void read_adopt_kek(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_adopt_kek_request *q = &request->adopt_kek + i;

    bytes_read(r, q->oaep, sizeof(q->oaep));
    q->key_len = bytes_read_u8(r);
    if (!kek_key_len_valid(q->key_len))
        r->failed = true;
    read_kek_name(r, &q->kek);
}
#define ADOPT_KEK_LEN (KEYD_OAEP_LEN + 1 + KEYD_KEK_NAME_WIRE_LEN)

static void write_code(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_code_request *q = (const struct keyd_code_request *)items + i;

    (void)n_keks;
    if (q->code_len > KEYD_CODE_MAX) {
        w->failed = true;
        return;
    }
    bytes_write(w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write_u32_be(w, q->generation);
    bytes_write_u8(w, q->code_len);
    bytes_write(w, q->code, q->code_len);
    write_zeros(w, (size_t)(KEYD_CODE_MAX - q->code_len));
}

static void read_code(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_code_request *q = &request->code + i;

    memset(q, 0, sizeof(*q));
    bytes_read(r, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    q->generation = bytes_read_u32_be(r);
    q->code_len = (uint8_t)read_ranged(r, 0, KEYD_CODE_MAX);
    bytes_read(r, q->code, q->code_len);
    read_zeros(r, (size_t)(KEYD_CODE_MAX - q->code_len));
}
#define CODE_LEN (8 + 4 + 1 + KEYD_CODE_MAX)

static void write_token(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_token_request *q = (const struct keyd_token_request *)items + i;

    (void)n_keks;
    if (q->body_len > KEYD_TOKEN_MAX) {
        w->failed = true;
        return;
    }
    bytes_write_u8(w, q->body_len);
    bytes_write(w, q->body, q->body_len);
    write_zeros(w, (size_t)(KEYD_TOKEN_MAX - q->body_len));
}

static void read_token(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_token_request *q = &request->token + i;

    memset(q, 0, sizeof(*q));
    q->body_len = (uint8_t)read_ranged(r, 0, KEYD_TOKEN_MAX);
    bytes_read(r, q->body, q->body_len);
    read_zeros(r, (size_t)(KEYD_TOKEN_MAX - q->body_len));
}
#define TOKEN_LEN (1 + KEYD_TOKEN_MAX)

static void write_app_s_key(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_app_s_key_request *q = (const struct keyd_app_s_key_request *)items + i;

    if (q->join_nonce > LW_JOIN_NONCE_MAX || !kek_index_valid(q->as_kek, n_keks))
        w->failed = true;
    bytes_write(w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write(w, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    write_sealed_key(w, &q->app);
    bytes_write_u8(w, q->has_nwk);
    if (q->has_nwk)
        write_sealed_key(w, &q->nwk);
    else
        write_zeros(w, KEYD_SEALED_KEY_WIRE_LEN);
    bytes_write_u8(w, q->opt_neg);
    bytes_write_u32_be(w, q->join_nonce);
    bytes_write_u16_be(w, q->nonce);
    bytes_write(w, q->net_id.bytes, sizeof(q->net_id.bytes));
    bytes_write_u8(w, q->as_kek);
}

static void read_app_s_key(struct bytes_reader *r, struct keyd_request *request, size_t i)
{
    struct keyd_app_s_key_request *q = &request->app_s_key + i;

    *q = (struct keyd_app_s_key_request){0};
    bytes_read(r, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_read(r, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    read_sealed_key(r, &q->app);
    q->has_nwk = read_ranged(r, 0, 1) != 0;
    if (q->has_nwk)
        read_sealed_key(r, &q->nwk);
    else
        read_zeros(r, KEYD_SEALED_KEY_WIRE_LEN);
    q->opt_neg = read_ranged(r, 0, 1) != 0;
    q->join_nonce = read_join_nonce(r);
    q->nonce = bytes_read_u16_be(r);
    bytes_read(r, q->net_id.bytes, sizeof(q->net_id.bytes));
    q->as_kek = read_kek_index(r, request->n_keks);
}
#define APP_S_KEY_LEN                                                                              \
    (8 + 8 + KEYD_SEALED_KEY_WIRE_LEN + 1 + KEYD_SEALED_KEY_WIRE_LEN + 1 + 4 + 2 + 3 + 1)

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

/* --- items of replies ------------------------------------------------------------------------ */

static void write_join_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_join_reply *a = &reply->joins[i];

    if (a->session >= KEYD_SESSIONS_MAX)
        w->failed = true;
    write_status(w, a->status);
    bytes_write_u8(w, a->session);
    bytes_write_u8(w, a->phy_payload_len);
    bytes_write(w, a->phy_payload, sizeof(a->phy_payload));
    bytes_write_u8(w, a->opt_neg);
    write_envelope(w, &a->nwk_s_key);
    write_envelope(w, &a->f_nwk_s_int_key);
    write_envelope(w, &a->s_nwk_s_int_key);
    write_envelope(w, &a->nwk_s_enc_key);
    write_envelope(w, &a->app_s_key);
}

static void read_join_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_join_reply *a = &reply->joins[i];

    a->status = read_status(r);
    a->session = (uint8_t)read_ranged(r, 0, KEYD_SESSIONS_MAX - 1);
    a->phy_payload_len = bytes_read_u8(r);
    if (a->phy_payload_len != 0 && a->phy_payload_len != 17 &&
        a->phy_payload_len != LW_JOIN_ACCEPT_MAX)
        r->failed = true;
    bytes_read(r, a->phy_payload, sizeof(a->phy_payload));
    a->opt_neg = read_ranged(r, 0, 1) != 0;
    read_envelope(r, &a->nwk_s_key);
    read_envelope(r, &a->f_nwk_s_int_key);
    read_envelope(r, &a->s_nwk_s_int_key);
    read_envelope(r, &a->nwk_s_enc_key);
    read_envelope(r, &a->app_s_key);
}
#define JOIN_REPLY_LEN (1 + 1 + 1 + LW_JOIN_ACCEPT_MAX + 1 + N_ENVELOPES * ENVELOPE_LEN)

/* A refused key comes back as zeros: there is nothing to seal. */
static void write_sealed_reply(struct bytes_writer *w, enum keyd_status status,
    const struct sealed_key *sealed, const uint8_t kcv[static KEYD_KCV_LEN])
{
    write_status(w, status);
    if (status != KEYD_OK) {
        write_zeros(w, KEYD_SEALED_KEY_WIRE_LEN + KEYD_KCV_LEN);
        return;
    }
    write_sealed_key(w, sealed);
    bytes_write(w, kcv, KEYD_KCV_LEN);
}

static enum keyd_status read_sealed_reply(
    struct bytes_reader *r, struct sealed_key *sealed, uint8_t kcv[static KEYD_KCV_LEN])
{
    enum keyd_status status = read_status(r);

    *sealed = (struct sealed_key){0};
    if (status != KEYD_OK) {
        memset(kcv, 0, KEYD_KCV_LEN);
        read_zeros(r, KEYD_SEALED_KEY_WIRE_LEN + KEYD_KCV_LEN);
        return status;
    }
    read_sealed_key(r, sealed);
    bytes_read(r, kcv, KEYD_KCV_LEN);
    return status;
}
#define SEALED_REPLY_LEN (1 + KEYD_SEALED_KEY_WIRE_LEN + KEYD_KCV_LEN)

static void write_adopt_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_adopt_reply *a = &reply->adopts[i];

    write_sealed_reply(w, a->status, &a->sealed, a->kcv);
}

static void read_adopt_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_adopt_reply *a = &reply->adopts[i];

    a->status = read_sealed_reply(r, &a->sealed, a->kcv);
}

static void write_adopt_kek_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_adopt_kek_reply *a = &reply->adopt_kek + i;

    write_sealed_reply(w, a->status, &a->sealed, a->kcv);
}

static void read_adopt_kek_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_adopt_kek_reply *a = &reply->adopt_kek + i;

    a->status = read_sealed_reply(r, &a->sealed, a->kcv);
}

static void write_hash_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_hash_reply *a = &reply->hash + i;

    write_status(w, a->status);
    bytes_write(w, a->hash, sizeof(a->hash));
}

static void read_hash_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_hash_reply *a = &reply->hash + i;

    a->status = read_status(r);
    bytes_read(r, a->hash, sizeof(a->hash));
}
#define HASH_REPLY_LEN (1 + KEYD_HASH_LEN)

static void write_app_s_key_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_app_s_key_reply *a = &reply->app_s_key + i;

    write_status(w, a->status);
    write_envelope(w, &a->app_s_key);
}

static void read_app_s_key_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_app_s_key_reply *a = &reply->app_s_key + i;

    a->status = read_status(r);
    read_envelope(r, &a->app_s_key);
}
#define APP_S_KEY_REPLY_LEN (1 + ENVELOPE_LEN)

/* --- the table of verbs ---------------------------------------------------------------------- */

static const struct keyd_verb_shape shapes[KEYD_N_VERBS + 1] = {
    [KEYD_VERB_JOIN] = {KEYD_KEKS_MAX, KEYD_BATCH_MAX, JOIN_LEN, JOIN_REPLY_LEN, write_join,
        read_join, write_join_reply, read_join_reply},
    [KEYD_VERB_ADOPT_KEY] = {0, KEYD_BATCH_MAX, ADOPT_LEN, SEALED_REPLY_LEN, write_adopt,
        read_adopt, write_adopt_reply, read_adopt_reply},
    [KEYD_VERB_ADOPT_KEK] = {0, 1, ADOPT_KEK_LEN, SEALED_REPLY_LEN, write_adopt_kek, read_adopt_kek,
        write_adopt_kek_reply, read_adopt_kek_reply},
    [KEYD_VERB_HASH_CODE] = {0, 1, CODE_LEN, HASH_REPLY_LEN, write_code, read_code,
        write_hash_reply, read_hash_reply},
    [KEYD_VERB_HASH_TOKEN] = {0, 1, TOKEN_LEN, HASH_REPLY_LEN, write_token, read_token,
        write_hash_reply, read_hash_reply},
    [KEYD_VERB_SELF_TEST] = {0, 1, 0, HASH_REPLY_LEN, write_nothing, read_nothing, write_hash_reply,
        read_hash_reply},
    [KEYD_VERB_APP_S_KEY] = {1, 1, APP_S_KEY_LEN, APP_S_KEY_REPLY_LEN, write_app_s_key,
        read_app_s_key, write_app_s_key_reply, read_app_s_key_reply},
};

_Static_assert(
    KEYD_REQUEST_HEADER_LEN + KEYD_KEKS_MAX * KEYD_KEK_WIRE_LEN + KEYD_BATCH_MAX * JOIN_LEN <=
        KEYD_FRAME_MAX,
    "the greatest request fits a frame");
_Static_assert(KEYD_REPLY_HEADER_LEN + KEYD_BATCH_MAX * JOIN_REPLY_LEN <= KEYD_FRAME_MAX,
    "the greatest reply fits a frame");

const struct keyd_verb_shape *keyd_verb_shape(unsigned verb)
{
    return verb >= 1 && verb <= KEYD_N_VERBS ? &shapes[verb] : NULL;
}

void keyd_write_kek(struct bytes_writer *w, const struct sealed_kek *kek)
{
    write_kek_name(w, kek);
    write_sealed_key(w, &kek->key);
}

void keyd_read_kek(struct bytes_reader *r, struct sealed_kek *kek)
{
    read_kek_name(r, kek);
    read_sealed_key(r, &kek->key);
}
