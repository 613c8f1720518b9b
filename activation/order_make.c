#include "activation/order_make.h"

#include "activation/worker.h"
#include "base/clock.h"
#include "base/error.h"
#include "device/code.h"
#include "hsm/client.h"
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_GENERATION 1 /* of a device's codes */
#define RANDOM_LEN (DEVICE_CODE_RANDOM_LEN + GCM_IV_LEN)

static_assert(RANDOM_LEN <= KEYD_RANDOM_MAX, "a code and an IV are one item of random bytes");
static_assert(DB_FINGERPRINT_LEN == KEYD_FINGERPRINT_LEN, "every fingerprint is kept");
static_assert(DB_CODE_HASH_LEN == KEYD_HASH_LEN, "and every hash of a code");

enum slot_state { SLOT_ASKED, SLOT_MAKING, SLOT_MADE };

struct slot {
    enum slot_state state;
    struct order_chunk chunk;
    int result; /* of one that is made, with its sentence */
    char error[ERROR_TEXT_MAX];
};

/* What passes by while one message's devices are made: the codes are nowhere else in clear. */
struct making {
    uint8_t random[KEYD_BATCH_MAX][RANDOM_LEN];
    struct keyd_claim_code codes[KEYD_BATCH_MAX];
    struct keyd_code_hash hashes[KEYD_BATCH_MAX];
    struct keyd_make_request requests[KEYD_BATCH_MAX];
    struct keyd_make_reply app[KEYD_BATCH_MAX], nwk[KEYD_BATCH_MAX];
    struct delivery_secret secret;
};

struct maker {
    struct order_makers *all;
    struct keyd_channel *keyd;
    struct making *making;
    pthread_t thread;
    bool has_thread;
};

struct order_makers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct maker makers[ORDER_MAKERS];
    bool stopping;
    /* Changed only while nobody makes anything. */
    struct order_plan plan;
    bool has_plan;
    int64_t next; /* the first line that was not asked for */
    /* A ring: `n` of them are in use, from `first` on, in the order of lines. */
    struct slot slots[ORDER_CHUNKS];
    size_t first, n;
};

/* --- making ---------------------------------------------------------------------------------- */

static struct eui64 identifier_of(const struct order_plan *plan, int64_t line)
{
    uint64_t number = eui64_to_u64(&plan->first) + (uint64_t)line - 1;
    struct eui64 eui;

    for (size_t i = sizeof(eui.bytes); i > 0; i--, number >>= 8)
        eui.bytes[i - 1] = (uint8_t)number;
    return eui;
}

static int64_t deadline(void)
{
    return clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS;
}

static int make_keys(struct maker *m, const struct order_plan *plan,
    const struct order_chunk *chunk, size_t at, size_t n, enum key_slot slot,
    struct keyd_make_reply *replies)
{
    const struct sealed_kek *transport = &plan->transport;
    struct making *w = m->making;
    int r;

    for (size_t i = 0; i < n; i++)
        w->requests[i] = (struct keyd_make_request){.dev_eui = chunk->rows[at + i].record.dev_eui,
            .join_eui = plan->shape.join_eui,
            .slot = slot,
            .is_sigfox = plan->shape.is_sigfox,
            .form = plan->shape.is_legacy ? KEYD_MADE_RECORD : KEYD_MADE_WRAPPED,
            .transport_kek = 0};
    r = keyd_make_device_keys(m->keyd, &transport, 1, w->requests, n, replies, deadline());
    for (size_t i = 0; r == 0 && i < n; i++)
        if (replies[i].status != KEYD_OK)
            r = error_set(
                ERROR_HSM, "a device key was not made: %s", keyd_status_text(replies[i].status));
    return r;
}

static int make_codes(
    struct maker *m, const struct order_plan *plan, struct order_chunk *chunk, size_t at, size_t n)
{
    struct making *w = m->making;
    int r = keyd_random(m->keyd, w->random[0], sizeof(w->random[0]), n, deadline());

