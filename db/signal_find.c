/* Finding signals in join_event, set by set. */
#include "db/signal.h"

#include "db/connection.h"
#include "db/job_row.h"
#include "db/signal_row.h"
#include "device/refusal.h"

/* In SQL. A row's time is that of its transaction's beginning, or a refusal's own, which is written
 * a little later: what is so much older than a moment is there, as soon as all transactions of that
 * moment have ended. */
#define WRITTEN_WITHIN "interval '5 s'"
#define LOOK_BACK "interval '24 h'" /* after a pause: what is older is not looked at any more */
#define EVERY "interval '2 s'"      /* by whichever service; while there is more, at once */
#define FRAMES_OF_A_DEVICE "16"     /* in one look: so a flood of one device holds up no other */
#define DEVICES_OF_A_BIN "10000"
#define JOINS_OF_A_BIN "64"  /* of one device */
#define KEY_DEVICES_MAX "16" /* looked at for one key, as in db/batch.c */
/* The time of a refusal is reckoned back: it may seem to be before a join that was answered first.
 */
#define CLOCKS_APART "interval '1 s'"

#define RATE_TIME "make_interval(mins => " DB_DECIMAL(DB_SIGNAL_RATE_MINUTES) ")"
#define RATE_BIN(column) "date_bin(" RATE_TIME ", " column ", '2001-01-01Z'::timestamptz)"

#define PASSED "pg_snapshot_xmin(pg_current_snapshot()) >= s.fence_xid"
#define FENCE "s.fence_at - " WRITTEN_WITHIN
#define BEGIN_AT "greatest(s.looked_until, now() - " LOOK_BACK ")"
#define END_AT BEGIN_AT " + make_interval(secs => $1::int8)"
#define REACHED PASSED " AND " FENCE " <= " END_AT

/* Where the fence is reached a new one is set. Its number is our own transaction's: who had one by
 * then has a smaller one. A transaction that had begun before and got its number later would be one
 * that waited for WRITTEN_WITHIN before it wrote anything. */
