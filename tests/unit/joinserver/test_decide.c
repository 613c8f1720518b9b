#include "joinserver/decide.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

static const uint8_t fingerprint[JOIN_FINGERPRINT_LEN] = {1, 2, 3};

/* A device of each version that may join, and a request of its home network. */
struct scene {
    struct db_join_row row;
    struct ts002_request request;
};

static struct scene scene_of(enum lw_mac_version version)
{
    struct scene s = {
        .row = {.found = true,
            .record = {.mac_version = version,
                .credential = CREDENTIAL_ACTIVABLE,
                .ownership = OWNERSHIP_CLAIMED,
                .service = SERVICE_ACTIVE,
                .trust = TRUST_OK,
                .has_home_net_id = true,
                .home_net_id = {{0, 0, 0x13}}},
            .state = {.join_nonce = 41, .last_dev_nonce = 6},
            .has_app = true,
            .has_nwk = version == LW_MAC_1_1},
        .request = {.sender = {{0, 0, 0x13}}, .dev_nonce = 7},
    };
    return s;
}

static struct join_decision decide(const struct scene *s)
{
    return join_decide(&s->row, &s->request, fingerprint, JOIN_RETRY_WINDOW_MS_DEFAULT);
}

START_TEST(a_fresh_join_is_planned_with_the_next_join_nonce)
{
    for (int v = LW_MAC_1_0_0; v <= LW_MAC_1_1; v++) {
        struct scene s = scene_of((enum lw_mac_version)v);
        struct join_decision d = decide(&s);

        ck_assert_int_eq(d.act, JOIN_ACT_PLAN);
        ck_assert_int_eq(d.result, JOIN_SUCCESS);
        ck_assert_uint_eq(d.join_nonce, 42);
    }
}
END_TEST

START_TEST(unknown_not_yours_unclaimed_and_not_activable_are_one_act_and_one_result)
{
    struct scene scenes[4];

    for (int i = 0; i < 4; i++)
        scenes[i] = scene_of(LW_MAC_1_0_3);
    scenes[0].row.found = false;
    scenes[1].request.sender.bytes[2] = 0x24;
    scenes[2].row.record.ownership = OWNERSHIP_UNOWNED;
    scenes[3].row.record.credential = CREDENTIAL_DELIVERED;
    for (int i = 0; i < 4; i++) {
        struct join_decision d = decide(&scenes[i]);

        ck_assert_int_eq(d.act, JOIN_ACT_HIDE);
        ck_assert_int_eq(d.result, JOIN_UNKNOWN_DEV_EUI);
    }
}
END_TEST

START_TEST(a_blocked_device_is_told_so_only_behind_its_mic)
{
    struct scene s = scene_of(LW_MAC_1_0_4);

    s.row.record.service = SERVICE_SUSPENDED;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_VERIFY);
    ck_assert_int_eq(decide(&s).result, JOIN_ACTIVATION_DISALLOWED);
    s.row.record.service = SERVICE_ACTIVE;
    s.row.record.trust = TRUST_QUARANTINED;
    ck_assert_int_eq(decide(&s).result, JOIN_ACTIVATION_DISALLOWED);
}
END_TEST

START_TEST(a_used_devnonce_is_refused_behind_its_mic)
{
    struct scene s = scene_of(LW_MAC_1_0_4);

    s.request.dev_nonce = 6;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_VERIFY);
    ck_assert_int_eq(decide(&s).result, JOIN_NONCE_REPLAYED);
    s = scene_of(LW_MAC_1_0_2);
    s.row.dev_nonce_used = true;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_VERIFY);
    ck_assert_int_eq(decide(&s).result, JOIN_NONCE_REPLAYED);
}
END_TEST

