/* The simulated device against the device stack of another maker (V056, V058, V059) and against
 * another join server's published exchanges (V060, V061); its rejoins against that stack too (V055,
 * V057); then every way an answer can be wrong. */
#include "base/aes.h"
#include "base/error.h"
#include "base/hex.h"
#include "cli/device_json.h"

#include <check.h>
#include <jansson.h>
#include <string.h>

static json_t *document;

static const json_t *vector(const char *id, const char *part)
{
    const json_t *one;
    size_t i;

    json_array_foreach(json_object_get(document, "vectors"), i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "id")), id) == 0)
            return json_object_get(one, part);
    }
    ck_abort_msg("no vector %s", id);
}

static void read_hex(const json_t *object, const char *name, void *out, size_t len)
{
    const char *text = json_string_value(json_object_get(object, name));

    ck_assert_msg(text != NULL && hex_decode(text, strlen(text), out, len), "%s", name);
}

/* All vectors here are of one device. */
static struct simdev device_of_vectors(enum lw_mac_version version)
{
    const json_t *in = vector("V056", "inputs");
    struct simdev device = {.mac_version = version};

    read_hex(in, "dev_eui", device.dev_eui.bytes, 8);
    read_hex(in, "join_eui", device.join_eui.bytes, 8);
    read_hex(in, "nwk_key", device.nwk_key.bytes, 16);
    /* Its single key when it is one of 1.0.x. */
    read_hex(in, version == LW_MAC_1_1 ? "app_key" : "nwk_key", device.app_key.bytes, 16);
    return device;
}

static const uint16_t dev_nonce = 258;

static struct simdev_network network_of(const json_t *request)
{
    struct simdev_network network = {.has_cf_list = true};

    read_hex(request, "SenderID", network.net_id.bytes, 3);
    read_hex(request, "DevAddr", network.dev_addr.bytes, 4);
    read_hex(request, "DLSettings", &network.dl_settings, 1);
    network.rx_delay = (uint8_t)json_integer_value(json_object_get(request, "RxDelay"));
    read_hex(request, "CFList", network.cf_list, LW_CF_LIST_LEN);
    return network;
}

static int parse_answer(const json_t *json, const struct simdev *device,
    const struct simdev_network *network, struct simdev_answer *ret)
{
    char *body = json_dumps(json, JSON_COMPACT);
    int r = simdev_answer_parse(body, strlen(body), device, network, 1234, ret);

    free(body);
    return r;
}

/* A device, its network and the right answer: V061, or V060 for a 1.0.2 device. */
struct exchange {
    struct simdev device;
    struct simdev_network network;
    struct simdev_answer answer;
    struct simdev_result result;
};

static struct exchange exchange_of(const char *id)
{
    bool is_1_1 = strcmp(id, "V061") == 0;
    struct exchange x = {.device = device_of_vectors(is_1_1 ? LW_MAC_1_1 : LW_MAC_1_0_2)};

    x.network = network_of(json_object_get(vector(id, "inputs"), "request"));
    ck_assert_int_eq(parse_answer(json_object_get(vector(id, "expected"), "answer"), &x.device,
                         &x.network, &x.answer),
        0);
    return x;
}

static int check(struct exchange *x)
{
    return simdev_answer_check(&x->device, &x->network, dev_nonce, &x->answer, &x->result);
}

static void wrap_key(struct simdev_envelope *envelope, struct simdev_key_ring *ring,
    const char *label, size_t kek_len)
{
    struct simdev_kek *kek = &ring->keks[0];
    uint8_t clear[AES_KEY_LEN];

    ring->n_keks = 1;
    kek->len = kek_len;
    memset(kek->bytes, 0x42, kek_len);
    (void)snprintf(kek->label, sizeof(kek->label), "%s", label);
    memcpy(clear, envelope->aes_key, sizeof(clear));
    ck_assert_int_eq(aes_wrap(kek->bytes, kek_len, clear, sizeof(clear), envelope->aes_key), 0);
    envelope->aes_key_len = SIMDEV_WRAPPED_KEY_LEN;
    (void)snprintf(envelope->kek_label, sizeof(envelope->kek_label), "%s", label);
}

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

