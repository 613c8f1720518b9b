/* Sealed keys of devices, to try a token with. Role cradle_activation. */
#pragma once

#include "base/sealed.h"
#include "db/db.h"

#define DB_SAMPLES_MAX 128

struct db_sealed_sample {
    struct eui64 dev_eui, join_eui;
    enum key_slot slot;
    struct sealed_key key;
};

/** Half of them the first by DevEUI, half from blocks of the table that chance picks; `ret` has
 * DB_SAMPLES_MAX places. None where there is no device. */
int db_sealed_samples(struct db *db, struct db_sealed_sample *ret, size_t *ret_n) MUST_CHECK;
