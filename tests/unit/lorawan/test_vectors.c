/* Runs tests/data/vectors.json against the room. Each kind of vector has one function and a known
 * number of entries, so that a vector which is added, lost or of a new kind fails this test. An
 * entry marked `negative` is a known bug of another implementation: ours must differ from it. */
#include "base/aes.h"
#include "base/hex.h"
#include "lorawan/accept.h"
#include "lorawan/derive.h"

#include <check.h>
#include <jansson.h>
#include <string.h>

#define FIELD_MAX 64

struct field {
    uint8_t bytes[FIELD_MAX];
    size_t len;
};

static json_t *document;
static const char *current_id;

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    ck_assert_msg(text != NULL, "%s has no text %s", current_id, name);
    return text;
}

static struct field hex_text(const char *text)
{
    struct field f = {.len = strlen(text) / 2};

    ck_assert_uint_le(f.len, FIELD_MAX);
    ck_assert_msg(hex_decode(text, strlen(text), f.bytes, f.len), "%s: %s", current_id, text);
    return f;
}

static struct field hex_of(const json_t *object, const char *name)
{
    return hex_text(text_of(object, name));
}

static void read_fixed(const json_t *object, const char *name, uint8_t *out, size_t len)
{
    struct field f = hex_of(object, name);

    ck_assert_msg(f.len == len, "%s: %s has %zu bytes", current_id, name, f.len);
    memcpy(out, f.bytes, len);
}

static struct eui64 eui_of(const json_t *object, const char *name)
{
    struct eui64 eui;

    read_fixed(object, name, eui.bytes, sizeof(eui.bytes));
    return eui;
}

static struct net_id net_id_of(const json_t *object, const char *name)
{
    struct net_id net_id;

    read_fixed(object, name, net_id.bytes, sizeof(net_id.bytes));
    return net_id;
}

static struct secret_key key_of(const json_t *object, const char *name)
{
    struct secret_key key;

    read_fixed(object, name, key.bytes, sizeof(key.bytes));
    return key;
}

static uint32_t number_of(const json_t *object, const char *name)
{
    const json_t *number = json_object_get(object, name);

    ck_assert_msg(json_is_integer(number), "%s has no number %s", current_id, name);
    return (uint32_t)json_integer_value(number);
}

static uint8_t byte_of(const json_t *object, const char *name)
{
    uint8_t byte;

    read_fixed(object, name, &byte, 1);
    return byte;
}

static const json_t *vector_with_id(const char *id)
{
    const json_t *vector;
    size_t i;

    json_array_foreach(json_object_get(document, "vectors"), i, vector)
    {
        if (strcmp(text_of(vector, "id"), id) == 0)
            return vector;
    }
    ck_abort_msg("no vector %s", id);
}

static void check_equal(const json_t *expected, const char *name, const uint8_t *bytes, size_t len)
{
    struct field f = hex_of(expected, name);
    char got[2 * FIELD_MAX + 1];

    ck_assert_msg(f.len == len && memcmp(f.bytes, bytes, len) == 0, "%s: %s is %s, not %s",
        current_id, name, hex_encode(bytes, len, got), text_of(expected, name));
}

static void check_differs(
    const json_t *expected, const char *name, const uint8_t *bytes, size_t len)
{
    struct field f = hex_of(expected, name);

    ck_assert_msg(f.len != len || memcmp(f.bytes, bytes, len) != 0,
        "%s: %s is a known bug of others and ours is the same", current_id, name);
}

/* --- keys over OpenSSL, where the service has the HSM --- */

static int openssl_cmac(void *key, const uint8_t *in, size_t len, uint8_t out[static 16])
{
    return aes_cmac(key, in, len, out);
}

static int openssl_decrypt(void *key, const uint8_t *in, size_t len, uint8_t *out)
{
    return aes_ecb_decrypt(key, in, len, out);
}

static struct lw_key lw_key_of(struct secret_key *key)
{
    return (struct lw_key){openssl_cmac, openssl_decrypt, key};
}

static struct secret_key derived(const struct secret_key *root, const uint8_t block[static 16])
{
    struct secret_key key;

    ck_assert_int_eq(aes_ecb_encrypt(root, block, LW_BLOCK_LEN, key.bytes), 0);
    return key;
}

