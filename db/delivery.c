#include "db/delivery.h"

#include "db/job_row.h"
#include <string.h>

#define STATE_TEXT_MAX 16

static const char *const states[] = {
    [DELIVERY_WAITING] = "waiting",
    [DELIVERY_SENDING] = "sending",
    [DELIVERY_DELIVERED] = "delivered",
    [DELIVERY_DEAD] = "dead",
};
#define N_STATES (sizeof(states) / sizeof(states[0]))

#define DELIVERY_COLUMNS                                                                           \
    "id, public_id, event_id, type, body, state, n_tries, coalesce(status, 0)::int4, fault,"       \
    " " DB_UTC("created_at") ", " DB_UTC("tried_at") ", " DB_UTC("due_at")

/* The predicate of the index webhook_delivery_due. */
#define OPEN "d.state IN ('waiting', 'sending')"
#define ON_ITS_WAY "s.state = 'sending' AND s.due_at > now()"

const struct db_statement db_delivery_list_statement = {
    .name = "delivery_list",
    .sql = "SELECT " DELIVERY_COLUMNS " FROM webhook_delivery WHERE webhook_id = $1"
           " AND ($2::bytea IS NULL OR id < (SELECT a.id FROM webhook_delivery a"
           "  WHERE a.public_id = $2 AND a.webhook_id = $1)) ORDER BY id DESC LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_BYTEA, DB_INT8},
};

const struct db_statement db_delivery_find_statement = {
    .name = "delivery_find",
    .sql = "SELECT " DELIVERY_COLUMNS " FROM webhook_delivery"
           " WHERE webhook_id = $1 AND public_id = $2",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA},
};

const struct db_statement db_delivery_replay_statement = {
    .name = "delivery_replay",
    .sql = "WITH again AS (UPDATE webhook_delivery s SET state = 'waiting', n_tries = 0,"
           "   due_at = now(), status = NULL, fault = NULL"
           "  WHERE webhook_id = $1 AND public_id = $2 AND NOT (" ON_ITS_WAY ")"
           "  RETURNING " DELIVERY_COLUMNS "),"
           " woken AS (UPDATE webhook SET n_failures = 0, rests_until = now()"
           "  WHERE id = $1 AND EXISTS (SELECT FROM again))"
           " SELECT * FROM again",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA},
};

/* Of each webhook that does not rest a few, of each organization a few more, one of each before a
 * second of any; nobody waits for another's rows. One whose posts fail is tried with one at a time.
 * What two services choose at once one of them gets: rows are looked at again when they are locked.
 */
