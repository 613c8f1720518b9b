/* What is known already that an answer or a refusal about a peer has to name. */
#pragma once

#include "base/text.h"
#include "db/directory.h"

/** Adds ,"keks_that_win":[LABEL, ...]: the current KEKs that what this network server asks for may
 * be wrapped under, of its NetIDs and of its NSIDs; nothing when there is none, and keys are in
 * clear. */
int cli_peer_keks_write(struct db *db, const char *name, struct text *out);
/** Why the peer cannot be added: an ERROR_INPUT that names who has its name or its SAN. */
int cli_peer_is_taken(struct db *db, const struct db_peer *peer);
