#include "base/clock.h"
#include "base/error.h"
#include "db/agreement.h"
#include "db/connection.h"
#include <string.h>

#define WORD_MAX 16
#define PREFIX_LEN (DB_ROAMING_PREFIX_BITS / 8)
#define PURGE_MAX "1000"

static const char *const reasons[N_ROAMING_REASONS] = {
    [ROAMING_NO_AGREEMENT] = "no_agreement",
    [ROAMING_ENDED] = "ended",
    [ROAMING_NOT_BEGUN] = "not_begun",
    [ROAMING_NOT_ALLOWED] = "not_allowed",
    [ROAMING_NARROWED] = "narrowed",
};
static const char activation[] = "activation", home_ns[] = "home_ns";

/* Rows are written in one order by all join servers, or two of them would wait for each other. What
 * is new is let in by what the statement sees as it begins: two at once may be over by what the
 * second brings, and no more. */
const struct db_statement db_roaming_refused_statement = {
    .name = "roaming_refused",
    .sql =
        "WITH input AS (SELECT d.owner_id, i.home, i.sender, substr(d.join_eui, 1, 3) AS prefix,"
        "   i.service, i.reason, sum(i.n)::int8 AS n,"
        "   now() - max(i.first_ms) * interval '1 ms' AS first_at,"
        "   now() - min(i.last_ms) * interval '1 ms' AS last_at,"
        "   (array_agg(i.dev_eui ORDER BY i.last_ms))[1] AS dev_eui"
        "  FROM unnest($1::bytea[], $2::int8[], $3::bytea[], $4::bytea[], $5::text[], $6::text[],"
        "    $7::int8[], $8::int8[], $9::int8[])"
        "   AS i(dev_eui, epoch, home, sender, service, reason, n, first_ms, last_ms)"
        "  JOIN device d ON d.dev_eui = i.dev_eui AND d.ownership_epoch = i.epoch"
        "   AND d.owner_id IS NOT NULL AND d.join_eui IS NOT NULL"
        "  GROUP BY 1, 2, 3, 4, 5, 6)"
        " INSERT INTO roaming_refusal AS r (organization_id, home_net_id, sender_net_id,"
        "  join_prefix, service, reason, n, first_at, last_at, last_dev_eui)"
        " SELECT i.* FROM input i WHERE EXISTS (SELECT FROM roaming_refusal o"
        "   WHERE o.organization_id = i.owner_id AND o.home_net_id = i.home"
        "    AND o.sender_net_id = i.sender AND o.join_prefix = i.prefix"
        "    AND o.service = i.service AND o.reason = i.reason)"
        "  OR (SELECT count(*) FROM roaming_refusal) < " DB_DECIMAL(
            DB_ROAMING_REFUSALS_MAX) " ORDER BY i.owner_id, i.home, i.sender, i.prefix, i.service, i.reason"
                                     " ON CONFLICT (organization_id, home_net_id, sender_net_id, join_prefix, service, reason)"
                                     "  DO UPDATE SET n = r.n + excluded.n, first_at = least(r.first_at, excluded.first_at),"
                                     "   last_at = greatest(r.last_at, excluded.last_at), last_dev_eui = excluded.last_dev_eui",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 9,
    .params = {DB_BYTEA_ARRAY, DB_INT8_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY,
        DB_TEXT_ARRAY, DB_INT8_ARRAY, DB_INT8_ARRAY, DB_INT8_ARRAY},
};

const struct db_statement db_roaming_refusal_list_statement = {
    .name = "roaming_refusal_list",
    .sql =
        "SELECT r.id, r.organization_id, o.public_id, r.home_net_id, r.sender_net_id,"
        "  r.join_prefix, r.service, r.reason, r.n, " DB_UTC("r.first_at") ", " DB_UTC(
            "r.last_at") ", r.last_dev_eui"
                         " FROM roaming_refusal r JOIN organization o ON o.id = r.organization_id"
                         " WHERE ($1 = 0 OR r.organization_id = $1) AND ($2 = 0 OR r.id < $2)"
                         " ORDER BY r.id DESC LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_roaming_refusal_purge_statement = {
    .name = "roaming_refusal_purge",
    .sql =
        "DELETE FROM roaming_refusal WHERE id IN ((SELECT id FROM roaming_refusal"
        "  WHERE last_at < now() - make_interval(days => " DB_DECIMAL(
            DB_ROAMING_REFUSAL_DAYS) ") ORDER BY last_at LIMIT " PURGE_MAX
                                     ") UNION ALL (SELECT id FROM roaming_refusal ORDER BY last_at DESC OFFSET " DB_DECIMAL(
                                         DB_ROAMING_REFUSALS_KEPT) " LIMIT " PURGE_MAX
                                                                   ")) RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
};

