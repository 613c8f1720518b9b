#include "activation/import_lint.h"

#include "activation/import_reader.h"
#include <assert.h>
#include <string.h>

#define OUI_LEN 3
#define EUI_LEN sizeof(((struct eui64 *)NULL)->bytes)
#define NONCES_LOW_PERCENT 80 /* as cradle_join_nonces_low_total counts */

static_assert(N_IMPORT_LINTS <= 64, "job_row.lints has a bit each");
static_assert(IMPORT_LINT_NOT_JSON == 0 && IMPORT_LINT_ZERO_KEY == 34 &&
                  IMPORT_LINT_UNKNOWN_AS_ID == 55 && IMPORT_LINT_DEV_EUI_TAKEN == 56 &&
                  IMPORT_LINT_LORAWAN_FIELD == 60 && IMPORT_LINT_OWNED_JOIN_EUI == 61,
    "a lint that is stored must keep its bit: new ones go to the end");

/* clang-format off */
static const struct import_lint_rule rules[N_IMPORT_LINTS] = {
    [IMPORT_LINT_NOT_JSON] = {"not-json", IMPORT_ERROR, "line",
        "the line is not one JSON object of texts, numbers and lists of numbers",
        "write each device as one object on a line of its own"},
    [IMPORT_LINT_UNKNOWN_MEMBER] = {"unknown-member", IMPORT_ERROR, "line",
        "the object has a member that is no column of this format",
        "take it out, or correct its name"},
    [IMPORT_LINT_REPEATED_MEMBER] = {"repeated-member", IMPORT_ERROR, "line",
        "the object has a member twice",
        "leave one of them"},
    [IMPORT_LINT_FIELD_COUNT] = {"field-count", IMPORT_ERROR, "line",
        "the row has not as many fields as the header line has names, or the format columns",
        "write empty fields where there is nothing; perhaps the file was cut here"},
    [IMPORT_LINT_UNKNOWN_DIRECTIVE] = {"unknown-directive", IMPORT_ERROR, "directive",
        "only CREATE_OTAA rows can be imported",
        "leave other directives out"},
    [IMPORT_LINT_BAD_DEV_EUI] = {"bad-dev-eui", IMPORT_ERROR, "dev_eui",
        "the DevEUI is not 16 hexadecimal digits",
        "write it as text: spreadsheets take EUIs for numbers and round them"},
    [IMPORT_LINT_BAD_JOIN_EUI] = {"bad-join-eui", IMPORT_ERROR, "join_eui",
        "the JoinEUI is not 16 hexadecimal digits",
        "write it as text: spreadsheets take EUIs for numbers and round them"},
    [IMPORT_LINT_BAD_TAG] = {"bad-tag", IMPORT_ERROR, "dev_eui",
        "the onboarding tag is none of TR005 (LW:D0:...), or says something twice",
        "read the label again, or give the DevEUI alone"},
    [IMPORT_LINT_BROKEN_CHECKSUM] = {"broken-checksum", IMPORT_ERROR, "dev_eui",
        "the onboarding tag's checksum is another one: something in it is wrong",
        "read the label again"},
    [IMPORT_LINT_TAG_DIFFERS] = {"tag-differs", IMPORT_ERROR, "join_eui",
        "the onboarding tag says another JoinEUI than the JoinEUI column",
        "find out which one the device has"},
    [IMPORT_LINT_BAD_APP_KEY] = {"bad-app-key", IMPORT_ERROR, "app_key",
        "the AppKey has not the form its column says: 16 bytes in clear, 24 wrapped, 384 sealed",
        "write hexadecimal digits (or Base64 for wrapped and sealed keys) and nothing else"},
    [IMPORT_LINT_BAD_NWK_KEY] = {"bad-nwk-key", IMPORT_ERROR, "nwk_key",
        "the NwkKey has not the form its column says: 16 bytes in clear, 24 wrapped, 384 sealed",
        "write hexadecimal digits (or Base64 for wrapped and sealed keys) and nothing else"},
    [IMPORT_LINT_TWO_KEY_FORMS] = {"two-key-forms", IMPORT_ERROR, "app_key",
        "one key stands there in two forms",
        "leave one of clear, wrapped and sealed"},
    [IMPORT_LINT_BAD_MAC_VERSION] = {"bad-mac-version", IMPORT_ERROR, "mac_version",
        "the LoRaWAN version is none of 1.0.0, 1.0.1, 1.0.2, 1.0.3, 1.0.4 and 1.1",
        "take it from the device's certificate or data sheet; MAC_V1_0_3 is understood too"},
    [IMPORT_LINT_BAD_HOME_NET_ID] = {"bad-home-net-id", IMPORT_ERROR, "home_net_id",
        "the NetID is not 6 hexadecimal digits",
        "write it with its leading zeros, as text"},
    [IMPORT_LINT_BAD_AS_ID] = {"bad-as-id", IMPORT_ERROR, "as_id",
        "the AS-ID is longer than 64 characters or not printable ASCII without blanks",
        "write it as the application server is called here"},
    [IMPORT_LINT_BAD_CODE] = {"bad-code", IMPORT_ERROR, "code",
        "the claim code is not 1 to 32 letters A-Z and digits",
        "leave it out to get one made"},
    [IMPORT_LINT_BAD_SERIAL] = {"bad-serial", IMPORT_ERROR, "serial",
        "the serial number is longer than 64 characters or not printable ASCII",
        "shorten it, or leave it out"},
    [IMPORT_LINT_BAD_JOIN_NONCE] = {"bad-join-nonce", IMPORT_ERROR, "join_nonce",
        "the JoinNonce is no number from 0 to 16777215",
        "write it in decimal, or in hexadecimal after 0x"},
    [IMPORT_LINT_BAD_DEV_NONCE] = {"bad-dev-nonce", IMPORT_ERROR, "dev_nonce",
        "the DevNonce is no number from 0 to 65535",
        "write it in decimal, or in hexadecimal after 0x"},
    [IMPORT_LINT_BAD_USED_DEV_NONCES] = {"bad-used-dev-nonces", IMPORT_ERROR, "used_dev_nonces",
        "the used DevNonces are no list of at most 65536 numbers and ranges from 0 to 65535",
        "write \"1 7 100-250\", or a list of numbers in JSON"},
    [IMPORT_LINT_BAD_STATE] = {"bad-state", IMPORT_ERROR, "state",
        "the state is neither personalized nor activable",
        "leave it out to take what the request says"},
    [IMPORT_LINT_MISSING_DEV_EUI] = {"missing-dev-eui", IMPORT_ERROR, "dev_eui",
        "the row has no DevEUI", "add it"},
    [IMPORT_LINT_MISSING_JOIN_EUI] = {"missing-join-eui", IMPORT_ERROR, "join_eui",
        "the row has no JoinEUI", "add the one that the device sends"},
    [IMPORT_LINT_MISSING_KEY] = {"missing-key", IMPORT_ERROR, "app_key",
        "the row has no root key", "add it in clear, wrapped or sealed"},
    [IMPORT_LINT_MISSING_APP_KEY] = {"missing-app-key", IMPORT_ERROR, "app_key",
        "a LoRaWAN 1.1 device needs an AppKey besides its NwkKey",
        "add it, or correct the version"},
    [IMPORT_LINT_MISSING_NWK_KEY] = {"missing-nwk-key", IMPORT_ERROR, "nwk_key",
        "a LoRaWAN 1.1 device needs a NwkKey besides its AppKey",
        "add it, or correct the version"},
    [IMPORT_LINT_MISSING_MAC_VERSION] = {"missing-mac-version", IMPORT_ERROR, "mac_version",
        "neither the row nor the request says which LoRaWAN version the device has",
        "add mac_version to the request if all devices of the file have the same"},
    [IMPORT_LINT_MISSING_HOME_NET_ID] = {"missing-home-net-id", IMPORT_ERROR, "home_net_id",
        "an application server is named without a home network",
        "give both or neither"},
    [IMPORT_LINT_MISSING_AS_ID] = {"missing-as-id", IMPORT_ERROR, "as_id",
        "a home network is named without an application server",
        "give both or neither"},
    [IMPORT_LINT_TWO_ROOT_KEYS] = {"two-root-keys", IMPORT_ERROR, "nwk_key",
        "a LoRaWAN 1.0.x device has one root key, the row has two",
        "leave the one that the device calls AppKey, or correct the version"},
    [IMPORT_LINT_NWK_KEY_UNUSED] = {"nwk-key-unused", IMPORT_WARNING, "nwk_key",
        "a LoRaWAN 1.0.x device has one root key: its AppKey was taken, the NwkKey left out",
        "nothing, if the version is right"},
    [IMPORT_LINT_NAME_CUT] = {"name-cut", IMPORT_WARNING, "name",
        "the name is longer than 100 bytes, or no text; what did not fit was left out",
        "shorten it"},
    [IMPORT_LINT_BYTE_ORDER_MARK] = {"byte-order-mark", IMPORT_WARNING, "line",
        "the file begins with a byte order mark, which was skipped",
        "nothing"},
    [IMPORT_LINT_ZERO_KEY] = {"zero-key", IMPORT_ERROR, "app_key",
        "a key is all zero: the device was never given one",
        "give the device a random key"},
    [IMPORT_LINT_REPEATED_BYTE_KEY] = {"repeated-byte-key", IMPORT_WARNING, "app_key",
        "a key is one byte sixteen times: anybody guesses it",
        "give the device a random key"},
    [IMPORT_LINT_REPEATED_PATTERN_KEY] = {"repeated-pattern-key", IMPORT_WARNING, "app_key",
        "a key is 2, 4 or 8 bytes again and again: it is shorter than it looks",
        "give the device a random key"},
    [IMPORT_LINT_EUI_DERIVED_KEY] = {"eui-derived-key", IMPORT_WARNING, "app_key",
        "a key contains the DevEUI or the JoinEUI, which the device sends in clear",
        "give the device a random key"},
    [IMPORT_LINT_SAMPLE_KEY] = {"sample-key", IMPORT_WARNING, "app_key",
        "a key is a sample that is printed in public documents or code, or simply counts",
        "give the device a random key"},
    [IMPORT_LINT_EQUAL_ROOT_KEYS] = {"equal-root-keys", IMPORT_WARNING, "nwk_key",
        "AppKey and NwkKey are the same: whoever has one has both",
        "give new devices two random keys"},
    [IMPORT_LINT_ZERO_DEV_EUI] = {"zero-dev-eui", IMPORT_ERROR, "dev_eui",
        "the DevEUI is all zero: the device was never given one",
        "give the device a DevEUI of its own"},
    [IMPORT_LINT_ZERO_JOIN_EUI] = {"zero-join-eui", IMPORT_WARNING, "join_eui",
        "the JoinEUI is all zero: no network finds a join server by it",
        "give new devices a JoinEUI of this join server"},
    [IMPORT_LINT_REVERSED_EUI] = {"reversed-eui", IMPORT_WARNING, "dev_eui",
        "an EUI seems to be written backwards: reversed, it begins with a known manufacturer's digits",
        "compare it with the label; firmware often holds EUIs backwards, files must not"},
    [IMPORT_LINT_FOREIGN_JOIN_EUI] = {"foreign-join-eui", IMPORT_WARNING, "join_eui",
        "the JoinEUI is none of this join server",
        "networks will not ask here until the JoinEUI is routed to this join server"},
    [IMPORT_LINT_WEAK_CODE] = {"weak-code", IMPORT_WARNING, "code",
        "the claim code has fewer than 64 bits: it can be found by trying",
        "leave it out to get a strong one made, unless it is printed already"},
    [IMPORT_LINT_JOIN_NONCE_SPENT] = {"join-nonce-spent", IMPORT_ERROR, "join_nonce",
        "the JoinNonce is the last one there is: the device could never join again",
        "give the device a new JoinEUI or new root keys"},
    [IMPORT_LINT_NONCES_LOW] = {"nonces-low", IMPORT_WARNING, "dev_nonce",
        "four fifths of the JoinNonces or DevNonces are spent",
        "plan new root keys for the device"},
    [IMPORT_LINT_DEV_NONCE_BEHIND] = {"dev-nonce-behind", IMPORT_ERROR, "dev_nonce",
        "the last DevNonce is lower than one that is listed as used",
        "export nonces and last DevNonce at the same moment"},
    [IMPORT_LINT_USED_DEV_NONCES_MISSING] = {"used-dev-nonces-missing", IMPORT_WARNING, "used_dev_nonces",
        "the device chooses DevNonces at random (1.0.3 and older) and only its last one is known: earlier ones could be replayed",
        "add used_dev_nonces, or let the device change its JoinEUI"},
    [IMPORT_LINT_JOIN_NONCE_MISSING] = {"join-nonce-missing", IMPORT_WARNING, "join_nonce",
        "the device has joined elsewhere, its last JoinNonce is not known, and its version refuses lower ones",
        "add join_nonce as the other join server has it"},
    [IMPORT_LINT_CLEAR_KEY] = {"clear-key", IMPORT_ERROR, "app_key",
        "the organization does not take root keys in clear",
        "wrap or seal them, or have an administrator set allow_clear_keys"},
    [IMPORT_LINT_NO_TRANSPORT_KEK] = {"no-transport-kek", IMPORT_ERROR, "app_key_wrapped",
        "the organization has no transport KEK that a key could be wrapped under",
        "have an operator add one"},
    [IMPORT_LINT_KEY_DOES_NOT_OPEN] = {"key-does-not-open", IMPORT_ERROR, "app_key",
        "a wrapped or sealed key does not open, or is no key of 16 bytes",
        "wrap it under the present transport KEK, or seal it to the present exchange key"},
    [IMPORT_LINT_DUPLICATE_KEY] = {"duplicate-key", IMPORT_WARNING, "app_key",
        "the same key belongs to another device of the file or of your organization",
        "give each device a key of its own"},
    [IMPORT_LINT_UNKNOWN_HOME_NET_ID] = {"unknown-home-net-id", IMPORT_ERROR, "home_net_id",
        "no network server here speaks for this NetID",
        "have an operator add it first"},
    [IMPORT_LINT_UNKNOWN_AS_ID] = {"unknown-as-id", IMPORT_ERROR, "as_id",
        "no application server here has this AS-ID",
        "have an operator add it first"},
    [IMPORT_LINT_DEV_EUI_TAKEN] = {"dev-eui-taken", IMPORT_ERROR, "dev_eui",
        "this DevEUI is another organization's",
        "compare it with the label; if it is right, ask the operator whose the device is"},
    [IMPORT_LINT_DEV_EUI_RESERVED] = {"dev-eui-reserved", IMPORT_ERROR, "dev_eui",
        "the DevEUI begins with 8 zeros: what does so is a Sigfox id here",
        "give the device a DevEUI of a block of yours; a Sigfox id is written sigfox:0123abcd"},
    [IMPORT_LINT_BAD_SIGFOX_ID] = {"bad-sigfox-id", IMPORT_ERROR, "dev_eui",
        "the Sigfox id is not 8 hexadecimal digits",
        "write it with its leading zeros, as text; after sigfox: in a file that has DevEUIs, too"},
    [IMPORT_LINT_BAD_PAC] = {"bad-pac", IMPORT_ERROR, "code",
        "the PAC is not 16 hexadecimal digits",
        "write it as text, as id_pac.txt has it; leave it empty to get a code made"},
    [IMPORT_LINT_LORAWAN_FIELD] = {"lorawan-field", IMPORT_ERROR, "join_eui",
        "a Sigfox device has no JoinEUI, LoRaWAN version, home network, application server, NwkKey or nonce",
        "leave them out of its row, or correct the identifier"},
    [IMPORT_LINT_OWNED_JOIN_EUI] = {"owned-join-eui", IMPORT_ERROR, "join_eui",
        "the JoinEUI is in a range that belongs to another organization",
        "compare it with the label; if it is right, ask the operator whose the range is"},
};
/* clang-format on */

