/* cradle-bench: the load generator behind scripts/bench. */
#include "base/error.h"
#include "base/log.h"
#include "tests/bench/verbs.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(const struct bench_settings *settings);
} verbs[] = {
    {"load-devices", bench_load_devices},
    {"import-file", bench_import_file},
    {"joins", bench_joins},
    {"storm", bench_storm},
    {"claims", bench_claims},
    {"keyd-limit", bench_keyd_limit},
    {"commit-limit", bench_commit_limit},
    {"age-devices", bench_age_devices},
    {"timing", bench_timing},
    {"history", bench_history},
    {"claim-timing", bench_claim_timing},
};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

int main(int argc, char **argv)
{
    CLEANUP(bench_settings_done) struct bench_settings settings = {.conninfo = NULL};
    size_t verb = 0;

    log_init("cradle-bench", LOG_LEVEL_WARN);
    while (argc > 1 && verb < N_VERBS && strcmp(argv[1], verbs[verb].name) != 0)
        verb++;
    if (argc < 2 || verb == N_VERBS) {
        (void)fputs("usage: cradle-bench VERB --config FILE [--NAME VALUE]...\nverbs:", stderr);
        for (size_t i = 0; i < N_VERBS; i++)
            (void)fprintf(stderr, " %s", verbs[i].name);
        (void)fputs("\n", stderr);
        return EXIT_FAILURE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    int r = bench_settings_read(argc - 2, argv + 2, &settings);
    if (r == 0)
        r = verbs[verb].run(&settings);
    if (r != 0)
        (void)fprintf(stderr, "cradle-bench %s: %s\n", verbs[verb].name, error_text());
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
