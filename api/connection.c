/* How many connections there are, how long each may live, and which are cut. */
#include "api/internal.h"

#include "api/problem.h"
#include "base/clock.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define OVER_LIMIT_MS 2000   /* for the first request of a connection without a slot */
#define CROWDED_EIGHTHS 7    /* so many eighths of max_connections taken: idle ones have to go */
#define CROWDED_IDLE_MS 2000 /* idle connections live so long then */

static bool crowded(const struct api_server *server)
{
    return (uint64_t)server->n_slots * 8 >=
           (uint64_t)server->config.max_connections * CROWDED_EIGHTHS;
}

/* When a connection is to be looked at. An idle one's turn depends on how many others there are. */
static int64_t due_ms(const struct api_connection *c)
{
    int64_t crowded_ms = c->idle_ms + CROWDED_IDLE_MS;

    if (c->cut)
        return API_DEADLINE_NONE;
    if (c->request.state != REQUEST_NONE || !c->slot || !crowded(c->server))
        return c->deadline_ms;
    return crowded_ms < c->deadline_ms ? crowded_ms : c->deadline_ms;
}

static void look_not_after(struct api_server *server, int64_t ms)
{
    if (ms < server->earliest_ms)
        server->earliest_ms = ms;
}

void connection_arm(struct api_connection *c, int64_t deadline_ms)
{
    c->deadline_ms = deadline_ms;
    look_not_after(c->server, due_ms(c));
}

static bool enter_reserve(struct api_connection *c)
{
    c->reserved = c->server->n_reserved < API_OVER_ADDRESS_RESERVE;
    if (c->reserved)
        c->server->n_reserved++;
    return c->reserved;
}

static void leave_reserve(struct api_connection *c)
{
    if (c->reserved)
        c->server->n_reserved--;
    c->reserved = false;
}

bool connection_take_slot(struct api_connection *c)
{
    struct api_server *server = c->server;
    bool was_crowded = crowded(server);

    if (c->slot)
        return true;
    /* The address first: whoever has all of his own is told so, and takes none of the reserve that
     * is for the others, also when all are taken. */
    if (!tally_take(&server->addresses, c->address, server->config.connections_per_address)) {
        c->over = METRIC_OVER_ADDRESS;
        return false;
    }
    if (server->n_slots >= server->config.max_connections) {
        tally_give(&server->addresses, c->address);
        c->over = METRIC_OVER_LIMIT;
        return false;
    }
    leave_reserve(c);
    c->slot = true;
    server->n_slots++;
    if (!was_crowded && crowded(server))
        server->earliest_ms = 0; /* the turn of every idle connection has changed */
    return true;
}

bool connection_claim_peer(struct api_connection *c, int64_t peer_id)
{
    struct api_server *server = c->server;
    uint64_t peer = (uint64_t)peer_id;

    assert(c->slot); /* a request without one is refused before anybody may claim */
    if (c->claimed && c->peer == peer)
        return true;
    if (!tally_take(&server->peers, peer, server->config.connections_per_peer))
        return false;
    if (c->claimed)
        tally_give(&server->peers, c->peer);
    c->claimed = true;
    c->peer = peer;
    return true;
}

/* Everything that it counts for. */
static void release(struct api_connection *c)
{
    if (c->slot) {
        c->server->n_slots--;
        tally_give(&c->server->addresses, c->address);
    }
    if (c->claimed)
        tally_give(&c->server->peers, c->peer);
    c->slot = c->claimed = false;
    leave_reserve(c);
}

struct api_connection *connection_open(
    struct api_server *server, int fd, const struct sockaddr *address)
{
    struct api_connection *c = calloc(1, sizeof(*c));
    int64_t now_ms = clock_monotonic_ms();
    int64_t patience_ms = server->config.request_deadline_ms;

    if (c == NULL)
        return NULL;
    c->server = server;
    c->fd = fd;
    c->address = tally_key_of_address(address);
    c->idle_ms = now_ms;
    c->request.server = server;
    c->request.connection = c;
    c->next = server->connections;
    if (c->next != NULL)
        c->next->prev = c;
    server->connections = c;
    metric_add(&server->metrics[METRIC_CONNECTIONS], 1);
    if (!connection_take_slot(c) && patience_ms > OVER_LIMIT_MS)
        patience_ms = OVER_LIMIT_MS;
    connection_arm(c, now_ms + patience_ms);
    if (!c->slot && c->over == METRIC_OVER_ADDRESS && !enter_reserve(c)) {
        metric_add(&server->metrics[METRIC_OVER_ADDRESS], 1);
        connection_refuse(c);
    }
    return c;
}

