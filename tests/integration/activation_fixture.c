#include "tests/integration/activation_fixture.h"

#include "base/error.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_TIMEOUT_S 150
#define ARGS_MAX 24
#define OUTPUT_MAX 2048
#define ANSWER_SECONDS 60
#define EXEC_FAILED 127

struct pg_cluster *act_cluster;
struct softhsm act_hsm;
struct act_test_client act_maker, act_admin;

static char cradle_ini[200], service_ini[200], service_log[200], secret_file[200];
static struct act_test_client root; /* as whom `cradle` calls; "" before it is made */
static pid_t service_pid;
static unsigned service_port;

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, strlen(text), file), strlen(text));
    ck_assert_int_eq(fclose(file), 0);
}

static size_t read_all(int fd, char *out, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while (len + 1 < size && (n = read(fd, out + len, size - len - 1)) > 0)
        len += (size_t)n;
    out[len] = '\0';
    return len;
}

/* Anew whenever the service has another port. */
static void write_cradle_ini(void)
{
    char owner[PG_CONNINFO_MAX], activation[PG_CONNINFO_MAX], text[4096];

    (void)pg_conninfo(act_cluster, ACT_DATABASE, "cradle_owner", owner);
    (void)pg_conninfo(act_cluster, ACT_DATABASE, "cradle_activation", activation);
    (void)snprintf(text, sizeof(text),
        "[database]\nowner_conninfo = %s\nconninfo = %s\n[hsm]\nuri = %s\nlock_file = %s\n"
        "[activation]\nurl = http://127.0.0.1:%u\nclient_id = %s\nclient_secret_file = %s\n",
        owner, activation, act_hsm.uri, act_hsm.lock_file, service_port, root.id, secret_file);
    write_file(cradle_ini, text);
}

static void write_configurations(void)
{
    char activation[PG_CONNINFO_MAX], text[4096];

    (void)pg_conninfo(act_cluster, ACT_DATABASE, "cradle_activation", activation);
    (void)snprintf(secret_file, sizeof(secret_file), "%s/client_secret", act_hsm.dir);
    (void)snprintf(cradle_ini, sizeof(cradle_ini), "%s/cradle.ini", act_hsm.dir);
    (void)snprintf(service_ini, sizeof(service_ini), "%s/activation.ini", act_hsm.dir);
    (void)snprintf(service_log, sizeof(service_log), "%s/activation.log", act_hsm.dir);
    write_cradle_ini();
    (void)snprintf(text, sizeof(text),
        "[listener-plain]\nport = 0\n[database]\nconninfo = %s\n"
        "[hsm]\nuri = %s\nlock_file = %s\nkeyd = " KEYD_PROGRAM "\nprocesses = 1\n"
        "exchange_key = %s\n",
        activation, act_hsm.uri, act_hsm.lock_file, act_hsm.exchange_pem);
    write_file(service_ini, text);
}

