#include "tests/bench/fleet.h"

#include "base/aes.h"
#include "base/bytes.h"
#include "base/error.h"
#include "device/nonce.h"
#include <stdio.h>
#include <string.h>

#define DEV_EUI_PREFIX 0x02CDCDBE /* locally administered, and not the demo's */
#define JOIN_EUI 0x02CDCDBE00000001
#define DEV_ADDR_PREFIX 0x26000000 /* of NetID 000013 */
#define DEV_ADDR_MASK 0x01FFFFFF
#define KEY_INPUT_LEN 13 /* seed | DevEUI | slot */
#define DIGEST_LEN 32
#define CODE_SLOT 255 /* of no key */

static const enum lw_mac_version mixed[] = {LW_MAC_1_0_3, LW_MAC_1_0_4, LW_MAC_1_1};
#define N_MIXED (sizeof(mixed) / sizeof(mixed[0]))

/* A bijection of 64 bits (splitmix64). */
static uint64_t mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* A bijection of 16 bits, another one for each `way`: every step is one. */
static uint16_t mix16(uint16_t x, uint64_t way)
{
    uint32_t v = (x + (uint32_t)way) & 0xFFFF;

    v = v * (((uint32_t)(way >> 16) & 0xFFFF) | 1) & 0xFFFF;
    v ^= v >> 7;
    v = v * (((uint32_t)(way >> 32) & 0xFFFF) | 1) & 0xFFFF;
    v ^= v >> 9;
    return (uint16_t)v;
}

static enum lw_mac_version version_of(const struct bench_fleet *fleet, uint32_t device)
{
    return fleet->mix ? mixed[device % N_MIXED] : fleet->version;
}

int bench_fleet_make(const struct bench_settings *settings, struct bench_fleet *ret)
{
    *ret = (struct bench_fleet){.n = settings->devices,
        .seed = settings->seed,
        .first = settings->first,
        .stride = settings->stride};
    if (settings->first + (uint64_t)settings->devices * settings->stride > UINT32_MAX)
        return error_set(ERROR_CONFIG, "there are no %u DevEUIs from %u on, each %u behind another",
            settings->devices, settings->first, settings->stride);
    ret->mix = strcmp(settings->version, "mix") == 0;
    if (!ret->mix && !lw_mac_version_parse(settings->version, &ret->version))
        return error_set(ERROR_CONFIG, "%.20s is no LoRaWAN version", settings->version);
    ret->memory = calloc(ret->n, sizeof(*ret->memory));
    return ret->memory != NULL ? 0 : error_set(ERROR_SYSTEM, "out of memory for the devices");
}

void bench_fleet_done(struct bench_fleet *fleet)
{
    free(fleet->memory);
    fleet->memory = NULL;
}

static struct eui64 eui_of(uint64_t v)
{
    struct eui64 eui;
    struct bytes_writer w = bytes_writer_over(eui.bytes, sizeof(eui.bytes));

    bytes_write_u64_be(&w, v);
    return eui;
}

static struct eui64 dev_eui_of(const struct bench_fleet *fleet, uint32_t device)
{
    return eui_of((uint64_t)DEV_EUI_PREFIX << 32 | (fleet->first + device * fleet->stride));
}

static void secret_of(
    uint32_t seed, const struct eui64 *dev_eui, uint8_t slot, uint8_t ret[static DIGEST_LEN])
{
    uint8_t input[KEY_INPUT_LEN];
    struct bytes_writer w = bytes_writer_over(input, sizeof(input));

    bytes_write_u32_be(&w, seed);
    bytes_write(&w, dev_eui->bytes, sizeof(dev_eui->bytes));
    bytes_write_u8(&w, slot);
    digest_sha256(input, w.len, ret);
}

static void key_of(
    uint32_t seed, const struct eui64 *dev_eui, enum key_slot slot, struct secret_key *ret)
{
    uint8_t digest[DIGEST_LEN];

    secret_of(seed, dev_eui, (uint8_t)slot, digest);
    memcpy(ret->bytes, digest, sizeof(ret->bytes));
    secret_wipe(digest, sizeof(digest));
}

void bench_code_make(
    const struct bench_fleet *fleet, uint32_t device, char ret[static BENCH_CODE_LEN + 1])
{
    const struct eui64 dev_eui = dev_eui_of(fleet, device);
    uint8_t digest[DIGEST_LEN];

    secret_of(fleet->seed, &dev_eui, CODE_SLOT, digest);
    for (size_t i = 0; i < BENCH_CODE_LEN / 2; i++)
        (void)snprintf(ret + 2 * i, 3, "%02X", digest[i]);
    secret_wipe(digest, sizeof(digest));
}

