/* cradle-keyd: the only process that loads the PKCS#11 module, knows the PIN and touches keys.
 *
 * It is exec'd by the pool of a service (hsm/pool.c) with its sockets as descriptors 3 and up: the
 * pool's own, on which it says once that it is ready (or why not), then one a channel. It answers
 * one message at a time, and ends when the other sides of all sockets are closed.
 *
 * With --hosted a cradle-keyd-host has started it (hsm/hosting.h): its one descriptor is the
 * connection of the service, which sends the sockets; options say what it may be asked at most. */
#include "hsm/keyd.h"

#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/secret.h"
#include "hsm/hosting.h"
#include "hsm/token_keys.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* The control socket, then the channels; or the connection of a host's client. */
#define FD_FIRST 3
#define CHANNELS_MAX 256
#define MEMORY_MIB_MAX 65536u
#define LOCK_SLACK_MIB 64u /* what a process may grow beyond its limit before it is replaced */

struct app {
    struct {
        const char *uri, *lock_file, *softhsm_conf;
    } tokens[HOSTING_TOKENS_MAX]; /* two: of a hosted one, which is told by its service which */
    unsigned token;               /* that is opened */
    unsigned n_channels;
    unsigned memory_mib;
    unsigned verbs; /* KEYD_MAY(...) */
    bool list_keys; /* say which keys the token holds, before it is said that it is ready */
    bool probe;     /* only say so and end: there are no channels */
    bool hosted;
    int connection; /* of a hosted one */
    int fds[1 + CHANNELS_MAX];
    bool locked; /* memory */
    int statm;
    struct keyd keyd;
    struct key_list keys;
    struct keyd_request request;
    struct keyd_reply reply;
    uint8_t frame[KEYD_FRAME_MAX];
    struct pollfd polls[1 + CHANNELS_MAX];
};

static const struct option options[] = {
    {"uri", required_argument, NULL, 'u'},
    {"lock", required_argument, NULL, 'l'},
    {"channels", required_argument, NULL, 'c'},
    {"memory-mib", required_argument, NULL, 'm'},
    {"verbs", required_argument, NULL, 'v'},
    {"plain-keys", no_argument, NULL, 'p'},
    {"list-keys", no_argument, NULL, 'k'},
    {"probe", no_argument, NULL, 'b'},
    {"hosted", no_argument, NULL, 'h'},
    {"uri-2", required_argument, NULL, 'U'},
    {"lock-2", required_argument, NULL, 'L'},
    {"softhsm2-conf-2", required_argument, NULL, 'S'},
    {NULL, 0, NULL, 0},
};

static bool parse_number(const char *text, unsigned max, unsigned *ret)
{
    char *end = NULL;
    unsigned long v;

    errno = 0;
    v = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || v < 1 || v > max)
        return false;
    *ret = (unsigned)v;
    return true;
}

/* These are its service's to wish. */
static bool hosted_says_too_much(const struct app *app)
{
    return app->n_channels != 0 || app->memory_mib != 0 || app->probe || app->list_keys;
}

