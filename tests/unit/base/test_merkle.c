#include "base/merkle.h"

#include "base/error.h"
#include "base/hex.h"
#include "tests/support/suite.h"
#include <string.h>

#define N_ENTRIES 8

/* The entries and roots that implementations of Certificate Transparency share for their tests. */
static const char *const entries[N_ENTRIES] = {"", "00", "10", "2021", "3031", "40414243",
    "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
static const char *const roots[N_ENTRIES + 1] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

START_TEST(roots_are_those_of_certificate_transparency)
{
    for (size_t n = 0; n <= N_ENTRIES; n++) {
        uint8_t leaves[N_ENTRIES][MERKLE_HASH_LEN], root[MERKLE_HASH_LEN];
        char text[2 * MERKLE_HASH_LEN + 1];

        for (size_t i = 0; i < n; i++) {
            uint8_t entry[16];
            size_t len = strlen(entries[i]) / 2;

            ck_assert(hex_decode(entries[i], 2 * len, entry, len));
            ck_assert_int_eq(merkle_leaf(entry, len, leaves[i]), 0);
        }
        merkle_root(leaves, n, root);
        ck_assert_str_eq(hex_encode(root, sizeof(root), text), roots[n]);
    }
}
END_TEST

START_TEST(an_entry_that_is_too_long_is_refused)
{
    static const uint8_t entry[MERKLE_ENTRY_MAX + 1];
    uint8_t leaf[MERKLE_HASH_LEN];

    ck_assert_int_eq(merkle_leaf(entry, MERKLE_ENTRY_MAX, leaf), 0);
    ck_assert_int_eq(merkle_leaf(entry, sizeof(entry), leaf), ERROR_INPUT);
}
END_TEST

SUITE_MAIN("base merkle", 4, roots_are_those_of_certificate_transparency,
    an_entry_that_is_too_long_is_refused)
