/* What the tests of db/ share: one cluster a program, one fresh clone a test, devices to join. */
#pragma once

#include "db/batch.h"
#include "db/connection.h"
#include "db/db.h"
#include "db/directory.h"
#include "db/join.h"
#include "tests/support/postgres.h"
#include <check.h>

/** The cluster, and the name of the running test's database. Check runs without forking here. */
extern struct pg_cluster *cluster;
extern char database[32];

/** Unchecked fixture: the cluster. Checked fixture: the clone. */
void cluster_up(void);
void cluster_down(void);
void clone_up(void);

/** A handle on the test's database; db_close it. */
struct db *open_as(const char *role);
/** Opens a batch of a fresh organization as cradle_activation and makes devices number [first,
 * first + n) of a version, all allowed to join. */
void make_devices(uint32_t first, uint32_t n, enum lw_mac_version version);
struct eui64 eui_of(uint32_t number);
/** Loads one device with one DevNonce. */
struct db_join_row load_one(struct db *db, uint32_t number, uint16_t dev_nonce);
/** The commit that follows from a loaded row. */
struct db_join_commit commit_of(const struct db_join_row *row, uint16_t dev_nonce, bool counted);

/** All random DevNonces that are remembered, in lists and in pages. */
int64_t n_dev_nonces(void);

/** Asks until the answer is 1: the condition ends the wait, time only a hopeless one. */
void wait_until(const char *sql);

/** Runs a suite of one tcase with these fixtures; the exit status of the program. */
int run_suite(const char *name, void (*add)(TCase *tcase));

#define ck_ok(call) ck_assert_msg((call) == 0, "%s: %s", #call, error_text())