    for (size_t i = 0; r == 0 && i < n; i++) {
        struct keyd_claim_code *code = &w->codes[i];
        char text[DEVICE_CODE_MADE_MAX + 1];

        device_code_make(w->random[i], plan->code_length, text);
        *code = (struct keyd_claim_code){.dev_eui = chunk->rows[at + i].record.dev_eui,
            .generation = FIRST_GENERATION,
            .code_len = (uint8_t)strlen(text)};
        memcpy(code->code, text, code->code_len);
        secret_wipe(text, sizeof(text));
    }
    if (r == 0)
        r = keyd_hash_claim_codes(m->keyd, w->codes, n, w->hashes, deadline());
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct db_code *code = &chunk->codes[at + i];

        *code = (struct db_code){.dev_eui = w->codes[i].dev_eui,
            .generation = w->codes[i].generation,
            .version = w->hashes[i].version};
        memcpy(code->hash, w->hashes[i].hash, sizeof(code->hash));
    }
    return r;
}

static void take_key(const struct keyd_make_reply *reply, struct db_batch_key *ret)
{
    *ret = (struct db_batch_key){.sealed = reply->sealed, .origin = DB_KEY_MADE};
    memcpy(ret->fingerprint, reply->fingerprint, sizeof(ret->fingerprint));
}

/* The keys as they leave. */
static void put_keys(const struct order_plan *plan, const struct keyd_make_reply *app,
    const struct keyd_make_reply *nwk, uint8_t *out)
{
    const struct delivery_shape *shape = &plan->shape;

    if (!shape->is_legacy) {
        memcpy(out, app->wrapped, sizeof(app->wrapped));
        if (shape->has_nwk)
            memcpy(out + sizeof(app->wrapped), nwk->wrapped, sizeof(nwk->wrapped));
        return;
    }
    memcpy(out, app->record.identifier, AES_KEY_LEN);
    memcpy(out + AES_KEY_LEN, app->record.key, AES_KEY_LEN);
    if (!shape->is_sigfox)
        memcpy(out + (size_t)2 * AES_KEY_LEN, shape->has_nwk ? nwk->record.key : app->record.no_key,
            AES_KEY_LEN);
}

static int seal(struct maker *m, const struct order_plan *plan, struct gcm *gcm,
    struct order_chunk *chunk, size_t at, size_t i)
{
    struct making *w = m->making;
    struct delivery_record *record = &chunk->records[at + i];
    struct db_batch_row *row = &chunk->rows[at + i];

    take_key(&w->app[i], &row->app);
    if (row->has_nwk)
        take_key(&w->nwk[i], &row->nwk);
    *record = (struct delivery_record){.line = (uint32_t)row->line, .dev_eui = row->record.dev_eui};
    memcpy(record->app_kcv, w->app[i].kcv, sizeof(record->app_kcv));
    if (row->has_nwk)
        memcpy(record->nwk_kcv, w->nwk[i].kcv, sizeof(record->nwk_kcv));
    w->secret = (struct delivery_secret){.keys = {0}};
    memcpy(w->secret.code, w->codes[i].code, w->codes[i].code_len);
    put_keys(plan, &w->app[i], &w->nwk[i], w->secret.keys);
    return delivery_seal(
        gcm, plan->batch, &plan->shape, &w->secret, w->random[i] + DEVICE_CODE_RANDOM_LEN, record);
}

/* Nobody's, and inert, until whoever builds them says which were built. */
static void begin_row(const struct order_plan *plan, int64_t line, struct db_batch_row *ret)
{
    *ret = (struct db_batch_row){
        .record = {.dev_eui = identifier_of(plan, line),
            .join_eui = plan->shape.join_eui,
            .mac_version = plan->shape.mac_version,
            .credential = CREDENTIAL_GENERATED,
            .ownership = OWNERSHIP_UNOWNED,
            .service = SERVICE_INACTIVE,
            .trust = TRUST_OK},
        .line = line,
        .has_nwk = plan->shape.has_nwk,
        .last_dev_nonce = DEVICE_NO_NONCE,
    };
}

