/* The objects of the ceremony, a row each, and their check values. Inside hsm/ only. */
#pragma once

#include "hsm/p11_token.h"

#define CEREMONY_KCV_LEN 3
#define CEREMONY_N_OBJECTS 8

struct ceremony_object {
    const char *label;
    const char *kind;   /* for the report */
    const char *method; /* how its check value is made */
    CK_OBJECT_CLASS class;
    bool optional; /* only where keys may be exported */
    /* NULL: another row makes it with its own. */
    int (*make)(struct p11_token *token, const struct ceremony_object *object);
    /* Instead of `make` where keys may be exported; NULL: no difference. */
    int (*make_exportable)(struct p11_token *token, const struct ceremony_object *object);
    /* The first bytes of something that only this key gives and that tells nothing about it. */
    int (*check)(
        struct p11_token *token, CK_OBJECT_HANDLE handle, uint8_t ret[static CEREMONY_KCV_LEN]);
};

extern const struct ceremony_object ceremony_objects[CEREMONY_N_OBJECTS];

/** How an object of that label is made and checked: its row, or for another version of a storage
 * KEK the row of the first; NULL when it is none of ours. */
const struct ceremony_object *ceremony_object_find(CK_OBJECT_CLASS class, const char *label);
