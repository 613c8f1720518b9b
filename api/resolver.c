#include "api/resolver.h"

#include "base/clock.h"
#include "base/error.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unbound.h>

#define CLASS_IN 1
#define RECORDS_MAX 64 /* of an answer; of more, these */
#define SERVER_TEXT_MAX 64
#define SOCKETS_A_LOOKUP 2
#define FILES_BESIDE 16 /* pipes, event queue, TCP */
#define WHY_MAX 160
#define OPTION_TEXT_MAX 24
#define IDLE_MS 60000 /* whoever asks ends the wait */
/* A name that nobody has: looked up in what libunbound knows by itself, it makes it read its
 * settings now, so that what is wrong with them is told at the start. */
#define NOBODYS_NAME "nobody.invalid"

struct resolver {
    struct resolver_config config;
    struct ub_ctx *context;
    pthread_t thread;
    int wake; /* eventfd */
    pthread_mutex_t lock;
    struct resolver_query *arrived, **arrived_last; /* under the lock */
    unsigned n_asked;                               /* under the lock: arrived or on their way */
    bool stopping;                                  /* under the lock */
    /* The thread's own. */
    struct resolver_query *active;
};

static void cleanup_ub(struct ub_ctx **context)
{
    if (*context != NULL)
        ub_ctx_delete(*context);
}

unsigned resolver_descriptors(unsigned max_lookups)
{
    return SOCKETS_A_LOOKUP * max_lookups + FILES_BESIDE;
}

/* --- settings --- */

static int set_option(struct ub_ctx *context, const char *name, const char *value)
{
    const int r = ub_ctx_set_option(context, name, value);

    return r == 0 ? 0
                  : error_set(r == UB_NOMEM ? ERROR_SYSTEM : ERROR_CONFIG,
                        "libunbound takes no %s %s: %s", name, value, ub_strerror(r));
}

static int set_number(struct ub_ctx *context, const char *name, unsigned value)
{
    char text[OPTION_TEXT_MAX];

    (void)snprintf(text, sizeof(text), "%u", value);
    return set_option(context, name, text);
}

static int set_memory(struct ub_ctx *context, const char *name, unsigned kib)
{
    char text[OPTION_TEXT_MAX];

    (void)snprintf(text, sizeof(text), "%uk", kib > 0 ? kib : 1);
    return set_option(context, name, text);
}

static int set_options(struct ub_ctx *context, const struct resolver_config *config)
{
    static const struct {
        const char *name, *value;
    } fixed[] = {
        {"do-not-query-localhost:", "no"}, /* a name server on this machine is asked like any */
        {"use-syslog:", "no"},
        {"infra-keep-probing:", "yes"},
        {"edns-buffer-size:", "1232"},
        {"harden-glue:", "yes"},
        {"harden-dnssec-stripped:", "yes"},
        {"minimal-responses:", "yes"},
    };
    const unsigned kib = config->cache_kib;
    const unsigned negative = config->cache_max_ttl_s < RESOLVER_NEGATIVE_TTL_MAX_S
                                  ? config->cache_max_ttl_s
                                  : RESOLVER_NEGATIVE_TTL_MAX_S;
    int r;

    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        if ((r = set_option(context, fixed[i].name, fixed[i].value)) < 0)
            return r;
    if ((r = set_option(context, "module-config:",
             config->trust_anchor[0] != '\0' ? "validator iterator" : "iterator")) < 0 ||
        (r = set_memory(context, "rrset-cache-size:", kib / 2)) < 0 ||
        (r = set_memory(context, "msg-cache-size:", kib / 4)) < 0 ||
        (r = set_memory(context, "key-cache-size:", kib / 8)) < 0 ||
        (r = set_memory(context, "neg-cache-size:", kib / 8)) < 0 ||
        (r = set_number(context, "cache-max-ttl:", config->cache_max_ttl_s)) < 0 ||
        (r = set_number(context, "cache-max-negative-ttl:", negative)) < 0 ||
        (r = set_number(context, "val-bogus-ttl:", RESOLVER_BOGUS_TTL_S)) < 0 ||
        (r = set_number(context, "infra-host-ttl:", RESOLVER_SERVER_TTL_S)) < 0 ||
        (r = set_number(context, "outgoing-range:", SOCKETS_A_LOOKUP * config->max_lookups)) < 0 ||
        (r = set_number(context, "num-queries-per-thread:", config->max_lookups)) < 0)
        return r;
    return 0;
}

static int set_servers(struct ub_ctx *context, const char *servers)
{
    size_t n = 0;
    int r;

    if (servers[0] == '\0') {
        r = ub_ctx_resolvconf(context, NULL);
        return r == 0 ? 0
                      : error_set(r == UB_NOMEM ? ERROR_SYSTEM : ERROR_CONFIG,
                            "dns.servers is empty, and /etc/resolv.conf is not read: %s",
                            ub_strerror(r));
    }
    for (const char *at = servers + strspn(servers, " "); *at != '\0'; at += strspn(at, " ")) {
        const size_t len = strcspn(at, " ");
        char server[SERVER_TEXT_MAX];

        if (len >= sizeof(server) || ++n > RESOLVER_SERVERS_MAX)
            return error_set(
                ERROR_CONFIG, "dns.servers has more than %d addresses", RESOLVER_SERVERS_MAX);
        memcpy(server, at, len);
        server[len] = '\0';
        if (ub_ctx_set_fwd(context, server) != 0)
            return error_set(ERROR_CONFIG,
                "dns.servers: \"%s\" is no address like 192.0.2.1 or 2001:db8::1@5353", server);
        at += len;
    }
    return 0;
}

