#include "db/hosts.h"

#include "tests/support/suite.h"
#include <stdio.h>
#include <string.h>

static void check_host(const struct db_host *host, const char *name, const char *port)
{
    ck_assert_str_eq(host->host, name);
    if (port)
        ck_assert_str_eq(host->port, port);
    else
        ck_assert_ptr_null(host->port);
}

START_TEST(list_is_dealt_out_with_its_ports)
{
    struct db_hosts hosts;

    ck_assert_int_eq(db_hosts_find("host=a,b,/run/c port=1,2,3 dbname=x", &hosts), 0);
    ck_assert_uint_eq(hosts.n, 3);
    check_host(&hosts.hosts[0], "a", "1");
    check_host(&hosts.hosts[1], "b", "2");
    check_host(&hosts.hosts[2], "/run/c", "3");
    db_hosts_done(&hosts);
}
END_TEST

START_TEST(one_port_is_for_all_and_none_is_for_none)
{
    struct db_hosts hosts;

    ck_assert_int_eq(db_hosts_find("host=a,b port=5000", &hosts), 0);
    check_host(&hosts.hosts[0], "a", "5000");
    check_host(&hosts.hosts[1], "b", "5000");
    db_hosts_done(&hosts);
    ck_assert_int_eq(db_hosts_find("host=a,b", &hosts), 0);
    check_host(&hosts.hosts[1], "b", NULL);
    db_hosts_done(&hosts);
}
END_TEST

START_TEST(uri_and_addresses_are_lists_too)
{
    struct db_hosts hosts;

    ck_assert_int_eq(db_hosts_find("postgresql://me@a:1,b:2/x", &hosts), 0);
    ck_assert_uint_eq(hosts.n, 2);
    check_host(&hosts.hosts[1], "b", "2");
    db_hosts_done(&hosts);
    ck_assert_int_eq(db_hosts_find("host=a,b hostaddr=192.0.2.1,192.0.2.2", &hosts), 0);
    check_host(&hosts.hosts[1], "b", NULL);
    ck_assert_str_eq(hosts.hosts[1].hostaddr, "192.0.2.2");
    db_hosts_done(&hosts);
    ck_assert_int_eq(db_hosts_find("hostaddr=192.0.2.1,192.0.2.2", &hosts), 0);
    ck_assert_uint_eq(hosts.n, 2);
    ck_assert_ptr_null(hosts.hosts[1].host);
    db_hosts_done(&hosts);
}
END_TEST

START_TEST(what_is_no_list_is_left_to_libpq)
{
    static const char *const left[] = {"", "dbname=x", "host=a port=1", "host=a,b port=1,2,3",
        "host=a,b hostaddr=192.0.2.1", "host=a,,b", "host=,a", "host=a,", "host=a,b port=,2",
        "no conninfo at all"};

    for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++) {
        struct db_hosts hosts;

        ck_assert_int_eq(db_hosts_find(left[i], &hosts), 0);
        ck_assert_msg(hosts.n == 0, "%s", left[i]);
        db_hosts_next(&hosts);
        ck_assert_uint_eq(hosts.at, 0);
        db_hosts_done(&hosts);
    }
}
END_TEST

START_TEST(too_many_hosts_are_refused)
{
    static const char most[] = "host=a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a";
    char more[sizeof(most) + 2];
    struct db_hosts hosts;

    ck_assert_int_eq(db_hosts_find(most, &hosts), 0);
    ck_assert_uint_eq(hosts.n, DB_HOSTS_MAX);
    db_hosts_done(&hosts);
    snprintf(more, sizeof(more), "%s,a", most);
    ck_assert_int_eq(db_hosts_find(more, &hosts), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "at most 16 hosts"));
}
END_TEST

START_TEST(after_the_last_comes_the_first)
{
    struct db_hosts hosts;

    ck_assert_int_eq(db_hosts_find("host=a,b", &hosts), 0);
    ck_assert_uint_eq(hosts.at, 0);
    db_hosts_next(&hosts);
    ck_assert_uint_eq(hosts.at, 1);
    db_hosts_next(&hosts);
    ck_assert_uint_eq(hosts.at, 0);
    db_hosts_done(&hosts);
}
END_TEST

SUITE_MAIN("db hosts", 10, list_is_dealt_out_with_its_ports,
    one_port_is_for_all_and_none_is_for_none, uri_and_addresses_are_lists_too,
    what_is_no_list_is_left_to_libpq, too_many_hosts_are_refused, after_the_last_comes_the_first)
