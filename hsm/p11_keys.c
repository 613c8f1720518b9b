#include "hsm/p11_keys.h"

#include "base/error.h"
#include "hsm/p11_ops.h"
#include "hsm/tag.h"
#include <string.h>

#define WALK_MAX 4096 /* a token for us holds a handful; a linear search of more is a mistake */
#define WALK_STEP 64
#define LABEL_READ_MAX 128

unsigned p11_store_version(const char *label, const char *prefix)
{
    size_t len = strlen(prefix);
    unsigned version = 0;

    if (strncmp(label, prefix, len) != 0 || label[len] < '1' || label[len] > '9')
        return 0;
    for (const char *p = label + len; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return 0;
        version = version * 10 + (unsigned)(*p - '0');
        if (version > P11_STORE_VERSION_MAX)
            return 0;
    }
    return version;
}

const struct p11_store_kek *p11_store_find(const struct p11_store *store, const char *label)
{
    for (size_t i = 0; i < store->n; i++) {
        if (strcmp(store->keks[i].label, label) == 0)
            return &store->keks[i];
    }
    return NULL;
}

const struct p11_store_kek *p11_store_version_find(const struct p11_store *store, unsigned version)
{
    for (size_t i = 0; i < store->n; i++) {
        if (store->keks[i].version == version)
            return &store->keks[i];
    }
    return NULL;
}

const struct p11_store_kek *p11_store_newest(const struct p11_store *store)
{
    const struct p11_store_kek *newest = NULL;

    for (size_t i = 0; i < store->n; i++) {
        const struct p11_store_kek *kek = &store->keks[i];

        if (!kek->pending && (newest == NULL || kek->version > newest->version))
            newest = kek;
    }
    return newest;
}

static int read_label(struct p11_token *token, CK_OBJECT_HANDLE handle, char *label, size_t size)
{
    CK_ATTRIBUTE attribute = {CKA_LABEL, label, size - 1};
    CK_RV rv;

    label[0] = '\0';
    rv = token->f->C_GetAttributeValue(token->anchor, handle, &attribute, 1);
    if (rv == CKR_BUFFER_TOO_SMALL || rv == CKR_ATTRIBUTE_TYPE_INVALID)
        return 0; /* not one of ours */
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_GetAttributeValue");
    label[attribute.ulValueLen] = '\0';
    return 0;
}

int p11_objects_walk(struct p11_token *token, CK_OBJECT_CLASS class,
    int (*found)(void *context, CK_OBJECT_HANDLE handle, const char *label), void *context)
{
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE wanted[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_TOKEN, &yes, sizeof(yes)},
    };
    CLEANUP(cleanup_free) CK_OBJECT_HANDLE *handles = calloc(WALK_MAX, sizeof(*handles));
    CK_ULONG n = 0, got = 0;
    CK_RV rv;
    int r;

    if (handles == NULL)
        return error_set(ERROR_SYSTEM, "no memory");
    rv = token->f->C_FindObjectsInit(token->anchor, wanted, sizeof(wanted) / sizeof(wanted[0]));
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_FindObjectsInit");
    do {
        rv = token->f->C_FindObjects(token->anchor, handles + n, WALK_STEP, &got);
        if (rv != CKR_OK)
            return p11_failed(token, rv, "C_FindObjects");
        n += got;
    } while (got > 0 && n + WALK_STEP <= WALK_MAX);
    rv = token->f->C_FindObjectsFinal(token->anchor);
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_FindObjectsFinal");
    if (got > 0)
        return error_set(
            ERROR_CONFIG, "the token holds more than %d objects: give Cradle its own", WALK_MAX);
    for (CK_ULONG i = 0; i < n; i++) {
        char label[LABEL_READ_MAX];

        r = read_label(token, handles[i], label, sizeof(label));
        if (r == 0)
            r = found(context, handles[i], label);
        if (r < 0)
            return r;
    }
    return 0;
}

static int twice(const char *label)
{
    return error_set(ERROR_CONFIG, "the token holds two objects labelled %s", label);
}

static int add_version(
    struct p11_store *store, CK_OBJECT_HANDLE handle, const char *label, unsigned version)
{
    struct p11_store_kek *kek = &store->keks[store->n];

