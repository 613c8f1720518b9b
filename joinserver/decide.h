/* The decision about one request, over what was loaded for it. Pure and total: step 2 of a
 * join (docs/architecture.md). Whatever is decided, a wrong MIC found afterwards wins over it. */
#pragma once

#include "db/join.h"
#include "device/refusal.h"
#include "joinserver/result.h"
#include "joinserver/ts002.h"

#define JOIN_RETRY_WINDOW_MS_DEFAULT 5000

enum join_act {
    JOIN_ACT_PLAN,   /* verify, compute with `join_nonce`, commit, answer */
    JOIN_ACT_RETRY,  /* the same request again: verify, compute again, answer; nothing to commit */
    JOIN_ACT_VERIFY, /* refuse with `result`, unless the MIC is wrong */
    JOIN_ACT_HIDE,   /* refuse as unknown without touching the key */
    JOIN_ACT_DERIVE, /* derive the AppSKey of `session` again, answer; nothing to commit */
    JOIN_ACT_TELL,   /* answer from what was loaded: no key is touched, nothing to commit */
};

/** What follows if a session turns out to be the one that a rejoin is of. */
struct join_verdict {
    bool present;
    enum join_result result; /* JOIN_SUCCESS: as the decision's act says */
    enum device_refusal reason;
};

struct join_decision {
    enum join_act act;
    enum join_result result;
    enum device_refusal reason; /* for join_event */
    uint32_t join_nonce;
    uint16_t test_join; /* which join of its factory test it is, from 1; 0: of none */
    /* Of a rejoin of type 0 or 2. Which session it is of is known only when its MIC proves one;
     * the verdict on that one then takes the place of result and reason. */
    bool by_session;
    struct join_verdict sessions[DEVICE_N_SESSIONS];
};

/** Turns a decision into a refusal, whichever session it may be of: JOIN_ACT_VERIFY. */
void join_decision_refuse(
    struct join_decision *decision, enum join_result result, enum device_refusal reason);

struct join_decision join_decide(const struct db_join_row *row, const struct ts002_request *request,
    const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN], unsigned retry_window_ms);

/** The same of a Rejoin-Request (LoRaWAN 1.1 6.2.4). */
struct join_decision join_decide_rejoin(const struct db_join_row *row,
    const struct ts002_request *request, const uint8_t fingerprint[static JOIN_FINGERPRINT_LEN],
    unsigned retry_window_ms);

/** Who is home to a device. Told to its home network, and to those that have an agreement with it
 * about that, whatever the device may do at present; anyone else learns nothing, not even whether
 * there is such a device, and at the same cost: the loading. */
struct join_decision join_decide_home_ns(
    const struct db_join_row *row, const struct ts002_request *request);

/** The AppSKey of a session, for the application server that the owner named. Anyone else learns
 * nothing, not even whether there is such a device or session, and at the same cost: the loading of
 * both. `row->session` was looked for. */
struct join_decision join_decide_app_s_key(
    const struct db_join_row *row, const struct ts002_request *request);

/** What makes two requests the same one: sender, message and rejoin type, PHYPayload, SenderID,
 * DevAddr, DLSettings, RxDelay and CFList. TransactionID and tokens may differ. */
void join_fingerprint(
    int64_t peer_id, const struct ts002_request *request, uint8_t out[static JOIN_FINGERPRINT_LEN]);
