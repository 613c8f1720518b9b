#include "db/batch.h"

#include "db/connection.h"
#include "db/join_route.h"
#include <stdlib.h>
#include <string.h>

#define PAGE_NONCES 2048 /* of dev_nonce_page */
#define PAGE_BYTES (PAGE_NONCES / 8)
#define PAGES_AT_ONCE 256
#define KEYS_OF_A_ROW 2
#define KEY_DEVICES_MAX 16 /* looked at for one key */

const struct db_statement db_batch_begin_statement = {
    .name = "batch_begin",
    .sql = "INSERT INTO batch (organization_id, format) VALUES ($1, $2) RETURNING id",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_TEXT},
};

/* Whether an identifier lies in a block, open or closed, that another organization may have devices
 * made with: nobody else's file makes one there, or whoever guesses a maker's next identifiers
 * would have his orders fail. Blocks do not overlap, so one probe of the index decides. */
#define OF_ANOTHERS_BLOCK(dev_eui, organization_id)                                                \
    "EXISTS (SELECT FROM (SELECT e.last, e.organization_id FROM eui_block e"                       \
    "  WHERE e.first <= " dev_eui " ORDER BY e.first DESC LIMIT 1) b"                              \
    "  WHERE b.last >= " dev_eui " AND b.organization_id <> " organization_id ")"

/* Devices are made in DevEUI order, so that two files with the same devices wait for each other and
 * do not deadlock. A device that comes in claimed belongs to the organization that brings it. What
 * is returned is in the order of the arrays.
 *
 * A device's keys and its hot row are statements of their own, for those that were made here:
 * joined with them in the same statement they cost the square of the rows, since our sessions join
 * by index alone. */
/* clang-format off */
const struct db_statement db_batch_devices_statement = {
    .name = "batch_devices",
    .sql =
        "INSERT INTO device (dev_eui, kind, join_eui, mac_version, credential, ownership, service,"
        "  trust, ownership_epoch, nonce_epoch, home_net_id, as_id, batch_id, organization_id,"
        "  batch_line, serial, name, owner_id)"
        " SELECT dev_eui, CASE WHEN mac_version IS NULL THEN 'sigfox' ELSE 'lorawan' END, join_eui,"
        "  mac_version, credential, ownership, service, trust,"
        "  ownership_epoch, nonce_epoch, home_net_id, as_id, $1, $2, line, serial, name,"
        "  CASE WHEN ownership <> 'unowned' THEN $2 END"
        " FROM unnest($3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[],"
        "  $9::text[], $10::int8[], $11::int8[], $12::bytea[], $13::text[], $14::int8[],"
        "  $15::text[], $16::text[]) AS i(dev_eui, join_eui, mac_version, credential, ownership,"
        "  service, trust, ownership_epoch, nonce_epoch, home_net_id, as_id, line, serial, name)"
        " WHERE NOT " OF_ANOTHERS_BLOCK("i.dev_eui", "$2")
        " ON CONFLICT (dev_eui) DO NOTHING RETURNING dev_eui",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 16,
    .params = {DB_INT8, DB_INT8, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY,
        DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY, DB_INT8_ARRAY, DB_INT8_ARRAY, DB_BYTEA_ARRAY,
        DB_TEXT_ARRAY, DB_INT8_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY},
};
/* clang-format on */

const struct db_statement db_batch_keys_statement = {
    .name = "batch_keys",
    .sql = "INSERT INTO device_key (dev_eui, slot, kek_label, blob, tag, fingerprint, origin,"
           "  transport_kek)"
           " SELECT * FROM unnest($1::bytea[], $2::int2[], $3::text[], $4::bytea[], $5::bytea[],"
           "  $6::bytea[], $7::text[], $8::text[])",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 8,
    .params = {DB_BYTEA_ARRAY, DB_INT2_ARRAY, DB_TEXT_ARRAY, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY,
        DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_TEXT_ARRAY},
};

