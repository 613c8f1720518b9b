#include "base/file.h"
#include "tests/support/suite.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const char text[] = "all of it";

static FILE *new_file(void)
{
    FILE *file = tmpfile();

    ck_assert_ptr_nonnull(file);
    return file;
}

START_TEST(all_of_it_is_written)
{
    FILE *file = new_file();
    char back[sizeof(text)] = "";

    ck_assert(file_write_all(fileno(file), text, sizeof(text)));
    ck_assert(file_write_all(fileno(file), text, 0));
    rewind(file);
    ck_assert_uint_eq(fread(back, 1, sizeof(back), file), sizeof(back));
    ck_assert_str_eq(back, text);
    (void)fclose(file);
}
END_TEST

START_TEST(what_is_taken_in_part_alone_fails_with_its_cause)
{
    FILE *file = new_file();
    const struct rlimit few = {.rlim_cur = 4, .rlim_max = RLIM_INFINITY};

    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &few), 0);
    errno = 0;
    ck_assert(!file_write_all(fileno(file), text, sizeof(text)));
    ck_assert_int_eq(errno, EFBIG);
    ck_assert_int_eq(lseek(fileno(file), 0, SEEK_CUR), 4);
    (void)fclose(file);
}
END_TEST

SUITE_MAIN("base file", 4, all_of_it_is_written, what_is_taken_in_part_alone_fails_with_its_cause)
