/* GET /v1/batches and /v1/batches/{batch}: what a maker has brought in, or ordered. */
#pragma once

#include "activation/call.h"
#include "db/batch_view.h"

/** The batch that path parameter `index` names, when it is of the caller's organization. 0, or the
 * status of the answer it set: 404 alike for what is not there and what is another's. */
unsigned act_batch_find(struct act_call *call, size_t index, struct db_batch *ret);
/** As these calls answer it: an object without a line's end. */
void act_batch_write(struct text *out, const struct db_batch *batch);
