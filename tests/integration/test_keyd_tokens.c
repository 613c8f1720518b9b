/* Two tokens with the same keys: one fails, the other serves, and no call is lost. */
#include "base/clock.h"
#include "base/error.h"
#include "hsm/ceremony.h"
#include "tests/integration/keyd_fault.h"
#include "tests/integration/keyd_fixture.h"
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define N_CALLERS 4
#define ROUNDS 2

/* The second token: a copy of the first one's files, in a folder of its own. */
static char second_dir[144], second_conf[192], second_uri[512], second_lock[192];
static struct keyd_test_peers peers;
static struct keyd_test_device device;

static void run(const char *const *argv)
{
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    int status = 0;

    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    ck_assert_int_eq(
        posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "%s", argv[0]);
}

static void move(const char *dir, const char *from, const char *to)
{
    char old[192], new[192];

    (void)snprintf(old, sizeof(old), "%s/%s", dir, from);
    (void)snprintf(new, sizeof(new), "%s/%s", dir, to);
    ck_assert_int_eq(rename(old, new), 0);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    ck_assert_ptr_nonnull(file);
    (void)fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static void write_conf(void)
{
    char first[192];
    char line[512];
    FILE *from, *to;

    (void)snprintf(first, sizeof(first), "%s/softhsm2.conf", keyd_test_hsm.dir);
    from = fopen(first, "re");
    to = fopen(second_conf, "we");
    ck_assert(from != NULL && to != NULL);
    while (fgets(line, sizeof(line), from) != NULL) {
        if (strncmp(line, "directories.tokendir", 20) == 0)
            (void)fprintf(to, "directories.tokendir = %s/tokens\n", second_dir);
        else
            (void)fputs(line, to);
    }
    (void)fclose(from);
    ck_assert_int_eq(fclose(to), 0);
}

static void setup(void)
{
    char tokens[192], pin[192], away[192];
    const char *const remove[] = {"rm", "-rf", second_dir, NULL};
    const char *const copy[] = {"cp", "-a", tokens, pin, second_dir, NULL};

    (void)snprintf(second_dir, sizeof(second_dir), "%s/second", keyd_test_hsm.dir);
    (void)snprintf(second_conf, sizeof(second_conf), "%s/softhsm2.conf", second_dir);
    (void)snprintf(second_lock, sizeof(second_lock), "%s/lock", second_dir);
    (void)snprintf(tokens, sizeof(tokens), "%s/tokens", keyd_test_hsm.dir);
    (void)snprintf(away, sizeof(away), "%s/away", keyd_test_hsm.dir);
    (void)snprintf(pin, sizeof(pin), "%s/pin", keyd_test_hsm.dir);
    (void)rename(away, tokens); /* of a test that failed in between */
    run(remove);
    ck_assert_int_eq(mkdir(second_dir, 0700), 0);
    run(copy);
    (void)snprintf(second_uri, sizeof(second_uri),
        "pkcs11:token=cradle-test?module-path=" SOFTHSM_MODULE "&pin-source=file:%s/pin",
        second_dir);
    write_conf();
}

/* What a join wants is in the memory of a running key process: only another one needs the files. */
static void kill_keyds(struct keyd_pool *pool)
{
    int pids[2];
    unsigned n = keyd_pool_pids(pool, pids, 2);

    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
}

static void take_away(const char *dir)
{
    move(dir, "tokens", "away");
}

static void bring_back(const char *dir)
{
    move(dir, "away", "tokens");
}

static struct keyd_pool_config config_of(const char *first_uri, unsigned n)
{
    return (struct keyd_pool_config){.program = KEYD_PROGRAM,
        .uri = first_uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = n > 1 ? 2 : 1,
        .n_channels = n,
        .second = {second_uri, second_lock, second_conf}};
}

static struct keyd_pool *open_two(const char *first_uri, unsigned n_channels)
{
    const struct keyd_pool_config config = config_of(first_uri, n_channels);
    struct keyd_pool *pool = NULL;

    ck_assert_msg(keyd_pool_open(&config, &pool) == 0, "%s", error_text());
    return pool;
}

static void make_device(struct keyd_pool *pool)
{
    keyd_test_peers(keyd_pool_channel(pool, 0), &peers);
    keyd_test_adopt(keyd_pool_channel(pool, 0), 0x20635F00C4002000, false, &device);
}

static int join(struct keyd_channel *channel, uint16_t dev_nonce, int64_t deadline_ms)
{
    struct keyd_join_request request;
    struct keyd_join_reply reply;
    int r;

    keyd_test_request(&device, dev_nonce, false, false, &request);
    r = keyd_answer_joins(channel, peers.list, 2, &request, 1, &reply, deadline_ms);
    if (r == 0 && reply.status != KEYD_OK)
        return (int)reply.status;
    if (r == 0)
        keyd_test_check(&device, &peers, &request, &reply);
    return r;
}

static void join_must_succeed(struct keyd_channel *channel, uint16_t dev_nonce)
{
    int r = join(channel, dev_nonce, keyd_test_deadline());

    ck_assert_msg(r == 0, "%d %s", r, error_text());
}

static long metric_of(struct keyd_pool *pool, const char *name)
{
    CLEANUP(text_done) struct text text = {0};
    char line[80];
    const char *at;

    keyd_pool_metrics(pool, &text);
    (void)snprintf(line, sizeof(line), "\n%s ", name);
    at = strstr(text.data, line);
    ck_assert_msg(at != NULL, "no %s in %s", name, text.data);
    return strtol(at + strlen(line), NULL, 10);
}

static void wait_for(struct keyd_pool *pool, const char *metric, long value)
{
    const int64_t deadline = keyd_test_deadline();

    while (metric_of(pool, metric) != value) {
        ck_assert_msg(clock_monotonic_ms() < deadline, "%s is not %ld", metric, value);
        (void)poll(NULL, 0, 5);
    }
}

static void serving_must_become(struct keyd_pool *pool, unsigned token)
{
    wait_for(pool,
        token == 1 ? "cradle_hsm_token_serving{token=\"1\"}"
                   : "cradle_hsm_token_serving{token=\"2\"}",
        1);
    wait_for(pool,
        token == 1 ? "cradle_hsm_token_serving{token=\"2\"}"
                   : "cradle_hsm_token_serving{token=\"1\"}",
        0);
    ck_assert_uint_eq(keyd_pool_token(pool), token);
}

struct caller {
    pthread_t thread;
    struct keyd_channel *channel;
    const atomic_bool *stop;
    atomic_uint answered;
};

static void *call_on(void *context)
{
    struct caller *caller = context;

    for (uint16_t i = 0; !atomic_load(caller->stop); i++) {
        join_must_succeed(caller->channel, i);
        atomic_fetch_add(&caller->answered, 1);
    }
    return NULL;
}

static void all_must_get_on(struct caller *callers)
{
    for (unsigned i = 0; i < N_CALLERS; i++) {
        const unsigned before = atomic_load(&callers[i].answered);

        while (atomic_load(&callers[i].answered) < before + 2)
            (void)poll(NULL, 0, 1);
    }
}

START_TEST(a_token_taken_away_under_load_costs_no_call_and_serves_again_when_it_is_back)
{
    struct keyd_pool *pool = open_two(keyd_test_hsm.uri, N_CALLERS);
    struct caller callers[N_CALLERS];
    atomic_bool stop = false;

    make_device(pool);
    wait_for(pool, "cradle_hsm_token_up{token=\"2\"}", 1);
    for (unsigned i = 0; i < N_CALLERS; i++) {
        callers[i] = (struct caller){.channel = keyd_pool_channel(pool, i), .stop = &stop};
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call_on, &callers[i]), 0);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        all_must_get_on(callers);
        serving_must_become(pool, 1);
        take_away(keyd_test_hsm.dir);
        serving_must_become(pool, 2);
        ck_assert_int_eq(metric_of(pool, "cradle_hsm_token_up{token=\"1\"}"), 0);
        all_must_get_on(callers);
        bring_back(keyd_test_hsm.dir);
        serving_must_become(pool, 1);
    }
    all_must_get_on(callers);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < N_CALLERS; i++)
        ck_assert_int_eq(pthread_join(callers[i].thread, NULL), 0);
    ck_assert_int_eq(metric_of(pool, "cradle_hsm_token_changes_total"), 2 * ROUNDS);
    ck_assert(keyd_pool_healthy(pool));
    keyd_pool_close(pool);
}
END_TEST

