/* What DNS records hold, as far as finding a server needs it (RFC 3403 NAPTR, RFC 4848 U-NAPTR,
 * RFC 2782 SRV, RFC 7553 URI, A and AAAA), read from the bytes of their RDATA. Pure.
 *
 * Names are those of hosts and services: letters (made lower case), digits, '-' and '_'. A record
 * with any other name in it is malformed here, for it goes into URLs and log lines. So is one whose
 * last label is digits alone, which a URL would take for an address. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_NAME_MAX 253 /* characters, without a dot last */
#define DNS_URL_MAX 255  /* characters */
#define DNS_ADDRESS_TEXT_MAX 46

enum dns_type { DNS_A = 1, DNS_AAAA = 28, DNS_SRV = 33, DNS_NAPTR = 35, DNS_URI = 256 };

/** "NAPTR"; "?" for any other number. */
const char *dns_type_name(enum dns_type type);

/** What became of a look-up. */
enum dns_outcome {
    DNS_FOUND,   /* there are records */
    DNS_NONE,    /* there are none, or no such name */
    DNS_BOGUS,   /* signatures are wrong or missing that a trust anchor wants */
    DNS_FAILED,  /* name servers answer that they cannot, or we cannot ask */
    DNS_TIMEOUT, /* no answer in time */
    DNS_REFUSED, /* what was found may not be used */
};

/** "found", "none", ...; stable, for logs and metrics. */
const char *dns_outcome_name(enum dns_outcome outcome);
#define DNS_N_OUTCOMES (DNS_REFUSED + 1)

enum dns_read {
    DNS_READ_OK,
    DNS_READ_OTHER,     /* sound, of another service */
    DNS_READ_MALFORMED, /* not what its type says, or with a name that is not taken */
};

/** What follows a NAPTR: by its flag, S, A, U, and P or none. */
enum dns_next { DNS_NEXT_SRV, DNS_NEXT_ADDRESS, DNS_NEXT_URL, DNS_NEXT_URI, DNS_NEXT_NAPTR };

/** Where a URL goes. */
struct dns_url {
    bool https;
    uint16_t port;
    char host[DNS_NAME_MAX + 1];
    char path[DNS_URL_MAX + 1]; /* with its '/' first, and a query; "/" where there is none */
};

struct dns_naptr {
    uint16_t order, preference;
    enum dns_next next;
    bool https;                    /* service LWNS, else LWN (TS002) */
    char target[DNS_NAME_MAX + 1]; /* its replacement */
    struct dns_url url;            /* of DNS_NEXT_URL */
};

struct dns_srv {
    uint16_t priority, weight, port;
    char target[DNS_NAME_MAX + 1]; /* "": there is no such service */
};

struct dns_uri {
    uint16_t priority, weight;
    struct dns_url url;
};

struct dns_address {
    uint8_t len; /* 4 or 16 */
    uint8_t bytes[16];
};

enum dns_read dns_read_naptr(const void *rdata, size_t len, struct dns_naptr *ret);
enum dns_read dns_read_srv(const void *rdata, size_t len, struct dns_srv *ret);
enum dns_read dns_read_uri(const void *rdata, size_t len, struct dns_uri *ret);
/** Of an A or AAAA. */
enum dns_read dns_read_address(const void *rdata, size_t len, struct dns_address *ret);

/** Of a record that was read as malformed: in what. A sentence. */
const char *dns_read_fault(enum dns_type type, const void *rdata, size_t len);

/** A URL as records hold it: http or https, a name, a port where it is not the usual one, a path.
 * No user, no fragment, no address in digits. */
enum dns_read dns_read_url(const char *text, size_t len, struct dns_url *ret);

/** Whether a text is such a name, in lower case. */
bool dns_name_is_good(const char *name);

const char *dns_address_format(
    const struct dns_address *address, char out[static DNS_ADDRESS_TEXT_MAX]);
bool dns_address_is_public(const struct dns_address *address);
bool dns_address_is_loopback(const struct dns_address *address);
