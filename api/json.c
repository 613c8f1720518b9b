/* jansson has a JSON_OBJECT of its own, and public headers here show nothing of it: inside this
 * file its constant has another name, and its json_is_object() must not be used. */
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY JANSSON_ARRAY
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY

#include "api/json.h"
#include "api/json_plain.h"
#include "base/eui.h"
#include "base/hex.h"
#include "base/secret.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PATH_MAX_LEN 96      /* "Outer.Inner" in a fault */
#define NAME_SHOWN_MAX 60    /* bytes of a name that is not known */
#define PLAIN_FIELDS_MAX 64  /* of a table that plain bodies are read by */
#define PLAIN_UNKNOWN_MAX 16 /* members of a plain body that no field names */

/* Of what is plain there is no tree: its members go from the body into the target. The tree of
 * anything else is jansson's: it leaves copies of the members in freed memory, unless
 * json_wipe_memory was called. So no message with a key in clear is read here (TS002 requests carry
 * none), and claim codes only by a program that did. */

static const char byte_order_mark[] = "\xef\xbb\xbf";

struct reading {
    unsigned char *target;
    char *fault;
    bool faulty;
    bool only_known;
};

/* The library's allocator takes no context. */
static _Thread_local bool ran_out;

static void *wiped_malloc(size_t len)
{
    void *p = secret_realloc(NULL, len);

    ran_out |= p == NULL;
    return p;
}

bool json_memory_ran_out(void)
{
    return ran_out;
}

void json_memory_watch(void)
{
    ran_out = false;
}

void json_wipe_memory(void)
{
    json_set_alloc_funcs(wiped_malloc, secret_free);
}

static void report(struct reading *reading, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void report(struct reading *reading, const char *fmt, ...)
{
    va_list args;

    if (reading->faulty)
        return;
    reading->faulty = true;
    va_start(args, fmt);
    (void)vsnprintf(reading->fault, JSON_FAULT_MAX, fmt, args);
    va_end(args);
}

static void set_present(struct reading *reading, const struct json_field *field, bool present)
{
    if (field->present_offset != JSON_NO_PRESENT)
        memcpy(reading->target + field->present_offset, &present, sizeof(present));
}

static struct json_scalar scalar_of(const json_t *value)
{
    if (json_is_string(value))
        return (struct json_scalar){.kind = SCALAR_TEXT,
            .text = json_string_value(value),
            .len = json_string_length(value)};
    if (json_is_integer(value))
        return (struct json_scalar){.kind = SCALAR_INTEGER, .number = json_integer_value(value)};
    if (json_is_boolean(value))
        return (struct json_scalar){.kind = SCALAR_BOOL, .number = json_is_true(value)};
    return (struct json_scalar){.kind = json_is_null(value) ? SCALAR_NULL : SCALAR_NONE};
}

static bool read_text(
    struct reading *reading, const struct json_field *field, const struct json_scalar *value)
{
    char *out = (char *)reading->target + field->offset;

    if (value->kind != SCALAR_TEXT || value->len >= field->size)
        return false;
    memcpy(out, value->text, value->len);
    out[value->len] = '\0';
    return true;
}

static bool read_hex(
    struct reading *reading, const struct json_field *field, const struct json_scalar *value)
{
    return value->kind == SCALAR_TEXT &&
           hex_decode(value->text, value->len, reading->target + field->offset, field->size);
}

static bool read_element(const struct json_field *field, const json_t *element, unsigned char *ret)
{
    const char *text = json_string_value(element);
    size_t len = json_string_length(element);
    struct eui64 id;

    if (!json_is_string(element))
        return false;
    if (field->kind == JSON_HEX_LIST)
        return hex_decode_spelled(text, len, ret, field->size);
    if (!device_id_parse(text, len, &id))
        return false;
    memcpy(ret, id.bytes, sizeof(id.bytes));
    return true;
}

static const struct word_bits *find_word(const struct json_field *field, const json_t *value)
{
    const char *text = json_string_value(value);

    for (const struct word_bits *w = field->words; w != NULL && text != NULL && w->word != NULL;
         w++)
        if (strcmp(w->word, text) == 0)
            return w;
    return NULL;
}

static bool read_hex_list(
    struct reading *reading, const struct json_field *field, const json_t *value)
{
    const struct word_bits *word = find_word(field, value);
    unsigned char *at = reading->target + field->offset;
    size_t n = json_array_size(value);

    if (word != NULL) {
        n = word->bits;
        memcpy(reading->target + field->len_offset, &n, sizeof(n));
        return true;
    }
    if (json_typeof(value) != JANSSON_ARRAY || n > field->max)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!read_element(field, json_array_get(value, i), at + i * field->size)) {
            memset(at, 0, n * field->size);
            return false;
        }
    }
    memcpy(reading->target + field->len_offset, &n, sizeof(n));
    return true;
}

