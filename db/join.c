#include "db/join.h"

#include "base/clock.h"
#include "db/connection.h"
#include "db/record_row.h"
#include "device/nonce.h"
#include <stdio.h>
#include <string.h>

#define DECIMAL_(number) #number
#define DECIMAL(number) DECIMAL_(number)

#define RECENT_LEN_MAX 64 /* bytes of device_join.recent_nonces, two for each DevNonce */

/* The device of DevEUI `a.asked` or, if it is not here, the one after it (before it, at the end).
 * Whatever is asked about a device that is not here is looked up for this neighbour, at the same
 * cost, and dropped by the reader: or the time of a refusal would tell which DevEUIs are here.
 *
 * No join is for a Sigfox id: it is asked for as what is not here, and is no device's neighbour. */
#define NEAREST_TO_ASKED                                                                            \
    "coalesce("                                                                                     \
    " (SELECT n.dev_eui FROM device n WHERE n.dev_eui >= greatest(a.asked, " DB_FIRST_DEV_EUI ")"   \
    "  ORDER BY n.dev_eui LIMIT 1),"                                                                \
    " (SELECT n.dev_eui FROM device n WHERE n.dev_eui < a.asked AND n.dev_eui >= " DB_FIRST_DEV_EUI \
    "  ORDER BY n.dev_eui DESC LIMIT 1))"

/* One look at `device` finds the device or its neighbour, row and all; the second is for who asks
 * behind the last device alone.
 *
 * Snapshot and rows are of one moment: gate_rev belongs to the gate that was read with it.
 *
 * A device's keys are found together: one row each, so a device of 1.1 comes twice.
 *
 * The DevNonce page is a scalar subquery, not a join: a generic plan made while the table is empty
 * and vacuumed may join it by half of its key, and then reads every page for every device. */
#define DEVICE_COLUMNS                                                                             \
    "d.dev_eui, d.test_net_id, d.test_as_id, d.test_max_joins, d.test_until, " DB_RECORD_COLUMNS
/* clang-format off */
const struct db_statement db_join_load_statement = {
    .name = "join_load",
    .sql =
        "SELECT a.ordinal::int4, d.dev_eui = a.asked,"
        " " DB_RECORD_COLUMNS ","
        "  j.join_nonce, j.last_dev_nonce, j.nonce_epoch, j.gate_rev, j.retry_fingerprint,"
        "  (date_part('epoch', clock_timestamp() - j.retry_at) * 1000)::int8,"
        "  k.slot, k.kek_label, k.blob, k.tag,"
        "  j.has_pages AND coalesce((SELECT get_bit(p.bits, a.dev_nonce & 2047)"
        "   FROM dev_nonce_page p WHERE p.dev_eui = d.dev_eui AND p.join_eui = d.join_eui"
        "   AND p.nonce_epoch = d.nonce_epoch AND p.page = (a.dev_nonce >> 11)::int2) = 1, false),"
        "  j.recent_nonces,"
        "  j.nonce_epoch = d.nonce_epoch AND coalesce(j.recent_join_eui = d.join_eui, false),"
        "  j.rj_count1,"
        "  j.current_join_nonce, j.current_nonce, j.current_net_id, j.current_rj_count0,"
        "  j.pending_join_nonce, j.pending_nonce, j.pending_net_id, j.pending_rj_count0,"
        "  j.previous_join_nonce, j.previous_nonce, j.previous_net_id, NULL::int4,"
        " " DB_TEST_COLUMNS("j.test_joins") ","
        " greatest((SELECT e.join_nonce_total FROM database_epoch e WHERE e.only_one) - j.join_nonce_gap, 0)"
        " FROM unnest($1::bytea[], $2::int4[]) WITH ORDINALITY AS a(asked, dev_nonce, ordinal)"
        " CROSS JOIN LATERAL ("
        "  (SELECT " DEVICE_COLUMNS " FROM device d"
        "   WHERE d.dev_eui >= greatest(a.asked, " DB_FIRST_DEV_EUI ")"
        "   ORDER BY d.dev_eui LIMIT 1)"
        "  UNION ALL (SELECT " DEVICE_COLUMNS " FROM device d"
        "   WHERE d.dev_eui < a.asked AND d.dev_eui >= " DB_FIRST_DEV_EUI
        "   ORDER BY d.dev_eui DESC LIMIT 1) LIMIT 1) d"
        " JOIN device_join j ON j.dev_eui = d.dev_eui"
        " LEFT JOIN device_key k ON k.dev_eui = d.dev_eui",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY},
};
/* clang-format on */

