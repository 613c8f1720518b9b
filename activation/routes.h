/* The paths of the activation service: tables of routes, one an area, which also the OpenAPI
 * description is held to. */
#pragma once

#include "activation/rights.h"
#include "api/server.h"

#define ACT_ROUTES_MAX 160
#define ACT_PARAMS_MAX 3  /* of one path */
#define ACT_PARAM_MAX 480 /* characters of one, decoded: a list of DevEUIs, too */

struct act_service;
struct act_call;

/** A handler answers the request and returns the HTTP status it gave. */
typedef unsigned (*act_answer)(struct act_service *service, struct api_request *request);
/** On a worker's thread: it may ask the database and keyd. It sets the call's answer
 * (activation/call.h) and returns its status. */
typedef unsigned (*act_work)(struct act_call *call);
/** The same of up to ACT_TOGETHER_MAX calls that waited at once, by whomever each. It answers those
 * that it can answer together; what it leaves without an answer is a call as any other then, and
 * goes to the route's `work`. */
typedef void (*act_work_together)(struct act_call *const *calls, size_t n);

/** What goes through api/stream.h, so that it may have any size or take any time. Such a route
 * takes a body slot; one of events, which may last, another place (activation/body_slots.h). */
enum act_streams { STREAMS_NOT, STREAMS_ANSWER, STREAMS_BOTH, STREAMS_EVENTS };

struct act_route {
    enum api_method method;
    const char *path; /* segments in braces are parameters: "/v1/organizations/{organization}" */
    enum act_right right;
    size_t body_max;   /* bytes; 0: no body, or STREAMS_BOTH */
    act_answer answer; /* on the server's thread: must not block. Exactly one of these two is set */
    act_work work;     /* on a worker's thread */
    /* Besides `work`, for calls with small bodies; NULL: each by itself. Only of a path without
     * parameters, and not with `changes`, `is_long`, `streams` or `by_certificate`. */
    act_work_together work_together;
    bool changes;             /* it is one transaction, and honours Idempotency-Key */
    const char *query;        /* with `changes`: the one parameter its query may have; NULL: none */
    bool is_long;             /* may take seconds: never occupies every worker */
    enum act_streams streams; /* only with `work`, and not with `changes` */
    /* Of the claim API of The Things Join Server: the caller is an application server, known by its
     * certificate, and knows {"message"} in the place of a problem document. */
    bool by_certificate;
};

/** The routes of one area. */
struct act_area {
    const struct act_route *routes;
    size_t n_routes;
};
#define ACT_AREA(table)                                                                            \
    {                                                                                              \
        table, sizeof(table) / sizeof((table)[0])                                                  \
    }
extern const struct act_area act_area_public, act_area_accounts, act_area_audit, act_area_imports,
    act_area_jobs, act_area_batches, act_area_claims, act_area_codes, act_area_devices,
    act_area_device_moves, act_area_offers, act_area_replace, act_area_claim_rules, act_area_trust,
    act_area_ttjs, act_area_exports, act_area_peers, act_area_keks, act_area_join_routes,
    act_area_partners, act_area_certificates, act_area_eui_blocks, act_area_orders,
    act_area_webhooks, act_area_moves, act_area_subscriptions, act_area_signals,
    act_area_test_windows, act_area_delivery, act_area_id_pac, act_area_agreements,
    act_area_roaming_refusals;

/** What stands in the places of a path's parameters, in their order. */
struct act_params {
    size_t n;
    char values[ACT_PARAMS_MAX][ACT_PARAM_MAX + 1];
};

enum act_route_outcome { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

/** Fills `ret` and `ret_params` when found; a path with fewer parameters hides one with more,
 * whatever the method. On ROUTE_NO_METHOD `ret_allow` (may be NULL) gets the methods that the path
 * takes, for the header Allow. */
#define ACT_ALLOW_MAX 64
enum act_route_outcome act_route_find(enum api_method method, const char *path,
    const struct act_route **ret, struct act_params *ret_params, char ret_allow[ACT_ALLOW_MAX]);

size_t act_route_count(void);
const struct act_route *act_route_at(size_t index);
size_t act_route_index(const struct act_route *route);
const char *act_method_text(enum api_method method);
