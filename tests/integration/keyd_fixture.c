#include "tests/integration/keyd_fixture.h"

#include "base/clock.h"
#include "base/error.h"
#include "lorawan/accept.h"
#include "lorawan/derive.h"
#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#define TEST_TIMEOUT_S 120

struct softhsm keyd_test_hsm;

int keyd_test_run(Suite *suite, TCase *tcase, const TTest *const *tests, size_t n_tests,
    void (*setup)(void), void (*teardown)(void))
{
    SRunner *runner = srunner_create(suite);
    int failed;

    if (softhsm_make(&keyd_test_hsm, true) < 0) {
        (void)fprintf(stderr, "no token: %s\n", error_text());
        softhsm_remove(&keyd_test_hsm);
        srunner_free(runner);
        return 1;
    }
    tcase_set_timeout(tcase, TEST_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < n_tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    softhsm_remove(&keyd_test_hsm);
    return failed != 0;
}

int keyd_test_main(const char *name, const TTest *const *tests, size_t n_tests, void (*setup)(void),
    void (*teardown)(void))
{
    return keyd_test_run(suite_create(name), tcase_create(name), tests, n_tests, setup, teardown);
}

static struct keyd_pool *open_pool(const struct keyd_pool_config *config)
{
    struct keyd_pool *pool = NULL;

    ck_assert_msg(keyd_pool_open(config, &pool) == 0, "%s", error_text());
    return pool;
}

struct keyd_pool *keyd_test_pool(unsigned n_processes, unsigned n_channels, unsigned max_operations)
{
    const struct keyd_pool_config config = {
        .program = KEYD_PROGRAM,
        .uri = keyd_test_hsm.uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = n_processes,
        .n_channels = n_channels,
        .max_operations = max_operations,
    };

    return open_pool(&config);
}

struct keyd_pool *keyd_test_plain_pool(const char *uri)
{
    const struct keyd_pool_config config = {
        .program = KEYD_PROGRAM,
        .uri = uri != NULL ? uri : keyd_test_hsm.uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 1,
        .n_channels = 1,
        .plain_keys = true,
    };

    return open_pool(&config);
}

int64_t keyd_test_deadline(void)
{
    return clock_monotonic_ms() + KEYD_TEST_PATIENCE_MS;
}

static struct eui64 eui_of(uint64_t v)
{
    struct eui64 eui;

    for (size_t i = 0; i < sizeof(eui.bytes); i++)
        eui.bytes[i] = (uint8_t)(v >> (56 - 8 * i));
    return eui;
}

void keyd_test_adopt(
    struct keyd_channel *channel, uint64_t dev_eui, bool has_nwk, struct keyd_test_device *ret)
{
    *ret = (struct keyd_test_device){
        .dev_eui = eui_of(dev_eui), .join_eui = eui_of(0x70B3D57ED0000001), .has_nwk = has_nwk};
    ck_assert_int_eq(random_bytes(ret->app_clear.bytes, sizeof(ret->app_clear.bytes)), 0);
    ck_assert_int_eq(random_bytes(ret->nwk_clear.bytes, sizeof(ret->nwk_clear.bytes)), 0);
    keyd_test_seal(channel, ret);
}

void keyd_test_seal(struct keyd_channel *channel, struct keyd_test_device *ret)
{
    const bool has_nwk = ret->has_nwk;
    struct keyd_adopt_request requests[2];
    struct keyd_adopt_reply replies[2];

    requests[0] = (struct keyd_adopt_request){.dev_eui = ret->dev_eui,
        .join_eui = ret->join_eui,
        .slot = KEY_SLOT_APP,
        .key = ret->app_clear};
    requests[1] = (struct keyd_adopt_request){.dev_eui = ret->dev_eui,
        .join_eui = ret->join_eui,
        .slot = KEY_SLOT_NWK,
        .key = ret->nwk_clear};
    ck_assert_msg(keyd_adopt_device_keys(channel, NULL, 0, requests, has_nwk ? 2 : 1, replies,
                      keyd_test_deadline()) == 0,
        "%s", error_text());
    for (size_t i = 0; i < (has_nwk ? 2 : 1); i++) {
        static const uint8_t zeros[16];
        uint8_t mac[16];

        ck_assert_int_eq(replies[i].status, KEYD_OK);
        ck_assert_int_eq(aes_cmac(&requests[i].key, zeros, sizeof(zeros), mac), 0);
        ck_assert_mem_eq(replies[i].kcv, mac, KEYD_KCV_LEN);
    }
    ret->app = replies[0].sealed;
    if (has_nwk)
        ret->nwk = replies[1].sealed;
}

int keyd_test_hash_codes(struct keyd_channel *channel, const struct keyd_claim_code *codes,
    size_t n, uint8_t (*ret)[KEYD_HASH_LEN])
{
    struct keyd_code_hash hashes[KEYD_BATCH_MAX];
    int r = keyd_hash_claim_codes(channel, codes, n, hashes, keyd_test_deadline());

    for (size_t i = 0; r == 0 && i < n; i++)
        memcpy(ret[i], hashes[i].hash, KEYD_HASH_LEN);
    return r;
}

struct keyd_claim_code keyd_test_code(
    const struct eui64 *dev_eui, uint32_t generation, const char *code)
{
    struct keyd_claim_code ret = {
        .dev_eui = *dev_eui, .generation = generation, .code_len = (uint8_t)strlen(code)};

    ck_assert_uint_le(strlen(code), sizeof(ret.code));
    memcpy(ret.code, code, ret.code_len);
    return ret;
}

void keyd_test_oaep(const uint8_t *key, size_t len, uint8_t out[static KEYD_OAEP_LEN])
{
    FILE *f = fopen(keyd_test_hsm.exchange_pem, "re");
    EVP_PKEY *pkey;
    EVP_PKEY_CTX *ctx;
    size_t out_len = KEYD_OAEP_LEN;

    ck_assert_ptr_nonnull(f);
    pkey = PEM_read_PUBKEY(f, NULL, NULL, NULL);
    (void)fclose(f);
    ck_assert_ptr_nonnull(pkey);
    ctx = EVP_PKEY_CTX_new(pkey, NULL);
    ck_assert_int_eq(EVP_PKEY_encrypt_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_encrypt(ctx, out, &out_len, key, len), 1);
    ck_assert_uint_eq(out_len, KEYD_OAEP_LEN);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(pkey);
}

void keyd_test_adopt_kek(
    struct keyd_channel *channel, const uint8_t *clear, size_t len, struct sealed_kek *kek)
{
    uint8_t oaep[KEYD_OAEP_LEN], kcv[KEYD_KCV_LEN];
    enum keyd_status status = KEYD_HSM_FAILED;

    keyd_test_oaep(clear, len, oaep);
    ck_assert_msg(
        keyd_adopt_kek(channel, oaep, (unsigned)len, kek, kcv, &status, keyd_test_deadline()) == 0,
        "%s", error_text());
    ck_assert_int_eq(status, KEYD_OK);
    ck_assert_uint_eq(kek->key.blob_len, len + 8);
}

void keyd_test_peers(struct keyd_channel *channel, struct keyd_test_peers *ret)
{
    static const struct sealed_kek names[2] = {
        {.peer_kind = PEER_NETWORK_SERVER,
            .peer_id = "000013",
            .kek_class = KEK_CLASS_NS,
            .label = "ns-000013"},
        {.peer_kind = PEER_APPLICATION_SERVER,
            .peer_id = "demo-as",
            .kek_class = KEK_CLASS_AS,
            .label = "as-demo"},
    };

    *ret = (struct keyd_test_peers){.clear_len = {16, 32}};
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(random_bytes(ret->clear[i], ret->clear_len[i]), 0);
        ret->sealed[i] = names[i];
        keyd_test_adopt_kek(channel, ret->clear[i], ret->clear_len[i], &ret->sealed[i]);
        ret->list[i] = &ret->sealed[i];
    }
}

