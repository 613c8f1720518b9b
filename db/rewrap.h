/* The walk over all sealed keys that follows a new version of a storage KEK or of the tag key
 * (docs/keys.md): what it
 * is at stands in key_rewrap, so that whoever takes it goes on. Role cradle_activation. */
#pragma once

#include "base/eui.h"
#include "base/sealed.h"
#include "db/db.h"

#define DB_REWRAP_PIECE 64     /* keys of a step */
#define DB_REWRAP_LOOK 8192    /* device keys that it looks at to find them, at most */
#define DB_REWRAP_LEASE_S "30" /* somebody else may go on after that */
#define DB_REWRAP_PAUSE_S "5"  /* between two passes; twice as long after each that did nothing, */
#define DB_REWRAP_PAUSE_MAX_S "600" /* up to this: what is stuck waits for somebody's act */
/* A walk does not end before all key processes have seen what seals (activation/rewrap_keeper.c
 * holds it to that): so hardly anything comes behind it. Nothing is proved by it: what is destroyed
 * has a fence (db/fence.h), and rows that came behind the walk are counted there. */
#define DB_REWRAP_SETTLE_S 20
#define DB_REWRAP_TARGET_MAX 63
#define DB_REWRAP_MARK_AT 33 /* where in a kept hash its version stands (base/keyed.h) */
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

/** Takes the walk towards `target` ("LABEL LABEL LABEL": of device keys, of KEKs, of tags), or
 * begins it. Outcome 1: it is finished, or
 * somebody else's. */
int db_rewrap_take(struct db *db, const char *target, struct db_rewrap *ret);
/** The next rows of the part that are not under `label`, or have no tag of that version; none: the
 * part is at its end. Of device keys the last may be under them already: then it says how far was
 * looked. */
int db_rewrap_load(struct db *db, const struct db_rewrap *rewrap, const char *label,
    unsigned tag_version, struct db_rewrap_row ret[static DB_REWRAP_PIECE], size_t *ret_n);
/** Writes what changed, where the row is still as it was read, and goes on to the last of the rows,
 * or to the next part; after the last part a pass that found nothing ends the walk, which the audit
 * tells. All or nothing. Outcome 1: the walk is another's by now, and nothing was written. */
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
/** Lets a walk that has ended begin anew: something was sealed under an old version after it. */
int db_rewrap_again(struct db *db, const char *target);
/** Forgets the codes of labels that need this version of the code key ("code.1"), which lists of
 * built devices are checked by (db/id_pac.h), a piece a transaction. */
int db_rewrap_forget_labels(struct db *db, const char *key, int64_t *ret_n);
/** Ends the pause of a walk that could not go on: what was in its way may be gone. */
int db_rewrap_wake(struct db *db);
/** How many rows need a version of a key, a line a version and kind of row: of the one that is
 * called `key` ("store-device.1", "tag.1", "code.1"), or of all (""). Reads all rows. */
#define DB_REWRAP_USES_MAX 256
#define DB_REWRAP_LABELS "codes of labels" /* `what` of those that may be forgotten */
struct db_rewrap_use {
    char key[SEALED_LABEL_MAX + 1];
    char what[32];
    int64_t n;
};
int db_rewrap_uses(struct db *db, const char *key,
    struct db_rewrap_use ret[static DB_REWRAP_USES_MAX], size_t *ret_n);