enum load_column {
    LOAD_ORDINAL,
    LOAD_FOUND,
    LOAD_RECORD,
    LOAD_JOIN_NONCE = LOAD_RECORD + DB_N_RECORD_COLUMNS,
    LOAD_LAST_DEV_NONCE,
    LOAD_STATE_NONCE_EPOCH,
    LOAD_GATE_REV,
    LOAD_RETRY_FINGERPRINT,
    LOAD_RETRY_AGE,
    LOAD_SLOT,
    LOAD_KEY, /* three columns: kek_label, blob, tag */
    LOAD_IN_PAGE = LOAD_KEY + 3,
    LOAD_RECENT,
    LOAD_RECENT_COUNTS,
    LOAD_RJ_COUNT1,
    LOAD_SESSIONS, /* four columns each: join_nonce, nonce, net_id, rj_count0 */
    LOAD_TEST = LOAD_SESSIONS + 4 * DEVICE_N_SESSIONS,
    LOAD_JOIN_NONCE_GAP = LOAD_TEST + DB_N_TEST_COLUMNS,
};

/* Rows are updated, and so locked, in DevEUI order: two batches over the same devices wait for each
 * other instead of dying of a deadlock. The update judges the newest version of each row.
 *
 * retry_at is clock_timestamp(), not now(): now() is when the statement arrived, perhaps long
 * before the lock was had, and the retry window is counted from the answer. The event keeps now():
 * all rows of one statement are of one moment, and two joins of a device are never in one.
 *
 * Of sessions three are kept: the one answered last, which the device may have got or not, the one
 * answered before, and the one that it proved last; while it has proved none, the oldest of them.
 * What proves a session tells that the device is in no other.
 *
 * What the new JoinNonce is above the next is the gap that the load told of; a bump in between has
 * to wait for the device's next join.
 *
 * An accepted join changes join_nonce, and a test window that is opened anew gate_rev: so the
 * number of a test's joins needs no comparison of its own.
 *
 * Random DevNonces are put before the list in the row: what was there keeps its place at the end,
 * and the WAL tells only what is new. From a list that is full, of another JoinEUI or of an epoch
 * before, a trigger takes them to their pages. */
#define RECENT_GOES_ON                                                                             \
    "j.nonce_epoch = i.nonce_epoch AND (NOT i.drawn OR (j.recent_join_eui = i.join_eui"            \
    " AND octet_length(j.recent_nonces) < " DECIMAL(RECENT_LEN_MAX) "))"
