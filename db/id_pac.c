#include "db/id_pac.h"

#include "db/claim_limit.h"
#include <string.h>

#define OUTCOME_TEXT_MAX 16 /* with its NUL */

_Static_assert(DB_ID_PAC_CHUNK_MAX <= DB_WRONG_MAX, "a chunk may be wrong as a whole");

/* As the statement has them. */
static const char *const outcome_names[] = {
    [ID_PAC_ACTIVABLE] = "activable",
    [ID_PAC_HANDED_OVER] = "handed-over",
    [ID_PAC_EXISTS] = "exists",
    [ID_PAC_RACED] = "raced",
    [ID_PAC_HELD] = "held",
    [ID_PAC_LIMITED] = "limited",
    [ID_PAC_QUOTA] = "quota",
    [ID_PAC_PRODUCT] = "product",
    [ID_PAC_UNKNOWN] = "unknown",
    [ID_PAC_SCRAPPED] = "scrapped",
    [ID_PAC_NO_CODE] = "no-code",
    [ID_PAC_LOCKED] = "locked",
    [ID_PAC_CODE] = "code",
    [ID_PAC_ELSEWHERE] = "elsewhere",
    [ID_PAC_QUARANTINED] = "quarantined",
    [ID_PAC_ORDERED] = "ordered",
    [ID_PAC_MODULE] = "module",
};
_Static_assert(sizeof(outcome_names) / sizeof(outcome_names[0]) == DB_N_ID_PAC_OUTCOMES,
    "an outcome has no name");

/* What a wrong one is called in claim_event. */
static const char *const event_names[DB_N_ID_PAC_OUTCOMES] = {
    [ID_PAC_UNKNOWN] = "unknown",
    [ID_PAC_SCRAPPED] = "credential",
    [ID_PAC_NO_CODE] = "no-code",
    [ID_PAC_LOCKED] = "locked",
    [ID_PAC_CODE] = "code",
    [ID_PAC_ELSEWHERE] = "credential",
    [ID_PAC_QUARANTINED] = "quarantined",
    [ID_PAC_ORDERED] = "credential",
    [ID_PAC_MODULE] = "taken",
};

/* The code that the label has: the present one, or the last one before an owner's. */
#define PAC(column) "CASE origin WHEN 'claimed' THEN pac_" column " ELSE " column " END"
#define CODE_COLUMNS "weak, " PAC("generation") " AS pac_generation, " PAC("hash") " AS pac_hash"
#define MADE                                                                                       \
    "CASE origin WHEN 'claimed' THEN coalesce(pac_made, false) ELSE origin = 'made' END AS is_made"

#define PAC_KEY                                                                                    \
    "CASE origin WHEN 'claimed' THEN " DB_CODE_KEY("pac_hash") " ELSE " DB_CODE_KEY(               \
        "hash") " END AS pac_key"

/* As NEAREST, of another table: the row of that key or, where there is none, of the one after it.
 * Whoever reads it compares the key. */
#define FOLLOWING(alias, table, key, value, columns)                                               \
    " LEFT JOIN LATERAL (SELECT " key ", " columns " FROM " table "  WHERE " key                   \
    " >= coalesce(" value ", 0) ORDER BY " key " LIMIT 1) " alias " ON true"

/* clang-format off */
/* A row more of the answer tells of the client: its ordinal is 0. */
const struct db_statement db_id_pac_load_statement = {
    .name = "id_pac_load",
    .sql =
        "WITH input AS (SELECT * FROM unnest($1::bytea[]) WITH ORDINALITY AS i(dev_eui, ordinal)),"
        " one AS MATERIALIZED (SELECT " ALARM_ON " AS alarm)"
        " SELECT i.ordinal::int4, (CASE WHEN c.dev_eui = i.dev_eui"
        "   THEN coalesce(c.pac_generation, 1) ELSE 1 END)::int4, " WAIT_OF_DEVICE ","
        "  coalesce(c.dev_eui = i.dev_eui AND c.is_made, false), 0::int8,"
        "  (CASE WHEN c.dev_eui = i.dev_eui AND c.pac_hash IS NOT NULL THEN c.pac_key ELSE 0 END)::int4"
        " FROM input i"
        NEAREST("c", "claim_code", CODE_COLUMNS ", " MADE ", " PAC_KEY)
        BUCKET("l", "2", "i.dev_eui")
        BUCKET("o", "3", "$2 || i.dev_eui")
        " UNION ALL"
        " SELECT 0, 1, " WAIT_OF_CLIENT("c", DB_ID_PAC_BURST) ", false, " ALLOWANCE("c", DB_ID_PAC_BURST)
        ", 0 FROM one"
        BUCKET("c", "1", "$2")
        BUCKET("n", "4", "$3"),
    .shape = DB_SHAPE_MANY,
    .n_params = 3,
    .params = {DB_BYTEA_ARRAY, DB_BYTEA, DB_BYTEA},
};

