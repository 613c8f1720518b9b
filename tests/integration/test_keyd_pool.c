/* The pool: processes that die, wear out, or are sent nonsense, and none that is left behind. */
#include "base/clock.h"
#include "base/error.h"
#include "hsm/pool.h"
#include "tests/integration/keyd_fixture.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NO_LIMIT 0
#define RECYCLES_WANTED 10
#define KILLS_WANTED 50

static struct keyd_test_peers peers;
static struct keyd_test_device device;

static struct keyd_pool *open_with_device(unsigned n_processes, unsigned n_channels, unsigned limit)
{
    struct keyd_pool *pool = keyd_test_pool(n_processes, n_channels, limit);

    keyd_test_peers(keyd_pool_channel(pool, 0), &peers);
    keyd_test_adopt(keyd_pool_channel(pool, 0), 0x20635F00C4002000, false, &device);
    return pool;
}

static void join_must_succeed(struct keyd_channel *channel, uint16_t dev_nonce)
{
    struct keyd_join_request request;
    struct keyd_join_reply reply;

    keyd_test_request(&device, dev_nonce, false, false, &request);
    ck_assert_msg(
        keyd_answer_joins(channel, peers.list, 2, &request, 1, &reply, keyd_test_deadline()) == 0,
        "%s", error_text());
    keyd_test_check(&device, &peers, &request, &reply);
}

static void no_child_may_be_left(void)
{
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

START_TEST(a_killed_keyd_is_replaced_and_the_next_call_succeeds)
{
    struct keyd_pool *pool = open_with_device(1, 1, NO_LIMIT);

    for (uint16_t i = 0; i < 20; i++) {
        int pid = 0;

        ck_assert_uint_eq(keyd_pool_pids(pool, &pid, 1), 1);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        join_must_succeed(keyd_pool_channel(pool, 0), i);
    }
    keyd_pool_close(pool);
    no_child_may_be_left();
}
END_TEST

struct caller {
    pthread_t thread;
    struct keyd_channel *channel;
    unsigned n;              /* at least so many joins */
    const atomic_bool *stop; /* and on until it is set, if given */
    atomic_uint answered;
};

static void *call_many(void *context)
{
    struct caller *caller = context;

    for (unsigned i = 0; i < caller->n || (caller->stop != NULL && !atomic_load(caller->stop));
         i++) {
        join_must_succeed(caller->channel, (uint16_t)i);
        atomic_fetch_add(&caller->answered, 1);
    }
    return NULL;
}

static void start_callers(struct caller *callers, unsigned n_callers, struct keyd_pool *pool,
    unsigned n, const atomic_bool *stop)
{
    for (unsigned i = 0; i < n_callers; i++) {
        callers[i] = (struct caller){.channel = keyd_pool_channel(pool, i), .n = n, .stop = stop};
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call_many, &callers[i]), 0);
    }
}

START_TEST(keyds_killed_under_load_cost_no_call)
{
    struct keyd_pool *pool = open_with_device(2, 4, NO_LIMIT);
    struct caller callers[4];
    atomic_bool stop = false;

    start_callers(callers, 4, pool, 0, &stop);
    for (unsigned kills = 0; kills < KILLS_WANTED;) {
        unsigned before[4];
        int pids[2];

        for (unsigned i = 0; i < 4; i++)
            before[i] = atomic_load(&callers[i].answered);
        if (keyd_pool_pids(pool, pids, 2) == 2)
            (void)kill(pids[kills++ % 2], SIGKILL); /* it may have just ended */
        /* No message may meet two of these: each caller gets on before the next. */
        for (unsigned i = 0; i < 4; i++) {
            while (atomic_load(&callers[i].answered) < before[i] + 2)
                (void)poll(NULL, 0, 1);
        }
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(callers[i].thread, NULL), 0);
    keyd_pool_close(pool);
    no_child_may_be_left();
}
END_TEST

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

