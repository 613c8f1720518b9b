#include "base/cleanup.h"
#include "device/agreement.h"
#include "device/gate.h"
#include "tests/support/suite.h"

#include <stdlib.h>
#include <string.h>

#define START 1000
#define END 2000

static const struct net_id a = {{0, 0, 1}}, b = {{0, 0, 2}}, c = {{0, 0, 3}}, d = {{0, 0, 4}};

/* Two pairs and two groups: a visits b and back, c visits d; a and c are in group 1, a, b and d in
 * group 2, which has no agreement that runs. */
static struct device_agreements made(void)
{
    const struct device_agreement agreements[] = {
        {.group_id = 2, .allows = AWAY_ALL, .starts_s = 0, .ends_s = START},
        {.home = c, .visited = d, .allows = AWAY_HOME_NS, .starts_s = START, .ends_s = END},
        {.group_id = 1, .allows = AWAY_ACTIVATION, .starts_s = START, .ends_s = AGREEMENT_NO_END},
        {.home = b, .visited = a, .allows = AWAY_ALL, .starts_s = START, .ends_s = END},
        {.home = a, .visited = b, .allows = AWAY_ALL, .starts_s = START, .ends_s = END},
    };
    const struct device_group_member members[] = {{d, 2}, {a, 2}, {b, 2}, {c, 1}, {a, 1}};
    struct device_agreements all = {
        .n_agreements = sizeof(agreements) / sizeof(agreements[0]),
        .n_members = sizeof(members) / sizeof(members[0]),
    };

    all.agreements = malloc(sizeof(agreements));
    all.members = malloc(sizeof(members));
    ck_assert_ptr_nonnull(all.agreements);
    ck_assert_ptr_nonnull(all.members);
    memcpy(all.agreements, agreements, sizeof(agreements));
    memcpy(all.members, members, sizeof(members));
    device_agreements_sort(&all);
    return all;
}

START_TEST(an_agreement_runs_from_its_first_second_to_the_one_before_its_end)
{
    const struct device_agreement it = {.allows = AWAY_ALL, .starts_s = START, .ends_s = END};
    const struct device_agreement endless = {
        .allows = AWAY_ALL, .starts_s = START, .ends_s = AGREEMENT_NO_END};

    ck_assert_int_eq(device_agreement_at(&it, AWAY_ACTIVATION, INT64_MIN), AGREED_NOT_BEGUN);
    ck_assert_int_eq(device_agreement_at(&it, AWAY_ACTIVATION, START - 1), AGREED_NOT_BEGUN);
    ck_assert_int_eq(device_agreement_at(&it, AWAY_ACTIVATION, START), AGREED);
    ck_assert_int_eq(device_agreement_at(&it, AWAY_ACTIVATION, END - 1), AGREED);
    ck_assert_int_eq(device_agreement_at(&it, AWAY_ACTIVATION, END), AGREED_ENDED);
    ck_assert_int_eq(device_agreement_at(&it, AWAY_ACTIVATION, INT64_MAX), AGREED_ENDED);
    ck_assert_int_eq(device_agreement_at(&endless, AWAY_HOME_NS, INT64_MAX - 1), AGREED);
}
END_TEST

START_TEST(what_is_allowed_is_each_for_itself)
{
    struct device_agreement it = {.starts_s = START, .ends_s = END};

    for (unsigned allows = 1; allows <= AWAY_ALL; allows++)
        for (unsigned what = 1; what <= AWAY_ALL; what <<= 1) {
            it.allows = allows;
            ck_assert_int_eq(
                device_agreement_at(&it, what, START), (allows & what) != 0 ? AGREED : AGREED_ELSE);
            /* Not of another time, whatever it allows. */
            ck_assert_int_eq(device_agreement_at(&it, what, END), AGREED_ENDED);
        }
}
END_TEST

START_TEST(pairs_have_a_direction_and_groups_have_none)
{
    CLEANUP(device_agreements_done) struct device_agreements all = made();
    static const struct {
        const struct net_id *home, *visited;
        enum device_agreed activation, home_ns;
    } cases[] = {
        {&a, &b, AGREED, AGREED},
        {&b, &a, AGREED, AGREED},
        {&c, &d, AGREED_ELSE, AGREED},
        {&d, &c, AGREED_NOTHING, AGREED_NOTHING},
        {&a, &c, AGREED, AGREED_ELSE},
        {&c, &a, AGREED, AGREED_ELSE},
        {&a, &d, AGREED_ENDED, AGREED_ENDED},
        {&d, &b, AGREED_ENDED, AGREED_ENDED},
        {&b, &c, AGREED_NOTHING, AGREED_NOTHING},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(
            device_agreements_judge(&all, cases[i].home, cases[i].visited, AWAY_ACTIVATION, START),
            cases[i].activation);
        ck_assert_int_eq(
            device_agreements_judge(&all, cases[i].home, cases[i].visited, AWAY_HOME_NS, START),
            cases[i].home_ns);
    }
}
END_TEST