START_TEST(what_one_token_fails_the_other_is_asked)
{
    static const unsigned long codes[] = {CKR_GENERAL_ERROR, CKR_DEVICE_ERROR,
        CKR_KEY_HANDLE_INVALID, CKR_SESSION_HANDLE_INVALID, CKR_HOST_MEMORY};
    static const enum p11_fault_function functions[] = {
        P11_FAULT_C_UnwrapKey, P11_FAULT_C_SignInit, P11_FAULT_C_DeriveKey};
    char uri[512];
    struct p11_fault_control *control = keyd_fault_open(uri, sizeof(uri));

    for (size_t f = 0; f < sizeof(functions) / sizeof(functions[0]); f++) {
        struct keyd_pool *pool = open_two(uri, 1);
        int pid = 0;

        make_device(pool);
        wait_for(pool, "cradle_hsm_token_up{token=\"2\"}", 1);
        ck_assert_uint_eq(keyd_pool_pids(pool, &pid, 1), 1);
        /* Not that of a probe of the same token, which expects some calls to fail. */
        atomic_store(&control->process, (uint32_t)pid);
        keyd_fault_arm(control, functions[f], 1, 1, codes[f]);
        join_must_succeed(keyd_pool_channel(pool, 0), 7);
        ck_assert_uint_eq(keyd_pool_token(pool), 2);
        ck_assert_int_eq(metric_of(pool, "cradle_keyd_resends_total"), 1);
        keyd_fault_disarm(control);
        keyd_pool_close(pool);
    }
    atomic_store(&control->process, 0);
    for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
        struct keyd_pool *pool = open_two(uri, 1);

        make_device(pool);
        keyd_fault_arm(control, P11_FAULT_C_UnwrapKey, 1, 1000000, codes[c]);
        join_must_succeed(keyd_pool_channel(pool, 0), 8);
        ck_assert_uint_eq(keyd_pool_token(pool), 2);
        keyd_fault_disarm(control);
        keyd_pool_close(pool);
    }
}
END_TEST

