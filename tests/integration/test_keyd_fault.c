/* A token that fails each call in turn: never a wrong answer, never a refusal of good input, and
 * the next call after the fault succeeds. */
#include "tests/integration/keyd_fault.h"

#include "base/clock.h"
#include "base/error.h"
#include <p11-kit/pkcs11.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define FOREVER 1000000u
#define SHORT_MS 100

static const char *const names[] = {
#define NAME(name) #name,
    P11_FAULT_FUNCTIONS(NAME)
#undef NAME
};

static const CK_RV codes[] = {
    CKR_DEVICE_ERROR, CKR_GENERAL_ERROR, CKR_SESSION_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID};

static struct p11_fault_control *control;
static struct keyd_pool *pool;
static struct keyd_channel *channel;
static struct keyd_test_peers peers;
static struct keyd_test_device device;
static struct sealed_kek transport;
static uint8_t transport_clear[32];
static struct keyd_public_key owner;

static void setup(void)
{
    static char uri[512];
    struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 1,
        .n_channels = 1};

    control = keyd_fault_open(uri, sizeof(uri));
    ck_assert_msg(keyd_pool_open(&config, &pool) == 0, "%s", error_text());
    channel = keyd_pool_channel(pool, 0);
    keyd_test_peers(channel, &peers);
    keyd_test_adopt(channel, 0x20635F00C4001000, true, &device);
    transport = (struct sealed_kek){.peer_kind = PEER_ORGANIZATION,
        .peer_id = "org",
        .kek_class = KEK_CLASS_TRANSPORT,
        .label = "transport"};
    keyd_test_adopt_kek(channel, transport_clear, sizeof(transport_clear), &transport);
    owner = (struct keyd_public_key){
        .modulus_len = KEYD_RSA_MIN, .exponent_len = 3, .exponent = {1, 0, 1}};
    ck_assert_int_eq(random_bytes(owner.modulus, KEYD_RSA_MIN), 0);
    owner.modulus[0] |= 0x80;
    owner.modulus[KEYD_RSA_MIN - 1] |= 1; /* nobody opens it here */
}

static void teardown(void)
{
    keyd_pool_close(pool);
}

static void join_must_succeed(const char *when)
{
    struct keyd_join_request request;
    struct keyd_join_reply reply;

    keyd_test_request(&device, 9, true, true, &request);
    ck_assert_msg(
        keyd_answer_joins(channel, peers.list, 2, &request, 1, &reply, keyd_test_deadline()) == 0,
        "%s: %s", when, error_text());
    ck_assert_msg(reply.status == KEYD_OK, "%s: %s", when, keyd_status_text(reply.status));
    keyd_test_check(&device, &peers, &request, &reply);
}

/* Each form of a key, all of them good: the token may fail, but none of them is refused. */
static unsigned adopt_each_form(const char *when, int64_t deadline)
{
    const struct sealed_kek *const keks[] = {&transport};
    struct keyd_adopt_request rows[3];
    struct keyd_adopt_reply replies[3];
    unsigned failed = 0;
    int r;

    for (unsigned i = 0; i < 3; i++)
        rows[i] = (struct keyd_adopt_request){.dev_eui = device.dev_eui,
            .join_eui = device.join_eui,
            .slot = KEY_SLOT_APP,
            .form = (enum keyd_key_form)i,
            .transport_kek = i == KEYD_FORM_WRAPPED ? 0 : KEYD_NO_KEK};
    rows[KEYD_FORM_CLEAR].key = device.app_clear;
    ck_assert_int_eq(aes_wrap(transport_clear, sizeof(transport_clear), device.app_clear.bytes,
                         AES_KEY_LEN, rows[KEYD_FORM_WRAPPED].wrapped),
        0);
    keyd_test_oaep(device.app_clear.bytes, AES_KEY_LEN, rows[KEYD_FORM_SEALED].sealed);
    r = keyd_adopt_device_keys(channel, keks, 1, rows, 3, replies, deadline);
    ck_assert_msg(r == 0 || r == ERROR_HSM, "%s: %s", when, error_text());
    for (unsigned i = 0; i < 3; i++) {
        if (r == 0 && replies[i].status == KEYD_OK)
            ck_assert_mem_eq(replies[i].sealed.tag, device.app.tag, SEALED_TAG_LEN);
        else
            ck_assert_msg(r != 0 || replies[i].status == KEYD_HSM_FAILED, "%s: form %u: %s", when,
                i, keyd_status_text(replies[i].status));
        failed += r != 0 || replies[i].status != KEYD_OK;
    }
    return failed;
}