/* As a claim is settled: rows are looked for again, and locked, only where all is right. What
 * `judged` says is of the moment when the statement began; where it finds nothing wrong with a line
 * that did not come through, something else was faster. Of a module its certificate is locked
 * before any device, so that its quota holds; devices come in the order of DevEUIs, codes behind
 * them. */
const struct db_statement db_id_pac_settle_statement = {
    .name = "id_pac_settle",
    .sql =
        "WITH cert AS (SELECT c.id, c.kind,"
        " CASE c.kind WHEN 'module' THEN c.id ELSE c.module_id END AS module_id,"
        " c.kind = 'module' AND EXISTS (SELECT FROM certificate p WHERE p.module_id = c.id"
        " AND p.revoked_at IS NULL) AS has_product"
        " FROM certificate c WHERE c.id = $6 AND c.revoked_at IS NULL),"
        " room AS (SELECT c.prototype_quota - c.n_prototypes AS n FROM certificate c"
        " WHERE c.id = (SELECT id FROM cert WHERE kind = 'module' AND NOT has_product)"
        " FOR NO KEY UPDATE OF c),"
        " input AS (SELECT * FROM unnest($1, $2, $3, $4) WITH ORDINALITY"
        " AS i(dev_eui, g, h, looked, ordinal)),"
        " judged AS (SELECT i.*,"
        " CASE WHEN x.id = d.certificate_id THEN x.number END AS other,"
        " d.dev_eui IS NOT DISTINCT FROM i.dev_eui AND d.organization_id = $7 AS told, CASE"
        " WHEN NOT i.looked THEN 'limited'"
        " WHEN d.dev_eui IS DISTINCT FROM i.dev_eui THEN 'unknown'"
        " WHEN d.credential = 'scrapped' THEN 'scrapped'"
        " WHEN c.dev_eui IS DISTINCT FROM i.dev_eui OR c.pac_hash IS NULL THEN 'no-code'"
        " WHEN c.weak AND l.n_wrong >= " WEAK_MAX " THEN 'locked'"
        " WHEN c.pac_generation <> i.g THEN 'raced'"
        " WHEN c.pac_hash <> i.h THEN 'code'"
        " WHEN d.credential = 'activable' THEN CASE d.certificate_id WHEN $6 THEN 'exists'"
        " ELSE 'elsewhere' END"
        " WHEN d.trust = 'quarantined' THEN 'quarantined'"
        " WHEN d.credential = 'ordered' THEN 'ordered'"
        " WHEN CASE WHEN o.batch_id = d.batch_id"
        " THEN o.module_id = (SELECT module_id FROM cert)"
        " ELSE b.id = d.batch_id AND b.organization_id = $7 END THEN 'raced'"
        " ELSE 'module' END AS reason"
        " FROM input i"
        NEAREST("d", "device", "organization_id, batch_id, credential, trust, certificate_id")
        NEAREST("c", "claim_code", CODE_COLUMNS)
        BUCKET("l", "2", "i.dev_eui")
        FOLLOWING("b", "batch", "id", "d.batch_id", "organization_id")
        FOLLOWING("o", "batch_order", "batch_id", "d.batch_id", "module_id")
        FOLLOWING("x", "certificate", "id", "d.certificate_id", "number") "),"
        " seen AS (SELECT j.*, count(*) FILTER (WHERE NOT told"
        " AND reason NOT IN ('limited', 'raced', 'exists')) OVER (ORDER BY ordinal"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) >= $5 AS held FROM judged j),"
        " due AS (SELECT s.ordinal, s.dev_eui, d.batch_id,"
        " d.organization_id AS former_id,"
        " d.ownership = 'unowned' AND d.organization_id <> $7 AS moves"
        " FROM seen s JOIN device d ON d.dev_eui = s.dev_eui"
        " JOIN claim_code c ON c.dev_eui = s.dev_eui CROSS JOIN cert"
        " WHERE s.reason = 'raced' AND NOT s.held AND d.trust <> 'quarantined'"
        " AND d.credential IN ('generated', 'delivered', 'personalized')"
        " AND s.g = " PAC("generation") " AND s.h = " PAC("hash")
        " ORDER BY s.dev_eui LIMIT (SELECT CASE kind WHEN 'module'"
        " THEN coalesce((SELECT n FROM room), 0) END FROM cert) FOR NO KEY UPDATE OF d, c),"
        " moved AS (UPDATE device d SET credential = 'activable', certificate_id = $6,"
        " organization_id = CASE WHEN due.moves THEN $7 ELSE d.organization_id END"
        " FROM due WHERE d.dev_eui = due.dev_eui)"
        " SELECT s.ordinal::int4, CASE WHEN due.moves THEN 'handed-over'"
        " WHEN due.ordinal IS NOT NULL THEN 'activable' WHEN s.held THEN 'held'"
        " ELSE s.reason END, s.told, coalesce(due.batch_id, 0), coalesce(due.former_id, 0), s.other"
        " FROM seen s LEFT JOIN due ON due.ordinal = s.ordinal"
        " UNION ALL SELECT 0, coalesce((SELECT CASE WHEN has_product THEN 'product'"
        " WHEN kind = 'product' OR (SELECT count(*) FROM due) < (SELECT n FROM room) THEN 'stands'"
        " ELSE 'full' END FROM cert), 'revoked'), false, 0, 0, NULL",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 7,
    .params = {DB_BYTEA_ARRAY, DB_INT4_ARRAY, DB_BYTEA_ARRAY, DB_BOOL_ARRAY, DB_INT8, DB_INT8,
        DB_INT8},
};
/* clang-format on */

