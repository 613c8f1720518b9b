#include "tests/support/postgres.h"

#include "base/text.h"
#include "db/migrate.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define POSTGRES_ROOT "/usr/lib/postgresql"
#define POSTGRES_VERSION_MIN 15
#define TEMPLATE "cradle_template"
#define FOLDER_NAME "/cradle-XXXXXX"
#define FOLDER_MAX 72 /* with the socket's own name still below 90 bytes */
#define PATH_SIZE 256
#define ARGS_MAX 48
#define STARTS_IN_MS 60000
#define STOPS_IN_MS 20000
#define LOOK_AGAIN_MS 10
#define MAP_SIZE 64
#define REMOVE_FDS 16

/* How PostgreSQL is kept from being root. */
enum identity { AS_WE_ARE, AS_NAMESPACE, AS_POSTGRES };

struct pg_cluster {
    char folder[FOLDER_MAX];
    char bin[PATH_SIZE];
    enum identity identity;
    uid_t uid;
    gid_t gid;
    pid_t postmaster;
};

static int complain(const char *what)
{
    fprintf(stderr, "postgres for tests: %s: %s\n", what, strerror(errno));
    return -1;
}

static int write_file(const char *path, const char *text)
{
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? write(fd, text, strlen(text)) : -1;

    return n == (ssize_t)strlen(text) ? 0 : -1;
}

/** Leaves root for a namespace in which our files are those of the user postgres. */
static int enter_namespace(uid_t uid, gid_t gid)
{
    uid_t outer_uid = geteuid();
    gid_t outer_gid = getegid();
    char map[MAP_SIZE];

    if (unshare(CLONE_NEWUSER) < 0 || write_file("/proc/self/setgroups", "deny") < 0)
        return -1;
    snprintf(map, sizeof(map), "%u %u 1", gid, outer_gid);
    if (write_file("/proc/self/gid_map", map) < 0)
        return -1;
    snprintf(map, sizeof(map), "%u %u 1", uid, outer_uid);
    return write_file("/proc/self/uid_map", map);
}

static int take_identity(const struct pg_cluster *c, enum identity identity)
{
    switch (identity) {
    case AS_WE_ARE:
        return 0;
    case AS_NAMESPACE:
        return enter_namespace(c->uid, c->gid);
    case AS_POSTGRES:
        return setgroups(0, NULL) < 0 || setgid(c->gid) < 0 || setuid(c->uid) < 0 ? -1 : 0;
    }
    return -1;
}

/** Not every kernel lets us have a user namespace: ask by trying. */
static int choose_identity(struct pg_cluster *c)
{
    const struct passwd *user;
    pid_t pid;
    int status = 0;

    c->identity = AS_WE_ARE;
    if (geteuid() != 0)
        return 0;
    user = getpwnam("postgres");
    if (!user)
        return complain("no user postgres");
    c->uid = user->pw_uid;
    c->gid = user->pw_gid;
    pid = fork();
    if (pid < 0)
        return complain("fork");
    if (pid == 0)
        _exit(take_identity(c, AS_NAMESPACE) == 0 ? 0 : 1);
    if (waitpid(pid, &status, 0) < 0)
        return complain("waitpid");
    c->identity = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? AS_NAMESPACE : AS_POSTGRES;
    return 0;
}

/** In TMPDIR, unless it is too long for a socket's path (107 bytes) or PostgreSQL's user, who is
 * not us, may be kept out of it. */
static int make_folder(struct pg_cluster *c)
{
    const char *parent = getenv("TMPDIR");

    if (!parent || *parent != '/' || c->identity == AS_POSTGRES ||
        strlen(parent) + sizeof(FOLDER_NAME) > sizeof(c->folder))
        parent = "/tmp";
    snprintf(c->folder, sizeof(c->folder), "%s%s", parent, FOLDER_NAME);
    if (!mkdtemp(c->folder)) {
        complain(c->folder);
        c->folder[0] = '\0';
        return -1;
    }
    if (c->identity == AS_POSTGRES && chown(c->folder, c->uid, c->gid) < 0)
        return complain(c->folder);
    return 0;
}

