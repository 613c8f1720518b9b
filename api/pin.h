/* Pins a transfer of libcurl to addresses: what was looked up, and judged, is what is connected to,
 * and a connection is used again only by transfers that are pinned to the same. The certificate is
 * that of the host in the URL, as without a pin. */
#pragma once

#include "api/dns_rdata.h"
#include "base/text.h"
#include <curl/curl.h>
#include <stdbool.h>

/** Lists that a transfer needs until it ends. */
struct api_pin {
    struct curl_slist *resolve, *connect_to;
    struct text name; /* what libcurl calls the addresses */
};

/** `port` is that of the URL. False: no memory. With 0 addresses nothing is pinned. */
bool api_pin_set(struct api_pin *pin, CURL *easy, unsigned port,
    const struct dns_address *addresses, size_t n_addresses);
/** What libcurl says of the transfer, into `ret`, of `size` bytes: with the URL's host and the
 * addresses in the place of the name that stands for them, and where that does not fit, cut. */
void api_pin_explain(const struct api_pin *pin, const char *url,
    const struct dns_address *addresses, size_t n_addresses, const char *why, char *ret,
    size_t size);
/** When the transfer has ended. */
void api_pin_done(struct api_pin *pin);
