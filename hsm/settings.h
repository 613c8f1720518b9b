/* The settings by which an HSM's tokens are named: one table for the services, which start key
 * processes on them or ask a host to, and for that host. */
#pragma once

#include "base/config.h"
#include "hsm/client.h"

struct hsm_token_settings {
    char *uri, *lock_file;
    char *uri_2, *lock_file_2, *softhsm2_conf_2; /* "": no second token */
};

/** Rows of a settings table: `member` of `type` is a struct hsm_token_settings. */
#define HSM_TOKEN_SETTINGS(type, member)                                                           \
    {"hsm.uri", NULL, CONFIG_TEXT, offsetof(type, member.uri), "", 0, 0,                           \
        "RFC 7512 URI with module-path, token and pin-source"},                                    \
        {"hsm.lock_file", NULL, CONFIG_TEXT, offsetof(type, member.lock_file), "", 0, 0,           \
            "the lock that every key process takes while it starts on this token"},                \
        {"hsm.uri_2", NULL, CONFIG_TEXT, offsetof(type, member.uri_2), "", 0, 0,                   \
            "URI of a second token with the same keys, for when the first fails; empty: none"},    \
        {"hsm.lock_file_2", NULL, CONFIG_TEXT, offsetof(type, member.lock_file_2), "", 0, 0,       \
            "the second token's own lock"},                                                        \
    {                                                                                              \
        "hsm.softhsm2_conf_2", NULL, CONFIG_TEXT, offsetof(type, member.softhsm2_conf_2), "", 0,   \
            0, "SOFTHSM2_CONF of key processes on the second token; empty: that of the first"      \
    }

/** Of a service: its tokens and the program, or the host that knows them. */
struct hsm_service_settings {
    struct hsm_token_settings tokens;
    char *keyd;
    char *keyd_socket, *keyd_user;
    unsigned processes;
};

/** Rows of a settings table: `member` of `type` is a struct hsm_service_settings. */
#define HSM_SERVICE_SETTINGS(type, member)                                                         \
    HSM_TOKEN_SETTINGS(type, member.tokens),                                                       \
        {"hsm.keyd", NULL, CONFIG_TEXT, offsetof(type, member.keyd), "", 0, 0,                     \
            "path of cradle-keyd"},                                                                \
        {"hsm.keyd_socket", NULL, CONFIG_TEXT, offsetof(type, member.keyd_socket), "", 0, 0,       \
            "socket of a cradle-keyd-host, which knows tokens and PINs, in the place of these"},   \
        {"hsm.keyd_user", NULL, CONFIG_TEXT, offsetof(type, member.keyd_user), "", 0, 0,           \
            "user whose that socket must be (or root's); empty: whoever's"},                       \
    {                                                                                              \
        "hsm.processes", NULL, CONFIG_UNSIGNED, offsetof(type, member.processes), "0", 0, 64,      \
            "key processes; 0: one per core"                                                       \
    }

/** The second token of these settings. */
static inline struct keyd_second_token hsm_second_of(const struct hsm_token_settings *s)
{
    return (struct keyd_second_token){s->uri_2, s->lock_file_2, s->softhsm2_conf_2};
}

/** Whether these are a token, or two that may stand for each other; NULL is "". `*ret_n`: how many.
 * ERROR_CONFIG names the setting. */
int hsm_tokens_check(const char *uri, const char *lock_file, const struct keyd_second_token *second,
    unsigned *ret_n) MUST_CHECK;
