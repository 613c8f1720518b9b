#include "api/credential.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/secret.h"
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_LEN_MAX 65536 /* bytes */
#define LOOK_MS 1000       /* between looks at the files of one credential */

enum part { PART_CERTIFICATE, PART_KEY, PART_ANCHORS, PART_AUTHORIZATION, N_PARTS };

static const struct {
    const char *suffix;
    mode_t forbidden;
} parts[N_PARTS] = {
    [PART_CERTIFICATE] = {"crt", 0},
    [PART_KEY] = {"key", S_IRWXO},
    [PART_ANCHORS] = {"ca", 0},
    [PART_AUTHORIZATION] = {"header", S_IRWXO},
};

/* Tells one content of a file from the next; zeros: there is no such file. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    mode_t mode;
    struct timespec changed;
};

/* What was read at one time. `shown` is the first member: it is what others have of it. */
struct content {
    struct api_credential shown;
    unsigned references; /* under the lock */
    struct secret_buffer texts[N_PARTS];
};

struct entry {
    struct entry *next;
    char name[API_CREDENTIAL_NAME_MAX + 1];
    struct stamp loaded[N_PARTS], complained[N_PARTS];
    struct content *content; /* NULL: not usable, for the reason in `why` */
    int64_t looked_ms;
    char why[ERROR_TEXT_MAX];
};

struct api_credentials {
    const char *folder;
    pthread_mutex_t lock;
    struct entry *entries; /* a few: names come from our own table of peers */
};

int api_credentials_open(const char *folder, struct api_credentials **ret)
{
    struct api_credentials *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for credentials");
    c->folder = folder;
    (void)pthread_mutex_init(&c->lock, NULL); /* cannot fail with default attributes on Linux */
    *ret = c;
    return 0;
}

static void content_release(struct content *content)
{
    if (content == NULL || --content->references > 0)
        return;
    for (size_t i = 0; i < N_PARTS; i++)
        secret_buffer_done(&content->texts[i]);
    free(content);
}

static void content_cleanup(struct content **content)
{
    content_release(*content);
}

void api_credentials_close(struct api_credentials *c)
{
    if (c == NULL)
        return;
    while (c->entries != NULL) {
        struct entry *entry = c->entries;

        c->entries = entry->next;
        content_release(entry->content);
        free(entry);
    }
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

/* The name is a part of a path. */
static bool name_is_good(const char *name)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(name);

    return len > 0 && len <= API_CREDENTIAL_NAME_MAX && name[0] != '.' && strspn(name, good) == len;
}

