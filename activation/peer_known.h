/* What is known already that an answer or a refusal about a peer has to name. */
#pragma once

#include "base/text.h"
#include "db/directory.h"

/** Adds ,"current_keks":[LABEL, ...]: the current KEKs that what this network server asks for may
 * be wrapped under, of its NetIDs and of its NSIDs; without any, keys are in clear or refused. */
int act_peer_keks_write(struct db *db, const char *name, struct text *out);
/** Why the peer cannot be as it says: who has its name, where it is new, or its SAN. */
int act_peer_taken_write(struct db *db, const struct db_peer *peer, bool is_new, struct text *out);
