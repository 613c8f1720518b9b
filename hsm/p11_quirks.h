/* What tokens do differently, as rows of a table found by manufacturer and model. */
#pragma once

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

struct p11_quirks {
    const char *name;
    const char *manufacturer; /* how the token's manufacturerID begins; "" is every token */
    const char *model;        /* how its model begins */
    CK_MECHANISM_TYPE key_wrap;
    bool value_len_in_unwrap; /* C_UnwrapKey wants CKA_VALUE_LEN (others refuse it) */
    /* Keys are slow where the token keeps them: keyd works with session copies of those that each
     * join needs, and only a key that can be modified can be copied into a session. */
    bool works_on_copies;
    /* A right PIN may be refused for want of memory, and wrong ones are not counted. */
    bool doubts_pins;
    bool exercised; /* our tests run on such a token */
};

/** Never NULL: the last row is every token. */
const struct p11_quirks *p11_quirks_find(const CK_TOKEN_INFO *info);
