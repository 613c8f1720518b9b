/* No byte of a body, nor of a credential, stays in the server's memory after its request. The whole
 * writable memory of this process is searched, with a positive control. */
#include "base/clock.h"
#include "base/log.h"
#include "tests/integration/api_client.h"
#include "tests/integration/api_service.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define WATCHDOG_S 60
#define SKIPPED 77 /* as meson has it */
#define CANARY_LEN 48
#define MASK 0x5a
#define SCAN_PIECE ((size_t)1 << 20)
#define MAPPING_MAX ((uintptr_t)1 << 30) /* larger ones are a sanitizer's shadow */

/* ThreadSanitizer has many times the memory: to search it takes longer than the watchdog waits, and
 * tells nothing of races. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TOO_MUCH_MEMORY true
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define TOO_MUCH_MEMORY true
#endif
#ifndef TOO_MUCH_MEMORY
#define TOO_MUCH_MEMORY false
#endif

/* The test itself never holds the canary: only masked, unless it is being sent. */
static unsigned char masked[CANARY_LEN];

static size_t count_in(const unsigned char *piece, size_t len)
{
    size_t n = 0;

    for (size_t at = 0; at + CANARY_LEN <= len; at++) {
        size_t i = 0;

        while (i < CANARY_LEN && (piece[at + i] ^ MASK) == masked[i])
            i++;
        n += i == CANARY_LEN;
    }
    return n;
}

/* How often the canary stands in the writable memory of this process. */
static size_t count_canaries(void)
{
    unsigned char *piece =
        mmap(NULL, SCAN_PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *maps = fopen("/proc/self/maps", "re"), *memory = fopen("/proc/self/mem", "re");
    char line[512];
    size_t n = 0;

    ck_assert(piece != MAP_FAILED && maps != NULL && memory != NULL);
    while (fgets(line, sizeof(line), maps) != NULL) {
        uintptr_t from, to;
        char mode[5];

        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 || mode[1] != 'w' ||
            to - from > MAPPING_MAX)
            continue;
        /* Pieces overlap, so that a canary across two of them is seen. */
        for (uintptr_t at = from; at < to; at += SCAN_PIECE - CANARY_LEN) {
            size_t want = to - at < SCAN_PIECE ? to - at : SCAN_PIECE;
            ssize_t got;

            if ((uintptr_t)piece < at + want && at < (uintptr_t)piece + SCAN_PIECE)
                continue;
            got = pread(fileno(memory), piece, want, (off_t)at);
            if (got > 0)
                n += count_in(piece, (size_t)got);
            secret_wipe(piece, SCAN_PIECE);
        }
    }
    (void)fclose(maps);
    (void)fclose(memory);
    (void)munmap(piece, SCAN_PIECE);
    return n;
}

/* Volatile, so that no copy in a vector register is spilled anywhere. */
static void send_canary(struct client *client)
{
    volatile unsigned char plain[CANARY_LEN];

    for (size_t i = 0; i < CANARY_LEN; i++)
        plain[i] = masked[i] ^ MASK;
    ck_assert_int_eq(
        send(client->fd, (const void *)(uintptr_t)plain, CANARY_LEN, MSG_NOSIGNAL), CANARY_LEN);
    secret_wipe((void *)(uintptr_t)plain, CANARY_LEN);
}

/* Freed memory is written to at its start, so the canary stands behind something. */
#define FILLER "0123456789012345678901234567890123456789012345678901234567890123"

static const char *const canary_ways[][2] = {
    /* before the canary, behind it */
    {"POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 112\r\n\r\n" FILLER, ""},
    {"POST /hold HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 113\r\n\r\n" FILLER,
        "y"},
    {"POST /hold HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n70\r\n" FILLER,
        "\r\n0\r\n\r\n"},
    {"POST /hold HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" FILLER
     "\r\n30\r\n",
        "\r\n1\r\nx\r\n0\r\n\r\n"},
    {"GET /hold HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: " FILLER
     "\r\nAuthorization: Bearer ",
        "\r\n\r\n"},
};

