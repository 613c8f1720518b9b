/* The devices of a measurement. Everything of a device follows from the seed and its number, so
 * that nothing but its nonces has to be kept: keys are SHA-256 of seed, DevEUI and slot. */
#pragma once

#include "db/join.h"
#include "tests/bench/settings.h"

#define BENCH_DEV_NONCES 65536

/** A device's memory. `n_used` DevNonces of its own sequence are spent. */
struct bench_memory {
    uint32_t join_nonce;
    uint32_t n_used;
    int64_t gate_rev; /* the database's */
};

struct bench_fleet {
    uint32_t n;
    uint32_t seed;
    bool mix; /* 1.0.3, 1.0.4 and 1.1 in turn */
    enum lw_mac_version version;
    uint32_t first;              /* the number that the first DevEUI is made of */
    uint32_t stride;             /* from one DevEUI to the next; the others are nobody's */
    struct bench_memory *memory; /* one a device */
};

/** ERROR_CONFIG: the version is none. The memory is empty, and takes none of the machine's until it
 * is touched: of ten million devices, those that a run asks for. */
int bench_fleet_make(const struct bench_settings *settings, struct bench_fleet *ret);
void bench_fleet_done(struct bench_fleet *fleet);

/** Reads from the database what these devices have used, so that a run goes on where another one
 * ended. That DevNonces are spent by successful joins alone is taken for granted: a run with errors
 * leaves a database that is good for nothing more. */
int bench_fleet_load(
    struct bench_fleet *fleet, struct db *db, const uint32_t *devices, uint32_t n_devices);

/** Wipe it: it holds keys. */
void bench_device_make(const struct bench_fleet *fleet, uint32_t device, struct simdev *ret);
void bench_device_wipe(struct simdev *device);

/** The code on the device's box: capital hexadecimal digits of 80 bits. Wipe it. */
#define BENCH_CODE_LEN 20
void bench_code_make(
    const struct bench_fleet *fleet, uint32_t device, char ret[static BENCH_CODE_LEN + 1]);

/** How many joins a device has had that is not new: from none to as many as fill the list in its
 * hot row twice but for one. */
#define BENCH_AGES 64
uint32_t bench_device_age(const struct bench_fleet *fleet, uint32_t device);

bool bench_device_is_counted(const struct bench_fleet *fleet, uint32_t device);

/** Takes the device's next DevNonce: the next number for versions that count, else the next of a
 * permutation of all 65,536. ERROR_CONFIG when none is left. */
int bench_device_take_nonce(struct bench_fleet *fleet, uint32_t device, uint16_t *ret);

/** Sets what of the network's answer depends on the device: DevAddr, and OptNeg for 1.1. */
void bench_network_for(
    struct simdev_network *network, const struct bench_fleet *fleet, uint32_t device);

/** An endless order of devices, the same for a seed. Every round has each device once, and between
 * two turns of a device half of all others have theirs. */
struct bench_order {
    uint32_t *devices;
    uint32_t n;
    uint32_t at;
    uint64_t random;
};

int bench_order_make(uint32_t n, uint32_t seed, struct bench_order *ret);
void bench_order_done(struct bench_order *order);
uint32_t bench_order_next(struct bench_order *order);
/** A number below `n`, of the same source as the order. */
uint32_t bench_order_random(struct bench_order *order, uint32_t n);
