#include "api/dns_rdata.h"

#include "api/reach.h"
#include "base/bytes.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LABEL_MAX 63
#define STRING_MAX 255 /* a character-string, RFC 1035 3.3 */
#define PORT_MAX 65535
#define HTTP_PORT 80
#define HTTPS_PORT 443

static const char *const outcome_names[] = {
    [DNS_FOUND] = "found",
    [DNS_NONE] = "none",
    [DNS_BOGUS] = "bogus",
    [DNS_FAILED] = "failed",
    [DNS_TIMEOUT] = "timeout",
    [DNS_REFUSED] = "refused",
};

const char *dns_outcome_name(enum dns_outcome outcome)
{
    return outcome_names[outcome];
}

const char *dns_type_name(enum dns_type type)
{
    switch (type) {
    case DNS_A:
        return "A";
    case DNS_AAAA:
        return "AAAA";
    case DNS_SRV:
        return "SRV";
    case DNS_NAPTR:
        return "NAPTR";
    case DNS_URI:
        return "URI";
    }
    return "?";
}

/* Without the C locale's help, and NUL for what no name has. */
static char name_character(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ? (char)c
                                                                                    : '\0';
}

static bool last_label_is_digits(const char *name)
{
    const char *label = strrchr(name, '.');

    label = label != NULL ? label + 1 : name;
    return label[0] != '\0' && label[strspn(label, "0123456789")] == '\0';
}

bool dns_name_is_good(const char *name)
{
    size_t label = 0, i;

    for (i = 0; name[i] != '\0'; i++) {
        if (name[i] == '.' ? label == 0 : name_character((uint8_t)name[i]) != name[i])
            return false;
        label = name[i] == '.' ? 0 : label + 1;
        if (label > LABEL_MAX)
            return false;
    }
    return i > 0 && i <= DNS_NAME_MAX && label > 0 && !last_label_is_digits(name);
}

/* A name as it is in RDATA, never compressed there once it has been read from a message. */
static bool read_name(struct bytes_reader *r, char out[static DNS_NAME_MAX + 1])
{
    size_t len = 0;
    uint8_t label;

    while ((label = bytes_read_u8(r)) > 0) {
        if (label > LABEL_MAX || len + (len > 0) + label > DNS_NAME_MAX)
            return false;
        if (len > 0)
            out[len++] = '.';
        for (uint8_t i = 0; i < label; i++) {
            const char c = name_character(bytes_read_u8(r));

            if (c == '\0')
                return false;
            out[len++] = c;
        }
    }
    out[len] = '\0';
    return !r->failed && !last_label_is_digits(out);
}

static bool read_string(struct bytes_reader *r, char out[static STRING_MAX + 1])
{
    const uint8_t len = bytes_read_u8(r);

    bytes_read(r, out, len);
    out[r->failed ? 0 : len] = '\0';
    return !r->failed && strlen(out) == len;
}

/* Digits alone, no zero first, 1 to 65535. */
static bool read_port(const char *text, size_t len, uint16_t *ret)
{
    unsigned port = 0;

    if (len == 0 || len > 5 || text[0] == '0')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    *ret = (uint16_t)port;
    return port <= PORT_MAX;
}

static bool path_is_good(const char *path, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (path[i] <= ' ' || path[i] > '~' || strchr("\"#<>\\^`{|}", path[i]) != NULL)
            return false;
    return true;
}

enum dns_read dns_read_url(const char *text, size_t len, struct dns_url *ret)
{
    struct dns_url url = {0};
    size_t host, end, path;

    if (len > DNS_URL_MAX)
        return DNS_READ_MALFORMED;
    if (len >= 8 && strncasecmp(text, "https://", 8) == 0)
        url.https = true;
    else if (len < 7 || strncasecmp(text, "http://", 7) != 0)
        return DNS_READ_MALFORMED;
    host = url.https ? 8 : 7;
    for (path = host; path < len && text[path] != '/' && text[path] != '?';)
        path++;
    for (end = host; end < path && text[end] != ':';)
        end++;
    if (end - host > DNS_NAME_MAX || !path_is_good(text + path, len - path))
        return DNS_READ_MALFORMED;
    for (size_t i = host; i < end; i++)
        url.host[i - host] = (char)tolower((unsigned char)text[i]);
    url.port = url.https ? HTTPS_PORT : HTTP_PORT;
    if (strlen(url.host) != end - host || !dns_name_is_good(url.host) ||
        (end < path && !read_port(text + end + 1, path - end - 1, &url.port)))
        return DNS_READ_MALFORMED;
    if (path < len && text[path] == '?') /* a query needs the path that it is of */
        url.path[0] = '/';
    if (path == len)
        url.path[0] = '/';
    (void)memcpy(url.path + strlen(url.path), text + path, len - path);
    *ret = url;
    return DNS_READ_OK;
}

/* RFC 4848 2.2: of a U-NAPTR the expression is one that fits all, and nothing is put into the URL.
 */
static bool read_regexp(const char *text, struct dns_url *ret)
{
    static const char *const all[] = {".*", "^.*$"};
    const char mark = text[0];
    const char *pattern = text + 1, *url, *end;

    if (mark == '\0' || mark == '\\' || (mark >= '0' && mark <= '9') || mark == 'i' ||
        (url = strchr(pattern, mark)) == NULL || (end = strchr(url + 1, mark)) == NULL ||
        end[1] != '\0')
        return false;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if ((size_t)(url - pattern) == strlen(all[i]) &&
            memcmp(pattern, all[i], strlen(all[i])) == 0)
            return dns_read_url(url + 1, (size_t)(end - url - 1), ret) == DNS_READ_OK;
    return false;
}