/* Of a certificate whose row is locked. */
const struct db_statement db_id_pac_prototypes_statement = {
    .name = "id_pac_prototypes",
    .sql = "UPDATE certificate SET n_prototypes = n_prototypes + $2"
           " WHERE id = $1 AND kind = 'module' RETURNING 1",
    .shape = DB_SHAPE_ONE_OR_NONE,
    .commits = true,
    .n_params = 2,
    .params = {DB_INT8, DB_INT4},
};

/* Each of the two reads it in his own history; whose client it was, the new one alone. */
const struct db_statement db_id_pac_hand_over_statement = {
    .name = "id_pac_hand_over",
    .sql =
        "INSERT INTO audit_event (organization_id, client_id, request_id, action, object, detail)"
        " SELECT v.of_id, CASE WHEN v.of_id = $4 THEN $5 END, $6, 'device.hand-over',"
        "  device_text(i.dev_eui), jsonb_build_object('certificate', c.number,"
        "   'from', encode(f.public_id, 'hex'), 'to', encode(t.public_id, 'hex'))"
        " FROM unnest($1::bytea[], $2::int8[]) AS i(dev_eui, former_id)"
        " JOIN certificate c ON c.id = $3 JOIN organization f ON f.id = i.former_id"
        " JOIN organization t ON t.id = $4"
        " CROSS JOIN LATERAL (VALUES (i.former_id), ($4)) AS v(of_id)"
        " ORDER BY i.dev_eui, v.of_id",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 6,
    .params = {DB_BYTEA_ARRAY, DB_INT8_ARRAY, DB_INT8, DB_INT8, DB_BYTEA, DB_TEXT},
};

const struct db_statement db_id_pac_tried_statement = {
    .name = "id_pac_tried",
    .sql = "INSERT INTO claim_event (dev_eui, organization_id, client_id, request_id, outcome)"
           " SELECT dev_eui, $3, $4, $5, outcome FROM unnest($1::bytea[], $2::text[])"
           "  WITH ORDINALITY AS i(dev_eui, outcome, ordinal) ORDER BY ordinal",
    .shape = DB_SHAPE_MANY,
    .commits = true,
    .n_params = 5,
    .params = {DB_BYTEA_ARRAY, DB_TEXT_ARRAY, DB_INT8, DB_BYTEA, DB_TEXT},
};

static void put_devices(struct db_params *p, const struct db_id_pac *lines, size_t n)
{
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_bytes(p, lines[i].dev_eui.bytes, sizeof(lines[i].dev_eui.bytes));
}

