#include "api/problem.h"

#include <assert.h>

static const struct {
    unsigned status;
    const char *name; /* of the type URI; never changed once published */
    const char *title;
    const char *header; /* one that this status must carry, or NULL */
    const char *value;
} problems[N_PROBLEMS] = {
    [PROBLEM_NOT_FOUND] = {404, "not-found", "There is nothing at this address", NULL, NULL},
    [PROBLEM_METHOD_NOT_ALLOWED] = {405, "method-not-allowed",
        "This address does not take this method", NULL, NULL},
    [PROBLEM_UNAUTHENTICATED] = {401, "unauthenticated", "Say who you are with a valid credential",
        "WWW-Authenticate", "Bearer"},
    [PROBLEM_FORBIDDEN] = {403, "forbidden", "You may not do this", NULL, NULL},
    [PROBLEM_CLAIM_REFUSED] = {403, "claim-refused", "The device cannot be claimed with this code",
        NULL, NULL},
    [PROBLEM_BAD_REQUEST] = {400, "bad-request", "The request is malformed", NULL, NULL},
    [PROBLEM_CONFLICT] = {409, "conflict", "What is there already stands against it", NULL, NULL},
    [PROBLEM_UNPROCESSABLE] = {422, "unprocessable", "This cannot be done as it is said", NULL,
        NULL},
    [PROBLEM_GONE] = {410, "gone", "This was deleted", NULL, NULL},
    [PROBLEM_BODY_TOO_LARGE] = {413, "body-too-large", "The body is larger than accepted here",
        NULL, NULL},
    [PROBLEM_TOO_MANY] = {429, "too-many-attempts", "Too many wrong attempts; wait and try again",
        NULL, NULL},
    [PROBLEM_UNAVAILABLE] = {503, "unavailable", "The service cannot take this now; try again",
        "Retry-After", "1"},
    [PROBLEM_INTERNAL] = {500, "internal", "The service failed; its log says why", NULL, NULL},
};

unsigned api_problem_status(enum problem problem)
{
    assert((unsigned)problem < N_PROBLEMS);
    return problems[problem].status;
}

const char *api_problem_header(enum problem problem, const char **ret_value)
{
    assert((unsigned)problem < N_PROBLEMS);
    *ret_value = problems[problem].value;
    return problems[problem].header;
}

enum problem api_problem_of_status(unsigned status)
{
    for (size_t i = 0; i < N_PROBLEMS; i++)
        if (problems[i].status == status)
            return (enum problem)i;
    return PROBLEM_INTERNAL;
}

void api_problem_text(struct text *out, enum problem problem, const char *detail, const char *field,
    const char *instance)
{
    assert((unsigned)problem < N_PROBLEMS);
    text_addf(out, "{\"type\":\"urn:cradle:problem:%s\",\"title\":", problems[problem].name);
    text_add_json(out, problems[problem].title);
    text_addf(out, ",\"status\":%u", problems[problem].status);
    if (detail != NULL) {
        text_add(out, ",\"detail\":");
        text_add_json(out, detail);
    }
    if (field != NULL) {
        text_add(out, ",\"field\":");
        text_add_json(out, field);
    }
    text_add(out, ",\"instance\":");
    text_add_json(out, instance);
    text_add(out, "}\n");
}

void api_problem_message(struct text *out, enum problem problem, const char *detail)
{
    assert((unsigned)problem < N_PROBLEMS);
    text_add(out, "{\"message\":");
    text_add_json(out, detail != NULL ? detail : problems[problem].title);
    text_add(out, "}\n");
}

void api_problem(struct api_request *request, enum problem problem, const char *detail)
{
    CLEANUP(text_done) struct text body = {0};
    const char *value, *header = api_problem_header(problem, &value);

    api_problem_text(&body, problem, detail, NULL, api_request_id(request));
    if (header != NULL)
        api_answer_header(request, header, value);
    api_answer_text(request, problems[problem].status, "application/problem+json", &body);
}
