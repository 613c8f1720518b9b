#include "activation/import_text.h"

#include "tests/support/suite.h"
#include <string.h>

START_TEST(a_version_is_read_as_other_servers_write_it)
{
    static const struct {
        const char *text;
        int version; /* negative: none */
    } cases[] = {
        {"1.0.3", LW_MAC_1_0_3},
        {"MAC_V1_0_4", LW_MAC_1_0_4},
        {"mac_v1_1", LW_MAC_1_1},
        {"LORAWAN_1_0_2", LW_MAC_1_0_2},
        {"v1.0.0", LW_MAC_1_0_0},
        {"MAC_UNKNOWN", -1},
        {"1.2", -1},
        {"", -1},
        {"1.0.33333333333333333333", -1},
    };
    enum lw_mac_version version;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool good = import_version_parse(cases[i].text, strlen(cases[i].text), &version);

        ck_assert_msg(good == (cases[i].version >= 0), "%s", cases[i].text);
        ck_assert(!good || (int)version == cases[i].version);
    }
}
END_TEST

START_TEST(a_number_is_decimal_or_hexadecimal_and_never_above_its_highest)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"0", 0},
        {"65535", 65535},
        {"65536", -1},
        {"0xFFFF", 65535},
        {"0x10000", -1},
        {"00012", 12},
        {"0x", -1},
        {"", -1},
        {"1a", -1},
        {" 1", -1},
        {"99999999999999999999999999", -1},
    };
    uint32_t value;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool good = import_number_parse(cases[i].text, strlen(cases[i].text), 65535, &value);

        ck_assert_msg(good == (cases[i].value >= 0), "%s", cases[i].text);
        ck_assert(!good || value == cases[i].value);
    }
}
END_TEST

START_TEST(a_blob_is_hexadecimal_or_base64_of_its_length)
{
    static const uint8_t expected[] = {0xFB, 0xFF, 0xBF, 0x00, 0x10, 0x83};
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"fbffbf001083", true},
        {"FB:FF:BF:00:10:83", true},
        {"+/+/ABCD", true},
        {"-_-_ABCD", true},
        {"+/+/ABC=", false},
        {"+/+/ABC", false},
        {"+/+/ABCDA", false},
        {"+/+/AB D", false},
        {"00112233", false}, /* Base64 too, but somebody meant bytes */
        {"", false},
    };
    uint8_t bytes[6];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool good = import_blob_parse(cases[i].text, strlen(cases[i].text), bytes, sizeof(bytes));

        ck_assert_msg(good == cases[i].good, "%s", cases[i].text);
        ck_assert(!good || memcmp(bytes, expected, sizeof(bytes)) == 0);
    }
}
END_TEST

SUITE_MAIN("import_text", 10, a_version_is_read_as_other_servers_write_it,
    a_number_is_decimal_or_hexadecimal_and_never_above_its_highest,
    a_blob_is_hexadecimal_or_base64_of_its_length)
