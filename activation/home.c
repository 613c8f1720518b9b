#include "activation/home.h"

#include "activation/operator_check.h"
#include "db/device_change.h"
#include <string.h>

unsigned act_home_read(struct act_call *call, struct act_home *ret)
{
    static const struct json_field fields[] = {ACT_HOME_FIELD(home_net_id), ACT_HOME_FIELD(as_id)};
    size_t len;

    (void)api_request_body(call->request, &len);
    *ret = (struct act_home){.home_net_id = ""};
    return len > 0 ? act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), ret) : 0;
}

static unsigned check_known(struct act_call *call, const struct device_record *record)
{
    bool home_known, as_known;
    int r = db_home_known(
        call->worker->db, &record->home_net_id, record->as_id, &home_known, &as_known);

    if (r < 0)
        return act_call_failed(call, r);
    if (!home_known)
        return act_call_bad_field(
            call, "home_net_id", "home_net_id is of no network server that is known here");
    return as_known ? 0
                    : act_call_bad_field(
                          call, "as_id", "as_id is no application server that is known here");
}

unsigned act_home_set(
    struct act_call *call, const struct act_home *home, struct device_record *record)
{
    if (home->has_home_net_id != home->has_as_id ||
        (home->home_net_id[0] == '\0') != (home->as_id[0] == '\0'))
        return act_call_bad_field(
            call, "home_net_id", "home_net_id and as_id go together: give both, or null for both");
    if (!home->has_home_net_id)
        return 0;
    record->has_home_net_id = home->home_net_id[0] != '\0';
    memset(&record->home_net_id, 0, sizeof(record->home_net_id));
    memcpy(record->as_id, home->as_id, sizeof(record->as_id));
    if (!record->has_home_net_id)
        return 0;
    if (!net_id_parse(home->home_net_id, strlen(home->home_net_id), &record->home_net_id))
        return act_call_bad_field(call, "home_net_id", "home_net_id is not 6 hexadecimal digits");
    if (!act_as_id_valid(home->as_id))
        return act_call_bad_field(call, "as_id",
            "as_id is not 1 to 64 printable characters without blank, quote and backslash");
    return check_known(call, record);
}
