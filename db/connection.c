#include "db/connection.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "db/metrics.h"
#include "db/passfile.h"
#include "db/sqlstate.h"
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* Defaults before the operator's conninfo, which may say otherwise. A dead peer is noticed within
 * ten seconds; libpq's own defaults wait for ever. */
static const struct {
    const char *keyword, *value;
} connect_defaults[] = {
    {"keepalives", "1"},
    {"keepalives_idle", "5"},
    {"keepalives_interval", "2"},
    {"keepalives_count", "3"},
    {"tcp_user_timeout", "10000"},
    /* Of several hosts the primary; a lone standby is refused. */
    {"target_session_attrs", "read-write"},
    {"client_encoding", "UTF8"},
};
#define N_CONNECT_DEFAULTS (sizeof(connect_defaults) / sizeof(*connect_defaults))

#define CONNECT_MS 6000      /* for all hosts together */
#define HOST_MS 2000         /* for one of several: the next may answer */
#define CLIENT_GRACE_MS 2000 /* beyond statement_timeout: then the server itself is stuck */
#define IDLE_TRANSACTION_MS 30000
#define SESSION_SQL_MAX 1024
#define MESSAGE_MAX 300

/* Whatever the server's defaults: warnings told (on_notice needs one), durable commits
 * (remote_apply is more than that, and stays), one plan a statement for the life of the connection,
 * and that plan by index whatever the tables held when it was made (perhaps nothing): every
 * statement of ours is keyed. A bitmap has no order, and a page of a list would sort all that comes
 * behind it. */
static const char session_sql[] =
    "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    "  WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false);"
    "SET client_min_messages = notice; SET plan_cache_mode = force_generic_plan;"
    "SET enable_seqscan = off; SET enable_bitmapscan = off;"
    "SET enable_hashjoin = off; SET enable_mergejoin = off;"
    "SET jit = off; SET TimeZone = 'UTC'; SET search_path = public;"
    "SET statement_timeout = %u; SET idle_in_transaction_session_timeout = %u;"
    "SELECT pg_backend_pid(), (extract(epoch FROM backend_start) * 1000000)::int8"
    "  FROM pg_stat_activity WHERE pid = pg_backend_pid()";

/** The first line of a message, for one log line. */
static void first_line(const char *message, char out[static MESSAGE_MAX])
{
    snprintf(out, MESSAGE_MAX, "%.*s", (int)strcspn(message, "\n"), message);
}

static void on_notice(void *arg, const PGresult *result)
{
    struct db *db = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    /* A cancelled or ended wait for a standby answers "committed" and only warns: 01000 or 57P01.
     * None of our statements warns, so any such WARNING is taken for it, in whatever language. */
    if (severity && state && strcmp(severity, "WARNING") == 0 &&
        (strcmp(state, "01000") == 0 || strcmp(state, "57P01") == 0))
        db->standby_wait_ended = true;
    /* Outside a call, the reason for which the server ends the session comes as a notice. */
    if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
        db->session_ended = true;
    log_debug(
        "database notice sqlstate=%s text=\"%s\"", state ? state : "", message ? message : "");
}

void db_drop(struct db *db)
{
    if (db->conn) {
        PQfinish(db->conn);
        if (db->counted)
            db_count(DB_COUNT_OPEN, -1);
    }
    db->conn = NULL;
    db->counted = false;
    db->in_transaction = false;
    db->session_ended = false;
    memset(db->prepared, 0, sizeof(db->prepared));
}

int db_socket(struct db *db)
{
    return db->conn ? PQsocket(db->conn) : -1;
}

/** Makes an error of a result (or of none: the connection broke) and decides about the connection.
 */