static unsigned export_key(const char *when, int64_t deadline)
{
    const struct keyd_export_request row = {
        device.dev_eui, device.join_eui, KEY_SLOT_APP, device.app};
    struct keyd_export_reply reply;
    const int r = keyd_export_keys(channel, &owner, &row, 1, &reply, deadline);

    ck_assert_msg(r == 0 || r == ERROR_HSM, "%s: %s", when, error_text());
    if (r == 0)
        ck_assert_msg(reply.status == KEYD_HSM_FAILED ||
                          (reply.status == KEYD_OK && reply.len == KEYD_RSA_MIN),
            "%s: %s", when, keyd_status_text(reply.status));
    return r != 0 || reply.status != KEYD_OK;
}

static unsigned make_kek(const char *when, int64_t deadline)
{
    struct sealed_kek kek = transport;
    struct keyd_made_kek made = {.len = 0};
    enum keyd_status status = KEYD_OK;
    const int r = keyd_make_kek(channel, &owner, 16, &kek, &made, &status, deadline);

    ck_assert_msg(r == 0 || r == ERROR_HSM, "%s: %s", when, error_text());
    if (r == 0)
        ck_assert_msg(status == KEYD_HSM_FAILED || (status == KEYD_OK && made.len == KEYD_RSA_MIN),
            "%s: %s", when, keyd_status_text(status));
    return r != 0 || status != KEYD_OK;
}

/* One of each act; whatever succeeds must be right, whatever does not must be the HSM's fault.
 * Returns how many failed. */
static unsigned do_everything(const char *when)
{
    const int64_t deadline = keyd_test_deadline();
    struct keyd_join_request request;
    struct keyd_join_reply reply;
    struct sealed_kek kek = peers.sealed[0];
    struct keyd_claim_code code;
    uint8_t oaep[KEYD_OAEP_LEN], kcv[KEYD_KCV_LEN], hash[KEYD_HASH_LEN];
    enum keyd_status status = KEYD_OK;
    unsigned failed = 0;
    int r;

    for (unsigned i = 0; i < 2; i++) {
        keyd_test_request(&device, (uint16_t)(11 + i), i == 1, false, &request);
        r = keyd_answer_joins(channel, peers.list, 2, &request, 1, &reply, deadline);
        ck_assert_msg(r == 0 || r == ERROR_HSM, "%s: %s", when, error_text());
        if (r == 0 && reply.status == KEYD_OK)
            keyd_test_check(&device, &peers, &request, &reply);
        else
            ck_assert_msg(r != 0 || reply.status == KEYD_HSM_FAILED, "%s: %s", when,
                keyd_status_text(reply.status));
        failed += r != 0 || reply.status != KEYD_OK;
    }
    keyd_test_request(&device, 13, true, false, &request);
    request.frame[LW_JOIN_REQUEST_LEN - 1] ^= 1;
    request.explain = true;
    r = keyd_answer_joins(channel, peers.list, 2, &request, 1, &reply, deadline);
    ck_assert_msg(r == 0 || r == ERROR_HSM, "%s: %s", when, error_text());
    ck_assert_msg(r != 0 || reply.status == KEYD_HSM_FAILED || reply.status == KEYD_MIC_FAILED,
        "%s: %s", when, keyd_status_text(reply.status));
    failed += r != 0 || reply.status != KEYD_MIC_FAILED;
    failed += adopt_each_form(when, deadline);
    failed += export_key(when, deadline);
    failed += make_kek(when, deadline);
    keyd_test_oaep(peers.clear[0], peers.clear_len[0], oaep);
    r = keyd_adopt_kek(channel, oaep, (unsigned)peers.clear_len[0], &kek, kcv, &status, deadline);
    ck_assert_msg(r == 0 || r == ERROR_HSM, "%s: %s", when, error_text());
    if (r == 0)
        ck_assert_msg(status == KEYD_OK || status == KEYD_HSM_FAILED, "%s: %s", when,
            keyd_status_text(status));
    if (r == 0 && status == KEYD_OK)
        ck_assert_mem_eq(kek.key.tag, peers.sealed[0].key.tag, SEALED_TAG_LEN);
    failed += r != 0 || status != KEYD_OK;
    code = keyd_test_code(&device.dev_eui, 1, "ABCD");
    r = keyd_test_hash_codes(channel, &code, 1, &hash);
    ck_assert_msg(r == 0 || r == ERROR_HSM, "%s: %s", when, error_text());
    failed += r != 0;
    r = keyd_random(channel, hash, sizeof(hash), 1, deadline);
    ck_assert_msg(r == 0 || r == ERROR_HSM, "%s: %s", when, error_text());
    failed += r != 0;
    r = keyd_self_test(channel, deadline);
    ck_assert_msg(r == 0 || r == ERROR_HSM, "%s: %s", when, error_text());
    failed += r != 0;
    return failed;
}