START_TEST(the_same_request_again_gets_the_same_join_nonce_within_the_window)
{
    struct scene s = scene_of(LW_MAC_1_0_2);

    s.row.dev_nonce_used = true;
    s.row.state.has_retry = true;
    memcpy(s.row.state.retry_fingerprint, fingerprint, sizeof(fingerprint));
    s.row.state.retry_age_ms = JOIN_RETRY_WINDOW_MS_DEFAULT;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_RETRY);
    ck_assert_uint_eq(decide(&s).join_nonce, 41);

    s.row.state.retry_age_ms++;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_VERIFY);
    s.row.state.retry_age_ms = 0;
    s.row.state.retry_fingerprint[15] ^= 1;
    ck_assert_int_eq(decide(&s).result, JOIN_NONCE_REPLAYED);
}
END_TEST

START_TEST(a_clock_that_went_back_opens_no_window)
{
    struct scene s = scene_of(LW_MAC_1_0_2);

    s.row.dev_nonce_used = true;
    s.row.state.has_retry = true;
    memcpy(s.row.state.retry_fingerprint, fingerprint, sizeof(fingerprint));
    s.row.state.retry_age_ms = -1;
    ck_assert_int_eq(decide(&s).result, JOIN_NONCE_REPLAYED);
}
END_TEST

START_TEST(a_nonce_epoch_that_went_back_is_refused_and_not_tried_for_ever)
{
    struct scene s = scene_of(LW_MAC_1_0_4);

    s.row.state.nonce_epoch = 1;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_VERIFY);
    ck_assert_int_eq(decide(&s).result, JOIN_UNAVAILABLE);
}
END_TEST

START_TEST(a_retry_passes_the_gate_again)
{
    struct scene s = scene_of(LW_MAC_1_0_2);

    s.row.dev_nonce_used = true;
    s.row.state.has_retry = true;
    memcpy(s.row.state.retry_fingerprint, fingerprint, sizeof(fingerprint));
    s.row.record.service = SERVICE_SUSPENDED;
    ck_assert_int_eq(decide(&s).result, JOIN_ACTIVATION_DISALLOWED);
    s.row.record.ownership = OWNERSHIP_UNOWNED;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_HIDE);
}
END_TEST

START_TEST(a_window_of_zero_switches_retries_off)
{
    struct scene s = scene_of(LW_MAC_1_0_2);

    s.row.dev_nonce_used = true;
    s.row.state.has_retry = true;
    memcpy(s.row.state.retry_fingerprint, fingerprint, sizeof(fingerprint));
    ck_assert_int_eq(join_decide(&s.row, &s.request, fingerprint, 0).result, JOIN_NONCE_REPLAYED);
}
END_TEST

START_TEST(optneg_needs_a_record_of_1_1)
{
    for (int v = LW_MAC_1_0_0; v <= LW_MAC_1_1; v++) {
        struct scene s = scene_of((enum lw_mac_version)v);

        s.request.dl_settings = LW_OPT_NEG;
        ck_assert_int_eq(decide(&s).result, v == LW_MAC_1_1 ? JOIN_SUCCESS : JOIN_MALFORMED);
    }
}
END_TEST

START_TEST(exhausted_join_nonces_refuse_behind_the_mic)
{
    struct scene s = scene_of(LW_MAC_1_0_3);

    s.row.state.join_nonce = LW_JOIN_NONCE_MAX;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_VERIFY);
    ck_assert_int_eq(decide(&s).result, JOIN_NONCE_EXHAUSTED);
}
END_TEST

START_TEST(a_record_without_its_keys_is_our_fault_and_never_an_answer)
{
    struct scene s = scene_of(LW_MAC_1_1);

    s.row.has_nwk = false;
    ck_assert_int_eq(decide(&s).result, JOIN_UNAVAILABLE);
    s = scene_of(LW_MAC_1_0_3);
    s.row.has_app = false;
    ck_assert_int_eq(decide(&s).result, JOIN_UNAVAILABLE);
}
END_TEST

