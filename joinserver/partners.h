/* What is known of the partners while the process runs: whether each is well (breaker.h), how much
 * is on its way to it, and what came of it. It outlives every loading of the directory. Partners
 * that DNS named are kept apart from each other in a bounded table, and are one series of the
 * metrics.
 *
 * No partner that hangs takes the places of others, and no requester all places of a partner
 * (share.h). Any thread may call. */
#pragma once

#include "base/text.h"
#include "joinserver/breaker.h"
#include "joinserver/carry.h"
#include "joinserver/directory.h"

#define JOIN_PARTNER_FOUND (-1)     /* the id of what DNS has not named yet */
#define JOIN_PARTNERS_FOUND_MAX 256 /* that DNS named; the ones that rest longest are forgotten */

/** What came of a request that had to go to a partner. */
enum join_carried {
    JOIN_CARRIED,             /* answered, and the answer was believed, whatever it says */
    JOIN_CARRIED_UNREACHABLE, /* no connection, or it broke before an answer */
    JOIN_CARRIED_TIMEOUT,
    JOIN_CARRIED_UNTRUSTED, /* its certificate */
    JOIN_CARRIED_FAILING,   /* HTTP 502 and above, 408 or 429 */
    JOIN_CARRIED_REFUSED,   /* another HTTP status than 2xx */
    JOIN_CARRIED_CUT,       /* the answer broke off, or is longer than JOIN_FORWARD_ANSWER_MAX */
    /* The answer was not believed: one of each carry_fault. */
    JOIN_CARRIED_NOT_JSON,
    JOIN_CARRIED_OTHER_MESSAGE,
    JOIN_CARRIED_OTHER_TRANSACTION,
    JOIN_CARRIED_OTHER_IDS,
    JOIN_CARRIED_NO_RESULT,
    JOIN_CARRIED_INCOMPLETE,
    JOIN_CARRIED_OTHER_VERSION,
    JOIN_CARRIED_CLEAR_KEY, /* it holds a key in clear, which may not go on to who asked */
    /* Nothing was sent. */
    JOIN_CARRIED_OPEN, /* the breaker is */
    JOIN_CARRIED_FULL, /* too many are on their way to it, of this requester or of all */
    JOIN_CARRIED_URL,
    JOIN_CARRIED_CREDENTIAL,
    JOIN_CARRIED_NOT_FOUND, /* by DNS, which did not answer, or not so that it is believed */
    JOIN_CARRIED_NO_SERVER, /* DNS knows of none */
    JOIN_CARRIED_STOPPED,   /* the join server is stopping */
    JOIN_CARRIED_INTERNAL,
    N_JOIN_CARRIED
};

struct join_carried_row {
    const char *name;             /* label of metrics, and in the log */
    enum breaker_verdict verdict; /* on the partner */
    enum join_result result;      /* for the requester; JOIN_SUCCESS: the partner's */
    const char *description;
};

const struct join_carried_row *join_carried_row(enum join_carried outcome);
enum join_carried join_carried_of_fault(enum carry_fault fault);

struct join_partners;
struct join_partner;

/** `max_in_flight`: to all partners together. */
int join_partners_new(unsigned max_in_flight, struct join_partners **ret);
void join_partners_free(struct join_partners *partners);

/** Which partner. */
struct join_partner_key {
    int64_t id;       /* of the directory, above 0; below 0: one that DNS named, by a hash */
    const char *name; /* of the directory */
    unsigned max_in_flight;
};

/** A place of one request on its way to a partner. */
struct join_partner_place {
    struct join_partner *partner;
    enum breaker_pass pass;
    int64_t peer_id; /* of who asked */
};

/** JOIN_CARRIED: the place is taken. Else JOIN_CARRIED_OPEN, JOIN_CARRIED_FULL or
 * JOIN_CARRIED_INTERNAL, and it is counted. */
enum join_carried join_partner_take(struct join_partners *partners,
    const struct join_partner_key *key, int64_t peer_id, int64_t now_ms,
    struct join_partner_place *ret);
/** Whether it would be refused because its breaker is open. Takes nothing. */
bool join_partner_rests(
    struct join_partners *partners, const struct join_partner_key *key, int64_t now_ms);
/** What came of it, `us` microseconds after the request. Gives the place back, and counts. */
void join_partner_end(struct join_partners *partners, const struct join_partner_place *place,
    enum join_carried outcome, int64_t us, int64_t now_ms);
/** Counts the ResultCode of an answer that is believed, while its place is still taken. */
void join_partner_answered(const struct join_partner_place *place, unsigned code);
/** Counts what no place was taken for. */
void join_partner_count(
    struct join_partners *partners, const struct join_partner_key *key, enum join_carried outcome);
/** Whether this failure is to be logged now, and how many of this partner were not since the last
 * one that was, itself among them: a line a second is what a partner is worth. 0: it is not. */
unsigned join_partner_complains(
    struct join_partners *partners, const struct join_partner_key *key, int64_t now_ms);

/** Of the directory's; NULL: of all that there ever were. */
void join_partners_metrics(
    struct join_partners *partners, const struct join_directory *directory, struct text *out);
