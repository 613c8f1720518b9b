#include "joinserver/partners.h"

#include "base/error.h"
#include "base/metrics.h"
#include "joinserver/share.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256
#define COMPLAIN_MS 1000 /* between two log lines about a partner */

#define UNREACHABLE_WORDS "the join server of this JoinEUI cannot be asked now; try again"
#define LIE_WORDS "the join server of this JoinEUI gave an answer that cannot be used"

static const struct join_carried_row rows[N_JOIN_CARRIED] = {
#define LIE(label)                                                                                 \
    {                                                                                              \
        label, BREAKER_FAILED, JOIN_UNAVAILABLE, LIE_WORDS                                         \
    }
#define UNSENT(label)                                                                              \
    {                                                                                              \
        label, BREAKER_NOTHING_KNOWN, JOIN_UNAVAILABLE, UNREACHABLE_WORDS                          \
    }
    [JOIN_CARRIED] = {"answered", BREAKER_WELL, JOIN_SUCCESS, NULL},
    [JOIN_CARRIED_UNREACHABLE] = {"unreachable", BREAKER_FAILED, JOIN_UNAVAILABLE,
        UNREACHABLE_WORDS},
    [JOIN_CARRIED_TIMEOUT] = {"timeout", BREAKER_FAILED, JOIN_DEADLINE,
        "the join server of this JoinEUI did not answer in time; try again"},
    [JOIN_CARRIED_UNTRUSTED] = {"untrusted", BREAKER_FAILED, JOIN_UNAVAILABLE, UNREACHABLE_WORDS},
    [JOIN_CARRIED_FAILING] = {"failing", BREAKER_FAILED, JOIN_UNAVAILABLE, UNREACHABLE_WORDS},
    /* It is there; what it does not take may be the one request. Of 500 the same is true: join
     * servers say so when they have no KEK for a NetID. */
    [JOIN_CARRIED_REFUSED] = {"refused", BREAKER_WELL, JOIN_UNAVAILABLE, UNREACHABLE_WORDS},
    [JOIN_CARRIED_CUT] = LIE("cut"),
    [JOIN_CARRIED_NOT_JSON] = LIE("not_json"),
    [JOIN_CARRIED_OTHER_MESSAGE] = LIE("other_message"),
    [JOIN_CARRIED_OTHER_TRANSACTION] = LIE("other_transaction"),
    [JOIN_CARRIED_OTHER_IDS] = LIE("other_ids"),
    [JOIN_CARRIED_NO_RESULT] = LIE("no_result"),
    [JOIN_CARRIED_INCOMPLETE] = LIE("incomplete"),
    [JOIN_CARRIED_OTHER_VERSION] = LIE("other_version"),
    [JOIN_CARRIED_CLEAR_KEY] = {"clear_key", BREAKER_WELL, JOIN_UNAVAILABLE,
        "the join server of this JoinEUI gave a key in clear, which goes on over mutual TLS only"},
    [JOIN_CARRIED_OPEN] = UNSENT("open"),
    [JOIN_CARRIED_FULL] = UNSENT("full"),
    [JOIN_CARRIED_URL] = UNSENT("url"),
    [JOIN_CARRIED_CREDENTIAL] = UNSENT("credential"),
    [JOIN_CARRIED_NOT_FOUND] = UNSENT("not_found"),
    [JOIN_CARRIED_NO_SERVER] = {"no_server", BREAKER_NOTHING_KNOWN, JOIN_UNKNOWN_RECEIVER,
        "DNS knows no join server of this JoinEUI"},
    [JOIN_CARRIED_STOPPED] = UNSENT("stopped"),
    [JOIN_CARRIED_INTERNAL] = UNSENT("internal"),
#undef LIE
#undef UNSENT
};

static const enum join_carried of_fault[N_CARRY_FAULTS] = {
    [CARRY_GOOD] = JOIN_CARRIED,
    [CARRY_NOT_JSON] = JOIN_CARRIED_NOT_JSON,
    [CARRY_OTHER_MESSAGE] = JOIN_CARRIED_OTHER_MESSAGE,
    [CARRY_OTHER_TRANSACTION] = JOIN_CARRIED_OTHER_TRANSACTION,
    [CARRY_OTHER_IDS] = JOIN_CARRIED_OTHER_IDS,
    [CARRY_NO_RESULT] = JOIN_CARRIED_NO_RESULT,
    [CARRY_INCOMPLETE] = JOIN_CARRIED_INCOMPLETE,
    [CARRY_OTHER_VERSION] = JOIN_CARRIED_OTHER_VERSION,
};

