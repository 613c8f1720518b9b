/* The peers, their KEKs, routes and partners, in memory: an immutable snapshot that is replaced
 * whole when the database says that something changed. Any thread may acquire one; it stays valid
 * until released. */
#pragma once

#include "db/directory.h"

struct join_directory;

struct join_directory_holder;

int join_directory_holder_new(struct join_directory_holder **ret);
void join_directory_holder_free(struct join_directory_holder *holder);
/** Loads a snapshot over `db` and puts it in the place of the present one. */
int join_directory_reload(struct join_directory_holder *holder, struct db *db);

/** A number that changes with every reload. Any thread. */
uint64_t join_directory_version(struct join_directory_holder *holder);

/** NULL before the first load. */
const struct join_directory *join_directory_acquire(struct join_directory_holder *holder);
void join_directory_release(
    struct join_directory_holder *holder, const struct join_directory *directory);

/** Whether a peer of this kind has anything to ask a join server. */
bool join_directory_may_ask(const struct db_peer *peer);
/** The network or application server that this bearer token belongs to, or NULL. */
const struct db_peer *join_directory_peer(
    const struct join_directory *directory, const char *token);
/** The peer, of whatever kind, with exactly this name in its certificate, or NULL. */
const struct db_peer *join_directory_peer_of_san(
    const struct join_directory *directory, const char *san);
/** Whether this is a network server that may speak for the network. */
bool join_directory_may_speak(const struct db_peer *peer, const struct net_id *net_id);
/** Whether this peer, which may speak for its network, may do so under this NSID: under one of its
 * own where it has some; where it has none, an NSID says nothing. */
bool join_directory_may_speak_as(const struct db_peer *peer, const struct eui64 *ns_id);
/** Whether the network servers of the network have one NSID between them, and which. */
bool join_directory_only_ns_id(
    const struct join_directory *directory, const struct net_id *net_id, struct eui64 *ret);
/** Where this JoinEUI goes; NULL: nowhere. It lives as long as the snapshot. */
const struct db_join_route *join_directory_route(
    const struct join_directory *directory, const struct eui64 *join_eui);
/** The partner with this id, or NULL. */
const struct db_partner *join_directory_partner(const struct join_directory *directory, int64_t id);
/** The asynchronous partner that posts its answers with this bearer token, or with exactly this
 * name in its certificate; or NULL. No peer has the same. */
const struct db_partner *join_directory_partner_of_token(
    const struct join_directory *directory, const char *token);
const struct db_partner *join_directory_partner_of_san(
    const struct join_directory *directory, const char *san);
/** Whether a join route makes this JoinEUI ours. */
bool join_directory_is_local(const struct join_directory *directory, const struct eui64 *join_eui);
/** The current KEK of one network server (`ns_id`, may be NULL), else of its whole network; or
 * NULL.
 */
const struct sealed_kek *join_directory_ns_kek(
    const struct join_directory *directory, const struct net_id *net_id, const struct eui64 *ns_id);
/** The current KEK of a peer, or NULL. `id` is as in db_kek_peer_id, or an AS-ID. */
const struct sealed_kek *join_directory_kek(
    const struct join_directory *directory, enum kek_class kek_class, const char *id);
