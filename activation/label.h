/* Labels of devices: the text of the onboarding QR code (TR005 1.0; device/tr005.h), the code
 * itself drawn as SVG, singly and on sheets for printing, and the same as CSV for other people's
 * printers.
 *
 * What was written is read back before it is given out. A label holds the device's claim code: a
 * struct label is wiped by whoever has it, and so is every text that something was added to here.
 * Text grows by moving, so the caller reserves the room named below before each call. The same
 * label always gives the same bytes. Pure; any thread. */
#pragma once

#include "base/cleanup.h"
#include "base/eui.h"
#include "base/text.h"
#include "device/code.h"
#include "device/tr005.h"

#define LABEL_SVG_TYPE "image/svg+xml"
#define LABEL_CSV_TYPE "text/csv; charset=utf-8"

/* Bytes at most that are added by one call: of label_csv_line; of label_svg, label_sheet_begin,
 * label_sheet_add and label_sheet_end. */
#define LABEL_CSV_LINE_MAX 1024
#define LABEL_SVG_MAX 16384
#define LABEL_TEXT_MAX TR005_WRITTEN_MAX

enum label_kind {
    LABEL_LORAWAN = 0,
    LABEL_SIGFOX, /* its id is the last four bytes of dev_eui, its PAC is the code */
};

struct label {
    enum label_kind kind;
    struct eui64 dev_eui;
    struct eui64 join_eui;                    /* of a Sigfox device unused, as the next */
    uint8_t profile_id[TR005_PROFILE_ID_LEN]; /* zeros: none */
    char code[DEVICE_CODE_MAX + 1];           /* in its normal form; never "" */
    char serial[TR005_SERIAL_MAX + 1];        /* printable ASCII; "": none */
};
void label_wipe(struct label *label);

/** What the QR code says. Of a LoRaWAN device the text of TR005; a serial number that it cannot
 * hold (small letters, a colon) is left out of it, and is on the label nevertheless. Of a Sigfox
 * device, for which nobody has defined one, "SIGFOX:<ID>:<PAC>". ERROR_INPUT: the device has a code
 * or serial number that no label can have, and which of both the sentence says; ERROR_INTERNAL:
 * what was written is read as something else. Neither names a code. So with all that follow; they
 * add nothing then. */
int label_text(const struct label *label, char out[static LABEL_TEXT_MAX + 1]) MUST_CHECK;

/** The line before the first one. */
const char *label_csv_head(void);
/** Quoted as RFC 4180 has it. A serial number that a spreadsheet would take for a formula (it
 * begins with = + - or @) has an apostrophe before it. */
int label_csv_line(const struct label *label, struct text *out) MUST_CHECK;

/** A whole document: the QR code, and beneath it DevEUI, code and serial number for people. */
int label_svg(const struct label *label, struct text *out) MUST_CHECK;

/** A page of labels that can be bought. */
struct label_layout;
/** NULL: there is none of that name. */
const struct label_layout *label_layout_find(const char *name);
/** All of them from 0; NULL: no more. The first is what one takes who does not know. */
const struct label_layout *label_layout_at(size_t i);
const char *label_layout_name(const struct label_layout *layout);
/** How many labels a page has. */
unsigned label_layout_size(const struct label_layout *layout);

/** A page on its way: begin, up to label_layout_size() times add, end. Rows are filled from the
 * left, the top one first. */
struct label_sheet {
    const struct label_layout *layout;
    unsigned n;
};
void label_sheet_begin(
    struct label_sheet *sheet, const struct label_layout *layout, struct text *out);
#define LABEL_SHEET_FULL 1
/** Outcome LABEL_SHEET_FULL: the page has no place left. */
int label_sheet_add(
    struct label_sheet *sheet, const struct label *label, struct text *out) MUST_CHECK;
void label_sheet_end(struct label_sheet *sheet, struct text *out);