/* What is told of one partner, or of all that DNS named. */
struct counts {
    char *label; /* partner="...",id="..."; NULL: of those that DNS named */
    struct metric outcomes[N_JOIN_CARRIED];
    struct metric codes[N_CARRY_CODES]; /* of those that were answered */
    struct metric_histogram seconds;
    unsigned in_flight;
};

struct join_partner {
    struct join_partner *next; /* of its bucket */
    int64_t id;
    struct breaker breaker;
    unsigned in_flight;
    unsigned taken[JOIN_SHARES]; /* of these, by who asked */
    int64_t used_ms;
    int64_t complained_ms; /* 0: never */
    unsigned n_complaints;
    struct counts *counts;
    struct counts own; /* of one of the directory */
};

struct join_partners {
    pthread_mutex_t lock;
    unsigned max_in_flight, in_flight;
    unsigned n_found;
    bool any_found; /* ever */
    struct join_partner *buckets[BUCKETS];
    struct counts found;
};

const struct join_carried_row *join_carried_row(enum join_carried outcome)
{
    return &rows[outcome];
}

enum join_carried join_carried_of_fault(enum carry_fault fault)
{
    return of_fault[fault];
}

int join_partners_new(unsigned max_in_flight, struct join_partners **ret)
{
    struct join_partners *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the partners");
    (void)pthread_mutex_init(&p->lock, NULL); /* cannot fail with default attributes on Linux */
    p->max_in_flight = max_in_flight;
    *ret = p;
    return 0;
}

static void partner_free(struct join_partner *partner)
{
    free(partner->own.label);
    free(partner);
}

void join_partners_free(struct join_partners *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct join_partner *partner = p->buckets[i], *next; partner != NULL; partner = next) {
            next = partner->next;
            partner_free(partner);
        }
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

/* From here to the public functions the caller holds the lock. */

static struct join_partner **bucket_of(struct join_partners *p, int64_t id)
{
    return &p->buckets[(uint64_t)id % BUCKETS];
}

/* Of those that DNS named the one that rests longest, unless something is on its way to all. */
static void forget_one(struct join_partners *p)
{
    struct join_partner **oldest = NULL;
    struct join_partner *gone;

    for (size_t i = 0; i < BUCKETS; i++)
        for (struct join_partner **at = &p->buckets[i]; *at != NULL; at = &(*at)->next)
            if ((*at)->id < 0 && (*at)->in_flight == 0 &&
                (oldest == NULL || (*at)->used_ms < (*oldest)->used_ms))
                oldest = at;
    if (oldest == NULL)
        return;
    gone = *oldest;
    *oldest = gone->next;
    p->n_found--;
    partner_free(gone);
}

