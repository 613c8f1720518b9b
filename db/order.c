#include "db/order.h"

#include "db/order_row.h"
#include <string.h>

static const char *const states[] = {
    [ORDER_REQUESTED] = "requested",
    [ORDER_REJECTED] = "rejected",
    [ORDER_APPROVED] = "approved",
    [ORDER_READY] = "ready",
    [ORDER_FAILED] = "failed",
    [ORDER_CANCELLED] = "cancelled",
};
#define N_STATES (sizeof(states) / sizeof(states[0]))

static const char *const deliveries[] = {
    [ORDER_JWE] = "jwe",
    [ORDER_LEGACY] = "legacy",
};
#define N_DELIVERIES (sizeof(deliveries) / sizeof(deliveries[0]))

static const char *const kinds[] = {
    [DEVICE_LORAWAN] = "lorawan",
    [DEVICE_SIGFOX] = "sigfox",
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define WORD_MAX 16

/* Those who ask at once are counted one after the other. */
const struct db_statement db_order_lock_statement = {
    .name = "order_lock",
    .sql = "SELECT FROM organization WHERE id = $1 FOR NO KEY UPDATE",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_INT8},
};

#define N_OPEN                                                                                     \
    "(SELECT count(*) FROM batch_order o JOIN batch b ON b.id = o.batch_id"                        \
    "  WHERE b.organization_id = $1 AND o.state IN ('requested', 'approved'))"

/* clang-format off */
const struct db_statement db_order_add_statement = {
    .name = "order_add",
    .sql =
        "WITH made AS (INSERT INTO batch (organization_id, format) SELECT $1, '" DB_ORDER_FORMAT "'"
        "   WHERE " N_OPEN " < " DB_DECIMAL(DB_ORDER_OPEN_MAX) " RETURNING id, public_id),"
        " told AS (INSERT INTO batch_order (batch_id, module_id, device_kind, n, wanted_block_id,"
        "   join_eui, mac_version, profile_id, delivery, public_key, code_length, state, asked_by,"
        "   request_id, key_digest)"
        "  SELECT id, $2, $3, $4, nullif($5, 0), $6, $7, $8, $9, $10, $11, 'requested', $12, $13, $14"
        "  FROM made)"
        " SELECT public_id FROM made",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 14,
    .params = {DB_INT8, DB_INT8, DB_TEXT, DB_INT8, DB_INT8, DB_BYTEA, DB_TEXT, DB_BYTEA, DB_TEXT,
        DB_TEXT, DB_INT2, DB_BYTEA, DB_TEXT, DB_BYTEA},
};
/* clang-format on */

/* Who waited for the block's row looks at it anew, and at the next one where it has no room by
 * then. The row is held to the end of the transaction: what is given next is right behind. */
#define USABLE                                                                                     \
    "e.organization_id = b.organization_id AND e.kind = o.device_kind AND e.closed_at IS NULL"     \
    " AND (o.wanted_block_id IS NULL OR e.id = o.wanted_block_id)"
