/* One request at a time on one connection, and how long its answer takes. */
#pragma once

#include "base/text.h"
#include "tests/bench/wire.h"

#define BENCH_ASK_MAX 4096 /* bytes of an answer, head and body */

struct bench_ask {
    struct bench_wire wire;
    char answer[BENCH_ASK_MAX]; /* the whole HTTP message, with a NUL */
};

/** Sends the request and waits for the last byte of its answer. */
int bench_ask(struct bench_ask *ask, const struct text *request, int64_t *ret_ns, size_t *ret_len);

/** Prints nanoseconds by class, as one line of JSON. */
void bench_samples_print(
    const char *const *names, int64_t *const *ns, const uint32_t *n, size_t n_classes);
