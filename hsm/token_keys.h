/* Which of our keys a token holds, whatever their versions. Inside hsm/ only. */
#pragma once

#include "hsm/key_list.h"
#include "hsm/p11_token.h"

/** Labels and check values of every key of ours, in the order of the ceremony's table and of their
 * labels; at the end the marks of versions that do not seal yet, with 0. Reads and computes, and
 * makes nothing that stays. ERROR_CONFIG, ERROR_HSM. */
int token_keys_list(struct p11_token *token, struct key_list *ret) MUST_CHECK;
/** Whether that is no key, but the mark of one. */
bool token_keys_is_mark(const char *label);
/** Leaves those that another token must have to serve instead of this one: not a version that seals
 * nothing yet, nor what is there for a rotation alone. */
void token_keys_keep_needed(struct key_list *list);
