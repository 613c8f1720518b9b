/* The messages that a join server is sent: one row a MessageType, from its check to its answer.
 * What the reader (ts002.h), the queues and the workers do is the same for all of them. */
#pragma once

#include "joinserver/decide.h"

/** What an answer is written from. */
struct join_answer {
    const struct db_join_row *row;
    const struct keyd_join_reply *reply; /* of a join */
    uint32_t join_nonce;                 /* of a join */
    /* NULL: that key is in clear. */
    const char *ns_kek_label;              /* of a join */
    const char *as_kek_label;              /* of what holds an AppSKey */
    bool session_key_id_omit;              /* of a join */
    const struct keyd_envelope *app_s_key; /* of a session, again */
    const struct eui64 *home_ns_id;        /* of who is home; NULL: it is not known which */
};

/** Which metric counts the answers. */
enum join_series {
    JOIN_SERIES_JOIN,
    JOIN_SERIES_REJOIN,
    JOIN_SERIES_HOME_NS,
    JOIN_SERIES_APP_S_KEY,
    N_JOIN_SERIES
};

struct join_message {
    const char *name; /* MessageType */
    enum join_series series;
    enum ts002_version since;
    bool notifies;  /* has no answer and no work: HTTP 200 with an empty body */
    bool activates; /* an attempt to activate: has a retry memory, is recorded and counted as one */
    bool by_application_server; /* asked by one, and by nobody else; its SenderID is its AS-ID */
    enum device_away away;      /* what an agreement has to allow it, away from home; 0: of none */
    bool needs_session;         /* the session of SessionKeyID is loaded with the device */
    /** Checks the members. NULL: of what notifies. */
    enum join_result (*check)(
        struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX]);
    struct join_decision (*decide)(const struct db_join_row *row,
        const struct ts002_request *request, const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN],
        unsigned retry_window_ms);
    void (*write)(
        struct text *out, const struct ts002_request *request, const struct join_answer *answer);
};

/** The row of the request's MessageType in its ProtocolVersion, or NULL. */
const struct join_message *join_message_find(const struct ts002_request *request);
/** Checks the request, after its sender is known. Returns JOIN_SUCCESS or the refusal, which
 * `description` explains. `message` may be NULL: refused as well. */
enum join_result join_message_check(const struct join_message *message,
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX]);