/* Beginnings of EUIs that devices and join servers have out there. */
static const uint8_t known_ouis[][OUI_LEN] = {
    {0x70, 0xB3, 0xD5}, /* IEEE's small blocks; The Things Network */
    {0x00, 0x16, 0xC0}, /* Semtech */
    {0x00, 0x04, 0xA3}, /* Microchip */
    {0x00, 0x80, 0xE1}, /* STMicroelectronics */
    {0x24, 0xE1, 0x24}, /* Milesight */
    {0xA8, 0x40, 0x41}, /* Dragino */
    {0xAC, 0x1F, 0x09}, /* RAKwireless */
    {0x2C, 0xF7, 0xF1}, /* Seeed */
};

/* Keys that stand in public code or documents. */
static const uint8_t sample_keys[][AES_KEY_LEN] = {
    /* FIPS 197; Semtech's LoRaMac-node and what was made of it */
    {0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6, 0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF, 0x4F,
        0x3C},
    /* factory default of Milesight */
    {0x55, 0x72, 0x40, 0x4C, 0x69, 0x6E, 0x6B, 0x4C, 0x6F, 0x52, 0x61, 0x32, 0x30, 0x31, 0x38,
        0x23},
    /* sessions and AppKey in the examples of the rn2xx3 library */
    {0x8D, 0x7F, 0xFE, 0xF9, 0x38, 0x58, 0x9D, 0x95, 0xAA, 0xD9, 0x28, 0xC2, 0xE2, 0xE7, 0xE4,
        0x8F},
    {0xAE, 0x17, 0xE5, 0x67, 0xAE, 0xCC, 0x87, 0x87, 0xF7, 0x49, 0xA6, 0x2F, 0x55, 0x41, 0xD5,
        0x22},
    {0xA2, 0x3C, 0x96, 0xEE, 0x13, 0x80, 0x49, 0x63, 0xF8, 0xC2, 0xBD, 0x62, 0x85, 0x44, 0x81,
        0x98},
    /* RAKwireless, examples for SX126x-Arduino and WisBlock */
    {0x2B, 0x84, 0xE0, 0xB0, 0x9B, 0x68, 0xE5, 0xCB, 0x42, 0x17, 0x6F, 0xE7, 0x53, 0xDC, 0xEE,
        0x79},
    /* examples for Mbed OS and Zephyr */
    {0xF3, 0x1C, 0x2E, 0x8B, 0xC6, 0x71, 0x28, 0x1D, 0x51, 0x16, 0xF0, 0x8F, 0xF0, 0xB7, 0x92,
        0x8F},
    /* Microsoft's starter kit for IoT Edge */
    {0x8A, 0xFE, 0x71, 0xA1, 0x45, 0xB2, 0x53, 0xE4, 0x9C, 0x30, 0x31, 0xAD, 0x06, 0x82, 0x77,
        0xA1},
    /* the example of lora-packet */
    {0xB6, 0xB5, 0x3F, 0x4A, 0x16, 0x8A, 0x7A, 0x88, 0xBD, 0xF7, 0xEA, 0x13, 0x5C, 0xE9, 0xCF,
        0xCA},
};