const struct db_statement db_delivery_take_statement = {
    .name = "delivery_take",
    .sql =
        "WITH ready AS MATERIALIZED (SELECT w.id, w.organization_id, w.served_at,"
        "   CASE WHEN w.n_failures > 0 THEN 1 ELSE " DB_DECIMAL(
            DB_WEBHOOK_AT_ONCE) " END"
                                "    - (SELECT count(*) FROM webhook_delivery s WHERE s.webhook_id = w.id"
                                "     AND " ON_ITS_WAY ") AS room"
                                "  FROM webhook w WHERE w.active AND w.rests_until <= now()"
                                "   AND EXISTS (SELECT FROM webhook_delivery d WHERE d.webhook_id = w.id"
                                "    AND " OPEN " AND d.due_at <= now())),"
                                " chosen AS (SELECT c.id, r.organization_id, r.served_at, row_number() OVER"
                                "   (PARTITION BY r.organization_id ORDER BY c.nth, r.served_at NULLS FIRST, c.id) AS nth"
                                "  FROM ready r CROSS JOIN LATERAL (SELECT d.id, row_number() OVER (ORDER BY d.due_at) AS nth"
                                "   FROM webhook_delivery d WHERE d.webhook_id = r.id AND " OPEN
                                " AND d.due_at <= now()"
                                "   ORDER BY d.due_at LIMIT greatest(0, r.room)) c),"
                                " picked AS (SELECT c.id FROM chosen c"
                                "  WHERE c.nth <= " DB_DECIMAL(
                                    DB_WEBHOOK_AT_ONCE_OF_ALL) "   - (SELECT count(*) FROM webhook w JOIN webhook_delivery s ON s.webhook_id = w.id"
                                                               "    WHERE w.organization_id = c.organization_id AND " ON_ITS_WAY
                                                               ")"
                                                               "  ORDER BY c.nth, c.served_at NULLS FIRST, c.id LIMIT $1),"
                                                               " locked AS MATERIALIZED (SELECT d.id FROM webhook_delivery d"
                                                               "  WHERE d.id IN (SELECT id FROM picked) AND " OPEN
                                                               " AND d.due_at <= now()"
                                                               "  FOR UPDATE SKIP LOCKED),"
                                                               " taken AS (UPDATE webhook_delivery d SET state = 'sending', turn = d.turn + 1,"
                                                               "   n_tries = d.n_tries + 1, tried_at = now(),"
                                                               "   due_at = now() + make_interval(secs => " DB_DECIMAL(
                                                                   DB_WEBHOOK_LEASE_S) ")"
                                                                                       "  FROM locked WHERE d.id = locked.id RETURNING d.*),"
                                                                                       " served AS (UPDATE webhook w SET served_at = clock_timestamp() WHERE w.id IN"
                                                                                       "  (SELECT id FROM webhook WHERE id IN (SELECT webhook_id FROM taken)"
                                                                                       "   FOR NO KEY UPDATE SKIP LOCKED))"
                                                                                       " SELECT t.id, t.turn, t.public_id, t.event_id, w.id, w.public_id, w.generation, w.url,"
                                                                                       "  t.body, t.n_tries FROM taken t JOIN webhook w ON w.id = t.webhook_id",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

/* A webhook rests the longer, the more posts have failed in a row: 1, 2, 4... seconds. */
const struct db_statement db_delivery_settle_statement = {
    .name = "delivery_settle",
    .sql = "WITH done AS (UPDATE webhook_delivery SET state = $3,"
           "   due_at = now() + make_interval(secs => $4), status = nullif($5, 0), fault = $6,"
           "   n_tries = n_tries - $7::int4"
           "  WHERE id = $1 AND turn = $2 AND state = 'sending' RETURNING webhook_id, state),"
           " felt AS (UPDATE webhook w SET"
           "   n_failures = CASE done.state WHEN 'delivered' THEN 0 ELSE w.n_failures + 1 END,"
           "   rests_until = now() + CASE done.state WHEN 'delivered' THEN interval '0' ELSE"
           "    make_interval(secs => least(" DB_DECIMAL(
               DB_WEBHOOK_REST_MAX_S) ","
                                      "     2 ^ least(w.n_failures, 20))) END"
                                      "  FROM done WHERE w.id = done.webhook_id"
                                      "   AND NOT $7"
                                      "   AND (done.state <> 'delivered' OR w.n_failures > 0))"
                                      " SELECT webhook_id FROM done",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 7,
    .params = {DB_INT8, DB_INT4, DB_TEXT, DB_INT4, DB_INT2, DB_TEXT, DB_BOOL},
};

const char *db_delivery_state_text(enum db_delivery_state state)
{
    return states[state];
}

static void read_delivery(struct db_rows *rows, size_t row, struct db_delivery *ret)
{
    char state[STATE_TEXT_MAX];
    size_t i = 0;

    ret->row_id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_bytes(rows, row, 1, ret->id, sizeof(ret->id));
    db_row_bytes(rows, row, 2, ret->event_id, sizeof(ret->event_id));
    db_row_text(rows, row, 3, ret->type, sizeof(ret->type));
    db_row_text(rows, row, 4, ret->body, sizeof(ret->body));
    db_row_text(rows, row, 5, state, sizeof(state));
    while (i < N_STATES && strcmp(states[i], state) != 0)
        i++;
    if (i == N_STATES)
        rows->failed = true;
    ret->state = (enum db_delivery_state)i;
    ret->n_tries = (unsigned)db_row_int(rows, row, 6, 0, INT32_MAX);
    ret->status = (unsigned)db_row_int(rows, row, 7, 0, INT16_MAX);
    db_row_text(rows, row, 8, ret->fault, sizeof(ret->fault));
    db_row_text(rows, row, 9, ret->created, sizeof(ret->created));
    db_row_text(rows, row, 10, ret->tried, sizeof(ret->tried));
    db_row_text(rows, row, 11, ret->due, sizeof(ret->due));
}

int db_delivery_list(struct db *db, int64_t webhook_row_id, const uint8_t *before,
    struct db_delivery *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, webhook_row_id);
    if (before != NULL)
        db_param_bytes(p, before, ACCOUNT_ID_LEN);
    else
        db_param_null(p, DB_BYTEA);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_DELIVERY_LIST, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++)
        read_delivery(&rows, i, &ret[i]);
    *ret_n = rows.n;
    return db_rows_check(&rows);
}

