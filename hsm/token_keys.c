#include "hsm/token_keys.h"

#include "hsm/ceremony_keys.h"
#include "hsm/p11_keys.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(CEREMONY_KCV_LEN == KEY_LIST_KCV_LEN, "one check value, whoever shows it");

struct finder {
    struct p11_token *token;
    CK_OBJECT_CLASS class;
    size_t n;
    struct found_key {
        const struct ceremony_object *row;
        CK_OBJECT_HANDLE handle;
        char label[SEALED_LABEL_MAX + 1];
    } found[KEY_LIST_MAX];
};

static int note(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    struct finder *f = context;
    const struct ceremony_object *row = ceremony_object_find(f->class, label);

    if (row == NULL)
        return 0;
    if (f->n == KEY_LIST_MAX || strlen(label) > SEALED_LABEL_MAX)
        return error_set(ERROR_CONFIG, "the token holds too many of our objects");
    f->found[f->n] = (struct found_key){.row = row, .handle = handle};
    memcpy(f->found[f->n].label, label, strlen(label));
    f->n++;
    return 0;
}

static int note_mark(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    static const uint8_t none[KEY_LIST_KCV_LEN];

    (void)handle;
    return token_keys_is_mark(label) ? key_list_add(context, label, none) : 0;
}

static int by_row_and_label(const void *a, const void *b)
{
    const struct found_key *x = a, *y = b;

    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return strcmp(x->label, y->label);
}

int token_keys_list(struct p11_token *token, struct key_list *ret)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_SECRET_KEY, CKO_PRIVATE_KEY};
    struct finder f = {.token = token};
    int r = 0;

    *ret = (struct key_list){0};
    for (size_t i = 0; r == 0 && i < sizeof(classes) / sizeof(classes[0]); i++) {
        f.class = classes[i];
        r = p11_objects_walk(token, classes[i], note, &f);
    }
    qsort(f.found, f.n, sizeof(f.found[0]), by_row_and_label);
    for (size_t i = 0; r == 0 && i < f.n; i++) {
        uint8_t kcv[CEREMONY_KCV_LEN];

        r = f.found[i].row->check(token, f.found[i].handle, kcv);
        if (r == 0)
            r = key_list_add(ret, f.found[i].label, kcv);
    }
    return r < 0 ? r : p11_objects_walk(token, CKO_DATA, note_mark, ret);
}

bool token_keys_is_mark(const char *label)
{
    return strncmp(label, P11_LABEL_PENDING, strlen(P11_LABEL_PENDING)) == 0;
}

/* A pending version's export twin is of no use before it. */
static bool is_pending(const struct key_list *list, const char *label)
{
    const unsigned export = p11_store_version(label, P11_LABEL_EXPORT);
    char mark[SEALED_LABEL_MAX + sizeof(P11_LABEL_PENDING)];

    if (export > 0)
        (void)snprintf(mark, sizeof(mark), P11_LABEL_PENDING P11_LABEL_DEVICE "%u", export);
    else
        (void)snprintf(mark, sizeof(mark), P11_LABEL_PENDING "%s", label);
    return key_list_find(list, mark) != NULL;
}

void token_keys_keep_needed(struct key_list *list)
{
    struct key_list kept = {0};

    for (size_t i = 0; i < list->n; i++) {
        const char *label = list->keys[i].label;

        if (!token_keys_is_mark(label) && !is_pending(list, label) &&
            p11_store_version(label, P11_LABEL_REWRAP_DEVICE) == 0 &&
            p11_store_version(label, P11_LABEL_REWRAP_KEK) == 0 &&
            strcmp(label, P11_LABEL_ESCROW) != 0 && strcmp(label, P11_LABEL_FINGERPRINT) != 0)
            kept.keys[kept.n++] = list->keys[i];
    }
    *list = kept;
}
