#include "db/epoch.h"

#include "base/clock.h"
#include "base/hex.h"
#include "db/audit.h"
#include "db/connection.h"
#include "lorawan/types.h"
#include <stdio.h>
#include <string.h>

#define SQLSTATE_NO_TABLE "42P01"
#define REQUEST_BYTES 16
#define DETAIL_MAX 200

/* The timeline of this very moment; on a standby that fails, and rightly. */
const struct db_statement db_epoch_look_statement = {
    .name = "epoch_look",
    .sql = "SELECT e.epoch, uuid_send(e.mark), e.join_nonce_total, e.system_identifier, e.timeline,"
           "  c.system_identifier, database_timeline(), pg_current_wal_insert_lsn(),"
           "  current_setting('synchronous_standby_names') <> '',"
           "  e.table_oid <> e.tableoid::int8"
           " FROM database_epoch e, pg_control_system() c",
    .shape = DB_SHAPE_ONE,
};

const struct db_statement db_epoch_take_statement = {
    .name = "epoch_take",
    .sql = "SELECT database_take_timeline()",
    .shape = DB_SHAPE_ONE,
    .commits = true,
};

const struct db_statement db_epoch_bump_statement = {
    .name = "epoch_bump",
    .sql = "UPDATE database_epoch SET epoch = epoch + 1, mark = gen_random_uuid(),"
           "  join_nonce_total = greatest(join_nonce_total, $2) + $1, bumped_at = now(),"
           "  system_identifier = (SELECT c.system_identifier FROM pg_control_system() c),"
           "  timeline = database_timeline(), table_oid = tableoid::int8"
           " WHERE greatest(join_nonce_total, $2)::int8 + $1 < 16777215",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT4, DB_INT4},
};

/* What was told to others is numbered: a webhook's delivery, a job, an organization. */
const struct db_statement db_epoch_sequences_statement = {
    .name = "epoch_sequences",
    .sql = "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass,"
           "  coalesce(last_value, 0) + $1) FROM pg_sequences"
           " WHERE schemaname = 'public' AND coalesce(last_value, 0) < max_value / 2 - $1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

/* Reads every row of device_join once: the counts belong to the report of a bump alone. */
const struct db_statement db_epoch_low_statement = {
    .name = "epoch_low",
    .sql =
        "WITH low AS MATERIALIZED (SELECT j.dev_eui, f.floor FROM device_join j"
        "  CROSS JOIN LATERAL (SELECT " DB_JOIN_NONCE_FLOOR(
            "j") "::int8 AS floor) f"
                 "  WHERE f.floor >= $1)"
                 " SELECT dev_eui, (SELECT count(*) FROM low), (SELECT count(*) FROM low WHERE floor >= 16777215)"
                 " FROM low ORDER BY floor DESC, dev_eui LIMIT $2",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

int db_epoch_look(struct db *db, struct db_epoch *ret_epoch, struct db_place *ret_place)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_epoch e = {0};
    struct db_place p = {0};
    int r;

    db_params_of(db);
    r = db_run(db, DB_EPOCH_LOOK, &rows);
    if (r < 0)
        return strcmp(db->sqlstate, SQLSTATE_NO_TABLE) == 0 ? 1 : r;
    e.epoch = (uint32_t)db_row_int(&rows, 0, 0, 0, INT32_MAX);
    db_row_bytes(&rows, 0, 1, e.mark, sizeof(e.mark));
    e.join_nonce_total = (uint32_t)db_row_int(&rows, 0, 2, 0, LW_JOIN_NONCE_MAX);
    e.system_identifier = (uint64_t)db_row_int(&rows, 0, 3, INT64_MIN, INT64_MAX);
    e.timeline = (uint32_t)db_row_int(&rows, 0, 4, 0, INT32_MAX);
    p.system_identifier = (uint64_t)db_row_int(&rows, 0, 5, INT64_MIN, INT64_MAX);
    p.timeline = (uint32_t)db_row_int(&rows, 0, 6, 0, INT32_MAX);
    p.lsn = (uint64_t)db_row_int(&rows, 0, 7, 0, INT64_MAX);
    p.has_standbys = db_row_bool(&rows, 0, 8);
    p.is_dump = db_row_bool(&rows, 0, 9);
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    *ret_epoch = e;
    *ret_place = p;
    return 0;
}

static int look(struct db *db, struct db_epoch *ret)
{
    struct db_place place;
    int r = db_epoch_look(db, ret, &place);

    return r > 0 ? error_set(ERROR_CONFIG,
                       "database: its schema knows no epochs; run the migrations first")
                 : r;
}

static int advance(struct db *db, uint32_t gap, uint32_t above)
{
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT4, gap);
    db_param_int(p, DB_INT4, above);
    if ((r = db_run_quiet(db, DB_EPOCH_BUMP)) < 0)
        return r;
    p = db_params_of(db);
    db_param_int(p, DB_INT8, DB_EPOCH_ID_STEP);
    return db_run_quiet(db, DB_EPOCH_SEQUENCES);
}