/* One message of each kind. */
static int make_some(struct maker *m, const struct order_plan *plan, struct gcm *gcm,
    struct order_chunk *chunk, size_t at, size_t n)
{
    int r;

    for (size_t i = 0; i < n; i++)
        begin_row(plan, chunk->line + (int64_t)(at + i), &chunk->rows[at + i]);
    if ((r = make_codes(m, plan, chunk, at, n)) < 0 ||
        (r = make_keys(m, plan, chunk, at, n, KEY_SLOT_APP, m->making->app)) < 0 ||
        (plan->shape.has_nwk &&
            (r = make_keys(m, plan, chunk, at, n, KEY_SLOT_NWK, m->making->nwk)) < 0))
        return r;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = seal(m, plan, gcm, chunk, at, i);
    return r;
}

static int make_chunk(struct maker *m, const struct order_plan *plan, struct order_chunk *chunk)
{
    CLEANUP(gcm_freep) struct gcm *gcm = NULL;
    int r = gcm_new(plan->key, &gcm);

    for (size_t at = 0; r == 0 && at < chunk->n; at += KEYD_BATCH_MAX)
        r = make_some(m, plan, gcm, chunk, at,
            chunk->n - at < KEYD_BATCH_MAX ? chunk->n - at : KEYD_BATCH_MAX);
    secret_wipe(m->making, sizeof(*m->making));
    return r;
}

/* --- the threads ----------------------------------------------------------------------------- */

static struct slot *slot_at(struct order_makers *all, size_t i)
{
    return &all->slots[(all->first + i) % ORDER_CHUNKS];
}

/* Holding the lock. NULL: there is nothing to do. */
static struct slot *find_asked(struct order_makers *all)
{
    for (size_t i = 0; i < all->n; i++)
        if (slot_at(all, i)->state == SLOT_ASKED)
            return slot_at(all, i);
    return NULL;
}

static void *maker_main(void *context)
{
    struct maker *m = context;
    struct order_makers *all = m->all;

    (void)pthread_mutex_lock(&all->lock);
    while (!all->stopping) {
        struct slot *slot = find_asked(all);

        if (slot == NULL) {
            (void)pthread_cond_wait(&all->changed, &all->lock);
            continue;
        }
        slot->state = SLOT_MAKING;
        (void)pthread_mutex_unlock(&all->lock);
        slot->result = make_chunk(m, &all->plan, &slot->chunk);
        if (slot->result < 0)
            (void)snprintf(slot->error, sizeof(slot->error), "%s", error_text());
        (void)pthread_mutex_lock(&all->lock);
        slot->state = SLOT_MADE;
        (void)pthread_cond_broadcast(&all->changed);
    }
    (void)pthread_mutex_unlock(&all->lock);
    return NULL;
}

