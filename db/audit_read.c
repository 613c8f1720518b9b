#include "db/audit_read.h"

#include "base/error.h"
#include "db/audit_chain.h"
#include "db/connection.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const struct db_statement db_audit_extent_statement = {
    .name = "audit_extent",
    .sql = "SELECT coalesce(h.seq, 0::int8), h.chain, coalesce(k.organization_seq, 0::int8),"
           "  k.organization_chain, o.public_id"
           " FROM (SELECT $1::int8 AS id) i"
           " LEFT JOIN organization o ON o.id = i.id"
           " LEFT JOIN LATERAL (SELECT seq, chain FROM audit_chain ORDER BY seq DESC LIMIT 1) h"
           "  ON true"
           " LEFT JOIN LATERAL (SELECT organization_seq, organization_chain FROM audit_chain c"
           "  WHERE c.organization_id = i.id ORDER BY c.organization_seq DESC LIMIT 1) k ON true",
    .shape = DB_SHAPE_ONE,
    .n_params = 1,
    .params = {DB_INT8},
};

#define PAGE_SELECT                                                                                \
    "SELECT " DB_AUDIT_RECORD_COLUMNS ", c.seq, c.organization_seq, c.chain,"                      \
    "  c.organization_chain, c.salt"                                                               \
    " FROM audit_chain c JOIN audit_event e ON e.id = c.event_id"                                  \
    " LEFT JOIN organization o ON o.id = e.organization_id"

/* Two, as of the list of events (db/audit.c). */
const struct db_statement db_audit_page_all_statement = {
    .name = "audit_page_all",
    .sql = PAGE_SELECT " WHERE c.seq > $1 AND c.seq <= $2 ORDER BY c.seq LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_audit_page_own_statement = {
    .name = "audit_page_own",
    .sql = PAGE_SELECT " WHERE c.organization_id = $4 AND c.organization_seq > $1"
                       "  AND c.organization_seq <= $2 ORDER BY c.organization_seq LIMIT $3",
    .shape = DB_SHAPE_MANY,
    .n_params = 4,
    .params = {DB_INT8, DB_INT8, DB_INT8, DB_INT8},
};

const struct db_statement db_audit_nodes_statement = {
    .name = "audit_nodes",
    .sql = "SELECT i.ordinal::int4, n.hash"
           " FROM unnest($1::int2[], $2::int8[]) WITH ORDINALITY AS i(level, place, ordinal)"
           " CROSS JOIN LATERAL (SELECT hash FROM audit_node a"
           "  WHERE a.level = i.level AND a.place = i.place) n",
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT2_ARRAY, DB_INT8_ARRAY},
};

const struct db_statement db_audit_checkpoint_next_statement = {
    .name = "audit_checkpoint_next",
    .sql = "SELECT seq, signed_at, chain, root, signature FROM audit_checkpoint"
           " WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .n_params = 2,
    .params = {DB_INT8, DB_INT8},
};

void db_audit_record_done(struct db_audit_record *record)
{
    free(record->detail);
    record->detail = NULL;
}

void db_audit_record_read(struct db_rows *rows, size_t row, struct db_audit_record *ret)
{
    struct audit_record *r = &ret->record;

    r->id = db_row_int(rows, row, 0, 1, INT64_MAX);
    db_row_text(rows, row, 1, r->at, sizeof(r->at));
    r->has_organization = !db_row_is_null(rows, row, 2);
    if (r->has_organization)
        db_row_bytes(rows, row, 2, r->organization, sizeof(r->organization));
    r->has_client = !db_row_is_null(rows, row, 3);
    if (r->has_client)
        db_row_bytes(rows, row, 3, r->client, sizeof(r->client));
    db_row_text(rows, row, 4, ret->request_id, sizeof(ret->request_id));
    db_row_text(rows, row, 5, ret->action, sizeof(ret->action));
    db_row_text(rows, row, 6, ret->object, sizeof(ret->object));
    ret->detail = db_row_text_new(rows, row, 7);
    r->request_id = ret->request_id;
    r->action = ret->action;
    r->object = ret->object;
    r->detail = ret->detail != NULL ? ret->detail : "";
}

int db_audit_extent_load(struct db *db, int64_t organization_id, struct db_audit_extent *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_audit_extent extent = {.organization_id = organization_id};
    struct audit_checkpoint *c = &extent.checkpoint;
    const bool of_all = organization_id == 0;
    int r;

    db_param_int(db_params_of(db), DB_INT8, organization_id);
    if ((r = db_run(db, DB_AUDIT_EXTENT, &rows)) < 0)
        return r;
    if (!of_all && db_row_is_null(&rows, 0, 4))
        return 1;
    c->seq = (uint64_t)db_row_int(&rows, 0, 0, 0, INT64_MAX);
    c->count = of_all ? c->seq : (uint64_t)db_row_int(&rows, 0, 2, 0, INT64_MAX);
    if (c->count > 0)
        db_row_bytes(&rows, 0, of_all ? 1 : 3, c->chain, sizeof(c->chain));
    if (!of_all)
        db_row_bytes(&rows, 0, 4, c->organization, sizeof(c->organization));
    if ((r = db_rows_check(&rows)) < 0 || (r = db_audit_tree_load(db, c->seq, &extent.tree)) < 0)
        return r;
    merkle_tree_root(&extent.tree, c->root);
    *ret = extent;
    return 0;
}

/** The hashes that are missing in the paths of a page. */
struct wanted {
    struct merkle_place *places;
    uint8_t **targets;
    size_t n;
};

static void wanted_done(struct wanted *wanted)
{
    free(wanted->places);
    free(wanted->targets);
}

