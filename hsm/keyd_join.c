/* Answering a join or a rejoin inside the token: the root key is opened, used and destroyed;
 * session keys leave wrapped, and nothing of them is ever in this process's memory in clear, but
 * for those that the operator lets leave so (KEYD_PLAIN). */
#include "hsm/keyd.h"

#include "base/secret.h"
#include "lorawan/accept.h"
#include "lorawan/derive.h"
#include <string.h>

/* What one item makes in the token; all of it is destroyed with the item. */
struct join_objects {
    struct p11_token *token;
    CK_OBJECT_HANDLE mic_root; /* NwkKey of 1.1, else the one root key */
    CK_OBJECT_HANDLE app_root; /* of AppSKey: AppKey, with OptNeg alone */
    CK_OBJECT_HANDLE js_int;
    CK_OBJECT_HANDLE js_enc;  /* of the accept of a rejoin */
    CK_OBJECT_HANDLE s_nwk_s; /* SNwkSIntKey of a session that runs */
    CK_OBJECT_HANDLE session;
};

static void destroy_objects(struct join_objects *o)
{
    (void)p11_destroy(o->token, &o->session);
    (void)p11_destroy(o->token, &o->s_nwk_s);
    (void)p11_destroy(o->token, &o->js_enc);
    (void)p11_destroy(o->token, &o->js_int);
    (void)p11_destroy(o->token, &o->app_root);
    (void)p11_destroy(o->token, &o->mic_root);
}

/* What is to be answered. */
struct join_frame {
    enum lw_join_type type;
    uint16_t nonce; /* DevNonce, or the RJcount in its place */
};

/* Who gets a session key. */
struct recipient {
    bool in_clear;
    CK_OBJECT_HANDLE kek; /* unless in clear */
};

struct token_key {
    struct p11_token *token;
    CK_OBJECT_HANDLE handle;
};

static int token_key_cmac(void *key, const uint8_t *in, size_t len, uint8_t out[static 16])
{
    const struct token_key *k = key;

    return p11_cmac(k->token, k->handle, in, len, out);
}

static int token_key_ecb_decrypt(void *key, const uint8_t *in, size_t len, uint8_t *out)
{
    const struct token_key *k = key;

    return p11_ecb_decrypt(k->token, k->handle, in, len, out);
}

static int open_root(struct keyd *keyd, const struct sealed_key *key, CK_OBJECT_HANDLE *ret)
{
    const struct p11_store_kek *store = p11_store_find(&keyd->keys.device, key->kek_label);

    if (store == NULL)
        return KEYD_KEK_UNKNOWN;
    if (key->blob_len != AES_KEY_LEN + 8)
        return KEYD_BAD_INPUT;
    return p11_unwrap(&keyd->token, keyd->token.work, store->handle, P11_USE_DEVICE, key->blob,
        key->blob_len, ret);
}