const struct db_statement db_order_take_statement = {
    .name = "order_take",
    .sql = "WITH usable AS (SELECT e.id, o.n FROM batch b JOIN batch_order o ON o.batch_id = b.id"
           "   JOIN eui_block e ON " USABLE
           "   WHERE b.id = $1 AND o.state = 'requested' AND e.size - e.n_given >= o.n"
           "   ORDER BY e.id LIMIT 1 FOR NO KEY UPDATE OF e)"
           " UPDATE eui_block e SET n_given = e.n_given + u.n FROM usable u WHERE e.id = u.id"
           " RETURNING e.id, e.first, e.n_given - u.n",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_order_left_statement = {
    .name = "order_left",
    .sql = "SELECT o.state = 'requested', coalesce((SELECT max(e.size - e.n_given)"
           "  FROM eui_block e WHERE " USABLE "), -1)"
           " FROM batch b JOIN batch_order o ON o.batch_id = b.id WHERE b.id = $1",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_order_begin_statement = {
    .name = "order_begin",
    .sql = "WITH begun AS (UPDATE batch_order o SET state = 'approved', block_id = $2, first = $3,"
           "   decided_by = $4, decided_at = CASE WHEN $4::bytea IS NOT NULL THEN now() END,"
           "   request_id = $5 FROM batch b"
           "  WHERE o.batch_id = $1 AND o.state = 'requested' AND b.id = o.batch_id"
           "  RETURNING b.organization_id, o.asked_by, o.n)"
           " INSERT INTO job (organization_id, client_id, kind, state, fingerprint, lease_until,"
           "  batch_id, n_rows)"
           " SELECT organization_id, asked_by, 'order', 'waiting', sha256(''), now(), $1, n"
           " FROM begun RETURNING id",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 5,
    .params = {DB_INT8, DB_INT8, DB_BYTEA, DB_BYTEA, DB_TEXT},
};

const struct db_statement db_order_reject_statement = {
    .name = "order_reject",
    .sql = "UPDATE batch_order SET state = 'rejected', decided_by = $2, decided_at = now(),"
           "  reason = nullif($3, '') WHERE batch_id = $1 AND state = 'requested' RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 3,
    .params = {DB_INT8, DB_BYTEA, DB_TEXT},
};

const struct db_statement db_order_withdraw_statement = {
    .name = "order_withdraw",
    .sql = "UPDATE batch_order SET state = 'cancelled' WHERE batch_id = $1 AND state = 'requested'"
           " RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8},
};

const char *db_order_state_text(enum db_order_state state)
{
    return states[state];
}

const char *db_order_delivery_text(enum db_order_delivery delivery)
{
    return deliveries[delivery];
}

bool db_order_delivery_parse(const char *text, enum db_order_delivery *ret)
{
    for (size_t i = 0; i < N_DELIVERIES; i++) {
        if (strcmp(text, deliveries[i]) != 0)
            continue;
        *ret = (enum db_order_delivery)i;
        return true;
    }
    return false;
}

/* The index of the column's word. */
static size_t read_word(
    struct db_rows *rows, size_t row, int column, const char *const *words, size_t n_words)
{
    char text[WORD_MAX];

    db_row_text(rows, row, column, text, sizeof(text));
    for (size_t i = 0; i < n_words; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    rows->failed = true;
    return 0;
}

/* `size` bytes, or null: false. */
static bool read_bytes(struct db_rows *rows, size_t row, int column, void *out, size_t size)
{
    if (db_row_is_null(rows, row, column))
        return false;
    db_row_bytes(rows, row, column, out, size);
    return true;
}

static void read_lorawan(struct db_rows *rows, size_t row, int column, struct db_order *ret)
{
    char version[WORD_MAX];

    db_row_bytes(rows, row, column++, ret->join_eui.bytes, sizeof(ret->join_eui.bytes));
    db_row_text(rows, row, column++, version, sizeof(version));
    if (!lw_mac_version_parse(version, &ret->mac_version))
        rows->failed = true;
    ret->has_profile_id = read_bytes(rows, row, column, ret->profile_id, sizeof(ret->profile_id));
}

void db_order_read(struct db_rows *rows, size_t row, int column, struct db_order *ret)
{
    *ret = (struct db_order){0};
    db_row_text(rows, row, column++, ret->certificate, sizeof(ret->certificate));
    ret->module_id = db_row_int(rows, row, column++, 1, INT64_MAX);
    ret->kind = (enum device_kind)read_word(rows, row, column++, kinds, N_KINDS);
    ret->n = db_row_int(rows, row, column++, 1, DB_ORDER_MAX);
    ret->has_block = read_bytes(rows, row, column++, ret->block, sizeof(ret->block));
    ret->is_given = read_bytes(rows, row, column++, ret->first.bytes, sizeof(ret->first.bytes));
    if (ret->kind == DEVICE_LORAWAN)
        read_lorawan(rows, row, column, ret);
    column += 3;
    ret->delivery =
        (enum db_order_delivery)read_word(rows, row, column++, deliveries, N_DELIVERIES);
    ret->code_length = (unsigned)db_row_int(rows, row, column++, 1, INT16_MAX);
    ret->state = (enum db_order_state)read_word(rows, row, column++, states, N_STATES);
    db_row_bytes(rows, row, column++, ret->asked_by, sizeof(ret->asked_by));
    ret->is_decided = read_bytes(rows, row, column++, ret->decided_by, sizeof(ret->decided_by));
    db_row_text(rows, row, column++, ret->reason, sizeof(ret->reason));
    db_row_text(rows, row, column++, ret->decided_at, sizeof(ret->decided_at));
    db_row_text(rows, row, column++, ret->ready_at, sizeof(ret->ready_at));
    db_row_text(rows, row, column++, ret->delivered_at, sizeof(ret->delivered_at));
    db_row_text(rows, row, column++, ret->files_until, sizeof(ret->files_until));
    db_row_text(rows, row, column++, ret->files_deleted_at, sizeof(ret->files_deleted_at));
    db_row_bytes(rows, row, column, ret->key_digest, sizeof(ret->key_digest));
}

static void put_lorawan(struct db_params *p, const struct db_order_wish *wish)
{
    if (wish->kind == DEVICE_LORAWAN) {
        db_param_bytes(p, wish->join_eui.bytes, sizeof(wish->join_eui.bytes));
        db_param_text(p, lw_mac_version_text(wish->mac_version));
    } else {
        db_param_null(p, DB_BYTEA);
        db_param_null(p, DB_TEXT);
    }
    if (wish->profile_id != NULL)
        db_param_bytes(p, wish->profile_id, DB_ORDER_PROFILE_ID_LEN);
    else
        db_param_null(p, DB_BYTEA);
}

int db_order_add(
    struct db *db, const struct db_order_wish *wish, uint8_t ret_id[static ACCOUNT_ID_LEN])
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, wish->organization_id);
    if ((r = db_run_quiet(db, DB_ORDER_LOCK)) < 0)
        return r;
    p = db_params_of(db);
    db_param_int(p, DB_INT8, wish->organization_id);
    db_param_int(p, DB_INT8, wish->module_id);
    db_param_text(p, kinds[wish->kind]);
    db_param_int(p, DB_INT8, wish->n);
    db_param_int(p, DB_INT8, wish->block_id);
    put_lorawan(p, wish);
    db_param_text(p, deliveries[wish->delivery]);
    db_param_text(p, wish->public_key);
    db_param_int(p, DB_INT2, wish->code_length);
    db_param_bytes(p, wish->client_id, ACCOUNT_ID_LEN);
    db_param_text(p, wish->request_id);
    db_param_bytes(p, wish->key_digest, DB_ORDER_DIGEST_LEN);
    if ((r = db_run(db, DB_ORDER_ADD, &rows)) < 0 || rows.n == 0)
        return r < 0 ? r : 1;
    db_row_bytes(&rows, 0, 0, ret_id, ACCOUNT_ID_LEN);
    return db_rows_check(&rows);
}

/* What the order's transaction is undone for: there is no room, or it was decided just now. */
static int explain(struct db *db, int64_t batch_row_id, int64_t *ret_left)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    bool is_requested;
    int r;

    db_param_int(db_params_of(db), DB_INT8, batch_row_id);
    if ((r = db_run(db, DB_ORDER_LEFT, &rows)) < 0)
        return r;
    is_requested = db_row_bool(&rows, 0, 0);
    *ret_left = db_row_int(&rows, 0, 1, -1, DB_EUI_BLOCK_SIZE_MAX);
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    return is_requested ? DB_ORDER_NO_ROOM : DB_ORDER_OVER;
}

