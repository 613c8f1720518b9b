/* Counters of the activation service. */
#pragma once

#include "activation/id_pac_report.h"
#include "activation/routes.h"
#include "base/metrics.h"
#include "device/signal.h"

enum act_import_counter { COUNT_CREATED, COUNT_EXISTS, COUNT_REFUSED, N_IMPORT_COUNTERS };
enum act_code_counter { COUNT_CODE_GIVEN, COUNT_CODE_MADE, N_CODE_COUNTERS };
enum act_token_counter { COUNT_TOKEN_ISSUED, COUNT_TOKEN_REFUSED, N_TOKEN_COUNTERS };

enum act_claim_counter {
    COUNT_CLAIM_CLAIMED,
    COUNT_CLAIM_REPEATED,
    COUNT_CLAIM_OWN,
    COUNT_CLAIM_NO_PLACE, /* of its subscription, after a right code */
    COUNT_CLAIM_REFUSED,
    COUNT_CLAIM_LIMITED, /* not looked at */
    COUNT_CLAIM_BY_RULE,
    N_CLAIM_COUNTERS
};

enum act_webhook_counter {
    COUNT_WEBHOOK_DELIVERED,
    COUNT_WEBHOOK_FAILED,
    COUNT_WEBHOOK_DEAD,
    N_WEBHOOK_COUNTERS
};

enum act_trust_counter {
    COUNT_TRUST_SUSPECT,
    COUNT_TRUST_QUARANTINED,
    COUNT_TRUST_OK,
    N_TRUST_COUNTERS
};
enum act_subscription_counter {
    COUNT_SUBSCRIPTION_NOTICED,
    COUNT_SUBSCRIPTION_RENEWED,
    COUNT_SUBSCRIPTION_ENDED,
    N_SUBSCRIPTION_COUNTERS
};
/** What waits in the database, as it was last looked at (activation/backlog.h). */
enum act_backlog_gauge {
    BACKLOG_AUDIT,
    BACKLOG_AUDIT_OLDEST,
    BACKLOG_WEBHOOKS,
    BACKLOG_WEBHOOK_OLDEST,
    BACKLOG_JOBS_WAITING,
    BACKLOG_JOBS_RUNNING,
    BACKLOG_JOB_OLDEST,
    BACKLOG_ORDERS,
    N_BACKLOG_GAUGES
};
enum act_service_counter { COUNT_SERVICE_SUSPENDED, COUNT_SERVICE_RESUMED, N_SERVICE_COUNTERS };

/* Where requests wait for a worker (activation/worker.h). */
enum act_queue { QUEUE_SHORT, QUEUE_LONG, QUEUE_TOGETHER, N_QUEUES };

#define ACT_N_STATUS_CLASSES 5 /* 1xx .. 5xx */
#define ACT_METRIC_LABELS_MAX 160

struct act_metrics {
    /* One row a route and one more for what has none. */
    struct metric requests[(ACT_ROUTES_MAX + 1) * ACT_N_STATUS_CLASSES];
    char labels[(ACT_ROUTES_MAX + 1) * ACT_N_STATUS_CLASSES][ACT_METRIC_LABELS_MAX];
    size_t n_requests;
    struct metric waiting[N_QUEUES]; /* now */
    struct metric imports[N_IMPORT_COUNTERS];
    struct metric foreign_keys;
    struct metric codes[N_CODE_COUNTERS];
    struct metric claims[N_CLAIM_COUNTERS];
    struct metric claim_commits; /* fewer than claims, where those share them */
    struct metric claim_alarm;
    struct metric id_pacs[N_ID_PAC_COUNTS];
    char id_pac_labels[N_ID_PAC_COUNTS][ACT_METRIC_LABELS_MAX];
    struct metric tokens[N_TOKEN_COUNTERS];
    struct metric chained;     /* audit events, by this service */
    struct metric checkpoints; /* signed for it */
    struct metric webhooks[N_WEBHOOK_COUNTERS];
    struct metric signals[N_DEVICE_SIGNALS];
    char signal_labels[N_DEVICE_SIGNALS][ACT_METRIC_LABELS_MAX];
    struct metric trust_moves[N_TRUST_COUNTERS];
    struct metric rewrapped, rewrap_left, rewrap_under_way;
    struct metric subscriptions[N_SUBSCRIPTION_COUNTERS]; /* by this service's keeper */
    struct metric services[N_SERVICE_COUNTERS];           /* of devices, by it */
    struct metric backlog[N_BACKLOG_GAUGES];
    struct metric slow; /* set when it is asked for */
};

/** Of a move that the service makes by itself. */
enum act_trust_counter act_trust_counter(enum device_move move);

void act_metrics_init(struct act_metrics *metrics);
/** Counts an answer. `route` NULL: there was none for the request. */
void act_metrics_request(
    struct act_metrics *metrics, const struct act_route *route, unsigned status);
void act_metrics_write(struct act_metrics *metrics, struct text *out);