START_TEST(of_several_the_best_counts)
{
    struct device_agreement list[] = {
        {.home = a, .visited = b, .allows = AWAY_ALL, .starts_s = 0, .ends_s = 10},
        {.home = a, .visited = b, .allows = AWAY_ACTIVATION, .starts_s = 20, .ends_s = 30},
        {.group_id = 7, .allows = AWAY_HOME_NS, .starts_s = 5, .ends_s = 25},
    };
    struct device_group_member members[] = {{b, 7}, {a, 7}};
    struct device_agreements all = {list, 3, members, 2};
    static const struct {
        int64_t at;
        enum device_agreed activation, home_ns;
    } cases[] = {
        {-1, AGREED_NOT_BEGUN, AGREED_NOT_BEGUN},
        {0, AGREED, AGREED},
        {10, AGREED_ELSE, AGREED},
        {20, AGREED, AGREED},
        {25, AGREED, AGREED_ELSE},
        {30, AGREED_ENDED, AGREED_ENDED},
    };

    device_agreements_sort(&all);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(device_agreements_judge(&all, &a, &b, AWAY_ACTIVATION, cases[i].at),
            cases[i].activation);
        ck_assert_int_eq(
            device_agreements_judge(&all, &a, &b, AWAY_HOME_NS, cases[i].at), cases[i].home_ns);
    }
}
END_TEST

/* What it is to be, by looking at all of them. */
static enum device_agreed naive(const struct device_agreements *all, const struct net_id *home,
    const struct net_id *visited, unsigned what, int64_t now_s)
{
    enum device_agreed best = AGREED_NOTHING;

    for (size_t i = 0; i < all->n_agreements; i++) {
        const struct device_agreement *it = &all->agreements[i];
        bool has_home = false, has_visited = false;
        enum device_agreed found = device_agreement_at(it, what, now_s);

        if (it->group_id == 0) {
            has_home = memcmp(&it->home, home, sizeof(*home)) == 0;
            has_visited = memcmp(&it->visited, visited, sizeof(*visited)) == 0;
        }
        for (size_t m = 0; it->group_id != 0 && m < all->n_members; m++) {
            const struct device_group_member *of = &all->members[m];

            has_home |= of->group_id == it->group_id && memcmp(&of->net_id, home, 3) == 0;
            has_visited |= of->group_id == it->group_id && memcmp(&of->net_id, visited, 3) == 0;
        }
        if (has_home && has_visited && found > best)
            best = found;
    }
    return best;
}

/* The same numbers in every run. */
static unsigned draw(unsigned below)
{
    static uint32_t state = 7;

    state = state * 1664525U + 1013904223U;
    return (state >> 16) % below;
}

START_TEST(a_search_finds_what_looking_at_all_of_them_finds)
{
    for (int round = 0; round < 200; round++) {
        struct device_agreement list[40] = {0};
        struct device_group_member members[40] = {0};
        struct device_agreements all = {list, draw(41), members, 0};
        bool is_member[8][8] = {{false}};

        for (size_t i = 0; i < all.n_agreements; i++) {
            list[i].group_id = draw(5);
            list[i].home.bytes[2] = (uint8_t)draw(8);
            list[i].visited.bytes[2] = (uint8_t)draw(8);
            list[i].allows = 1 + draw(3);
            list[i].starts_s = draw(10);
            list[i].ends_s = list[i].starts_s + 1 + draw(10);
        }
        for (size_t i = draw(41); i > 0; i--) {
            unsigned net = draw(8), group = draw(5);

            if (group == 0 || is_member[net][group])
                continue;
            is_member[net][group] = true;
            members[all.n_members].net_id.bytes[2] = (uint8_t)net;
            members[all.n_members++].group_id = group;
        }
        device_agreements_sort(&all);
        for (unsigned home = 0; home < 8; home++)
            for (unsigned visited = 0; visited < 8; visited++) {
                const struct net_id h = {{0, 0, (uint8_t)home}}, v = {{0, 0, (uint8_t)visited}};
                int64_t now_s = draw(20);
                unsigned what = 1u << draw(2);

                ck_assert_int_eq(device_agreements_judge(&all, &h, &v, what, now_s),
                    naive(&all, &h, &v, what, now_s));
            }
    }
}
END_TEST

START_TEST(no_agreements_agree_upon_nothing)
{
    struct device_agreements none = {0};

    device_agreements_sort(&none);
    ck_assert_int_eq(device_agreements_judge(&none, &a, &b, AWAY_ALL, START), AGREED_NOTHING);
    device_agreements_done(&none);
}
END_TEST

/* --- the gate --------------------------------------------------------------------------------- */

static const struct eui64 join_eui = {{1, 2, 3, 4, 5, 6, 7, 8}};
static const struct eui64 other_join_eui = {{1, 2, 3, 4, 5, 6, 7, 9}};

static struct device_record joinable(void)
{
    return (struct device_record){.join_eui = join_eui,
        .credential = CREDENTIAL_ACTIVABLE,
        .ownership = OWNERSHIP_CLAIMED,
        .service = SERVICE_ACTIVE,
        .trust = TRUST_OK,
        .has_home_net_id = true,
        .home_net_id = a};
}

