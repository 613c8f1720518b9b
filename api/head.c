#include "api/head.h"

#include "api/internal.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct pairs {
    struct secret_buffer bytes; /* name NUL value NUL, ... */
    bool failed;
};

struct api_head {
    struct api_request request;
    struct pairs headers, query;
    char path[]; /* with its NUL */
};

static void add_text(struct pairs *pairs, const char *text)
{
    if (secret_buffer_append(&pairs->bytes, text, strlen(text) + 1) < 0)
        pairs->failed = true;
}

static enum MHD_Result add_pair(
    void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct pairs *pairs = context;

    (void)kind;
    add_text(pairs, name);
    add_text(pairs, value != NULL ? value : "");
    return pairs->failed ? MHD_NO : MHD_YES;
}

/* The name at `*at`, whose value `*ret_value` is, and the step to the next; NULL after the last. */
static const char *next_pair(const struct pairs *pairs, size_t *at, const char **ret_value)
{
    const char *name;

    if (*at >= pairs->bytes.len)
        return NULL;
    name = (const char *)pairs->bytes.data + *at;
    *ret_value = name + strlen(name) + 1;
    *at += strlen(name) + 1 + strlen(*ret_value) + 1;
    return name;
}

static const char *find_pair(const struct pairs *pairs, const char *wanted)
{
    const char *name, *value;

    for (size_t at = 0; (name = next_pair(pairs, &at, &value)) != NULL;)
        if (strcasecmp(name, wanted) == 0)
            return value;
    return NULL;
}

struct api_head *head_copy(const struct api_request *request)
{
    size_t size = strlen(request->path) + 1;
    struct api_head *head = calloc(1, sizeof(*head) + size);

    if (head == NULL)
        return NULL;
    memcpy(head->path, request->path, size);
    (void)MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, add_pair, &head->headers);
    (void)MHD_get_connection_values(request->mhd, MHD_GET_ARGUMENT_KIND, add_pair, &head->query);
    if (head->headers.failed || head->query.failed) {
        head_free(head);
        return NULL;
    }
    head->request = (struct api_request){.server = request->server,
        .head = head,
        .method = request->method,
        .path = head->path,
        .started_us = request->started_us};
    memcpy(head->request.id, request->id, sizeof(head->request.id));
    return head;
}

const struct api_request *head_request(const struct api_head *head)
{
    return &head->request;
}

void head_free(struct api_head *head)
{
    if (head == NULL)
        return;
    secret_buffer_done(&head->headers.bytes);
    secret_buffer_done(&head->query.bytes);
    free(head);
}

const char *head_header(const struct api_head *head, const char *name)
{
    return find_pair(&head->headers, name);
}

const char *head_query(const struct api_head *head, const char *name)
{
    return find_pair(&head->query, name);
}

void head_each_query(
    const struct api_head *head, bool (*take)(void *context, const char *name), void *context)
{
    const char *name, *value;

    for (size_t at = 0; (name = next_pair(&head->query, &at, &value)) != NULL;)
        if (!take(context, name))
            return;
}
