#include "joinserver/dns.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/metrics.h"
#include "joinserver/forward_internal.h"
#include "joinserver/share.h"
#include <stdio.h>
#include <string.h>

/* A search and the request that it is for. */
struct search {
    struct search *next_free;
    struct join_dns *owner;
    struct join_forward *forward; /* not looked into once it was sent or ended */
    int64_t peer_id;              /* of who asked */
    struct find find;
};

struct join_dns {
    struct join_dns_config config;
    enum ts002_version version;
    struct finder *finder; /* NULL: the mode is off, or it is stopped; asked under the lock */
    bool is_off;
    struct metric outcomes[DNS_N_OUTCOMES], refused;
    pthread_mutex_t lock;
    struct search *free;         /* under the lock, as what follows */
    unsigned n_taken;            /* searches */
    unsigned taken[JOIN_SHARES]; /* by who asked */
    bool stopping;
    struct search searches[];
};

static const char *const outcome_labels[DNS_N_OUTCOMES] = {
    [DNS_FOUND] = "outcome=\"found\"",
    [DNS_NONE] = "outcome=\"none\"",
    [DNS_BOGUS] = "outcome=\"bogus\"",
    [DNS_FAILED] = "outcome=\"failed\"",
    [DNS_TIMEOUT] = "outcome=\"timeout\"",
    [DNS_REFUSED] = "outcome=\"refused\"",
};

