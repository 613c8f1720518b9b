#include "hsm/p11_token.h"

#include "base/config.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/secret.h"
#include <errno.h>
#include <fcntl.h>
#include <p11-kit/p11-kit.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define PIN_MAX 256
#define PIN_NAME_MAX 256
#define NOTE_WORD_MAX 16
#define NOTES_MAX 4096 /* bytes of the lock file: of some thirty PINs */
#define SLOTS_MAX 1024
#define SLOTS_SPARE 8 /* a slot may appear between asking how many and asking which */

static void wipe_pin(char (*pin)[PIN_MAX])
{
    secret_wipe(*pin, sizeof(*pin));
}

/* For what write_note() writes, beyond the file's end: a refusal that finds no room later
 * would be forgotten, and whoever starts next would try the PIN again, until the token locks
 * itself. Where a file system cannot promise room, none is asked for. */
static bool has_room(int lock)
{
    return fallocate(lock, FALLOC_FL_KEEP_SIZE, 0, NOTES_MAX) == 0 ||
           (errno != ENOSPC && errno != EDQUOT);
}

int p11_lock(const char *lock_file, int *ret_fd)
{
    int fd = open(lock_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_set_errno("the HSM lock file %s cannot be opened", lock_file);
    while (flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            (void)close(fd);
            return error_set_errno("the HSM lock file %s cannot be locked", lock_file);
        }
    }
    if (!has_room(fd)) {
        int r = error_set_errno(
            "no PIN is tried without room to remember that it was refused: the HSM lock file %s",
            lock_file);

        (void)close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* After these the handles we hold mean nothing any more, and will not again. */
static const CK_RV lost_codes[] = {
    CKR_SESSION_HANDLE_INVALID,
    CKR_SESSION_CLOSED,
    CKR_OBJECT_HANDLE_INVALID,
    CKR_KEY_HANDLE_INVALID,
    CKR_UNWRAPPING_KEY_HANDLE_INVALID,
    CKR_WRAPPING_KEY_HANDLE_INVALID,
    CKR_USER_NOT_LOGGED_IN,
    CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_TOKEN_NOT_PRESENT,
    CKR_TOKEN_NOT_RECOGNIZED,
    CKR_DEVICE_REMOVED,
    CKR_SLOT_ID_INVALID,
};

int p11_failed(struct p11_token *token, CK_RV rv, const char *what)
{
    token->last_rv = rv;
    for (size_t i = 0; i < sizeof(lost_codes) / sizeof(lost_codes[0]); i++) {
        if (rv == lost_codes[i])
            token->lost = true;
    }
    return error_set(ERROR_HSM, "HSM: %s failed: %s (0x%lx)", what, p11_kit_strerror(rv), rv);
}

static int parse_uri(struct p11_token *token, const char *text)
{
    CK_TOKEN_INFO *wanted;
    int r;

    token->uri = p11_kit_uri_new();
    if (token->uri == NULL)
        return error_set(ERROR_SYSTEM, "no memory");
    r = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, token->uri);
    if (r != P11_KIT_URI_OK)
        return error_set(ERROR_CONFIG, "the HSM's URI is wrong: %s", p11_kit_uri_message(r));
    if (p11_kit_uri_any_unrecognized(token->uri))
        return error_set(ERROR_CONFIG, "the HSM's URI has a part that RFC 7512 does not know");
    if (p11_kit_uri_get_pin_value(token->uri) != NULL)
        return error_set(ERROR_CONFIG,
            "the HSM's URI holds the PIN itself; put it into a file and name that with pin-source");
    if (p11_kit_uri_get_module_path(token->uri) == NULL)
        return error_set(ERROR_CONFIG, "the HSM's URI names no module-path");
    if (p11_kit_uri_get_pin_source(token->uri) == NULL)
        return error_set(ERROR_CONFIG, "the HSM's URI names no pin-source");
    wanted = p11_kit_uri_get_token_info(token->uri);
    if (wanted->label[0] == 0 && wanted->serialNumber[0] == 0)
        return error_set(ERROR_CONFIG, "the HSM's URI names neither token nor serial");
    return 0;
}

static int find_slot(struct p11_token *token)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = 0;
    CK_RV rv, failed = CKR_OK;
    unsigned found = 0;

    rv = token->f->C_GetSlotList(CK_TRUE, NULL, &n);
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_GetSlotList");
    n = n + SLOTS_SPARE > SLOTS_MAX ? SLOTS_MAX : n + SLOTS_SPARE;
    rv = token->f->C_GetSlotList(CK_TRUE, slots, &n);
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_GetSlotList");
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO info;

        rv = token->f->C_GetTokenInfo(slots[i], &info);
        if (rv != CKR_OK) {
            failed = rv;
            continue;
        }
        if ((info.flags & CKF_TOKEN_INITIALIZED) == 0 ||
            !p11_kit_uri_match_token_info(token->uri, &info))
            continue;
        token->slot = slots[i];
        token->info = info;
        found++;
    }
    if (found == 1)
        return 0;
    if (found > 1)
        return error_set(ERROR_CONFIG, "the HSM's URI names more than one token; add its serial");
    if (failed != CKR_OK)
        return p11_failed(token, failed, "C_GetTokenInfo");
    return error_set(ERROR_CONFIG, "the HSM's module has no token that the URI names");
}

