/* The walk over all sealed keys that follows a new version of a storage KEK (docs/keys.md): what it
 * is at stands in key_rewrap, so that whoever takes it goes on. Role cradle_activation. */
#pragma once

#include "base/eui.h"
#include "base/sealed.h"
#include "db/db.h"

#define DB_REWRAP_PIECE 64      /* keys of a step */
#define DB_REWRAP_LOOK 8192     /* device keys that it looks at to find them, at most */
#define DB_REWRAP_LEASE_S "30"  /* somebody else may go on after that */
#define DB_REWRAP_PAUSE_S "5"   /* between two passes */
#define DB_REWRAP_SETTLE_S "20" /* longer than a key process seals under what was the newest */
#define DB_REWRAP_TARGET_MAX 63
#define DB_REWRAP_REASON_MAX 200

/** What is walked over, in this order. */
enum db_rewrap_part {
    DB_REWRAP_PART_DEVICES,
    DB_REWRAP_PART_KEKS,
    DB_REWRAP_PART_ORDERS,
    N_DB_REWRAP_PARTS,
};

struct db_rewrap {
    char target[DB_REWRAP_TARGET_MAX + 1];
    enum db_rewrap_part part;
    struct eui64 at_device; /* of part DEVICES, with at_id its slot */
    int64_t at_id;
    int turn;
};

/** A row under an old version, and what it becomes. */
struct db_rewrap_row {
    struct eui64 dev_eui, join_eui; /* of part DEVICES */
    enum key_slot slot;
    int64_t id;            /* of the other parts */
    struct sealed_kek kek; /* `key` is the one of every part */
    bool changed;          /* filled by the caller, with: */
    struct sealed_key fresh;
};

/** What a step came to. */
struct db_rewrap_step {
    size_t n_changed, n_stuck;
    char reason[DB_REWRAP_REASON_MAX + 1]; /* of one that is stuck */
    bool end;                              /* the part has no more rows */
};

/** Takes the walk towards `target` ("LABEL LABEL"), or begins it. Outcome 1: it is finished, or
 * somebody else's. */
int db_rewrap_take(struct db *db, const char *target, struct db_rewrap *ret);
/** The next rows of the part that are not under `label`, none: the part is at its end. Of device
 * keys the last may be under it already: then it says how far was looked. */
int db_rewrap_load(struct db *db, const struct db_rewrap *rewrap, const char *label,
    struct db_rewrap_row ret[static DB_REWRAP_PIECE], size_t *ret_n);
/** Writes what changed, where the row is still as it was read, and goes on to the last of the rows,
 * or to the next part; after the last part a pass that found nothing ends the walk. Both or
 * neither. Outcome 1: the walk is another's by now, and nothing was written. */
int db_rewrap_write(struct db *db, struct db_rewrap *rewrap, const struct db_rewrap_row *rows,
    size_t n, const struct db_rewrap_step *step);

/** How far walks are, for metrics and for people. */
struct db_rewrap_progress {
    char target[DB_REWRAP_TARGET_MAX + 1]; /* of the newest walk, "" when there is none */
    bool finished;
    int64_t n_done, n_stuck;
    char reason[DB_REWRAP_REASON_MAX + 1];
};
int db_rewrap_progress(struct db *db, struct db_rewrap_progress *ret);
/** How many rows of all parts are sealed under this label. Reads all of them. */
int db_rewrap_uses(struct db *db, const char *label, int64_t *ret_n);
/** Has a walk that was finished begin anew. */
int db_rewrap_again(struct db *db, const char *target);
