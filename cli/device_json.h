/* The JSON of one join or rejoin, TS002-1.0: the JoinReq or RejoinReq a network server sends, and
 * the answer it reads. */
#pragma once

#include "base/text.h"
#include "cli/device_session.h"

/** Adds the body of what the device asks for to `out`. Memory failure is sticky in out->failed. */
void simdev_request_json(struct text *out, const struct simdev *device,
    const struct simdev_network *network, const uint8_t *frame, size_t frame_len,
    uint32_t transaction_id);

/** The detail of a problem document (RFC 9457) in `body`, cut at `size`; "" when it is none. */
void simdev_problem_detail(const char *body, size_t len, char *ret, size_t size);

/** Reads the answer to the request with this TransactionID. ERROR_INPUT says in error_text() why
 * the body is none: not JSON, another message, IDs not swapped, a field of the wrong shape. */
int simdev_answer_parse(const char *body, size_t len, const struct simdev *device,
    const struct simdev_network *network, uint32_t transaction_id, struct simdev_answer *ret);
