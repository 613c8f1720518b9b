/* Handshakes of TLS take turns. One costs the server's thread a millisecond or so, in which nobody
 * else is served, and clients of one address may begin hundreds at once. So in each round of the
 * thread the handshakes of crowded addresses have a bounded time; the others, and all that have
 * shaken hands already, never wait for them. Nobody starves: the first of a round always goes on.
 *
 * What waits reads nothing, which the TLS library takes for a client that has sent nothing yet. */
#pragma once

#include "api/tally.h"
#include <stdint.h>

#define HANDSHAKE_ROUND_US 1000 /* of a round's time is for handshakes of crowded addresses */
#define HANDSHAKE_UNCROWDED 4   /* unfinished handshakes that an address may have without waiting */

struct api_connection;

/** Of a server; its thread's. */
struct handshakes {
    struct tally addresses; /* of connections that have not shaken hands yet */
    int64_t until_us;       /* this round's time for the crowded ends then; 0: it has not begun */
    bool held_back;         /* somebody waits for the next round */
};

/** Room for `most` connections; `secret` as of tally_init. */
int handshakes_init(struct handshakes *handshakes, uint32_t most, uint64_t secret);
void handshakes_done(struct handshakes *handshakes);
/** A new round of the server's thread. */
void handshakes_round(struct handshakes *handshakes);
/** Whether a handshake from this address goes on in this round. */
bool handshakes_admit(struct handshakes *handshakes, uint64_t address, int64_t now_us);
/** One that was admitted has something to work at. */
void handshakes_work(struct handshakes *handshakes, uint64_t address, int64_t now_us);

/** Before the handshake of a connection whose `tls.gnutls` is set, and points at it. */
void handshake_begin(struct api_connection *connection);
/** It is done, or the connection is closed. */
void handshake_end(struct api_connection *connection);