int order_makers_start(struct act_service *service, unsigned channel, struct order_makers **ret)
{
    struct order_makers *all = calloc(1, sizeof(*all));
    int r = 0;

    if (all == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for making credentials");
    (void)pthread_mutex_init(&all->lock, NULL);
    (void)pthread_cond_init(&all->changed, NULL);
    for (unsigned i = 0; r == 0 && i < ORDER_MAKERS; i++) {
        struct maker *m = &all->makers[i];

        *m = (struct maker){.all = all,
            .keyd = keyd_pool_channel(service->pool, channel + i),
            .making = secret_realloc(NULL, sizeof(*m->making))};
        if (m->making == NULL || pthread_create(&m->thread, NULL, maker_main, m) != 0)
            r = error_set(ERROR_SYSTEM, "cannot start a thread that makes credentials");
        else
            m->has_thread = true;
    }
    if (r < 0) {
        order_makers_stop(all);
        return r;
    }
    *ret = all;
    return 0;
}

void order_makers_stop(struct order_makers *all)
{
    if (all == NULL)
        return;
    (void)pthread_mutex_lock(&all->lock);
    all->stopping = true;
    (void)pthread_cond_broadcast(&all->changed);
    (void)pthread_mutex_unlock(&all->lock);
    for (unsigned i = 0; i < ORDER_MAKERS; i++) {
        if (all->makers[i].has_thread)
            (void)pthread_join(all->makers[i].thread, NULL);
        secret_free(all->makers[i].making);
    }
    secret_wipe(&all->plan, sizeof(all->plan));
    (void)pthread_cond_destroy(&all->changed);
    (void)pthread_mutex_destroy(&all->lock);
    free(all);
}

/* --- asked for and taken --------------------------------------------------------------------- */

/* Holding the lock; waits until nobody makes anything. */
static void forget(struct order_makers *all)
{
    bool busy = true;

    for (size_t i = 0; i < all->n; i++)
        if (slot_at(all, i)->state == SLOT_ASKED)
            slot_at(all, i)->state = SLOT_MADE;
    while (busy) {
        busy = false;
        for (size_t i = 0; i < all->n; i++)
            busy |= slot_at(all, i)->state == SLOT_MAKING;
        if (busy)
            (void)pthread_cond_wait(&all->changed, &all->lock);
    }
    all->n = 0;
    all->has_plan = false;
    secret_wipe(&all->plan, sizeof(all->plan));
}

void order_makers_forget(struct order_makers *all)
{
    (void)pthread_mutex_lock(&all->lock);
    forget(all);
    (void)pthread_mutex_unlock(&all->lock);
}

void order_makers_begin(struct order_makers *all, const struct order_plan *plan, int64_t line)
{
    int64_t stands;

    (void)pthread_mutex_lock(&all->lock);
    stands = all->n > 0 ? slot_at(all, 0)->chunk.line : all->next;
    if (!all->has_plan || stands != line ||
        memcmp(all->plan.job, plan->job, sizeof(plan->job)) != 0) {
        forget(all);
        all->plan = *plan;
        all->has_plan = true;
        all->next = line;
    }
    (void)pthread_mutex_unlock(&all->lock);
}

int64_t order_makers_next(const struct order_makers *all)
{
    return all->next;
}

bool order_makers_ask(struct order_makers *all, size_t n)
{
    struct slot *slot;

    if (all->n == ORDER_CHUNKS)
        return false;
    (void)pthread_mutex_lock(&all->lock);
    slot = slot_at(all, all->n++);
    slot->state = SLOT_ASKED;
    slot->result = 0;
    slot->chunk.line = all->next;
    slot->chunk.n = n;
    all->next += (int64_t)n;
    (void)pthread_cond_broadcast(&all->changed);
    (void)pthread_mutex_unlock(&all->lock);
    return true;
}

int order_makers_take(struct order_makers *all, const struct order_chunk **ret)
{
    struct slot *slot;
    int r;

    if (all->n == 0)
        return error_set(ERROR_INTERNAL, "no chunk of an order was asked for");
    (void)pthread_mutex_lock(&all->lock);
    slot = slot_at(all, 0);
    while (slot->state != SLOT_MADE)
        (void)pthread_cond_wait(&all->changed, &all->lock);
    (void)pthread_mutex_unlock(&all->lock);
    if ((r = slot->result) < 0)
        return error_set(r, "%s", slot->error);
    *ret = &slot->chunk;
    return 0;
}

void order_makers_give_back(struct order_makers *all)
{
    (void)pthread_mutex_lock(&all->lock);
    all->first = (all->first + 1) % ORDER_CHUNKS;
    all->n--;
    (void)pthread_mutex_unlock(&all->lock);
}
