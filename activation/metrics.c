#include "activation/metrics.h"

#include <stdio.h>

static const char *const import_labels[N_IMPORT_COUNTERS] = {
    [COUNT_CREATED] = "outcome=\"created\"",
    [COUNT_EXISTS] = "outcome=\"exists\"",
    [COUNT_REFUSED] = "outcome=\"refused\"",
};

static const char *const code_labels[N_CODE_COUNTERS] = {
    [COUNT_CODE_GIVEN] = "origin=\"given\"",
    [COUNT_CODE_MADE] = "origin=\"made\"",
};

static const char *const claim_labels[N_CLAIM_COUNTERS] = {
    [COUNT_CLAIM_CLAIMED] = "outcome=\"claimed\"",
    [COUNT_CLAIM_REPEATED] = "outcome=\"repeated\"",
    [COUNT_CLAIM_OWN] = "outcome=\"own\"",
    [COUNT_CLAIM_NO_PLACE] = "outcome=\"no-place\"",
    [COUNT_CLAIM_REFUSED] = "outcome=\"refused\"",
    [COUNT_CLAIM_LIMITED] = "outcome=\"limited\"",
    [COUNT_CLAIM_BY_RULE] = "outcome=\"by_rule\"",
};

static const char *const webhook_labels[N_WEBHOOK_COUNTERS] = {
    [COUNT_WEBHOOK_DELIVERED] = "outcome=\"delivered\"",
    [COUNT_WEBHOOK_FAILED] = "outcome=\"failed\"",
    [COUNT_WEBHOOK_DEAD] = "outcome=\"dead\"",
};

static const char *const trust_labels[N_TRUST_COUNTERS] = {
    [COUNT_TRUST_SUSPECT] = "to=\"suspect\"",
    [COUNT_TRUST_QUARANTINED] = "to=\"quarantined\"",
    [COUNT_TRUST_OK] = "to=\"ok\"",
};

static const char *const subscription_labels[N_SUBSCRIPTION_COUNTERS] = {
    [COUNT_SUBSCRIPTION_NOTICED] = "event=\"noticed\"",
    [COUNT_SUBSCRIPTION_RENEWED] = "event=\"renewed\"",
    [COUNT_SUBSCRIPTION_ENDED] = "event=\"ended\"",
};

static const char *const service_labels[N_SERVICE_COUNTERS] = {
    [COUNT_SERVICE_SUSPENDED] = "move=\"suspend\"",
    [COUNT_SERVICE_RESUMED] = "move=\"resume\"",
};

static const char *const token_labels[N_TOKEN_COUNTERS] = {
    [COUNT_TOKEN_ISSUED] = "outcome=\"issued\"",
    [COUNT_TOKEN_REFUSED] = "outcome=\"refused\"",
};

static const char *const queue_labels[N_QUEUES] = {
    [QUEUE_SHORT] = "queue=\"short\"",
    [QUEUE_LONG] = "queue=\"long\"",
    [QUEUE_TOGETHER] = "queue=\"together\"",
};

static const struct {
    const char *name, *labels, *help;
} backlog_rows[N_BACKLOG_GAUGES] = {
    [BACKLOG_AUDIT] = {"cradle_audit_pending_events", NULL,
        "Audit events in the database that are not chained yet."},
    [BACKLOG_AUDIT_OLDEST] = {"cradle_audit_pending_oldest_seconds", NULL,
        "Age of the first of them."},
    [BACKLOG_WEBHOOKS] = {"cradle_webhook_deliveries_waiting", NULL,
        "Deliveries in the database that are still to be posted, now or later."},
    [BACKLOG_WEBHOOK_OLDEST] = {"cradle_webhook_overdue_seconds", NULL,
        "How long the one is overdue that is so for longest."},
    [BACKLOG_JOBS_WAITING] = {"cradle_jobs", "state=\"waiting\"",
        "Jobs in the database that are not over, by state."},
    [BACKLOG_JOBS_RUNNING] = {"cradle_jobs", "state=\"running\"", NULL},
    [BACKLOG_JOB_OLDEST] = {"cradle_job_still_seconds", NULL,
        "The longest that a job has waited, or run without moving on."},
    [BACKLOG_ORDERS] = {"cradle_orders_requested", NULL,
        "Orders that wait for another client's word."},
};

enum act_trust_counter act_trust_counter(enum device_move move)
{
    return move == MOVE_SUSPECT      ? COUNT_TRUST_SUSPECT
           : move == MOVE_QUARANTINE ? COUNT_TRUST_QUARANTINED
                                     : COUNT_TRUST_OK;
}

