/* Which addresses are of the public Internet. What somebody else names for us to post to must not
 * reach what only we can reach: loopback, our own networks, the metadata service of a cloud. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

/** Whether an address is a unicast address that anybody may have: none that the registries of
 * special-purpose addresses (RFC 6890) keep for private, local, shared, documentation or other use,
 * and none that stands for such an IPv4 address (mapped, NAT64, 6to4). Other families are not. */
bool api_address_is_public(const struct sockaddr *address);

/** The same of a host as a URL has it: true for a name, which says nothing yet. */
bool api_host_may_be_public(const char *host);
