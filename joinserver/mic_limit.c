#include "joinserver/mic_limit.h"

#include <string.h>

static size_t set_of(const struct eui64 *dev_eui)
{
    uint64_t h = eui64_to_u64(dev_eui) * UINT64_C(0x9E3779B97F4A7C15);

    return (size_t)((h >> 20) % MIC_LIMIT_SETS);
}

static bool is_current(const struct mic_failures *failures, int64_t now_ms)
{
    return failures->n > 0 && now_ms - failures->since_ms < MIC_WINDOW_MS;
}

static bool is_of(const struct mic_failures *failures, const struct eui64 *dev_eui)
{
    return failures->n > 0 && memcmp(&failures->dev_eui, dev_eui, sizeof(*dev_eui)) == 0;
}

void mic_limit_init(struct mic_limit *limit)
{
    (void)pthread_mutex_init(&limit->lock, NULL); /* cannot fail with default attributes on Linux */
}

void mic_limit_done(struct mic_limit *limit)
{
    (void)pthread_mutex_destroy(&limit->lock);
}

bool mic_limit_is_reached(struct mic_limit *limit, const struct eui64 *dev_eui, int64_t now_ms)
{
    const struct mic_failures *set = limit->sets[set_of(dev_eui)];
    bool reached = false;

    pthread_mutex_lock(&limit->lock);
    for (size_t i = 0; i < MIC_LIMIT_WAYS; i++)
        if (is_of(&set[i], dev_eui))
            reached = is_current(&set[i], now_ms) && set[i].n >= MIC_FAILURES_MAX;
    pthread_mutex_unlock(&limit->lock);
    return reached;
}

/* The device's place, or the one that is missed least: free, of a minute that is over, or of the
 * fewest failures. */
static struct mic_failures *place_of(
    struct mic_failures *set, const struct eui64 *dev_eui, int64_t now_ms)
{
    struct mic_failures *least = &set[0];

    for (size_t i = 0; i < MIC_LIMIT_WAYS; i++) {
        if (is_of(&set[i], dev_eui))
            return &set[i];
        if (!is_current(least, now_ms))
            continue;
        if (!is_current(&set[i], now_ms) || set[i].n < least->n)
            least = &set[i];
    }
    return least;
}

void mic_limit_failed(struct mic_limit *limit, const struct eui64 *dev_eui, int64_t now_ms)
{
    struct mic_failures *place;

    pthread_mutex_lock(&limit->lock);
    place = place_of(limit->sets[set_of(dev_eui)], dev_eui, now_ms);
    if (!is_of(place, dev_eui) || !is_current(place, now_ms))
        *place = (struct mic_failures){.dev_eui = *dev_eui, .since_ms = now_ms};
    if (place->n < MIC_FAILURES_MAX)
        place->n++;
    pthread_mutex_unlock(&limit->lock);
}
