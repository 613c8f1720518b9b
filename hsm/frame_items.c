/* Joins, the AppSKey again, and the table of all verbs. */
#include "hsm/frame_items.h"

#include "hsm/frame_pieces.h"

#define ACCEPT_LEN (4 + 3 + 4 + 1 + 1 + 1 + LW_CF_LIST_LEN)
#define ENVELOPE_LEN (1 + KEYD_WRAPPED_LEN)
#define N_ENVELOPES 5
#define SESSION_LEN (1 + 1 + 4 + 2)

/* --- pieces ---------------------------------------------------------------------------------- */

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
    keyd_write_zeros(w, (size_t)(KEYD_WRAPPED_LEN - envelope->len));
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
    keyd_read_zeros(r, (size_t)(KEYD_WRAPPED_LEN - envelope->len));
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
    keyd_write_zeros(w, (size_t)(LW_REJOIN_MAX - q->frame_len));
}

#define AIR_JOIN_EUI_LEN (1 + 8)

static void write_air_join_eui(struct bytes_writer *w, bool has, const struct eui64 *eui)
{
    bytes_write_u8(w, has);
    if (has)
        bytes_write(w, eui->bytes, sizeof(eui->bytes));
    else
        keyd_write_zeros(w, sizeof(eui->bytes));
}

static bool read_air_join_eui(struct bytes_reader *r, struct eui64 *ret)
{
    bool has = keyd_read_ranged(r, 0, 1) != 0;

    if (has)
        bytes_read(r, ret->bytes, sizeof(ret->bytes));
    else
        keyd_read_zeros(r, sizeof(ret->bytes));
    return has;
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
    keyd_read_zeros(r, (size_t)(LW_REJOIN_MAX - q->frame_len));
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
            keyd_write_zeros(w, SESSION_LEN);
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

        s->present = keyd_read_ranged(r, 0, needs_sessions(q)) != 0;
        if (!s->present) {
            keyd_read_zeros(r, SESSION_LEN - 1);
            continue;
        }
        s->plan = keyd_read_ranged(r, 0, 1) != 0;
        s->join_nonce = read_join_nonce(r);
        s->nonce = bytes_read_u16_be(r);
    }
}

static bool can_be_explained(const struct keyd_join_request *q)
{
    return q->frame_len == LW_JOIN_REQUEST_LEN;
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
    write_air_join_eui(w, q->has_air_join_eui, &q->air_join_eui);
    keyd_write_sealed_key(w, &q->app);
    bytes_write_u8(w, q->has_nwk);
    if (q->has_nwk)
        keyd_write_sealed_key(w, &q->nwk);
    else
        keyd_write_zeros(w, KEYD_SEALED_KEY_WIRE_LEN);
    write_air_frame(w, q);
    write_sessions(w, q);
    bytes_write_u8(w, q->explain && can_be_explained(q));
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
    q->has_air_join_eui = read_air_join_eui(r, &q->air_join_eui);
    keyd_read_sealed_key(r, &q->app);
    q->has_nwk = keyd_read_ranged(r, 0, 1) != 0;
    if (q->has_nwk)
        keyd_read_sealed_key(r, &q->nwk);
    else
        keyd_read_zeros(r, KEYD_SEALED_KEY_WIRE_LEN);
    read_air_frame(r, q);
    read_sessions(r, q);
    q->explain = keyd_read_ranged(r, 0, can_be_explained(q)) != 0;
    q->plan = keyd_read_ranged(r, 0, 1) != 0;
    if (!q->plan) {
        keyd_read_zeros(r, ACCEPT_LEN);
        q->ns_kek = (uint8_t)keyd_read_ranged(r, KEYD_NO_KEK, KEYD_NO_KEK);
        q->as_kek = (uint8_t)keyd_read_ranged(r, KEYD_NO_KEK, KEYD_NO_KEK);
        return;
    }
    a->join_nonce = read_join_nonce(r);
    bytes_read(r, a->net_id.bytes, sizeof(a->net_id.bytes));
    bytes_read(r, a->dev_addr.bytes, sizeof(a->dev_addr.bytes));
    a->dl_settings = bytes_read_u8(r);
    a->rx_delay = bytes_read_u8(r);
    a->has_cf_list = keyd_read_ranged(r, 0, 1) != 0;
    bytes_read(r, a->cf_list, sizeof(a->cf_list));
    q->ns_kek = read_kek_index(r, request->n_keks);
    q->as_kek = read_kek_index(r, request->n_keks);
}
#define JOIN_LEN                                                                                   \
    (8 + 8 + AIR_JOIN_EUI_LEN + KEYD_SEALED_KEY_WIRE_LEN + 1 + KEYD_SEALED_KEY_WIRE_LEN + 1 +      \
        LW_REJOIN_MAX + KEYD_SESSIONS_MAX * SESSION_LEN + 1 + 1 + ACCEPT_LEN + 2)