static struct secret_key session_1_0(const struct secret_key *root, enum lw_session_key which,
    uint32_t join_nonce, struct net_id net_id, uint16_t nonce)
{
    uint8_t block[LW_BLOCK_LEN];

    lw_block_session_1_0(which, join_nonce, &net_id, nonce, block);
    return derived(root, block);
}

static struct secret_key session_1_1(const struct secret_key *root, enum lw_session_key which,
    uint32_t join_nonce, struct eui64 join_eui, uint16_t nonce)
{
    uint8_t block[LW_BLOCK_LEN];

    lw_block_session_1_1(which, join_nonce, &join_eui, nonce, block);
    return derived(root, block);
}

static struct secret_key js_int_key(const struct secret_key *nwk_key, struct eui64 dev_eui)
{
    uint8_t block[LW_BLOCK_LEN];

    lw_block_js_int_key(&dev_eui, block);
    return derived(nwk_key, block);
}

static struct secret_key js_enc_key(const struct secret_key *nwk_key, struct eui64 dev_eui)
{
    uint8_t block[LW_BLOCK_LEN];

    lw_block_js_enc_key(&dev_eui, block);
    return derived(nwk_key, block);
}

static void check_key(const json_t *expected, const char *name, struct secret_key key)
{
    check_equal(expected, name, key.bytes, sizeof(key.bytes));
}

/* Takes the protection off, as a device would. Returns the length without the MIC. */
static struct lw_join_accept opened(
    const struct secret_key *enc_key, const char *hex, uint8_t mic[static LW_MIC_LEN])
{
    struct field air = hex_text(hex);
    struct lw_join_accept accept;
    uint8_t clear[LW_JOIN_ACCEPT_MAX] = {0};

    ck_assert(air.len == LW_JOIN_ACCEPT_MIN || air.len == LW_JOIN_ACCEPT_MAX);
    clear[0] = air.bytes[0];
    ck_assert_int_eq(aes_ecb_encrypt(enc_key, air.bytes + 1, air.len - 1, clear + 1), 0);
    ck_assert_int_eq(lw_join_accept_parse(clear, air.len - LW_MIC_LEN, &accept), LW_FRAME_OK);
    memcpy(mic, clear + air.len - LW_MIC_LEN, LW_MIC_LEN);
    return accept;
}

static void protect(struct lw_join_accept accept, struct secret_key mic_key,
    struct secret_key enc_key, struct eui64 join_eui, uint16_t nonce, enum lw_join_type type,
    struct field *ret)
{
    struct lw_key mic = lw_key_of(&mic_key), enc = lw_key_of(&enc_key);

    ck_assert_int_eq(
        lw_accept_protect(&accept, &mic, &enc, &join_eui, nonce, type, ret->bytes, &ret->len), 0);
}

static void set_cf_list(struct lw_join_accept *accept, const json_t *object)
{
    struct field f = hex_of(object, "cf_list");

    accept->has_cf_list = f.len != 0;
    ck_assert(f.len == 0 || f.len == LW_CF_LIST_LEN);
    memcpy(accept->cf_list, f.bytes, f.len);
}

static struct lw_join_accept accept_of(const json_t *in)
{
    struct lw_join_accept accept = {
        .join_nonce = number_of(in, "join_nonce"),
        .net_id = net_id_of(in, "net_id"),
        .dl_settings = byte_of(in, "dl_settings"),
        .rx_delay = (uint8_t)number_of(in, "rx_delay"),
    };

    read_fixed(in, "dev_addr", accept.dev_addr.bytes, sizeof(accept.dev_addr.bytes));
    return accept;
}

/* --- one function a kind --- */