const struct db_statement db_batch_hot_statement = {
    .name = "batch_hot",
    .sql = "INSERT INTO device_join (dev_eui, join_nonce, last_dev_nonce, has_pages)"
           " SELECT * FROM unnest($1::bytea[], $2::int4[], $3::int4[], $4::bool[])",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 4,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_INT4_ARRAY, DB_BOOL_ARRAY},
};

const struct db_statement db_batch_finish_statement = {
    .name = "batch_finish",
    .sql = "UPDATE batch SET finished_at = now(), n_created = $2, n_refused = $3 WHERE id = $1"
           " RETURNING id",
    .shape = DB_SHAPE_ONE,
    .commits = true,
    .n_params = 3,
    .params = {DB_INT8, DB_INT8, DB_INT8},
};

/* The bits of a page as set_bit() counts them, and which was the last of them. */
const struct db_statement db_batch_nonces_statement = {
    .name = "batch_nonces",
    .sql = "INSERT INTO dev_nonce_page (dev_eui, join_eui, nonce_epoch, page, newest, bits)"
           " SELECT dev_eui, join_eui, 0, page, newest, bits FROM unnest($1::bytea[], $2::bytea[],"
           "  $3::int2[], $4::int2[], $5::bytea[]) AS i(dev_eui, join_eui, page, newest, bits)",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 5,
    .params = {DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_INT2_ARRAY, DB_INT2_ARRAY, DB_BYTEA_ARRAY},
};

/* An organization knows of the devices that it has brought in, and of those that it owns. */
#define KNOWN_TO_IT "(d.organization_id = $1 OR d.owner_id = $1)"

/* A key that a whole fleet has is not looked for in all of it: KEY_DEVICES_MAX devices tell. */
const struct db_statement db_batch_known_keys_statement = {
    .name = "batch_known_keys",
    .sql = "SELECT i.ordinal::int4, bool_or(o.own), bool_or(NOT o.own)"
           " FROM unnest($2::bytea[], $3::bytea[]) WITH ORDINALITY AS i(fp, dev_eui, ordinal)"
           " CROSS JOIN LATERAL (SELECT coalesce(" KNOWN_TO_IT ", false) AS own"
           "  FROM device_key k JOIN device d ON d.dev_eui = k.dev_eui"
           "  WHERE k.fingerprint = i.fp AND k.dev_eui <> i.dev_eui LIMIT $4) o"
           " GROUP BY i.ordinal",
    .shape = DB_SHAPE_MANY,
    .n_params = 4,
    .params = {DB_INT8, DB_BYTEA_ARRAY, DB_BYTEA_ARRAY, DB_INT8},
};

/* What is there, and what is not but may be another's alone to bring. */
/* clang-format off */
const struct db_statement db_batch_known_devices_statement = {
    .name = "batch_known_devices",
    .sql = "SELECT i.ordinal::int4, coalesce(" KNOWN_TO_IT ", false)"
           " FROM unnest($2::bytea[]) WITH ORDINALITY AS i(eui, ordinal)"
           " LEFT JOIN device d ON d.dev_eui = i.eui"
           " WHERE d.dev_eui IS NOT NULL OR " OF_ANOTHERS_BLOCK("i.eui", "$1"),
    .shape = DB_SHAPE_MANY,
    .n_params = 2,
    .params = {DB_INT8, DB_BYTEA_ARRAY},
};
/* clang-format on */

int db_batch_begin(
    struct db *db, int64_t organization_id, const char *format, int64_t *ret_batch_id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int64_t id;
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_text(p, format);
    r = db_run(db, DB_BATCH_BEGIN, &rows);
    if (r < 0)
        return r;
    id = db_row_int(&rows, 0, 0, 1, INT64_MAX);
    r = db_rows_check(&rows);
    if (r < 0)
        return r;
    *ret_batch_id = id;
    return 0;
}