static int find_binaries(struct pg_cluster *c)
{
    DIR *versions = opendir(POSTGRES_ROOT);
    const struct dirent *entry;
    long best = 0;

    if (!versions)
        return complain(POSTGRES_ROOT);
    while ((entry = readdir(versions))) {
        long version = strtol(entry->d_name, NULL, 10);
        char path[PATH_SIZE + sizeof("/initdb")];
        char bin[PATH_SIZE];

        snprintf(bin, sizeof(bin), "%s/%.200s/bin", POSTGRES_ROOT, entry->d_name);
        snprintf(path, sizeof(path), "%s/initdb", bin);
        if (version < POSTGRES_VERSION_MIN || version <= best || access(path, X_OK) < 0)
            continue;
        best = version;
        memcpy(c->bin, bin, sizeof(bin));
    }
    closedir(versions);
    if (best)
        return 0;
    errno = ENOENT;
    return complain("PostgreSQL 15 or newer");
}

/** Runs `bin`/argv[0] with its output in the folder's log; returns the pid. */
static pid_t spawn(const struct pg_cluster *c, char *argv[])
{
    pid_t parent = getpid();
    char program[PATH_SIZE * 2], log[PATH_SIZE];
    pid_t pid;

    snprintf(program, sizeof(program), "%s/%s", c->bin, argv[0]);
    snprintf(log, sizeof(log), "%s/log", c->folder);
    pid = fork();
    if (pid == 0) {
        int fd;

        if (take_identity(c, c->identity) < 0)
            _exit(126);
        /* Set after the change of identity, which clears it. SIGQUIT: immediate shutdown. */
        if (prctl(PR_SET_PDEATHSIG, SIGQUIT) < 0 || getppid() != parent)
            _exit(126);
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
            _exit(126);
        if (chdir(c->folder) < 0)
            _exit(126);
        /* By its path: PostgreSQL's programs look for each other where argv[0] says they are. */
        argv[0] = program;
        execv(program, argv);
        _exit(127);
    }
    return pid;
}

static void show_log(const struct pg_cluster *c)
{
    char path[PATH_SIZE], line[PATH_SIZE];
    FILE *log;

    snprintf(path, sizeof(path), "%s/log", c->folder);
    log = fopen(path, "re");
    while (log && fgets(line, sizeof(line), log))
        fputs(line, stderr);
    if (log)
        fclose(log);
}