START_TEST(the_fingerprint_is_of_everything_that_shapes_the_answer)
{
    struct ts002_request base = {.rx_delay = 1}, other;
    uint8_t a[JOIN_FINGERPRINT_LEN], b[JOIN_FINGERPRINT_LEN];

    join_fingerprint(7, &base, a);
    join_fingerprint(8, &base, b);
    ck_assert_mem_ne(a, b, sizeof(a));
#define DIFFERS(change)                                                                            \
    other = base;                                                                                  \
    change;                                                                                        \
    join_fingerprint(7, &other, b);                                                                \
    ck_assert_mem_ne(a, b, sizeof(a))
    DIFFERS(other.frame[22] = 1);
    DIFFERS(other.sender.bytes[2] = 1);
    DIFFERS(other.dev_addr.bytes[3] = 1);
    DIFFERS(other.dl_settings = 1);
    DIFFERS(other.rx_delay = 2);
    DIFFERS(other.has_cf_list = true);
    DIFFERS(other.cf_list[0] = 1);
#undef DIFFERS
    other = base;
    other.transaction_id = 99; /* a retry has its own */
    join_fingerprint(7, &other, b);
    ck_assert_mem_eq(a, b, sizeof(a));
}
END_TEST

START_TEST(the_home_network_alone_is_told_who_is_home)
{
    struct scene home = scene_of(LW_MAC_1_0_3), scenes[5];

    /* Also of a device that may not join at present. */
    home.row.record.service = SERVICE_SUSPENDED;
    ck_assert_int_eq(join_decide_home_ns(&home.row, &home.request).act, JOIN_ACT_TELL);
    ck_assert_int_eq(join_decide_home_ns(&home.row, &home.request).result, JOIN_SUCCESS);
    for (int i = 0; i < 5; i++)
        scenes[i] = scene_of(LW_MAC_1_0_3);
    scenes[0].row.found = false;
    scenes[1].request.sender.bytes[2] = 0x24;
    scenes[2].row.record.ownership = OWNERSHIP_UNOWNED;
    scenes[3].row.record.credential = CREDENTIAL_DELIVERED;
    scenes[4].row.record.has_home_net_id = false;
    for (int i = 0; i < 5; i++) {
        struct join_decision d = join_decide_home_ns(&scenes[i].row, &scenes[i].request);

        ck_assert_int_eq(d.act, JOIN_ACT_TELL);
        ck_assert_int_eq(d.result, JOIN_NO_ROAMING_AGREEMENT);
        ck_assert_int_eq(d.reason, REFUSAL_NONE);
    }
}
END_TEST

/* LoRaWAN 1.0.x lets a device's AppEUI name anything. */
START_TEST(where_any_join_eui_will_do_the_dev_eui_alone_finds_the_device)
{
    for (int v = LW_MAC_1_0_0; v <= LW_MAC_1_1; v++) {
        struct scene s = scene_of((enum lw_mac_version)v);

        s.request.frame_join_eui.bytes[3] ^= 1;
        ck_assert_int_eq(decide(&s).act, JOIN_ACT_HIDE);
        s.request.any_join_eui = true;
        ck_assert_int_eq(decide(&s).act, JOIN_ACT_PLAN);
        s.request.sender.bytes[2] = 0x24;
        ck_assert_int_eq(decide(&s).act, JOIN_ACT_HIDE);
    }
}
END_TEST

START_TEST(a_dev_nonce_that_was_used_stays_used_under_another_join_eui)
{
    for (int v = LW_MAC_1_0_0; v <= LW_MAC_1_1; v++) {
        struct scene s = scene_of((enum lw_mac_version)v);

        s.request.frame_join_eui.bytes[3] ^= 1;
        s.request.any_join_eui = true;
        s.request.dev_nonce = 6;
        s.row.dev_nonce_used = true;
        ck_assert_int_eq(decide(&s).act, JOIN_ACT_VERIFY);
        ck_assert_int_eq(decide(&s).result, JOIN_NONCE_REPLAYED);
    }
}
END_TEST

static struct scene session_scene_of(enum lw_mac_version version)
{
    struct scene s = scene_of(version);

