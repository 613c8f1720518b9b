/* cradle-keyd-host: starts key processes for one service, so that they run as another user than the
 * service does. It alone says which token they open, with which PIN, and what they may be asked;
 * the service only says how many threads it has. It handles no key, PIN or token itself.
 *
 * One process, one thread: whoever connects is looked at (SO_PEERCRED) and given a cradle-keyd that
 * has the connection (hsm/hosting.h). When the host ends, so do they. */
#include "base/error.h"
#include "base/log.h"
#include "base/manager.h"
#include "base/program.h"
#include "base/secret.h"
#include "base/shortage.h"
#include "hsm/client.h"
#include "hsm/pool_process.h"
#include "hsm/settings.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define FD_CONNECTION 3 /* the child's only descriptor besides the first three */
#define BACKLOG 64
#define WATCH_MS 1000
#define ACCEPT_REST_MS 50
#define ARGUMENTS_MAX 17

struct settings {
    char *socket;
    char *service_user;
    char *service;
    unsigned processes;
    struct hsm_token_settings tokens;
    char *keyd;
    bool plain_keys;
    bool export;
    char *log_level, *log_format;
};

#define AT(member) offsetof(struct settings, member)

static const struct config_setting settings_table[] = {
    {"host.socket", NULL, CONFIG_TEXT, AT(socket), "", 0, 0,
        "path to listen on; empty: the service manager hands a socket over"},
    {"host.service_user", NULL, CONFIG_TEXT, AT(service_user), NULL, 0, 0,
        "the user who may ask for key processes"},
    {"host.service", NULL, CONFIG_TEXT, AT(service), NULL, 0, 0,
        "joinserver or activation: what they may be asked"},
    {"host.processes", NULL, CONFIG_UNSIGNED, AT(processes), "64", 1, 1024,
        "key processes at once; each is replaced by a second one now and then"},
    HSM_TOKEN_SETTINGS(struct settings, tokens),
    {"hsm.keyd", NULL, CONFIG_TEXT, AT(keyd), "/usr/libexec/cradle/cradle-keyd", 0, 0,
        "path of cradle-keyd"},
    {"hsm.plain_keys", NULL, CONFIG_BOOL, AT(plain_keys), "false", 0, 0,
        "whether session keys may leave in clear where the join server asks for it"},
    {"hsm.export", NULL, CONFIG_BOOL, AT(export), "false", 0, 0,
        "whether root keys may leave sealed where the activation service asks for it"},
    {"log.level", NULL, CONFIG_TEXT, AT(log_level), "info", 0, 0, "debug, info, warn or error"},
    {"log.format", NULL, CONFIG_TEXT, AT(log_format), "text", 0, 0,
        "text, or json: an object a line"},
};
#define N_SETTINGS (sizeof(settings_table) / sizeof(settings_table[0]))

static const struct {
    const char *service;
    unsigned verbs;
} services[] = {
    {"joinserver", KEYD_VERBS_OF_JOINSERVER},
    {"activation", KEYD_VERBS_OF_ACTIVATION},
};

struct host {
    struct settings settings;
    uid_t service_uid;
    char verbs[KEYD_VERBS_TEXT_MAX];
    unsigned n_tokens;
    int listener;
    int signals;
    unsigned n_running;
};

static int check_tokens(struct host *host)
{
    const struct hsm_token_settings *tokens = &host->settings.tokens;
    const struct keyd_second_token second = hsm_second_of(tokens);

    return hsm_tokens_check(tokens->uri, tokens->lock_file, &second, &host->n_tokens);
}