/* What follows, by flag and regular expression (RFC 3403 4.1: one of that and a replacement). */
static enum dns_read read_next(const char *flags, const char *regexp, struct dns_naptr *naptr)
{
    const bool has_regexp = regexp[0] != '\0', has_target = naptr->target[0] != '\0';
    static const struct {
        const char *flag;
        enum dns_next next;
    } table[] = {{"s", DNS_NEXT_SRV}, {"a", DNS_NEXT_ADDRESS}, {"u", DNS_NEXT_URI},
        {"p", DNS_NEXT_NAPTR}, {"", DNS_NEXT_NAPTR}};

    if (has_regexp == has_target)
        return DNS_READ_MALFORMED;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcasecmp(flags, table[i].flag) != 0)
            continue;
        naptr->next = table[i].next;
        if (!has_regexp)
            return DNS_READ_OK;
        if (naptr->next != DNS_NEXT_URI || !read_regexp(regexp, &naptr->url))
            return DNS_READ_MALFORMED;
        naptr->next = DNS_NEXT_URL;
        return naptr->url.https == naptr->https ? DNS_READ_OK : DNS_READ_MALFORMED;
    }
    return DNS_READ_OTHER;
}

enum dns_read dns_read_naptr(const void *rdata, size_t len, struct dns_naptr *ret)
{
    struct bytes_reader r = bytes_reader_over(rdata, len);
    char flags[STRING_MAX + 1], service[STRING_MAX + 1], regexp[STRING_MAX + 1];
    struct dns_naptr naptr = {0};
    enum dns_read read;

    naptr.order = bytes_read_u16_be(&r);
    naptr.preference = bytes_read_u16_be(&r);
    if (!read_string(&r, flags) || !read_string(&r, service) || !read_string(&r, regexp))
        return DNS_READ_MALFORMED;
    naptr.https = strcasecmp(service, "LWNS") == 0;
    if (!naptr.https && strcasecmp(service, "LWN") != 0)
        return DNS_READ_OTHER;
    if (!read_name(&r, naptr.target) || !bytes_reader_done(&r))
        return DNS_READ_MALFORMED;
    if ((read = read_next(flags, regexp, &naptr)) == DNS_READ_OK)
        *ret = naptr;
    return read;
}

enum dns_read dns_read_srv(const void *rdata, size_t len, struct dns_srv *ret)
{
    struct bytes_reader r = bytes_reader_over(rdata, len);
    struct dns_srv srv = {0};

    srv.priority = bytes_read_u16_be(&r);
    srv.weight = bytes_read_u16_be(&r);
    srv.port = bytes_read_u16_be(&r);
    if (!read_name(&r, srv.target) || !bytes_reader_done(&r) ||
        (srv.port == 0 && srv.target[0] != '\0'))
        return DNS_READ_MALFORMED;
    *ret = srv;
    return DNS_READ_OK;
}

enum dns_read dns_read_uri(const void *rdata, size_t len, struct dns_uri *ret)
{
    struct bytes_reader r = bytes_reader_over(rdata, len);
    struct dns_uri uri = {0};

    uri.priority = bytes_read_u16_be(&r);
    uri.weight = bytes_read_u16_be(&r);
    if (r.failed ||
        dns_read_url((const char *)r.data + r.at, r.len - r.at, &uri.url) != DNS_READ_OK)
        return DNS_READ_MALFORMED;
    *ret = uri;
    return DNS_READ_OK;
}

enum dns_read dns_read_address(const void *rdata, size_t len, struct dns_address *ret)
{
    if (len != 4 && len != 16)
        return DNS_READ_MALFORMED;
    *ret = (struct dns_address){.len = (uint8_t)len};
    memcpy(ret->bytes, rdata, len);
    return DNS_READ_OK;
}

static const char *naptr_fault(const void *rdata, size_t len)
{
    struct bytes_reader r = bytes_reader_over(rdata, len);
    char text[STRING_MAX + 1], regexp[STRING_MAX + 1], target[DNS_NAME_MAX + 1];

    (void)bytes_read_u16_be(&r);
    (void)bytes_read_u16_be(&r);
    if (!read_string(&r, text) || !read_string(&r, text) || !read_string(&r, regexp))
        return "it is cut short";
    if (!read_name(&r, target) || !bytes_reader_done(&r))
        return "its replacement is no name";
    if ((regexp[0] != '\0') == (target[0] != '\0'))
        return "one of expression and replacement is to be there";
    return "its expression is not taken, or the URL in it";
}

const char *dns_read_fault(enum dns_type type, const void *rdata, size_t len)
{
    switch (type) {
    case DNS_NAPTR:
        return naptr_fault(rdata, len);
    case DNS_SRV:
        return "its target is no name, or its port is 0";
    case DNS_URI:
        return "its URL is not taken";
    case DNS_A:
    case DNS_AAAA:
        break;
    }
    return "it has another length";
}

const char *dns_address_format(
    const struct dns_address *address, char out[static DNS_ADDRESS_TEXT_MAX])
{
    if (inet_ntop(address->len == 4 ? AF_INET : AF_INET6, address->bytes, out,
            DNS_ADDRESS_TEXT_MAX) == NULL)
        out[0] = '\0';
    return out;
}

bool dns_address_is_public(const struct dns_address *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (address->len == 4) {
        memcpy(&v4.sin_addr, address->bytes, 4);
        return api_address_is_public((const struct sockaddr *)&v4);
    }
    memcpy(&v6.sin6_addr, address->bytes, 16);
    return api_address_is_public((const struct sockaddr *)&v6);
}

bool dns_address_is_loopback(const struct dns_address *address)
{
    static const uint8_t v6[16] = {[15] = 1};

    return address->len == 4 ? address->bytes[0] == 127 : memcmp(address->bytes, v6, 16) == 0;
}
