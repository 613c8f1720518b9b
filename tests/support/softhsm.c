#include "tests/support/softhsm.h"

#include "base/error.h"
#include "hsm/ceremony.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* So that the folder's path, and those of sockets in it, stay short. */
#define PARENT_MAX 64

/* The list that scripts/run ships, so that what it lacks is found here. */
#define MECHANISMS                                                                                 \
    "CKM_AES_KEY_WRAP,CKM_AES_CMAC,CKM_AES_ECB,"                                                   \
    "CKM_AES_ECB_ENCRYPT_DATA,CKM_AES_CBC,CKM_AES_KEY_GEN,"                                        \
    "CKM_SHA256_HMAC,CKM_GENERIC_SECRET_KEY_GEN,CKM_RSA_PKCS_OAEP,"                                \
    "CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_ECDSA,CKM_EC_KEY_PAIR_GEN"

static int write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    CLEANUP(cleanup_close) int fd = -1;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return error_set_errno("cannot write %s", path);
    return 0;
}

static int run_quietly(char *const argv[])
{
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    int r, status = 0;

    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (r != 0)
        return error_set(ERROR_SYSTEM, "%s: %s", argv[0], strerror(r));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status == 0 ? 0 : error_set(ERROR_SYSTEM, "%s failed", argv[0]);
}

static char *text_of(const char *s)
{
    return (char *)(uintptr_t)s;
}

static int make_token(void)
{
    char *const argv[] = {text_of("softhsm2-util"), text_of("--init-token"), text_of("--free"),
        text_of("--label"), text_of("cradle-test"), text_of("--so-pin"), text_of("so-pin-of-test"),
        text_of("--pin"), text_of(SOFTHSM_PIN), NULL};

    return run_quietly(argv);
}

void softhsm_uri(const struct softhsm *hsm, const char *module, char *out, size_t size)
{
    (void)snprintf(out, size, "pkcs11:token=cradle-test?module-path=%s&pin-source=file:%s/pin",
        module, hsm->dir);
}

int softhsm_make(struct softhsm *hsm, bool ceremony)
{
    const char *parent = getenv("TMPDIR");
    char path[256], conf[768];

    *hsm = (struct softhsm){0};
    if (parent == NULL || *parent != '/' || strlen(parent) > PARENT_MAX)
        parent = "/tmp";
    (void)snprintf(hsm->dir, sizeof(hsm->dir), "%s/cradle-hsm-XXXXXX", parent);
    if (mkdtemp(hsm->dir) == NULL)
        return error_set_errno("cannot make %s", hsm->dir);
    (void)snprintf(path, sizeof(path), "%s/tokens", hsm->dir);
    if (mkdir(path, 0700) != 0)
        return error_set_errno("cannot make %s", path);
    (void)snprintf(conf, sizeof(conf),
        "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n"
        "slots.mechanisms = " MECHANISMS "\n",
        path);
    (void)snprintf(path, sizeof(path), "%s/softhsm2.conf", hsm->dir);
    (void)snprintf(hsm->lock_file, sizeof(hsm->lock_file), "%s/lock", hsm->dir);
    (void)snprintf(hsm->exchange_pem, sizeof(hsm->exchange_pem), "%s/exchange.pem", hsm->dir);
    softhsm_uri(hsm, SOFTHSM_MODULE, hsm->uri, sizeof(hsm->uri));
    (void)snprintf(hsm->uri_wrong, sizeof(hsm->uri_wrong), "%s-wrong", hsm->uri);
    if (write_file(hsm->dir, "softhsm2.conf", conf) < 0 ||
        write_file(hsm->dir, "pin", SOFTHSM_PIN "\n") < 0 ||
        write_file(hsm->dir, "pin-wrong", "0000-wrong\n") < 0)
        return ERROR_SYSTEM;
    if (setenv("SOFTHSM2_CONF", path, 1) != 0 || make_token() < 0)
        return ERROR_SYSTEM;
    return ceremony ? softhsm_ceremony(hsm) : 0;
}

struct outcome {
    int code;
    char text[ERROR_TEXT_MAX];
};

void softhsm_escrow(const struct softhsm *hsm, char ret[static PATH_MAX])
{
    (void)snprintf(ret, PATH_MAX, "%s/escrow", hsm->dir);
}

int softhsm_ceremony(const struct softhsm *hsm)
{
    char escrow[PATH_MAX];
    const struct hsm_ceremony what = {hsm->uri, hsm->lock_file, hsm->exchange_pem,
        .escrow_path = escrow, .exportable_keys = true};
    struct outcome outcome = {.code = ERROR_INTERNAL, .text = "the ceremony's process died"};
    int fds[2];
    pid_t pid;

    softhsm_escrow(hsm, escrow);
    if (pipe(fds) != 0)
        return error_set_errno("no pipe");
    pid = fork();
    if (pid < 0)
        return error_set_errno("no child");
    if (pid == 0) {
        struct text report = {0};

        outcome.code = hsm_ceremony_init(&what, &report);
        (void)snprintf(outcome.text, sizeof(outcome.text), "%s", error_text());
        _exit(write(fds[1], &outcome, sizeof(outcome)) == (ssize_t)sizeof(outcome) ? 0 : 1);
    }
    (void)close(fds[1]);
    if (read(fds[0], &outcome, sizeof(outcome)) != (ssize_t)sizeof(outcome))
        outcome.code = ERROR_INTERNAL;
    (void)close(fds[0]);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return outcome.code == 0 ? 0 : error_set(outcome.code, "%s", outcome.text);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

void softhsm_remove(struct softhsm *hsm)
{
    if (hsm->dir[0] != '\0')
        (void)nftw(hsm->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    hsm->dir[0] = '\0';
}
