#include "tests/bench/traffic.h"

#include "base/clock.h"
#include "base/error.h"
#include "tests/bench/wire.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define WARM_UP_US 1000000
#define DRAIN_US 10000000
#define EVENTS_MAX 256
#define NONE UINT32_MAX
#define LONG_IDLE_US 1000000 /* a connection that was idle for so long may have been closed */

struct connection {
    struct bench_wire wire;
    uint32_t request; /* under way, or NONE */
    int64_t idle_us;  /* since when, where there is none */
    size_t len;
    char *in; /* of plan->answer_max */
};

struct run {
    const struct bench_plan *plan;
    struct bench_traffic *traffic;
    const struct bench_stage *stages;
    size_t n_stages;
    size_t stage;  /* the present one */
    unsigned rate; /* of it */
    int epoll;
    struct connection *connections;
    unsigned n_connections;
    struct connection **idle;
    unsigned n_idle;
    unsigned n_busy;
    bool *in_flight; /* one a device */
    int64_t start_us;
    int64_t stop_us;
    bool begun;
    bool ended;
};

static int64_t own_cpu_us(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

static void announce(const char *word)
{
    (void)puts(word);
    (void)fflush(stdout);
}

static int open_connections(
    struct run *run, const struct bench_settings *settings, const struct bench_wiring *wiring)
{
    uint16_t ports[BENCH_PORTS_MAX];
    size_t n_ports = 0;
    int r = bench_ports_parse(settings, ports, &n_ports);

    for (unsigned i = 0; r == 0 && i < run->n_connections; i++) {
        struct connection *c = &run->connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

        r = bench_wire_open(wiring, ports[i % n_ports], &c->wire);
        if (r == 0 && epoll_ctl(run->epoll, EPOLL_CTL_ADD, c->wire.fd, &event) != 0)
            r = error_set_errno("cannot watch a connection");
        c->idle_us = clock_monotonic_us();
        run->idle[run->n_idle++] = c;
    }
    return r;
}

/* A connection on which something went wrong carries nothing more; its request has no answer. */
static void give_up(struct run *run, struct connection *c)
{
    bench_wire_close(&c->wire);
    if (c->request != NONE) {
        run->in_flight[run->plan->requests[c->request].device] = false;
        run->n_busy--;
    }
    c->request = NONE;
}

/* As any client looks that has kept a connection: a request on one that the server has closed would
 * have no answer, and that would be no fault of the server's. */
static bool was_closed(struct run *run, struct connection *c)
{
    if (c->wire.fd >= 0 && clock_monotonic_us() - c->idle_us >= LONG_IDLE_US &&
        bench_wire_has_ended(&c->wire))
        give_up(run, c);
    return c->wire.fd < 0;
}

static void send_next(struct run *run, int64_t due_us)
{
    struct connection *c = run->idle[--run->n_idle];
    uint32_t index = run->traffic->n_sent;
    const struct bench_request *request = &run->plan->requests[index];

    if (was_closed(run, c))
        return;
    run->traffic->n_sent++;
    run->traffic->replies[index].due_us = due_us;
    run->traffic->replies[index].sent_us = run->rate == 0 ? due_us : clock_monotonic_us();
    run->in_flight[request->device] = true;
    run->n_busy++;
    c->request = index;
    c->len = 0;
    if (!bench_wire_send(&c->wire, run->plan->bytes.data + request->at, request->len))
        give_up(run, c);
}

/* When the next request should leave; INT64_MAX when none is left. */
static int64_t next_due_us(const struct run *run)
{
    uint32_t n_sent = run->traffic->n_sent;

    if (n_sent == run->plan->n)
        return INT64_MAX;
    const struct bench_turn *turn = &run->traffic->turns[run->stage];
    return run->rate == 0 ? 0
                          : turn->at_us + (int64_t)(n_sent - turn->n_sent) * 1000000 / run->rate;
}

static void begin_stage(struct run *run, size_t stage, int64_t at_us)
{
    run->stage = stage;
    run->rate = run->stages[stage].rate;
    run->traffic->turns[stage] =
        (struct bench_turn){.at_us = at_us, .n_sent = run->traffic->n_sent, .cpu_us = own_cpu_us()};
}

static void turn_stage(struct run *run, int64_t now_us)
{
    int64_t end_us =
        run->traffic->turns[run->stage].at_us + (int64_t)run->stages[run->stage].seconds * 1000000;

    if (run->stage + 1 < run->n_stages && now_us >= end_us) {
        begin_stage(run, run->stage + 1, end_us);
        announce("stage");
    }
}

/* Whether requests are left that should have been sent by now: with a rate they are sent late
 * rather than never, or a server that stalls would be spared them. Of stages it is not known how
 * many that would be. */
static bool is_behind(const struct run *run)
{
    return run->n_stages == 1 && run->rate > 0 && run->traffic->n_sent < run->plan->n &&
           run->n_idle + run->n_busy > 0;
}

/* Sends what is due while connections are free. A device whose last join is not answered yet is
 * waited for: two joins of one device at a time are not what devices do. */
static void send_due(struct run *run, int64_t now_us)
{
    int64_t due_us;

    while (run->n_idle > 0 && (due_us = next_due_us(run)) <= now_us &&
           ((run->rate > 0 && run->n_stages == 1) || now_us < run->stop_us) &&
           !run->in_flight[run->plan->requests[run->traffic->n_sent].device])
        send_next(run, run->rate == 0 ? clock_monotonic_us() : due_us);
}

/* The length of the answer that `c->in` begins with; 0: not known yet. -1: it is no answer. */
static ssize_t answer_len(const struct connection *c, size_t answer_max)
{
    static const char length_name[] = "\r\nContent-Length:";
    const char *end = memmem(c->in, c->len, "\r\n\r\n", 4);

    if (end == NULL)
        return 0;
    size_t head_len = (size_t)(end - c->in) + 4;
    const char *name = memmem(c->in, head_len, length_name, sizeof(length_name) - 1);
    if (name == NULL)
        return -1;
    size_t len = head_len + strtoul(name + sizeof(length_name) - 1, NULL, 10);
    if (len > answer_max)
        return -1;
    return c->len < len ? 0 : (ssize_t)len;
}

static void keep(struct run *run, struct connection *c, int64_t now_us)
{
    struct bench_traffic *t = run->traffic;
    struct bench_reply *reply = &t->replies[c->request];

    if (t->len + c->len > t->capacity)
        return; /* a missing answer */
    memcpy(t->bytes + t->len, c->in, c->len);
    reply->at = t->len;
    reply->len = (uint32_t)c->len;
    reply->done_us = now_us;
    t->len += c->len;
}

static void finish(struct run *run, struct connection *c)
{
    keep(run, c, clock_monotonic_us());
    run->in_flight[run->plan->requests[c->request].device] = false;
    run->n_busy--;
    c->request = NONE;
    c->idle_us = clock_monotonic_us();
    run->idle[run->n_idle++] = c;
}

/* Takes what is there, to the end of the answer. */
static void receive(struct run *run, struct connection *c)
{
    size_t answer_max = run->plan->answer_max;

    for (;;) {
        ssize_t n = bench_wire_receive(&c->wire, c->in + c->len, answer_max - c->len);

        if (n == BENCH_WIRE_EMPTY)
            return;
        if (n == BENCH_WIRE_ENDED || c->request == NONE)
            break;
        c->len += (size_t)n;
        ssize_t len = answer_len(c, answer_max);
        if (len == (ssize_t)c->len) {
            finish(run, c);
            return;
        }
        if (len != 0 || c->len == answer_max)
            break;
    }
    give_up(run, c);
}

static void mark_time(struct run *run, int64_t now_us)
{
    struct bench_traffic *t = run->traffic;

    if (!run->begun && now_us >= run->start_us + WARM_UP_US) {
        run->begun = true;
        announce("begin");
        t->cpu_us = -own_cpu_us();
        t->begin_us = now_us;
    }
    bool over = now_us >= run->stop_us || (run->rate == 0 && t->n_sent == run->plan->n) ||
                run->n_idle + run->n_busy == 0;
    if (run->begun && !run->ended && over) {
        run->ended = true;
        t->end_us = now_us;
        t->cpu_us += own_cpu_us();
        announce("end");
        run->stop_us = now_us;
    }
}

/* How long to sleep if nothing arrives. */
static struct timespec patience(const struct run *run, int64_t now_us)
{
    int64_t until_us = run->begun ? run->stop_us : run->start_us + WARM_UP_US;
    int64_t due_us = next_due_us(run);

    if (run->ended)
        until_us = run->stop_us + DRAIN_US;
    else if (run->n_idle > 0 && run->rate > 0 && due_us < until_us)
        until_us = due_us;
    int64_t wait_us = until_us > now_us ? until_us - now_us : 0;
    return (struct timespec){.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
}

/* The second of warm-up is in the first stage. */
static int64_t seconds_of(const struct run *run)
{
    int64_t seconds = 0;

    for (size_t i = 0; i < run->n_stages; i++)
        seconds += run->stages[i].seconds;
    return seconds;
}

static int loop(struct run *run)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t now_us = clock_monotonic_us();

    run->start_us = now_us;
    run->stop_us = now_us + seconds_of(run) * 1000000;
    begin_stage(run, 0, now_us);
    while (
        !run->ended || ((run->n_busy > 0 || is_behind(run)) && now_us < run->stop_us + DRAIN_US)) {
        send_due(run, now_us);
        struct timespec wait = patience(run, now_us);
        int n = epoll_pwait2(run->epoll, events, EVENTS_MAX, &wait, NULL);

        if (n < 0 && errno != EINTR)
            return error_set_errno("cannot wait for answers");
        for (int i = 0; i < n; i++)
            receive(run, events[i].data.ptr);
        now_us = clock_monotonic_us();
        mark_time(run, now_us);
        turn_stage(run, now_us);
    }
    return 0;
}

/* Address space alone: what no answer needs costs nothing. */
static int make_room(struct bench_traffic *t, uint32_t n, size_t answer_max)
{
    size_t capacity = n * answer_max;
    void *bytes = mmap(
        NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    t->replies = calloc(n, sizeof(*t->replies));
    if (bytes == MAP_FAILED || t->replies == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for %u answers", n);
    t->bytes = bytes;
    t->capacity = capacity;
    return 0;
}

int bench_traffic_run(
    const struct bench_settings *settings, const struct bench_plan *plan, struct bench_traffic *ret)
{
    const struct bench_stage stage = {
        .rate = settings->rate, .seconds = WARM_UP_US / 1000000 + settings->seconds};

    return bench_traffic_run_stages(settings, plan, &stage, 1, ret);
}

int bench_traffic_run_stages(const struct bench_settings *settings, const struct bench_plan *plan,
    const struct bench_stage *stages, size_t n_stages, struct bench_traffic *ret)
{
    CLEANUP(bench_wiring_done) struct bench_wiring wiring = {.credentials = NULL};
    CLEANUP(cleanup_close) int epoll = epoll_create1(EPOLL_CLOEXEC);
    unsigned n = settings->connections;
    CLEANUP(cleanup_free) struct connection *connections = calloc(n, sizeof(*connections));
    CLEANUP(cleanup_free) char *in = calloc(n, plan->answer_max);
    CLEANUP(cleanup_free) struct connection **idle = calloc(n, sizeof(struct connection *));
    CLEANUP(cleanup_free) bool *in_flight = calloc(settings->devices, sizeof(*in_flight));
    struct run run = {.plan = plan,
        .traffic = ret,
        .stages = stages,
        .n_stages = n_stages,
        .rate = stages[0].rate,
        .epoll = epoll,
        .connections = connections,
        .n_connections = n,
        .idle = idle,
        .in_flight = in_flight};

    *ret = (struct bench_traffic){.len = 0};
    if (epoll < 0 || connections == NULL || in == NULL || idle == NULL || in_flight == NULL)
        return error_set_errno("cannot prepare %u connections", n);
    for (unsigned i = 0; i < n; i++)
        connections[i] = (struct connection){
            .wire = {.fd = -1}, .request = NONE, .in = in + i * plan->answer_max};
    int r = make_room(ret, plan->n, plan->answer_max);
    if (r == 0)
        r = bench_wiring_make(settings, &wiring);
    if (r == 0)
        r = open_connections(&run, settings, &wiring);
    if (r == 0)
        r = loop(&run);
    for (unsigned i = 0; i < n; i++)
        bench_wire_close(&connections[i].wire);
    return r;
}

void bench_traffic_done(struct bench_traffic *traffic)
{
    if (traffic->bytes != NULL)
        (void)munmap(traffic->bytes, traffic->capacity);
    free(traffic->replies);
    *traffic = (struct bench_traffic){.len = 0};
}