static int find_service(struct host *host)
{
    const struct settings *s = &host->settings;
    char buffer[4096];
    struct passwd entry, *found = NULL;

    if (getpwnam_r(s->service_user, &entry, buffer, sizeof(buffer), &found) != 0 || found == NULL)
        return error_set(ERROR_CONFIG, "host.service_user: there is no user %s", s->service_user);
    host->service_uid = found->pw_uid;
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
        if (strcmp(services[i].service, s->service) == 0)
            return keyd_verbs_format(
                services[i].verbs | (s->export ? KEYD_MAY(KEYD_VERB_EXPORT_KEY) : 0), host->verbs);
    return error_set(
        ERROR_CONFIG, "host.service must be joinserver or activation, not \"%.20s\"", s->service);
}

/* The folder says who may come as far as the socket; who may ask is looked at with each. */
static int listen_on(const char *path, int *ret)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP(cleanup_close)
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(ERROR_CONFIG, "host.socket is longer than a socket's path may be");
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (fd < 0)
        return error_set_errno("cannot make a socket");
    (void)unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || chmod(path, 0666) != 0 ||
        listen(fd, BACKLOG) != 0)
        return error_set(
            shortage_or(ERROR_CONFIG), "cannot listen on %s: %s", path, strerror(errno));
    *ret = fd;
    fd = -1;
    return 0;
}

static int open_listener(struct host *host)
{
    host->listener = manager_take_family(AF_UNIX);
    if (host->listener >= 0)
        return 0;
    if (host->settings.socket[0] == '\0')
        return error_set(ERROR_CONFIG,
            "setting host.socket is missing, and no service manager has handed a socket over");
    return listen_on(host->settings.socket, &host->listener);
}

static int open_signals(struct host *host)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    host->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return host->signals >= 0 ? 0 : error_set_errno("cannot wait for signals");
}

/* --- one key process -------------------------------------------------------------------------- */

static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) |
           posix_spawnattr_setsigmask(attributes, &none) |
           posix_spawnattr_setsigdefault(attributes, &all);
}

/* Both tokens are told: which one is opened, the service says to keyd itself. */
static void make_arguments(const struct host *host, char *ret[static ARGUMENTS_MAX + 1])
{
    const struct settings *s = &host->settings;
    const bool two = host->n_tokens > 1;
    const struct {
        bool wanted;
        const char *name, *value;
    } arguments[] = {
        {true, "--hosted", NULL},
        {true, "--uri", s->tokens.uri},
        {true, "--lock", s->tokens.lock_file},
        {two, "--uri-2", s->tokens.uri_2},
        {two, "--lock-2", s->tokens.lock_file_2},
        {two && s->tokens.softhsm2_conf_2[0] != '\0', "--softhsm2-conf-2",
            s->tokens.softhsm2_conf_2},
        {true, "--verbs", host->verbs},
        {s->plain_keys, "--plain-keys", NULL},
    };
    size_t n = 0;

    _Static_assert(2 * sizeof(arguments) / sizeof(arguments[0]) < ARGUMENTS_MAX, "they have room");
    ret[n++] = (char *)(uintptr_t) "cradle-keyd";
    for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
        if (arguments[i].wanted)
            ret[n++] = (char *)(uintptr_t)arguments[i].name;
        if (arguments[i].wanted && arguments[i].value != NULL)
            ret[n++] = (char *)(uintptr_t)arguments[i].value;
    }
    ret[n] = NULL;
}

static int spawn(const struct host *host, int connection)
{
    const struct settings *s = &host->settings;
    char *argv[ARGUMENTS_MAX + 1];
    CLEANUP(cleanup_free) char **environment = pool_process_environment(environ, NULL);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    pid_t pid;
    int r;

    if (environment == NULL)
        return ENOMEM;
    make_arguments(host, argv);
    if (posix_spawnattr_init(&attributes) != 0)
        return ENOMEM;
    if (posix_spawn_file_actions_init(&actions) != 0) {
        (void)posix_spawnattr_destroy(&attributes);
        return ENOMEM;
    }
    r = set_attributes(&attributes);
    r |= posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    r |= posix_spawn_file_actions_adddup2(&actions, 2, 1);
    r |= posix_spawn_file_actions_adddup2(&actions, connection, FD_CONNECTION);
    r |= posix_spawn_file_actions_addclosefrom_np(&actions, FD_CONNECTION + 1);
    r = r == 0 ? posix_spawn(&pid, s->keyd, &actions, &attributes, argv, environment) : ENOMEM;
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    return r;
}

