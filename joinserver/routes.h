/* The join server's HTTP side: who is asking, and where the request goes. TS002 messages are POSTed
 * to any path; /healthz, /readyz and /metrics answer GET. */
#pragma once

#include "joinserver/worker.h"
#include <stdatomic.h>

struct join_routes {
    struct join_shared *shared;
    struct keyd_pool *keyd;
    _Atomic bool ready;          /* kept by the keeper thread */
    _Atomic bool draining;       /* only the answers of partners are still taken */
    _Atomic int64_t notified_ms; /* monotonic: when an ErrorNotif was logged last; 0: never */
};

/** See api/server.h. `context` is a struct join_routes. */
long join_routes_admit(struct api_request *request, void *context);
void join_routes_handle(struct api_request *request, void *context);
bool join_routes_find_trust(const char *san, void *context, struct api_trust *ret);
uint64_t join_routes_trust_version(void *context);