static void init_trust(struct act_metrics *metrics)
{
    for (size_t i = 0; i < N_DEVICE_SIGNALS; i++) {
        (void)snprintf(metrics->signal_labels[i], sizeof(metrics->signal_labels[i]), "kind=\"%s\"",
            device_signal_row((enum device_signal)i)->name);
        metrics->signals[i].name = "cradle_trust_signals_total";
        metrics->signals[i].help =
            "Signals of clones and attacks that this service has found in attempts to join.";
        metrics->signals[i].labels = metrics->signal_labels[i];
    }
    for (size_t i = 0; i < N_TRUST_COUNTERS; i++) {
        metrics->trust_moves[i].name = "cradle_trust_moves_total";
        metrics->trust_moves[i].help = "Devices whose trust it has changed by their signals.";
        metrics->trust_moves[i].labels = trust_labels[i];
    }
}

static void init_rewrap(struct act_metrics *metrics)
{
    metrics->rewrapped.name = "cradle_rewrapped_keys_total";
    metrics->rewrapped.help =
        "Keys that this service has sealed anew, under a newer storage KEK or tag key.";
    metrics->rewrap_left.name = "cradle_rewrap_left_keys";
    metrics->rewrap_left.kind = METRIC_GAUGE;
    metrics->rewrap_left.help =
        "Keys that stayed under an old storage KEK or tag key in the last pass; key_rewrap says why.";
    metrics->rewrap_under_way.name = "cradle_rewrap_under_way";
    metrics->rewrap_under_way.kind = METRIC_GAUGE;
    metrics->rewrap_under_way.help = "1 while keys are sealed anew, by whatever service.";
}

static void init_id_pacs(struct act_metrics *metrics)
{
    for (unsigned i = 0; i < N_ID_PAC_COUNTS; i++) {
        (void)snprintf(metrics->id_pac_labels[i], sizeof(metrics->id_pac_labels[i]),
            "outcome=\"%s\"", id_pac_count_text(i));
        metrics->id_pacs[i].name = "cradle_id_pac_lines_total";
        metrics->id_pacs[i].help =
            "Lines of makers' lists of what was built, by what became of them.";
        metrics->id_pacs[i].labels = metrics->id_pac_labels[i];
    }
}

