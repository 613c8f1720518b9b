#include "db/guard.h"

#include "base/log.h"
#include "db/connection.h"
#include "db/join.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOW "see docs/backup.md, then: cradle epoch bump"
#define ABOVE_MAX 40

/* What was said of one host of the conninfo. */
struct judged {
    enum db_verdict verdict;
    /* Under this bump and on this timeline it went back, once and for all: it may be written to,
     * and end behind what was answered one day. */
    uint8_t mark[DB_EPOCH_MARK_LEN];
    uint32_t went_back; /* timeline; 0: none */
};

struct db_guard {
    enum db_failover failover;
    struct db_witness *witness; /* NULL: none is kept */
    pthread_mutex_t lock;
    struct db_seen seen; /* without a witness: since the start */
    struct judged judged[DB_HOSTS_MAX];
    char above[ABOVE_MAX]; /* what the next bump has to be told, of the last refusal */
    _Atomic bool refused;
    char why[ERROR_TEXT_MAX]; /* written once, before `refused` */
};

/* What each verdict means to a service: 0, ERROR_DB (try again) or ERROR_CONFIG (for good). */
static const struct {
    int code;
    const char *text;
} verdicts[DB_N_VERDICTS] = {
    [DB_VERDICT_GOOD] = {0, ""},
    [DB_VERDICT_TAKE] = {0, ""},
    [DB_VERDICT_OTHER_CLUSTER] = {ERROR_CONFIG,
        "it is in another cluster than the one vouched for"},
    [DB_VERDICT_DUMP] = {ERROR_CONFIG, "it was restored from a dump"},
    [DB_VERDICT_OTHER_TIMELINE] = {ERROR_CONFIG,
        "it is on another timeline than the one vouched for"},
    [DB_VERDICT_TAKEN_BY_OTHERS] = {ERROR_CONFIG,
        "its new timeline was taken by a service whose database.failover is synchronous, which "
        "here it is not"},
    [DB_VERDICT_BEFORE_BUMP] = {ERROR_CONFIG, "it is from before an epoch bump that was seen here"},
    [DB_VERDICT_WENT_BACK] = {ERROR_CONFIG, "it ends before what was answered from it"},
    [DB_VERDICT_STALE] = {ERROR_DB, "it is on an older timeline than the one that was seen last"},
    [DB_VERDICT_NO_STANDBY] = {ERROR_DB, "after its failover no commit waits for a standby yet"},
};

static int parse(const char *text, enum db_failover *ret)
{
    if (strcmp(text, "bump") == 0)
        *ret = DB_FAILOVER_BUMP;
    else if (strcmp(text, "synchronous") == 0)
        *ret = DB_FAILOVER_SYNCHRONOUS;
    else
        return error_set(
            ERROR_CONFIG, "database.failover must be bump or synchronous, not \"%.20s\"", text);
    return 0;
}