static int parse_options(struct app *app, int argc, char **argv)
{
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        bool good = true;

        switch (c) {
        case 'u':
            app->tokens[0].uri = optarg;
            break;
        case 'l':
            app->tokens[0].lock_file = optarg;
            break;
        case 'U':
            app->tokens[1].uri = optarg;
            break;
        case 'L':
            app->tokens[1].lock_file = optarg;
            break;
        case 'S':
            app->tokens[1].softhsm_conf = optarg;
            break;
        case 'c':
            good = parse_number(optarg, CHANNELS_MAX, &app->n_channels);
            break;
        case 'm':
            good = parse_number(optarg, MEMORY_MIB_MAX, &app->memory_mib);
            break;
        case 'v':
            good = keyd_verbs_parse(optarg, &app->verbs) == 0;
            break;
        case 'p':
            app->keyd.plain_keys = true;
            break;
        case 'k':
            app->list_keys = true;
            break;
        case 'b':
            app->probe = true;
            break;
        case 'h':
            app->hosted = true;
            break;
        default:
            good = false;
        }
        if (!good)
            return error_set(ERROR_CONFIG, "cradle-keyd: a wrong option; only a service starts it");
    }
    if (app->tokens[0].uri == NULL || app->tokens[0].lock_file == NULL ||
        (app->tokens[1].uri == NULL) != (app->tokens[1].lock_file == NULL) || app->verbs == 0 ||
        optind != argc || (app->tokens[1].uri != NULL && !app->hosted) ||
        (app->hosted ? hosted_says_too_much(app)
                     : (app->n_channels == 0) != app->probe || app->memory_mib == 0))
        return error_set(ERROR_CONFIG, "cradle-keyd is started by a service, not by hand");
    return 0;
}

static unsigned n_tokens(const struct app *app)
{
    return app->tokens[1].uri != NULL ? 2 : 1;
}

static int choose_token(struct app *app, unsigned token)
{
    const char *conf = token < n_tokens(app) ? app->tokens[token].softhsm_conf : NULL;

    if (token >= n_tokens(app))
        return error_set(ERROR_CONFIG, "the host of key processes knows no second token any more");
    if (conf != NULL && setenv("SOFTHSM2_CONF", conf, 1) != 0)
        return error_set(ERROR_SYSTEM, "no memory");
    app->token = token;
    app->list_keys = n_tokens(app) > 1; /* the service compares them */
    return 0;
}

/* What the service wishes, as far as it may. */
static int grant(struct app *app, const struct hosting_wish *wish)
{
    if ((wish->verbs & ~app->verbs) != 0 || wish->verbs == 0)
        return error_set(ERROR_CONFIG,
            "the host of key processes does not let this service ask for all that it wants: "
            "hsm.export and host.service of the host say what it may");
    if (wish->plain_keys && !app->keyd.plain_keys)
        return error_set(ERROR_CONFIG,
            "the host of key processes lets no session key leave in clear (its hsm.plain_keys)");
    if (wish->memory_mib < 1 || wish->memory_mib > MEMORY_MIB_MAX)
        return error_set(ERROR_CONFIG, "a memory limit of %u MiB", wish->memory_mib);
    app->verbs = wish->verbs;
    app->keyd.plain_keys = wish->plain_keys;
    app->memory_mib = wish->memory_mib;
    return choose_token(app, wish->token);
}

static int take_sockets(struct app *app)
{
    struct hosting_wish wish = {0};
    unsigned n = 0;
    int r;

    app->fds[0] = -1;
    if (!app->hosted) {
        for (unsigned i = 0; i <= app->n_channels; i++)
            app->fds[i] = FD_FIRST + (int)i;
        return 0;
    }
    app->connection = FD_FIRST;
    r = hosting_receive(app->connection, &wish, app->fds, &n);
    if (r < 0)
        return r;
    app->n_channels = n - 1;
    hosting_say_tokens(app->fds[0], n_tokens(app));
    r = grant(app, &wish); /* before there is a second thread: it may change the environment */
    return r < 0 ? r : hosting_end_with(app->connection);
}

static int start(struct app *app)
{
    CLEANUP(cleanup_close) int lock = -1;
    const char *lock_file = app->tokens[app->token].lock_file;
    int r = p11_lock(lock_file, &lock);

    app->keyd.lock_file = lock_file;
    if (r == 0)
        r = p11_token_open(&app->keyd.token, app->tokens[app->token].uri, false, lock);
    if (r == 0 && app->list_keys)
        r = token_keys_list(&app->keyd.token, &app->keys);
    token_keys_keep_needed(&app->keys);
    /* Objects are looked for under the lock too: a token file may be half written elsewhere. */
    return r < 0 ? r : keyd_init(&app->keyd);
}

