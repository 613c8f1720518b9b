#include "activation/public.h"

#include "activation/reply.h"
#include "activation/service.h"
#include "activation/token_grant.h"
#include "base/clock.h"
#include "base/process_metrics.h"
#include "db/metrics.h"
#include <string.h>

static unsigned reply_bytes(
    struct api_request *request, const char *content_type, const char *body, size_t len)
{
    api_answer(request, 200, content_type, body, len);
    return 200;
}

unsigned act_get_health(struct act_service *service, struct api_request *request)
{
    (void)service;
    return reply_bytes(request, TYPE_TEXT, "alive\n", strlen("alive\n"));
}

static bool is_ready(struct act_service *service)
{
    return clock_monotonic_ms() < atomic_load(&service->ready_until_ms);
}

unsigned act_get_ready(struct act_service *service, struct api_request *request)
{
    static const char *const ready[] = {
        "ready\n", "ready; HSM token 1 serves\n", "ready; HSM token 2 serves\n"};
    const char *text = ready[keyd_pool_token(service->pool)];

    if (!is_ready(service))
        return reply_problem(
            request, PROBLEM_UNAVAILABLE, "the database or the key processes are not well");
    return reply_bytes(request, TYPE_TEXT, text, strlen(text));
}

/* In clear alone, to those who run the service: a maker who could read what is counted could learn
 * from it what no answer tells him. */
unsigned act_get_metrics(struct act_service *service, struct api_request *request)
{
    CLEANUP(text_done) struct text body = {0};

    if (!api_request_is_plain(request))
        return reply_problem(request, PROBLEM_NOT_FOUND, "the counters are on the plain listener");
    metric_set(&service->metrics.slow, act_pace_is_slow(&service->pace));
    act_metrics_write(&service->metrics, &body);
    api_server_metrics(service->servers, atomic_load(&service->n_servers), &body);
    keyd_pool_metrics(service->pool, &body);
    db_metrics_write(&body);
    process_metrics_write(&body, is_ready(service));
    return reply_text(request, 200, TYPE_METRICS, &body);
}

unsigned act_get_openapi(struct act_service *service, struct api_request *request)
{
    (void)service;
    return reply_bytes(request, TYPE_JSON, act_openapi_json, act_openapi_json_len);
}

unsigned act_get_exchange_key(struct act_service *service, struct api_request *request)
{
    if (service->exchange_key.len == 0)
        return reply_problem(request, PROBLEM_NOT_FOUND, "no exchange key is published here");
    return reply_bytes(request, TYPE_PEM, service->exchange_key.data, service->exchange_key.len);
}

static const struct act_route routes[] = {
    {.method = API_GET, .path = "/healthz", .right = RIGHT_HEALTH, .answer = act_get_health},
    {.method = API_GET, .path = "/readyz", .right = RIGHT_HEALTH, .answer = act_get_ready},
    {.method = API_GET, .path = "/metrics", .right = RIGHT_METRICS, .answer = act_get_metrics},
    {.method = API_GET,
        .path = "/v1/openapi.json",
        .right = RIGHT_DESCRIPTION,
        .answer = act_get_openapi},
    {.method = API_GET,
        .path = "/v1/exchange-key",
        .right = RIGHT_DESCRIPTION,
        .answer = act_get_exchange_key},
    {.method = API_POST,
        .path = "/v1/token",
        .right = RIGHT_TOKEN,
        .body_max = TOKEN_GRANT_BODY_MAX,
        .work = act_post_token},
};

const struct act_area act_area_public = ACT_AREA(routes);
