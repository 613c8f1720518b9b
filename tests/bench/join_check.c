#include "tests/bench/join_check.h"

#include "base/error.h"
#include "cli/device_json.h"
#include <stdio.h>
#include <string.h>

static bool is_shed(const char *message, size_t len)
{
    static const char status[] = "HTTP/1.1 503 ";

    return len >= sizeof(status) && memcmp(message, status, sizeof(status) - 1) == 0 &&
           memmem(message, len, "\r\nRetry-After:", sizeof("\r\nRetry-After:") - 1) != NULL;
}

/* As its device, network server and application server would: header, result, MIC, JoinNonce above
 * the device's last one, fields as asked for, every key the device's own. */
int bench_join_check(
    void *context, uint32_t index, const char *message, size_t len, char why[static BENCH_WHY_MAX])
{
    const struct bench_joined *joined = context;
    const struct bench_request *request = &joined->plan->requests[index];
    CLEANUP(bench_device_wipe) struct simdev device;
    CLEANUP(simdev_result_wipe) struct simdev_result result = {.opened = false};
    struct simdev_answer answer;
    const char *body = bench_http_body(message, len, why);

    if (body == NULL)
        return is_shed(message, len) ? BENCH_SHED : BENCH_WRONG;
    size_t body_len = len - (size_t)(body - message);
    bench_device_make(joined->fleet, request->device, &device);
    bench_network_for(joined->network, joined->fleet, request->device);
    device.last_join_nonce = joined->fleet->memory[request->device].join_nonce;
    if (simdev_answer_parse(body, body_len, &device, joined->network, index, &answer) < 0) {
        (void)snprintf(why, BENCH_WHY_MAX, "%.200s", error_text());
        return BENCH_WRONG;
    }
    if (strcmp(answer.result_code, "Success") != 0) {
        (void)snprintf(why, BENCH_WHY_MAX, "%s: %s", answer.result_code, answer.description);
        return strcmp(answer.result_code, "Other") == 0 ? BENCH_LATE : BENCH_WRONG;
    }
    int r = simdev_answer_check(&device, joined->network, request->dev_nonce, &answer, &result);
    if (r < 0)
        return r;
    if (r > 0) {
        (void)snprintf(why, BENCH_WHY_MAX, "%s", simdev_verdict_text((enum simdev_verdict)r));
        return BENCH_WRONG;
    }
    joined->fleet->memory[request->device].join_nonce = result.accept.join_nonce;
    return 0;
}