static int init_cluster(const struct pg_cluster *c)
{
    char program[] = "initdb", dir_flag[] = "-D", trust[] = "--auth=trust",
         user[] = "--username=postgres", encoding[] = "--encoding=UTF8", locale[] = "--locale=C",
         no_sync[] = "--no-sync", quiet[] = "--no-instructions";
    char data[PATH_SIZE];
    char *argv[] = {program, dir_flag, data, trust, user, encoding, locale, no_sync, quiet, NULL};
    int status = 0;
    pid_t pid;

    snprintf(data, sizeof(data), "%s/data", c->folder);
    pid = spawn(c, argv);
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return complain("initdb");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    show_log(c);
    errno = ECANCELED;
    return complain("initdb");
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

int pg_cluster_resume(struct pg_cluster *c)
{
    static const char *const settings[] = {
        "listen_addresses=",
        "fsync=on",
        "full_page_writes=on",
        "synchronous_commit=on",
        "max_connections=150",
        "shared_buffers=64MB",
        "deadlock_timeout=200ms",
        "log_min_messages=warning",
        "autovacuum_naptime=10s",
    };
    char program[] = "postgres", dir_flag[] = "-D", set_flag[] = "-c";
    char data[PATH_SIZE], socket_dir[PATH_SIZE], conninfo[PG_CONNINFO_MAX];
    char copies[sizeof(settings) / sizeof(*settings)][MAP_SIZE];
    char *argv[ARGS_MAX];
    size_t n = 0;

    snprintf(data, sizeof(data), "%s/data", c->folder);
    snprintf(socket_dir, sizeof(socket_dir), "unix_socket_directories=%s", c->folder);
    argv[n++] = program;
    argv[n++] = dir_flag;
    argv[n++] = data;
    argv[n++] = set_flag;
    argv[n++] = socket_dir;
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        snprintf(copies[i], sizeof(copies[i]), "%s", settings[i]);
        argv[n++] = set_flag;
        argv[n++] = copies[i];
    }
    argv[n] = NULL;
    c->postmaster = spawn(c, argv);
    if (c->postmaster < 0)
        return complain("postgres");
    pg_conninfo(c, "postgres", "postgres", conninfo);
    for (int waited = 0; waited < STARTS_IN_MS; waited += LOOK_AGAIN_MS) {
        if (PQping(conninfo) == PQPING_OK)
            return 0;
        if (waitpid(c->postmaster, NULL, WNOHANG) == c->postmaster) {
            c->postmaster = 0;
            break;
        }
        pause_ms(LOOK_AGAIN_MS);
    }
    show_log(c);
    errno = ETIMEDOUT;
    return complain("postgres does not start");
}

static int migrate_template(const struct pg_cluster *c)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(text_done) struct text report = {0};
    char conninfo[PG_CONNINFO_MAX];
    struct db_config config = {
        .program = "tests", .conninfo = pg_conninfo(c, TEMPLATE, "cradle_owner", conninfo)};

    if (db_open(&config, &db) == 0 && db_migrate(db, &report) == 0)
        return 0;
    fprintf(stderr, "postgres for tests: %s\n", error_text());
    return -1;
}

static int set_up(struct pg_cluster *c)
{
    static const char *const statements[] = {
        "CREATE ROLE cradle_owner LOGIN",
        "CREATE ROLE cradle_join LOGIN",
        "CREATE ROLE cradle_activation LOGIN",
        "CREATE DATABASE " TEMPLATE " OWNER cradle_owner",
    };

    if (choose_identity(c) < 0 || find_binaries(c) < 0 || make_folder(c) < 0 ||
        init_cluster(c) < 0 || pg_cluster_resume(c) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++)
        if (pg_sql(c, "postgres", statements[i]) < 0)
            return -1;
    return migrate_template(c);
}

