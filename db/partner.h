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

/* What follows, and db_partner_add, is the operator's. */

struct db_partner_entry {
    struct db_partner partner; /* no token_hash; trust_anchor and crl of db_partner_find alone */
    char created[DB_TIME_TEXT_LEN + 1];
    char revoked[DB_TIME_TEXT_LEN + 1]; /* "" while it is good */
};
struct db_partner_list {
    struct db_partner_entry *entries;
    size_t n;
};
/** The revoked ones too, by age: at most `n_max` behind the one with that id (0: from the first).
 * Release with db_partner_list_done. */
int db_partner_list_load(struct db *db, int64_t after, size_t n_max, struct db_partner_list *ret);
void db_partner_list_done(struct db_partner_list *list);
/** The one that is good, else the one of this name that was revoked last. Release with
 * db_partner_entry_done in every case. Outcome 1: no such partner. */
int db_partner_find(struct db *db, const char *name, struct db_partner_entry *ret);
void db_partner_entry_done(struct db_partner_entry *entry);
/** Keeps the partner from being revoked until the transaction that is open ends; its id. Outcome 1:
 * no such partner that is good. */
int db_partner_hold(struct db *db, const char *name, int64_t *ret_id);
/** Holds it for a change, before anything of it is read. Outcome 1: as above. */
int db_partner_lock(struct db *db, const char *name);
/** Makes the partner with this id what `partner` says, but for its name. `new_token`: of
 * token_hash, else it keeps the one that it has; one that is not asynchronous has none. Outcome 1:
 * another has its SAN. */
int db_partner_set(struct db *db, const struct db_partner *partner, bool new_token);
enum { DB_PARTNER_UNKNOWN = 1, DB_PARTNER_HAS_ROUTE = 2 };
/** For good, in a transaction of the caller, who has locked it. Outcomes: DB_PARTNER_UNKNOWN;
 * DB_PARTNER_HAS_ROUTE, then *ret_prefix and *ret_prefix_len are of one that names it. */
int db_partner_revoke(
    struct db *db, const char *name, struct eui64 *ret_prefix, unsigned *ret_prefix_len);
