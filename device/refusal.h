/* Why a join was refused: one table for the reason that the join server records (join_event.reason)
 * and for what the device's owner is told of it. Whoever records a refusal names a row of this
 * table, so that no reason is without an explanation. Pure. */
#pragma once

enum device_refusal {
    REFUSAL_NONE,
    /* The gate (device/gate.h). */
    REFUSAL_NOT_ACTIVABLE,
    REFUSAL_UNCLAIMED,
    REFUSAL_NOT_HOME,
    REFUSAL_AGREEMENT_ENDED,
    REFUSAL_AGREEMENT_NOT_BEGUN,
    REFUSAL_AGREEMENT_ELSE,
    REFUSAL_ROAMING_NARROWED,
    REFUSAL_OTHER_JOIN_EUI,
    REFUSAL_TEST_NETWORK,
    REFUSAL_TEST_EXPIRED,
    REFUSAL_TEST_USED_UP,
    REFUSAL_INACTIVE,
    REFUSAL_SUSPENDED,
    REFUSAL_QUARANTINED,
    /* Nonces (device/nonce.h). */
    REFUSAL_DEV_NONCE_USED,
    REFUSAL_DEV_NONCE_NOT_ABOVE,
    REFUSAL_DEV_NONCES_USED_UP,
    REFUSAL_RJ_COUNT_NOT_ABOVE,
    REFUSAL_JOIN_NONCES_USED_UP,
    REFUSAL_NONCE_EPOCH_WENT_BACK,
    /* The frame, and what it asks for. */
    REFUSAL_MIC_WRONG,
    /* The mistakes that keyd looks for (lorawan/frame.h). */
    REFUSAL_MIC_OTHER_KEY,
    REFUSAL_MIC_DEV_EUI_REVERSED,
    REFUSAL_MIC_JOIN_EUI_REVERSED,
    REFUSAL_MIC_BOTH_REVERSED,
    REFUSAL_MIC_UNCHECKED,
    REFUSAL_JOIN_EUI_NOT_ROUTED,
    REFUSAL_ROUTE_REFUSES,
    REFUSAL_MALFORMED, /* recorded with what was wrong, in words of that case */
    REFUSAL_FRAME_SIZE,
    REFUSAL_OPT_NEG,
    REFUSAL_NO_REJOIN_BEFORE_1_1,
    REFUSAL_NO_SESSION,
    REFUSAL_SESSION_NET_ID,
    /* Keys. */
    REFUSAL_KEYS_INCOMPLETE,
    REFUSAL_NS_KEK_MISSING,
    REFUSAL_NS_KEK_MISSING_TOKEN,
    REFUSAL_NS_KEK_MISSING_URL,
    REFUSAL_NS_KEK_MISSING_SETTING,
    REFUSAL_AS_KEK_MISSING,
    REFUSAL_AS_KEK_MISSING_TOKEN,
    REFUSAL_AS_KEK_MISSING_URL,
    REFUSAL_AS_CLEAR_SETTING,
    REFUSAL_KEY_ALTERED,
    REFUSAL_KEK_ALTERED,
    REFUSAL_STORAGE_KEK_UNKNOWN,
    /* The join server itself. */
    REFUSAL_KEYD_INPUT,
    REFUSAL_HSM_FAILED,
    REFUSAL_KEYD_UNKNOWN,
    REFUSAL_KEYD_NO_ANSWER,
    REFUSAL_DATABASE_NO_ANSWER,
    REFUSAL_DATABASE_REFUSED,
    REFUSAL_ROW_CHANGED,
    REFUSAL_RETRY_NOT_DURABLE,
    REFUSAL_SLOWED,
    REFUSAL_LATE_IN_QUEUE,
    REFUSAL_LATE_FOR_KEY,
    REFUSAL_LATE_FOR_COMMIT,
    /* What no row is of: a reason of another version. */
    REFUSAL_OTHER,
    N_DEVICE_REFUSALS
};

/** For people; sentences, without what belongs to one attempt. */
struct device_explanation {
    const char *what;
    const char *why;
    const char *to_do;
};

/** What is recorded. NULL of REFUSAL_NONE and REFUSAL_OTHER, which record nothing of their own. */
const char *device_refusal_reason(enum device_refusal refusal);

/** Never NULL, and of REFUSAL_NONE that of REFUSAL_OTHER. */
const struct device_explanation *device_refusal_explain(enum device_refusal refusal);

/** The same where a visited network asked who is home to the device (HomeNSReq), and not for a
 * join; of a reason that only a join can have, as of a join. */
const struct device_explanation *device_refusal_explain_home_ns(enum device_refusal refusal);

/** The row that was recorded: by its reason or, where the reason is in words of its own, by the
 * outcome recorded with it; else REFUSAL_OTHER. `reason` may be NULL. */
enum device_refusal device_refusal_find(const char *outcome, const char *reason);
