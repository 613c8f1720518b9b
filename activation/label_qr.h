/* The QR code of a label: made by libqrencode, and read back from the modules that are drawn. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stdint.h>

#define LABEL_QR_TEXT_MAX 154 /* characters that version 6 holds at level M */
#define LABEL_QR_WIDTH_MAX 41 /* modules; without the quiet zone */

/** It holds what the text says, so a claim code: whoever has one wipes it. */
struct label_qr {
    unsigned width;
    uint8_t modules[LABEL_QR_WIDTH_MAX * LABEL_QR_WIDTH_MAX]; /* row by row; 1: dark */
};

/** Of 1 to LABEL_QR_TEXT_MAX characters of the alphanumeric mode (ISO/IEC 18004), at level M.
 * No piece of the text stays behind in memory that the library has given back. */
int label_qr_make(const char *text, struct label_qr *ret) MUST_CHECK;
/** Whether these modules say the text. Error correction is not used: each has to be right. */
bool label_qr_says(const struct label_qr *qr, const char *text) MUST_CHECK;
