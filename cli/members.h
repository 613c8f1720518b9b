/* Options of a verb that are members of the body it sends; the service judges what they say. */
#pragma once

#include "cli/rest.h"

struct cli_member {
    const char *option; /* "ends-at"; the member is "ends_at" */
    bool is_number;
    bool is_file;       /* the member is the text of this file */
    bool is_first_said; /* it cannot be changed later */
    bool is_truth;      /* "yes" or "no" */
    bool is_list;       /* may be given again; "none" is a list of none */
    bool may_be_none;   /* "none" is null */
};
#define CLI_MEMBERS_MAX 16

/** Reads the options into `body`; with `change` none that is first said. Behind it optind is at the
 * operands. May return CLI_USAGE. */
int cli_members_read(const struct cli_member *members, size_t n_members, bool change, int argc,
    char **argv, json_t *body) MUST_CHECK;

/** The item as a line of JSON; `out` is a struct text. For cli_rest_list. */
int cli_item_write(const json_t *item, void *out);
/** One call, whose answer is an object with the member `name` and is written as such a line; `body`
 * may be NULL. */
int cli_item_call(const struct cli_settings *settings, const char *method, const char *path,
    const json_t *body, const char *name, struct text *out) MUST_CHECK;
/** All items of a collection, a line each. May return CLI_USAGE: the verb has no arguments. */
int cli_item_list(const struct cli_settings *settings, const char *collection, int argc,
    struct text *out) MUST_CHECK;