static int fail(struct db *db, const PGresult *result, bool commits)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    bool broken = PQstatus(db->conn) != CONNECTION_OK;
    char text[MESSAGE_MAX];
    bool unknown = commits && (broken || db->standby_wait_ended);

    /* Primary message only: DETAIL and CONTEXT carry values of rows. */
    first_line(primary ? primary : PQerrorMessage(db->conn), text);
    snprintf(db->sqlstate, sizeof(db->sqlstate), "%s", state ? state : "");
    if (state) {
        const struct db_sqlstate *known = db_sqlstate_find(state);

        unknown = commits && (known->unknown || db->standby_wait_ended);
        broken = broken || known->drop;
    }
    /* A server that says that it ends a session does so. */
    if (broken && !state)
        db_left_note(db, commits);
    db->unsettled |= unknown;
    if (broken || unknown)
        db_drop(db);
    if (state && strcmp(state, DB_SQLSTATE_STALE_KEY) == 0)
        return error_set(ERROR_STALE_KEY, "database: %s", text);
    if (state)
        return error_set(
            unknown ? ERROR_DB_UNKNOWN : ERROR_DB, "database: %s (SQLSTATE %s)", text, state);
    return error_set(unknown ? ERROR_DB_UNKNOWN : ERROR_DB, "database: %s",
        *text ? text : "the connection was lost");
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/** Waits for the one result of what was sent. The last of several results is kept; an error wins.
 * NULL when the connection broke or the server stayed silent beyond its own time limit. */
static PGresult *await(struct db *db)
{
    int64_t deadline = earlier(
        db->statement_ms ? clock_monotonic_ms() + db->statement_ms + CLIENT_GRACE_MS : INT64_MAX,
        db->deadline_ms ? db->deadline_ms : INT64_MAX);
    PGresult *kept = NULL;

    for (;;) {
        PGresult *next;

        while (PQisBusy(db->conn)) {
            struct pollfd pfd = {.fd = PQsocket(db->conn), .events = POLLIN};
            int64_t left = deadline == INT64_MAX ? -1 : deadline - clock_monotonic_ms();

            if (deadline != INT64_MAX && left <= 0) {
                PQclear(kept);
                return NULL;
            }
            if (poll(&pfd, 1, (int)left) < 0 && errno != EINTR) {
                PQclear(kept);
                return NULL;
            }
            if (pfd.revents && !PQconsumeInput(db->conn)) {
                PQclear(kept);
                return NULL;
            }
        }
        next = PQgetResult(db->conn);
        if (!next)
            return kept;
        if (kept && PQresultStatus(kept) == PGRES_FATAL_ERROR) {
            PQclear(next);
            continue;
        }
        PQclear(kept);
        kept = next;
    }
}

static int finish_quietly(struct db *db, int sent, bool commits, PGresult **ret_result)
{
    bool is_cut = sent && commits && FAILPOINT(db_commit_sent, ERROR_DB) < 0;
    PGresult *result = sent && !is_cut ? await(db) : NULL;
    ExecStatusType status = PQresultStatus(result);
    int r;

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        r = commits ? FAILPOINT(db_commit_done, ERROR_DB_UNKNOWN) : 0;
        if (r == 0 && (!commits || !db->standby_wait_ended)) {
            *ret_result = result;
            return 0;
        }
        PQclear(result);
        /* The commit has come to its end, and the session is as good as before; but it is the next
         * one that makes it durable, before it reads. */
        if (db->standby_wait_ended) {
            db->unsettled = true;
            db_drop(db);
        }
        if (r < 0)
            return r;
        return error_set(
            ERROR_DB_UNKNOWN, "database: committed here, but the wait for the standby was ended");
    }
    if (!result) {
        /* Also when nothing broke: a server that did not answer in time is not waited for again. */
        char text[MESSAGE_MAX];

        first_line(PQerrorMessage(db->conn), text);
        db->sqlstate[0] = '\0';
        db_left_note(db, commits);
        db_drop(db);
        db_hosts_next(&db->hosts);
        return error_set(commits ? ERROR_DB_UNKNOWN : ERROR_DB, "database: %s",
            *text ? text : "no answer in time");
    }
    r = fail(db, result, commits);
    PQclear(result);
    return r;
}

