/* What `cradle top` shows, worked out of two readings of some services; pure. */
#pragma once

#include "cli/prom_page.h"

#define TOP_SERVICES_MAX 16
#define TOP_OUTCOMES_MAX 24
#define TOP_PEERS_MAX 64    /* the others are not looked at */
#define TOP_PARTNERS_MAX 64 /* the same */
#define TOP_BOUNDS_MAX 64   /* of a histogram */

/** A service as it is read again and again. */
struct top_service {
    const char *url;
    bool answers;
    char fault[160]; /* why it does not */
    struct prom_page before, now;
};

struct top_row {
    char name[PROM_LABEL_MAX];
    char state[16];   /* of a partner's breaker */
    double rate;      /* a second */
    double good;      /* of them successes */
    double in_flight; /* of a partner */
};

struct top_rows {
    struct top_row *rows; /* the greatest rate first */
    size_t n, n_max;
};

struct top_view {
    double interval_s;   /* of which the rates are; 0: there are none yet */
    double joins, good;  /* a second: all, and answered with Success */
    double ours;         /* a second: failed by the service's own fault */
    double p50_s, p99_s; /* negative: nothing was answered */
    double keyd_share;   /* of the time of requests at all stages; negative: not known */
    double queue, shed, retries;
    double keyd_processes, keyd_operations, keyd_deaths;
    double claims, import_rows, first_joins, webhook_posts; /* a second */
    double webhooks_waiting, webhooks_overdue_s, jobs_waiting, jobs_running, jobs_still_s;
    double audit_pending, database_errors;
    struct top_row outcome_rows[TOP_OUTCOMES_MAX], peer_rows[TOP_PEERS_MAX],
        partner_rows[TOP_PARTNERS_MAX];
    struct top_rows outcomes, peers, partners;
};

/** Adds all up. What several activation services say of the one database is taken once: the
 * greatest. */
void top_view_make(
    struct top_view *view, const struct top_service *services, size_t n, double interval_s);
/** The sum of a gauge, or of a counter as it stands, over a service's series; 0: there is none. */
double top_sum(const struct prom_page *page, const char *name);