static void write_app_s_key(struct bytes_writer *w, const void *items, size_t i, size_t n_keks)
{
    const struct keyd_app_s_key_request *q = (const struct keyd_app_s_key_request *)items + i;

    if (q->join_nonce > LW_JOIN_NONCE_MAX || !kek_index_valid(q->as_kek, n_keks))
        w->failed = true;
    bytes_write(w, q->dev_eui.bytes, sizeof(q->dev_eui.bytes));
    bytes_write(w, q->join_eui.bytes, sizeof(q->join_eui.bytes));
    write_air_join_eui(w, q->has_air_join_eui, &q->air_join_eui);
    keyd_write_sealed_key(w, &q->app);
    bytes_write_u8(w, q->has_nwk);
    if (q->has_nwk)
        keyd_write_sealed_key(w, &q->nwk);
    else
        keyd_write_zeros(w, KEYD_SEALED_KEY_WIRE_LEN);
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
    q->has_air_join_eui = read_air_join_eui(r, &q->air_join_eui);
    keyd_read_sealed_key(r, &q->app);
    q->has_nwk = keyd_read_ranged(r, 0, 1) != 0;
    if (q->has_nwk)
        keyd_read_sealed_key(r, &q->nwk);
    else
        keyd_read_zeros(r, KEYD_SEALED_KEY_WIRE_LEN);
    q->opt_neg = keyd_read_ranged(r, 0, 1) != 0;
    q->join_nonce = read_join_nonce(r);
    q->nonce = bytes_read_u16_be(r);
    bytes_read(r, q->net_id.bytes, sizeof(q->net_id.bytes));
    q->as_kek = read_kek_index(r, request->n_keks);
}
#define APP_S_KEY_LEN                                                                              \
    (8 + 8 + AIR_JOIN_EUI_LEN + KEYD_SEALED_KEY_WIRE_LEN + 1 + KEYD_SEALED_KEY_WIRE_LEN + 1 + 4 +  \
        2 + 3 + 1)

/* --- items of replies ------------------------------------------------------------------------ */

/* What has another outcome has no mistake. */
static unsigned mistake_max(enum keyd_status status)
{
    return status == KEYD_MIC_FAILED ? LW_N_MIC_MISTAKES - 1 : LW_MIC_NO_MISTAKE;
}

static void write_join_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_join_reply *a = &reply->joins[i];

    if (a->session >= KEYD_SESSIONS_MAX || (unsigned)a->mistake > mistake_max(a->status))
        w->failed = true;
    keyd_write_status(w, a->status);
    bytes_write_u8(w, (uint8_t)a->mistake);
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

    a->status = keyd_read_status(r);
    a->mistake = (enum lw_mic_mistake)keyd_read_ranged(r, 0, mistake_max(a->status));
    a->session = (uint8_t)keyd_read_ranged(r, 0, KEYD_SESSIONS_MAX - 1);
    a->phy_payload_len = bytes_read_u8(r);
    if (a->phy_payload_len != 0 && a->phy_payload_len != 17 &&
        a->phy_payload_len != LW_JOIN_ACCEPT_MAX)
        r->failed = true;
    bytes_read(r, a->phy_payload, sizeof(a->phy_payload));
    a->opt_neg = keyd_read_ranged(r, 0, 1) != 0;
    read_envelope(r, &a->nwk_s_key);
    read_envelope(r, &a->f_nwk_s_int_key);
    read_envelope(r, &a->s_nwk_s_int_key);
    read_envelope(r, &a->nwk_s_enc_key);
    read_envelope(r, &a->app_s_key);
}
#define JOIN_REPLY_LEN (1 + 1 + 1 + 1 + LW_JOIN_ACCEPT_MAX + 1 + N_ENVELOPES * ENVELOPE_LEN)