static int load_nodes(struct db *db, const struct wanted *wanted)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    if (wanted->n == 0)
        return 0;
    db_param_array(p, DB_INT2_ARRAY, wanted->n);
    for (size_t i = 0; i < wanted->n; i++)
        db_element_int(p, wanted->places[i].level);
    db_param_array(p, DB_INT8_ARRAY, wanted->n);
    for (size_t i = 0; i < wanted->n; i++)
        db_element_int(p, (int64_t)wanted->places[i].place);
    if ((r = db_run(db, DB_AUDIT_NODES, &rows)) < 0)
        return r;
    if (rows.n != wanted->n)
        return error_set(ERROR_DB, "database: nodes of the audit tree are missing");
    for (size_t i = 0; i < rows.n; i++) {
        const int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)wanted->n);

        if (ordinal > 0)
            db_row_bytes(&rows, i, 1, wanted->targets[ordinal - 1], MERKLE_HASH_LEN);
    }
    return db_rows_check(&rows);
}

static int add_path(
    const struct db_audit_extent *extent, struct db_audit_chained *event, struct wanted *wanted)
{
    struct merkle_place places[MERKLE_LEVELS];

    event->n_path = merkle_path(extent->tree.n, event->link.seq - 1, places);
    event->path = calloc(event->n_path + 1, sizeof(*event->path));
    if (event->path == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the path of an audit event");
    for (size_t i = 0; i < event->n_path; i++) {
        if (merkle_tree_edge(&extent->tree, &places[i], event->path[i]))
            continue;
        wanted->places[wanted->n] = places[i];
        wanted->targets[wanted->n++] = event->path[i];
    }
    return 0;
}

static int add_paths(
    struct db *db, const struct db_audit_extent *extent, struct db_audit_page *page)
{
    CLEANUP(wanted_done) struct wanted wanted = {0};
    int r = 0;

    wanted.places = calloc(page->n * MERKLE_LEVELS + 1, sizeof(*wanted.places));
    wanted.targets = calloc(page->n * MERKLE_LEVELS + 1, sizeof(*wanted.targets));
    if (wanted.places == NULL || wanted.targets == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the paths of audit events");
    for (size_t i = 0; r == 0 && i < page->n; i++)
        r = add_path(extent, &page->events[i], &wanted);
    return r < 0 ? r : load_nodes(db, &wanted);
}

static int read_chained(struct db_rows *rows, size_t row, uint64_t n, struct db_audit_chained *ret)
{
    const int first = DB_AUDIT_RECORD_N_COLUMNS;
    int r;

    db_audit_record_read(rows, row, &ret->event);
    ret->link.seq = (uint64_t)db_row_int(rows, row, first, 1, (int64_t)n);
    ret->link.organization_seq = (uint64_t)db_row_int(rows, row, first + 1, 1, INT64_MAX);
    db_row_bytes(rows, row, first + 2, ret->link.chain, MERKLE_HASH_LEN);
    db_row_bytes(rows, row, first + 3, ret->link.organization_chain, MERKLE_HASH_LEN);
    db_row_bytes(rows, row, first + 4, ret->link.salt, AUDIT_SALT_LEN);
    r = db_rows_check(rows);
    return r < 0 ? r : audit_leaf(&ret->link, ret->event.record.organization, ret->leaf);
}

int db_audit_page_load(
    struct db *db, const struct db_audit_extent *extent, uint64_t after, struct db_audit_page *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    CLEANUP(db_audit_page_done) struct db_audit_page page = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, (int64_t)after);
    db_param_int(p, DB_INT8, (int64_t)extent->checkpoint.count);
    db_param_int(p, DB_INT8, DB_AUDIT_PAGE_MAX);
    if (extent->organization_id != 0)
        db_param_int(p, DB_INT8, extent->organization_id);
    r = db_run(db, extent->organization_id != 0 ? DB_AUDIT_PAGE_OWN : DB_AUDIT_PAGE_ALL, &rows);
    if (r < 0)
        return r;
    page.events = calloc(rows.n + 1, sizeof(*page.events));
    if (page.events == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for audit events");
    for (; r == 0 && page.n < rows.n; page.n++)
        r = read_chained(&rows, page.n, extent->tree.n, &page.events[page.n]);
    if (r < 0 || (r = add_paths(db, extent, &page)) < 0)
        return r;
    *ret = page;
    page = (struct db_audit_page){0};
    return 0;
}

void db_audit_page_done(struct db_audit_page *page)
{
    for (size_t i = 0; i < page->n; i++) {
        db_audit_record_done(&page->events[i].event);
        free(page->events[i].path);
    }
    free(page->events);
    *page = (struct db_audit_page){0};
}

int db_audit_checkpoint_next(
    struct db *db, uint64_t after, uint64_t upto, struct db_audit_signed *ret)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_audit_signed signed_one = {0};
    struct audit_checkpoint *c = &signed_one.checkpoint;
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, (int64_t)after);
    db_param_int(p, DB_INT8, (int64_t)upto);
    if ((r = db_run(db, DB_AUDIT_CHECKPOINT_NEXT, &rows)) < 0)
        return r;
    if (rows.n == 0)
        return 1;
    c->seq = c->count = (uint64_t)db_row_int(&rows, 0, 0, 1, INT64_MAX);
    c->time = (uint64_t)db_row_int(&rows, 0, 1, 0, INT64_MAX);
    db_row_bytes(&rows, 0, 2, c->chain, sizeof(c->chain));
    db_row_bytes(&rows, 0, 3, c->root, sizeof(c->root));
    db_row_bytes(&rows, 0, 4, signed_one.signature, sizeof(signed_one.signature));
    if ((r = db_rows_check(&rows)) < 0)
        return r;
    *ret = signed_one;
    return 0;
}