/* Of the same name and PIN, by a ceremony of its own. */
static void make_another_token(void)
{
    const char *const make[] = {"softhsm2-util", "--init-token", "--free", "--label", "cradle-test",
        "--so-pin", "so-pin-of-test", "--pin", SOFTHSM_PIN, NULL};
    struct softhsm other = keyd_test_hsm;
    char *before = strdup(getenv("SOFTHSM2_CONF"));
    char tokens[192];

    (void)snprintf(tokens, sizeof(tokens), "%s/tokens", second_dir);
    move(second_dir, "tokens", "copied");
    ck_assert_int_eq(mkdir(tokens, 0700), 0);
    (void)snprintf(other.uri, sizeof(other.uri), "%s", second_uri);
    (void)snprintf(other.exchange_pem, sizeof(other.exchange_pem), "%s/e.pem", second_dir);
    (void)setenv("SOFTHSM2_CONF", second_conf, 1);
    run(make);
    ck_assert_msg(softhsm_ceremony(&other) == 0, "%s", error_text());
    (void)setenv("SOFTHSM2_CONF", before, 1);
    free(before);
}

START_TEST(a_second_token_with_other_keys_is_refused_and_never_serves)
{
    struct keyd_pool *pool;

    make_another_token();
    pool = open_two(keyd_test_hsm.uri, 1);
    make_device(pool);
    wait_for(pool, "cradle_hsm_token_refused{token=\"2\"}", 1);
    ck_assert_int_eq(metric_of(pool, "cradle_hsm_token_up{token=\"2\"}"), 0);
    join_must_succeed(keyd_pool_channel(pool, 0), 1);
    take_away(keyd_test_hsm.dir);
    kill_keyds(pool);
    ck_assert_int_ne(join(keyd_pool_channel(pool, 0), 2, clock_monotonic_ms() + 1500), 0);
    ck_assert_int_ne(join(keyd_pool_channel(pool, 0), 2, clock_monotonic_ms() + 1500), 0);
    ck_assert_uint_eq(keyd_pool_token(pool), 1);
    bring_back(keyd_test_hsm.dir);
    join_must_succeed(keyd_pool_channel(pool, 0), 3);
    ck_assert_uint_eq(keyd_pool_token(pool), 1);
    keyd_pool_close(pool);
}
END_TEST