int db_id_pac_load(struct db *db, const struct db_claimant *claimant, struct db_id_pac *lines,
    size_t n, int64_t *ret_wait_s, size_t *ret_allowance)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    uint8_t network[DB_NETWORK_LEN];
    int r;

    put_devices(p, lines, n);
    db_param_bytes(p, claimant->client_id, sizeof(claimant->client_id));
    db_claimant_network(claimant, network);
    if (claimant->has_network)
        db_param_bytes(p, network, sizeof(network));
    else
        db_param_null(p, DB_BYTEA);
    if ((r = db_run(db, DB_ID_PAC_LOAD, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 0, (int64_t)n);
        int64_t wait_s = db_row_int(&rows, i, 2, 0, INT64_MAX);
        int64_t allowance = db_row_int(&rows, i, 4, INT64_MIN, INT64_MAX);

        if (ordinal == 0) {
            *ret_wait_s = wait_s;
            *ret_allowance = allowance > 1 ? (size_t)allowance : 1;
            continue;
        }
        lines[ordinal - 1].generation = (uint32_t)db_row_int(&rows, i, 1, 1, INT32_MAX);
        lines[ordinal - 1].wait_s = wait_s;
        lines[ordinal - 1].is_made = db_row_bool(&rows, i, 3);
        lines[ordinal - 1].code_key = (uint16_t)db_row_int(&rows, i, 5, 0, KEYED_VERSION_MAX);
    }
    return db_rows_check(&rows);
}

static bool outcome_parse(const char *text, enum db_id_pac_outcome *ret)
{
    for (unsigned i = 0; i < DB_N_ID_PAC_OUTCOMES; i++)
        if (strcmp(outcome_names[i], text) == 0) {
            *ret = (enum db_id_pac_outcome)i;
            return true;
        }
    return false;
}

static bool is_wrong(const struct db_id_pac *line)
{
    return !line->told && line->outcome >= ID_PAC_UNKNOWN;
}

static int tell_tried(
    struct db *db, const struct db_claimant *claimant, const struct db_id_pac *lines, size_t n)
{
    struct db_params *p = db_params_of(db);
    size_t n_wrong = 0;

    for (size_t i = 0; i < n; i++)
        n_wrong += is_wrong(&lines[i]);
    if (n_wrong == 0)
        return 0;
    db_param_array(p, DB_BYTEA_ARRAY, n_wrong);
    for (size_t i = 0; i < n; i++)
        if (is_wrong(&lines[i]))
            db_element_bytes(p, lines[i].dev_eui.bytes, sizeof(lines[i].dev_eui.bytes));
    db_param_array(p, DB_TEXT_ARRAY, n_wrong);
    for (size_t i = 0; i < n; i++)
        if (is_wrong(&lines[i]))
            db_element_text(p, event_names[lines[i].outcome]);
    db_param_int(p, DB_INT8, claimant->organization_id);
    db_param_bytes(p, claimant->client_id, sizeof(claimant->client_id));
    db_param_text(p, claimant->request_id);
    return db_run_quiet(db, DB_ID_PAC_TRIED);
}

static int tell_handed_over(struct db *db, const struct db_claimant *claimant,
    int64_t certificate_id, const struct db_id_pac *lines, size_t n)
{
    struct db_params *p = db_params_of(db);
    size_t n_handed = 0;

    for (size_t i = 0; i < n; i++)
        n_handed += lines[i].outcome == ID_PAC_HANDED_OVER;
    if (n_handed == 0)
        return 0;
    db_param_array(p, DB_BYTEA_ARRAY, n_handed);
    for (size_t i = 0; i < n; i++)
        if (lines[i].outcome == ID_PAC_HANDED_OVER)
            db_element_bytes(p, lines[i].dev_eui.bytes, sizeof(lines[i].dev_eui.bytes));
    db_param_array(p, DB_INT8_ARRAY, n_handed);
    for (size_t i = 0; i < n; i++)
        if (lines[i].outcome == ID_PAC_HANDED_OVER)
            db_element_int(p, lines[i].former_id);
    db_param_int(p, DB_INT8, certificate_id);
    db_param_int(p, DB_INT8, claimant->organization_id);
    db_param_bytes(p, claimant->client_id, sizeof(claimant->client_id));
    db_param_text(p, claimant->request_id);
    return db_run_quiet(db, DB_ID_PAC_HAND_OVER);
}

/* Whoever has the device is held up with that one device only, and for a wrong code alone: what
 * else stands against it he is told. */
static int count_wrong(
    struct db *db, const struct db_claimant *claimant, const struct db_id_pac *lines, size_t n)
{
    struct db_wrong wrong[DB_ID_PAC_CHUNK_MAX];
    size_t n_wrong = 0;

