#define JSON_OBJECT JANSSON_OBJECT /* see api/json.c */
#define JSON_ARRAY JANSSON_ARRAY
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY

#include "api/json_edit.h"
#include <string.h>

static const char byte_order_mark[] = "\xef\xbb\xbf";

static void tree_done(json_t **tree)
{
    json_decref(*tree);
}

static bool is_object(const json_t *value)
{
    return value != NULL && json_typeof(value) == JANSSON_OBJECT;
}

/* NULL unless it is an object. */
static json_t *read_tree(const char *text, size_t len)
{
    const size_t mark_len = sizeof(byte_order_mark) - 1;
    json_t *tree;

    if (len >= mark_len && memcmp(text, byte_order_mark, mark_len) == 0) {
        text += mark_len;
        len -= mark_len;
    }
    json_memory_watch();
    tree = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_memory_ran_out() && (tree == NULL || is_object(tree)))
        return tree;
    json_decref(tree);
    return NULL;
}

/* Case folding takes two letters beside ASCII's own for S and K. */
static size_t folded(const char *text, char *ret)
{
    const char c = *text;

    if (strncmp(text, "\xc5\xbf", 2) == 0) {
        *ret = 's';
        return 2;
    }
    if (strncmp(text, "\xe2\x84\xaa", 3) == 0) {
        *ret = 'k';
        return 3;
    }
    *ret = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    return 1;
}

static bool is_alike(const char *key, const char *name)
{
    char a, b;

    while (*key != '\0' && *name != '\0') {
        key += folded(key, &a);
        name += folded(name, &b);
        if (a != b)
            return false;
    }
    return *key == *name;
}

static void remove_alike(json_t *object, const char *name)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(object, next, key, value)
    {
        if (strcmp(key, name) != 0 && is_alike(key, name))
            (void)json_object_del(object, key);
    }
}

static bool change_member(json_t *tree, const struct json_change *change)
{
    json_t *object = change->object != NULL ? json_object_get(tree, change->object) : tree;

    if (change->kind == JSON_REMOVE || change->kind == JSON_REMOVE_ALIKE) {
        if (is_object(object) && change->kind == JSON_REMOVE)
            (void)json_object_del(object, change->name);
        else if (is_object(object))
            remove_alike(object, change->name);
        return true;
    }
    return is_object(object) &&
           json_object_set_new(object, change->name,
               change->kind == JSON_SET_TEXT ? json_string(change->text)
                                             : json_integer((json_int_t)change->number)) == 0;
}

static int take_piece(const char *piece, size_t len, void *out)
{
    text_add_len(out, piece, len);
    return 0;
}

enum json_outcome json_edit(const char *text, size_t len, const struct json_change *changes,
    size_t n_changes, struct text *out)
{
    CLEANUP(tree_done) json_t *tree = read_tree(text, len);

    if (tree == NULL)
        return JSON_NOT_JSON;
    for (size_t i = 0; i < n_changes; i++)
        if (!change_member(tree, &changes[i]))
            return JSON_BAD_FIELD;
    /* What is written may be a secret: it does not move in the text while it grows. */
    text_reserve(out, json_dumpb(tree, NULL, 0, JSON_COMPACT) + 1);
    if (json_dump_callback(tree, take_piece, out, JSON_COMPACT) != 0)
        out->failed = true;
    return json_memory_ran_out() ? JSON_NOT_JSON : JSON_OK;
}

static bool has_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL && text[0] != '\0';
}

bool json_any_has(const char *text, size_t len, const char *name, const char *unless)
{
    CLEANUP(tree_done) json_t *tree = read_tree(text, len);
    const char *key;
    json_t *value;

    if (tree == NULL)
        return json_memory_ran_out(); /* nobody knows */
    json_object_foreach(tree, key, value)
    {
        if (is_object(value) && has_text(value, name) && !has_text(value, unless))
            return true;
    }
    return false;
}