int act_cradle(char *out, char *err, size_t size, const char *const *args)
{
    char *argv[ARGS_MAX] = {(char[]){"cradle"}, (char[]){"--config"}, cradle_ini};
    int outs[2], errs[2], status;
    pid_t pid;

    for (size_t i = 0; args[i] != NULL; i++) {
        ck_assert_uint_lt(i + 4, ARGS_MAX);
        argv[i + 3] = strdup(args[i]);
    }
    ck_assert_int_eq(pipe2(outs, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(errs, O_CLOEXEC), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)dup2(outs[1], STDOUT_FILENO);
        (void)dup2(errs[1], STDERR_FILENO);
        (void)execv(CRADLE_PROGRAM, argv);
        _exit(EXEC_FAILED);
    }
    (void)close(outs[1]);
    (void)close(errs[1]);
    (void)read_all(outs[0], out, size);
    (void)read_all(errs[0], err, size);
    (void)close(outs[0]);
    (void)close(errs[0]);
    for (size_t i = 3; argv[i] != NULL; i++)
        free(argv[i]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void act_member(const char *json, const char *name, char *out, size_t size)
{
    char key[64];
    const char *at;
    size_t len;

    (void)snprintf(key, sizeof(key), "\"%s\":\"", name);
    at = strstr(json, key);
    ck_assert_msg(at != NULL, "no %s in %s", name, json);
    at += strlen(key);
    len = strcspn(at, "\"");
    ck_assert_uint_lt(len, size);
    memcpy(out, at, len);
    out[len] = '\0';
}

static void must(char *out, const char *const *args)
{
    char err[OUTPUT_MAX];
    int status = act_cradle(out, err, OUTPUT_MAX, args);

    ck_assert_msg(status == 0, "cradle %s: %d: %s", args[0], status, err);
}

static void make_client(const char *verb, const char *role, struct act_test_client *ret)
{
    char out[OUTPUT_MAX];

    /* Each in an organization of its own. */
    must(out, (const char *const[]){verb, "add", "--organization", role, "--role", role, NULL});
    act_member(out, "client_id", ret->id, sizeof(ret->id));
    act_member(out, "client_secret", ret->secret, sizeof(ret->secret));
}

static pid_t spawn_service(const char *uri, const char *set)
{
    char uri_set[700];
    pid_t parent = getpid();
    pid_t pid;

    (void)snprintf(uri_set, sizeof(uri_set), "hsm.uri=%s", uri);
    (void)unlink(service_log); /* an older run's port is not this one's */
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int log = open(service_log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || log < 0)
            _exit(EXEC_FAILED);
        (void)dup2(log, STDERR_FILENO);
        (void)execl(ACTIVATION_PROGRAM, "cradle-activation", "--config", service_ini, "--set",
            uri_set, set != NULL ? "--set" : (char *)NULL, set, (char *)NULL);
        _exit(EXEC_FAILED);
    }
    return pid;
}

/* The port stands in the log once the service listens. */
static bool find_port(void)
{
    char text[8192];
    int fd = open(service_log, O_RDONLY | O_CLOEXEC);
    const char *at;

    if (fd < 0)
        return false;
    (void)read_all(fd, text, sizeof(text));
    (void)close(fd);
    at = strstr(text, "listening ");
    at = at != NULL ? strstr(at, "port=") : NULL;
    if (at == NULL || strchr(at, '\n') == NULL)
        return false;
    service_port = (unsigned)strtoul(at + strlen("port="), NULL, 10);
    return true;
}

void act_start(const char *set)
{
    int status;

    service_pid = spawn_service(act_hsm.uri, set);
    while (!find_port()) {
        ck_assert_msg(waitpid(service_pid, &status, WNOHANG) == 0, "see %s", service_log);
        (void)usleep(20000);
    }
    write_cradle_ini();
}

int act_run_to_end(const char *uri)
{
    pid_t pid = spawn_service(uri, NULL);
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int act_stop(void)
{
    int status = 0;

    if (service_pid > 0) {
        (void)kill(service_pid, SIGTERM);
        (void)waitpid(service_pid, &status, 0);
    }
    service_pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void act_up(void)
{
    char out[OUTPUT_MAX];

    ck_assert_int_eq(pg_cluster_start(&act_cluster), 0);
    ck_assert_msg(softhsm_make(&act_hsm, true) == 0, "%s", error_text());
    ck_assert_int_eq(pg_create(act_cluster, ACT_DATABASE), 0);
    write_configurations();
    must(out, (const char *const[]){"migrate", NULL});
    make_client("admin", "operator", &root);
    write_file(secret_file, root.secret);
    act_start(NULL);
    must(out, (const char *const[]){
                  "ns", "add", "--name", "home", "--net-id", "000013", "--net-id", "000024", NULL});
    must(out, (const char *const[]){"as", "add", "--as-id", "demo-as", NULL});
    must(out, (const char *const[]){"route", "add", "20635f/24", NULL});
    make_client("client", "maker", &act_maker);
    ck_assert_int_eq(
        pg_sql(act_cluster, ACT_DATABASE, "UPDATE organization SET allow_clear_keys = true"), 0);
    make_client("client", "admin", &act_admin);
}

void act_down(void)
{
    (void)act_stop();
    softhsm_remove(&act_hsm);
    pg_cluster_stop(act_cluster);
}

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)service_port)};
    const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* False when the server closed: it may have answered all the same. */
