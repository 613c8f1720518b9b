#include "device/preflight.h"

#include "device/gate.h"
#include <check.h>
#include <string.h>

static const struct net_id home = {{0x00, 0x00, 0x13}};

static struct device_preflight ready(enum lw_mac_version version)
{
    return (struct device_preflight){.record = {.mac_version = version,
                                         .credential = CREDENTIAL_ACTIVABLE,
                                         .ownership = OWNERSHIP_CLAIMED,
                                         .service = SERVICE_ACTIVE,
                                         .trust = TRUST_OK,
                                         .has_home_net_id = true,
                                         .home_net_id = home,
                                         .as_id = "as"},
        .state = {.last_dev_nonce = DEVICE_NO_NONCE},
        .has_app = true,
        .has_nwk = version == LW_MAC_1_1,
        .home_is_known = true,
        .home_has_kek = true,
        .as_is_known = true,
        .as_has_kek = true,
        .join_eui_is_routed = true,
        .is_entitled = true};
}

static size_t n_missing(const struct device_preflight *facts, enum device_check *ret_last)
{
    size_t n = 0;

    for (int i = 0; i < N_DEVICE_CHECKS; i++)
        if (!device_check_passes((enum device_check)i, facts)) {
            *ret_last = (enum device_check)i;
            n++;
        }
    return n;
}

START_TEST(every_check_has_a_name_of_its_own_and_something_to_do)
{
    for (int i = 0; i < N_DEVICE_CHECKS; i++) {
        ck_assert(device_check_name((enum device_check)i)[0] != '\0');
        ck_assert(device_check_to_do((enum device_check)i)[0] != '\0');
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(
                device_check_name((enum device_check)i), device_check_name((enum device_check)j));
    }
}
END_TEST

START_TEST(a_device_that_has_all_passes_in_every_version)
{
    enum device_check last;

    for (int v = LW_MAC_1_0_0; v <= LW_MAC_1_1; v++) {
        struct device_preflight f = ready((enum lw_mac_version)v);

        ck_assert_uint_eq(n_missing(&f, &last), 0);
    }
}
END_TEST

/* Of `ready`, with one thing changed, exactly one check fails. */
#define MISSES(version, change, check)                                                             \
    do {                                                                                           \
        struct device_preflight f = ready(version);                                                \
        enum device_check last = N_DEVICE_CHECKS;                                                  \
        change;                                                                                    \
        ck_assert_uint_eq(n_missing(&f, &last), 1);                                                \
        ck_assert_int_eq(last, check);                                                             \
    } while (0)

START_TEST(each_missing_thing_fails_its_own_check)
{
    MISSES(LW_MAC_1_0_3, f.record.credential = CREDENTIAL_DELIVERED, CHECK_CREDENTIAL);
    MISSES(LW_MAC_1_0_3, f.record.ownership = OWNERSHIP_UNOWNED, CHECK_CLAIMED);
    MISSES(LW_MAC_1_0_3, f.record.service = SERVICE_SUSPENDED, CHECK_SERVICE);
    MISSES(LW_MAC_1_0_3, f.record.service = SERVICE_INACTIVE, CHECK_SERVICE);
    MISSES(LW_MAC_1_0_3, f.is_entitled = false, CHECK_SUBSCRIPTION);
    MISSES(LW_MAC_1_0_3, f.record.trust = TRUST_QUARANTINED, CHECK_TRUST);
    MISSES(LW_MAC_1_0_3, f.record.has_home_net_id = false, CHECK_HOME_NAMED);
    MISSES(LW_MAC_1_0_3, f.home_is_known = false, CHECK_HOME_KNOWN);
    MISSES(LW_MAC_1_0_3, f.home_has_kek = false, CHECK_HOME_KEK);
    MISSES(LW_MAC_1_0_3, f.record.as_id[0] = '\0', CHECK_AS_NAMED);
    MISSES(LW_MAC_1_0_3, f.as_is_known = false, CHECK_AS_KNOWN);
    MISSES(LW_MAC_1_0_3, f.as_has_kek = false, CHECK_AS_KEK);
    MISSES(LW_MAC_1_0_3, f.join_eui_is_routed = false, CHECK_JOIN_EUI);
    MISSES(LW_MAC_1_0_3, f.has_app = false, CHECK_ROOT_KEYS);
    MISSES(LW_MAC_1_0_3, f.has_nwk = true, CHECK_ROOT_KEYS);
    MISSES(LW_MAC_1_1, f.has_nwk = false, CHECK_ROOT_KEYS);
    MISSES(LW_MAC_1_0_4, f.state.last_dev_nonce = UINT16_MAX, CHECK_DEV_NONCES);
    MISSES(LW_MAC_1_0_3, f.n_used = UINT16_MAX + 1, CHECK_DEV_NONCES);
    MISSES(LW_MAC_1_0_4, f.state.nonce_epoch = 1, CHECK_DEV_NONCES);
    MISSES(LW_MAC_1_0_4, f.state.join_nonce = LW_JOIN_NONCE_MAX, CHECK_JOIN_NONCES);
}
END_TEST