    (void)snprintf(s.row.record.as_id, sizeof(s.row.record.as_id), "demo-as");
    (void)snprintf(s.request.sender_id, sizeof(s.request.sender_id), "demo-as");
    s.row.session =
        (struct db_join_session){.found = true, .join_eui = s.row.record.join_eui, .dev_nonce = 5};
    s.request.session_join_nonce = 40;
    return s;
}

START_TEST(the_named_application_server_alone_has_a_key_derived)
{
    struct scene good = session_scene_of(LW_MAC_1_1), scenes[8];
    struct join_decision d = join_decide_app_s_key(&good.row, &good.request);

    ck_assert_int_eq(d.act, JOIN_ACT_DERIVE);
    ck_assert_int_eq(d.result, JOIN_SUCCESS);
    ck_assert_uint_eq(d.join_nonce, 40);
    for (int i = 0; i < 8; i++)
        scenes[i] = session_scene_of(LW_MAC_1_0_3);
    scenes[0].row.found = false;
    scenes[1].request.sender_id[0] = 'D';
    scenes[2].row.record.as_id[0] = '\0';
    scenes[3].row.session.found = false;
    scenes[4].row.session.join_eui.bytes[0] ^= 1;
    good.row.session.join_eui.bytes[0] ^= 1;
    good.request.any_join_eui = true;
    ck_assert_int_eq(join_decide_app_s_key(&good.row, &good.request).act, JOIN_ACT_DERIVE);
    scenes[5].row.record.ownership = OWNERSHIP_UNOWNED;
    scenes[6].row.record.credential = CREDENTIAL_SCRAPPED;
    scenes[7].row.record.has_home_net_id = false;
    for (int i = 0; i < 8; i++) {
        d = join_decide_app_s_key(&scenes[i].row, &scenes[i].request);
        ck_assert_int_eq(d.act, JOIN_ACT_TELL);
        ck_assert_int_eq(d.result, JOIN_UNKNOWN_DEV_EUI);
    }
}
END_TEST

START_TEST(no_key_is_derived_for_a_blocked_device_or_without_its_root)
{
    struct scene s = session_scene_of(LW_MAC_1_0_3);

    s.row.record.trust = TRUST_QUARANTINED;
    ck_assert_int_eq(join_decide_app_s_key(&s.row, &s.request).act, JOIN_ACT_TELL);
    ck_assert_int_eq(join_decide_app_s_key(&s.row, &s.request).result, JOIN_ACTIVATION_DISALLOWED);
    s = session_scene_of(LW_MAC_1_0_3);
    s.row.session.opt_neg = true;
    ck_assert_int_eq(join_decide_app_s_key(&s.row, &s.request).act, JOIN_ACT_TELL);
    ck_assert_int_eq(join_decide_app_s_key(&s.row, &s.request).result, JOIN_UNAVAILABLE);
    s = session_scene_of(LW_MAC_1_0_3);
    s.row.has_app = false;
    ck_assert_int_eq(join_decide_app_s_key(&s.row, &s.request).result, JOIN_UNAVAILABLE);
}
END_TEST

/* Nobody's, in a factory test of the network that asks. */
static struct scene test_scene_of(enum lw_mac_version version, uint16_t joins)
{
    struct scene s = session_scene_of(version);

    s.row.record.ownership = OWNERSHIP_UNOWNED;
    s.row.record.service = SERVICE_INACTIVE;
    s.row.record.credential = CREDENTIAL_PERSONALIZED;
    s.row.record.has_home_net_id = false;
    s.row.record.as_id[0] = '\0';
    s.row.record.test = (struct device_test_window){.present = true,
        .net_id = s.request.sender,
        .as_id = "demo-as",
        .max_joins = 3,
        .joins = joins};
    s.row.session.net_id = s.request.sender;
    return s;
}