const struct db_statement db_join_commit_statement = {
    .name = "join_commit",
    .sql =
        "WITH won AS ("
        " UPDATE device_join j SET join_nonce = i.new_join_nonce,"
        " join_nonce_gap = join_nonce_gap + new_join_nonce - old_join_nonce - 1,"
        " last_dev_nonce = CASE WHEN i.counted AND i.join_type = 255 THEN i.dev_nonce"
        " WHEN i.nonce_epoch <> j.nonce_epoch THEN -1 ELSE j.last_dev_nonce END,"
        " rj_count1 = CASE WHEN i.join_type = 1 THEN i.dev_nonce"
        " WHEN i.nonce_epoch <> j.nonce_epoch THEN -1 ELSE j.rj_count1 END,"
        " nonce_epoch = i.nonce_epoch,"
        " current_join_type = CASE WHEN NOT opt_neg THEN NULL"
        " WHEN proved = 1 THEN j.pending_join_type WHEN proved = 2 THEN j.previous_join_type"
        " WHEN j.current_join_nonce IS NULL THEN j.previous_join_type ELSE j.current_join_type END,"
        " current_join_nonce = CASE WHEN NOT opt_neg THEN NULL"
        " WHEN proved = 1 THEN j.pending_join_nonce WHEN proved = 2 THEN j.previous_join_nonce"
        " WHEN j.current_join_nonce IS NULL THEN j.previous_join_nonce ELSE j.current_join_nonce END,"
        " current_nonce = CASE WHEN NOT opt_neg THEN NULL"
        " WHEN proved = 1 THEN j.pending_nonce WHEN proved = 2 THEN j.previous_nonce"
        " WHEN j.current_join_nonce IS NULL THEN j.previous_nonce ELSE j.current_nonce END,"
        " current_net_id = CASE WHEN NOT opt_neg THEN NULL"
        " WHEN proved = 1 THEN j.pending_net_id WHEN proved = 2 THEN j.previous_net_id"
        " WHEN j.current_join_nonce IS NULL THEN j.previous_net_id ELSE j.current_net_id END,"
        " current_rj_count0 = CASE WHEN proved >= 0 THEN i.dev_nonce"
        " WHEN opt_neg THEN j.current_rj_count0 END,"
        " previous_join_type = CASE WHEN unproved THEN j.pending_join_type END,"
        " previous_join_nonce = CASE WHEN unproved THEN j.pending_join_nonce END,"
        " previous_nonce = CASE WHEN unproved THEN j.pending_nonce END,"
        " previous_net_id = CASE WHEN unproved THEN j.pending_net_id END,"
        " pending_join_type = CASE WHEN opt_neg THEN i.join_type::int2 END,"
        " pending_join_nonce = CASE WHEN opt_neg THEN i.new_join_nonce END,"
        " pending_nonce = CASE WHEN opt_neg THEN i.dev_nonce END,"
        " pending_net_id = CASE WHEN opt_neg THEN i.net_id END,"
        " pending_rj_count0 = NULL,"
        " test_joins = CASE WHEN i.test_join > 0 THEN i.test_join::int2 ELSE j.test_joins END,"
        " recent_join_eui = CASE WHEN drawn THEN i.join_eui ELSE j.recent_join_eui END,"
        " recent_nonces = CASE WHEN drawn THEN substr(int4send(i.dev_nonce), 3) ELSE '' END"
        " || CASE WHEN " RECENT_GOES_ON " THEN j.recent_nonces ELSE '' END,"
        " has_pages = j.has_pages OR (j.recent_nonces <> '' AND NOT (" RECENT_GOES_ON ")),"
        " retry_fingerprint = i.fingerprint, retry_at = clock_timestamp()"
        " FROM (SELECT *, opt_neg AND proved < 0 AS unproved,"
        " NOT counted AND join_type = 255 AS drawn"
        " FROM unnest($1::bytea[], $2::bytea[], $3::int4[], $4::int4[], $5::int8[],"
        " $6::int8[], $7::bool[], $8::int4[], $9::bool[], $10::bytea[], $11::text[],"
        " $12::int8[], $13::bytea[], $14::bytea[], $15::int8[], $16::int4[], $17::int4[],"
        " $18::int4[], $19::int4[], $20::bytea[]) WITH ORDINALITY"
        " AS u(dev_eui, join_eui, old_join_nonce, new_join_nonce, gate_rev, nonce_epoch, counted,"
        " dev_nonce, opt_neg, fingerprint, sender_id, peer_id, net_id, dev_addr,"
        " ownership_epoch, join_type, proved, jump_from, test_join, air_join_eui, ordinal)"
        " ORDER BY dev_eui) i"
        " WHERE j.dev_eui = i.dev_eui AND j.join_nonce = i.old_join_nonce"
        " AND j.gate_rev = i.gate_rev AND j.nonce_epoch <= i.nonce_epoch"
        " RETURNING i.*),"
        " event AS ("
        " INSERT INTO join_event (at, dev_eui, join_eui, join_type, outcome, peer_id, sender_id,"
        " net_id, dev_addr, dev_nonce, join_nonce, opt_neg, fingerprint, ownership_epoch,"
        " nonce_epoch, test_join)"
        " SELECT now(), dev_eui, air_join_eui, join_type::int2, 'success', peer_id, sender_id, net_id,"
        " dev_addr, dev_nonce, new_join_nonce, opt_neg, fingerprint, ownership_epoch, nonce_epoch,"
        " nullif(test_join, 0)::int2"
        " FROM won),"
        " signal AS ("
        " INSERT INTO trust_signal (at, dev_eui, kind, from_value, to_value, ownership_epoch)"
        " SELECT now(), dev_eui, 'dev_nonce_jump', jump_from, dev_nonce, ownership_epoch"
        " FROM won WHERE jump_from >= 0)"
        " SELECT ordinal::int4, pg_current_wal_insert_lsn() FROM won",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 20,
    .params = {DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_INT4_ARRAY, DB_INT8_ARRAY,
        DB_INT8_ARRAY, DB_BOOL_ARRAY, DB_INT4_ARRAY, DB_BOOL_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY,
        DB_INT8_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_INT8_ARRAY, DB_INT4_ARRAY, DB_INT4_ARRAY,
        DB_INT4_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY},
};