/* --- devices --------------------------------------------------------------------------------- */

static void put_dev_euis(struct db_params *p, const struct db_batch_row *const *rows, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, rows[i]->record.dev_eui.bytes, sizeof(struct eui64));
}

static void put_text_or_null(struct db_params *p, const char *text)
{
    if (*text != '\0')
        db_element_text(p, text);
    else
        db_element_null(p);
}

static bool is_lorawan(const struct db_batch_row *row)
{
    return device_kind_of(&row->record.dev_eui) == DEVICE_LORAWAN;
}

static void put_record_columns(
    struct db_params *p, const struct db_batch_row *const *rows, size_t n)
{
    put_dev_euis(p, rows, n);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        if (is_lorawan(rows[i]))
            db_element_bytes(p, rows[i]->record.join_eui.bytes, sizeof(struct eui64));
        else
            db_element_null(p);
    }
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        put_text_or_null(
            p, is_lorawan(rows[i]) ? lw_mac_version_text(rows[i]->record.mac_version) : "");
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_credential_text(rows[i]->record.credential));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_ownership_text(rows[i]->record.ownership));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_service_text(rows[i]->record.service));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, device_trust_text(rows[i]->record.trust));
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, rows[i]->record.ownership_epoch);
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, rows[i]->record.nonce_epoch);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++) {
        if (rows[i]->record.has_home_net_id)
            db_element_bytes(p, rows[i]->record.home_net_id.bytes, sizeof(struct net_id));
        else
            db_element_null(p);
    }
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        put_text_or_null(p, rows[i]->record.as_id);
}

static void put_file_columns(struct db_params *p, const struct db_batch_row *const *rows, size_t n)
{
    db_param_array(p, DB_INT8_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, rows[i]->line);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        put_text_or_null(p, rows[i]->serial);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        put_text_or_null(p, rows[i]->name);
}

static int compare_rows(const void *a, const void *b)
{
    const struct db_batch_row *x = *(const struct db_batch_row *const *)a;
    const struct db_batch_row *y = *(const struct db_batch_row *const *)b;
    int order = memcmp(x->record.dev_eui.bytes, y->record.dev_eui.bytes, sizeof(struct eui64));

    return order != 0 ? order : (x > y) - (x < y);
}

/* `sorted` is in DevEUI order, and of two rows with the same one the first comes first. Those that
 * made a device are what is left in it. */
static int insert_devices(struct db *db, int64_t batch_id, int64_t organization_id,
    const struct db_batch_row **sorted, size_t n, size_t *ret_n_made)
{
    CLEANUP(db_rows_done) struct db_rows made = {0};
    struct db_params *p = db_params_of(db);
    size_t n_made = 0;
    int r;

    db_param_int(p, DB_INT8, batch_id);
    db_param_int(p, DB_INT8, organization_id);
    put_record_columns(p, sorted, n);
    put_file_columns(p, sorted, n);
    if ((r = db_run(db, DB_BATCH_DEVICES, &made)) < 0)
        return r;
    for (size_t i = 0; i < n && n_made < made.n; i++) {
        struct eui64 dev_eui = {{0}};

        db_row_bytes(&made, n_made, 0, dev_eui.bytes, sizeof(dev_eui.bytes));
        if (memcmp(dev_eui.bytes, sorted[i]->record.dev_eui.bytes, sizeof(dev_eui.bytes)) == 0)
            sorted[n_made++] = sorted[i];
    }
    if (n_made != made.n)
        return error_set(ERROR_INTERNAL, "database: the devices made are not those asked for");
    *ret_n_made = n_made;
    return db_rows_check(&made);
}

/* --- keys ------------------------------------------------------------------------------------ */

static const char *const origins[DB_N_KEY_ORIGINS] = {
    [DB_KEY_NOT_RECORDED] = "",
    [DB_KEY_CLEAR] = "clear",
    [DB_KEY_WRAPPED] = "wrapped",
    [DB_KEY_SEALED] = "sealed",
    [DB_KEY_MADE] = "made",
};

