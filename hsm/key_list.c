#include "hsm/key_list.h"

#include "base/bytes.h"
#include "base/hex.h"
#include <stdio.h>
#include <string.h>

#define MAGIC_KEYS 0x434B4B31u /* "CKK1" */

int key_list_add(
    struct key_list *list, const char *label, const uint8_t kcv[static KEY_LIST_KCV_LEN])
{
    struct key_list_key *key = &list->keys[list->n];
    const size_t len = strlen(label);

    if (list->n == KEY_LIST_MAX || len > SEALED_LABEL_MAX)
        return error_set(ERROR_CONFIG, "the token holds too many of our objects");
    if (key_list_find(list, label) != NULL)
        return error_set(ERROR_CONFIG, "the token holds two objects labelled %s", label);
    *key = (struct key_list_key){.label = ""};
    memcpy(key->label, label, len);
    memcpy(key->kcv, kcv, KEY_LIST_KCV_LEN);
    list->n++;
    return 0;
}

const struct key_list_key *key_list_find(const struct key_list *list, const char *label)
{
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->keys[i].label, label) == 0)
            return &list->keys[i];
    }
    return NULL;
}

/* Another key is worse than a missing one, wherever it stands. */
enum key_list_order key_list_difference(const struct key_list *wanted, const struct key_list *other,
    char ret_text[static KEY_LIST_TEXT_MAX])
{
    const struct key_list_key *missing = NULL;
    size_t n_shared = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < wanted->n; i++) {
        const struct key_list_key *w = &wanted->keys[i], *o = key_list_find(other, w->label);
        char one[2 * KEY_LIST_KCV_LEN + 1], two[2 * KEY_LIST_KCV_LEN + 1];

        if (o == NULL) {
            missing = missing == NULL ? w : missing;
            continue;
        }
        n_shared++;
        if (memcmp(w->kcv, o->kcv, KEY_LIST_KCV_LEN) == 0)
            continue;
        (void)snprintf(ret_text, KEY_LIST_TEXT_MAX,
            "its %s is another key: check value %s and not %s", w->label,
            hex_encode(o->kcv, KEY_LIST_KCV_LEN, two), hex_encode(w->kcv, KEY_LIST_KCV_LEN, one));
        return KEY_LIST_ANOTHER;
    }
    if (missing != NULL) {
        (void)snprintf(ret_text, KEY_LIST_TEXT_MAX, "it holds no %s", missing->label);
        return KEY_LIST_FEWER;
    }
    return other->n > n_shared ? KEY_LIST_MORE : KEY_LIST_SAME;
}

size_t key_list_encode(const struct key_list *list, uint8_t out[static KEY_LIST_WIRE_MAX])
{
    static const uint8_t zeros[3];
    struct bytes_writer w = bytes_writer_over(out, KEY_LIST_WIRE_MAX);

    bytes_write_u32_be(&w, MAGIC_KEYS);
    bytes_write_u8(&w, (uint8_t)list->n);
    bytes_write(&w, zeros, sizeof(zeros));
    for (size_t i = 0; i < list->n; i++) {
        bytes_write(&w, list->keys[i].label, sizeof(list->keys[i].label));
        bytes_write(&w, list->keys[i].kcv, KEY_LIST_KCV_LEN);
    }
    return w.len;
}

bool key_list_is(const uint8_t *data, size_t len)
{
    struct bytes_reader r = bytes_reader_over(data, len);

    return bytes_read_u32_be(&r) == MAGIC_KEYS && !r.failed;
}

static bool label_valid(const char *label, size_t size)
{
    const size_t len = strnlen(label, size);

    if (len == 0 || len == size)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (i < len ? label[i] < 0x21 || label[i] > 0x7E : label[i] != '\0')
            return false;
    }
    return true;
}

int key_list_decode(const uint8_t *data, size_t len, struct key_list *ret)
{
    struct bytes_reader r = bytes_reader_over(data, len);
    uint32_t magic = bytes_read_u32_be(&r);
    size_t n = bytes_read_u8(&r);

    *ret = (struct key_list){0};
    bytes_skip(&r, 3);
    if (r.failed || magic != MAGIC_KEYS || n > KEY_LIST_MAX)
        return error_set(ERROR_INPUT, "not a list of a token's keys");
    for (size_t i = 0; i < n; i++) {
        struct key_list_key key;

        bytes_read(&r, key.label, sizeof(key.label));
        bytes_read(&r, key.kcv, sizeof(key.kcv));
        if (r.failed || !label_valid(key.label, sizeof(key.label)) ||
            key_list_add(ret, key.label, key.kcv) < 0)
            return error_set(ERROR_INPUT, "a list of a token's keys is malformed");
    }
    if (!bytes_reader_done(&r))
        return error_set(ERROR_INPUT, "a list of a token's keys is malformed");
    return 0;
}