START_TEST(recycling_loses_no_join_and_keeps_the_number_of_processes)
{
    struct keyd_pool *pool = open_with_device(2, 4, 20);
    struct caller callers[4];
    const int64_t deadline = keyd_test_deadline();
    atomic_bool stop = false;
    unsigned most = 0;

    /* The fourth channel stays idle: a process must not live on because of it. */
    start_callers(callers, 3, pool, 170, &stop);
    while (metric_of(pool, "cradle_keyd_recycles_total") < RECYCLES_WANTED) {
        unsigned n = keyd_test_children();

        most = n > most ? n : most;
        ck_assert_int_lt(clock_monotonic_ms(), deadline);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(callers[i].thread, NULL), 0);
    ck_assert_uint_le(most, 8); /* two serving, two starting, and those just leaving */
    ck_assert_int_eq(metric_of(pool, "cradle_keyd_deaths_total"), 0);
    ck_assert_int_eq(metric_of(pool, "cradle_keyd_resends_total"), 0);
    join_must_succeed(keyd_pool_channel(pool, 3), 1);
    keyd_pool_close(pool);
    no_child_may_be_left();
}
END_TEST

START_TEST(a_keyd_that_grew_too_large_is_replaced)
{
    struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = keyd_test_hsm.uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 1,
        .n_channels = 1,
        .max_memory_mib = 1}; /* less than any keyd has */
    const int64_t deadline = keyd_test_deadline();
    struct keyd_pool *pool = NULL;

    ck_assert_msg(keyd_pool_open(&config, &pool) == 0, "%s", error_text());
    while (metric_of(pool, "cradle_keyd_recycles_total") < 3) {
        ck_assert_int_eq(keyd_self_test(keyd_pool_channel(pool, 0), deadline), 0);
        ck_assert_int_lt(clock_monotonic_ms(), deadline);
    }
    ck_assert_int_eq(metric_of(pool, "cradle_keyd_deaths_total"), 0);
    keyd_pool_close(pool);
    no_child_may_be_left();
}
END_TEST

#ifdef KEYD_WITH_TCMALLOC
/* A linker that leaves out what nobody asks for by name could leave it out unseen. */
START_TEST(a_keyd_is_linked_with_tcmalloc)
{
    static const char name[] = "libtcmalloc_minimal.so";
    FILE *file = fopen(KEYD_PROGRAM, "re");
    struct stat info;
    char *program;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fstat(fileno(file), &info), 0);
    program = malloc((size_t)info.st_size);
    ck_assert_ptr_nonnull(program);
    ck_assert_uint_eq(fread(program, 1, (size_t)info.st_size, file), (size_t)info.st_size);
    ck_assert_ptr_nonnull(memmem(program, (size_t)info.st_size, name, sizeof(name) - 1));
    free(program);
    (void)fclose(file);
}
END_TEST
#endif

