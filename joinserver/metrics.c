#include "joinserver/worker.h"

#include <stdio.h>

/* Labels are texts that must outlive the metrics: built once, of the outcome names. */
static char outcome_labels[N_JOIN_RESULTS][48];

static const struct {
    const char *name, *help;
} series[N_JOIN_SERIES] = {
    [JOIN_SERIES_JOIN] = {"cradle_join_requests_total", "Join requests answered, by outcome."},
    [JOIN_SERIES_HOME_NS] = {"cradle_home_ns_requests_total", "HomeNSReq answered, by outcome."},
    [JOIN_SERIES_APP_S_KEY] = {"cradle_app_s_key_requests_total",
        "AppSKeyReq answered, by outcome."},
};

void join_metrics_init(struct join_metrics *m)
{
    for (int i = 0; i < N_JOIN_RESULTS; i++) {
        (void)snprintf(outcome_labels[i], sizeof(outcome_labels[i]), "outcome=\"%s\"",
            join_result_row((enum join_result)i)->outcome);
        for (int s = 0; s < N_JOIN_SERIES; s++)
            m->answers[s][i] = (struct metric){
                .name = series[s].name, .labels = outcome_labels[i], .help = series[s].help};
    }
    m->notifications =
        (struct metric){.name = "cradle_error_notifications_total", .help = "ErrorNotif received."};
    m->retries = (struct metric){
        .name = "cradle_join_retries_total", .help = "Identical requests answered the same again."};
    m->races_lost = (struct metric){.name = "cradle_join_races_lost_total",
        .help = "Joins decided again because the device's row had changed."};
    m->batches = (struct metric){.name = "cradle_join_batches_total", .help = "Batches worked."};
    m->refusals_dropped = (struct metric){.name = "cradle_join_refusals_dropped_total",
        .help = "Events of refusals not recorded because the ring was full."};
    m->commits_unknown = (struct metric){.name = "cradle_join_commits_unknown_total",
        .help = "Commits whose result had to be read back."};
    m->sealed_refused = (struct metric){.name = "cradle_join_sealed_refused_total",
        .help = "Sealed keys or KEKs that keyd refused as altered or moved."};
    m->mic_unchecked = (struct metric){.name = "cradle_join_mic_unchecked_total",
        .help = "Requests answered as with a wrong MIC, unchecked, after too many wrong ones."};
    m->latency = (struct metric_histogram){
        .name = "cradle_join_seconds", .help = "From the first byte of a request to its answer."};
}

void join_metrics_write(struct join_metrics *m, struct text *out)
{
    for (int s = 0; s < N_JOIN_SERIES; s++)
        metrics_write(out, m->answers[s], N_JOIN_RESULTS);
    metrics_write(out, &m->notifications, 1);
    metrics_write(out, &m->retries, 1);
    metrics_write(out, &m->races_lost, 1);
    metrics_write(out, &m->batches, 1);
    metrics_write(out, &m->refusals_dropped, 1);
    metrics_write(out, &m->commits_unknown, 1);
    metrics_write(out, &m->sealed_refused, 1);
    metrics_write(out, &m->mic_unchecked, 1);
    metrics_write_histogram(out, &m->latency);
}

void join_metrics_count(
    struct join_metrics *m, const struct join_message *message, enum join_result result)
{
    metric_add(&m->answers[message != NULL ? message->series : JOIN_SERIES_JOIN][result], 1);
}