int pg_cluster_start(struct pg_cluster **ret)
{
    struct pg_cluster *c = calloc(1, sizeof(*c));

    if (!c)
        return complain("memory");
    if (set_up(c) < 0) {
        pg_cluster_stop(c);
        return -1;
    }
    *ret = c;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void pg_cluster_stop(struct pg_cluster *c)
{
    if (!c)
        return;
    if (c->postmaster > 0) {
        int waited = 0;

        kill(c->postmaster, SIGINT);
        while (waitpid(c->postmaster, NULL, WNOHANG) == 0 && waited < STOPS_IN_MS) {
            pause_ms(LOOK_AGAIN_MS);
            waited += LOOK_AGAIN_MS;
        }
        if (waited >= STOPS_IN_MS)
            pg_cluster_kill(c);
    }
    if (c->folder[0] != '\0')
        (void)nftw(c->folder, remove_entry, REMOVE_FDS, FTW_DEPTH | FTW_PHYS);
    free(c);
}

void pg_cluster_kill(struct pg_cluster *c)
{
    char path[PATH_SIZE];

    kill(c->postmaster, SIGKILL);
    waitpid(c->postmaster, NULL, 0);
    c->postmaster = 0;
    /* Backends outlive it for a moment; each holds the shared memory a new one asks about. It
     * counts whoever still runs in the data folder. */
    snprintf(path, sizeof(path), "%s/data", c->folder);
    for (int waited = 0; waited < STOPS_IN_MS; waited += LOOK_AGAIN_MS) {
        DIR *processes = opendir("/proc");
        const struct dirent *entry;
        bool any = false;

        while (processes && !any && (entry = readdir(processes))) {
            char link[PATH_SIZE * 2], target[PATH_SIZE];
            ssize_t n;

            snprintf(link, sizeof(link), "/proc/%.200s/cwd", entry->d_name);
            n = readlink(link, target, sizeof(target) - 1);
            if (n > 0) {
                target[n] = '\0';
                any = strcmp(target, path) == 0;
            }
        }
        if (processes)
            closedir(processes);
        if (!any)
            return;
        pause_ms(LOOK_AGAIN_MS);
    }
}

const char *pg_cluster_folder(const struct pg_cluster *c)
{
    return c->folder;
}

int pg_clone(struct pg_cluster *c, const char *name)
{
    char sql[PATH_SIZE];

    snprintf(
        sql, sizeof(sql), "CREATE DATABASE %.60s TEMPLATE " TEMPLATE " OWNER cradle_owner", name);
    return pg_sql(c, "postgres", sql);
}

int pg_create(struct pg_cluster *c, const char *name)
{
    char sql[PATH_SIZE];

    snprintf(sql, sizeof(sql), "CREATE DATABASE %.60s OWNER cradle_owner", name);
    return pg_sql(c, "postgres", sql);
}

const char *pg_conninfo(const struct pg_cluster *c, const char *database, const char *role,
    char out[static PG_CONNINFO_MAX])
{
    snprintf(out, PG_CONNINFO_MAX, "host=%s dbname=%.60s user=%.60s", c->folder, database, role);
    return out;
}

/** Runs one statement as a role; the caller clears the result. */
static PGresult *run(
    const struct pg_cluster *c, const char *database, const char *role, const char *sql)
{
    char conninfo[PG_CONNINFO_MAX];
    PGconn *conn = PQconnectdb(pg_conninfo(c, database, role, conninfo));
    PGresult *result = PQexec(conn, sql);

    if (!result)
        fprintf(stderr, "postgres for tests: %s", PQerrorMessage(conn));
    PQfinish(conn);
    return result;
}

static bool worked(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

void pg_try(const struct pg_cluster *c, const char *database, const char *role, const char *sql,
    char sqlstate[static 6])
{
    PGresult *result = run(c, database, role, sql);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    snprintf(sqlstate, 6, "%s", worked(result) ? "00000" : state ? state : "?????");
    PQclear(result);
}

/** As superuser; complains when it fails, and gives NULL. */
static PGresult *run_well(const struct pg_cluster *c, const char *database, const char *sql)
{
    PGresult *result = run(c, database, "postgres", sql);

    if (worked(result))
        return result;
    fprintf(stderr, "postgres for tests: %s: %s", sql, PQresultErrorMessage(result));
    PQclear(result);
    return NULL;
}

int pg_sql(const struct pg_cluster *c, const char *database, const char *sql)
{
    PGresult *result = run_well(c, database, sql);

    PQclear(result);
    return result ? 0 : -1;
}

int64_t pg_number(const struct pg_cluster *c, const char *database, const char *sql)
{
    PGresult *result = run_well(c, database, sql);
    int64_t number = INT64_MIN;

    if (result && PQntuples(result) > 0 && !PQgetisnull(result, 0, 0))
        number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return number;
}

char *pg_text(const struct pg_cluster *c, const char *database, const char *sql)
{
    PGresult *result = run_well(c, database, sql);
    struct text text = {0};

    text_add(&text, "");
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < PQnfields(result); column++)
            text_addf(&text, "%s ", PQgetvalue(result, row, column));
        text_add(&text, "\n");
    }
    PQclear(result);
    return text.data;
}
