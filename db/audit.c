#include "db/audit.h"

#include "db/connection.h"
#include <stdlib.h>
#include <string.h>

#define EVENT_SELECT                                                                               \
    "SELECT e.id, " DB_UTC(                                                                        \
        "e.at") ", encode(e.client_id, 'hex'), e.request_id, e.action,"                            \
                "  e.object, e.detail::text, coalesce(c.seq, 0::int8), n.hash"                     \
                " FROM audit_event e LEFT JOIN audit_chain c ON c.event_id = e.id"                 \
                " LEFT JOIN audit_node n ON n.level = 0 AND n.place = c.seq - 1"

const struct db_statement db_audit_add_statement = {
    .name = "audit_add",
    .sql =
        "INSERT INTO audit_event (organization_id, client_id, request_id, action, object, detail)"
        " SELECT nullif(organization_id, 0), $1, $2, action, object, detail::jsonb"
        " FROM unnest($3::int8[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY"
        "  AS i(organization_id, action, object, detail, ordinal) ORDER BY ordinal",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 6,
    .params = {DB_BYTEA, DB_TEXT, DB_INT8_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY},
};

const struct db_statement db_audit_has_statement = {
    .name = "audit_has",
    .sql = "SELECT EXISTS (SELECT FROM audit_event WHERE request_id = $1)",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_TEXT},
};

/* Two of them: what is prepared once for both would be planned for both, and read everybody's
 * events to find one organization's. */
const struct db_statement db_audit_list_statement = {
    .name = "audit_list",
    .sql = EVENT_SELECT " WHERE e.organization_id = $3 AND e.id > $1 ORDER BY e.id LIMIT $2",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_audit_list_all_statement = {
    .name = "audit_list_all",
    .sql = EVENT_SELECT " WHERE e.id > $1 ORDER BY e.id LIMIT $2",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

const struct db_statement db_idempotency_take_statement = {
    .name = "idempotency_take",
    .sql = "INSERT INTO idempotency (client_id, route, key, fingerprint) VALUES ($1, $2, $3, $4)"
           " ON CONFLICT DO NOTHING RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 4,
    .params = {DB_BYTEA, DB_TEXT, DB_TEXT, DB_BYTEA},
};

const struct db_statement db_idempotency_find_statement = {
    .name = "idempotency_find",
    .sql = "SELECT fingerprint, coalesce(status, 0::int2), content_type, location, body"
           " FROM idempotency WHERE client_id = $1 AND route = $2 AND key = $3",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 3,
    .params = {DB_BYTEA, DB_TEXT, DB_TEXT},
};

/* In one order, so that two that take the same keys never wait for each other in a ring. */
const struct db_statement db_idempotency_take_all_statement = {
    .name = "idempotency_take_all",
    .sql = "INSERT INTO idempotency (client_id, route, key, fingerprint)"
           " SELECT client_id, $1, key, fingerprint"
           "  FROM unnest($2::bytea[], $3::text[], $4::bytea[]) AS i(client_id, key, fingerprint)"
           "  ORDER BY client_id, key ON CONFLICT DO NOTHING RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 4,
    .params = {DB_TEXT, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY},
};

const struct db_statement db_idempotency_compare_statement = {
    .name = "idempotency_compare",
    .sql = "SELECT i.ordinal::int4, o.fingerprint = i.fingerprint"
           " FROM unnest($2::bytea[], $3::text[], $4::bytea[]) WITH ORDINALITY"
           "  AS i(client_id, key, fingerprint, ordinal) JOIN idempotency o"
           "  ON o.client_id = i.client_id AND o.route = $1 AND o.key = i.key",
    .shape = DB_SHAPE_MANY,
    .n_params = 4,
    .params = {DB_TEXT, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY},
};

const struct db_statement db_idempotency_keep_statement = {
    .name = "idempotency_keep",
    .sql = "UPDATE idempotency SET status = $4, content_type = $5, location = $6, body = $7"
           " WHERE client_id = $1 AND route = $2 AND key = $3 RETURNING 1",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 7,
    .params = {DB_BYTEA, DB_TEXT, DB_TEXT, DB_INT2, DB_TEXT, DB_TEXT, DB_TEXT},
};

const struct db_statement db_idempotency_purge_statement = {
    .name = "idempotency_purge",
    .sql = "DELETE FROM idempotency WHERE (client_id, route, key) IN"
           " (SELECT o.client_id, o.route, o.key FROM idempotency o"
           "  WHERE o.at < now() - make_interval(days => $1) ORDER BY o.at LIMIT $2"
           "  FOR UPDATE SKIP LOCKED) RETURNING 1",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT4, DB_INT8},
};

static void put_text_or_null(struct db_params *p, const char *text)
{
    if (text != NULL)
        db_param_text(p, text);
    else
        db_param_null(p, DB_TEXT);
}

int db_audit_add_all(struct db *db, const struct db_audit_event *events, size_t n)
{
    struct db_params *p = db_params_of(db);

    if (events[0].client_id != NULL)
        db_param_bytes(p, events[0].client_id, ACCOUNT_ID_LEN);
    else
        db_param_null(p, DB_BYTEA);
    db_param_text(p, events[0].request_id);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, events[i].organization_id);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, events[i].action);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, events[i].object);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, events[i].detail);
    return db_run_quiet(db, DB_AUDIT_ADD);
}

int db_audit_add(struct db *db, const struct db_audit_event *event)
{
    return db_audit_add_all(db, event, 1);
}

int db_audit_has(struct db *db, const char *request_id, bool *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_text(p, request_id);
    r = db_run(db, DB_AUDIT_HAS, &rows);
    if (r < 0)
        return r;
    *ret = db_row_bool(&rows, 0, 0);
    return db_rows_check(&rows);
}

