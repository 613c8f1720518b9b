/* Parameters of one statement, in PostgreSQL's binary format. One block a connection, used again
 * and again: after the first statements of a kind nothing is allocated. Failure (no memory, a value
 * that does not fit its type, wrong counts) is sticky and reported by the call that runs the
 * statement. Private to db/. */
#pragma once

#include "base/keyed.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DB_PARAMS_MAX 32
#define DB_PARAMS_BYTES_MAX (1u << 20)

/** Values are the object ids of pg_type.dat, which are the same in every PostgreSQL. */
enum db_type {
    DB_BOOL = 16,
    DB_BYTEA = 17,
    DB_INT8 = 20,
    DB_INT2 = 21,
    DB_INT4 = 23,
    DB_TEXT = 25,
    DB_BOOL_ARRAY = 1000,
    DB_BYTEA_ARRAY = 1001,
    DB_INT2_ARRAY = 1005,
    DB_INT4_ARRAY = 1007,
    DB_TEXT_ARRAY = 1009,
    DB_INT8_ARRAY = 1016,
};

struct db_param {
    enum db_type type;
    size_t at; /* offset into data: the block may move while it grows */
    size_t len;
    bool is_null;
};

struct db_params {
    uint8_t *data;
    size_t len, capacity;
    struct db_param params[DB_PARAMS_MAX];
    size_t n;
    size_t n_elements_due;  /* of the array being written */
    bool failed, no_memory; /* the latter besides the former */
};

void db_params_begin(struct db_params *p);
void db_params_done(struct db_params *p);
/** True when nothing failed and the last array is complete. */
bool db_params_good(const struct db_params *p);

/** `type` is DB_BOOL, DB_INT2, DB_INT4 or DB_INT8. */
void db_param_int(struct db_params *p, enum db_type type, int64_t value);
void db_param_bytes(struct db_params *p, const void *data, size_t len);
/** A hash of a key that has versions (base/keyed.h). */
void db_param_keyed(struct db_params *p, const uint8_t hash[static KEYED_LEN], unsigned version);
void db_param_text(struct db_params *p, const char *text);
void db_param_null(struct db_params *p, enum db_type type);

/** Opens an array of `n` elements; exactly `n` db_element_... follow. */
void db_param_array(struct db_params *p, enum db_type array_type, size_t n);
/** For arrays of bool, int2, int4 and int8. */
void db_element_int(struct db_params *p, int64_t value);
void db_element_bytes(struct db_params *p, const void *data, size_t len);
void db_element_keyed(struct db_params *p, const uint8_t hash[static KEYED_LEN], unsigned version);
void db_element_text(struct db_params *p, const char *text);
void db_element_null(struct db_params *p);
