/* Finds the server of a JoinEUI or NetID by DNS: a resolver (api/resolver.h) and the way through
 * its answers (api/find_steps.h), by the settings of [dns]. */
#pragma once

#include "api/resolver.h"
#include "base/config.h"

#define FIND_JOIN_EUI_SUFFIX "joineuis.lora-alliance.org"
#define FIND_NET_ID_SUFFIX "netids.lora-alliance.org"

/** Section [dns] of a program's settings. */
struct find_settings {
    char *mode, *servers, *trust_anchor, *join_eui_suffix, *net_id_suffix;
    bool require_signed, allow_private;
    unsigned timeout_ms, max_lookups, max_steps, cache_kib, cache_max_ttl_s;
};

/** Its rows in a settings table; `member` of `type` is a struct find_settings. */
#define FIND_SETTINGS(type, member, initial_mode)                                                  \
    {"dns.mode", NULL, CONFIG_TEXT, offsetof(type, member.mode), initial_mode, 0, 0,               \
        "how servers are found: naptr (TS002), address (of the name itself, as ChirpStack does), " \
        "off"},                                                                                    \
        {"dns.servers", NULL, CONFIG_TEXT, offsetof(type, member.servers), "", 0, 0,               \
            "name servers to ask, 192.0.2.1 or 2001:db8::1@5353, a space between them; empty: "    \
            "those of /etc/resolv.conf"},                                                          \
        {"dns.trust_anchor", NULL, CONFIG_TEXT, offsetof(type, member.trust_anchor), "", 0, 0,     \
            "file of DS or DNSKEY records; what is below them is validated; empty: nothing is"},   \
        {"dns.require_signed", NULL, CONFIG_BOOL, offsetof(type, member.require_signed), "false",  \
            0, 0, "whether answers that no trust anchor covers are refused"},                      \
        {"dns.joineui_suffix", NULL, CONFIG_TEXT, offsetof(type, member.join_eui_suffix),          \
            FIND_JOIN_EUI_SUFFIX, 0, 0, "what stands behind the digits of a JoinEUI"},             \
        {"dns.netid_suffix", NULL, CONFIG_TEXT, offsetof(type, member.net_id_suffix),              \
            FIND_NET_ID_SUFFIX, 0, 0, "what stands behind the digits of a NetID"},                 \
        {"dns.allow_private", NULL, CONFIG_BOOL, offsetof(type, member.allow_private), "false", 0, \
            0, "whether a server may have an address that is not public"},                         \
        {"dns.timeout_ms", NULL, CONFIG_UNSIGNED, offsetof(type, member.timeout_ms), "500", 10,    \
            10000, "for all look-ups of one search together"},                                     \
        {"dns.max_lookups", NULL, CONFIG_UNSIGNED, offsetof(type, member.max_lookups), "64", 1,    \
            1024, "searches on their way at once; one more fails"},                                \
        {"dns.max_steps", NULL, CONFIG_UNSIGNED, offsetof(type, member.max_steps), "12", 1,        \
            FIND_STEPS_MAX, "look-ups of one search"},                                             \
        {"dns.cache_kib", NULL, CONFIG_UNSIGNED, offsetof(type, member.cache_kib), "4096", 64,     \
            1048576, "memory for what name servers have answered"},                                \
    {                                                                                              \
        "dns.cache_max_ttl_s", NULL, CONFIG_UNSIGNED, offsetof(type, member.cache_max_ttl_s),      \
            "86400", 1, 604800,                                                                    \
            "seconds after which an answer is asked for again, whatever its TTL"                   \
    }

struct finder;
struct find;

/** Called on the resolver's thread, which must not be held up. */
typedef void (*find_done)(struct find *find);
typedef void (*find_heard)(
    struct find *find, const struct find_question *question, const struct find_answer *answer);

/** A search; the caller's memory, which it leaves alone until `done`. */
struct find {
    int64_t deadline_ms; /* monotonic; 0: by the settings */
    find_done done;
    find_heard heard; /* of each step; NULL: nobody asks */
    void *context;
    struct find_steps steps; /* outcome, targets, ttl, why */
    /* Its own. */
    struct finder *finder;
    struct resolver_query query;
};

/** Outcome 1: the mode is off, and *ret is not set. `settings` must outlive it. */
int finder_start(const struct find_settings *settings, struct finder **ret);
/** Ends what is on its way with DNS_FAILED. NULL is fine. */
void finder_stop(struct finder *finder);

/** From any thread; `name` is a good one, of the calls below. */
void finder_ask(struct finder *finder, struct find *find, const char *name);

int finder_name_of_join_eui(
    const struct finder *finder, const struct eui64 *join_eui, char out[static FIND_NAME_MAX + 1]);
int finder_name_of_net_id(
    const struct finder *finder, const struct net_id *net_id, char out[static FIND_NAME_MAX + 1]);

/** Files that a finder by these settings may have open. */
unsigned finder_descriptors(const struct find_settings *settings);
