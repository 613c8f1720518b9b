#include "tests/bench/plan.h"

#include "base/error.h"
#include "cli/device_json.h"

static int add_request(const struct bench_settings *settings, struct bench_fleet *fleet,
    struct simdev_network *network, struct text *body, struct bench_plan *plan,
    struct bench_request *request)
{
    CLEANUP(bench_device_wipe) struct simdev device;
    uint8_t frame[LW_JOIN_REQUEST_LEN];
    int r = bench_device_take_nonce(fleet, request->device, &request->dev_nonce);

    if (r < 0)
        return r;
    bench_device_make(fleet, request->device, &device);
    bench_network_for(network, fleet, request->device);
    r = simdev_request_build(&device, request->dev_nonce, frame);
    if (r < 0)
        return r;
    text_clear(body);
    simdev_request_json(
        body, &device, network, frame, sizeof(frame), (uint32_t)(request - plan->requests));
    request->at = plan->bytes.len;
    text_add(&plan->bytes, "POST / HTTP/1.1\r\nHost: localhost\r\n");
    if (settings->tls == 0) /* else the certificate says who asks */
        text_addf(&plan->bytes, "Authorization: Bearer %s\r\n", settings->token);
    text_addf(
        &plan->bytes, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body->len);
    text_add_len(&plan->bytes, body->data, body->len);
    request->len = (uint32_t)(plan->bytes.len - request->at);
    return body->failed || plan->bytes.failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

int bench_plan_of(const struct bench_settings *settings, struct bench_fleet *fleet,
    const struct simdev_network *network, const uint32_t *devices, uint32_t n,
    struct bench_plan *ret)
{
    CLEANUP(bench_network_wipe) struct simdev_network own_network = *network;
    CLEANUP(text_done) struct text body = {.data = NULL};
    int r = 0;

    *ret = (struct bench_plan){
        .requests = calloc(n, sizeof(*ret->requests)), .n = n, .answer_max = BENCH_ANSWER_MAX};
    if (ret->requests == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for %u requests", n);
    for (uint32_t i = 0; r == 0 && i < n; i++) {
        ret->requests[i].device = devices[i];
        r = add_request(settings, fleet, &own_network, &body, ret, &ret->requests[i]);
    }
    return r;
}

int bench_plan_make(const struct bench_settings *settings, struct bench_fleet *fleet, struct db *db,
    const struct simdev_network *network, uint32_t n, struct bench_plan *ret)
{
    CLEANUP(bench_order_done) struct bench_order order = {.devices = NULL};
    CLEANUP(cleanup_free) uint32_t *devices = calloc(n, sizeof(*devices));
    int r = devices != NULL ? bench_order_make(fleet->n, fleet->seed, &order)
                            : error_set(ERROR_SYSTEM, "out of memory for %u requests", n);

    for (uint32_t i = 0; r == 0 && i < n; i++)
        devices[i] = bench_order_next(&order);
    if (r == 0) /* the first round has each device once */
        r = bench_fleet_load(fleet, db, devices, n < fleet->n ? n : fleet->n);
    return r < 0 ? r : bench_plan_of(settings, fleet, network, devices, n, ret);
}

void bench_plan_done(struct bench_plan *plan)
{
    text_done(&plan->bytes);
    free(plan->requests);
    plan->requests = NULL;
}
