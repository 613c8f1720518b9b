#include "api/guard.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADERS 6

struct guard_case {
    const char *rule;
    const char *method, *version;
    const char *headers[MAX_HEADERS][2];
    const char *fault; /* NULL: sane */
    bool chunked;
    uint64_t length;
};

#define HOST                                                                                       \
    {                                                                                              \
        "Host", "h"                                                                                \
    }

static const struct guard_case cases[] = {
    {"a plain GET", "GET", "HTTP/1.1", {HOST}, NULL, false, 0},
    {"a POST with a length", "POST", "HTTP/1.1", {HOST, {"Content-Length", "12"}}, NULL, false, 12},
    {"names match without case", "POST", "HTTP/1.1", {{"hOST", "h"}, {"content-LENGTH", " 7\t"}},
        NULL, false, 7},
    {"a chunked POST", "POST", "HTTP/1.1", {HOST, {"Transfer-Encoding", "chunked"}}, NULL, true, 0},
    {"chunked in any case", "PUT", "HTTP/1.1", {HOST, {"transfer-encoding", " Chunked "}}, NULL,
        true, 0},
    {"HTTP/1.0 needs no Host", "POST", "HTTP/1.0", {{"Content-Length", "3"}}, NULL, false, 3},
    {"a length of 0 on GET is no body", "GET", "HTTP/1.1", {HOST, {"Content-Length", "0"}}, NULL,
        false, 0},
    {"a tab inside a value", "GET", "HTTP/1.1", {HOST, {"X-A", "a\tb"}}, NULL, false, 0},
    {"a Bearer and other headers", "GET", "HTTP/1.1",
        {HOST, {"Authorization", "Bearer x"}, {"X-A", "1"}, {"X-A", "2"}}, NULL, false, 0},

    {"no Host under 1.1", "GET", "HTTP/1.1", {{"X", "y"}}, "Host header is missing", false, 0},
    {"two Host", "GET", "HTTP/1.1", {HOST, {"HOST", "i"}}, "more than one Host", false, 0},
    {"two Content-Length", "POST", "HTTP/1.1",
        {HOST, {"Content-Length", "3"}, {"content-length", "3"}}, "more than one Content-Length",
        false, 0},
    {"two Authorization", "GET", "HTTP/1.1", {HOST, {"Authorization", "a"}, {"Authorization", "b"}},
        "more than one Authorization", false, 0},
    {"two Transfer-Encoding", "POST", "HTTP/1.1",
        {HOST, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
        "more than one Transfer-Encoding", false, 0},
    {"length and chunks", "POST", "HTTP/1.1",
        {HOST, {"Content-Length", "3"}, {"Transfer-Encoding", "chunked"}}, "together", false, 0},
    {"gzip, chunked", "POST", "HTTP/1.1", {HOST, {"Transfer-Encoding", "gzip, chunked"}},
        "other than chunked", false, 0},
    {"xchunked", "POST", "HTTP/1.1", {HOST, {"Transfer-Encoding", "xchunked"}},
        "other than chunked", false, 0},
    {"an empty Transfer-Encoding", "POST", "HTTP/1.1", {HOST, {"Transfer-Encoding", ""}},
        "other than chunked", false, 0},
    {"chunks under 1.0", "POST", "HTTP/1.0", {HOST, {"Transfer-Encoding", "chunked"}},
        "under HTTP/1.0", false, 0},
    {"a body on GET", "GET", "HTTP/1.1", {HOST, {"Content-Length", "1"}}, "takes none", false, 0},
    {"a chunked body on DELETE", "DELETE", "HTTP/1.1", {HOST, {"Transfer-Encoding", "chunked"}},
        "takes none", false, 0},
    {"a name with a blank", "POST", "HTTP/1.1", {HOST, {"Content-Length ", "3"}}, "header name",
        false, 0},
    {"a name with a tab", "POST", "HTTP/1.1", {HOST, {"X\tY", "3"}}, "header name", false, 0},
    {"a folded name", "POST", "HTTP/1.1", {HOST, {"X\r\n Y", "3"}}, "header name", false, 0},
    {"an empty name", "POST", "HTTP/1.1", {HOST, {"", "3"}}, "header name", false, 0},
    {"a control in a value", "GET", "HTTP/1.1", {HOST, {"X", "a\x01"}}, "header value", false, 0},
    {"a bare CR in a value", "GET", "HTTP/1.1", {HOST, {"X", "a\rb"}}, "header value", false, 0},
    {"a signed length", "POST", "HTTP/1.1", {HOST, {"Content-Length", "+3"}}, "not a number", false,
        0},
    {"a list of lengths", "POST", "HTTP/1.1", {HOST, {"Content-Length", "3, 3"}}, "not a number",
        false, 0},
    {"an empty length", "POST", "HTTP/1.1", {HOST, {"Content-Length", ""}}, "not a number", false,
        0},
    {"a length beyond 64 bits", "POST", "HTTP/1.1",
        {HOST, {"Content-Length", "18446744073709551617"}}, "not a number", false, 0},
    {"HTTP/1.2", "GET", "HTTP/1.2", {HOST}, "version", false, 0},
    {"a version in small letters", "GET", "http/1.1", {HOST}, "version", false, 0},
    {"a method with a control", "GE\x01T", "HTTP/1.1", {HOST}, "method", false, 0},
};

START_TEST(each_case_is_judged_as_the_table_says)
{
    const struct guard_case *c = &cases[_i];
    struct guard_header headers[MAX_HEADERS];
    struct guard_request request = {.method = c->method, .version = c->version, .headers = headers};
    struct guard_body body = {.length = 99};
    const char *fault;

    for (; request.n_headers < MAX_HEADERS && c->headers[request.n_headers][0] != NULL;
         request.n_headers++)
        headers[request.n_headers] = (struct guard_header){.name = c->headers[request.n_headers][0],
            .name_len = strlen(c->headers[request.n_headers][0]),
            .value = c->headers[request.n_headers][1],
            .value_len = strlen(c->headers[request.n_headers][1])};
    fault = guard_check(&request, &body);
    if (c->fault == NULL) {
        ck_assert_msg(fault == NULL, "%s: %s", c->rule, fault != NULL ? fault : "");
        ck_assert_msg(body.chunked == c->chunked && body.length == c->length, "%s", c->rule);
        return;
    }
    ck_assert_msg(fault != NULL, "%s: was let through", c->rule);
    ck_assert_msg(strstr(fault, c->fault) != NULL, "%s: %s", c->rule, fault);
    ck_assert_msg(body.length == 99, "%s: a refused request fills nothing", c->rule);
}
END_TEST

START_TEST(too_many_header_lines_are_refused)
{
    struct guard_header headers[GUARD_HEADERS_MAX];
    struct guard_request request = {
        .method = "GET", .version = "HTTP/1.0", .headers = headers, .n_headers = GUARD_HEADERS_MAX};
    struct guard_body body;

    for (size_t i = 0; i < GUARD_HEADERS_MAX; i++)
        headers[i] = (struct guard_header){"X", 1, "y", 1};
    ck_assert_ptr_null(guard_check(&request, &body));
    request.n_headers++;
    ck_assert_ptr_nonnull(guard_check(&request, &body));
}
END_TEST

static const struct {
    const char *target;
    bool good;
} targets[] = {
    {"/", true},
    {"/v1/devices?cursor=a%20b&x=%0A", true},
    {"/%41%2f%C3%A9", true},
    {"*", true},
    {"", false},
    {"/a%00b", false},
    {"/a?b=%00", false},
    {"/a%0ab", false},
    {"/a%7F", false},
    {"/a%1fb", false},
    {"/a%", false},
    {"/a%4", false},
    {"/a%4x", false},
    {"/a\tb", false},
    {"/a\x7f", false},
};

START_TEST(each_target_is_judged_as_the_table_says)
{
    ck_assert_msg(
        (guard_target(targets[_i].target) == NULL) == targets[_i].good, "%s", targets[_i].target);
}
END_TEST

START_TEST(a_path_may_have_its_full_length_and_no_more)
{
    char target[GUARD_PATH_MAX + 8];

    memset(target, 'a', sizeof(target));
    target[0] = '/';
    memcpy(target + GUARD_PATH_MAX, "?q=1", sizeof("?q=1"));
    ck_assert_ptr_null(guard_target(target));
    target[GUARD_PATH_MAX] = 'a';
    ck_assert_ptr_nonnull(guard_target(target));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guard");
    TCase *tc = tcase_create("guard");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(
        tc, each_case_is_judged_as_the_table_says, 0, (int)(sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(tc, too_many_header_lines_are_refused);
    tcase_add_loop_test(tc, each_target_is_judged_as_the_table_says, 0,
        (int)(sizeof(targets) / sizeof(targets[0])));
    tcase_add_test(tc, a_path_may_have_its_full_length_and_no_more);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
