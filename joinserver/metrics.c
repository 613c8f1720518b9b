#include "joinserver/worker.h"

#include <stdio.h>

/* Labels are texts that must outlive the metrics: built once, of the outcome names. */
static char outcome_labels[N_JOIN_RESULTS][48];

void join_metrics_init(struct join_metrics *m)
{
    for (int i = 0; i < N_JOIN_RESULTS; i++) {
        (void)snprintf(outcome_labels[i], sizeof(outcome_labels[i]), "outcome=\"%s\"",
            join_result_row((enum join_result)i)->outcome);
        m->outcomes[i] = (struct metric){.name = "cradle_join_requests_total",
            .labels = outcome_labels[i],
            .help = "Join requests answered, by outcome."};
        m->home_ns[i] = (struct metric){.name = "cradle_home_ns_requests_total",
            .labels = outcome_labels[i],
            .help = "HomeNSReq answered, by outcome."};
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
    metrics_write(out, m->outcomes, N_JOIN_RESULTS);
    metrics_write(out, m->home_ns, N_JOIN_RESULTS);
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
    bool activates = message == NULL || message->activates || message->check == NULL;

    metric_add(activates ? &m->outcomes[result] : &m->home_ns[result], 1);
}
