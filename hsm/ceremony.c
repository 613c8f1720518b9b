#include "hsm/ceremony.h"

#include "base/audit_key.h"
#include "base/error.h"
#include "base/hex.h"
#include "hsm/ceremony_keys.h"
#include "hsm/p11_audit.h"
#include "hsm/p11_exchange.h"
#include "hsm/p11_keys.h"
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FOUND_MAX 64

/** What the token holds of ours. */
struct found {
    struct p11_token *token;
    CK_OBJECT_CLASS class;
    size_t n;
    struct found_object {
        const struct ceremony_object *row;
        char label[SEALED_LABEL_MAX + 1];
        CK_OBJECT_HANDLE handle;
        uint8_t kcv[CEREMONY_KCV_LEN];
    } objects[FOUND_MAX];
};

static int note_object(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    struct found *found = context;
    const struct ceremony_object *row = ceremony_object_find(found->class, label);

    if (row == NULL)
        return 0;
    if (found->n == FOUND_MAX || strlen(label) > SEALED_LABEL_MAX)
        return error_set(ERROR_CONFIG, "the token holds too many of our objects");
    found->objects[found->n].row = row;
    found->objects[found->n].handle = handle;
    memcpy(found->objects[found->n].label, label, strlen(label) + 1);
    found->n++;
    return 0;
}

/* A token shows its objects in any order; people read them in ours. */
static int by_row_and_label(const void *a, const void *b)
{
    const struct found_object *x = a, *y = b;

    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return strcmp(x->label, y->label);
}

static int look(struct p11_token *token, struct found *ret)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_SECRET_KEY, CKO_PRIVATE_KEY};
    int r = 0;

    *ret = (struct found){.token = token};
    for (size_t i = 0; r == 0 && i < sizeof(classes) / sizeof(classes[0]); i++) {
        ret->class = classes[i];
        r = p11_objects_walk(token, classes[i], note_object, ret);
    }
    qsort(ret->objects, ret->n, sizeof(ret->objects[0]), by_row_and_label);
    return r;
}

static int check(struct found *found)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < found->n; i++)
        r = found->objects[i].row->check(
            found->token, found->objects[i].handle, found->objects[i].kcv);
    return r;
}

static void report_found(const struct found *found, struct text *report)
{
    for (size_t i = 0; i < found->n; i++) {
        char kcv[2 * CEREMONY_KCV_LEN + 1];

        text_addf(report, "%-22s %-45s check value %s (%s)\n", found->objects[i].label,
            found->objects[i].row->kind, hex_encode(found->objects[i].kcv, CEREMONY_KCV_LEN, kcv),
            found->objects[i].row->method);
    }
}

/* A ceremony that failed half way leaves nothing of its own behind. */
static void undo(struct p11_token *token)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_SECRET_KEY, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};

    for (size_t c = 0; c < sizeof(classes) / sizeof(classes[0]); c++) {
        struct found found = {.token = token};

        /* The public halves carry the labels of the private ones. */
        found.class = classes[c] == CKO_PUBLIC_KEY ? CKO_PRIVATE_KEY : classes[c];
        if (p11_objects_walk(token, classes[c], note_object, &found) < 0)
            continue;
        for (size_t i = 0; i < found.n; i++)
            (void)token->f->C_DestroyObject(token->anchor, found.objects[i].handle);
    }
}

static bool is_store(const struct ceremony_object *object)
{
    return object->make != NULL && (p11_store_version(object->label, P11_LABEL_DEVICE) > 0 ||
                                       p11_store_version(object->label, P11_LABEL_KEK) > 0);
}

static int make_one(struct p11_token *token, const struct ceremony_object *object,
    const struct hsm_ceremony *ceremony)
{
    if (is_store(object))
        return ceremony_make_store(
            token, object, object->label, ceremony->escrow_path, ceremony->exportable_keys);
    return object->make != NULL ? object->make(token, object) : 0;
}

static bool is_wanted(const struct ceremony_object *object, const struct hsm_ceremony *ceremony)
{
    if (strcmp(object->label, P11_LABEL_ESCROW) == 0)
        return ceremony->escrow_path != NULL;
    if (strcmp(object->label, P11_LABEL_FINGERPRINT) == 0)
        return false;
    return object->absent == NULL || ceremony->exportable_keys;
}

