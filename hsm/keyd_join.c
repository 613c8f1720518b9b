/* Answering a join inside the token: the root key is opened, used and destroyed; session keys leave
 * wrapped; nothing of them is ever in this process's memory in clear. */
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
    CK_OBJECT_HANDLE session;
};

static void destroy_objects(struct join_objects *o)
{
    (void)p11_destroy(o->token, &o->session);
    (void)p11_destroy(o->token, &o->js_int);
    (void)p11_destroy(o->token, &o->app_root);
    (void)p11_destroy(o->token, &o->mic_root);
}

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

static int check_mic(
    struct keyd *keyd, CK_OBJECT_HANDLE root, const uint8_t frame[static LW_JOIN_REQUEST_LEN])
{
    uint8_t mac[16];
    int r = p11_cmac(&keyd->token, root, frame, LW_JOIN_REQUEST_MIC_INPUT_LEN, mac);

    if (r < 0)
        return r;
    return secret_equal(mac, frame + LW_JOIN_REQUEST_MIC_INPUT_LEN, LW_MIC_LEN) ? 0
                                                                                : KEYD_MIC_FAILED;
}

/* Derives one session key and wraps it for whoever may have it. */
static int envelope(struct keyd *keyd, struct join_objects *o, CK_OBJECT_HANDLE root,
    const uint8_t block[static LW_BLOCK_LEN], CK_OBJECT_HANDLE kek, struct keyd_envelope *ret)
{
    uint8_t wrapped[P11_WRAPPED_MAX];
    size_t len = 0;
    int r = p11_derive(&keyd->token, root, P11_USE_SESSION, block, &o->session);

    if (r == 0)
        r = p11_wrap(&keyd->token, kek, o->session, wrapped, &len);
    if (r == 0 && len != sizeof(ret->bytes))
        r = p11_failed(&keyd->token, CKR_GENERAL_ERROR, "C_WrapKey (its length)");
    if (r < 0)
        return r;
    memcpy(ret->bytes, wrapped, sizeof(ret->bytes));
    return p11_destroy(&keyd->token, &o->session);
}

static int envelopes_1_0(struct keyd *keyd, struct join_objects *o,
    const struct lw_join_accept *accept, uint16_t dev_nonce, CK_OBJECT_HANDLE ns_kek,
    CK_OBJECT_HANDLE as_kek, struct keyd_join_reply *reply)
{
    uint8_t block[LW_BLOCK_LEN];
    int r;

    lw_block_session_1_0(LW_KEY_F_NWK_S_INT, accept->join_nonce, &accept->net_id, dev_nonce, block);
    r = envelope(keyd, o, o->mic_root, block, ns_kek, &reply->nwk_s_key);
    if (r < 0)
        return r;
    lw_block_session_1_0(LW_KEY_APP_S, accept->join_nonce, &accept->net_id, dev_nonce, block);
    return envelope(keyd, o, o->mic_root, block, as_kek, &reply->app_s_key);
}

static int envelopes_1_1(struct keyd *keyd, struct join_objects *o,
    const struct keyd_join_request *request, uint16_t dev_nonce, CK_OBJECT_HANDLE ns_kek,
    CK_OBJECT_HANDLE as_kek, struct keyd_join_reply *reply)
{
    const struct {
        enum lw_session_key key;
        CK_OBJECT_HANDLE root;
        CK_OBJECT_HANDLE kek;
        struct keyd_envelope *ret;
    } rows[] = {
        {LW_KEY_F_NWK_S_INT, o->mic_root, ns_kek, &reply->f_nwk_s_int_key},
        {LW_KEY_S_NWK_S_INT, o->mic_root, ns_kek, &reply->s_nwk_s_int_key},
        {LW_KEY_NWK_S_ENC, o->mic_root, ns_kek, &reply->nwk_s_enc_key},
        {LW_KEY_APP_S, o->app_root, as_kek, &reply->app_s_key},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t block[LW_BLOCK_LEN];

        lw_block_session_1_1(
            rows[i].key, request->accept.join_nonce, &request->join_eui, dev_nonce, block);
        r = envelope(keyd, o, rows[i].root, block, rows[i].kek, rows[i].ret);
    }
    return r;
}

static int protect(struct keyd *keyd, struct join_objects *o,
    const struct keyd_join_request *request, uint16_t dev_nonce, struct keyd_join_reply *reply)
{
    struct token_key root = {&keyd->token, o->mic_root};
    struct token_key js_int = {&keyd->token, o->js_int};
    const struct lw_key enc_key = {token_key_cmac, token_key_ecb_decrypt, &root};
    const struct lw_key mic_key = {
        token_key_cmac, token_key_ecb_decrypt, reply->opt_neg ? &js_int : &root};
    size_t len = 0;
    int r = lw_accept_protect(&request->accept, &mic_key, &enc_key, &request->join_eui, dev_nonce,
        LW_JOIN, reply->phy_payload, &len);

    reply->phy_payload_len = (uint8_t)len;
    return r;
}

