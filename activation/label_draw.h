/* Of labels, between what is on one (label.c) and how it is drawn (label_svg.c). */
#pragma once

#include "activation/label.h"

#define LABEL_NAME_MAX EUI64_TEXT_LEN

/** As label_text, and the device's identifier for people, in capitals. */
int label_read(const struct label *label, char out[static LABEL_TEXT_MAX + 1],
    char ret_name[static LABEL_NAME_MAX + 1]) MUST_CHECK;