const char *db_key_origin_text(enum db_key_origin origin)
{
    return origins[origin];
}

struct key_of_row {
    const struct db_batch_row *row;
    enum key_slot slot;
    const struct db_batch_key *key;
};

static size_t list_keys(
    const struct db_batch_row *const *rows, size_t n, struct key_of_row *ret_keys)
{
    size_t n_keys = 0;

    for (size_t i = 0; i < n; i++) {
        ret_keys[n_keys++] = (struct key_of_row){rows[i], KEY_SLOT_APP, &rows[i]->app};
        if (rows[i]->has_nwk)
            ret_keys[n_keys++] = (struct key_of_row){rows[i], KEY_SLOT_NWK, &rows[i]->nwk};
    }
    return n_keys;
}

static int insert_keys(struct db *db, const struct db_batch_row *const *rows, size_t n_rows)
{
    struct key_of_row keys[KEYS_OF_A_ROW * DB_BATCH_ROWS_MAX];
    size_t n = list_keys(rows, n_rows, keys);
    struct db_params *p = db_params_of(db);

    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, keys[i].row->record.dev_eui.bytes, sizeof(struct eui64));
    db_param_array(p, DB_INT2_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, keys[i].slot);
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_text(p, keys[i].key->sealed.kek_label);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, keys[i].key->sealed.blob, keys[i].key->sealed.blob_len);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_keyed(p, keys[i].key->sealed.tag, keys[i].key->sealed.tag_version);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, keys[i].key->fingerprint, sizeof(keys[i].key->fingerprint));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        put_text_or_null(p, db_key_origin_text(keys[i].key->origin));
    db_param_array(p, DB_TEXT_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        put_text_or_null(p, keys[i].key->transport_kek);
    return db_run_quiet(db, DB_BATCH_KEYS);
}

static int insert_hot(struct db *db, const struct db_batch_row *const *rows, size_t n)
{
    struct db_params *p = db_params_of(db);

    put_dev_euis(p, rows, n);
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, rows[i]->join_nonce);
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, rows[i]->last_dev_nonce);
    db_param_array(p, DB_BOOL_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, rows[i]->n_used_dev_nonces > 0);
    return db_run_quiet(db, DB_BATCH_HOT);
}

/* --- used DevNonces -------------------------------------------------------------------------- */

struct page {
    const struct device_record *record;
    uint16_t number, newest;
    uint8_t bits[PAGE_BYTES];
};

static int insert_pages(struct db *db, const struct page *pages, size_t n)
{
    struct db_params *p = db_params_of(db);

    if (n == 0)
        return 0;
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, pages[i].record->dev_eui.bytes, sizeof(struct eui64));
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, pages[i].record->join_eui.bytes, sizeof(struct eui64));
    db_param_array(p, DB_INT2_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, pages[i].number);
    db_param_array(p, DB_INT2_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, pages[i].newest);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, pages[i].bits, sizeof(pages[i].bits));
    return db_run_quiet(db, DB_BATCH_NONCES);
}

/* They are rising: a page is complete when one of the next comes. */
static int insert_nonces(struct db *db, const struct db_batch_row *const *rows, size_t n_rows)
{
    struct page pages[PAGES_AT_ONCE];
    size_t n = 0;
    int r;

    for (size_t i = 0; i < n_rows; i++) {
        struct page *page = NULL;

        for (size_t k = 0; k < rows[i]->n_used_dev_nonces; k++) {
            uint16_t nonce = rows[i]->used_dev_nonces[k];

            if (page == NULL || page->number != nonce / PAGE_NONCES) {
                if (n == PAGES_AT_ONCE) {
                    if ((r = insert_pages(db, pages, n)) < 0)
                        return r;
                    n = 0;
                }
                page = &pages[n++];
                *page = (struct page){.record = &rows[i]->record, .number = nonce / PAGE_NONCES};
            }
            page->newest = nonce % PAGE_NONCES;
            page->bits[page->newest / 8] |= (uint8_t)(1u << (page->newest % 8));
        }
    }
    return insert_pages(db, pages, n);
}

