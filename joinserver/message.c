#include "joinserver/message.h"

#include <stdio.h>
#include <string.h>

static struct join_decision decide_home_ns(const struct db_join_row *row,
    const struct ts002_request *request, const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN],
    unsigned retry_window_ms)
{
    (void)fingerprint;
    (void)retry_window_ms;
    return join_decide_home_ns(row, request);
}

static struct join_decision decide_app_s_key(const struct db_join_row *row,
    const struct ts002_request *request, const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN],
    unsigned retry_window_ms)
{
    (void)fingerprint;
    (void)retry_window_ms;
    return join_decide_app_s_key(row, request);
}

static void write_join(
    struct text *out, const struct ts002_request *request, const struct join_answer *answer)
{
    ts002_write_join_ans(out, request, answer->reply, answer->join_nonce, answer->ns_kek_label,
        answer->as_kek_label, !answer->session_key_id_omit);
}

static void write_home_ns(
    struct text *out, const struct ts002_request *request, const struct join_answer *answer)
{
    ts002_write_home_ns_ans(out, request, &answer->row->record.home_net_id, answer->home_ns_id);
}

static void write_app_s_key(
    struct text *out, const struct ts002_request *request, const struct join_answer *answer)
{
    ts002_write_app_s_key_ans(out, request, answer->app_s_key, answer->as_kek_label);
}

static const struct join_message messages[] = {
    {.name = "JoinReq",
        .activates = true,
        .away = AWAY_ACTIVATION,
        .check = ts002_check_join,
        .decide = join_decide,
        .write = write_join},
    {.name = "HomeNSReq",
        .series = JOIN_SERIES_HOME_NS,
        .away = AWAY_HOME_NS,
        .check = ts002_check_home_ns,
        .decide = decide_home_ns,
        .write = write_home_ns},
    {.name = "RejoinReq",
        .series = JOIN_SERIES_REJOIN,
        .activates = true,
        .away = AWAY_ACTIVATION,
        .check = ts002_check_rejoin,
        .decide = join_decide_rejoin,
        .write = write_join},
    {.name = TS002_APP_S_KEY_REQ,
        .series = JOIN_SERIES_APP_S_KEY,
        .by_application_server = true,
        .needs_session = true,
        .check = ts002_check_app_s_key,
        .decide = decide_app_s_key,
        .write = write_app_s_key},
    {.name = "ErrorNotif", .since = TS002_1_1, .notifies = true},
};

const struct join_message *join_message_find(const struct ts002_request *request)
{
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        if (messages[i].since <= request->version &&
            strcmp(messages[i].name, request->message_type) == 0)
            return &messages[i];
    return NULL;
}

enum join_result join_message_check(const struct join_message *message,
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX])
{
    if (message != NULL && message->check != NULL)
        return message->check(request, description);
    (void)snprintf(
        description, TS002_DESCRIPTION_MAX, "MessageType is not one that this join server answers");
    return JOIN_MALFORMED;
}
