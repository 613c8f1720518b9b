/* One join as the device, its network server and its application server see it: the frame a device
 * sends, and whether a join server's answer is the one all three can use. Pure functions, no input
 * or output, so that a load generator can prepare frames and check answers with them too.
 *
 * Only frame layout (lorawan/frame.h) is shared with the server; derivation and protection are
 * written again here, from the specification. */
#pragma once

#include "base/sealed.h"
#include "base/secret.h"
#include "cli/device_crypto.h"
#include "lorawan/frame.h"

#define SIMDEV_KEKS_MAX 8
#define SIMDEV_PHY_MAX 64 /* more than any Join-Accept has */
#define SIMDEV_RESULT_CODE_MAX 32
#define SIMDEV_DESCRIPTION_MAX 200
#define SIMDEV_SESSION_KEY_ID_MAX 64 /* hex digits */

struct simdev {
    struct eui64 dev_eui;
    struct eui64 join_eui;
    enum lw_mac_version mac_version;
    struct secret_key app_key; /* 1.1: AppKey; 1.0.x: the one root key */
    struct secret_key nwk_key; /* 1.1 only */
    /* The device takes only a JoinNonce above this; 0 is a fresh device (LoRaWAN 1.1 6.2.3). */
    uint32_t last_join_nonce;
    /* What it asks for: a join, or a rejoin of this type. Types 0 and 2 are signed in the session
     * of the join or rejoin that had this JoinNonce and DevNonce or RJcount. */
    bool rejoins;
    enum lw_join_type rejoin_type;
    uint32_t session_join_nonce;
    uint16_t session_nonce;
};

#define SIMDEV_FRAME_MAX LW_REJOIN_MAX

struct simdev_kek {
    char label[KEK_LABEL_MAX + 1];
    uint8_t bytes[SIMDEV_KEK_MAX];
    size_t len; /* 16, 24 or 32 */
};

/** A network server's or application server's KEKs. With none, keys are expected in clear. */
struct simdev_key_ring {
    struct simdev_kek keks[SIMDEV_KEKS_MAX];
    size_t n_keks;
};

/** What the network server asks for, and with which KEKs the two servers open their keys. */
struct simdev_network {
    struct net_id net_id;
    struct dev_addr dev_addr;
    uint8_t dl_settings;
    uint8_t rx_delay;
    bool has_cf_list;
    uint8_t cf_list[LW_CF_LIST_LEN];
    struct simdev_key_ring ns;
    struct simdev_key_ring as;
};

enum simdev_key {
    SIMDEV_NWK_S, /* NwkSKey, OptNeg 0 */
    SIMDEV_F_NWK_S_INT,
    SIMDEV_S_NWK_S_INT,
    SIMDEV_NWK_S_ENC,
    SIMDEV_APP_S,
};
#define SIMDEV_N_KEYS (SIMDEV_APP_S + 1)

/** The name on the wire ("NwkSKey", ...). */
const char *simdev_key_name(enum simdev_key key);
/** Whether a JoinAns of this OptNeg carries the key (TS002-1.0 "JoinAns"). */
bool simdev_key_expected(enum simdev_key key, bool opt_neg);

/** KeyEnvelope of TS002-1.0: 16 clear bytes without a label, 24 wrapped ones with it. */
struct simdev_envelope {
    bool present;
    char kek_label[KEK_LABEL_MAX + 1];
    uint8_t aes_key[SIMDEV_WRAPPED_KEY_LEN];
    size_t aes_key_len;
};

/** A JoinAns, read by simdev_answer_parse(). The fields after description are set on Success only.
 */
struct simdev_answer {
    char result_code[SIMDEV_RESULT_CODE_MAX + 1];
    char description[SIMDEV_DESCRIPTION_MAX + 1];
    uint8_t phy_payload[SIMDEV_PHY_MAX];
    size_t phy_payload_len;
    struct simdev_envelope keys[SIMDEV_N_KEYS];
    char session_key_id[SIMDEV_SESSION_KEY_ID_MAX + 1]; /* "" when absent */
};

/** What is wrong with an answer of ResultCode Success; the first fault found counts. */
enum simdev_verdict {
    SIMDEV_AGREE = 0,
    SIMDEV_BAD_FRAME,      /* no Join-Accept has this length or MHDR */
    SIMDEV_BAD_MIC,        /* the device throws it away */
    SIMDEV_OLD_JOIN_NONCE, /* not above the device's last one */
    SIMDEV_FIELDS_DIFFER,  /* not what the network asked for */
    SIMDEV_KEY_MISSING,
    SIMDEV_KEY_SURPLUS,  /* a key that does not go with OptNeg */
    SIMDEV_KEY_IN_CLEAR, /* though its receiver has KEKs */
    SIMDEV_KEY_LENGTH,   /* neither a clear nor a wrapped key */
    SIMDEV_KEK_UNKNOWN,  /* the receiver has no KEK of this label */
    SIMDEV_KEK_REFUSED,  /* it does not open under that KEK */
    SIMDEV_KEY_DIFFERS,  /* opened, and not the device's key */
};
#define SIMDEV_N_VERDICTS (SIMDEV_KEY_DIFFERS + 1)

/** One sentence without a name in it; never NULL. */
const char *simdev_verdict_text(enum simdev_verdict verdict);

struct simdev_result {
    bool opened; /* the MIC was right: the fields below are set */
    bool opt_neg;
    struct lw_join_accept accept;
    struct secret_key
        keys[SIMDEV_N_KEYS];   /* the device's own; all network keys equal at OptNeg 0 */
    enum simdev_key fault_key; /* which key a SIMDEV_KEY_... or _KEK_... verdict means */
};

void simdev_result_wipe(struct simdev_result *result);

/** The Join-Request frame, LoRaWAN 1.1 6.2.2 (1.0.x: 6.2.4). */
int simdev_request_build(
    const struct simdev *device, uint16_t dev_nonce, uint8_t out[static LW_JOIN_REQUEST_LEN]);

/** The frame of what the device asks for: a Join-Request with this DevNonce, or a Rejoin-Request
 * with this RJcount (LoRaWAN 1.1 6.2.4), which types 0 and 2 send to the network of their session.
 */
int simdev_frame_build(const struct simdev *device, const struct simdev_network *network,
    uint16_t nonce, uint8_t out[static SIMDEV_FRAME_MAX], size_t *ret_len);

/** Judges an answer of Success for the request with this DevNonce or RJcount: 0 all agree, positive
 * an enum simdev_verdict, negative OpenSSL failed. `ret` is filled as far as the check came; wipe
 * it. */
int simdev_answer_check(const struct simdev *device, const struct simdev_network *network,
    uint16_t nonce, const struct simdev_answer *answer, struct simdev_result *ret) MUST_CHECK;