/* --- the device's side, in clear -------------------------------------------------------------- */

static const struct secret_key *mic_root(const struct keyd_test_device *device)
{
    return device->has_nwk ? &device->nwk_clear : &device->app_clear;
}

void keyd_test_request(const struct keyd_test_device *device, uint16_t dev_nonce, bool opt_neg,
    bool cf_list, struct keyd_join_request *ret)
{
    struct lw_join_request frame = {
        .join_eui = device->join_eui, .dev_eui = device->dev_eui, .dev_nonce = dev_nonce};
    uint8_t mac[16];

    *ret = (struct keyd_join_request){
        .dev_eui = device->dev_eui,
        .join_eui = device->join_eui,
        .app = device->app,
        .has_nwk = device->has_nwk,
        .nwk = device->nwk,
        .plan = true,
        .accept = {.join_nonce = 0x010203u + dev_nonce,
            .net_id = {{0x00, 0x00, 0x13}},
            .dev_addr = {{0x26, 0x01, 0x02, 0x03}},
            .dl_settings = (uint8_t)((opt_neg ? LW_OPT_NEG : 0) | 0x12),
            .rx_delay = 1,
            .has_cf_list = cf_list},
        .ns_kek = 0,
        .as_kek = 1,
    };
    if (cf_list)
        memset(ret->accept.cf_list, 0x5A, sizeof(ret->accept.cf_list));
    lw_join_request_build(&frame, ret->frame);
    ret->frame_len = LW_JOIN_REQUEST_LEN;
    ck_assert_int_eq(aes_cmac(mic_root(device), ret->frame, LW_JOIN_REQUEST_MIC_INPUT_LEN, mac), 0);
    memcpy(ret->frame + LW_JOIN_REQUEST_MIC_INPUT_LEN, mac, LW_MIC_LEN);
}