static int set_trust_anchor(struct ub_ctx *context, const struct resolver_config *config)
{
    FILE *file;

    if (config->trust_anchor[0] == '\0')
        return config->require_signed
                   ? error_set(ERROR_CONFIG, "dns.require_signed wants a dns.trust_anchor")
                   : 0;
    if ((file = fopen(config->trust_anchor, "re")) == NULL)
        return error_set(ERROR_CONFIG, "dns.trust_anchor: cannot read %s: %s", config->trust_anchor,
            strerror(errno));
    (void)fclose(file);
    if (ub_ctx_add_ta_file(context, config->trust_anchor) != 0)
        return error_set(ERROR_SYSTEM, "out of memory for a trust anchor");
    return 0;
}

static int make_context(const struct resolver_config *config, struct ub_ctx **ret)
{
    CLEANUP(cleanup_ub) struct ub_ctx *context = ub_ctx_create();
    int r;

    if (context == NULL)
        return error_set_errno("libunbound does not start");
    (void)ub_ctx_debugout(context, NULL);
    if (ub_ctx_async(context, 1) != 0)
        return error_set(ERROR_SYSTEM, "libunbound has no threads");
    if ((r = set_options(context, config)) < 0 || (r = set_servers(context, config->servers)) < 0 ||
        (r = set_trust_anchor(context, config)) < 0)
        return r;
    if (ub_ctx_data_remove(context, NOBODYS_NAME) != 0)
        return error_set(ERROR_CONFIG, "libunbound does not take the settings%s%s",
            config->trust_anchor[0] != '\0'
                ? "; are there DS or DNSKEY records in dns.trust_anchor, "
                : "",
            config->trust_anchor);
    *ret = context;
    context = NULL;
    return 0;
}

/* --- looking up --- */

static void wake(struct resolver *resolver)
{
    const uint64_t one = 1;

    (void)!write(resolver->wake, &one, sizeof(one));
}

static void finish(struct resolver_query *query, const struct find_answer *answer)
{
    struct resolver *resolver = query->resolver;

    pthread_mutex_lock(&resolver->lock);
    resolver->n_asked--;
    pthread_mutex_unlock(&resolver->lock);
    query->answer = *answer;
    query->done(query);
}

static void finish_without(struct resolver_query *query, enum dns_outcome outcome, const char *why)
{
    finish(query, &(struct find_answer){.outcome = outcome, .why = why});
}

static void link_active(struct resolver *resolver, struct resolver_query *query)
{
    query->next = resolver->active;
    query->at = &resolver->active;
    if (query->next != NULL)
        query->next->at = &query->next;
    resolver->active = query;
}

static void unlink_active(struct resolver_query *query)
{
    *query->at = query->next;
    if (query->next != NULL)
        query->next->at = query->at;
}

/* What libunbound says of a failure is put into log lines. */
static const char *printable(const char *text, char out[static WHY_MAX])
{
    size_t n = 0;

    for (; text[n] != '\0' && n < WHY_MAX - 1; n++)
        out[n] = text[n] >= ' ' && text[n] <= '~' && text[n] != '"' ? text[n] : ' ';
    out[n] = '\0';
    return out;
}

static void take_result(void *context, int error, struct ub_result *result)
{
    struct resolver_query *query = context;
    const void *records[RECORDS_MAX];
    size_t lengths[RECORDS_MAX];
    struct find_answer answer = {.outcome = DNS_NONE, .records = records, .lengths = lengths};
    char why[WHY_MAX];

    unlink_active(query);
    if (error != 0 || result == NULL) {
        finish_without(query, DNS_FAILED, ub_strerror(error));
        return;
    }
    answer.secure = result->secure != 0;
    answer.ttl = result->ttl > 0 ? (unsigned)result->ttl : 0;
    if (result->bogus) {
        answer.outcome = DNS_BOGUS;
        answer.why = printable(result->why_bogus != NULL ? result->why_bogus : "", why);
    } else if (result->rcode != 0 && !result->nxdomain) {
        answer.outcome = DNS_FAILED;
        (void)snprintf(why, sizeof(why), "the name server answers with code %d", result->rcode);
        answer.why = why;
    } else if (query->resolver->config.require_signed && !result->secure) {
        answer.outcome = DNS_BOGUS;
        answer.why = "it is not signed";
    } else if (result->havedata) {
        answer.outcome = DNS_FOUND;
        while (answer.n_records < RECORDS_MAX && result->data[answer.n_records] != NULL) {
            records[answer.n_records] = result->data[answer.n_records];
            lengths[answer.n_records] = (size_t)result->len[answer.n_records];
            answer.n_records++;
        }
    }
    finish(query, &answer);
    ub_resolve_free(result);
}

