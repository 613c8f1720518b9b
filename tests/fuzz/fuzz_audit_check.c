/* An audit export from anybody. Signatures are not looked at, or nothing would come behind them. */
#include "base/error.h"
#include "cli/audit_check.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(audit_check_freep) struct audit_check *check = NULL;
    CLEANUP(text_done) struct text out = {0};
    int r = audit_check_new(NULL, &check);

    FUZZ_HOLDS(r == 0);
    while (r == 0 && size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        const size_t len = end != NULL ? (size_t)(end - data) + 1 : size;

        r = audit_check_line(check, (const char *)data, len);
        data += len;
        size -= len;
    }
    if (r == 0)
        r = audit_check_end(check, &out);
    FUZZ_HOLDS((r == 0) == (out.len > 0));
    if (r < 0)
        FUZZ_HOLDS(r == ERROR_INPUT && error_text()[0] != '\0');
    return 0;
}
