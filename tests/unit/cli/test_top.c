#include "cli/top_paint.h"
#include "tests/support/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 3000

static void page_of(const char *text, struct prom_page *page)
{
    ck_assert_int_eq(prom_page_read(text, strlen(text), page), 0);
}

START_TEST(a_page_is_read_and_what_is_no_sample_passed_over)
{
    CLEANUP(prom_page_done) struct prom_page page = {0};
    char value[PROM_LABEL_MAX];
    size_t first;

    page_of("# HELP a A.\n# TYPE a counter\na{b=\"x\\\"y\\\\}\\n\",c=\"2\"} 3\na 4.5e1 1700000000\n"
            "zz NaN\nzy +Inf\n{} 3\nno_value\nopen{a=\"b 3\n 7\nx{a=\"b\"}3\nb 2\r\n",
        &page);
    ck_assert_uint_eq(page.n, 3);
    ck_assert_uint_eq(prom_find(&page, "a", &first), 2);
    ck_assert_double_eq(page.samples[first].value, 45);
    ck_assert(!prom_label(&page.samples[first], "b", value));
    ck_assert(prom_label(&page.samples[first + 1], "b", value));
    ck_assert_str_eq(value, "x\"y\\}\n");
    ck_assert(prom_label(&page.samples[first + 1], "c", value));
    ck_assert_str_eq(value, "2");
    ck_assert(!prom_label(&page.samples[first + 1], "d", value));
    ck_assert_uint_eq(prom_find(&page, "none", &first), 0);
    ck_assert_double_eq(top_sum(&page, "a"), 48);
}
END_TEST

START_TEST(what_is_no_page_is_refused)
{
    struct prom_page page;
    char *large = calloc(1, PROM_TEXT_MAX + 1);

    ck_assert_int_lt(prom_page_read("<html>no</html>\n", 16, &page), 0);
    ck_assert_int_lt(prom_page_read("", 0, &page), 0);
    ck_assert_int_lt(prom_page_read(large, PROM_TEXT_MAX + 1, &page), 0);
    free(large);
}
END_TEST

START_TEST(more_samples_than_there_is_room_for_are_passed_over)
{
    CLEANUP(prom_page_done) struct prom_page page = {0};
    CLEANUP(text_done) struct text text = {0};

    for (int i = 0; i < PROM_SAMPLES_MAX + 10; i++)
        text_addf(&text, "a{b=\"%d\"} 1\n", i);
    page_of(text.data, &page);
    ck_assert_uint_eq(page.n, PROM_SAMPLES_MAX);
}
END_TEST

START_TEST(a_counter_that_is_less_has_begun_anew)
{
    CLEANUP(prom_page_done) struct prom_page before = {0}, now = {0};

    page_of("a{b=\"1\"} 10\na{b=\"2\"} 10\n", &before);
    page_of("a{b=\"1\"} 14\na{b=\"2\"} 3\na{b=\"3\"} 5\n", &now);
    ck_assert_double_eq(prom_growth(&before, &now.samples[0]), 4);
    ck_assert_double_eq(prom_growth(&before, &now.samples[1]), 3);
    ck_assert_double_eq(prom_growth(&before, &now.samples[2]), 5);
    ck_assert_double_eq(prom_growth(NULL, &now.samples[0]), 14);
}
END_TEST

START_TEST(quantiles_are_prometheus_s)
{
    const double bounds[] = {0.1, 0.2, 0.5, HUGE_VAL};
    const double counts[] = {10, 20, 20, 40};
    const double none[] = {0, 0, 0, 0};

    ck_assert_double_eq_tol(prom_quantile(0.25, bounds, counts, 4), 0.1, 1e-9);
    ck_assert_double_eq_tol(prom_quantile(0.125, bounds, counts, 4), 0.05, 1e-9);
    ck_assert_double_eq_tol(prom_quantile(0.375, bounds, counts, 4), 0.15, 1e-9);
    ck_assert_double_eq_tol(prom_quantile(0.99, bounds, counts, 4), 0.5, 1e-9);
    ck_assert_double_lt(prom_quantile(0.5, bounds, none, 4), 0);
    ck_assert_double_lt(prom_quantile(0.5, bounds, counts, 1), 0);
    ck_assert_double_lt(prom_quantile(0.5, bounds, counts, 0), 0);
}
END_TEST

static const char before_text[] =
    "cradle_join_requests_total{outcome=\"success\"} 100\n"
    "cradle_join_requests_total{outcome=\"unavailable\"} 0\n"
    "cradle_join_seconds_bucket{le=\"0.001\"} 0\ncradle_join_seconds_bucket{le=\"0.002\"} 0\n"
    "cradle_join_seconds_bucket{le=\"+Inf\"} 0\n"
    "cradle_join_stage_seconds_sum{stage=\"keyd\"} 0\n"
    "cradle_join_stage_seconds_sum{stage=\"load\"} 0\ncradle_join_queue 0\n";
