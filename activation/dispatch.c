#include "activation/dispatch.h"

#include "activation/auth.h"
#include "activation/reply.h"
#include "activation/worker.h"
#include "api/stream.h"
#include "base/error.h"
#include "base/log.h"
#include <stdlib.h>

static long refuse(struct act_service *service, const struct act_route *route,
    struct api_request *request, enum problem problem, const char *detail)
{
    unsigned status = route != NULL && route->by_certificate
                          ? reply_message(request, problem, detail)
                          : reply_problem(request, problem, detail);

    act_metrics_request(&service->metrics, route, status);
    return -(long)status;
}

/* A slot is held until the request has been answered or its connection is gone. */
static bool take_slot(
    struct act_body_slots *slots, struct api_request *request, int64_t organization_id)
{
    struct act_body_slot *slot = act_body_slot_take(slots, organization_id);

    if (slot == NULL)
        return false;
    api_request_set_data(request, slot, act_body_slot_leave);
    return true;
}

/* How long the body may be: what a request of a route with big bodies says to be small is held to
 * that. */
static size_t body_max(const struct act_route *route, const struct api_request *request)
{
    const char *length = api_request_header(request, "Content-Length");

    if (length != NULL && route->body_max > ACT_BIG_BODY &&
        strtoull(length, NULL, 10) <= ACT_BIG_BODY)
        return ACT_BIG_BODY;
    return route->body_max;
}

/* Of what it says itself: who says nothing is cut off by the server, in its own words. */
static bool is_longer(const struct api_request *request, size_t max)
{
    const char *length = api_request_header(request, "Content-Length");

    return length != NULL && strtoull(length, NULL, 10) > max;
}

long act_admit(struct api_request *request, void *context)
{
    struct act_service *service = context;
    const struct act_route *route = NULL;
    enum act_bearing bearing = BEARS_NONE;
    int64_t organization_id = 0;
    struct act_params params;
    char allow[ACT_ALLOW_MAX];
    size_t len_max;

    switch (act_route_find(
        api_request_method(request), api_request_path(request), &route, &params, allow)) {
    case ROUTE_FOUND:
        break;
    case ROUTE_NO_METHOD:
        api_answer_header(request, "Allow", allow);
        return refuse(service, NULL, request, PROBLEM_METHOD_NOT_ALLOWED, NULL);
    case ROUTE_NO_PATH:
        return refuse(service, NULL, request, PROBLEM_NOT_FOUND, NULL);
    }
    if (route->by_certificate && !api_request_has_certificate(request))
        return refuse(service, route, request, PROBLEM_UNAUTHENTICATED, ACT_CERTIFICATE_NEEDED);
    if (route->by_certificate && is_longer(request, route->body_max))
        return refuse(service, route, request, PROBLEM_BODY_TOO_LARGE, NULL);
    if (!route->by_certificate && act_right_roles(route->right) != ROLES_ANYONE) {
        bearing = act_bears_token(service, request, &organization_id);
        if (bearing == BEARS_NONE)
            return refuse(service, route, request, PROBLEM_UNAUTHENTICATED,
                "an access token of POST /v1/token is needed: Authorization: Bearer TOKEN");
        if (bearing == BEARS_STALE)
            return refuse(service, route, request, PROBLEM_UNAUTHENTICATED, ACT_TOKEN_NOT_VALID);
    }
    len_max = body_max(route, request);
    if (route->streams == STREAMS_EVENTS) {
        if (!take_slot(&service->watches, request, organization_id))
            return refuse(service, route, request, PROBLEM_UNAVAILABLE,
                "as many clients as the service has room for are watching jobs");
    } else if ((route->streams != STREAMS_NOT || len_max > ACT_BIG_BODY) &&
               !take_slot(&service->bodies, request, organization_id))
        return refuse(service, route, request, PROBLEM_UNAVAILABLE,
            bearing == BEARS_KNOWN
                ? "as many big bodies as the service takes and gives at once are under way"
                : "as many big bodies as are taken and given with tokens not seen before are under "
                  "way; one that POST /v1/token gives now is known here");
    return route->streams == STREAMS_BOTH ? API_BODY_STREAM : (long)len_max;
}

static void submit_stream(
    struct act_service *service, const struct act_route *route, struct api_request *request)
{
    struct api_stream *stream = NULL;

    if (api_stream_begin(request, &stream) < 0) {
        log_error("no stream: %s", error_text());
        (void)refuse(service, route, request, PROBLEM_UNAVAILABLE, NULL);
    } else if (act_workers_submit(service->workers, NULL, stream, route) != 0) {
        act_metrics_request(&service->metrics, route, api_problem_status(PROBLEM_UNAVAILABLE));
        (void)api_stream_problem(stream, PROBLEM_UNAVAILABLE, "the queue is full");
        api_stream_end(stream, true);
    }
}

void act_handle(struct api_request *request, void *context)
{
    struct act_service *service = context;
    const struct act_route *route = NULL;
    struct act_params params;

    if (act_route_find(api_request_method(request), api_request_path(request), &route, &params,
            NULL) != ROUTE_FOUND) {
        (void)refuse(service, NULL, request, PROBLEM_NOT_FOUND, NULL);
        return;
    }
    if (route->answer != NULL) {
        act_metrics_request(&service->metrics, route, route->answer(service, request));
        return;
    }
    if (route->streams != STREAMS_NOT)
        submit_stream(service, route, request);
    else if (act_workers_submit(service->workers, request, NULL, route) == 0)
        api_defer(request);
    else
        (void)refuse(service, route, request, PROBLEM_UNAVAILABLE, "the queue is full");
}