/** `sent`: what PQsend... returned. On success *ret_result is the good result. */
static int finish(struct db *db, int sent, bool commits, PGresult **ret_result)
{
    int r = finish_quietly(db, sent, commits, ret_result);

    if (r < 0)
        db_count(r == ERROR_DB_UNKNOWN ? DB_COUNT_UNKNOWN : DB_COUNT_FAILED, 1);
    return r;
}

int db_exec(struct db *db, const char *sql, bool commits)
{
    PGresult *result = NULL;
    int r = db_ready(db);

    if (r < 0)
        return r;
    db->standby_wait_ended = false;
    r = finish(db, PQsendQuery(db->conn, sql), commits, &result);
    PQclear(result);
    return r;
}

static int session_start(struct db *db)
{
    char sql[SESSION_SQL_MAX];
    PGresult *result = NULL;
    int r;

    snprintf(sql, sizeof(sql), session_sql, db->statement_ms, (unsigned)IDLE_TRANSACTION_MS);
    r = finish(db, PQsendQuery(db->conn, sql), false, &result);
    if (r < 0)
        return r;
    if (PQntuples(result) == 1) {
        db->backend.pid = (int)strtol(PQgetvalue(result, 0, 0), NULL, 10);
        db->backend.start_us = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    }
    PQclear(result);
    if (!db->listening)
        return 0;
    result = NULL;
    (void)snprintf(sql, sizeof(sql), "LISTEN %s", db->listening);
    r = finish(db, PQsendQuery(db->conn, sql), false, &result);
    PQclear(result);
    return r;
}

/* PQconnectdb with a limit in milliseconds instead of whole seconds for each host. */
static bool await_connection(struct db *db, int64_t deadline)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;

    while (state != PGRES_POLLING_OK) {
        struct pollfd pfd = {
            .fd = PQsocket(db->conn), .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        int64_t left = deadline - clock_monotonic_ms();

        if (state == PGRES_POLLING_FAILED || left <= 0 ||
            (poll(&pfd, 1, (int)left) < 0 && errno != EINTR))
            return false;
        if (pfd.revents)
            state = PQconnectPoll(db->conn);
    }
    return true;
}

/* The caller's parameters may be waiting for this connection. */
static int prepare_use(struct db *db)
{
    struct db_params kept = db->params;
    int r = 0;

    db->params = (struct db_params){0};
    if (db->guard != NULL)
        r = db_guard_check(db);
    if (r == 0)
        r = db_left_end(db);
    db_params_done(&db->params);
    db->params = kept;
    /* Of the caller's statement nothing was sent: nothing of it is unknown. */
    return r == ERROR_DB_UNKNOWN ? ERROR_DB : r;
}

/** One attempt at one host; NULL: at whatever the conninfo says. */
static int connect_to(struct db *db, const struct db_host *host, int64_t deadline)
{
    char passfile[DB_PASSFILE_PATH_LEN];
    const struct {
        const char *keyword, *value;
    } own[] = {
        {"dbname", db->conninfo}, /* expanded as a conninfo string; later words win */
        {"passfile", db->passfile >= 0 ? db_passfile_path(db->passfile, passfile) : NULL},
        {"host", host ? host->host : NULL},
        {"hostaddr", host ? host->hostaddr : NULL},
        {"port", host ? host->port : NULL},
        {"application_name", db->program},
    };
    const char *keywords[N_CONNECT_DEFAULTS + sizeof(own) / sizeof(*own) + 1];
    const char *values[N_CONNECT_DEFAULTS + sizeof(own) / sizeof(*own) + 1];
    size_t n = 0;
    int r;

    for (; n < N_CONNECT_DEFAULTS; n++) {
        keywords[n] = connect_defaults[n].keyword;
        values[n] = connect_defaults[n].value;
    }
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
        if (!own[i].value)
            continue;
        keywords[n] = own[i].keyword;
        values[n++] = own[i].value;
    }
    keywords[n] = values[n] = NULL;

    db->sqlstate[0] = '\0';
    db->standby_wait_ended = false;
    db->backend = (struct db_backend){0};
    db->conn = PQconnectStartParams(keywords, values, 1);
    if (!db->conn)
        return error_set(ERROR_SYSTEM, "database: no memory for a connection");
    if (!await_connection(db, deadline)) {
        char text[MESSAGE_MAX];

        first_line(PQerrorMessage(db->conn), text);
        db_drop(db);
        return error_set(ERROR_DB, "database: %s", *text ? text : "no connection in time");
    }
    PQsetNoticeReceiver(db->conn, on_notice, db);
    r = session_start(db);
    if (r == 0)
        r = prepare_use(db);
    if (r < 0)
        db_drop(db);
    return r;
}

