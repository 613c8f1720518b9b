#include "base/keyed.h"

#include "tests/support/suite.h"
#include <string.h>

static uint8_t hash[KEYED_LEN], stored[KEYED_STORED_MAX], got[KEYED_LEN];
static uint16_t version;

START_TEST(hash_of_the_first_version_stands_as_it_always_did)
{
    memset(hash, 0xA7, sizeof(hash));
    ck_assert_uint_eq(keyed_store(hash, 1, stored), KEYED_LEN);
    ck_assert_mem_eq(stored, hash, KEYED_LEN);
    ck_assert_uint_eq(keyed_store(hash, 0, stored), KEYED_LEN);
    ck_assert(keyed_read(stored, KEYED_LEN, got, &version));
    ck_assert_uint_eq(version, 1);
    ck_assert_mem_eq(got, hash, KEYED_LEN);
}
END_TEST

START_TEST(later_versions_are_told_behind_it)
{
    static const unsigned versions[] = {2, 255, 256, 9999};

    memset(hash, 0x3C, sizeof(hash));
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        ck_assert_uint_eq(keyed_store(hash, versions[i], stored), KEYED_STORED_MAX);
        ck_assert(keyed_read(stored, KEYED_STORED_MAX, got, &version));
        ck_assert_uint_eq(version, versions[i]);
        ck_assert_mem_eq(got, hash, KEYED_LEN);
    }
}
END_TEST

START_TEST(one_hash_has_one_form)
{
    static const uint8_t wrong[][2] = {{0, 0}, {0, 1}, {0x27, 0x10}, {0xFF, 0xFF}};

    version = 7;
    for (size_t len = 0; len < KEYED_STORED_MAX; len++)
        ck_assert(keyed_read(stored, len, got, &version) == (len == KEYED_LEN));
    version = 7;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        memcpy(stored + KEYED_LEN, wrong[i], 2);
        ck_assert(!keyed_read(stored, KEYED_STORED_MAX, got, &version));
        ck_assert_uint_eq(version, 7);
    }
}
END_TEST

SUITE_MAIN("base keyed", 4, hash_of_the_first_version_stands_as_it_always_did,
    later_versions_are_told_behind_it, one_hash_has_one_form)