static int path_of(
    const struct api_credentials *c, const char *name, enum part part, char out[static PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s/%s.%s", c->folder, name, parts[part].suffix);

    return n > 0 && n < PATH_MAX ? 0 : error_set(ERROR_CONFIG, "the path is too long");
}

static bool stamps_same(const struct stamp *a, const struct stamp *b)
{
    for (size_t i = 0; i < N_PARTS; i++)
        if (a[i].device != b[i].device || a[i].inode != b[i].inode || a[i].size != b[i].size ||
            a[i].mode != b[i].mode || a[i].changed.tv_sec != b[i].changed.tv_sec ||
            a[i].changed.tv_nsec != b[i].changed.tv_nsec)
            return false;
    return true;
}

/* *ret_any: there is one file at least. */
static int stamp_files(const struct api_credentials *c, const char *name,
    struct stamp ret[static N_PARTS], bool *ret_any)
{
    *ret_any = false;
    for (size_t i = 0; i < N_PARTS; i++) {
        char path[PATH_MAX];
        struct stat st;
        int r = path_of(c, name, (enum part)i, path);

        if (r < 0)
            return r;
        ret[i] = (struct stamp){0};
        if (stat(path, &st) == 0) {
            ret[i] = (struct stamp){st.st_dev, st.st_ino, st.st_size, st.st_mode, st.st_mtim};
            *ret_any = true;
        } else if (errno != ENOENT) {
            return error_set(ERROR_CONFIG, "cannot read %s: %s", path, strerror(errno));
        }
    }
    return 0;
}

/* Appends the file and a NUL; nothing when there is no such file. */
static int read_part(
    const struct api_credentials *c, const char *name, enum part part, struct secret_buffer *out)
{
    char path[PATH_MAX];
    struct stat st;
    ssize_t n;
    int r = path_of(c, name, part, path);
    CLEANUP(cleanup_close) int fd = r == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    unsigned char block[4096];

    if (r < 0)
        return r;
    if (fd < 0)
        return errno == ENOENT
                   ? 0
                   : error_set(ERROR_CONFIG, "cannot read %s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return error_set(ERROR_CONFIG, "%s is not a file", path);
    if ((st.st_mode & parts[part].forbidden) != 0)
        return error_set(ERROR_CONFIG, "%s is open to everyone: chmod o-rwx", path);
    while ((n = read(fd, block, sizeof(block))) > 0) {
        if (memchr(block, '\0', (size_t)n) != NULL || out->len + (size_t)n > FILE_LEN_MAX) {
            secret_wipe(block, sizeof(block));
            return error_set(
                ERROR_CONFIG, "%s is no text, or longer than %d bytes", path, FILE_LEN_MAX);
        }
        if ((r = secret_buffer_append(out, block, (size_t)n)) < 0)
            break;
    }
    secret_wipe(block, sizeof(block));
    if (n < 0)
        return error_set(ERROR_CONFIG, "cannot read %s: %s", path, strerror(errno));
    return r < 0 ? r : secret_buffer_append(out, "", 1);
}

/* One line of visible characters: nothing that could begin another header. */
static int check_authorization(const char *name, struct secret_buffer *text)
{
    char *line = (char *)text->data;
    size_t len = strlen(line);

    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        line[--len] = '\0';
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            return error_set(ERROR_CONFIG, "%s.header is more than one line of text", name);
    return len > 0 ? 0 : error_set(ERROR_CONFIG, "%s.header is empty", name);
}

static void credentials_cleanup(gnutls_certificate_credentials_t *credentials)
{
    if (*credentials != NULL)
        gnutls_certificate_free_credentials(*credentials);
}

static gnutls_datum_t datum_of(const struct secret_buffer *text)
{
    return (gnutls_datum_t){text->data, (unsigned)(text->len - 1)};
}

/* What cannot be used is refused here, and not at the first handshake. */
static int check_pem(const char *name, const struct secret_buffer *texts)
{
    CLEANUP(credentials_cleanup) gnutls_certificate_credentials_t credentials = NULL;
    const bool has_certificate = texts[PART_CERTIFICATE].len > 0;
    int r;

    if (has_certificate != (texts[PART_KEY].len > 0))
        return error_set(ERROR_CONFIG, "%s.%s is missing", name,
            parts[has_certificate ? PART_KEY : PART_CERTIFICATE].suffix);
    if ((r = gnutls_certificate_allocate_credentials(&credentials)) < 0)
        return error_set(ERROR_SYSTEM, "out of memory for credentials");
    if (has_certificate) {
        gnutls_datum_t certificate = datum_of(&texts[PART_CERTIFICATE]);
        gnutls_datum_t key = datum_of(&texts[PART_KEY]);

        if ((r = gnutls_certificate_set_x509_key_mem(
                 credentials, &certificate, &key, GNUTLS_X509_FMT_PEM)) < 0)
            return error_set(ERROR_CONFIG, "%s.crt with %s.key cannot be used: %s", name, name,
                gnutls_strerror(r));
    }
    if (texts[PART_ANCHORS].len > 0) {
        gnutls_datum_t anchors = datum_of(&texts[PART_ANCHORS]);

        if (gnutls_certificate_set_x509_trust_mem(credentials, &anchors, GNUTLS_X509_FMT_PEM) <= 0)
            return error_set(ERROR_CONFIG, "there is no certificate in %s.ca", name);
    }
    return 0;
}

static const char *text_of(const struct secret_buffer *text)
{
    return text->len > 0 ? (const char *)text->data : NULL;
}

/* `name` must outlive it. */
static int content_load(const struct api_credentials *c, const char *name, struct content **ret)
{
    CLEANUP(content_cleanup) struct content *content = calloc(1, sizeof(*content));
    int r;

    if (content == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for credentials");
    content->references = 1;
    for (size_t i = 0; i < N_PARTS; i++)
        if ((r = read_part(c, name, (enum part)i, &content->texts[i])) < 0)
            return r;
    if ((r = check_pem(name, content->texts)) < 0)
        return r;
    if (content->texts[PART_AUTHORIZATION].len > 0 &&
        (r = check_authorization(name, &content->texts[PART_AUTHORIZATION])) < 0)
        return r;
    content->shown = (struct api_credential){
        .name = name,
        .certificate = text_of(&content->texts[PART_CERTIFICATE]),
        .key = text_of(&content->texts[PART_KEY]),
        .anchors = text_of(&content->texts[PART_ANCHORS]),
        .authorization = text_of(&content->texts[PART_AUTHORIZATION]),
    };
    *ret = content;
    content = NULL;
    return 0;
}

/* The files of a credential cannot be exchanged at once: see look_at_files of tls.c. */
static void entry_look(const struct api_credentials *c, struct entry *entry)
{
    struct stamp stamps[N_PARTS];
    struct content *fresh = NULL;
    bool any;
    int r = stamp_files(c, entry->name, stamps, &any);

    if (r == 0 && !any)
        r = error_set(ERROR_CONFIG, "there is no credential %s in %s", entry->name, c->folder);
    else if (r == 0 && entry->content != NULL && stamps_same(stamps, entry->loaded))
        return;
    else if (r == 0)
        r = content_load(c, entry->name, &fresh);
    if (r == 0 || !any) {
        content_release(entry->content);
        entry->content = fresh;
        memcpy(entry->loaded, stamps, sizeof(stamps));
    }
    if (r < 0) {
        (void)snprintf(entry->why, sizeof(entry->why), "%s", error_text());
        if (any && !stamps_same(stamps, entry->complained))
            log_error("a credential cannot be used%s: %s",
                entry->content != NULL ? ", the one of before is" : "", entry->why);
        memcpy(entry->complained, stamps, sizeof(stamps));
    }
}

/* A new entry's first look is due at `now_ms`. */
static struct entry *entry_find(struct api_credentials *c, const char *name, int64_t now_ms)
{
    struct entry *entry = c->entries;

    while (entry != NULL && strcmp(entry->name, name) != 0)
        entry = entry->next;
    if (entry == NULL && (entry = calloc(1, sizeof(*entry))) != NULL) {
        (void)snprintf(entry->name, sizeof(entry->name), "%s", name);
        entry->looked_ms = now_ms - LOOK_MS;
        entry->next = c->entries;
        c->entries = entry;
    }
    return entry;
}

int api_credential_get(
    struct api_credentials *c, const char *name, const struct api_credential **ret)
{
    const int64_t now_ms = clock_monotonic_ms();
    struct entry *entry;
    int r = 0;

    if (c->folder[0] == '\0')
        return error_set(ERROR_CONFIG, "there is no folder of credentials");
    if (!name_is_good(name))
        return error_set(ERROR_CONFIG, "a credential's name is letters, digits, '.', '_' and '-'");
    pthread_mutex_lock(&c->lock);
    entry = entry_find(c, name, now_ms);
    if (entry != NULL && now_ms - entry->looked_ms >= LOOK_MS) {
        entry->looked_ms = now_ms;
        entry_look(c, entry);
    }
    if (entry == NULL) {
        r = error_set(ERROR_SYSTEM, "out of memory for credentials");
    } else if (entry->content == NULL) {
        r = error_set(ERROR_CONFIG, "%s", entry->why);
    } else {
        entry->content->references++;
        *ret = &entry->content->shown;
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

void api_credential_release(struct api_credentials *c, const struct api_credential *credential)
{
    if (credential == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    /* Const to everyone but this file, which made it. */
    content_release((struct content *)(uintptr_t)credential);
    pthread_mutex_unlock(&c->lock);
}
