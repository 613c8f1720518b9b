#include "activation/form.h"

#include "tests/support/suite.h"
#include <string.h>

static char a[9], b[9];
static struct form_field fields[2];

static enum form_outcome read_text(const char *body)
{
    fields[0] = (struct form_field){.name = "a", .value = a, .size = sizeof(a)};
    fields[1] = (struct form_field){.name = "b", .value = b, .size = sizeof(b)};
    return form_read(body, strlen(body), fields, 2);
}

START_TEST(values_are_decoded)
{
    static const struct {
        const char *body, *a, *b;
        bool has_a, has_b;
    } cases[] = {
        {"", "", "", false, false},
        {"a=1&b=2", "1", "2", true, true},
        {"b=2&c=ignored&a=1", "1", "2", true, true},
        {"a=x+y%20z", "x y z", "", true, false},
        {"%61=%41%2b%26", "A+&", "", true, false},
        {"a&b=", "", "", true, true},
        {"a=b=c", "b=c", "", true, false},
        {"&&a=1&", "1", "", true, false},
        {"a=12345678", "12345678", "", true, false},
        {"a_name_longer_than_any_of_ours_and_longer_than_sixty_four_characters=1&b=2", "", "2",
            false, true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(read_text(cases[i].body) == FORM_OK, "%s", cases[i].body);
        ck_assert_str_eq(a, cases[i].a);
        ck_assert_str_eq(b, cases[i].b);
        ck_assert_int_eq(fields[0].present, cases[i].has_a);
        ck_assert_int_eq(fields[1].present, cases[i].has_b);
    }
}
END_TEST

START_TEST(what_is_wrong_is_told_apart)
{
    static const struct {
        const char *body;
        enum form_outcome outcome;
    } cases[] = {
        {"a=%4", FORM_MALFORMED},
        {"a=%", FORM_MALFORMED},
        {"a=%zz", FORM_MALFORMED},
        {"a=%0x", FORM_MALFORMED},
        {"a=%00", FORM_MALFORMED},
        {"a=123456789", FORM_TOO_LONG},
        {"a=1&a=1", FORM_REPEATED},
        {"a&a", FORM_REPEATED},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(read_text(cases[i].body) == cases[i].outcome, "%s", cases[i].body);
}
END_TEST

START_TEST(a_raw_nul_is_malformed)
{
    read_text("");
    ck_assert_int_eq(form_read("a=1\0002", 5, fields, 2), FORM_MALFORMED);
}
END_TEST

START_TEST(the_type_is_known_with_and_without_parameters)
{
    ck_assert(form_is_type("application/x-www-form-urlencoded"));
    ck_assert(form_is_type("Application/X-WWW-Form-Urlencoded; charset=UTF-8"));
    ck_assert(!form_is_type("application/x-www-form-urlencodedx"));
    ck_assert(!form_is_type("application/json"));
    ck_assert(!form_is_type(""));
    ck_assert(!form_is_type(NULL));
}
END_TEST

SUITE_MAIN("form", 10, values_are_decoded, what_is_wrong_is_told_apart, a_raw_nul_is_malformed,
    the_type_is_known_with_and_without_parameters)
