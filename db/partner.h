/* Partners: other join servers and hubs to which requests are carried whose JoinEUI is not ours.
 * The join server has them in its directory; here is also what the operator does with them (role
 * cradle_activation). */
#pragma once

#include "base/sealed.h"
#include "db/db.h"
#include "db/peer_limits.h"
#include "db/text.h"

#define PARTNER_TIMEOUT_MIN_MS 100
#define PARTNER_TIMEOUT_MAX_MS 4000 /* a network server gives up after five seconds or so */
#define PARTNER_TIMEOUT_DEFAULT_MS 2000
#define PARTNER_IN_FLIGHT_MAX 1024
#define PARTNER_IN_FLIGHT_DEFAULT 64

struct db_partner {
    int64_t id;
    char name[PEER_ID_MAX + 1];
    char url[PEER_URL_MAX + 1];
    char credential[PEER_CREDENTIAL_MAX + 1]; /* "": nothing is shown, the system's CAs believed */
    bool is_1_1;                              /* ProtocolVersion of what is posted there */
    bool is_async;                            /* answers by a POST of its own */
    unsigned timeout_ms;                      /* how long its answer is waited for */
    unsigned max_in_flight;                   /* requests that wait for it at a time */
    struct net_id net_ids[PEER_NET_IDS_MAX];  /* whose requests may be carried there */
    size_t n_net_ids;                         /* 0: those of every network server */
    /* By what an asynchronous one is known when it posts its answers: zeros, the hash of nothing
     * known, and "" and NULL without. The last two are on the heap of the directory. */
    uint8_t token_hash[TOKEN_HASH_LEN];
    char san[PEER_SAN_MAX + 1];
    char *trust_anchor;
    char *crl;
};

/** Those that are not revoked, by id, for the directory. Release with db_partners_free. */
int db_partners_load(struct db *db, struct db_partner **ret, size_t *ret_n);
void db_partners_free(struct db_partner *partners, size_t n);
/** Whether the requests of this network may be carried there. */
bool db_partner_takes(const struct db_partner *partner, const struct net_id *net_id);
/** With all that it says; its `id` is set. Outcome 1: another has its name, SAN or token. */
int db_partner_add(struct db *db, struct db_partner *partner);