void connection_close(struct api_connection *c)
{
    struct api_server *server = c->server;

    if (c->linger)
        linger_add(&server->linger, c->fd, clock_monotonic_ms());
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        server->connections = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    release(c);
    tls_session_close(c);
    metric_add(&server->metrics[METRIC_CONNECTIONS], -1);
    request_done(&c->request);
    free(c);
}

void connection_idle(struct api_connection *c)
{
    const struct api_server_config *config = &c->server->config;

    c->idle_ms = clock_monotonic_ms();
    c->used = true;
    connection_arm(c, c->idle_ms + (int64_t)config->idle_timeout_s * 1000);
}

void connection_give_up(struct api_connection *c, int64_t now_ms)
{
    if (c->tls.gnutls != NULL)
        tls_session_say_end(c);
    (void)shutdown(c->fd, SHUT_WR);
    c->linger = true;
    if (c->request.state != REQUEST_STREAM)
        c->server->n_handling++;
    c->request.state = REQUEST_GIVEN_UP;
    request_settled(&c->request);
    connection_arm(c, now_ms + LINGER_TIME_MS);
}

static bool silent(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* A request that came since the library last read is not lost with a connection that has waited for
 * one too long: the library's next run takes it. */
static bool has_come(struct api_connection *c, int64_t now_ms)
{
    bool early = now_ms < c->deadline_ms;

    if (c->request.state != REQUEST_NONE || (c->last_look && !early) || silent(c->fd))
        return false;
    c->last_look = !early;
    return true;
}

void connection_refuse(struct api_connection *c)
{
    c->cut = true;
    release(c);
    (void)shutdown(c->fd, SHUT_RDWR);
}

/* A socket that is shut down makes the library close the connection in its next run. */
static void cut(struct api_connection *c, int64_t now_ms)
{
    enum request_state state = c->request.state;
    enum api_metric metric = METRIC_TOO_SLOW;
    bool counts = true;

    if (has_come(c, now_ms))
        return;
    if (state == REQUEST_BODY && c->server->quiesced) {
        answer_now(&c->request, PROBLEM_UNAVAILABLE,
            "the service is stopping, and the body has not arrived");
        connection_give_up(c, now_ms);
        return;
    }
    if (state == REQUEST_REFUSED) { /* its body is late, and its answer is there */
        if (!c->server->quiesced)
            metric_add(&c->server->metrics[METRIC_TOO_SLOW], 1);
        answer_straight(&c->request, c->request.answer.data, c->request.answer.len);
        connection_give_up(c, now_ms);
        return;
    }
    if (state == REQUEST_STREAM && stream_give_up_body(&c->request))
        return;
    if (!c->slot && state < REQUEST_BODY)
        metric = c->over;
    else if (state == REQUEST_NONE && now_ms < c->deadline_ms)
        metric = METRIC_IDLE_CLOSED;
    else if (state == REQUEST_GIVEN_UP || (state == REQUEST_NONE && c->used))
        counts = false; /* told already, or nobody was waiting */
    if (counts)
        metric_add(&c->server->metrics[metric], 1);
    connection_refuse(c);
    if (c->request.stream != NULL)
        stream_let_go(&c->request);
}

/* The library knows no time for a whole request: one byte now and then keeps a connection for ever.
 */
void connections_look(struct api_server *server, int64_t now_ms)
{
    if (now_ms < server->earliest_ms)
        return;
    server->earliest_ms = API_DEADLINE_NONE;
    for (struct api_connection *c = server->connections; c != NULL; c = c->next) {
        if (due_ms(c) <= now_ms)
            cut(c, now_ms);
        look_not_after(server, due_ms(c));
    }
}

void connections_end_arriving(struct api_server *server)
{
    const int64_t until_ms = server->arriving_until_ms;

    for (struct api_connection *c = server->connections; c != NULL; c = c->next) {
        bool arriving = c->request.state == REQUEST_BODY || c->request.state == REQUEST_REFUSED ||
                        (c->request.state == REQUEST_STREAM && stream_arriving(&c->request));

        if (arriving && c->deadline_ms > until_ms)
            connection_arm(c, until_ms);
    }
}

void connections_cut_streams(struct api_server *server)
{
    for (struct api_connection *c = server->connections; c != NULL; c = c->next) {
        if (c->request.stream == NULL || c->cut)
            continue;
        connection_refuse(c);
        stream_let_go(&c->request);
    }
}
