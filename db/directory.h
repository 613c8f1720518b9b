/* Who the peers are: network and application servers, their tokens and KEKs; where each JoinEUI
 * goes, and the partners that are asked. Small; the join server holds it in memory and loads it
 * again when told. */
#pragma once

#include "db/partner.h"
#include "db/route_table.h"

struct db_peer {
    int64_t id;
    enum peer_kind kind;
    char name[PEER_ID_MAX + 1]; /* AS-ID of an application server; a name for people of an NS */
    struct net_id net_ids[PEER_NET_IDS_MAX];
    size_t n_net_ids;
    struct eui64 ns_ids[PEER_NS_IDS_MAX]; /* of a network server that has some, the only ones it
                                           * may speak for (TS002-1.1 SenderNSID) */
    size_t n_ns_ids;
    uint8_t token_hash[TOKEN_HASH_LEN]; /* of the bearer token; zeros, the hash of nothing known,
                                         * without one */
    /* The exact name in its client certificate, "" without one: a URI when there is a colon in it,
     * else a DNS name. Then PEM of its CA or CAs and of their revocation lists (or NULL), on the
     * heap of the directory. */
    char san[PEER_SAN_MAX + 1];
    char *trust_anchor;
    char *crl;
    /* How it is answered. */
    bool allow_plain_keys; /* network session keys in clear when it has no KEK; mutual TLS only */
    bool app_s_key_plain;  /* AppSKey in clear; mutual TLS only */
    bool session_key_id_omit;                        /* no SessionKeyID in its JoinAns */
    char answer_url[PEER_URL_MAX + 1];               /* "": in the HTTP response */
    char answer_credential[PEER_CREDENTIAL_MAX + 1]; /* "": none is shown there */
};

/** Whether it may speak for the network, and whether the NSID is one of its own. Of an application
 * server neither. */
bool db_peer_has_net_id(const struct db_peer *peer, const struct net_id *net_id);
bool db_peer_has_ns_id(const struct db_peer *peer, const struct eui64 *ns_id);
/** What the KEK of a network, or of one of its network servers, is kept under: "000013" or
 * "000013/70b3d57ed0000001". `ns_id` may be NULL. */
void db_kek_peer_id(
    const struct net_id *net_id, const struct eui64 *ns_id, char ret[static PEER_ID_MAX + 1]);

struct db_directory {
    struct db_peer *peers;
    size_t n_peers;
    struct sealed_kek *keks; /* the current one of each (peer kind, peer id, class) */
    size_t n_keks;
    struct db_partner *partners; /* by id */
    size_t n_partners;
    struct db_join_route *routes;
    size_t n_routes;
    struct db_route_table *table; /* the same, to be searched */
};

int db_directory_load(struct db *db, struct db_directory *ret);
void db_directory_done(struct db_directory *directory);
/** True when some network server may speak for the network. */
bool db_directory_speaks(const struct db_directory *directory, const struct net_id *net_id);
/** True when there is such an application server. */
bool db_directory_has_as(const struct db_directory *directory, const char *as_id);
/** The longest route of the JoinEUI; NULL: it has none. It lives as long as the directory. */
const struct db_join_route *db_directory_route(
    const struct db_directory *directory, const struct eui64 *join_eui);
/** True when a route makes the JoinEUI ours. */
bool db_directory_routes(const struct db_directory *directory, const struct eui64 *join_eui);

/** LISTEN for changes of the tables above; then db_directory_wait returns 1 when something changed,
 * 0 when `timeout_ms` passed. */
int db_directory_listen(struct db *db);
int db_directory_wait(struct db *db, int timeout_ms);

/* Changes (role cradle_activation). Each refuses a duplicate with the positive outcome 1. */
/** With all that `peer` says. */
int db_peer_add(struct db *db, const struct db_peer *peer);

/* What db_peer_set changes: members of struct db_peer. */
#define DB_PEER_NS_IDS (1u << 0) /* replaces them all */
#define DB_PEER_ALLOW_PLAIN_KEYS (1u << 1)
#define DB_PEER_APP_S_KEY_PLAIN (1u << 2)
#define DB_PEER_SESSION_KEY_ID_OMIT (1u << 3)
#define DB_PEER_ANSWER_URL (1u << 4) /* "" takes the credential away as well */
#define DB_PEER_ANSWER_CREDENTIAL (1u << 5)
#define DB_PEER_NET_IDS (1u << 6) /* replaces them all */

enum {
    DB_PEER_UNKNOWN = 1,
    DB_PEER_HAS_NO_URL = 2,
    DB_PEER_SAN_TAKEN = 3,
    DB_PEER_SAN_RACE = 4,
};
/** Holds the peer with this kind and name for the transaction that is open, to be called before
 * anything of it is read: what db_peer_set replaces is what a statement sees as it begins, so that
 * two changes at once would otherwise add up. Outcome: DB_PEER_UNKNOWN. */
int db_peer_lock(struct db *db, enum peer_kind kind, const char *name);
/** Changes the members that `set` names of the peer with this kind and name, all or none. Outcomes:
 * DB_PEER_UNKNOWN; DB_PEER_HAS_NO_URL, a credential is for one. */
int db_peer_set(struct db *db, const struct db_peer *peer, unsigned set);
/** Sets san, trust_anchor and crl of the peer with this kind and name; with san "" it has no
 * certificate any more. Outcomes: DB_PEER_UNKNOWN; DB_PEER_SAN_TAKEN, it is another's;
 * DB_PEER_SAN_RACE, another takes it at this moment, and the transaction is lost. */
int db_peer_set_trust(struct db *db, const struct db_peer *peer);
