/* What every reader of PEM from outside needs besides OpenSSL's own. */
#pragma once

#include <stddef.h>

/** The callback of every PEM_read_...: what is encrypted is refused. Without one OpenSSL asks at
 * the terminal for a pass phrase, and waits. */
int act_pem_no_pass_phrase(char *buffer, int size, int writing, void *user);

/** Behind the reader that found nothing more after `n` blocks: 0 at the end of the text,
 * ERROR_INPUT where block n + 1 of `what` is damaged or encrypted. Empties OpenSSL's queue of
 * errors. */
int act_pem_check_end(const char *what, size_t n);
