/* A signed statement from anybody. What is read is what would be written, to the byte, and of one
 * type alone. */
#include "base/custody_form.h"
#include "base/error.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static bool try_type(enum custody_type type, const uint8_t *data, size_t size)
{
    CLEANUP(text_done) struct text document = {0}, again = {0};
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    uint64_t time = 0;
    int r = custody_read(type, (const char *)data, size, &time, &document, signature);

    if (r < 0) {
        FUZZ_HOLDS(r == ERROR_INPUT && document.len == 0 && error_text()[0] != '\0');
        return false;
    }
    FUZZ_HOLDS(custody_document_valid(document.data, document.len));
    custody_write(type, time, document.data, document.len, signature, &again);
    FUZZ_HOLDS(again.len == size && memcmp(again.data, data, size) == 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const bool of_device = try_type(CUSTODY_OF_DEVICE, data, size);
    const bool of_delivery = try_type(CUSTODY_OF_DELIVERY, data, size);

    FUZZ_HOLDS(!of_device || !of_delivery);
    return 0;
}