static bool may_ask(const struct host *host, int connection)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof(peer);

    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
        peer.uid == host->service_uid)
        return true;
    log_warn("user %u asked for a key process and gets none: only %s does", (unsigned)peer.uid,
        host->settings.service_user);
    return false;
}

static void serve_one(struct host *host)
{
    CLEANUP(cleanup_close) int taken = accept4(host->listener, NULL, NULL, SOCK_CLOEXEC);
    CLEANUP(cleanup_close) int high = -1;
    int r;

    if (taken < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            (void)poll(NULL, 0, ACCEPT_REST_MS); /* no descriptor: who waits is there still */
        return;
    }
    if (!may_ask(host, taken))
        return;
    if (host->n_running >= host->settings.processes) {
        log_warn("%u key processes run already: no more than host.processes", host->n_running);
        return;
    }
    high = fcntl(taken, F_DUPFD_CLOEXEC, FD_CONNECTION + 1); /* so that dup2 clears its flag */
    r = high < 0 ? errno : spawn(host, high);
    if (r != 0)
        log_error("%s cannot be started: %s", host->settings.keyd, strerror(r));
    else
        host->n_running++;
}

static void reap(struct host *host)
{
    int status;

    while (waitpid(-1, &status, WNOHANG) > 0)
        host->n_running--;
}

/* False when it is to end. */
static bool handle_signals(struct host *host)
{
    struct signalfd_siginfo info;
    bool go_on = true;

    while (read(host->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        go_on = go_on && info.ssi_signo == SIGCHLD;
    reap(host);
    return go_on;
}

static void serve(struct host *host)
{
    struct pollfd polls[2] = {
        {.fd = host->signals, .events = POLLIN}, {.fd = host->listener, .events = POLLIN}};

    do {
        manager_watch(true, NULL); /* one thread: that it is here is what there is to prove */
        (void)poll(polls, 2, WATCH_MS);
        if (polls[1].revents != 0)
            serve_one(host);
    } while (handle_signals(host));
}

static int run(struct host *host)
{
    int r;

    if ((r = secret_process_harden(0, NULL)) < 0 || (r = check_tokens(host)) < 0 ||
        (r = find_service(host)) < 0 || (r = open_signals(host)) < 0 ||
        (r = open_listener(host)) < 0)
        return r;
    manager_close_rest();
    if (access(host->settings.keyd, X_OK) != 0)
        return error_set(
            ERROR_CONFIG, "%s cannot be run: %s", host->settings.keyd, strerror(errno));
    log_info("key processes for %s on %u HSM token%s, asked for by user %s", host->settings.service,
        host->n_tokens, host->n_tokens == 1 ? "" : "s", host->settings.service_user);
    manager_tell("READY=1");
    serve(host);
    manager_tell("STOPPING=1");
    return 0;
}

int main(int argc, char **argv)
{
    static const struct program program = {
        .name = "cradle-keyd-host",
        .about = "Starts key processes for a service of another user until SIGTERM or SIGINT.",
        .table = settings_table,
        .n_settings = N_SETTINGS,
        .log_level_offset = AT(log_level),
        .log_format_offset = AT(log_format),
    };
    struct host host = {.listener = -1, .signals = -1};
    int r = program_start(&program, argc, argv, &host.settings);

    if (r > 0)
        return EXIT_SUCCESS;
    if (r == 0)
        r = run(&host);
    if (r < 0)
        log_error("cannot start or go on: %s", error_text());
    config_done(settings_table, N_SETTINGS, &host.settings);
    return program_exit_status(r);
}
