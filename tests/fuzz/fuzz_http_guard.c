/* The guard over a request made of the input's lines: method, target, version, then one header a
 * line, its name and value parted by the first ':'. */
#include "api/guard.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* Cuts the next line off; a NUL takes the place of its end. */
static char *next_line(char **rest)
{
    char *line = *rest;
    char *end = strchr(line, '\n');

    if (end == NULL) {
        *rest = line + strlen(line);
    } else {
        *end = '\0';
        *rest = end + 1;
    }
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guard_header headers[GUARD_HEADERS_MAX];
    struct guard_request request = {.headers = headers};
    struct guard_body body = {.length = UINT64_MAX};
    char *text = malloc(size + 1);
    char *rest = text;
    const char *target, *fault;

    FUZZ_HOLDS(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    request.method = next_line(&rest);
    target = next_line(&rest);
    request.version = next_line(&rest);
    while (*rest != '\0' && request.n_headers <= GUARD_HEADERS_MAX) {
        char *name = next_line(&rest);
        size_t name_len = strcspn(name, ":");
        const char *value = name[name_len] == ':' ? name + name_len + 1 : name + name_len;

        if (request.n_headers < GUARD_HEADERS_MAX)
            headers[request.n_headers] = (struct guard_header){
                .name = name, .name_len = name_len, .value = value, .value_len = strlen(value)};
        request.n_headers++;
    }
    fault = guard_target(target);
    FUZZ_HOLDS(fault == NULL || fault[0] != '\0');
    FUZZ_HOLDS(fault != NULL || strlen(target) > 0);
    fault = guard_check(&request, &body);
    /* What is let through has one reading of its body. */
    if (fault == NULL) {
        FUZZ_HOLDS(body.length != UINT64_MAX);
        FUZZ_HOLDS(!body.chunked || body.length == 0);
        FUZZ_HOLDS(request.n_headers <= GUARD_HEADERS_MAX);
        FUZZ_HOLDS(strcmp(request.version, "HTTP/1.1") == 0 || !body.chunked);
        FUZZ_HOLDS(strcmp(request.method, "GET") != 0 || (!body.chunked && body.length == 0));
    } else {
        FUZZ_HOLDS(fault[0] != '\0' && body.length == UINT64_MAX);
    }
    free(text);
    return 0;
}
