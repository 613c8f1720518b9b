#include "db/metrics.h"

#include "base/metrics.h"

static struct metric metrics[DB_N_COUNTERS] = {
    [DB_COUNT_OPEN] = {.name = "cradle_database_connections",
        .help = "Connections to the database open now.",
        .kind = METRIC_GAUGE},
    [DB_COUNT_CONNECTED] = {.name = "cradle_database_connects_total",
        .labels = "outcome=\"connected\"",
        .help = "Attempts to connect to the database, by outcome."},
    [DB_COUNT_NOT_CONNECTED] = {.name = "cradle_database_connects_total",
        .labels = "outcome=\"failed\""},
    [DB_COUNT_FAILED] = {.name = "cradle_database_errors_total",
        .labels = "committed=\"no\"",
        .help = "Statements that failed; unknown: they were to commit, and may have."},
    [DB_COUNT_UNKNOWN] = {.name = "cradle_database_errors_total",
        .labels = "committed=\"unknown\""},
};

void db_count(enum db_counter counter, int64_t n)
{
    metric_add(&metrics[counter], n);
}

void db_metrics_write(struct text *out)
{
    metrics_write(out, metrics, DB_N_COUNTERS);
}
