/* Moves of many devices: jobs that do to each what a call does to one. Role cradle_activation.
 *
 * The devices are written down with the job (move_device), so that whoever goes on with it knows
 * them. As exports (db/export.h), any number of processes may work on them: each job is taken with
 * SKIP LOCKED and held by a lease; each chunk is one transaction, which renews the lease, moves the
 * job on, moves the devices and writes the rows of the report. */
#pragma once

#include "db/device_change.h"
#include "db/job.h"

#define DB_MOVE_DEVICES_MAX 10000 /* that a call may name */
#define DB_MOVE_BATCH_MAX 100000  /* of a batch, at a time */
#define DB_MOVE_OPEN_MAX 16       /* of an organization, that have not ended */
#define DB_MOVE_REQUEST_ID_MAX 40

/** What the call said. */
struct db_move_order {
    enum device_move move;
    bool as_operator;
    bool rebinds, has_home_net_id; /* of MOVE_BIND, where to */
    struct net_id home_net_id;
    char as_id[PEER_ID_MAX + 1]; /* "": none */
    int64_t to_id, lifetime_s;   /* of MOVE_OFFER; else 0 */
    char request_id[DB_MOVE_REQUEST_ID_MAX + 1];
};

struct db_move {
    struct db_job job;
    uint8_t client_id[ACCOUNT_ID_LEN];
    struct db_move_order order;
    int64_t n_broken; /* turns in a row that a service has failed on, before this one */
    bool is_revoked;  /* the client that asked for it, when it was taken */
};

/** Which devices: those of a list, or what the organization holds of a batch; with `any_holder`
 * whoever holds them. */
struct db_move_devices {
    const struct eui64 *list;
    size_t n;
    int64_t batch_id; /* 0: the list */
    bool any_holder;
    bool has_credential; /* of a batch, those in this state alone */
    enum device_credential credential;
};

enum { DB_MOVE_TOO_MANY_JOBS = 1, DB_MOVE_TOO_MANY_DEVICES };
/** In a transaction of the caller: it waits from its commit on. After an outcome the transaction is
 * to be undone: DB_MOVE_TOO_MANY_JOBS: the organization has DB_MOVE_OPEN_MAX already;
 * DB_MOVE_TOO_MANY_DEVICES: the batch has more than DB_MOVE_BATCH_MAX. Where the move ends the
 * state that they are chosen by there is no such outcome: it is about the first of them, by DevEUI,
 * and the same call goes on with the next ones once it has ended. */
int db_move_add(struct db *db, int64_t organization_id,
    const uint8_t client_id[static ACCOUNT_ID_LEN], const struct db_move_order *order,
    const struct db_move_devices *devices, struct db_job *ret);
/** As db_export_take. */
int db_move_take(struct db *db, struct db_move *ret);
/** The next devices, up to DB_DEVICE_CHANGE_MAX; *ret_n 0: there are no more. */
int db_move_load(struct db *db, const struct db_move *move, struct eui64 *ret, size_t *ret_n);
/** First in the transaction of the chunk: renews the lease and moves on, with so many devices done.
 * Outcome 1: it is not ours any more. `move` is moved on; its job.cancel_wanted is read anew. */
int db_move_advance(struct db *db, struct db_move *move, int64_t n_moved, int64_t n_refused);
/** Done, failed or cancelled, for good; its list is deleted. Outcome 1: it is not ours any more. */
int db_move_end(struct db *db, struct db_move *move, enum db_job_state state, const char *fault);
/** Puts it back: it waits again, with its n_broken, and is not taken for so many seconds. */
int db_move_put_back(struct db *db, const struct db_move *move, unsigned seconds);