START_TEST(the_gate_is_open_away_where_the_networks_agree_and_the_owner_does_not_mind)
{
    static const enum device_gate unless_agreed[N_DEVICE_AGREED] = {
        [AGREED_NOTHING] = GATE_HIDDEN_NOT_HOME,
        [AGREED_ENDED] = GATE_HIDDEN_AGREEMENT_ENDED,
        [AGREED_NOT_BEGUN] = GATE_HIDDEN_AGREEMENT_NOT_BEGUN,
        [AGREED_ELSE] = GATE_HIDDEN_AGREEMENT_ELSE,
        [AGREED] = GATE_OPEN,
    };
    struct device_roaming choices[4] = {{0}};

    ck_assert(device_roaming_list(NULL, 0, &choices[1]));
    ck_assert(device_roaming_list(&c, 1, &choices[2]));
    ck_assert(device_roaming_list((const struct net_id[]){c, b}, 2, &choices[3]));
    for (int agreed = AGREED_NOTHING; agreed < N_DEVICE_AGREED; agreed++)
        for (int choice = 0; choice < 4; choice++) {
            struct device_record r = joinable();
            enum device_gate expected = unless_agreed[agreed];
            enum device_gate gate;

            r.roaming = choices[choice];
            if (expected == GATE_OPEN && (choice == 1 || choice == 2))
                expected = GATE_HIDDEN_NARROWED;
            gate = device_gate_judge_away(&r, &b, &join_eui, (enum device_agreed)agreed);
            ck_assert_int_eq(gate, expected);
            ck_assert_int_eq(device_gate_is_hidden(gate), gate != GATE_OPEN);
            /* At home neither says anything. */
            ck_assert_int_eq(
                device_gate_judge_away(&r, &a, &join_eui, (enum device_agreed)agreed), GATE_OPEN);
        }
}
END_TEST

START_TEST(away_from_home_all_else_is_as_at_home)
{
    for (int i = 0; i < 6; i++) {
        struct device_record r = joinable();
        const struct eui64 *frame = i == 0 ? &other_join_eui : &join_eui;
        enum device_gate home;

        if (i == 1)
            r.trust = TRUST_QUARANTINED;
        if (i == 2)
            r.service = SERVICE_SUSPENDED;
        if (i == 3)
            r.credential = CREDENTIAL_SCRAPPED;
        if (i == 4)
            r.ownership = OWNERSHIP_UNOWNED;
        home = device_gate_judge(&r, &a, frame);
        ck_assert_int_eq(device_gate_judge_away(&r, &b, frame, AGREED), home);
        ck_assert_int_eq(home == GATE_OPEN, i == 5);
    }
}
END_TEST

START_TEST(a_device_without_a_home_roams_nowhere)
{
    struct device_record r = joinable();

    r.has_home_net_id = false;
    ck_assert_int_eq(device_gate_judge_away(&r, &b, &join_eui, AGREED), GATE_HIDDEN_NOT_HOME);
}
END_TEST

START_TEST(a_list_is_in_order_with_each_network_once)
{
    struct net_id many[DEVICE_ROAMING_MAX + 1] = {{{0}}};
    struct device_roaming x, y;

    ck_assert(device_roaming_list((const struct net_id[]){c, a, c, b, a}, 5, &x));
    ck_assert(device_roaming_list((const struct net_id[]){a, b, c}, 3, &y));
    ck_assert_uint_eq(x.n, 3);
    ck_assert(device_roaming_equal(&x, &y));
    ck_assert(device_roaming_list((const struct net_id[]){a, b}, 2, &y));
    ck_assert(!device_roaming_equal(&x, &y));
    ck_assert(device_roaming_list(NULL, 0, &y));
    ck_assert(!device_roaming_equal(&(struct device_roaming){0}, &y));
    ck_assert(!device_roaming_allows(&y, &a));
    ck_assert(device_roaming_allows(&x, &b));
    ck_assert(!device_roaming_allows(&x, &d));
    ck_assert(device_roaming_list(many, DEVICE_ROAMING_MAX, &y));
    ck_assert(!device_roaming_list(many, DEVICE_ROAMING_MAX + 1, &y));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("roaming agreements");
    TCase *tc = tcase_create("agreements");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_test(tc, an_agreement_runs_from_its_first_second_to_the_one_before_its_end);
    tcase_add_test(tc, what_is_allowed_is_each_for_itself);
    tcase_add_test(tc, pairs_have_a_direction_and_groups_have_none);
    tcase_add_test(tc, of_several_the_best_counts);
    tcase_add_test(tc, a_search_finds_what_looking_at_all_of_them_finds);
    tcase_add_test(tc, no_agreements_agree_upon_nothing);
    tcase_add_test(tc, the_gate_is_open_away_where_the_networks_agree_and_the_owner_does_not_mind);
    tcase_add_test(tc, away_from_home_all_else_is_as_at_home);
    tcase_add_test(tc, a_device_without_a_home_roams_nowhere);
    tcase_add_test(tc, a_list_is_in_order_with_each_network_once);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
