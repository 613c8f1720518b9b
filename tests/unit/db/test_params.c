#include "db/params.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct db_params params;

static void begin(void)
{
    db_params_begin(&params);
}

static void done(void)
{
    db_params_done(&params);
}

START_TEST(array_has_the_binary_form_of_postgresql)
{
    /* array_recv(): ndim, hasnull, element type, size, lower bound, then length and value of each.
     */
    static const uint8_t expected[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1,
        0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xfe};

    db_param_array(&params, DB_INT4_ARRAY, 2);
    db_element_int(&params, 7);
    ck_assert(!db_params_good(&params));
    db_element_int(&params, -2);
    ck_assert(db_params_good(&params));
    ck_assert_uint_eq(params.params[0].len, sizeof(expected));
    ck_assert_mem_eq(params.data + params.params[0].at, expected, sizeof(expected));
}
END_TEST

START_TEST(null_element_is_announced_in_the_header)
{
    static const uint8_t expected[] = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1,
        0, 0, 0, 1, 'a', 0xff, 0xff, 0xff, 0xff};

    db_param_array(&params, DB_TEXT_ARRAY, 2);
    db_element_text(&params, "a");
    db_element_null(&params);
    ck_assert(db_params_good(&params));
    ck_assert_uint_eq(params.params[0].len, sizeof(expected));
    ck_assert_mem_eq(params.data + params.params[0].at, expected, sizeof(expected));
}
END_TEST

START_TEST(empty_array_has_no_dimension)
{
    static const uint8_t expected[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17};

    db_param_array(&params, DB_BYTEA_ARRAY, 0);
    ck_assert(db_params_good(&params));
    ck_assert_uint_eq(params.params[0].len, sizeof(expected));
    ck_assert_mem_eq(params.data + params.params[0].at, expected, sizeof(expected));
}
END_TEST

START_TEST(value_beyond_its_type_fails)
{
    db_param_int(&params, DB_INT2, 32767);
    ck_assert(db_params_good(&params));
    db_param_int(&params, DB_INT2, 32768);
    ck_assert(!db_params_good(&params));
    db_params_begin(&params);
    db_param_array(&params, DB_BOOL_ARRAY, 1);
    db_element_int(&params, 2);
    ck_assert(!db_params_good(&params));
}
END_TEST

START_TEST(element_of_another_type_fails)
{
    db_param_array(&params, DB_BYTEA_ARRAY, 1);
    db_element_text(&params, "a");
    ck_assert(!db_params_good(&params));
    db_params_begin(&params);
    db_param_array(&params, DB_TEXT_ARRAY, 1);
    db_element_int(&params, 1);
    ck_assert(!db_params_good(&params));
}
END_TEST

START_TEST(too_many_elements_or_parameters_fail)
{
    db_param_array(&params, DB_INT8_ARRAY, 1);
    db_element_int(&params, 1);
    db_element_int(&params, 2);
    ck_assert(!db_params_good(&params));
    db_params_begin(&params);
    for (int i = 0; i < DB_PARAMS_MAX; i++)
        db_param_text(&params, "");
    ck_assert(db_params_good(&params));
    db_param_text(&params, "");
    ck_assert(!db_params_good(&params));
}
END_TEST

START_TEST(block_grows_to_its_bound_and_keeps_what_it_has)
{
    char *big = calloc(1, DB_PARAMS_BYTES_MAX);

    db_param_text(&params, "first");
    db_param_bytes(&params, big, DB_PARAMS_BYTES_MAX - 5);
    ck_assert(db_params_good(&params));
    ck_assert_mem_eq(params.data + params.params[0].at, "first", 5);
    db_param_bytes(&params, big, 1);
    ck_assert(!db_params_good(&params));
    free(big);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("db params");
    TCase *tcase = tcase_create("params");
    SRunner *runner = srunner_create(suite);
    int n_failed;

    tcase_add_checked_fixture(tcase, begin, done);
    tcase_add_test(tcase, array_has_the_binary_form_of_postgresql);
    tcase_add_test(tcase, null_element_is_announced_in_the_header);
    tcase_add_test(tcase, empty_array_has_no_dimension);
    tcase_add_test(tcase, value_beyond_its_type_fails);
    tcase_add_test(tcase, element_of_another_type_fails);
    tcase_add_test(tcase, too_many_elements_or_parameters_fail);
    tcase_add_test(tcase, block_grows_to_its_bound_and_keeps_what_it_has);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
