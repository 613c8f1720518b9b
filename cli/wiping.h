/* Clients' secrets, peers' tokens and access tokens pass through libraries that keep copies. */
#pragma once

#include "base/cleanup.h"

/** Has jansson and libcurl wipe all memory that they give back; before either is used. What jansson
 * hands over is freed with secret_free from then on. */
int cli_wipe_libraries(void) MUST_CHECK;
