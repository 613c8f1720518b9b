#include "activation/import_reader.h"

#include "activation/import_parse.h"
#include "base/error.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char byte_order_mark[] = "\xEF\xBB\xBF";
#define MARK_LEN (sizeof(byte_order_mark) - 1)

_Static_assert(IMPORT_LINE_MAX == (size_t)512 * 1024, "a complaint says it");

static const struct import_rules *const formats[N_IMPORT_FORMATS] = {
    [IMPORT_THINGPARK_CSV] = &import_thingpark,
    [IMPORT_TTS_CSV] = &import_tts,
    [IMPORT_CSV] = &import_plain,
    [IMPORT_JSONL] = &import_jsonl,
    [IMPORT_SIGFOX_CSV] = &import_sigfox,
};

/* Where a character of several bytes stands (RFC 3629): how many are still to come, and between
 * which bounds the next one must be. */
struct utf8 {
    unsigned char n_left, low, high;
};

struct import_reader {
    struct import_reading reading;
    struct import_table *table; /* one of the two */
    struct import_json *json;
    size_t mark_len; /* bytes of the byte order mark seen at the beginning; MARK_LEN + 1: over */
    bool line_begun; /* the present line has a byte */
    bool after_cr;   /* an LF would still be of the present line's end */
    bool in_comment;
    size_t row_len; /* bytes since the present row began */
    struct utf8 utf8;
};

bool import_reader_format_parse(const char *text, enum import_format *ret)
{
    for (unsigned i = 0; i < N_IMPORT_FORMATS; i++)
        if (strcmp(formats[i]->name, text) == 0) {
            *ret = (enum import_format)i;
            return true;
        }
    return false;
}

const char *import_reader_format_text(enum import_format format)
{
    return formats[format]->name;
}

enum import_column import_rules_find(const struct import_rules *rules, const char *name, size_t len)
{
    for (size_t i = 0; i < rules->n_columns; i++)
        if (strlen(rules->names[i].text) == len &&
            strncasecmp(rules->names[i].text, name, len) == 0)
            return rules->names[i].column;
    return IMPORT_COLUMN_IGNORED;
}

int import_chunk_init(struct import_chunk *chunk, size_t capacity)
{
    *chunk = (struct import_chunk){.n_full = capacity};
    chunk->rows = secret_realloc(NULL, capacity * sizeof(*chunk->rows));
    chunk->nonces = secret_realloc(NULL, IMPORT_CHUNK_NONCES * sizeof(*chunk->nonces));
    if (chunk->rows != NULL && chunk->nonces != NULL)
        return 0;
    import_chunk_done(chunk);
    return error_set(ERROR_SYSTEM, "out of memory for %zu rows of a file", capacity);
}

void import_chunk_clear(struct import_chunk *chunk)
{
    secret_wipe(chunk->rows, chunk->n_rows * sizeof(*chunk->rows));
    chunk->n_rows = 0;
    chunk->n_nonces = 0;
}

void import_chunk_done(struct import_chunk *chunk)
{
    secret_free(chunk->rows);
    secret_free(chunk->nonces);
    *chunk = (struct import_chunk){0};
}

static bool is_full(const struct import_chunk *chunk)
{
    return chunk->n_rows >= chunk->n_full ||
           chunk->n_nonces > IMPORT_CHUNK_NONCES - IMPORT_DEV_NONCES;
}

int import_reader_new(
    enum import_format format, const struct import_defaults *defaults, struct import_reader **ret)
{
    struct import_reader *reader = secret_realloc(NULL, sizeof(*reader));
    int r;

