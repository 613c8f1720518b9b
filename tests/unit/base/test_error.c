#include "base/error.h"
#include "tests/support/suite.h"

#include <errno.h>
#include <string.h>

START_TEST(every_code_has_its_own_name)
{
    for (int i = ERROR_STALE_KEY; i <= ERROR_INTERNAL; i++) {
        ck_assert_str_ne(error_name(i), "unknown");
        for (int j = ERROR_STALE_KEY; j < i; j++)
            ck_assert_str_ne(error_name(i), error_name(j));
    }
    ck_assert_str_eq(error_name(-1000), "unknown");
}
END_TEST

START_TEST(the_sentence_is_kept_and_the_code_returned)
{
    ck_assert_int_eq(error_set(ERROR_DB, "lost %d", 7), ERROR_DB);
    ck_assert_str_eq(error_text(), "lost 7");
    errno = ENOENT;
    ck_assert_int_eq(error_set_errno("cannot open %s", "x"), ERROR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(error_text(), "cannot open x: No such file"));
}
END_TEST

SUITE_MAIN("base error", 4, every_code_has_its_own_name, the_sentence_is_kept_and_the_code_returned)