static int make_all(struct p11_token *token, const struct hsm_ceremony *ceremony, struct found *ret)
{
    size_t n = 0;
    int r = ceremony->escrow_path != NULL ? ceremony_make_escrow(token) : 0;

    for (size_t i = 0; r == 0 && i < CEREMONY_N_OBJECTS; i++) {
        r = make_one(token, &ceremony_objects[i], ceremony);
        n += is_wanted(&ceremony_objects[i], ceremony) ? 1 : 0;
    }
    if (r == 0)
        r = look(token, ret);
    if (r == 0 && ret->n != n)
        r = error_set(ERROR_HSM, "the token does not show every object that was made");
    if (r == 0)
        r = check(ret);
    if (r < 0) {
        char text[ERROR_TEXT_MAX];

        (void)snprintf(text, sizeof(text), "%s", error_text());
        undo(token);
        return error_set(r, "%s", text);
    }
    return 0;
}

/* Of a storage KEK any version will do. */
static bool holds(const struct found *found, const struct ceremony_object *row)
{
    for (size_t i = 0; i < found->n; i++) {
        if (found->objects[i].row == row)
            return true;
    }
    return false;
}

static const struct ceremony_object *first_missing(const struct found *found)
{
    for (size_t i = 0; i < CEREMONY_N_OBJECTS; i++) {
        if (ceremony_objects[i].absent == NULL && !holds(found, &ceremony_objects[i]))
            return &ceremony_objects[i];
    }
    return NULL;
}

static int make_on_empty(
    struct p11_token *token, const struct hsm_ceremony *ceremony, struct found *ret)
{
    const struct ceremony_object *missing;
    int r = look(token, ret);

    if (r < 0)
        return r;
    missing = first_missing(ret);
    if (ret->n > 0 && missing != NULL)
        return error_set(ERROR_CONFIG,
            "the token is incomplete: it holds %s but no %s, and nothing was made. If a ceremony "
            "was broken off and no key is sealed under it yet, clear the token and begin again; "
            "else restore it from its backup",
            ret->objects[0].label, missing->label);
    if (ret->n > 0)
        return error_set(ERROR_CONFIG,
            "the token already holds %s: nothing was made, nothing is ever overwritten",
            ret->objects[0].label);
    return make_all(token, ceremony, ret);
}

/* --- the public keys -------------------------------------------------------------------------- */

/** A file that takes its name when it is whole. */
struct pem_file {
    const char *path;
    char fresh[PATH_MAX];
    FILE *f;
};

static void pem_drop(struct pem_file *pem)
{
    if (pem->f == NULL)
        return;
    (void)fclose(pem->f);
    (void)unlink(pem->fresh);
    pem->f = NULL;
}

/* Before anything is made: a wrong path must not cost a ceremony. */
static int pem_begin(struct pem_file *pem, const char *path)
{
    struct stat st;

    pem->path = path;
    if (snprintf(pem->fresh, sizeof(pem->fresh), "%s.new", path) >= (int)sizeof(pem->fresh))
        return error_set(ERROR_CONFIG, "the path of a public key is too long");
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return error_set(ERROR_CONFIG, "%s is there and is no file", path);
    pem->f = fopen(pem->fresh, "we");
    if (pem->f == NULL) {
        (void)error_set_errno("cannot write %s", pem->fresh);
        return ERROR_CONFIG;
    }
    return 0;
}

/* What was written takes its name. */
static int pem_finish(struct pem_file *pem)
{
    if (fflush(pem->f) != 0 || fchmod(fileno(pem->f), 0644) != 0 || fsync(fileno(pem->f)) != 0 ||
        rename(pem->fresh, pem->path) != 0)
        return error_set_errno("cannot write %s", pem->path);
    (void)fclose(pem->f);
    pem->f = NULL;
    return 0;
}

static int write_exchange(struct p11_token *token, const struct found *found, struct pem_file *pem)
{
    CLEANUP(p11_pkey_free) EVP_PKEY *pkey = NULL;

    for (size_t i = 0; i < found->n; i++) {
        if (strcmp(found->objects[i].label, P11_LABEL_EXCHANGE) == 0) {
            int r = p11_exchange_read(token, found->objects[i].handle, &pkey);

            if (r == 0 && PEM_write_PUBKEY(pem->f, pkey) != 1)
                return error_set_errno("cannot write %s", pem->path);
            return r < 0 ? r : pem_finish(pem);
        }
    }
    return error_set(ERROR_CONFIG, "the token holds no %s", P11_LABEL_EXCHANGE);
}

/* From the token itself: whoever verifies need not believe a service. */
static int write_audit(struct p11_token *token, struct pem_file *pem)
{
    CLEANUP(text_done) struct text text = {0};
    struct p11_audit_key key;
    int r = p11_audit_find(token, &key);

    if (r < 0)
        return r;
    if (r > 0)
        return error_set(ERROR_CONFIG, "the token holds no %s", P11_LABEL_AUDIT);
    audit_key_write(key.encoded + P11_POINT_HEAD_LEN, &text);
    if (text.failed || fwrite(text.data, 1, text.len, pem->f) != text.len)
        return error_set_errno("cannot write %s", pem->path);
    return pem_finish(pem);
}

