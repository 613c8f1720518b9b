#include "joinserver/decide.h"

#include "base/aes.h"
#include "base/bytes.h"
#include "device/gate.h"
#include "device/nonce.h"
#include <string.h>

#define FINGERPRINT_INPUT_MAX 128

static struct join_decision refuse(enum join_act act, enum join_result result, const char *reason)
{
    return (struct join_decision){.act = act, .result = result, .reason = reason};
}

static bool is_retry(
    const struct device_join_state *state, const uint8_t *fingerprint, unsigned retry_window_ms)
{
    /* A negative age is a database whose clock went back: no window is open then. */
    return state->has_retry && retry_window_ms > 0 && state->retry_age_ms >= 0 &&
           state->retry_age_ms <= (int64_t)retry_window_ms &&
           memcmp(state->retry_fingerprint, fingerprint, JOIN_FINGERPRINT_LEN) == 0;
}

struct join_decision join_decide(const struct db_join_row *row, const struct ts002_request *request,
    const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN], unsigned retry_window_ms)
{
    enum device_gate gate;
    enum device_nonce nonce;
    uint32_t next;

    if (!row->found)
        return refuse(JOIN_ACT_HIDE, JOIN_UNKNOWN_DEV_EUI, NULL);
    gate = device_gate_judge(&row->record, &request->sender, &request->frame_join_eui);
    if (device_gate_is_hidden(gate))
        return refuse(JOIN_ACT_HIDE, JOIN_UNKNOWN_DEV_EUI, device_gate_reason(gate));
    if (!row->has_app || (row->record.mac_version == LW_MAC_1_1) != row->has_nwk)
        return refuse(JOIN_ACT_HIDE, JOIN_UNAVAILABLE, "the device's root keys are not complete");
    /* Such a join could never be committed: an epoch only goes up. */
    if (row->record.nonce_epoch < row->state.nonce_epoch)
        return refuse(JOIN_ACT_VERIFY, JOIN_UNAVAILABLE, "the device's nonce epoch went back");
    if (gate != GATE_OPEN)
        return refuse(JOIN_ACT_VERIFY, JOIN_ACTIVATION_DISALLOWED, device_gate_reason(gate));
    /* The device reads OptNeg back in the accept and derives by it (LoRaWAN 1.1 6.2.3). */
    if ((request->dl_settings & LW_OPT_NEG) != 0 && !row->has_nwk)
        return refuse(
            JOIN_ACT_VERIFY, JOIN_MALFORMED, "OptNeg is set for a device that is not 1.1");
    nonce = device_nonce_judge(&row->record, &row->state, request->dev_nonce, row->dev_nonce_used);
    if (nonce != NONCE_FRESH) {
        if (is_retry(&row->state, fingerprint, retry_window_ms))
            return (struct join_decision){.act = JOIN_ACT_RETRY,
                .result = JOIN_SUCCESS,
                .reason = "the same request again",
                .join_nonce = row->state.join_nonce};
        return refuse(JOIN_ACT_VERIFY, JOIN_NONCE_REPLAYED, device_nonce_reason(nonce));
    }
    next = device_next_join_nonce(&row->state);
    if (next == 0)
        return refuse(JOIN_ACT_VERIFY, JOIN_NONCE_EXHAUSTED, "all 2^24 - 1 JoinNonces are used");
    return (struct join_decision){.act = JOIN_ACT_PLAN, .result = JOIN_SUCCESS, .join_nonce = next};
}

struct join_decision join_decide_home_ns(
    const struct db_join_row *row, const struct ts002_request *request)
{
    /* The request names no JoinEUI of the device: ReceiverID is our address. */
    if (!row->found || device_gate_is_hidden(device_gate_judge(
                           &row->record, &request->sender, &row->record.join_eui)))
        return refuse(JOIN_ACT_TELL, JOIN_NO_ROAMING_AGREEMENT, NULL);
    return (struct join_decision){.act = JOIN_ACT_TELL, .result = JOIN_SUCCESS};
}

struct join_decision join_decide_app_s_key(
    const struct db_join_row *row, const struct ts002_request *request)
{
    const struct device_record *d = &row->record;
    enum device_gate gate;

    if (!row->found || strcmp(d->as_id, request->sender_id) != 0 || !row->session.found)
        return refuse(JOIN_ACT_TELL, JOIN_UNKNOWN_DEV_EUI, NULL);
    /* Asked as its home network would: what an application server sees is the owner's word alone.
     */
    gate = device_gate_judge(d, &d->home_net_id, &row->session.join_eui);
    if (device_gate_is_hidden(gate))
        return refuse(JOIN_ACT_TELL, JOIN_UNKNOWN_DEV_EUI, device_gate_reason(gate));
    if (gate != GATE_OPEN)
        return refuse(JOIN_ACT_TELL, JOIN_ACTIVATION_DISALLOWED, device_gate_reason(gate));
    if (!row->has_app || (d->mac_version == LW_MAC_1_1) != row->has_nwk ||
        (row->session.opt_neg && !row->has_nwk))
        return refuse(JOIN_ACT_TELL, JOIN_UNAVAILABLE, "the device's root keys are not complete");
    return (struct join_decision){
        .act = JOIN_ACT_DERIVE, .result = JOIN_SUCCESS, .join_nonce = request->session_join_nonce};
}

void join_fingerprint(
    int64_t peer_id, const struct ts002_request *request, uint8_t out[static JOIN_FINGERPRINT_LEN])
{
    uint8_t input[FINGERPRINT_INPUT_MAX];
    uint8_t digest[32];
    struct bytes_writer w = bytes_writer_over(input, sizeof(input));

    bytes_write_u8(&w, LW_JOIN); /* the message type */
    bytes_write_u64_be(&w, (uint64_t)peer_id);
    bytes_write(&w, request->sender.bytes, sizeof(request->sender.bytes));
    bytes_write(&w, request->frame, sizeof(request->frame));
    bytes_write(&w, request->dev_addr.bytes, sizeof(request->dev_addr.bytes));
    bytes_write_u8(&w, request->dl_settings);
    bytes_write_u8(&w, (uint8_t)request->rx_delay);
    bytes_write_u8(&w, request->has_cf_list);
    bytes_write(&w, request->cf_list, sizeof(request->cf_list));
    digest_sha256(input, w.len, digest);
    memcpy(out, digest, JOIN_FINGERPRINT_LEN);
}
