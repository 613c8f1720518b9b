/* What the verbs of `cradle` read from their arguments. Pure. */
#pragma once

#include "base/eui.h"

/** 1..100 bytes without control characters: an organization's or network server's name. */
bool cli_name_valid(const char *name, size_t max);
/** "20635f0000000000/24": 1 to 16 hexadecimal digits, the missing ones being zeros at the end, and
 * the number of leading bits that count, 0 to 64. False when malformed, or when a bit behind those
 * is set: then the one of the two is not what was meant. */
bool cli_route_parse(const char *text, struct eui64 *ret_prefix, unsigned *ret_bits);
/** "000013" or, of one network server of the network, "000013/70b3d57ed0000001": NetID and NSID. */
bool cli_network_parse(
    const char *text, struct net_id *ret_net_id, bool *ret_has_ns_id, struct eui64 *ret_ns_id);
/** 16, 24 or 32. */
bool cli_key_length_parse(const char *text, unsigned *ret);