static void send_raw(struct keyd_channel *channel, const void *bytes, size_t len)
{
    ck_assert_int_eq(send(channel->fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* The exit status of a child that must end by itself cannot be waited for here: the pool reaps it.
 */
static void wait_until_replaced(struct keyd_pool *pool, unsigned slot, int old)
{
    const int64_t deadline = keyd_test_deadline();
    int pids[2] = {0, 0};

    while (keyd_pool_pids(pool, pids, 2) < 2 || pids[slot] == old) {
        ck_assert_msg(clock_monotonic_ms() < deadline, "the keyd was not replaced");
        (void)poll(NULL, 0, 1);
    }
}

/* An answer to nonsense and not a crash. */
static void must_have_ended_with(struct keyd_pool *pool, enum keyd_exit state)
{
    int end;

    (void)pthread_mutex_lock(&pool->lock);
    end = pool->last_end;
    (void)pthread_mutex_unlock(&pool->lock);
    ck_assert_msg(WIFEXITED(end) && WEXITSTATUS(end) == (int)state, "it ended with 0x%x", end);
}

static void wait_for_death(struct keyd_pool *pool, long n)
{
    const int64_t deadline = keyd_test_deadline();

    while (metric_of(pool, "cradle_keyd_deaths_total") < n) {
        ck_assert_msg(clock_monotonic_ms() < deadline, "no keyd ended");
        (void)poll(NULL, 0, 1);
    }
}

START_TEST(a_malformed_frame_ends_that_keyd_and_nothing_else)
{
    struct keyd_pool *pool = open_with_device(2, 2, NO_LIMIT);
    static uint8_t frame[KEYD_FRAME_MAX];
    size_t len = 0;

    ck_assert_int_eq(keyd_request_encode(KEYD_VERB_SELF_TEST, 1, NULL, 0, NULL, 1, frame, &len), 0);
    for (unsigned i = 0; i < 5; i++) {
        int before[2], after[2];

        ck_assert_uint_eq(keyd_pool_pids(pool, before, 2), 2);
        join_must_succeed(keyd_pool_channel(pool, 0), 1);
        if (i == 0)
            send_raw(keyd_pool_channel(pool, 0), "nonsense", 8);
        else if (i == 1)
            send_raw(keyd_pool_channel(pool, 0), frame, len - 1);
        else if (i == 2)
            send_raw(keyd_pool_channel(pool, 0), frame, sizeof(frame));
        else if (i == 3)
            send_raw(keyd_pool_channel(pool, 0), "C", 1);
        else {
            frame[4] = KEYD_N_VERBS + 1;
            send_raw(keyd_pool_channel(pool, 0), frame, len);
        }
        join_must_succeed(keyd_pool_channel(pool, 1), 2);
        wait_until_replaced(pool, 0, before[0]);
        must_have_ended_with(pool, KEYD_EXIT_FRAME);
        ck_assert_uint_eq(keyd_pool_pids(pool, after, 2), 2);
        ck_assert_int_eq(before[1], after[1]);
        join_must_succeed(keyd_pool_channel(pool, 0), 3);
    }
    keyd_pool_close(pool);
    no_child_may_be_left();
}
END_TEST

START_TEST(a_verb_the_service_may_not_use_ends_the_keyd)
{
    static uint8_t frame[KEYD_FRAME_MAX];
    static struct keyd_join_request join;
    static const struct keyd_adopt_request adopt = {
        .slot = KEY_SLOT_APP, .transport_kek = KEYD_NO_KEK};
    static const struct keyd_adopt_kek_request adopt_kek = {.key_len = 16,
        .kek = {.peer_kind = PEER_NETWORK_SERVER,
            .peer_id = "000013",
            .kek_class = KEK_CLASS_NS,
            .label = "ns"}};
    static const struct keyd_claim_code code;
    static const struct keyd_random_request random = {.len = 1};
    static const struct keyd_webhook webhook = {.generation = 1};
    static const struct keyd_token_request body;
    static struct keyd_app_s_key_request app_s_key;
    static struct keyd_export_message export = {
        .to = {.modulus_len = KEYD_RSA_MIN, .exponent_len = 1, .exponent = {3}}};
    static struct keyd_make_kek_request make_kek = {.key_len = 16,
        .to = {.modulus_len = KEYD_RSA_MIN, .exponent_len = 1, .exponent = {3}},
        .kek = {.peer_kind = PEER_NETWORK_SERVER,
            .peer_id = "000013",
            .kek_class = KEK_CLASS_NS,
            .label = "ns"}};
    static const struct audit_checkpoint checkpoint;
    static const struct keyd_custody_request custody = {.type = CUSTODY_OF_DEVICE};
    static const struct sealed_kek transport = {.peer_kind = PEER_ORGANIZATION,
        .peer_id = "00112233445566778899aabbccddeeff",
        .kek_class = KEK_CLASS_TRANSPORT,
        .label = "order",
        .key = {.kek_label = "store-kek.1", .blob_len = 24, .tag_version = 1}};
    static const struct sealed_kek *const keks[] = {&transport};
    static const struct keyd_make_request make = {.slot = KEY_SLOT_APP};
    static const struct keyd_delivery_request delivery;
    static struct keyd_rewrap_key_request rewrap;
    const void *const items[KEYD_N_VERBS + 1] = {
        [KEYD_VERB_JOIN] = &join,
        [KEYD_VERB_ADOPT_KEY] = &adopt,
        [KEYD_VERB_ADOPT_KEK] = &adopt_kek,
        [KEYD_VERB_HASH_CODE] = &code,
        [KEYD_VERB_HASH_TOKEN] = &body,
        [KEYD_VERB_APP_S_KEY] = &app_s_key,
        [KEYD_VERB_RANDOM] = &random,
        [KEYD_VERB_EXPORT_KEY] = &export,
        [KEYD_VERB_MAKE_KEK] = &make_kek,
        [KEYD_VERB_SIGN_CHECKPOINT] = &checkpoint,
        [KEYD_VERB_WEBHOOK_SECRET] = &webhook,
        [KEYD_VERB_SIGN_CUSTODY] = &custody,
        [KEYD_VERB_MAKE_KEY] = &make,
        [KEYD_VERB_DELIVERY_KEY] = &delivery,
        [KEYD_VERB_REWRAP_KEY] = &rewrap,
        [KEYD_VERB_REWRAP_KEK] = &transport,
    };

    keyd_pool_close(open_with_device(1, 1, NO_LIMIT));
    keyd_test_request(&device, 1, false, false, &join);
    join.plan = false;
    memset(export.to.modulus, 0xFF, KEYD_RSA_MIN);
    memset(make_kek.to.modulus, 0xFF, KEYD_RSA_MIN);
    export.items[0] = (struct keyd_export_request){.slot = KEY_SLOT_APP, .key = device.app};
    rewrap = (struct keyd_rewrap_key_request){.slot = KEY_SLOT_APP, .key = device.app};
    app_s_key = (struct keyd_app_s_key_request){.app = device.app, .as_kek = KEYD_NO_KEK};
    for (unsigned own = 1; own <= KEYD_N_VERBS; own++) {
        struct keyd_pool_config config = {.program = KEYD_PROGRAM,
            .uri = keyd_test_hsm.uri,
            .lock_file = keyd_test_hsm.lock_file,
            .verbs = KEYD_MAY(own),
            .n_processes = 1,
            .n_channels = 1};
        struct keyd_pool *pool = NULL;
        long deaths = 0;

        ck_assert_msg(keyd_pool_open(&config, &pool) == 0, "%s", error_text());
        for (unsigned verb = 1; verb <= KEYD_N_VERBS; verb++) {
            struct keyd_channel *channel = keyd_pool_channel(pool, 0);
            const int64_t deadline = keyd_test_deadline();
            size_t len = 0;
            struct pollfd p = {.events = POLLIN};

            /* Of two verbs one is asked of the other's process: each refusal costs a start. */
            if (verb != own && (verb > own) == ((own + verb) % 2 == 0))
                continue;
            ck_assert_int_eq(keyd_request_encode((enum keyd_verb)verb, 1, keks,
                                 verb == KEYD_VERB_MAKE_KEY, items[verb], 1, frame, &len),
                0);
            ck_assert_int_eq(pool_channel_take(channel, deadline), 0);
            p.fd = channel->fd;
            send_raw(channel, frame, len);
            ck_assert_int_eq(poll(&p, 1, KEYD_TEST_PATIENCE_MS), 1);
            /* An answer to its own verb; an end of file to every other. */
            ck_assert_int_eq(recv(channel->fd, frame, sizeof(frame), 0) > 0, verb == own);
            if (verb == own) {
                channel->reply = (struct keyd_reply){.n_items = 1};
                pool_channel_give(channel, POOL_CALL_OK, &channel->reply);
                continue;
            }
            wait_for_death(pool, ++deaths);
            must_have_ended_with(pool, KEYD_EXIT_FRAME);
            pool_channel_give(channel, POOL_CALL_BROKEN, NULL);
        }
        keyd_pool_close(pool);
    }
    no_child_may_be_left();
}
END_TEST

START_TEST(a_pool_that_names_no_verbs_is_not_opened)
{
    struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = keyd_test_hsm.uri,
        .lock_file = keyd_test_hsm.lock_file,
        .n_processes = 1,
        .n_channels = 1};
    struct keyd_pool *pool = NULL;

    ck_assert_int_lt(keyd_pool_open(&config, &pool), 0);
    ck_assert_ptr_null(pool);
}
END_TEST

/* The keyd lives, but this channel's socket does not: only a new process can serve it. */
START_TEST(a_broken_socket_of_a_living_keyd_brings_a_new_one)
{
    struct keyd_pool *pool = open_with_device(1, 2, NO_LIMIT);

    for (unsigned i = 0; i < 3; i++) {
        int before = 0, after = 0;

        join_must_succeed(keyd_pool_channel(pool, 1), 1);
        ck_assert_uint_eq(keyd_pool_pids(pool, &before, 1), 1);
        ck_assert_int_eq(shutdown(keyd_pool_channel(pool, 0)->fd, SHUT_RDWR), 0);
        join_must_succeed(keyd_pool_channel(pool, 0), 2);
        ck_assert_uint_eq(keyd_pool_pids(pool, &after, 1), 1);
        ck_assert_int_ne(before, after);
        join_must_succeed(keyd_pool_channel(pool, 1), 3);
    }
    keyd_pool_close(pool);
    no_child_may_be_left();
}
END_TEST

/* A join server's keyd asked to adopt: to it the message is poison. */
START_TEST(a_message_that_two_keyds_died_of_is_not_sent_to_a_third)
{
    struct keyd_pool_config config = {.program = KEYD_PROGRAM,
        .uri = keyd_test_hsm.uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_MAY(KEYD_VERB_JOIN) | KEYD_MAY(KEYD_VERB_SELF_TEST),
        .n_processes = 1,
        .n_channels = 1};
    struct keyd_adopt_request adopt = {.slot = KEY_SLOT_APP};
    struct keyd_adopt_reply reply;
    struct keyd_pool *pool = NULL;

    ck_assert_msg(keyd_pool_open(&config, &pool) == 0, "%s", error_text());
    ck_assert_int_eq(keyd_adopt_device_keys(keyd_pool_channel(pool, 0), NULL, 0, &adopt, 1, &reply,
                         keyd_test_deadline()),
        ERROR_HSM);
    ck_assert_int_eq(keyd_self_test(keyd_pool_channel(pool, 0), keyd_test_deadline()), 0);
    ck_assert_int_eq(metric_of(pool, "cradle_keyd_deaths_total"), 2);
    keyd_pool_close(pool);
    no_child_may_be_left();
}
END_TEST

START_TEST(a_keyd_that_does_not_answer_is_replaced)
{
    struct keyd_pool *pool = open_with_device(1, 1, NO_LIMIT);
    struct keyd_join_request request;
    struct keyd_join_reply reply;
    int pid = 0;

    keyd_test_request(&device, 1, false, false, &request);
    ck_assert_uint_eq(keyd_pool_pids(pool, &pid, 1), 1);
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(keyd_answer_joins(keyd_pool_channel(pool, 0), peers.list, 2, &request, 1,
                         &reply, clock_monotonic_ms() + 50),
        ERROR_DEADLINE);
    join_must_succeed(keyd_pool_channel(pool, 0), 2);
    keyd_pool_close(pool);
    no_child_may_be_left();
}
END_TEST

static void *open_pool(void *context)
{
    struct keyd_pool **pool = context;

    *pool = keyd_test_pool(4, 4, NO_LIMIT);
    return NULL;
}

START_TEST(eight_keyds_starting_at_once_on_one_token_all_succeed)
{
    struct keyd_pool *pools[2] = {NULL, NULL};
    pthread_t threads[2];

    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, open_pool, &pools[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert(keyd_pool_healthy(pools[i]));
        ck_assert_int_eq(metric_of(pools[i], "cradle_keyd_starts_total"), 4);
        ck_assert_int_eq(metric_of(pools[i], "cradle_keyd_processes"), 4);
        for (unsigned c = 0; c < 4; c++)
            ck_assert_int_eq(
                keyd_self_test(keyd_pool_channel(pools[i], c), keyd_test_deadline()), 0);
    }
    for (unsigned i = 0; i < 2; i++)
        keyd_pool_close(pools[i]);
    no_child_may_be_left();
}
END_TEST

START_TEST(keyds_end_when_their_service_dies)
{
    int fds[2], pids[2] = {0, 0};
    char byte;
    pid_t service;

    ck_assert_int_eq(pipe(fds), 0);
    service = fork();
    ck_assert_int_ge(service, 0);
    if (service == 0) {
        struct keyd_pool *pool = keyd_test_pool(2, 2, NO_LIMIT);
        int mine[2];

        if (keyd_pool_pids(pool, mine, 2) != 2 ||
            write(fds[1], mine, sizeof(mine)) != (ssize_t)sizeof(mine))
            _exit(1);
        (void)kill(getpid(), SIGKILL);
    }
    (void)close(fds[1]);
    ck_assert_int_eq(read(fds[0], pids, sizeof(pids)), (ssize_t)sizeof(pids));
    ck_assert_int_eq(waitpid(service, NULL, 0), service);
    /* Nobody else holds the writing end: its end comes with the last process. */
    ck_assert_int_eq(read(fds[0], &byte, 1), 0);
    for (unsigned i = 0; i < 2; i++) {
        const int64_t deadline = keyd_test_deadline();

        while (kill(pids[i], 0) == 0) {
            ck_assert_msg(clock_monotonic_ms() < deadline, "keyd %d lives on", pids[i]);
            (void)poll(NULL, 0, 1);
        }
    }
}
END_TEST

START_TEST(a_missing_program_or_a_readable_pin_is_a_wrong_setting)
{
    struct keyd_pool_config config = {.program = "/nowhere/cradle-keyd",
        .uri = keyd_test_hsm.uri,
        .lock_file = keyd_test_hsm.lock_file,
        .verbs = KEYD_TEST_VERBS,
        .n_processes = 2,
        .n_channels = 2};
    struct keyd_pool *pool = NULL;
    char path[256];

    ck_assert_int_eq(keyd_pool_open(&config, &pool), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "/nowhere/cradle-keyd"));
    /* The program is not there: it was refused before it could be run with the PIN. */
    config.uri = "pkcs11:token=cradle-test?module-path=/m&pin-value=7391";
    ck_assert_int_eq(keyd_pool_open(&config, &pool), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "PIN itself") != NULL, "%s", error_text());
    config.uri = keyd_test_hsm.uri;
    config.program = KEYD_PROGRAM;
    (void)snprintf(path, sizeof(path), "%s/pin", keyd_test_hsm.dir);
    ck_assert_int_eq(chmod(path, 0640), 0);
    ck_assert_int_eq(keyd_pool_open(&config, &pool), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "others") != NULL, "%s", error_text());
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert_int_eq(keyd_pool_open(&config, &pool), 0);
    keyd_pool_close(pool);
    no_child_may_be_left();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_killed_keyd_is_replaced_and_the_next_call_succeeds,
        keyds_killed_under_load_cost_no_call,
        recycling_loses_no_join_and_keeps_the_number_of_processes,
        a_keyd_that_grew_too_large_is_replaced,
#ifdef KEYD_WITH_TCMALLOC
        a_keyd_is_linked_with_tcmalloc,
#endif
        a_malformed_frame_ends_that_keyd_and_nothing_else,
        a_verb_the_service_may_not_use_ends_the_keyd,
        a_pool_that_names_no_verbs_is_not_opened,
        a_broken_socket_of_a_living_keyd_brings_a_new_one,
        a_message_that_two_keyds_died_of_is_not_sent_to_a_third,
        a_keyd_that_does_not_answer_is_replaced,
        eight_keyds_starting_at_once_on_one_token_all_succeed,
        keyds_end_when_their_service_dies,
        a_missing_program_or_a_readable_pin_is_a_wrong_setting,
    };

    return keyd_test_main("keyd-pool", tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}