static void run_join_request_mic(const json_t *in, const json_t *expected)
{
    struct secret_key root = key_of(in, "root_key");
    struct lw_join_request request = {.join_eui = eui_of(in, "join_eui"),
        .dev_eui = eui_of(in, "dev_eui"),
        .dev_nonce = (uint16_t)number_of(in, "dev_nonce")};
    struct lw_join_request read;
    uint8_t frame[LW_JOIN_REQUEST_LEN], cmac[16];

    lw_join_request_build(&request, frame);
    ck_assert_int_eq(aes_cmac(&root, frame, LW_JOIN_REQUEST_MIC_INPUT_LEN, cmac), 0);
    memcpy(request.mic, cmac, LW_MIC_LEN);
    lw_join_request_build(&request, frame);
    check_equal(expected, "mic", cmac, LW_MIC_LEN);
    check_equal(expected, "phy_payload", frame, sizeof(frame));

    ck_assert_int_eq(lw_join_request_parse(frame, sizeof(frame), &read), LW_FRAME_OK);
    ck_assert_uint_eq(eui64_to_u64(&read.join_eui), eui64_to_u64(&request.join_eui));
    ck_assert_uint_eq(eui64_to_u64(&read.dev_eui), eui64_to_u64(&request.dev_eui));
    ck_assert_uint_eq(read.dev_nonce, request.dev_nonce);
}

static void run_mic_raw(const json_t *in, const json_t *expected)
{
    struct secret_key key = key_of(in, "key");
    struct field payload = hex_of(in, "payload");
    uint8_t cmac[16];

    ck_assert_int_eq(aes_cmac(&key, payload.bytes, payload.len, cmac), 0);
    check_equal(expected, "mic", cmac, LW_MIC_LEN);
}

static size_t rejoin_build(
    struct lw_rejoin_request request, const struct secret_key *mic_key, uint8_t out[static 24])
{
    uint8_t cmac[16];
    size_t len = lw_rejoin_request_build(&request, out);

    ck_assert_uint_gt(len, 0);
    ck_assert_int_eq(aes_cmac(mic_key, out, len - LW_MIC_LEN, cmac), 0);
    memcpy(request.mic, cmac, LW_MIC_LEN);
    return lw_rejoin_request_build(&request, out);
}

static void run_rejoin_request_mic(const json_t *in, const json_t *expected)
{
    struct secret_key key = key_of(in, "mic_key");
    struct lw_rejoin_request request = {
        .type = (enum lw_join_type)number_of(in, "rejoin_type"), .dev_eui = eui_of(in, "dev_eui")};
    uint8_t frame[LW_REJOIN_MAX];

    if (request.type == LW_REJOIN_1) {
        request.join_eui = eui_of(in, "join_eui");
        request.rj_count = (uint16_t)number_of(in, "rjcount1");
    } else {
        request.net_id = net_id_of(in, "net_id");
        request.rj_count = (uint16_t)number_of(in, "rjcount0");
    }
    size_t len = rejoin_build(request, &key, frame);
    check_equal(expected, "phy_payload", frame, len);
    check_equal(expected, "mic", frame + len - LW_MIC_LEN, LW_MIC_LEN);
}

static void run_join_accept(const json_t *in, const json_t *expected)
{
    struct lw_join_accept accept = accept_of(in);
    bool opt_neg = json_is_true(json_object_get(in, "opt_neg"));
    struct eui64 join_eui = opt_neg ? eui_of(in, "join_eui") : (struct eui64){{0}};
    uint16_t nonce = opt_neg ? (uint16_t)number_of(in, "dev_nonce_or_rjcount") : 0;
    enum lw_join_type type = opt_neg ? (enum lw_join_type)byte_of(in, "join_req_type") : LW_JOIN;
    struct field air;

    set_cf_list(&accept, in);
    ck_assert((accept.dl_settings & LW_OPT_NEG) == (opt_neg ? LW_OPT_NEG : 0));
    protect(accept, key_of(in, "mic_key"), key_of(in, "enc_key"), join_eui, nonce, type, &air);
    check_equal(expected, "phy_payload_encrypted", air.bytes, air.len);

    uint8_t mic[LW_MIC_LEN];
    struct secret_key enc_key = key_of(in, "enc_key");
    struct field plain = hex_of(in, "computed_plain_phy_with_mic");
    (void)opened(&enc_key, text_of(expected, "phy_payload_encrypted"), mic);
    ck_assert_mem_eq(mic, plain.bytes + plain.len - LW_MIC_LEN, LW_MIC_LEN);
}

/* Others answer a rejoin with OptNeg clear and without the MIC's prefix. We refuse to, and what we
 * answer instead differs. */
