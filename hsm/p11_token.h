/* One PKCS#11 token: the module, the login, two sessions. Inside hsm/ only.
 *
 * The `anchor` session holds the login and whatever lives long (peers' KEKs);
 * the `work` session holds what one item makes. After a failure the work session is closed and
 * opened again, which ends any half-done operation and destroys what the item left behind. One
 * thread only: C_Initialize gets no locking arguments, because a locking SoftHSM is a tenth slower.
 */
#pragma once

#include "base/cleanup.h"
#include "hsm/p11_quirks.h"
#include <p11-kit/uri.h>
#include <stdint.h>

struct p11_token {
    P11KitUri *uri;
    CK_FUNCTION_LIST *f;
    bool initialized;
    bool read_write;
    CK_SLOT_ID slot;
    CK_TOKEN_INFO info;
    const struct p11_quirks *quirks;
    CK_SESSION_HANDLE anchor;
    CK_SESSION_HANDLE work;
    bool lost;     /* handles are no longer good: only a fresh process can help */
    CK_RV last_rv; /* of the last call that failed */
};

/** Takes the start-up lock of a token, waiting for it; close the descriptor to give it back.
 * Parallel C_Initialize..C_Login on one SoftHSM token fails in half of all cases. ERROR_SYSTEM: the
 * file cannot be made or locked, or has no room for the note of a refused PIN. */
int p11_lock(const char *lock_file, int *ret_fd) MUST_CHECK;

/** Loads the module, finds the one token that the URI names, opens the sessions, logs in. `lock` is
 * the descriptor that p11_lock() gave. A PIN that the token refuses is remembered in its file, by
 * token and by the PIN file's identity and times: whoever comes next with the same does not try.
 * ERROR_CONFIG: the URI or what it names is wrong; ERROR_PIN: the token refused the PIN, now or
 * before (one attempt was made in all, until the PIN file changes; a second one where SoftHSM
 * had taken it before); ERROR_HSM. */
int p11_token_open(struct p11_token *token, const char *uri, bool read_write, int lock) MUST_CHECK;
/** C_Finalize and unload; a half-open token is fine. */
void p11_token_close(struct p11_token *token);

/** Closes the work session with everything in it and opens a new one. */
int p11_token_reset_work(struct p11_token *token) MUST_CHECK;

/** Records a failed call: the sentence, the code, and whether the handles are gone. ERROR_HSM. */
int p11_failed(struct p11_token *token, CK_RV rv, const char *what);

/** PKCS#11 takes its inputs through pointers to non-const and promises not to write. */
static inline CK_BYTE_PTR p11_in(const void *p)
{
    return (CK_BYTE_PTR)(uintptr_t)p;
}
