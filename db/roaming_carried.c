/* What other join servers refused, or did not get: db/agreement.h, side carried. */
#include "base/clock.h"
#include "base/error.h"
#include "db/agreement.h"
#include "db/connection.h"

#define PURGE_MAX "1000"

/* As roaming_refused, of requests that named no device that is here. */
const struct db_statement db_roaming_carried_statement = {
    .name = "roaming_carried",
    .sql =
        "WITH input AS (SELECT i.partner_id, i.sender, i.prefix, i.prefix_len::int2 AS prefix_len,"
        "   i.message_type, i.outcome, i.result_code, sum(i.n)::int8 AS n,"
        "   now() - max(i.first_ms) * interval '1 ms' AS first_at,"
        "   now() - min(i.last_ms) * interval '1 ms' AS last_at"
        "  FROM unnest($1::int8[], $2::text[], $3::bytea[], $4::int8[], $5::text[], $6::text[],"
        "    $7::text[], $8::int8[], $9::int8[], $10::int8[])"
        "   AS i(partner_id, sender, prefix, prefix_len, message_type, outcome, result_code, n,"
        "    first_ms, last_ms)"
        "  GROUP BY 1, 2, 3, 4, 5, 6, 7)"
        " INSERT INTO roaming_carried_refusal AS r (partner_id, sender, join_prefix,"
        "  join_prefix_len, message_type, outcome, result_code, n, first_at, last_at)"
        " SELECT i.* FROM input i WHERE EXISTS (SELECT FROM roaming_carried_refusal o"
        "   WHERE o.partner_id = i.partner_id AND o.sender = i.sender"
        "    AND o.join_prefix = i.prefix AND o.join_prefix_len = i.prefix_len"
        "    AND o.message_type = i.message_type AND o.outcome = i.outcome"
        "    AND o.result_code = i.result_code)"
        "  OR (SELECT count(*) FROM roaming_carried_refusal) < " DB_DECIMAL(
            DB_ROAMING_REFUSALS_MAX) " ORDER BY i.partner_id, i.sender, i.prefix, i.prefix_len,"
                                     "  i.message_type, i.outcome, i.result_code"
                                     " ON CONFLICT (partner_id, sender, join_prefix,"
                                     "  join_prefix_len, message_type, outcome, result_code)"
                                     "  DO UPDATE SET n = r.n + excluded.n,"
                                     "   first_at = least(r.first_at, excluded.first_at),"
                                     "   last_at = greatest(r.last_at, excluded.last_at)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 10,
    .params = {DB_INT8_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY, DB_INT8_ARRAY, DB_TEXT_ARRAY,
        DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_INT8_ARRAY, DB_INT8_ARRAY, DB_INT8_ARRAY},
};

const struct db_statement db_roaming_carried_purge_statement = {
    .name = "roaming_carried_purge",
    .sql =
        "DELETE FROM roaming_carried_refusal WHERE id IN"
        " ((SELECT id FROM roaming_carried_refusal"
        "  WHERE last_at < now() - make_interval(days => " DB_DECIMAL(
            DB_ROAMING_REFUSAL_DAYS) ") ORDER BY last_at LIMIT " PURGE_MAX
                                     ") UNION ALL (SELECT id FROM roaming_carried_refusal ORDER BY last_at DESC OFFSET " DB_DECIMAL(
                                         DB_ROAMING_REFUSALS_KEPT) " LIMIT " PURGE_MAX
                                                                   ")) RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
};

static void add_texts(struct db_params *p, const struct db_roaming_refused *refused, size_t n,
    const char *(*text_of)(const struct db_roaming_carried *))
{
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, text_of(&refused[i].carried));
}

static const char *sender_of(const struct db_roaming_carried *c)
{
    return c->sender;
}

static const char *type_of(const struct db_roaming_carried *c)
{
    return c->message_type;
}

static const char *outcome_of(const struct db_roaming_carried *c)
{
    return c->outcome;
}

static const char *code_of(const struct db_roaming_carried *c)
{
    return c->result_code;
}

int db_roaming_carried_add(struct db *db, const struct db_roaming_refused *refused, size_t n)
{
    struct db_params *p = db_params_of(db);
    int64_t now_ms = clock_monotonic_ms();

    if (n == 0 || n > DB_ROAMING_REFUSALS_PER_WRITE)
        return error_set(ERROR_INTERNAL, "database: %zu refusals", n);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, refused[i].carried.partner_id);
    add_texts(p, refused, n, sender_of);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, refused[i].carried.join_prefix.bytes, sizeof(struct eui64));
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, refused[i].carried.join_prefix_len);
    add_texts(p, refused, n, type_of);
    add_texts(p, refused, n, outcome_of);
    add_texts(p, refused, n, code_of);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, refused[i].n);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, now_ms - refused[i].first_ms);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, now_ms - refused[i].last_ms);
    return db_run_quiet(db, DB_ROAMING_CARRIED);
}

int db_roaming_carried_purge(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    if ((r = db_run(db, DB_ROAMING_CARRIED_PURGE, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    return 0;
}
