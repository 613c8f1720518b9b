/* What every service tells of its own process, under the names that Prometheus's client libraries
 * use, and of itself: its version and whether it is ready. Read from /proc when it is asked for. */
#pragma once

#include "base/text.h"
#include <stdbool.h>

/** `ready`: what /readyz would say now. What /proc does not tell is left out. */
void process_metrics_write(struct text *out, bool ready);
