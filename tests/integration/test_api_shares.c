/* The HTTP server when one client address, or one peer, has too many connections: it is told so,
 * and no other notices. */
#include "base/log.h"
#include "tests/integration/api_client.h"
#include "tests/integration/api_service.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define WATCHDOG_S 150
#define GREEDY "127.0.0.2"
#define MODEST "127.0.0.3"
#define ROUNDS 100
#define FLOOD 200 /* more than a reserve */

#define OVER_ADDRESS "cradle_http_over_limit_total{reason=\"address\"} "
#define OVER_PEER "cradle_http_over_limit_total{reason=\"peer\"} "

static void expect_come_again(struct client *client, const char *why)
{
    struct answer answer;

    ck_assert(client_hear(client, &answer));
    ck_assert_uint_eq(answer.status, 503);
    ck_assert_ptr_nonnull(strstr(answer.head, "\r\nRetry-After: "));
    ck_assert_ptr_nonnull(strstr(answer.head, "\r\nConnection: close\r\n"));
    ck_assert_ptr_nonnull(strstr(answer.head, "application/problem+json"));
    if (why != NULL)
        ck_assert_ptr_nonnull(strstr(answer.body, why));
    ck_assert(!client_hear(client, &answer));
}

/* A connection of this address that has been served. */
static struct client *served_from(const char *address)
{
    struct client *client = client_new_from(address);

    client_post(client, "/echo", "served");
    client_expect(client, 200, "served");
    return client;
}

static void take_all(struct client *clients[static SERVICE_PER_ADDRESS])
{
    for (size_t i = 0; i < SERVICE_PER_ADDRESS; i++)
        clients[i] = served_from(GREEDY);
}

static void free_all(struct client **clients, size_t n)
{
    for (size_t i = 0; i < n; i++)
        client_free(clients[i]);
}

START_TEST(an_address_at_its_limit_is_told_so_and_does_not_stop_another)
{
    struct client *clients[SERVICE_PER_ADDRESS], *beyond, *other;

    take_all(clients);
    beyond = client_new_from(GREEDY);
    client_post(beyond, "/defer", "x");
    expect_come_again(beyond, "address");
    ck_assert_int_eq(service_metric(OVER_ADDRESS), 1);
    other = served_from(MODEST);
    /* And who has the places goes on. */
    for (size_t i = 0; i < SERVICE_PER_ADDRESS; i++) {
        client_post(clients[i], "/defer", "again");
        client_expect(clients[i], 200, "again");
    }
    ck_assert_int_eq(service_metric(OVER_ADDRESS), 1);
    ck_assert_int_eq(service_metric("cradle_http_over_limit_total{reason=\"connections\"} "), 0);
    free_all(clients, SERVICE_PER_ADDRESS);
    client_free(beyond);
    client_free(other);
}
END_TEST

