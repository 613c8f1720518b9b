/* A witness of the database outside of it: a file of the service, which keeps what the service has
 * seen of it last: cluster, timeline, the last epoch bump, and a position of its WAL that an answer
 * of ours stands on. A database that is behind that was set back, whatever it says of itself.
 *
 * The position is written to the file before the answer leaves, and so outlives the process. Losing
 * power may cost what was noted since db_witness_sync.
 *
 * No join waits for the file: where it cannot be written (a full disk, a file system that went
 * read-only) the process goes on with what it knows itself, says so once, and writes all of it when
 * that works again. A mapping of the file would be faster, and kill the process there.
 *
 * Several processes may share a file. What one of them notes may be hidden for a moment by a lower
 * position of another; db_witness_sync brings it back. */
#pragma once

#include "db/epoch.h"

struct db_witness;

struct db_seen {
    bool any; /* false: the file was made anew */
    uint8_t mark[DB_EPOCH_MARK_LEN];
    uint32_t join_nonce_total;
    uint64_t system_identifier;
    uint32_t timeline;
    uint32_t went_back; /* timeline that was refused for that, under this bump; 0: none */
    uint64_t lsn;
};

/** Opens the file, or makes it (0600). ERROR_CONFIG, naming it, when it cannot be or holds
 * something else; ERROR_SYSTEM when it cannot be made now: a full disk, a broken one. */
int db_witness_open(const char *path, struct db_witness **ret);
void db_witness_close(struct db_witness *witness);

/** Between the two no other process changes it, but for the position. */
void db_witness_lock(struct db_witness *witness);
void db_witness_unlock(struct db_witness *witness);
void db_witness_read(struct db_witness *witness, struct db_seen *ret);
/** The position of the same bump only rises. On the disk when it returns, or as soon as it can be.
 */
void db_witness_write(struct db_witness *witness, const struct db_seen *seen);

/** An answer stands on this position; a lower one than before is nothing new. Any thread. */
void db_witness_note(struct db_witness *witness, uint64_t lsn);
/** Brings what was noted to the disk, if it is new, and what could not be written before. One
 * thread. */
void db_witness_sync(struct db_witness *witness);
