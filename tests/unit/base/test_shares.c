#include "base/shares.h"
#include "tests/support/suite.h"
#include <string.h>

static const uint8_t secret[SHARES_SECRET_LEN] = {
    0x00, 0xFF, 0x80, 0x01, 0x55, 0xAA, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xA0, 0xB0};

/* Every choice of so many shares, as bits. */
static size_t choose(const struct share *all, unsigned n, unsigned bits, struct share *ret)
{
    size_t n_chosen = 0;

    for (unsigned i = 0; i < n; i++) {
        if ((bits >> i & 1) != 0)
            ret[n_chosen++] = all[i];
    }
    return n_chosen;
}

START_TEST(any_shares_that_are_enough_give_the_secret_and_fewer_do_not)
{
    static const unsigned shapes[][2] = {{2, 2}, {2, 3}, {3, 5}, {5, 5}, {2, 8}};

    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
        const unsigned needed = shapes[s][0], n = shapes[s][1];
        struct share all[SHARES_MAX], chosen[SHARES_MAX];

        ck_assert_int_eq(shares_split(secret, needed, n, all), 0);
        for (unsigned bits = 1; bits < 1u << n; bits++) {
            uint8_t got[SHARES_SECRET_LEN] = {0};
            const size_t n_chosen = choose(all, n, bits, chosen);
            const int r = shares_join(chosen, n_chosen, got);

            ck_assert_int_eq(r, n_chosen >= needed ? 0 : ERROR_INPUT);
            ck_assert_int_eq(memcmp(got, secret, sizeof(got)) == 0, n_chosen >= needed);
        }
    }
}
END_TEST

/* Of a share less than is needed every secret is as likely: there are shares that make it so. */
START_TEST(a_share_alone_is_not_the_secret_and_differs_each_time)
{
    struct share one[2], other[2];

    ck_assert_int_eq(shares_split(secret, 2, 2, one), 0);
    ck_assert_int_eq(shares_split(secret, 2, 2, other), 0);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_ne(memcmp(one[i].bytes, secret, sizeof(secret)), 0);
        ck_assert_int_ne(memcmp(one[i].bytes, other[i].bytes, sizeof(secret)), 0);
    }
}
END_TEST

START_TEST(shares_that_do_not_belong_together_are_refused)
{
    struct share a[3], b[3];
    uint8_t got[SHARES_SECRET_LEN];

    ck_assert_int_eq(shares_split(secret, 2, 3, a), 0);
    ck_assert_int_eq(shares_split(secret, 2, 3, b), 0);
    ck_assert_int_eq(shares_join((struct share[]){a[0], b[1]}, 2, got), ERROR_INPUT);
    ck_assert_ptr_nonnull(strstr(error_text(), "another PIN"));
    ck_assert_int_eq(shares_join((struct share[]){a[0], a[0]}, 2, got), ERROR_INPUT);
    ck_assert_ptr_nonnull(strstr(error_text(), "twice"));
    a[1].bytes[5] ^= 1;
    ck_assert_int_eq(shares_join(a, 2, got), ERROR_INPUT);
    ck_assert_ptr_nonnull(strstr(error_text(), "fit together"));
    ck_assert_int_eq(shares_split(secret, 1, 3, a), ERROR_INPUT);
    ck_assert_int_eq(shares_split(secret, 4, 3, a), ERROR_INPUT);
    ck_assert_int_eq(shares_split(secret, 2, SHARES_MAX + 1, a), ERROR_INPUT);
}
END_TEST

START_TEST(a_share_on_paper_is_read_again_and_every_slip_is_found)
{
    struct share all[3], got;
    char text[SHARES_TEXT_MAX], wrong[SHARES_TEXT_MAX];

    ck_assert_int_eq(shares_split(secret, 2, 3, all), 0);
    share_write(&all[2], text);
    ck_assert_int_eq(share_read(text, &got), 0);
    ck_assert_uint_eq(got.number, 3);
    ck_assert_int_eq(memcmp(got.bytes, all[2].bytes, sizeof(got.bytes)), 0);
    for (size_t i = 0; i + 1 < strlen(text); i++) {
        memcpy(wrong, text, sizeof(wrong));
        wrong[i] = wrong[i] == '7' ? '8' : '7';
        ck_assert_int_eq(share_read(wrong, &got), ERROR_INPUT);
        memcpy(wrong, text, sizeof(wrong));
        wrong[i] = '\0';
        ck_assert_int_eq(share_read(wrong, &got), ERROR_INPUT);
    }
    text[strlen(text) - 1] = '\0'; /* the newline may be lost */
    ck_assert_int_eq(share_read(text, &got), 0);
}
END_TEST

SUITE_MAIN("base-shares", 30, any_shares_that_are_enough_give_the_secret_and_fewer_do_not,
    a_share_alone_is_not_the_secret_and_differs_each_time,
    shares_that_do_not_belong_together_are_refused,
    a_share_on_paper_is_read_again_and_every_slip_is_found)
