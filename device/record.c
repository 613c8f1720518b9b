#include "device/record.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {
    [DEVICE_LORAWAN] = "lorawan",
    [DEVICE_SIGFOX] = "sigfox",
};
static const char *const credential_names[] = {
    [CREDENTIAL_ORDERED] = "ordered",
    [CREDENTIAL_GENERATED] = "generated",
    [CREDENTIAL_DELIVERED] = "delivered",
    [CREDENTIAL_PERSONALIZED] = "personalized",
    [CREDENTIAL_ACTIVABLE] = "activable",
    [CREDENTIAL_SCRAPPED] = "scrapped",
};
static const char *const ownership_names[] = {
    [OWNERSHIP_UNOWNED] = "unowned",
    [OWNERSHIP_CLAIMED] = "claimed",
    [OWNERSHIP_OFFERED] = "offered",
};
static const char *const service_names[] = {
    [SERVICE_INACTIVE] = "inactive",
    [SERVICE_ACTIVE] = "active",
    [SERVICE_SUSPENDED] = "suspended",
};
static const char *const trust_names[] = {
    [TRUST_OK] = "ok",
    [TRUST_SUSPECT] = "suspect",
    [TRUST_QUARANTINED] = "quarantined",
};

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const char *name_of(const char *const *names, size_t n_names, unsigned v)
{
    return v < n_names ? names[v] : "unknown";
}

static bool value_of(const char *const *names, size_t n_names, const char *text, unsigned *ret)
{
    for (unsigned i = 0; i < n_names; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

enum device_kind device_kind_of(const struct eui64 *dev_eui)
{
    return device_id_is_sigfox(dev_eui) ? DEVICE_SIGFOX : DEVICE_LORAWAN;
}

const char *device_kind_text(enum device_kind kind)
{
    return name_of(kind_names, LENGTH(kind_names), (unsigned)kind);
}

/* The four axes differ in nothing but their names and types. */
#define AXIS(axis)                                                                                 \
    const char *device_##axis##_text(enum device_##axis v)                                         \
    {                                                                                              \
        return name_of(axis##_names, LENGTH(axis##_names), (unsigned)v);                           \
    }                                                                                              \
    bool device_##axis##_parse(const char *text, enum device_##axis *ret)                          \
    {                                                                                              \
        unsigned v;                                                                                \
                                                                                                   \
        if (!value_of(axis##_names, LENGTH(axis##_names), text, &v))                               \
            return false;                                                                          \
        *ret = (enum device_##axis)v;                                                              \
        return true;                                                                               \
    }

AXIS(credential)
AXIS(ownership)
AXIS(service)
AXIS(trust)

const char *device_test_window_text(const struct device_test_window *window)
{
    if (window->expired)
        return "expired";
    return window->joins >= window->max_joins ? "used_up" : "open";
}

const char *device_as_id(const struct device_record *record)
{
    return record->test.present && record->ownership == OWNERSHIP_UNOWNED ? record->test.as_id
                                                                          : record->as_id;
}

bool device_roaming_equal(const struct device_roaming *a, const struct device_roaming *b)
{
    return a->narrowed == b->narrowed && a->n == b->n &&
           memcmp(a->net_ids, b->net_ids, a->n * sizeof(a->net_ids[0])) == 0;
}

bool device_roaming_allows(const struct device_roaming *roaming, const struct net_id *net_id)
{
    bool listed = false;

    for (size_t i = 0; i < roaming->n; i++)
        listed |= memcmp(&roaming->net_ids[i], net_id, sizeof(*net_id)) == 0;
    return !roaming->narrowed || listed;
}

static int compare_net_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct net_id));
}

bool device_roaming_list(const struct net_id *net_ids, size_t n, struct device_roaming *ret)
{
    struct device_roaming list = {.narrowed = true};

    if (n > DEVICE_ROAMING_MAX)
        return false;
    if (n > 0)
        memcpy(list.net_ids, net_ids, n * sizeof(net_ids[0]));
    qsort(list.net_ids, n, sizeof(list.net_ids[0]), compare_net_ids);
    for (size_t i = 0; i < n; i++)
        if (list.n == 0 || compare_net_ids(&list.net_ids[list.n - 1], &list.net_ids[i]) != 0)
            list.net_ids[list.n++] = list.net_ids[i];
    for (size_t i = list.n; i < n; i++)
        list.net_ids[i] = (struct net_id){{0}};
    *ret = list;
    return true;
}