START_TEST(an_address_has_its_places_again_when_its_connections_close)
{
    const struct linger reset = {.l_onoff = 1};
    struct client *clients[SERVICE_PER_ADDRESS];

    for (int round = 0; round < ROUNDS; round++) {
        take_all(clients);
        if (round % 2 == 0) /* gone by a reset instead of a close */
            ck_assert_int_eq(
                setsockopt(clients[0]->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
        free_all(clients, SERVICE_PER_ADDRESS);
        service_wait_connections(0);
    }
    ck_assert_int_eq(service_metric(OVER_ADDRESS), 0);
    take_all(clients);
    client_free(clients[0]);
    service_wait_connections(SERVICE_PER_ADDRESS - 1);
    clients[0] = served_from(GREEDY);
    free_all(clients, SERVICE_PER_ADDRESS);
}
END_TEST

/* However many come at once, all of them end, and nobody else waits for them. */
START_TEST(a_flood_of_one_address_ends_and_others_are_served_meanwhile)
{
    struct client *clients[SERVICE_PER_ADDRESS], *flood[FLOOD], *other;

    take_all(clients);
    for (size_t i = 0; i < FLOOD; i++)
        flood[i] = client_new_from(GREEDY);
    other = served_from(MODEST);
    for (size_t i = 0; i < FLOOD; i++)
        ck_assert(!client_listen(flood[i]));
    ck_assert_int_eq(service_metric(OVER_ADDRESS), FLOOD);
    service_wait_connections(SERVICE_PER_ADDRESS + 1);
    client_post(clients[0], "/echo", "still");
    client_expect(clients[0], 200, "still");
    free_all(flood, FLOOD);
    free_all(clients, SERVICE_PER_ADDRESS);
    client_free(other);
}
END_TEST

/* --- peers -------------------------------------------------------------------------------------
 */

static void ask_as(struct client *client, int peer)
{
    client_say(client,
        "POST /peer HTTP/1.1\r\nHost: h\r\nX-Peer: %d\r\nContent-Length: 2\r\n\r\nme", peer);
}

static struct client *peer_from(const char *address, int peer)
{
    struct client *client = client_new_from(address);

    ask_as(client, peer);
    client_expect(client, 200, "me");
    return client;
}

static void take_all_of_peer(struct client *clients[static SERVICE_PER_PEER], int peer)
{
    for (size_t i = 0; i < SERVICE_PER_PEER; i++)
        clients[i] = peer_from(GREEDY, peer);
}

START_TEST(a_peer_at_its_limit_is_told_so_and_does_not_stop_another)
{
    struct client *clients[SERVICE_PER_PEER], *beyond, *other;

    take_all_of_peer(clients, 7);
    /* From wherever it comes. */
    beyond = client_new_from(MODEST);
    ask_as(beyond, 7);
    expect_come_again(beyond, NULL);
    ck_assert_int_eq(service_metric(OVER_PEER), 1);
    other = peer_from(GREEDY, 8);
    /* Any number of requests is one connection. */
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < SERVICE_PER_PEER; i++) {
            ask_as(clients[i], 7);
            client_expect(clients[i], 200, "me");
        }
    ck_assert_int_eq(service_metric(OVER_PEER), 1);
    ck_assert_int_eq(service_metric(OVER_ADDRESS), 0);
    free_all(clients, SERVICE_PER_PEER);
    client_free(beyond);
    client_free(other);
}
END_TEST

START_TEST(who_was_refused_counts_for_nothing_and_a_place_comes_free_at_a_close)
{
    struct client *clients[SERVICE_PER_PEER], *next;

    for (int round = 0; round < ROUNDS; round++) {
        take_all_of_peer(clients, 7);
        next = client_new_from(MODEST);
        ask_as(next, 7);
        expect_come_again(next, NULL);
        client_free(next);
        service_wait_connections(SERVICE_PER_PEER);
        client_free(clients[0]);
        service_wait_connections(SERVICE_PER_PEER - 1);
        clients[0] = peer_from(MODEST, 7);
        free_all(clients, SERVICE_PER_PEER);
        service_wait_connections(0);
    }
    ck_assert_int_eq(service_metric(OVER_PEER), ROUNDS);
}
END_TEST

START_TEST(a_connection_that_speaks_for_another_peer_counts_for_that_one)
{
    struct client *clients[SERVICE_PER_PEER], *third, *fourth;

    take_all_of_peer(clients, 7);
    ask_as(clients[0], 8); /* a proxy's connection, say */
    client_expect(clients[0], 200, "me");
    third = peer_from(MODEST, 7);
    fourth = peer_from(MODEST, 8);
    ask_as(clients[1], 8);
    expect_come_again(clients[1], NULL);
    service_wait_connections(SERVICE_PER_PEER + 1);
    client_free(clients[1]);
    clients[1] = peer_from(GREEDY, 7);
    free_all(clients, SERVICE_PER_PEER);
    client_free(third);
    client_free(fourth);
}
END_TEST

START_TEST(pages_that_are_nobodys_need_no_place_of_a_peer)
{
    struct client *clients[SERVICE_PER_PEER], *stranger;

    take_all_of_peer(clients, 7);
    stranger = served_from(MODEST);
    client_say(stranger, "GET /peer HTTP/1.1\r\nHost: h\r\n\r\n");
    client_expect(stranger, 401, NULL);
    free_all(clients, SERVICE_PER_PEER);
    client_free(stranger);
}
END_TEST

static Suite *shares_suite(void)
{
    Suite *suite = suite_create("api-shares");
    TCase *sharing = tcase_create("sharing");

    tcase_add_checked_fixture(sharing, service_start_sharing, service_stop);
    tcase_add_test(sharing, an_address_at_its_limit_is_told_so_and_does_not_stop_another);
    tcase_add_test(sharing, an_address_has_its_places_again_when_its_connections_close);
    tcase_add_test(sharing, a_flood_of_one_address_ends_and_others_are_served_meanwhile);
    tcase_add_test(sharing, a_peer_at_its_limit_is_told_so_and_does_not_stop_another);
    tcase_add_test(sharing, who_was_refused_counts_for_nothing_and_a_place_comes_free_at_a_close);
    tcase_add_test(sharing, a_connection_that_speaks_for_another_peer_counts_for_that_one);
    tcase_add_test(sharing, pages_that_are_nobodys_need_no_place_of_a_peer);
    suite_add_tcase(suite, sharing);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(shares_suite());
    int failed;

    log_init("test", LOG_LEVEL_ERROR);
    (void)alarm(WATCHDOG_S);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
