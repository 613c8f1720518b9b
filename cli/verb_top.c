/* cradle top: what the services do now, read from their metrics again and again. */
#include "base/clock.h"
#include "base/error.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/curl.h"
#include "cli/top_paint.h"
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define INTERVAL_S 2
#define INTERVAL_S_MAX 3600
#define READ_MS 4000 /* for one service's page */
#define ROWS_USUAL 24
#define COLUMNS_USUAL 100
#define SCREEN_BEGIN "\033[?1049h\033[?25l" /* another screen, no cursor */
#define SCREEN_END "\033[?25h\033[?1049l"
#define SCREEN_HOME "\033[H"
#define LINE_REST "\033[K"
#define SCREEN_REST "\033[J"

struct top {
    struct top_service services[TOP_SERVICES_MAX];
    size_t n;
    const char *ca;
    unsigned interval_s;
    bool once, json;
    int64_t read_ms; /* monotonic: the reading of now; 0: there was none */
    double apart_s;  /* of the two readings; 0: there are not two */
    struct top_view view;
    CURL *curl;
    bool on_screen;
    struct termios before;
};

static volatile sig_atomic_t stop_wanted;

static void on_stop(int signal_number)
{
    (void)signal_number;
    stop_wanted = 1;
}

static void on_resize(int signal_number)
{
    (void)signal_number; /* the wait ends, and the screen is painted anew */
}

static size_t take(char *bytes, size_t size, size_t n, void *context)
{
    struct text *page = context;

    if (n > PROM_TEXT_MAX || page->len + size * n > PROM_TEXT_MAX)
        return 0;
    text_add_len(page, bytes, size * n);
    return page->failed ? 0 : size * n;
}

static bool prepare(struct top *top, const char *url, struct text *page)
{
    CURL *c = top->curl;

    return curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)READ_MS) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEDATA, page) == CURLE_OK && cli_curl_trust(c, top->ca);
}

static int fetch(struct top *top, const char *base, struct prom_page *ret)
{
    CLEANUP(text_done) struct text page = {0}, url = {0};
    long status = 0;
    size_t len = strlen(base);
    CURLcode r;

    while (len > 0 && base[len - 1] == '/')
        len--;
    text_add_len(&url, base, len);
    text_add(&url, "/metrics");
    if (url.failed || !prepare(top, url.data, &page))
        return error_set(ERROR_SYSTEM, "libcurl does not take the URL");
    r = curl_easy_perform(top->curl);
    if (r == CURLE_WRITE_ERROR)
        return error_set(ERROR_INPUT, "more than %u bytes of metrics", PROM_TEXT_MAX);
    if (r != CURLE_OK)
        return error_set(ERROR_SYSTEM, "%s", curl_easy_strerror(r));
    (void)curl_easy_getinfo(top->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return error_set(ERROR_INPUT, "HTTP status %ld for /metrics", status);
    return prom_page_read(page.data != NULL ? page.data : "", page.len, ret);
}

/* One that does not answer keeps nobody from seeing the others; when it is back, its counters are
 * compared with those of before, or have begun anew. */
static void read_service(struct top *top, struct top_service *s)
{
    struct prom_page page = {0};

    s->answers = fetch(top, s->url, &page) == 0;
    if (!s->answers) {
        (void)snprintf(s->fault, sizeof(s->fault), "%s", error_text());
        prom_page_done(&s->before);
        prom_page_done(&s->now);
        return;
    }
    prom_page_done(&s->before);
    s->before = s->now;
    s->now = page;
}

static void read_all(struct top *top)
{
    const int64_t now_ms = clock_monotonic_ms();

    for (size_t i = 0; i < top->n; i++)
        read_service(top, &top->services[i]);
    top->apart_s = top->read_ms != 0 ? (double)(now_ms - top->read_ms) / 1000 : 0;
    top->read_ms = now_ms;
    top_view_make(&top->view, top->services, top->n, top->apart_s);
}

static void add_json(const struct top *top, const char *now, struct text *out)
{
    json_t *object = top_paint_json(&top->view, top->services, top->n, now);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;

    if (text != NULL)
        text_addf(out, "%s\n", text);
    else
        out->failed = true;
    secret_free(text); /* of jansson's: cli/wiping.h */
    json_decref(object);
}

/* Each line to its end, and what is below of the frame before. */
static void add_frame(const struct top *top, struct text *out)
{
    CLEANUP(text_done) struct text painted = {0};
    struct winsize size = {0};
    unsigned rows = ROWS_USUAL, columns = COLUMNS_USUAL;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 && size.ws_col > 1) {
        rows = size.ws_row;
        /* Not the last one: to erase the rest of a full line takes its last character away. */
        columns = size.ws_col <= TOP_COLUMNS_MAX ? size.ws_col - 1u : TOP_COLUMNS_MAX;
    }
    text_addf(out, SCREEN_HOME "%.*s" LINE_REST "\n", (int)columns, "Cradle, q ends");
    top_paint_screen(&painted, &top->view, top->services, top->n, rows - 1, columns);
    for (const char *at = painted.data != NULL ? painted.data : ""; *at != '\0';) {
        const size_t len = strcspn(at, "\n");

        text_add_len(out, at, len);
        text_add(out, LINE_REST);
        at += len;
        if (*at == '\n') {
            text_add(out, "\n");
            at++;
        }
    }
    text_add(out, SCREEN_REST);
    out->failed = out->failed || painted.failed;
}