int db_order_begin(struct db *db, int64_t batch_row_id, const uint8_t *decided_by,
    const char *request_id, int64_t *ret_left)
{
    CLEANUP(db_rows_done) struct db_rows taken = {0};
    CLEANUP(db_rows_done) struct db_rows begun = {0};
    struct db_params *p = db_params_of(db);
    struct eui64 first = {{0}};
    int64_t block_id, n_before;
    int r;

    db_param_int(p, DB_INT8, batch_row_id);
    if ((r = db_run(db, DB_ORDER_TAKE, &taken)) < 0)
        return r;
    if (taken.n == 0)
        return explain(db, batch_row_id, ret_left);
    block_id = db_row_int(&taken, 0, 0, 1, INT64_MAX);
    db_row_bytes(&taken, 0, 1, first.bytes, sizeof(first.bytes));
    n_before = db_row_int(&taken, 0, 2, 0, DB_EUI_BLOCK_SIZE_MAX);
    if ((r = db_rows_check(&taken)) < 0)
        return r;
    first = db_eui_block_at(&first, n_before);

    p = db_params_of(db);
    db_param_int(p, DB_INT8, batch_row_id);
    db_param_int(p, DB_INT8, block_id);
    db_param_bytes(p, first.bytes, sizeof(first.bytes));
    if (decided_by != NULL)
        db_param_bytes(p, decided_by, ACCOUNT_ID_LEN);
    else
        db_param_null(p, DB_BYTEA);
    db_param_text(p, request_id);
    r = db_run(db, DB_ORDER_BEGIN, &begun);
    return r < 0 ? r : begun.n == 0 ? DB_ORDER_OVER : 0;
}

/* Of a statement that changes its row, or finds that another has: outcome 1. */
static int run_to_end(struct db *db, enum db_statement_id id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r = db_run(db, id, &rows);

    return r < 0 ? r : rows.n == 0;
}

int db_order_reject(struct db *db, int64_t batch_row_id,
    const uint8_t decided_by[static ACCOUNT_ID_LEN], const char *reason)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, batch_row_id);
    db_param_bytes(p, decided_by, ACCOUNT_ID_LEN);
    db_param_text(p, reason);
    return run_to_end(db, DB_ORDER_REJECT);
}

int db_order_withdraw(struct db *db, int64_t batch_row_id)
{
    db_param_int(db_params_of(db), DB_INT8, batch_row_id);
    return run_to_end(db, DB_ORDER_WITHDRAW);
}
