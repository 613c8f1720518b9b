/* What keys a token holds, by label and key check value: so that two tokens can be compared, by a
 * service (its key processes say it when they start) and by the `cradle` command. Pure.
 *
 *   keys     magic "CKK1" | n_keys 1 | 0 0 0 | n_keys of (label, NUL-padded | check value 3) */
#pragma once

#include "base/error.h"
#include "base/sealed.h"
#include "base/text.h"
#include <stddef.h>
#include <stdint.h>

#define KEY_LIST_MAX 64 /* a token for us holds a handful */
#define KEY_LIST_KCV_LEN 3
#define KEY_LIST_WIRE_MAX (8 + KEY_LIST_MAX * (SEALED_LABEL_MAX + 1 + KEY_LIST_KCV_LEN))
/* The room that key_list_difference() wants for its sentence. */
#define KEY_LIST_TEXT_MAX 160

struct key_list {
    size_t n;
    struct key_list_key {
        char label[SEALED_LABEL_MAX + 1];
        uint8_t kcv[KEY_LIST_KCV_LEN];
    } keys[KEY_LIST_MAX];
};

enum key_list_order {
    KEY_LIST_SAME,    /* the same keys, and no others */
    KEY_LIST_MORE,    /* all of them, and others */
    KEY_LIST_FEWER,   /* what both have is the same, and one is missing */
    KEY_LIST_ANOTHER, /* a label stands for another key */
};

/** ERROR_CONFIG when there are too many, the label is too long, or it is there already. */
int key_list_add(struct key_list *list, const char *label,
    const uint8_t kcv[static KEY_LIST_KCV_LEN]) MUST_CHECK;
/** NULL when there is no such key. */
const struct key_list_key *key_list_find(const struct key_list *list, const char *label);
/** What `other` has of the keys of `wanted`; unless it has them all, `ret_text` names the first
 * that it has not, as "it holds no store-kek.2". */
enum key_list_order key_list_difference(const struct key_list *wanted, const struct key_list *other,
    char ret_text[static KEY_LIST_TEXT_MAX]);

/** Returns the length. */
size_t key_list_encode(const struct key_list *list, uint8_t out[static KEY_LIST_WIRE_MAX]);
/** Whether the bytes begin as a list does. */
bool key_list_is(const uint8_t *data, size_t len);
/** ERROR_INPUT. */
int key_list_decode(const uint8_t *data, size_t len, struct key_list *ret) MUST_CHECK;
