#include "activation/import_store.h"

#include "base/clock.h"
#include "base/error.h"
#include "db/batch.h"
#include <stdlib.h>
#include <string.h>

/* What one chunk needs; of secret_realloc, since `adopt` holds keys in clear. */
struct chunk {
    size_t n;
    struct import_row *rows[DB_BATCH_ROWS_MAX];
    size_t row_numbers[DB_BATCH_ROWS_MAX];
    struct db_batch_row stored[DB_BATCH_ROWS_MAX];
    enum db_batch_outcome outcomes[DB_BATCH_ROWS_MAX];
    struct keyd_adopt_request adopt[KEYD_BATCH_MAX];
    struct keyd_adopt_reply replies[KEYD_BATCH_MAX];
};

static void chunk_cleanup(struct chunk **chunk)
{
    secret_free(*chunk);
}

/* With a home network the device is claimed by whoever imports it; without, it waits for an owner.
 */
static void fill_record(const struct import_row *row, struct device_record *record)
{
    *record = (struct device_record){
        .dev_eui = row->dev_eui,
        .join_eui = row->join_eui,
        .mac_version = row->mac_version,
        .credential = CREDENTIAL_ACTIVABLE,
        .ownership = row->has_home_net_id ? OWNERSHIP_CLAIMED : OWNERSHIP_UNOWNED,
        .service = row->has_home_net_id ? SERVICE_ACTIVE : SERVICE_INACTIVE,
        .trust = TRUST_OK,
        .ownership_epoch = row->has_home_net_id ? 1 : 0,
        .has_home_net_id = row->has_home_net_id,
        .home_net_id = row->home_net_id,
    };
    memcpy(record->as_id, row->as_id, sizeof(record->as_id));
}

/* Seals up to KEYD_BATCH_MAX keys of one slot; `wanted` are places in the chunk. */
static int seal_some(struct act_worker *worker, struct chunk *chunk, enum key_slot slot,
    const size_t *wanted, size_t n)
{
    int r;

    for (size_t i = 0; i < n; i++) {
        struct import_row *row = chunk->rows[wanted[i]];
        struct secret_key *key = slot == KEY_SLOT_NWK ? &row->nwk : &row->app;

        chunk->adopt[i] = (struct keyd_adopt_request){
            .dev_eui = row->dev_eui, .join_eui = row->join_eui, .slot = slot, .key = *key};
        secret_key_wipe(key);
    }
    r = keyd_adopt_device_keys(worker->keyd, NULL, 0, chunk->adopt, n, chunk->replies,
        clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    secret_wipe(chunk->adopt, sizeof(chunk->adopt));
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct db_batch_row *stored = &chunk->stored[wanted[i]];

        if (chunk->replies[i].status != KEYD_OK)
            return error_set(ERROR_HSM, "a device key was not sealed: %s",
                keyd_status_text(chunk->replies[i].status));
        if (slot == KEY_SLOT_NWK) {
            stored->nwk = chunk->replies[i].sealed;
            stored->has_nwk = true;
        } else {
            stored->app = chunk->replies[i].sealed;
            memcpy(stored->kcv, chunk->replies[i].kcv, sizeof(stored->kcv));
        }
    }
    return 0;
}

static int seal_slot(struct act_worker *worker, struct chunk *chunk, enum key_slot slot)
{
    size_t wanted[KEYD_BATCH_MAX];
    size_t n = 0;
    int r;

    for (size_t i = 0; i < chunk->n; i++) {
        if (slot == KEY_SLOT_NWK && !chunk->rows[i]->has_nwk)
            continue;
        wanted[n++] = i;
        if (n == KEYD_BATCH_MAX) {
            if ((r = seal_some(worker, chunk, slot, wanted, n)) < 0)
                return r;
            n = 0;
        }
    }
    return n > 0 ? seal_some(worker, chunk, slot, wanted, n) : 0;
}

static int store_chunk(struct act_worker *worker, const struct act_caller *caller, int64_t batch_id,
    struct chunk *chunk, enum import_result *results, size_t *created)
{
    int r;

    for (size_t i = 0; i < chunk->n; i++) {
        chunk->stored[i] = (struct db_batch_row){0};
        fill_record(chunk->rows[i], &chunk->stored[i].record);
    }
    if ((r = seal_slot(worker, chunk, KEY_SLOT_APP)) < 0 ||
        (r = seal_slot(worker, chunk, KEY_SLOT_NWK)) < 0 ||
        (r = db_batch_insert(worker->db, batch_id, caller->organization_id, chunk->stored, chunk->n,
             chunk->outcomes)) < 0)
        return r;
    for (size_t i = 0; i < chunk->n; i++) {
        bool is_new = chunk->outcomes[i] == DB_BATCH_CREATED;

        results[chunk->row_numbers[i]] = is_new ? IMPORT_CREATED : IMPORT_EXISTS;
        *created += is_new;
    }
    chunk->n = 0;
    return 0;
}

int import_store(struct act_worker *worker, const struct act_caller *caller, const char *format,
    struct import_file *file, enum import_result *results, size_t *ret_created)
{
    CLEANUP(chunk_cleanup) struct chunk *chunk = secret_realloc(NULL, sizeof(*chunk));
    size_t n_refused = 0;
    int64_t batch_id;
    int r;

    *ret_created = 0;
    if (chunk == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a chunk of rows");
    chunk->n = 0;
    if ((r = db_batch_begin(worker->db, caller->organization_id, format, &batch_id)) < 0)
        return r;
    for (size_t i = 0; i < file->n_rows; i++) {
        if (file->rows[i].fault != IMPORT_FAULT_NONE) {
            n_refused++;
            continue;
        }
        chunk->row_numbers[chunk->n] = i;
        chunk->rows[chunk->n++] = &file->rows[i];
        if (chunk->n == DB_BATCH_ROWS_MAX &&
            (r = store_chunk(worker, caller, batch_id, chunk, results, ret_created)) < 0)
            return r;
    }
    if (chunk->n > 0 &&
        (r = store_chunk(worker, caller, batch_id, chunk, results, ret_created)) < 0)
        return r;
    return db_batch_finish(worker->db, batch_id, *ret_created, n_refused);
}
