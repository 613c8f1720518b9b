/* Which connections get a place, and what they count for: on a server that does not run, so that
 * nothing ends by itself. */
#include "api/internal.h"
#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <sys/socket.h>

#define N_MAX 8
#define PER_ADDRESS 3
#define PER_PEER 2
#define ROOM 128

static struct api_server *server;
static struct api_connection *opened[ROOM];
static int fds[ROOM][2];
static size_t n_opened;

static void setup(void)
{
    server = calloc(1, sizeof(*server));
    server->config = (struct api_server_config){.max_connections = N_MAX,
        .connections_per_address = PER_ADDRESS,
        .connections_per_peer = PER_PEER,
        .idle_timeout_s = 60,
        .request_deadline_ms = 10000};
    ck_assert_int_eq(tally_init(&server->addresses, N_MAX + 1, 1), 0);
    ck_assert_int_eq(tally_init(&server->peers, N_MAX + 1, 1), 0);
    n_opened = 0;
}

static struct api_connection *arrive(const char *address)
{
    struct sockaddr_in from = {.sin_family = AF_INET};

    ck_assert_int_eq(inet_pton(AF_INET, address, &from.sin_addr), 1);
    ck_assert_uint_lt(n_opened, ROOM);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[n_opened]), 0);
    opened[n_opened] = connection_open(server, fds[n_opened][0], (const struct sockaddr *)&from);
    return opened[n_opened++];
}

static void leave(struct api_connection *c)
{
    for (size_t i = 0; i < n_opened; i++)
        if (opened[i] == c)
            opened[i] = NULL;
    connection_close(c);
}

static void teardown(void)
{
    for (size_t i = 0; i < n_opened; i++) {
        if (opened[i] != NULL)
            connection_close(opened[i]);
        (void)close(fds[i][0]);
        (void)close(fds[i][1]);
    }
    /* Whatever has happened, nothing is counted for nobody. */
    ck_assert_uint_eq(server->n_slots, 0);
    ck_assert_uint_eq(server->n_reserved, 0);
    ck_assert_uint_eq(server->addresses.n_keys, 0);
    ck_assert_uint_eq(server->peers.n_keys, 0);
    tally_done(&server->addresses);
    tally_done(&server->peers);
    free(server);
}

static long over(enum api_metric metric)
{
    return (long)server->metrics[metric].value;
}

START_TEST(an_address_has_its_places_and_then_a_part_of_the_reserve)
{
    struct api_connection *c = NULL;

    for (int i = 0; i < PER_ADDRESS; i++)
        ck_assert(arrive("192.0.2.1")->slot);
    for (int i = 0; i < API_OVER_ADDRESS_RESERVE; i++) {
        c = arrive("192.0.2.1");
        ck_assert(!c->slot && !c->cut && c->over == METRIC_OVER_ADDRESS);
    }
    ck_assert_int_eq(over(METRIC_OVER_ADDRESS), 0); /* not turned away yet */
    ck_assert(arrive("192.0.2.1")->cut);
    ck_assert_int_eq(over(METRIC_OVER_ADDRESS), 1);
    ck_assert(arrive("192.0.2.2")->slot);
    leave(c);
    ck_assert(!arrive("192.0.2.1")->cut);
    ck_assert(arrive("192.0.2.1")->cut);
}
END_TEST

START_TEST(with_all_places_taken_who_is_within_his_share_waits_in_the_rest_of_the_reserve)
{
    static const char *const addresses[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};
    struct api_connection *c;

    for (int i = 0; i < N_MAX; i++)
        ck_assert(arrive(addresses[i / PER_ADDRESS])->slot);
    for (int i = 0; i <= API_OVER_ADDRESS_RESERVE; i++)
        ck_assert(arrive(addresses[0])->cut == (i == API_OVER_ADDRESS_RESERVE));
    c = arrive("192.0.2.4");
    ck_assert(!c->slot && !c->cut && !c->reserved && c->over == METRIC_OVER_LIMIT);
    leave(opened[N_MAX - 1]);
    ck_assert(connection_take_slot(c));
}
END_TEST

