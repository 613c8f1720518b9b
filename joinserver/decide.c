#include "joinserver/decide.h"

#include "base/aes.h"
#include "base/bytes.h"
#include "device/gate.h"
#include "device/nonce.h"
#include <string.h>

#define FINGERPRINT_INPUT_MAX 128

static struct join_decision refuse(
    enum join_act act, enum join_result result, enum device_refusal reason)
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

void join_decision_refuse(
    struct join_decision *decision, enum join_result result, enum device_refusal reason)
{
    decision->act = JOIN_ACT_VERIFY;
    decision->result = result;
    decision->reason = reason;
    for (int i = 0; i < DEVICE_N_SESSIONS; i++) {
        decision->sessions[i].result = result;
        decision->sessions[i].reason = reason;
    }
}

/* What the gate is asked with: where any JoinEUI will do, it has nothing to compare. What was used
 * with another stays used, for the memory of DevNonces is the record's. */
static const struct eui64 *join_eui_of(const struct db_join_row *row,
    const struct ts002_request *request, const struct eui64 *join_eui)
{
    return request->any_join_eui ? &row->record.join_eui : join_eui;
}

/* What a join and a rejoin have to pass alike; JOIN_ACT_PLAN when they do. */
static struct join_decision decide_gate(const struct db_join_row *row,
    const struct ts002_request *request, const uint8_t *fingerprint, unsigned retry_window_ms)
{
    enum device_gate gate;

    if (!row->found)
        return refuse(JOIN_ACT_HIDE, JOIN_UNKNOWN_DEV_EUI, REFUSAL_NONE);
    gate = device_gate_judge(
        &row->record, &request->sender, join_eui_of(row, request, &request->frame_join_eui));
    /* The last join of a factory test may be asked for again: that counts nothing. */
    if (gate == GATE_HIDDEN_TEST_USED_UP && is_retry(&row->state, fingerprint, retry_window_ms))
        gate = GATE_TEST;
    if (device_gate_is_hidden(gate))
        return refuse(JOIN_ACT_HIDE, JOIN_UNKNOWN_DEV_EUI, device_gate_refusal(gate));
    if (!row->has_app || (row->record.mac_version == LW_MAC_1_1) != row->has_nwk)
        return refuse(JOIN_ACT_HIDE, JOIN_UNAVAILABLE, REFUSAL_KEYS_INCOMPLETE);
    /* Such a join could never be committed: an epoch only goes up. */
    if (row->record.nonce_epoch < row->state.nonce_epoch)
        return refuse(JOIN_ACT_VERIFY, JOIN_UNAVAILABLE, REFUSAL_NONCE_EPOCH_WENT_BACK);
    if (gate != GATE_OPEN && gate != GATE_TEST)
        return refuse(JOIN_ACT_VERIFY, JOIN_ACTIVATION_DISALLOWED, device_gate_refusal(gate));
    return (struct join_decision){.act = JOIN_ACT_PLAN};
}

static struct join_decision repeat(const struct db_join_row *row)
{
    return (struct join_decision){
        .act = JOIN_ACT_RETRY, .result = JOIN_SUCCESS, .join_nonce = row->state.join_nonce};
}

/* Of what has passed the gate: nobody owns it only in a factory test. */
static uint16_t test_join(const struct device_record *record)
{
    return record->ownership == OWNERSHIP_UNOWNED ? (uint16_t)(record->test.joins + 1) : 0;
}

static struct join_decision plan(const struct db_join_row *row)
{
    uint32_t next = device_next_join_nonce(&row->state);

    if (next == 0)
        return refuse(JOIN_ACT_VERIFY, JOIN_NONCE_EXHAUSTED, REFUSAL_JOIN_NONCES_USED_UP);
    return (struct join_decision){.act = JOIN_ACT_PLAN,
        .result = JOIN_SUCCESS,
        .join_nonce = next,
        .test_join = test_join(&row->record)};
}

