#include "device/code.h"

#include "base/secret.h"
#include <assert.h>
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

bool device_code_length_is_made(unsigned length)
{
    return length == DEVICE_CODE_HEX_LEN || length == DEVICE_CODE_BASE32_LEN;
}

/* Every character by the same steps, whatever it is. */
static char hex_digit(unsigned value)
{
    return (char)('0' + (int)value + (value > 9) * ('A' - '9' - 1));
}

/* The letters behind H, K, M and T are one further each: I, L, O and U are left out. */
static char base32_digit(unsigned value)
{
    return (char)(hex_digit(value) + (value > 17) + (value > 19) + (value > 21) + (value > 26));
}

void device_code_make(const uint8_t random[static DEVICE_CODE_RANDOM_LEN], unsigned length,
    char out[static DEVICE_CODE_MADE_MAX + 1])
{
    const unsigned bits = length == DEVICE_CODE_HEX_LEN ? 4 : 5;

    assert(device_code_length_is_made(length));
    memset(out, 0, DEVICE_CODE_MADE_MAX + 1);
    for (unsigned i = 0; i < length; i++) {
        unsigned at = i * bits, pair = (unsigned)random[at / 8] << 8, value;

        if (at / 8 + 1 < DEVICE_CODE_RANDOM_LEN)
            pair |= random[at / 8 + 1];
        value = pair >> (16 - at % 8 - bits) & ((1U << bits) - 1);
        out[i] = bits == 4 ? hex_digit(value) : base32_digit(value);
    }
}

void device_code_as_made(char code[static DEVICE_CODE_MAX + 1])
{
    char is_long = (char)(strnlen(code, DEVICE_CODE_MAX) == DEVICE_CODE_BASE32_LEN);

    for (size_t i = 0; i < DEVICE_CODE_MAX; i++) {
        char c = code[i];

        code[i] = (char)(c + is_long * ((c == 'O') * ('0' - 'O') + (c == 'I') * ('1' - 'I') +
                                           (c == 'L') * ('1' - 'L')));
    }
}
