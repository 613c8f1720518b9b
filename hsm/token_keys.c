#include "hsm/token_keys.h"

#include "hsm/ceremony_keys.h"
#include "hsm/p11_keys.h"
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
    return r;
}
