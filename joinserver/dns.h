/* Requests of a route of kind dns: the server of their JoinEUI is found by DNS (api/find.h) and
 * they are carried there (forward.h), at the addresses that were found. A server is a partner of
 * its own by host and port: its breaker and bounds are kept from one search to the next.
 *
 * Searches take no thread and wait for nobody; there are so many at once as [dns] says, of which no
 * requester has all (share.h). */
#pragma once

#include "api/find.h"
#include "joinserver/forward.h"

struct join_dns;

struct join_dns_config {
    const struct find_settings *find;
    struct join_forwards *forwards; /* whose breakers choose among servers */
    const char
        *credential; /* shown to servers that DNS names, and their CAs; "": none, the system's */
    const char *protocol_version; /* "1.0" or "1.1" */
    unsigned timeout_ms;    /* from the last byte of a request to its answer, the search included */
    unsigned max_in_flight; /* requests to one server */
};

/** All it points to must outlive it. With the mode off every request is refused. */
int join_dns_open(const struct join_dns_config *config, struct join_dns **ret);
/** Ends the searches: their requests are refused. Call it before join_forwards_stop. NULL is fine.
 */
void join_dns_stop(struct join_dns *dns);
/** When no request can come any more. */
void join_dns_free(struct join_dns *dns);

/** Finds the server, and sends it there; or it is answered with a refusal. On any thread. */
void join_dns_send(struct join_dns *dns, struct join_forward *forward);

void join_dns_metrics(struct join_dns *dns, struct text *out);