static void begin(struct resolver *resolver, struct resolver_query *query)
{
    int r;

    link_active(resolver, query);
    r = ub_resolve_async(resolver->context, query->question.name, (int)query->question.type,
        CLASS_IN, query, take_result, &query->id);
    if (r != 0) {
        unlink_active(query);
        finish_without(query, DNS_FAILED, ub_strerror(r));
    }
}

void resolver_ask(struct resolver *resolver, struct resolver_query *query)
{
    query->resolver = resolver;
    query->next = NULL;
    pthread_mutex_lock(&resolver->lock);
    resolver->n_asked++;
    *resolver->arrived_last = query;
    resolver->arrived_last = &query->next;
    pthread_mutex_unlock(&resolver->lock);
    wake(resolver);
}

/* True when it is to stop. What came while too many were on their way fails. */
static bool take_arrived(struct resolver *resolver)
{
    struct resolver_query *list;
    unsigned n_asked;
    bool stopping;

    pthread_mutex_lock(&resolver->lock);
    list = resolver->arrived;
    resolver->arrived = NULL;
    resolver->arrived_last = &resolver->arrived;
    stopping = resolver->stopping;
    n_asked = resolver->n_asked;
    pthread_mutex_unlock(&resolver->lock);
    for (struct resolver_query *query = list; query != NULL; query = list, n_asked--) {
        list = query->next;
        if (stopping)
            finish_without(query, DNS_FAILED, "the resolver stops");
        else if (n_asked > resolver->config.max_lookups)
            finish_without(query, DNS_FAILED, "too many look-ups are on their way");
        else
            begin(resolver, query);
    }
    return stopping;
}

/* Ends what is too late, or all; returns when the next one will be. */
static int64_t end_late(struct resolver *resolver, int64_t now_ms, bool all)
{
    int64_t next_ms = now_ms + IDLE_MS;
    struct resolver_query *next;

    for (struct resolver_query *query = resolver->active; query != NULL; query = next) {
        next = query->next;
        if (!all && query->deadline_ms > now_ms) {
            if (query->deadline_ms < next_ms)
                next_ms = query->deadline_ms;
            continue;
        }
        /* From here on libunbound does not call back: it does so in ub_process alone. */
        (void)ub_cancel(resolver->context, query->id);
        unlink_active(query);
        finish_without(query, all ? DNS_FAILED : DNS_TIMEOUT,
            all ? "the resolver stops" : "no answer in time");
    }
    return next_ms;
}

static bool is_idle(struct resolver *resolver)
{
    bool none_asked;

    pthread_mutex_lock(&resolver->lock);
    none_asked = resolver->n_asked == 0;
    pthread_mutex_unlock(&resolver->lock);
    return none_asked;
}

static void *run(void *arg)
{
    struct resolver *resolver = arg;
    struct pollfd fds[2] = {{.fd = resolver->wake, .events = POLLIN},
        {.fd = ub_fd(resolver->context), .events = POLLIN}};

    for (;;) {
        const bool stopping = take_arrived(resolver);
        int64_t now_ms, until_ms;
        uint64_t n;

        (void)ub_process(resolver->context);
        now_ms = clock_monotonic_ms();
        until_ms = end_late(resolver, now_ms, stopping);
        if (stopping && is_idle(resolver)) /* what ended may have asked for more */
            break;
        if (stopping)
            continue;
        (void)poll(fds, 2, (int)(until_ms - now_ms));
        if (fds[0].revents != 0)
            (void)!read(resolver->wake, &n, sizeof(n));
    }
    return NULL;
}

static void resolver_free(struct resolver *resolver)
{
    if (resolver->context != NULL)
        ub_ctx_delete(resolver->context);
    (void)close(resolver->wake);
    (void)pthread_mutex_destroy(&resolver->lock);
    free(resolver);
}

int resolver_start(const struct resolver_config *config, struct resolver **ret)
{
    struct resolver *resolver = calloc(1, sizeof(*resolver));
    int r;

    if (resolver == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a resolver");
    resolver->config = *config;
    resolver->arrived_last = &resolver->arrived;
    (void)pthread_mutex_init(&resolver->lock, NULL); /* cannot fail, see api/client.c */
    resolver->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = resolver->wake < 0 ? error_set_errno("eventfd") : make_context(config, &resolver->context);
    if (r == 0 && pthread_create(&resolver->thread, NULL, run, resolver) != 0)
        r = error_set(ERROR_SYSTEM, "cannot start the thread of the resolver");
    if (r < 0) {
        resolver_free(resolver);
        return r;
    }
    *ret = resolver;
    return 0;
}

void resolver_stop(struct resolver *resolver)
{
    if (resolver == NULL)
        return;
    pthread_mutex_lock(&resolver->lock);
    resolver->stopping = true;
    pthread_mutex_unlock(&resolver->lock);
    wake(resolver);
    (void)pthread_join(resolver->thread, NULL);
    resolver_free(resolver);
}