START_TEST(each_failing_call_is_the_hsms_fault_and_passes)
{
    const CK_RV code = codes[_i];
    unsigned reached = 0;

    for (unsigned f = 0; f < P11_FAULT_N_FUNCTIONS; f++) {
        /* The first calls of a kind are of different acts: fail more than one of them. */
        for (unsigned first = 1; first <= 9; first += 4) {
            char when[96];

            (void)snprintf(
                when, sizeof(when), "%s call %u fails with 0x%lx", names[f], first, code);
            keyd_fault_arm(control, (enum p11_fault_function)f, first, 1, code);
            reached += do_everything(when) > 0;
            keyd_fault_disarm(control);
            join_must_succeed(when);
        }
    }
    ck_assert_uint_gt(reached, 10); /* or the faults never got to keyd */
}
END_TEST

START_TEST(a_call_that_fails_for_ever_ends_in_time_and_passes)
{
    const CK_RV code = codes[_i];

    for (unsigned f = 0; f < P11_FAULT_N_FUNCTIONS; f++) {
        struct keyd_join_request request;
        struct keyd_join_reply reply = {.status = KEYD_OK};
        int pid = 0, r;
        char when[96];

        (void)snprintf(when, sizeof(when), "%s always fails with 0x%lx", names[f], code);
        keyd_fault_arm(control, (enum p11_fault_function)f, 1, FOREVER, code);
        if (keyd_pool_pids(pool, &pid, 1) == 1) /* so that the start is tried under the fault too */
            ck_assert_int_eq(kill(pid, SIGKILL), 0);
        keyd_test_request(&device, 12, true, false, &request);
        r = keyd_answer_joins(
            channel, peers.list, 2, &request, 1, &reply, clock_monotonic_ms() + SHORT_MS);
        ck_assert_msg(
            r == 0 || r == ERROR_HSM || r == ERROR_DEADLINE, "%s: %s", when, error_text());
        if (r == 0 && reply.status == KEYD_OK)
            keyd_test_check(&device, &peers, &request, &reply);
        else
            ck_assert_msg(r != 0 || reply.status == KEYD_HSM_FAILED, "%s: %s", when,
                keyd_status_text(reply.status));
        keyd_fault_disarm(control);
        join_must_succeed(when);
    }
}
END_TEST

START_TEST(a_batch_loses_only_the_item_that_failed)
{
    static struct keyd_join_request requests[16];
    static struct keyd_join_reply replies[16];
    unsigned failed = 0;

    for (unsigned i = 0; i < 16; i++)
        keyd_test_request(&device, (uint16_t)i, false, false, &requests[i]);
    join_must_succeed("before");
    keyd_fault_arm(control, P11_FAULT_C_DeriveKey, 7, 1, CKR_DEVICE_ERROR);
    ck_assert_int_eq(
        keyd_answer_joins(channel, peers.list, 2, requests, 16, replies, keyd_test_deadline()), 0);
    for (unsigned i = 0; i < 16; i++) {
        if (replies[i].status == KEYD_HSM_FAILED)
            failed++;
        else
            keyd_test_check(&device, &peers, &requests[i], &replies[i]);
    }
    ck_assert_uint_eq(failed, 1);
    keyd_fault_disarm(control);
}
END_TEST

START_TEST(a_token_without_a_mechanism_is_refused_with_its_name)
{
    char uri[512];
    const struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 1,
        .n_channels = 1};
    struct keyd_pool *other = NULL;

    softhsm_uri(&keyd_test_hsm, P11_FAULT_PATH, uri, sizeof(uri));
    keyd_fault_arm(control, P11_FAULT_C_GetMechanismInfo, 4, 1, CKR_MECHANISM_INVALID);
    ck_assert_int_eq(keyd_pool_open(&config, &other), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "ECB_ENCRYPT_DATA") != NULL, "%s", error_text());
    keyd_fault_disarm(control);
}
END_TEST

START_TEST(a_refused_pin_costs_one_attempt_and_stops_the_pool)
{
    char uri[600], uri_wrong[640];
    const struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = uri_wrong,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 4,
        .n_channels = 4};
    struct keyd_pool *other = NULL;

    softhsm_uri(&keyd_test_hsm, P11_FAULT_PATH, uri, sizeof(uri));
    (void)snprintf(uri_wrong, sizeof(uri_wrong), "%s-wrong", uri);
    atomic_store(&control->calls[P11_FAULT_C_Login], 0);
    ck_assert_int_eq(keyd_pool_open(&config, &other), ERROR_PIN);
    ck_assert_ptr_null(other);
    ck_assert_uint_eq(atomic_load(&control->calls[P11_FAULT_C_Login]), 1);
    /* Nor by another pool, nor by the next start of the service. */
    ck_assert_int_eq(keyd_pool_open(&config, &other), ERROR_PIN);
    ck_assert_msg(strstr(error_text(), "before") != NULL, "%s", error_text());
    ck_assert_uint_eq(atomic_load(&control->calls[P11_FAULT_C_Login]), 1);
    join_must_succeed("with the right PIN");
}
END_TEST