struct join_decision join_decide(const struct db_join_row *row, const struct ts002_request *request,
    const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN], unsigned retry_window_ms)
{
    struct join_decision decision = decide_gate(row, request, fingerprint, retry_window_ms);
    enum device_nonce nonce;

    if (decision.act != JOIN_ACT_PLAN)
        return decision;
    /* The device reads OptNeg back in the accept and derives by it (LoRaWAN 1.1 6.2.3). */
    if ((request->dl_settings & LW_OPT_NEG) != 0 && !row->has_nwk)
        return refuse(JOIN_ACT_VERIFY, JOIN_MALFORMED, REFUSAL_OPT_NEG);
    nonce = device_nonce_judge(&row->record, &row->state, request->dev_nonce, row->dev_nonce_used);
    if (nonce != NONCE_FRESH) {
        if (is_retry(&row->state, fingerprint, retry_window_ms))
            return repeat(row);
        return refuse(JOIN_ACT_VERIFY, JOIN_NONCE_REPLAYED, device_nonce_refusal(nonce));
    }
    return plan(row);
}

/* RJcount1 belongs to the device: nothing waits for the MIC. */
static struct join_decision decide_rejoin_1(const struct db_join_row *row,
    const struct ts002_request *request, const uint8_t *fingerprint, unsigned retry_window_ms)
{
    enum device_nonce count = device_rj_count1_judge(&row->record, &row->state, request->dev_nonce);

    if (count == NONCE_FRESH)
        return plan(row);
    if (is_retry(&row->state, fingerprint, retry_window_ms))
        return repeat(row);
    return refuse(JOIN_ACT_VERIFY, JOIN_NONCE_REPLAYED, device_nonce_refusal(count));
}

static struct join_verdict judge_session(
    const struct device_session *session, const struct ts002_request *request)
{
    enum device_nonce count = device_rj_count0_judge(session, request->dev_nonce);

    if (memcmp(&session->net_id, &request->frame_net_id, sizeof(session->net_id)) != 0)
        return (struct join_verdict){true, JOIN_REFUSED, REFUSAL_SESSION_NET_ID};
    if (count != NONCE_FRESH)
        return (struct join_verdict){true, JOIN_NONCE_REPLAYED, device_nonce_refusal(count)};
    return (struct join_verdict){true, JOIN_SUCCESS, REFUSAL_NONE};
}

/* Refused whichever session it is of. */
static struct join_decision refuse_each(
    const struct db_join_row *row, const struct join_decision *refusal)
{
    struct join_decision decision = *refusal;

    for (int i = 0; i < DEVICE_N_SESSIONS; i++)
        decision.sessions[i].present = row->state.sessions[i].present;
    join_decision_refuse(&decision, refusal->result, refusal->reason);
    return decision;
}

static struct join_decision decide_rejoin_0_2(const struct db_join_row *row,
    const struct ts002_request *request, const uint8_t *fingerprint, unsigned retry_window_ms)
{
    struct join_decision decision;

    if (is_retry(&row->state, fingerprint, retry_window_ms)) {
        /* To the byte the frame that was answered last: it proved what is the current session. */
        decision = repeat(row);
        decision.sessions[DEVICE_SESSION_CURRENT].present = true;
    } else {
        bool any = false;

        decision = plan(row);
        if (decision.act == JOIN_ACT_VERIFY)
            return refuse_each(row, &decision);
        for (int i = 0; i < DEVICE_N_SESSIONS; i++)
            if (row->state.sessions[i].present) {
                decision.sessions[i] = judge_session(&row->state.sessions[i], request);
                any |= decision.sessions[i].result == JOIN_SUCCESS;
            }
        if (!any)
            decision.act = JOIN_ACT_VERIFY;
    }
    return decision;
}

static bool has_session(const struct device_join_state *state)
{
    for (int i = 0; i < DEVICE_N_SESSIONS; i++)
        if (state->sessions[i].present)
            return true;
    return false;
}

struct join_decision join_decide_rejoin(const struct db_join_row *row,
    const struct ts002_request *request, const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN],
    unsigned retry_window_ms)
{
    struct join_decision decision = decide_gate(row, request, fingerprint, retry_window_ms);

    if (decision.act == JOIN_ACT_HIDE)
        return decision;
    /* There is no key that its MIC could be checked with. */
    if (!row->has_nwk)
        return refuse(JOIN_ACT_HIDE, JOIN_MALFORMED, REFUSAL_NO_REJOIN_BEFORE_1_1);
    if (request->join_type == LW_REJOIN_1)
        return decision.act == JOIN_ACT_PLAN
                   ? decide_rejoin_1(row, request, fingerprint, retry_window_ms)
                   : decision;
    if (!has_session(&row->state))
        return refuse(JOIN_ACT_HIDE, JOIN_MIC_FAILED, REFUSAL_NO_SESSION);
    decision = decision.act == JOIN_ACT_PLAN
                   ? decide_rejoin_0_2(row, request, fingerprint, retry_window_ms)
                   : refuse_each(row, &decision);
    decision.by_session = true;
    return decision;
}