static void run_join_accept_negative(const json_t *in, const json_t *expected)
{
    struct lw_join_accept accept = accept_of(in);
    struct eui64 join_eui = {{8, 7, 6, 5, 4, 3, 2, 1}};
    struct secret_key mic_key = key_of(in, "mic_key"), enc_key = key_of(in, "enc_key");
    struct lw_key mic = lw_key_of(&mic_key), enc = lw_key_of(&enc_key);
    struct field air = {.len = 0};

    set_cf_list(&accept, in);
    ck_assert_int_lt(
        lw_accept_protect(&accept, &mic, &enc, &join_eui, 123, LW_REJOIN_2, air.bytes, &air.len),
        0);
    accept.dl_settings |= LW_OPT_NEG;
    protect(accept, mic_key, enc_key, join_eui, 123, LW_REJOIN_2, &air);
    check_differs(expected, "phy_payload_encrypted", air.bytes, air.len);
}

static void run_join_accept_mic(const json_t *in, const json_t *expected)
{
    struct field plain = hex_of(in, "plain_mhdr_to_cflist");
    uint8_t input[LW_ACCEPT_MIC_INPUT_MAX], cmac[16];
    size_t prefix_len = 0;
    struct secret_key key;

    if (json_object_get(in, "app_key") != NULL) {
        key = key_of(in, "app_key");
    } else {
        const char *nonce_name =
            json_object_get(in, "dev_nonce") ? "dev_nonce" : "dev_nonce_or_rjcount";
        struct eui64 join_eui = eui_of(in, "join_eui");

        if (json_object_get(in, "nwk_key") != NULL) {
            struct secret_key nwk_key = key_of(in, "nwk_key");

            key = js_int_key(&nwk_key, eui_of(in, "dev_eui"));
            check_key(in, "js_int_key_computed", key);
        } else {
            key = key_of(in, "js_int_key");
        }
        lw_accept_mic_prefix((enum lw_join_type)byte_of(in, "join_req_type"), &join_eui,
            (uint16_t)number_of(in, nonce_name), input);
        prefix_len = LW_ACCEPT_MIC_PREFIX_LEN;
    }
    memcpy(input + prefix_len, plain.bytes, plain.len);
    ck_assert_int_eq(aes_cmac(&key, input, prefix_len + plain.len, cmac), 0);
    check_equal(expected, "mic", cmac, LW_MIC_LEN);
}

static void run_join_accept_encrypt_raw(const json_t *in, const json_t *expected)
{
    struct field plain = hex_of(in, "plain_after_mhdr");
    struct secret_key key = key_of(in, "nwk_key");
    uint8_t cipher[FIELD_MAX];

    if (json_object_get(in, "js_enc_key_computed") != NULL) {
        key = js_enc_key(&key, eui_of(in, "dev_eui"));
        check_key(in, "js_enc_key_computed", key);
    }
    ck_assert_int_eq(aes_ecb_decrypt(&key, plain.bytes, plain.len, cipher), 0);
    check_equal(expected, "cipher", cipher, plain.len);
}

static const struct {
    enum lw_session_key which;
    const char *name; /* in the vectors' derivation kinds */
    const char *wire; /* in TS002 and in the device's view */
} keys_1_1[] = {
    {LW_KEY_F_NWK_S_INT, "f_nwk_s_int_key", "FNwkSIntKey"},
    {LW_KEY_S_NWK_S_INT, "s_nwk_s_int_key", "SNwkSIntKey"},
    {LW_KEY_NWK_S_ENC, "nwk_s_enc_key", "NwkSEncKey"},
    {LW_KEY_APP_S, "app_s_key", "AppSKey"},
};
#define N_KEYS_1_1 (sizeof(keys_1_1) / sizeof(keys_1_1[0]))

static void check_keys_1_1(const json_t *in, const json_t *expected, const char *nonce_name)
{
    struct secret_key nwk_key = key_of(in, "nwk_key"), app_key = key_of(in, "app_key");

    for (size_t i = 0; i < N_KEYS_1_1; i++) {
        check_key(expected, keys_1_1[i].name,
            session_1_1(keys_1_1[i].which == LW_KEY_APP_S ? &app_key : &nwk_key, keys_1_1[i].which,
                number_of(in, "join_nonce"), eui_of(in, "join_eui"),
                (uint16_t)number_of(in, nonce_name)));
    }
}

