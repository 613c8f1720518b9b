#include "joinserver/partners.h"

#include "db/agreement.h"
#include "device/carried.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

#define NOW INT64_C(1000000)
#define ANN 7
#define BOB 8
#define MAX_IN_ALL 64

static struct join_partners *partners;
static struct text text;

static struct join_partner_key key(int64_t id, unsigned max_in_flight)
{
    return (struct join_partner_key){.id = id, .name = "p\"q", .max_in_flight = max_in_flight};
}

static void begin(void)
{
    ck_assert_int_eq(join_partners_new(MAX_IN_ALL, &partners), 0);
}

static void end(void)
{
    text_done(&text);
    join_partners_free(partners);
}

/* How many of `n` places are given. */
static unsigned take(int64_t id, unsigned max_in_flight, int64_t peer_id,
    struct join_partner_place *places, unsigned n)
{
    const struct join_partner_key wanted = key(id, max_in_flight);
    unsigned taken = 0;

    for (unsigned i = 0; i < n; i++)
        if (join_partner_take(partners, &wanted, peer_id, NOW, &places[taken]) == JOIN_CARRIED)
            taken++;
    return taken;
}

static void give(const struct join_partner_place *places, unsigned n, enum join_carried outcome)
{
    for (unsigned i = 0; i < n; i++)
        join_partner_end(partners, &places[i], outcome, 1000, NOW);
}

static bool tells(const char *line)
{
    text_clear(&text);
    join_partners_metrics(partners, NULL, &text);
    return strstr(text.data, line) != NULL;
}

START_TEST(each_outcome_has_a_name_a_verdict_and_a_word_for_who_asked)
{
    for (int i = 0; i < N_JOIN_CARRIED; i++) {
        const struct join_carried_row *row = join_carried_row((enum join_carried)i);

        ck_assert_ptr_nonnull(row->name);
        ck_assert_int_eq(row->result == JOIN_SUCCESS, i == JOIN_CARRIED);
        ck_assert_int_eq(row->description == NULL, i == JOIN_CARRIED);
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(row->name, join_carried_row((enum join_carried)j)->name);
        ck_assert_msg(device_carried_is_known(row->name), "%s is not explained", row->name);
        ck_assert_uint_le(strlen(row->name), DB_CARRIED_WORD_MAX);
    }
    ck_assert_str_eq(join_carried_row(JOIN_CARRIED)->name, CARRIED_ANSWERED);
    for (unsigned i = 0; i < N_CARRY_CODES; i++)
        ck_assert_uint_le(strlen(carry_code_name(i)), DB_CARRIED_WORD_MAX);
    for (int i = 0; i < N_CARRY_FAULTS; i++)
        ck_assert_int_eq(
            join_carried_of_fault((enum carry_fault)i) == JOIN_CARRIED, i == CARRY_GOOD);
}
END_TEST

START_TEST(no_requester_has_all_places_of_a_partner)
{
    struct join_partner_place ann[MAX_IN_ALL], bob[MAX_IN_ALL];

    begin();
    ck_assert_uint_eq(take(1, 8, ANN, ann, MAX_IN_ALL), 6);
    ck_assert_uint_eq(take(1, 8, BOB, bob, MAX_IN_ALL), 2);
    ck_assert_uint_eq(take(1, 8, ANN, ann + 6, 1), 0);
    give(ann, 6, JOIN_CARRIED);
    ck_assert_uint_gt(take(1, 8, BOB, bob + 2, MAX_IN_ALL - 2), 0);
    ck_assert(tells("cradle_partner_requests_total{partner=\"p\\\"q\",id=\"1\",outcome=\"full\"}"));
    end();
}
END_TEST

START_TEST(no_partner_has_all_places_of_the_server)
{
    struct join_partner_place places[10 * MAX_IN_ALL];
    unsigned n = 0;

    begin();
    for (int64_t peer_id = 1; peer_id <= 100; peer_id++)
        n += take(1, 1000, peer_id, places + n, 2);
    ck_assert_uint_eq(n, MAX_IN_ALL * 3 / 4);
    ck_assert_uint_eq(take(2, 1000, ANN, places + n, 1), 1);
    end();
}
END_TEST