static const char now_text[] =
    "cradle_join_requests_total{outcome=\"success\"} 120\n"
    "cradle_join_requests_total{outcome=\"unavailable\"} 4\n"
    "cradle_join_seconds_bucket{le=\"0.001\"} 24\ncradle_join_seconds_bucket{le=\"0.002\"} 24\n"
    "cradle_join_seconds_bucket{le=\"+Inf\"} 24\n"
    "cradle_join_stage_seconds_sum{stage=\"keyd\"} 3\n"
    "cradle_join_stage_seconds_sum{stage=\"load\"} 1\ncradle_join_queue 7\n"
    "cradle_join_peer_answers_total{peer=\"\x1b[2Jp\",outcome=\"success\"} 8\n"
    "cradle_partner_breaker{partner=\"q\",state=\"open\"} 1\n"
    "cradle_partner_breaker{partner=\"q\",state=\"closed\"} 0\n";

START_TEST(a_view_adds_services_up)
{
    static struct top_view view;
    struct top_service services[] = {{.url = "http://a", .answers = true},
        {.url = "http://b", .answers = true}, {.url = "http://c", .fault = "it is away"}};

    for (int i = 0; i < 2; i++) {
        page_of(before_text, &services[i].before);
        page_of(now_text, &services[i].now);
    }
    top_view_make(&view, services, 3, 2);
    ck_assert_double_eq(view.joins, 24);
    ck_assert_double_eq(view.good, 20);
    ck_assert_double_eq(view.ours, 4);
    ck_assert_double_eq(view.queue, 14);
    ck_assert_double_eq(view.keyd_share, 0.75);
    ck_assert_double_eq_tol(view.p50_s, 0.0005, 1e-9);
    ck_assert_uint_eq(view.peers.n, 1);
    ck_assert_double_eq(view.peers.rows[0].rate, 8);
    ck_assert_str_eq(view.partners.rows[0].state, "open");
    for (int i = 0; i < 2; i++) {
        prom_page_done(&services[i].before);
        prom_page_done(&services[i].now);
    }
}
END_TEST

START_TEST(a_first_reading_has_no_rates)
{
    static struct top_view view;
    struct top_service service = {.url = "http://a", .answers = true};
    json_t *object;

    page_of(now_text, &service.now);
    top_view_make(&view, &service, 1, 0);
    ck_assert_double_eq(view.joins, 0);
    object = top_paint_json(&view, &service, 1, "t");
    ck_assert(json_is_null(json_object_get(object, "joins_per_s")));
    ck_assert(json_is_null(json_object_get(object, "p99_s")));
    ck_assert(json_is_real(json_object_get(object, "queue")));
    json_decref(object);
    prom_page_done(&service.now);
}
END_TEST

/* Whatever a service says, the screen keeps to its size, and no control character gets through. */
static void paint(
    const struct top_view *view, const struct top_service *service, unsigned rows, unsigned columns)
{
    CLEANUP(text_done) struct text out = {0};
    unsigned row = 1, column = 0;

    top_paint_screen(&out, view, service, 1, rows, columns);
    for (size_t i = 0; i < out.len; i++) {
        const unsigned char c = (unsigned char)out.data[i];

        if (c == '\n') {
            row++;
            column = 0;
            continue;
        }
        ck_assert_msg(c >= 0x20 && c != 0x7F, "control character %02x", c);
        if ((c & 0xC0) != 0x80)
            column++;
        ck_assert_uint_le(column, columns);
    }
    ck_assert_uint_le(row, rows);
}

START_TEST(any_page_is_shown_without_harm)
{
    static struct top_view view;
    static const char *const pieces[] = {"cradle_join_requests_total",
        "cradle_join_peer_answers_total", "cradle_partner_breaker", "cradle_join_seconds_bucket",
        "{", "}", "peer=\"", "partner=\"", "outcome=\"success\"", "state=\"open\"", "le=\"", "\"",
        "\\", ",", " ", "\n", "1", "-5", "1e308", "nan", "+Inf", "\x1b[31m", "\xc2\x9b", "\xff",
        "\xe2\x82\xac", "\t", "\r", "0x1p3", "# TYPE x y\n"};
    uint64_t state = 7;

    for (int round = 0; round < ROUNDS; round++) {
        struct top_service service = {.url = "http://a\x1b", .answers = true};
        struct text texts[2] = {{0}, {0}};
        json_t *object;

        for (int half = 0; half < 2; half++) {
            text_add(&texts[half], "cradle_ready 1\n");
            for (int i = 0; i < 120; i++) {
                state = state * 6364136223846793005u + 1442695040888963407u;
                text_add(
                    &texts[half], pieces[(state >> 33) % (sizeof(pieces) / sizeof(pieces[0]))]);
            }
            page_of(texts[half].data, half == 0 ? &service.before : &service.now);
        }
        top_view_make(&view, &service, 1, 1);
        paint(&view, &service, 1 + (unsigned)(state >> 40) % 30, 1 + (unsigned)(state >> 50) % 200);
        object = top_paint_json(&view, &service, 1, "t");
        ck_assert_ptr_nonnull(object);
        json_decref(object);
        for (int half = 0; half < 2; half++)
            text_done(&texts[half]);
        prom_page_done(&service.before);
        prom_page_done(&service.now);
    }
}
END_TEST

SUITE_MAIN("top", 30, a_page_is_read_and_what_is_no_sample_passed_over, what_is_no_page_is_refused,
    more_samples_than_there_is_room_for_are_passed_over, a_counter_that_is_less_has_begun_anew,
    quantiles_are_prometheus_s, a_view_adds_services_up, a_first_reading_has_no_rates,
    any_page_is_shown_without_harm)
