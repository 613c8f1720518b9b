/* How libcurl is started, and which URLs it may be given. */
#include "api/client_library.h"

#include "api/client.h"
#include "api/reach.h"
#include "base/error.h"
#include "base/secret.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <string.h>

/* The library copies what it sends and receives: none of that is given back to the heap unwiped. */
static void *wiping_malloc(size_t len)
{
    return secret_realloc(NULL, len);
}

static void *wiping_calloc(size_t n, size_t len)
{
    void *p;

    if (len > 0 && n > SIZE_MAX / len)
        return NULL;
    p = secret_realloc(NULL, n * len);
    if (p != NULL)
        memset(p, 0, n * len);
    return p;
}

static char *wiping_strdup(const char *text)
{
    const size_t len = strlen(text) + 1;
    char *copy = secret_realloc(NULL, len);

    if (copy != NULL)
        memcpy(copy, text, len);
    return copy;
}

static bool library_is_started;

static void start_library_once(void)
{
    library_is_started = curl_global_init_mem(CURL_GLOBAL_DEFAULT, wiping_malloc, secret_free,
                             secret_realloc, wiping_strdup, wiping_calloc) == CURLE_OK;
}

int client_library_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, start_library_once);
    return library_is_started ? 0 : error_set(ERROR_SYSTEM, "libcurl does not start");
}

static void url_cleanup(CURLU **url)
{
    curl_url_cleanup(*url);
}

static void part_cleanup(char **part)
{
    curl_free(*part);
}

static bool url_has(CURLU *url, CURLUPart part)
{
    CLEANUP(part_cleanup) char *text = NULL;

    return curl_url_get(url, part, &text, 0) == CURLUE_OK;
}

/* Names are not asked for: what they stand for may change after the check. */
static bool is_loopback(char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    const size_t len = strlen(host);

    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    if (len < 2 || host[0] != '[' || host[len - 1] != ']')
        return false;
    host[len - 1] = '\0';
    return inet_pton(AF_INET6, host + 1, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Scheme and host of a URL that may be posted to as far as the rest of it goes. */
static int read_url(const char *text, char **ret_scheme, char **ret_host)
{
    CLEANUP(url_cleanup) CURLU *url = NULL;
    int r = client_library_start();

    if (r < 0)
        return r;
    if ((url = curl_url()) == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a URL");
    if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, ret_scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, ret_host, 0) != CURLUE_OK)
        return error_set(ERROR_INPUT, "it is no URL of the form https://host[:port]/path");
    if (url_has(url, CURLUPART_USER) || url_has(url, CURLUPART_PASSWORD))
        return error_set(ERROR_INPUT, "a URL with a user or password in it is not used");
    if (url_has(url, CURLUPART_FRAGMENT))
        return error_set(ERROR_INPUT, "a URL with a fragment is not used");
    return 0;
}

int api_client_check_url(const char *text)
{
    CLEANUP(part_cleanup) char *scheme = NULL;
    CLEANUP(part_cleanup) char *host = NULL;
    int r = read_url(text, &scheme, &host);

    if (r < 0)
        return r;
    if (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && is_loopback(host)))
        return 0;
    return error_set(ERROR_INPUT, "a URL is https, or http with a loopback address in digits");
}

int api_client_check_public_url(const char *text)
{
    CLEANUP(part_cleanup) char *scheme = NULL;
    CLEANUP(part_cleanup) char *host = NULL;
    int r = read_url(text, &scheme, &host);

    if (r < 0)
        return r;
    if (strcmp(scheme, "https") != 0)
        return error_set(ERROR_INPUT, "a URL is https");
    if (!api_host_may_be_public(host))
        return error_set(ERROR_INPUT, "a URL with an address in it that is not public is not used");
    return 0;
}
