#include "api/reach.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define V4_LEN 4
#define V6_LEN 16
#define V6_NAME_MAX 64

struct network {
    uint8_t bytes[V6_LEN];
    unsigned bits;
};

static const struct network v4_not_public[] = {
    {{0}, 8},             /* this network */
    {{10}, 8},            /* private */
    {{100, 64}, 10},      /* shared, of carrier-grade NAT */
    {{127}, 8},           /* loopback */
    {{169, 254}, 16},     /* link-local, and the metadata of clouds */
    {{172, 16}, 12},      /* private */
    {{192, 0, 0}, 24},    /* protocol assignments */
    {{192, 0, 2}, 24},    /* documentation */
    {{192, 88, 99}, 24},  /* 6to4 relays */
    {{192, 168}, 16},     /* private */
    {{198, 18}, 15},      /* benchmarks */
    {{198, 51, 100}, 24}, /* documentation */
    {{203, 0, 113}, 24},  /* documentation */
    {{224}, 4},           /* multicast */
    {{240}, 4},           /* reserved, and broadcast */
};

/* Of IPv6 only this is handed out; all else is local, multicast or nobody's. */
static const struct network v6_global = {{0x20}, 3};
static const struct network v6_not_public[] = {
    {{0x20, 0x01}, 23},             /* protocol assignments: Teredo, ORCHID, benchmarks */
    {{0x20, 0x01, 0x0D, 0xB8}, 32}, /* documentation */
    {{0x3F, 0xFF}, 20},             /* documentation */
};

/* What stands for an IPv4 address, and where in it that is. */
static const struct {
    struct network network;
    size_t at;
} v6_of_v4[] = {
    {{{[10] = 0xFF, [11] = 0xFF}, 96}, 12},           /* mapped */
    {{{[1] = 0x64, [2] = 0xFF, [3] = 0x9B}, 96}, 12}, /* NAT64 */
    {{{0x20, 0x02}, 16}, 2},                          /* 6to4 */
};

static bool is_in(const uint8_t *address, const struct network *network)
{
    const size_t whole = network->bits / 8;
    const unsigned rest = network->bits % 8;

    return memcmp(address, network->bytes, whole) == 0 &&
           (rest == 0 || (address[whole] ^ network->bytes[whole]) >> (8 - rest) == 0);
}

static bool v4_is_public(const uint8_t address[static V4_LEN])
{
    for (size_t i = 0; i < sizeof(v4_not_public) / sizeof(v4_not_public[0]); i++)
        if (is_in(address, &v4_not_public[i]))
            return false;
    return true;
}

static bool v6_is_public(const uint8_t address[static V6_LEN])
{
    for (size_t i = 0; i < sizeof(v6_of_v4) / sizeof(v6_of_v4[0]); i++)
        if (is_in(address, &v6_of_v4[i].network))
            return v4_is_public(address + v6_of_v4[i].at);
    for (size_t i = 0; i < sizeof(v6_not_public) / sizeof(v6_not_public[0]); i++)
        if (is_in(address, &v6_not_public[i]))
            return false;
    return is_in(address, &v6_global);
}

bool api_address_is_public(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    /* Copied: whoever gives it need not have aligned it for its family. */
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof(v4));
        return v4_is_public((const uint8_t *)&v4.sin_addr);
    }
    if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof(v6));
        return v6_is_public(v6.sin6_addr.s6_addr);
    }
    return false;
}

bool api_host_may_be_public(const char *host)
{
    const size_t len = strlen(host);
    char name[V6_NAME_MAX];
    uint8_t address[V6_LEN];

    if (inet_pton(AF_INET, host, address) == 1)
        return v4_is_public(address);
    if (host[0] != '[')
        return true;
    if (len < 2 || len > sizeof(name) || host[len - 1] != ']')
        return false;
    memcpy(name, host + 1, len - 2);
    name[len - 2] = '\0';
    return inet_pton(AF_INET6, name, address) == 1 && v6_is_public(address);
}
