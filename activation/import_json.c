#include "activation/import_parse.h"

#include "base/error.h"
#include <stdio.h>
#include <string.h>

/* One line at a time, and of it one member at a time, in a buffer that is wiped: a JSON library
 * would leave copies of the keys in freed memory, and builds a tree of whatever comes. What is
 * taken is JSON (RFC 8259) without objects in objects and with lists of whole numbers only. */

#define NAME_MAX_LEN 32

enum state {
    STATE_LINE,       /* nothing yet */
    STATE_FIRST_NAME, /* after '{': a name, or '}' */
    STATE_NAME,       /* after ',': a name */
    STATE_COLON,
    STATE_VALUE,
    STATE_WORD,       /* in a number, true, false or null */
    STATE_FIRST_ITEM, /* after '[': a number, or ']' */
    STATE_ITEM,       /* after ',' in a list: a number */
    STATE_IN_ITEM,
    STATE_AFTER_ITEM,
    STATE_AFTER_VALUE,
    STATE_STRING,
    STATE_ESCAPE,
    STATE_UNICODE,
    STATE_OBJECT_ENDED,
    STATE_BROKEN, /* until the line ends */
};

struct import_json {
    struct import_reading *reading;
    enum state state;
    bool in_name; /* the string is a name */
    char name[NAME_MAX_LEN + 1];
    size_t name_len; /* NAME_MAX_LEN + 1: longer */
    uint32_t seen;   /* 1 << enum import_column */
    struct secret_buffer value;
    unsigned n_digits; /* of \uXXXX */
    uint32_t unicode;
    uint32_t surrogate; /* the first of a pair, 0 for none */
};

_Static_assert(N_IMPORT_COLUMNS <= 32, "import_json.seen has a bit each");

