#include "db/rehearsal.h"

#include "db/connection.h"

#define HALF DB_DECIMAL(64)

_Static_assert(DB_SAMPLES_MAX == 2 * 64, "both halves fit");

/* One percent of the blocks, and no more of them than are needed: the same however large the table
 * is. A Sigfox credential's tag has no JoinEUI. */
const struct db_statement db_rehearsal_samples_statement = {
    .name = "rehearsal_samples",
    .sql = "SELECT s.dev_eui, d.join_eui, s.slot, s.kek_label, s.blob, s.tag FROM ("
           "  (SELECT * FROM device_key ORDER BY dev_eui LIMIT " HALF ")"
           "  UNION (SELECT * FROM device_key TABLESAMPLE SYSTEM (1) LIMIT " HALF ")) s"
           " JOIN device d ON d.dev_eui = s.dev_eui",
    .shape = DB_SHAPE_MANY,
};

int db_sealed_samples(struct db *db, struct db_sealed_sample *ret, size_t *ret_n)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    (void)db_params_of(db);
    if ((r = db_run(db, DB_REHEARSAL_SAMPLES, &rows)) < 0)
        return r;
    for (size_t i = 0; i < rows.n && i < DB_SAMPLES_MAX; i++) {
        struct db_sealed_sample *s = &ret[i];

        *s = (struct db_sealed_sample){.slot = KEY_SLOT_APP};
        db_row_bytes(&rows, i, 0, s->dev_eui.bytes, sizeof(s->dev_eui.bytes));
        if (!db_row_is_null(&rows, i, 1))
            db_row_bytes(&rows, i, 1, s->join_eui.bytes, sizeof(s->join_eui.bytes));
        s->slot = (enum key_slot)db_row_int(&rows, i, 2, KEY_SLOT_APP, KEY_SLOT_NWK);
        db_row_text(&rows, i, 3, s->key.kek_label, sizeof(s->key.kek_label));
        s->key.blob_len = (uint8_t)db_row_bytes_upto(&rows, i, 4, s->key.blob, sizeof(s->key.blob));
        db_row_keyed(&rows, i, 5, s->key.tag, &s->key.tag_version);
    }
    *ret_n = rows.n < DB_SAMPLES_MAX ? rows.n : DB_SAMPLES_MAX;
    return db_rows_check(&rows);
}