const char *db_roaming_reason_text(enum db_roaming_reason reason)
{
    return reasons[reason < N_ROAMING_REASONS ? reason : ROAMING_NO_AGREEMENT];
}

const char *db_away_text(unsigned what)
{
    return what == AWAY_HOME_NS ? home_ns : activation;
}

int db_roaming_refused_add(struct db *db, const struct db_roaming_refused *refused, size_t n)
{
    struct db_params *p = db_params_of(db);
    int64_t now_ms = clock_monotonic_ms();

    if (n == 0 || n > DB_ROAMING_REFUSALS_PER_WRITE)
        return error_set(ERROR_INTERNAL, "database: %zu refusals", n);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, refused[i].dev_eui.bytes, sizeof(refused[i].dev_eui.bytes));
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, refused[i].ownership_epoch);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, refused[i].home.bytes, sizeof(refused[i].home.bytes));
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, refused[i].sender.bytes, sizeof(refused[i].sender.bytes));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, db_away_text(refused[i].what));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, db_roaming_reason_text(refused[i].reason));
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, refused[i].n);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, now_ms - refused[i].first_ms);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, now_ms - refused[i].last_ms);
    return db_run_quiet(db, DB_ROAMING_REFUSED);
}

static enum db_roaming_reason read_reason(struct db_rows *rows, size_t row, int column)
{
    char word[WORD_MAX];

    db_row_text(rows, row, column, word, sizeof(word));
    for (unsigned i = 0; i < N_ROAMING_REASONS; i++)
        if (strcmp(word, reasons[i]) == 0)
            return (enum db_roaming_reason)i;
    rows->failed = true;
    return ROAMING_NO_AGREEMENT;
}

static void read_refusal(struct db_rows *rows, size_t row, struct db_roaming_refusal *ret)
{
    char service[WORD_MAX];

    *ret = (struct db_roaming_refusal){0};
    ret->id = db_row_int(rows, row, 0, 1, INT64_MAX);
    ret->organization_id = db_row_int(rows, row, 1, 1, INT64_MAX);
    db_row_bytes(rows, row, 2, ret->organization, sizeof(ret->organization));
    db_row_bytes(rows, row, 3, ret->home.bytes, sizeof(ret->home.bytes));
    db_row_bytes(rows, row, 4, ret->sender.bytes, sizeof(ret->sender.bytes));
    db_row_bytes(rows, row, 5, ret->join_prefix.bytes, PREFIX_LEN);
    db_row_text(rows, row, 6, service, sizeof(service));
    ret->what = strcmp(service, home_ns) == 0 ? AWAY_HOME_NS : AWAY_ACTIVATION;
    ret->reason = read_reason(rows, row, 7);
    ret->n = db_row_int(rows, row, 8, 1, INT64_MAX);
    db_row_text(rows, row, 9, ret->first_at, sizeof(ret->first_at));
    db_row_text(rows, row, 10, ret->last_at, sizeof(ret->last_at));
    db_row_bytes(rows, row, 11, ret->last_dev_eui.bytes, sizeof(ret->last_dev_eui.bytes));
}

int db_roaming_refusal_list(struct db *db, int64_t organization_id, int64_t before,
    struct db_roaming_refusal *ret, size_t n_max, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_int(p, DB_INT8, before);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if ((r = db_run(db, DB_ROAMING_REFUSAL_LIST, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    for (size_t i = 0; i < rows.n; i++)
        read_refusal(&rows, i, &ret[i]);
    return db_rows_check(&rows);
}

int db_roaming_refusal_purge(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    if ((r = db_run(db, DB_ROAMING_REFUSAL_PURGE, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    return 0;
}
