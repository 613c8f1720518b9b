#include "cli/owner.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include "db/audit.h"
#include <pwd.h>
#include <unistd.h>

#define REQUEST_BYTES 16

int cli_owner_open(const struct cli_settings *settings, struct db **ret)
{
    const struct db_config config = {.conninfo = settings->owner_conninfo, .program = "cradle"};
    int r = cli_need(settings->owner_conninfo, "database.owner_conninfo");

    return r < 0 ? r : db_open(&config, ret);
}

static int add_event(const struct cli_settings *settings, const char *action, const char *object,
    const struct text *members)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(text_done) struct text detail = {0};
    const struct passwd *user = getpwuid(getuid());
    uint8_t request[REQUEST_BYTES];
    char request_id[2 * REQUEST_BYTES + 1];
    struct db_audit_event event = {.request_id = request_id, .action = action, .object = object};
    int r = random_bytes(request, sizeof(request));

    if (r < 0 || (r = cli_owner_open(settings, &db)) < 0)
        return r;
    (void)hex_encode(request, sizeof(request), request_id);
    text_add(&detail, "{\"user\":");
    text_add_json(&detail, user != NULL ? user->pw_name : "?");
    text_add(&detail, ",");
    if (members->data != NULL)
        text_add(&detail, members->data);
    text_add(&detail, "}");
    if (detail.failed || members->failed)
        return error_set(ERROR_SYSTEM, "no memory");
    event.detail = detail.data;
    return db_audit_add(db, &event);
}

void cli_owner_tell(const struct cli_settings *settings, const char *action, const char *object,
    const struct text *members)
{
    if (add_event(settings, action, object, members) < 0)
        log_warn("%s %s is not in the audit: %s", action, object, error_text());
}
