/* What the programs that call a service over HTTP tell libcurl alike. */
#pragma once

#include "base/cleanup.h"
#include <curl/curl.h>
#include <stdbool.h>

void cli_curl_cleanup(CURL **curl);
void cli_headers_cleanup(struct curl_slist **list);
int cli_header_add(struct curl_slist **list, const char *header) MUST_CHECK;
/** Whom to believe: servers of their own name that the CAs of the file `ca` vouch for, and no other
 * CA; NULL: the system's. TLS 1.2 at least. False when libcurl does not take it. */
bool cli_curl_trust(CURL *curl, const char *ca) MUST_CHECK;
