/* The files of a SoftHSM token: where they are, copied durably. Inside hsm/ only. Other tokens have
 * none; their vendor's way of a backup is to be used. */
#pragma once

#include "base/error.h"
#include <limits.h>
#include <stdbool.h>

/** SOFTHSM2_CONF as it was, put back at the end. */
struct token_setting {
    bool changed;
    char *before;
};

/** Another SOFTHSM2_CONF for the tokens that are opened from now on; NULL or "": as it is. */
int token_setting_change(const char *conf, struct token_setting *ret) MUST_CHECK;
void token_setting_restore(struct token_setting *s);

/** Where a SoftHSM configuration keeps its tokens. `conf` NULL or "": SOFTHSM2_CONF of the
 * environment. ERROR_CONFIG when it says no folder. */
int token_files_home(const char *conf, char ret[static PATH_MAX]) MUST_CHECK;
/** The name of the one folder below `home` that is the token of this serial (16 hex digits).
 * ERROR_CONFIG when there is none. */
int token_files_find(
    const char *home, const char *serial, char ret[static NAME_MAX + 1]) MUST_CHECK;
/** The name of the one folder there is. ERROR_CONFIG. */
int token_files_only(const char *home, char ret[static NAME_MAX + 1]) MUST_CHECK;
/** Makes a folder (0700) that is not there yet. ERROR_CONFIG. */
int token_files_make(const char *path) MUST_CHECK;
/** Copies a token's files to the new folder `to`, 0600, and waits for the disk; all or none. */
int token_files_copy(const char *from, const char *to) MUST_CHECK;
/** Copies the objects that `to` lacks, and changes none that is there; returns how many, or an
 * error: ERROR_CONFIG when the two are not copies of one token. */
int token_files_add(const char *from, const char *to) MUST_CHECK;
/** A SoftHSM configuration over that folder, with the mechanisms of `like` (as `conf` above). */
int token_files_configure(const char *path, const char *home, const char *like) MUST_CHECK;
/** Removes a folder and all in it. */
void token_files_remove(const char *path);
/** Waits until what a folder names is on disk. */
int token_files_sync(const char *path) MUST_CHECK;
