#include "cli/top_paint.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LINE_MAX_BYTES 1024
#define OUTCOMES_SHOWN 6

struct screen {
    struct text *out;
    unsigned rows, columns, row;
};

/* Text of others: printable ASCII stays, and so does each character beyond it that is UTF-8 and no
 * control character; what is left out is a question mark. */
static void clean(char *s)
{
    for (unsigned char *at = (unsigned char *)s; *at != '\0';) {
        const size_t n = text_utf8_len((const char *)at, 4);

        if (n == 0 || at[0] < 0x20 || at[0] == 0x7F || (at[0] == 0xC2 && at[1] < 0xA0))
            *at++ = '?';
        else
            at += n;
    }
}

/* A line, cut where the screen ends. */
static void PRINTF_LIKE(2, 3) line(struct screen *screen, const char *fmt, ...)
{
    char text[LINE_MAX_BYTES];
    unsigned column = 0;
    size_t end = 0;
    va_list args;

    if (screen->row >= screen->rows)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    clean(text);
    while (text[end] != '\0' && column < screen->columns) {
        const size_t n = text_utf8_len(text + end, 4);

        end += n > 0 ? n : 1;
        column++;
    }
    if (screen->row++ > 0)
        text_add(screen->out, "\n");
    text_add_len(screen->out, text, end);
}

static const char *short_time(double s, char out[static 32])
{
    if (s < 0)
        (void)snprintf(out, 32, "-");
    else if (s < 0.001)
        (void)snprintf(out, 32, "%.2f ms", s * 1000);
    else if (s < 1)
        (void)snprintf(out, 32, "%.1f ms", s * 1000);
    else if (s < 600)
        (void)snprintf(out, 32, "%.1f s", s);
    else if (s < 172800)
        (void)snprintf(out, 32, "%.0f h", s / 3600);
    else
        (void)snprintf(out, 32, "%.0f d", s / 86400);
    return out;
}

static double uptime_s(const struct prom_page *page)
{
    const double start = top_sum(page, "process_start_time_seconds");

    return start > 0 ? fmax(0, (double)time(NULL) - start) : -1;
}

static bool is_joinserver(const struct prom_page *page)
{
    size_t first;

    return prom_find(page, "cradle_join_queue", &first) > 0;
}

static const char *version_of(const struct prom_page *page, char out[static PROM_LABEL_MAX])
{
    size_t first;

    out[0] = '\0';
    if (prom_find(page, "cradle_build_info", &first) > 0)
        (void)prom_label(&page->samples[first], "version", out);
    return out;
}

static void paint_services(struct screen *screen, const struct top_service *services, size_t n)
{
    char version[PROM_LABEL_MAX], up[32];

    for (size_t i = 0; i < n; i++) {
        const struct top_service *s = &services[i];

        if (!s->answers) {
            line(screen, "%-28s away: %s", s->url, s->fault);
            continue;
        }
        line(screen,
            "%-28s %-10s %-9s %-6s up %-7s %6.0f MiB  %3.0f fds  %2.0f threads  %2.0f keyd  %2.0f db",
            s->url, is_joinserver(&s->now) ? "join" : "activation",
            top_sum(&s->now, "cradle_ready") > 0 ? "ready" : "NOT READY",
            version_of(&s->now, version), short_time(uptime_s(&s->now), up),
            top_sum(&s->now, "process_resident_memory_bytes") / 1048576,
            top_sum(&s->now, "process_open_fds"), top_sum(&s->now, "process_threads"),
            top_sum(&s->now, "cradle_keyd_processes"),
            top_sum(&s->now, "cradle_database_connections"));
    }
}