/* A name is any text: what would end a label's value is escaped. */
static char *make_label(const struct join_partner_key *key)
{
    struct text label = {0};

    text_add(&label, "partner=\"");
    for (const char *c = key->name; *c != '\0'; c++)
        text_addf(&label, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    text_addf(&label, "\",id=\"%lld\"", (long long)key->id);
    if (!label.failed)
        return label.data;
    text_done(&label);
    return NULL;
}

static struct join_partner *make(struct join_partners *p, const struct join_partner_key *key)
{
    struct join_partner **bucket = bucket_of(p, key->id);
    struct join_partner *partner;

    if (key->id < 0 && p->n_found >= JOIN_PARTNERS_FOUND_MAX)
        forget_one(p);
    if (key->id < 0 && p->n_found >= JOIN_PARTNERS_FOUND_MAX)
        return NULL;
    if ((partner = calloc(1, sizeof(*partner))) == NULL)
        return NULL;
    partner->id = key->id;
    partner->counts = key->id < 0 ? &p->found : &partner->own;
    if (key->id >= 0 && (partner->own.label = make_label(key)) == NULL) {
        partner_free(partner);
        return NULL;
    }
    if (key->id < 0) {
        p->n_found++;
        p->any_found = true;
    }
    partner->next = *bucket;
    *bucket = partner;
    return partner;
}

/* NULL without memory, or without a place in the table. */
static struct join_partner *find(struct join_partners *p, const struct join_partner_key *key)
{
    struct join_partner *partner = *bucket_of(p, key->id);

    while (partner != NULL && partner->id != key->id)
        partner = partner->next;
    return partner != NULL ? partner : make(p, key);
}

static bool has_place(const struct join_partners *p, const struct join_partner *partner,
    const struct join_partner_key *key, int64_t peer_id)
{
    return partner->in_flight < key->max_in_flight &&
           join_share_allows(
               partner->taken[join_share_of(peer_id)], key->max_in_flight - partner->in_flight) &&
           join_share_allows(partner->in_flight, p->max_in_flight - p->in_flight);
}

static enum join_carried take(struct join_partners *p, const struct join_partner_key *key,
    int64_t peer_id, int64_t now_ms, struct join_partner_place *ret)
{
    struct join_partner *partner = find(p, key);
    enum breaker_pass pass;

    if (partner == NULL)
        return JOIN_CARRIED_INTERNAL;
    partner->used_ms = now_ms;
    if (!has_place(p, partner, key, peer_id))
        return JOIN_CARRIED_FULL;
    if ((pass = breaker_ask(&partner->breaker, now_ms)) == BREAKER_REFUSE)
        return JOIN_CARRIED_OPEN;
    partner->taken[join_share_of(peer_id)]++;
    partner->in_flight++;
    partner->counts->in_flight++;
    p->in_flight++;
    *ret = (struct join_partner_place){.partner = partner, .pass = pass, .peer_id = peer_id};
    return JOIN_CARRIED;
}

/* The public functions. */

enum join_carried join_partner_take(struct join_partners *p, const struct join_partner_key *key,
    int64_t peer_id, int64_t now_ms, struct join_partner_place *ret)
{
    enum join_carried outcome;

    pthread_mutex_lock(&p->lock);
    outcome = take(p, key, peer_id, now_ms, ret);
    pthread_mutex_unlock(&p->lock);
    if (outcome != JOIN_CARRIED)
        join_partner_count(p, key, outcome);
    return outcome;
}

bool join_partner_rests(struct join_partners *p, const struct join_partner_key *key, int64_t now_ms)
{
    const struct join_partner *partner;
    bool rests;

    pthread_mutex_lock(&p->lock);
    partner = *bucket_of(p, key->id);
    while (partner != NULL && partner->id != key->id)
        partner = partner->next;
    rests = partner != NULL && breaker_rests(&partner->breaker, now_ms);
    pthread_mutex_unlock(&p->lock);
    return rests;
}

void join_partner_end(struct join_partners *p, const struct join_partner_place *place,
    enum join_carried outcome, int64_t us, int64_t now_ms)
{
    struct join_partner *partner = place->partner;
    struct counts *counts = partner->counts;

    metric_add(&counts->outcomes[outcome], 1);
    metric_observe_us(&counts->seconds, us);
    pthread_mutex_lock(&p->lock);
    breaker_end(&partner->breaker, place->pass, rows[outcome].verdict, now_ms);
    partner->taken[join_share_of(place->peer_id)]--;
    partner->in_flight--;
    counts->in_flight--;
    p->in_flight--;
    pthread_mutex_unlock(&p->lock);
}

void join_partner_answered(const struct join_partner_place *place, unsigned code)
{
    metric_add(&place->partner->counts->codes[code], 1);
}

void join_partner_count(
    struct join_partners *p, const struct join_partner_key *key, enum join_carried outcome)
{
    struct join_partner *partner;

    pthread_mutex_lock(&p->lock);
    if ((partner = find(p, key)) != NULL)
        metric_add(&partner->counts->outcomes[outcome], 1);
    pthread_mutex_unlock(&p->lock);
}

unsigned join_partner_complains(
    struct join_partners *p, const struct join_partner_key *key, int64_t now_ms)
{
    struct join_partner *partner;
    unsigned n = 0;

    pthread_mutex_lock(&p->lock);
    if ((partner = find(p, key)) != NULL) {
        partner->n_complaints++;
        if (partner->complained_ms == 0 || now_ms - partner->complained_ms >= COMPLAIN_MS) {
            n = partner->n_complaints;
            partner->n_complaints = 0;
            partner->complained_ms = now_ms;
        }
    }
    pthread_mutex_unlock(&p->lock);
    return n;
}

static const char *label_of(const struct counts *counts)
{
    return counts->label != NULL ? counts->label : "partner=\"(dns)\",id=\"\"";
}

static void write_requests(struct counts *counts, struct text *out)
{
    for (int i = 0; i < N_JOIN_CARRIED; i++) {
        int64_t n = atomic_load_explicit(&counts->outcomes[i].value, memory_order_relaxed);

        if (n > 0)
            text_addf(out, "cradle_partner_requests_total{%s,outcome=\"%s\"} %lld\n",
                label_of(counts), rows[i].name, (long long)n);
    }
}

static void write_answers(struct counts *counts, struct text *out)
{
    for (unsigned i = 0; i < N_CARRY_CODES; i++) {
        int64_t n = atomic_load_explicit(&counts->codes[i].value, memory_order_relaxed);

        if (n > 0)
            text_addf(out, "cradle_partner_answers_total{%s,code=\"%s\"} %lld\n", label_of(counts),
                carry_code_name(i), (long long)n);
    }
}

static void write_in_flight(struct counts *counts, struct text *out)
{
    text_addf(out, "cradle_partner_in_flight{%s} %u\n", label_of(counts), counts->in_flight);
}

/* As metrics_write_histogram, of many with one name: it says what they are about once. */
static void write_seconds(struct counts *counts, struct text *out)
{
    counts->seconds.name = "cradle_partner_seconds";
    counts->seconds.labels = label_of(counts);
    metrics_write_histogram(out, &counts->seconds);
}

/* One that was revoked is told of no more: nobody asks it, and its breaker would stay as it is. */
static bool is_told(const struct join_partner *partner, const struct join_directory *directory)
{
    return partner->id >= 0 &&
           (directory == NULL || join_directory_partner(directory, partner->id) != NULL);
}

static void write_all(struct join_partners *p, const struct join_directory *directory,
    struct text *out, void (*write)(struct counts *counts, struct text *out))
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct join_partner *partner = p->buckets[i]; partner != NULL; partner = partner->next)
            if (is_told(partner, directory))
                write(&partner->own, out);
    if (p->any_found)
        write(&p->found, out);
}

