/* The activation service as its users have it: the executables on a private PostgreSQL and a
 * private token, set up with the `cradle` command, spoken to over HTTP. One for a test program; its
 * tests do not fork and use DevEUIs of their own. */
#pragma once

#include "tests/support/postgres.h"
#include "tests/support/softhsm.h"
#include <check.h>
#include <stddef.h>
#include <sys/types.h>

#define ACT_DATABASE "activation"
#define ACT_CLIENT_ID_LEN 32
#define ACT_CLIENT_SECRET_LEN 64

struct act_test_client {
    char id[ACT_CLIENT_ID_LEN + 1];
    char secret[ACT_CLIENT_SECRET_LEN + 1];
};

struct act_test_answer {
    unsigned status;
    char *text; /* head and body */
    const char *body;
};

extern struct pg_cluster *act_cluster;
extern struct softhsm act_hsm;
extern struct act_test_client act_maker, act_admin;

/** Unchecked fixture: NetIDs 000013 and 000024, AS demo-as, JoinEUI route 20635f/24. */
void act_up(void);
void act_down(void);
/** Starts the service, with one more --set (or NULL), and waits until it listens. */
void act_start(const char *set);
/** Runs it with this token URI until it ends by itself; its exit status. */
int act_run_to_end(const char *uri);
/** SIGTERM, and its exit status. */
int act_stop(void);

/** Runs `cradle --config FILE ARGS...` (NULL at the end); exit status. What it printed on standard
 * output goes to `out`, what on standard error to `err`. */
int act_cradle(char *out, char *err, size_t size, const char *const *args);
/** The value of a member in a JSON line, copied. */
void act_member(const char *json, const char *name, char *out, size_t size);

/** Begins a request that announces a body of `body_len` bytes and sends none of it; the socket. */
int act_begin(const char *target, const char *headers, size_t body_len);
/** One request on a connection of its own. `headers`: whole lines, each ended with CRLF. */
void act_ask(const char *method, const char *target, const char *headers, const char *body,
    size_t body_len, struct act_test_answer *ret);
void act_answer_done(struct act_test_answer *answer);
/** An access token as a header line. */
const char *act_bearer(const struct act_test_client *client, char out[static 160]);
/** POST /v1/batches/import as the maker. */
void act_import(const char *query, const char *file, size_t len, struct act_test_answer *ret);
/** How often `what` stands in the answer's body. */
unsigned act_count(const struct act_test_answer *answer, const char *what);

int act_test_main(const char *name, const TTest *const *tests, size_t n_tests);
