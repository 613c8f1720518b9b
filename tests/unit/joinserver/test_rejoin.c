#include "joinserver/decide.h"
#include "tests/support/suite.h"

#include <string.h>

static const uint8_t fingerprint[JOIN_FINGERPRINT_LEN] = {1, 2, 3};

#define DEV_EUI                                                                                    \
    {                                                                                              \
        {                                                                                          \
            1, 2, 3, 4, 5, 6, 7, 8                                                                 \
        }                                                                                          \
    }
#define JOIN_EUI                                                                                   \
    {                                                                                              \
        {                                                                                          \
            8, 7, 6, 5, 4, 3, 2, 1                                                                 \
        }                                                                                          \
    }
#define HOME                                                                                       \
    {                                                                                              \
        {                                                                                          \
            0, 0, 0x13                                                                             \
        }                                                                                          \
    }
#define OTHER                                                                                      \
    {                                                                                              \
        {                                                                                          \
            0, 0, 0x24                                                                             \
        }                                                                                          \
    }

struct scene {
    struct db_join_row row;
    struct ts002_request request;
};

/* A 1.1 device with a current, a pending and a previous session, and its home network's
 * Rejoin-Request. */
static struct scene scene_of(enum lw_join_type type)
{
    const struct lw_rejoin_request frame = {
        .type = type, .net_id = HOME, .join_eui = JOIN_EUI, .dev_eui = DEV_EUI, .rj_count = 7};
    struct scene s = {
        .row = {.found = true,
            .record = {.mac_version = LW_MAC_1_1,
                .dev_eui = DEV_EUI,
                .join_eui = JOIN_EUI,
                .credential = CREDENTIAL_ACTIVABLE,
                .ownership = OWNERSHIP_CLAIMED,
                .service = SERVICE_ACTIVE,
                .trust = TRUST_OK,
                .has_home_net_id = true,
                .home_net_id = HOME},
            .state = {.join_nonce = 41,
                .last_dev_nonce = 6,
                .rj_count1 = 6,
                .sessions = {{.present = true, .join_nonce = 40, .net_id = HOME, .rj_count0 = 6},
                    {.present = true,
                        .join_nonce = 41,
                        .net_id = HOME,
                        .rj_count0 = DEVICE_NO_NONCE},
                    {.present = true,
                        .join_nonce = 39,
                        .net_id = HOME,
                        .rj_count0 = DEVICE_NO_NONCE}}},
            .has_app = true,
            .has_nwk = true},
        .request = {.sender = HOME,
            .receiver = JOIN_EUI,
            .dev_eui = DEV_EUI,
            .dl_settings = LW_OPT_NEG,
            .has_frame = true,
            .has_dev_eui = true,
            .has_dev_addr = true,
            .has_dl_settings = true},
    };

    s.request.frame_len = lw_rejoin_request_build(&frame, s.request.frame);
    return s;
}

static struct join_decision decide(struct scene *s)
{
    char description[TS002_DESCRIPTION_MAX];

    ck_assert_int_eq(ts002_check_rejoin(&s->request, description), JOIN_SUCCESS);
    return join_decide_rejoin(&s->row, &s->request, fingerprint, JOIN_RETRY_WINDOW_MS_DEFAULT);
}

static void remember(struct scene *s)
{
    s->row.state.has_retry = true;
    memcpy(s->row.state.retry_fingerprint, fingerprint, sizeof(fingerprint));
}

START_TEST(the_frame_tells_type_count_and_whose_it_is)
{
    for (int t = LW_REJOIN_0; t <= LW_REJOIN_2; t++) {
        struct scene s = scene_of((enum lw_join_type)t);

        (void)decide(&s);
        ck_assert_int_eq(s.request.join_type, t);
        ck_assert_uint_eq(s.request.dev_nonce, 7);
        ck_assert_uint_eq(s.request.frame_join_eui.bytes[0], 8);
        ck_assert_uint_eq(s.request.frame_net_id.bytes[2], t == LW_REJOIN_1 ? 0 : 0x13);
    }
}
END_TEST

START_TEST(what_is_no_rejoin_is_refused_by_its_fault)
{
    char description[TS002_DESCRIPTION_MAX];
    struct scene s = scene_of(LW_REJOIN_0);

    s.request.frame_len = LW_REJOIN_LEN_1; /* of another type */
    ck_assert_int_eq(ts002_check_rejoin(&s.request, description), JOIN_FRAME_SIZE);
    s.request.frame_len = LW_JOIN_REQUEST_LEN;
    ck_assert_int_eq(ts002_check_rejoin(&s.request, description), JOIN_FRAME_SIZE);
    s = scene_of(LW_REJOIN_0);
    s.request.frame[1] = 3;
    ck_assert_int_eq(ts002_check_rejoin(&s.request, description), JOIN_MALFORMED);
    s = scene_of(LW_REJOIN_2);
    s.request.dl_settings = 0;
    ck_assert_int_eq(ts002_check_rejoin(&s.request, description), JOIN_MALFORMED);
    s = scene_of(LW_REJOIN_1);
    s.request.dev_eui.bytes[0] ^= 1;
    ck_assert_int_eq(ts002_check_rejoin(&s.request, description), JOIN_MALFORMED);
    s = scene_of(LW_REJOIN_1);
    s.request.has_dev_addr = false;
    ck_assert_int_eq(ts002_check_rejoin(&s.request, description), JOIN_MALFORMED);
    ck_assert_str_eq(description, "DevAddr is missing");
}
END_TEST

