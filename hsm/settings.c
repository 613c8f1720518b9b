#include "hsm/settings.h"

#include "base/error.h"
#include <string.h>

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Before it is in anybody's argument list, which every user of the machine may read. */
static int check_uri(const char *uri)
{
    if (strcasestr(uri, "pin-value") == NULL)
        return 0;
    return error_set(ERROR_CONFIG,
        "the HSM's URI holds the PIN itself; put it into a file and name that with pin-source");
}

int hsm_tokens_check(
    const char *uri, const char *lock_file, const struct keyd_second_token *second, unsigned *ret_n)
{
    int r;

    if (!is_set(uri) || !is_set(lock_file))
        return error_set(
            ERROR_CONFIG, "setting %s is missing", is_set(uri) ? "hsm.lock_file" : "hsm.uri");
    if ((r = check_uri(uri)) < 0)
        return r;
    *ret_n = 1;
    if (!is_set(second->uri))
        return 0;
    if (!is_set(second->lock_file) || strcmp(second->lock_file, lock_file) == 0)
        return error_set(
            ERROR_CONFIG, "the second HSM token needs a lock file of its own (hsm.lock_file_2)");
    if (!is_set(second->softhsm_conf) && strcmp(second->uri, uri) == 0)
        return error_set(ERROR_CONFIG, "the second HSM token is the first one: the same URI");
    *ret_n = 2;
    return check_uri(second->uri);
}
