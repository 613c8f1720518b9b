/* JSON objects with some of their members changed and all others kept: what is carried for somebody
 * else. The text comes out compact, without an escape that it need not have. */
#pragma once

#include "api/json.h"
#include "base/text.h"

enum json_change_kind {
    JSON_SET_TEXT,
    JSON_SET_UNSIGNED,
    JSON_REMOVE,       /* what is not there is no fault */
    JSON_REMOVE_ALIKE, /* members that differ from the name in case alone: some readers take them
                        * for it. The name itself stays */
};

struct json_change {
    const char *object; /* the member that is an object, and holds it; NULL: the whole is it */
    const char *name;
    enum json_change_kind kind;
    const char *text;
    uint32_t number;
};

/** JSON_NOT_JSON as of json_read; JSON_BAD_FIELD: a text to be set is no UTF-8, or an `object` is
 * none. A member that was there keeps its place among the others. Nothing is added to `out`
 * otherwise. */
enum json_outcome json_edit(const char *text, size_t len, const struct json_change *changes,
    size_t n_changes, struct text *out);

/** Whether one of the object's members is itself an object that has the text `name`, and has no
 * text `unless` or an empty one (NULL: whatever else it has). False of what is no JSON object; true
 * where there is no memory to see. */
bool json_any_has(const char *text, size_t len, const char *name, const char *unless);
