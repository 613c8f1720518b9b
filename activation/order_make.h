/* Two threads that make the credentials of an order, each in a key process of its own, while a
 * third one stores what they have made: a new key costs a core longer than its row does. They know
 * no database. What they have made and nobody took is forgotten, and with it the keys: nothing but
 * what is stored is anything. Called by the thread that does jobs alone. */
#pragma once

#include "activation/delivery_record.h"
#include "activation/service.h"
#include "db/order_run.h"

#define ORDER_MAKERS 2
#define ORDER_CHUNK_DEVICES DB_BATCH_ROWS_MAX
#define ORDER_SLOW_DEVICES 32 /* of a chunk while devices may be joining (activation/pace.h) */
#define ORDER_CHUNKS 4        /* asked for, made or being stored, at a time */

/** What all credentials of an order have in common. */
struct order_plan {
    uint8_t job[ACCOUNT_ID_LEN], batch[DELIVERY_BATCH_ID_LEN];
    struct delivery_shape shape;
    struct eui64 first; /* the identifier of line 1 */
    unsigned code_length;
    struct sealed_kek transport;
    uint8_t key[GCM_KEY_LEN]; /* of the batch: wiped when they are done with the order */
};

/** Devices of lines `line` and following, as they may be stored. */
struct order_chunk {
    int64_t line;
    size_t n;
    struct db_batch_row rows[ORDER_CHUNK_DEVICES];
    struct db_code codes[ORDER_CHUNK_DEVICES];
    struct delivery_record records[ORDER_CHUNK_DEVICES];
};

struct order_makers;

/** Calls on keyd channels number `channel` and following, one a thread. */
int order_makers_start(struct act_service *service, unsigned channel, struct order_makers **ret);
/** NULL is fine. */
void order_makers_stop(struct order_makers *makers);

/** From now on they make this order's, from line `line` on. What they have made of it already, in
 * an earlier turn, is still good where it begins at that line; everything else is forgotten. */
void order_makers_begin(struct order_makers *makers, const struct order_plan *plan, int64_t line);
/** The line behind what was asked for. */
int64_t order_makers_next(const struct order_makers *makers);
/** Asks for the next chunk, of `n` devices. False: ORDER_CHUNKS are asked for. */
bool order_makers_ask(struct order_makers *makers, size_t n);
/** Waits for the first chunk that was asked for and not given back. ERROR_HSM and ERROR_DEADLINE as
 * keyd has them: forget them all then. */
int order_makers_take(struct order_makers *makers, const struct order_chunk **ret);
/** It is stored. */
void order_makers_give_back(struct order_makers *makers);
/** Forgets the order and what was made for it. */
void order_makers_forget(struct order_makers *makers);