START_TEST(what_stands_in_for_another_thing_passes)
{
    struct device_preflight f = ready(LW_MAC_1_0_4);
    enum device_check last;

    f.home_has_kek = false;
    f.home_may_have_plain_keys = true;
    f.as_has_kek = false;
    f.home_has_plain_app_s_key = true;
    f.record.trust = TRUST_SUSPECT;
    f.record.ownership = OWNERSHIP_OFFERED;
    f.state.last_dev_nonce = UINT16_MAX;
    f.record.nonce_epoch = 1; /* reset since */
    ck_assert_uint_eq(n_missing(&f, &last), 0);
}
END_TEST

START_TEST(the_states_pass_exactly_where_the_gate_is_open)
{
    for (int c = CREDENTIAL_ORDERED; c <= CREDENTIAL_SCRAPPED; c++)
        for (int o = OWNERSHIP_UNOWNED; o <= OWNERSHIP_OFFERED; o++)
            for (int s = SERVICE_INACTIVE; s <= SERVICE_SUSPENDED; s++)
                for (int t = TRUST_OK; t <= TRUST_QUARANTINED; t++) {
                    struct device_preflight f = ready(LW_MAC_1_0_3);
                    enum device_check last;

                    f.record.credential = (enum device_credential)c;
                    f.record.ownership = (enum device_ownership)o;
                    f.record.service = (enum device_service)s;
                    f.record.trust = (enum device_trust)t;
                    ck_assert_int_eq(n_missing(&f, &last) == 0,
                        device_gate_judge(&f.record, &home, &f.record.join_eui) == GATE_OPEN);
                }
}
END_TEST

START_TEST(a_sigfox_device_is_asked_for_nothing_that_is_of_joins)
{
    static const enum device_check apply[] = {
        CHECK_CREDENTIAL, CHECK_CLAIMED, CHECK_SERVICE, CHECK_TRUST, CHECK_SUBSCRIPTION};

    for (unsigned i = 0; i < N_DEVICE_CHECKS; i++) {
        bool applies = false;

        for (size_t k = 0; k < sizeof(apply) / sizeof(apply[0]); k++)
            applies |= apply[k] == (enum device_check)i;
        ck_assert(device_check_applies((enum device_check)i, DEVICE_LORAWAN));
        ck_assert_int_eq(device_check_applies((enum device_check)i, DEVICE_SIGFOX), applies);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("device preflight");
    TCase *tc = tcase_create("preflight");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_test(tc, every_check_has_a_name_of_its_own_and_something_to_do);
    tcase_add_test(tc, a_device_that_has_all_passes_in_every_version);
    tcase_add_test(tc, each_missing_thing_fails_its_own_check);
    tcase_add_test(tc, what_stands_in_for_another_thing_passes);
    tcase_add_test(tc, the_states_pass_exactly_where_the_gate_is_open);
    tcase_add_test(tc, a_sigfox_device_is_asked_for_nothing_that_is_of_joins);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