START_TEST(device_of_1_1_on_a_1_0_network_derives_what_another_stack_derives)
{
    static const struct {
        const char *name;
        enum simdev_key key;
    } keys[] = {{"FNwkSIntKey", SIMDEV_F_NWK_S_INT}, {"SNwkSIntKey", SIMDEV_S_NWK_S_INT},
        {"NwkSEncKey", SIMDEV_NWK_S_ENC}, {"AppSKey", SIMDEV_APP_S}};
    struct simdev device = device_of_vectors(LW_MAC_1_1);
    struct simdev_network network = {.rx_delay = 0};
    struct simdev_answer answer = {.phy_payload_len = LW_JOIN_ACCEPT_MAX};
    struct simdev_result result;

    read_hex(vector("V056", "inputs"), "join_accept", answer.phy_payload, LW_JOIN_ACCEPT_MAX);
    ck_assert_int_ge(simdev_answer_check(&device, &network, dev_nonce, &answer, &result), 0);
    ck_assert(result.opened);
    ck_assert(!result.opt_neg);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        uint8_t expected[16];

        read_hex(vector("V056", "expected"), keys[i].name, expected, sizeof(expected));
        ck_assert_mem_eq(result.keys[keys[i].key].bytes, expected, sizeof(expected));
    }
}
END_TEST

START_TEST(join_request_is_the_published_frame)
{
    static const char *const ids[] = {"V060", "V061"};

    for (size_t i = 0; i < 2; i++) {
        struct exchange x = exchange_of(ids[i]);
        uint8_t frame[LW_JOIN_REQUEST_LEN], expected[LW_JOIN_REQUEST_LEN];

        read_hex(json_object_get(vector(ids[i], "inputs"), "request"), "PHYPayload", expected,
            sizeof(expected));
        ck_assert_int_eq(simdev_request_build(&x.device, dev_nonce, frame), 0);
        ck_assert_mem_eq(frame, expected, sizeof(frame));
    }
}
END_TEST

START_TEST(join_request_json_has_every_field_of_the_published_one)
{
    struct exchange x = exchange_of("V061");
    const json_t *published = json_object_get(vector("V061", "inputs"), "request");
    uint8_t frame[LW_JOIN_REQUEST_LEN];
    struct text text = {.data = NULL};
    const char *name;
    json_t *value;

    ck_assert_int_eq(simdev_request_build(&x.device, dev_nonce, frame), 0);
    simdev_request_json(&text, &x.device, &x.network, frame, sizeof(frame), 1234);
    json_t *ours = json_loads(text.data, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(ours);
    ck_assert_uint_eq(json_object_size(ours), json_object_size(published));
    /* "1.1" and "1.1.0" are one version. */
    json_object_set_new(ours, "MACVersion", json_string("1.1.0"));
    json_object_foreach(ours, name, value)
        ck_assert_msg(json_equal(value, json_object_get(published, name)), "%s", name);
    json_decref(ours);
    text_done(&text);
}
END_TEST

START_TEST(rejoin_request_is_the_frame_of_another_stack)
{
    static const struct {
        enum lw_join_type type;
        const char *name;
        uint32_t session_join_nonce; /* of the accept before */
        uint16_t session_nonce;
        size_t len;
    } steps[] = {{LW_REJOIN_0, "rejoin0", 65536, 258, LW_REJOIN_LEN_0_2},
        {LW_REJOIN_2, "rejoin2", 65537, 1, LW_REJOIN_LEN_0_2},
        {LW_REJOIN_1, "rejoin1", 0, 0, LW_REJOIN_LEN_1}};
    struct simdev_network network = {.rx_delay = 1};

    read_hex(vector("V057", "inputs"), "net_id", network.net_id.bytes, 3);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct simdev device = device_of_vectors(LW_MAC_1_1);
        uint8_t frame[SIMDEV_FRAME_MAX], expected[SIMDEV_FRAME_MAX];
        size_t len = 0;

        device.rejoins = true;
        device.rejoin_type = steps[i].type;
        device.session_join_nonce = steps[i].session_join_nonce;
        device.session_nonce = steps[i].session_nonce;
        ck_assert_int_eq(simdev_frame_build(&device, &network, 1, frame, &len), 0);
        ck_assert_uint_eq(len, steps[i].len);
        read_hex(vector("V057", "expected"), steps[i].name, expected, len);
        ck_assert_mem_eq(frame, expected, len);
    }
}
END_TEST

