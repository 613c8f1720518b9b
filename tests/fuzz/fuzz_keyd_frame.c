/* The frames between a service and cradle-keyd. The first byte chooses the kind, the rest is the
 * frame; whatever decodes must encode to the same bytes and decode again. */
#include "tests/fuzz/fuzz.h"

#include "hsm/frame.h"
#include <string.h>

static void try_request(const uint8_t *data, size_t size)
{
    static struct keyd_request request;
    static const struct sealed_kek *keks[KEYD_KEKS_MAX];
    static uint8_t out[KEYD_FRAME_MAX];
    size_t len = 0;

    if (keyd_request_decode(data, size, &request) != 0)
        return;
    for (size_t i = 0; i < request.n_keks; i++)
        keks[i] = &request.keks[i];
    FUZZ_HOLDS(keyd_request_encode(request.verb, request.sequence, keks, request.n_keks,
                   request.joins, request.n_items, out, &len) == 0);
    FUZZ_HOLDS(len == size && memcmp(out, data, len) == 0);
}

static void try_reply(const uint8_t *data, size_t size)
{
    static struct keyd_reply reply;
    static uint8_t out[KEYD_FRAME_MAX];
    size_t len = 0;

    if (keyd_reply_decode(data, size, &reply) != 0)
        return;
    FUZZ_HOLDS(keyd_reply_encode(&reply, out, &len) == 0);
    FUZZ_HOLDS(len == size && memcmp(out, data, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keyd_hello hello;

    if (size == 0 || size > KEYD_FRAME_MAX)
        return 0;
    switch (data[0]) {
    case 'Q':
        try_request(data + 1, size - 1);
        break;
    case 'R':
        try_reply(data + 1, size - 1);
        break;
    default:
        if (keyd_hello_decode(data + 1, size - 1, &hello) == 0)
            FUZZ_HOLDS(strlen(hello.text) < sizeof(hello.text));
        break;
    }
    return 0;
}
