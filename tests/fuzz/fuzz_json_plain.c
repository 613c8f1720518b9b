/* Any bytes as a body, read in place where it is plain and as a tree where it is not: both readings
 * of a body must agree. */
#include "tests/fuzz/fuzz.h"
#include "tests/support/json_twice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_twice read;
    enum json_outcome outcome;

    FUZZ_HOLDS(json_twice_agree((const char *)data, size, &outcome, &read));
    return 0;
}