START_TEST(accept_of_a_rejoin_opens_with_its_own_type_and_count_only)
{
    static const char *const names[] = {"type0", "type1", "type2"};
    static const size_t lens[] = {LW_JOIN_ACCEPT_MAX, LW_JOIN_ACCEPT_MAX, LW_JOIN_ACCEPT_MIN};
    uint8_t app_s_key[AES_KEY_LEN];
    struct simdev_network network = {.rx_delay = 1};

    read_hex(vector("V054", "expected"), "app_s_key", app_s_key, sizeof(app_s_key));
    for (unsigned type = 0; type < 3; type++) {
        struct simdev device = device_of_vectors(LW_MAC_1_1);
        struct simdev_answer answer = {.phy_payload_len = lens[type]};
        struct simdev_result result;

        device.rejoins = true;
        device.rejoin_type = (enum lw_join_type)type;
        read_hex(json_object_get(vector("V055", "expected"), names[type]), "phy_payload_encrypted",
            answer.phy_payload, lens[type]);
        ck_assert_int_ge(simdev_answer_check(&device, &network, 123, &answer, &result), 0);
        ck_assert(result.opened);
        ck_assert_mem_eq(result.keys[SIMDEV_APP_S].bytes, app_s_key, sizeof(app_s_key));
        ck_assert_int_eq(
            simdev_answer_check(&device, &network, 124, &answer, &result), SIMDEV_BAD_MIC);
        device.rejoin_type = (enum lw_join_type)((type + 1) % 3);
        ck_assert_int_eq(
            simdev_answer_check(&device, &network, 123, &answer, &result), SIMDEV_BAD_MIC);
        device.rejoins = false;
        ck_assert_int_gt(simdev_answer_check(&device, &network, 123, &answer, &result), 0);
        ck_assert(!result.opened);
    }
}
END_TEST

START_TEST(published_answers_agree)
{
    struct exchange x = exchange_of("V060");
    ck_assert_int_eq(check(&x), SIMDEV_AGREE);
    ck_assert(!x.result.opt_neg);
    ck_assert_uint_eq(x.result.accept.join_nonce, 65536);

    x = exchange_of("V061");
    ck_assert_int_eq(check(&x), SIMDEV_AGREE);
    ck_assert(x.result.opt_neg);
}
END_TEST

START_TEST(join_nonce_not_above_the_last_is_refused)
{
    struct exchange x = exchange_of("V061");
    uint8_t nonce_0[17];

    read_hex(vector("V058", "inputs"), "join_accept", x.answer.phy_payload, LW_JOIN_ACCEPT_MAX);
    x.device.last_join_nonce = 65535;
    ck_assert_int_eq(check(&x), SIMDEV_AGREE);
    x.device.last_join_nonce = 65536;
    ck_assert_int_eq(check(&x), SIMDEV_OLD_JOIN_NONCE);

    read_hex(vector("V059", "inputs"), "join_accept", nonce_0, sizeof(nonce_0));
    memcpy(x.answer.phy_payload, nonce_0, sizeof(nonce_0));
    x.answer.phy_payload_len = sizeof(nonce_0);
    x.device.last_join_nonce = 0;
    ck_assert_int_eq(check(&x), SIMDEV_OLD_JOIN_NONCE);
}
END_TEST

START_TEST(any_flipped_bit_of_the_accept_is_noticed)
{
    static const char *const ids[] = {"V060", "V061"};

    for (size_t i = 0; i < 2; i++) {
        for (size_t bit = 0; bit < 8 * (size_t)LW_JOIN_ACCEPT_MAX; bit++) {
            struct exchange x = exchange_of(ids[i]);

            x.answer.phy_payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
            int verdict = check(&x);
            ck_assert_msg(verdict == (bit < 8 ? SIMDEV_BAD_FRAME : SIMDEV_BAD_MIC), "bit %zu: %s",
                bit, simdev_verdict_text((enum simdev_verdict)verdict));
        }
    }
}
END_TEST

