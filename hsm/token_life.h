/* The life of a token after its ceremony: backup, a rehearsal of its restore, the restore, and a
 * second token with the same keys. Whatever labels the token holds are compared by their key check
 * values at every step. Runs in the `cradle` command; one thread. */
#pragma once

#include "base/sealed.h"
#include "base/text.h"
#include "hsm/key_list.h"

struct hsm_place {
    const char *uri; /* RFC 7512, with module-path, token and pin-source */
    const char *lock_file;
    const char *softhsm_conf; /* NULL or "": SOFTHSM2_CONF of the environment */
};

/** A sealed key of a device, as the database has it. */
struct hsm_sample {
    struct eui64 dev_eui, join_eui;
    enum key_slot slot;
    struct sealed_key key;
};

/** Which keys the token holds. The errors of the ceremony. */
int hsm_token_list(const struct hsm_place *place, struct key_list *ret) MUST_CHECK;
/** Compares two tokens; a line to `report`. ERROR_CONFIG names the first key that differs. */
int hsm_token_compare(
    const struct hsm_place *first, const struct hsm_place *second, struct text *report) MUST_CHECK;

/** Copies a SoftHSM token, with nobody starting on it meanwhile, into the new folder `dir` (0700):
 * `token/UUID/...`, and `keys`, a line a key with its check value. It takes its name when it is
 * whole, on disk, and was opened and compared: `ret_keys`. ERROR_CONFIG: it is there, or the token
 * is no SoftHSM's. */
int hsm_token_backup(const struct hsm_place *place, const char *dir, struct key_list *ret_keys,
    struct text *report) MUST_CHECK;
/** Whether everything that was sealed by the keys of `before` can be opened by those of `after`.
 * What comes and goes with a rotation, and seals nothing, may be missing. ERROR_CONFIG names the
 * first key that has gone, or is another. */
int hsm_token_must_keep(const struct key_list *before, const struct key_list *after) MUST_CHECK;
/** Opens a copy of a backup as a token of its own, by the PIN of `live`, compares it with its own
 * list and with the live token, and opens each of the samples with it. ERROR_CONFIG says what is
 * not as it should be. */
int hsm_token_rehearse(const struct hsm_place *live, const char *dir,
    const struct hsm_sample *samples, size_t n_samples, struct text *report) MUST_CHECK;
/** The same for a token that a vendor's tools restored elsewhere. */
int hsm_token_rehearse_at(const struct hsm_place *live, const struct hsm_place *restored,
    const struct hsm_sample *samples, size_t n_samples, struct text *report) MUST_CHECK;
/** Puts a backup into `home`, a folder of SoftHSM tokens, which must not hold it yet, opens it
 * there and compares. */
int hsm_token_restore(const struct hsm_place *place, const char *dir, const char *home,
    struct text *report) MUST_CHECK;
/** Gives the second token, a copy of the first one's files, the keys that it lacks. */
int hsm_token_copy(
    const struct hsm_place *first, const struct hsm_place *second, struct text *report) MUST_CHECK;
