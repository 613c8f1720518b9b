/* The socket of a listener, and from where it may be reached. */
#pragma once

#include "api/server.h"
#include <sys/socket.h>

#define API_NETWORKS_MAX 16

struct api_network {
    uint8_t address[16]; /* IPv6; of IPv4 the address that means it */
    unsigned bits;
};

struct api_networks {
    struct api_network networks[API_NETWORKS_MAX];
    size_t n;
};

/** Networks with commas or blanks between: "10.0.0.0/8, fd00::/8". NULL and "" are none.
 * ERROR_CONFIG names the one at fault. */
int api_networks_parse(const char *text, struct api_networks *ret) MUST_CHECK;
bool api_networks_have(const struct api_networks *networks, const struct sockaddr *address);

/** Whether a listener takes a connection from there: where proxies are named, only from them and
 * from this host. */
bool api_networks_admit(const struct api_networks *proxies, const struct sockaddr *address);

/** Opens the socket that listens, or takes over the one of its address that a service manager has
 * opened (base/manager.h). */
int api_listener_open(const struct api_listener *listener, const struct api_networks *proxies,
    int *ret_fd, unsigned *ret_port) MUST_CHECK;
