/* The text of an onboarding QR code: LoRa Alliance TR005 1.0, and its drafts 2 and 3, which are on
 * labels out there:
 *
 *   LW:D0:<JoinEUI>:<DevEUI>:<ProfileID>[:O<token>][:S<serial>][:P<proprietary>][:C<checksum>]
 *   URN:DEV:LW:<JoinEUI>_<DevEUI>_<ProfileID>[_V<token>][_S<serial>][_P<proprietary>]
 *   URN:LW:DP:<JoinEUI>:<DevEUI>:<ProfileID>[:%V<token>%S<serial>%P<proprietary>]
 *
 * Extensions come in any order; empty and unknown ones are ignored. Pure. */
#pragma once

#include "base/eui.h"

/** What stood in a tag; texts point into it, len 0 when they are absent. */
struct import_tag {
    struct eui64 join_eui, dev_eui;
    const char *token, *serial;
    size_t token_len, serial_len;
};

enum import_tag_outcome {
    IMPORT_TAG_OK = 0,
    IMPORT_TAG_NONE = 1,     /* no such text at all: perhaps a DevEUI */
    IMPORT_TAG_BROKEN = 2,   /* begins like a tag and is none */
    IMPORT_TAG_CHECKSUM = 3, /* its checksum is another */
};

enum import_tag_outcome import_tag_parse(const char *text, size_t len, struct import_tag *ret);