/* Every digit is looked at, also of what does not fit: a length is told of hexadecimal text only.
 */
static bool read_bytes(
    struct reading *reading, const struct json_field *field, const struct json_scalar *value)
{
    const char *digits = value->text;
    size_t n_digits = value->len, len, fits;

    if (value->kind != SCALAR_TEXT)
        return false;
    if (n_digits >= 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) {
        digits += 2;
        n_digits -= 2;
    }
    if (n_digits % 2 != 0 || strspn(digits, "0123456789abcdefABCDEF") != n_digits)
        return false;
    len = n_digits / 2;
    fits = len < field->size ? len : field->size;
    memcpy(reading->target + field->len_offset, &len, sizeof(len));
    return hex_decode(digits, 2 * fits, reading->target + field->offset, fits);
}

static bool read_unsigned(
    struct reading *reading, const struct json_field *field, const struct json_scalar *value)
{
    uint32_t number = (uint32_t)value->number;

    if (value->kind != SCALAR_INTEGER || value->number < 0 || value->number > (int64_t)field->max)
        return false;
    memcpy(reading->target + field->offset, &number, sizeof(number));
    return true;
}

static bool read_bool(
    struct reading *reading, const struct json_field *field, const struct json_scalar *value)
{
    bool truth = value->number != 0;

    if (value->kind != SCALAR_BOOL)
        return false;
    memcpy(reading->target + field->offset, &truth, sizeof(truth));
    return true;
}

/* False for a value of another kind, too: also for what is no scalar. */
static bool read_scalar(
    struct reading *reading, const struct json_field *field, const struct json_scalar *value)
{
    switch (field->kind) {
    case JSON_TEXT:
        return read_text(reading, field, value);
    case JSON_HEX:
        return read_hex(reading, field, value);
    case JSON_BYTES:
        return read_bytes(reading, field, value);
    case JSON_UNSIGNED:
        return read_unsigned(reading, field, value);
    case JSON_BOOL:
        return read_bool(reading, field, value);
    case JSON_HEX_LIST:
    case JSON_DEVICES:
    case JSON_WORDS:
    case JSON_LIST:
    case JSON_OBJECT:
        break;
    }
    return false;
}

/* Zero when it is none of the words. */
static unsigned bits_of(const struct json_field *field, const json_t *value)
{
    const struct word_bits *word = find_word(field, value);

    return word != NULL ? word->bits : 0;
}

static bool read_words(struct reading *reading, const struct json_field *field, const json_t *value)
{
    unsigned bits = 0;

    if (json_typeof(value) != JANSSON_ARRAY)
        return false;
    for (size_t i = 0; i < json_array_size(value); i++) {
        unsigned word = bits_of(field, json_array_get(value, i));

        if (word == 0)
            return false;
        bits |= word;
    }
    memcpy(reading->target + field->offset, &bits, sizeof(bits));
    return true;
}

static void join_words(const struct json_field *field, char words[static JSON_FAULT_MAX])
{
    words[0] = '\0';
    for (const struct word_bits *w = field->words; w->word != NULL; w++) {
        size_t len = strlen(words);

        (void)snprintf(words + len, JSON_FAULT_MAX - len, "%s%s", len > 0 ? ", " : "", w->word);
    }
}

static void report_words(struct reading *reading, const struct json_field *field, const char *path)
{
    char words[JSON_FAULT_MAX];

    join_words(field, words);
    report(reading, "%s is not a list of: %s", path, words);
}

static void report_hex_list(
    struct reading *reading, const struct json_field *field, const char *path)
{
    char words[JSON_FAULT_MAX] = "";

