#include "joinserver/directory.h"

#include "base/aes.h"
#include "base/error.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct join_directory {
    unsigned references; /* under the holder's lock */
    struct db_directory content;
    const struct db_peer **by_san; /* those with one, sorted */
    size_t n_by_san;
};

struct join_directory_holder {
    pthread_mutex_t lock;
    struct join_directory *current;
    _Atomic uint64_t version;
};

/* Peers by token and KEKs by (class, id) are looked up for each request: sorted once, searched. */
static int compare_peers(const void *a, const void *b)
{
    return memcmp(((const struct db_peer *)a)->token_hash, ((const struct db_peer *)b)->token_hash,
        TOKEN_HASH_LEN);
}

static int compare_sans(const void *a, const void *b)
{
    return strcmp(
        (*(const struct db_peer *const *)a)->san, (*(const struct db_peer *const *)b)->san);
}

static int compare_keks(const void *a, const void *b)
{
    const struct sealed_kek *x = a, *y = b;

    if (x->kek_class != y->kek_class)
        return x->kek_class < y->kek_class ? -1 : 1;
    return strcmp(x->peer_id, y->peer_id);
}

int join_directory_holder_new(struct join_directory_holder **ret)
{
    struct join_directory_holder *holder = calloc(1, sizeof(*holder));

    if (holder == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the directory");
    (void)pthread_mutex_init(
        &holder->lock, NULL); /* cannot fail with default attributes on Linux */
    *ret = holder;
    return 0;
}

static void directory_free(struct join_directory *directory)
{
    if (directory != NULL) {
        db_directory_done(&directory->content);
        free(directory->by_san);
        free(directory);
    }
}

void join_directory_holder_free(struct join_directory_holder *holder)
{
    if (holder == NULL)
        return;
    directory_free(holder->current);
    (void)pthread_mutex_destroy(&holder->lock);
    free(holder);
}

/* After the peers have been sorted: these are pointers to them. */
static int sort_by_san(struct join_directory *d)
{
    d->by_san = calloc(d->content.n_peers + 1, sizeof(*d->by_san));
    if (d->by_san == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the directory");
    for (size_t i = 0; i < d->content.n_peers; i++)
        if (d->content.peers[i].san[0] != '\0')
            d->by_san[d->n_by_san++] = &d->content.peers[i];
    qsort(d->by_san, d->n_by_san, sizeof(*d->by_san), compare_sans);
    return 0;
}

int join_directory_reload(struct join_directory_holder *holder, struct db *db)
{
    struct join_directory *fresh = calloc(1, sizeof(*fresh));
    struct join_directory *old;
    int r;

    if (fresh == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the directory");
    if ((r = db_directory_load(db, &fresh->content)) < 0) {
        free(fresh);
        return r;
    }
    fresh->references = 1;
    if (fresh->content.n_peers > 0)
        qsort(fresh->content.peers, fresh->content.n_peers, sizeof(struct db_peer), compare_peers);
    if (fresh->content.n_keks > 0)
        qsort(fresh->content.keks, fresh->content.n_keks, sizeof(struct sealed_kek), compare_keks);
    if ((r = sort_by_san(fresh)) < 0) {
        directory_free(fresh);
        return r;
    }
    pthread_mutex_lock(&holder->lock);
    old = holder->current;
    holder->current = fresh;
    atomic_fetch_add(&holder->version, 1);
    pthread_mutex_unlock(&holder->lock);
    join_directory_release(holder, old);
    return 0;
}

uint64_t join_directory_version(struct join_directory_holder *holder)
{
    return atomic_load(&holder->version);
}

const struct join_directory *join_directory_acquire(struct join_directory_holder *holder)
{
    struct join_directory *directory;

    pthread_mutex_lock(&holder->lock);
    directory = holder->current;
    if (directory != NULL)
        directory->references++;
    pthread_mutex_unlock(&holder->lock);
    return directory;
}

void join_directory_release(
    struct join_directory_holder *holder, const struct join_directory *directory)
{
    /* Snapshots are const to everyone but this file, which made them. */
    struct join_directory *d = (struct join_directory *)(uintptr_t)directory;
    bool last;

    if (d == NULL)
        return;
    pthread_mutex_lock(&holder->lock);
    last = --d->references == 0;
    pthread_mutex_unlock(&holder->lock);
    if (last)
        directory_free(d);
}

bool join_directory_may_ask(const struct db_peer *peer)
{
    return peer->kind == PEER_NETWORK_SERVER || peer->kind == PEER_APPLICATION_SERVER;
}

const struct db_peer *join_directory_peer(const struct join_directory *directory, const char *token)
{
    struct db_peer wanted;
    const struct db_peer *found;

    if (directory->content.n_peers == 0)
        return NULL;
    digest_sha256(token, strlen(token), wanted.token_hash);
    /* A search by the hash of 256 random bits: how long it takes tells nothing about the token. */
    found = bsearch(&wanted, directory->content.peers, directory->content.n_peers,
        sizeof(struct db_peer), compare_peers);
    return found != NULL && join_directory_may_ask(found) ? found : NULL;
}

const struct db_peer *join_directory_peer_of_san(
    const struct join_directory *directory, const char *san)
{
    size_t low = 0, high = directory->n_by_san;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = strcmp(directory->by_san[middle]->san, san);

        if (c == 0)
            return directory->by_san[middle];
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool join_directory_may_speak(const struct db_peer *peer, const struct net_id *net_id)
{
    return db_peer_has_net_id(peer, net_id);
}

bool join_directory_may_speak_as(const struct db_peer *peer, const struct eui64 *ns_id)
{
    return peer->n_ns_ids == 0 || db_peer_has_ns_id(peer, ns_id);
}

bool join_directory_only_ns_id(
    const struct join_directory *directory, const struct net_id *net_id, struct eui64 *ret)
{
    bool found = false;

    for (size_t i = 0; i < directory->content.n_peers; i++) {
        const struct db_peer *peer = &directory->content.peers[i];

        if (!db_peer_has_net_id(peer, net_id))
            continue;
        for (size_t n = 0; n < peer->n_ns_ids; n++) {
            if (found && memcmp(ret, &peer->ns_ids[n], sizeof(*ret)) != 0)
                return false;
            *ret = peer->ns_ids[n];
            found = true;
        }
    }
    return found;
}

const struct db_join_route *join_directory_route(
    const struct join_directory *directory, const struct eui64 *join_eui)
{
    return db_directory_route(&directory->content, join_eui);
}

/* As the database gives them, by id. */
static int compare_partner_id(const void *key, const void *partner)
{
    int64_t wanted = *(const int64_t *)key, id = ((const struct db_partner *)partner)->id;

    return wanted < id ? -1 : wanted > id;
}

const struct db_partner *join_directory_partner(const struct join_directory *directory, int64_t id)
{
    const struct db_directory *content = &directory->content;

    return content->n_partners == 0 ? NULL
                                    : bsearch(&id, content->partners, content->n_partners,
                                          sizeof(*content->partners), compare_partner_id);
}

/* Partners are few, and their answers are as many as requests to them: a list will do. */
const struct db_partner *join_directory_partner_of_token(
    const struct join_directory *directory, const char *token)
{
    uint8_t hash[TOKEN_HASH_LEN];

    digest_sha256(token, strlen(token), hash);
    for (size_t i = 0; i < directory->content.n_partners; i++) {
        const struct db_partner *partner = &directory->content.partners[i];

        if (partner->is_async && memcmp(partner->token_hash, hash, sizeof(hash)) == 0)
            return partner;
    }
    return NULL;
}

const struct db_partner *join_directory_partner_of_san(
    const struct join_directory *directory, const char *san)
{
    for (size_t i = 0; san[0] != '\0' && i < directory->content.n_partners; i++) {
        const struct db_partner *partner = &directory->content.partners[i];

        if (partner->is_async && strcmp(partner->san, san) == 0)
            return partner;
    }
    return NULL;
}

bool join_directory_is_local(const struct join_directory *directory, const struct eui64 *join_eui)
{
    return db_directory_routes(&directory->content, join_eui);
}

const struct sealed_kek *join_directory_ns_kek(
    const struct join_directory *directory, const struct net_id *net_id, const struct eui64 *ns_id)
{
    const struct sealed_kek *kek = NULL;
    char id[PEER_ID_MAX + 1];

    if (ns_id != NULL) {
        db_kek_peer_id(net_id, ns_id, id);
        kek = join_directory_kek(directory, KEK_CLASS_NS, id);
    }
    if (kek == NULL) {
        db_kek_peer_id(net_id, NULL, id);
        kek = join_directory_kek(directory, KEK_CLASS_NS, id);
    }
    return kek;
}

const struct sealed_kek *join_directory_kek(
    const struct join_directory *directory, enum kek_class kek_class, const char *id)
{
    size_t low = 0, high = directory->content.n_keks;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct sealed_kek *kek = &directory->content.keks[middle];
        int c = kek->kek_class != kek_class ? (kek->kek_class < kek_class ? -1 : 1)
                                            : strcmp(kek->peer_id, id);

        if (c == 0)
            return kek;
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
