/* A private PostgreSQL for tests: its own folder, a unix socket, durable as in production (fsync
 * on), one template database with the migrations applied and a clone of it for each test. It ends
 * with pg_cluster_stop, and also when the thread that started it dies.
 *
 * Works as an ordinary user and as root (PostgreSQL itself refuses root: then in a user namespace
 * of its own, or else as the system user postgres). Roles cradle_owner, cradle_join,
 * cradle_activation and postgres (superuser) log in without a password. */
#pragma once

#include <stdint.h>

#define PG_CONNINFO_MAX 256

struct pg_cluster;

/** 0, or -1 with a sentence on standard error. */
int pg_cluster_start(struct pg_cluster **ret);
void pg_cluster_stop(struct pg_cluster *cluster);

/** kill -9 of the postmaster, and waits until its backends are gone. Then pg_cluster_resume. */
void pg_cluster_kill(struct pg_cluster *cluster);
/** Starts the server again in the same folder, as after a crash, and waits until it answers. */
int pg_cluster_resume(struct pg_cluster *cluster);

/** The private folder; the socket is in it. */
const char *pg_cluster_folder(const struct pg_cluster *cluster);

/** A new database `name`, with the schema (`pg_clone`) or without (`pg_create`). */
int pg_clone(struct pg_cluster *cluster, const char *name);
int pg_create(struct pg_cluster *cluster, const char *name);

/** Writes and returns the libpq conninfo of a role in a database. */
const char *pg_conninfo(const struct pg_cluster *cluster, const char *database, const char *role,
    char out[static PG_CONNINFO_MAX]);

/** One statement as a role; the SQLSTATE goes to `sqlstate` ("00000" when it worked). */
void pg_try(const struct pg_cluster *cluster, const char *database, const char *role,
    const char *sql, char sqlstate[static 6]);
/** As superuser; 0 when it worked, else -1 with the error on standard error. */
int pg_sql(const struct pg_cluster *cluster, const char *database, const char *sql);
/** As superuser; the first value of the first row as a number; INT64_MIN when there is none. */
int64_t pg_number(const struct pg_cluster *cluster, const char *database, const char *sql);
/** As superuser; all values, a space after each and a newline after each row, on the heap. */
char *pg_text(const struct pg_cluster *cluster, const char *database, const char *sql);
