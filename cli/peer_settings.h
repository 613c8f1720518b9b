/* How a peer is answered and which network servers it is, as options of `cradle ns|as add` and
 * `set`: one table of them, read here and shown in the lists in the words they are given in. Pure.
 */
#pragma once

#include "base/text.h"
#include "db/directory.h"
#include <getopt.h>

/** More than a peer of any kind has. */
#define CLI_PEER_OPTIONS_MAX 8

/** Writes the options of a peer of this kind, and no end; returns how many. */
size_t cli_peer_options(enum peer_kind kind, struct option ret[static CLI_PEER_OPTIONS_MAX]);

/** Outcome of cli_peer_option_take. */
#define CLI_PEER_NO_OPTION 1

/** Takes what getopt_long returned: fills the member of `peer` and adds it to `*set` (DB_PEER_...).
 * ERROR_INPUT says what is wrong; CLI_PEER_NO_OPTION: it is none of these. */
int cli_peer_option_take(int option, const char *value, struct db_peer *peer, unsigned *set);

/** Writes `,"option":"word"` of each that `set` names and a peer of its kind has. An answer URL and
 * its credential, where there are none, are "none". NSIDs are not written. */
void cli_peer_settings_write(struct text *out, const struct db_peer *peer, unsigned set);