static void paint_joins(struct screen *screen, const struct top_view *v)
{
    char p50[32], p99[32], share[32] = "-";
    char outcomes[LINE_MAX_BYTES] = "";
    size_t len = 0;

    if (v->keyd_share >= 0)
        (void)snprintf(share, sizeof(share), "%.0f %%", 100 * v->keyd_share);
    line(screen,
        "JOINS  %.1f/s  success %.1f/s  our fault %.1f/s  p50 %s  p99 %s  keyd %s  queue %.0f",
        v->joins, v->good, v->ours, short_time(v->p50_s, p50), short_time(v->p99_s, p99), share,
        v->queue);
    for (size_t i = 0, shown = 0; i < v->outcomes.n && shown < OUTCOMES_SHOWN; i++) {
        const struct top_row *row = &v->outcomes.rows[i];

        if (row->rate <= 0 || strcmp(row->name, "success") == 0 ||
            len + PROM_LABEL_MAX + 32 > sizeof(outcomes))
            continue;
        len += (size_t)snprintf(
            outcomes + len, sizeof(outcomes) - len, "  %s %.1f/s", row->name, row->rate);
        shown++;
    }
    line(screen, "       shed %.1f/s  again %.1f/s  first %.1f/s%s", v->shed, v->retries,
        v->first_joins, outcomes);
    line(screen, "KEYS   %.0f processes  %.0f items/s  %.0f died   DATABASE  %.1f errors/s",
        v->keyd_processes, v->keyd_operations, v->keyd_deaths, v->database_errors);
}

static void paint_onboarding(struct screen *screen, const struct top_view *v)
{
    char overdue[32], still[32];

    line(screen,
        "ONBOARDING  imports %.1f rows/s  claims %.1f/s  jobs %.0f waiting, %.0f running, still for %s",
        v->import_rows, v->claims, v->jobs_waiting, v->jobs_running,
        short_time(v->jobs_still_s, still));
    line(screen,
        "            webhooks %.1f posts/s, %.0f waiting, overdue %s   audit %.0f not chained",
        v->webhook_posts, v->webhooks_waiting, short_time(v->webhooks_overdue_s, overdue),
        v->audit_pending);
}

static void paint_partners(struct screen *screen, const struct top_rows *partners)
{
    if (partners->n == 0)
        return;
    line(screen, "%s", "");
    line(screen, "%-32s %10s %10s %8s  %s", "PARTNER", "requests/s", "answered/s", "on way",
        "breaker");
    for (size_t i = 0; i < partners->n; i++)
        line(screen, "%-32.32s %10.1f %10.1f %8.0f  %s", partners->rows[i].name,
            partners->rows[i].rate, partners->rows[i].good, partners->rows[i].in_flight,
            partners->rows[i].state[0] != '\0' ? partners->rows[i].state : "-");
}

static void paint_peers(struct screen *screen, const struct top_rows *peers)
{
    if (peers->n == 0)
        return;
    line(screen, "%s", "");
    line(screen, "%-32s %10s %10s", "PEER", "answers/s", "success/s");
    for (size_t i = 0; i < peers->n; i++)
        line(screen, "%-32.32s %10.1f %10.1f", peers->rows[i].name, peers->rows[i].rate,
            peers->rows[i].good);
}

void top_paint_screen(struct text *out, const struct top_view *view,
    const struct top_service *services, size_t n, unsigned rows, unsigned columns)
{
    struct screen screen = {out, rows, columns, 0};

    paint_joins(&screen, view);
    paint_services(&screen, services, n);
    paint_onboarding(&screen, view);
    paint_partners(&screen, &view->partners);
    paint_peers(&screen, &view->peers);
}

void top_paint_line(struct text *out, const struct top_view *v, const struct top_service *services,
    size_t n, const char *now)
{
    char p50[32], p99[32];
    size_t n_away = 0;

    for (size_t i = 0; i < n; i++)
        n_away += !services[i].answers;
    text_addf(out,
        "%s joins %.1f/s success %.1f/s fault %.1f/s p50 %s p99 %s queue %.0f claims %.1f/s"
        " webhooks %.0f waiting jobs %.0f away %zu\n",
        now, v->joins, v->good, v->ours, short_time(v->p50_s, p50), short_time(v->p99_s, p99),
        v->queue, v->claims, v->webhooks_waiting, v->jobs_waiting + v->jobs_running, n_away);
}

/* Text of others in JSON, which is UTF-8. */
static json_t *json_clean(const char *s)
{
    char text[LINE_MAX_BYTES];

    (void)snprintf(text, sizeof(text), "%s", s);
    clean(text);
    return json_string(text);
}

/* A rate is null until there are two readings, and a time where nothing was answered. */
static json_t *json_known(bool known, double value)
{
    return known && isfinite(value) ? json_real(value) : json_null();
}