const struct import_lint_rule *import_lint_rule(enum import_lint lint)
{
    return &rules[lint];
}

void import_row_add_lint(struct import_row *row, enum import_lint lint)
{
    row->lints |= UINT64_C(1) << lint;
}

bool import_row_has_lint(const struct import_row *row, enum import_lint lint)
{
    return (row->lints >> lint & 1) != 0;
}

bool import_row_refused(const struct import_row *row)
{
    for (unsigned i = 0; i < N_IMPORT_LINTS; i++)
        if (import_row_has_lint(row, (enum import_lint)i) && rules[i].level == IMPORT_ERROR)
            return true;
    return false;
}

static void reverse(const struct eui64 *eui, struct eui64 *ret)
{
    for (size_t i = 0; i < EUI_LEN; i++)
        ret->bytes[i] = eui->bytes[EUI_LEN - 1 - i];
}

/* True when the key is its first `period` bytes again and again. */
static bool has_period(const struct secret_key *key, size_t period)
{
    return secret_equal(key->bytes, key->bytes + period, AES_KEY_LEN - period);
}

static bool has_eui(const struct secret_key *key, const struct eui64 *eui)
{
    struct eui64 reversed;

    if (eui64_to_u64(eui) == 0)
        return false;
    reverse(eui, &reversed);
    for (size_t at = 0; at <= AES_KEY_LEN - EUI_LEN; at++)
        if (secret_equal(key->bytes + at, eui->bytes, EUI_LEN) ||
            secret_equal(key->bytes + at, reversed.bytes, EUI_LEN))
            return true;
    return false;
}

