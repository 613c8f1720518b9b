/* What verbs of several groups do with the token. */
#pragma once

#include "cli/cli.h"
#include "hsm/token_life.h"

/** Copies the token of the settings into the new folder `dir`; `ret_keys` are those of the copy. */
int cli_token_keep(const struct cli_settings *settings, const char *dir, struct key_list *ret_keys,
    struct text *out) MUST_CHECK;
/** Makes a token of such a copy for a moment, compares it with the live one, and opens sealed keys
 * of the database with it. */
int cli_token_rehearse(
    const struct cli_settings *settings, const char *dir, struct text *out) MUST_CHECK;
/** Which keys the token holds. */
int cli_token_keys(const struct cli_settings *settings, struct key_list *ret) MUST_CHECK;
