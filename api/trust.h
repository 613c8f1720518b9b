/* Who a client certificate belongs to, and whether it may be believed. The peer is found by an
 * exact SAN of the leaf, and the chain must then lead to the trust anchors of that very peer: a CA
 * of one peer can say nothing about another. Works on bytes alone: no socket, no session. */
#pragma once

#include "api/server.h"
#include <gnutls/gnutls.h>

/** Checks a chain (DER, leaf first). NULL when it is good, and `san` is the name that was verified;
 * else one sentence saying what is wrong, without anything of the certificate in it, and `san` is
 * the name of a known peer or "". */
const char *trust_check(const gnutls_datum_t *chain, unsigned n_chain, api_trust_find find,
    void *context, char san[static API_SAN_MAX + 1]);