static bool say(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

int act_begin(const char *target, const char *headers, size_t body_len)
{
    char head[1024];
    int fd = dial();
    int n = snprintf(head, sizeof(head),
        "POST %s HTTP/1.1\r\nHost: t\r\n%sContent-Length: %zu\r\n\r\n", target, headers, body_len);

    ck_assert(say(fd, head, (size_t)n));
    return fd;
}

/* In place; a broken one fails the test. */
static void join_chunks(char *body)
{
    const char *from = body;
    size_t len = 1;

    while (len > 0) {
        char *end;

        len = strtoul(from, &end, 16);
        ck_assert_msg(strncmp(end, "\r\n", 2) == 0, "no chunk: %.80s", from);
        ck_assert_uint_le(len, strlen(end + 2));
        memmove(body, end + 2, len);
        body += len;
        from = end + 2 + len;
        ck_assert_msg(strncmp(from, "\r\n", 2) == 0, "a chunk is cut: %.80s", from);
        from += 2;
    }
    *body = '\0';
}

void act_ask(const char *method, const char *target, const char *headers, const char *body,
    size_t body_len, struct act_test_answer *ret)
{
    const size_t size = 8u << 20;
    char head[2048];
    int fd = dial();
    int n = snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n%s",
        method, target, headers);

    if (body != NULL)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %zu\r\n", body_len);
    n += snprintf(head + n, sizeof(head) - (size_t)n, "\r\n");
    if (say(fd, head, (size_t)n) && body != NULL)
        (void)say(fd, body, body_len);
    ret->text = malloc(size);
    ck_assert_ptr_nonnull(ret->text);
    (void)read_all(fd, ret->text, size);
    (void)close(fd);
    ck_assert_msg(strncmp(ret->text, "HTTP/1.1 ", 9) == 0, "no answer: %.200s", ret->text);
    ret->status = (unsigned)strtoul(ret->text + 9, NULL, 10);
    ret->body = strstr(ret->text, "\r\n\r\n");
    ck_assert_ptr_nonnull(ret->body);
    ret->body += 4;
    if (strstr(ret->text, "\r\nTransfer-Encoding: chunked\r\n") != NULL)
        join_chunks(ret->text + (ret->body - ret->text));
}

void act_answer_done(struct act_test_answer *answer)
{
    free(answer->text);
    *answer = (struct act_test_answer){0};
}

const char *act_bearer(const struct act_test_client *client, char out[static 160])
{
    struct act_test_answer answer;
    char form[300], token[128];

    (void)snprintf(form, sizeof(form),
        "grant_type=client_credentials&client_id=%s&client_secret=%s", client->id, client->secret);
    act_ask("POST", "/v1/token", "Content-Type: application/x-www-form-urlencoded\r\n", form,
        strlen(form), &answer);
    ck_assert_msg(answer.status == 200, "%s", answer.text);
    act_member(answer.body, "access_token", token, sizeof(token));
    (void)snprintf(out, 160, "Authorization: Bearer %s\r\n", token);
    act_answer_done(&answer);
    return out;
}

void act_import(const char *query, const char *file, size_t len, struct act_test_answer *ret)
{
    char target[300], bearer[160];

    (void)snprintf(target, sizeof(target), "/v1/batches/import?%s", query);
    act_ask("POST", target, act_bearer(&act_maker, bearer), file, len, ret);
}

unsigned act_count(const struct act_test_answer *answer, const char *what)
{
    unsigned n = 0;

    for (const char *at = answer->body; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

int act_test_main(const char *name, const TTest *const *tests, size_t n_tests)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, TEST_TIMEOUT_S);
    tcase_add_unchecked_fixture(tcase, act_up, act_down);
    for (size_t i = 0; i < n_tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
