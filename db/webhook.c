#include "db/webhook.h"

#include "db/job_row.h"

const struct word_bits webhook_event_names[] = {
    {"device.claimed", WEBHOOK_DEVICE_CLAIMED},
    {"claim.refused", WEBHOOK_CLAIM_REFUSED},
    {"batch.done", WEBHOOK_BATCH_DONE},
    {"device.first_join", WEBHOOK_FIRST_JOIN},
    {"device.offered", WEBHOOK_DEVICE_OFFERED},
    {"device.quarantined", WEBHOOK_DEVICE_QUARANTINED},
    {"device.suspect", WEBHOOK_DEVICE_SUSPECT},
    {"subscription.ending", WEBHOOK_SUBSCRIPTION_ENDING},
    {"delivery.repeated", WEBHOOK_DELIVERY_REPEATED},
    {NULL, 0},
};
#define EVENTS_ALL 511

#define WEBHOOK_COLUMNS "id, public_id, url, events, active, generation, " DB_UTC("created_at")

const struct db_statement db_webhook_add_statement = {
    .name = "webhook_add",
    .sql = "INSERT INTO webhook (public_id, organization_id, url, events, active)"
           " SELECT $1, $2, $3, $4, $5 WHERE webhook_room($2, " DB_DECIMAL(
               DB_WEBHOOKS_MAX) ")"
                                " RETURNING " WEBHOOK_COLUMNS,
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_BYTEA, DB_INT8, DB_TEXT, DB_INT4, DB_BOOL},
};

const struct db_statement db_webhook_find_statement = {
    .name = "webhook_find",
    .sql = "SELECT " WEBHOOK_COLUMNS " FROM webhook WHERE organization_id = $1 AND public_id = $2",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA},
};

const struct db_statement db_webhook_list_statement = {
    .name = "webhook_list",
    .sql = "SELECT " WEBHOOK_COLUMNS " FROM webhook WHERE organization_id = $1"
           " AND id > coalesce((SELECT a.id FROM webhook a"
           "  WHERE a.public_id = $2 AND a.organization_id = $1), 0) ORDER BY id LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_BYTEA, DB_INT8},
};

const struct db_statement db_webhook_set_statement = {
    .name = "webhook_set",
    .sql = "UPDATE webhook SET url = coalesce($2, url), events = coalesce($3, events),"
           "  active = coalesce($4, active), generation = generation + $5::int4,"
           "  n_failures = 0, rests_until = now() WHERE id = $1 RETURNING " WEBHOOK_COLUMNS,
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_INT8, DB_TEXT, DB_INT4, DB_BOOL, DB_INT4},
};

/* Before the webhook itself, in the order in which whoever settles a delivery locks them. */
const struct db_statement db_webhook_empty_statement = {
    .name = "webhook_empty",
    .sql = "DELETE FROM webhook_delivery WHERE webhook_id = $1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_webhook_remove_statement = {
    .name = "webhook_remove",
    .sql = "DELETE FROM webhook WHERE id = $1 RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

static void read_webhook(struct db_rows *rows, size_t row, struct db_webhook *ret)
{
    ret->row_id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_bytes(rows, row, 1, ret->id, sizeof(ret->id));
    db_row_text(rows, row, 2, ret->url, sizeof(ret->url));
    ret->events = (unsigned)db_row_int(rows, row, 3, 1, EVENTS_ALL);
    ret->active = db_row_bool(rows, row, 4);
    ret->generation = (uint32_t)db_row_int(rows, row, 5, 1, INT32_MAX);
    db_row_text(rows, row, 6, ret->created, sizeof(ret->created));
}

/* Of a statement that gives one row, or none: outcome 1. */
static int run_for_one(struct db *db, enum db_statement_id id, struct db_webhook *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r = db_run(db, id, &rows);

    if (r < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    read_webhook(&rows, 0, ret);
    return db_rows_check(&rows);
}

int db_webhook_add(struct db *db, int64_t organization_id, struct db_webhook *webhook)
{
    struct db_params *p = db_params_of(db);

    db_param_bytes(p, webhook->id, sizeof(webhook->id));
    db_param_int(p, DB_INT8, organization_id);
    db_param_text(p, webhook->url);
    db_param_int(p, DB_INT4, webhook->events);
    db_param_int(p, DB_BOOL, webhook->active);
    return run_for_one(db, DB_WEBHOOK_ADD, webhook);
}

int db_webhook_find(struct db *db, int64_t organization_id, const uint8_t id[static ACCOUNT_ID_LEN],
    struct db_webhook *ret)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, organization_id);
    db_param_bytes(p, id, ACCOUNT_ID_LEN);
    return run_for_one(db, DB_WEBHOOK_FIND, ret);
}

int db_webhook_list(struct db *db, int64_t organization_id, const uint8_t *after,
    struct db_webhook *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    if (after != NULL)
        db_param_bytes(p, after, ACCOUNT_ID_LEN);
    else
        db_param_null(p, DB_BYTEA);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_WEBHOOK_LIST, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++)
        read_webhook(&rows, i, &ret[i]);
    *ret_n = rows.n;
    return db_rows_check(&rows);
}

int db_webhook_set(
    struct db *db, int64_t row_id, const struct db_webhook_change *change, struct db_webhook *ret)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, row_id);
    if (change->url != NULL)
        db_param_text(p, change->url);
    else
        db_param_null(p, DB_TEXT);
    if (change->events != NULL)
        db_param_int(p, DB_INT4, *change->events);
    else
        db_param_null(p, DB_INT4);
    if (change->active != NULL)
        db_param_int(p, DB_BOOL, *change->active);
    else
        db_param_null(p, DB_BOOL);
    db_param_int(p, DB_INT4, change->new_secret);
    return run_for_one(db, DB_WEBHOOK_SET, ret);
}

int db_webhook_remove(struct db *db, int64_t row_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, row_id);
    if ((r = db_run_quiet(db, DB_WEBHOOK_EMPTY)) < 0)
        return r;
    db_param_int(db_params_of(db), DB_INT8, row_id);
    r = db_run(db, DB_WEBHOOK_REMOVE, &rows);
    return r < 0 ? r : rows.n == 0;
}
