#include "api/pin.h"

#include "base/digest.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 16 /* of the digest: the name of a set of addresses */
#define ADDRESSES_SHOWN 3

/* The addresses get a name of their own, which no name server is asked for, and the transfer is
 * told to connect to that name. So nothing gets into libcurl's memory of what other names stand
 * for, and connections are told apart by the set of addresses. */
static bool name_of(const struct dns_address *addresses, size_t n_addresses, struct text *ret_name)
{
    CLEANUP(digest_freep) struct digest *digest = NULL;
    uint8_t bytes[DIGEST_LEN];

    if (digest_new(&digest) < 0)
        return false;
    for (size_t i = 0; i < n_addresses; i++) {
        digest_add(digest, &addresses[i].len, sizeof(addresses[i].len));
        digest_add(digest, addresses[i].bytes, addresses[i].len);
    }
    if (digest_so_far(digest, bytes) < 0)
        return false;
    text_add_hex(ret_name, bytes, NAME_BYTES);
    text_add(ret_name, ".pinned.invalid");
    return !ret_name->failed;
}

static bool append(struct curl_slist **list, const struct text *line)
{
    struct curl_slist *longer = line->failed ? NULL : curl_slist_append(*list, line->data);

    if (longer != NULL)
        *list = longer;
    return longer != NULL;
}

static bool add_resolve(struct api_pin *pin, const char *name, unsigned port,
    const struct dns_address *addresses, size_t n_addresses)
{
    CLEANUP(text_done) struct text line = {0};
    char address[DNS_ADDRESS_TEXT_MAX];

    text_addf(&line, "+%s:%u:", name, port);
    for (size_t i = 0; i < n_addresses; i++)
        text_addf(&line, addresses[i].len == 16 ? "%s[%s]" : "%s%s", i > 0 ? "," : "",
            dns_address_format(&addresses[i], address));
    return append(&pin->resolve, &line);
}

bool api_pin_set(struct api_pin *pin, CURL *easy, unsigned port,
    const struct dns_address *addresses, size_t n_addresses)
{
    CLEANUP(text_done) struct text line = {0};

    if (n_addresses == 0)
        return true;
    if (!name_of(addresses, n_addresses, &pin->name) ||
        !add_resolve(pin, pin->name.data, port, addresses, n_addresses))
        return false;
    text_addf(&line, "::%s:%u", pin->name.data, port);
    return append(&pin->connect_to, &line) &&
           curl_easy_setopt(easy, CURLOPT_RESOLVE, pin->resolve) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECT_TO, pin->connect_to) == CURLE_OK;
}

static void add_host(struct text *out, const char *url)
{
    const char *host = strstr(url, "://");
    size_t len;

    host = host != NULL ? host + 3 : url;
    len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?");
    text_addf(out, "%.*s", (int)len, host);
}

static void add_addresses(struct text *out, const struct dns_address *addresses, size_t n_addresses)
{
    char address[DNS_ADDRESS_TEXT_MAX];

    text_add(out, " (");
    for (size_t i = 0; i < n_addresses && i < ADDRESSES_SHOWN; i++)
        text_addf(out, "%s%s", i > 0 ? ", " : "", dns_address_format(&addresses[i], address));
    text_add(out, n_addresses > ADDRESSES_SHOWN ? ", ...)" : ")");
}

void api_pin_explain(const struct api_pin *pin, const char *url,
    const struct dns_address *addresses, size_t n_addresses, const char *why, char *ret,
    size_t size)
{
    CLEANUP(text_done) struct text out = {0};
    const char *at = pin->name.data != NULL ? strstr(why, pin->name.data) : NULL;

    if (at != NULL) {
        text_addf(&out, "%.*s", (int)(at - why), why);
        add_host(&out, url);
        add_addresses(&out, addresses, n_addresses);
        text_add(&out, at + pin->name.len);
    }
    (void)snprintf(ret, size, "%s", at != NULL && !out.failed ? out.data : why);
}

void api_pin_done(struct api_pin *pin)
{
    text_done(&pin->name);
    curl_slist_free_all(pin->resolve);
    curl_slist_free_all(pin->connect_to);
    *pin = (struct api_pin){0};
}
