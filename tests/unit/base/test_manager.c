#include "base/clock.h"
#include "base/manager.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[] = "/tmp/cradle-manager-XXXXXX";
static int heard = -1;

/* A manager's end of the protocol; the code under test reads its address from the environment. */
static void listen_as_manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", folder);
    heard = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(heard, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
    manager_init();
}

START_TEST(without_a_manager_nothing_is_said_and_nothing_taken)
{
    const struct sockaddr any = {.sa_family = AF_INET};

    ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
    manager_init();
    manager_tell("READY=1");
    ck_assert_int_eq(manager_take_listener(&any, sizeof(any)), -1);
    ck_assert_int_eq(manager_take_family(AF_UNIX), -1);
}
END_TEST

START_TEST(sockets_of_another_process_are_left_alone)
{
    ck_assert_int_eq(setenv("LISTEN_FDS", "1", 1), 0);
    ck_assert_int_eq(setenv("LISTEN_PID", "1", 1), 0);
    manager_init();
    ck_assert_int_eq(manager_take_family(AF_UNIX), -1);
    ck_assert_ptr_null(getenv("LISTEN_FDS"));
}
END_TEST

START_TEST(who_rests_is_alive_and_who_stands_still_is_not)
{
    struct manager_pulse pulse = {0};

    ck_assert(manager_is_alive(&pulse));
    manager_beat(&pulse);
    ck_assert(manager_is_alive(&pulse));
    atomic_store(&pulse.beaten_ms, clock_monotonic_ms() - MANAGER_STILL_MS);
    ck_assert(!manager_is_alive(&pulse));
    manager_rest(&pulse);
    ck_assert(manager_is_alive(&pulse));
}
END_TEST

START_TEST(the_watchdog_is_fed_only_while_all_are_alive)
{
    char said[64];

    listen_as_manager();
    manager_watch(true, NULL);
    ck_assert_int_eq(recv(heard, said, sizeof(said), 0), (int)strlen("WATCHDOG=1"));
    ck_assert_int_eq(memcmp(said, "WATCHDOG=1", strlen("WATCHDOG=1")), 0);
    manager_watch(false, "worker");
    manager_watch(false, "worker");
    ck_assert_int_eq(recv(heard, said, 7, 0), 7); /* once, what is wrong */
    ck_assert_int_eq(memcmp(said, "STATUS=", 7), 0);
    ck_assert_int_lt(recv(heard, said, sizeof(said), 0), 0);
    (void)close(heard);
    (void)snprintf(said, sizeof(said), "%s/notify", folder);
    (void)unlink(said);
    (void)rmdir(folder);
}
END_TEST

SUITE_MAIN("base manager", 4, without_a_manager_nothing_is_said_and_nothing_taken,
    sockets_of_another_process_are_left_alone, who_rests_is_alive_and_who_stands_still_is_not,
    the_watchdog_is_fed_only_while_all_are_alive)
