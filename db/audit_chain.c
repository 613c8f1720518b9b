#include "db/audit_chain.h"

#include "base/clock.h"
#include "base/error.h"
#include "db/audit_read.h"
#include "db/connection.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Of one event a little more than two nodes are made, and no more than a level each. */
#define NODES_MAX (2 * DB_AUDIT_CHAIN_MAX + MERKLE_LEVELS)

const struct db_statement db_audit_waits_statement = {
    .name = "audit_waits",
    .sql = "SELECT event_id FROM audit_pending LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
};

/* Until the transaction's end. */
const struct db_statement db_audit_turn_statement = {
    .name = "audit_turn",
    .sql = "SELECT pg_try_advisory_xact_lock(4849017)",
    .shape = DB_SHAPE_ONE,
};

const struct db_statement db_audit_head_statement = {
    .name = "audit_head",
    .sql = "SELECT seq, chain FROM audit_chain ORDER BY seq DESC LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
};

/* What merkle_frontier() says of a tree of $1 leaves. */
const struct db_statement db_audit_frontier_statement = {
    .name = "audit_frontier",
    .sql = "SELECT n.level, n.hash FROM generate_series(0, 62) AS l"
           " CROSS JOIN LATERAL (SELECT level, hash FROM audit_node"
           "  WHERE level = l::int2 AND place = ($1 >> l) - 1) n"
           " WHERE ($1 >> l) & 1 = 1",
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_audit_waiting_statement = {
    .name = "audit_waiting",
    .sql = "SELECT " DB_AUDIT_RECORD_COLUMNS ", coalesce(e.organization_id, 0::int8),"
           "  coalesce(h.organization_seq, 0::int8), h.organization_chain"
           " FROM (SELECT event_id FROM audit_pending ORDER BY event_id LIMIT $1) p"
           " JOIN audit_event e ON e.id = p.event_id"
           " LEFT JOIN organization o ON o.id = e.organization_id"
           " LEFT JOIN LATERAL (SELECT organization_seq, organization_chain FROM audit_chain c"
           "  WHERE c.organization_id = coalesce(e.organization_id, 0)"
           "  ORDER BY c.organization_seq DESC LIMIT 1) h ON true"
           " ORDER BY e.id",
    .shape = DB_SHAPE_MANY,
    .n_params = 1,
    .params = {DB_INT8},
};

const struct db_statement db_audit_chain_add_statement = {
    .name = "audit_chain_add",
    .sql = "INSERT INTO audit_chain (seq, event_id, organization_id, organization_seq, chain,"
           "  organization_chain, salt)"
           " SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::bytea[],"
           "  $6::bytea[], $7::bytea[])",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 7,
    .params = {DB_INT8_ARRAY, DB_INT8_ARRAY, DB_INT8_ARRAY, DB_INT8_ARRAY, DB_BYTEA_ARRAY,
        DB_BYTEA_ARRAY, DB_BYTEA_ARRAY},
};

const struct db_statement db_audit_node_add_statement = {
    .name = "audit_node_add",
    .sql = "INSERT INTO audit_node (level, place, hash)"
           " SELECT * FROM unnest($1::int2[], $2::int8[], $3::bytea[])",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 3,
    .params = {DB_INT2_ARRAY, DB_INT8_ARRAY, DB_BYTEA_ARRAY},
};

const struct db_statement db_audit_waited_statement = {
    .name = "audit_waited",
    .sql = "DELETE FROM audit_pending WHERE event_id = ANY ($1::int8[])",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 1,
    .params = {DB_INT8_ARRAY},
};

const struct db_statement db_audit_checkpoint_due_statement = {
    .name = "audit_checkpoint_due",
    .sql = "SELECT h.seq, h.chain FROM"
           " (SELECT seq, chain FROM audit_chain ORDER BY seq DESC LIMIT 1) h"
           " LEFT JOIN (SELECT seq, signed_at FROM audit_checkpoint ORDER BY seq DESC LIMIT 1) k"
           "  ON true"
           " WHERE h.seq > coalesce(k.seq, 0) AND (h.seq - coalesce(k.seq, 0) >= $1"
           "  OR abs(extract(epoch FROM now()) - coalesce(k.signed_at, 0)) >= $2)",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

const struct db_statement db_audit_checkpoint_add_statement = {
    .name = "audit_checkpoint_add",
    .sql = "INSERT INTO audit_checkpoint (seq, signed_at, chain, root, signature)"
           " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 5,
    .params = {DB_INT8, DB_INT8, DB_BYTEA, DB_BYTEA, DB_BYTEA},
};

int db_audit_tree_load(struct db *db, uint64_t n, struct merkle_tree *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    size_t n_needed = 0;
    uint64_t place;
    int r;

    db_param_int(db_params_of(db), DB_INT8, (int64_t)n);
    if ((r = db_run(db, DB_AUDIT_FRONTIER, &rows)) < 0)
        return r;
    for (unsigned level = 0; level < MERKLE_LEVELS; level++)
        n_needed += merkle_frontier(n, level, &place) ? 1 : 0;
    if (rows.n != n_needed)
        return error_set(
            ERROR_DB, "database: of the audit tree over %" PRIu64 " events nodes are missing", n);
    ret->n = n;
    for (size_t i = 0; i < rows.n; i++) {
        const size_t level = (size_t)db_row_int(&rows, i, 0, 0, MERKLE_LEVELS - 1);

        db_row_bytes(&rows, i, 1, ret->frontier[level], MERKLE_HASH_LEN);
    }
    return db_rows_check(&rows);
}

/** One transaction's worth. */
struct step {
    struct merkle_tree tree;
    uint8_t chain[MERKLE_HASH_LEN]; /* of the last one */
    size_t n, n_nodes;
    struct step_event {
        int64_t event_id, organization_id;
        struct audit_link link;
    } events[DB_AUDIT_CHAIN_MAX];
    struct step_node {
        struct merkle_place at;
        uint8_t hash[MERKLE_HASH_LEN];
    } nodes[NODES_MAX];
};

static int load_head(struct db *db, struct step *step)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    uint64_t seq = 0;
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_AUDIT_HEAD, &rows)) < 0)
        return r;
    if (rows.n > 0) {
        seq = (uint64_t)db_row_int(&rows, 0, 0, 1, INT64_MAX);
        db_row_bytes(&rows, 0, 1, step->chain, sizeof(step->chain));
    }
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    return db_audit_tree_load(db, seq, &step->tree);
}