static void write_breakers(
    const struct join_partners *p, const struct join_directory *directory, struct text *out)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct join_partner *partner = p->buckets[i]; partner != NULL;
             partner = partner->next)
            for (int s = 0; is_told(partner, directory) && s < N_BREAKER_STATES; s++)
                text_addf(out, "cradle_partner_breaker{%s,state=\"%s\"} %d\n",
                    label_of(&partner->own), breaker_state_name((enum breaker_state)s),
                    partner->breaker.state == (enum breaker_state)s);
}

static void write_head(struct text *out, const char *name, const char *kind, const char *help)
{
    text_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

void join_partners_metrics(
    struct join_partners *p, const struct join_directory *directory, struct text *out)
{
    pthread_mutex_lock(&p->lock);
    write_head(out, "cradle_partner_requests_total", "counter",
        "Requests that had to go to a partner, by what came of it.");
    write_all(p, directory, out, write_requests);
    write_head(out, "cradle_partner_answers_total", "counter",
        "Answers of partners that went on to who asked, by ResultCode.");
    write_all(p, directory, out, write_answers);
    write_head(out, "cradle_partner_in_flight", "gauge", "Requests on their way to a partner.");
    write_all(p, directory, out, write_in_flight);
    write_head(out, "cradle_partner_breaker", "gauge",
        "1 for the state that a partner's breaker is in: closed, open or half_open.");
    write_breakers(p, directory, out);
    write_head(out, "cradle_partner_seconds", "histogram",
        "From the first byte of a request that was sent to a partner to what came of it.");
    write_all(p, directory, out, write_seconds);
    pthread_mutex_unlock(&p->lock);
}