static void run_key_derivation_1_1(const json_t *in, const json_t *expected)
{
    check_keys_1_1(in, expected, "dev_nonce");
}

static void run_key_derivation_rejoin_1_1(const json_t *in, const json_t *expected)
{
    check_keys_1_1(in, expected, "rjcount");
}

static void run_key_derivation_1_0(const json_t *in, const json_t *expected)
{
    struct secret_key root = key_of(in, "root_key"), app_root = root;
    uint32_t join_nonce = number_of(in, "join_nonce");
    uint16_t dev_nonce = (uint16_t)number_of(in, "dev_nonce");

    if (json_object_get(in, "root_key_for_app_s_key") != NULL)
        app_root = key_of(in, "root_key_for_app_s_key");
    check_key(expected, "nwk_s_key",
        session_1_0(&root, LW_KEY_F_NWK_S_INT, join_nonce, net_id_of(in, "net_id"), dev_nonce));
    check_key(expected, "app_s_key",
        session_1_0(&app_root, LW_KEY_APP_S, join_nonce, net_id_of(in, "net_id"), dev_nonce));
}

static void run_js_keys(const json_t *in, const json_t *expected)
{
    struct secret_key nwk_key = key_of(in, "nwk_key");

    check_key(expected, "js_int_key", js_int_key(&nwk_key, eui_of(in, "dev_eui")));
    check_key(expected, "js_enc_key", js_enc_key(&nwk_key, eui_of(in, "dev_eui")));
}

static void run_rfc3394_wrap(const json_t *in, const json_t *expected)
{
    struct field kek = hex_of(in, "kek"), key = hex_of(in, "key");
    uint8_t wrapped[FIELD_MAX + 8], opened_key[FIELD_MAX];

    ck_assert_int_eq(aes_wrap(kek.bytes, kek.len, key.bytes, key.len, wrapped), 0);
    check_equal(expected, "wrapped", wrapped, key.len + 8);
    ck_assert_int_eq(aes_unwrap(kek.bytes, kek.len, wrapped, key.len + 8, opened_key), 0);
    ck_assert_mem_eq(opened_key, key.bytes, key.len);
    wrapped[0] ^= 1;
    ck_assert_int_eq(aes_unwrap(kek.bytes, kek.len, wrapped, key.len + 8, opened_key), 1);
}

/* The peers' bug is the 1.0 block with the RJcount: reproduced first, so that the inputs are known
 * to be read rightly, then shown to differ from the 1.1 derivation of the same rejoin (V054). */
static void run_rejoin_keys_peer_bug(const json_t *in, const json_t *expected)
{
    const json_t *right = json_object_get(vector_with_id("V054"), "inputs");
    struct secret_key nwk_key = key_of(in, "nwk_key"), app_key = key_of(right, "app_key");
    uint32_t join_nonce = number_of(in, "join_nonce");
    uint16_t rj_count = (uint16_t)number_of(in, "rjcount");

    ck_assert_uint_eq(number_of(right, "join_nonce"), join_nonce);
    ck_assert_uint_eq(number_of(right, "rjcount"), rj_count);
    for (size_t i = 0; i < N_KEYS_1_1; i++) {
        enum lw_session_key which = keys_1_1[i].which;
        struct secret_key ours = session_1_1(which == LW_KEY_APP_S ? &app_key : &nwk_key, which,
            join_nonce, eui_of(right, "join_eui"), rj_count);

        check_key(expected, keys_1_1[i].name,
            session_1_0(&nwk_key, which, join_nonce, net_id_of(in, "net_id"), rj_count));
        check_differs(expected, keys_1_1[i].name, ours.bytes, sizeof(ours.bytes));
    }
}

static void run_join_accept_rejoin(const json_t *in, const json_t *expected)
{
    static const struct {
        const char *name;
        enum lw_join_type type;
    } types[] = {{"type0", LW_REJOIN_0}, {"type1", LW_REJOIN_1}, {"type2", LW_REJOIN_2}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const json_t *one = json_object_get(expected, types[i].name);
        struct lw_join_accept accept = accept_of(in);
        struct field air;

        set_cf_list(&accept, one);
        protect(accept, key_of(in, "js_int_key"), key_of(in, "js_enc_key"), eui_of(in, "join_eui"),
            (uint16_t)number_of(in, "rjcount"), types[i].type, &air);
        check_equal(one, "phy_payload_encrypted", air.bytes, air.len);
    }
}