START_TEST(a_partner_that_fails_is_left_alone_and_the_others_are_not)
{
    struct join_partner_place places[BREAKER_FAILURES];

    begin();
    ck_assert_uint_eq(take(1, 64, ANN, places, BREAKER_FAILURES), BREAKER_FAILURES);
    give(places, BREAKER_FAILURES, JOIN_CARRIED_TIMEOUT);
    ck_assert_uint_eq(take(1, 64, ANN, places, 1), 0);
    ck_assert(tells("cradle_partner_breaker{partner=\"p\\\"q\",id=\"1\",state=\"open\"} 1"));
    ck_assert(tells("id=\"1\",outcome=\"open\"} 1"));
    ck_assert(tells("id=\"1\",outcome=\"timeout\"} 5"));
    ck_assert(tells("cradle_partner_in_flight{partner=\"p\\\"q\",id=\"1\"} 0"));
    ck_assert_uint_eq(take(2, 64, ANN, places, 1), 1);
    end();
}
END_TEST

START_TEST(what_dns_named_is_bounded_apart_and_one_series)
{
    struct join_partner_place places[BREAKER_FAILURES];

    begin();
    ck_assert_uint_eq(take(-2, 64, ANN, places, BREAKER_FAILURES), BREAKER_FAILURES);
    give(places, BREAKER_FAILURES, JOIN_CARRIED_UNREACHABLE);
    ck_assert_uint_eq(take(-2, 64, ANN, places, 1), 0);
    ck_assert_uint_eq(take(-3, 64, ANN, places, 1), 1);
    give(places, 1, JOIN_CARRIED);
    for (int64_t id = -4; id > -4 - 4 * JOIN_PARTNERS_FOUND_MAX; id--) {
        ck_assert_uint_eq(take(id, 64, ANN, places, 1), 1);
        give(places, 1, JOIN_CARRIED);
    }
    ck_assert(tells("{partner=\"(dns)\",id=\"\",outcome=\"unreachable\"} 5"));
    ck_assert(!tells("id=\"-"));
    end();
}
END_TEST

START_TEST(where_all_that_dns_named_is_busy_nothing_more_is_taken)
{
    struct join_partner_place places[JOIN_PARTNERS_FOUND_MAX + 1];
    int64_t id = -2;

    ck_assert_int_eq(join_partners_new(10 * JOIN_PARTNERS_FOUND_MAX, &partners), 0);
    for (unsigned i = 0; i < JOIN_PARTNERS_FOUND_MAX; i++)
        ck_assert_uint_eq(take(id--, 64, ANN, &places[i], 1), 1);
    ck_assert_uint_eq(take(id, 64, ANN, &places[JOIN_PARTNERS_FOUND_MAX], 1), 0);
    give(places, 1, JOIN_CARRIED);
    ck_assert_uint_eq(take(id, 64, ANN, &places[JOIN_PARTNERS_FOUND_MAX], 1), 1);
    end();
}
END_TEST

START_TEST(a_partner_complains_once_a_second_and_says_how_often)
{
    const struct join_partner_key one = key(1, 8), other = key(2, 8);

    begin();
    ck_assert_uint_eq(join_partner_complains(partners, &one, NOW), 1);
    ck_assert_uint_eq(join_partner_complains(partners, &one, NOW + 10), 0);
    ck_assert_uint_eq(join_partner_complains(partners, &other, NOW + 10), 1);
    ck_assert_uint_eq(join_partner_complains(partners, &one, NOW + 999), 0);
    ck_assert_uint_eq(join_partner_complains(partners, &one, NOW + 1000), 3);
    end();
}
END_TEST

START_TEST(answers_are_told_apart_by_their_codes)
{
    struct join_partner_place places[3];

    begin();
    ck_assert_uint_eq(take(1, 64, ANN, places, 3), 3);
    join_partner_answered(&places[0], 0);
    join_partner_answered(&places[1], CARRY_CODE_UNKNOWN);
    join_partner_answered(&places[2], CARRY_CODE_UNKNOWN);
    give(places, 3, JOIN_CARRIED);
    ck_assert(carry_is_success(0));
    ck_assert(
        tells("cradle_partner_answers_total{partner=\"p\\\"q\",id=\"1\",code=\"Success\"} 1\n"));
    ck_assert(
        tells("cradle_partner_answers_total{partner=\"p\\\"q\",id=\"1\",code=\"(unknown)\"} 2\n"));
    end();
}
END_TEST

SUITE_MAIN("joinserver partners", 10, each_outcome_has_a_name_a_verdict_and_a_word_for_who_asked,
    no_requester_has_all_places_of_a_partner, no_partner_has_all_places_of_the_server,
    a_partner_that_fails_is_left_alone_and_the_others_are_not,
    what_dns_named_is_bounded_apart_and_one_series,
    where_all_that_dns_named_is_busy_nothing_more_is_taken,
    a_partner_complains_once_a_second_and_says_how_often, answers_are_told_apart_by_their_codes)
