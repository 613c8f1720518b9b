#include "hsm/key_list.h"

#include "hsm/token_keys.h"
#include "tests/support/suite.h"
#include <stdio.h>
#include <string.h>

static struct key_list list_of(const char *const *labels, size_t n)
{
    struct key_list list = {0};

    for (size_t i = 0; i < n; i++) {
        const uint8_t kcv[KEY_LIST_KCV_LEN] = {(uint8_t)labels[i][0], (uint8_t)i, 7};

        ck_assert_int_eq(key_list_add(&list, labels[i], kcv), 0);
    }
    return list;
}

static const char *const some[] = {"store-device.1", "store-kek.1", "tag.1"};

START_TEST(what_is_written_is_read_again)
{
    uint8_t bytes[KEY_LIST_WIRE_MAX];
    struct key_list list = list_of(some, 3), got;
    size_t len = key_list_encode(&list, bytes);
    char why[KEY_LIST_TEXT_MAX];

    ck_assert(key_list_is(bytes, len));
    ck_assert_int_eq(key_list_decode(bytes, len, &got), 0);
    ck_assert_int_eq(key_list_difference(&list, &got, why), KEY_LIST_SAME);
    ck_assert_int_eq(key_list_difference(&got, &list, why), KEY_LIST_SAME);
}
END_TEST

START_TEST(no_cut_or_changed_list_is_read)
{
    uint8_t bytes[KEY_LIST_WIRE_MAX];
    struct key_list list = list_of(some, 3), got;
    size_t len = key_list_encode(&list, bytes);

    for (size_t i = 0; i < len; i++)
        ck_assert_int_eq(key_list_decode(bytes, i, &got), ERROR_INPUT);
    ck_assert_int_eq(key_list_decode(bytes, len + 1, &got), ERROR_INPUT);
    bytes[8] = 0; /* a label that is empty and goes on */
    ck_assert_int_eq(key_list_decode(bytes, len, &got), ERROR_INPUT);
    bytes[8] = '\n';
    ck_assert_int_eq(key_list_decode(bytes, len, &got), ERROR_INPUT);
    bytes[8] = 's';
    bytes[4] = KEY_LIST_MAX + 1;
    ck_assert_int_eq(key_list_decode(bytes, len, &got), ERROR_INPUT);
}
END_TEST

START_TEST(a_label_stands_once_and_a_list_has_an_end)
{
    static const uint8_t kcv[KEY_LIST_KCV_LEN] = {1, 2, 3};
    struct key_list list = list_of(some, 3);
    char label[SEALED_LABEL_MAX + 2];

    ck_assert_int_eq(key_list_add(&list, "tag.1", kcv), ERROR_CONFIG);
    memset(label, 'x', sizeof(label));
    label[sizeof(label) - 1] = '\0';
    ck_assert_int_eq(key_list_add(&list, label, kcv), ERROR_CONFIG);
    while (list.n < KEY_LIST_MAX) {
        (void)snprintf(label, sizeof(label), "store-device.%zu", list.n + 10);
        ck_assert_int_eq(key_list_add(&list, label, kcv), 0);
    }
    ck_assert_int_eq(key_list_add(&list, "code.1", kcv), ERROR_CONFIG);
}
END_TEST

START_TEST(what_is_there_for_a_rotation_alone_no_other_token_needs)
{
    static const struct {
        const char *label;
        bool needed;
    } rows[] = {
        {"store-device.1", true},
        {"store-device.2", false},
        {"store-device.22", true},
        {"store-device-export.1", true},
        {"store-device-export.2", false},
        {"store-kek.2", true},
        {"store-kek.3", false},
        {"tag.1", true},
        {"escrow.1", false},
        {"rewrap-device.1", false},
        {"rewrap-kek.2", false},
        {"pending.store-device.2", false},
        {"pending.store-kek.3", false},
    };
    static const uint8_t kcv[KEY_LIST_KCV_LEN] = {1, 2, 3};
    struct key_list list = {0};
    size_t n_needed = 0;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        ck_assert_int_eq(key_list_add(&list, rows[i].label, kcv), 0);
    token_keys_keep_needed(&list);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_msg(
            (key_list_find(&list, rows[i].label) != NULL) == rows[i].needed, "%s", rows[i].label);
        n_needed += rows[i].needed;
    }
    ck_assert_uint_eq(list.n, n_needed);
}
END_TEST

START_TEST(the_worst_difference_is_told_by_its_label)
{
    struct key_list wanted = list_of(some, 3), other = list_of(some, 2);
    static const uint8_t kcv[KEY_LIST_KCV_LEN] = {0xAB, 0, 1};
    char why[KEY_LIST_TEXT_MAX];

    ck_assert_int_eq(key_list_difference(&wanted, &other, why), KEY_LIST_FEWER);
    ck_assert_str_eq(why, "it holds no tag.1");
    ck_assert_int_eq(key_list_difference(&other, &wanted, why), KEY_LIST_MORE);
    memcpy(other.keys[1].kcv, kcv, sizeof(kcv));
    ck_assert_int_eq(key_list_difference(&wanted, &other, why), KEY_LIST_ANOTHER);
    ck_assert_str_eq(why, "its store-kek.1 is another key: check value ab0001 and not 730107");
}
END_TEST

SUITE_MAIN("hsm-key-list", 10, what_is_written_is_read_again, no_cut_or_changed_list_is_read,
    a_label_stands_once_and_a_list_has_an_end,
    what_is_there_for_a_rotation_alone_no_other_token_needs,
    the_worst_difference_is_told_by_its_label)