static void run_optneg0_device_view(const json_t *in, const json_t *expected)
{
    struct secret_key nwk_key = key_of(in, "nwk_key");
    uint16_t dev_nonce = (uint16_t)number_of(in, "dev_nonce");
    const char *air_text = text_of(in, "join_accept");
    struct field air;
    uint8_t mic[LW_MIC_LEN];
    struct lw_join_accept accept = opened(&nwk_key, air_text, mic);

    ck_assert_uint_eq(accept.dl_settings & LW_OPT_NEG, 0);
    protect(accept, nwk_key, nwk_key, eui_of(in, "join_eui"), dev_nonce, LW_JOIN, &air);
    check_equal(in, "join_accept", air.bytes, air.len);
    for (size_t i = 0; i < N_KEYS_1_1; i++) {
        enum lw_session_key which =
            keys_1_1[i].which == LW_KEY_APP_S ? LW_KEY_APP_S : LW_KEY_F_NWK_S_INT;

        check_key(expected, keys_1_1[i].wire,
            session_1_0(&nwk_key, which, accept.join_nonce, accept.net_id, dev_nonce));
    }
}

/* The four steps of the scenario's text, frame by frame. */
static void run_rejoin_scenario(const json_t *in, const json_t *expected)
{
    struct secret_key nwk_key = key_of(in, "nwk_key"), app_key = key_of(in, "app_key");
    struct eui64 dev_eui = eui_of(in, "dev_eui"), join_eui = eui_of(in, "join_eui");
    struct net_id net_id = net_id_of(in, "net_id");
    struct secret_key int_key = js_int_key(&nwk_key, dev_eui);
    struct secret_key enc_key = js_enc_key(&nwk_key, dev_eui);
    static const struct {
        enum lw_join_type type;
        uint32_t join_nonce;
        const char *request;
        const char *accept;
    } steps[] = {
        {LW_REJOIN_0, 65537, "rejoin0", "accept0"},
        {LW_REJOIN_2, 65538, "rejoin2", "accept2"},
        {LW_REJOIN_1, 65539, "rejoin1", "accept1"},
    };
    const uint16_t rj_count = 1;
    struct secret_key s_nwk_s_int_key =
        session_1_1(&nwk_key, LW_KEY_S_NWK_S_INT, 65536, join_eui, 258);

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        bool is_1 = steps[i].type == LW_REJOIN_1;
        struct lw_rejoin_request request = {.type = steps[i].type,
            .dev_eui = dev_eui,
            .rj_count = rj_count,
            .net_id = is_1 ? (struct net_id){{0}} : net_id,
            .join_eui = is_1 ? join_eui : (struct eui64){{0}}};
        uint8_t frame[LW_REJOIN_MAX], mic[LW_MIC_LEN];
        struct field air;

        size_t len = rejoin_build(request, is_1 ? &int_key : &s_nwk_s_int_key, frame);
        check_equal(expected, steps[i].request, frame, len);

        struct lw_join_accept accept = opened(&enc_key, text_of(in, steps[i].accept), mic);
        ck_assert_uint_eq(accept.join_nonce, steps[i].join_nonce);
        protect(accept, int_key, enc_key, join_eui, rj_count, steps[i].type, &air);
        check_equal(in, steps[i].accept, air.bytes, air.len);
        s_nwk_s_int_key =
            session_1_1(&nwk_key, LW_KEY_S_NWK_S_INT, steps[i].join_nonce, join_eui, rj_count);
    }
    for (size_t i = 0; i < N_KEYS_1_1; i++) {
        enum lw_session_key which = keys_1_1[i].which;

        check_key(expected, keys_1_1[i].wire,
            session_1_1(
                which == LW_KEY_APP_S ? &app_key : &nwk_key, which, 65539, join_eui, rj_count));
    }
}

/* A device takes only a JoinNonce above the stored one; V056's device sent these. What the join
 * server does about it (stored + 1, from 1) is tested with the join decision. */