int import_json_new(struct import_reading *reading, struct import_json **ret)
{
    struct import_json *json = secret_realloc(NULL, sizeof(*json));

    if (json == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for reading a file");
    *json = (struct import_json){.reading = reading};
    *ret = json;
    return 0;
}

void import_json_free(struct import_json *json)
{
    if (json == NULL)
        return;
    secret_buffer_done(&json->value);
    secret_free(json);
}

static void add(struct import_json *json, const void *bytes, size_t len)
{
    int r;

    if (!json->in_name) {
        if ((r = secret_buffer_append(&json->value, bytes, len)) < 0)
            json->reading->result = r;
    } else if (len > NAME_MAX_LEN - json->name_len || json->name_len > NAME_MAX_LEN) {
        json->name_len = NAME_MAX_LEN + 1;
    } else {
        memcpy(json->name + json->name_len, bytes, len);
        json->name_len += len;
    }
}

static void give_member(struct import_json *json, enum import_kind kind)
{
    struct import_draft *draft = &json->reading->draft;
    size_t name_len = json->name_len <= NAME_MAX_LEN ? json->name_len : 0;
    enum import_column column = import_rules_find(json->reading->rules, json->name, name_len);

    if (column == IMPORT_COLUMN_IGNORED)
        import_row_add_lint(&draft->row, IMPORT_LINT_UNKNOWN_MEMBER);
    else if ((json->seen >> column & 1) != 0)
        import_row_add_lint(&draft->row, IMPORT_LINT_REPEATED_MEMBER);
    else
        import_draft_field(draft, column, kind, (const char *)json->value.data, json->value.len);
    json->seen |= UINT32_C(1) << column;
    json->value.len = 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t skip_digits(const char *text, size_t at, size_t len)
{
    while (at < len && is_digit(text[at]))
        at++;
    return at;
}

/* RFC 8259 6. */
static bool is_number(const char *text, size_t len)
{
    size_t at = len > 0 && text[0] == '-' ? 1 : 0;
    size_t begin = at;

    at = skip_digits(text, at, len);
    if (at == begin || (text[begin] == '0' && at > begin + 1))
        return false;
    if (at < len && text[at] == '.') {
        begin = ++at;
        if ((at = skip_digits(text, at, len)) == begin)
            return false;
    }
    if (at < len && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < len && (text[at] == '+' || text[at] == '-'))
            at++;
        begin = at;
        if ((at = skip_digits(text, at, len)) == begin)
            return false;
    }
    return at == len;
}

static bool is_word(const struct import_json *json, const char *word)
{
    return json->value.len == strlen(word) && memcmp(json->value.data, word, json->value.len) == 0;
}

/* null is an absent member. true and false are numbers that no column takes. */
static bool end_word(struct import_json *json)
{
    if (is_word(json, "null"))
        json->value.len = 0;
    else if (!is_word(json, "true") && !is_word(json, "false") &&
             !is_number((const char *)json->value.data, json->value.len))
        return false;
    give_member(json, IMPORT_NUMBER);
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_word_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' || c == 'E';
}

static enum state begin_value(struct import_json *json, char c)
{
    json->in_name = false;
    if (c == '"')
        return STATE_STRING;
    if (c == '[')
        return STATE_FIRST_ITEM;
    if (!is_word_char(c))
        return STATE_BROKEN;
    add(json, &c, 1);
    return STATE_WORD;
}

static enum state after_value(char c)
{
    if (c == ',')
        return STATE_NAME;
    return c == '}' ? STATE_OBJECT_ENDED : STATE_BROKEN;
}

static enum state begin_item(struct import_json *json, char c)
{
    if (c == ']' && json->state == STATE_FIRST_ITEM) {
        give_member(json, IMPORT_LIST);
        return STATE_AFTER_VALUE;
    }
    if (!is_digit(c))
        return STATE_BROKEN;
    add(json, &c, 1);
    return STATE_IN_ITEM;
}

static enum state after_item(struct import_json *json, char c)
{
    if (c == ',') {
        add(json, &c, 1);
        return STATE_ITEM;
    }
    if (c != ']')
        return STATE_BROKEN;
    give_member(json, IMPORT_LIST);
    return STATE_AFTER_VALUE;
}

/* No number begins with a zero but zero itself: the one before this digit would be such. */
static bool is_zero_item(const struct import_json *json)
{
    size_t len = json->value.len;

    return json->value.data[len - 1] == '0' && (len == 1 || json->value.data[len - 2] == ',');
}

static void add_unicode(struct import_json *json, uint32_t point)
{
    char bytes[4];
    size_t n = 0;

    if (point < 0x80) {
        bytes[n++] = (char)point;
    } else if (point < 0x800) {
        bytes[n++] = (char)(0xC0 | point >> 6);
    } else if (point < 0x10000) {
        bytes[n++] = (char)(0xE0 | point >> 12);
        bytes[n++] = (char)(0x80 | (point >> 6 & 0x3F));
    } else {
        bytes[n++] = (char)(0xF0 | point >> 18);
        bytes[n++] = (char)(0x80 | (point >> 12 & 0x3F));
        bytes[n++] = (char)(0x80 | (point >> 6 & 0x3F));
    }
    if (point >= 0x80)
        bytes[n++] = (char)(0x80 | (point & 0x3F));
    add(json, bytes, n);
}

static enum state end_unicode(struct import_json *json)
{
    uint32_t point = json->unicode;

    if (json->surrogate != 0) {
        if (point < 0xDC00 || point > 0xDFFF)
            return STATE_BROKEN;
        point = 0x10000 + ((json->surrogate - 0xD800) << 10) + (point - 0xDC00);
        json->surrogate = 0;
    } else if (point >= 0xD800 && point <= 0xDBFF) {
        json->surrogate = point;
        return STATE_STRING;
    } else if (point == 0 || (point >= 0xDC00 && point <= 0xDFFF)) {
        return STATE_BROKEN;
    }
    add_unicode(json, point);
    return STATE_STRING;
}

static enum state in_unicode(struct import_json *json, char c)
{
    char lower = (char)(c | 0x20);

    if (is_digit(c))
        json->unicode = json->unicode << 4 | (uint32_t)(c - '0');
    else if (lower >= 'a' && lower <= 'f')
        json->unicode = json->unicode << 4 | (uint32_t)(lower - 'a' + 10);
    else
        return STATE_BROKEN;
    return ++json->n_digits < 4 ? STATE_UNICODE : end_unicode(json);
}

static enum state in_escape(struct import_json *json, char c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found = c != '\0' ? strchr(from, c) : NULL;

    if (c == 'u') {
        json->n_digits = 0;
        json->unicode = 0;
        return STATE_UNICODE;
    }
    if (found == NULL || json->surrogate != 0)
        return STATE_BROKEN;
    add(json, &to[found - from], 1);
    return STATE_STRING;
}

static enum state in_string(struct import_json *json, char c)
{
    if (c == '\\')
        return STATE_ESCAPE;
    if (json->surrogate != 0 || (unsigned char)c < ' ')
        return STATE_BROKEN;
    if (c != '"') {
        add(json, &c, 1);
        return STATE_STRING;
    }
    if (json->in_name)
        return STATE_COLON;
    give_member(json, IMPORT_TEXT);
    return STATE_AFTER_VALUE;
}

static enum state begin_name(struct import_json *json, char c)
{
    if (c == '}' && json->state == STATE_FIRST_NAME)
        return STATE_OBJECT_ENDED;
    if (c != '"')
        return STATE_BROKEN;
    json->in_name = true;
    json->name_len = 0;
    return STATE_STRING;
}

static enum state step(struct import_json *json, char c)
{
    switch (json->state) {
    case STATE_LINE:
        return c == '{' ? STATE_FIRST_NAME : STATE_BROKEN;
    case STATE_FIRST_NAME:
    case STATE_NAME:
        return begin_name(json, c);
    case STATE_COLON:
        return c == ':' ? STATE_VALUE : STATE_BROKEN;
    case STATE_VALUE:
        return begin_value(json, c);
    case STATE_WORD:
        if (is_word_char(c)) {
            add(json, &c, 1);
            return STATE_WORD;
        }
        return !end_word(json) ? STATE_BROKEN : is_space(c) ? STATE_AFTER_VALUE : after_value(c);
    case STATE_FIRST_ITEM:
    case STATE_ITEM:
        return begin_item(json, c);
    case STATE_IN_ITEM:
        if (is_digit(c)) {
            if (is_zero_item(json))
                return STATE_BROKEN;
            add(json, &c, 1);
            return STATE_IN_ITEM;
        }
        return is_space(c) ? STATE_AFTER_ITEM : after_item(json, c);
    case STATE_AFTER_ITEM:
        return after_item(json, c);
    case STATE_AFTER_VALUE:
        return after_value(c);
    case STATE_STRING:
        return in_string(json, c);
    case STATE_ESCAPE:
        return in_escape(json, c);
    case STATE_UNICODE:
        return in_unicode(json, c);
    case STATE_OBJECT_ENDED:
    case STATE_BROKEN:
        break;
    }
    return STATE_BROKEN;
}

/* Where blanks mean something. */
static bool keeps_spaces(enum state state)
{
    return state == STATE_STRING || state == STATE_ESCAPE || state == STATE_UNICODE ||
           state == STATE_WORD || state == STATE_IN_ITEM;
}

/* The plain characters of a string, at once. */
static size_t string_run(const struct import_json *json, const char *bytes, size_t len)
{
    size_t n = 0;

    if (json->state != STATE_STRING || json->surrogate != 0)
        return 0;
    while (n < len && bytes[n] != '"' && bytes[n] != '\\' && (unsigned char)bytes[n] >= ' ')
        n++;
    return n;
}

void import_json_feed(struct import_json *json, const char *bytes, size_t len)
{
    struct import_reading *reading = json->reading;

    for (size_t i = 0; i < len && reading->result == IMPORT_OK;) {
        size_t run = string_run(json, bytes + i, len - i);

        if (run > 0) {
            add(json, bytes + i, run);
            i += run;
        } else if (!keeps_spaces(json->state) && is_space(bytes[i])) {
            i++;
        } else {
            if (json->state == STATE_LINE)
                import_draft_begin(&reading->draft, reading->row_line);
            json->state = step(json, bytes[i++]);
        }
    }
}

void import_json_end_line(struct import_json *json)
{
    struct import_reading *reading = json->reading;
    enum state state = json->state;

    json->state = STATE_LINE;
    json->seen = 0;
    json->surrogate = 0;
    json->value.len = 0;
    if (reading->result != IMPORT_OK || state == STATE_LINE)
        return;
    if (state != STATE_OBJECT_ENDED)
        import_row_add_lint(&reading->draft.row, IMPORT_LINT_NOT_JSON);
    import_reading_give(reading);
}
