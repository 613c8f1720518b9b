/* Calls of the activation service's REST API, as the client that the configuration names: one after
 * the other, waiting for each answer. */
#pragma once

#include "base/text.h"
#include "cli/cli.h"
#include <jansson.h>
#include <stdio.h>

struct cli_rest {
    const struct cli_settings *settings;
    struct text url;           /* what every path goes behind */
    struct text authorization; /* header with the access token */
    long status;               /* of the last answer; 0: there was none */
    struct text doubt;         /* what to say of the last call where nobody can tell what it did */
};

/** Asks for an access token. */
int cli_rest_open(const struct cli_settings *settings, struct cli_rest *ret) MUST_CHECK;
void cli_rest_done(struct cli_rest *rest);

/** One call, never repeated; `body` may be NULL. 0: it was done, and *ret_answer (may be NULL) is
 * the object it answers; the caller's. Else an error that says what the service says, and `status`
 * tells which refusal it was; or, where it may have been done all the same, how to look. */
int cli_rest_call(struct cli_rest *rest, const char *method, const char *path, const json_t *body,
    json_t **ret_answer) MUST_CHECK;
/** A GET whose answer may have any size, written as it comes. What came is whole, or it is an
 * error.
 */
int cli_rest_download(struct cli_rest *rest, const char *path, FILE *into) MUST_CHECK;
/** A POST of a file of any size, which is sent as it is read, and whose answer is taken as that of
 * cli_rest_download. */
int cli_rest_upload(struct cli_rest *rest, const char *path, const char *content_type, FILE *from,
    FILE *into) MUST_CHECK;
/** The text of a member that an answer of the last call must have, as long as `answer` lives. */
int cli_rest_need(const struct cli_rest *rest, const json_t *answer, const char *name,
    const char **ret) MUST_CHECK;
/** Each item of a list, page by page; `path` may have a query. What `each` returns ends it, unless
 * 0. */
int cli_rest_list(struct cli_rest *rest, const char *path,
    int (*each)(const json_t *item, void *context), void *context) MUST_CHECK;
/** `collection`/`name`, the name percent-encoded. */
int cli_rest_path(struct text *out, const char *collection, const char *name) MUST_CHECK;

/** Text and truth of a member; "" and false where it is missing or null. */
const char *cli_json_text(const json_t *object, const char *name);
bool cli_json_true(const json_t *object, const char *name);
static inline void cli_json_done(json_t **value)
{
    json_decref(*value);
}
