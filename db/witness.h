/* A witness of the database outside of it: a file of the service, which keeps what the service has
 * seen of it last: cluster, timeline, the last epoch bump, and a position of its WAL that an answer
 * of ours stands on. A database that is behind that was set back, whatever it says of itself.
 *
 * The position is a word of a shared mapping: it costs a store, and outlives the process. Losing
 * power may cost what was noted since db_witness_sync. Several processes may share a file. */
#pragma once

#include "db/epoch.h"

struct db_witness;

struct db_seen {
    bool any; /* false: the file was made anew */
    uint8_t mark[DB_EPOCH_MARK_LEN];
    uint32_t join_nonce_total;
    uint64_t system_identifier;
    uint32_t timeline;
    uint64_t lsn;
};

/** Opens the file, or makes it (0600). ERROR_CONFIG, naming it, when it cannot be or holds
 * something else. */
int db_witness_open(const char *path, struct db_witness **ret);
void db_witness_close(struct db_witness *witness);

/** Between the two nobody else changes it. */
void db_witness_lock(struct db_witness *witness);
void db_witness_unlock(struct db_witness *witness);
void db_witness_read(struct db_witness *witness, struct db_seen *ret);
/** The position of the same bump only rises. Durable when it returns. ERROR_SYSTEM when it could
 * not be written. */
int db_witness_write(struct db_witness *witness, const struct db_seen *seen);

/** An answer stands on this position; a lower one than before is nothing new. Any thread. */
void db_witness_note(struct db_witness *witness, uint64_t lsn);
/** Brings what was noted to the disk, if it is new. One thread. */
void db_witness_sync(struct db_witness *witness);