/* The last of the same organization: of this transaction, else what the row says. */
static void find_before(
    const struct step *step, struct db_rows *rows, size_t row, struct step_event *event)
{
    for (size_t i = step->n; i-- > 0;) {
        if (step->events[i].organization_id == event->organization_id) {
            event->link = step->events[i].link;
            return;
        }
    }
    event->link.organization_seq =
        (uint64_t)db_row_int(rows, row, DB_AUDIT_RECORD_N_COLUMNS + 1, 0, INT64_MAX);
    if (event->link.organization_seq > 0)
        db_row_bytes(rows, row, DB_AUDIT_RECORD_N_COLUMNS + 2, event->link.organization_chain,
            MERKLE_HASH_LEN);
}

static int grow(
    struct step *step, const struct audit_link *link, const uint8_t organization[AUDIT_ID_LEN])
{
    uint8_t made[MERKLE_LEVELS][MERKLE_HASH_LEN];
    size_t n;
    int r = audit_leaf(link, organization, made[0]);

    if (r < 0)
        return r;
    n = merkle_append(&step->tree, made[0], made);
    for (unsigned level = 0; level < n; level++) {
        struct step_node *node = &step->nodes[step->n_nodes++];

        node->at = (struct merkle_place){.level = level, .place = (link->seq - 1) >> level};
        memcpy(node->hash, made[level], MERKLE_HASH_LEN);
    }
    return 0;
}

static int chain_one(struct step *step, struct db_rows *rows, size_t row)
{
    CLEANUP(db_audit_record_done) struct db_audit_record record = {0};
    struct step_event event = {0};
    int r;

    db_audit_record_read(rows, row, &record);
    event.event_id = record.record.id;
    event.organization_id = db_row_int(rows, row, DB_AUDIT_RECORD_N_COLUMNS, 0, INT64_MAX);
    find_before(step, rows, row, &event);
    event.link.seq = step->tree.n + 1;
    event.link.organization_seq++;
    if ((r = db_rows_check(rows)) < 0 ||
        (r = audit_chain(step->chain, &record.record, event.link.chain)) < 0 ||
        (r = audit_chain(
             event.link.organization_chain, &record.record, event.link.organization_chain)) < 0 ||
        (r = random_bytes(event.link.salt, sizeof(event.link.salt))) < 0 ||
        (r = grow(step, &event.link, record.record.organization)) < 0)
        return r;
    memcpy(step->chain, event.link.chain, sizeof(step->chain));
    step->events[step->n++] = event;
    return 0;
}

static int chain_waiting(struct db *db, struct step *step)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    db_param_int(db_params_of(db), DB_INT8, DB_AUDIT_CHAIN_MAX);
    r = db_run(db, DB_AUDIT_WAITING, &rows);
    for (size_t i = 0; r == 0 && i < rows.n; i++)
        r = chain_one(step, &rows, i);
    return r;
}