static json_t *json_rows(const struct top_rows *rows, bool known, bool partners)
{
    json_t *list = json_array();

    for (size_t i = 0; i < rows->n; i++) {
        const struct top_row *row = &rows->rows[i];
        json_t *object = json_object();

        (void)json_object_set_new(object, "name", json_clean(row->name));
        (void)json_object_set_new(object, "per_s", json_known(known, row->rate));
        (void)json_object_set_new(object, "success_per_s", json_known(known, row->good));
        if (partners) {
            (void)json_object_set_new(object, "in_flight", json_known(true, row->in_flight));
            (void)json_object_set_new(
                object, "breaker", row->state[0] != '\0' ? json_string(row->state) : json_null());
        }
        (void)json_array_append_new(list, object);
    }
    return list;
}

static json_t *json_services(const struct top_service *services, size_t n)
{
    json_t *list = json_array();
    char version[PROM_LABEL_MAX];

    for (size_t i = 0; i < n; i++) {
        const struct top_service *s = &services[i];
        json_t *object = json_object();

        (void)json_object_set_new(object, "url", json_clean(s->url));
        (void)json_object_set_new(object, "answers", json_boolean(s->answers));
        (void)json_array_append_new(list, object);
        if (!s->answers) {
            (void)json_object_set_new(object, "fault", json_clean(s->fault));
            continue;
        }
        (void)json_object_set_new(
            object, "kind", json_string(is_joinserver(&s->now) ? "join" : "activation"));
        (void)json_object_set_new(
            object, "ready", json_boolean(top_sum(&s->now, "cradle_ready") > 0));
        (void)json_object_set_new(object, "version", json_clean(version_of(&s->now, version)));
        (void)json_object_set_new(object, "uptime_s", json_real(uptime_s(&s->now)));
        (void)json_object_set_new(
            object, "resident_bytes", json_real(top_sum(&s->now, "process_resident_memory_bytes")));
        (void)json_object_set_new(
            object, "keyd_processes", json_real(top_sum(&s->now, "cradle_keyd_processes")));
    }
    return list;
}

json_t *top_paint_json(
    const struct top_view *v, const struct top_service *services, size_t n, const char *now)
{
    const bool known = v->interval_s > 0;
    const struct {
        const char *name;
        bool known;
        double value;
    } numbers[] = {
        {"interval_s", true, v->interval_s},
        {"joins_per_s", known, v->joins},
        {"success_per_s", known, v->good},
        {"own_fault_per_s", known, v->ours},
        {"p50_s", v->p50_s >= 0, v->p50_s},
        {"p99_s", v->p99_s >= 0, v->p99_s},
        {"keyd_share", v->keyd_share >= 0, v->keyd_share},
        {"queue", true, v->queue},
        {"shed_per_s", known, v->shed},
        {"retries_per_s", known, v->retries},
        {"first_joins_per_s", known, v->first_joins},
        {"keyd_processes", true, v->keyd_processes},
        {"keyd_items_per_s", known, v->keyd_operations},
        {"keyd_deaths", true, v->keyd_deaths},
        {"database_errors_per_s", known, v->database_errors},
        {"import_rows_per_s", known, v->import_rows},
        {"claims_per_s", known, v->claims},
        {"webhook_posts_per_s", known, v->webhook_posts},
        {"webhooks_waiting", true, v->webhooks_waiting},
        {"webhooks_overdue_s", true, v->webhooks_overdue_s},
        {"jobs_waiting", true, v->jobs_waiting},
        {"jobs_running", true, v->jobs_running},
        {"jobs_still_s", true, v->jobs_still_s},
        {"audit_pending", true, v->audit_pending},
    };
    json_t *object = json_object();

    (void)json_object_set_new(object, "time", json_string(now));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        (void)json_object_set_new(
            object, numbers[i].name, json_known(numbers[i].known, numbers[i].value));
    (void)json_object_set_new(object, "services", json_services(services, n));
    (void)json_object_set_new(object, "outcomes", json_rows(&v->outcomes, known, false));
    (void)json_object_set_new(object, "peers", json_rows(&v->peers, known, false));
    (void)json_object_set_new(object, "partners", json_rows(&v->partners, known, true));
    return object;
}
