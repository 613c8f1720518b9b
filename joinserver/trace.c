#include "joinserver/trace.h"

#include "base/clock.h"
#include "base/hex.h"
#include <string.h>
#include <strings.h>

#define VIA_PROTOCOL "1.1 "
#define INSTANCE_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

static bool is_any(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return true;
    return false;
}

/* Lower case, as the specification wants it; and no 0x. */
static bool read_digits(const char *text, uint8_t *out, size_t len)
{
    return strspn(text, "0123456789abcdef") >= 2 * len && hex_decode(text, 2 * len, out, len);
}

bool trace_read(const char *header, struct trace *ret)
{
    struct trace trace;
    uint8_t version;
    size_t len;

    if (header == NULL || (len = strlen(header)) < TRACE_TEXT_LEN)
        return false;
    if (!read_digits(header, &version, 1) || version == 0xff || header[2] != '-' ||
        !read_digits(header + 3, trace.id, sizeof(trace.id)) || header[35] != '-' ||
        !read_digits(header + 36, trace.parent, sizeof(trace.parent)) || header[52] != '-' ||
        !read_digits(header + 53, &trace.flags, 1))
        return false;
    /* Of a later version more may follow. */
    if (len > TRACE_TEXT_LEN && (version == 0 || header[TRACE_TEXT_LEN] != '-'))
        return false;
    if (!is_any(trace.id, sizeof(trace.id)) || !is_any(trace.parent, sizeof(trace.parent)))
        return false;
    *ret = trace;
    return true;
}

void trace_begin(const char *header, struct trace *ret)
{
    struct trace trace = {0};
    struct trace theirs;
    bool good = random_bytes(trace.id, sizeof(trace.id)) == 0 &&
                random_bytes(trace.parent, sizeof(trace.parent)) == 0;

    if (good && trace_read(header, &theirs)) {
        memcpy(trace.id, theirs.id, sizeof(trace.id));
        trace.flags = theirs.flags & TRACE_SAMPLED; /* what others mean, version 00 does not say */
    }
    *ret = good ? trace : (struct trace){0};
}

bool trace_is_any(const struct trace *trace)
{
    return is_any(trace->id, sizeof(trace->id)) && is_any(trace->parent, sizeof(trace->parent));
}

const char *trace_format_id(const struct trace *trace, char out[static TRACE_ID_TEXT_LEN + 1])
{
    return hex_encode(trace->id, sizeof(trace->id), out);
}

const char *trace_format(const struct trace *trace, char out[static TRACE_TEXT_LEN + 1])
{
    memcpy(out, "00-", 3);
    (void)hex_encode(trace->id, sizeof(trace->id), out + 3);
    out[35] = '-';
    (void)hex_encode(trace->parent, sizeof(trace->parent), out + 36);
    out[52] = '-';
    (void)hex_encode(&trace->flags, 1, out + 53);
    return out;
}

bool via_is_instance(const char *text)
{
    const size_t len = strlen(text);

    /* "1.1" is in every Via. */
    return len > 0 && len <= VIA_INSTANCE_MAX && strspn(text, INSTANCE_CHARACTERS) == len &&
           strspn(text, "0123456789.") < len;
}

static bool is_word(char c)
{
    return c != '\0' && strchr(INSTANCE_CHARACTERS, c) != NULL;
}

/* As a word of its own, wherever: a comment that somebody did not end hides nothing. */
static bool has_word(const char *via, const char *word)
{
    const size_t word_len = strlen(word);

    while (*via != '\0') {
        const size_t len = strspn(via, INSTANCE_CHARACTERS);

        if (len == word_len && strncasecmp(via, word, len) == 0)
            return true;
        via += len > 0 ? len : 1;
    }
    return false;
}

/* Elements with something in them (RFC 9110 5.6.1). */
unsigned via_hops(const char *via)
{
    unsigned n = 0;
    bool begun = false;

    for (; *via != '\0'; via++) {
        if (*via == ',')
            begun = false;
        if (is_word(*via) && !begun) {
            begun = true;
            n++;
        }
    }
    return n;
}

enum via_judgement via_judge(const char *via, const char *instance, unsigned max_hops)
{
    if (strlen(via) > VIA_MAX)
        return VIA_TOO_LONG;
    if (has_word(via, instance))
        return VIA_LOOP;
    return via_hops(via) >= max_hops ? VIA_TOO_LONG : VIA_GOOD;
}

void via_write(struct text *out, const char *via, const char *instance)
{
    text_add(out, via);
    text_add(out, via[0] != '\0' ? ", " VIA_PROTOCOL : VIA_PROTOCOL);
    text_add(out, instance);
}
