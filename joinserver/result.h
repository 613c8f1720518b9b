/* What a request comes to, and what it is called: one table for the ResultCode on the wire (TS002,
 * table of result codes, of 1.0 and of 1.1), the outcome recorded in join_event and the metric. */
#pragma once

#include <stddef.h>

/** ProtocolVersion of a message. What has none that is known is answered in 1.0. */
enum ts002_version { TS002_1_0, TS002_1_1, N_TS002_VERSIONS };

enum join_result {
    JOIN_SUCCESS,
    JOIN_MIC_FAILED,
    JOIN_UNKNOWN_DEV_EUI,
    JOIN_NONCE_REPLAYED,
    JOIN_NONCE_EXHAUSTED,
    JOIN_REFUSED, /* the device's own word is wrong: a rejoin in another network's name */
    JOIN_ACTIVATION_DISALLOWED,
    JOIN_UNKNOWN_SENDER,
    JOIN_UNKNOWN_RECEIVER,
    JOIN_INVALID_VERSION,
    JOIN_MALFORMED,
    JOIN_FRAME_SIZE,
    JOIN_NO_ROAMING_AGREEMENT, /* HomeNSReq of anyone but the home network */
    JOIN_SLOWED,               /* the device joins again and again; nothing was looked at */
    JOIN_DEADLINE,             /* one second passed; no nonce was spent */
    JOIN_UNAVAILABLE,          /* HSM or database down, a KEK missing, a sealed key refused */
    N_JOIN_RESULTS
};

struct join_result_row {
    const char *result_code[N_TS002_VERSIONS]; /* on the wire */
    const char *outcome;                       /* in join_event and as the metric's label */
    const char *description; /* Result.Description; tells a stranger nothing more than the code */
};

const struct join_result_row *join_result_row(enum join_result result);
