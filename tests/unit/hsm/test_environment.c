/* What a key process gets of its service's environment. */
#include "hsm/pool_process.h"

#include "base/cleanup.h"
#include "tests/support/suite.h"
#include <string.h>

static bool holds(char *const *list, const char *entry)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, entry) == 0)
            return true;
    }
    return false;
}

static size_t count(char *const *list)
{
    size_t n = 0;

    while (list[n] != NULL)
        n++;
    return n;
}

START_TEST(only_what_a_token_needs_is_handed_on)
{
    char kept[][48] = {"SOFTHSM2_CONF=/c", "PATH=/bin", "LANG=C", "LC_ALL=C", "TZ=UTC", "HOME=/h",
        "CRADLE_X=1", "P11_FAULT_MODULE=/m", "ASAN_OPTIONS=a=1", "GLIBC_TUNABLES=mine"};
    char dropped[][48] = {"PGPASSWORD=secret", "SOFTHSM2_CONFIG=x", "PATHS=x", "LANGUAGE=x",
        "LD_PRELOAD=x", "LC=x", "XP11_=x", "TZ", "TCMALLOC_RELEASE_RATE=1", "HEAPPROFILE=/x",
        "MALLOCSTATS=1"};
    char *from[32] = {NULL};
    const size_t n_kept = sizeof(kept) / sizeof(kept[0]);
    size_t n = 0;

    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
        from[n++] = dropped[i];
    for (size_t i = 0; i < n_kept; i++)
        from[n++] = kept[i];
    CLEANUP(cleanup_free) char **to = pool_process_environment(from, NULL);
    ck_assert_ptr_nonnull(to);
    ck_assert_uint_eq(count(to), n_kept);
    for (size_t i = 0; i < n_kept; i++)
        ck_assert_msg(holds(to, kept[i]), "%s", kept[i]);
}
END_TEST

START_TEST(the_allocator_is_tuned_where_nobody_said_otherwise)
{
    char *from[] = {NULL};
    CLEANUP(cleanup_free) char **to = pool_process_environment(from, NULL);

    ck_assert_ptr_nonnull(to);
    ck_assert_uint_eq(count(to), 1);
    ck_assert_int_eq(strncmp(to[0], "GLIBC_TUNABLES=", 15), 0);
}
END_TEST

START_TEST(a_second_token_has_a_configuration_of_its_own)
{
    char first[] = "SOFTHSM2_CONF=/first", second[] = "SOFTHSM2_CONF=/second", path[] = "PATH=/x";
    char *from[] = {first, path, NULL};
    CLEANUP(cleanup_free) char **to = pool_process_environment(from, second);

    ck_assert_ptr_nonnull(to);
    ck_assert(holds(to, second));
    ck_assert(!holds(to, first));
    ck_assert(holds(to, path));
    ck_assert_uint_eq(count(to), 3); /* and the allocator's */
}
END_TEST

SUITE_MAIN("hsm-environment", 10, a_second_token_has_a_configuration_of_its_own,
    only_what_a_token_needs_is_handed_on, the_allocator_is_tuned_where_nobody_said_otherwise)