    if (p11_store_find(store, label) != NULL)
        return twice(label);
    if (store->n == P11_STORE_VERSIONS_MAX)
        return error_set(
            ERROR_CONFIG, "the token holds more than %d versions of a key", P11_STORE_VERSIONS_MAX);
    memcpy(kek->label, label, strlen(label) + 1);
    kek->version = version;
    store->n++;
    kek->handle = handle;
    return 0;
}

static int found_secret(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    struct p11_keys *keys = context;
    const struct {
        const char *label;
        CK_OBJECT_HANDLE *handle;
    } singles[] = {
        {P11_LABEL_TOKEN, &keys->token},
        {P11_LABEL_FINGERPRINT, &keys->fingerprint},
    };
    const struct {
        const char *prefix;
        struct p11_store *store;
    } stores[] = {
        {P11_LABEL_DEVICE, &keys->device},
        {P11_LABEL_EXPORT, &keys->export},
        {P11_LABEL_KEK, &keys->kek},
        {P11_LABEL_TAG, &keys->tag},
        {P11_LABEL_CODE, &keys->code},
        {P11_LABEL_REWRAP_DEVICE, &keys->rewrap_device},
        {P11_LABEL_REWRAP_KEK, &keys->rewrap_kek},
    };

    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
        const unsigned version = p11_store_version(label, stores[i].prefix);

        if (version > 0)
            return add_version(stores[i].store, handle, label, version);
    }
    for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++) {
        if (strcmp(label, singles[i].label) != 0)
            continue;
        if (*singles[i].handle != CK_INVALID_HANDLE)
            return twice(label);
        *singles[i].handle = handle;
        return 0;
    }
    return 0;
}

static int found_private(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    struct p11_keys *keys = context;

    if (strcmp(label, P11_LABEL_EXCHANGE) != 0)
        return 0;
    if (keys->exchange != CK_INVALID_HANDLE)
        return twice(label);
    keys->exchange = handle;
    return 0;
}

static int found_mark(void *context, CK_OBJECT_HANDLE handle, const char *label)
{
    struct p11_keys *keys = context;
    struct p11_store *const stores[] = {&keys->device, &keys->kek, &keys->tag, &keys->code};
    const size_t len = strlen(P11_LABEL_PENDING);

    (void)handle;
    if (strncmp(label, P11_LABEL_PENDING, len) != 0)
        return 0;
    for (size_t s = 0; s < sizeof(stores) / sizeof(stores[0]); s++) {
        for (size_t i = 0; i < stores[s]->n; i++) {
            if (strcmp(stores[s]->keks[i].label, label + len) == 0)
                stores[s]->keks[i].pending = true;
        }
    }
    return 0;
}

/* NULL: nothing. */
static const char *first_missing(const struct p11_keys *keys)
{
    if (p11_store_newest(&keys->device) == NULL)
        return P11_LABEL_DEVICE "1";
    if (p11_store_newest(&keys->kek) == NULL)
        return P11_LABEL_KEK "1";
    if (p11_store_newest(&keys->tag) == NULL)
        return P11_LABEL_TAG "1";
    if (p11_store_newest(&keys->code) == NULL)
        return P11_LABEL_CODE "1";
    if (keys->fingerprint == CK_INVALID_HANDLE && p11_store_version_find(&keys->tag, 1) == NULL)
        return P11_LABEL_FINGERPRINT;
    if (keys->token == CK_INVALID_HANDLE)
        return P11_LABEL_TOKEN;
    return keys->exchange == CK_INVALID_HANDLE ? P11_LABEL_EXCHANGE : NULL;
}

int p11_keys_find(struct p11_token *token, struct p11_keys *ret)
{
    const char *missing;
    int r;

    *ret = (struct p11_keys){0};
    r = p11_objects_walk(token, CKO_SECRET_KEY, found_secret, ret);
    if (r == 0)
        r = p11_objects_walk(token, CKO_DATA, found_mark, ret);
    if (r == 0)
        r = p11_objects_walk(token, CKO_PRIVATE_KEY, found_private, ret);
    if (r < 0)
        return r;
    missing = first_missing(ret);
    if (missing != NULL)
        return error_set(
            ERROR_CONFIG, "the token holds no %s: run `cradle hsm init` first", missing);
    return 0;
}

bool p11_key_is_copied(const char *label)
{
    return p11_store_version(label, P11_LABEL_TAG) > 0 ||
           p11_store_version(label, P11_LABEL_DEVICE) > 0 ||
           strcmp(label, P11_LABEL_FINGERPRINT) == 0;
}