const struct db_statement db_join_resolve_statement = {
    .name = "join_resolve",
    .sql = "SELECT i.ordinal::int4 FROM unnest($1::bytea[], $2::int4[], $3::bytea[])"
           "  WITH ORDINALITY AS i(dev_eui, join_nonce, fingerprint, ordinal)"
           " WHERE EXISTS (SELECT FROM join_event e WHERE e.dev_eui = i.dev_eui"
           "  AND e.at > now() - interval '10 minutes' AND e.outcome = 'success'"
           "  AND e.join_nonce = i.join_nonce AND e.fingerprint = i.fingerprint)",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY},
};

/* The last ten by JoinNonce, which alone says what was later. They are found by time, twice: when
 * the clock was ahead and has gone back, ten joins of the time ahead hide those that came after
 * them. */
#define LAST_SESSIONS(and_when)                                                                    \
    "(SELECT e.dev_eui, e.join_eui, e.dev_nonce, e.net_id, e.opt_neg, e.join_nonce"                \
    "  FROM join_event e"                                                                          \
    "  WHERE e.dev_eui = (SELECT k.dev_eui FROM k) AND e.outcome = 'success'"                      \
    "   AND e.ownership_epoch = (SELECT d.ownership_epoch FROM device d"                           \
    "    WHERE d.dev_eui = (SELECT k.dev_eui FROM k))" and_when                                    \
    "  ORDER BY e.at DESC, e.join_nonce DESC LIMIT " DECIMAL(DB_JOIN_SESSIONS_MAX) ")"

const struct db_statement db_join_session_statement = {
    .name = "join_session",
    .sql =
        "WITH k AS MATERIALIZED (SELECT " NEAREST_TO_ASKED " AS dev_eui"
        "  FROM (SELECT $1::bytea AS asked) a)"
        " SELECT s.dev_eui = $1, s.join_eui, s.dev_nonce, s.net_id, s.opt_neg"
        " FROM (" LAST_SESSIONS("") " UNION " LAST_SESSIONS(
            " AND e.at <= now()") "  ORDER BY join_nonce DESC LIMIT " DECIMAL(DB_JOIN_SESSIONS_MAX) ") s"
                                                                                                    " WHERE s.join_nonce = $2",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_BYTEA, DB_INT4},
};

