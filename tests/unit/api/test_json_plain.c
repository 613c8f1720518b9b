#include "api/json_plain.h"
#include "tests/support/json_twice.h"
#include <check.h>
#include <stdlib.h>

#define ROUNDS 30000

static enum json_plain_step last_step(const char *text, size_t *ret_n)
{
    struct json_plain plain = {.at = text, .end = text + strlen(text)};
    struct json_member member;
    enum json_plain_step step;

    *ret_n = 0;
    while ((step = json_plain_next(&plain, &member)) == PLAIN_MEMBER)
        (*ret_n)++;
    return step;
}

static const struct {
    const char *text;
    size_t n;
} plain[] = {
    {"{}", 0},
    {" { } ", 0},
    {"{\"a\":\"b\"}", 1},
    {"\t{\"a\" : 0 , \"b\":null,\r\n\"c\":true,\"d\":false,\"e\":123456789012345678}\n", 5},
    {"{\"\":\"\"}", 1},
};

START_TEST(an_object_of_texts_numbers_and_words_is_plain)
{
    size_t n;

    ck_assert_int_eq(last_step(plain[_i].text, &n), PLAIN_END);
    ck_assert_uint_eq(n, plain[_i].n);
}
END_TEST

static const char *const not_plain[] = {
    "",
    " ",
    "[]",
    "{",
    "{}{}",
    "{} x",
    "{,}",
    "{\"a\":1,}",
    "{\"a\":1 \"b\":2}",
    "{\"a\" 1}",
    "{\"a\":}",
    "{a:1}",
    "{\"a\":\"b}",
    "{\"a\":\"b\\n\"}",
    "{\"a\\u0062\":1}",
    "{\"a\":\"\xc3\xa9\"}",
    "{\"a\":\"\t\"}",
    "{\"a\":01}",
    "{\"a\":-1}",
    "{\"a\":+1}",
    "{\"a\":1.0}",
    "{\"a\":1e3}",
    "{\"a\":1234567890123456789}",
    "{\"a\":truex}",
    "{\"a\":nul",
    "{\"a\":{}}",
    "{\"a\":[1]}",
};

START_TEST(everything_else_is_not)
{
    size_t n;

    ck_assert_msg(last_step(not_plain[_i], &n) == PLAIN_NOT, "%s", not_plain[_i]);
}
END_TEST

START_TEST(a_member_is_read_where_it_stands)
{
    static const char text[] = "{\"Name\":\"0af\",\"n\":42,\"t\":true,\"f\":false}";
    struct json_plain p = {.at = text, .end = text + strlen(text)};
    struct json_member m;

    ck_assert_int_eq(json_plain_next(&p, &m), PLAIN_MEMBER);
    ck_assert(m.name == text + 2 && m.name_len == 4);
    ck_assert(m.value.kind == SCALAR_TEXT && m.value.text == text + 9 && m.value.len == 3);
    ck_assert_int_eq(json_plain_next(&p, &m), PLAIN_MEMBER);
    ck_assert(m.value.kind == SCALAR_INTEGER && m.value.number == 42);
    ck_assert_int_eq(json_plain_next(&p, &m), PLAIN_MEMBER);
    ck_assert(m.value.kind == SCALAR_BOOL && m.value.number != 0);
    ck_assert_int_eq(json_plain_next(&p, &m), PLAIN_MEMBER);
    ck_assert(m.value.kind == SCALAR_BOOL && m.value.number == 0);
}
END_TEST

static const char good[] =
    "{\"Text\":\"1.0\",\"Echo\":\"abc\",\"Hex\":\"0102030a\",\"Bytes\":\"0x0102030405\","
    "\"Number\":4294967295,\"Small\":15,\"Truth\":true,\"Other\":\"x\",\"More\":12}";

START_TEST(a_good_body_is_read_whole)
{
    struct json_twice read;
    enum json_outcome outcome;

    ck_assert(json_twice_agree(good, strlen(good), &outcome, &read));
    ck_assert_int_eq(outcome, JSON_OK);
    ck_assert_str_eq(read.text, "1.0");
    ck_assert_str_eq(read.echoed, "abc");
    ck_assert_mem_eq(read.hex, "\x01\x02\x03\x0a", 4);
    ck_assert_mem_eq(read.bytes, "\x01\x02\x03\x04", 4);
    ck_assert_uint_eq(read.bytes_len, 5);
    ck_assert(read.number == UINT32_MAX && read.small == 15 && read.truth);
    ck_assert(read.has_echoed && read.has_hex && read.has_bytes && read.has_number);
    ck_assert(read.has_small && read.has_truth);
}
END_TEST

