/* A signed statement from anybody. What is read is what would be written, to the byte, and of one
 * type alone. */
#include "base/custody_form.h"
#include "base/error.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* Nobody here can sign for it, so nothing is opened by it. */
static const struct audit_key *some_key(void)
{
    static const char point[] = "\x04"
                                "\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2"
                                "\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96"
                                "\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16"
                                "\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";
    static struct audit_key *key;

    if (key == NULL) {
        CLEANUP(text_done) struct text pem = {0};

        audit_key_write((const uint8_t *)point, &pem);
        FUZZ_HOLDS(audit_key_read(pem.data, pem.len, &key) == 0);
    }
    return key;
}

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
    text_done(&document);
    FUZZ_HOLDS(
        custody_open(type, (const char *)data, size, some_key(), &time, &document) == ERROR_INPUT &&
        document.len == 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const bool of_device = try_type(CUSTODY_OF_DEVICE, data, size);
    const bool of_delivery = try_type(CUSTODY_OF_DELIVERY, data, size);

    FUZZ_HOLDS(!of_device || !of_delivery);
    return 0;
}
