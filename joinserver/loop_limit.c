#include "joinserver/loop_limit.h"

#include <string.h>

void loop_limit_init(struct loop_limit *limit, unsigned burst, unsigned interval_s)
{
    limit->interval_ms = (int64_t)interval_s * 1000;
    limit->burst_ms = burst * limit->interval_ms;
    (void)pthread_mutex_init(&limit->lock, NULL); /* cannot fail with default attributes on Linux */
}

void loop_limit_done(struct loop_limit *limit)
{
    (void)pthread_mutex_destroy(&limit->lock);
}

static struct loop_device *set_of(struct loop_limit *limit, const struct eui64 *dev_eui)
{
    uint64_t h = eui64_to_u64(dev_eui) * UINT64_C(0x9E3779B97F4A7C15);

    return limit->sets[(h >> 20) % LOOP_LIMIT_SETS];
}

static bool is_of(const struct loop_device *d, const struct eui64 *dev_eui, int64_t peer_id)
{
    return d->whole_ms > 0 && d->peer_id == peer_id &&
           memcmp(&d->dev_eui, dev_eui, sizeof(*dev_eui)) == 0;
}

bool loop_limit_is_reached(struct loop_limit *limit, const struct eui64 *dev_eui, int64_t peer_id,
    const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN], int64_t now_ms)
{
    const struct loop_device *set = set_of(limit, dev_eui);
    bool reached = false;

    if (limit->burst_ms == 0)
        return false;
    pthread_mutex_lock(&limit->lock);
    for (size_t i = 0; i < LOOP_LIMIT_WAYS; i++)
        if (is_of(&set[i], dev_eui, peer_id))
            reached = set[i].whole_ms - now_ms > limit->burst_ms - limit->interval_ms &&
                      memcmp(set[i].last, fingerprint, sizeof(set[i].last)) != 0;
    pthread_mutex_unlock(&limit->lock);
    return reached;
}

/* The device's place, or the one that is missed least: a free one is whole since ever. */
static struct loop_device *place_of(
    struct loop_device *set, const struct eui64 *dev_eui, int64_t peer_id)
{
    struct loop_device *least = &set[0];

    for (size_t i = 0; i < LOOP_LIMIT_WAYS; i++) {
        if (is_of(&set[i], dev_eui, peer_id))
            return &set[i];
        if (set[i].whole_ms < least->whole_ms)
            least = &set[i];
    }
    return least;
}

void loop_limit_joined(struct loop_limit *limit, const struct eui64 *dev_eui, int64_t peer_id,
    const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN], int64_t now_ms)
{
    struct loop_device *place;

    if (limit->burst_ms == 0)
        return;
    pthread_mutex_lock(&limit->lock);
    place = place_of(set_of(limit, dev_eui), dev_eui, peer_id);
    if (!is_of(place, dev_eui, peer_id) || place->whole_ms < now_ms)
        place->whole_ms = now_ms;
    place->dev_eui = *dev_eui;
    place->peer_id = peer_id;
    place->whole_ms += limit->interval_ms;
    memcpy(place->last, fingerprint, sizeof(place->last));
    pthread_mutex_unlock(&limit->lock);
}
