/* What a key process says of its token's keys: whatever decodes is encoded as the same bytes, and
 * two lists compare alike from either side. The first byte says where the second one begins. */
#include "hsm/key_list.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define KEY_LEN (SEALED_LABEL_MAX + 1 + KEY_LIST_KCV_LEN)
#define HEAD_LEN 8

static bool read_list(const uint8_t *data, size_t size, struct key_list *ret)
{
    uint8_t out[KEY_LIST_WIRE_MAX];
    int r = key_list_decode(data, size, ret);

    FUZZ_HOLDS(r == 0 || (r == ERROR_INPUT && error_text()[0] != '\0'));
    if (r != 0)
        return false;
    FUZZ_HOLDS(key_list_is(data, size));
    FUZZ_HOLDS(memcmp(data + 5, "\0\0\0", 3) != 0 ||
               (key_list_encode(ret, out) == size && memcmp(out, data, size) == 0));
    for (size_t i = 0; i < ret->n; i++)
        FUZZ_HOLDS(key_list_find(ret, ret->keys[i].label) == &ret->keys[i]);
    return true;
}

static void compare(const struct key_list *a, const struct key_list *b)
{
    char text[KEY_LIST_TEXT_MAX], other_text[KEY_LIST_TEXT_MAX];
    enum key_list_order order = key_list_difference(a, b, text);
    enum key_list_order other = key_list_difference(b, a, other_text);

    FUZZ_HOLDS(memchr(text, '\0', sizeof(text)) != NULL);
    FUZZ_HOLDS((text[0] == '\0') == (order == KEY_LIST_SAME || order == KEY_LIST_MORE));
    FUZZ_HOLDS((order == KEY_LIST_SAME) == (other == KEY_LIST_SAME));
    FUZZ_HOLDS((order == KEY_LIST_ANOTHER) == (other == KEY_LIST_ANOTHER));
    FUZZ_HOLDS(order != KEY_LIST_MORE || other == KEY_LIST_FEWER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct key_list first, second;
    size_t begin;

    if (size == 0)
        return 0;
    begin = 1 + HEAD_LEN + (size_t)(data[0] % KEY_LIST_MAX) * KEY_LEN;
    begin = begin < size ? begin : size;
    if (!read_list(data + 1, begin - 1, &first))
        return 0;
    compare(&first, &first);
    if (read_list(data + begin, size - begin, &second))
        compare(&first, &second);
    return 0;
}
