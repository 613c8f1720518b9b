#include "activation/moment.h"

#include "tests/support/suite.h"
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define DAY_S 86400
#define YEARS 8030 /* 1970 to 9999 */

/* Every midnight there is, as the C library writes it. */
START_TEST(each_day_is_read_as_it_is_written)
{
    for (int64_t s = 0; s < (int64_t)YEARS * 365 * DAY_S; s += DAY_S) {
        const time_t at = (time_t)s;
        struct tm tm;
        char text[ACT_MOMENT_MAX + 1];
        int64_t got = -1;

        /* Three million assertions would be most of the test's time. */
        if (strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &tm)) != 20 ||
            !act_moment_parse(text, &got) || got != s)
            ck_abort_msg("%s is not %" PRId64, text, s);
    }
}
END_TEST

START_TEST(what_is_no_moment_is_refused)
{
    static const char *const wrong[] = {"", "2027", "2027-01-31", "2027-01-31T00:00:00",
        "2027-01-31T00:00:00+01:00", "2027-01-31 00:00:00Z", "2027-01-31t00:00:00Z",
        "2027-01-31T00:00:00.5Z", "2027-02-29T00:00:00Z", "2100-02-29T00:00:00Z",
        "2027-00-01T00:00:00Z", "2027-13-01T00:00:00Z", "2027-01-00T00:00:00Z",
        "2027-04-31T00:00:00Z", "2027-01-01T24:00:00Z", "2027-01-01T00:60:00Z",
        "2027-01-01T00:00:60Z", "1969-12-31T23:59:59Z", "2027-01-31T00:00:00Zx",
        "2O27-01-31T00:00:00Z"};
    int64_t s;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(!act_moment_parse(wrong[i], &s), "%s", wrong[i]);
    ck_assert(act_moment_parse("2028-02-29T23:59:59Z", &s));
    ck_assert_int_eq(s, 1835481599);
}
END_TEST

SUITE_MAIN("moment", 10, each_day_is_read_as_it_is_written, what_is_no_moment_is_refused)