static void run_joinnonce_rule(const json_t *in, const json_t *expected)
{
    const json_t *device = json_object_get(vector_with_id("V056"), "inputs");
    struct secret_key nwk_key = key_of(device, "nwk_key");
    uint8_t mic[LW_MIC_LEN];
    struct lw_join_accept accept = opened(&nwk_key, text_of(in, "join_accept"), mic);
    bool accepted = accept.join_nonce > number_of(in, "stored_join_nonce");

    ck_assert(accepted == json_is_true(json_object_get(expected, "accepted")));
    struct field air;
    bool opt_neg = (accept.dl_settings & LW_OPT_NEG) != 0;
    protect(accept, opt_neg ? js_int_key(&nwk_key, eui_of(device, "dev_eui")) : nwk_key, nwk_key,
        eui_of(device, "join_eui"), (uint16_t)number_of(device, "dev_nonce"), LW_JOIN, &air);
    check_equal(in, "join_accept", air.bytes, air.len);
}

static void run_json_flow(const json_t *in, const json_t *expected)
{
    const json_t *device = json_object_get(in, "device"), *asked = json_object_get(in, "request");
    const json_t *answer = json_object_get(expected, "answer");
    struct secret_key nwk_key = key_of(device, "nwk_key"), app_key = key_of(device, "app_key");
    struct net_id net_id = net_id_of(device, "home_net_id");
    struct field phy = hex_of(asked, "PHYPayload"), air;
    struct lw_join_request request;
    uint8_t cmac[16];

    ck_assert_int_eq(lw_join_request_parse(phy.bytes, phy.len, &request), LW_FRAME_OK);
    ck_assert_int_eq(aes_cmac(&nwk_key, phy.bytes, LW_JOIN_REQUEST_MIC_INPUT_LEN, cmac), 0);
    ck_assert_mem_eq(cmac, request.mic, LW_MIC_LEN);

    struct lw_join_accept accept = {.join_nonce = number_of(device, "last_join_nonce") + 1,
        .net_id = net_id,
        .dl_settings = byte_of(asked, "DLSettings"),
        .rx_delay = (uint8_t)number_of(asked, "RxDelay"),
        .has_cf_list = true};
    read_fixed(asked, "DevAddr", accept.dev_addr.bytes, sizeof(accept.dev_addr.bytes));
    read_fixed(asked, "CFList", accept.cf_list, sizeof(accept.cf_list));
    bool opt_neg = (accept.dl_settings & LW_OPT_NEG) != 0;
    protect(accept, opt_neg ? js_int_key(&nwk_key, request.dev_eui) : nwk_key, nwk_key,
        request.join_eui, request.dev_nonce, LW_JOIN, &air);
    check_equal(answer, "PHYPayload", air.bytes, air.len);

    if (!opt_neg) {
        check_key(json_object_get(answer, "NwkSKey"), "AESKey",
            session_1_0(
                &nwk_key, LW_KEY_F_NWK_S_INT, accept.join_nonce, net_id, request.dev_nonce));
        check_key(json_object_get(answer, "AppSKey"), "AESKey",
            session_1_0(&nwk_key, LW_KEY_APP_S, accept.join_nonce, net_id, request.dev_nonce));
        return;
    }
    for (size_t i = 0; i < N_KEYS_1_1; i++) {
        enum lw_session_key which = keys_1_1[i].which;

        check_key(json_object_get(answer, keys_1_1[i].wire), "AESKey",
            session_1_1(which == LW_KEY_APP_S ? &app_key : &nwk_key, which, accept.join_nonce,
                request.join_eui, request.dev_nonce));
    }
}