const struct db_statement db_signal_scan_statement = {
    .name = "signal_scan",
    .sql = "UPDATE trust_scan s SET looked_from = " BEGIN_AT ","
           "  looked_until = greatest(" BEGIN_AT ","
           "   CASE WHEN " PASSED " THEN least(" FENCE ", " END_AT ") END),"
           "  fence_at = CASE WHEN " REACHED " THEN now() ELSE s.fence_at END,"
           "  fence_xid = CASE WHEN " REACHED " THEN pg_current_xact_id() ELSE s.fence_xid END"
           " WHERE s.one = (SELECT t.one FROM trust_scan t WHERE t.fence_at <= now() - " EVERY
           "  FOR UPDATE SKIP LOCKED)"
           " RETURNING s.looked_from < s.looked_until, s.fence_at < now() AND " PASSED ","
           "  " RATE_BIN("s.looked_from") " < " RATE_BIN("s.looked_until"),
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

#define IN_THE_WINDOW                                                                              \
    " e.at >= (SELECT looked_from FROM trust_scan) AND e.at < (SELECT looked_until FROM trust_scan)"
/* Of the present owner, and not forgotten. */
#define STILL_COUNTS                                                                               \
    " d.ownership_epoch = e.ownership_epoch AND e.at > coalesce(d.trust_since, '-infinity')"
/* What is of one device is found by its index, whatever the planner makes of reasons and outcomes:
 * so some of these are written as no index has them.
 *
 * Whether frame `x` came before: then it is that one once more, to the byte, whoever sent it. $1 is
 * what a frame with a right MIC was refused for: others are of anybody. */
#define SAME_FRAME(x)                                                                              \
    " o.dev_eui = " x ".dev_eui AND o.join_type = " x ".join_type AND o.dev_nonce = " x ".dev_nonce"
#define SEEN_BEFORE(x)                                                                             \
    "(EXISTS (SELECT FROM join_event o WHERE" SAME_FRAME(                                          \
        x) " AND o.at < " x ".at"                                                                  \
           "  AND o.outcome = 'success')"                                                          \
           " OR EXISTS (SELECT FROM join_event o WHERE" SAME_FRAME(                                \
               x) " AND o.at < " x ".at"                                                           \
                  "  AND o.outcome <> 'success' AND (o.reason || '') = ANY($1::text[])))"
/* The same of a refused one. */
#define JOINED_WITH(x)                                                                             \
    "EXISTS (SELECT FROM join_event o WHERE" SAME_FRAME(x) " AND o.outcome = 'success'"            \
                                                           " AND o.at < " x ".at + " CLOCKS_APART  \
                                                           ")"
#define E_IS_OLD SEEN_BEFORE("e")
#define S_IS_OLD SEEN_BEFORE("s")
#define F_IS_OLD "(" JOINED_WITH("f") " OR " SEEN_BEFORE("f") ")"

/* Frames refused for reason $2, of join type `type`, each once and where it was never seen before.
 */
#define FRESH(type)                                                                                \
    "refused AS MATERIALIZED (SELECT d.dev_eui, e.join_type, e.dev_nonce, min(e.at) AS at,"        \
    "   d.ownership_epoch, d.nonce_epoch, d.trust_since"                                           \
    "  FROM join_event e JOIN device d ON d.dev_eui = e.dev_eui AND" STILL_COUNTS                  \
    "  WHERE" IN_THE_WINDOW " AND e.outcome <> 'success' AND e.reason = $2"                        \
    "   AND e.join_type = " type " AND e.dev_nonce IS NOT NULL"                                    \
    "  GROUP BY d.dev_eui, e.join_type, e.dev_nonce),"                                             \
    " few AS MATERIALIZED (SELECT * FROM (SELECT r.*, row_number() OVER"                           \
    "   (PARTITION BY r.dev_eui ORDER BY r.at, r.dev_nonce) AS place FROM refused r) r"            \
    "  WHERE r.place <= " FRAMES_OF_A_DEVICE "),"                                                  \
    " fresh AS MATERIALIZED (SELECT f.*, coalesce((SELECT o.dev_nonce FROM join_event o"           \
    "    WHERE o.dev_eui = f.dev_eui AND o.outcome = 'success' AND o.join_type = f.join_type"      \
    "     AND o.at < f.at ORDER BY o.at DESC LIMIT 1), 0) AS last FROM few f WHERE NOT " F_IS_OLD  \
    ")"
#define FRESH_JOINS FRESH("255")
#define FRESH_REJOINS FRESH("1")

#define NOT_YET(kinds)                                                                             \
    " NOT EXISTS (SELECT FROM trust_signal t WHERE t.dev_eui = f.dev_eui AND t.at = f.at"          \
    "  AND t.kind IN (" kinds "))"
#define INSERT_SIGNAL                                                                              \
    " INSERT INTO trust_signal (at, dev_eui, kind, from_value, to_value, ownership_epoch)"

/* A lower DevNonce counts where it is above the first one that the device joined with: what it sent
 * before, out of reach perhaps, anybody near it may have. Two lower ones, the second above the
 * first, with a join between them whose frame is new, too, are two series. A join stands between no
 * more than one such pair. */
const struct db_statement db_signal_nonces_statement = {
    .name = "signal_nonces",
    .sql =
        "WITH " FRESH_JOINS ","
        " lower AS MATERIALIZED (SELECT * FROM fresh f WHERE EXISTS (SELECT FROM join_event o"
        "   WHERE o.dev_eui = f.dev_eui AND o.outcome = 'success' AND o.join_type = 255"
        "    AND o.nonce_epoch = f.nonce_epoch AND o.dev_nonce < f.dev_nonce AND o.at < f.at)),"
        " lined AS MATERIALIZED (SELECT l.*, coalesce(lag(l.at) OVER v, b.at) AS before_at,"
        "   coalesce(lag(l.dev_nonce::int8) OVER v, b.to_value) AS before_nonce FROM lower l"
        "  LEFT JOIN LATERAL (SELECT t.at, t.to_value FROM trust_signal t"
        "   WHERE t.dev_eui = l.dev_eui AND t.kind IN ('dev_nonce_series', 'dev_nonce_lower')"
        "    AND t.ownership_epoch = l.ownership_epoch AND t.at < l.at"
        "    AND t.at > coalesce(l.trust_since, '-infinity') ORDER BY t.at DESC LIMIT 1) b ON true"
        "  WINDOW v AS (PARTITION BY l.dev_eui ORDER BY l.at, l.dev_nonce))" INSERT_SIGNAL
        " SELECT f.at, f.dev_eui, CASE WHEN f.before_nonce < f.dev_nonce"
        "   AND EXISTS (SELECT FROM join_event s WHERE s.dev_eui = f.dev_eui"
        "    AND s.outcome = 'success' AND s.join_type = 255 AND s.nonce_epoch = f.nonce_epoch"
        "    AND s.dev_nonce > f.dev_nonce AND s.at > f.before_at AND s.at < f.at"
        "    AND NOT " S_IS_OLD ") THEN 'dev_nonce_series' ELSE 'dev_nonce_lower' END,"
        "  f.last, f.dev_nonce, f.ownership_epoch FROM lined f"
        " WHERE" NOT_YET("'dev_nonce_series', 'dev_nonce_lower'") " RETURNING kind",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_TEXT_ARRAY, DB_TEXT},
};