START_TEST(a_rejoin_is_planned_with_the_next_join_nonce)
{
    for (int t = LW_REJOIN_0; t <= LW_REJOIN_2; t++) {
        struct scene s = scene_of((enum lw_join_type)t);
        struct join_decision d = decide(&s);

        ck_assert_int_eq(d.act, JOIN_ACT_PLAN);
        ck_assert_int_eq(d.result, JOIN_SUCCESS);
        ck_assert_uint_eq(d.join_nonce, 42);
        ck_assert_int_eq(d.by_session, t != LW_REJOIN_1);
        for (int i = 0; i < DEVICE_N_SESSIONS; i++) {
            ck_assert_int_eq(d.sessions[i].present, d.by_session);
            ck_assert_int_eq(d.sessions[i].result, JOIN_SUCCESS);
        }
    }
}
END_TEST

START_TEST(rj_count0_counts_in_its_session)
{
    struct scene s = scene_of(LW_REJOIN_2);
    struct join_decision d;

    s.row.state.sessions[DEVICE_SESSION_CURRENT].rj_count0 = 7;
    d = decide(&s);
    ck_assert_int_eq(d.act, JOIN_ACT_PLAN); /* should it be of the other one */
    ck_assert_int_eq(d.sessions[DEVICE_SESSION_CURRENT].result, JOIN_NONCE_REPLAYED);
    ck_assert_int_eq(d.sessions[DEVICE_SESSION_PENDING].result, JOIN_SUCCESS);
    s.row.state.sessions[DEVICE_SESSION_PENDING].present = false;
    s.row.state.sessions[DEVICE_SESSION_PREVIOUS].present = false;
    d = decide(&s);
    ck_assert_int_eq(d.act, JOIN_ACT_VERIFY);
    ck_assert_int_eq(d.sessions[DEVICE_SESSION_CURRENT].result, JOIN_NONCE_REPLAYED);
    ck_assert(!d.sessions[DEVICE_SESSION_PENDING].present);
}
END_TEST

START_TEST(the_frame_must_be_in_the_name_of_the_sessions_network)
{
    struct scene s = scene_of(LW_REJOIN_0);
    struct join_decision d;

    s.row.state.sessions[DEVICE_SESSION_PENDING].net_id = (struct net_id)OTHER;
    d = decide(&s);
    ck_assert_int_eq(d.sessions[DEVICE_SESSION_CURRENT].result, JOIN_SUCCESS);
    ck_assert_int_eq(d.sessions[DEVICE_SESSION_PENDING].result, JOIN_REFUSED);
}
END_TEST

START_TEST(rj_count1_counts_for_the_device_until_its_nonces_are_reset)
{
    struct scene s = scene_of(LW_REJOIN_1);

    s.row.state.rj_count1 = 7;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_VERIFY);
    ck_assert_int_eq(decide(&s).result, JOIN_NONCE_REPLAYED);
    s.row.record.nonce_epoch = 1;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_PLAN);
}
END_TEST

START_TEST(the_same_rejoin_again_is_of_the_session_it_proved)
{
    struct scene s = scene_of(LW_REJOIN_0);
    struct join_decision d;

    s.row.state.sessions[DEVICE_SESSION_CURRENT].rj_count0 = 7;
    remember(&s);
    d = decide(&s);
    ck_assert_int_eq(d.act, JOIN_ACT_RETRY);
    ck_assert_uint_eq(d.join_nonce, 41);
    ck_assert(d.sessions[DEVICE_SESSION_CURRENT].present);
    ck_assert(!d.sessions[DEVICE_SESSION_PENDING].present);
    s = scene_of(LW_REJOIN_1);
    s.row.state.rj_count1 = 7;
    remember(&s);
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_RETRY);
    ck_assert_uint_eq(decide(&s).join_nonce, 41);
}
END_TEST

START_TEST(without_a_session_no_mic_can_be_right)
{
    struct scene s = scene_of(LW_REJOIN_0);

    memset(s.row.state.sessions, 0, sizeof(s.row.state.sessions));
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_HIDE);
    ck_assert_int_eq(decide(&s).result, JOIN_MIC_FAILED);
    s = scene_of(LW_REJOIN_1); /* needs none */
    memset(s.row.state.sessions, 0, sizeof(s.row.state.sessions));
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_PLAN);
}
END_TEST