static int run_for_one(struct db *db, enum db_statement_id statement, int64_t webhook_row_id,
    const uint8_t id[static ACCOUNT_ID_LEN], struct db_delivery *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, webhook_row_id);
    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    if ((r = db_run(db, statement, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_delivery(&rows, 0, ret);
    return db_rows_check(&rows);
}

int db_delivery_replay(struct db *db, int64_t webhook_row_id,
    const uint8_t id[static ACCOUNT_ID_LEN], struct db_delivery *ret)
{
    int r = run_for_one(db, DB_DELIVERY_REPLAY, webhook_row_id, id, ret);

    if (r <= 0)
        return r;
    r = run_for_one(db, DB_DELIVERY_FIND, webhook_row_id, id, ret);
    return r < 0 ? r : r > 0 ? DB_DELIVERY_UNKNOWN : DB_DELIVERY_BUSY;
}

int db_delivery_take(struct db *db, struct db_delivery_task *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_DELIVERY_TAKE, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n && i < n_max; i++) {
        struct db_delivery_task *task = &ret[i];

        task->row_id = db_row_int(&rows, i, 0, 1, INT64_MAX);
        task->turn = db_row_int(&rows, i, 1, 1, INT32_MAX);
        db_row_bytes(&rows, i, 2, task->id, sizeof(task->id));
        db_row_bytes(&rows, i, 3, task->event_id, sizeof(task->event_id));
        task->webhook_row_id = db_row_int(&rows, i, 4, 1, INT64_MAX);
        db_row_bytes(&rows, i, 5, task->webhook_id, sizeof(task->webhook_id));
        task->generation = (uint32_t)db_row_int(&rows, i, 6, 1, INT32_MAX);
        db_row_text(&rows, i, 7, task->url, sizeof(task->url));
        db_row_text(&rows, i, 8, task->body, sizeof(task->body));
        task->n_tries = (unsigned)db_row_int(&rows, i, 9, 1, INT32_MAX);
    }
    *ret_n = rows.n < n_max ? rows.n : n_max;
    return db_rows_check(&rows);
}

int db_delivery_settle(
    struct db *db, const struct db_delivery_task *task, const struct db_delivery_result *result)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, task->row_id);
    db_param_int(p, DB_INT4, task->turn);
    db_param_text(p, states[result->state]);
    db_param_int(p, DB_INT4, result->again_s);
    db_param_int(p, DB_INT2, result->status);
    if (result->fault != NULL)
        db_param_text(p, result->fault);
    else
        db_param_null(p, DB_TEXT);
    db_param_int(p, DB_BOOL, result->untried);
    r = db_run(db, DB_DELIVERY_SETTLE, &rows);
    return r < 0 ? r : rows.n == 0;
}
