/* What a request said before its body, copied: for the worker of a stream, whose request may end at
 * any moment. Inside api/ only. */
#pragma once

#include "api/server.h"

struct api_head;

/** Method, path, id, headers and query of `request`. NULL without memory. */
struct api_head *head_copy(const struct api_request *request) MUST_CHECK;
/** A request of these alone: it has no body, no connection and no answer. */
const struct api_request *head_request(const struct api_head *head);
/** Wipes it: Authorization is among the headers. NULL is fine. */
void head_free(struct api_head *head);

/** The first header or query value of that name, without case as the library looks them up; NULL
 * for none. */
const char *head_header(const struct api_head *head, const char *name);
const char *head_query(const struct api_head *head, const char *name);
/** Calls `take` with the name of each query value, until it returns false. */
void head_each_query(
    const struct api_head *head, bool (*take)(void *context, const char *name), void *context);
