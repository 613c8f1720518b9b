#include "joinserver/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Labels are texts that must outlive the metrics: built once, of the outcome names. */
static char outcome_labels[N_JOIN_RESULTS][48];

static const struct {
    const char *name, *help;
} series[N_JOIN_SERIES] = {
    [JOIN_SERIES_JOIN] = {"cradle_join_requests_total", "Join requests answered, by outcome."},
    [JOIN_SERIES_REJOIN] = {"cradle_rejoin_requests_total",
        "Rejoin requests answered, by outcome."},
    [JOIN_SERIES_HOME_NS] = {"cradle_home_ns_requests_total", "HomeNSReq answered, by outcome."},
    [JOIN_SERIES_APP_S_KEY] = {"cradle_app_s_key_requests_total",
        "AppSKeyReq answered, by outcome."},
};

static const char *const stage_labels[N_JOIN_STAGES] = {
    [JOIN_STAGE_QUEUE] = "stage=\"queue\"",
    [JOIN_STAGE_LOAD] = "stage=\"load\"",
    [JOIN_STAGE_KEYD] = "stage=\"keyd\"",
    [JOIN_STAGE_COMMIT] = "stage=\"commit\"",
    [JOIN_STAGE_ANSWER] = "stage=\"answer\"",
};

static const char *const counter_labels[N_JOIN_COUNTERS] = {
    [JOIN_COUNTER_JOIN_NONCE] = "counter=\"join_nonce\"",
    [JOIN_COUNTER_DEV_NONCE] = "counter=\"dev_nonce\"",
};

#define OTHERS_ID (-1)

static const char *const peer_series = "cradle_join_peer_answers_total";
static const char *const peer_kinds[] = {[PEER_NETWORK_SERVER] = "network_server",
    [PEER_APPLICATION_SERVER] = "application_server",
    [PEER_ORGANIZATION] = "organization"};

