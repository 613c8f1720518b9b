#include "base/clock.h"
#include "tests/integration/db_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNINFO_MAX (2 * PG_CONNINFO_MAX)
#define IMPATIENT_MS 200 /* less than any host's own time */

/* A frozen server, as seen from outside: the kernel takes connections, nobody answers. */
static char silent_folder[] = "/tmp/cradle-silent-XXXXXX";
static struct sockaddr_un silent = {.sun_family = AF_UNIX};
static int listener = -1;

static void silent_up(void)
{
    memcpy(silent_folder + sizeof(silent_folder) - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(silent_folder));
    snprintf(silent.sun_path, sizeof(silent.sun_path), "%s/.s.PGSQL.5432", silent_folder);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(bind(listener, (const struct sockaddr *)&silent, sizeof(silent)), 0);
    ck_assert_int_eq(listen(listener, 64), 0);
}

static void silent_down(void)
{
    close(listener);
    (void)unlink(silent.sun_path);
    (void)rmdir(silent_folder);
}

/** A handle whose first host is the silent one, and whose second is the cluster. */
static struct db *open_behind_silence(void)
{
    char own[PG_CONNINFO_MAX], conninfo[CONNINFO_MAX];
    struct db *db = NULL;
    const char *host = strstr(pg_conninfo(cluster, database, "cradle_join", own), "host=");
    const char *end;

    ck_assert_ptr_nonnull(host);
    host += strlen("host=");
    end = host + strcspn(host, " ");
    snprintf(conninfo, sizeof(conninfo), "%.*s%s,%.*s%s", (int)(host - own), own, silent_folder,
        (int)(end - host), host, end);
    ck_ok(db_open(&(struct db_config){.conninfo = conninfo, .program = "test"}, &db));
    return db;
}

START_TEST(silent_host_keeps_nobody_from_the_next)
{
    struct db *db = open_behind_silence();

    ck_ok(db_check(db));
    /* What served is first from then on. */
    ck_assert_uint_eq(db->hosts.at, 1);
    db_drop(db);
    ck_ok(db_check(db));
    ck_assert_uint_eq(db->hosts.at, 1);
    db_close(db);
}
END_TEST

START_TEST(call_that_had_no_time_for_the_next_host_leaves_it_to_the_next_call)
{
    struct db *db = open_behind_silence();

    db_set_deadline(db, clock_monotonic_ms() + IMPATIENT_MS);
    ck_assert_int_eq(db_ready(db), ERROR_DB);
    db_set_deadline(db, 0);
    ck_assert_uint_eq(db->hosts.at, 1);
    ck_ok(db_check(db));
    db_close(db);
}
END_TEST

START_TEST(host_that_goes_silent_under_a_statement_is_left)
{
    struct db *db = open_behind_silence();
    int r;

    db->hosts.at = 1;
    ck_ok(db_check(db));
    db_set_deadline(db, clock_monotonic_ms() + IMPATIENT_MS);
    r = db_exec(db, "SELECT pg_sleep(60)", true);
    ck_assert_int_eq(r, ERROR_DB_UNKNOWN);
    ck_assert_uint_eq(db->hosts.at, 0);
    db_close(db);
}
END_TEST

START_TEST(when_no_host_takes_us_the_error_says_what_the_last_one_said)
{
    struct db *db = NULL;

    ck_ok(db_open(&(struct db_config){.conninfo = "host=/nonexistent/a,/nonexistent/b dbname=x",
                      .program = "test"},
        &db));
    ck_assert_int_eq(db_ready(db), ERROR_DB);
    ck_assert_msg(strstr(error_text(), "/nonexistent/b"), "%s", error_text());
    ck_assert_uint_eq(db->hosts.at, 0);
    db_close(db);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, silent_up, silent_down);
    tcase_add_test(tcase, silent_host_keeps_nobody_from_the_next);
    tcase_add_test(tcase, call_that_had_no_time_for_the_next_host_leaves_it_to_the_next_call);
    tcase_add_test(tcase, host_that_goes_silent_under_a_statement_is_left);
    tcase_add_test(tcase, when_no_host_takes_us_the_error_says_what_the_last_one_said);
}

int main(void)
{
    return run_suite("db hosts", add);
}
