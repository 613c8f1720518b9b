/* A custody statement from anybody. What is read is what would be written, to the byte. */
#include "base/custody_form.h"
#include "base/error.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(text_done) struct text document = {0}, again = {0};
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    uint64_t time = 0;
    int r = custody_read((const char *)data, size, &time, &document, signature);

    if (r < 0) {
        FUZZ_HOLDS(r == ERROR_INPUT && document.len == 0 && error_text()[0] != '\0');
        return 0;
    }
    FUZZ_HOLDS(custody_document_valid(document.data, document.len));
    custody_write(time, document.data, document.len, signature, &again);
    FUZZ_HOLDS(again.len == size && memcmp(again.data, data, size) == 0);
    return 0;
}
