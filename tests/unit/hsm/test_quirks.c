/* Token profiles and labels of storage KEKs. */
#include "hsm/p11_keys.h"
#include "hsm/p11_quirks.h"

#include "tests/support/suite.h"
#include <string.h>

static const struct p11_quirks *profile_of(const char *manufacturer, const char *model)
{
    CK_TOKEN_INFO info;

    memset(&info, ' ', sizeof(info));
    memcpy(info.manufacturerID, manufacturer, strlen(manufacturer));
    memcpy(info.model, model, strlen(model));
    return p11_quirks_find(&info);
}

START_TEST(a_token_gets_the_profile_of_its_maker_and_model)
{
    ck_assert_str_eq(profile_of("SoftHSM project", "SoftHSM v2")->name, "softhsm");
    ck_assert(!profile_of("SoftHSM project", "SoftHSM v2")->value_len_in_unwrap);
    ck_assert(profile_of("SoftHSM project", "SoftHSM v2")->works_on_copies);
    ck_assert(!profile_of("SafeNet", "Luna K7")->works_on_copies);
    ck_assert(!profile_of("", "")->works_on_copies);
    /* Who counts wrong PINs is asked once. */
    ck_assert(profile_of("SoftHSM project", "SoftHSM v2")->doubts_pins);
    ck_assert(!profile_of("SafeNet", "Luna K7")->doubts_pins);
    ck_assert(!profile_of("Thales", "Luna")->doubts_pins);
    ck_assert(!profile_of("", "")->doubts_pins);
    ck_assert_str_eq(profile_of("SafeNet", "Luna K7")->name, "luna");
    ck_assert(profile_of("SafeNet", "Luna K7")->value_len_in_unwrap);
    ck_assert(!profile_of("SafeNet", "Luna K7")->exercised);
    ck_assert_str_eq(profile_of("SafeNet", "eToken")->name, "generic");
    ck_assert_str_eq(profile_of("", "")->name, "generic");
    ck_assert_uint_eq(profile_of("Somebody", "Some")->key_wrap, CKM_AES_KEY_WRAP);
}
END_TEST

START_TEST(a_version_is_a_number_without_ornament)
{
    static const struct {
        const char *label;
        unsigned version;
    } cases[] = {
        {"store-device.1", 1},
        {"store-device.12", 12},
        {"store-device.9999", 9999},
        {"store-device.10000", 0},
        {"store-device.0", 0},
        {"store-device.01", 0},
        {"store-device.", 0},
        {"store-device.1x", 0},
        {"store-device.-1", 0},
        {"store-kek.1", 0},
        {"store-device-export.1", 0},
        {"", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(p11_store_version(cases[i].label, P11_LABEL_DEVICE) == cases[i].version, "%s",
            cases[i].label);
}
END_TEST

START_TEST(new_blobs_get_the_highest_version)
{
    const struct p11_store store = {
        .keks = {{.label = "store-kek.2", .version = 2}, {.label = "store-kek.10", .version = 10},
            {.label = "store-kek.9", .version = 9}},
        .n = 3};

    ck_assert_str_eq(p11_store_newest(&store)->label, "store-kek.10");
    ck_assert_uint_eq(p11_store_find(&store, "store-kek.9")->version, 9);
    ck_assert_ptr_null(p11_store_find(&store, "store-kek.1"));
}
END_TEST

SUITE_MAIN("hsm-quirks", 10, a_token_gets_the_profile_of_its_maker_and_model,
    a_version_is_a_number_without_ornament, new_blobs_get_the_highest_version)