    if (field->words != NULL)
        join_words(field, words);
    report(reading, "%s is not %s%sa list of at most %u texts of %zu hexadecimal digits", path,
        words, field->words != NULL ? " or " : "", (unsigned)field->max, 2 * field->size);
}

static void report_malformed(
    struct reading *reading, const struct json_field *field, const char *path)
{
    switch (field->kind) {
    case JSON_TEXT:
        report(reading, "%s is not a text of at most %zu bytes", path, field->size - 1);
        break;
    case JSON_HEX:
        report(reading, "%s is not a text of %zu hexadecimal digits", path, 2 * field->size);
        break;
    case JSON_HEX_LIST:
        report_hex_list(reading, field, path);
        break;
    case JSON_DEVICES:
        report(reading,
            "%s is not a list of at most %u identifiers: DevEUIs of 16 hexadecimal digits, or "
            "sigfox: and 8",
            path, (unsigned)field->max);
        break;
    case JSON_BYTES:
        report(reading, "%s is not a text of hexadecimal digits", path);
        break;
    case JSON_UNSIGNED:
        report(reading, "%s is not an integer from 0 to %u", path, (unsigned)field->max);
        break;
    case JSON_BOOL:
        report(reading, "%s is not true or false", path);
        break;
    case JSON_WORDS:
        report_words(reading, field, path);
        break;
    case JSON_LIST:
        report(reading, "%s is not a list of at most %u objects", path, (unsigned)field->max);
        break;
    case JSON_OBJECT:
        report(reading, "%s is not an object", path);
        break;
    }
}

static size_t room_of(const struct json_field *field)
{
    return field->room > 0 ? field->room : field->max;
}

static bool is_list(const struct json_field *field)
{
    return field->kind == JSON_HEX_LIST || field->kind == JSON_DEVICES || field->kind == JSON_LIST;
}

/* What an absent or malformed member leaves: zeros. */
static void clear_member(struct reading *reading, const struct json_field *field)
{
    if (field->kind == JSON_UNSIGNED || field->kind == JSON_WORDS)
        memset(reading->target + field->offset, 0, sizeof(uint32_t));
    else if (field->kind == JSON_BOOL)
        memset(reading->target + field->offset, 0, sizeof(bool));
    else if (is_list(field))
        memset(reading->target + field->offset, 0, room_of(field) * field->size);
    else if (field->kind != JSON_OBJECT)
        memset(reading->target + field->offset, 0, field->size);
    if (field->kind == JSON_BYTES || is_list(field))
        memset(reading->target + field->len_offset, 0, sizeof(size_t));
    set_present(reading, field, false);
    for (size_t i = 0; field->kind == JSON_OBJECT && i < field->n_fields; i++)
        clear_member(reading, &field->fields[i]);
}

static bool is_absent(const struct json_field *field, const json_t *value)
{
    if (value == NULL)
        return true;
    return field->empty_is_absent &&
           (json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0));
}

/* What is no word of these is nobody's slip of the pen, and a fault is told by its first word. */
static bool is_plain_word(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
    size_t len = strlen(name);

    return len > 0 && len <= NAME_SHOWN_MAX && strspn(name, letters) == len;
}

static void report_unknown(struct reading *reading, json_t *object, const struct json_field *fields,
    size_t n_fields, const char *prefix)
{
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        const char *name = json_object_iter_key(at);
        size_t i = 0;

        while (i < n_fields && strcmp(fields[i].name, name) != 0)
            i++;
        if (i < n_fields)
            continue;
        if (is_plain_word(name))
            report(reading, "%s%s is not known here", prefix, name);
        else
            report(reading, "body has a member that is not known here, and whose name is no word");
    }
}

static void read_members(struct reading *reading, json_t *object, const struct json_field *fields,
    size_t n_fields, const char *prefix);

/* Each element is a target of its own. */
static void read_list(
    struct reading *reading, const struct json_field *field, const json_t *value, const char *path)
{
    unsigned char *whole = reading->target;
    size_t n = json_array_size(value);