int db_guard_new(const char *failover, const char *witness, struct db_guard **ret)
{
    struct db_guard *g = calloc(1, sizeof(*g));
    int r;

    if (g == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the database's guard");
    if ((r = parse(failover, &g->failover)) < 0 ||
        (witness[0] != '\0' && (r = db_witness_open(witness, &g->witness)) < 0)) {
        free(g);
        return r;
    }
    (void)pthread_mutex_init(&g->lock, NULL);
    *ret = g;
    return 0;
}

void db_guard_free(struct db_guard *g)
{
    if (g == NULL)
        return;
    db_witness_close(g->witness);
    (void)pthread_mutex_destroy(&g->lock);
    free(g);
}

int db_guard_look(struct db_guard *g)
{
    if (g->witness != NULL)
        db_witness_sync(g->witness);
    return atomic_load(&g->refused) ? error_set(ERROR_CONFIG, "%s", g->why) : 0;
}

void db_guard_note(struct db_guard *g, uint64_t lsn)
{
    if (g != NULL && g->witness != NULL)
        db_witness_note(g->witness, lsn);
}

int db_guard_settle(struct db *db)
{
    return db->guard != NULL && db->guard->witness != NULL ? db_join_settle(db) : 0;
}

/* The same database, vouched for by the same bump, as when it was seen last. */
static enum db_verdict judge_seen(const struct db_epoch *epoch, const struct db_place *place,
    const struct db_seen *seen, enum db_failover failover)
{
    if (seen->system_identifier != place->system_identifier)
        return DB_VERDICT_OTHER_CLUSTER;
    if (place->timeline < seen->timeline || epoch->timeline < seen->timeline)
        return failover == DB_FAILOVER_SYNCHRONOUS ? DB_VERDICT_STALE : DB_VERDICT_OTHER_TIMELINE;
    if (place->lsn < seen->lsn || place->timeline == seen->went_back)
        return DB_VERDICT_WENT_BACK;
    /* Not by an operator, or it would be another bump. */
    if (failover == DB_FAILOVER_BUMP && place->timeline > seen->timeline &&
        place->timeline == epoch->timeline)
        return DB_VERDICT_TAKEN_BY_OTHERS;
    return DB_VERDICT_GOOD;
}

enum db_verdict db_guard_judge(const struct db_epoch *epoch, const struct db_place *place,
    const struct db_seen *seen, enum db_failover failover)
{
    if (epoch->system_identifier != place->system_identifier)
        return DB_VERDICT_OTHER_CLUSTER;
    if (place->is_dump)
        return DB_VERDICT_DUMP;
    if (seen->any && epoch->join_nonce_total <= seen->join_nonce_total) {
        enum db_verdict verdict;

        if (epoch->join_nonce_total < seen->join_nonce_total ||
            memcmp(epoch->mark, seen->mark, sizeof(epoch->mark)) != 0)
            return DB_VERDICT_BEFORE_BUMP;
        verdict = judge_seen(epoch, place, seen, failover);
        if (verdict != DB_VERDICT_GOOD)
            return verdict;
    }
    if (place->timeline == epoch->timeline)
        return DB_VERDICT_GOOD;
    if (failover != DB_FAILOVER_SYNCHRONOUS)
        return DB_VERDICT_OTHER_TIMELINE;
    if (place->timeline < epoch->timeline)
        return DB_VERDICT_STALE;
    return place->has_standbys ? DB_VERDICT_TAKE : DB_VERDICT_NO_STANDBY;
}

/* A timeline that went back stays refused when the service is started again, whatever is written
 * to it meanwhile. Not where another host may be on the same one, and good. */
static void keep_went_back(struct db_guard *g)
{
    const struct judged *j = g->judged, *end = j + DB_HOSTS_MAX;
    struct db_seen seen;

    while (j < end && j->went_back == 0)
        j++;
    if (g->witness == NULL || j == end)
        return;
    db_witness_lock(g->witness);
    db_witness_read(g->witness, &seen);
    if (seen.any && memcmp(seen.mark, j->mark, sizeof(j->mark)) == 0) {
        seen.went_back = j->went_back;
        db_witness_write(g->witness, &seen);
    }
    db_witness_unlock(g->witness);
}

void db_guard_end(struct db_guard *g)
{
    if (g == NULL)
        return;
    (void)pthread_mutex_lock(&g->lock);
    if (!atomic_load(&g->refused)) {
        (void)snprintf(g->why, sizeof(g->why), "%.400s; " HOW "%s", error_text(), g->above);
        keep_went_back(g);
        atomic_store(&g->refused, true);
    }
    (void)pthread_mutex_unlock(&g->lock);
    (void)error_set(ERROR_CONFIG, "%s", g->why);
}

static int refuse(struct db_guard *g, enum db_verdict verdict, const struct db_epoch *epoch,
    const struct db_place *place, const struct db_seen *seen)
{
    /* Also where they are equal: then it was bumped from the same backup before. */
    if (seen->any && seen->join_nonce_total > 0 &&
        memcmp(seen->mark, epoch->mark, sizeof(seen->mark)) != 0)
        (void)snprintf(g->above, sizeof(g->above), " --above %" PRIu32, seen->join_nonce_total);
    return error_set(verdicts[verdict].code,
        "database: refused, for %s: cluster %" PRIu64 " timeline %" PRIu32 " position %" PRIX64
        "/%" PRIX64 "; vouched for are cluster %" PRIu64 " timeline %" PRIu32
        ", last seen were timeline %" PRIu32 " position %" PRIX64 "/%" PRIX64,
        verdicts[verdict].text, place->system_identifier, place->timeline, place->lsn >> 32,
        place->lsn & UINT32_MAX, epoch->system_identifier, epoch->timeline, seen->timeline,
        seen->lsn >> 32, seen->lsn & UINT32_MAX);
}

/* Of one host of several: once for each thing that is wrong with it. */
static void tell(const struct db_hosts *hosts, struct judged *j, enum db_verdict verdict)
{
    const struct db_host *host = &hosts->hosts[hosts->trying];

    if (hosts->n < 2 || verdict == j->verdict)
        return;
    if (verdicts[verdict].code == ERROR_CONFIG)
        log_warn("database host %s is passed over: %s", host->host ? host->host : host->hostaddr,
            error_text());
    else if (verdicts[j->verdict].code == ERROR_CONFIG)
        log_info(
            "database host %s is not refused any more", host->host ? host->host : host->hostaddr);
}

/* A host that went back stays so until it is bumped, or on another timeline. */
static enum db_verdict remember(struct judged *j, const struct db_epoch *epoch,
    const struct db_place *place, enum db_verdict verdict)
{
    if (verdict == DB_VERDICT_WENT_BACK) {
        memcpy(j->mark, epoch->mark, sizeof(j->mark));
        j->went_back = place->timeline;
    } else if (j->went_back != place->timeline ||
               memcmp(j->mark, epoch->mark, sizeof(j->mark)) != 0) {
        j->went_back = 0;
    } else if (verdicts[verdict].code == 0) {
        return DB_VERDICT_WENT_BACK;
    }
    return verdict;
}

static void read_seen(struct db_guard *g, struct db_seen *ret)
{
    if (g->witness != NULL)
        db_witness_read(g->witness, ret);
    else
        *ret = g->seen;
}

/* A position of before a bump means nothing behind it. */
static void adopt(struct db_guard *g, const struct db_epoch *epoch, const struct db_place *place,
    const struct db_seen *seen)
{
    struct db_seen now = {.any = true,
        .join_nonce_total = epoch->join_nonce_total,
        .system_identifier = place->system_identifier,
        .timeline = place->timeline};

    memcpy(now.mark, epoch->mark, sizeof(now.mark));
    if (seen->any && memcmp(seen->mark, now.mark, sizeof(now.mark)) == 0) {
        if (seen->timeline == now.timeline)
            return;
        now.lsn = seen->lsn;
        now.went_back = seen->went_back;
    }
    if (g->witness == NULL)
        g->seen = now;
    else
        db_witness_write(g->witness, &now);
}

/* What was answered up to now. */
static uint64_t answered(struct db_guard *g)
{
    struct db_seen seen;

    (void)pthread_mutex_lock(&g->lock);
    read_seen(g, &seen);
    (void)pthread_mutex_unlock(&g->lock);
    return seen.lsn;
}

/* `lsn` is what was answered before the database was asked where it is: others answer meanwhile. */
static int judge(struct db *db, const struct db_epoch *epoch, const struct db_place *place,
    uint64_t lsn, bool *ret_take)
{
    struct db_guard *g = db->guard;
    struct judged *judged = &g->judged[db->hosts.trying];
    enum db_verdict verdict;
    struct db_seen seen, then;
    int r = 0;

    read_seen(g, &seen);
    then = seen;
    if (lsn < then.lsn)
        then.lsn = lsn;
    verdict = db_guard_judge(epoch, place, &then, g->failover);
    verdict = remember(judged, epoch, place, verdict);
    if (verdicts[verdict].code < 0)
        r = refuse(g, verdict, epoch, place, &then);
    else if (verdict == DB_VERDICT_GOOD)
        adopt(g, epoch, place, &seen);
    tell(&db->hosts, judged, verdict);
    judged->verdict = verdict;
    *ret_take = verdict == DB_VERDICT_TAKE;
    return r;
}

static int judge_locked(struct db *db, const struct db_epoch *epoch, const struct db_place *place,
    uint64_t lsn, bool *ret_take)
{
    struct db_guard *g = db->guard;
    int r;

    (void)pthread_mutex_lock(&g->lock);
    if (g->witness != NULL)
        db_witness_lock(g->witness);
    r = judge(db, epoch, place, lsn, ret_take);
    if (g->witness != NULL)
        db_witness_unlock(g->witness);
    (void)pthread_mutex_unlock(&g->lock);
    return r;
}

/* Without the row. Where it was seen before, the database is from before all epochs. */
static int judge_old_schema(struct db_guard *g)
{
    struct db_seen seen;
    int r = 0;

    (void)pthread_mutex_lock(&g->lock);
    read_seen(g, &seen);
    if (seen.any) {
        r = error_set(ERROR_CONFIG,
            "database: refused, for its schema knows no epochs, and one was seen here: migrate");
    }
    (void)pthread_mutex_unlock(&g->lock);
    return r; /* 0: db_check says which schema is needed */
}

/* ERROR_DB_UNKNOWN: whether the timeline was taken; it is looked at again. */
static int check(struct db *db)
{
    struct db_epoch epoch;
    struct db_place place;
    bool take = false;
    int r;

    /* Twice at most: a timeline that was taken is looked at again. */
    for (int i = 0; i < 2; i++) {
        const uint64_t lsn = answered(db->guard);

        r = db_epoch_look(db, &epoch, &place);
        if (r != 0)
            return r < 0 ? r : judge_old_schema(db->guard);
        if ((r = judge_locked(db, &epoch, &place, lsn, &take)) < 0 || !take)
            return r;
        db_params_of(db);
        if ((r = db_run_quiet(db, DB_EPOCH_TAKE)) < 0)
            return r;
        log_warn("the database failed over to timeline %" PRIu32
                 ": taken, as database.failover says",
            place.timeline);
    }
    return error_set(ERROR_DB, "database: its new timeline could not be taken");
}

int db_guard_check(struct db *db)
{
    if (atomic_load(&db->guard->refused))
        return error_set(ERROR_CONFIG, "%s", db->guard->why);
    return check(db);
}
