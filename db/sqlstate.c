#include "db/sqlstate.h"

#include <stddef.h>
#include <string.h>

#define CLASS_LEN 2

/* An ERROR ends its transaction, so nothing was committed. What ends the whole session may have
 * come after the commit record was written (a wait for a standby, a crash): that is unknown. */
static const struct db_sqlstate states[] = {
    {"08", true, true},     /* connection exceptions */
    {"57P01", true, true},  /* admin_shutdown: also the end of a wait for a standby */
    {"57P02", true, true},  /* crash_shutdown: another backend crashed */
    {"57P03", false, true}, /* cannot_connect_now: starting, or in recovery */
    {"57P04", true, true},  /* database_dropped */
    {"57P05", false, true}, /* idle_session_timeout */
    {"25P03", false, true}, /* idle_in_transaction_session_timeout */
    {"25006", false,
        true}, /* read_only_sql_transaction: this primary was demoted; find the new one */
    {"57014", false, false}, /* query_canceled: statement_timeout */
    {"40P01", false, false}, /* deadlock_detected */
    {"40001", false, false}, /* serialization_failure */
    {DB_SQLSTATE_NO_LOCK, false, false}, {"53100", false, false}, /* disk_full */
    {"53200", false, false},                                      /* out_of_memory */
    {"53300", false, true},                                       /* too_many_connections */
    {"26000", false, true}, /* the prepared statement is gone: a pooler gave us another session */
    {"0A000", false, true}, /* "cached plan must not change result type": prepare again */
    {"58", true, true},     /* system error outside PostgreSQL, I/O */
    {"XX", true, true},     /* internal error, data corrupted */
};
static const struct db_sqlstate any = {"", false, false};

const struct db_sqlstate *db_sqlstate_find(const char *state)
{
    for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
        if (strlen(states[i].prefix) > CLASS_LEN && strcmp(states[i].prefix, state) == 0)
            return &states[i];
    for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
        if (strlen(states[i].prefix) == CLASS_LEN &&
            strncmp(states[i].prefix, state, CLASS_LEN) == 0)
            return &states[i];
    return &any;
}

const struct db_sqlstate *db_sqlstate_at(unsigned i)
{
    return i < sizeof(states) / sizeof(*states) ? &states[i] : NULL;
}
