#include "base/audit_form.h"

#include "base/audit_key.h"
#include "base/error.h"
#include "base/hex.h"
#include "tests/support/suite.h"
#include <string.h>

static struct audit_record full_record(void)
{
    struct audit_record record = {.id = 258,
        .at = "2026-01-02T03:04:05.678901Z",
        .has_organization = true,
        .has_client = true,
        .request_id = "req",
        .action = "a.b",
        .object = "",
        .detail = "{\"n\": 1}"};

    memset(record.organization, 0xAA, sizeof(record.organization));
    memset(record.client, 0xBB, sizeof(record.client));
    return record;
}

static char *hex_of(const struct audit_record *record)
{
    struct text bytes = {0}, hex = {0};

    ck_assert_int_eq(audit_record_write(record, &bytes), 0);
    text_add_hex(&hex, bytes.data, bytes.len);
    ck_assert(!bytes.failed && !hex.failed);
    text_done(&bytes);
    return hex.data;
}

/* Written by hand from the header's description. */
START_TEST(an_event_has_these_bytes)
{
    struct audit_record record = full_record();
    char *hex = hex_of(&record);

    ck_assert_str_eq(hex, "43414531"
                          "0000000000000102"
                          "323032362d30312d30325430333a30343a30352e3637383930315a"
                          "0010aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                          "0010bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
                          "0003726571"
                          "0003612e62"
                          "0000"
                          "00000008"
                          "7b226e223a20317d");
    free(hex);
    record.has_organization = record.has_client = false;
    hex = hex_of(&record);
    ck_assert_ptr_nonnull(strstr(hex, "3637383930315a000000000003726571"));
    free(hex);
}
END_TEST

START_TEST(a_chain_is_the_hash_of_what_was_before_and_the_event)
{
    static const uint8_t zeros[MERKLE_HASH_LEN];
    struct audit_record record = full_record();
    uint8_t first[MERKLE_HASH_LEN], second[MERKLE_HASH_LEN], again[MERKLE_HASH_LEN];

    ck_assert_int_eq(audit_chain(zeros, &record, first), 0);
    ck_assert_int_eq(audit_chain(first, &record, second), 0);
    ck_assert_mem_ne(first, second, sizeof(first));
    /* In place, too. */
    memcpy(again, first, sizeof(again));
    ck_assert_int_eq(audit_chain(again, &record, again), 0);
    ck_assert_mem_eq(again, second, sizeof(again));
}
END_TEST

/* Each field alone makes another event, and what moves from one field to the next, too. */
START_TEST(no_two_events_have_the_same_bytes)
{
    struct audit_record records[12];
    uint8_t hashes[12][MERKLE_HASH_LEN];
    static const uint8_t zeros[MERKLE_HASH_LEN];
    const size_t n = sizeof(records) / sizeof(records[0]);

    for (size_t i = 0; i < n; i++)
        records[i] = full_record();
    records[1].id++;
    records[2].at[0] = '1';
    records[3].organization[15] ^= 1;
    records[4].has_organization = false;
    records[5].client[0] ^= 1;
    records[6].has_client = false;
    records[7].request_id = "reqa";
    records[7].action = ".b";
    records[8].action = "a.c";
    records[9].object = "o";
    records[10].detail = "{\"n\": 2}";
    records[11].request_id = "re";
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(audit_chain(zeros, &records[i], hashes[i]), 0);
        for (size_t j = 0; j < i; j++)
            ck_assert_msg(memcmp(hashes[i], hashes[j], MERKLE_HASH_LEN) != 0, "%zu, %zu", i, j);
    }
}
END_TEST

START_TEST(what_cannot_be_written_is_refused)
{
    static char long_text[65537];
    static const uint8_t zeros[MERKLE_HASH_LEN];
    struct audit_record record = full_record();
    uint8_t hash[MERKLE_HASH_LEN];

    memset(long_text, 'x', sizeof(long_text) - 1);
    record.object = long_text;
    ck_assert_int_eq(audit_chain(zeros, &record, hash), ERROR_INPUT);
    record = full_record();
    record.at[AUDIT_TIME_LEN - 1] = '\0';
    ck_assert_int_eq(audit_chain(zeros, &record, hash), ERROR_INPUT);
}
END_TEST

START_TEST(a_leaf_is_of_each_of_its_fields)
{
    const struct audit_link base = {.seq = 5, .organization_seq = 2};
    struct audit_link links[6] = {base, base, base, base, base, base};
    uint8_t organization[AUDIT_ID_LEN] = {1}, other[AUDIT_ID_LEN] = {2};
    uint8_t leaves[7][MERKLE_HASH_LEN];

    links[1].seq++;
    links[2].organization_seq++;
    links[3].organization_chain[0] = 1;
    links[4].salt[15] = 1;
    links[5].chain[0] = 1;
    for (size_t i = 0; i < 6; i++)
        ck_assert_int_eq(audit_leaf(&links[i], organization, leaves[i]), 0);
    ck_assert_int_eq(audit_leaf(&base, other, leaves[6]), 0);
    for (size_t i = 1; i < 7; i++)
        ck_assert_msg((memcmp(leaves[0], leaves[i], MERKLE_HASH_LEN) == 0) == (i == 5), "%zu", i);
}
END_TEST

START_TEST(a_checkpoint_has_these_bytes)
{
    struct audit_checkpoint checkpoint = {.seq = 3, .count = 2, .time = 0x0102};
    uint8_t bytes[AUDIT_CHECKPOINT_LEN];
    char hex[2 * AUDIT_CHECKPOINT_LEN + 1];

    memset(checkpoint.organization, 0xAA, sizeof(checkpoint.organization));
    memset(checkpoint.chain, 0xCC, sizeof(checkpoint.chain));
    memset(checkpoint.root, 0xDD, sizeof(checkpoint.root));
    audit_checkpoint_write(&checkpoint, bytes);
    ck_assert_str_eq(hex_encode(bytes, sizeof(bytes), hex),
        "637261646c652d61756469742d636865636b706f696e742d7631"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "0000000000000003"
        "0000000000000002"
        "0000000000000102"
        "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
        "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd");
    ck_assert(audit_checkpoint_valid(&checkpoint));
}
END_TEST

START_TEST(only_a_key_of_p256_is_read)
{
    static const char *const no_keys[] = {"",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n"
        "-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        "-----END PUBLIC KEY-----\n"};
    struct audit_key *key = NULL;

    for (size_t i = 0; i < sizeof(no_keys) / sizeof(no_keys[0]); i++)
        ck_assert_int_eq(audit_key_read(no_keys[i], strlen(no_keys[i]), &key), ERROR_INPUT);
}
END_TEST

SUITE_MAIN("base audit form", 4, an_event_has_these_bytes,
    a_chain_is_the_hash_of_what_was_before_and_the_event, no_two_events_have_the_same_bytes,
    what_cannot_be_written_is_refused, a_leaf_is_of_each_of_its_fields,
    a_checkpoint_has_these_bytes, only_a_key_of_p256_is_read)