/* --- whose a JoinEUI is ----------------------------------------------------------------------- */

/* A file names few JoinEUIs, each in many rows. `n_rows` is at most DB_BATCH_ROWS_MAX. */
static int find_others_join_euis(struct db *db, int64_t organization_id,
    const struct db_batch_row *rows, size_t n_rows, bool *ret)
{
    struct eui64 distinct[DB_BATCH_ROWS_MAX];
    size_t place[DB_BATCH_ROWS_MAX], n = 0;
    bool of_others[DB_BATCH_ROWS_MAX];
    int r;

    for (size_t i = 0; i < n_rows; i++) {
        const struct eui64 *join_eui = &rows[i].record.join_eui;

        place[i] = n;
        for (size_t k = 0; is_lorawan(&rows[i]) && k < n && place[i] == n; k++)
            if (memcmp(&distinct[k], join_eui, sizeof(*join_eui)) == 0)
                place[i] = k;
        if (is_lorawan(&rows[i]) && place[i] == n)
            distinct[n++] = *join_eui;
    }
    if (n > 0 && (r = db_join_euis_of_others(db, organization_id, distinct, n, of_others)) < 0)
        return r;
    for (size_t i = 0; i < n_rows; i++)
        ret[i] = is_lorawan(&rows[i]) && of_others[place[i]];
    return 0;
}

/* --- whose a DevEUI is ------------------------------------------------------------------------ */

static int foresee(struct db *db, int64_t organization_id, const struct db_batch_row *rows,
    size_t n_rows, const bool *has_others_join_eui, enum db_batch_outcome *ret_outcomes)
{
    CLEANUP(db_rows_done) struct db_rows known = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_array(p, DB_BYTEA_ARRAY, n_rows);
    for (size_t i = 0; i < n_rows; i++)
        db_element_bytes(p, rows[i].record.dev_eui.bytes, sizeof(struct eui64));
    if ((r = db_run(db, DB_BATCH_KNOWN_DEVICES, &known)) < 0)
        return r;
    for (size_t i = 0; i < n_rows; i++)
        ret_outcomes[i] = has_others_join_eui[i] ? DB_BATCH_NOT_ITS_JOIN_EUI : DB_BATCH_CREATED;
    for (size_t i = 0; i < known.n; i++) {
        int64_t ordinal = db_row_int(&known, i, 0, 1, (int64_t)n_rows);

        if (ordinal)
            ret_outcomes[ordinal - 1] =
                db_row_bool(&known, i, 1) ? DB_BATCH_EXISTS : DB_BATCH_TAKEN;
    }
    return db_rows_check(&known);
}

int db_batch_foresee(struct db *db, int64_t organization_id, const struct db_batch_row *rows,
    size_t n_rows, enum db_batch_outcome *ret_outcomes)
{
    bool has_others_join_eui[DB_BATCH_ROWS_MAX];
    int r;

    if (n_rows > DB_BATCH_ROWS_MAX)
        return error_set(ERROR_INTERNAL, "database: a batch of %zu devices", n_rows);
    r = find_others_join_euis(db, organization_id, rows, n_rows, has_others_join_eui);
    return r < 0 ? r
                 : foresee(db, organization_id, rows, n_rows, has_others_join_eui, ret_outcomes);
}

/* --- a chunk of them ------------------------------------------------------------------------- */

/* Of rows that may have made no device: nothing that is not there is taken for made. */
static int whose_are_they(struct db *db, int64_t organization_id, const struct db_batch_row *rows,
    size_t n_rows, const bool *has_others_join_eui, enum db_batch_outcome *outcomes)
{
    int r = foresee(db, organization_id, rows, n_rows, has_others_join_eui, outcomes);

    for (size_t i = 0; r == 0 && i < n_rows; i++)
        if (outcomes[i] == DB_BATCH_CREATED)
            r = error_set(ERROR_DB, "database: a device is neither made nor there");
    return r;
}