static int open_session(struct p11_token *token, CK_SESSION_HANDLE *ret)
{
    CK_FLAGS flags = CKF_SERIAL_SESSION | (token->read_write ? CKF_RW_SESSION : 0);
    CK_RV rv = token->f->C_OpenSession(token->slot, flags, NULL, NULL, ret);

    if (rv != CKR_OK) {
        *ret = CK_INVALID_HANDLE;
        return p11_failed(token, rv, "C_OpenSession");
    }
    return 0;
}

/* --- refused PINs ----------------------------------------------------------------------------- */

/* One attempt in all, over processes, services and restarts: a token locks itself after a few. A
 * line of the lock file names the token and the PIN file as it was; a changed file is another one.
 * A PIN that was right has one attempt more where the token may doubt it (p11_quirks.h): SoftHSM
 * takes it for wrong where it has no memory to look at it. Nobody else's is noted when it is taken.
 * The last line about a PIN counts. */
enum pin_note {
    PIN_UNKNOWN,
    PIN_TAKEN,
    PIN_DOUBTED, /* refused, and taken before */
    PIN_REFUSED,
};

static const char *const note_words[] = {
    [PIN_TAKEN] = "taken ", [PIN_DOUBTED] = "doubted ", [PIN_REFUSED] = "refused "};
#define N_NOTES (sizeof(note_words) / sizeof(note_words[0]))

static int name_pin(const struct p11_token *token, const char *path, char out[static PIN_NAME_MAX])
{
    char serial[2 * sizeof(token->info.serialNumber) + 1];
    struct stat st;

    if (stat(path, &st) != 0) {
        (void)error_set_errno("cannot read %s", path);
        return ERROR_CONFIG;
    }
    (void)snprintf(out, PIN_NAME_MAX, "%s %jx %jx %jx %jd.%09ld %jd.%09ld\n",
        hex_encode(token->info.serialNumber, sizeof(token->info.serialNumber), serial),
        (uintmax_t)st.st_dev, (uintmax_t)st.st_ino, (uintmax_t)st.st_size,
        (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (intmax_t)st.st_ctim.tv_sec,
        st.st_ctim.tv_nsec);
    return 0;
}

static bool stands_before(const char *at, const char *begin, const char *word)
{
    const size_t len = strlen(word);

    return (size_t)(at - begin) >= len && memcmp(at - len, word, len) == 0;
}

static int read_note(int lock, const char *pin, enum pin_note *ret)
{
    char known[NOTES_MAX + 1];
    ssize_t n = pread(lock, known, NOTES_MAX, 0);

    if (n < 0)
        return error_set_errno("the HSM lock file cannot be read");
    known[n] = '\0';
    *ret = PIN_UNKNOWN;
    for (const char *at = strstr(known, pin); at != NULL; at = strstr(at + 1, pin)) {
        for (size_t i = PIN_TAKEN; i < N_NOTES; i++)
            if (stands_before(at, known, note_words[i]))
                *ret = (enum pin_note)i;
    }
    return 0;
}

static bool write_note(int lock, enum pin_note note, const char *pin)
{
    char line[NOTE_WORD_MAX + PIN_NAME_MAX];
    const size_t len = (size_t)snprintf(line, sizeof(line), "%s%s", note_words[note], pin);
    off_t end = lseek(lock, 0, SEEK_END);
    /* Full, or of somebody else: begin again. */
    const bool anew = end < 0 || (size_t)end + len > NOTES_MAX;
    bool good;

    if (anew)
        end = 0;
    good = pwrite(lock, line, len, end) == (ssize_t)len && fdatasync(lock) == 0;
    if (!good)
        log_warn("that the PIN was %sis not remembered: %s", note_words[note], strerror(errno));
    /* Last: what is cut off is not there to be written. */
    if (anew && ftruncate(lock, (off_t)len) != 0)
        log_warn("the HSM lock file cannot be emptied: %s", strerror(errno));
    return good;
}

/* What the token said to the PIN. */
static int judge_login(const struct p11_token *token, CK_RV rv, int lock, enum pin_note known,
    const char *pin, const char *path)
{
    static const CK_RV refusals[] = {CKR_PIN_INCORRECT, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE,
        CKR_PIN_EXPIRED, CKR_PIN_LOCKED, CKR_USER_PIN_NOT_INITIALIZED};

    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN) {
        if (token->quirks->doubts_pins && rv == CKR_OK && known != PIN_TAKEN)
            (void)write_note(lock, PIN_TAKEN, pin);
        return 0;
    }
    if (token->quirks->doubts_pins && rv == CKR_PIN_INCORRECT && known == PIN_TAKEN &&
        write_note(lock, PIN_DOUBTED, pin))
        return error_set(ERROR_HSM,
            "the HSM refused the PIN of %s, which it has taken before; the next start tries it "
            "once more",
            path);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (rv != refusals[i])
            continue;
        (void)write_note(lock, PIN_REFUSED, pin);
        return error_set(ERROR_PIN,
            "the HSM refused the PIN of %s: %s (0x%lx); not tried again until that file changes",
            path, p11_kit_strerror(rv), rv);
    }
    return 1;
}

