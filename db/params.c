#include "db/params.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_FIRST 4096u
#define ARRAY_HEADER_LEN 20u /* ndim, hasnull, element type, size, lower bound: 4 bytes each */
#define ARRAY_HAS_NULL_AT 4u
#define LENGTH_OF_NULL 0xFFFFFFFFu
#define INT_LEN_MAX 8u

struct integer_range {
    size_t len;
    int64_t min, max;
};

static const struct {
    enum db_type array, element;
} array_types[] = {
    {DB_BOOL_ARRAY, DB_BOOL},
    {DB_BYTEA_ARRAY, DB_BYTEA},
    {DB_INT2_ARRAY, DB_INT2},
    {DB_INT4_ARRAY, DB_INT4},
    {DB_TEXT_ARRAY, DB_TEXT},
    {DB_INT8_ARRAY, DB_INT8},
};

/** 0 when it is no array type. */
static enum db_type element_type(enum db_type array)
{
    for (size_t i = 0; i < sizeof(array_types) / sizeof(*array_types); i++)
        if (array_types[i].array == array)
            return array_types[i].element;
    return 0;
}

static bool integer_range(enum db_type type, struct integer_range *ret)
{
    switch (type) {
    case DB_BOOL:
        *ret = (struct integer_range){1, 0, 1};
        return true;
    case DB_INT2:
        *ret = (struct integer_range){2, INT16_MIN, INT16_MAX};
        return true;
    case DB_INT4:
        *ret = (struct integer_range){4, INT32_MIN, INT32_MAX};
        return true;
    case DB_INT8:
        *ret = (struct integer_range){8, INT64_MIN, INT64_MAX};
        return true;
    case DB_BYTEA:
    case DB_TEXT:
    case DB_BOOL_ARRAY:
    case DB_BYTEA_ARRAY:
    case DB_INT2_ARRAY:
    case DB_INT4_ARRAY:
    case DB_TEXT_ARRAY:
    case DB_INT8_ARRAY:
        break;
    }
    return false;
}

static void put_be(uint8_t *out, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(value >> (8 * (len - 1 - i)));
}

/** Room for `len` more bytes, or NULL and `failed`. */
static uint8_t *claim(struct db_params *p, size_t len)
{
    uint8_t *at;

    if (p->failed)
        return NULL;
    if (len > DB_PARAMS_BYTES_MAX - p->len) {
        p->failed = true;
        return NULL;
    }
    if (p->len + len > p->capacity) {
        size_t capacity = p->capacity ? p->capacity : CAPACITY_FIRST;
        uint8_t *data;

        while (capacity < p->len + len)
            capacity *= 2;
        data = realloc(p->data, capacity);
        if (!data) {
            p->failed = p->no_memory = true;
            return NULL;
        }
        p->data = data;
        p->capacity = capacity;
    }
    at = p->data + p->len;
    p->len += len;
    return at;
}

static struct db_param *param_new(struct db_params *p, enum db_type type)
{
    struct db_param *param;

    if (p->n == DB_PARAMS_MAX || p->n_elements_due)
        p->failed = true;
    if (p->failed)
        return NULL;
    param = &p->params[p->n++];
    *param = (struct db_param){.type = type, .at = p->len};
    return param;
}

static void param_put(struct db_params *p, enum db_type type, const void *data, size_t len)
{
    struct db_param *param = param_new(p, type);
    uint8_t *out = param ? claim(p, len) : NULL;

    if (!out)
        return;
    param->len = len;
    if (len)
        memcpy(out, data, len);
}

/** One element of the open array: its length, then its bytes. */
static uint8_t *element_new(struct db_params *p, size_t len, uint32_t length_field)
{
    struct db_param *param = p->n ? &p->params[p->n - 1] : NULL;
    uint8_t *out;

    if (!param || !p->n_elements_due) {
        p->failed = true;
        return NULL;
    }
    out = claim(p, 4 + len);
    if (!out)
        return NULL;
    put_be(out, length_field, 4);
    p->n_elements_due--;
    param->len = p->len - param->at;
    return out + 4;
}

