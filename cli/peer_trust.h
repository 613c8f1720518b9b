/* How a peer is known by certificate, as the operator gives it: read from files, and refused here
 * when the join server could not work with it. */
#pragma once

#include "db/directory.h"

/** Fills `peer`'s san, trust_anchor and crl. `san` is an exact DNS name or a URI; `ca_file` holds
 * CAs in PEM, `crl_file` (may be NULL) their revocation lists. Only what is a certificate or a list
 * is kept of the files. ERROR_INPUT says what is wrong. */
int cli_peer_trust_read(
    const char *san, const char *ca_file, const char *crl_file, struct db_peer *peer);
void cli_peer_trust_done(struct db_peer *peer);
