/* Frames of the join procedure: bytes on the air <-> fields, LoRaWAN 1.1 6.2.2, 6.2.3 and 6.2.4.
 *
 * Pure functions. Every parser is total: any bytes of any length give an outcome and never a fault.
 * Fields are in human (big-endian) byte order inside the structs; the air is little-endian. No MIC
 * is checked here: a MIC needs a key, and a key is the business of whoever holds it. */
#pragma once

#include "base/cleanup.h"
#include "lorawan/types.h"
#include <stddef.h>

#define LW_JOIN_REQUEST_MIC_INPUT_LEN (LW_JOIN_REQUEST_LEN - LW_MIC_LEN)
#define LW_JOIN_ACCEPT_PLAIN_LEN 13 /* MHDR .. RxDelay */
#define LW_JOIN_ACCEPT_PLAIN_MAX (LW_JOIN_ACCEPT_PLAIN_LEN + LW_CF_LIST_LEN)
#define LW_JOIN_ACCEPT_MIN (LW_JOIN_ACCEPT_PLAIN_LEN + LW_MIC_LEN)
#define LW_REJOIN_LEN_0_2 19
#define LW_REJOIN_LEN_1 24
#define LW_REJOIN_MAX LW_REJOIN_LEN_1

/* MHDR, LoRaWAN 1.1 4.2: MType in bits 7-5, RFU in 4-2, Major in 1-0 (00 = LoRaWAN R1). */
#define LW_MHDR_JOIN_REQUEST 0x00u
#define LW_MHDR_JOIN_ACCEPT 0x20u
#define LW_MHDR_REJOIN_REQUEST 0xC0u

/** What a parser found; all but LW_FRAME_OK leave the result untouched. */
enum lw_frame_outcome {
    LW_FRAME_OK = 0,
    LW_FRAME_WRONG_LENGTH, /* no frame of this kind is that long */
    LW_FRAME_WRONG_TYPE,   /* MType is another kind of frame */
    LW_FRAME_WRONG_MAJOR,  /* Major is not LoRaWAN R1 */
    LW_FRAME_RFU_SET,      /* a reserved bit of MHDR is set */
    LW_FRAME_WRONG_REJOIN, /* the rejoin type is none, or does not go with the length */
};
#define LW_N_FRAME_OUTCOMES (LW_FRAME_WRONG_REJOIN + 1)

/** One phrase for a log line or an answer's Description; never NULL. */
const char *lw_frame_outcome_text(enum lw_frame_outcome outcome);

/** Join-Request, LoRaWAN 1.1 6.2.2. MIC = first 4 bytes of
 * aes128_cmac(NwkKey, MHDR | JoinEUI | DevEUI | DevNonce); of 1.0.x devices under their one root
 * key (LoRaWAN 1.0.x 6.2.4). The MIC input is the first LW_JOIN_REQUEST_MIC_INPUT_LEN bytes of the
 * frame. */
struct lw_join_request {
    struct eui64 join_eui;
    struct eui64 dev_eui;
    uint16_t dev_nonce;
    uint8_t mic[LW_MIC_LEN];
};

enum lw_frame_outcome lw_join_request_parse(
    const uint8_t *frame, size_t len, struct lw_join_request *ret) MUST_CHECK;
/** The inverse: parse of what was built gives the same struct, and build of what was parsed the
 * same bytes. */
void lw_join_request_build(
    const struct lw_join_request *request, uint8_t out[static LW_JOIN_REQUEST_LEN]);

/** What devices get wrong about the MIC of their Join-Request. A root key in the other byte order
 * is as likely, and is not here: whoever checks MICs has the key in an HSM and cannot turn it
 * round. */
enum lw_mic_mistake {
    LW_MIC_NO_MISTAKE = 0, /* none, or none of these */
    LW_MIC_OTHER_KEY,      /* by the AppKey of a device that has a NwkKey */
    LW_MIC_DEV_EUI_REVERSED,
    LW_MIC_JOIN_EUI_REVERSED,
    LW_MIC_BOTH_REVERSED, /* the EUIs are over the air as they should be, and not in the MIC */
};
#define LW_N_MIC_MISTAKES (LW_MIC_BOTH_REVERSED + 1)

/** What a device that makes the mistake took the MIC of its Join-Request over. */
void lw_join_request_mistaken(const uint8_t frame[static LW_JOIN_REQUEST_LEN],
    enum lw_mic_mistake mistake, uint8_t out[static LW_JOIN_REQUEST_MIC_INPUT_LEN]);

/** The clear Join-Accept without its MIC, LoRaWAN 1.1 6.2.3:
 * MHDR | JoinNonce | NetID | DevAddr | DLSettings | RxDelay [| CFList]; 13 or 29 bytes.
 * ERROR_INPUT when join_nonce does not fit 24 bits. */
int lw_join_accept_build(const struct lw_join_accept *accept,
    uint8_t out[static LW_JOIN_ACCEPT_PLAIN_MAX], size_t *ret_len) MUST_CHECK;
/** Reads the clear Join-Accept, without its MIC: what a device sees after taking protection off. */
enum lw_frame_outcome lw_join_accept_parse(
    const uint8_t *plain, size_t len, struct lw_join_accept *ret) MUST_CHECK;

/** Rejoin-Request, LoRaWAN 1.1 6.2.4. Types 0 and 2 carry the NetID (19 bytes, MIC under
 * SNwkSIntKey, 6.2.4.1), type 1 carries the JoinEUI (24 bytes, MIC under JSIntKey, 6.2.4.2).
 * rj_count is RJcount0 or RJcount1. The MIC input is the frame without its last 4 bytes. */
struct lw_rejoin_request {
    enum lw_join_type type; /* LW_REJOIN_0, _1 or _2 */
    struct net_id net_id;   /* types 0 and 2, else zero */
    struct eui64 join_eui;  /* type 1, else zero */
    struct eui64 dev_eui;
    uint16_t rj_count;
    uint8_t mic[LW_MIC_LEN];
};

enum lw_frame_outcome lw_rejoin_request_parse(
    const uint8_t *frame, size_t len, struct lw_rejoin_request *ret) MUST_CHECK;
/** Returns the length written, 19 or 24; 0 when `type` is not a rejoin type. */
size_t lw_rejoin_request_build(
    const struct lw_rejoin_request *request, uint8_t out[static LW_REJOIN_MAX]);