static void make_canary(void)
{
    ck_assert_int_eq(random_bytes(masked, sizeof(masked)), 0);
    for (size_t i = 0; i < CANARY_LEN; i++)
        masked[i] = (unsigned char)(('a' + masked[i] % 26) ^ MASK);
}

START_TEST(no_body_is_in_memory_after_its_request)
{
    struct client *client = client_new();

    make_canary();
    client_say(client, "%s", canary_ways[_i][0]);
    send_canary(client);
    if (canary_ways[_i][1][0] != '\0')
        client_say(client, "%s", canary_ways[_i][1]);
    service_wait_held();
    /* The scan does find it while it must be there, and once only: not in the library's memory. */
    ck_assert_uint_eq(count_canaries(), 1);
    service_release_held();
    client_expect(client, 200, "released");
    if (strstr(canary_ways[_i][0], "Connection: close") == NULL) {
        /* The next answer on the connection says that the first request has ended. */
        client_post(client, "/echo", "x");
        client_expect(client, 200, "x");
        ck_assert_uint_eq(count_canaries(), 0);
    }
    client_free(client);
    service_wait_connections(0);
    ck_assert_uint_eq(count_canaries(), 0);
}
END_TEST

START_TEST(no_unfinished_body_is_in_memory_after_its_connection)
{
    struct client *client = client_new();

    make_canary();
    client_say(client, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n" FILLER);
    send_canary(client);
    while (count_canaries() == 0) { /* until the server has read it */
    }
    client_free(client);
    service_wait_connections(0);
    ck_assert_uint_eq(count_canaries(), 0);
}
END_TEST

static const char *const stream_ways[][2] = {
    {"POST /stream-hold HTTP/1.1\r\nHost: h\r\nContent-Length: 112\r\n\r\n" FILLER, ""},
    {"POST /stream-hold HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" FILLER
     "\r\n30\r\n",
        "\r\n1\r\nx\r\n0\r\n\r\n"},
};

/* Of a streamed body the ring alone has a copy, and only until the worker has taken it. */
START_TEST(no_streamed_body_is_in_memory_once_it_is_read)
{
    struct client *client = client_new();
    struct api_stream *stream;
    char piece[1000];
    int n;

    make_canary();
    client_say(client, "%s", stream_ways[_i % 2][0]);
    send_canary(client);
    if (stream_ways[_i % 2][1][0] != '\0')
        client_say(client, "%s", stream_ways[_i % 2][1]);
    stream = service_take_stream();
    while (count_canaries() == 0) { /* until the server has read it */
    }
    if (_i < 2) {
        while ((n = api_stream_read(stream, piece, sizeof(piece), WATCHDOG_S * 1000)) > 0)
            secret_wipe(piece, (size_t)n);
        ck_assert_int_eq(n, 0);
        ck_assert_uint_eq(count_canaries(), 0);
        ck_assert_int_eq(api_stream_problem(stream, PROBLEM_CONFLICT, NULL), 0);
        api_stream_end(stream, true);
        client_expect(client, 409, NULL);
    } else {
        ck_assert_uint_eq(count_canaries(), 1);
        api_stream_end(stream, false); /* unread */
        ck_assert(!client_listen(client));
    }
    client_free(client);
    service_wait_connections(0);
    service_wait_idle(true);
    ck_assert_uint_eq(count_canaries(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api-memory");
    TCase *usual = tcase_create("usual");
    SRunner *runner;
    int failed;

    if (TOO_MUCH_MEMORY) {
        (void)puts("skipped: ThreadSanitizer has too much memory to be searched");
        return SKIPPED;
    }
    tcase_add_checked_fixture(usual, service_start_usual, service_stop);
    tcase_add_loop_test(usual, no_body_is_in_memory_after_its_request, 0,
        (int)(sizeof(canary_ways) / sizeof(canary_ways[0])));
    tcase_add_test(usual, no_unfinished_body_is_in_memory_after_its_connection);
    tcase_add_loop_test(usual, no_streamed_body_is_in_memory_once_it_is_read, 0, 4);
    suite_add_tcase(suite, usual);
    log_init("test", LOG_LEVEL_ERROR);
    (void)alarm(WATCHDOG_S);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