/* OptNeg needs more of the record: AppKey for AppSKey, JSIntKey for the MIC of the accept. */
static int open_1_1(
    struct keyd *keyd, struct join_objects *o, const struct keyd_join_request *request)
{
    uint8_t block[LW_BLOCK_LEN];
    int r = open_root(keyd, &request->app, &o->app_root);

    if (r != 0)
        return r;
    lw_block_js_int_key(&request->dev_eui, block);
    return p11_derive(&keyd->token, o->mic_root, P11_USE_JS_INT, block, &o->js_int);
}

static int find_kek(struct keyd *keyd, const struct sealed_kek *keks, size_t n_keks, uint8_t index,
    enum kek_class wanted, CK_OBJECT_HANDLE *ret)
{
    /* Without a KEK the session key would have to leave in clear: it never does. */
    if (index == KEYD_NO_KEK || index >= n_keks)
        return KEYD_BAD_INPUT;
    return keyd_open_kek(keyd, &keks[index], wanted, ret);
}

/* The network keys go to the network that the keys of 1.0 and the accept name, and to no other
 * whose KEK happens to be at hand. */
static bool is_kek_of(const struct sealed_kek *kek, const struct net_id *net_id)
{
    char text[NET_ID_TEXT_LEN + 1];

    return strcmp(kek->peer_id, net_id_format(net_id, text)) == 0;
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
    const struct keyd_join_request *request, struct keyd_join_reply *reply)
{
    CLEANUP(destroy_objects) struct join_objects o = {.token = &keyd->token};
    CK_OBJECT_HANDLE ns_kek = CK_INVALID_HANDLE, as_kek = CK_INVALID_HANDLE;
    const bool opt_neg = request->plan && (request->accept.dl_settings & LW_OPT_NEG) != 0;
    struct lw_join_request parsed;
    int r;

    if (lw_join_request_parse(request->frame, sizeof(request->frame), &parsed) != LW_FRAME_OK ||
        memcmp(&parsed.dev_eui, &request->dev_eui, sizeof(parsed.dev_eui)) != 0 ||
        (opt_neg && !request->has_nwk))
        return KEYD_BAD_INPUT;
    r = check_tags(keyd, &request->dev_eui, &request->join_eui, &request->app,
        request->has_nwk ? &request->nwk : NULL);
    if (r == 0)
        r = open_root(keyd, request->has_nwk ? &request->nwk : &request->app, &o.mic_root);
    if (r == 0)
        r = check_mic(keyd, o.mic_root, request->frame);
    if (r != 0 || !request->plan)
        return r;
    reply->opt_neg = opt_neg;
    r = find_kek(keyd, keks, n_keks, request->ns_kek, KEK_CLASS_NS, &ns_kek);
    if (r == 0 && !is_kek_of(&keks[request->ns_kek], &request->accept.net_id))
        r = KEYD_BAD_INPUT;
    if (r == 0)
        r = find_kek(keyd, keks, n_keks, request->as_kek, KEK_CLASS_AS, &as_kek);
    if (r == 0 && opt_neg)
        r = open_1_1(keyd, &o, request);
    if (r == 0)
        r = protect(keyd, &o, request, parsed.dev_nonce, reply);
    if (r != 0)
        return r;
    if (opt_neg)
        return envelopes_1_1(keyd, &o, request, parsed.dev_nonce, ns_kek, as_kek, reply);
    return envelopes_1_0(keyd, &o, &request->accept, parsed.dev_nonce, ns_kek, as_kek, reply);
}

int keyd_app_s_key(struct keyd *keyd, const struct sealed_kek *keks, size_t n_keks,
    const struct keyd_app_s_key_request *request, struct keyd_app_s_key_reply *reply)
{
    CLEANUP(destroy_objects) struct join_objects o = {.token = &keyd->token};
    const bool from_nwk = request->has_nwk && !request->opt_neg;
    CK_OBJECT_HANDLE as_kek = CK_INVALID_HANDLE;
    uint8_t block[LW_BLOCK_LEN];
    int r;

    if (request->opt_neg && !request->has_nwk)
        return KEYD_BAD_INPUT;
    r = check_tags(keyd, &request->dev_eui, &request->join_eui, &request->app,
        request->has_nwk ? &request->nwk : NULL);
    if (r == 0)
        r = find_kek(keyd, keks, n_keks, request->as_kek, KEK_CLASS_AS, &as_kek);
    if (r == 0)
        r = open_root(keyd, from_nwk ? &request->nwk : &request->app, &o.app_root);
    if (r != 0)
        return r;
    if (request->opt_neg)
        lw_block_session_1_1(
            LW_KEY_APP_S, request->join_nonce, &request->join_eui, request->nonce, block);
    else
        lw_block_session_1_0(
            LW_KEY_APP_S, request->join_nonce, &request->net_id, request->nonce, block);
    return envelope(keyd, &o, o.app_root, block, as_kek, &reply->app_s_key);
}
