#include "base/eui.h"

#include "base/hex.h"
#include "tests/support/suite.h"
#include <string.h>

#define ROUNDS 20000

static uint64_t next(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state;
}

static struct eui64 eui_of(uint64_t number)
{
    struct eui64 eui;

    for (size_t i = 0; i < sizeof(eui.bytes); i++)
        eui.bytes[i] = (uint8_t)(number >> (8 * (sizeof(eui.bytes) - 1 - i)));
    return eui;
}

static bool parse(const char *text, struct eui64 *ret)
{
    return device_id_parse(text, strlen(text), ret);
}

START_TEST(an_identifier_reads_back_from_its_text_and_its_bytes_tell_its_kind)
{
    uint64_t state = 1;

    for (unsigned i = 0; i < ROUNDS; i++) {
        /* Every other one below 2^32, and those on both sides of it. */
        uint64_t number =
            i < 4 ? (UINT64_C(1) << 32) - 2 + i : next(&state) >> (i % 2 == 0 ? 0 : 32);
        struct eui64 id = eui_of(number), back;
        char text[DEVICE_ID_TEXT_LEN + 1], hex[EUI64_TEXT_LEN + 1];
        bool is_sigfox = number <= UINT32_MAX;

        if (device_id_is_sigfox(&id) != is_sigfox)
            ck_abort_msg("%llx", (unsigned long long)number);
        (void)eui64_format(&id, hex);
        if (strcmp(device_id_format(&id, text), hex) == 0 && is_sigfox)
            ck_abort_msg("%s", text);
        if (device_id_says_sigfox(text, strlen(text)) != is_sigfox)
            ck_abort_msg("%s", text);
        if (!parse(text, &back) || memcmp(&back, &id, sizeof(id)) != 0)
            ck_abort_msg("%s", text);
        /* As 16 digits it is the same. */
        if (!parse(hex, &back) || memcmp(&back, &id, sizeof(id)) != 0)
            ck_abort_msg("%s", hex);
    }
}
END_TEST

START_TEST(a_sigfox_id_is_8_digits_behind_its_word_in_any_case)
{
    static const struct eui64 expected = {{0, 0, 0, 0, 0x01, 0x23, 0xAB, 0xCD}};
    static const char *const good[] = {"sigfox:0123abcd", "SIGFOX:0123ABCD", "SigFox:0123aBcD",
        "000000000123abcd", "00-00-00-00-01-23-AB-CD", "0x000000000123ABCD"};
    static const char *const bad[] = {"sigfox:", "sigfox:0123abc", "sigfox:0123abcde",
        "sigfox:0x0123ab", "sigfox:01-23-ab", "sigfox:0123abcg", "sigfox: 123abcd",
        "sigfox0123abcd", "sigfox:000000000123abcd", "0123abcd", "lorawan:0123abcd",
        " sigfox:0123abcd", ""};
    char text[DEVICE_ID_TEXT_LEN + 1];
    struct eui64 id;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(parse(good[i], &id), "%s", good[i]);
        ck_assert_mem_eq(&id, &expected, sizeof(id));
        ck_assert_str_eq(device_id_format(&id, text), "sigfox:0123abcd");
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!parse(bad[i], &id), "%s", bad[i]);
}
END_TEST

START_TEST(other_identifiers_are_read_as_euis_alone)
{
    struct eui64 id;

    ck_assert(!eui64_parse("sigfox:0123abcd", strlen("sigfox:0123abcd"), &id));
}
END_TEST

SUITE_MAIN("eui", 20, an_identifier_reads_back_from_its_text_and_its_bytes_tell_its_kind,
    a_sigfox_id_is_8_digits_behind_its_word_in_any_case, other_identifiers_are_read_as_euis_alone)