/* --- the acts --------------------------------------------------------------------------------- */

/* What a fresh opening of the token shows must be what was made. */
static int compare(const struct found *made, const struct found *again)
{
    for (size_t i = 0; i < made->n; i++) {
        bool same = false;

        for (size_t j = 0; j < again->n; j++)
            same = same ||
                   (strcmp(made->objects[i].label, again->objects[j].label) == 0 &&
                       memcmp(made->objects[i].kcv, again->objects[j].kcv, CEREMONY_KCV_LEN) == 0);
        if (!same)
            return error_set(ERROR_HSM,
                "after opening the token again, %s is missing or another key: do not use it",
                made->objects[i].label);
    }
    return 0;
}

int hsm_ceremony_init(const struct hsm_ceremony *ceremony, struct text *report)
{
    CLEANUP(p11_token_close) struct p11_token token = {0};
    CLEANUP(cleanup_close) int lock = -1;
    CLEANUP(pem_drop) struct pem_file pem = {.f = NULL};
    struct found made, again;
    int r = pem_begin(&pem, ceremony->exchange_key_path);

    if (r == 0)
        r = p11_lock(ceremony->lock_file, &lock);
    if (r == 0)
        r = p11_token_open(&token, ceremony->uri, true, lock);
    if (r == 0)
        r = make_on_empty(&token, ceremony, &made);
    if (r < 0)
        return r;
    p11_token_close(&token);
    sync(); /* SoftHSM writes its files without fsync: a power cut now would cost every key */
    r = p11_token_open(&token, ceremony->uri, false, lock);
    if (r == 0)
        r = look(&token, &again);
    if (r == 0)
        r = check(&again);
    if (r == 0)
        r = compare(&made, &again);
    if (r < 0)
        return r;
    /* First of all: the check values must be seen even where the file cannot be written. */
    report_found(&again, report);
    if (write_exchange(&token, &again, &pem) < 0) {
        char text[ERROR_TEXT_MAX];

        (void)snprintf(text, sizeof(text), "%s", error_text());
        return error_set(ERROR_SYSTEM,
            "every key was made and is good, but %.300s; write the public exchange key with "
            "`cradle hsm export`",
            text);
    }
    return 0;
}

int hsm_ceremony_export(const struct hsm_ceremony *ceremony)
{
    CLEANUP(p11_token_close) struct p11_token token = {0};
    CLEANUP(cleanup_close) int lock = -1;
    CLEANUP(pem_drop) struct pem_file exchange = {.f = NULL};
    CLEANUP(pem_drop) struct pem_file audit = {.f = NULL};
    struct found found;
    int r = 0;

    if (ceremony->exchange_key_path != NULL)
        r = pem_begin(&exchange, ceremony->exchange_key_path);
    if (r == 0 && ceremony->audit_key_path != NULL)
        r = pem_begin(&audit, ceremony->audit_key_path);
    if (r == 0)
        r = p11_lock(ceremony->lock_file, &lock);
    if (r == 0)
        r = p11_token_open(&token, ceremony->uri, false, lock);
    if (r == 0)
        r = look(&token, &found);
    if (r == 0 && exchange.f != NULL)
        r = write_exchange(&token, &found, &exchange);
    if (r == 0 && audit.f != NULL)
        r = write_audit(&token, &audit);
    return r;
}

/* All that is missing, a line each. */
static int report_missing(const struct found *found, struct text *report)
{
    const struct ceremony_object *missing = first_missing(found);

    for (size_t i = 0; i < CEREMONY_N_OBJECTS; i++) {
        if (!holds(found, &ceremony_objects[i]))
            text_addf(report, "%-22s %-45s %s\n", ceremony_objects[i].label,
                ceremony_objects[i].kind,
                ceremony_objects[i].absent != NULL ? ceremony_objects[i].absent : "MISSING");
    }
    if (missing == NULL)
        return 0;
    return error_set(ERROR_CONFIG, "the token is incomplete: it holds no %s", missing->label);
}

int hsm_ceremony_list(const struct hsm_ceremony *ceremony, struct text *report)
{
    CLEANUP(p11_token_close) struct p11_token token = {0};
    CLEANUP(cleanup_close) int lock = -1;
    struct found found;
    int r = p11_lock(ceremony->lock_file, &lock);

    if (r == 0)
        r = p11_token_open(&token, ceremony->uri, false, lock);
    if (r == 0)
        r = look(&token, &found);
    if (r == 0)
        r = check(&found);
    if (r < 0)
        return r;
    report_found(&found, report);
    return report_missing(&found, report);
}