void bench_device_make(const struct bench_fleet *fleet, uint32_t device, struct simdev *ret)
{
    *ret = (struct simdev){.dev_eui = dev_eui_of(fleet, device),
        .join_eui = eui_of(JOIN_EUI),
        .mac_version = version_of(fleet, device)};
    key_of(fleet->seed, &ret->dev_eui, KEY_SLOT_APP, &ret->app_key);
    if (ret->mac_version == LW_MAC_1_1)
        key_of(fleet->seed, &ret->dev_eui, KEY_SLOT_NWK, &ret->nwk_key);
}

void bench_device_wipe(struct simdev *device)
{
    secret_wipe(device, sizeof(*device));
}

uint32_t bench_device_age(const struct bench_fleet *fleet, uint32_t device)
{
    return (uint32_t)(mix64((uint64_t)fleet->seed << 32 | device) % BENCH_AGES);
}

bool bench_device_is_counted(const struct bench_fleet *fleet, uint32_t device)
{
    return device_nonce_is_counted(version_of(fleet, device));
}

int bench_device_take_nonce(struct bench_fleet *fleet, uint32_t device, uint16_t *ret)
{
    struct bench_memory *memory = &fleet->memory[device];

    if (memory->n_used == BENCH_DEV_NONCES)
        return error_set(ERROR_CONFIG,
            "a device has used all its DevNonces: ask for more devices or fewer seconds");
    *ret = (uint16_t)memory->n_used++;
    if (!bench_device_is_counted(fleet, device))
        *ret = mix16(*ret, mix64((uint64_t)fleet->seed << 32 | device));
    return 0;
}

void bench_network_for(
    struct simdev_network *network, const struct bench_fleet *fleet, uint32_t device)
{
    uint32_t dev_addr = DEV_ADDR_PREFIX | (device & DEV_ADDR_MASK);
    struct bytes_writer w =
        bytes_writer_over(network->dev_addr.bytes, sizeof(network->dev_addr.bytes));

    bytes_write_u32_be(&w, dev_addr);
    network->dl_settings = version_of(fleet, device) == LW_MAC_1_1 ? LW_OPT_NEG : 0;
}

static int remember(struct bench_fleet *fleet, uint32_t device, const struct db_join_row *row)
{
    struct bench_memory *memory = &fleet->memory[device];

    if (!row->found)
        return error_set(ERROR_CONFIG, "device %u is not there: load it first", device);
    memory->join_nonce = row->state.join_nonce;
    memory->n_used = bench_device_is_counted(fleet, device)
                         ? (uint32_t)(row->state.last_dev_nonce + 1)
                         : row->state.join_nonce;
    memory->gate_rev = row->state.gate_rev;
    return 0;
}

int bench_fleet_load(
    struct bench_fleet *fleet, struct db *db, const uint32_t *devices, uint32_t n_devices)
{
    struct db_join_key keys[DB_JOIN_BATCH_MAX] = {{.dev_nonce = 0}};
    CLEANUP(cleanup_free) struct db_join_row *rows = calloc(DB_JOIN_BATCH_MAX, sizeof(*rows));
    uint32_t n;

    if (rows == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    for (uint32_t first = 0; first < n_devices; first += n) {
        n = n_devices - first < DB_JOIN_BATCH_MAX ? n_devices - first : DB_JOIN_BATCH_MAX;
        for (uint32_t i = 0; i < n; i++)
            keys[i].dev_eui = dev_eui_of(fleet, devices[first + i]);
        int r = db_join_load(db, keys, n, rows);
        for (uint32_t i = 0; r == 0 && i < n; i++)
            r = remember(fleet, devices[first + i], &rows[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

uint32_t bench_order_random(struct bench_order *order, uint32_t n)
{
    order->random = mix64(order->random);
    return (uint32_t)((order->random >> 32) * n >> 32);
}

static void shuffle(struct bench_order *order, uint32_t first, uint32_t n)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = first + bench_order_random(order, i);
        uint32_t last = first + i - 1;
        uint32_t device = order->devices[j];

        order->devices[j] = order->devices[last];
        order->devices[last] = device;
    }
}

int bench_order_make(uint32_t n, uint32_t seed, struct bench_order *ret)
{
    *ret = (struct bench_order){.n = n, .random = mix64(seed)};
    ret->devices = calloc(n, sizeof(*ret->devices));
    if (ret->devices == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the order of devices");
    for (uint32_t i = 0; i < n; i++)
        ret->devices[i] = i;
    shuffle(ret, 0, n);
    return 0;
}

void bench_order_done(struct bench_order *order)
{
    free(order->devices);
    order->devices = NULL;
}

/* The halves keep their members: a device of the one never meets its next turn before the whole
 * other half had theirs. */
uint32_t bench_order_next(struct bench_order *order)
{
    if (order->at == order->n) {
        shuffle(order, 0, order->n / 2);
        shuffle(order, order->n / 2, order->n - order->n / 2);
        order->at = 0;
    }
    return order->devices[order->at++];
}
