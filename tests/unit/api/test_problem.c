#include "api/problem.h"
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *document(enum problem problem, const char *detail)
{
    struct text text = {0};
    json_t *tree;

    api_problem_text(&text, problem, detail, NULL, "0123456789abcdef");
    ck_assert(!text.failed);
    tree = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(tree != NULL, "not JSON: %s", text.data);
    text_done(&text);
    return tree;
}

static const char *member(const json_t *tree, const char *name)
{
    const char *value = json_string_value(json_object_get(tree, name));

    ck_assert_msg(value != NULL && value[0] != '\0', "%s is missing", name);
    return value;
}

START_TEST(every_problem_is_a_whole_rfc_9457_document)
{
    enum problem problem = (enum problem)_i;
    json_t *tree = document(problem, NULL);

    ck_assert(api_problem_status(problem) >= 400 && api_problem_status(problem) < 600);
    ck_assert_int_eq(
        json_integer_value(json_object_get(tree, "status")), api_problem_status(problem));
    ck_assert_int_eq(strncmp(member(tree, "type"), "urn:cradle:problem:", 19), 0);
    ck_assert_uint_gt(strlen(member(tree, "type")), 19);
    (void)member(tree, "title");
    ck_assert_str_eq(member(tree, "instance"), "0123456789abcdef");
    ck_assert_ptr_null(json_object_get(tree, "detail"));
    ck_assert_uint_eq(api_problem_status(api_problem_of_status(api_problem_status(problem))),
        api_problem_status(problem));
    json_decref(tree);
}
END_TEST

/* A header is found by the status alone. */
static const char *header_of(enum problem problem)
{
    const char *value, *header = api_problem_header(problem, &value);

    return header != NULL ? header : "";
}

START_TEST(no_two_problems_share_type_or_title_and_a_status_has_one_header)
{
    for (int a = 0; a < N_PROBLEMS; a++)
        for (int b = 0; b < a; b++) {
            json_t *one = document((enum problem)a, NULL);
            json_t *two = document((enum problem)b, NULL);

            ck_assert_str_ne(member(one, "type"), member(two, "type"));
            ck_assert_str_ne(member(one, "title"), member(two, "title"));
            if (api_problem_status((enum problem)a) == api_problem_status((enum problem)b))
                ck_assert_str_eq(header_of((enum problem)a), header_of((enum problem)b));
            json_decref(one);
            json_decref(two);
        }
}
END_TEST

START_TEST(a_detail_is_escaped)
{
    static const char detail[] = "line 3: \"dev_eui\" \\ \n";
    json_t *tree = document(PROBLEM_BAD_REQUEST, detail);

    ck_assert_str_eq(member(tree, "detail"), detail);
    json_decref(tree);
}
END_TEST

START_TEST(a_message_is_the_detail_or_else_the_title)
{
    static const char detail[] = "a \"quoted\" one";

    for (unsigned i = 0; i < N_PROBLEMS; i++)
        for (int with = 0; with <= 1; with++) {
            struct text text = {0};
            json_t *tree, *whole = document((enum problem)i, NULL);

            api_problem_message(&text, (enum problem)i, with ? detail : NULL);
            tree = json_loads(text.data, JSON_REJECT_DUPLICATES, NULL);
            ck_assert_ptr_nonnull(tree);
            ck_assert_uint_eq(json_object_size(tree), 1);
            ck_assert_str_eq(member(tree, "message"), with ? detail : member(whole, "title"));
            json_decref(whole);
            json_decref(tree);
            text_done(&text);
        }
}
END_TEST

START_TEST(a_status_without_a_problem_is_internal)
{
    ck_assert_int_eq(api_problem_of_status(418), PROBLEM_INTERNAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("problem");
    TCase *tc = tcase_create("problem");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tc, every_problem_is_a_whole_rfc_9457_document, 0, N_PROBLEMS);
    tcase_add_test(tc, no_two_problems_share_type_or_title_and_a_status_has_one_header);
    tcase_add_test(tc, a_detail_is_escaped);
    tcase_add_test(tc, a_message_is_the_detail_or_else_the_title);
    tcase_add_test(tc, a_status_without_a_problem_is_internal);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
