/* What to tell of a wrong MIC to those entitled to know (join_event). Pure. */
#pragma once

#include "lorawan/frame.h"

/** A sentence for the mistake that keyd found; that the MIC is wrong, where it found none. */
const char *device_mic_hint_reason(enum lw_mic_mistake mistake);
