#include "base/merkle.h"

#include "base/error.h"
#include "base/hex.h"
#include "tests/support/suite.h"
#include <string.h>

#define N_ENTRIES 8
#define N_GROWN 130

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

static void leaf_of(size_t i, uint8_t ret[static MERKLE_HASH_LEN])
{
    const uint8_t entry[] = {(uint8_t)i, (uint8_t)(i >> 8), 7};

    ck_assert_int_eq(merkle_leaf(entry, sizeof(entry), ret), 0);
}

/* The root over the first `n`, from the leaves. */
static void naive_root(size_t n, uint8_t ret[static MERKLE_HASH_LEN])
{
    static uint8_t leaves[N_GROWN][MERKLE_HASH_LEN];

    for (size_t i = 0; i < n; i++)
        leaf_of(i, leaves[i]);
    merkle_root(leaves, n, ret);
}

START_TEST(a_tree_that_grows_has_the_roots_of_the_whole)
{
    static struct merkle_tree tree;

    for (size_t n = 0; n <= N_GROWN; n++) {
        uint8_t expected[MERKLE_HASH_LEN], root[MERKLE_HASH_LEN];
        uint8_t made[MERKLE_LEVELS][MERKLE_HASH_LEN];

        naive_root(n, expected);
        merkle_tree_root(&tree, root);
        ck_assert_mem_eq(root, expected, sizeof(root));
        leaf_of(n, made[0]);
        ck_assert_uint_eq(
            merkle_append(&tree, made[0], made), 1U + (unsigned)__builtin_ctzll(~(uint64_t)n));
    }
}
END_TEST

/* From kept nodes alone, as the database keeps them. */
START_TEST(each_leaf_has_a_path_to_each_root_from_the_nodes_that_were_kept)
{
    static uint8_t kept[8][N_GROWN + 1][MERKLE_HASH_LEN];
    static struct merkle_tree tree;

    for (size_t n = 1; n <= N_GROWN; n++) {
        uint8_t made[MERKLE_LEVELS][MERKLE_HASH_LEN], root[MERKLE_HASH_LEN];

        leaf_of(n - 1, made[0]);
        for (size_t level = merkle_append(&tree, made[0], made); level-- > 0;)
            memcpy(kept[level][(n - 1) >> level], made[level], MERKLE_HASH_LEN);
        merkle_tree_root(&tree, root);
        for (size_t leaf = 0; leaf < n; leaf++) {
            struct merkle_place places[MERKLE_LEVELS];
            uint8_t path[MERKLE_LEVELS][MERKLE_HASH_LEN], led[MERKLE_HASH_LEN];
            const size_t n_path = merkle_path(n, leaf, places);

            for (size_t i = 0; i < n_path; i++)
                if (!merkle_tree_edge(&tree, &places[i], path[i]))
                    memcpy(path[i], kept[places[i].level][places[i].place], MERKLE_HASH_LEN);
            leaf_of(leaf, made[0]);
            ck_assert(merkle_path_root(n, leaf, made[0], path, n_path, led));
            ck_assert_msg(memcmp(led, root, sizeof(led)) == 0, "leaf %zu of %zu", leaf, n);
            ck_assert(!merkle_path_root(n, n, made[0], path, n_path, led));
            ck_assert(!merkle_path_root(n, leaf, made[0], path, n_path + 1, led));
            if (n_path > 0) {
                path[n_path - 1][0] ^= 1;
                ck_assert(merkle_path_root(n, leaf, made[0], path, n_path, led));
                ck_assert_mem_ne(led, root, sizeof(led));
            }
        }
    }
}
END_TEST

SUITE_MAIN("base merkle", 20, a_tree_that_grows_has_the_roots_of_the_whole,
    each_leaf_has_a_path_to_each_root_from_the_nodes_that_were_kept,
    roots_are_those_of_certificate_transparency, an_entry_that_is_too_long_is_refused)