static void write_pin(const char *pin)
{
    char path[256];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/pin", keyd_test_hsm.dir);
    f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fprintf(f, "%s\n", pin), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void wait_until_stopped(struct keyd_pool *some)
{
    const int64_t deadline = keyd_test_deadline();

    while (!keyd_pool_stopped(some)) {
        ck_assert_msg(clock_monotonic_ms() < deadline, "the pool was not stopped");
        (void)poll(NULL, 0, 1);
    }
}

START_TEST(a_pin_changed_under_running_keyds_costs_one_attempt_in_all)
{
    char uri[512];
    const struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 4,
        .n_channels = 4};
    struct keyd_pool *pools[2] = {NULL, NULL}, *late = NULL;
    int pids[4];

    softhsm_uri(&keyd_test_hsm, P11_FAULT_PATH, uri, sizeof(uri));
    for (unsigned i = 0; i < 2; i++)
        ck_assert_msg(keyd_pool_open(&config, &pools[i]) == 0, "%s", error_text());
    write_pin("0000-changed");
    atomic_store(&control->calls[P11_FAULT_C_Login], 0);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert(!keyd_pool_stopped(pools[i]));
        ck_assert_uint_eq(keyd_pool_pids(pools[i], pids, 4), 4);
        for (unsigned k = 0; k < 4; k++)
            ck_assert_int_eq(kill(pids[k], SIGKILL), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        wait_until_stopped(pools[i]);
        keyd_pool_close(pools[i]); /* reaps: whoever was still starting has ended */
    }
    ck_assert_int_eq(keyd_pool_open(&config, &late), ERROR_PIN);
    ck_assert_uint_eq(atomic_load(&control->calls[P11_FAULT_C_Login]), 1);
    write_pin(SOFTHSM_PIN);
    ck_assert_msg(keyd_pool_open(&config, &late) == 0, "%s", error_text());
    keyd_pool_close(late);
}
END_TEST

START_TEST(a_pin_refused_at_a_restart_stops_the_pool_for_good)
{
    struct keyd_join_request request;
    struct keyd_join_reply reply;
    int pid = 0;

    keyd_test_request(&device, 12, false, false, &request);
    keyd_fault_arm(control, P11_FAULT_C_Login, 1, 1, CKR_PIN_LOCKED);
    ck_assert_uint_eq(keyd_pool_pids(pool, &pid, 1), 1);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(
            keyd_answer_joins(channel, peers.list, 2, &request, 1, &reply, keyd_test_deadline()),
            ERROR_PIN);
    ck_assert(!keyd_pool_healthy(pool));
    ck_assert(keyd_pool_stopped(pool));
    ck_assert_uint_eq(atomic_load(&control->calls[P11_FAULT_C_Login]), 1);
    keyd_fault_disarm(control);
    write_pin(SOFTHSM_PIN); /* for the tests after this one */
}
END_TEST

START_TEST(a_pin_that_was_right_is_tried_once_more)
{
    int pid = 0;

    keyd_fault_arm(control, P11_FAULT_C_Login, 1, 1, CKR_PIN_INCORRECT);
    ck_assert_uint_eq(keyd_pool_pids(pool, &pid, 1), 1);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    join_must_succeed("with a PIN that was refused once");
    ck_assert(!keyd_pool_stopped(pool));
    ck_assert_uint_eq(atomic_load(&control->calls[P11_FAULT_C_Login]), 2);
    /* And each time that it was right in between; but no third time. */
    keyd_fault_arm(control, P11_FAULT_C_Login, 1, FOREVER, CKR_PIN_INCORRECT);
    ck_assert_uint_eq(keyd_pool_pids(pool, &pid, 1), 1);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    wait_until_stopped(pool);
    ck_assert_uint_eq(atomic_load(&control->calls[P11_FAULT_C_Login]), 2);
    keyd_fault_disarm(control);
    write_pin(SOFTHSM_PIN); /* for the tests after this one */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keyd-fault");
    TCase *tcase = tcase_create("keyd-fault");
    const TTest *const tests[] = {
        a_batch_loses_only_the_item_that_failed,
        a_token_without_a_mechanism_is_refused_with_its_name,
        a_refused_pin_costs_one_attempt_and_stops_the_pool,
        a_pin_changed_under_running_keyds_costs_one_attempt_in_all,
        a_pin_refused_at_a_restart_stops_the_pool_for_good,
        a_pin_that_was_right_is_tried_once_more,
    };

    tcase_add_loop_test(tcase, each_failing_call_is_the_hsms_fault_and_passes, 0, 4);
    tcase_add_loop_test(tcase, a_call_that_fails_for_ever_ends_in_time_and_passes, 1, 3);
    return keyd_test_run(suite, tcase, tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