static struct secret_key lifetime_key(
    const struct keyd_test_device *device, const uint8_t block[static LW_BLOCK_LEN])
{
    struct secret_key key;

    ck_assert_int_eq(aes_ecb_encrypt(&device->nwk_clear, block, LW_BLOCK_LEN, key.bytes), 0);
    return key;
}

static struct secret_key js_int_key(const struct keyd_test_device *device)
{
    uint8_t block[LW_BLOCK_LEN];

    lw_block_js_int_key(&device->dev_eui, block);
    return lifetime_key(device, block);
}

static struct secret_key js_enc_key(const struct keyd_test_device *device)
{
    uint8_t block[LW_BLOCK_LEN];

    lw_block_js_enc_key(&device->dev_eui, block);
    return lifetime_key(device, block);
}

void keyd_test_session_key(const struct keyd_test_device *device, enum lw_session_key key,
    uint32_t join_nonce, uint16_t nonce, uint8_t out[static AES_KEY_LEN])
{
    uint8_t block[LW_BLOCK_LEN];

    lw_block_session_1_1(key, join_nonce, &device->join_eui, nonce, block);
    ck_assert_int_eq(aes_ecb_encrypt(key == LW_KEY_APP_S ? &device->app_clear : &device->nwk_clear,
                         block, sizeof(block), out),
        0);
}

void keyd_test_rejoin(const struct keyd_test_device *device, enum lw_join_type type,
    uint16_t rj_count, const struct keyd_session *session, struct keyd_join_request *ret)
{
    struct lw_rejoin_request frame = {
        .type = type, .dev_eui = device->dev_eui, .rj_count = rj_count};
    struct secret_key mic_key = js_int_key(device);
    uint8_t mac[16];

    keyd_test_request(device, 0, true, type != LW_REJOIN_2, ret);
    memset(ret->frame, 0, sizeof(ret->frame));
    if (type == LW_REJOIN_1) {
        frame.join_eui = device->join_eui;
    } else {
        frame.net_id = ret->accept.net_id;
        ret->sessions[0] = *session;
        keyd_test_session_key(
            device, LW_KEY_S_NWK_S_INT, session->join_nonce, session->nonce, mic_key.bytes);
    }
    ret->frame_len = (uint8_t)lw_rejoin_request_build(&frame, ret->frame);
    ck_assert_int_eq(aes_cmac(&mic_key, ret->frame, ret->frame_len - LW_MIC_LEN, mac), 0);
    memcpy(ret->frame + ret->frame_len - LW_MIC_LEN, mac, LW_MIC_LEN);
}

/* Which frame it is, and its DevNonce or RJcount. */
static enum lw_join_type read_frame(const struct keyd_join_request *request, uint16_t *ret_nonce)
{
    struct lw_join_request join;
    struct lw_rejoin_request rejoin;

    if (lw_join_request_parse(request->frame, request->frame_len, &join) == LW_FRAME_OK) {
        *ret_nonce = join.dev_nonce;
        return LW_JOIN;
    }
    ck_assert_int_eq(
        lw_rejoin_request_parse(request->frame, request->frame_len, &rejoin), LW_FRAME_OK);
    *ret_nonce = rejoin.rj_count;
    return rejoin.type;
}

static void check_envelope(const struct keyd_test_peers *peers, size_t peer, uint8_t asked,
    const uint8_t expected[static AES_KEY_LEN], const struct keyd_envelope *envelope)
{
    uint8_t opened[AES_KEY_LEN];

    if (asked == KEYD_PLAIN) {
        ck_assert_uint_eq(envelope->len, AES_KEY_LEN);
        ck_assert_mem_eq(envelope->bytes, expected, AES_KEY_LEN);
        return;
    }
    ck_assert_uint_eq(envelope->len, KEYD_WRAPPED_LEN);
    ck_assert_int_eq(aes_unwrap(peers->clear[peer], peers->clear_len[peer], envelope->bytes,
                         sizeof(envelope->bytes), opened),
        0);
    ck_assert_mem_eq(opened, expected, AES_KEY_LEN);
}