/* Any record will do; this one is of no table. The transaction has a record of its own, so its end
 * waits as every commit does. */
const struct db_statement db_join_settle_statement = {
    .name = "join_settle",
    .sql = "SELECT 1, pg_logical_emit_message(true, 'cradle', '')",
    .shape = DB_SHAPE_ONE,
    .commits = true,
};

const struct db_statement db_join_refusals_statement = {
    .name = "join_refusals",
    .sql =
        "INSERT INTO join_event (at, dev_eui, join_eui, join_type, outcome, reason, dev_nonce,"
        "  peer_id, sender_id, ownership_epoch)"
        " SELECT now() - i.age_ms * interval '1 millisecond', i.dev_eui, i.join_eui, i.join_type::int2, i.outcome, i.reason, i.dev_nonce,"
        "  i.peer_id, i.sender_id, coalesce(i.ownership_epoch, d.ownership_epoch)"
        " FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::int4[], $6::int8[],"
        "  $7::text[], $8::int8[], $9::int4[], $10::int8[])"
        "  AS i(dev_eui, join_eui, outcome, reason, dev_nonce, peer_id, sender_id,"
        "  ownership_epoch, join_type, age_ms) JOIN device d ON d.dev_eui = i.dev_eui"
        " AND d.kind = 'lorawan'",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 10,
    .params = {DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_INT4_ARRAY,
        DB_INT8_ARRAY, DB_TEXT_ARRAY, DB_INT8_ARRAY, DB_INT4_ARRAY, DB_INT8_ARRAY},
};

const struct db_statement db_join_count_statement = {
    .name = "join_count",
    .sql = "SELECT coalesce(sum(pg_stat_get_tuples_inserted(inhrelid)), 0)::int8 FROM pg_inherits"
           " WHERE inhparent = 'join_event'::regclass",
    .shape = DB_SHAPE_ONE,
};

const struct db_statement db_join_partitions_statement = {
    .name = "join_partitions",
    .sql = "SELECT join_event_partitions()",
    .shape = DB_SHAPE_ONE,
    .commits = true,
};

static void read_key(struct db_rows *rows, size_t row, struct db_join_row *ret)
{
    struct sealed_key *key;

    if (db_row_is_null(rows, row, LOAD_SLOT))
        return;
    if (db_row_int(rows, row, LOAD_SLOT, KEY_SLOT_APP, KEY_SLOT_NWK) == KEY_SLOT_APP) {
        ret->has_app = true;
        key = &ret->app;
    } else {
        ret->has_nwk = true;
        key = &ret->nwk;
    }
    db_row_text(rows, row, LOAD_KEY, key->kek_label, sizeof(key->kek_label));
    key->blob_len =
        (uint8_t)db_row_bytes_upto(rows, row, LOAD_KEY + 1, key->blob, sizeof(key->blob));
    db_row_keyed(rows, row, LOAD_KEY + 2, key->tag, &key->tag_version);
}

static bool is_used(struct db_rows *rows, size_t row, uint16_t dev_nonce)
{
    uint8_t recent[RECENT_LEN_MAX];
    size_t len = db_row_bytes_upto(rows, row, LOAD_RECENT, recent, sizeof(recent));

    return db_row_bool(rows, row, LOAD_IN_PAGE) ||
           (db_row_bool(rows, row, LOAD_RECENT_COUNTS) &&
               device_nonce_is_among(recent, len, dev_nonce));
}