    if (reader == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for reading a file");
    memset(reader, 0, sizeof(*reader));
    reader->reading.rules = formats[format];
    reader->reading.defaults = *defaults;
    if (formats[format]->is_json)
        r = import_json_new(&reader->reading, &reader->json);
    else
        r = import_table_new(&reader->reading, &reader->table);
    if (r == 0)
        r = digest_new(&reader->reading.digest);
    if (r < 0) {
        import_reader_free(reader);
        return r;
    }
    *ret = reader;
    return 0;
}

void import_reader_free(struct import_reader *reader)
{
    if (reader == NULL)
        return;
    import_table_free(reader->table);
    import_json_free(reader->json);
    digest_free(reader->reading.digest);
    secret_free(reader);
}

void import_reader_resume_after(
    struct import_reader *reader, uint64_t line, const uint8_t digest[static DIGEST_LEN])
{
    reader->reading.resume_after = line;
    memcpy(reader->reading.resume_digest, digest, DIGEST_LEN);
}

int import_reader_digest(struct import_reader *reader, uint8_t ret[static DIGEST_LEN])
{
    return digest_so_far(reader->reading.digest, ret);
}

const char *import_reader_fault(const struct import_reader *reader)
{
    return reader->reading.fault;
}

uint64_t import_reader_line(const struct import_reader *reader)
{
    return reader->reading.line;
}

uint64_t import_reader_rows(const struct import_reader *reader)
{
    return reader->reading.n_rows;
}

/* Whether what was done of the file has not come again yet. */
static bool awaits_row(const struct import_reading *reading)
{
    return reading->resume_after > 0 && !reading->resumed;
}

void import_reading_break(struct import_reading *reading, const char *fmt, ...)
{
    va_list args;

    if (reading->result != IMPORT_OK)
        return;
    /* What was done of the file had no fault. */
    if (awaits_row(reading)) {
        reading->result = IMPORT_DIFFERS;
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf(reading->fault, sizeof(reading->fault), fmt, args);
    va_end(args);
    reading->result = IMPORT_BROKEN;
}

/* A row of a file that is sent again: the last one that was done must be there, and all before it
 * as it was. */
static void find_row(struct import_reading *reading)
{
    uint8_t digest[DIGEST_LEN];
    int r;

    if (reading->row_line < reading->resume_after)
        return;
    if ((r = digest_so_far(reading->digest, digest)) < 0)
        reading->result = r;
    else if (reading->row_line == reading->resume_after &&
             memcmp(digest, reading->resume_digest, DIGEST_LEN) == 0)
        reading->resumed = true;
    else
        reading->result = IMPORT_DIFFERS;
}

void import_reading_give(struct import_reading *reading)
{
    int r;

    reading->n_rows++;
    if (reading->has_mark)
        import_row_add_lint(&reading->draft.row, IMPORT_LINT_BYTE_ORDER_MARK);
    reading->has_mark = false;
    if (awaits_row(reading)) {
        find_row(reading);
        return;
    }
    if ((r = digest_so_far(reading->digest, reading->chunk->digest)) < 0) {
        reading->result = r;
        return;
    }
    import_draft_settle(&reading->draft, &reading->defaults, reading->rules->app_key_wins);
    import_draft_give(&reading->draft, reading->chunk);
}

static bool utf8_take(struct utf8 *utf8, unsigned char c)
{
    if (utf8->n_left > 0) {
        bool good = c >= utf8->low && c <= utf8->high;

        *utf8 = (struct utf8){(unsigned char)(utf8->n_left - 1), 0x80, 0xBF};
        return good;
    }
    if (c < 0x80)
        return true;
    if (c < 0xC2 || c > 0xF4)
        return false;
    utf8->low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    utf8->high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    utf8->n_left = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    return true;
}

static bool is_text(unsigned char c)
{
    return (c >= ' ' && c != 0x7F) || c == '\t' || c == '\n' || c == '\r';
}

static const char not_utf8[] = "not UTF-8; save the file in this character set";

/* How many of the bytes are of this line and sound; a complaint says what stops there, unless
 * it is the line's end. */
static size_t sound_len(struct import_reader *reader, const char *bytes, size_t len,
    const char **ret_complaint, bool *ret_ends)
{
    size_t room = IMPORT_LINE_MAX - reader->row_len;

    *ret_complaint = NULL;
    *ret_ends = false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];

        if (!is_text(c))
            *ret_complaint = "a NUL or control character: the file is not text";
        else if ((c >= 0x80 || reader->utf8.n_left > 0) && !utf8_take(&reader->utf8, c))
            *ret_complaint = not_utf8;
        else if (i == room)
            *ret_complaint = "longer than 512 KiB: no row is";
        if (*ret_complaint != NULL)
            return i;
        if (c == '\n' || c == '\r') {
            *ret_ends = true;
            return i + 1;
        }
    }
    return len;
}

static bool in_row(const struct import_reader *reader)
{
    return reader->table != NULL && import_table_in_row(reader->table);
}

