#include "activation/import_check.h"

#include "base/aes.h"
#include "base/clock.h"
#include "base/error.h"
#include <stdlib.h>
#include <string.h>

#define SALT_LEN 16
#define DIGEST_LEN 32

/* A key of a row, as a digest under a salt of this request: equal keys have equal digests, and
 * outside this request a digest says nothing. */
struct key_entry {
    uint8_t digest[DIGEST_LEN];
    uint32_t row;
};

struct eui_entry {
    uint64_t dev_eui;
    uint32_t row;
};

bool import_home_known(const struct db_directory *directory, const struct net_id *net_id)
{
    for (size_t i = 0; i < directory->n_peers; i++) {
        const struct db_peer *peer = &directory->peers[i];

        for (size_t k = 0; peer->kind == PEER_NETWORK_SERVER && k < peer->n_net_ids; k++)
            if (memcmp(&peer->net_ids[k], net_id, sizeof(*net_id)) == 0)
                return true;
    }
    return false;
}

bool import_as_known(const struct db_directory *directory, const char *as_id)
{
    for (size_t i = 0; i < directory->n_peers; i++)
        if (directory->peers[i].kind == PEER_APPLICATION_SERVER &&
            strcmp(directory->peers[i].name, as_id) == 0)
            return true;
    return false;
}

/* True when the first `prefix_len` bits are those of the prefix; /0 covers everything. */
static bool covers(const struct db_join_route *route, uint64_t join_eui)
{
    uint64_t differing = join_eui ^ eui64_to_u64(&route->prefix);

    if (route->prefix_len == 0)
        return true; /* a shift by 64 is undefined */
    return route->prefix_len <= 64 && differing >> (64 - route->prefix_len) == 0;
}

bool import_join_eui_routed(const struct db_directory *directory, const struct eui64 *join_eui)
{
    uint64_t wanted = eui64_to_u64(join_eui);

    for (size_t i = 0; i < directory->n_routes; i++)
        if (covers(&directory->routes[i], wanted))
            return true;
    return false;
}

/* All zero, or one byte sixteen times. */
static bool is_weak(const struct secret_key *key)
{
    uint8_t differing = 0;

    for (size_t i = 1; i < sizeof(key->bytes); i++)
        differing |= key->bytes[i] ^ key->bytes[0];
    return differing == 0;
}

static void check_row(struct import_row *row, const struct db_directory *directory)
{
    if (row->has_home_net_id && !import_home_known(directory, &row->home_net_id)) {
        row->fault = IMPORT_FAULT_UNKNOWN_HOME;
        return;
    }
    if (row->as_id[0] != '\0' && !import_as_known(directory, row->as_id)) {
        row->fault = IMPORT_FAULT_UNKNOWN_AS;
        return;
    }
    if (!import_join_eui_routed(directory, &row->join_eui))
        row->warnings |= 1u << IMPORT_WARN_NOT_ROUTED;
    if (is_weak(&row->app) || (row->has_nwk && is_weak(&row->nwk)))
        row->warnings |= 1u << IMPORT_WARN_WEAK_KEY;
}

static int compare_euis(const void *a, const void *b)
{
    const struct eui_entry *x = a, *y = b;

    if (x->dev_eui != y->dev_eui)
        return x->dev_eui < y->dev_eui ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static int refuse_repeated(struct import_file *file)
{
    CLEANUP(cleanup_free) struct eui_entry *entries = calloc(file->n_rows, sizeof(*entries));
    size_t n = 0;

    if (entries == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for comparing DevEUIs");
    for (size_t i = 0; i < file->n_rows; i++)
        if (file->rows[i].fault == IMPORT_FAULT_NONE)
            entries[n++] = (struct eui_entry){
                .dev_eui = eui64_to_u64(&file->rows[i].dev_eui), .row = (uint32_t)i};
    qsort(entries, n, sizeof(*entries), compare_euis);
    for (size_t i = 1; i < n; i++)
        if (entries[i].dev_eui == entries[i - 1].dev_eui)
            file->rows[entries[i].row].fault = IMPORT_FAULT_REPEATED_DEV_EUI;
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    const struct key_entry *x = a, *y = b;
    int r = memcmp(x->digest, y->digest, sizeof(x->digest));

    if (r != 0)
        return r;
    return x->row < y->row ? -1 : x->row > y->row;
}

static void digest_key(const uint8_t salt[static SALT_LEN], const struct secret_key *key,
    uint32_t row, struct key_entry *entry)
{
    uint8_t input[SALT_LEN + AES_KEY_LEN];

    memcpy(input, salt, SALT_LEN);
    memcpy(input + SALT_LEN, key->bytes, sizeof(key->bytes));
    digest_sha256(input, sizeof(input), entry->digest);
    secret_wipe(input, sizeof(input));
    entry->row = row;
}

static int digest_all(const struct import_file *file, struct key_entry *entries, size_t *ret_n)
{
    uint8_t salt[SALT_LEN];
    size_t n = 0;
    int r;

    if ((r = random_bytes(salt, sizeof(salt))) < 0)
        return r;
    for (size_t i = 0; i < file->n_rows; i++) {
        const struct import_row *row = &file->rows[i];

        if (row->fault != IMPORT_FAULT_NONE)
            continue;
        digest_key(salt, &row->app, (uint32_t)i, &entries[n++]);
        if (row->has_nwk)
            digest_key(salt, &row->nwk, (uint32_t)i, &entries[n++]);
    }
    secret_wipe(salt, sizeof(salt));
    *ret_n = n;
    return 0;
}

static int add_groups(struct import_file *file, const struct key_entry *entries, size_t n)
{
    size_t n_rows = 0;

    if (n == 0)
        return 0;
    file->group_rows = calloc(n, sizeof(*file->group_rows));
    file->group_ends = calloc(n, sizeof(*file->group_ends));
    if (file->group_rows == NULL || file->group_ends == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for comparing keys");
    for (size_t at = 0, end; at < n; at = end) {
        for (end = at + 1;
             end < n && memcmp(entries[end].digest, entries[at].digest, DIGEST_LEN) == 0; end++)
            ;
        if (end - at == 1)
            continue;
        for (size_t i = at; i < end; i++) {
            struct import_row *row = &file->rows[entries[i].row];

            row->warnings |= 1u << IMPORT_WARN_DUPLICATE_KEY;
            if (row->key_group == IMPORT_NO_GROUP)
                row->key_group = (uint32_t)file->n_groups;
            file->group_rows[n_rows++] = entries[i].row;
        }
        file->group_ends[file->n_groups++] = (uint32_t)n_rows;
    }
    return 0;
}

static int find_shared_keys(struct import_file *file)
{
    struct key_entry *entries = secret_realloc(NULL, 2 * file->n_rows * sizeof(*entries));
    size_t n = 0;
    int r;

    if (entries == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for comparing keys");
    if ((r = digest_all(file, entries, &n)) == 0) {
        qsort(entries, n, sizeof(*entries), compare_keys);
        r = add_groups(file, entries, n);
    }
    secret_free(entries);
    return r;
}

int import_check(struct import_file *file, const struct db_directory *directory)
{
    int r;

    for (size_t i = 0; i < file->n_rows; i++)
        if (file->rows[i].fault == IMPORT_FAULT_NONE)
            check_row(&file->rows[i], directory);
    if ((r = refuse_repeated(file)) < 0)
        return r;
    return find_shared_keys(file);
}