int join_dns_open(const struct join_dns_config *config, struct join_dns **ret)
{
    const bool is_off = strcmp(config->find->mode, "off") == 0;
    const unsigned n = is_off ? 0 : config->find->max_lookups;
    struct join_dns *dns = calloc(1, sizeof(*dns) + n * sizeof(dns->searches[0]));
    int r;

    if (dns == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for %u searches", n);
    dns->config = *config;
    dns->is_off = is_off;
    dns->version = strcmp(config->protocol_version, "1.1") == 0 ? TS002_1_1 : TS002_1_0;
    (void)pthread_mutex_init(&dns->lock, NULL); /* cannot fail with default attributes on Linux */
    for (size_t i = 0; i < DNS_N_OUTCOMES; i++)
        dns->outcomes[i] = (struct metric){.name = "cradle_dns_searches_total",
            .labels = outcome_labels[i],
            .help = "Searches by DNS for the server of a JoinEUI, by what came of it."};
    dns->refused = (struct metric){.name = "cradle_dns_searches_refused_total",
        .help = "Requests refused since too many searches by DNS were on their way."};
    for (unsigned i = 0; i < n; i++) {
        dns->searches[i] = (struct search){.owner = dns, .next_free = dns->free};
        dns->free = &dns->searches[i];
    }
    if (dns->version == TS002_1_0 && strcmp(config->protocol_version, "1.0") != 0)
        r = error_set(ERROR_CONFIG, "roaming.dns_protocol_version is 1.0 or 1.1");
    else
        r = finder_start(config->find, &dns->finder);
    if (r < 0) {
        join_dns_free(dns);
        return r;
    }
    *ret = dns;
    return 0;
}

void join_dns_stop(struct join_dns *dns)
{
    if (dns == NULL)
        return;
    pthread_mutex_lock(&dns->lock);
    dns->stopping = true;
    pthread_mutex_unlock(&dns->lock);
    finder_stop(dns->finder);
    dns->finder = NULL;
}

void join_dns_free(struct join_dns *dns)
{
    if (dns == NULL)
        return;
    (void)pthread_mutex_destroy(&dns->lock);
    free(dns);
}

/* Fewer than all are a requester's: NULL when there is none for him. */
static struct search *take_search(struct join_dns *dns, struct join_forward *forward)
{
    unsigned *taken = &dns->taken[join_share_of(forward->peer_id)];
    struct search *search = NULL;

    pthread_mutex_lock(&dns->lock);
    if (!dns->stopping && join_share_allows(*taken, dns->config.find->max_lookups - dns->n_taken)) {
        search = dns->free;
        dns->free = search->next_free;
        search->forward = forward;
        search->peer_id = forward->peer_id;
        (*taken)++;
        dns->n_taken++;
    }
    pthread_mutex_unlock(&dns->lock);
    return search;
}

static struct join_forward *give_search(struct search *search)
{
    struct join_dns *dns = search->owner;
    struct join_forward *forward = search->forward;

    pthread_mutex_lock(&dns->lock);
    dns->taken[join_share_of(search->peer_id)]--;
    dns->n_taken--;
    search->next_free = dns->free;
    dns->free = search;
    pthread_mutex_unlock(&dns->lock);
    return forward;
}

/* Below JOIN_PARTNER_FOUND, and the same for a host and port each time. Others cannot be made to
 * have the same: who finds two hosts of one number has broken SHA-256, or tried 2^31 of them for
 * his own two. */
static bool id_of(const struct dns_url *url, int64_t *ret)
{
    CLEANUP(digest_freep) struct digest *digest = NULL;
    uint8_t bytes[DIGEST_LEN];
    uint64_t id = 0;

    if (digest_new(&digest) < 0)
        return false;
    digest_add(digest, &url->port, sizeof(url->port));
    digest_add(digest, url->host, strlen(url->host));
    if (digest_so_far(digest, bytes) < 0)
        return false;
    for (size_t i = 0; i < sizeof(id); i++)
        id = id << 8 | bytes[i];
    *ret = -(int64_t)(id >> 2) - 2;
    return true;
}

/* The first server that is not left alone; without one the first. NULL: no memory. */
static const struct find_target *choose(
    struct join_partners *partners, const struct find_steps *steps, struct join_partner_key *key)
{
    const int64_t now_ms = clock_monotonic_ms();
    int64_t first_id = 0;

    for (size_t i = 0; i < steps->n_targets; i++) {
        if (!id_of(&steps->targets[i].url, &key->id))
            return NULL;
        if (!join_partner_rests(partners, key, now_ms))
            return &steps->targets[i];
        if (i == 0)
            first_id = key->id;
    }
    key->id = first_id;
    return &steps->targets[0];
}

static void send_found(struct join_dns *dns, struct search *search)
{
    char url[FIND_URL_MAX], name[PEER_ID_MAX + 1];
    struct join_target target = {.version = dns->version,
        .credential = dns->config.credential,
        .timeout_ms = dns->config.timeout_ms,
        .key = {.name = name, .max_in_flight = dns->config.max_in_flight}};
    const struct find_target *found =
        choose(dns->config.forwards->partners, &search->find.steps, &target.key);

    if (found == NULL) {
        join_forward_end(give_search(search), JOIN_CARRIED_INTERNAL, error_text());
        return;
    }
    (void)snprintf(name, sizeof(name), "%.*s", PEER_ID_MAX, found->url.host);
    target.url = find_target_url(found, url);
    target.pinned = found->addresses;
    target.n_pinned = found->n_addresses;
    target.pinned_port = found->url.port;
    join_forward_send(search->forward, &target);
    (void)give_search(search);
}

/* On the resolver's thread. */
static void search_ended(struct find *find)
{
    struct search *search = find->context;
    struct join_dns *dns = search->owner;
    char why[FIND_WHY_MAX];
    enum join_carried outcome = JOIN_CARRIED_NOT_FOUND;

    metric_add(&dns->outcomes[find->steps.outcome], 1);
    if (find->steps.outcome == DNS_FOUND) {
        send_found(dns, search);
        return;
    }
    if (find->steps.outcome == DNS_NONE)
        outcome = JOIN_CARRIED_NO_SERVER;
    (void)snprintf(why, sizeof(why), "%s", find->steps.why);
    join_forward_end(give_search(search), outcome, why);
}

/* The search has the time of its settings, and no longer than the request. */
static int64_t deadline_of(const struct join_dns *dns, const struct join_forward *forward)
{
    const int64_t own_ms = clock_monotonic_ms() + (int64_t)dns->config.find->timeout_ms;
    const int64_t all_ms = forward->taken_ms + (int64_t)dns->config.timeout_ms;

    return own_ms < all_ms ? own_ms : all_ms;
}

/* False: it is stopping. Under the lock, so that the finder is there; no search ends before it has
 * asked something, and so none in here. */
static bool begin_search(struct join_dns *dns, struct search *search, const char *name)
{
    bool begun;

    pthread_mutex_lock(&dns->lock);
    if ((begun = !dns->stopping))
        finder_ask(dns->finder, &search->find, name);
    pthread_mutex_unlock(&dns->lock);
    return begun;
}

void join_dns_send(struct join_dns *dns, struct join_forward *forward)
{
    char name[FIND_NAME_MAX + 1];
    struct search *search;

    if (dns->is_off) {
        join_forward_end(forward, JOIN_CARRIED_NOT_FOUND, "dns.mode is off");
        return;
    }
    if (find_name_of_join_eui(&forward->request.receiver, dns->config.find->join_eui_suffix, name) <
        0) {
        join_forward_end(forward, JOIN_CARRIED_INTERNAL, error_text());
        return;
    }
    if ((search = take_search(dns, forward)) == NULL) {
        metric_add(&dns->refused, 1);
        join_forward_end(forward, JOIN_CARRIED_FULL, "too many searches are on their way");
        return;
    }
    search->find = (struct find){
        .deadline_ms = deadline_of(dns, forward), .done = search_ended, .context = search};
    if (!begin_search(dns, search, name))
        join_forward_end(give_search(search), JOIN_CARRIED_STOPPED, "the join server is stopping");
}

void join_dns_metrics(struct join_dns *dns, struct text *out)
{
    if (dns->is_off)
        return;
    metrics_write(out, dns->outcomes, DNS_N_OUTCOMES);
    metrics_write(out, &dns->refused, 1);
}
