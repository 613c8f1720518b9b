/* Settings from three places, the later winning: a file (INI), the environment, options.
 * A program describes its settings in one table; a file key outside the table is an error. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

enum config_kind { CONFIG_TEXT, CONFIG_UNSIGNED, CONFIG_BOOL };

struct config_setting {
    const char *key; /* "section.name", as in the file */
    const char *env; /* environment variable, or NULL */
    enum config_kind kind;
    size_t offset;       /* of a char *, unsigned or bool in the program's struct */
    const char *initial; /* default as text; NULL: required when CONFIG_TEXT, else "0" */
    unsigned min, max;   /* of CONFIG_UNSIGNED */
    const char *help;
};

/** Fills `target` from defaults, then `file` (may be NULL), then the environment, then `overrides`
 * ("section.name=value" strings). Every fault names the setting and where it came from
 * (ERROR_CONFIG). Text values are heap strings freed by config_done. */
int config_load(const struct config_setting *table, size_t n_settings, const char *file,
    const char *const *overrides, size_t n_overrides, void *target);
void config_done(const struct config_setting *table, size_t n_settings, void *target);

/** Reads a whole small file (a PIN, a password) without its trailing newline. The file must not be
 * readable by others (ERROR_CONFIG names it); one in $CREDENTIALS_DIRECTORY may have the group bit.
 * `out` gets a NUL; wipe it after use. */
int config_read_secret_file(const char *path, char *out, size_t out_size);