static bool is_same_eui(const struct eui64 *a, const struct eui64 *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* What the device derives with. */
static const struct eui64 *air_join_eui(const struct keyd_join_request *request)
{
    return request->has_air_join_eui ? &request->air_join_eui : &request->join_eui;
}

static int parse_rejoin(const struct keyd_join_request *request, struct join_frame *ret)
{
    struct lw_rejoin_request q;

    if (lw_rejoin_request_parse(request->frame, request->frame_len, &q) != LW_FRAME_OK ||
        !is_same_eui(&q.dev_eui, &request->dev_eui) || !request->has_nwk ||
        (q.type == LW_REJOIN_1 && !is_same_eui(&q.join_eui, air_join_eui(request))) ||
        (request->plan && (request->accept.dl_settings & LW_OPT_NEG) == 0))
        return KEYD_BAD_INPUT;
    *ret = (struct join_frame){q.type, q.rj_count};
    return 0;
}

/* The length says which kind it must be, and the parser of that kind looks at the MHDR. */
static int parse_frame(const struct keyd_join_request *request, struct join_frame *ret)
{
    struct lw_join_request q;

    if (request->frame_len != LW_JOIN_REQUEST_LEN)
        return parse_rejoin(request, ret);
    if (lw_join_request_parse(request->frame, request->frame_len, &q) != LW_FRAME_OK ||
        !is_same_eui(&q.dev_eui, &request->dev_eui) ||
        (request->plan && (request->accept.dl_settings & LW_OPT_NEG) != 0 && !request->has_nwk))
        return KEYD_BAD_INPUT;
    *ret = (struct join_frame){LW_JOIN, q.dev_nonce};
    return 0;
}

/* --- who made the frame ----------------------------------------------------------------------- */

/* Whether the frame's MIC is of `len` bytes of `input`. */
static int check_mic_over(struct keyd *keyd, CK_OBJECT_HANDLE key,
    const struct keyd_join_request *request, const uint8_t *input, size_t len)
{
    uint8_t mac[16];
    int r = p11_cmac(&keyd->token, key, input, len, mac);

    if (r < 0)
        return r;
    return secret_equal(mac, request->frame + len, LW_MIC_LEN) ? 0 : KEYD_MIC_FAILED;
}

static int check_mic(
    struct keyd *keyd, CK_OBJECT_HANDLE key, const struct keyd_join_request *request)
{
    return check_mic_over(
        keyd, key, request, request->frame, (size_t)(request->frame_len - LW_MIC_LEN));
}

/* Why the MIC of a Join-Request is wrong. Every mistake is tried, found or not, so that the time
 * tells nobody which one it is. */
static int find_mistake(struct keyd *keyd, struct join_objects *o,
    const struct keyd_join_request *request, enum lw_mic_mistake *ret)
{
    /* That there is no other key, or that it does not open, leaves the others to be tried. */
    int r = request->has_nwk ? open_root(keyd, &request->app, &o->app_root) : 0;

    for (int i = LW_MIC_NO_MISTAKE + 1; r >= 0 && i < LW_N_MIC_MISTAKES; i++) {
        const enum lw_mic_mistake mistake = (enum lw_mic_mistake)i;
        CK_OBJECT_HANDLE key = mistake == LW_MIC_OTHER_KEY ? o->app_root : o->mic_root;
        uint8_t input[LW_JOIN_REQUEST_MIC_INPUT_LEN];

        if (key == CK_INVALID_HANDLE)
            continue;
        lw_join_request_mistaken(request->frame, mistake, input);
        r = check_mic_over(keyd, key, request, input, sizeof(input));
        if (r == 0 && *ret == LW_MIC_NO_MISTAKE)
            *ret = mistake;
    }
    return r < 0 ? r : 0;
}

static int open_js_int(struct keyd *keyd, struct join_objects *o, const struct eui64 *dev_eui)
{
    uint8_t block[LW_BLOCK_LEN];

    if (o->js_int != CK_INVALID_HANDLE)
        return 0;
    lw_block_js_int_key(dev_eui, block);
    return p11_derive(&keyd->token, o->mic_root, P11_USE_MIC, block, &o->js_int);
}

/* The device proves one of its sessions: the one we know it has, or the one it may have. */
static int find_session(struct keyd *keyd, struct join_objects *o,
    const struct keyd_join_request *request, uint8_t *ret_session)
{
    int r = KEYD_MIC_FAILED;

    for (uint8_t i = 0; r == KEYD_MIC_FAILED && i < KEYD_SESSIONS_MAX; i++) {
        const struct keyd_session *s = &request->sessions[i];
        uint8_t block[LW_BLOCK_LEN];
        int destroyed;

        if (!s->present)
            continue;
        lw_block_session_1_1(
            LW_KEY_S_NWK_S_INT, s->join_nonce, air_join_eui(request), s->nonce, block);
        r = p11_derive(&keyd->token, o->mic_root, P11_USE_MIC, block, &o->s_nwk_s);
        if (r == 0)
            r = check_mic(keyd, o->s_nwk_s, request);
        destroyed = p11_destroy(&keyd->token, &o->s_nwk_s);
        if (destroyed < 0)
            return destroyed;
        if (r == 0)
            *ret_session = i;
    }
    return r;
}

/* LoRaWAN 1.1 6.2.2, 6.2.4.1 and 6.2.4.2. `ret_plan`: whether there is to be an answer. */
static int verify(struct keyd *keyd, struct join_objects *o,
    const struct keyd_join_request *request, enum lw_join_type type, uint8_t *ret_session,
    bool *ret_plan)
{
    int r;

    *ret_plan = request->plan;
    if (type == LW_JOIN)
        return check_mic(keyd, o->mic_root, request);
    if (type == LW_REJOIN_1) {
        r = open_js_int(keyd, o, &request->dev_eui);
        return r < 0 ? r : check_mic(keyd, o->js_int, request);
    }
    r = find_session(keyd, o, request, ret_session);
    if (r == 0)
        *ret_plan = request->plan && request->sessions[*ret_session].plan;
    return r;
}

/* --- the answer ------------------------------------------------------------------------------- */

static int clear_key(struct keyd *keyd, struct join_objects *o, CK_OBJECT_HANDLE root,
    const uint8_t block[static LW_BLOCK_LEN], struct keyd_envelope *ret)
{
    int r = p11_derive(&keyd->token, root, P11_USE_CLEAR, block, &o->session);

    if (r == 0)
        r = p11_read_clear(&keyd->token, o->session, ret->bytes);
    if (r < 0)
        return r;
    ret->len = AES_KEY_LEN;
    return p11_destroy(&keyd->token, &o->session);
}

/* Derives one session key and wraps it for whoever may have it. */
static int envelope(struct keyd *keyd, struct join_objects *o, CK_OBJECT_HANDLE root,
    const uint8_t block[static LW_BLOCK_LEN], const struct recipient *to, struct keyd_envelope *ret)
{
    if (to->in_clear)
        return clear_key(keyd, o, root, block, ret);
    uint8_t wrapped[P11_WRAPPED_MAX];
    size_t len = 0;
    int r = p11_derive(&keyd->token, root, P11_USE_SESSION, block, &o->session);

    if (r == 0)
        r = p11_wrap(&keyd->token, to->kek, o->session, wrapped, &len);
    if (r == 0 && len != sizeof(ret->bytes))
        r = p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_WrapKey (its length)");
    if (r < 0)
        return r;
    ret->len = KEYD_WRAPPED_LEN;
    memcpy(ret->bytes, wrapped, sizeof(ret->bytes));
    return p11_destroy(&keyd->token, &o->session);
}

static int envelopes_1_0(struct keyd *keyd, struct join_objects *o,
    const struct lw_join_accept *accept, uint16_t dev_nonce, const struct recipient *ns,
    const struct recipient *as, struct keyd_join_reply *reply)
{
    uint8_t block[LW_BLOCK_LEN];
    int r;

    lw_block_session_1_0(LW_KEY_F_NWK_S_INT, accept->join_nonce, &accept->net_id, dev_nonce, block);
    r = envelope(keyd, o, o->mic_root, block, ns, &reply->nwk_s_key);
    if (r < 0)
        return r;
    lw_block_session_1_0(LW_KEY_APP_S, accept->join_nonce, &accept->net_id, dev_nonce, block);
    return envelope(keyd, o, o->mic_root, block, as, &reply->app_s_key);
}

static int envelopes_1_1(struct keyd *keyd, struct join_objects *o,
    const struct keyd_join_request *request, uint16_t nonce, const struct recipient *ns,
    const struct recipient *as, struct keyd_join_reply *reply)
{
    const struct {
        enum lw_session_key key;
        CK_OBJECT_HANDLE root;
        const struct recipient *to;
        struct keyd_envelope *ret;
    } rows[] = {
        {LW_KEY_F_NWK_S_INT, o->mic_root, ns, &reply->f_nwk_s_int_key},
        {LW_KEY_S_NWK_S_INT, o->mic_root, ns, &reply->s_nwk_s_int_key},
        {LW_KEY_NWK_S_ENC, o->mic_root, ns, &reply->nwk_s_enc_key},
        {LW_KEY_APP_S, o->app_root, as, &reply->app_s_key},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t block[LW_BLOCK_LEN];

        lw_block_session_1_1(
            rows[i].key, request->accept.join_nonce, air_join_eui(request), nonce, block);
        r = envelope(keyd, o, rows[i].root, block, rows[i].to, rows[i].ret);
    }
    return r;
}

static int protect(struct keyd *keyd, struct join_objects *o,
    const struct keyd_join_request *request, const struct join_frame *frame,
    struct keyd_join_reply *reply)
{
    struct token_key root = {&keyd->token, o->mic_root};
    struct token_key js_int = {&keyd->token, o->js_int};
    struct token_key js_enc = {&keyd->token, o->js_enc};
    const struct lw_key enc_key = {
        token_key_cmac, token_key_ecb_decrypt, frame->type == LW_JOIN ? &root : &js_enc};
    const struct lw_key mic_key = {
        token_key_cmac, token_key_ecb_decrypt, reply->opt_neg ? &js_int : &root};
    size_t len = 0;
    int r = lw_accept_protect(&request->accept, &mic_key, &enc_key, air_join_eui(request),
        frame->nonce, frame->type, reply->phy_payload, &len);

    reply->phy_payload_len = (uint8_t)len;
    return r;
}

/* OptNeg needs more of the record: AppKey for AppSKey, JSIntKey for the MIC of the accept, and
 * JSEncKey for the accept of a rejoin. */
static int open_1_1(struct keyd *keyd, struct join_objects *o,
    const struct keyd_join_request *request, enum lw_join_type type)
{
    uint8_t block[LW_BLOCK_LEN];
    int r = open_root(keyd, &request->app, &o->app_root);

    if (r == 0)
        r = open_js_int(keyd, o, &request->dev_eui);
    if (r != 0 || type == LW_JOIN)
        return r;
    lw_block_js_enc_key(&request->dev_eui, block);
    return p11_derive(&keyd->token, o->mic_root, P11_USE_JS_ENC, block, &o->js_enc);
}

static int find_recipient(struct keyd *keyd, const struct sealed_kek *keks, size_t n_keks,
    uint8_t index, enum kek_class wanted, struct recipient *ret)
{
    *ret = (struct recipient){.in_clear = index == KEYD_PLAIN, .kek = CK_INVALID_HANDLE};
    /* Not for the service to decide: whoever took it over would say yes. */
    if (ret->in_clear)
        return keyd->plain_keys ? 0 : KEYD_BAD_INPUT;
    /* The lack of a KEK is never a wish for keys in clear. */
    if (index == KEYD_NO_KEK || index >= n_keks)
        return KEYD_BAD_INPUT;
    return keyd_open_kek(keyd, &keks[index], wanted, &ret->kek);
}

/* The network keys go to the network that the keys of 1.0 and the accept name, and to no other
 * whose KEK happens to be at hand. A KEK may be of one network server of it: "NetID/NSID". */
static bool is_kek_of(const struct sealed_kek *kek, const struct net_id *net_id)
{
    char text[NET_ID_TEXT_LEN + 1];

    (void)net_id_format(net_id, text);
    return strcspn(kek->peer_id, "/") == NET_ID_TEXT_LEN &&
           memcmp(kek->peer_id, text, NET_ID_TEXT_LEN) == 0;
}

static int find_recipients(struct keyd *keyd, const struct sealed_kek *keks, size_t n_keks,
    const struct keyd_join_request *request, struct recipient *ret_ns, struct recipient *ret_as)
{
    int r = find_recipient(keyd, keks, n_keks, request->ns_kek, KEK_CLASS_NS, ret_ns);

    if (r == 0 && !ret_ns->in_clear && !is_kek_of(&keks[request->ns_kek], &request->accept.net_id))
        r = KEYD_BAD_INPUT;
    if (r == 0)
        r = find_recipient(keyd, keks, n_keks, request->as_kek, KEK_CLASS_AS, ret_as);
    return r;
}

/* `nwk` NULL: the record has none. */
static int check_tags(struct keyd *keyd, const struct eui64 *dev_eui, const struct eui64 *join_eui,
    const struct sealed_key *app, const struct sealed_key *nwk)
{
    int r = keyd_check_device_tag(keyd, dev_eui, join_eui, KEY_SLOT_APP, app);

    if (r == 0 && nwk != NULL)
        r = keyd_check_device_tag(keyd, dev_eui, join_eui, KEY_SLOT_NWK, nwk);
    return r;
}

int keyd_join(struct keyd *keyd, const struct sealed_kek *keks, size_t n_keks,
    const struct keyd_join_request *request, struct keyd_join_reply *reply,
    enum lw_mic_mistake *ret_mistake)
{
    CLEANUP(destroy_objects) struct join_objects o = {.token = &keyd->token};
    struct join_frame frame;
    struct recipient ns, as;
    bool plan = false;
    int r = parse_frame(request, &frame);

    if (r == 0)
        r = check_tags(keyd, &request->dev_eui, &request->join_eui, &request->app,
            request->has_nwk ? &request->nwk : NULL);
    if (r == 0)
        r = open_root(keyd, request->has_nwk ? &request->nwk : &request->app, &o.mic_root);
    if (r == 0)
        r = verify(keyd, &o, request, frame.type, &reply->session, &plan);
    if (r == KEYD_MIC_FAILED && frame.type == LW_JOIN && request->explain) {
        int failed = find_mistake(keyd, &o, request, ret_mistake);

        return failed < 0 ? failed : KEYD_MIC_FAILED;
    }
    if (r != 0 || !plan)
        return r;
    reply->opt_neg = (request->accept.dl_settings & LW_OPT_NEG) != 0;
    r = find_recipients(keyd, keks, n_keks, request, &ns, &as);
    if (r == 0 && reply->opt_neg)
        r = open_1_1(keyd, &o, request, frame.type);
    if (r == 0)
        r = protect(keyd, &o, request, &frame, reply);
    if (r != 0)
        return r;
    if (reply->opt_neg)
        return envelopes_1_1(keyd, &o, request, frame.nonce, &ns, &as, reply);
    return envelopes_1_0(keyd, &o, &request->accept, frame.nonce, &ns, &as, reply);
}

int keyd_app_s_key(struct keyd *keyd, const struct sealed_kek *keks, size_t n_keks,
    const struct keyd_app_s_key_request *request, struct keyd_app_s_key_reply *reply)
{
    CLEANUP(destroy_objects) struct join_objects o = {.token = &keyd->token};
    const bool from_nwk = request->has_nwk && !request->opt_neg;
    struct recipient as = {.kek = CK_INVALID_HANDLE};
    uint8_t block[LW_BLOCK_LEN];
    int r;

    if (request->opt_neg && !request->has_nwk)
        return KEYD_BAD_INPUT;
    r = check_tags(keyd, &request->dev_eui, &request->join_eui, &request->app,
        request->has_nwk ? &request->nwk : NULL);
    if (r == 0)
        r = find_recipient(keyd, keks, n_keks, request->as_kek, KEK_CLASS_AS, &as);
    if (r == 0)
        r = open_root(keyd, from_nwk ? &request->nwk : &request->app, &o.app_root);
    if (r != 0)
        return r;
    if (request->opt_neg)
        lw_block_session_1_1(LW_KEY_APP_S, request->join_nonce,
            request->has_air_join_eui ? &request->air_join_eui : &request->join_eui, request->nonce,
            block);
    else
        lw_block_session_1_0(
            LW_KEY_APP_S, request->join_nonce, &request->net_id, request->nonce, block);
    return envelope(keyd, &o, o.app_root, block, &as, &reply->app_s_key);
}