    for (size_t i = 0; i < n; i++)
        if (is_wrong(&lines[i]) || lines[i].outcome == ID_PAC_CODE)
            wrong[n_wrong++] = (struct db_wrong){
                .who = claimant, .dev_eui = lines[i].dev_eui, .is_his = lines[i].told};
    return db_wrong_count(db, wrong, n_wrong);
}

static void put_lines(struct db_params *p, const struct db_id_pac *lines, size_t n)
{
    put_devices(p, lines, n);
    db_param_array(p, DB_INT4_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, lines[i].generation);
    db_param_array(p, DB_BYTEA_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_keyed(p, lines[i].hash, lines[i].hash_version);
    db_param_array(p, DB_BOOL_ARRAY, n);
    for (size_t i = 0; i < n; i++)
        db_element_int(p, lines[i].wait_s == 0);
}

/* How the certificate stands, which a row of the answer tells. */
enum standing { STANDS, FULL, HAS_PRODUCT, REVOKED };
static const char *const standing_names[] = {
    [STANDS] = "stands", [FULL] = "full", [HAS_PRODUCT] = "product", [REVOKED] = "revoked"};

static void read_standing(struct db_rows *rows, size_t row, enum standing *ret)
{
    char name[OUTCOME_TEXT_MAX];

    db_row_text(rows, row, 1, name, sizeof(name));
    for (unsigned i = 0; i < sizeof(standing_names) / sizeof(standing_names[0]); i++)
        if (strcmp(standing_names[i], name) == 0)
            *ret = (enum standing)i;
}

static int read_line(struct db_rows *rows, size_t row, struct db_id_pac *line)
{
    char outcome[OUTCOME_TEXT_MAX];

    db_row_text(rows, row, 1, outcome, sizeof(outcome));
    if (!outcome_parse(outcome, &line->outcome))
        return error_set(ERROR_INTERNAL, "database: a line came to nothing that is known");
    line->told = db_row_bool(rows, row, 2);
    line->batch_id = db_row_int(rows, row, 3, 0, INT64_MAX);
    line->former_id = db_row_int(rows, row, 4, 0, INT64_MAX);
    db_row_text(rows, row, 5, line->other, sizeof(line->other));
    return 0;
}

/* What is right and did not come through was late, unless the certificate lets no more through. */
static void say_why(enum standing standing, struct db_id_pac *lines, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (lines[i].outcome == ID_PAC_RACED && standing != STANDS)
            lines[i].outcome = standing == FULL ? ID_PAC_QUOTA : ID_PAC_PRODUCT;
}

static int count_prototypes(
    struct db *db, int64_t certificate_id, const struct db_id_pac *lines, size_t n)
{
    struct db_params *p = db_params_of(db);
    int64_t n_made = 0;

    for (size_t i = 0; i < n; i++)
        n_made += lines[i].outcome <= ID_PAC_HANDED_OVER;
    if (n_made == 0)
        return 0;
    db_param_int(p, DB_INT8, certificate_id);
    db_param_int(p, DB_INT4, n_made);
    return db_run_quiet(db, DB_ID_PAC_PROTOTYPES);
}

int db_id_pac_settle(struct db *db, const struct db_claimant *claimant, int64_t certificate_id,
    size_t allowance, struct db_id_pac *lines, size_t n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    struct db_params *p = db_params_of(db);
    enum standing standing = REVOKED;
    int r;

    put_lines(p, lines, n);
    db_param_int(p, DB_INT8, (int64_t)allowance);
    db_param_int(p, DB_INT8, certificate_id);
    db_param_int(p, DB_INT8, claimant->organization_id);
    if ((r = db_run(db, DB_ID_PAC_SETTLE, &rows)) < 0)
        return r;
    for (size_t i = 0; r == 0 && i < rows.n; i++) {
        int64_t ordinal = db_row_int(&rows, i, 0, 0, (int64_t)n);

        if (ordinal == 0)
            read_standing(&rows, i, &standing);
        else
            r = read_line(&rows, i, &lines[ordinal - 1]);
    }
    if (r == 0 && rows.n != n + 1)
        r = error_set(ERROR_INTERNAL, "database: a line came to nothing");
    if (r == 0)
        r = db_rows_check(&rows);
    if (r < 0 || standing == REVOKED)
        return r < 0 ? r : 1;
    say_why(standing, lines, n);
    if ((r = count_prototypes(db, certificate_id, lines, n)) < 0 ||
        (r = tell_handed_over(db, claimant, certificate_id, lines, n)) < 0 ||
        (r = tell_tried(db, claimant, lines, n)) < 0)
        return r;
    return count_wrong(db, claimant, lines, n);
}