static void init_counters(struct join_metrics *m)
{
    const struct {
        struct metric *metric;
        const char *name, *help;
    } rows[] = {
        {&m->notifications, "cradle_error_notifications_total", "ErrorNotif received."},
        {&m->retries, "cradle_join_retries_total", "Identical requests answered the same again."},
        {&m->races_lost, "cradle_join_races_lost_total",
            "Joins decided again because the device's row had changed."},
        {&m->batches, "cradle_join_batches_total", "Batches worked."},
        {&m->refusals_dropped, "cradle_join_refusals_dropped_total",
            "Events of refusals not recorded because the ring was full."},
        {&m->roaming_refusals_dropped, "cradle_roaming_refusals_dropped_total",
            "Refusals of roaming, ours or carried, not counted: their table was full."},
        {&m->commits_unknown, "cradle_join_commits_unknown_total",
            "Commits whose result had to be read back."},
        {&m->sealed_refused, "cradle_join_sealed_refused_total",
            "Sealed keys or KEKs that keyd refused as altered or moved."},
        {&m->mic_unchecked, "cradle_join_mic_unchecked_total",
            "Requests answered as with a wrong MIC, unchecked, after too many wrong ones."},
        {&m->shed, "cradle_join_shed_total",
            "Requests answered 503, unread, because too many of their peer's were waiting."},
        {&m->dev_nonce_jumps, "cradle_join_dev_nonce_jumps_total",
            "Joins whose DevNonce was more than 1,000 above the last one."},
        {&m->first_joins, "cradle_join_first_total", "Joins of devices that had never joined."},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        *rows[i].metric = (struct metric){.name = rows[i].name, .help = rows[i].help};
}

void join_metrics_init(struct join_metrics *m)
{
    for (int i = 0; i < N_JOIN_RESULTS; i++) {
        (void)snprintf(outcome_labels[i], sizeof(outcome_labels[i]), "outcome=\"%s\"",
            join_result_row((enum join_result)i)->outcome);
        for (int s = 0; s < N_JOIN_SERIES; s++)
            m->answers[s][i] = (struct metric){
                .name = series[s].name, .labels = outcome_labels[i], .help = series[s].help};
    }
    for (int i = 0; i < N_JOIN_COUNTERS; i++)
        m->nonces_low[i] = (struct metric){.name = "cradle_join_nonces_low_total",
            .labels = counter_labels[i],
            .help = "Joins of devices that have used 80 % of a counter or more: they will be "
                    "refused when it ends."};
    m->latency = (struct metric_histogram){
        .name = "cradle_join_seconds", .help = "From the first byte of a request to its answer."};
    for (int i = 0; i < N_JOIN_STAGES; i++)
        m->stages[i] = (struct metric_histogram){.name = "cradle_join_stage_seconds",
            .labels = stage_labels[i],
            .help = i == 0 ? "Of each request, what it waited for at each stage; a batch's time "
                             "counts for all in it."
                           : NULL};
    init_counters(m);
    (void)pthread_mutex_init(&m->peers_lock, NULL); /* cannot fail with default attributes */
}

void join_metrics_done(struct join_metrics *m)
{
    for (size_t i = 0; i <= JOIN_METRIC_PEERS_MAX; i++)
        free(m->peers[i].labels);
    (void)pthread_mutex_destroy(&m->peers_lock);
}

static void write_peers(struct join_metrics *m, struct text *out)
{
    text_addf(out, "# HELP %s Answers, by peer and outcome.\n# TYPE %s counter\n", peer_series,
        peer_series);
    for (size_t i = 0; i <= JOIN_METRIC_PEERS_MAX; i++) {
        struct join_peer_counts *p = &m->peers[i];

        if (atomic_load_explicit(&p->peer_id, memory_order_acquire) == 0)
            continue;
        for (int r = 0; r < N_JOIN_RESULTS; r++) {
            int64_t n = atomic_load_explicit(&p->answers[r].value, memory_order_relaxed);

            if (n > 0)
                text_addf(out, "%s{%s,%s} %lld\n", peer_series, p->labels, outcome_labels[r],
                    (long long)n);
        }
    }
}

void join_metrics_write(struct join_metrics *m, struct text *out)
{
    struct metric *const alone[] = {&m->notifications, &m->retries, &m->races_lost, &m->batches,
        &m->refusals_dropped, &m->roaming_refusals_dropped, &m->commits_unknown, &m->sealed_refused,
        &m->mic_unchecked, &m->shed, &m->dev_nonce_jumps, &m->first_joins};

    for (int s = 0; s < N_JOIN_SERIES; s++)
        metrics_write(out, m->answers[s], N_JOIN_RESULTS);
    write_peers(m, out);
    for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
        metrics_write(out, alone[i], 1);
    metrics_write(out, m->nonces_low, N_JOIN_COUNTERS);
    metrics_write_histogram(out, &m->latency);
    for (int i = 0; i < N_JOIN_STAGES; i++)
        metrics_write_histogram(out, &m->stages[i]);
}

/* A name is any text: what would end a label's value is escaped. */
static char *make_labels(int64_t id, const char *kind, const char *name)
{
    struct text labels = {0};

    text_addf(&labels, "kind=\"%s\",peer=\"", kind);
    for (; *name != '\0'; name++)
        text_addf(&labels, *name == '"' || *name == '\\' ? "\\%c" : "%c", *name);
    /* A peer that was revoked and its successor may have one name. */
    text_addf(&labels, "\",id=\"%lld\"", (long long)id);
    if (labels.failed) {
        text_done(&labels);
        return NULL;
    }
    return labels.data;
}

/* The caller holds the lock, and has the place published by peer_id. */
static bool claim(struct join_peer_counts *p, int64_t id, const char *kind, const char *name)
{
    p->labels = make_labels(id, kind, name);
    if (p->labels == NULL)
        return false;
    atomic_store_explicit(&p->peer_id, id, memory_order_release);
    return true;
}

static struct join_peer_counts *find_place(struct join_metrics *m, int64_t id, bool or_free)
{
    for (size_t i = 0; i < JOIN_METRIC_PEERS_MAX; i++) {
        struct join_peer_counts *p = &m->peers[((uint64_t)id + i) % JOIN_METRIC_PEERS_MAX];
        int64_t there = atomic_load_explicit(&p->peer_id, memory_order_acquire);

        if (there == id)
            return p;
        if (there == 0)
            return or_free ? p : NULL;
    }
    return NULL;
}

struct join_peer_counts *join_metrics_peer(struct join_metrics *m, const struct db_peer *peer)
{
    struct join_peer_counts *others = &m->peers[JOIN_METRIC_PEERS_MAX];
    struct join_peer_counts *p = find_place(m, peer->id, false);

    if (p != NULL)
        return p;
    pthread_mutex_lock(&m->peers_lock);
    p = find_place(m, peer->id, true);
    if (p != NULL && p->labels == NULL && !claim(p, peer->id, peer_kinds[peer->kind], peer->name))
        p = NULL;
    /* That is no peer's id. Without memory for its label it stays unpublished, and counts. */
    if (p == NULL && others->labels == NULL)
        (void)claim(others, OTHERS_ID, "any", "(others)");
    pthread_mutex_unlock(&m->peers_lock);
    return p != NULL ? p : others;
}

void join_metrics_count(struct join_metrics *m, const struct join_message *message,
    struct join_peer_counts *counts, enum join_result result)
{
    metric_add(&m->answers[message != NULL ? message->series : JOIN_SERIES_JOIN][result], 1);
    metric_add(&counts->answers[result], 1);
}
