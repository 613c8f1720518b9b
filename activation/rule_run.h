/* Claiming by rules: what nobody's call waits for. A thread that does jobs takes steps of it
 * between them; any number of services may, and one that is killed leaves nothing to be mended. */
#pragma once

#include "activation/worker.h"

/** Looks at the rule that is due longest, and claims a chunk of what it may. Outcome 1: none is
 * due.
 */
int act_rule_step(struct act_worker *worker);