START_TEST(accept_for_another_dev_nonce_has_a_wrong_mic_at_optneg_1)
{
    struct exchange x = exchange_of("V061");

    ck_assert_int_eq(
        simdev_answer_check(&x.device, &x.network, dev_nonce + 1, &x.answer, &x.result),
        SIMDEV_BAD_MIC);
    ck_assert(!x.result.opened);
}
END_TEST

START_TEST(accept_for_another_dev_nonce_gives_other_keys_at_optneg_0)
{
    struct exchange x = exchange_of("V060");

    ck_assert_int_eq(
        simdev_answer_check(&x.device, &x.network, dev_nonce + 1, &x.answer, &x.result),
        SIMDEV_KEY_DIFFERS);
}
END_TEST

START_TEST(accept_that_is_not_what_the_network_asked_for_is_noticed)
{
    for (unsigned field = 0; field < 5; field++) {
        struct exchange x = exchange_of("V061");

        switch (field) {
        case 0:
            x.network.net_id.bytes[0] ^= 1;
            break;
        case 1:
            x.network.dev_addr.bytes[3] ^= 1;
            break;
        case 2:
            x.network.dl_settings ^= 1;
            break;
        case 3:
            x.network.rx_delay ^= 1;
            break;
        default:
            x.network.cf_list[15] ^= 1;
            break;
        }
        ck_assert_msg(check(&x) == SIMDEV_FIELDS_DIFFER, "field %u", field);
    }
}
END_TEST

START_TEST(keys_wrapped_under_a_kek_of_any_size_agree)
{
    static const size_t sizes[] = {16, 24, 32};

    for (size_t i = 0; i < 3; i++) {
        struct exchange x = exchange_of("V061");

        for (enum simdev_key k = SIMDEV_F_NWK_S_INT; k <= SIMDEV_NWK_S_ENC; k++)
            wrap_key(&x.answer.keys[k], &x.network.ns, "ns:000013", sizes[i]);
        wrap_key(&x.answer.keys[SIMDEV_APP_S], &x.network.as, "as", sizes[2 - i]);
        ck_assert_int_eq(check(&x), SIMDEV_AGREE);
    }
}
END_TEST

START_TEST(each_wrong_envelope_has_its_own_verdict)
{
    static const enum simdev_verdict verdicts[] = {SIMDEV_KEY_DIFFERS, SIMDEV_KEY_MISSING,
        SIMDEV_KEY_SURPLUS, SIMDEV_KEY_IN_CLEAR, SIMDEV_KEY_LENGTH, SIMDEV_KEK_UNKNOWN,
        SIMDEV_KEK_REFUSED};

    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        struct exchange x = exchange_of("V061");
        struct simdev_envelope *app = &x.answer.keys[SIMDEV_APP_S];
        enum simdev_key fault = SIMDEV_APP_S;

        switch (verdicts[i]) {
        case SIMDEV_KEY_DIFFERS:
            app->aes_key[15] ^= 1;
            break;
        case SIMDEV_KEY_MISSING:
            app->present = false;
            break;
        case SIMDEV_KEY_SURPLUS:
            fault = SIMDEV_NWK_S;
            x.answer.keys[fault] = x.answer.keys[SIMDEV_F_NWK_S_INT];
            break;
        case SIMDEV_KEY_IN_CLEAR:
            x.network.as.n_keks = 1;
            break;
        case SIMDEV_KEY_LENGTH:
            app->aes_key_len = SIMDEV_WRAPPED_KEY_LEN;
            break;
        case SIMDEV_KEK_UNKNOWN: /* the network server's KEK is none of the application server's */
            wrap_key(app, &x.network.ns, "label", 16);
            x.network.ns.n_keks = 0;
            break;
        default:
            wrap_key(app, &x.network.as, "label", 16);
            x.network.as.keks[0].bytes[0] ^= 1;
            break;
        }
        int verdict = check(&x);
        ck_assert_msg(verdict == (int)verdicts[i], "%s instead of %s",
            simdev_verdict_text((enum simdev_verdict)verdict), simdev_verdict_text(verdicts[i]));
        ck_assert_int_eq(x.result.fault_key, fault);
    }
}
END_TEST