static void write_app_s_key_reply(struct bytes_writer *w, const struct keyd_reply *reply, size_t i)
{
    const struct keyd_app_s_key_reply *a = &reply->app_s_key + i;

    keyd_write_status(w, a->status);
    write_envelope(w, &a->app_s_key);
}

static void read_app_s_key_reply(struct bytes_reader *r, struct keyd_reply *reply, size_t i)
{
    struct keyd_app_s_key_reply *a = &reply->app_s_key + i;

    a->status = keyd_read_status(r);
    read_envelope(r, &a->app_s_key);
}
#define APP_S_KEY_REPLY_LEN (1 + ENVELOPE_LEN)

/* --- the table of verbs ---------------------------------------------------------------------- */

static const struct keyd_verb_shape shape_join = {.keks_max = KEYD_KEKS_MAX,
    .items_max = KEYD_BATCH_MAX,
    .request_len = JOIN_LEN,
    .reply_len = JOIN_REPLY_LEN,
    .write_request = write_join,
    .read_request = read_join,
    .write_reply = write_join_reply,
    .read_reply = read_join_reply};
KEYD_ASSERT_FITS(KEYD_KEKS_MAX, 0, KEYD_BATCH_MAX, JOIN_LEN, JOIN_REPLY_LEN);

static const struct keyd_verb_shape shape_app_s_key = {.keks_max = 1,
    .items_max = 1,
    .request_len = APP_S_KEY_LEN,
    .reply_len = APP_S_KEY_REPLY_LEN,
    .write_request = write_app_s_key,
    .read_request = read_app_s_key,
    .write_reply = write_app_s_key_reply,
    .read_reply = read_app_s_key_reply};

static const struct keyd_verb_shape *const shapes[KEYD_N_VERBS + 1] = {
    [KEYD_VERB_JOIN] = &shape_join,
    [KEYD_VERB_ADOPT_KEY] = &keyd_shape_adopt_key,
    [KEYD_VERB_ADOPT_KEK] = &keyd_shape_adopt_kek,
    [KEYD_VERB_HASH_CODE] = &keyd_shape_hash_code,
    [KEYD_VERB_HASH_TOKEN] = &keyd_shape_hash_token,
    [KEYD_VERB_SELF_TEST] = &keyd_shape_self_test,
    [KEYD_VERB_APP_S_KEY] = &shape_app_s_key,
    [KEYD_VERB_RANDOM] = &keyd_shape_random,
    [KEYD_VERB_EXPORT_KEY] = &keyd_shape_export_key,
    [KEYD_VERB_MAKE_KEK] = &keyd_shape_make_kek,
    [KEYD_VERB_SIGN_CHECKPOINT] = &keyd_shape_sign_checkpoint,
    [KEYD_VERB_AUDIT_KEY] = &keyd_shape_audit_key,
    [KEYD_VERB_WEBHOOK_SECRET] = &keyd_shape_webhook_secret,
    [KEYD_VERB_SIGN_CUSTODY] = &keyd_shape_sign_custody,
    [KEYD_VERB_MAKE_KEY] = &keyd_shape_make_key,
    [KEYD_VERB_DELIVERY_KEY] = &keyd_shape_delivery_key,
    [KEYD_VERB_REWRAP_KEY] = &keyd_shape_rewrap_key,
    [KEYD_VERB_REWRAP_KEK] = &keyd_shape_rewrap_kek,
};

const struct keyd_verb_shape *keyd_verb_shape(unsigned verb)
{
    return verb >= 1 && verb <= KEYD_N_VERBS ? shapes[verb] : NULL;
}