int db_audit_list_load(
    struct db *db, int64_t organization_id, int64_t after, size_t n_max, struct db_audit_list *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(db_audit_list_done) struct db_audit_list list = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, after);
    db_param_int(p, DB_INT8, (int64_t)n_max);
    if (organization_id != 0)
        db_param_int(p, DB_INT8, organization_id);
    r = db_run(db, organization_id != 0 ? DB_AUDIT_LIST : DB_AUDIT_LIST_ALL, &rows);
    if (r < 0)
        return r;
    list.entries = calloc(rows.n + 1, sizeof(*list.entries));
    if (list.entries == NULL)
        return error_set_errno("audit events");
    for (size_t i = 0; i < rows.n; i++) {
        struct db_audit_entry *e = &list.entries[list.n++];

        e->id = db_row_int(&rows, i, 0, 1, INT64_MAX);
        db_row_text(&rows, i, 1, e->at, sizeof(e->at));
        db_row_text(&rows, i, 2, e->client_id, sizeof(e->client_id));
        db_row_text(&rows, i, 3, e->request_id, sizeof(e->request_id));
        db_row_text(&rows, i, 4, e->action, sizeof(e->action));
        db_row_text(&rows, i, 5, e->object, sizeof(e->object));
        e->detail = db_row_text_new(&rows, i, 6);
        e->seq = db_row_int(&rows, i, 7, 0, INT64_MAX);
        if (e->seq > 0)
            db_row_bytes(&rows, i, 8, e->hash, sizeof(e->hash));
    }
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    *ret = list;
    list = (struct db_audit_list){0};
    return 0;
}

void db_audit_list_done(struct db_audit_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->entries[i].detail);
    free(list->entries);
    *list = (struct db_audit_list){0};
}

void db_idempotency_answer_done(struct db_idempotency_answer *answer)
{
    free(answer->content_type);
    free(answer->location);
    free(answer->body);
    *answer = (struct db_idempotency_answer){0};
}

static void put_call(struct db_params *p, const struct db_idempotency *call)
{
    db_param_bytes(p, call->client_id, ACCOUNT_ID_LEN);
    db_param_text(p, call->route);
    db_param_text(p, call->key);
}

static int find(struct db *db, const struct db_idempotency *call, struct db_idempotency_answer *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(db_idempotency_answer_done) struct db_idempotency_answer answer = {0};
    int r;

    put_call(db_params_of(db), call);
    r = db_run(db, DB_IDEMPOTENCY_FIND, &rows);
    if (r < 0)
        return r;
    if (rows.n == 0) /* forgotten between the two statements */
        return error_set(ERROR_DB, "database: an idempotency key was purged just now");
    db_row_bytes(&rows, 0, 0, answer.fingerprint, sizeof(answer.fingerprint));
    answer.status = (unsigned)db_row_int(&rows, 0, 1, 0, 599);
    answer.content_type = db_row_text_new(&rows, 0, 2);
    answer.location = db_row_text_new(&rows, 0, 3);
    answer.body = db_row_text_new(&rows, 0, 4);
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    *ret = answer;
    answer = (struct db_idempotency_answer){0};
    return 1;
}

int db_idempotency_take(
    struct db *db, const struct db_idempotency *call, struct db_idempotency_answer *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    put_call(p, call);
    db_param_bytes(p, call->fingerprint, sizeof(call->fingerprint));
    r = db_run(db, DB_IDEMPOTENCY_TAKE, &rows);
    if (r < 0)
        return r;
    return rows.n == 1 ? 0 : find(db, call, ret);
}

static void put_calls(struct db_params *p, const struct db_idempotency *const *calls, size_t n)
{
    db_param_text(p, calls[0]->route);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, calls[i]->client_id, ACCOUNT_ID_LEN);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, calls[i]->key);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, calls[i]->fingerprint, sizeof(calls[i]->fingerprint));
}

static int compare(
    struct db *db, const struct db_idempotency *const *calls, size_t n, bool *ret_other)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    put_calls(db_params_of(db), calls, n);
    if ((r = db_run(db, DB_IDEMPOTENCY_COMPARE, &rows)) < 0)
        return r;
    if (rows.n != n) /* forgotten between the two statements */
        return error_set(ERROR_DB, "database: an idempotency key was purged just now");
    for (size_t i = 0; i < n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)n);

        if (ordinal > 0)
            ret_other[ordinal - 1] = !db_row_bool(&rows, i, 1);
    }
    return db_rows_check(&rows);
}

int db_idempotency_take_all(
    struct db *db, const struct db_idempotency *const *calls, size_t n, bool *ret_other)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    memset(ret_other, 0, n * sizeof(*ret_other));
    if (n == 0)
        return 0;
    put_calls(db_params_of(db), calls, n);
    if ((r = db_run(db, DB_IDEMPOTENCY_TAKE_ALL, &rows)) < 0)
        return r;
    return rows.n == n ? 0 : compare(db, calls, n, ret_other);
}

int db_idempotency_keep(struct db *db, const struct db_idempotency *call, unsigned status,
    const char *content_type, const char *location, const char *body)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);

    put_call(p, call);
    db_param_int(p, DB_INT2, status);
    put_text_or_null(p, content_type);
    put_text_or_null(p, location);
    put_text_or_null(p, body);
    return db_run(db, DB_IDEMPOTENCY_KEEP, &rows);
}

int db_idempotency_purge(struct db *db, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT4, IDEMPOTENCY_DAYS);
    db_param_int(p, DB_INT8, IDEMPOTENCY_PIECE);
    if ((r = db_run(db, DB_IDEMPOTENCY_PURGE, &rows)) < 0)
        return r;
    *ret_n = rows.n;
    return 0;
}
