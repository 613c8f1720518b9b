/* The way from a JoinEUI's or NetID's name to servers, as questions and answers: NAPTR, then SRV,
 * URI or addresses as its flags say (TS002, RFC 3403), each SRV's target in the order of RFC 2782;
 * or the addresses of the name itself, as ChirpStack does. Pure: whoever walks it asks the
 * questions.
 *
 *     find_steps_begin(&steps, &rules, name);
 *     while (find_steps_next(&steps, &question))
 *         find_steps_take(&steps, &answer);          (and now steps.outcome says what was found)
 *
 * Of the NAPTRs that are ours the lowest order alone counts; among them the next preference is
 * tried when one leads to no server. One bogus answer ends it all: whoever forges a record must not
 * choose what is taken instead. */
#pragma once

#include "api/dns_rdata.h"
#include "base/eui.h"

#define FIND_NAME_MAX DNS_NAME_MAX
#define FIND_TARGETS_MAX 4
#define FIND_ADDRESSES_MAX 8 /* of a target; further ones are not used */
#define FIND_RECORDS_MAX 16  /* of an answer, but of addresses; more are refused */
#define FIND_PENDING_MAX 32  /* what is still to be asked; more is refused */
#define FIND_WHY_MAX 160
#define FIND_STEPS_MAX 64 /* the most that a setting allows */
#define FIND_STEPS_USUAL 12

/** `16 nibbles reversed`.suffix, lower case: TS002, for a JoinEUI. ERROR_INPUT: too long, or no
 * name. */
int find_name_of_join_eui(
    const struct eui64 *join_eui, const char *suffix, char out[static FIND_NAME_MAX + 1]);
/** `6 digits as one label`.suffix, for a NetID. */
int find_name_of_net_id(
    const struct net_id *net_id, const char *suffix, char out[static FIND_NAME_MAX + 1]);

struct find_rules {
    bool address_only;  /* the name's own addresses, https, port 443 */
    bool allow_private; /* addresses that are not public, too; else they are not used */
    unsigned max_steps; /* questions */
    /** A number below `below` (> 0), for weights. */
    uint32_t (*random)(void *context, uint32_t below);
    void *random_context;
};

/** A server. */
struct find_target {
    struct dns_url url;
    struct dns_address addresses[FIND_ADDRESSES_MAX];
    size_t n_addresses; /* at least 1 */
};

struct find_question {
    enum dns_type type;
    char name[FIND_NAME_MAX + 1];
};

/** An answer. What it points to is the asker's. */
struct find_answer {
    enum dns_outcome outcome;
    bool secure;                /* validated up to a trust anchor */
    unsigned ttl;               /* seconds */
    const void *const *records; /* RDATA; of DNS_FOUND */
    const size_t *lengths;
    size_t n_records;
    const char *why; /* of BOGUS, FAILED and TIMEOUT; NULL: nothing to say */
};

struct find_pending {
    bool alternative; /* only where nothing was found before it */
    bool https;       /* what the NAPTR says that a URI is to be */
    struct find_question question;
    struct dns_url url; /* of an address question: whose */
};

struct find_steps {
    /* What came of it. */
    enum dns_outcome outcome;
    char why[FIND_WHY_MAX]; /* of what is not found; no bytes of others but names */
    struct find_target targets[FIND_TARGETS_MAX];
    size_t n_targets;
    unsigned ttl; /* seconds: the shortest on the way */
    bool secure;  /* all answers on the way were */
    unsigned n_steps;
    /* Its own. */
    struct find_rules rules;
    struct find_pending pending[FIND_PENDING_MAX];
    size_t n_pending;
    struct find_pending current;
    struct find_target half; /* whose A is known and AAAA is asked for */
    bool ended;
};

/** `name` is a good name (dns_name_is_good), the caller's no longer. */
void find_steps_begin(struct find_steps *steps, const struct find_rules *rules, const char *name);
/** False: it is at its end. */
bool find_steps_next(struct find_steps *steps, struct find_question *ret);
void find_steps_take(struct find_steps *steps, const struct find_answer *answer);

/** The URL to post to: port and path where they are not the usual ones. http has the first address
 * instead of the name, which nobody looks up (api/client.h). */
#define FIND_URL_MAX (DNS_NAME_MAX + DNS_URL_MAX + 16)
const char *find_target_url(const struct find_target *target, char out[static FIND_URL_MAX]);
