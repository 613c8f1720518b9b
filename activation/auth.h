/* Who is asking: an access token, or a certificate, to a caller. */
#pragma once

#include "activation/token.h"
#include "activation/worker.h"
#include "db/account.h"

/** What a sender is told whose token is not accepted, whatever the reason. */
#define ACT_TOKEN_NOT_VALID "the access token is not valid here, or no more"

struct act_caller {
    uint8_t client_id[ACCOUNT_ID_LEN];
    int64_t organization_id;
    uint8_t organization_public_id[ACCOUNT_ID_LEN];
    unsigned claim_code_length; /* of codes that are made for its organization */
    unsigned roles; /* as the database has them now, not as they were when the token was made */
    char as_id[PEER_ID_MAX + 1]; /* of an application server, by its certificate; else "" */
};

/** What a sender is told whose certificate is not accepted, whatever the reason: that is logged. */
#define ACT_CERTIFICATE_NEEDED                                                                     \
    "a TLS client certificate of an application server that may claim devices here is needed"

/** What can be said of a request's token without keyd and database, before its body is taken. It
 * decides what the request may occupy meanwhile, never what its sender may do. */
enum act_bearing {
    BEARS_NONE,    /* no Bearer token of the right shape */
    BEARS_STALE,   /* by its own words its time is over, or ends later than that of any of ours */
    BEARS_UNKNOWN, /* may be right: of another process or an earlier run, or forged */
    BEARS_KNOWN,   /* issued or verified by this process; may have been revoked since */
};

/** Also whose client's it is, of BEARS_KNOWN; else 0. Does not wait. */
enum act_bearing act_bears_token(
    struct act_service *service, const struct api_request *request, int64_t *ret_organization_id);

/** The token's hash is computed again in keyd; then its time and the client's record are looked at.
 * Outcome 1: not a valid token, expired, or the client is gone or revoked. Negative: keyd or the
 * database is failing. The service's table of known tokens learns what was found. */
int act_authenticate(struct act_worker *worker, const struct api_request *request,
    struct act_caller *ret) MUST_CHECK;
/** The same of up to ACT_TOGETHER_MAX requests, by one message to keyd and one statement: a token
 * that several show is looked at once for all of them. ret_good[i]: ret[i] is who asks. */
int act_authenticate_all(struct act_worker *worker, const struct api_request *const *requests,
    size_t n, struct act_caller *ret, bool *ret_good) MUST_CHECK;

/** The client that the application server of the certificate is. Peer, its CA and revocation list,
 * and client are read for each call: what is revoked is refused from then on. Outcome 1: no
 * certificate, one that is not good, or its peer is no client here. Negative: the database is
 * failing. */
int act_authenticate_certificate(struct act_worker *worker, const struct api_request *request,
    struct act_caller *ret) MUST_CHECK;