static const struct kind {
    const char *name;
    size_t n_positive;
    size_t n_negative;
    void (*run)(const json_t *inputs, const json_t *expected);
    void (*run_negative)(const json_t *inputs, const json_t *expected);
    const char *elsewhere; /* why it is not run here */
} kinds[] = {
    {"join_request_mic", 4, 0, run_join_request_mic, NULL, NULL},
    {"mic_raw", 1, 0, run_mic_raw, NULL, NULL},
    {"rejoin_request_mic", 4, 0, run_rejoin_request_mic, NULL, NULL},
    {"join_accept", 5, 1, run_join_accept, run_join_accept_negative, NULL},
    {"join_accept_mic", 4, 0, run_join_accept_mic, NULL, NULL},
    {"join_accept_encrypt_raw", 2, 0, run_join_accept_encrypt_raw, NULL, NULL},
    {"key_derivation_1_1", 3, 0, run_key_derivation_1_1, NULL, NULL},
    {"key_derivation_1_0", 3, 0, run_key_derivation_1_0, NULL, NULL},
    {"js_keys", 1, 0, run_js_keys, NULL, NULL},
    {"rfc3394_wrap", 7, 0, run_rfc3394_wrap, NULL, NULL},
    {"rejoin_keys_peer_bug", 0, 1, NULL, run_rejoin_keys_peer_bug, NULL},
    {"key_derivation_rejoin_1_1", 1, 0, run_key_derivation_rejoin_1_1, NULL, NULL},
    {"join_accept_rejoin", 1, 0, run_join_accept_rejoin, NULL, NULL},
    {"optneg0_device_view", 1, 0, run_optneg0_device_view, NULL, NULL},
    {"rejoin_scenario", 1, 0, run_rejoin_scenario, NULL, NULL},
    {"joinnonce_rule", 2, 0, run_joinnonce_rule, NULL, NULL},
    {"json_flow", 2, 0, run_json_flow, NULL, NULL},
    {"json_error", 2, 0, NULL, NULL, "result codes are the join server's: tested there"},
    {"json_shape", 2, 0, NULL, NULL, "JSON is parsed and written by the join server: tested there"},
    {"dns_name", 3, 0, NULL, NULL, "names of peers are made by the HTTP and DNS client"},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define N_VECTORS 51
#define N_ELSEWHERE 7

static void load(void)
{
    const char *path = getenv("CRADLE_TEST_VECTORS");
    json_error_t error;

    ck_assert_msg(path != NULL, "CRADLE_TEST_VECTORS is not set");
    document = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(document != NULL, "%s: %s", path, error.text);
}

static void unload(void)
{
    json_decref(document);
}

START_TEST(vectors_of_this_kind_agree)
{
    const struct kind *kind = &kinds[_i];
    size_t n_positive = 0, n_negative = 0, i;
    const json_t *vector;

    json_array_foreach(json_object_get(document, "vectors"), i, vector)
    {
        bool negative = json_is_true(json_object_get(vector, "negative"));
        void (*run)(const json_t *, const json_t *) = negative ? kind->run_negative : kind->run;

        current_id = json_string_value(json_object_get(vector, "id"));
        if (strcmp(text_of(vector, "kind"), kind->name) != 0)
            continue;
        n_negative += negative;
        n_positive += !negative;
        if (kind->elsewhere != NULL)
            continue;
        ck_assert_msg(run != NULL, "%s has no function", current_id);
        run(json_object_get(vector, "inputs"), json_object_get(vector, "expected"));
    }
    ck_assert_msg(n_positive == kind->n_positive && n_negative == kind->n_negative,
        "%s: %zu and %zu negative vectors", kind->name, n_positive, n_negative);
}
END_TEST

START_TEST(every_vector_is_of_a_known_kind_and_none_is_skipped_silently)
{
    size_t n_known = 0, n_run = 0;

    for (size_t k = 0; k < N_KINDS; k++) {
        size_t n = kinds[k].n_positive + kinds[k].n_negative;
        bool has_function = kinds[k].run != NULL || kinds[k].run_negative != NULL;

        n_known += n;
        n_run += kinds[k].elsewhere == NULL ? n : 0;
        ck_assert_msg(has_function == (kinds[k].elsewhere == NULL), "%s", kinds[k].name);
    }
    ck_assert_uint_eq(json_array_size(json_object_get(document, "vectors")), N_VECTORS);
    ck_assert_uint_eq(n_known, N_VECTORS);
    ck_assert_uint_eq(n_run, N_VECTORS - N_ELSEWHERE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lorawan-vectors");
    TCase *tc = tcase_create("vectors");

    tcase_add_checked_fixture(tc, load, unload);
    tcase_add_loop_test(tc, vectors_of_this_kind_agree, 0, (int)N_KINDS);
    tcase_add_test(tc, every_vector_is_of_a_known_kind_and_none_is_skipped_silently);
    suite_add_tcase(suite, tc);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
