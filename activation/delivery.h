/* The files of an order: what each is written from, piece by piece. Belongs to the thread of a
 * call. */
#pragma once

#include "activation/call.h"
#include "activation/delivery_record.h"
#include "db/order_file.h"

struct delivery {
    struct act_call *call;
    int64_t batch_id;
    struct db_order_files order;
    struct delivery_shape shape;
    uint8_t key[GCM_KEY_LEN]; /* of the batch */
    struct gcm *gcm;          /* with it */
    uint8_t *bytes;           /* DB_ORDER_PART_MAX: records as they are stored */
    const char *type;         /* of the file */
    int64_t line;             /* of a file in parts, the first one that is wanted; else 1 */
    const char *layout;       /* of a sheet; NULL: none was named */
    struct text piece;        /* that is being written; holds secrets */
};

#define DELIVERY_ENOUGH 1
/** Takes a record of the order, in the order of lines. DELIVERY_ENOUGH: no more. */
typedef int (*delivery_take)(
    struct delivery *d, const struct delivery_record *record, void *context);
/** Gives all records from d->line on to `take`, and sends the piece after each chunk of them. */
int delivery_walk(struct delivery *d, delivery_take take, void *context);
/** Sends the piece, which is empty then. */
int delivery_send(struct delivery *d);

/* The files: each adds to d->piece, and sends it. */
int delivery_write_jwe(struct delivery *d);
int delivery_write_id_key(struct delivery *d);
int delivery_write_id_key_key(struct delivery *d);
int delivery_write_id_pac(struct delivery *d);
int delivery_write_labels_csv(struct delivery *d);
int delivery_write_label(struct delivery *d);
int delivery_write_sheet(struct delivery *d);