static int login(struct p11_token *token, int lock)
{
    CLEANUP(wipe_pin) char pin[PIN_MAX] = "";
    const char *path = p11_kit_uri_get_pin_source(token->uri);
    char name[PIN_NAME_MAX], after[PIN_NAME_MAX];
    enum pin_note known = PIN_UNKNOWN;
    CK_RV rv;
    int r;

    if (strncmp(path, "file:", 5) == 0)
        path += 5;
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    r = name_pin(token, path, name);
    if (r == 0)
        r = read_note(lock, name, &known);
    if (r == 0 && known == PIN_REFUSED)
        return error_set(ERROR_PIN,
            "the HSM has refused the PIN of %s before; not tried again until that file changes",
            path);
    if (r == 0)
        r = config_read_secret_file(path, pin, sizeof(pin));
    if (r == 0)
        r = name_pin(token, path, after);
    if (r < 0)
        return r;
    if (strcmp(name, after) != 0)
        return error_set(ERROR_HSM, "%s changed while it was read", path);
    rv = token->f->C_Login(token->anchor, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin));
    r = judge_login(token, rv, lock, known, name, path);
    return r > 0 ? p11_failed(token, rv, "C_Login") : r;
}

int p11_token_open(struct p11_token *token, const char *uri, bool read_write, int lock)
{
    CK_RV rv;
    int r;

    *token = (struct p11_token){.read_write = read_write};
    r = parse_uri(token, uri);
    if (r < 0)
        return r;
    /* Not a managed module: p11-kit's wrappers cost time, and nothing else here uses the token. */
    token->f = p11_kit_module_load(p11_kit_uri_get_module_path(token->uri),
        P11_KIT_MODULE_UNMANAGED | P11_KIT_MODULE_CRITICAL);
    if (token->f == NULL)
        return error_set(ERROR_CONFIG, "the PKCS#11 module %s cannot be loaded: %s",
            p11_kit_uri_get_module_path(token->uri), p11_kit_message());
    rv = token->f->C_Initialize(NULL);
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_Initialize");
    token->initialized = true;
    r = find_slot(token);
    if (r < 0)
        return r;
    token->quirks = p11_quirks_find(&token->info);
    r = open_session(token, &token->anchor);
    if (r < 0)
        return r;
    r = login(token, lock);
    if (r < 0)
        return r;
    return open_session(token, &token->work);
}

void p11_token_close(struct p11_token *token)
{
    /* C_Finalize ends sessions and login; without it SoftHSM can crash in its exit handlers. */
    if (token->initialized)
        (void)token->f->C_Finalize(NULL);
    if (token->f != NULL)
        p11_kit_module_release(token->f);
    if (token->uri != NULL)
        p11_kit_uri_free(token->uri);
    *token = (struct p11_token){0};
}

int p11_token_reset_work(struct p11_token *token)
{
    CK_RV rv = token->f->C_CloseSession(token->work);

    token->work = CK_INVALID_HANDLE;
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_CloseSession");
    return open_session(token, &token->work);
}
