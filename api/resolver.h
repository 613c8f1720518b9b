/* Asks name servers, with libunbound: validates with DNSSEC what a trust anchor covers, and keeps
 * what it heard as long as its TTL says, that there is nothing as well.
 *
 * A resolver has a thread of its own, beside libunbound's. It asks the configured name servers and
 * nobody else; it reads neither /etc/hosts nor the root's hints. Any thread may ask; what is asked
 * is never waited for by who asks. */
#pragma once

#include "api/find_steps.h"
#include <stdbool.h>
#include <stdint.h>

#define RESOLVER_SERVERS_MAX 8
#define RESOLVER_NEGATIVE_TTL_MAX_S                                                                \
    900 /* that there is nothing is believed no longer, whatever its SOA says */
#define RESOLVER_BOGUS_TTL_S 10
#define RESOLVER_SERVER_TTL_S 60 /* how long is remembered that a name server does not answer */

struct resolver_config {
    const char *servers; /* addresses with a space between them, each with @port where it is not 53;
                            "": of /etc/resolv.conf */
    const char *trust_anchor; /* file of DS or DNSKEY records; "": nothing is validated */
    bool require_signed;      /* what is not validated is bogus; wants a trust anchor */
    unsigned max_lookups;     /* at once; one more fails */
    unsigned cache_kib;       /* memory for what was heard, in all */
    unsigned cache_max_ttl_s; /* nothing is kept longer */
};

struct resolver;
struct resolver_query;

/** Called once a query, on the resolver's thread, which must not be held up. It may ask the same
 * query anew. What `query->answer` points to is gone when it returns. */
typedef void (*resolver_done)(struct resolver_query *query);

/** A look-up; the asker's memory, which it leaves alone until `done`. */
struct resolver_query {
    struct find_question question;
    int64_t deadline_ms; /* monotonic */
    resolver_done done;
    void *context;
    /* What came of it. */
    struct find_answer answer;
    /* The resolver's own. */
    struct resolver *resolver;
    struct resolver_query *next, **at;
    int id;
};

/** ERROR_CONFIG names the setting that is wrong. */
int resolver_start(const struct resolver_config *config, struct resolver **ret);
/** What is still asked for ends with DNS_FAILED before this returns. Nobody may ask any more, but
 * `done`, whose queries fail. NULL is fine. */
void resolver_stop(struct resolver *resolver);

/** From any thread. */
void resolver_ask(struct resolver *resolver, struct resolver_query *query);

/** Files that a resolver may have open. */
unsigned resolver_descriptors(unsigned max_lookups);
