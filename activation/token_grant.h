/* POST /v1/token: OAuth 2.0 client credentials (RFC 6749 4.4). The client proves itself with HTTP
 * Basic or with client_id and client_secret in the form, never with both. */
#pragma once

#include "activation/routes.h"

#define TOKEN_GRANT_BODY_MAX 4096 /* bytes of the form */

unsigned act_post_token(struct act_call *call);
