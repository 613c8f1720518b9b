#include "cli/device_session.h"

#include <string.h>

#define BLOCK_LEN 16
#define JOIN_REQ_TYPE 0xFF
#define BLOCK_JS_ENC 0x05
#define BLOCK_JS_INT 0x06
#define MIC_PREFIX_LEN 11 /* JoinReqType | JoinEUI | DevNonce or RJcount */

static const struct {
    const char *name;
    uint8_t block_type; /* first byte of the derivation block at OptNeg 1 */
    bool at_opt_neg_0;
    bool at_opt_neg_1;
} keys[SIMDEV_N_KEYS] = {
    [SIMDEV_NWK_S] = {"NwkSKey", 0x01, true, false},
    [SIMDEV_F_NWK_S_INT] = {"FNwkSIntKey", 0x01, false, true},
    [SIMDEV_S_NWK_S_INT] = {"SNwkSIntKey", 0x03, false, true},
    [SIMDEV_NWK_S_ENC] = {"NwkSEncKey", 0x04, false, true},
    [SIMDEV_APP_S] = {"AppSKey", 0x02, true, true},
};

static const char *const verdict_texts[SIMDEV_N_VERDICTS] = {
    [SIMDEV_AGREE] = "device, network server and application server agree",
    [SIMDEV_BAD_FRAME] = "PHYPayload is no Join-Accept",
    [SIMDEV_BAD_MIC] = "the device finds a wrong MIC in the Join-Accept",
    [SIMDEV_OLD_JOIN_NONCE] = "the JoinNonce is not above the device's last one",
    [SIMDEV_FIELDS_DIFFER] = "the Join-Accept does not carry what the network server asked for",
    [SIMDEV_KEY_MISSING] = "a key is missing from the answer",
    [SIMDEV_KEY_SURPLUS] = "a key is in the answer that does not go with OptNeg",
    [SIMDEV_KEY_IN_CLEAR] = "a key came in clear although a KEK was given for it",
    [SIMDEV_KEY_LENGTH] = "a key has neither 16 clear nor 24 wrapped bytes",
    [SIMDEV_KEK_UNKNOWN] = "a key is wrapped under a KEKLabel that was not given",
    [SIMDEV_KEK_REFUSED] = "a key does not open under the KEK that was given",
    [SIMDEV_KEY_DIFFERS] = "a key is not the one the device derived",
};

const char *simdev_key_name(enum simdev_key key)
{
    return keys[key].name;
}

bool simdev_key_expected(enum simdev_key key, bool opt_neg)
{
    return opt_neg ? keys[key].at_opt_neg_1 : keys[key].at_opt_neg_0;
}

const char *simdev_verdict_text(enum simdev_verdict verdict)
{
    return (unsigned)verdict < SIMDEV_N_VERDICTS ? verdict_texts[verdict] : "unknown verdict";
}

void simdev_result_wipe(struct simdev_result *result)
{
    secret_wipe(result->keys, sizeof(result->keys));
}

static void put_reversed(uint8_t *out, const uint8_t *in, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = in[len - 1 - i];
}