const struct db_statement db_signal_rejoins_statement = {
    .name = "signal_rejoins",
    .sql = "WITH " FRESH_REJOINS INSERT_SIGNAL
           " SELECT f.at, f.dev_eui, 'rj_count_lower', f.last, f.dev_nonce, f.ownership_epoch"
           " FROM fresh f WHERE" NOT_YET("'rj_count_lower'") " RETURNING kind",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_TEXT_ARRAY, DB_TEXT},
};

/* Once a day: it tries for as long as it is suspended. */
/* Not of one that is suspended for want of a subscription: it goes on trying, and nobody wonders.
 */
const struct db_statement db_signal_suspended_statement = {
    .name = "signal_suspended",
    .sql = "WITH " FRESH_JOINS INSERT_SIGNAL
           " SELECT DISTINCT ON (f.dev_eui) f.at, f.dev_eui, 'suspended_join', f.last, f.dev_nonce,"
           "  f.ownership_epoch FROM fresh f WHERE EXISTS (SELECT FROM device d"
           "   WHERE d.dev_eui = f.dev_eui AND d.suspended_by IS NULL)"
           "  AND NOT EXISTS (SELECT FROM trust_signal t"
           "   WHERE t.dev_eui = f.dev_eui AND t.kind = 'suspended_join'"
           "    AND t.at > f.at - interval '1 day')"
           " ORDER BY f.dev_eui, f.at RETURNING kind",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_TEXT_ARRAY, DB_TEXT},
};

#define BIN_END "(SELECT " RATE_BIN("looked_until") " FROM trust_scan)"
#define IN_THE_BIN                                                                                 \
    " e.at < " BIN_END " AND e.at >= " BIN_END " - " RATE_TIME " AND e.join_type = 255"

/* Of a quarter of an hour that is over; the busiest devices, and of each the first joins of that
 * time. Within one nonce epoch no frame is taken twice; after a reset old ones are, and anybody may
 * have sent them. */
const struct db_statement db_signal_rates_statement = {
    .name = "signal_rates",
    .sql =
        "WITH many AS MATERIALIZED (SELECT e.dev_eui FROM join_event e"
        "  WHERE" IN_THE_BIN " AND (e.outcome || '') = 'success' GROUP BY e.dev_eui"
        "  HAVING count(*) > $2 OR min(e.peer_id) <> max(e.peer_id)"
        "  ORDER BY count(*) DESC LIMIT " DEVICES_OF_A_BIN "),"
        " f AS MATERIALIZED (SELECT d.dev_eui, d.ownership_epoch, max(e.at) AS at, count(*) AS n,"
        "   count(DISTINCT e.peer_id) AS n_peers FROM many m JOIN device d ON d.dev_eui = m.dev_eui"
        "  CROSS JOIN LATERAL (SELECT e.* FROM join_event e WHERE e.dev_eui = d.dev_eui"
        "   AND e.outcome = 'success' AND" STILL_COUNTS " AND" IN_THE_BIN
        "   ORDER BY e.at LIMIT " JOINS_OF_A_BIN ") e"
        "  WHERE d.nonce_epoch = 0 OR NOT " E_IS_OLD " GROUP BY d.dev_eui)" INSERT_SIGNAL
        " SELECT f.at, f.dev_eui, v.kind, v.from_value, v.to_value, f.ownership_epoch FROM f"
        "  CROSS JOIN LATERAL (VALUES ('join_rate', f.n > $2, $2, f.n),"
        "   ('two_networks', f.n_peers > 1, 1, f.n_peers)) AS v(kind, is_so, from_value, to_value)"
        "  WHERE v.is_so AND" NOT_YET("v.kind") " RETURNING kind",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_TEXT_ARRAY, DB_INT8},
};