static const struct {
    const char *text;
    enum json_outcome outcome;
} twice[] = {
    {"{}", JSON_BAD_FIELD},
    {"{\"Text\":\"a\",\"Bytes\":\"00\"}", JSON_OK},
    {"{\"Bytes\":\"00\",\"Text\":\"a\"}", JSON_OK},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"Text\":\"a\"}", JSON_NOT_JSON},
    {"{\"Text\":\"a\",\"x\":1,\"Bytes\":\"00\",\"x\":1}", JSON_NOT_JSON},
    {"{\"Text\":\"a\",\"\":1,\"Bytes\":\"00\",\"\":1}", JSON_NOT_JSON},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"1\":1,\"2\":1,\"3\":1,\"4\":1,\"5\":1,\"6\":1,\"7\":1,"
     "\"8\":1,\"9\":1,\"10\":1,\"11\":1,\"12\":1,\"13\":1,\"14\":1,\"15\":1,\"16\":1,\"17\":1}",
        JSON_OK},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"1\":1,\"2\":1,\"3\":1,\"4\":1,\"5\":1,\"6\":1,\"7\":1,"
     "\"8\":1,\"9\":1,\"10\":1,\"11\":1,\"12\":1,\"13\":1,\"14\":1,\"15\":1,\"16\":1,\"17\":1,"
     "\"17\":1}",
        JSON_NOT_JSON},
    {"{\"Text\":\"12345678\",\"Bytes\":\"00\"}", JSON_BAD_FIELD},
    {"{\"Text\":1,\"Bytes\":\"00\"}", JSON_BAD_FIELD},
    {"{\"Text\":null,\"Bytes\":\"00\"}", JSON_BAD_FIELD},
    {"{\"Text\":\"a\",\"Bytes\":\"\"}", JSON_BAD_FIELD},
    {"{\"Text\":\"a\",\"Bytes\":null}", JSON_BAD_FIELD},
    {"{\"Text\":\"a\",\"Bytes\":\"0x\"}", JSON_OK},
    {"{\"Text\":\"a\",\"Bytes\":\"0X00\"}", JSON_OK},
    {"{\"Text\":\"a\",\"Bytes\":\"0\"}", JSON_BAD_FIELD},
    {"{\"Text\":\"a\",\"Bytes\":\"0g\"}", JSON_BAD_FIELD},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"Hex\":\"\"}", JSON_OK},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"Hex\":\"01\"}", JSON_BAD_FIELD},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"Echo\":null,\"Small\":null}", JSON_OK},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"Number\":null}", JSON_BAD_FIELD},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"Number\":4294967296}", JSON_BAD_FIELD},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"Small\":16}", JSON_BAD_FIELD},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"Truth\":1}", JSON_BAD_FIELD},
    {"{\"Text\":\"\\u0061\",\"Bytes\":\"00\"}", JSON_OK},
    {"{\"Text\":\"a\",\"Bytes\":\"00\",\"x\":{\"Text\":1}}", JSON_OK},
    {"{\"text\":\"a\",\"Bytes\":\"00\"}", JSON_BAD_FIELD},
    {"{\"Tex\":\"a\",\"Bytes\":\"00\"}", JSON_BAD_FIELD},
    {"{\"Textt\":\"a\",\"Bytes\":\"00\"}", JSON_BAD_FIELD},
};

START_TEST(a_plain_body_comes_to_what_its_tree_does)
{
    struct json_twice read;
    enum json_outcome outcome;

    ck_assert_msg(json_twice_agree(twice[_i].text, strlen(twice[_i].text), &outcome, &read), "%s",
        twice[_i].text);
    ck_assert_msg(outcome == twice[_i].outcome, "%s: %d", twice[_i].text, (int)outcome);
}
END_TEST

/* The same numbers each time. */
static size_t any_below(size_t n)
{
    static uint64_t state = 7;

    state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (size_t)(state >> 33) % n;
}

/* A byte changed, left out or put in, up to four times. */
static size_t mutate(char *body, size_t len)
{
    static const char bytes[] = "{}[]\":, \\0123456789abcdefxnutr.-+eE\x01\x7f\xc3\xa9";

    for (size_t n = 1 + any_below(4); n > 0; n--) {
        size_t at = any_below(len);
        char byte = bytes[any_below(sizeof(bytes))];

        switch (any_below(3)) {
        case 0:
            body[at] = byte;
            break;
        case 1:
            memmove(body + at, body + at + 1, len - at - 1);
            len--;
            break;
        default:
            memmove(body + at + 1, body + at, len - at);
            body[at] = byte;
            len++;
            break;
        }
    }
    return len;
}

START_TEST(whatever_is_changed_in_a_body_both_readings_agree)
{
    size_t n_good = 0;

    for (int i = 0; i < ROUNDS; i++) {
        char body[sizeof(good) + 8];
        struct json_twice read;
        enum json_outcome outcome;
        size_t len;

        memcpy(body, good, sizeof(good));
        len = mutate(body, strlen(good));
        ck_assert_msg(
            json_twice_agree(body, len, &outcome, &read), "round %d: %.*s", i, (int)len, body);
        n_good += outcome == JSON_OK;
    }
    ck_assert_uint_gt(n_good, ROUNDS / 100);
    ck_assert_uint_lt(n_good, ROUNDS / 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json_plain");
    TCase *tc = tcase_create("json_plain");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tc, an_object_of_texts_numbers_and_words_is_plain, 0,
        (int)(sizeof(plain) / sizeof(plain[0])));
    tcase_add_loop_test(
        tc, everything_else_is_not, 0, (int)(sizeof(not_plain) / sizeof(not_plain[0])));
    tcase_add_test(tc, a_member_is_read_where_it_stands);
    tcase_add_test(tc, a_good_body_is_read_whole);
    tcase_add_loop_test(
        tc, a_plain_body_comes_to_what_its_tree_does, 0, (int)(sizeof(twice) / sizeof(twice[0])));
    tcase_add_test(tc, whatever_is_changed_in_a_body_both_readings_agree);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
