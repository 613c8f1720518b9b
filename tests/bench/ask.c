#include "tests/bench/ask.h"

#include "base/error.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The length of the whole message as far as it is here; 0: not known yet. */
static size_t message_len(const char *message, size_t len)
{
    static const char name[] = "Content-Length: ";
    const char *end = memmem(message, len, "\r\n\r\n", 4);
    const char *length = memmem(message, len, name, sizeof(name) - 1);

    if (end == NULL || length == NULL || length > end)
        return 0;
    return (size_t)(end + 4 - message) + strtoul(length + sizeof(name) - 1, NULL, 10);
}

int bench_ask(struct bench_ask *ask, const struct text *request, int64_t *ret_ns, size_t *ret_len)
{
    size_t len = 0;
    int64_t begin = now_ns();

    if (!bench_wire_send(&ask->wire, request->data, request->len))
        return error_set(ERROR_SYSTEM, "cannot send");
    do {
        ssize_t n =
            bench_wire_receive(&ask->wire, ask->answer + len, sizeof(ask->answer) - 1 - len);

        if (n == BENCH_WIRE_EMPTY) {
            (void)poll(&(struct pollfd){.fd = ask->wire.fd, .events = POLLIN}, 1, -1);
            continue;
        }
        if (n == BENCH_WIRE_ENDED)
            return error_set(ERROR_SYSTEM, "the connection broke");
        len += (size_t)n;
        ask->answer[len] = '\0';
    } while (len == 0 || len != message_len(ask->answer, len));
    *ret_ns = now_ns() - begin;
    *ret_len = len;
    return 0;
}

void bench_samples_print(
    const char *const *names, int64_t *const *ns, const uint32_t *n, size_t n_classes)
{
    for (size_t i = 0; i < n_classes; i++) {
        printf("%s\"%s\": [", i == 0 ? "{" : ", ", names[i]);
        for (uint32_t j = 0; j < n[i]; j++)
            printf("%s%lld", j == 0 ? "" : ",", (long long)ns[i][j]);
        printf("]");
    }
    puts("}");
}
