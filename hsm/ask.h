/* A message out, a message back, sent again where the key process died. Inside hsm/ only. */
#pragma once

#include "hsm/frame.h"
#include "hsm/pool.h"

/** Asks until a key process has answered, the deadline passes or the message has cost too many of
 * them; the answer is channel->reply. ERROR_DEADLINE, ERROR_HSM, ERROR_PIN; ERROR_INPUT when the
 * items cannot be sent. */
int keyd_ask(struct keyd_channel *channel, enum keyd_verb verb,
    const struct sealed_kek *const *keks, size_t n_keks, const void *items, size_t n_items,
    int64_t deadline_ms) MUST_CHECK;
/** Wipes the answer where it holds secrets: they are in the caller's hands now. */
void keyd_forget(struct keyd_channel *channel);