/** Of several hosts the first that takes us and whose database is good, from the one that served
 * last on. What is said of a failure is what the last of them said. *ret_refused: how many have a
 * database that is refused for good. */
static int connect_one_of(struct db *db, int64_t deadline, unsigned *ret_refused)
{
    struct db_hosts *hosts = &db->hosts;
    const unsigned first = hosts->at;
    int r = 0;

    for (unsigned i = 0; i < hosts->n; i++) {
        hosts->trying = (first + i) % hosts->n;
        r = connect_to(
            db, &hosts->hosts[hosts->trying], earlier(deadline, clock_monotonic_ms() + HOST_MS));
        hosts->at = r == 0 ? hosts->trying : (hosts->trying + 1) % hosts->n;
        *ret_refused += r == ERROR_CONFIG;
        /* When the time is over, the next call begins where this one ended. */
        if (r == 0 || clock_monotonic_ms() >= deadline)
            break;
    }
    return r;
}

/* A former primary that is back must not end a service whose good host is there, or only away for
 * a while: it takes a refusal by all of them, in one round. */
static int connect_now(struct db *db)
{
    int64_t deadline =
        earlier(clock_monotonic_ms() + CONNECT_MS, db->deadline_ms ? db->deadline_ms : INT64_MAX);
    unsigned n = db->hosts.n, n_refused = 0;
    int r;

    if (n == 0) {
        n = 1;
        r = connect_to(db, NULL, deadline);
        n_refused = r == ERROR_CONFIG;
    } else {
        r = connect_one_of(db, deadline, &n_refused);
    }
    if (n_refused == n)
        db_guard_end(db->guard);
    return r == ERROR_CONFIG && n_refused < n ? ERROR_DB : r;
}

/** Whether the other end went away while we were not looking. Nothing is sent for it. */
static bool is_dead(struct db *db)
{
    struct pollfd pfd = {.fd = PQsocket(db->conn), .events = POLLIN};

    while (PQstatus(db->conn) == CONNECTION_OK && !db->session_ended) {
        if (poll(&pfd, 1, 0) <= 0)
            return false;
        if (!PQconsumeInput(db->conn))
            return true;
        (void)PQisBusy(db->conn); /* parses what came */
    }
    return true;
}

static int connect_counted(struct db *db)
{
    int r = connect_now(db);

    db->counted = r == 0;
    db_count(r == 0 ? DB_COUNT_CONNECTED : DB_COUNT_NOT_CONNECTED, 1);
    if (r == 0)
        db_count(DB_COUNT_OPEN, 1);
    return r;
}

int db_ready(struct db *db)
{
    if (db->conn && is_dead(db)) {
        bool lost = db->in_transaction;

        db_drop(db);
        if (lost)
            return error_set(ERROR_DB, "database: the connection was lost inside a transaction");
    }
    return db->conn ? 0 : connect_counted(db);
}

struct db_params *db_params_of(struct db *db)
{
    db_params_begin(&db->params);
    return &db->params;
}

int db_prepare(struct db *db, enum db_statement_id id)
{
    const struct db_statement *s = db_statement_at(id);
    Oid types[DB_PARAMS_MAX];
    PGresult *result = NULL;
    int r;

    r = db_ready(db);
    if (r < 0)
        return r;
    if (db->prepared[id])
        return 0;
    for (size_t i = 0; i < s->n_params; i++)
        types[i] = (Oid)s->params[i];
    r = finish(
        db, PQsendPrepare(db->conn, s->name, s->sql, (int)s->n_params, types), false, &result);
    if (r < 0)
        return r;
    PQclear(result);
    db->prepared[id] = true;
    return 0;
}

