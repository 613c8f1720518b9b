#include "joinserver/result.h"

/* The same code in both versions. */
#define BOTH(code)                                                                                 \
    {                                                                                              \
        [TS002_1_0] = code, [TS002_1_1] = code                                                     \
    }
#define EACH(code_1_0, code_1_1)                                                                   \
    {                                                                                              \
        [TS002_1_0] = code_1_0, [TS002_1_1] = code_1_1                                             \
    }

/* A 1.0 answer may hold 1.0 codes only: ChirpStack's list is closed and fails on any other. */
static const struct join_result_row rows[N_JOIN_RESULTS] = {
    [JOIN_SUCCESS] = {BOTH("Success"), "success", NULL},
    [JOIN_MIC_FAILED] = {BOTH("MICFailed"), "mic_failed", "the MIC is wrong"},
    [JOIN_UNKNOWN_DEV_EUI] = {BOTH("UnknownDevEUI"), "unknown_dev_eui",
        "no such device or session for this peer"},
    [JOIN_NONCE_REPLAYED] = {EACH("JoinReqFailed", "FrameReplayed"), "nonce_replayed",
        "the DevNonce or RJcount was used before"},
    [JOIN_NONCE_EXHAUSTED] = {BOTH("JoinReqFailed"), "join_nonce_exhausted",
        "the device's JoinNonces are used up"},
    [JOIN_REFUSED] = {BOTH("JoinReqFailed"), "refused",
        "the NetID in the frame is not the session's"},
    [JOIN_ACTIVATION_DISALLOWED] = {BOTH("ActivationDisallowed"), "activation_disallowed",
        "the device may not be activated now"},
    [JOIN_UNKNOWN_SENDER] = {BOTH("UnknownSender"), "unknown_sender",
        "SenderID is not a NetID or AS-ID, or SenderNSID not an NSID, that the authenticated peer may "
        "speak for in this message"},
    /* The specification's spelling, TS002-1.0, table of result codes; every peer parses it. */
    [JOIN_UNKNOWN_RECEIVER] = {BOTH("UnkownReceiver"), "unknown_receiver",
        "ReceiverID is not a JoinEUI of this join server"},
    [JOIN_INVALID_VERSION] = {BOTH("InvalidProtocolVersion"), "invalid_version",
        "ProtocolVersion must be 1.0 or 1.1"},
    [JOIN_MALFORMED] = {EACH("MalformedRequest", "MalformedMessage"), "malformed",
        "the request is malformed"},
    [JOIN_FRAME_SIZE] = {BOTH("FrameSizeError"), "frame_size", "PHYPayload has the wrong length"},
    [JOIN_NO_ROAMING_AGREEMENT] = {BOTH("NoRoamingAgreement"), "no_roaming_agreement",
        "there is no roaming agreement with this network for such a device"},
    [JOIN_SLOWED] = {BOTH("Other"), "slowed",
        "the device has joined too often in a short time; try again later"},
    [JOIN_DEADLINE] = {BOTH("Other"), "deadline", "the answer was not ready in time; try again"},
    [JOIN_UNAVAILABLE] = {BOTH("Other"), "unavailable",
        "the join server cannot answer now; try again"},
};

const struct join_result_row *join_result_row(enum join_result result)
{
    return &rows[result < N_JOIN_RESULTS ? result : JOIN_UNAVAILABLE];
}