static int insert(struct db *db, int64_t batch_id, int64_t organization_id,
    const struct db_batch_row *rows, size_t n_rows, enum db_batch_outcome *outcomes)
{
    const struct db_batch_row *sorted[DB_BATCH_ROWS_MAX];
    bool has_others_join_eui[DB_BATCH_ROWS_MAX];
    size_t n_tried = 0, n_made = 0;
    int r;

    if ((r = db_join_eui_owners_hold(db)) < 0 ||
        (r = find_others_join_euis(db, organization_id, rows, n_rows, has_others_join_eui)) < 0)
        return r;
    for (size_t i = 0; i < n_rows; i++)
        if (!has_others_join_eui[i])
            sorted[n_tried++] = &rows[i];
    qsort(sorted, n_tried, sizeof(sorted[0]), compare_rows);
    if (n_tried > 0 &&
        (r = insert_devices(db, batch_id, organization_id, sorted, n_tried, &n_made)) < 0)
        return r;
    /* Asked after it: by then all of them are there, also those that another one made just now. */
    if (n_made < n_rows &&
        (r = whose_are_they(db, organization_id, rows, n_rows, has_others_join_eui, outcomes)) < 0)
        return r;
    if (n_made == 0)
        return 0;
    for (size_t i = 0; i < n_made; i++)
        outcomes[sorted[i] - rows] = DB_BATCH_CREATED;
    if ((r = insert_keys(db, sorted, n_made)) < 0 || (r = insert_hot(db, sorted, n_made)) < 0)
        return r;
    return insert_nonces(db, sorted, n_made);
}

int db_batch_insert(struct db *db, int64_t batch_id, int64_t organization_id,
    const struct db_batch_row *rows, size_t n_rows, enum db_batch_outcome *outcomes)
{
    bool own = !db->in_transaction;
    int r;

    if (n_rows == 0 || n_rows > DB_BATCH_ROWS_MAX)
        return error_set(ERROR_INTERNAL, "database: a batch of %zu devices", n_rows);
    if (own && (r = db_begin(db)) < 0)
        return r;
    r = insert(db, batch_id, organization_id, rows, n_rows, outcomes);
    if (!own)
        return r;
    if (r == 0)
        return db_commit(db);
    db_rollback(db);
    return r;
}

int db_batch_known_keys(struct db *db, int64_t organization_id, const struct db_key_of_device *keys,
    size_t n, struct db_key_known *ret_known)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    int r;

    db_param_int(p, DB_INT8, organization_id);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, keys[i].fingerprint, sizeof(keys[i].fingerprint));
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, keys[i].dev_eui.bytes, sizeof(keys[i].dev_eui.bytes));
    db_param_int(p, DB_INT8, KEY_DEVICES_MAX);
    if ((r = db_run(db, DB_BATCH_KNOWN_KEYS, &rows)) < 0)
        return r;
    memset(ret_known, 0, n * sizeof(*ret_known));
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 1, (int64_t)n);

        if (ordinal)
            ret_known[ordinal - 1] = (struct db_key_known){
                .own = db_row_bool(&rows, i, 1), .foreign = db_row_bool(&rows, i, 2)};
    }
    return db_rows_check(&rows);
}

int db_batch_finish(struct db *db, int64_t batch_id, size_t n_created, size_t n_refused)
{
    struct db_params *p = db_params_of(db);

    db_param_int(p, DB_INT8, batch_id);
    db_param_int(p, DB_INT8, (int64_t)n_created);
    db_param_int(p, DB_INT8, (int64_t)n_refused);
    return db_run_quiet(db, DB_BATCH_FINISH);
}
