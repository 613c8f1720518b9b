/* Which of our keys a token holds, whatever their versions. Inside hsm/ only. */
#pragma once

#include "hsm/key_list.h"
#include "hsm/p11_token.h"

/** Labels and check values of every key of ours, in the order of the ceremony's table and of their
 * labels. Reads and computes, and makes nothing that stays. ERROR_CONFIG, ERROR_HSM. */
int token_keys_list(struct p11_token *token, struct key_list *ret) MUST_CHECK;
