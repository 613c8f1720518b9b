/* A key sealed under a storage KEK of the HSM, as the database keeps it (docs/architecture.md,
 * "Keys"). Opaque everywhere but in keyd. The tag is HMAC-SHA-256, made in the HSM with that
 * version of its tag key that stands beside it, over a type byte and fields each with a 16-bit
 * big-endian length:
 *
 *   1 | dev_eui | join_eui | slot | kek_label | blob                    a device key's tag
 *   2 | peer kind | peer id | class | label | kek_label | blob          a peer's KEK's tag
 *   3 | "fingerprint"                                                   the fingerprint key
 *
 * Of a Sigfox credential dev_eui is four zero bytes and the id, big-endian, join_eui eight zero
 * bytes, and slot that of APP: its NAK.
 *
 * A device key's fingerprint is the first 16 bytes of HMAC-SHA-256(fingerprint key, AES-CMAC(device
 * key, 16 zero bytes)), both made in the HSM: equal for equal keys, in whatever form they came and
 * for whatever device and slot. The fingerprint key is the HMAC-SHA-256 with tag.1 over 03 00 0B
 * and "fingerprint", a session key in the keyds that adopt: so nobody without the HSM can test a
 * guess. (Of its own, because a key of the token costs SoftHSM two files read a use.) Before
 * another version of the tag key comes, it becomes a key of the token, fingerprint.1, and so stays
 * the same when tag.1 has gone. */
#pragma once

#include "base/eui.h"
#include "base/keyed.h"
#include <stdint.h>

#define SEALED_LABEL_MAX 31 /* characters of a storage KEK's label, "store-device.1" */
#define SEALED_BLOB_MAX 40  /* RFC 3394 of an AES-256 key; of an AES-128 key: 24 */
#define SEALED_TAG_LEN KEYED_LEN
#define KEK_LABEL_MAX 64 /* characters of a peer KEK's label: printable ASCII, no quote, no '\' */
#define PEER_ID_MAX 64   /* characters of a NetID, NSID or AS-ID as text */

/** Which root key of a device a sealed blob is. A record of 1.0.x has APP alone (its "AppKey"). */
enum key_slot { KEY_SLOT_APP = 1, KEY_SLOT_NWK = 2 };

enum peer_kind { PEER_NETWORK_SERVER = 1, PEER_APPLICATION_SERVER = 2, PEER_ORGANIZATION = 3 };

/** What a peer's KEK may wrap. */
enum kek_class { KEK_CLASS_NS = 1, KEK_CLASS_AS = 2, KEK_CLASS_TRANSPORT = 3 };

struct sealed_key {
    char kek_label[SEALED_LABEL_MAX + 1]; /* of the storage KEK */
    uint8_t blob[SEALED_BLOB_MAX];
    uint8_t blob_len; /* 24, 32 or 40 */
    uint8_t tag[SEALED_TAG_LEN];
    uint16_t tag_version; /* of the tag key, from 1 */
};

/** A peer's KEK with everything its tag binds. */
struct sealed_kek {
    enum peer_kind peer_kind;
    /* NetID as 6 lower-case hex digits; where the KEK is of one NSID of it, '/' and the NSID follow
     * ("000013/70b3d57ed0000001"); or the AS-ID */
    char peer_id[PEER_ID_MAX + 1];
    enum kek_class kek_class;
    char label[KEK_LABEL_MAX + 1]; /* what the peer sees as KEKLabel */
    struct sealed_key key;
};
