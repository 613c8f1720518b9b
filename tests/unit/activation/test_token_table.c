#include "activation/token_table.h"

#include "tests/support/suite.h"
#include <stdio.h>
#include <string.h>

#define NOW 1000
#define ORGANIZATION_OF(client) (INT64_C(1) << 40 | (client))

static struct act_token_table table;

static const char *name(unsigned client, unsigned serial, char out[static 32])
{
    (void)snprintf(out, 32, "token %u of client %u", serial, client);
    return out;
}

static struct act_token token_of(unsigned client, int64_t expires)
{
    struct act_token token = {.expires_unix_s = expires};

    token.client_id[0] = (uint8_t)(client >> 8);
    token.client_id[1] = (uint8_t)client;
    return token;
}

static void note_until(unsigned client, unsigned serial, int64_t expires)
{
    struct act_token token = token_of(client, expires);
    char text[32];

    act_token_table_note(&table, name(client, serial, text), &token, ORGANIZATION_OF(client), NOW);
}

static void note(unsigned client, unsigned serial)
{
    note_until(client, serial, NOW + 3600);
}

static bool knows_at(unsigned client, unsigned serial, int64_t now)
{
    char text[32];

    int64_t organization = act_token_table_knows(&table, name(client, serial, text), now);

    ck_assert(organization == 0 || organization == ORGANIZATION_OF(client));
    return organization != 0;
}

static bool knows(unsigned client, unsigned serial)
{
    return knows_at(client, serial, NOW);
}

START_TEST(only_what_was_noted_is_known_and_until_its_time_is_over)
{
    act_token_table_init(&table);
    ck_assert(!knows(1, 1));
    note_until(1, 1, NOW + 10);
    ck_assert(knows(1, 1));
    ck_assert(!knows(1, 2));
    ck_assert(knows_at(1, 1, NOW + 9));
    ck_assert(!knows_at(1, 1, NOW + 10));
    act_token_table_done(&table);
}
END_TEST

START_TEST(a_forgotten_token_is_unknown_and_others_stay)
{
    char text[32];

    act_token_table_init(&table);
    note(1, 1);
    note(1, 2);
    act_token_table_forget(&table, name(1, 1, text));
    act_token_table_forget(&table, name(9, 9, text));
    ck_assert(!knows(1, 1));
    ck_assert(knows(1, 2));
    act_token_table_done(&table);
}
END_TEST

START_TEST(a_client_has_a_share_and_loses_its_own_oldest_beyond_it)
{
    act_token_table_init(&table);
    note(2, 0);
    for (unsigned i = 0; i < ACT_TOKENS_PER_CLIENT_MAX; i++)
        note(1, i);
    note(1, 0); /* verified again: not the oldest any more */
    note(1, 100);
    ck_assert(knows(2, 0));
    ck_assert(knows(1, 0));
    ck_assert(!knows(1, 1));
    for (unsigned i = 2; i < ACT_TOKENS_PER_CLIENT_MAX; i++)
        ck_assert(knows(1, i));
    ck_assert(knows(1, 100));
    act_token_table_done(&table);
}
END_TEST

START_TEST(what_is_over_does_not_count_to_the_share)
{
    act_token_table_init(&table);
    for (unsigned i = 0; i < ACT_TOKENS_PER_CLIENT_MAX - 1; i++)
        note_until(1, i, NOW);
    note(1, 100);
    note(1, 101);
    ck_assert(knows(1, 100));
    ck_assert(knows(1, 101));
    act_token_table_done(&table);
}
END_TEST

START_TEST(a_full_table_gives_up_what_is_over_and_then_its_oldest)
{
    const unsigned over = 700;

    act_token_table_init(&table);
    for (unsigned i = 0; i < ACT_TOKENS_MAX; i++)
        note_until(i, 0, i == over ? NOW : NOW + 3600);
    note(ACT_TOKENS_MAX, 0);
    for (unsigned i = 0; i <= ACT_TOKENS_MAX; i++)
        ck_assert_msg(knows(i, 0) == (i != over), "client %u", i);
    note(ACT_TOKENS_MAX + 1, 0);
    for (unsigned i = 0; i <= ACT_TOKENS_MAX + 1; i++)
        ck_assert_msg(knows(i, 0) == (i != over && i != 0), "client %u", i);
    act_token_table_done(&table);
}
END_TEST

START_TEST(nothing_is_left_of_it_at_the_end)
{
    static const struct act_token_table empty;

    act_token_table_init(&table);
    note(1, 1);
    act_token_table_done(&table);
    ck_assert_mem_eq(table.tokens, empty.tokens, sizeof(table.tokens));
}
END_TEST

SUITE_MAIN("token_table", 20, only_what_was_noted_is_known_and_until_its_time_is_over,
    a_forgotten_token_is_unknown_and_others_stay,
    a_client_has_a_share_and_loses_its_own_oldest_beyond_it,
    what_is_over_does_not_count_to_the_share,
    a_full_table_gives_up_what_is_over_and_then_its_oldest, nothing_is_left_of_it_at_the_end)