static bool element_is(struct db_params *p, enum db_type type)
{
    if (!p->n || element_type(p->params[p->n - 1].type) != type)
        p->failed = true;
    return !p->failed;
}

void db_params_begin(struct db_params *p)
{
    p->len = 0;
    p->n = 0;
    p->n_elements_due = 0;
    p->failed = p->no_memory = false;
}

void db_params_done(struct db_params *p)
{
    free(p->data);
    *p = (struct db_params){0};
}

bool db_params_good(const struct db_params *p)
{
    return !p->failed && !p->n_elements_due;
}

void db_param_int(struct db_params *p, enum db_type type, int64_t value)
{
    struct integer_range range;
    uint8_t bytes[INT_LEN_MAX];

    if (!integer_range(type, &range) || value < range.min || value > range.max) {
        p->failed = true;
        return;
    }
    put_be(bytes, (uint64_t)value, range.len);
    param_put(p, type, bytes, range.len);
}

void db_param_bytes(struct db_params *p, const void *data, size_t len)
{
    param_put(p, DB_BYTEA, data, len);
}

void db_param_keyed(struct db_params *p, const uint8_t hash[static KEYED_LEN], unsigned version)
{
    uint8_t stored[KEYED_STORED_MAX];

    db_param_bytes(p, stored, keyed_store(hash, version, stored));
}

void db_param_text(struct db_params *p, const char *text)
{
    param_put(p, DB_TEXT, text, strlen(text));
}

void db_param_null(struct db_params *p, enum db_type type)
{
    struct db_param *param = param_new(p, type);

    if (param)
        param->is_null = true;
}

void db_param_array(struct db_params *p, enum db_type array_type, size_t n)
{
    enum db_type element = element_type(array_type);
    struct db_param *param;
    uint8_t *out;

    if (!element || n > INT32_MAX) {
        p->failed = true;
        return;
    }
    param = param_new(p, array_type);
    /* An empty array has no dimension, so it ends after the element type. */
    out = param ? claim(p, n ? ARRAY_HEADER_LEN : ARRAY_HEADER_LEN - 8) : NULL;
    if (!out)
        return;
    put_be(out, n ? 1 : 0, 4);
    put_be(out + ARRAY_HAS_NULL_AT, 0, 4);
    put_be(out + 8, (uint64_t)element, 4);
    if (n) {
        put_be(out + 12, n, 4);
        put_be(out + 16, 1, 4);
    }
    param->len = p->len - param->at;
    p->n_elements_due = n;
}

void db_element_int(struct db_params *p, int64_t value)
{
    struct integer_range range;
    uint8_t *out;

    if (!p->n || !integer_range(element_type(p->params[p->n - 1].type), &range) ||
        value < range.min || value > range.max) {
        p->failed = true;
        return;
    }
    out = element_new(p, range.len, (uint32_t)range.len);
    if (out)
        put_be(out, (uint64_t)value, range.len);
}

void db_element_bytes(struct db_params *p, const void *data, size_t len)
{
    uint8_t *out = NULL;

    if (element_is(p, DB_BYTEA) && len <= DB_PARAMS_BYTES_MAX)
        out = element_new(p, len, (uint32_t)len);
    if (out && len)
        memcpy(out, data, len);
}

void db_element_keyed(struct db_params *p, const uint8_t hash[static KEYED_LEN], unsigned version)
{
    uint8_t stored[KEYED_STORED_MAX];

    db_element_bytes(p, stored, keyed_store(hash, version, stored));
}

void db_element_text(struct db_params *p, const char *text)
{
    size_t len = strlen(text);
    uint8_t *out = NULL;

    if (element_is(p, DB_TEXT) && len <= DB_PARAMS_BYTES_MAX)
        out = element_new(p, len, (uint32_t)len);
    if (out && len)
        memcpy(out, text, len);
}

void db_element_null(struct db_params *p)
{
    if (element_new(p, 0, LENGTH_OF_NULL))
        put_be(p->data + p->params[p->n - 1].at + ARRAY_HAS_NULL_AT, 1, 4);
}
