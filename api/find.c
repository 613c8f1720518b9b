#include "api/find.h"

#include "base/clock.h"
#include "base/error.h"
#include <string.h>

struct finder {
    const struct find_settings *settings;
    struct find_rules rules;
    struct resolver *resolver;
};

unsigned finder_descriptors(const struct find_settings *settings)
{
    return strcmp(settings->mode, "off") == 0 ? 0 : resolver_descriptors(settings->max_lookups);
}

/* Each number with the same chance: what would make the small ones likelier is drawn again. */
static uint32_t draw_below(void *context, uint32_t below)
{
    const uint32_t end = UINT32_MAX - UINT32_MAX % below;
    uint32_t number;

    (void)context;
    do {
        if (random_bytes(&number, sizeof(number)) < 0)
            return 0;
    } while (number >= end);
    return number % below;
}

/* Suffixes that make no name are told at the start. */
static int check_suffixes(const struct finder *finder)
{
    char name[FIND_NAME_MAX + 1];
    int r = finder_name_of_join_eui(finder, &(struct eui64){{0}}, name);

    if (r < 0)
        return error_set(ERROR_CONFIG, "dns.joineui_suffix is no suffix of names");
    r = finder_name_of_net_id(finder, &(struct net_id){{0}}, name);
    return r < 0 ? error_set(ERROR_CONFIG, "dns.netid_suffix is no suffix of names") : 0;
}

int finder_start(const struct find_settings *settings, struct finder **ret)
{
    const bool address_only = strcmp(settings->mode, "address") == 0;
    struct finder *finder;
    int r;

    if (strcmp(settings->mode, "off") == 0)
        return 1;
    if (!address_only && strcmp(settings->mode, "naptr") != 0)
        return error_set(ERROR_CONFIG, "dns.mode is naptr, address or off");
    if ((finder = calloc(1, sizeof(*finder))) == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a finder");
    finder->settings = settings;
    finder->rules = (struct find_rules){.address_only = address_only,
        .allow_private = settings->allow_private,
        .max_steps = settings->max_steps,
        .random = draw_below};
    if ((r = check_suffixes(finder)) < 0 ||
        (r = resolver_start(&(struct resolver_config){.servers = settings->servers,
                                .trust_anchor = settings->trust_anchor,
                                .require_signed = settings->require_signed,
                                .max_lookups = settings->max_lookups,
                                .cache_kib = settings->cache_kib,
                                .cache_max_ttl_s = settings->cache_max_ttl_s},
             &finder->resolver)) < 0) {
        free(finder);
        return r;
    }
    *ret = finder;
    return 0;
}

void finder_stop(struct finder *finder)
{
    if (finder == NULL)
        return;
    resolver_stop(finder->resolver);
    free(finder);
}

static void go_on(struct find *find)
{
    if (find_steps_next(&find->steps, &find->query.question))
        resolver_ask(find->finder->resolver, &find->query);
    else
        find->done(find);
}

static void take_answer(struct resolver_query *query)
{
    struct find *find = query->context;

    if (find->heard != NULL)
        find->heard(find, &query->question, &query->answer);
    find_steps_take(&find->steps, &query->answer);
    go_on(find);
}

void finder_ask(struct finder *finder, struct find *find, const char *name)
{
    find->finder = finder;
    find->query = (struct resolver_query){
        .deadline_ms = find->deadline_ms != 0
                           ? find->deadline_ms
                           : clock_monotonic_ms() + (int64_t)finder->settings->timeout_ms,
        .done = take_answer,
        .context = find};
    find_steps_begin(&find->steps, &finder->rules, name);
    go_on(find);
}

int finder_name_of_join_eui(
    const struct finder *finder, const struct eui64 *join_eui, char out[static FIND_NAME_MAX + 1])
{
    return find_name_of_join_eui(join_eui, finder->settings->join_eui_suffix, out);
}

int finder_name_of_net_id(
    const struct finder *finder, const struct net_id *net_id, char out[static FIND_NAME_MAX + 1])
{
    return find_name_of_net_id(net_id, finder->settings->net_id_suffix, out);
}