static int add_events(struct db *db, const struct step *step)
{
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_INT8_ARRAY, step->n);
    for (size_t i = 0; i < step->n; i++)
        db_element_int(p, (int64_t)step->events[i].link.seq);
    db_param_array(p, DB_INT8_ARRAY, step->n);
    for (size_t i = 0; i < step->n; i++)
        db_element_int(p, step->events[i].event_id);
    db_param_array(p, DB_INT8_ARRAY, step->n);
    for (size_t i = 0; i < step->n; i++)
        db_element_int(p, step->events[i].organization_id);
    db_param_array(p, DB_INT8_ARRAY, step->n);
    for (size_t i = 0; i < step->n; i++)
        db_element_int(p, (int64_t)step->events[i].link.organization_seq);
    db_param_array(p, DB_BYTEA_ARRAY, step->n);
    for (size_t i = 0; i < step->n; i++)
        db_element_bytes(p, step->events[i].link.chain, MERKLE_HASH_LEN);
    db_param_array(p, DB_BYTEA_ARRAY, step->n);
    for (size_t i = 0; i < step->n; i++)
        db_element_bytes(p, step->events[i].link.organization_chain, MERKLE_HASH_LEN);
    db_param_array(p, DB_BYTEA_ARRAY, step->n);
    for (size_t i = 0; i < step->n; i++)
        db_element_bytes(p, step->events[i].link.salt, AUDIT_SALT_LEN);
    return db_run_quiet(db, DB_AUDIT_CHAIN_ADD);
}

static int add_nodes(struct db *db, const struct step *step)
{
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_INT2_ARRAY, step->n_nodes);
    for (size_t i = 0; i < step->n_nodes; i++)
        db_element_int(p, step->nodes[i].at.level);
    db_param_array(p, DB_INT8_ARRAY, step->n_nodes);
    for (size_t i = 0; i < step->n_nodes; i++)
        db_element_int(p, (int64_t)step->nodes[i].at.place);
    db_param_array(p, DB_BYTEA_ARRAY, step->n_nodes);
    for (size_t i = 0; i < step->n_nodes; i++)
        db_element_bytes(p, step->nodes[i].hash, MERKLE_HASH_LEN);
    return db_run_quiet(db, DB_AUDIT_NODE_ADD);
}

static int end_waiting(struct db *db, const struct step *step)
{
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_INT8_ARRAY, step->n);
    for (size_t i = 0; i < step->n; i++)
        db_element_int(p, step->events[i].event_id);
    return db_run_quiet(db, DB_AUDIT_WAITED);
}

/* Outcome 1: it is another's turn. */
static int take_turn(struct db *db)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    bool taken;
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_AUDIT_TURN, &rows)) < 0)
        return r;
    taken = db_row_bool(&rows, 0, 0);
    r = db_rows_check(&rows);
    return r < 0 ? r : taken ? 0 : 1;
}

static int work(struct db *db, struct step *step)
{
    int r = take_turn(db);

    if (r != 0)
        return r;
    if ((r = load_head(db, step)) < 0 || (r = chain_waiting(db, step)) < 0 || step->n == 0)
        return r;
    if ((r = add_events(db, step)) < 0 || (r = add_nodes(db, step)) < 0)
        return r;
    return end_waiting(db, step);
}

static int any_waits(struct db *db, bool *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    (void)db_params_of(db);
    r = db_run(db, DB_AUDIT_WAITS, &rows);
    *ret = r == 0 && rows.n > 0;
    return r;
}

int db_audit_chain_step(struct db *db, size_t *ret_n)
{
    CLEANUP(cleanup_free) struct step *step = NULL;
    bool any;
    int r = any_waits(db, &any);

    *ret_n = 0;
    if (r < 0 || !any)
        return r;
    if ((step = calloc(1, sizeof(*step))) == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the audit chain");
    if ((r = db_begin(db)) < 0)
        return r;
    r = work(db, step);
    if (r == 0 && step->n > 0) {
        if ((r = db_commit(db)) == 0)
            *ret_n = step->n;
        return r;
    }
    db_rollback(db);
    return r < 0 ? r : 0;
}

/* --- checkpoints ------------------------------------------------------------------------------ */

int db_audit_checkpoint_due(
    struct db *db, int64_t n_events, int64_t seconds, struct audit_checkpoint *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct audit_checkpoint checkpoint = {0};
    struct merkle_tree tree = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, n_events);
    db_param_int(p, DB_INT8, seconds);
    if ((r = db_run(db, DB_AUDIT_CHECKPOINT_DUE, &rows)) < 0)
        return r;
    if (rows.n == 0)
        return 1;
    checkpoint.seq = checkpoint.count = (uint64_t)db_row_int(&rows, 0, 0, 1, INT64_MAX);
    db_row_bytes(&rows, 0, 1, checkpoint.chain, sizeof(checkpoint.chain));
    if ((r = db_rows_check(&rows)) < 0 || (r = db_audit_tree_load(db, checkpoint.seq, &tree)) < 0)
        return r;
    merkle_tree_root(&tree, checkpoint.root);
    *ret = checkpoint;
    return 0;
}

int db_audit_checkpoint_add(struct db *db, const struct audit_checkpoint *checkpoint,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN])
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, (int64_t)checkpoint->seq);
    db_param_int(p, DB_INT8, (int64_t)checkpoint->time);
    db_param_bytes(p, checkpoint->chain, sizeof(checkpoint->chain));
    db_param_bytes(p, checkpoint->root, sizeof(checkpoint->root));
    db_param_bytes(p, signature, AUDIT_SIGNATURE_LEN);
    return db_run_quiet(db, DB_AUDIT_CHECKPOINT_ADD);
}