static void spoil_pin(const char *dir)
{
    char path[192];

    (void)snprintf(path, sizeof(path), "%s/pin", dir);
    write_text(path, "0000-wrong\n");
}

static unsigned refusals_in(const char *lock_file)
{
    char line[512];
    unsigned n = 0;
    FILE *file = fopen(lock_file, "re");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        n += strncmp(line, "refused ", 8) == 0;
    if (file != NULL)
        (void)fclose(file);
    return n;
}

START_TEST(a_token_that_refuses_its_pin_is_not_tried_again_and_the_other_goes_on)
{
    struct keyd_pool *pool;
    long starts;

    spoil_pin(second_dir);
    pool = open_two(keyd_test_hsm.uri, 1);
    make_device(pool);
    wait_for(pool, "cradle_hsm_token_refused{token=\"2\"}", 1);
    ck_assert(!keyd_pool_stopped(pool));
    starts = metric_of(pool, "cradle_keyd_starts_total");
    take_away(keyd_test_hsm.dir);
    kill_keyds(pool);
    ck_assert_int_ne(join(keyd_pool_channel(pool, 0), 2, clock_monotonic_ms() + 1500), 0);
    ck_assert_uint_eq(keyd_pool_token(pool), 1);
    bring_back(keyd_test_hsm.dir);
    join_must_succeed(keyd_pool_channel(pool, 0), 3);
    ck_assert_int_gt(metric_of(pool, "cradle_keyd_starts_total"), starts);
    ck_assert_uint_eq(refusals_in(second_lock), 1);
    keyd_pool_close(pool);
}
END_TEST

START_TEST(the_second_token_serves_where_the_first_cannot_be_opened)
{
    char wrong[600];
    struct keyd_pool *pool;

    take_away(keyd_test_hsm.dir);
    pool = open_two(keyd_test_hsm.uri, 1);
    make_device(pool);
    ck_assert_uint_eq(keyd_pool_token(pool), 2);
    join_must_succeed(keyd_pool_channel(pool, 0), 1);
    bring_back(keyd_test_hsm.dir);
    serving_must_become(pool, 1);
    join_must_succeed(keyd_pool_channel(pool, 0), 2);
    keyd_pool_close(pool);
    /* A wrong PIN of the first is no reason to do without the second. */
    (void)snprintf(wrong, sizeof(wrong), "%s", keyd_test_hsm.uri_wrong);
    pool = open_two(wrong, 1);
    ck_assert_uint_eq(keyd_pool_token(pool), 2);
    ck_assert_int_eq(metric_of(pool, "cradle_hsm_token_refused{token=\"1\"}"), 1);
    join_must_succeed(keyd_pool_channel(pool, 0), 3);
    keyd_pool_close(pool);
}
END_TEST