/* The copy can do what its key is for and nothing else, whatever the key itself could be made to do
 * by whoever has the PIN; and once made it cannot be modified. */
static int copy_into_session(struct p11_token *token, CK_OBJECT_HANDLE *handle, bool is_store,
    bool *ret_copied, bool *ret_refused)
{
    CK_BBOOL no = CK_FALSE, store = is_store, hmac = !is_store;
    CK_ATTRIBUTE changes[] = {
        {CKA_TOKEN, &no, sizeof(no)},
        {CKA_WRAP, &store, sizeof(store)},
        {CKA_UNWRAP, &store, sizeof(store)},
        {CKA_SIGN, &hmac, sizeof(hmac)},
        {CKA_VERIFY, &no, sizeof(no)},
        {CKA_ENCRYPT, &no, sizeof(no)},
        {CKA_DECRYPT, &no, sizeof(no)},
        {CKA_DERIVE, &no, sizeof(no)},
        {CKA_MODIFIABLE, &no, sizeof(no)},
    };
    CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
    CK_RV rv = token->f->C_CopyObject(
        token->anchor, *handle, changes, sizeof(changes) / sizeof(changes[0]), &copy);

    if (rv == CKR_ATTRIBUTE_READ_ONLY || rv == CKR_ACTION_PROHIBITED) {
        *ret_refused = true;
        return 0;
    }
    if (rv != CKR_OK)
        return p11_failed(token, rv, "C_CopyObject");
    *handle = copy;
    *ret_copied = true;
    return 0;
}

static int copy_versions(
    struct p11_token *token, struct p11_store *store, bool is_store, bool *ret_refused)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < store->n; i++)
        r = copy_into_session(
            token, &store->keks[i].handle, is_store, &store->keks[i].copied, ret_refused);
    return r;
}

int p11_keys_copy(struct p11_token *token, struct p11_keys *keys)
{
    int r;

    if (!token->quirks->works_on_copies)
        return 0;
    r = copy_versions(token, &keys->device, true, &keys->in_place);
    if (r == 0)
        r = copy_versions(token, &keys->tag, false, &keys->in_place);
    if (r == 0 && keys->fingerprint != CK_INVALID_HANDLE)
        r = copy_into_session(
            token, &keys->fingerprint, false, &keys->fingerprint_copied, &keys->in_place);
    return r;
}

static void drop_versions(struct p11_token *token, const struct p11_store *store)
{
    for (size_t i = 0; i < store->n; i++) {
        if (store->keks[i].copied)
            (void)token->f->C_DestroyObject(token->anchor, store->keks[i].handle);
    }
}

void p11_keys_drop(struct p11_token *token, struct p11_keys *keys)
{
    drop_versions(token, &keys->device);
    drop_versions(token, &keys->tag);
    if (keys->fingerprint_copied)
        (void)token->f->C_DestroyObject(token->anchor, keys->fingerprint);
    *keys = (struct p11_keys){0};
}

int p11_fingerprint_value(
    struct p11_token *token, const struct p11_keys *keys, uint8_t out[static KEYED_LEN])
{
    const struct p11_store_kek *first = p11_store_version_find(&keys->tag, 1);
    uint8_t input[HSM_TAG_INPUT_MAX];

    if (first == NULL)
        return error_set(ERROR_CONFIG, "the token holds no %s", P11_LABEL_FINGERPRINT);
    return p11_hmac(token, first->handle, input, hsm_tag_input_fingerprint_key(input), out);
}

static bool same_store(const struct p11_store *a, const struct p11_store *b)
{
    for (size_t i = 0; i < a->n; i++) {
        const struct p11_store_kek *other = p11_store_find(b, a->keks[i].label);

        if (other == NULL || other->pending != a->keks[i].pending)
            return false;
    }
    return a->n == b->n;
}

bool p11_keys_same(const struct p11_keys *a, const struct p11_keys *b)
{
    return same_store(&a->device, &b->device) && same_store(&a->kek, &b->kek) &&
           same_store(&a->export, &b->export) && same_store(&a->rewrap_device, &b->rewrap_device) &&
           same_store(&a->rewrap_kek, &b->rewrap_kek) && same_store(&a->tag, &b->tag) &&
           same_store(&a->code, &b->code) &&
           (a->fingerprint == CK_INVALID_HANDLE) == (b->fingerprint == CK_INVALID_HANDLE);
}
