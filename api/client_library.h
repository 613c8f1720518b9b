/* The library behind api/client.h. Inside api/ only. */
#pragma once

#include "base/cleanup.h"

/** Starts it once in a process, with memory that is wiped when it is given back. Never ended: what
 * it holds is the process's. Any thread. */
int client_library_start(void) MUST_CHECK;