START_TEST(who_waits_takes_the_place_that_comes_free_and_leaves_the_reserve)
{
    struct api_connection *first = arrive("192.0.2.1"), *waiting;

    for (int i = 1; i < PER_ADDRESS; i++)
        (void)arrive("192.0.2.1");
    waiting = arrive("192.0.2.1");
    ck_assert_uint_eq(server->n_reserved, 1);
    ck_assert(!connection_take_slot(waiting));
    leave(first);
    ck_assert(connection_take_slot(waiting));
    ck_assert_uint_eq(server->n_reserved, 0);
    ck_assert_uint_eq(server->n_slots, PER_ADDRESS);
    ck_assert_uint_eq(tally_count(&server->addresses, waiting->address), PER_ADDRESS);
}
END_TEST

START_TEST(a_peer_has_its_connections_however_often_it_asks_on_them)
{
    struct api_connection *a = arrive("192.0.2.1"), *b = arrive("192.0.2.2"),
                          *c = arrive("192.0.2.3");

    for (int i = 0; i < 10; i++)
        ck_assert(connection_claim_peer(a, 7) && connection_claim_peer(b, 7));
    ck_assert(!connection_claim_peer(c, 7));
    ck_assert(connection_claim_peer(c, -7));
    ck_assert_uint_eq(server->peers.n_keys, 2);
    leave(a);
    ck_assert(connection_claim_peer(c, 7));
    ck_assert_uint_eq(server->peers.n_keys, 1);
}
END_TEST

START_TEST(a_connection_counts_for_the_peer_of_its_latest_request)
{
    struct api_connection *a = arrive("192.0.2.1"), *b = arrive("192.0.2.2"),
                          *c = arrive("192.0.2.3");

    ck_assert(connection_claim_peer(a, 7) && connection_claim_peer(b, 7));
    ck_assert(connection_claim_peer(a, 8));
    ck_assert_uint_eq(tally_count(&server->peers, 7), 1);
    ck_assert(connection_claim_peer(c, 7));
    /* Refused as 7's, it stays 8's. */
    ck_assert(!connection_claim_peer(a, 7));
    ck_assert_uint_eq(tally_count(&server->peers, 8), 1);
    ck_assert_uint_eq(tally_count(&server->peers, 7), 2);
}
END_TEST

START_TEST(every_connection_may_have_a_peer_of_its_own_and_change_it)
{
    static const char *const addresses[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};

    for (int i = 0; i < N_MAX; i++)
        ck_assert(connection_claim_peer(arrive(addresses[i / PER_ADDRESS]), i));
    for (int i = 0; i < N_MAX; i++)
        ck_assert(connection_claim_peer(opened[i], 100 + i));
    ck_assert_uint_eq(server->peers.n_keys, N_MAX);
}
END_TEST

START_TEST(a_connection_that_is_cut_counts_for_nothing)
{
    struct api_connection *c = arrive("192.0.2.1");

    ck_assert(connection_claim_peer(c, 7));
    connection_refuse(c);
    ck_assert_uint_eq(server->n_slots, 0);
    ck_assert_uint_eq(server->addresses.n_keys, 0);
    ck_assert_uint_eq(server->peers.n_keys, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("connection");
    TCase *tc = tcase_create("connection");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_address_has_its_places_and_then_a_part_of_the_reserve);
    tcase_add_test(
        tc, with_all_places_taken_who_is_within_his_share_waits_in_the_rest_of_the_reserve);
    tcase_add_test(tc, who_waits_takes_the_place_that_comes_free_and_leaves_the_reserve);
    tcase_add_test(tc, a_peer_has_its_connections_however_often_it_asks_on_them);
    tcase_add_test(tc, a_connection_counts_for_the_peer_of_its_latest_request);
    tcase_add_test(tc, every_connection_may_have_a_peer_of_its_own_and_change_it);
    tcase_add_test(tc, a_connection_that_is_cut_counts_for_nothing);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
