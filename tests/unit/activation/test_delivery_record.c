#include "activation/delivery_record.h"

#include "base/aes.h"
#include "tests/support/suite.h"
#include <string.h>

static const uint8_t key[GCM_KEY_LEN] = {1}, iv[GCM_IV_LEN] = {2};
static const uint8_t batch[DELIVERY_BATCH_ID_LEN] = {3};

static const struct delivery_shape shapes[] = {
    {.mac_version = LW_MAC_1_0_4},
    {.mac_version = LW_MAC_1_1, .has_nwk = true},
    {.mac_version = LW_MAC_1_0_3, .is_legacy = true},
    {.mac_version = LW_MAC_1_1, .has_nwk = true, .is_legacy = true},
    {.is_sigfox = true},
    {.is_sigfox = true, .is_legacy = true},
};
#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))
static const size_t keys_lens[N_SHAPES] = {24, 48, 48, 48, 24, 32};

static struct delivery_record record_of(const struct delivery_shape *shape, struct gcm *gcm)
{
    struct delivery_secret secret = {.code = "0123456789ABCDEF"};
    struct delivery_record record = {.line = 7,
        .dev_eui = {{0, 0, 0, 0, 1, 2, 3, 4}},
        .app_kcv = {5, 6, 7},
        .nwk_kcv = {8, 9, 10}};

    if (!shape->has_nwk)
        memset(record.nwk_kcv, 0, sizeof(record.nwk_kcv));
    memset(secret.keys, 0xA5, delivery_keys_len(shape));
    ck_assert_int_eq(delivery_seal(gcm, batch, shape, &secret, iv, &record), 0);
    return record;
}

START_TEST(what_is_sealed_and_stored_is_read_and_opened_again)
{
    const struct delivery_shape *shape = &shapes[_i];
    CLEANUP(gcm_freep) struct gcm *gcm = NULL;
    uint8_t bytes[DELIVERY_RECORD_MAX];
    struct delivery_record record, again;
    struct delivery_secret secret;

    ck_assert_int_eq(gcm_new(key, &gcm), 0);
    record = record_of(shape, gcm);
    ck_assert_uint_eq(delivery_keys_len(shape), keys_lens[_i]);
    delivery_record_write(shape, &record, bytes);
    delivery_record_read(shape, bytes, &again);
    ck_assert_mem_eq(&again, &record, sizeof(record));
    ck_assert_int_eq(delivery_open(gcm, batch, shape, &again, &secret), 0);
    ck_assert_str_eq(secret.code, "0123456789ABCDEF");
    for (size_t i = 0; i < DELIVERY_KEYS_MAX; i++)
        ck_assert_uint_eq(secret.keys[i], i < delivery_keys_len(shape) ? 0xA5 : 0);
}
END_TEST

START_TEST(a_record_of_another_device_line_or_batch_does_not_open)
{
    const struct delivery_shape *shape = &shapes[0];
    CLEANUP(gcm_freep) struct gcm *gcm = NULL;
    uint8_t other[DELIVERY_BATCH_ID_LEN] = {4};
    struct delivery_record record, moved;
    struct delivery_secret secret;

    ck_assert_int_eq(gcm_new(key, &gcm), 0);
    record = record_of(shape, gcm);
    ck_assert_int_eq(delivery_open(gcm, other, shape, &record, &secret), 1);
    moved = record;
    moved.line++;
    ck_assert_int_eq(delivery_open(gcm, batch, shape, &moved, &secret), 1);
    moved = record;
    moved.dev_eui.bytes[7] ^= 1;
    ck_assert_int_eq(delivery_open(gcm, batch, shape, &moved, &secret), 1);
    for (size_t i = 0; i < delivery_sealed_len(shape); i++) {
        moved = record;
        moved.sealed[i] ^= 1;
        ck_assert_int_eq(delivery_open(gcm, batch, shape, &moved, &secret), 1);
    }
}
END_TEST

START_TEST(a_line_says_what_anybody_may_see)
{
    CLEANUP(gcm_freep) struct gcm *gcm = NULL;
    CLEANUP(text_done) struct text line = {0};
    struct delivery_record record;

    ck_assert_int_eq(gcm_new(key, &gcm), 0);
    record = record_of(&shapes[1], gcm);
    record.dev_eui = (struct eui64){{0x20, 0x63, 0x5f, 0, 1, 2, 3, 4}};
    delivery_line_write(&shapes[1], &record, &line);
    ck_assert(strstr(line.data,
                  "{\"line\":7,\"dev_eui\":\"20635f0001020304\","
                  "\"join_eui\":\"0000000000000000\",\"mac_version\":\"1.1\","
                  "\"app_kcv\":\"050607\",\"nwk_kcv\":\"08090a\",\"sealed\":\"") == line.data);
    text_clear(&line);
    record = record_of(&shapes[4], gcm);
    delivery_line_write(&shapes[4], &record, &line);
    ck_assert(
        strstr(line.data, "{\"line\":7,\"dev_eui\":\"sigfox:01020304\",\"app_kcv\":\"050607\","
                          "\"sealed\":\"") == line.data);
}
END_TEST

START_TEST(the_digest_goes_on_from_any_line)
{
    static const char one[] = "{\"line\":1}\n", two[] = "{\"line\":2}\n";
    uint8_t digest[DELIVERY_DIGEST_LEN] = {0}, input[DELIVERY_DIGEST_LEN + sizeof(two) - 1];
    uint8_t want[DELIVERY_DIGEST_LEN];

    delivery_digest_add(digest, one, sizeof(one) - 1);
    memset(input, 0, DELIVERY_DIGEST_LEN);
    memcpy(input + DELIVERY_DIGEST_LEN, one, sizeof(one) - 1);
    digest_sha256(input, sizeof(input), want);
    ck_assert_mem_eq(digest, want, sizeof(want));
    delivery_digest_add(digest, two, sizeof(two) - 1);
    memcpy(input, want, sizeof(want));
    memcpy(input + DELIVERY_DIGEST_LEN, two, sizeof(two) - 1);
    digest_sha256(input, sizeof(input), want);
    ck_assert_mem_eq(digest, want, sizeof(want));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("activation delivery_record");
    TCase *tcase = tcase_create("activation delivery_record");
    SRunner *runner = srunner_create(suite);
    int n_failed;

    tcase_add_loop_test(
        tcase, what_is_sealed_and_stored_is_read_and_opened_again, 0, (int)N_SHAPES);
    tcase_add_test(tcase, a_record_of_another_device_line_or_batch_does_not_open);
    tcase_add_test(tcase, a_line_says_what_anybody_may_see);
    tcase_add_test(tcase, the_digest_goes_on_from_any_line);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
