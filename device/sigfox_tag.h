/* The text of a Sigfox device's QR code. Nobody has defined one, so this is Cradle's own, made like
 * that of TR005 (device/tr005.h):
 *
 *   SIGFOX:<ID>:<PAC>
 *
 * It is written in capitals, which QR codes have a short form for, and read in small letters too.
 * The PAC is a claim code, so a secret: whoever holds a struct sigfox_tag wipes it. Pure. */
#pragma once

#include "base/cleanup.h"
#include "base/eui.h"
#include "device/code.h"

#define SIGFOX_TAG_MAX 48 /* characters of the longest text */

struct sigfox_tag {
    uint8_t id[SIGFOX_ID_LEN];     /* most significant byte first */
    char pac[DEVICE_CODE_MAX + 1]; /* in the normal form of a code; never "" */
};

/** Blanks around the text do not count. False: it is no such text; all of `ret` is zero then. */
bool sigfox_tag_parse(const char *text, size_t len, struct sigfox_tag *ret) MUST_CHECK;
/** The text and a NUL; sigfox_tag_parse gives `tag` back. False where the PAC is not in normal
 * form; `out` is then "". */
bool sigfox_tag_write(const struct sigfox_tag *tag, char out[static SIGFOX_TAG_MAX + 1]) MUST_CHECK;

void sigfox_tag_wipe(struct sigfox_tag *tag);
