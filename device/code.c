#include "device/code.h"

#include "base/hex.h"
#include "base/secret.h"
#include <string.h>

/* What a character of each kind is worth at most, in hundredths of a bit: log2 of 10, 16 and 36. */
static const struct {
    const char *alphabet; /* NULL: whatever a code may have */
    unsigned bits_x100;
} kinds[] = {
    {"0123456789", 332},
    {"0123456789ABCDEF", 400},
    {NULL, 516},
};

bool device_code_parse(const char *text, size_t len, char out[static DEVICE_CODE_MAX + 1])
{
    size_t n = 0;

    memset(out, 0, DEVICE_CODE_MAX + 1);
    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (c == ' ' || c == '-' || c == '\t')
            continue;
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        if (n == DEVICE_CODE_MAX || !((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))) {
            secret_wipe(out, DEVICE_CODE_MAX + 1);
            return false;
        }
        out[n++] = c;
    }
    return n > 0;
}

unsigned device_code_bits(const char *code)
{
    size_t len = strlen(code), kind = 0;

    while (kinds[kind].alphabet != NULL && strspn(code, kinds[kind].alphabet) != len)
        kind++;
    return (unsigned)(len * kinds[kind].bits_x100 / 100);
}

bool device_code_is_weak(const char *code)
{
    return device_code_bits(code) < DEVICE_CODE_BITS_MIN;
}

/* Every digit by the same steps, whatever it is. */
void device_code_make(
    const uint8_t random[static DEVICE_CODE_RANDOM_LEN], char out[static DEVICE_CODE_MADE_LEN + 1])
{
    (void)hex_encode(random, DEVICE_CODE_RANDOM_LEN, out);
    for (size_t i = 0; i < DEVICE_CODE_MADE_LEN; i++)
        out[i] = (char)(out[i] - (out[i] > '9') * ('a' - 'A'));
}
