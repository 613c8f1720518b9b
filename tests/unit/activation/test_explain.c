#include "activation/explain.h"

#include "tests/support/suite.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define NOW_US 1767323045000000

static struct db_attempt attempt_of(const char *outcome, const char *reason)
{
    struct db_attempt a = {.at_us = NOW_US, .join_type = LW_JOIN, .dev_nonce = 7};

    (void)snprintf(a.outcome, sizeof(a.outcome), "%s", outcome);
    (void)snprintf(a.reason, sizeof(a.reason), "%s", reason);
    (void)snprintf(a.sender_id, sizeof(a.sender_id), "000024");
    return a;
}

static const struct device_record record = {
    .mac_version = LW_MAC_1_0_3, .has_home_net_id = true, .home_net_id = {{0, 0, 0x13}}};

/* The member of what is told; the caller's. */
static char *told(
    const struct db_attempt *attempt, const struct explain_facts *facts, const char *member)
{
    struct text out = {0};
    json_t *object;
    char *value;

    explain_write(&out, attempt, facts);
    ck_assert(!out.failed);
    object = json_loads(out.data, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(object != NULL && json_object_size(object) == 3, "%s", out.data);
    value = strdup(json_string_value(json_object_get(object, member)));
    json_decref(object);
    text_done(&out);
    return value;
}

static void assert_why(
    const struct db_attempt *attempt, const struct explain_facts *facts, const char *words)
{
    char *why = told(attempt, facts, "why");

    ck_assert_msg(strstr(why, words) != NULL, "\"%s\" is not in \"%s\"", words, why);
    free(why);
}

START_TEST(every_refusal_is_told_in_the_tables_words)
{
    const struct db_device device = {.record = record};
    const struct explain_facts facts = {
        .record = &record, .last_dev_nonce = DEVICE_NO_NONCE, .device = &device};

    for (int i = REFUSAL_NONE + 1; i < REFUSAL_OTHER; i++) {
        enum device_refusal refusal = (enum device_refusal)i;
        struct db_attempt a = attempt_of("whatever", device_refusal_reason(refusal));
        char *what = told(&a, &facts, "what"), *to_do = told(&a, &facts, "do");

        ck_assert_int_eq(explain_refusal(&a), refusal);
        ck_assert_str_eq(what, device_refusal_explain(refusal)->what);
        ck_assert_str_eq(to_do, device_refusal_explain(refusal)->to_do);
        assert_why(&a, &facts, device_refusal_explain(refusal)->why);
        free(what);
        free(to_do);
    }
}
END_TEST

START_TEST(a_suspension_is_told_with_who_has_suspended_it)
{
    struct db_device device = {.record = record};
    const struct explain_facts facts = {
        .record = &record, .last_dev_nonce = DEVICE_NO_NONCE, .device = &device};
    struct db_attempt a = attempt_of("refused", device_refusal_reason(REFUSAL_SUSPENDED));

    device.record.service = SERVICE_ACTIVE;
    assert_why(&a, &facts, "It is not suspended any more.");
    device.record.service = SERVICE_SUSPENDED;
    assert_why(&a, &facts, "It is suspended by its owner.");
    device.is_suspended_by_subscription = true;
    assert_why(&a, &facts, "It holds no subscription, and its owner's devices need one.");
    device.subscription = (struct db_device_subscription){
        .present = true, .name = "fleet", .ends_at = "2026-01-31T00:00:00Z"};
    assert_why(
        &a, &facts, "It is suspended since its subscription fleet ended at 2026-01-31T00:00:00Z.");
}
END_TEST

START_TEST(a_reason_in_words_of_its_own_is_told_as_it_stands)
{
    const struct explain_facts facts = {.record = &record, .last_dev_nonce = DEVICE_NO_NONCE};
    struct db_attempt strange = attempt_of("strange", "of \"another\" version"),
                      malformed = attempt_of("malformed", "DevAddr is missing");

    assert_why(&strange, &facts, "of \"another\" version");
    assert_why(&malformed, &facts, "DevAddr is missing");
}
END_TEST

START_TEST(a_used_dev_nonce_is_told_with_the_last_join_before_it)
{
    const struct db_nonce_use uses[] = {
        {7, NOW_US + 2000000, "2026-01-02T03:04:07Z"}, /* after it: nonces were reset */
        {8, NOW_US - 1, "2026-01-02T03:04:04Z"},
        {7, NOW_US - 5000000, "2026-01-02T03:04:00Z"},
        {7, NOW_US - 9000000, "2026-01-02T03:03:56Z"},
    };
    struct explain_facts facts = {
        .record = &record, .last_dev_nonce = DEVICE_NO_NONCE, .uses = uses, .n_uses = 4};
    struct db_attempt a =
        attempt_of("nonce_replayed", device_refusal_reason(REFUSAL_DEV_NONCE_USED));

    ck_assert(explain_needs_use(&a));
    assert_why(&a, &facts, "DevNonce 7, which it joined with at 2026-01-02T03:04:00Z.");
    assert_why(&a, &facts, "LoRaWAN 1.0.3 device: it draws DevNonces at random");
    facts.n_uses = 2;
    assert_why(&a, &facts, "did not join with under its present owner");
}
END_TEST

START_TEST(a_counted_dev_nonce_is_told_with_the_last_one)
{
    const struct device_record counted = {.mac_version = LW_MAC_1_0_4};
    struct explain_facts facts = {.record = &counted, .last_dev_nonce = 20};
    struct db_attempt a =
        attempt_of("nonce_replayed", device_refusal_reason(REFUSAL_DEV_NONCE_NOT_ABOVE));

    assert_why(&a, &facts,
        "LoRaWAN 1.0.4 device: it counts, and each must be above the last, which is 20");
    facts.last_dev_nonce = DEVICE_NO_NONCE;
    assert_why(&a, &facts, "above the last.");
}
END_TEST

START_TEST(a_use_is_looked_for_where_it_is_told)
{
    struct db_attempt success = {.success = true, .join_type = LW_JOIN, .dev_nonce = 7},
                      mic = attempt_of("mic_failed", device_refusal_reason(REFUSAL_MIC_WRONG)),
                      rejoin = attempt_of(
                          "nonce_replayed", device_refusal_reason(REFUSAL_RJ_COUNT_NOT_ABOVE));

    rejoin.join_type = LW_REJOIN_1;
    ck_assert_int_eq(explain_refusal(&success), REFUSAL_NONE);
    ck_assert(!explain_needs_use(&success));
    ck_assert(!explain_needs_use(&mic));
    ck_assert(!explain_needs_use(&rejoin));
}
END_TEST

START_TEST(networks_and_join_euis_are_named)
{
    struct explain_facts facts = {.record = &record, .last_dev_nonce = DEVICE_NO_NONCE};
    struct device_record homeless = record;
    struct db_attempt network = attempt_of("x", device_refusal_reason(REFUSAL_NOT_HOME)),
                      join_eui = attempt_of("x", device_refusal_reason(REFUSAL_OTHER_JOIN_EUI));

    join_eui.join_eui = (struct eui64){{1, 2, 3, 4, 5, 6, 7, 8}};
    assert_why(&network, &facts, "Network 000024 asked; the home network is 000013.");
    assert_why(&join_eui, &facts, "sent 0102030405060708; its record has 0000000000000000.");
    homeless.has_home_net_id = false;
    facts.record = &homeless;
    assert_why(&network, &facts, "no home network is named.");
}
END_TEST

SUITE_MAIN("activation explain", 4, every_refusal_is_told_in_the_tables_words,
    a_suspension_is_told_with_who_has_suspended_it,
    a_reason_in_words_of_its_own_is_told_as_it_stands,
    a_used_dev_nonce_is_told_with_the_last_join_before_it,
    a_counted_dev_nonce_is_told_with_the_last_one, a_use_is_looked_for_where_it_is_told,
    networks_and_join_euis_are_named)
