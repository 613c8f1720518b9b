/* Any bytes as a frame: the parsers give an outcome, and what they accept builds back to the same
 * bytes. The other way round, any struct of a rejoin-request or an accept builds to a frame that
 * reads back as the same. */
#include "lorawan/frame.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_outcome(enum lw_frame_outcome outcome)
{
    FUZZ_HOLDS((unsigned)outcome < LW_N_FRAME_OUTCOMES);
    FUZZ_HOLDS(lw_frame_outcome_text(outcome)[0] != '\0');
}

static void try_request(const uint8_t *data, size_t size)
{
    struct lw_join_request request;
    uint8_t back[LW_JOIN_REQUEST_LEN];
    enum lw_frame_outcome outcome = lw_join_request_parse(data, size, &request);

    check_outcome(outcome);
    if (outcome != LW_FRAME_OK)
        return;
    lw_join_request_build(&request, back);
    FUZZ_HOLDS(size == sizeof(back) && memcmp(back, data, size) == 0);
}

static void try_rejoin(const uint8_t *data, size_t size)
{
    struct lw_rejoin_request rejoin;
    uint8_t back[LW_REJOIN_MAX];
    enum lw_frame_outcome outcome = lw_rejoin_request_parse(data, size, &rejoin);

    check_outcome(outcome);
    if (outcome != LW_FRAME_OK)
        return;
    FUZZ_HOLDS(lw_rejoin_request_build(&rejoin, back) == size && memcmp(back, data, size) == 0);
}

static void try_accept(const uint8_t *data, size_t size)
{
    struct lw_join_accept accept;
    uint8_t back[LW_JOIN_ACCEPT_PLAIN_MAX];
    size_t len = 0;
    enum lw_frame_outcome outcome = lw_join_accept_parse(data, size, &accept);

    check_outcome(outcome);
    if (outcome != LW_FRAME_OK)
        return;
    FUZZ_HOLDS(lw_join_accept_build(&accept, back, &len) == 0);
    FUZZ_HOLDS(len == size && memcmp(back, data, size) == 0);
}

/* The input fills the struct: its first byte is the rejoin type, also one that is none. */
static void try_build(const uint8_t *data, size_t size)
{
    struct lw_rejoin_request rejoin = {.type = (enum lw_join_type)(size > 0 ? data[0] : 0)}, again;
    struct lw_join_accept accept = {.join_nonce = 0};
    uint8_t fields[LW_REJOIN_MAX] = {0}, out[LW_REJOIN_MAX], plain[LW_JOIN_ACCEPT_PLAIN_MAX];
    bool is_rejoin =
        rejoin.type == LW_REJOIN_0 || rejoin.type == LW_REJOIN_1 || rejoin.type == LW_REJOIN_2;
    size_t len;

    memcpy(fields, data, size < sizeof(fields) ? size : sizeof(fields));
    memcpy(&rejoin.dev_eui, fields, sizeof(rejoin.dev_eui));
    memcpy(&rejoin.rj_count, fields + 8, sizeof(rejoin.rj_count));
    memcpy(rejoin.mic, fields + 10, sizeof(rejoin.mic));
    if (rejoin.type == LW_REJOIN_1)
        memcpy(&rejoin.join_eui, fields + 14, sizeof(rejoin.join_eui));
    else
        memcpy(&rejoin.net_id, fields + 14, sizeof(rejoin.net_id));
    len = lw_rejoin_request_build(&rejoin, out);
    FUZZ_HOLDS((len > 0) == is_rejoin);
    if (len > 0) {
        FUZZ_HOLDS(lw_rejoin_request_parse(out, len, &again) == LW_FRAME_OK);
        FUZZ_HOLDS(again.type == rejoin.type && again.rj_count == rejoin.rj_count);
        FUZZ_HOLDS(memcmp(&again.net_id, &rejoin.net_id, sizeof(again.net_id)) == 0);
        FUZZ_HOLDS(memcmp(&again.join_eui, &rejoin.join_eui, sizeof(again.join_eui)) == 0);
        FUZZ_HOLDS(memcmp(&again.dev_eui, &rejoin.dev_eui, sizeof(again.dev_eui)) == 0);
        FUZZ_HOLDS(memcmp(again.mic, rejoin.mic, sizeof(again.mic)) == 0);
    }
    memcpy(&accept.join_nonce, fields, sizeof(accept.join_nonce));
    FUZZ_HOLDS((lw_join_accept_build(&accept, plain, &len) == 0) ==
               (accept.join_nonce <= LW_JOIN_NONCE_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_request(data, size);
    try_rejoin(data, size);
    try_accept(data, size);
    try_build(data, size);
    return 0;
}
