/* The database side of a join: load a batch, commit a batch, read back. Roles: cradle_join. */
#pragma once

#include "db/db.h"
#include "device/record.h"

#define DB_JOIN_BATCH_MAX 64
#define DB_REASON_MAX 120

struct db_join_key {
    struct eui64 dev_eui;
    uint16_t dev_nonce; /* looked up in what the device has used for its JoinEUI, in its epoch */
};

/** A session as it was answered. */
struct db_join_session {
    bool found;
    struct eui64 join_eui;
    struct net_id net_id;
    uint16_t dev_nonce; /* of a rejoin: its RJcount */
    bool opt_neg;
};

struct db_join_row {
    bool found;
    struct device_record record;
    struct device_join_state state;
    bool has_app, has_nwk;
    struct sealed_key app, nwk;
    bool dev_nonce_used;            /* for record.join_eui, in record.nonce_epoch */
    struct db_join_session session; /* not found, unless db_join_session_find filled it */
};

/** One SELECT for the whole batch; rows[i] belongs to keys[i]. */
int db_join_load(
    struct db *db, const struct db_join_key *keys, size_t n_keys, struct db_join_row *rows);

/** The session of that JoinNonce, if it is one of the device's last DB_JOIN_SESSIONS_MAX and was
 * made under its present owner. Not being found is no error: session->found. */
#define DB_JOIN_SESSIONS_MAX 10
int db_join_session_find(struct db *db, const struct eui64 *dev_eui, uint32_t join_nonce,
    struct db_join_session *session);

/** Connects and prepares the commit, if that is still to do: so that db_join_commit has nothing to
 * wait for before it sends. */
int db_join_ready(struct db *db);

/** A join or rejoin to be made durable. The compare-and-set is over join_nonce and gate_rev as they
 * were read. Of a join, `counted`: last_dev_nonce is set; else the DevNonce is remembered among
 * those that were used for that JoinEUI. A newer nonce_epoch in the record empties the memory of
 * DevNonce and RJcount1 in the same statement.
 *
 * With OptNeg the new session becomes the pending one; the one that the rejoin proved becomes the
 * current one, with its RJcount0, and is the only other. Where none was proved, the pending one
 * becomes the previous one. Without OptNeg there is no session left that could rejoin. */
struct db_join_commit {
    struct eui64 dev_eui, join_eui; /* of the record: the memory of DevNonces is of both */
    struct eui64 air_join_eui;      /* that the device used, of the join_event */
    uint32_t old_join_nonce, new_join_nonce;
    int64_t gate_rev;
    uint32_t nonce_epoch;
    enum lw_join_type join_type;
    int proved; /* types 0 and 2: DEVICE_SESSION_...; else DB_JOIN_NONE_PROVED */
    bool counted;
    uint16_t dev_nonce; /* of a rejoin: its RJcount */
    int32_t jump_from;  /* the DevNonce before, when this is a jump worth recording; else
                         * DEVICE_NO_NONCE */
    bool opt_neg;
    uint8_t fingerprint[JOIN_FINGERPRINT_LEN];
    char sender_id[PEER_ID_MAX + 1];
    int64_t peer_id;
    struct net_id net_id; /* in the accept */
    struct dev_addr dev_addr;
    uint32_t ownership_epoch;
    uint16_t test_join; /* which join of its factory test it is, from 1; 0: of none */
};

#define DB_JOIN_NONE_PROVED (-1)

/** One statement, one transaction: locks and updates the winners' rows in DevEUI order, writes
 * their join_event rows. won[i] tells whether commits[i] did it. The caller
 * gives each device at most once. ERROR_DB_UNKNOWN: ask db_join_resolve on a fresh connection. */
int db_join_commit(
    struct db *db, const struct db_join_commit *commits, size_t n_commits, bool *won);

/** Makes sure that what this connection has read is durable as far as synchronous_commit promises:
 * a row whose transaction's wait for a standby was cut short is visible here, and may be nowhere
 * else. Commits a record of its own behind it in the WAL, whose wait must end well.
 * ERROR_DB_UNKNOWN: it did not. */
int db_join_settle(struct db *db);

/** After ERROR_DB_UNKNOWN: whether each join is in join_event with its fingerprint and JoinNonce,
 * and settled. */
int db_join_resolve(
    struct db *db, const struct db_join_commit *commits, size_t n_commits, bool *won);

/** A refused attempt. Written in bulk after the answer; of a device that is not here nothing is. */
struct db_join_refusal {
    struct eui64 dev_eui, join_eui;
    enum lw_join_type join_type;
    char outcome[24];
    char reason[DB_REASON_MAX + 1];
    int32_t dev_nonce; /* of a rejoin: its RJcount */
    int64_t peer_id;
    char sender_id[PEER_ID_MAX + 1];
    bool was_loaded; /* else the device's present ownership epoch is taken */
    uint32_t ownership_epoch;
    int64_t refused_ms; /* monotonic; join_event.at is as long ago as this is when it is written */
};
int db_join_refusals(struct db *db, const struct db_join_refusal *refusals, size_t n_refusals);

/** How many joins of known devices the database has counted, in whole, refused ones too: by its
 * statistics, which are up to about a second late and begin again at 0 when it is reset. For any
 * role; it reads no row. */
int db_join_count(struct db *db, int64_t *ret);

/** Makes the partitions of join_event for this month and the next two. At start and daily. */
int db_join_event_partitions(struct db *db);
