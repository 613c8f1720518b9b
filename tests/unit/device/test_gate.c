#include "device/gate.h"

#include <check.h>
#include <string.h>

static const struct net_id home = {{0x00, 0x00, 0x13}};
static const struct net_id other = {{0x00, 0x00, 0x24}};
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
        .home_net_id = home};
}

START_TEST(every_combination_of_the_axes_has_the_gate_of_the_rule)
{
    size_t n_open = 0;

    for (int c = CREDENTIAL_ORDERED; c <= CREDENTIAL_SCRAPPED; c++)
        for (int o = OWNERSHIP_UNOWNED; o <= OWNERSHIP_OFFERED; o++)
            for (int s = SERVICE_INACTIVE; s <= SERVICE_SUSPENDED; s++)
                for (int t = TRUST_OK; t <= TRUST_QUARANTINED; t++) {
                    struct device_record r = joinable();
                    bool open = c == CREDENTIAL_ACTIVABLE && o != OWNERSHIP_UNOWNED &&
                                s == SERVICE_ACTIVE && t != TRUST_QUARANTINED;
                    enum device_gate gate;

                    r.credential = (enum device_credential)c;
                    r.ownership = (enum device_ownership)o;
                    r.service = (enum device_service)s;
                    r.trust = (enum device_trust)t;
                    gate = device_gate_judge(&r, &home, &join_eui);
                    ck_assert_int_eq(gate == GATE_OPEN, open);
                    ck_assert_int_eq(device_gate_is_hidden(gate),
                        c != CREDENTIAL_ACTIVABLE || o == OWNERSHIP_UNOWNED);
                    n_open += gate == GATE_OPEN;
                }
    ck_assert_uint_eq(n_open, 4); /* claimed or offered, trust ok or suspect */
}
END_TEST

START_TEST(another_network_sees_what_a_stranger_sees)
{
    struct device_record r = joinable();

    ck_assert_int_eq(device_gate_judge(&r, &other, &join_eui), GATE_HIDDEN_NOT_HOME);
    r.trust = TRUST_QUARANTINED; /* not even that it is blocked */
    ck_assert(device_gate_is_hidden(device_gate_judge(&r, &other, &join_eui)));
    r = joinable();
    r.has_home_net_id = false;
    memset(&r.home_net_id, 0, sizeof(r.home_net_id));
    ck_assert_int_eq(
        device_gate_judge(&r, &(struct net_id){{0, 0, 0}}, &join_eui), GATE_HIDDEN_NOT_HOME);
}
END_TEST

START_TEST(a_frame_of_another_join_eui_is_of_an_unknown_device)
{
    struct device_record r = joinable();

    ck_assert_int_eq(device_gate_judge(&r, &home, &other_join_eui), GATE_HIDDEN_JOIN_EUI);
}
END_TEST

/* A device in a factory test in the other network: nobody's, and with two of three joins had. */
static struct device_record tested(void)
{
    struct device_record r = joinable();

    r.ownership = OWNERSHIP_UNOWNED;
    r.service = SERVICE_INACTIVE;
    r.has_home_net_id = false;
    r.test =
        (struct device_test_window){.present = true, .net_id = other, .max_joins = 3, .joins = 2};
    return r;
}

START_TEST(a_test_window_opens_what_nobody_owns_and_is_neither_ordered_nor_scrapped)
{
    size_t n_open = 0;

    for (int c = CREDENTIAL_ORDERED; c <= CREDENTIAL_SCRAPPED; c++)
        for (int o = OWNERSHIP_UNOWNED; o <= OWNERSHIP_OFFERED; o++)
            for (int s = SERVICE_INACTIVE; s <= SERVICE_SUSPENDED; s++)
                for (int t = TRUST_OK; t <= TRUST_QUARANTINED; t++) {
                    struct device_record r = tested();
                    bool is_tested = o == OWNERSHIP_UNOWNED && c != CREDENTIAL_ORDERED &&
                                     c != CREDENTIAL_SCRAPPED;
                    enum device_gate gate;

                    r.credential = (enum device_credential)c;
                    r.ownership = (enum device_ownership)o;
                    r.service = (enum device_service)s;
                    r.trust = (enum device_trust)t;
                    gate = device_gate_judge(&r, &other, &join_eui);
                    if (is_tested) {
                        ck_assert_int_eq(
                            gate, t == TRUST_QUARANTINED ? GATE_BLOCKED_QUARANTINED : GATE_TEST);
                    } else {
                        ck_assert(device_gate_is_hidden(gate));
                        /* The window is as if it were not there. */
                        r.test = (struct device_test_window){.present = false};
                        ck_assert_int_eq(gate, device_gate_judge(&r, &other, &join_eui));
                    }
                    n_open += gate == GATE_TEST;
                }
    ck_assert_uint_eq(n_open, 4 * 3 * 2); /* credentials, whatever the service, trust */
}
END_TEST

START_TEST(a_test_window_opens_for_its_network_its_time_and_its_joins_only)
{
    for (int i = 0; i < 1 << 4; i++) {
        struct device_record r = tested();
        const struct net_id *sender = i & 1 ? &home : &other;
        const struct eui64 *frame = i & 2 ? &other_join_eui : &join_eui;
        enum device_gate expected = GATE_TEST;

        r.test.expired = (i & 4) != 0;
        r.test.joins = i & 8 ? 3 : 2;
        /* Who is not entitled learns least: the first that applies. */
        if (i & 8)
            expected = GATE_HIDDEN_TEST_USED_UP;
        if (i & 4)
            expected = GATE_HIDDEN_TEST_EXPIRED;
        if (i & 2)
            expected = GATE_HIDDEN_JOIN_EUI;
        if (i & 1)
            expected = GATE_HIDDEN_TEST_NETWORK;
        ck_assert_int_eq(device_gate_judge(&r, sender, frame), expected);
        ck_assert_int_eq(device_gate_is_hidden(expected), i != 0);
        /* A window that is used up still answers retries: not in quarantine. */
        r.trust = TRUST_QUARANTINED;
        if ((i & 7) == 0)
            ck_assert_int_eq(device_gate_judge(&r, sender, frame), GATE_BLOCKED_QUARANTINED);
    }
}
END_TEST

START_TEST(a_window_is_told_as_it_stands_and_names_whose_kek_it_is)
{
    struct device_record r = tested();

    memcpy(r.as_id, "owners", sizeof("owners"));
    memcpy(r.test.as_id, "makers", sizeof("makers"));
    ck_assert_str_eq(device_as_id(&r), "makers");
    ck_assert_str_eq(device_test_window_text(&r.test), "open");
    r.test.joins = 3;
    ck_assert_str_eq(device_test_window_text(&r.test), "used_up");
    r.test.expired = true;
    ck_assert_str_eq(device_test_window_text(&r.test), "expired");
    r.ownership = OWNERSHIP_CLAIMED;
    ck_assert_str_eq(device_as_id(&r), "owners");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("device gate");
    TCase *tc = tcase_create("gate");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_test(tc, every_combination_of_the_axes_has_the_gate_of_the_rule);
    tcase_add_test(tc, another_network_sees_what_a_stranger_sees);
    tcase_add_test(tc, a_frame_of_another_join_eui_is_of_an_unknown_device);
    tcase_add_test(tc, a_test_window_opens_what_nobody_owns_and_is_neither_ordered_nor_scrapped);
    tcase_add_test(tc, a_test_window_opens_for_its_network_its_time_and_its_joins_only);
    tcase_add_test(tc, a_window_is_told_as_it_stands_and_names_whose_kek_it_is);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
