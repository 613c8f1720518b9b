#include "activation/dispatch.h"

#include "activation/auth.h"
#include "activation/reply.h"
#include "activation/worker.h"

static long refuse(struct act_service *service, const struct act_route *route,
    struct api_request *request, enum problem problem, const char *detail)
{
    unsigned status = reply_problem(request, problem, detail);

    act_metrics_request(&service->metrics, route, status);
    return -(long)status;
}

static void leave_slot(void *data)
{
    struct act_service *service = data;

    (void)atomic_fetch_sub(&service->n_big_bodies, 1);
}

/* A slot is held until the request has been answered or its connection is gone. */
static bool take_slot(struct act_service *service, struct api_request *request)
{
    if (atomic_fetch_add(&service->n_big_bodies, 1) >= ACT_BIG_BODIES_MAX) {
        leave_slot(service);
        return false;
    }
    api_request_set_data(request, service, leave_slot);
    return true;
}

long act_admit(struct api_request *request, void *context)
{
    struct act_service *service = context;
    const struct act_route *route = NULL;
    char allow[ACT_ALLOW_MAX];

    switch (act_route_find(api_request_method(request), api_request_path(request), &route, allow)) {
    case ROUTE_FOUND:
        break;
    case ROUTE_NO_METHOD:
        api_answer_header(request, "Allow", allow);
        return refuse(service, NULL, request, PROBLEM_METHOD_NOT_ALLOWED, NULL);
    case ROUTE_NO_PATH:
        return refuse(service, NULL, request, PROBLEM_NOT_FOUND, NULL);
    }
    if (act_right_roles(route->right) != ROLES_ANYONE && !act_bears_token(request))
        return refuse(service, route, request, PROBLEM_UNAUTHENTICATED,
            "an access token of POST /v1/token is needed: Authorization: Bearer TOKEN");
    if (route->body_max > ACT_BIG_BODY && !take_slot(service, request))
        return refuse(service, route, request, PROBLEM_UNAVAILABLE,
            "as many files as the service takes at once are being imported");
    return (long)route->body_max;
}

void act_handle(struct api_request *request, void *context)
{
    struct act_service *service = context;
    const struct act_route *route = NULL;

    if (act_route_find(api_request_method(request), api_request_path(request), &route, NULL) !=
        ROUTE_FOUND) {
        (void)refuse(service, NULL, request, PROBLEM_NOT_FOUND, NULL);
        return;
    }
    if (route->answer != NULL) {
        act_metrics_request(&service->metrics, route, route->answer(service, request));
        return;
    }
    if (act_workers_submit(service->workers, request, route) == 0)
        api_defer(request);
    else
        (void)refuse(service, route, request, PROBLEM_UNAVAILABLE, "the queue is full");
}