static enum keyd_exit exit_of(int r)
{
    switch (r) {
    case ERROR_PIN:
        return KEYD_EXIT_PIN;
    case ERROR_CONFIG:
        return KEYD_EXIT_CONFIG;
    case ERROR_HSM:
        return KEYD_EXIT_HSM;
    default:
        return KEYD_EXIT_INTERNAL;
    }
}

/* PKCS#11 pads its texts with blanks. */
static int trimmed(const unsigned char *text, int len)
{
    while (len > 0 && text[len - 1] == ' ')
        len--;
    return len;
}

static void say_hello(const struct app *app, enum keyd_exit state)
{
    struct keyd_hello hello = {.state = state};
    uint8_t bytes[KEYD_HELLO_LEN];

    if (state == KEYD_EXIT_OK) {
        const struct p11_token *token = &app->keyd.token;

        (void)snprintf(hello.text, sizeof(hello.text),
            "token \"%.*s\" model \"%.*s\" profile %s%s, derivation ECB_ENCRYPT_DATA in the token, "
            "newest %s and %s, memory %s%s%s",
            trimmed(token->info.label, 32), (const char *)token->info.label,
            trimmed(token->info.model, 16), (const char *)token->info.model, token->quirks->name,
            token->quirks->exercised ? "" : " (not tested by us)",
            p11_store_newest(&app->keyd.keys.device)->label,
            p11_store_newest(&app->keyd.keys.kek)->label, app->locked ? "locked" : "not locked",
            app->keyd.keys.in_place ? ", its keys are locked: slower joins" : "",
            app->keyd.plain_keys ? ", session keys may leave in clear" : "");
    } else {
        (void)snprintf(hello.text, sizeof(hello.text), "%s", error_text());
    }
    if (state == KEYD_EXIT_OK && app->list_keys) {
        uint8_t list[KEY_LIST_WIRE_MAX];

        (void)send(
            app->fds[0], list, key_list_encode(&app->keys, list), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    keyd_hello_encode(&hello, bytes);
    (void)send(app->fds[0], bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Resident memory: the second number of statm, in pages. */
static uint32_t resident_kib(const struct app *app)
{
    char text[128];
    ssize_t n = pread(app->statm, text, sizeof(text) - 1, 0);
    unsigned long pages = 0;

    if (n <= 0)
        return 0;
    text[n] = '\0';
    if (sscanf(text, "%*u %lu", &pages) != 1)
        return 0;
    return (uint32_t)(pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024);
}

static enum keyd_exit serve_message(struct app *app, int fd, size_t len)
{
    size_t reply_len = 0;
    bool secret, unread;
    int r = keyd_request_decode(app->frame, len, &app->request);

    /* What a service has no business with, nobody honest asks on its channel. */
    if (r == 0 && (app->verbs & KEYD_MAY(app->request.verb)) == 0)
        r = error_set(ERROR_INPUT, "a verb that this service may not use");
    if (r < 0) {
        log_error("%s; this key process ends", error_text());
        secret_wipe(app->frame, len);
        secret_wipe(&app->request, sizeof(app->request));
        return KEYD_EXIT_FRAME;
    }
    secret = app->request.verb == KEYD_VERB_ADOPT_KEY || app->request.verb == KEYD_VERB_HASH_CODE;
    if (FAILPOINT(keyd_asked, ERROR_HSM) < 0)
        return KEYD_EXIT_INTERNAL;
    keyd_serve(&app->keyd, &app->request, &app->reply);
    if (secret) {
        secret_wipe(app->frame, len);
        secret_wipe(&app->request, sizeof(app->request));
    }
    app->reply.rss_kib = resident_kib(app);
    if (keyd_reply_encode(&app->reply, app->frame, &reply_len) < 0) {
        log_error("%s", error_text());
        return KEYD_EXIT_INTERNAL;
    }
    if (FAILPOINT(keyd_before_reply, ERROR_HSM) < 0)
        return KEYD_EXIT_INTERNAL;
    /* One message is outstanding a channel, so there is room; who never reads breaks the rules. */
    unread = send(fd, app->frame, reply_len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EPIPE &&
             errno != ECONNRESET;
    if (keyd_reply_holds_secrets(&app->reply)) {
        secret_wipe(app->frame, reply_len);
        secret_wipe(&app->reply, sizeof(app->reply));
    }
    if (unread)
        return KEYD_EXIT_FRAME;
    return app->keyd.give_way ? KEYD_EXIT_TOKEN_LOST : KEYD_EXIT_OK;
}

/* Reads one message; an end of file closes the channel. */
static enum keyd_exit serve_channel(struct app *app, struct pollfd *p)
{
    ssize_t n = recv(p->fd, app->frame, sizeof(app->frame), MSG_DONTWAIT | MSG_TRUNC);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return KEYD_EXIT_OK;
    if (n <= 0) {
        (void)close(p->fd);
        p->fd = -1;
        return KEYD_EXIT_OK;
    }
    /* On the first socket nobody has anything to ask. */
    if ((size_t)n > sizeof(app->frame) || p == &app->polls[0]) {
        log_error("an unexpected message of %zd bytes; this key process ends", n);
        return KEYD_EXIT_FRAME;
    }
    return serve_message(app, p->fd, (size_t)n);
}

static enum keyd_exit serve(struct app *app)
{
    const nfds_t n = 1 + app->n_channels;

    for (nfds_t i = 0; i < n; i++)
        app->polls[i] = (struct pollfd){.fd = app->fds[i], .events = POLLIN};
    while (true) {
        bool open_left = false;

        for (nfds_t i = 0; i < n; i++)
            open_left = open_left || app->polls[i].fd >= 0;
        if (!open_left)
            return KEYD_EXIT_OK;
        if (poll(app->polls, n, -1) < 0) {
            if (errno == EINTR)
                continue;
            log_error("poll: %s", strerror(errno));
            return KEYD_EXIT_INTERNAL;
        }
        for (nfds_t i = 0; i < n; i++) {
            enum keyd_exit state;

            if (app->polls[i].fd < 0 || app->polls[i].revents == 0)
                continue;
            state = serve_channel(app, &app->polls[i]);
            if (state != KEYD_EXIT_OK)
                return state;
        }
    }
}

static int harden(struct app *app)
{
    const size_t limit = (size_t)(app->memory_mib + LOCK_SLACK_MIB) << 20;

    int r = secret_process_harden(limit, &app->locked);

    /* Ctrl-C on a terminal goes to the whole group: the service decides when we end. */
    (void)signal(SIGINT, SIG_IGN);
    /* The thread that started us lives as long as its pool; closed sockets end us in any case. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    return r;
}

int main(int argc, char **argv)
{
    static struct app app = {.statm = -1}; /* too large for the stack */
    enum keyd_exit state;
    int r;

    log_init("cradle-keyd", LOG_LEVEL_INFO);
    r = parse_options(&app, argc, argv);
    if (r < 0) {
        log_error("%s", error_text());
        return KEYD_EXIT_CONFIG;
    }
    r = take_sockets(&app);
    /* Whoever could read a dump of it would read keys: without this there is no key process. */
    if (r == 0)
        r = harden(&app);
    app.statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (r == 0)
        r = start(&app);
    state = r < 0 ? exit_of(r) : KEYD_EXIT_OK;
    if (r < 0)
        log_error("%s", error_text());
    say_hello(&app, state);
    if (state == KEYD_EXIT_OK)
        state = serve(&app);
    p11_token_close(&app.keyd.token);
    if (app.hosted)
        hosting_say_end(app.connection, (int)state);
    /* Not exit(): SoftHSM's and OpenSSL's exit handlers do not agree on who goes first. */
    _exit((int)state);
}
