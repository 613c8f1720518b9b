#include "cli/wiping.h"

#include "base/error.h"
#include "base/secret.h"
#include <curl/curl.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>

static void *wiped_malloc(size_t len)
{
    return secret_realloc(NULL, len);
}

static void *wiped_calloc(size_t n, size_t size)
{
    void *p = size > 0 && n > SIZE_MAX / size ? NULL : secret_realloc(NULL, n * size);

    if (p != NULL)
        memset(p, 0, n * size);
    return p;
}

static char *wiped_strdup(const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = secret_realloc(NULL, len);

    if (copy != NULL)
        memcpy(copy, text, len);
    return copy;
}

int cli_wipe_libraries(void)
{
    json_set_alloc_funcs(wiped_malloc, secret_free);
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, wiped_malloc, secret_free, secret_realloc,
            wiped_strdup, wiped_calloc) != CURLE_OK)
        return error_set(ERROR_SYSTEM, "libcurl does not start");
    return 0;
}
