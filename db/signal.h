/* Signals of device/signal.h: finding them in what joins left behind, judging devices by them, and
 * telling of them. Role cradle_activation. */
#pragma once

#include "db/account.h"
#include "device/signal.h"

#define DB_SIGNALS_MAX 256   /* of a device that count: the newest */
#define DB_SIGNAL_DAYS 400   /* kept: several half-lives of the slowest */
#define DB_SIGNAL_PIECE 1000 /* deleted by one statement */

/* --- finding ---------------------------------------------------------------------------------- */

#define DB_SIGNAL_WINDOW_S 600 /* of join_event, at most, in one look */
#define DB_SIGNAL_RATE_MINUTES 15
#define DB_SIGNAL_RATE_MAX 5 /* joins within these minutes that are nothing to speak of */

struct db_signal_found {
    size_t n[N_DEVICE_SIGNALS];
    bool more; /* there is more to look through, at once */
};
/** One look: attempts that were recorded since the last one, those of `window_s` seconds at most,
 * become signals, in one transaction with the place up to which was looked. Of several services one
 * looks at a time, and the others find nothing to do. */
int db_signal_find(struct db *db, unsigned window_s, struct db_signal_found *ret);

/** In the transaction of an import: devices that came in with a key that another device has which
 * is known to the organization, too. What others have is told on neither side: whoever imports, or
 * waits for what others import, could try guesses at keys. */
int db_signal_shared(
    struct db *db, int64_t organization_id, const struct eui64 *dev_euis, size_t n_dev_euis);

/* --- judging ---------------------------------------------------------------------------------- */

#define DB_SIGNAL_DEVICES_MAX 32  /* at once for either reason */
#define DB_SIGNAL_WAITING_MAX 512 /* signals that are marked as judged at once */
#define DB_SIGNAL_LOOK_MINUTES 15 /* between two looks at a suspect device */

struct db_signal_device {
    struct device_record record;
    int64_t holder_id; /* its owner or, while it has none, its maker */
    bool may_quarantine;
    size_t n;
    struct device_signal_seen seen[DB_SIGNALS_MAX];
};
struct db_signal_round {
    struct db_signal_device devices[2 * DB_SIGNAL_DEVICES_MAX]; /* in the order of DevEUIs */
    size_t n;
    struct eui64 dev_euis[2 * DB_SIGNAL_DEVICES_MAX]; /* what was asked for */
    size_t n_dev_euis;
    int64_t ids[DB_SIGNAL_WAITING_MAX];
    size_t n_ids;
};
/** What is to be judged now: devices with signals that were not judged yet, and suspect ones whose
 * time it is. Locks nothing: who moves a device finds out whether it is as it was read. */
int db_signal_due(struct db *db, struct db_signal_round *ret);
/** In a transaction of the caller: makes the move of a device that is as it was read. Outcome 1: it
 * is not. */
int db_signal_move(
    struct db *db, const struct device_record *before, const struct device_record *after);
/** These need not be looked at until something new is seen, or they are due again. */
int db_signal_judged(struct db *db, const struct db_signal_round *round);

/* --- telling ---------------------------------------------------------------------------------- */

struct db_signal {
    enum device_signal signal;
    int64_t age_s;
    char at[DB_TIME_TEXT_LEN + 1];
    int64_t from_value, to_value;
};
struct db_signal_list {
    struct db_signal items[DB_SIGNALS_MAX]; /* the newest first */
    size_t n;
};
/** Those that count of a device. Whose it is was asked before. */
int db_signal_list(struct db *db, const struct eui64 *dev_eui, struct db_signal_list *ret);
double db_signal_list_score(const struct db_signal_list *list);

/** In the transaction of the change: signals of before do not count any more. */
int db_signal_forget(struct db *db, const struct eui64 *dev_euis, size_t n);
/** Deletes old ones, DB_SIGNAL_PIECE at most; *ret_n: how many there were. */
int db_signal_purge(struct db *db, size_t *ret_n);
