/* TS002 messages of the join server, of 1.0 and 1.1: reading a request and writing its answer.
 * Pure. */
#pragma once

#include "base/text.h"
#include "hsm/client.h"
#include "joinserver/result.h"
#include "lorawan/frame.h"

#define TS002_DESCRIPTION_MAX 160
#define SESSION_KEY_ID_LEN 12

/** The one MessageType whose SenderID is an AS-ID. */
#define TS002_APP_S_KEY_REQ "AppSKeyReq"

enum ts002_outcome {
    TS002_OK = 0,
    TS002_NOT_JSON = 1, /* HTTP 400: no header to answer with */
    TS002_REFUSED = 2,  /* answer `result` with the header that was read */
};

/** A request as read from its body. Texts are empty when absent. */
struct ts002_request {
    char protocol_version[8];
    char message_type[24];
    char sender_id[PEER_ID_MAX + 1];
    char receiver_id[PEER_ID_MAX + 1];
    uint32_t transaction_id;
    char sender_token[130]; /* opaque hex, echoed as ReceiverToken */
    /* 1.1: which network server of the NetID; echoed as ReceiverNSID. Taken on nobody's word: what
     * follows from it is the caller's question. Under 1.0 it is nothing, whatever it holds. */
    struct eui64 sender_ns_id;
    size_t sender_ns_id_len;
    bool has_sender_ns_id;
    /* JoinReq and RejoinReq (TS002-1.0) */
    uint8_t frame[LW_REJOIN_MAX];
    size_t frame_len; /* as sent; only a right one is in `frame` whole */
    struct eui64 dev_eui;
    struct dev_addr dev_addr;
    uint8_t dl_settings;
    uint32_t rx_delay;
    uint8_t cf_list[LW_CF_LIST_LEN];
    bool has_frame, has_dev_eui, has_dev_addr, has_dl_settings, has_rx_delay, has_cf_list;
    /* AppSKeyReq: one of another form was not made here, and is of no session. */
    uint8_t session_key_id[SESSION_KEY_ID_LEN];
    size_t session_key_id_len; /* as sent; only a right one is in `session_key_id` whole */
    bool has_session_key_id;
    char fault[TS002_DESCRIPTION_MAX]; /* the first member that is malformed, judged after the
                                          sender */
    /* Derived from the above. */
    enum ts002_version version; /* of the answer: TS002_1_0 when the request's is not known */
    struct net_id sender;
    struct eui64 receiver;
    enum lw_join_type join_type;
    struct eui64 frame_join_eui; /* a rejoin of type 0 or 2 names none: ReceiverID does */
    /* The JoinEUI of the frame, or of the session that is asked for, has a route of kind local-any:
     * the device is found by its DevEUI, and that its record has another JoinEUI is no matter. Set
     * by who knows the routes. */
    bool any_join_eui;
    struct net_id frame_net_id;  /* of a rejoin of type 0 or 2 */
    uint16_t dev_nonce;          /* of a rejoin: its RJcount */
    uint32_t session_join_nonce; /* of SessionKeyID; 0, which no session has, when it is not ours */
};

/** Reads a request. TS002_REFUSED: *ret_result and `description` say what is wrong. Checks, in this
 * order: JSON, ProtocolVersion, that SenderID is a NetID (an AppSKeyReq's is an AS-ID: any text),
 * that ReceiverID is a JoinEUI. Whether the
 * sender may say so and the JoinEUI is ours is the caller's question; everything else that is wrong
 * is left to ts002_check_join, so that a stranger is told that he is one and nothing else. */
enum ts002_outcome ts002_read(const char *body, size_t len, struct ts002_request *request,
    enum join_result *ret_result, char description[static TS002_DESCRIPTION_MAX]);

/** Checks the members of a JoinReq, after the sender is known. Returns JOIN_SUCCESS or the refusal.
 */
enum join_result ts002_check_join(
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX]);
/** The same for a RejoinReq. */
enum join_result ts002_check_rejoin(
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX]);
/** The same for a HomeNSReq, which has a DevEUI and nothing else. */
enum join_result ts002_check_home_ns(
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX]);

/** The same for an AppSKeyReq, which has a DevEUI and a SessionKeyID. */
enum join_result ts002_check_app_s_key(
    struct ts002_request *request, char description[static TS002_DESCRIPTION_MAX]);

/** SessionKeyID: DevEUI and JoinNonce, 12 bytes. Unique, since no JoinNonce is used twice, and
 * derived again for a retry without being stored. Opaque to everyone else. */
void ts002_session_key_id(
    const struct eui64 *dev_eui, uint32_t join_nonce, uint8_t out[static SESSION_KEY_ID_LEN]);

/** Writes the answer's header and Result: all that a refusal holds. `description` may be NULL. */
void ts002_write_refusal(struct text *out, const struct ts002_request *request,
    enum join_result result, const char *description);

/** Writes JoinAns or RejoinAns of a join that is durable (TS002-1.0). A label is NULL where the key
 * is in clear, here and below. */
void ts002_write_join_ans(struct text *out, const struct ts002_request *request,
    const struct keyd_join_reply *reply, uint32_t join_nonce, const char *ns_kek_label,
    const char *as_kek_label, bool with_session_key_id);

/** Writes HomeNSAns. A device is bound to a NetID: which of its network servers (HNSID, 1.1 only)
 * is known where there is one; else `home_ns_id` is NULL. */
void ts002_write_home_ns_ans(struct text *out, const struct ts002_request *request,
    const struct net_id *home_net_id, const struct eui64 *home_ns_id);

/** Writes AppSKeyAns. */
void ts002_write_app_s_key_ans(struct text *out, const struct ts002_request *request,
    const struct keyd_envelope *app_s_key, const char *as_kek_label);