static void put_le(uint8_t *out, uint32_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

/* LoRaWAN 1.1 6.1.1.3: a 1.1 device does everything of the network with NwkKey; one of 1.0.x has a
 * single root key. */
static const struct secret_key *network_root(const struct simdev *device)
{
    return device->mac_version == LW_MAC_1_1 ? &device->nwk_key : &device->app_key;
}

int simdev_request_build(
    const struct simdev *device, uint16_t dev_nonce, uint8_t out[static LW_JOIN_REQUEST_LEN])
{
    struct lw_join_request request = {
        .join_eui = device->join_eui, .dev_eui = device->dev_eui, .dev_nonce = dev_nonce};

    lw_join_request_build(&request, out);
    return simdev_crypto_mic(network_root(device), out, LW_JOIN_REQUEST_MIC_INPUT_LEN,
        out + LW_JOIN_REQUEST_MIC_INPUT_LEN);
}

/* JSIntKey or JSEncKey, LoRaWAN 1.1 6.1.1.3. */
static int derive_js_key(const struct simdev *device, uint8_t type, struct secret_key *ret)
{
    uint8_t block[BLOCK_LEN] = {type};

    put_reversed(block + 1, device->dev_eui.bytes, 8);
    return simdev_crypto_encrypt(&device->nwk_key, block, sizeof(block), ret->bytes);
}

/* A session key at OptNeg 1, LoRaWAN 1.1 6.2.3 and 6.2.4.4. */
static int derive_1_1(const struct simdev *device, enum simdev_key key, uint32_t join_nonce,
    uint16_t nonce, struct secret_key *ret)
{
    uint8_t block[BLOCK_LEN] = {keys[key].block_type};

    put_le(block + 1, join_nonce, 3);
    put_reversed(block + 4, device->join_eui.bytes, 8);
    put_le(block + 12, nonce, 2);
    return simdev_crypto_encrypt(key == SIMDEV_APP_S ? &device->app_key : network_root(device),
        block, sizeof(block), ret->bytes);
}

int simdev_frame_build(const struct simdev *device, const struct simdev_network *network,
    uint16_t nonce, uint8_t out[static SIMDEV_FRAME_MAX], size_t *ret_len)
{
    CLEANUP(secret_key_wipe) struct secret_key key = {{0}};
    bool is_1 = device->rejoin_type == LW_REJOIN_1;
    struct lw_rejoin_request request = {
        .type = device->rejoin_type, .dev_eui = device->dev_eui, .rj_count = nonce};

    if (!device->rejoins) {
        *ret_len = LW_JOIN_REQUEST_LEN;
        return simdev_request_build(device, nonce, out);
    }
    if (is_1)
        request.join_eui = device->join_eui;
    else
        request.net_id = network->net_id;
    *ret_len = lw_rejoin_request_build(&request, out);
    int r = is_1 ? derive_js_key(device, BLOCK_JS_INT, &key)
                 : derive_1_1(device, SIMDEV_S_NWK_S_INT, device->session_join_nonce,
                       device->session_nonce, &key);
    if (r < 0)
        return r;
    return simdev_crypto_mic(&key, out, *ret_len - LW_MIC_LEN, out + *ret_len - LW_MIC_LEN);
}

/* The MIC the device expects over the clear Join-Accept, LoRaWAN 1.1 6.2.3. */
static int accept_mic(const struct simdev *device, bool opt_neg, uint16_t nonce,
    const uint8_t *plain, size_t plain_len, uint8_t out[static LW_MIC_LEN])
{
    if (!opt_neg && !device->rejoins) /* a rejoin is always of 1.1 */
        return simdev_crypto_mic(network_root(device), plain, plain_len, out);

    CLEANUP(secret_key_wipe) struct secret_key js_int_key = {{0}};
    uint8_t input[MIC_PREFIX_LEN + LW_JOIN_ACCEPT_PLAIN_MAX] = {
        device->rejoins ? (uint8_t)device->rejoin_type : JOIN_REQ_TYPE};

    int r = derive_js_key(device, BLOCK_JS_INT, &js_int_key);
    if (r < 0)
        return r;
    put_reversed(input + 1, device->join_eui.bytes, 8);
    put_le(input + 9, nonce, 2);
    memcpy(input + MIC_PREFIX_LEN, plain, plain_len);
    return simdev_crypto_mic(&js_int_key, input, MIC_PREFIX_LEN + plain_len, out);
}

/* LoRaWAN 1.1 6.2.3, 1.0.x 6.2.5. */
static int derive_keys(const struct simdev *device, uint16_t nonce, struct simdev_result *result)
{
    for (size_t k = 0; k < SIMDEV_N_KEYS; k++) {
        /* At OptNeg 0 one network key serves as all of them. */
        enum simdev_key as = k == SIMDEV_APP_S ? SIMDEV_APP_S : SIMDEV_NWK_S;
        uint8_t block[BLOCK_LEN] = {keys[as].block_type};
        int r;

        if (result->opt_neg) {
            r = derive_1_1(
                device, (enum simdev_key)k, result->accept.join_nonce, nonce, &result->keys[k]);
        } else {
            put_le(block + 1, result->accept.join_nonce, 3);
            put_reversed(block + 4, result->accept.net_id.bytes, 3);
            put_le(block + 7, nonce, 2);
            r = simdev_crypto_encrypt(
                network_root(device), block, sizeof(block), result->keys[k].bytes);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* Takes protection off and checks the MIC; positive outcomes as simdev_answer_check(). */
static int open_accept(const struct simdev *device, uint16_t nonce,
    const struct simdev_answer *answer, struct simdev_result *ret)
{
    CLEANUP(secret_key_wipe) struct secret_key js_enc_key = {{0}};
    uint8_t clear[LW_JOIN_ACCEPT_MAX];
    uint8_t mic[LW_MIC_LEN];
    size_t len = answer->phy_payload_len;

    if (len != LW_JOIN_ACCEPT_MIN && len != LW_JOIN_ACCEPT_MAX)
        return SIMDEV_BAD_FRAME;
    clear[0] = answer->phy_payload[0];
    int r = device->rejoins ? derive_js_key(device, BLOCK_JS_ENC, &js_enc_key) : 0;
    if (r == 0)
        r = simdev_crypto_encrypt(device->rejoins ? &js_enc_key : network_root(device),
            answer->phy_payload + 1, len - 1, clear + 1);
    if (r < 0)
        return r;

    size_t plain_len = len - LW_MIC_LEN;
    if (lw_join_accept_parse(clear, plain_len, &ret->accept) != LW_FRAME_OK)
        return SIMDEV_BAD_FRAME;
    /* To a 1.0.x device the bit is reserved and means nothing. */
    ret->opt_neg = device->mac_version == LW_MAC_1_1 && (ret->accept.dl_settings & LW_OPT_NEG) != 0;
    r = accept_mic(device, ret->opt_neg, nonce, clear, plain_len, mic);
    if (r < 0)
        return r;
    if (!secret_equal(mic, clear + plain_len, LW_MIC_LEN))
        return SIMDEV_BAD_MIC;
    ret->opened = true;
    return SIMDEV_AGREE;
}

static bool fields_agree(const struct simdev_network *network, const struct lw_join_accept *accept)
{
    return memcmp(&network->net_id, &accept->net_id, sizeof(accept->net_id)) == 0 &&
           memcmp(&network->dev_addr, &accept->dev_addr, sizeof(accept->dev_addr)) == 0 &&
           network->dl_settings == accept->dl_settings && network->rx_delay == accept->rx_delay &&
           network->has_cf_list == accept->has_cf_list &&
           (!accept->has_cf_list || memcmp(network->cf_list, accept->cf_list, LW_CF_LIST_LEN) == 0);
}

static const struct simdev_kek *find_kek(const struct simdev_key_ring *ring, const char *label)
{
    for (size_t i = 0; i < ring->n_keks; i++) {
        if (strcmp(ring->keks[i].label, label) == 0)
            return &ring->keks[i];
    }
    return NULL;
}

/* Opens an envelope as its receiver would and compares it with the device's key. */
static int check_envelope(const struct simdev_key_ring *ring,
    const struct simdev_envelope *envelope, const struct secret_key *own)
{
    CLEANUP(secret_key_wipe) struct secret_key key = {{0}};

    if (envelope->kek_label[0] == '\0') {
        if (envelope->aes_key_len != AES_KEY_LEN)
            return SIMDEV_KEY_LENGTH;
        if (ring->n_keks > 0)
            return SIMDEV_KEY_IN_CLEAR;
        memcpy(key.bytes, envelope->aes_key, AES_KEY_LEN);
    } else {
        const struct simdev_kek *kek = find_kek(ring, envelope->kek_label);

        if (envelope->aes_key_len != SIMDEV_WRAPPED_KEY_LEN)
            return SIMDEV_KEY_LENGTH;
        if (kek == NULL)
            return SIMDEV_KEK_UNKNOWN;
        int r = simdev_crypto_unwrap(kek->bytes, kek->len, envelope->aes_key, &key);
        if (r < 0)
            return r;
        if (r > 0)
            return SIMDEV_KEK_REFUSED;
    }
    return secret_equal(&key, own, sizeof(key)) ? SIMDEV_AGREE : SIMDEV_KEY_DIFFERS;
}

static int check_keys(const struct simdev_network *network, const struct simdev_answer *answer,
    struct simdev_result *ret)
{
    for (size_t k = 0; k < SIMDEV_N_KEYS; k++) {
        const struct simdev_envelope *envelope = &answer->keys[k];
        const struct simdev_key_ring *ring = k == SIMDEV_APP_S ? &network->as : &network->ns;
        bool expected = simdev_key_expected((enum simdev_key)k, ret->opt_neg);

        ret->fault_key = (enum simdev_key)k;
        if (envelope->present && !expected)
            return SIMDEV_KEY_SURPLUS;
        if (!envelope->present && expected)
            return SIMDEV_KEY_MISSING;
        if (!expected)
            continue;
        int r = check_envelope(ring, envelope, &ret->keys[k]);
        if (r != 0)
            return r;
    }
    return SIMDEV_AGREE;
}

int simdev_answer_check(const struct simdev *device, const struct simdev_network *network,
    uint16_t nonce, const struct simdev_answer *answer, struct simdev_result *ret)
{
    *ret = (struct simdev_result){.opened = false};
    int r = open_accept(device, nonce, answer, ret);
    if (r != 0)
        return r;
    r = derive_keys(device, nonce, ret);
    if (r < 0)
        return r;
    if (ret->accept.join_nonce <= device->last_join_nonce)
        return SIMDEV_OLD_JOIN_NONCE;
    if (!fields_agree(network, &ret->accept))
        return SIMDEV_FIELDS_DIFFER;
    return check_keys(network, answer, ret);
}
