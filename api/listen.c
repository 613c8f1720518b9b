/* The socket of a listener, and from where it may be reached. */
#include "api/listen.h"

#include "base/error.h"
#include "base/manager.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024
#define V4_IN_V6_BITS 96
#define NETWORK_TEXT_MAX (INET6_ADDRSTRLEN + 4) /* with "/128" */

/* An IPv4 address as the IPv6 one that means it. */
static void as_v6(const struct in_addr *v4, uint8_t out[static 16])
{
    memset(out, 0, 10);
    memset(out + 10, 0xFF, 2);
    memcpy(out + 12, v4, sizeof(*v4));
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    const unsigned whole = bits / 8, rest = bits % 8;

    return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

/* "10.0.0.0/8"; without a length, one address. The bits after the prefix must be zero: who writes
 * 10.1.2.3/8 meant something else. */
static bool parse_network(char *text, struct api_network *ret)
{
    char *slash = strchr(text, '/'), *end = NULL;
    uint8_t zeros[16] = {0};
    struct in_addr v4;
    unsigned long most, bits;

    if (slash != NULL)
        *slash = '\0';
    *ret = (struct api_network){0};
    if (inet_pton(AF_INET, text, &v4) == 1) {
        as_v6(&v4, ret->address);
        ret->bits = V4_IN_V6_BITS;
        most = 32;
    } else if (inet_pton(AF_INET6, text, ret->address) == 1) {
        most = 128;
    } else {
        return false;
    }
    bits = slash != NULL ? strtoul(slash + 1, &end, 10) : most;
    if (slash != NULL && (slash[1] < '0' || slash[1] > '9' || *end != '\0'))
        return false;
    if (bits > most)
        return false;
    ret->bits += (unsigned)bits;
    memcpy(zeros, ret->address, ret->bits / 8);
    if (ret->bits % 8 != 0)
        zeros[ret->bits / 8] =
            (uint8_t)(ret->address[ret->bits / 8] & (0xFF << (8 - ret->bits % 8)));
    return memcmp(zeros, ret->address, sizeof(zeros)) == 0;
}

int api_networks_parse(const char *text, struct api_networks *ret)
{
    static const char separators[] = " ,";

    ret->n = 0;
    for (const char *at = text != NULL ? text : ""; *(at += strspn(at, separators)) != '\0';) {
        char one[NETWORK_TEXT_MAX];
        size_t len = strcspn(at, separators);

        if (ret->n == API_NETWORKS_MAX)
            return error_set(ERROR_CONFIG, "at most %d networks of proxies", API_NETWORKS_MAX);
        (void)snprintf(one, sizeof(one), "%.*s", (int)len, at);
        if (len >= sizeof(one) || !parse_network(one, &ret->networks[ret->n++]))
            return error_set(ERROR_CONFIG,
                "\"%.*s\" is not a network like 10.0.0.0/8 or fd00::/8, with no bit set after its "
                "length",
                (int)len, at);
        at += len;
    }
    return 0;
}

bool api_networks_have(const struct api_networks *networks, const struct sockaddr *address)
{
    uint8_t bytes[16];

    if (address->sa_family == AF_INET)
        as_v6(&((const struct sockaddr_in *)(const void *)address)->sin_addr, bytes);
    else if (address->sa_family == AF_INET6)
        memcpy(
            bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, sizeof(bytes));
    else
        return false;
    for (size_t i = 0; i < networks->n; i++)
        if (same_prefix(networks->networks[i].address, bytes, networks->networks[i].bits))
            return true;
    return false;
}

bool api_networks_admit(const struct api_networks *proxies, const struct sockaddr *address)
{
    /* 127.0.0.0/8 and ::1 */
    static const struct api_networks loopback = {.n = 2,
        .networks = {{.address = {[10] = 0xFF, [11] = 0xFF, [12] = IN_LOOPBACKNET}, .bits = 104},
            {.address = {[15] = 1}, .bits = 128}}};

    return proxies->n == 0 || api_networks_have(proxies, address) ||
           api_networks_have(&loopback, address);
}

static int parse_address(const struct api_listener *listener, const struct api_networks *proxies,
    struct sockaddr_storage *ret, socklen_t *ret_len)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)listener->port)};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)listener->port)};
    /* With a proxy in front, the network between the two is the operator's word. */
    const bool plain = listener->tls == API_TLS_NONE && proxies->n == 0;

    if (listener->port > UINT16_MAX)
        return error_set(ERROR_CONFIG, "%u is not a port", listener->port);
    if (inet_pton(AF_INET, listener->address, &v4.sin_addr) == 1) {
        if (plain && ntohl(v4.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
            goto not_loopback;
        memcpy(ret, &v4, sizeof(v4));
        *ret_len = sizeof(v4);
        return 0;
    }
    if (inet_pton(AF_INET6, listener->address, &v6.sin6_addr) == 1) {
        if (plain && !IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr))
            goto not_loopback;
        memcpy(ret, &v6, sizeof(v6));
        *ret_len = sizeof(v6);
        return 0;
    }
    return error_set(ERROR_CONFIG, "\"%s\" is not an IP address to listen on", listener->address);
not_loopback:
    return error_set(ERROR_CONFIG,
        "plain HTTP is served on loopback addresses only, and %s is none: keys would cross the "
        "network in clear. Behind a proxy that takes TLS off, name the networks it connects from",
        listener->address);
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof(bound);
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0)
        return 0;
    memcpy(&v4, &bound, sizeof(v4));
    memcpy(&v6, &bound, sizeof(v6));
    return ntohs(bound.ss_family == AF_INET ? v4.sin_port : v6.sin6_port);
}

int api_listener_open(const struct api_listener *listener, const struct api_networks *proxies,
    int *ret_fd, unsigned *ret_port)
{
    struct sockaddr_storage address = {0};
    socklen_t address_len = 0;
    const int on = 1;
    CLEANUP(cleanup_close) int fd = -1;
    char where[INET6_ADDRSTRLEN + 16];
    int r = parse_address(listener, proxies, &address, &address_len);

    if (r < 0)
        return r;
    (void)snprintf(where, sizeof(where), address.ss_family == AF_INET ? "%s:%u" : "[%s]:%u",
        listener->address, listener->port);
    fd = manager_take_listener((struct sockaddr *)&address, address_len);
    if (fd >= 0) {
        *ret_port = listener->port;
        *ret_fd = fd;
        fd = -1;
        return 0;
    }
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno("cannot make a socket to listen on %s", where);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
        return error_set_errno("cannot prepare the socket for %s", where);
    if (bind(fd, (struct sockaddr *)&address, address_len) != 0 ||
        listen(fd, LISTEN_BACKLOG) != 0) {
        if (errno == EADDRINUSE)
            return error_set(ERROR_CONFIG, "%s is in use by another program", where);
        return error_set(ERROR_CONFIG, "cannot listen on %s: %s", where, strerror(errno));
    }
    *ret_port = port_of(fd);
    *ret_fd = fd;
    fd = -1;
    return 0;
}
