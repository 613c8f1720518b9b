#include "activation/token.h"

#include "tests/support/suite.h"
#include <string.h>

static const struct act_token sample = {
    .client_id = {0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    .expires_unix_s = 1800000000,
    .random = {9, 8, 7, 6, 5, 4, 3, 2},
};

static void format_sample(char text[static ACT_TOKEN_TEXT_LEN + 1],
    uint8_t body[static ACT_TOKEN_BODY_LEN], uint8_t hash[static ACT_TOKEN_HASH_LEN])
{
    for (size_t i = 0; i < ACT_TOKEN_HASH_LEN; i++)
        hash[i] = (uint8_t)(0xF0 + i);
    act_token_body(&sample, body);
    act_token_format(body, hash, text);
}

START_TEST(the_body_has_version_client_expiry_and_random_in_this_order)
{
    uint8_t body[ACT_TOKEN_BODY_LEN];

    act_token_body(&sample, body);
    ck_assert_uint_eq(sizeof(body), 33);
    ck_assert_uint_eq(body[0], 1);
    ck_assert_mem_eq(body + 1, sample.client_id, 16);
    ck_assert_mem_eq(body + 17, "\x00\x00\x00\x00\x6b\x49\xd2\x00", 8);
    ck_assert_mem_eq(body + 25, sample.random, 8);
}
END_TEST

START_TEST(what_was_formatted_parses_to_the_same)
{
    char text[ACT_TOKEN_TEXT_LEN + 1];
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN];
    uint8_t body2[ACT_TOKEN_BODY_LEN], hash2[ACT_TOKEN_HASH_LEN];
    struct act_token token;

    format_sample(text, body, hash);
    ck_assert_uint_eq(strlen(text), ACT_TOKEN_TEXT_LEN);
    ck_assert_uint_eq(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789-_."),
        ACT_TOKEN_TEXT_LEN);
    ck_assert(act_token_parse(text, body2, hash2, &token));
    ck_assert_mem_eq(body, body2, sizeof(body));
    ck_assert_mem_eq(hash, hash2, sizeof(hash));
    ck_assert_mem_eq(token.client_id, sample.client_id, sizeof(sample.client_id));
    ck_assert_int_eq(token.expires_unix_s, sample.expires_unix_s);
    ck_assert_mem_eq(token.random, sample.random, sizeof(sample.random));
}
END_TEST

START_TEST(base64url_is_that_of_rfc_4648)
{
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN];
    char text[ACT_TOKEN_TEXT_LEN + 1];

    memset(body, 0xFB, sizeof(body));
    memset(hash, 0xFF, sizeof(hash));
    act_token_format(body, hash, text);
    ck_assert_str_eq(text, "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7."
                           "__________________________________________8");
}
END_TEST

START_TEST(every_other_text_is_refused)
{
    char text[ACT_TOKEN_TEXT_LEN + 2];
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN];
    struct act_token token;

    for (size_t i = 0; i < ACT_TOKEN_TEXT_LEN; i++) {
        format_sample(text, body, hash);
        text[i] = '=';
        ck_assert_msg(!act_token_parse(text, body, hash, &token), "place %zu", i);
        format_sample(text, body, hash);
        text[i] = '\0';
        ck_assert_msg(!act_token_parse(text, body, hash, &token), "length %zu", i);
    }
    format_sample(text, body, hash);
    text[ACT_TOKEN_TEXT_LEN] = 'A';
    text[ACT_TOKEN_TEXT_LEN + 1] = '\0';
    ck_assert(!act_token_parse(text, body, hash, &token));
    ck_assert(!act_token_parse("", body, hash, &token));
}
END_TEST

START_TEST(a_set_bit_behind_the_last_byte_is_refused)
{
    char text[ACT_TOKEN_TEXT_LEN + 1];
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN];
    struct act_token token;

    memset(hash, 0, sizeof(hash));
    act_token_body(&sample, body);
    act_token_format(body, hash, text);
    ck_assert_int_eq(text[ACT_TOKEN_TEXT_LEN - 1], 'A');
    text[ACT_TOKEN_TEXT_LEN - 1] = 'B';
    ck_assert(!act_token_parse(text, body, hash, &token));
}
END_TEST

START_TEST(another_version_is_refused)
{
    char text[ACT_TOKEN_TEXT_LEN + 1];
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN];
    struct act_token token;

    format_sample(text, body, hash);
    body[0] = 2;
    act_token_format(body, hash, text);
    ck_assert(!act_token_parse(text, body, hash, &token));
}
END_TEST

START_TEST(a_token_is_timely_until_its_end_and_not_beyond_a_lifetime_from_now)
{
    static const struct {
        int64_t expires;
        bool timely;
    } cases[] = {
        {0, false},
        {5000, false},
        {5001, true},
        {5000 + 600, true},
        {5000 + 600 + ACT_TOKEN_SKEW_S, true},
        {5000 + 600 + ACT_TOKEN_SKEW_S + 1, false},
        {INT64_MAX, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct act_token token = {.expires_unix_s = cases[i].expires};

        ck_assert_msg(act_token_is_timely(&token, 5000, 600) == cases[i].timely, "case %zu", i);
    }
}
END_TEST

SUITE_MAIN("token", 10, the_body_has_version_client_expiry_and_random_in_this_order,
    what_was_formatted_parses_to_the_same, base64url_is_that_of_rfc_4648,
    every_other_text_is_refused, a_set_bit_behind_the_last_byte_is_refused,
    another_version_is_refused, a_token_is_timely_until_its_end_and_not_beyond_a_lifetime_from_now)