static void read_session(struct db_rows *rows, size_t row, int column, struct device_session *ret)
{
    ret->present = !db_row_is_null(rows, row, column);
    if (!ret->present)
        return;
    ret->join_nonce = (uint32_t)db_row_int(rows, row, column, 0, LW_JOIN_NONCE_MAX);
    ret->nonce = (uint16_t)db_row_int(rows, row, column + 1, 0, UINT16_MAX);
    db_row_bytes(rows, row, column + 2, ret->net_id.bytes, sizeof(ret->net_id.bytes));
    ret->rj_count0 = db_row_is_null(rows, row, column + 3)
                         ? DEVICE_NO_NONCE
                         : (int32_t)db_row_int(rows, row, column + 3, 0, UINT16_MAX);
}

static void read_state(struct db_rows *rows, size_t row, struct device_join_state *ret)
{
    ret->join_nonce = (uint32_t)db_row_int(rows, row, LOAD_JOIN_NONCE, 0, LW_JOIN_NONCE_MAX);
    ret->join_nonce_gap =
        (uint32_t)db_row_int(rows, row, LOAD_JOIN_NONCE_GAP, 0, LW_JOIN_NONCE_MAX);
    ret->last_dev_nonce =
        (int32_t)db_row_int(rows, row, LOAD_LAST_DEV_NONCE, DEVICE_NO_NONCE, UINT16_MAX);
    ret->nonce_epoch = (uint32_t)db_row_int(rows, row, LOAD_STATE_NONCE_EPOCH, 0, UINT32_MAX);
    ret->gate_rev = db_row_int(rows, row, LOAD_GATE_REV, INT64_MIN, INT64_MAX);
    ret->rj_count1 = (int32_t)db_row_int(rows, row, LOAD_RJ_COUNT1, DEVICE_NO_NONCE, UINT16_MAX);
    for (int s = 0; s < DEVICE_N_SESSIONS; s++)
        read_session(rows, row, LOAD_SESSIONS + 4 * s, &ret->sessions[s]);
    ret->has_retry = !db_row_is_null(rows, row, LOAD_RETRY_FINGERPRINT);
    if (!ret->has_retry)
        return;
    db_row_bytes(
        rows, row, LOAD_RETRY_FINGERPRINT, ret->retry_fingerprint, sizeof(ret->retry_fingerprint));
    ret->retry_age_ms = db_row_int(rows, row, LOAD_RETRY_AGE, INT64_MIN, INT64_MAX);
}

/** Which of `n` inputs a row answers. Out of range sets `failed` and gives 0. */
static size_t read_ordinal(struct db_rows *rows, size_t row, size_t n)
{
    int64_t ordinal = db_row_int(rows, row, 0, 1, (int64_t)n);

    return ordinal ? (size_t)ordinal - 1 : 0;
}

int db_join_load(
    struct db *db, const struct db_join_key *keys, size_t n_keys, struct db_join_row *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    if (n_keys == 0 || n_keys > DB_JOIN_BATCH_MAX)
        return error_set(ERROR_INTERNAL, "database: a batch of %zu joins", n_keys);
    db_param_array(p, DB_BYTEA_ARRAY, n_keys);
    for (size_t i = 0; i < n_keys; i++)
        db_element_bytes(p, keys[i].dev_eui.bytes, sizeof(keys[i].dev_eui.bytes));
    db_param_array(p, DB_INT4_ARRAY, n_keys);
    for (size_t i = 0; i < n_keys; i++)
        db_element_int(p, keys[i].dev_nonce);
    r = db_run(db, DB_JOIN_LOAD, &rows);
    if (r < 0)
        return r;
    memset(ret, 0, n_keys * sizeof(*ret));
    for (size_t row = 0; row < rows.n; row++) {
        struct db_join_row *to = &ret[read_ordinal(&rows, row, n_keys)];
        const struct db_join_key *key = &keys[to - ret];

        to->found = db_row_bool(&rows, row, LOAD_FOUND);
        to->record.dev_eui = key->dev_eui;
        db_row_record(&rows, row, LOAD_RECORD, &to->record);
        db_row_test_window(&rows, row, LOAD_TEST, &to->record.test);
        read_state(&rows, row, &to->state);
        read_key(&rows, row, to);
        to->dev_nonce_used = is_used(&rows, row, key->dev_nonce);
    }
    for (size_t i = 0; i < n_keys; i++)
        if (!ret[i].found) /* read all the same, for what it costs */
            ret[i] = (struct db_join_row){.found = false};
    return db_rows_check(&rows);
}