/* One of a device, until it is forgotten. */
const struct db_statement db_signal_shared_statement = {
    .name = "signal_shared",
    .sql = "WITH pair AS MATERIALIZED (SELECT n.dev_eui AS new_one, o.dev_eui AS other"
           "  FROM device_key n CROSS JOIN LATERAL (SELECT k.dev_eui,"
           "    coalesce(d.organization_id = $1 OR d.owner_id = $1, false) AS own"
           "   FROM device_key k JOIN device d ON d.dev_eui = k.dev_eui"
           "   WHERE k.fingerprint = n.fingerprint AND k.dev_eui <> n.dev_eui"
           "   LIMIT " KEY_DEVICES_MAX ") o"
           "  WHERE o.own AND n.dev_eui = ANY($2::bytea[])),"
           " f AS (SELECT other AS dev_eui FROM pair UNION SELECT new_one FROM pair)"
           " INSERT INTO trust_signal (at, dev_eui, kind, from_value, to_value, ownership_epoch)"
           " SELECT now(), d.dev_eui, 'shared_key', 0, 0, d.ownership_epoch"
           "  FROM f JOIN device d ON d.dev_eui = f.dev_eui"
           "  WHERE NOT EXISTS (SELECT FROM trust_signal t WHERE t.dev_eui = f.dev_eui"
           "   AND t.kind = 'shared_key' AND t.at > coalesce(d.trust_since, '-infinity'))",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA_ARRAY},
};

/* What a frame is refused for whose MIC was found right. */
static const enum device_refusal proofs[] = {
    REFUSAL_DEV_NONCE_USED,
    REFUSAL_DEV_NONCE_NOT_ABOVE,
    REFUSAL_DEV_NONCES_USED_UP,
    REFUSAL_RJ_COUNT_NOT_ABOVE,
    REFUSAL_JOIN_NONCES_USED_UP,
    REFUSAL_INACTIVE,
    REFUSAL_SUSPENDED,
    REFUSAL_QUARANTINED,
};
#define N_PROOFS (sizeof(proofs) / sizeof(proofs[0]))

static struct db_params *begin(struct db *db)
{
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_TEXT_ARRAY, N_PROOFS);
    for (size_t i = 0; i < N_PROOFS; i++)
        db_element_text(p, device_refusal_reason(proofs[i]));
    return p;
}

static int run(struct db *db, enum db_statement_id id, struct db_signal_found *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r = db_run(db, id, &rows);

    if (r < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        enum device_signal signal;

        if (db_row_signal(&rows, i, 0, &signal))
            ret->n[signal]++;
    }
    return db_rows_check(&rows);
}

static int look_for(struct db *db, enum db_statement_id id, enum device_refusal refusal,
    struct db_signal_found *ret)
{
    db_param_text(begin(db), device_refusal_reason(refusal));
    return run(db, id, ret);
}

static int look(struct db *db, unsigned window_s, struct db_signal_found *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    bool any, is_over;
    int r;

    db_param_int(db_params_of(db), DB_INT8, window_s);
    if ((r = db_run(db, DB_SIGNAL_SCAN, &rows)) < 0 || rows.n == 0)
        return r;
    any = db_row_bool(&rows, 0, 0);
    ret->more = db_row_bool(&rows, 0, 1);
    is_over = db_row_bool(&rows, 0, 2);
    if ((r = db_rows_check(&rows)) < 0 || !any)
        return r;
    if ((r = look_for(db, DB_SIGNAL_NONCES, REFUSAL_DEV_NONCE_NOT_ABOVE, ret)) < 0 ||
        (r = look_for(db, DB_SIGNAL_REJOINS, REFUSAL_RJ_COUNT_NOT_ABOVE, ret)) < 0 ||
        (r = look_for(db, DB_SIGNAL_SUSPENDED, REFUSAL_SUSPENDED, ret)) < 0 || !is_over)
        return r;
    /* Our sessions have it off; a block range index has no other way to be used. */
    if ((r = db_exec(db, "SET LOCAL enable_bitmapscan = on", false)) < 0)
        return r;
    db_param_int(begin(db), DB_INT8, DB_SIGNAL_RATE_MAX);
    return run(db, DB_SIGNAL_RATES, ret);
}

int db_signal_find(struct db *db, unsigned window_s, struct db_signal_found *ret)
{
    int r;

    *ret = (struct db_signal_found){0};
    if ((r = db_begin(db)) < 0)
        return r;
    if ((r = look(db, window_s, ret)) == 0)
        return db_commit(db);
    db_rollback(db);
    return r;
}

int db_signal_shared(struct db *db, int64_t organization_id, const struct eui64 *dev_euis, size_t n)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, organization_id);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, dev_euis[i].bytes, sizeof(dev_euis[i].bytes));
    return db_run_quiet(db, DB_SIGNAL_SHARED);
}