static void begin_line(struct import_reader *reader, char first)
{
    struct import_reading *reading = &reader->reading;

    reading->line++;
    reader->line_begun = true;
    if (in_row(reader))
        return;
    reading->row_line = reading->line;
    reader->row_len = 0;
    reader->in_comment = reading->rules->has_comments && first == '#';
}

static void parse(struct import_reader *reader, const char *bytes, size_t len, bool ends_line)
{
    if (reader->in_comment)
        return;
    if (reader->table != NULL) {
        import_table_feed(reader->table, bytes, len, ends_line);
        return;
    }
    import_json_feed(reader->json, bytes, ends_line ? len - 1 : len);
    if (ends_line)
        import_json_end_line(reader->json);
}

/* Reads bytes of one line. Returns how many. */
static size_t read_piece(struct import_reader *reader, const char *bytes, size_t len)
{
    struct import_reading *reading = &reader->reading;
    const char *complaint;
    bool ends_line;
    size_t n, text_len;

    if (reader->after_cr) {
        reader->after_cr = false;
        /* Within quotes it is a part of the field. */
        if (*bytes == '\n') {
            digest_add(reading->digest, bytes, 1);
            if (in_row(reader))
                import_table_feed(reader->table, bytes, 1, true);
            return 1;
        }
    }
    if (!reader->line_begun)
        begin_line(reader, *bytes);
    n = sound_len(reader, bytes, len, &complaint, &ends_line);
    /* A row is given by what ends its line, and is the same row at the end of a file without. */
    text_len = ends_line ? n - 1 : n;
    digest_add(reading->digest, bytes, text_len);
    parse(reader, bytes, n, ends_line);
    digest_add(reading->digest, bytes + text_len, n - text_len);
    reader->row_len += n;
    if (complaint != NULL)
        import_reading_break(reading, "line %" PRIu64 ": %s", reading->line, complaint);
    if (ends_line) {
        reader->line_begun = false;
        reader->after_cr = bytes[n - 1] == '\r';
    }
    return n;
}

static size_t read_mark(struct import_reader *reader, const char *bytes, size_t len)
{
    size_t at = 0;

    while (
        at < len && reader->mark_len < MARK_LEN && bytes[at] == byte_order_mark[reader->mark_len]) {
        at++;
        reader->mark_len++;
    }
    if (at == len && reader->mark_len < MARK_LEN)
        return at;
    if (reader->mark_len == MARK_LEN) {
        digest_add(reader->reading.digest, byte_order_mark, MARK_LEN);
        reader->reading.has_mark = true;
    } else if (reader->mark_len > 0) {
        (void)read_piece(reader, byte_order_mark, reader->mark_len);
    }
    reader->mark_len = MARK_LEN + 1;
    return at;
}

int import_reader_feed(struct import_reader *reader, const void *bytes, size_t len,
    struct import_chunk *chunk, size_t *ret_consumed)
{
    struct import_reading *reading = &reader->reading;
    const char *text = bytes;
    size_t at = 0;

    reading->chunk = chunk;
    if (reader->mark_len <= MARK_LEN)
        at = read_mark(reader, text, len);
    while (at < len && reading->result == IMPORT_OK && !is_full(chunk))
        at += read_piece(reader, text + at, len - at);
    *ret_consumed = at;
    if (reading->result != IMPORT_OK)
        return reading->result;
    return is_full(chunk) ? IMPORT_FULL : IMPORT_OK;
}

int import_reader_end(struct import_reader *reader, struct import_chunk *chunk)
{
    struct import_reading *reading = &reader->reading;

    reading->chunk = chunk;
    if (reading->result != IMPORT_OK)
        return reading->result;
    if (is_full(chunk))
        return IMPORT_FULL;
    if (reader->mark_len > 0 && reader->mark_len < MARK_LEN)
        (void)read_piece(reader, byte_order_mark, reader->mark_len);
    reader->mark_len = MARK_LEN + 1;
    if (reader->utf8.n_left > 0)
        import_reading_break(reading, "line %" PRIu64 ": %s", reading->line, not_utf8);
    if (reader->json != NULL)
        import_json_end_line(reader->json);
    else
        import_table_end(reader->table);
    if (reading->result == IMPORT_OK && awaits_row(reading))
        reading->result = IMPORT_DIFFERS;
    if (reading->result == IMPORT_OK && reading->n_rows == 0)
        return IMPORT_EMPTY;
    return reading->result;
}
