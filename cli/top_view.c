#include "cli/top_view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The services together, while a view is made. */
struct sight {
    const struct top_service *services;
    size_t n;
    double interval_s;
};

static bool is_seen(const struct top_service *s)
{
    return s->answers && s->now.n > 0;
}

/* Only where there are two readings of this service; of one alone, nobody knows its pace. */
static bool has_pace(const struct top_service *s)
{
    return is_seen(s) && s->before.n > 0;
}

static bool has(const struct prom_sample *sample, const char *label, const char *value)
{
    char found[PROM_LABEL_MAX];

    return label == NULL || (prom_label(sample, label, found) && strcmp(found, value) == 0);
}

double top_sum(const struct prom_page *page, const char *name)
{
    size_t first, n = prom_find(page, name, &first);
    double sum = 0;

    for (size_t i = first; i < first + n; i++)
        sum += page->samples[i].value;
    return sum;
}

static double sum(const struct sight *sight, const char *name)
{
    double all = 0;

    for (size_t i = 0; i < sight->n; i++)
        if (is_seen(&sight->services[i]))
            all += top_sum(&sight->services[i].now, name);
    return all;
}

static double greatest(
    const struct sight *sight, const char *name, const char *label, const char *value)
{
    double most = 0;

    for (size_t i = 0; i < sight->n; i++) {
        const struct top_service *s = &sight->services[i];
        size_t first = 0, n = is_seen(s) ? prom_find(&s->now, name, &first) : 0;

        for (size_t k = first; k < first + n; k++)
            if (has(&s->now.samples[k], label, value) && s->now.samples[k].value > most)
                most = s->now.samples[k].value;
    }
    return most;
}

static double rate(
    const struct sight *sight, const char *name, const char *label, const char *value)
{
    double grown = 0;

    for (size_t i = 0; i < sight->n; i++) {
        const struct top_service *s = &sight->services[i];
        size_t first = 0, n = has_pace(s) ? prom_find(&s->now, name, &first) : 0;

        for (size_t k = first; k < first + n; k++)
            if (has(&s->now.samples[k], label, value))
                grown += prom_growth(&s->before, &s->now.samples[k]);
    }
    return sight->interval_s > 0 ? grown / sight->interval_s : 0;
}

/* The row of a name, a new one where there is none; NULL when they are all taken. */
static struct top_row *row_of(struct top_rows *rows, const char *name)
{
    for (size_t i = 0; i < rows->n; i++)
        if (strcmp(rows->rows[i].name, name) == 0)
            return &rows->rows[i];
    if (rows->n == rows->n_max)
        return NULL;
    rows->rows[rows->n] = (struct top_row){0};
    (void)snprintf(rows->rows[rows->n].name, PROM_LABEL_MAX, "%s", name);
    return &rows->rows[rows->n++];
}

static int by_rate(const void *a, const void *b)
{
    const struct top_row *x = a, *y = b;

    return x->rate < y->rate ? 1 : x->rate > y->rate ? -1 : strcmp(x->name, y->name);
}

/* Calls `each` with the row that a label names, for each sample of a name. */
static void over(const struct sight *sight, const char *name, const char *label,
    struct top_rows *rows,
    void (*each)(struct top_row *row, const struct prom_sample *sample, double grown))
{
    char found[PROM_LABEL_MAX];

    for (size_t i = 0; i < sight->n; i++) {
        const struct top_service *s = &sight->services[i];
        size_t first = 0, n = is_seen(s) ? prom_find(&s->now, name, &first) : 0;

        for (size_t k = first; k < first + n; k++) {
            const struct prom_sample *sample = &s->now.samples[k];
            struct top_row *row = prom_label(sample, label, found) ? row_of(rows, found) : NULL;

            if (row != NULL)
                each(row, sample,
                    has_pace(s) && sight->interval_s > 0
                        ? prom_growth(&s->before, sample) / sight->interval_s
                        : 0);
        }
    }
}

static void add_rate(struct top_row *row, const struct prom_sample *sample, double grown)
{
    row->rate += grown;
    if (has(sample, "outcome", "success") || has(sample, "outcome", "answered"))
        row->good += grown;
}

static void add_in_flight(struct top_row *row, const struct prom_sample *sample, double grown)
{
    (void)grown;
    row->in_flight += sample->value;
}

/* Of several join servers, the worst state: each has a breaker of its own. */
static void add_breaker(struct top_row *row, const struct prom_sample *sample, double grown)
{
    static const char *const states[] = {"closed", "half_open", "open"};

    (void)grown;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (sample->value > 0 && has(sample, "state", states[i]) &&
            (row->state[0] == '\0' || strcmp(row->state, "closed") == 0 ||
                strcmp(states[i], "open") == 0))
            (void)snprintf(row->state, sizeof(row->state), "%s", states[i]);
}

