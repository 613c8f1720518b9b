/* Bounds of what is kept of peers and partners. */
#pragma once

#define TOKEN_HASH_LEN 32     /* SHA-256 of a 256-bit random token */
#define PEER_SAN_MAX 255      /* bytes of a name in a certificate */
#define PEER_ANCHOR_MAX 65536 /* bytes of PEM */
#define PEER_CRL_MAX 524288   /* bytes of PEM */
#define PEER_NET_IDS_MAX 64   /* NetIDs of one peer or partner: many of a hub */
#define PEER_NS_IDS_MAX 64    /* NSIDs of one network server */
#define PEER_URL_MAX 512
#define PEER_CREDENTIAL_MAX 64
