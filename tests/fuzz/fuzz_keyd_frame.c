/* The frames between a service and cradle-keyd, and the verbs on its command line. The first byte
 * chooses the kind, the rest is the frame or the text; whatever decodes must encode to the same
 * bytes and decode again. seeds_keyd_frame.c makes the frames of the corpus. */
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
    /* The items of every verb begin where those of a join do. */
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

/* What is said first goes into a log line: it is made printable when it is written. */
static void try_hello(const uint8_t *data, size_t size)
{
    struct keyd_hello hello, again;
    uint8_t out[KEYD_HELLO_LEN], out_again[KEYD_HELLO_LEN];

    if (keyd_hello_decode(data, size, &hello) != 0)
        return;
    FUZZ_HOLDS(strlen(hello.text) < sizeof(hello.text));
    keyd_hello_encode(&hello, out);
    FUZZ_HOLDS(keyd_hello_decode(out, sizeof(out), &again) == 0);
    FUZZ_HOLDS(again.state == hello.state && strlen(again.text) == strlen(hello.text));
    keyd_hello_encode(&again, out_again);
    FUZZ_HOLDS(memcmp(out, out_again, sizeof(out)) == 0);
}

static void try_verbs(const uint8_t *data, size_t size)
{
    char *text = calloc(size + 1, 1), back[KEYD_VERBS_TEXT_MAX];
    unsigned verbs = 0, again = 0;

    FUZZ_HOLDS(text != NULL);
    memcpy(text, data, size);
    if (keyd_verbs_parse(text, &verbs) == 0) {
        FUZZ_HOLDS(keyd_verbs_format(verbs, back) == 0);
        FUZZ_HOLDS(keyd_verbs_parse(back, &again) == 0 && again == verbs);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > KEYD_FRAME_MAX)
        return 0;
    switch (data[0]) {
    case 'Q':
        try_request(data + 1, size - 1);
        break;
    case 'R':
        try_reply(data + 1, size - 1);
        break;
    case 'V':
        try_verbs(data + 1, size - 1);
        break;
    default:
        try_hello(data + 1, size - 1);
        break;
    }
    return 0;
}