    memcpy(whole + field->len_offset, &n, sizeof(n));
    for (size_t i = 0; i < n; i++) {
        json_t *element = json_array_get(value, i);
        char prefix[PATH_MAX_LEN];

        reading->target = whole + field->offset + i * field->size;
        if (json_typeof(element) != JANSSON_OBJECT) {
            report(reading, "%s[%zu] is not an object", path, i);
            break;
        }
        (void)snprintf(prefix, sizeof(prefix), "%s[%zu].", path, i);
        read_members(reading, element, field->fields, field->n_fields, prefix);
    }
    reading->target = whole;
}

static void read_members(struct reading *reading, json_t *object, const struct json_field *fields,
    size_t n_fields, const char *prefix)
{
    if (reading->only_known)
        report_unknown(reading, object, fields, n_fields, prefix);
    for (size_t i = 0; i < n_fields; i++) {
        const struct json_field *field = &fields[i];
        json_t *value = json_object_get(object, field->name);
        char path[PATH_MAX_LEN];
        struct json_scalar scalar;
        bool good = false;

        (void)snprintf(path, sizeof(path), "%s%s", prefix, field->name);
        clear_member(reading, field);
        if (is_absent(field, value)) {
            if (field->required)
                report(reading, "%s is missing", path);
            continue;
        }
        if (field->nullable && json_is_null(value)) {
            set_present(reading, field, true);
            continue;
        }
        switch (field->kind) {
        case JSON_TEXT:
        case JSON_HEX:
        case JSON_BYTES:
        case JSON_UNSIGNED:
        case JSON_BOOL:
            scalar = scalar_of(value);
            good = read_scalar(reading, field, &scalar);
            break;
        case JSON_HEX_LIST:
        case JSON_DEVICES:
            good = read_hex_list(reading, field, value);
            break;
        case JSON_WORDS:
            good = read_words(reading, field, value);
            break;
        case JSON_LIST:
            good = json_typeof(value) == JANSSON_ARRAY && json_array_size(value) <= field->max &&
                   json_array_size(value) <= room_of(field);
            break;
        case JSON_OBJECT:
            good = json_typeof(value) == JANSSON_OBJECT;
            break;
        }
        if (!good) {
            report_malformed(reading, field, path);
            continue;
        }
        set_present(reading, field, true);
        if (field->kind == JSON_LIST) {
            read_list(reading, field, value, path);
        } else if (field->kind == JSON_OBJECT) {
            (void)strncat(path, ".", sizeof(path) - strlen(path) - 1);
            read_members(reading, value, field->fields, field->n_fields, path);
        }
    }
}

/* jansson's own sentence quotes the input, so it is not used. */
static void describe(const json_error_t *error, char fault[static JSON_FAULT_MAX])
{
    const char *what = "not JSON";

    switch (json_error_code(error)) {
    case json_error_invalid_utf8:
        what = "not UTF-8";
        break;
    case json_error_duplicate_key:
        what = "a member stands twice in one object";
        break;
    case json_error_numeric_overflow:
        what = "a number is out of range";
        break;
    case json_error_null_character:
    case json_error_null_byte_in_key:
        what = "a NUL character in a text";
        break;
    case json_error_stack_overflow:
        what = "nested too deeply";
        break;
    default:
        break;
    }
    (void)snprintf(
        fault, JSON_FAULT_MAX, "%s (line %d, column %d)", what, error->line, error->column);
}

static bool is_named(const struct json_member *member, const char *name)
{
    return strncmp(member->name, name, member->name_len) == 0 && name[member->name_len] == '\0';
}

/* The field of this member, or n_fields. Programs write members in the order of their own table,
 * which is mostly ours: the search begins behind the field found last. */
static size_t field_of(const struct json_field *fields, size_t n_fields, size_t after,
    const struct json_member *member)
{
    for (size_t i = 0; i < n_fields; i++)
        if (is_named(member, fields[(after + i) % n_fields].name))
            return (after + i) % n_fields;
    return n_fields;
}

/* A name that no field has must not stand twice either. */
static bool note_unknown(struct json_member *unknown, size_t *n, const struct json_member *member)
{
    for (size_t i = 0; i < *n; i++)
        if (unknown[i].name_len == member->name_len &&
            memcmp(unknown[i].name, member->name, member->name_len) == 0)
            return false;
    if (*n == PLAIN_UNKNOWN_MAX)
        return false;
    unknown[(*n)++] = *member;
    return true;
}

static bool read_plain_member(
    struct reading *reading, const struct json_field *field, const struct json_scalar *value)
{
    bool is_null = value->kind == SCALAR_NULL;

