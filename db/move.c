#include "db/move.h"

#include "db/job_row.h"
#include <string.h>

#define N_OPEN                                                                                     \
    "(SELECT count(*) FROM job j WHERE j.organization_id = $1 AND j.kind = 'move'"                 \
    "  AND j.state IN ('waiting', 'running'))"

/* clang-format off */
const struct db_statement db_move_add_statement = {
    .name = "move_add",
    .sql =
        "WITH made AS (INSERT INTO job (organization_id, client_id, kind, move, state, fingerprint,"
        "   lease_until) SELECT $1, $2, 'move', $3, 'waiting', sha256(''), now()"
        "   WHERE " N_OPEN " < " DB_DECIMAL(DB_MOVE_OPEN_MAX) " RETURNING " DB_JOB_COLUMNS "),"
        " told AS (INSERT INTO move (job_id, as_operator, rebinds, home_net_id, as_id, to_id,"
        "   lifetime_s, request_id)"
        "  SELECT id, $4, $5, $6, nullif($7, ''), nullif($8, 0), $9, $10 FROM made)"
        " SELECT * FROM made",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 10,
    .params = {DB_INT8, DB_BYTEA, DB_TEXT, DB_BOOL, DB_BOOL, DB_BYTEA, DB_TEXT, DB_INT8, DB_INT8,
        DB_TEXT},
};

#define LISTED(rows)                                                                               \
    "WITH listed AS (INSERT INTO move_device (job_id, line, dev_eui) " rows " RETURNING line)"     \
    " UPDATE job SET n_rows = (SELECT count(*) FROM listed) WHERE id = $1 RETURNING n_rows"

const struct db_statement db_move_list_statement = {
    .name = "move_list",
    .sql = LISTED("SELECT $1, i.ordinal, i.dev_eui FROM unnest($2::bytea[]) WITH ORDINALITY"
                  " AS i(dev_eui, ordinal)"),
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA_ARRAY},
};

/* In the order of DevEUIs. */
const struct db_statement db_move_list_batch_statement = {
    .name = "move_list_batch",
    .sql = LISTED("SELECT $1, row_number() OVER (ORDER BY d.dev_eui), d.dev_eui FROM device d"
                  " WHERE d.batch_id = $2 AND ($4 OR coalesce(d.owner_id, d.organization_id) = $3)"
                  " AND ($6::text IS NULL OR d.credential = $6)"
                  " ORDER BY d.dev_eui LIMIT $5"),
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 6,
    .params = {DB_INT8, DB_INT8, DB_INT8, DB_BOOL, DB_INT8, DB_TEXT},
};

/* In turns, as exports are taken (db/export.c). */
const struct db_statement db_move_take_statement = {
    .name = "move_take",
    .sql =
        "WITH taken AS (UPDATE job SET state = 'running', turn = turn + 1,"
        "   lease_until = " DB_JOB_LEASE ", changed_at = now(), taken_at = clock_timestamp()"
        "  WHERE id = (SELECT j.id FROM job j WHERE j.kind = 'move'"
        "   AND j.state IN ('waiting', 'running') AND j.lease_until <= now()"
        "   ORDER BY (SELECT max(s.taken_at) FROM job s"
        "    WHERE s.organization_id = j.organization_id AND s.taken_at IS NOT NULL) NULLS FIRST,"
        "   j.taken_at NULLS FIRST, j.id LIMIT 1 FOR UPDATE SKIP LOCKED)"
        "  RETURNING " DB_JOB_COLUMNS ", client_id)"
        " SELECT taken.*, m.as_operator, m.rebinds, m.home_net_id, m.as_id, coalesce(m.to_id, 0),"
        "  m.lifetime_s, m.request_id, m.n_broken, (SELECT c.revoked_at IS NOT NULL FROM client c"
        "   WHERE c.id = taken.client_id) FROM taken JOIN move m ON m.job_id = taken.id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
};

