/* What HTTP's own parser makes of odd bytes, over real sockets: where one request ends and the next
 * begins, whoever sends them together. docs/security.md says what of this is not ours. */
#include "base/log.h"
#include "tests/integration/api_client.h"
#include "tests/integration/api_service.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATCHDOG_S 150
#define N_PIPELINED 40
#define PIPELINED_BODY 1000 /* so that all of them are more than the library's pool takes */
#define HEADER_TOO_LONG 9000

/* Behind each: what a smuggler would want to be read as a request of its own. */
#define BEHIND "GET /query?q=smuggled HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define POST "POST /echo HTTP/1.1\r\nHost: h\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

#define BYTES(text) (text), sizeof(text) - 1

static const struct {
    const char *bytes;
    size_t len;
    unsigned status;
} refused[] = {
    {BYTES(POST "Content-Length: +3\r\n\r\nabc" BEHIND), 400},
    {BYTES(POST "Content-Length: -1\r\n\r\nabc" BEHIND), 400},
    {BYTES(POST "Content-Length: 3, 3\r\n\r\nabc" BEHIND), 400},
    {BYTES(POST "Content-Length: 0x3\r\n\r\nabc" BEHIND), 400},
    {BYTES(POST "Content-Length:\r\n\r\nabc" BEHIND), 400},
    {BYTES(POST "Content-Length: 99999999999999999999999\r\n\r\nabc" BEHIND), 413},
    {BYTES(POST "no colon here\r\nContent-Length: 3\r\n\r\nabc" BEHIND), 400},
    {BYTES(POST "Content-Length\0: 3\r\n\r\nabc" BEHIND), 400},
    {BYTES(CHUNKED "-3\r\nabc\r\n0\r\n\r\n" BEHIND), 400},
    {BYTES(CHUNKED "0x3\r\nabc\r\n0\r\n\r\n" BEHIND), 400},
    {BYTES(CHUNKED "\r\nabc\r\n0\r\n\r\n" BEHIND), 400},
    {BYTES(CHUNKED "3 ; x\r\nabc\r\n0\r\n\r\n" BEHIND), 400},
    {BYTES(CHUNKED "3\r\nabcde\r\n0\r\n\r\n" BEHIND), 400},
    {BYTES(CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n" BEHIND), 413},
    {BYTES("GET /echo\r\nHost: h\r\n\r\n" BEHIND), 400},
    {BYTES("GET /echo HTTP/0.9\r\nHost: h\r\n\r\n" BEHIND), 505},
    {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" BEHIND), 505},
};

/* The library may say its refusal twice; what counts is that nothing behind it is served. */
static void expect_last_words(struct client *client, unsigned status)
{
    unsigned heard = 0;

    while (client_listen(client))
        continue;
    ck_assert_int_eq(sscanf(client->in, "HTTP/1.1 %u", &heard), 1);
    ck_assert_uint_eq(heard, status);
    ck_assert_msg(strstr(client->in, "smuggled") == NULL, "%s", client->in);
    ck_assert_msg(strstr(client->in, "HTTP/1.1 200") == NULL, "%s", client->in);
}

START_TEST(what_the_library_refuses_by_itself_ends_the_connection)
{
    struct client *client = client_new();

    (void)client_say_bytes(client, refused[_i].bytes, refused[_i].len);
    expect_last_words(client, refused[_i].status);
    client_free(client);
}
END_TEST

START_TEST(a_header_larger_than_its_room_is_refused)
{
    struct client *client = client_new();
    char *name = malloc(HEADER_TOO_LONG);

    memset(name, 'x', HEADER_TOO_LONG);
    client_say(client, "GET /echo HTTP/1.1\r\nHost: h\r\nX-Long: ");
    (void)client_say_bytes(client, name, HEADER_TOO_LONG);
    client_say(client, "\r\n\r\n" BEHIND);
    expect_last_words(client, 431);
    client_free(client);
    free(name);
}
END_TEST

/* A trailer comes after everything about the request has been decided. */
START_TEST(a_trailer_is_no_header)
{
    struct client *client = client_new();

    client_say(client, "POST /credentials HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nContent-Length: 9\r\n\r\n");
    client_post(client, "/echo", "behind it");
    client_expect(client, 200, "nobody");
    client_expect(client, 200, "behind it");
    client_free(client);
}
END_TEST

/* The library cuts a value at a NUL (a later one may refuse it): what is behind it is never read as
 * a part of the value, nor as anything else. */
START_TEST(a_nul_makes_a_value_shorter_and_nothing_else)
{
    static const char request[] = "GET /credentials HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer "
                                  "abc\0X-Peer: 1\r\n\r\n";
    struct client *client = client_new();
    struct answer answer;

    (void)client_say_bytes(client, request, sizeof(request) - 1);
    ck_assert(client_hear(client, &answer));
    ck_assert_msg(
        answer.status == 400 || (answer.status == 200 && strcmp(answer.body, "bearer=abc") == 0),
        "%u %s", answer.status, answer.body);
    client_free(client);
}
END_TEST

/* --- pipelining --------------------------------------------------------------------------------
 */

static const char *const pipelined_paths[] = {"/defer", "/echo", "/defer", "/defer"};

/* One after another, all in one piece; some deferred, some chunked. */
START_TEST(many_requests_in_one_piece_are_answered_in_their_order)
{
    struct client *client = client_new();
    CLEANUP(text_done) struct text text = {0};
    char body[PIPELINED_BODY + 1];

    for (int i = 0; i < N_PIPELINED; i++) {
        (void)snprintf(body, sizeof(body), "%0*d", PIPELINED_BODY, i);
        text_addf(&text, "POST %s HTTP/1.1\r\nHost: h\r\n", pipelined_paths[i % 4]);
        if (i % 3 == 0)
            text_addf(&text, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
                PIPELINED_BODY, body);
        else
            text_addf(&text, "Content-Length: %d\r\n\r\n%s", PIPELINED_BODY, body);
    }
    ck_assert(client_say_bytes(client, text.data, text.len));
    for (int i = 0; i < N_PIPELINED; i++) {
        (void)snprintf(body, sizeof(body), "%0*d", PIPELINED_BODY, i);
        client_expect(client, 200, body);
    }
    client_free(client);
}
END_TEST

/* Two at once would be one too many for what holds them. */
START_TEST(a_request_is_handled_only_when_the_one_before_it_was_answered)
{
    struct client *client = client_new();
    static const char hold[] = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";

    client_say(client, "%s%sGET /query?q=last HTTP/1.1\r\nHost: h\r\n\r\n", hold, hold);
    service_wait_held();
    service_release_held();
    client_expect(client, 200, "released");
    service_wait_held();
    ck_assert_uint_eq(client->len, 0);
    service_release_held();
    client_expect(client, 200, "released");
    client_expect(client, 200, "last");
    client_free(client);
}
END_TEST

START_TEST(what_is_pipelined_behind_a_refused_body_is_not_read)
{
    struct client *client = client_new();

    client_say(client, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n" BEHIND);
    expect_last_words(client, 413);
    client_free(client);
}
END_TEST

static Suite *parser_suite(void)
{
    Suite *suite = suite_create("api-parser");
    TCase *tc = tcase_create("parser");

    tcase_add_checked_fixture(tc, service_start_usual, service_stop);
    tcase_add_loop_test(tc, what_the_library_refuses_by_itself_ends_the_connection, 0,
        (int)(sizeof(refused) / sizeof(refused[0])));
    tcase_add_test(tc, a_header_larger_than_its_room_is_refused);
    tcase_add_test(tc, a_trailer_is_no_header);
    tcase_add_test(tc, a_nul_makes_a_value_shorter_and_nothing_else);
    tcase_add_test(tc, many_requests_in_one_piece_are_answered_in_their_order);
    tcase_add_test(tc, a_request_is_handled_only_when_the_one_before_it_was_answered);
    tcase_add_test(tc, what_is_pipelined_behind_a_refused_body_is_not_read);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(parser_suite());
    int failed;

    log_init("test", LOG_LEVEL_ERROR);
    (void)alarm(WATCHDOG_S);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
