/* Jobs: long work that goes on where it stood. Role cradle_activation. */
#pragma once

#include "base/eui.h"
#include "db/account.h"
#include "device/moves.h"

#define DB_JOB_FAULT_MAX 500
#define DB_JOB_LEASE_S 60    /* how long whoever works on a job may be silent */
#define DB_JOB_RENEW_S 20    /* how often who stores nothing for a while renews it */
#define DB_JOB_DIGEST_LEN 32 /* SHA-256 */
#define DB_JOB_ROWS_MAX 1024 /* of one statement */

enum db_job_kind { JOB_IMPORT, JOB_DRY_RUN, JOB_EXPORT, JOB_MOVE, JOB_ORDER };
const char *db_job_kind_text(enum db_job_kind kind);
enum db_job_state {
    JOB_RUNNING,
    JOB_INTERRUPTED,
    JOB_DONE,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_WAITING
};
const char *db_job_state_text(enum db_job_state state);

struct db_job_counts {
    int64_t created, exists, refused, warned, exported, moved;
    int64_t kept; /* rows of the report that stand in job_row */
};

struct db_job {
    int64_t row_id;
    uint8_t id[ACCOUNT_ID_LEN];
    int64_t organization_id;
    enum db_job_kind kind;
    bool dry_run;
    enum db_job_state state;
    int64_t batch_id;              /* 0: none, as of a dry run */
    uint8_t batch[ACCOUNT_ID_LEN]; /* its id for the world, where there is one */
    enum device_move move;         /* of JOB_MOVE */
    bool has_n_rows;
    int64_t n_rows; /* how many devices it is about, where that is known */
    int64_t line;   /* the last one that is done; of an export, a move or an order, how many devices
                       are */
    int64_t turn;   /* how often it was taken: an older one is not ours any more */
    /* Of the file up to the end of that line; of one that is done, of all of it. */
    bool has_digest;
    uint8_t digest[DB_JOB_DIGEST_LEN];
    struct db_job_counts counts;
    char fault[DB_JOB_FAULT_MAX + 1]; /* "" for none */
    bool cancel_wanted;
    bool report_deleted; /* its time is over (db/report.h) */
    char created[DB_TIME_TEXT_LEN + 1], changed[DB_TIME_TEXT_LEN + 1];
    char result_until[DB_TIME_TEXT_LEN + 1]; /* how long its file is kept; "": there is none */
};

/** A call that asks for a job. */
struct db_job_call {
    int64_t organization_id;
    const uint8_t *client_id;
    bool dry_run;
    const char *key; /* Idempotency-Key; NULL: none */
    uint8_t fingerprint[32];
    const char *format;
};

enum { DB_JOB_OTHER_CALL = 1, DB_JOB_BUSY, DB_JOB_OVER };
/** In a transaction of the caller. Makes the job and its batch, or takes the one that this call
 * asked for before, which raises its turn: an interrupted one, one that failed before its first
 * line, or one whose worker has been silent for a lease is running again, and comes with the
 * `fault` that it had. One that is done or cancelled comes as it is. DB_JOB_OTHER_CALL: the key
 * belongs to another call; DB_JOB_BUSY: somebody works on it, for `*ret_busy_s` seconds at least
 * unless he ends; DB_JOB_OVER: it has failed behind its first line, or its report is deleted.
 */
int db_job_take(
    struct db *db, const struct db_job_call *call, struct db_job *ret, int64_t *ret_busy_s);

/** Inside the transaction of a chunk: everything up to `line`, where the file has this digest, is
 * done. The compare-and-set is over the turn and the line before, so that of two workers one goes
 * on. Outcome 1: it is not ours any more. `job` is moved on. */
int db_job_advance(struct db *db, struct db_job *job, int64_t line,
    const uint8_t digest[static DB_JOB_DIGEST_LEN], const struct db_job_counts *added);
/** Renews the lease of who has nothing to store; job->cancel_wanted is read anew. Outcome 1: it is
 * not ours any more. */
int db_job_renew(struct db *db, struct db_job *job);
/** After a commit of unknown result: the job as it is now. Outcome 1: no such job. */
int db_job_find(struct db *db, const uint8_t id[static ACCOUNT_ID_LEN], struct db_job *ret);
/** In a transaction of the caller. Ends it, and its batch, or interrupts it. `fault` may be NULL;
 * so may `digest`, of the whole file, for all but one that is done. Outcome 1: it is not ours any
 * more. */
int db_job_end(struct db *db, struct db_job *job, enum db_job_state state, const char *fault,
    const uint8_t *digest);
/** One that waits, was interrupted, or whose worker has been silent for a lease is cancelled at
 * once; one that runs at its next chunk. So is its order. Outcome 1: it has ended already. */
int db_job_cancel(struct db *db, const struct db_job *job);
/** Interrupts imports whose worker has been silent for a lease (cancels those that are to be), with
 * an audit event each. Exports, moves and orders need none of it: who looks for work takes
 * them. */
int db_job_sweep(struct db *db);

/** By age: at most `n_max` jobs after the one with that id (NULL: from the first).
 * `organization_id` 0: of all. */
int db_job_list(struct db *db, int64_t organization_id, const uint8_t *after, struct db_job *ret,
    size_t n_max, size_t *ret_n);

/** How the jobs of these ids stand: ret[i] belongs to ids[i], and its row_id is 0 where there is
 * none. */
#define DB_JOB_LOOK_MAX 256
int db_job_look(struct db *db, const uint8_t (*ids)[ACCOUNT_ID_LEN], size_t n, struct db_job *ret);
/** LISTEN for every change of a job, or for one that waits to be done; then db_job_wait returns 1
 * when there may be news, 0 after `timeout_ms` without. */
int db_job_listen(struct db *db, bool for_work);
int db_job_wait(struct db *db, int timeout_ms);

struct db_job_row {
    int64_t line;
    bool has_dev_eui;
    struct eui64 dev_eui;
    const char *outcome; /* "created", "exists", "refused", "moved" */
    uint64_t lints;      /* of a move, why it was refused, as a number */
};
int db_job_rows_add(struct db *db, int64_t job_row_id, const struct db_job_row *rows, size_t n);

/** The report, in the order of lines behind `after`: rows that made a device and those that are
 * kept, at most `n_max` (DB_JOB_ROWS_MAX). `outcome` points to a text of the program. */
int db_job_report(struct db *db, const struct db_job *job, int64_t after, struct db_job_row *ret,
    size_t n_max, size_t *ret_n);
