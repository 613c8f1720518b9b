/* A call that moves one device: activation/mover.h for the device of its path. */
#pragma once

#include "activation/devices.h"
#include "activation/mover.h"

/** The move as this call's client asks for it; whoever has more to say of it adds that. */
struct mover act_move_of(struct act_call *call, enum device_move move);
/** The device that path parameter 0 names, which may be moved so. 0, or the status of the answer it
 * set: 404 alike for what is not here and what is another's. */
unsigned act_move_load(struct act_call *call, const struct mover *mover, struct moving *ret);
/** Makes the move, in the call's transaction. 0, or the status of the answer it set. */
unsigned act_move_make(struct act_call *call, const struct mover *mover, struct moving *moving);
/** The device as it is once it was moved. Begins its JSON object, which the caller ends. */
void act_move_write(struct text *out, const struct mover *mover, const struct moving *moving);

/** To whom an offer is and for how long (NULL: as long as it is without a word), from a body. 0, or
 * the status of the answer it set. */
unsigned act_offer_read(struct act_call *call, const uint8_t to[static ACCOUNT_ID_LEN],
    const uint32_t *days, struct mover *mover);
