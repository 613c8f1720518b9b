/* Reading JSON objects into typed destinations by a table. Duplicate keys and bad UTF-8 are
 * refused. Unknown members are ignored (TS002: extra fields must not hurt), or refused where the
 * reader says so. */
#pragma once

#include "base/cleanup.h"
#include "base/words.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind {
    JSON_TEXT,     /* char[size], NUL-terminated; longer text is a fault */
    JSON_HEX,      /* uint8_t[size], exactly `size` bytes; optional 0x, any case */
    JSON_HEX_LIST, /* uint8_t[max][size]; an array of at most `max` identifiers, in any of the
                    * spellings of base/eui.h, and how many it has. With `words` also one of these
                    * as a text in its place: no element, and its bits are how many it has */
    JSON_DEVICES,  /* as JSON_HEX_LIST, of struct eui64: devices, as device_id_parse reads them */
    JSON_BYTES,    /* as JSON_HEX of any length: its first `size` bytes, and how many it has */
    JSON_UNSIGNED, /* uint32_t; an integer 0..max */
    JSON_BOOL,     /* bool */
    JSON_WORDS,    /* unsigned; an array of words, each bits of `words` */
    JSON_LIST, /* an array of at most `max` objects of `fields`, whose offsets are into an element;
                * elements are `size` bytes apart, and how many there are */
    JSON_OBJECT, /* nested: `fields`, `n_fields`, same target */
};

struct json_field {
    const char *name; /* wire name, "DevEUI" */
    enum json_kind kind;
    size_t offset; /* into the target struct */
    size_t size;
    uint32_t max;
    size_t room; /* JSON_LIST: elements that the target has room for, when the body is too short for
                  * more; 0: for `max` */
    bool required;
    bool empty_is_absent;  /* "" and null count as absent (CFList of ChirpStack) */
    bool nullable;         /* null is present, and zero */
    size_t present_offset; /* of a bool set when present; JSON_NO_PRESENT when not wanted */
    size_t len_offset; /* JSON_BYTES: of a size_t that gets the whole length, also beyond `size`;
                        * JSON_HEX_LIST, JSON_DEVICES, JSON_LIST: the number of elements */
    const struct json_field *fields;
    size_t n_fields;
    const struct word_bits *words; /* JSON_WORDS, JSON_HEX_LIST */
};

#define JSON_NO_PRESENT ((size_t)-1)

/* JSON_NOT_JSON also stands for what the parser itself refuses: an integer beyond 64 bits, a NUL
 * character in a text, nesting deeper than 2048. */
enum json_outcome { JSON_OK = 0, JSON_NOT_JSON = 1, JSON_BAD_FIELD = 2 };

#define JSON_FAULT_MAX 160

/** What is read holds secrets in this program: all memory that a tree had is wiped when it is given
 * back. Once, before anything is read. */
void json_wipe_memory(void);

/** What was read last on this thread lacked memory: that it was JSON_NOT_JSON is not its sender's
 * fault. Known where json_wipe_memory was called. (The parser itself goes on without a character
 * for which it had no room, and would give another text than the one that was sent.) */
bool json_memory_ran_out(void);
/** From now on. For those who read a tree. */
void json_memory_watch(void);

/** Fills `target`; absent and malformed members are zero and not present. JSON_NOT_JSON: not a JSON
 * object at all (RFC 8259), duplicate keys, bad UTF-8. JSON_BAD_FIELD: the first missing or
 * malformed member; the others are filled all the same, so that a header can be answered. `fault`
 * says which member and why, without its value. */
enum json_outcome json_read(const char *text, size_t len, const struct json_field *fields,
    size_t n_fields, void *target, char fault[static JSON_FAULT_MAX]);

/** As json_read where what is not known is a mistake: a member that no field names is a
 * JSON_BAD_FIELD, before any other, and named if its name is a plain word. *ret_n_members gets how
 * many members the object has, 0 unless it is one. */
enum json_outcome json_read_known(const char *text, size_t len, const struct json_field *fields,
    size_t n_fields, void *target, size_t *ret_n_members, char fault[static JSON_FAULT_MAX]);
