/* Any text as that of an onboarding QR code: what is read has its form, is written and read back as
 * the same, and is the same in small letters. The other way round, whatever fills the struct is
 * refused or written, and then read back as the same. So with the text of a Sigfox device, which is
 * never one of TR005 too. */
#include "device/sigfox_tag.h"
#include "device/tr005.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static bool is_same(const struct tr005 *a, const struct tr005 *b)
{
    return memcmp(&a->join_eui, &b->join_eui, sizeof(a->join_eui)) == 0 &&
           memcmp(&a->dev_eui, &b->dev_eui, sizeof(a->dev_eui)) == 0 &&
           memcmp(a->profile_id, b->profile_id, sizeof(a->profile_id)) == 0 &&
           strcmp(a->token, b->token) == 0 && strcmp(a->serial, b->serial) == 0;
}

static void check_form(const struct tr005 *tag)
{
    char normal[DEVICE_CODE_MAX + 1];

    FUZZ_HOLDS(memchr(tag->token, '\0', sizeof(tag->token)) != NULL);
    FUZZ_HOLDS(memchr(tag->serial, '\0', sizeof(tag->serial)) != NULL);
    if (tag->token[0] == '\0')
        return;
    FUZZ_HOLDS(device_code_parse(tag->token, strlen(tag->token), normal));
    FUZZ_HOLDS(strcmp(normal, tag->token) == 0);
}

/* True: it was written. */
static bool try_write(const struct tr005 *tag)
{
    char text[TR005_WRITTEN_MAX + 1];
    struct tr005 again;
    enum tr005_outcome outcome = tr005_write(tag, text);

    FUZZ_HOLDS(outcome == TR005_OK || outcome == TR005_TOKEN || outcome == TR005_SERIAL);
    FUZZ_HOLDS((text[0] == '\0') == (outcome != TR005_OK));
    if (outcome != TR005_OK)
        return false;
    FUZZ_HOLDS(tr005_parse(text, strlen(text), &again) == TR005_OK);
    FUZZ_HOLDS(is_same(tag, &again));
    return true;
}

/* All letters of one case: capitals for `from` 'a', small ones for 'A'. */
static char *turned(const uint8_t *data, size_t size, char from)
{
    char *text = malloc(size + 1);

    FUZZ_HOLDS(text != NULL);
    for (size_t i = 0; i < size; i++) {
        char c = (char)data[i];

        text[i] = c >= from && c <= from + ('z' - 'a') ? (char)(c ^ ('a' - 'A')) : c;
    }
    return text;
}

/* What is good in capitals is good in small letters, and says the same but for the serial. */
static void try_cases(const uint8_t *data, size_t size)
{
    char *capitals = turned(data, size, 'a'), *small = turned(data, size, 'A');
    struct tr005 tag, again;

    if (tr005_parse(capitals, size, &tag) == TR005_OK) {
        FUZZ_HOLDS(tr005_parse(small, size, &again) == TR005_OK);
        FUZZ_HOLDS(strlen(again.serial) == strlen(tag.serial));
        memcpy(again.serial, tag.serial, sizeof(tag.serial));
        FUZZ_HOLDS(is_same(&tag, &again));
    }
    free(capitals);
    free(small);
}

static void try_parse(const uint8_t *data, size_t size)
{
    static const struct tr005 none;
    struct tr005 tag, claim;
    enum tr005_outcome outcome = tr005_parse((const char *)data, size, &tag);
    enum tr005_outcome of_claim = tr005_parse_claim((const char *)data, size, &claim);

    FUZZ_HOLDS((unsigned)outcome < TR005_NO_TOKEN);
    FUZZ_HOLDS(tr005_outcome_text(outcome)[0] != '\0');
    FUZZ_HOLDS(
        of_claim == (outcome == TR005_OK && tag.token[0] == '\0' ? TR005_NO_TOKEN : outcome));
    FUZZ_HOLDS(is_same(&tag, &claim));
    check_form(&tag);
    if (outcome == TR005_NO_TAG || outcome == TR005_TOO_LONG)
        FUZZ_HOLDS(is_same(&tag, &none));
    if (outcome == TR005_OK && !try_write(&tag)) {
        memset(tag.serial, 0, sizeof(tag.serial)); /* of characters that labels do not have */
        FUZZ_HOLDS(try_write(&tag));
    }
}

static void try_write_sigfox(const struct sigfox_tag *tag)
{
    char text[SIGFOX_TAG_MAX + 1], normal[DEVICE_CODE_MAX + 1];
    struct sigfox_tag again;
    bool written = sigfox_tag_write(tag, text);

    FUZZ_HOLDS((text[0] != '\0') == written);
    if (!written)
        return;
    FUZZ_HOLDS(device_code_parse(tag->pac, strlen(tag->pac), normal));
    FUZZ_HOLDS(sigfox_tag_parse(text, strlen(text), &again));
    FUZZ_HOLDS(memcmp(again.id, tag->id, sizeof(tag->id)) == 0);
    FUZZ_HOLDS(strcmp(again.pac, tag->pac) == 0);
}

static void try_sigfox(const uint8_t *data, size_t size)
{
    struct sigfox_tag tag;
    struct tr005 other;

    if (sigfox_tag_parse((const char *)data, size, &tag)) {
        FUZZ_HOLDS(tr005_parse((const char *)data, size, &other) == TR005_NO_TAG);
        FUZZ_HOLDS(tag.pac[0] != '\0');
        try_write_sigfox(&tag);
    }
    memset(&tag, 0, sizeof(tag));
    memcpy(&tag, data, size < sizeof(tag) ? size : sizeof(tag));
    try_write_sigfox(&tag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tr005 tag = {.token = ""};

    try_parse(data, size);
    try_cases(data, size);
    try_sigfox(data, size);
    memcpy(&tag, data, size < sizeof(tag) ? size : sizeof(tag));
    (void)try_write(&tag);
    tag.token[0] = '\0';
    (void)try_write(&tag);
    return 0;
}