static void check_accept(const struct keyd_test_device *device,
    const struct keyd_join_request *request, const struct keyd_join_reply *reply)
{
    const size_t len = request->accept.has_cf_list ? 33 : 17;
    uint8_t plain[LW_JOIN_ACCEPT_MAX], input[LW_ACCEPT_MIC_INPUT_MAX], mac[16];
    uint16_t nonce = 0;
    const enum lw_join_type type = read_frame(request, &nonce);
    const struct secret_key enc_key = type == LW_JOIN ? *mic_root(device) : js_enc_key(device);
    const struct secret_key mic_key = reply->opt_neg ? js_int_key(device) : *mic_root(device);
    struct lw_join_accept parsed;
    size_t input_len = 0;

    ck_assert_uint_eq(reply->phy_payload_len, len);
    ck_assert_uint_eq(reply->phy_payload[0], LW_MHDR_JOIN_ACCEPT);
    plain[0] = reply->phy_payload[0];
    ck_assert_int_eq(aes_ecb_encrypt(&enc_key, reply->phy_payload + 1, len - 1, plain + 1), 0);
    ck_assert_int_eq(lw_join_accept_parse(plain, len - LW_MIC_LEN, &parsed), LW_FRAME_OK);
    ck_assert_uint_eq(parsed.join_nonce, request->accept.join_nonce);
    ck_assert_mem_eq(&parsed.dev_addr, &request->accept.dev_addr, sizeof(parsed.dev_addr));
    ck_assert_uint_eq(parsed.dl_settings, request->accept.dl_settings);
    ck_assert_int_eq(
        lw_accept_mic_input(&request->accept, type, &device->join_eui, nonce, input, &input_len),
        0);
    ck_assert_int_eq(aes_cmac(&mic_key, input, input_len, mac), 0);
    ck_assert_mem_eq(mac, plain + len - LW_MIC_LEN, LW_MIC_LEN);
}

static void check_keys_1_0(const struct keyd_test_device *device,
    const struct keyd_test_peers *peers, const struct keyd_join_request *request, uint16_t nonce,
    const struct keyd_join_reply *reply)
{
    const struct lw_join_accept *a = &request->accept;
    uint8_t block[LW_BLOCK_LEN], key[AES_KEY_LEN];

    lw_block_session_1_0(LW_KEY_F_NWK_S_INT, a->join_nonce, &a->net_id, nonce, block);
    ck_assert_int_eq(aes_ecb_encrypt(mic_root(device), block, sizeof(block), key), 0);
    check_envelope(peers, 0, request->ns_kek, key, &reply->nwk_s_key);
    lw_block_session_1_0(LW_KEY_APP_S, a->join_nonce, &a->net_id, nonce, block);
    ck_assert_int_eq(aes_ecb_encrypt(mic_root(device), block, sizeof(block), key), 0);
    check_envelope(peers, 1, request->as_kek, key, &reply->app_s_key);
}

void keyd_test_check(const struct keyd_test_device *device, const struct keyd_test_peers *peers,
    const struct keyd_join_request *request, const struct keyd_join_reply *reply)
{
    const struct {
        enum lw_session_key key;
        size_t peer;
        const struct keyd_envelope *envelope;
    } rows[] = {
        {LW_KEY_F_NWK_S_INT, 0, &reply->f_nwk_s_int_key},
        {LW_KEY_S_NWK_S_INT, 0, &reply->s_nwk_s_int_key},
        {LW_KEY_NWK_S_ENC, 0, &reply->nwk_s_enc_key},
        {LW_KEY_APP_S, 1, &reply->app_s_key},
    };
    uint16_t nonce = 0;

    ck_assert_int_eq(reply->status, KEYD_OK);
    ck_assert_int_eq(reply->opt_neg, (request->accept.dl_settings & LW_OPT_NEG) != 0);
    check_accept(device, request, reply);
    (void)read_frame(request, &nonce);
    if (!reply->opt_neg) {
        check_keys_1_0(device, peers, request, nonce, reply);
        ck_assert_uint_eq(reply->f_nwk_s_int_key.len, 0);
        return;
    }
    ck_assert_uint_eq(reply->nwk_s_key.len, 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t key[AES_KEY_LEN];

        keyd_test_session_key(device, rows[i].key, request->accept.join_nonce, nonce, key);
        check_envelope(peers, rows[i].peer, rows[i].peer == 0 ? request->ns_kek : request->as_kek,
            key, rows[i].envelope);
    }
}

static int parent_of(const char *pid)
{
    char path[64], line[512];
    const char *after;
    FILE *f;
    int parent = 0;

    (void)snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    f = fopen(path, "re");
    if (f == NULL)
        return 0; /* it has just ended */
    after = fgets(line, sizeof(line), f) != NULL ? strrchr(line, ')') : NULL;
    if (after == NULL || sscanf(after, ") %*c %d", &parent) != 1)
        parent = 0;
    (void)fclose(f);
    return parent;
}

unsigned keyd_test_children(void)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    unsigned n = 0;

    ck_assert_ptr_nonnull(proc);
    while ((entry = readdir(proc)) != NULL) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            parent_of(entry->d_name) == (int)getpid())
            n++;
    }
    (void)closedir(proc);
    return n;
}
