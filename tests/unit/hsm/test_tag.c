/* The bytes a tag is over, written out by hand from the text of base/sealed.h. */
#include "hsm/tag.h"

#include "tests/support/suite.h"
#include <string.h>

START_TEST(a_device_keys_tag_is_over_type_and_prefixed_fields)
{
    static const uint8_t expected[] = {1, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 8, 9, 10, 11, 12, 13, 14,
        15, 16, 0, 1, 2, 0, 14, 's', 't', 'o', 'r', 'e', '-', 'd', 'e', 'v', 'i', 'c', 'e', '.',
        '1', 0, 24, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA,
        0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA};
    const struct eui64 dev_eui = {{1, 2, 3, 4, 5, 6, 7, 8}};
    const struct eui64 join_eui = {{9, 10, 11, 12, 13, 14, 15, 16}};
    struct sealed_key key = {.kek_label = "store-device.1", .blob_len = 24};
    uint8_t out[HSM_TAG_INPUT_MAX];

    memset(key.blob, 0xAA, 24);
    memset(key.tag, 0xFF, sizeof(key.tag)); /* not part of it */
    ck_assert_uint_eq(
        hsm_tag_input_device(&dev_eui, &join_eui, KEY_SLOT_NWK, &key, out), sizeof(expected));
    ck_assert_mem_eq(out, expected, sizeof(expected));
}
END_TEST

START_TEST(a_keks_tag_is_over_type_and_prefixed_fields)
{
    static const uint8_t expected[] = {2, 0, 1, 2, 0, 4, 'a', 's', '-', '1', 0, 1, 2, 0, 3, 'k',
        'e', 'k', 0, 11, 's', 't', 'o', 'r', 'e', '-', 'k', 'e', 'k', '.', '7', 0, 24, 0xBB, 0xBB,
        0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB,
        0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB, 0xBB};
    struct sealed_kek kek = {.peer_kind = PEER_APPLICATION_SERVER,
        .peer_id = "as-1",
        .kek_class = KEK_CLASS_AS,
        .label = "kek",
        .key = {.kek_label = "store-kek.7", .blob_len = 24}};
    uint8_t out[HSM_TAG_INPUT_MAX];

    memset(kek.key.blob, 0xBB, 24);
    ck_assert_uint_eq(hsm_tag_input_kek(&kek, out), sizeof(expected));
    ck_assert_mem_eq(out, expected, sizeof(expected));
}
END_TEST

START_TEST(the_fingerprint_key_is_made_of_type_and_name)
{
    static const uint8_t expected[] = {
        3, 0, 11, 'f', 'i', 'n', 'g', 'e', 'r', 'p', 'r', 'i', 'n', 't'};
    uint8_t out[HSM_TAG_INPUT_MAX];

    ck_assert_uint_eq(hsm_tag_input_fingerprint_key(out), sizeof(expected));
    ck_assert_mem_eq(out, expected, sizeof(expected));
}
END_TEST

START_TEST(the_longest_fields_fit)
{
    struct sealed_kek kek = {.peer_kind = PEER_ORGANIZATION,
        .kek_class = KEK_CLASS_TRANSPORT,
        .key = {.blob_len = SEALED_BLOB_MAX}};
    uint8_t out[HSM_TAG_INPUT_MAX];

    memset(kek.peer_id, 'p', PEER_ID_MAX);
    memset(kek.label, 'l', KEK_LABEL_MAX);
    memset(kek.key.kek_label, 's', SEALED_LABEL_MAX);
    ck_assert_uint_eq(hsm_tag_input_kek(&kek, out), 1 + 3 + 2 + PEER_ID_MAX + 3 + 2 +
                                                        KEK_LABEL_MAX + 2 + SEALED_LABEL_MAX + 2 +
                                                        SEALED_BLOB_MAX);
}
END_TEST

SUITE_MAIN("hsm-tag", 10, a_device_keys_tag_is_over_type_and_prefixed_fields,
    a_keks_tag_is_over_type_and_prefixed_fields, the_fingerprint_key_is_made_of_type_and_name,
    the_longest_fields_fit)
