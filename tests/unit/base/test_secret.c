#include "base/aes.h"
#include "base/secret.h"
#include "tests/support/suite.h"

#include <string.h>

START_TEST(a_buffer_keeps_its_bytes_as_it_grows)
{
    struct secret_buffer b = {0};

    for (unsigned i = 0; i < 10000; i++) {
        uint8_t byte = (uint8_t)i;

        ck_assert_int_eq(secret_buffer_append(&b, &byte, 1), 0);
    }
    ck_assert_uint_eq(b.len, 10000);
    for (unsigned i = 0; i < 10000; i++)
        ck_assert_uint_eq(b.data[i], (uint8_t)i);
    secret_buffer_done(&b);
    ck_assert_ptr_null(b.data);
    ck_assert_int_eq(secret_buffer_append(&b, "x", 1), 0); /* usable again */
    secret_buffer_done(&b);
}
END_TEST

START_TEST(a_cleared_buffer_is_wiped_and_keeps_its_memory)
{
    static const uint8_t zeros[4];
    struct secret_buffer b = {0};
    const uint8_t *data;

    secret_buffer_clear(&b);
    ck_assert_int_eq(secret_buffer_append(&b, "abcd", 4), 0);
    data = b.data;
    secret_buffer_clear(&b);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_mem_eq(data, zeros, sizeof(zeros));
    ck_assert_int_eq(secret_buffer_append(&b, "x", 1), 0);
    ck_assert_ptr_eq(b.data, data);
    secret_buffer_done(&b);
}
END_TEST

START_TEST(an_absurd_length_is_an_error_and_not_an_overflow)
{
    struct secret_buffer b = {0};

    ck_assert_int_lt(secret_buffer_append(&b, "x", SIZE_MAX / 2), 0);
    secret_buffer_done(&b);
}
END_TEST

START_TEST(a_wiping_realloc_keeps_what_fits)
{
    char *p = secret_realloc(NULL, 4);

    memcpy(p, "abc", 4);
    p = secret_realloc(p, 100);
    ck_assert_str_eq(p, "abc");
    p = secret_realloc(p, 2);
    ck_assert_mem_eq(p, "ab", 2);
    secret_free(p);
    secret_free(NULL);
}
END_TEST

START_TEST(equality_looks_at_every_byte)
{
    uint8_t a[16] = {0}, b[16] = {0};

    ck_assert(secret_equal(a, b, 16));
    for (size_t i = 0; i < 16; i++) {
        b[i] = 1;
        ck_assert(!secret_equal(a, b, 16));
        b[i] = 0;
    }
}
END_TEST

START_TEST(a_wiped_key_is_zero)
{
    struct secret_key k, zero = {{0}};

    memset(&k, 0xAA, sizeof(k));
    secret_key_wipe(&k);
    ck_assert_mem_eq(&k, &zero, sizeof(k));
}
END_TEST

START_TEST(key_wrap_refuses_what_was_altered)
{
    const uint8_t kek[16] = {1}, key[16] = {2};
    uint8_t wrapped[24], back[16];

    ck_assert_int_eq(aes_wrap(kek, 16, key, 16, wrapped), 0);
    ck_assert_int_eq(aes_unwrap(kek, 16, wrapped, 24, back), 0);
    ck_assert_mem_eq(back, key, 16);
    wrapped[23] ^= 1;
    ck_assert_int_eq(aes_unwrap(kek, 16, wrapped, 24, back), 1);
    ck_assert_int_eq(aes_unwrap(kek, 16, wrapped, 8, back), 1);
    ck_assert_int_lt(aes_wrap(kek, 15, key, 16, wrapped), 0);
}
END_TEST

SUITE_MAIN("base secret", 4, a_buffer_keeps_its_bytes_as_it_grows,
    a_cleared_buffer_is_wiped_and_keeps_its_memory,
    an_absurd_length_is_an_error_and_not_an_overflow, a_wiping_realloc_keeps_what_fits,
    equality_looks_at_every_byte, a_wiped_key_is_zero, key_wrap_refuses_what_was_altered)
