/* The JSON of one join, TS002-1.0: the JoinReq a network server sends, and the JoinAns it reads. */
#pragma once

#include "base/text.h"
#include "cli/device_session.h"

/** Adds the JoinReq body to `out`. Memory failure is sticky in out->failed. */
void simdev_request_json(struct text *out, const struct simdev *device,
    const struct simdev_network *network, const uint8_t frame[static LW_JOIN_REQUEST_LEN],
    uint32_t transaction_id);

/** Reads a JoinAns to the request with this TransactionID. ERROR_INPUT says in error_text() why the
 * body is none: not JSON, another message, IDs not swapped, a field of the wrong shape. */
int simdev_answer_parse(const char *body, size_t len, const struct simdev *device,
    const struct simdev_network *network, uint32_t transaction_id, struct simdev_answer *ret);
