#include "activation/id_pac_reader.h"

#include "base/error.h"
#include "base/hex.h"
#include "base/secret.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char byte_order_mark[] = "\xEF\xBB\xBF";
#define MARK_LEN (sizeof(byte_order_mark) - 1)

_Static_assert(ID_PAC_LINE_MAX == 1024, "a complaint says it");
_Static_assert(ID_PAC_LINES_MAX == 1000000, "and so does this one");

struct id_pac_reader {
    char line[ID_PAC_LINE_MAX]; /* as far as it has come */
    size_t len;
    uint32_t number; /* of the line that is being read, from 1 */
    uint64_t n_given;
    bool after_cr; /* an LF would still be of the present line's end */
    char fault[ID_PAC_FAULT_MAX];
};

int id_pac_reader_new(struct id_pac_reader **ret)
{
    *ret = secret_realloc(NULL, sizeof(**ret));
    if (*ret == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for reading a list");
    memset(*ret, 0, sizeof(**ret));
    (*ret)->number = 1;
    return 0;
}

void id_pac_reader_free(struct id_pac_reader *reader)
{
    secret_free(reader);
}

const char *id_pac_reader_fault(const struct id_pac_reader *reader)
{
    return reader->fault;
}

uint64_t id_pac_reader_lines(const struct id_pac_reader *reader)
{
    return reader->n_given;
}

static void trim(const char **text, size_t *len)
{
    while (*len > 0 && (**text == ' ' || **text == '\t')) {
        (*text)++;
        (*len)--;
    }
    while (*len > 0 && ((*text)[*len - 1] == ' ' || (*text)[*len - 1] == '\t'))
        (*len)--;
}

/* An identifier as people write it, or the 8 digits of a Sigfox id without its word. */
static bool parse_id(const char *text, size_t len, struct eui64 *ret)
{
    struct eui64 id = {{0}};

    if (len != (size_t)2 * SIGFOX_ID_LEN)
        return device_id_parse(text, len, ret);
    if (!hex_decode(text, len, id.bytes + sizeof(id.bytes) - SIGFOX_ID_LEN, SIGFOX_ID_LEN))
        return false;
    *ret = id;
    return true;
}

static void parse(const char *text, size_t len, struct id_pac_line *ret)
{
    const char *separator = memchr(text, ';', len);
    size_t id_len = separator != NULL ? (size_t)(separator - text) : len;
    const char *pac = text + id_len + 1, *end;
    size_t pac_len = separator != NULL ? len - id_len - 1 : 0;

    if (pac_len > 0 && (end = memchr(pac, ';', pac_len)) != NULL)
        pac_len = (size_t)(end - pac);
    trim(&text, &id_len);
    if (!parse_id(text, id_len, &ret->dev_eui)) {
        ret->dev_eui = (struct eui64){{0}};
        ret->fault = ID_PAC_BAD_ID;
        return;
    }
    if (separator != NULL)
        trim(&pac, &pac_len);
    if (pac_len == 0)
        ret->fault = ID_PAC_NO_PAC;
    else if (!device_code_parse(pac, pac_len, ret->code))
        ret->fault = ID_PAC_BAD_PAC;
}

static enum id_pac_reading break_off(struct id_pac_reader *reader, const char *why)
{
    (void)snprintf(
        reader->fault, sizeof(reader->fault), "line %" PRIu32 ": %s", reader->number, why);
    return ID_PAC_BROKEN;
}

static enum id_pac_reading end_line(struct id_pac_reader *reader, struct id_pac_chunk *chunk)
{
    const char *text = reader->line;
    size_t len = reader->len;

    if (reader->number == 1 && len >= MARK_LEN && memcmp(text, byte_order_mark, MARK_LEN) == 0) {
        text += MARK_LEN;
        len -= MARK_LEN;
    }
    trim(&text, &len);
    if (len > 0 && text[0] != '#') {
        if (reader->n_given == ID_PAC_LINES_MAX)
            return break_off(reader, "more than 1000000 devices: send the rest as another list");
        chunk->lines[chunk->n] = (struct id_pac_line){.number = reader->number};
        parse(text, len, &chunk->lines[chunk->n++]);
        reader->n_given++;
    }
    if (reader->number == UINT32_MAX)
        return break_off(reader, "more lines than there are numbers for");
    secret_wipe(reader->line, reader->len);
    reader->len = 0;
    reader->number++;
    return chunk->n == ID_PAC_CHUNK_LINES ? ID_PAC_FULL : ID_PAC_READ;
}

static enum id_pac_reading take(struct id_pac_reader *reader, char c, struct id_pac_chunk *chunk)
{
    bool second = reader->after_cr && c == '\n';

    reader->after_cr = c == '\r';
    if (second)
        return ID_PAC_READ;
    if (c == '\n' || c == '\r')
        return end_line(reader, chunk);
    if ((unsigned char)c < ' ' ? c != '\t' : c == 0x7F)
        return break_off(reader, "a NUL or control character: the list is not text");
    if (reader->len == ID_PAC_LINE_MAX)
        return break_off(reader, "longer than 1024 bytes: no line is");
    reader->line[reader->len++] = c;
    return ID_PAC_READ;
}

enum id_pac_reading id_pac_reader_feed(struct id_pac_reader *reader, const char *bytes, size_t len,
    struct id_pac_chunk *chunk, size_t *ret_consumed)
{
    enum id_pac_reading outcome = reader->fault[0] != '\0' ? ID_PAC_BROKEN : ID_PAC_READ;
    size_t at = 0;

    while (at < len && outcome == ID_PAC_READ)
        outcome = take(reader, bytes[at++], chunk);
    *ret_consumed = at;
    return outcome;
}

enum id_pac_reading id_pac_reader_end(struct id_pac_reader *reader, struct id_pac_chunk *chunk)
{
    if (reader->fault[0] != '\0')
        return ID_PAC_BROKEN;
    return reader->len > 0 ? end_line(reader, chunk) : ID_PAC_READ;
}
