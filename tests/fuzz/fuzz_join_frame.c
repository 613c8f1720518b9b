/* Any bytes as a frame: the parsers give an outcome, and what they accept builds back to the same
 * bytes. */
#include "lorawan/frame.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lw_join_request request;
    struct lw_rejoin_request rejoin;
    struct lw_join_accept accept;

    if (lw_join_request_parse(data, size, &request) == LW_FRAME_OK) {
        uint8_t back[LW_JOIN_REQUEST_LEN];

        lw_join_request_build(&request, back);
        if (size != sizeof(back) || memcmp(back, data, size) != 0)
            abort();
    }
    if (lw_rejoin_request_parse(data, size, &rejoin) == LW_FRAME_OK) {
        uint8_t back[LW_REJOIN_MAX];

        if (lw_rejoin_request_build(&rejoin, back) != size || memcmp(back, data, size) != 0)
            abort();
    }
    if (lw_join_accept_parse(data, size, &accept) == LW_FRAME_OK) {
        uint8_t back[LW_JOIN_ACCEPT_PLAIN_MAX];
        size_t len = 0;

        if (lw_join_accept_build(&accept, back, &len) != 0 || len != size)
            abort();
    }
    return 0;
}
