#include "hsm/pool_process.h"

#include "base/clock.h"
#include "base/error.h"
#include "hsm/hosting.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define FD_FIRST 3 /* the child's control socket; its channels follow */

_Static_assert(KEY_LIST_WIRE_MAX >= KEYD_HELLO_LEN, "what is read of one has room for the other");

#define SOFTHSM_CONF "SOFTHSM2_CONF="

/* SoftHSM is mostly malloc and free: a larger thread cache makes a join 10 % cheaper. For keyds
 * that are built without tcmalloc (option of the build), which knows no such setting. */
#define MALLOC_TUNING "GLIBC_TUNABLES=glibc.malloc.tcache_count=127"

static void close_all(int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (fds[i] >= 0)
            (void)close(fds[i]);
        fds[i] = -1;
    }
}

void pool_process_free(struct pool_process *process)
{
    if (process == NULL)
        return;
    if (process->channels != NULL)
        close_all(process->channels, process->n_channels);
    if (process->control >= 0)
        (void)close(process->control);
    if (process->pidfd >= 0)
        (void)close(process->pidfd);
    free(process->channels);
    free(process);
}

/* A message socket: what is sent comes whole or not at all. The child's side is moved above the
 * numbers it will get, so that putting one in place never closes another. */
static int make_pair(unsigned n_in_child, int *ret_ours, int *ret_theirs)
{
    int pair[2], high;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return error_set_errno("no socket for a key process");
    high = fcntl(pair[1], F_DUPFD_CLOEXEC, (int)(FD_FIRST + n_in_child));
    (void)close(pair[1]);
    if (high < 0) {
        (void)close(pair[0]);
        return error_set_errno("no socket for a key process");
    }
    *ret_ours = pair[0];
    *ret_theirs = high;
    return 0;
}

/* All that a token's module, the C library and our tests need; nothing that may hold a secret, as a
 * database password in PGPASSWORD. A name that ends in '_' stands for all that begin so. */
static const char *const kept_names[] = {"SOFTHSM2_CONF", "GLIBC_TUNABLES", "PATH", "LANG", "LC_",
    "TZ", "HOME", "CRADLE_", "P11_", "CREDENTIALS_DIRECTORY", "ASAN_OPTIONS", "UBSAN_OPTIONS",
    "LSAN_OPTIONS", "TSAN_OPTIONS"};

static bool is_kept(const char *entry)
{
    for (size_t i = 0; i < sizeof(kept_names) / sizeof(kept_names[0]); i++) {
        const size_t len = strlen(kept_names[i]);

        if (strncmp(entry, kept_names[i], len) == 0 &&
            (kept_names[i][len - 1] == '_' || entry[len] == '='))
            return true;
    }
    return false;
}

char **pool_process_environment(char *const *from, char *softhsm)
{
    size_t n = 0, n_kept = 0;
    char **copy;
    bool tuned = false;

    while (from[n] != NULL)
        n++;
    copy = calloc(n + 3, sizeof(*copy));
    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (!is_kept(from[i]) ||
            (softhsm != NULL && strncmp(from[i], SOFTHSM_CONF, strlen(SOFTHSM_CONF)) == 0))
            continue;
        copy[n_kept++] = from[i];
        if (strncmp(from[i], "GLIBC_TUNABLES=", strlen("GLIBC_TUNABLES=")) == 0)
            tuned = true;
    }
    if (softhsm != NULL)
        copy[n_kept++] = softhsm;
    if (!tuned)
        copy[n_kept] = (char *)(uintptr_t)MALLOC_TUNING;
    return copy;
}

/* The child gets its sockets, our standard error as its output, nothing as its input, no other
 * descriptor and a clean signal state. */
