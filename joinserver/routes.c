#include "joinserver/routes.h"

#include "api/json.h"
#include "api/problem.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/process_metrics.h"
#include "db/metrics.h"
#include <string.h>

#define BASIC_MAX 160
#define HTTPS "https://"
#define NOTIFICATION_LOG_MS 1000 /* between two lines about ErrorNotif */

static void answer_plain(struct api_request *request, unsigned status, const char *body)
{
    api_answer(request, status, "text/plain; charset=utf-8", body, strlen(body));
}

static void handle_healthz(struct api_request *request, struct join_routes *routes)
{
    (void)routes;
    answer_plain(request, 200, "ok\n");
}

static void handle_readyz(struct api_request *request, struct join_routes *routes)
{
    static const char *const ready[] = {
        "ready\n", "ready; HSM token 1 serves\n", "ready; HSM token 2 serves\n"};

    if (atomic_load(&routes->ready))
        answer_plain(request, 200, ready[keyd_pool_token(routes->keyd)]);
    else
        answer_plain(request, 503, "not ready: the database or the key process is away\n");
}

static void handle_metrics(struct api_request *request, struct join_routes *routes)
{
    const struct join_directory *directory = join_directory_acquire(routes->shared->directory);
    struct text out = {0};

    join_metrics_write(routes->shared->metrics, &out);
    text_addf(&out,
        "# HELP cradle_join_queue Requests that wait for a worker now.\n"
        "# TYPE cradle_join_queue gauge\ncradle_join_queue %u\n",
        join_queue_waiting(routes->shared->queue));
    join_deliveries_metrics(routes->shared->deliveries, &out);
    join_forwards_metrics(routes->shared->forwards, directory, &out);
    join_directory_release(routes->shared->directory, directory);
    join_dns_metrics(routes->shared->dns, &out);
    keyd_pool_metrics(routes->keyd, &out);
    api_server_metrics(routes->shared->servers, atomic_load(&routes->shared->n_servers), &out);
    db_metrics_write(&out);
    process_metrics_write(&out, atomic_load(&routes->ready));
    api_answer_text(request, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

static const struct {
    const char *path;
    void (*handle)(struct api_request *request, struct join_routes *routes);
    bool plain_only; /* names peers: not for whoever can reach a TLS listener */
} own_pages[] = {
    {"/healthz", handle_healthz, false},
    {"/readyz", handle_readyz, false},
    {"/metrics", handle_metrics, true},
};

static int own_page(const struct api_request *request)
{
    for (size_t i = 0; i < sizeof(own_pages) / sizeof(own_pages[0]); i++)
        if (strcmp(api_request_path(request), own_pages[i].path) == 0 &&
            (!own_pages[i].plain_only || api_request_is_plain(request)))
            return (int)i;
    return -1;
}

/* The peer of the certificate; on listeners without one, of the bearer token, or of a Basic
 * password that is the token (the user name says nothing: SenderID does). Valid while the directory
 * is held.
 */
static const struct db_peer *identify(
    const struct api_request *request, const struct join_directory *directory)
{
    const char *san = api_request_peer_san(request);
    const char *bearer = api_request_bearer(request);
    char user[BASIC_MAX], password[BASIC_MAX];
    const struct db_peer *peer = NULL;

    if (san != NULL) { /* a token is ignored then */
        peer = join_directory_peer_of_san(directory, san);
        return peer != NULL && join_directory_may_ask(peer) ? peer : NULL;
    }
    if (bearer != NULL)
        return join_directory_peer(directory, bearer);
    if (api_request_basic(request, user, sizeof(user), password, sizeof(password)))
        peer = join_directory_peer(directory, password);
    secret_wipe(password, sizeof(password));
    return peer;
}

/* An asynchronous partner, which posts its answers here: known as peers are, and nobody's peer. */
static const struct db_partner *identify_partner(
    const struct api_request *request, const struct join_directory *directory)
{
    const char *san = api_request_peer_san(request);
    const char *bearer = api_request_bearer(request);

    if (san != NULL)
        return join_directory_partner_of_san(directory, san);
    return bearer != NULL ? join_directory_partner_of_token(directory, bearer) : NULL;
}

/* Peers and partners are numbered each for themselves. */
static int64_t claimant(const struct db_peer *peer, const struct db_partner *partner)
{
    return peer != NULL ? peer->id : -partner->id;
}

/* More is asked of us than can be answered in time. That must cost little, so it is said as early
 * as can be: mostly before the body, and without it. */
static void shed(struct api_request *request, struct join_routes *routes)
{
    metric_add(&routes->shared->metrics->shed, 1);
    api_problem(request, PROBLEM_UNAVAILABLE, "too many requests are waiting");
}

long join_routes_admit(struct api_request *request, void *context)
{
    struct join_routes *routes = context;
    const struct join_directory *directory;
    const struct db_peer *peer;
    const struct db_partner *partner = NULL;
    long r = API_BODY_MAX_DEFAULT;

    if (api_request_method(request) == API_GET)
        return own_page(request) >= 0 ? 0 : -404;
    if (api_request_method(request) != API_POST)
        return -405;
    directory = join_directory_acquire(routes->shared->directory);
    peer = directory != NULL ? identify(request, directory) : NULL;
    if (peer == NULL && directory != NULL)
        partner = identify_partner(request, directory);
    if (peer == NULL && partner == NULL) {
        r = -401;
    } else if (!api_request_claim_peer(request, claimant(peer, partner))) {
        r = -503;
        api_problem(request, PROBLEM_UNAVAILABLE, "this peer has too many connections open");
    } else if (peer != NULL && atomic_load(&routes->draining)) {
        r = -503;
        api_problem(request, PROBLEM_UNAVAILABLE, "the join server is stopping");
    } else if (peer != NULL && !join_queue_has_place(routes->shared->queue, peer->id)) {
        r = API_BODY_DROP;
        shed(request, routes);
    }
    join_directory_release(routes->shared->directory, directory);
    return r;
}

/* What the certificate of a peer or a partner is checked against. */
static bool trust_of(const struct join_directory *directory, const char *san,
    const char **ret_anchor, const char **ret_crl)
{
    const struct db_peer *peer = join_directory_peer_of_san(directory, san);
    const struct db_partner *partner =
        peer == NULL ? join_directory_partner_of_san(directory, san) : NULL;

    if (peer == NULL && partner == NULL)
        return false;
    *ret_anchor = peer != NULL ? peer->trust_anchor : partner->trust_anchor;
    *ret_crl = peer != NULL ? peer->crl : partner->crl;
    return *ret_anchor != NULL;
}

bool join_routes_find_trust(const char *san, void *context, struct api_trust *ret)
{
    struct join_routes *routes = context;
    const struct join_directory *directory = join_directory_acquire(routes->shared->directory);
    const char *anchor = NULL, *crl = NULL;
    bool found = directory != NULL && trust_of(directory, san, &anchor, &crl);

    /* Without memory for them the anchors are missing, and nothing is trusted. */
    if (found && crl != NULL)
        ret->crls = strdup(crl);
    if (found && (crl == NULL || ret->crls != NULL))
        ret->anchors = strdup(anchor);
    join_directory_release(routes->shared->directory, directory);
    return found;
}

uint64_t join_routes_trust_version(void *context)
{
    struct join_routes *routes = context;

    return join_directory_version(routes->shared->directory);
}

/* The answer is, or will be, a request of its own: whoever sent this one overlooks the body. */
static void acknowledge(struct api_request *request)
{
    api_answer(request, 200, NULL, NULL, 0);
}

static void refuse(struct api_request *request, struct join_routes *routes, struct join_work *work,
    enum join_result result, const char *description)
{
    struct text out = {0};

    ts002_write_refusal(&out, &work->request, result, description);
    join_metrics_count(routes->shared->metrics, work->message, work->counts, result);
    if (work->delivery == NULL) {
        api_answer_text(request, 200, "application/json", &out);
        return;
    }
    join_delivery_send(work->delivery, &out);
    text_done(&out);
    acknowledge(request);
}

/* A place for the answer of a peer that is answered at its URL. Without one the request is refused
 * while nothing is lost: before its join is decided. */
static bool take_delivery(struct api_request *request, struct join_routes *routes,
    const struct db_peer *peer, struct join_work *work)
{
    if (peer->answer_url[0] == '\0')
        return true;
    switch (join_delivery_take(
        routes->shared->deliveries, peer, api_request_started_us(request), &work->delivery)) {
    case JOIN_DELIVERY_TAKEN:
        return true;
    case JOIN_DELIVERY_FULL:
        api_problem(request, PROBLEM_UNAVAILABLE, "too many answers are waiting");
        return false;
    case JOIN_DELIVERY_UNUSABLE:
        break;
    }
    api_problem(request, PROBLEM_UNAVAILABLE,
        "the join server cannot use your answer URL, or its own credential for it");
    return false;
}

/* Who asks what: an application server is known by its AS-ID, a network server by its NetIDs, and
 * by its NSIDs where it has some and names one. */
static bool may_ask(const struct db_peer *peer, const struct join_message *message,
    const struct ts002_request *request)
{
    if (message != NULL && message->by_application_server)
        return peer->kind == PEER_APPLICATION_SERVER && strcmp(peer->name, request->sender_id) == 0;
    return join_directory_may_speak(peer, &request->sender) &&
           (!request->has_sender_ns_id ||
               join_directory_may_speak_as(peer, &request->sender_ns_id));
}

/* A notification has no answer, whatever it holds; what it holds is not repeated in the log, nor
 * is it told more often than a person can read. Whose it says to be and is not is nobody's word. */
static void take_notification(struct api_request *request, struct join_routes *routes,
    const struct db_peer *peer, const struct join_work *work)
{
    int64_t now_ms = clock_monotonic_ms();
    int64_t told_ms = atomic_load(&routes->notified_ms);

    if (may_ask(peer, work->message, &work->request)) {
        metric_add(&routes->shared->metrics->notifications, 1);
        if ((told_ms == 0 || now_ms - told_ms >= NOTIFICATION_LOG_MS) &&
            atomic_compare_exchange_strong(&routes->notified_ms, &told_ms, now_ms))
            log_info("a network server reports an error peer=%lld type=%s request=%s",
                (long long)peer->id, work->request.message_type, api_request_id(request));
    }
    acknowledge(request);
}

/* A session key that leaves in clear must have TLS around it all the way to the peer. */
static bool is_answered_privately(const struct db_peer *peer)
{
    return peer->answer_url[0] == '\0' || strncmp(peer->answer_url, HTTPS, sizeof(HTTPS) - 1) == 0;
}

static struct join_terms terms_of(const struct api_request *request, const struct db_peer *peer,
    const struct ts002_request *message)
{
    return (struct join_terms){
        .mutual_tls = api_request_peer_san(request) != NULL,
        .tls_to_the_end = is_answered_privately(peer),
        .ns_id_is_its_own =
            message->has_sender_ns_id && db_peer_has_ns_id(peer, &message->sender_ns_id),
        .allow_plain_keys = peer->allow_plain_keys,
        .app_s_key_plain = peer->app_s_key_plain,
        .session_key_id_omit = peer->session_key_id_omit,
    };
}

/* What a refusal tells of the request, and of what its device's owner may hear. */
static void record_refused(struct join_routes *routes, struct join_work *work,
    const struct db_join_route *route, enum join_result result, const char *description)
{
    const bool by_route = route != NULL && route->kind == DB_ROUTE_REFUSE;
    char unused[TS002_DESCRIPTION_MAX];

    if (result == JOIN_UNKNOWN_RECEIVER) {
        /* Not checked yet: for what is recorded of the frame. */
        (void)join_message_check(work->message, &work->request, unused);
        description =
            device_refusal_reason(by_route ? REFUSAL_ROUTE_REFUSES : REFUSAL_JOIN_EUI_NOT_ROUTED);
    }
    if (result == JOIN_SLOWED)
        description = device_refusal_reason(REFUSAL_SLOWED);
    if (result == JOIN_UNKNOWN_RECEIVER || result == JOIN_MALFORMED || result == JOIN_FRAME_SIZE ||
        result == JOIN_SLOWED)
        join_record_unloaded(routes->shared, work, result, description);
}

/* The refusals of what is not even tried to be carried. */
static const struct {
    enum join_result result;
    const char *description;
} not_taken[N_JOIN_FORWARD_TAKES] = {
    [JOIN_FORWARD_LOOP] = {JOIN_UNKNOWN_RECEIVER,
        "the request has been here before: join servers send requests of this JoinEUI round"},
    [JOIN_FORWARD_TOO_FAR] = {JOIN_UNKNOWN_RECEIVER,
        "the request has passed too many join servers"},
    [JOIN_FORWARD_FULL] = {JOIN_UNAVAILABLE, "too many requests are on their way; try again"},
    [JOIN_FORWARD_INTERNAL] = {JOIN_UNAVAILABLE, NULL},
};

/* Whether a request goes the way of this route. A frame that names another JoinEUI than ReceiverID
 * does so only where that one goes the same way. */
static bool goes_along(const struct join_directory *directory, const struct join_message *message,
    const struct ts002_request *request, const struct db_join_route *route)
{
    const struct db_partner *partner = join_directory_partner(directory, route->partner_id);
    const struct db_join_route *other;

    if (route->kind == DB_ROUTE_PARTNER &&
        (partner == NULL ||
            (!message->by_application_server && !db_partner_takes(partner, &request->sender))))
        return false;
    if (!message->activates)
        return true;
    if (route->kind == DB_ROUTE_DNS) /* each JoinEUI has a server of its own */
        return eui64_to_u64(&request->frame_join_eui) == eui64_to_u64(&request->receiver);
    other = join_directory_route(directory, &request->frame_join_eui);
    return other != NULL && other->kind == route->kind && other->partner_id == route->partner_id;
}

/* Whether a request that ReceiverID brings to us is for us. A frame whose own JoinEUI goes
 * elsewhere is not; and that one says whether JoinEUIs are compared: whoever asks may choose the
 * ReceiverID, and not the frame. */
static bool stays_here(const struct join_directory *directory, const struct join_message *message,
    struct ts002_request *request)
{
    const struct db_join_route *route;

    if (!message->activates)
        return true;
    route = join_directory_route(directory, &request->frame_join_eui);
    request->any_join_eui = route != NULL && route->kind == DB_ROUTE_LOCAL_ANY;
    return route == NULL || db_route_is_local(route);
}

/* What stands against a request whose sender may say it. */
static enum join_result check(const struct join_directory *directory, struct join_work *work,
    const struct db_join_route *route, char description[static TS002_DESCRIPTION_MAX])
{
    enum join_result result;
    bool fits;

    if (route == NULL || route->kind == DB_ROUTE_REFUSE)
        return JOIN_UNKNOWN_RECEIVER;
    result = join_message_check(work->message, &work->request, description);
    if (result != JOIN_SUCCESS)
        return result;
    fits = db_route_is_local(route) ? stays_here(directory, work->message, &work->request)
                                    : goes_along(directory, work->message, &work->request, route);
    return fits ? JOIN_SUCCESS : JOIN_UNKNOWN_RECEIVER;
}

static void send_along(struct join_routes *routes, const struct join_directory *directory,
    const struct db_join_route *route, struct join_forward *forward)
{
    struct join_target target;

    if (route->kind == DB_ROUTE_DNS) {
        join_dns_send(routes->shared->dns, forward);
        return;
    }
    target = join_target_of(join_directory_partner(directory, route->partner_id));
    join_forward_send(forward, &target);
}

/* The work is not needed any more: what is on its way has a place of its own, and takes none of
 * those of local joins. */
static void carry(struct api_request *request, struct join_routes *routes,
    const struct join_directory *directory, const struct db_join_route *route,
    struct join_work *work)
{
    struct join_forward *forward = NULL;
    enum join_forward_take taken =
        join_forward_take(routes->shared->forwards, request, work, route, &forward);

    if (taken != JOIN_FORWARD_TAKEN) {
        refuse(request, routes, work, not_taken[taken].result, not_taken[taken].description);
        return;
    }
    if (work->delivery != NULL)
        acknowledge(request);
    else
        api_defer(request);
    send_along(routes, directory, route, forward);
}

/* Reads, checks who may say it and queues; `work` is taken over when it was queued. */
static bool take_message(struct api_request *request, struct join_routes *routes,
    const struct db_peer *peer, const struct join_directory *directory, struct join_work *work)
{
    char description[TS002_DESCRIPTION_MAX] = "";
    struct ts002_request *message = &work->request;
    enum join_result result = JOIN_SUCCESS;
    enum ts002_outcome outcome;
    const struct db_join_route *route;
    bool is_delivered;
    size_t len;
    const char *body = api_request_body(request, &len);

    outcome = ts002_read(body, len, message, &result, description);
    if (outcome == TS002_NOT_JSON) {
        api_problem(request, json_memory_ran_out() ? PROBLEM_UNAVAILABLE : PROBLEM_BAD_REQUEST,
            description);
        return false;
    }
    work->message = join_message_find(message);
    work->counts = join_metrics_peer(routes->shared->metrics, peer);
    if (work->message != NULL && work->message->notifies && peer->kind == PEER_NETWORK_SERVER) {
        take_notification(request, routes, peer, work);
        return false;
    }
    if (!take_delivery(request, routes, peer, work))
        return false;
    if (outcome == TS002_REFUSED) {
        refuse(request, routes, work, result, description);
        return false;
    }
    join_forwards_note(routes->shared->forwards, request, message, peer->id);
    route = join_directory_route(directory, &message->receiver);
    if (!may_ask(peer, work->message, message))
        result = JOIN_UNKNOWN_SENDER;
    else
        result = check(directory, work, route, description);
    if (result == JOIN_SUCCESS && db_route_is_local(route) && work->message->activates) {
        join_fingerprint(peer->id, message, work->fingerprint);
        if (loop_limit_is_reached(&routes->shared->loop_limit, &message->dev_eui, peer->id,
                work->fingerprint, clock_monotonic_ms()))
            result = JOIN_SLOWED;
    }
    if (result != JOIN_SUCCESS) {
        record_refused(routes, work, route, result, description);
        refuse(request, routes, work, result, description[0] != '\0' ? description : NULL);
        return false;
    }
    work->terms = terms_of(request, peer, message);
    if (!db_route_is_local(route)) {
        carry(request, routes, directory, route, work);
        return false;
    }
    is_delivered = work->delivery != NULL;
    work->http = is_delivered ? NULL : request;
    work->started_us = api_request_started_us(request);
    work->deadline_ms = work->started_us / 1000 + JOIN_DEADLINE_MS;
    if (!join_queue_put(routes->shared->queue, work)) {
        if (is_delivered)
            join_delivery_give(work->delivery);
        api_problem(request, PROBLEM_UNAVAILABLE, "the join server is stopping");
        return false;
    }
    if (is_delivered)
        acknowledge(request);
    else
        api_defer(request);
    return true;
}

/* Nobody is told whether something waited for it. */
static void take_partners_answer(
    struct api_request *request, struct join_routes *routes, const struct db_partner *partner)
{
    size_t len;
    const char *body = api_request_body(request, &len);

    (void)join_forwards_answered(routes->shared->forwards, partner->id, body, len);
    acknowledge(request);
}

static void handle_message(struct api_request *request, struct join_routes *routes)
{
    const struct join_directory *directory = join_directory_acquire(routes->shared->directory);
    const struct db_peer *peer = directory != NULL ? identify(request, directory) : NULL;
    const struct db_partner *partner =
        peer == NULL && directory != NULL ? identify_partner(request, directory) : NULL;
    struct join_work *work = NULL;

    if (partner != NULL) {
        take_partners_answer(request, routes, partner);
    } else if (peer == NULL) { /* revoked between header and body */
        api_problem(request, PROBLEM_UNAUTHENTICATED, "no peer has this token or certificate");
    } else if ((work = join_work_take(routes->shared->queue, peer->id)) == NULL) {
        shed(request, routes); /* the last place went while the body arrived */
    } else if (!take_message(request, routes, peer, directory, work)) {
        join_work_give(routes->shared->queue, &work, 1);
    }
    join_directory_release(routes->shared->directory, directory);
}

void join_routes_handle(struct api_request *request, void *context)
{
    struct join_routes *routes = context;
    int page = api_request_method(request) == API_GET ? own_page(request) : -1;

    if (page >= 0) {
        /* It was asked for by nobody in particular: its connection counts for no peer. */
        if (!api_request_is_plain(request))
            api_answer_header(request, "Connection", "close");
        own_pages[page].handle(request, routes);
    } else {
        handle_message(request, routes);
    }
}