struct join_decision join_decide_home_ns(
    const struct db_join_row *row, const struct ts002_request *request)
{
    enum device_gate gate;

    /* The request names no JoinEUI of the device: ReceiverID is our address. A factory test makes
     * nobody its home. */
    gate = device_gate_judge(&row->record, &request->sender, &row->record.join_eui);
    if (!row->found || device_gate_is_hidden(gate) || gate == GATE_TEST)
        return refuse(JOIN_ACT_TELL, JOIN_NO_ROAMING_AGREEMENT, REFUSAL_NONE);
    return (struct join_decision){.act = JOIN_ACT_TELL, .result = JOIN_SUCCESS};
}

/* Asked as its home network would: what an application server sees is the owner's word alone. In a
 * factory test it is asked as the network that the session is of, for the window may have been
 * another's; that its joins are used up is no matter. */
static enum device_gate judge_session_of(
    const struct db_join_row *row, const struct ts002_request *request)
{
    const struct device_record *d = &row->record;
    const struct db_join_session *session = &row->session;
    bool is_test = d->test.present && d->ownership == OWNERSHIP_UNOWNED;
    enum device_gate gate = device_gate_judge(d, is_test ? &session->net_id : &d->home_net_id,
        join_eui_of(row, request, &session->join_eui));

    return gate == GATE_HIDDEN_TEST_USED_UP ? GATE_TEST : gate;
}

struct join_decision join_decide_app_s_key(
    const struct db_join_row *row, const struct ts002_request *request)
{
    const struct device_record *d = &row->record;
    enum device_gate gate;

    if (!row->found || strcmp(device_as_id(d), request->sender_id) != 0 || !row->session.found)
        return refuse(JOIN_ACT_TELL, JOIN_UNKNOWN_DEV_EUI, REFUSAL_NONE);
    gate = judge_session_of(row, request);
    if (device_gate_is_hidden(gate))
        return refuse(JOIN_ACT_TELL, JOIN_UNKNOWN_DEV_EUI, device_gate_refusal(gate));
    if (gate != GATE_OPEN && gate != GATE_TEST)
        return refuse(JOIN_ACT_TELL, JOIN_ACTIVATION_DISALLOWED, device_gate_refusal(gate));
    if (!row->has_app || (d->mac_version == LW_MAC_1_1) != row->has_nwk ||
        (row->session.opt_neg && !row->has_nwk))
        return refuse(JOIN_ACT_TELL, JOIN_UNAVAILABLE, REFUSAL_KEYS_INCOMPLETE);
    return (struct join_decision){
        .act = JOIN_ACT_DERIVE, .result = JOIN_SUCCESS, .join_nonce = request->session_join_nonce};
}

void join_fingerprint(
    int64_t peer_id, const struct ts002_request *request, uint8_t out[static JOIN_FINGERPRINT_LEN])
{
    uint8_t input[FINGERPRINT_INPUT_MAX];
    uint8_t digest[32];
    struct bytes_writer w = bytes_writer_over(input, sizeof(input));

    bytes_write_u8(&w, (uint8_t)request->join_type);
    bytes_write_u64_be(&w, (uint64_t)peer_id);
    bytes_write(&w, request->sender.bytes, sizeof(request->sender.bytes));
    bytes_write_u8(&w, (uint8_t)request->frame_len);
    bytes_write(&w, request->frame, sizeof(request->frame));
    bytes_write(&w, request->dev_addr.bytes, sizeof(request->dev_addr.bytes));
    bytes_write_u8(&w, request->dl_settings);
    bytes_write_u8(&w, (uint8_t)request->rx_delay);
    bytes_write_u8(&w, request->has_cf_list);
    bytes_write(&w, request->cf_list, sizeof(request->cf_list));
    digest_sha256(input, w.len, digest);
    memcpy(out, digest, JOIN_FINGERPRINT_LEN);
}
