/* The paths of the activation service: one table, which also the OpenAPI description is held to. */
#pragma once

#include "activation/rights.h"
#include "api/server.h"

#define ACT_ROUTES_MAX 64

struct act_service;
struct act_worker;
struct act_caller;

/** A handler answers the request and returns the HTTP status it gave. */
typedef unsigned (*act_answer)(struct act_service *service, struct api_request *request);
/** As act_answer, on a worker's thread: it may ask the database and keyd. `caller` is NULL where
 * the route is open to anyone. */
typedef unsigned (*act_work)(
    struct act_worker *worker, struct api_request *request, const struct act_caller *caller);

struct act_route {
    enum api_method method;
    const char *path;
    enum act_right right;
    size_t body_max;   /* bytes; 0: no body */
    act_answer answer; /* on the server's thread: must not block. Exactly one of these two is set */
    act_work work;     /* on a worker's thread */
    bool is_long;      /* may take seconds: never occupies every worker */
};

enum act_route_outcome { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

/** Fills `ret` when found. On ROUTE_NO_METHOD `ret_allow` (may be NULL) gets the methods that the
 * path takes, for the header Allow. */
#define ACT_ALLOW_MAX 64
enum act_route_outcome act_route_find(enum api_method method, const char *path,
    const struct act_route **ret, char ret_allow[ACT_ALLOW_MAX]);

size_t act_route_count(void);
const struct act_route *act_route_at(size_t index);
size_t act_route_index(const struct act_route *route);
const char *act_method_text(enum api_method method);
