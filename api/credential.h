/* What this service shows of itself where it is the client, by name: files of one folder.
 *
 *   NAME.crt, NAME.key  client certificate (the chain, our own first) and its key, PEM
 *   NAME.ca             PEM; the server's certificate is verified with these CAs and with no others
 *   NAME.header         one line: the value of the Authorization header, as it is
 *
 * Each is optional, a certificate and its key go together, and one file at least must be there.
 * .key and .header must be closed to everyone but owner and group. Files are looked at when the
 * credential is wanted, at most once a second: changed ones are used from then on. While changed
 * ones are bad, what was good before is used and the log says why; when all are gone, so is the
 * credential. Any thread may call. */
#pragma once

#include "base/cleanup.h"

#define API_CREDENTIAL_NAME_MAX 64 /* characters: letters, digits, '.', '_', '-'; no dot first */

/** Texts are NULL when there is no such file. Valid until released; wiped then. */
struct api_credential {
    const char *name; /* for the log */
    const char *certificate;
    const char *key;
    const char *anchors;
    const char *authorization;
};

struct api_credentials;

/** `folder` must outlive them; "": there are none. */
int api_credentials_open(const char *folder, struct api_credentials **ret);
/** Every credential must have been released. NULL is fine. */
void api_credentials_close(struct api_credentials *credentials);

/** ERROR_CONFIG names what is missing or bad. */
int api_credential_get(struct api_credentials *credentials, const char *name,
    const struct api_credential **ret) MUST_CHECK;
/** NULL is fine. */
void api_credential_release(
    struct api_credentials *credentials, const struct api_credential *credential);