START_TEST(a_join_of_a_factory_test_is_planned_and_numbered)
{
    for (int v = LW_MAC_1_0_0; v <= LW_MAC_1_1; v++) {
        struct scene s = test_scene_of((enum lw_mac_version)v, 2), owned = scene_of(LW_MAC_1_0_3);

        ck_assert_int_eq(decide(&s).act, JOIN_ACT_PLAN);
        ck_assert_uint_eq(decide(&s).test_join, 3);
        ck_assert_uint_eq(decide(&owned).test_join, 0);
        s.row.record.test.joins = 3;
        ck_assert_int_eq(decide(&s).act, JOIN_ACT_HIDE);
        ck_assert_int_eq(decide(&s).result, JOIN_UNKNOWN_DEV_EUI);
        ck_assert_int_eq(decide(&s).reason, REFUSAL_TEST_USED_UP);
    }
}
END_TEST

START_TEST(the_last_join_of_a_factory_test_can_be_asked_for_again)
{
    struct scene s = test_scene_of(LW_MAC_1_0_2, 3);

    s.row.dev_nonce_used = true;
    s.row.state.has_retry = true;
    memcpy(s.row.state.retry_fingerprint, fingerprint, sizeof(fingerprint));
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_RETRY);
    ck_assert_uint_eq(decide(&s).join_nonce, 41);
    s.row.record.test.expired = true;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_HIDE);
}
END_TEST

START_TEST(the_application_server_of_a_factory_test_has_keys_within_its_window)
{
    struct scene s = test_scene_of(LW_MAC_1_0_3, 3);

    ck_assert_int_eq(join_decide_app_s_key(&s.row, &s.request).act, JOIN_ACT_DERIVE);
    s.row.session.net_id.bytes[2] ^= 1; /* of a window before, for another network */
    ck_assert_int_eq(join_decide_app_s_key(&s.row, &s.request).result, JOIN_UNKNOWN_DEV_EUI);
    s = test_scene_of(LW_MAC_1_0_3, 3);
    s.row.record.test.expired = true;
    ck_assert_int_eq(join_decide_app_s_key(&s.row, &s.request).result, JOIN_UNKNOWN_DEV_EUI);
    s = test_scene_of(LW_MAC_1_0_3, 3);
    s.row.record.test.as_id[0] = 'D';
    ck_assert_int_eq(join_decide_app_s_key(&s.row, &s.request).result, JOIN_UNKNOWN_DEV_EUI);
}
END_TEST

START_TEST(a_factory_test_makes_nobody_the_home_of_a_device)
{
    struct scene s = test_scene_of(LW_MAC_1_0_3, 0);

    ck_assert_int_eq(join_decide_home_ns(&s.row, &s.request).result, JOIN_NO_ROAMING_AGREEMENT);
}
END_TEST

SUITE_MAIN("joinserver decide", 4, a_fresh_join_is_planned_with_the_next_join_nonce,
    unknown_not_yours_unclaimed_and_not_activable_are_one_act_and_one_result,
    a_blocked_device_is_told_so_only_behind_its_mic, a_used_devnonce_is_refused_behind_its_mic,
    the_same_request_again_gets_the_same_join_nonce_within_the_window,
    a_clock_that_went_back_opens_no_window,
    a_nonce_epoch_that_went_back_is_refused_and_not_tried_for_ever, a_retry_passes_the_gate_again,
    a_window_of_zero_switches_retries_off, optneg_needs_a_record_of_1_1,
    exhausted_join_nonces_refuse_behind_the_mic,
    a_record_without_its_keys_is_our_fault_and_never_an_answer,
    the_fingerprint_is_of_everything_that_shapes_the_answer,
    the_home_network_alone_is_told_who_is_home,
    where_any_join_eui_will_do_the_dev_eui_alone_finds_the_device,
    a_dev_nonce_that_was_used_stays_used_under_another_join_eui,
    the_named_application_server_alone_has_a_key_derived,
    no_key_is_derived_for_a_blocked_device_or_without_its_root,
    a_join_of_a_factory_test_is_planned_and_numbered,
    the_last_join_of_a_factory_test_can_be_asked_for_again,
    the_application_server_of_a_factory_test_has_keys_within_its_window,
    a_factory_test_makes_nobody_the_home_of_a_device)
