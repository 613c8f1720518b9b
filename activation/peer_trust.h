/* How a peer is known by certificate, as the operator gives it: refused here when the join server
 * could not work with it. */
#pragma once

#include "base/cleanup.h"
#include "db/directory.h"

/** Fills `peer`'s san, trust_anchor and crl. `san` is an exact DNS name or a URI; `ca` holds CAs in
 * PEM, `crl` (may be NULL) their revocation lists. Only what is a certificate or a list is kept of
 * them. ERROR_INPUT says what is wrong; *ret_field is then "san", "ca" or "crl". */
int act_peer_trust_read(const char *san, const char *ca, const char *crl, struct db_peer *peer,
    const char **ret_field) MUST_CHECK;
void act_peer_trust_done(struct db_peer *peer);