START_TEST(an_answer_of_another_header_is_none)
{
    static const struct {
        const char *name;
        const char *value;
    } wrongs[] = {{"MessageType", "\"RejoinAns\""}, {"ProtocolVersion", "\"1.1\""},
        {"SenderID", "\"0807060504030202\""}, {"ReceiverID", "\"010204\""},
        {"TransactionID", "1235"}, {"TransactionID", "\"1234\""}, {"Result", "\"Success\""},
        {"Result", "{}"}, {"PHYPayload", "\"2\""}, {"PHYPayload", "null"}, {"AppSKey", "\"00\""},
        {"AppSKey", "{\"AESKey\":\"zz\"}"}, {"SessionKeyID", "7"}};

    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        struct exchange x = exchange_of("V061");
        json_t *json = json_deep_copy(json_object_get(vector("V061", "expected"), "answer"));
        json_t *value = json_loads(wrongs[i].value, JSON_DECODE_ANY, NULL);

        ck_assert_ptr_nonnull(value);
        json_object_set_new(json, wrongs[i].name, value);
        ck_assert_msg(parse_answer(json, &x.device, &x.network, &x.answer) == ERROR_INPUT, "%s %s",
            wrongs[i].name, wrongs[i].value);
        json_decref(json);
    }
}
END_TEST

START_TEST(text_that_is_no_json_object_is_no_answer)
{
    static const char *const bodies[] = {"", "[]", "null", "<html>", "{\"a\":1,\"a\":1}"};
    struct exchange x = exchange_of("V061");

    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        ck_assert_int_eq(simdev_answer_parse(
                             bodies[i], strlen(bodies[i]), &x.device, &x.network, 1234, &x.answer),
            ERROR_INPUT);
}
END_TEST

START_TEST(a_refusal_needs_no_more_than_header_and_result)
{
    static const char body[] =
        "{\"ProtocolVersion\":\"1.0\",\"MessageType\":\"JoinAns\",\"TransactionID\":1234,"
        "\"SenderID\":\"0807060504030201\",\"ReceiverID\":\"010203\","
        "\"Result\":{\"ResultCode\":\"MICFailed\",\"Description\":\"wrong MIC\"}}";
    struct exchange x = exchange_of("V061");

    ck_assert_int_eq(
        simdev_answer_parse(body, strlen(body), &x.device, &x.network, 1234, &x.answer), 0);
    ck_assert_str_eq(x.answer.result_code, "MICFailed");
    ck_assert_str_eq(x.answer.description, "wrong MIC");
}
END_TEST

START_TEST(every_verdict_has_its_own_text)
{
    for (int a = 0; a < SIMDEV_N_VERDICTS; a++) {
        for (int b = 0; b < a; b++)
            ck_assert_str_ne(simdev_verdict_text((enum simdev_verdict)a),
                simdev_verdict_text((enum simdev_verdict)b));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli-device_session");
    TCase *tc = tcase_create("rules");

    tcase_add_checked_fixture(tc, load, unload);
    tcase_add_test(tc, device_of_1_1_on_a_1_0_network_derives_what_another_stack_derives);
    tcase_add_test(tc, join_request_is_the_published_frame);
    tcase_add_test(tc, join_request_json_has_every_field_of_the_published_one);
    tcase_add_test(tc, rejoin_request_is_the_frame_of_another_stack);
    tcase_add_test(tc, accept_of_a_rejoin_opens_with_its_own_type_and_count_only);
    tcase_add_test(tc, published_answers_agree);
    tcase_add_test(tc, join_nonce_not_above_the_last_is_refused);
    tcase_add_test(tc, any_flipped_bit_of_the_accept_is_noticed);
    tcase_add_test(tc, accept_for_another_dev_nonce_has_a_wrong_mic_at_optneg_1);
    tcase_add_test(tc, accept_for_another_dev_nonce_gives_other_keys_at_optneg_0);
    tcase_add_test(tc, accept_that_is_not_what_the_network_asked_for_is_noticed);
    tcase_add_test(tc, keys_wrapped_under_a_kek_of_any_size_agree);
    tcase_add_test(tc, each_wrong_envelope_has_its_own_verdict);
    tcase_add_test(tc, an_answer_of_another_header_is_none);
    tcase_add_test(tc, text_that_is_no_json_object_is_no_answer);
    tcase_add_test(tc, a_refusal_needs_no_more_than_header_and_result);
    tcase_add_test(tc, every_verdict_has_its_own_text);
    suite_add_tcase(suite, tc);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