static int spawn(
    const struct pool_process_options *options, const int *theirs, unsigned n_theirs, pid_t *ret)
{
    char channels[16], memory[16], verbs[KEYD_VERBS_TEXT_MAX], softhsm[PATH_MAX + 16];
    char *argv[16] = {
        (char *)(uintptr_t) "cradle-keyd",
        (char *)(uintptr_t) "--uri",
        (char *)(uintptr_t)options->uri,
        (char *)(uintptr_t) "--lock",
        (char *)(uintptr_t)options->lock_file,
        (char *)(uintptr_t) "--memory-mib",
        memory,
        (char *)(uintptr_t) "--verbs",
        verbs,
    };
    const bool own_softhsm = options->softhsm_conf != NULL && options->softhsm_conf[0] != '\0';
    CLEANUP(cleanup_free)
    char **environment = pool_process_environment(environ, own_softhsm ? softhsm : NULL);
    size_t n_arguments = 9;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int r;

    if (environment == NULL)
        return error_set(ERROR_SYSTEM, "no memory");
    r = keyd_verbs_format(options->verbs, verbs);
    if (r < 0)
        return r;
    if (options->n_channels > 0) {
        argv[n_arguments++] = (char *)(uintptr_t) "--channels";
        argv[n_arguments++] = channels;
    } else {
        argv[n_arguments++] = (char *)(uintptr_t) "--probe";
    }
    if (options->plain_keys)
        argv[n_arguments++] = (char *)(uintptr_t) "--plain-keys";
    if (options->list_keys)
        argv[n_arguments++] = (char *)(uintptr_t) "--list-keys";
    if (own_softhsm)
        (void)snprintf(softhsm, sizeof(softhsm), SOFTHSM_CONF "%s", options->softhsm_conf);
    (void)snprintf(channels, sizeof(channels), "%u", options->n_channels);
    (void)snprintf(memory, sizeof(memory), "%u", options->memory_mib);
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    if (posix_spawnattr_init(&attributes) != 0)
        return error_set(ERROR_SYSTEM, "no memory");
    if (posix_spawn_file_actions_init(&actions) != 0) {
        (void)posix_spawnattr_destroy(&attributes);
        return error_set(ERROR_SYSTEM, "no memory");
    }
    r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    r |= posix_spawnattr_setsigmask(&attributes, &none);
    r |= posix_spawnattr_setsigdefault(&attributes, &all);
    r |= posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    r |= posix_spawn_file_actions_adddup2(&actions, 2, 1);
    for (unsigned i = 0; i < n_theirs; i++)
        r |= posix_spawn_file_actions_adddup2(&actions, theirs[i], (int)(FD_FIRST + i));
    r |= posix_spawn_file_actions_addclosefrom_np(&actions, (int)(FD_FIRST + n_theirs));
    if (r == 0)
        r = posix_spawn(ret, options->program, &actions, &attributes, argv, environment);
    else
        r = ENOMEM;
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    if (r == ENOENT || r == EACCES || r == ENOEXEC)
        return error_set(
            ERROR_CONFIG, "the key process %s cannot be run: %s", options->program, strerror(r));
    if (r != 0)
        return error_set(ERROR_SYSTEM, "a key process cannot be started: %s", strerror(r));
    return 0;
}

int pool_process_start(const struct pool_process_options *options, struct pool_process **ret)
{
    const unsigned n = 1 + options->n_channels;
    CLEANUP(cleanup_free) int *theirs = calloc(n, sizeof(*theirs));
    struct pool_process *p = calloc(1, sizeof(*p));
    int r = 0;

    if (theirs == NULL || p == NULL) {
        free(p);
        return error_set(ERROR_SYSTEM, "no memory");
    }
    *p = (struct pool_process){.pidfd = -1,
        .control = -1,
        .state = POOL_STARTING,
        .since_ms = clock_monotonic_ms(),
        .n_channels = options->n_channels,
        .channels = calloc(n, sizeof(int))};
    if (p->channels == NULL) {
        free(p);
        return error_set(ERROR_SYSTEM, "no memory");
    }
    for (unsigned i = 0; i < n; i++) {
        theirs[i] = -1;
        if (i > 0)
            p->channels[i - 1] = -1;
    }
    for (unsigned i = 0; r == 0 && i < n; i++)
        r = make_pair(n, i == 0 ? &p->control : &p->channels[i - 1], &theirs[i]);
    if (r == 0 && options->socket[0] != '\0')
        r = hosting_ask(options->socket, options->host_user,
            &(struct hosting_wish){.memory_mib = options->memory_mib,
                .verbs = options->verbs,
                .plain_keys = options->plain_keys,
                .token = options->token},
            theirs, n, &p->pidfd);
    else if (r == 0)
        r = spawn(options, theirs, n, &p->pid);
    close_all(theirs, n);
    if (r < 0) {
        pool_process_free(p);
        return r;
    }
    if (p->pid == 0) {
        *ret = p;
        return 0;
    }
    p->pidfd = pidfd_open(p->pid, 0);
    if (p->pidfd < 0) {
        r = error_set_errno("a key process cannot be watched");
        (void)kill(p->pid, SIGKILL);
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        pool_process_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

void pool_process_listen(struct pool_process *process)
{
    uint8_t bytes[KEY_LIST_WIRE_MAX];

    while (process->control >= 0 && !process->said_hello) {
        ssize_t n = recv(process->control, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n > 0 && hosting_tokens(bytes, (size_t)n) > 0) {
            process->host_tokens = hosting_tokens(bytes, (size_t)n);
        } else if (n > 0 && key_list_is(bytes, (size_t)n)) {
            process->said_keys = key_list_decode(bytes, (size_t)n, &process->keys) == 0;
        } else if (n > 0) {
            process->said_hello = keyd_hello_decode(bytes, (size_t)n, &process->hello) == 0;
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        } else {
            (void)close(process->control);
            process->control = -1;
        }
    }
}

void pool_process_kill(const struct pool_process *process)
{
    /* Another user's, which it is not for us to signal: it ends with its connection. */
    if (process->pid == 0) {
        (void)shutdown(process->pidfd, SHUT_RDWR);
        return;
    }
    /* By descriptor: the number cannot have become somebody else's. */
    (void)pidfd_send_signal(process->pidfd, SIGKILL, NULL, 0);
}

void pool_process_let_go(struct pool_process *process)
{
    close_all(process->channels, process->n_channels);
    if (process->control >= 0)
        (void)close(process->control);
    process->control = -1;
}

int pool_process_reap(struct pool_process *process)
{
    int status = 0;

    if (process->pid == 0)
        return hosting_end(process->pidfd);
    while (waitpid(process->pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return status;
}
