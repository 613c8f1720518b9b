/* What a body of the REST API says of a network or application server, read and checked. */
#pragma once

#include "activation/call.h"
#include "db/directory.h"

/* Beside a trust anchor and revocation lists, escaped, the rest is small. */
#define PEER_BODY_MAX ((size_t)1 << 20)

struct peer_body {
    struct db_peer peer; /* its kind is set by the caller */
    unsigned set;        /* DB_PEER_... */
    bool has_name;
    bool has_trust; /* san, trust_anchor and crl, as they are to be */
    bool has_crl;   /* crl is named, null too */
};
void peer_body_done(struct peer_body *body);

/** 0, or the status of the answer it set. */
unsigned peer_body_read(struct act_call *call, struct peer_body *body);
/** "name" of a network server, "as_id" of an application server. */
const char *peer_name_member(enum peer_kind kind);
/** Location of what has such a name in a collection, "/v1/partners": percent-encoded. */
void act_call_locate_name(struct act_call *call, const char *collection, const char *name);
/** 400 that names the member where error_text() says what is wrong with it, else a failure of ours.
 */
unsigned peer_body_fault(struct act_call *call, const char *field, int code);
/** Whether two of `n` identifiers of `size` bytes are the same. */
bool peer_body_has_twice(const void *ids, size_t n, size_t size);