static int check_params(const struct db *db, const struct db_statement *s)
{
    bool good = db_params_good(&db->params) && db->params.n == s->n_params;

    if (db->params.no_memory)
        return error_set(ERROR_SYSTEM, "database: no memory for statement %s", s->name);
    for (size_t i = 0; good && i < s->n_params; i++)
        good = db->params.params[i].type == s->params[i];
    if (!good)
        return error_set(ERROR_INTERNAL, "database: wrong parameters for statement %s", s->name);
    return 0;
}

static int send(struct db *db, const struct db_statement *s)
{
    const char *values[DB_PARAMS_MAX];
    int lengths[DB_PARAMS_MAX], formats[DB_PARAMS_MAX];

    for (size_t i = 0; i < s->n_params; i++) {
        const struct db_param *p = &db->params.params[i];

        /* An empty value is not null: it needs a pointer even where no byte was ever written. */
        values[i] = p->is_null        ? NULL
                    : db->params.data ? (const char *)db->params.data + p->at
                                      : "";
        lengths[i] = (int)p->len;
        formats[i] = 1;
    }
    return PQsendQueryPrepared(db->conn, s->name, (int)s->n_params, values, lengths, formats, 1);
}

int db_run(struct db *db, enum db_statement_id id, struct db_rows *ret)
{
    const struct db_statement *s = db_statement_at(id);
    bool commits = s->commits && !db->in_transaction;
    CLEANUP(db_rows_done) struct db_rows rows = {0};
    int r;

    r = check_params(db, s);
    if (r == 0)
        r = db_prepare(db, id);
    if (r < 0)
        return r;
    db->standby_wait_ended = false;
    r = finish(db, send(db, s), commits, &rows.result);
    if (r < 0)
        return r;
    rows.n = (size_t)PQntuples(rows.result);
    if ((s->shape == DB_SHAPE_ONE && rows.n != 1) ||
        (s->shape == DB_SHAPE_ONE_OR_NONE && rows.n > 1))
        return error_set(ERROR_INTERNAL, "database: statement %s gave %zu rows", s->name, rows.n);
    *ret = rows;
    rows = (struct db_rows){0};
    return 0;
}

int db_run_quiet(struct db *db, enum db_statement_id id)
{
    CLEANUP(db_rows_done) struct db_rows rows = {0};

    return db_run(db, id, &rows);
}

bool db_notified(struct db *db)
{
    bool any = false;
    PGnotify *notify;

    while ((notify = PQnotifies(db->conn))) {
        any = true;
        PQfreemem(notify);
    }
    return any;
}

int db_listen(struct db *db, const char *channel)
{
    char sql[SESSION_SQL_MAX];
    int r;

    (void)snprintf(sql, sizeof(sql), "LISTEN %s", channel);
    r = db_exec(db, sql, false);
    if (r == 0)
        db->listening = channel;
    return r;
}

int db_wait(struct db *db, int timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;

    if (!db->conn) {
        /* Whatever was announced while we were away was missed: look. */
        int r = db_ready(db);

        return r < 0 ? r : 1;
    }
    for (;;) {
        struct pollfd pfd = {.fd = PQsocket(db->conn), .events = POLLIN};
        int64_t left = deadline - clock_monotonic_ms();
        int n;

        if (db_notified(db))
            return 1;
        n = poll(&pfd, 1, left > 0 ? (int)left : 0);
        if (n < 0 && errno != EINTR)
            return error_set_errno("database: poll");
        if (n == 0)
            return 0;
        if (n > 0 && !PQconsumeInput(db->conn)) {
            db_drop(db);
            return error_set(ERROR_DB, "database: the connection that listens was lost");
        }
    }
}