START_TEST(only_1_1_rejoins)
{
    struct scene s = scene_of(LW_REJOIN_1);

    s.row.record.mac_version = LW_MAC_1_0_4;
    s.row.has_nwk = false;
    ck_assert_int_eq(decide(&s).act, JOIN_ACT_HIDE);
    ck_assert_int_eq(decide(&s).result, JOIN_MALFORMED);
}
END_TEST

START_TEST(another_networks_device_or_join_eui_is_unknown)
{
    for (int t = LW_REJOIN_0; t <= LW_REJOIN_2; t++) {
        struct scene s = scene_of((enum lw_join_type)t);

        s.request.sender = (struct net_id)OTHER;
        ck_assert_int_eq(decide(&s).act, JOIN_ACT_HIDE);
        ck_assert_int_eq(decide(&s).result, JOIN_UNKNOWN_DEV_EUI);
        s = scene_of((enum lw_join_type)t);
        s.row.record.join_eui.bytes[7] ^= 1;
        ck_assert_int_eq(decide(&s).result, JOIN_UNKNOWN_DEV_EUI);
        s = scene_of((enum lw_join_type)t);
        s.row.found = false;
        ck_assert_int_eq(decide(&s).result, JOIN_UNKNOWN_DEV_EUI);
    }
}
END_TEST

START_TEST(what_refuses_any_rejoin_does_so_behind_the_mic_of_each_session)
{
    for (int t = LW_REJOIN_0; t <= LW_REJOIN_2; t++) {
        struct scene suspended = scene_of((enum lw_join_type)t), used_up = suspended;
        struct join_decision d;

        suspended.row.record.service = SERVICE_SUSPENDED;
        d = decide(&suspended);
        ck_assert_int_eq(d.act, JOIN_ACT_VERIFY);
        ck_assert_int_eq(d.result, JOIN_ACTIVATION_DISALLOWED);
        for (int i = 0; d.by_session && i < DEVICE_N_SESSIONS; i++) {
            ck_assert(d.sessions[i].present);
            ck_assert_int_eq(d.sessions[i].result, JOIN_ACTIVATION_DISALLOWED);
        }
        used_up.row.state.join_nonce = LW_JOIN_NONCE_MAX;
        d = decide(&used_up);
        ck_assert_int_eq(d.act, JOIN_ACT_VERIFY);
        ck_assert_int_eq(d.result, JOIN_NONCE_EXHAUSTED);
    }
}
END_TEST

START_TEST(a_later_refusal_covers_every_session)
{
    struct scene s = scene_of(LW_REJOIN_0);
    struct join_decision d = decide(&s);

    join_decision_refuse(&d, JOIN_UNAVAILABLE, REFUSAL_NS_KEK_MISSING);
    ck_assert_int_eq(d.act, JOIN_ACT_VERIFY);
    ck_assert(d.by_session);
    for (int i = 0; i < DEVICE_N_SESSIONS; i++) {
        ck_assert(d.sessions[i].present);
        ck_assert_int_eq(d.sessions[i].result, JOIN_UNAVAILABLE);
    }
}
END_TEST

START_TEST(the_type_is_part_of_the_fingerprint)
{
    struct ts002_request r = {.join_type = LW_REJOIN_0, .frame_len = LW_REJOIN_LEN_0_2};
    uint8_t a[JOIN_FINGERPRINT_LEN], b[JOIN_FINGERPRINT_LEN];

    join_fingerprint(7, &r, a);
    r.join_type = LW_REJOIN_2;
    join_fingerprint(7, &r, b);
    ck_assert_mem_ne(a, b, sizeof(a));
    r.join_type = LW_REJOIN_0;
    r.frame_len = LW_REJOIN_LEN_1;
    join_fingerprint(7, &r, b);
    ck_assert_mem_ne(a, b, sizeof(a));
}
END_TEST

SUITE_MAIN("joinserver rejoin", 4, the_frame_tells_type_count_and_whose_it_is,
    what_is_no_rejoin_is_refused_by_its_fault, a_rejoin_is_planned_with_the_next_join_nonce,
    rj_count0_counts_in_its_session, the_frame_must_be_in_the_name_of_the_sessions_network,
    rj_count1_counts_for_the_device_until_its_nonces_are_reset,
    the_same_rejoin_again_is_of_the_session_it_proved, without_a_session_no_mic_can_be_right,
    only_1_1_rejoins, another_networks_device_or_join_eui_is_unknown,
    what_refuses_any_rejoin_does_so_behind_the_mic_of_each_session,
    a_later_refusal_covers_every_session, the_type_is_part_of_the_fingerprint)
