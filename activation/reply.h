/* Answers on the server's thread that also say their status, and the types of all answers. */
#pragma once

#include "api/problem.h"

#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_JSON "application/json"
#define TYPE_PROBLEM "application/problem+json"
#define TYPE_NDJSON "application/x-ndjson"
#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_JOSE "application/jose"
#define TYPE_PEM "application/x-pem-file"

static inline unsigned reply_problem(
    struct api_request *request, enum problem problem, const char *detail)
{
    api_problem(request, problem, detail);
    return api_problem_status(problem);
}

/** The same for callers of act_route.by_certificate. */
static inline unsigned reply_message(
    struct api_request *request, enum problem problem, const char *detail)
{
    CLEANUP(text_done) struct text body = {0};

    api_problem_message(&body, problem, detail);
    api_answer_text(request, api_problem_status(problem), TYPE_JSON, &body);
    return api_problem_status(problem);
}

/** Takes the text's memory over; a text that could not be made is answered with a 500. */
static inline unsigned reply_text(
    struct api_request *request, unsigned status, const char *content_type, struct text *body)
{
    if (body->failed)
        return reply_problem(request, PROBLEM_INTERNAL, NULL);
    api_answer_text(request, status, content_type, body);
    return status;
}
