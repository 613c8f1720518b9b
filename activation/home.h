/* Where a device is to join, as a body says it: home_net_id and as_id, together or neither. */
#pragma once

#include "activation/call.h"
#include "device/record.h"

#define ACT_NO_HOME                                                                                \
    "a Sigfox device joins no LoRaWAN network: leave home_net_id and as_id out, or null"

struct act_home {
    char home_net_id[NET_ID_TEXT_LEN + 1]; /* "": null */
    char as_id[PEER_ID_MAX + 1];
    bool has_home_net_id, has_as_id;
};

/** A member of act_home, of a target that begins with one. */
#define ACT_HOME_FIELD(member)                                                                     \
    {                                                                                              \
        .name = #member, .kind = JSON_TEXT, .offset = offsetof(struct act_home, member),           \
        .size = sizeof(((struct act_home *)0)->member), .nullable = true,                          \
        .present_offset = offsetof(struct act_home, has_##member)                                  \
    }

/** Of a body that may say nothing else, or is empty. 0, or the status of the answer it set. */
unsigned act_home_read(struct act_call *call, struct act_home *ret);
/** Sets it in the record, as far as the body says it, when it is known here. 0, or the status. */
unsigned act_home_set(
    struct act_call *call, const struct act_home *home, struct device_record *record);