/* 00 01 02 .., 01 02 03 .., 00 11 22 .., and the same downwards. */
static bool counts(const struct secret_key *key)
{
    uint8_t step = (uint8_t)(key->bytes[1] - key->bytes[0]);

    for (size_t i = 1; i < AES_KEY_LEN; i++)
        if ((uint8_t)(key->bytes[i] - key->bytes[i - 1]) != step)
            return false;
    return true;
}

static bool is_sample(const struct secret_key *key)
{
    for (size_t i = 0; i < sizeof(sample_keys) / sizeof(sample_keys[0]); i++)
        if (secret_equal(key->bytes, sample_keys[i], AES_KEY_LEN))
            return true;
    return counts(key);
}

/* The first thing that is wrong with a key; the others follow from it. */
static void lint_key(struct import_row *row, const struct import_key *key)
{
    static const struct secret_key zero;
    const struct secret_key *clear = &key->clear;

    if (key->form != IMPORT_KEY_CLEAR)
        return;
    if (secret_equal(clear->bytes, zero.bytes, sizeof(zero.bytes)))
        import_row_add_lint(row, IMPORT_LINT_ZERO_KEY);
    else if (has_period(clear, 1))
        import_row_add_lint(row, IMPORT_LINT_REPEATED_BYTE_KEY);
    else if ((row->has_dev_eui && has_eui(clear, &row->dev_eui)) ||
             (row->has_join_eui && has_eui(clear, &row->join_eui)))
        import_row_add_lint(row, IMPORT_LINT_EUI_DERIVED_KEY);
    else if (is_sample(clear))
        import_row_add_lint(row, IMPORT_LINT_SAMPLE_KEY);
    else if (has_period(clear, EUI_LEN)) /* 2 and 4 divide 8 */
        import_row_add_lint(row, IMPORT_LINT_REPEATED_PATTERN_KEY);
}

