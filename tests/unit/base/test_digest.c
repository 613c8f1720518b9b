#include "base/digest.h"

#include "base/aes.h"
#include "tests/support/suite.h"
#include <string.h>

#define SIZE 1000

/* At every byte, whatever was asked before. */
START_TEST(what_has_come_so_far_is_told_at_any_moment)
{
    CLEANUP(digest_freep) struct digest *digest = NULL;
    uint8_t bytes[SIZE], want[DIGEST_LEN], got[DIGEST_LEN];

    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    ck_assert_int_eq(digest_new(&digest), 0);
    for (size_t i = 0; i <= SIZE; i++) {
        digest_sha256(bytes, i, want);
        ck_assert_int_eq(digest_so_far(digest, got), 0);
        ck_assert_mem_eq(got, want, sizeof(want));
        if (i < SIZE)
            digest_add(digest, bytes + i, 1);
    }
}
END_TEST

SUITE_MAIN("base digest", 10, what_has_come_so_far_is_told_at_any_moment)
