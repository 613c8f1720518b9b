/* Who is asking: an access token to a caller. */
#pragma once

#include "activation/worker.h"
#include "db/account.h"

struct act_caller {
    uint8_t client_id[ACCOUNT_ID_LEN];
    int64_t organization_id;
    unsigned roles; /* as the database has them now, not as they were when the token was made */
};

/** True when the request carries a Bearer token of the right shape: all that can be said without
 * keyd and database, and enough to turn a stranger away before his body is taken. */
bool act_bears_token(const struct api_request *request);

/** The token's hash is computed again in keyd; then its time and the client's record are looked at.
 * Outcome 1: not a valid token, expired, or the client is gone or revoked. Negative: keyd or the
 * database is failing. */
int act_authenticate(struct act_worker *worker, const struct api_request *request,
    struct act_caller *ret) MUST_CHECK;