static int write_audit(struct db *db, const struct db_epoch *before, const struct db_epoch *after)
{
    uint8_t request[REQUEST_BYTES];
    char id[2 * REQUEST_BYTES + 1], number[12], detail[DETAIL_MAX];
    int r = random_bytes(request, sizeof(request));

    if (r < 0)
        return r;
    (void)snprintf(number, sizeof(number), "%u", after->epoch);
    (void)snprintf(detail, sizeof(detail),
        "{\"join_nonce_total\":%u,\"join_nonce_total_before\":%u,\"timeline\":%u,"
        "\"timeline_before\":%u,\"same_cluster\":%s}",
        after->join_nonce_total, before->join_nonce_total, after->timeline, before->timeline,
        after->system_identifier == before->system_identifier ? "true" : "false");
    return db_audit_add(
        db, &(struct db_audit_event){.request_id = hex_encode(request, sizeof(request), id),
                .action = "database.epoch.bump",
                .object = number,
                .detail = detail});
}

static int bump(struct db *db, uint32_t gap, uint32_t above, struct db_epoch_report *ret)
{
    int r;

    if ((r = look(db, &ret->before)) < 0 || (r = advance(db, gap, above)) < 0 ||
        (r = look(db, &ret->after)) < 0)
        return r;
    if (ret->after.epoch == ret->before.epoch)
        return error_set(ERROR_INPUT,
            "no device would have a JoinNonce left: the gaps so far are %u, and there are %u in all",
            above > ret->before.join_nonce_total ? above : ret->before.join_nonce_total,
            LW_JOIN_NONCE_MAX);
    return write_audit(db, &ret->before, &ret->after);
}

/* After the bump, which does not wait for it. */
static int find_low(struct db *db, struct db_epoch_report *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, LW_JOIN_NONCE_MAX / 10 * 9);
    db_param_int(p, DB_INT8, DB_EPOCH_LOW_SHOWN);
    if ((r = db_run(db, DB_EPOCH_LOW, &rows)) < 0)
        return r;
    for (; ret->n_shown < rows.n; ret->n_shown++)
        db_row_bytes(&rows, ret->n_shown, 0, ret->low[ret->n_shown].bytes,
            sizeof(ret->low[ret->n_shown].bytes));
    if (rows.n > 0) {
        ret->n_low = (uint64_t)db_row_int(&rows, 0, 1, 0, INT64_MAX);
        ret->n_used_up = (uint64_t)db_row_int(&rows, 0, 2, 0, INT64_MAX);
    }
    return db_rows_check(&rows);
}

int db_epoch_bump(struct db *db, uint32_t gap, uint32_t above, struct db_epoch_report *ret)
{
    int r;

    *ret = (struct db_epoch_report){0};
    if ((r = db_begin(db)) < 0)
        return r;
    if ((r = bump(db, gap, above, ret)) < 0) {
        char why[ERROR_TEXT_MAX];

        (void)snprintf(why, sizeof(why), "%s", error_text());
        db_rollback(db);
        return error_set(r, "%s", why);
    }
    if ((r = db_commit(db)) < 0)
        return r;
    if ((r = find_low(db, ret)) < 0) {
        char why[ERROR_TEXT_MAX];

        (void)snprintf(why, sizeof(why), "%s", error_text());
        return error_set(r,
            "bumped to epoch %u, and join_nonce_total is %u; devices were not counted: %.200s",
            ret->after.epoch, ret->after.join_nonce_total, why);
    }
    return 0;
}