    if (field->empty_is_absent && (is_null || (value->kind == SCALAR_TEXT && value->len == 0)))
        return !field->required;
    if (!(field->nullable && is_null) && !read_scalar(reading, field, value))
        return false;
    set_present(reading, field, true);
    return true;
}

/* A table that plain bodies can be read by: nothing in it is nested. */
static bool is_flat(const struct json_field *fields, size_t n_fields)
{
    for (size_t i = 0; i < n_fields; i++)
        if (is_list(&fields[i]) || fields[i].kind == JSON_WORDS || fields[i].kind == JSON_OBJECT)
            return false;
    return n_fields <= PLAIN_FIELDS_MAX;
}

/* True when the body is plain and there is nothing wrong with it: read, without a tree. */
static bool read_plain(struct reading *reading, const char *text, size_t len,
    const struct json_field *fields, size_t n_fields, size_t *ret_n_members)
{
    struct json_plain plain = {.at = text, .end = text + len};
    struct json_member member, unknown[PLAIN_UNKNOWN_MAX];
    enum json_plain_step step;
    size_t n_members = 0, n_unknown = 0, at = 0;
    uint64_t seen = 0;

    if (!is_flat(fields, n_fields))
        return false;
    for (size_t i = 0; i < n_fields; i++)
        clear_member(reading, &fields[i]);
    while ((step = json_plain_next(&plain, &member)) == PLAIN_MEMBER) {
        size_t i = field_of(fields, n_fields, at, &member);

        n_members++;
        if (i == n_fields) {
            if (reading->only_known || !note_unknown(unknown, &n_unknown, &member))
                return false;
            continue;
        }
        if ((seen & UINT64_C(1) << i) != 0 ||
            !read_plain_member(reading, &fields[i], &member.value))
            return false;
        seen |= UINT64_C(1) << i;
        at = i + 1;
    }
    for (size_t i = 0; i < n_fields; i++)
        if (fields[i].required && (seen & UINT64_C(1) << i) == 0)
            return false;
    *ret_n_members = n_members;
    return step == PLAIN_END;
}

static void tree_done(json_t **tree)
{
    json_decref(*tree);
}

static enum json_outcome read_object(const char *text, size_t len, const struct json_field *fields,
    size_t n_fields, struct reading *reading, size_t *ret_n_members)
{
    CLEANUP(tree_done) json_t *tree = NULL;
    char *fault = reading->fault;
    const size_t mark_len = sizeof(byte_order_mark) - 1;
    json_error_t error;

    json_memory_watch();
    fault[0] = '\0';
    if (len >= mark_len && memcmp(text, byte_order_mark, mark_len) == 0) {
        text += mark_len;
        len -= mark_len;
    }
    if (read_plain(reading, text, len, fields, n_fields, ret_n_members))
        return JSON_OK;
    tree = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (json_memory_ran_out()) {
        (void)snprintf(fault, JSON_FAULT_MAX, "there is no memory to read it: try again");
        return JSON_NOT_JSON;
    }
    if (tree == NULL) {
        describe(&error, fault);
        return JSON_NOT_JSON;
    }
    if (json_typeof(tree) != JANSSON_OBJECT) {
        (void)snprintf(fault, JSON_FAULT_MAX, "not a JSON object");
        return JSON_NOT_JSON;
    }
    *ret_n_members = json_object_size(tree);
    read_members(reading, tree, fields, n_fields, "");
    return reading->faulty ? JSON_BAD_FIELD : JSON_OK;
}

enum json_outcome json_read(const char *text, size_t len, const struct json_field *fields,
    size_t n_fields, void *target, char fault[static JSON_FAULT_MAX])
{
    struct reading reading = {.target = target, .fault = fault};
    size_t n_members = 0;

    return read_object(text, len, fields, n_fields, &reading, &n_members);
}

enum json_outcome json_read_known(const char *text, size_t len, const struct json_field *fields,
    size_t n_fields, void *target, size_t *ret_n_members, char fault[static JSON_FAULT_MAX])
{
    struct reading reading = {.target = target, .fault = fault, .only_known = true};

    *ret_n_members = 0;
    return read_object(text, len, fields, n_fields, &reading, ret_n_members);
}
