#include "activation/pem.h"

#include "base/error.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>

int act_pem_no_pass_phrase(char *buffer, int size, int writing, void *user)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

int act_pem_check_end(const char *what, size_t n)
{
    unsigned long last = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;

    ERR_clear_error();
    return is_end ? 0
                  : error_set(ERROR_INPUT, "block %zu of %s is damaged or encrypted", n + 1, what);
}