void act_metrics_init(struct act_metrics *metrics)
{
    size_t n_routes = act_route_count();

    metrics->n_requests = (n_routes + 1) * ACT_N_STATUS_CLASSES;
    for (size_t i = 0; i < metrics->n_requests; i++) {
        size_t route = i / ACT_N_STATUS_CLASSES;

        (void)snprintf(metrics->labels[i], sizeof(metrics->labels[i]),
            "route=\"%s\",method=\"%s\",class=\"%zuxx\"",
            route < n_routes ? act_route_at(route)->path : "none",
            route < n_routes ? act_method_text(act_route_at(route)->method) : "any",
            i % ACT_N_STATUS_CLASSES + 1);
        metrics->requests[i].name = "cradle_activation_requests_total";
        metrics->requests[i].help = "Requests answered, by route and class of status.";
        metrics->requests[i].labels = metrics->labels[i];
    }
    for (size_t i = 0; i < N_QUEUES; i++) {
        metrics->waiting[i].name = "cradle_activation_requests_waiting";
        metrics->waiting[i].kind = METRIC_GAUGE;
        metrics->waiting[i].help = "Requests that wait for a worker now.";
        metrics->waiting[i].labels = queue_labels[i];
    }
    for (size_t i = 0; i < N_IMPORT_COUNTERS; i++) {
        metrics->imports[i].name = "cradle_import_rows_total";
        metrics->imports[i].help = "Rows of import files, by what became of them.";
        metrics->imports[i].labels = import_labels[i];
    }
    metrics->foreign_keys.name = "cradle_import_foreign_duplicate_keys_total";
    metrics->foreign_keys.help =
        "Devices made with a key that a device of another organization has.";
    for (size_t i = 0; i < N_CODE_COUNTERS; i++) {
        metrics->codes[i].name = "cradle_claim_codes_total";
        metrics->codes[i].help = "Claim codes that devices got, given by a file or made here.";
        metrics->codes[i].labels = code_labels[i];
    }
    metrics->chained.name = "cradle_audit_chained_total";
    metrics->chained.help = "Audit events that this service has chained.";
    metrics->checkpoints.name = "cradle_audit_checkpoints_total";
    metrics->checkpoints.help = "Checkpoints of the audit that it has had signed and kept.";
    metrics->slow.name = "cradle_import_slow";
    metrics->slow.kind = METRIC_GAUGE;
    metrics->slow.help = "1 while devices may be joining and imports rest between chunks.";
    for (size_t i = 0; i < N_CLAIM_COUNTERS; i++) {
        metrics->claims[i].name = "cradle_claims_total";
        metrics->claims[i].help = "Claims, by what they came to; limited ones were not looked at.";
        metrics->claims[i].labels = claim_labels[i];
    }
    metrics->claim_commits.name = "cradle_claim_commits_total";
    metrics->claim_commits.help = "Transactions that settled claims, of one call or of many.";
    metrics->claim_alarm.name = "cradle_claim_alarm";
    metrics->claim_alarm.kind = METRIC_GAUGE;
    metrics->claim_alarm.help = "1 while all clients together make too many wrong claims.";
    for (size_t i = 0; i < N_TOKEN_COUNTERS; i++) {
        metrics->tokens[i].name = "cradle_access_tokens_total";
        metrics->tokens[i].help = "Requests for an access token, by outcome.";
        metrics->tokens[i].labels = token_labels[i];
    }
    for (size_t i = 0; i < N_WEBHOOK_COUNTERS; i++) {
        metrics->webhooks[i].name = "cradle_webhook_posts_total";
        metrics->webhooks[i].help =
            "Posts to webhooks, by outcome; dead: failed, and is not tried again.";
        metrics->webhooks[i].labels = webhook_labels[i];
    }
    for (size_t i = 0; i < N_BACKLOG_GAUGES; i++)
        metrics->backlog[i] = (struct metric){.name = backlog_rows[i].name,
            .labels = backlog_rows[i].labels,
            .help = backlog_rows[i].help,
            .kind = METRIC_GAUGE};
    init_trust(metrics);
    init_rewrap(metrics);
    init_id_pacs(metrics);
    for (size_t i = 0; i < N_SUBSCRIPTION_COUNTERS; i++) {
        metrics->subscriptions[i].name = "cradle_subscription_events_total";
        metrics->subscriptions[i].help =
            "Subscriptions whose owner was told of their end, that were "
            "renewed, and that have ended, by this service.";
        metrics->subscriptions[i].labels = subscription_labels[i];
    }
    for (size_t i = 0; i < N_SERVICE_COUNTERS; i++) {
        metrics->services[i].name = "cradle_subscription_devices_total";
        metrics->services[i].help =
            "Devices that this service has suspended for want of a subscription, or resumed.";
        metrics->services[i].labels = service_labels[i];
    }
}

void act_metrics_request(
    struct act_metrics *metrics, const struct act_route *route, unsigned status)
{
    size_t at = route != NULL ? act_route_index(route) : act_route_count();
    size_t class = status >= 100 && status < 600 ? status / 100 - 1 : ACT_N_STATUS_CLASSES - 1;

    metric_add(&metrics->requests[at * ACT_N_STATUS_CLASSES + class], 1);
}

void act_metrics_write(struct act_metrics *metrics, struct text *out)
{
    metrics_write(out, metrics->requests, metrics->n_requests);
    metrics_write(out, metrics->waiting, N_QUEUES);
    metrics_write(out, metrics->imports, N_IMPORT_COUNTERS);
    metrics_write(out, &metrics->foreign_keys, 1);
    metrics_write(out, metrics->codes, N_CODE_COUNTERS);
    metrics_write(out, metrics->claims, N_CLAIM_COUNTERS);
    metrics_write(out, &metrics->claim_commits, 1);
    metrics_write(out, &metrics->claim_alarm, 1);
    metrics_write(out, metrics->id_pacs, N_ID_PAC_COUNTS);
    metrics_write(out, metrics->tokens, N_TOKEN_COUNTERS);
    metrics_write(out, &metrics->chained, 1);
    metrics_write(out, &metrics->checkpoints, 1);
    metrics_write(out, metrics->webhooks, N_WEBHOOK_COUNTERS);
    metrics_write(out, metrics->signals, N_DEVICE_SIGNALS);
    metrics_write(out, metrics->trust_moves, N_TRUST_COUNTERS);
    metrics_write(out, &metrics->rewrapped, 1);
    metrics_write(out, &metrics->rewrap_left, 1);
    metrics_write(out, &metrics->rewrap_under_way, 1);
    metrics_write(out, metrics->subscriptions, N_SUBSCRIPTION_COUNTERS);
    metrics_write(out, metrics->services, N_SERVICE_COUNTERS);
    metrics_write(out, metrics->backlog, N_BACKLOG_GAUGES);
    metrics_write(out, &metrics->slow, 1);
}