/* One array of the parameters: a field of every struct of `items`. */
#define COLUMN_INT(p, type, items, n, field)                                                       \
    do {                                                                                           \
        db_param_array(p, type, n);                                                                \
        for (size_t at = 0; at < (n); at++)                                                        \
            db_element_int(p, (int64_t)(items)[at].field);                                         \
    } while (0)
#define COLUMN_BYTES(p, items, n, field)                                                           \
    do {                                                                                           \
        db_param_array(p, DB_BYTEA_ARRAY, n);                                                      \
        for (size_t at = 0; at < (n); at++)                                                        \
            db_element_bytes(p, &(items)[at].field, sizeof((items)[at].field));                    \
    } while (0)
#define COLUMN_TEXT(p, items, n, field)                                                            \
    do {                                                                                           \
        db_param_array(p, DB_TEXT_ARRAY, n);                                                       \
        for (size_t at = 0; at < (n); at++)                                                        \
            db_element_text(p, (items)[at].field);                                                 \
    } while (0)

/* A position before the commit that came through: what has lost the commit ends before it, or
 * within a transaction behind it. */
static void note(struct db *db, struct db_rows *rows)
{
    if (rows->n > 0)
        db_guard_note(db->guard, (uint64_t)db_row_int(rows, rows->n - 1, 1, 0, INT64_MAX));
}

/** Reads the ordinals of the winners. */
static int read_won(struct db_rows *rows, size_t n, bool *won)
{
    memset(won, 0, n * sizeof(*won));
    for (size_t row = 0; row < rows->n; row++)
        won[read_ordinal(rows, row, n)] = true;
    return db_rows_check(rows);
}

int db_join_commit(struct db *db, const struct db_join_commit *c, size_t n, bool *won)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    if (n == 0 || n > DB_JOIN_BATCH_MAX)
        return error_set(ERROR_INTERNAL, "database: a batch of %zu joins", n);
    COLUMN_BYTES(p, c, n, dev_eui);
    COLUMN_BYTES(p, c, n, join_eui);
    COLUMN_INT(p, DB_INT4_ARRAY, c, n, old_join_nonce);
    COLUMN_INT(p, DB_INT4_ARRAY, c, n, new_join_nonce);
    COLUMN_INT(p, DB_INT8_ARRAY, c, n, gate_rev);
    COLUMN_INT(p, DB_INT8_ARRAY, c, n, nonce_epoch);
    COLUMN_INT(p, DB_BOOL_ARRAY, c, n, counted);
    COLUMN_INT(p, DB_INT4_ARRAY, c, n, dev_nonce);
    COLUMN_INT(p, DB_BOOL_ARRAY, c, n, opt_neg);
    COLUMN_BYTES(p, c, n, fingerprint);
    COLUMN_TEXT(p, c, n, sender_id);
    COLUMN_INT(p, DB_INT8_ARRAY, c, n, peer_id);
    COLUMN_BYTES(p, c, n, net_id);
    COLUMN_BYTES(p, c, n, dev_addr);
    COLUMN_INT(p, DB_INT8_ARRAY, c, n, ownership_epoch);
    COLUMN_INT(p, DB_INT4_ARRAY, c, n, join_type);
    COLUMN_INT(p, DB_INT4_ARRAY, c, n, proved);
    COLUMN_INT(p, DB_INT4_ARRAY, c, n, jump_from);
    COLUMN_INT(p, DB_INT4_ARRAY, c, n, test_join);
    COLUMN_BYTES(p, c, n, air_join_eui);
    r = db_run(db, DB_JOIN_COMMIT, &rows);
    if (r < 0)
        return r;
    note(db, &rows);
    return read_won(&rows, n, won);
}