static bool begins_with(const struct eui64 *eui, const uint8_t oui[static OUI_LEN])
{
    return memcmp(eui->bytes, oui, OUI_LEN) == 0;
}

/* Backwards the EUI begins as it should, and forwards it does not. `other` is the other EUI of the
 * row: devices and join server are often of one manufacturer. */
static bool is_reversed(const struct eui64 *eui, const struct eui64 *other)
{
    static const uint8_t none[OUI_LEN];
    struct eui64 reversed;
    bool forwards = false, backwards = false;

    reverse(eui, &reversed);
    for (size_t i = 0; i < sizeof(known_ouis) / sizeof(known_ouis[0]); i++) {
        forwards |= begins_with(eui, known_ouis[i]);
        backwards |= begins_with(&reversed, known_ouis[i]);
    }
    if (other != NULL && !begins_with(other, none)) {
        forwards |= begins_with(eui, other->bytes);
        backwards |= begins_with(&reversed, other->bytes);
    }
    return backwards && !forwards;
}

static void lint_euis(struct import_row *row, import_join_eui_is_ours *ours, const void *context)
{
    if (row->has_dev_eui && eui64_to_u64(&row->dev_eui) == 0)
        import_row_add_lint(row, IMPORT_LINT_ZERO_DEV_EUI);
    else if (row->has_dev_eui && !row->is_sigfox && device_id_is_sigfox(&row->dev_eui))
        import_row_add_lint(row, IMPORT_LINT_DEV_EUI_RESERVED);
    if (row->has_join_eui && eui64_to_u64(&row->join_eui) == 0)
        import_row_add_lint(row, IMPORT_LINT_ZERO_JOIN_EUI);
    if ((row->has_dev_eui && !row->is_sigfox &&
            is_reversed(&row->dev_eui, row->has_join_eui ? &row->join_eui : NULL)) ||
        (row->has_join_eui && is_reversed(&row->join_eui, row->has_dev_eui ? &row->dev_eui : NULL)))
        import_row_add_lint(row, IMPORT_LINT_REVERSED_EUI);
    if (row->has_join_eui && ours != NULL && !ours(context, &row->join_eui))
        import_row_add_lint(row, IMPORT_LINT_FOREIGN_JOIN_EUI);
}