const struct db_statement db_move_load_statement = {
    .name = "move_load",
    .sql = "SELECT dev_eui FROM move_device WHERE job_id = $1 AND line > $2 ORDER BY line LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_move_advance_statement = {
    .name = "move_advance",
    .sql =
        "WITH moved AS (UPDATE job SET line = line + $4 + $5, n_moved = n_moved + $4,"
        "   n_refused = n_refused + $5, n_kept = n_kept + $4 + $5, lease_until = " DB_JOB_LEASE ","
        "   changed_at = now()"
        "  WHERE id = $1 AND turn = $2 AND line = $3 AND state = 'running'"
        "  RETURNING id, cancel_wanted),"
        " mark AS (UPDATE move m SET n_broken = 0 FROM moved WHERE m.job_id = moved.id"
        "  AND m.n_broken <> 0)"
        " SELECT cancel_wanted FROM moved",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_INT8, DB_INT4, DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_move_end_statement = {
    .name = "move_end",
    .sql = "WITH ended AS (UPDATE job SET state = $3, fault = $4, changed_at = now()"
           "  WHERE id = $1 AND turn = $2 AND state = 'running' RETURNING id),"
           " gone AS (DELETE FROM move_device d USING ended WHERE d.job_id = ended.id)"
           " SELECT id FROM ended",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 4,
    .params = {DB_INT8, DB_INT4, DB_TEXT, DB_TEXT},
};

const struct db_statement db_move_put_back_statement = {
    .name = "move_put_back",
    .sql = "WITH back AS (UPDATE job SET state = 'waiting', changed_at = now(),"
           "   lease_until = now() + make_interval(secs => $3)"
           "  WHERE id = $1 AND turn = $2 AND state = 'running' RETURNING id)"
           " UPDATE move m SET n_broken = $4 FROM back WHERE m.job_id = back.id",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 4,
    .params = {DB_INT8, DB_INT4, DB_INT4, DB_INT4},
};
/* clang-format on */

static int add_job(struct db *db, int64_t organization_id,
    const uint8_t client_id[static ACCOUNT_ID_LEN], const struct db_move_order *order,
    struct db_job *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_bytes(p, client_id, ACCOUNT_ID_LEN);
    db_param_text(p, device_move_text(order->move));
    db_param_int(p, DB_BOOL, order->as_operator);
    db_param_int(p, DB_BOOL, order->rebinds);
    if (order->has_home_net_id)
        db_param_bytes(p, order->home_net_id.bytes, sizeof(order->home_net_id.bytes));
    else
        db_param_null(p, DB_BYTEA);
    db_param_text(p, order->as_id);
    db_param_int(p, DB_INT8, order->to_id);
    db_param_int(p, DB_INT8, order->lifetime_s);
    db_param_text(p, order->request_id);
    if ((r = db_run(db, DB_MOVE_ADD, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : DB_MOVE_TOO_MANY_JOBS;
    db_job_read(&rows, 0, ret);
    return db_rows_check(&rows);
}

/* Whether the next call finds the rest, since these are not in that state any more. */
static bool leaves_the_rest(
    const struct db_move_order *order, const struct db_move_devices *devices)
{
    struct device_record after = {.credential = devices->credential};

    device_move_make(order->move, &after);
    return devices->has_credential && after.credential != devices->credential;
}

static int add_devices(struct db *db, const struct db_move_order *order,
    const struct db_move_devices *devices, struct db_job *job)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, job->row_id);
    if (devices->batch_id != 0) {
        db_param_int(p, DB_INT8, devices->batch_id);
        db_param_int(p, DB_INT8, job->organization_id);
        db_param_int(p, DB_BOOL, devices->any_holder);
        db_param_int(p, DB_INT8, DB_MOVE_BATCH_MAX + (leaves_the_rest(order, devices) ? 0 : 1));
        if (devices->has_credential)
            db_param_text(p, device_credential_text(devices->credential));
        else
            db_param_null(p, DB_TEXT);
    } else {
        db_param_array(p, DB_BYTEA_ARRAY, devices->n);
        for (size_t i = 0; i < devices->n; i++)
            db_element_bytes(p, devices->list[i].bytes, sizeof(devices->list[i].bytes));
    }
    if ((r = db_run(db, devices->batch_id != 0 ? DB_MOVE_LIST_BATCH : DB_MOVE_LIST, &rows)) < 0)
        return r;
    job->has_n_rows = true;
    job->n_rows = db_row_int(&rows, 0, 0, 0, INT64_MAX);
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    return job->n_rows > DB_MOVE_BATCH_MAX ? DB_MOVE_TOO_MANY_DEVICES : 0;
}

int db_move_add(struct db *db, int64_t organization_id,
    const uint8_t client_id[static ACCOUNT_ID_LEN], const struct db_move_order *order,
    const struct db_move_devices *devices, struct db_job *ret)
{
    int r = add_job(db, organization_id, client_id, order, ret);

    return r != 0 ? r : add_devices(db, order, devices, ret);
}

int db_move_take(struct db *db, struct db_move *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_move_order *order = &ret->order;
    int column = DB_JOB_N_COLUMNS, r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_MOVE_TAKE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    *ret = (struct db_move){0};
    db_job_read(&rows, 0, &ret->job);
    order->move = ret->job.move;
    db_row_bytes(&rows, 0, column++, ret->client_id, sizeof(ret->client_id));
    order->as_operator = db_row_bool(&rows, 0, column++);
    order->rebinds = db_row_bool(&rows, 0, column++);
    order->has_home_net_id = !db_row_is_null(&rows, 0, column);
    if (order->has_home_net_id)
        db_row_bytes(&rows, 0, column, order->home_net_id.bytes, sizeof(order->home_net_id.bytes));
    db_row_text(&rows, 0, ++column, order->as_id, sizeof(order->as_id));
    order->to_id = db_row_int(&rows, 0, ++column, 0, INT64_MAX);
    order->lifetime_s = db_row_int(&rows, 0, ++column, 0, INT64_MAX);
    db_row_text(&rows, 0, ++column, order->request_id, sizeof(order->request_id));
    ret->n_broken = db_row_int(&rows, 0, ++column, 0, INT32_MAX);
    ret->is_revoked = db_row_bool(&rows, 0, ++column);
    return db_rows_check(&rows);
}

int db_move_load(struct db *db, const struct db_move *move, struct eui64 *ret, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, move->job.row_id);
    db_param_int(p, DB_INT8, move->job.line);
    db_param_int(p, DB_INT8, DB_DEVICE_CHANGE_MAX);
    if ((r = db_run(db, DB_MOVE_LOAD, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++)
        db_row_bytes(&rows, i, 0, ret[i].bytes, sizeof(ret[i].bytes));
    *ret_n = rows.n;
    return db_rows_check(&rows);
}

int db_move_advance(struct db *db, struct db_move *move, int64_t n_moved, int64_t n_refused)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, move->job.row_id);
    db_param_int(p, DB_INT4, move->job.turn);
    db_param_int(p, DB_INT8, move->job.line);
    db_param_int(p, DB_INT8, n_moved);
    db_param_int(p, DB_INT8, n_refused);
    if ((r = db_run(db, DB_MOVE_ADVANCE, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    move->job.cancel_wanted = db_row_bool(&rows, 0, 0);
    move->job.line += n_moved + n_refused;
    move->job.counts.moved += n_moved;
    move->job.counts.refused += n_refused;
    move->n_broken = 0;
    return db_rows_check(&rows);
}

int db_move_end(struct db *db, struct db_move *move, enum db_job_state state, const char *fault)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, move->job.row_id);
    db_param_int(p, DB_INT4, move->job.turn);
    db_param_text(p, db_job_state_text(state));
    if (fault != NULL)
        db_param_text(p, fault);
    else
        db_param_null(p, DB_TEXT);
    if ((r = db_run(db, DB_MOVE_END, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    move->job.state = state;
    return 0;
}

int db_move_put_back(struct db *db, const struct db_move *move, unsigned seconds)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, move->job.row_id);
    db_param_int(p, DB_INT4, move->job.turn);
    db_param_int(p, DB_INT4, seconds);
    db_param_int(p, DB_INT4, move->n_broken);
    return db_run_quiet(db, DB_MOVE_PUT_BACK);
}
