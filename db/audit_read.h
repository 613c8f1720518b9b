/* Audit events as they were chained, to be given out with what proves them. Role
 * cradle_activation. */
#pragma once

#include "base/audit_form.h"
#include "db/db.h"
#include "db/rows.h"

#define DB_AUDIT_PAGE_MAX 128 /* events read at once */
#define DB_AUDIT_REQUEST_ID_MAX 40
#define DB_AUDIT_ACTION_MAX 60
#define DB_AUDIT_OBJECT_MAX 200

/** An event with what its texts stand in. Not to be moved: the record points into it. */
struct db_audit_record {
    struct audit_record record;
    char request_id[DB_AUDIT_REQUEST_ID_MAX + 1];
    char action[DB_AUDIT_ACTION_MAX + 1];
    char object[DB_AUDIT_OBJECT_MAX + 1];
    char *detail;
};
void db_audit_record_done(struct db_audit_record *record);

/* The columns that the bytes of an event are made of, of audit_event as e and organization as o;
 * the first ones of a row. Inside db/. */
#define DB_AUDIT_RECORD_COLUMNS                                                                    \
    "e.id, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), o.public_id,"    \
    " e.client_id, e.request_id, e.action, e.object, e.detail::text"
#define DB_AUDIT_RECORD_N_COLUMNS 8
/** What goes wrong is told by db_rows_check. */
void db_audit_record_read(struct db_rows *rows, size_t row, struct db_audit_record *ret);

/** What is read: the events of one organization, or all. */
struct db_audit_extent {
    int64_t organization_id;            /* 0: all */
    struct audit_checkpoint checkpoint; /* all but its time */
    struct merkle_tree tree;            /* over its `seq` */
};
/** How far the chain goes now. Outcome 1: there is no such organization. */
int db_audit_extent_load(
    struct db *db, int64_t organization_id, struct db_audit_extent *ret) MUST_CHECK;

struct db_audit_chained {
    struct db_audit_record event;
    struct audit_link link;
    uint8_t leaf[MERKLE_HASH_LEN];
    size_t n_path;
    uint8_t (*path)[MERKLE_HASH_LEN]; /* to the extent's root */
};
struct db_audit_page {
    struct db_audit_chained *events;
    size_t n;
};
/** The events behind number `after` (of all, or of the organization's), at most DB_AUDIT_PAGE_MAX,
 * with their paths; none: there are no more. */
int db_audit_page_load(struct db *db, const struct db_audit_extent *extent, uint64_t after,
    struct db_audit_page *ret) MUST_CHECK;
void db_audit_page_done(struct db_audit_page *page);

struct db_audit_signed {
    struct audit_checkpoint checkpoint;
    uint8_t signature[AUDIT_SIGNATURE_LEN];
};
/** The first checkpoint behind event `after` that was kept, up to event `upto`. Outcome 1: there is
 * none. */
int db_audit_checkpoint_next(
    struct db *db, uint64_t after, uint64_t upto, struct db_audit_signed *ret) MUST_CHECK;