/* The histogram of all join servers together; its bounds are those of the first. */
static void take_latency(const struct sight *sight, struct top_view *view)
{
    double bounds[TOP_BOUNDS_MAX], counts[TOP_BOUNDS_MAX];
    size_t n_bounds = 0;

    for (size_t i = 0; i < sight->n; i++) {
        const struct top_service *s = &sight->services[i];
        size_t first = 0,
               n = has_pace(s) ? prom_find(&s->now, "cradle_join_seconds_bucket", &first) : 0;

        for (size_t k = first; k < first + n; k++) {
            char le[PROM_LABEL_MAX];
            double bound;
            size_t at = 0;

            if (!prom_label(&s->now.samples[k], "le", le) || isnan(bound = strtod(le, NULL)))
                continue;
            while (at < n_bounds && bounds[at] < bound)
                at++;
            if (at == n_bounds || bounds[at] > bound) {
                if (n_bounds == TOP_BOUNDS_MAX)
                    continue;
                memmove(&bounds[at + 1], &bounds[at], (n_bounds - at) * sizeof(bounds[0]));
                memmove(&counts[at + 1], &counts[at], (n_bounds - at) * sizeof(counts[0]));
                bounds[at] = bound;
                counts[at] = 0;
                n_bounds++;
            }
            counts[at] += prom_growth(&s->before, &s->now.samples[k]);
        }
    }
    view->p50_s = prom_quantile(0.5, bounds, counts, n_bounds);
    view->p99_s = prom_quantile(0.99, bounds, counts, n_bounds);
}

static void take_joins(const struct sight *sight, struct top_view *view)
{
    static const char *const series[] = {
        "cradle_join_requests_total", "cradle_rejoin_requests_total"};
    const double at_stages = rate(sight, "cradle_join_stage_seconds_sum", NULL, NULL);

    for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++)
        over(sight, series[i], "outcome", &view->outcomes, add_rate);
    for (size_t i = 0; i < view->outcomes.n; i++) {
        const struct top_row *row = &view->outcomes.rows[i];

        view->joins += row->rate;
        view->good += row->good;
        if (strcmp(row->name, "unavailable") == 0 || strcmp(row->name, "deadline") == 0)
            view->ours += row->rate;
    }
    view->keyd_share =
        at_stages > 0 ? rate(sight, "cradle_join_stage_seconds_sum", "stage", "keyd") / at_stages
                      : -1;
    view->queue = sum(sight, "cradle_join_queue");
    view->shed = rate(sight, "cradle_join_shed_total", NULL, NULL);
    view->retries = rate(sight, "cradle_join_retries_total", NULL, NULL);
    view->first_joins = rate(sight, "cradle_join_first_total", NULL, NULL);
}

static void take_rest(const struct sight *sight, struct top_view *view)
{
    view->keyd_processes = sum(sight, "cradle_keyd_processes");
    view->keyd_operations = rate(sight, "cradle_keyd_operations_total", NULL, NULL);
    view->keyd_deaths = sum(sight, "cradle_keyd_deaths_total");
    view->database_errors = rate(sight, "cradle_database_errors_total", NULL, NULL);
    view->claims = rate(sight, "cradle_claims_total", NULL, NULL);
    view->import_rows = rate(sight, "cradle_import_rows_total", NULL, NULL);
    view->webhook_posts = rate(sight, "cradle_webhook_posts_total", NULL, NULL);
    view->webhooks_waiting = greatest(sight, "cradle_webhook_deliveries_waiting", NULL, NULL);
    view->webhooks_overdue_s = greatest(sight, "cradle_webhook_overdue_seconds", NULL, NULL);
    view->jobs_waiting = greatest(sight, "cradle_jobs", "state", "waiting");
    view->jobs_running = greatest(sight, "cradle_jobs", "state", "running");
    view->jobs_still_s = greatest(sight, "cradle_job_still_seconds", NULL, NULL);
    view->audit_pending = greatest(sight, "cradle_audit_pending_events", NULL, NULL);
}

void top_view_make(
    struct top_view *view, const struct top_service *services, size_t n, double interval_s)
{
    const struct sight sight = {services, n, interval_s};
    struct top_rows *const tables[] = {&view->outcomes, &view->peers, &view->partners};

    memset(view, 0, sizeof(*view));
    view->interval_s = interval_s;
    view->outcomes = (struct top_rows){view->outcome_rows, 0, TOP_OUTCOMES_MAX};
    view->peers = (struct top_rows){view->peer_rows, 0, TOP_PEERS_MAX};
    view->partners = (struct top_rows){view->partner_rows, 0, TOP_PARTNERS_MAX};
    take_joins(&sight, view);
    take_latency(&sight, view);
    take_rest(&sight, view);
    over(&sight, "cradle_join_peer_answers_total", "peer", &view->peers, add_rate);
    over(&sight, "cradle_partner_requests_total", "partner", &view->partners, add_rate);
    over(&sight, "cradle_partner_in_flight", "partner", &view->partners, add_in_flight);
    over(&sight, "cradle_partner_breaker", "partner", &view->partners, add_breaker);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        qsort(tables[i]->rows, tables[i]->n, sizeof(struct top_row), by_rate);
}