static int say(const struct text *out)
{
    if (out->failed)
        return error_set(ERROR_SYSTEM, "out of memory for the screen");
    if (fwrite(out->data, 1, out->len, stdout) != out->len || fflush(stdout) != 0)
        return error_set_errno("cannot write");
    return 0;
}

static int show(struct top *top)
{
    CLEANUP(text_done) struct text out = {0};
    char now[CLOCK_TEXT_LEN + 1];

    (void)clock_rfc3339(now);
    if (top->on_screen)
        add_frame(top, &out);
    else if (top->json)
        add_json(top, now, &out);
    else
        top_paint_line(&out, &top->view, top->services, top->n, now);
    return say(&out);
}

/* Outcome 1: who watches has seen enough. */
static int wait_for_turn(struct top *top)
{
    const int64_t until_ms = top->read_ms + (int64_t)top->interval_s * 1000;

    while (stop_wanted == 0) {
        const int64_t left = until_ms - clock_monotonic_ms();
        struct pollfd keys = {.fd = top->on_screen ? STDIN_FILENO : -1, .events = POLLIN};
        char key = 'q'; /* a terminal that is gone */

        if (left <= 0)
            return 0;
        if (poll(&keys, 1, (int)left) < 0) {
            if (errno == EINTR && top->on_screen && stop_wanted == 0 && show(top) < 0)
                return -1;
            continue;
        }
        if (keys.revents != 0 && (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q'))
            return 1;
    }
    return 1;
}

static void screen_begin(struct top *top)
{
    struct termios raw;

    top->on_screen = !top->json && isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 &&
                     tcgetattr(STDIN_FILENO, &top->before) == 0;
    if (!top->on_screen)
        return;
    raw = top->before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    (void)fputs(SCREEN_BEGIN, stdout);
}

static void screen_end(struct top *top)
{
    if (!top->on_screen)
        return;
    (void)fputs(SCREEN_END, stdout);
    (void)fflush(stdout);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &top->before);
}

static void take_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    action.sa_handler = on_resize;
    (void)sigaction(SIGWINCH, &action, NULL);
}

static int watch(struct top *top)
{
    int r;

    take_signals();
    screen_begin(top);
    do {
        read_all(top);
        r = show(top);
    } while (r == 0 && stop_wanted == 0 && (r = wait_for_turn(top)) == 0);
    screen_end(top);
    return r < 0 ? r : 0;
}

/* Two readings, for the rates between them. */
static int look_once(struct top *top, struct text *out)
{
    char now[CLOCK_TEXT_LEN + 1];
    bool all = true;

    take_signals();
    read_all(top);
    if (wait_for_turn(top) != 0)
        return 0;
    read_all(top);
    (void)clock_rfc3339(now);
    if (top->json)
        add_json(top, now, out);
    else {
        top_paint_screen(out, &top->view, top->services, top->n, UINT_MAX, TOP_COLUMNS_MAX);
        text_add(out, "\n");
    }
    for (size_t i = 0; i < top->n; i++)
        all = all && top->services[i].answers;
    return all ? 0 : CLI_NO;
}

static int read_interval(const char *text, unsigned *ret)
{
    char *end;
    const unsigned long s = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || text[0] == '-' || s < 1 || s > INTERVAL_S_MAX)
        return cli_usage("--interval", "is a number of seconds, from 1 to 3600");
    *ret = (unsigned)s;
    return 0;
}

static int read_options(int argc, char **argv, struct top *top)
{
    static const struct option table[] = {
        {"url", required_argument, NULL, 'u'},
        {"ca", required_argument, NULL, 'a'},
        {"interval", required_argument, NULL, 'i'},
        {"once", no_argument, NULL, 'o'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    static const char *const usual[] = {"http://127.0.0.1:8081", "http://127.0.0.1:8080"};
    int c, r = 0;

    while (r == 0 && (c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'u' && top->n == TOP_SERVICES_MAX)
            return cli_usage("--url", "may stand 16 times");
        if (c == 'u')
            top->services[top->n++].url = optarg;
        else if (c == 'a')
            top->ca = optarg;
        else if (c == 'i')
            r = read_interval(optarg, &top->interval_s);
        else if (c == 'o')
            top->once = true;
        else if (c == 'j')
            top->json = true;
        else
            return CLI_USAGE;
    }
    if (r == 0 && optind < argc)
        r = cli_usage(argv[optind], "is not an option");
    for (size_t i = 0; top->n == 0 && i < sizeof(usual) / sizeof(usual[0]); i++)
        top->services[i].url = usual[i];
    if (top->n == 0)
        top->n = sizeof(usual) / sizeof(usual[0]);
    return r;
}

int cli_top(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct top *top = calloc(1, sizeof(*top));
    int r;

    (void)settings;
    if (top == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    top->interval_s = INTERVAL_S;
    r = read_options(argc, argv, top);
    if (r == 0 && (top->curl = curl_easy_init()) == NULL)
        r = error_set(ERROR_SYSTEM, "libcurl does not start");
    if (r == 0)
        r = top->once ? look_once(top, out) : watch(top);
    for (size_t i = 0; i < top->n; i++) {
        prom_page_done(&top->services[i].before);
        prom_page_done(&top->services[i].now);
    }
    cli_curl_cleanup(&top->curl);
    free(top);
    return r;
}