START_TEST(with_both_away_nothing_is_answered_and_it_comes_back_by_itself)
{
    struct keyd_pool *pool = open_two(keyd_test_hsm.uri, 1);

    make_device(pool);
    wait_for(pool, "cradle_hsm_token_up{token=\"2\"}", 1);
    for (unsigned round = 0; round < 2; round++) {
        take_away(keyd_test_hsm.dir);
        take_away(second_dir);
        kill_keyds(pool);
        ck_assert_int_ne(join(keyd_pool_channel(pool, 0), 1, clock_monotonic_ms() + 500), 0);
        ck_assert_int_ne(join(keyd_pool_channel(pool, 0), 1, clock_monotonic_ms() + 500), 0);
        ck_assert(!keyd_pool_healthy(pool));
        ck_assert(!keyd_pool_stopped(pool));
        /* Whichever comes first. */
        bring_back(round == 0 ? keyd_test_hsm.dir : second_dir);
        join_must_succeed(keyd_pool_channel(pool, 0), 2);
        serving_must_become(pool, round == 0 ? 1 : 2);
        bring_back(round == 0 ? second_dir : keyd_test_hsm.dir);
        serving_must_become(pool, 1);
        join_must_succeed(keyd_pool_channel(pool, 0), 3);
        wait_for(pool, "cradle_hsm_token_up{token=\"2\"}", 1);
    }
    keyd_pool_close(pool);
}
END_TEST

START_TEST(settings_that_make_no_second_token_are_refused)
{
    struct keyd_pool_config config = config_of(keyd_test_hsm.uri, 1);
    struct keyd_pool *pool = NULL;

    config.second.lock_file = keyd_test_hsm.lock_file;
    ck_assert_int_eq(keyd_pool_open(&config, &pool), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "lock file of its own"));
    config = config_of(keyd_test_hsm.uri, 1);
    config.second.uri = keyd_test_hsm.uri;
    config.second.softhsm_conf = "";
    ck_assert_int_eq(keyd_pool_open(&config, &pool), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "is the first one"));
    config = config_of(keyd_test_hsm.uri, 1);
    config.second.uri = "pkcs11:token=x?module-path=/m&pin-value=7391";
    ck_assert_int_eq(keyd_pool_open(&config, &pool), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "PIN itself"));
}
END_TEST

START_TEST(a_version_that_does_not_seal_yet_is_not_asked_of_the_second_token)
{
    const struct hsm_ceremony ceremony = {
        .uri = keyd_test_hsm.uri, .lock_file = keyd_test_hsm.lock_file};
    CLEANUP(text_done) struct text report = {0};
    struct keyd_pool *pool;
    unsigned version = 0;

    ck_assert_int_eq(hsm_ceremony_rotate(&ceremony, HSM_FAMILY_KEK, &version, &report), 0);
    pool = open_two(keyd_test_hsm.uri, 1);
    make_device(pool);
    wait_for(pool, "cradle_hsm_token_up{token=\"2\"}", 1);
    take_away(keyd_test_hsm.dir);
    kill_keyds(pool);
    serving_must_become(pool, 2);
    join_must_succeed(keyd_pool_channel(pool, 0), 1);
    keyd_pool_close(pool);

    /* One that seals is: what the first would seal, the second could not open. */
    bring_back(keyd_test_hsm.dir);
    ck_assert_int_eq(hsm_ceremony_activate(&ceremony, HSM_FAMILY_KEK, version, &report), 0);
    pool = open_two(keyd_test_hsm.uri, 1);
    wait_for(pool, "cradle_hsm_token_refused{token=\"2\"}", 1);
    keyd_pool_close(pool);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_token_taken_away_under_load_costs_no_call_and_serves_again_when_it_is_back,
        what_one_token_fails_the_other_is_asked,
        a_second_token_with_other_keys_is_refused_and_never_serves,
        a_token_that_refuses_its_pin_is_not_tried_again_and_the_other_goes_on,
        the_second_token_serves_where_the_first_cannot_be_opened,
        with_both_away_nothing_is_answered_and_it_comes_back_by_itself,
        settings_that_make_no_second_token_are_refused,
        a_version_that_does_not_seal_yet_is_not_asked_of_the_second_token,
    };

    return keyd_test_main("keyd-tokens", tests, sizeof(tests) / sizeof(tests[0]), setup, NULL);
}
