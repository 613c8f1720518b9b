/* claims: POST /v1/claims by one client, each device once, with the code that an import file gave
 * it. What a claim leaves in the database is scripts/lib/bench_claims.py's to look at. */
#include "tests/bench/verbs.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "device/code.h"
#include "tests/bench/verdict.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define HEAD_MAX 1024 /* bytes of an answer's head */
#define ENTRY_MAX 512 /* and of what it says of a device */
#define CODE_MARK '?' /* where a code stands in what is expected */

struct claims {
    const struct bench_settings *settings;
    struct bench_fleet fleet;
    struct bench_order order;
    struct bench_plan plan;
    uint32_t *devices; /* settings->batch of each request, in the order of requests */
    struct text body;  /* of the request being made, then of the answer that is expected */
};

static void claims_done(struct claims *c)
{
    bench_fleet_done(&c->fleet);
    bench_order_done(&c->order);
    bench_plan_done(&c->plan);
    free(c->devices);
    text_done(&c->body);
}

static void add_dev_eui(struct claims *c, uint32_t device)
{
    CLEANUP(bench_device_wipe) struct simdev simdev;

    bench_device_make(&c->fleet, device, &simdev);
    text_add(&c->body, "{\"dev_eui\":\"");
    text_add_hex(&c->body, simdev.dev_eui.bytes, sizeof(simdev.dev_eui.bytes));
}

static void add_claim(struct claims *c, uint32_t device)
{
    char code[BENCH_CODE_LEN + 1];

    bench_code_make(&c->fleet, device, code);
    add_dev_eui(c, device);
    text_addf(&c->body, "\",\"code\":\"%s\",\"home_net_id\":\"%s\",\"as_id\":\"%s\"}", code,
        c->settings->net_id, c->settings->as_id);
}

static void add_result(struct claims *c, uint32_t device)
{
    add_dev_eui(c, device);
    text_add(&c->body, "\",\"outcome\":\"claimed\",\"code\":\"");
    for (size_t i = 0; i < DEVICE_CODE_HEX_LEN; i++)
        text_add_len(&c->body, &(char){CODE_MARK}, 1);
    text_addf(&c->body,
        "\",\"generation\":2,\"ownership_epoch\":1,\"home_net_id\":\"%s\",\"as_id\":\"%s\"}",
        c->settings->net_id, c->settings->as_id);
}

/* One alone, or between `head` and "]}". */
static void add_all(struct claims *c, uint32_t request, const char *head,
    void (*add)(struct claims *c, uint32_t device))
{
    unsigned batch = c->settings->batch;
    const uint32_t *devices = c->devices + (size_t)request * batch;

    text_clear(&c->body);
    if (batch == 1) {
        add(c, devices[0]);
        return;
    }
    text_add(&c->body, head);
    for (unsigned i = 0; i < batch; i++) {
        text_add(&c->body, i > 0 ? "," : "");
        add(c, devices[i]);
    }
    text_add(&c->body, "]}");
}

static void add_request(struct claims *c, uint32_t index)
{
    struct text *bytes = &c->plan.bytes;
    struct bench_request *request = &c->plan.requests[index];

    for (unsigned i = 0; i < c->settings->batch; i++)
        c->devices[(size_t)index * c->settings->batch + i] = bench_order_next(&c->order);
    add_all(c, index, "{\"claims\":[", add_claim);
    *request = (struct bench_request){
        .at = bytes->len, .device = c->devices[(size_t)index * c->settings->batch]};
    text_addf(bytes,
        "POST /v1/claims HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
        "Idempotency-Key: bench-%u\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        c->settings->owner_token, index, c->body.len);
    text_add_len(bytes, c->body.data, c->body.len);
    request->len = (uint32_t)(bytes->len - request->at);
}

static int make_plan(struct claims *c)
{
    uint32_t n = c->fleet.n / c->settings->batch;

    c->devices = calloc(c->fleet.n, sizeof(*c->devices));
    c->plan = (struct bench_plan){.requests = calloc(n, sizeof(*c->plan.requests)),
        .n = n,
        .answer_max = HEAD_MAX + (size_t)c->settings->batch * ENTRY_MAX};
    if (c->devices == NULL || c->plan.requests == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    for (uint32_t i = 0; i < n; i++)
        add_request(c, i);
    return c->body.failed || c->plan.bytes.failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

static bool is_as_expected(const struct text *expected, const char *body, size_t len)
{
    if (expected->failed || len != expected->len + 1 || body[len - 1] != '\n')
        return false;
    for (size_t i = 0; i < expected->len; i++) {
        bool is_digit = isdigit((unsigned char)body[i]) || (body[i] >= 'A' && body[i] <= 'F');

        if (expected->data[i] == CODE_MARK ? !is_digit : body[i] != expected->data[i])
            return false;
    }
    return true;
}

static int check(
    void *context, uint32_t index, const char *message, size_t len, char why[static BENCH_WHY_MAX])
{
    struct claims *c = context;
    const char *body = bench_http_body(message, len, why);

    if (body == NULL)
        return 1;
    add_all(c, index, "{\"results\":[", add_result);
    if (is_as_expected(&c->body, body, len - (size_t)(body - message)))
        return 0;
    /* Not the answer itself: it holds a code. */
    (void)snprintf(why, BENCH_WHY_MAX, "it is not what a claim of device %u is answered",
        c->plan.requests[index].device);
    return 1;
}

static void print_result(
    const struct claims *c, const struct bench_traffic *t, const struct bench_verdict *v)
{
    double seconds = (double)(t->end_us - t->begin_us) / 1e6;
    unsigned batch = c->settings->batch;

    printf("{\"claims\": %u, \"claimed\": %u, \"seconds\": %.3f, \"claims_per_s\": %.1f, "
           "\"p50_ms\": %.3f, \"p95_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, "
           "\"errors\": %u, \"checked\": %u, \"load_cpu_us\": %lld}\n",
        v->n_in_time * batch, (v->n_checked - v->n_errors) * batch, seconds,
        seconds > 0 ? v->n_in_time * batch / seconds : 0, v->p50_ms, v->p95_ms, v->p99_ms,
        v->max_ms, v->n_errors, v->n_checked, (long long)t->cpu_us);
}

int bench_claims(const struct bench_settings *settings)
{
    CLEANUP(claims_done) struct claims c = {.settings = settings};
    CLEANUP(bench_traffic_done) struct bench_traffic traffic = {.len = 0};
    struct bench_verdict verdict;

    if (settings->owner_token[0] == '\0' || settings->devices < settings->batch)
        return error_set(ERROR_CONFIG, "a token and a device or more for each call are wanted");
    int r = bench_fleet_make(settings, &c.fleet);
    if (r == 0)
        r = bench_order_make(c.fleet.n, settings->seed, &c.order);
    if (r == 0)
        r = make_plan(&c);
    if (r == 0)
        r = bench_traffic_run(settings, &c.plan, &traffic);
    if (r == 0)
        r = bench_verdict_reach(&c.plan, &traffic, 0, check, &c, &verdict);
    if (r < 0)
        return r;
    print_result(&c, &traffic, &verdict);
    if (verdict.n_errors == 0)
        return 0;
    (void)error_set(ERROR_INTERNAL, "%u of %u answers are missing or wrong", verdict.n_errors,
        verdict.n_checked);
    return 1;
}