static void lint_code(struct import_row *row)
{
    if (row->code[0] != '\0' && device_code_is_weak(row->code))
        import_row_add_lint(row, IMPORT_LINT_WEAK_CODE);
}

static bool is_low(uint32_t spent, uint32_t all)
{
    return (uint64_t)spent * 100 >= (uint64_t)all * NONCES_LOW_PERCENT;
}

static void lint_nonces(struct import_row *row)
{
    bool counted = row->mac_version >= LW_MAC_1_0_4;
    uint32_t n_used = row->n_used_dev_nonces;

    if (row->has_join_nonce && row->join_nonce == LW_JOIN_NONCE_MAX)
        import_row_add_lint(row, IMPORT_LINT_JOIN_NONCE_SPENT);
    else if (row->has_join_nonce && is_low(row->join_nonce, LW_JOIN_NONCE_MAX))
        import_row_add_lint(row, IMPORT_LINT_NONCES_LOW);
    if (!row->has_mac_version)
        return;
    if (counted) {
        if (row->has_dev_nonce && is_low(row->dev_nonce, IMPORT_DEV_NONCES))
            import_row_add_lint(row, IMPORT_LINT_NONCES_LOW);
        if (row->has_dev_nonce && n_used > 0 && row->used_dev_nonces[n_used - 1] > row->dev_nonce)
            import_row_add_lint(row, IMPORT_LINT_DEV_NONCE_BEHIND);
        if (row->has_dev_nonce && !row->has_join_nonce)
            import_row_add_lint(row, IMPORT_LINT_JOIN_NONCE_MISSING);
        return;
    }
    if (is_low(n_used, IMPORT_DEV_NONCES))
        import_row_add_lint(row, IMPORT_LINT_NONCES_LOW);
    if (row->has_dev_nonce && n_used == 1)
        import_row_add_lint(row, IMPORT_LINT_USED_DEV_NONCES_MISSING);
}

void import_lint_row(struct import_row *row, import_join_eui_is_ours *ours, const void *context)
{
    lint_key(row, &row->app);
    lint_key(row, &row->nwk);
    if (row->app.form == IMPORT_KEY_CLEAR && row->nwk.form == IMPORT_KEY_CLEAR &&
        secret_equal(row->app.clear.bytes, row->nwk.clear.bytes, AES_KEY_LEN))
        import_row_add_lint(row, IMPORT_LINT_EQUAL_ROOT_KEYS);
    lint_euis(row, ours, context);
    lint_code(row);
    lint_nonces(row);
}
