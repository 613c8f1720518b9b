#include "cli/curl.h"

#include "base/error.h"

void cli_curl_cleanup(CURL **curl)
{
    curl_easy_cleanup(*curl);
}

void cli_headers_cleanup(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

int cli_header_add(struct curl_slist **list, const char *header)
{
    struct curl_slist *longer = curl_slist_append(*list, header);

    if (longer == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    *list = longer;
    return 0;
}

bool cli_curl_trust(CURL *curl, const char *ca)
{
    return curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           (ca == NULL ||
               /* The system's CAs are in a file and again in a folder, which would be looked at
                * beside this file. */
               (curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_CAINFO, ca) == CURLE_OK));
}