int db_join_resolve(struct db *db, const struct db_join_commit *c, size_t n, bool *won)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p;
    int r;

    if (n == 0 || n > DB_JOIN_BATCH_MAX)
        return error_set(ERROR_INTERNAL, "database: a batch of %zu joins", n);
    /* The new connection ends the backend that may still commit. */
    db_drop(db);
    if ((r = db_ready(db)) < 0)
        return r;
    p = db_params_of(db);
    COLUMN_BYTES(p, c, n, dev_eui);
    COLUMN_INT(p, DB_INT4_ARRAY, c, n, new_join_nonce);
    COLUMN_BYTES(p, c, n, fingerprint);
    r = db_run(db, DB_JOIN_RESOLVE, &rows);
    if (r < 0 || (r = read_won(&rows, n, won)) < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        if (won[i])
            return db_join_settle(db);
    return 0;
}

int db_join_session_find(
    struct db *db, const struct eui64 *dev_eui, uint32_t join_nonce, struct db_join_session *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    *ret = (struct db_join_session){0};
    db_param_bytes(p, dev_eui->bytes, sizeof(dev_eui->bytes));
    db_param_int(p, DB_INT4, join_nonce);
    r = db_run(db, DB_JOIN_SESSION, &rows);
    if (r < 0 || rows.n == 0)
        return r;
    ret->found = db_row_bool(&rows, 0, 0);
    db_row_bytes(&rows, 0, 1, ret->join_eui.bytes, sizeof(ret->join_eui.bytes));
    ret->dev_nonce = (uint16_t)db_row_int(&rows, 0, 2, 0, UINT16_MAX);
    db_row_bytes(&rows, 0, 3, ret->net_id.bytes, sizeof(ret->net_id.bytes));
    ret->opt_neg = db_row_bool(&rows, 0, 4);
    if (!ret->found)
        *ret = (struct db_join_session){.found = false};
    return db_rows_check(&rows);
}

int db_join_ready(struct db *db)
{
    return db_prepare(db, DB_JOIN_COMMIT);
}

int db_join_settle(struct db *db)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    if ((r = db_run(db, DB_JOIN_SETTLE, &rows)) < 0)
        return r;
    note(db, &rows);
    return db_rows_check(&rows);
}

int db_join_refusals(struct db *db, const struct db_join_refusal *f, size_t n)
{
    struct db_params *p = db_params_of(db);
    int64_t now_ms = clock_monotonic_ms();

    if (n == 0)
        return 0;
    COLUMN_BYTES(p, f, n, dev_eui);
    COLUMN_BYTES(p, f, n, join_eui);
    COLUMN_TEXT(p, f, n, outcome);
    COLUMN_TEXT(p, f, n, reason);
    COLUMN_INT(p, DB_INT4_ARRAY, f, n, dev_nonce);
    COLUMN_INT(p, DB_INT8_ARRAY, f, n, peer_id);
    COLUMN_TEXT(p, f, n, sender_id);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        if (f[i].was_loaded)
            db_element_int(p, f[i].ownership_epoch);
        else
            db_element_null(p);
    }
    COLUMN_INT(p, DB_INT4_ARRAY, f, n, join_type);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, now_ms - f[i].refused_ms);
    return db_run_quiet(db, DB_JOIN_REFUSALS);
}

int db_join_count(struct db *db, int64_t *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_params_of(db);
    if ((r = db_run(db, DB_JOIN_COUNT, &rows)) < 0)
        return r;
    *ret = db_row_int(&rows, 0, 0, 0, INT64_MAX);
    return db_rows_check(&rows);
}

int db_join_event_partitions(struct db *db)
{
    db_params_of(db);
    return db_run_quiet(db, DB_JOIN_PARTITIONS);
}
