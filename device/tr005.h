/* The text of an onboarding QR code: LoRa Alliance TR005 1.0, and its drafts 2 and 3, which are on
 * labels out there:
 *
 *   LW:D0:<JoinEUI>:<DevEUI>:<ProfileID>[:O<token>][:S<serial>][:P<proprietary>][:C<checksum>]
 *   URN:DEV:LW:<JoinEUI>_<DevEUI>_<ProfileID>[_V<token>][_S<serial>][_P<proprietary>]
 *   URN:LW:DP:<JoinEUI>:<DevEUI>:<ProfileID>[:%V<token>%S<serial>%P<proprietary>]
 *
 * Labels have capitals; they are read in small letters too, for people type them. Tags come in any
 * order; empty and unknown ones are ignored. The token is a claim code, so a secret: nothing here
 * prints one, and whoever holds a struct tr005 wipes it. Pure. */
#pragma once

#include "base/cleanup.h"
#include "base/eui.h"
#include "device/code.h"

#define TR005_PROFILE_ID_LEN 4
#define TR005_SERIAL_MAX 64
#define TR005_TEXT_MAX 4296   /* characters: no QR code holds more of this alphabet */
#define TR005_WRITTEN_MAX 154 /* of one that is written here */

struct tr005 {
    struct eui64 join_eui, dev_eui;
    uint8_t profile_id[TR005_PROFILE_ID_LEN]; /* VendorID, VendorProfileID */
    char token[DEVICE_CODE_MAX + 1];          /* in the normal form of a code; "": none */
    char serial[TR005_SERIAL_MAX + 1];        /* printable ASCII, as it stands; "": none */
};

/** What is wrong with a text; from TR005_DOUBLED_TAG on, its EUIs and its ProfileID were read. */
enum tr005_outcome {
    TR005_OK = 0,
    TR005_NO_TAG, /* it begins like none of them: perhaps a DevEUI */
    TR005_TOO_LONG,
    TR005_JOIN_EUI,
    TR005_DEV_EUI,
    TR005_PROFILE_ID,
    TR005_DOUBLED_TAG,
    TR005_CHECKSUM,
    TR005_TOKEN, /* too long too */
    TR005_SERIAL,
    TR005_NO_TOKEN,
    N_TR005_OUTCOMES
};

/** Blanks and line ends around the text do not count. TR005_NO_TOKEN never comes of it: a label
 * need not have one. What was not read is zero in `ret`. */
enum tr005_outcome tr005_parse(const char *text, size_t len, struct tr005 *ret) MUST_CHECK;
/** The same for a claim, which needs the token. */
enum tr005_outcome tr005_parse_claim(const char *text, size_t len, struct tr005 *ret) MUST_CHECK;

/** The text of TR005 1.0 with its checksum, and a NUL; tr005_parse gives `tag` back. TR005_TOKEN
 * for a token that is not in normal form, TR005_SERIAL for a serial that is too long or has
 * characters that QR codes have no short form for (small letters too); `out` is then "". */
enum tr005_outcome tr005_write(
    const struct tr005 *tag, char out[static TR005_WRITTEN_MAX + 1]) MUST_CHECK;

/** A sentence for whoever sent the text. */
const char *tr005_outcome_text(enum tr005_outcome outcome);

void tr005_wipe(struct tr005 *tag);
