/* history: one device joins again and again, each time with a DevNonce that it has not used before.
 * One request at a time on one connection, so that what a join takes is its own. */
#include "tests/bench/verbs.h"

#include "base/clock.h"
#include "base/error.h"
#include "cli/device_json.h"
#include "tests/bench/ask.h"
#include "tests/bench/verdict.h"
#include <stdio.h>
#include <string.h>

#define DEVICE 0

struct history {
    const struct bench_settings *settings;
    struct bench_fleet fleet;
    struct simdev_network network;
    struct simdev device;
    struct bench_ask ask;
    struct text body, request;
    int64_t *ns; /* of each join */
};

static int make_request(struct history *h, uint32_t number, uint16_t *ret_dev_nonce)
{
    uint8_t frame[LW_JOIN_REQUEST_LEN];
    int r = bench_device_take_nonce(&h->fleet, DEVICE, ret_dev_nonce);

    if (r == 0)
        r = simdev_request_build(&h->device, *ret_dev_nonce, frame);
    if (r < 0)
        return r;
    text_clear(&h->body);
    simdev_request_json(&h->body, &h->device, &h->network, frame, sizeof(frame), number);
    text_clear(&h->request);
    text_addf(&h->request,
        "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        h->settings->token, h->body.len);
    text_add_len(&h->request, h->body.data, h->body.len);
    return h->body.failed || h->request.failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

/* As its device, network server and application server would. */
static int check(struct history *h, uint32_t number, uint16_t dev_nonce, size_t len)
{
    CLEANUP(simdev_result_wipe) struct simdev_result result = {.opened = false};
    struct simdev_answer answer;
    char why[BENCH_WHY_MAX];
    const char *body = bench_http_body(h->ask.answer, len, why);

    if (body == NULL)
        return error_set(ERROR_INTERNAL, "join %u: %s", number, why);
    int r = simdev_answer_parse(
        body, len - (size_t)(body - h->ask.answer), &h->device, &h->network, number, &answer);
    if (r == 0 && strcmp(answer.result_code, "Success") != 0)
        r = error_set(
            ERROR_INTERNAL, "join %u: %s: %s", number, answer.result_code, answer.description);
    if (r == 0)
        r = simdev_answer_check(&h->device, &h->network, dev_nonce, &answer, &result);
    if (r > 0)
        r = error_set(
            ERROR_INTERNAL, "join %u: %s", number, simdev_verdict_text((enum simdev_verdict)r));
    h->device.last_join_nonce = result.accept.join_nonce;
    return r;
}

static int join(struct history *h, uint32_t number)
{
    uint16_t dev_nonce = 0;
    size_t len = 0;
    int r = make_request(h, number, &dev_nonce);

    if (r == 0)
        r = bench_ask(&h->ask, &h->request, &h->ns[number], &len);
    return r < 0 ? r : check(h, number, dev_nonce, len);
}

/* Whoever reads the clocks of other processes is told, and says when it is done. */
static int mark(uint32_t number)
{
    char line[16];

    printf("%u\n", number);
    (void)fflush(stdout);
    return fgets(line, sizeof(line), stdin) != NULL
               ? 0
               : error_set(ERROR_SYSTEM, "nobody reads the clocks");
}

static int prepare(struct history *h, const struct bench_settings *settings)
{
    uint16_t ports[BENCH_PORTS_MAX];
    size_t n_ports = 0;
    int r;

    h->settings = settings;
    h->ns = calloc(settings->tries, sizeof(*h->ns));
    if (h->ns == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    if ((r = bench_fleet_make(settings, &h->fleet)) < 0 ||
        (r = bench_network_make(settings, &h->network)) < 0 ||
        (r = bench_ports_parse(settings, ports, &n_ports)) < 0)
        return r;
    bench_device_make(&h->fleet, DEVICE, &h->device);
    bench_network_for(&h->network, &h->fleet, DEVICE);
    return bench_wire_open(&(struct bench_wiring){.credentials = NULL}, ports[0], &h->ask.wire);
}

static void history_done(struct history *h)
{
    bench_wire_close(&h->ask.wire);
    free(h->ns);
    bench_fleet_done(&h->fleet);
    bench_network_wipe(&h->network);
    bench_device_wipe(&h->device);
    text_done(&h->body);
    text_done(&h->request);
}

int bench_history(const struct bench_settings *settings)
{
    CLEANUP(history_done) struct history h = {.ask.wire = {.fd = -1}};
    static const char *const names[] = {"join"};
    int r = prepare(&h, settings);

    for (uint32_t i = 0; r == 0 && i < settings->tries; i++) {
        if (i % settings->in_a_row == 0)
            r = mark(i);
        if (r == 0)
            r = join(&h, i);
    }
    if (r == 0)
        r = mark(settings->tries);
    if (r < 0)
        return r;
    bench_samples_print(names, &h.ns, &settings->tries, 1);
    return 0;
}
