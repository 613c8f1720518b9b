#include "api/guard.h"

#include <string.h>
#include <strings.h>

#define LENGTH_DIGITS_MAX 18 /* of Content-Length: always fits 64 bits */

/* Headers that decide framing, routing or identity: two of one are two readings of one request. */
enum single { SINGLE_HOST, SINGLE_LENGTH, SINGLE_ENCODING, SINGLE_AUTHORIZATION, N_SINGLES };

#define NAME(name) name, sizeof(name) - 1
static const struct {
    const char *name;
    size_t name_len;
    const char *fault;
} singles[N_SINGLES] = {
    [SINGLE_HOST] = {NAME("Host"), "more than one Host header"},
    [SINGLE_LENGTH] = {NAME("Content-Length"), "more than one Content-Length header"},
    [SINGLE_ENCODING] = {NAME("Transfer-Encoding"), "more than one Transfer-Encoding header"},
    [SINGLE_AUTHORIZATION] = {NAME("Authorization"), "more than one Authorization header"},
};

/* tchar of RFC 9110 5.6.2. */
static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_token_char((unsigned char)text[i]))
            return false;
    return len > 0;
}

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

static bool value_is_clean(const struct guard_header *header)
{
    for (size_t i = 0; i < header->value_len; i++)
        if (header->value[i] != '\t' && is_control((unsigned char)header->value[i]))
            return false;
    return true;
}

static struct guard_header trimmed(struct guard_header header)
{
    while (header.value_len > 0 && strchr(" \t", header.value[header.value_len - 1]) != NULL)
        header.value_len--;
    while (header.value_len > 0 && strchr(" \t", header.value[0]) != NULL) {
        header.value++;
        header.value_len--;
    }
    return header;
}

static bool parse_length(const struct guard_header *header, uint64_t *ret)
{
    uint64_t length = 0;

    if (header->value_len == 0 || header->value_len > LENGTH_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < header->value_len; i++) {
        if (header->value[i] < '0' || header->value[i] > '9')
            return false;
        length = length * 10 + (uint64_t)(header->value[i] - '0');
    }
    *ret = length;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* An encoded NUL would cut the decoded text, an encoded control in a path would reach logs and
 * tables. */
const char *guard_target(const char *target)
{
    size_t path_len = strcspn(target, "?");

    if (target[0] == '\0')
        return "the request target is empty";
    if (path_len > GUARD_PATH_MAX)
        return "the path is too long";
    for (size_t i = 0; target[i] != '\0'; i++) {
        int high, low, c;

        if ((unsigned char)target[i] <= ' ' || (unsigned char)target[i] == 0x7f)
            return "the request target holds a blank or a control character";
        if (target[i] != '%')
            continue;
        high = hex_digit(target[i + 1]);
        low = high < 0 ? -1 : hex_digit(target[i + 2]);
        if (low < 0)
            return "the request target has a bad percent-encoding";
        c = high * 16 + low;
        if (c == 0 || (i < path_len && is_control((unsigned char)c)))
            return "the request target holds an encoded control character";
    }
    return NULL;
}

static const char *check_headers(
    const struct guard_request *request, struct guard_header found[static N_SINGLES])
{
    bool seen[N_SINGLES] = {false};

    if (request->n_headers > GUARD_HEADERS_MAX)
        return "too many header lines";
    for (size_t i = 0; i < request->n_headers; i++) {
        const struct guard_header *header = &request->headers[i];

        if (!is_token(header->name, header->name_len))
            return "a header name holds a character that no name may have";
        if (!value_is_clean(header))
            return "a header value holds a control character";
        for (size_t k = 0; k < N_SINGLES; k++) {
            if (singles[k].name_len != header->name_len ||
                strncasecmp(singles[k].name, header->name, header->name_len) != 0)
                continue;
            if (seen[k])
                return singles[k].fault;
            seen[k] = true;
            found[k] = trimmed(*header);
        }
    }
    return NULL;
}

const char *guard_check(const struct guard_request *request, struct guard_body *ret_body)
{
    struct guard_header found[N_SINGLES] = {{0}};
    struct guard_body body = {0};
    bool http_1_0 = strcmp(request->version, "HTTP/1.0") == 0;
    const char *fault;

    if (!http_1_0 && strcmp(request->version, "HTTP/1.1") != 0)
        return "the HTTP version is neither 1.0 nor 1.1";
    if (!is_token(request->method, strlen(request->method)))
        return "the method is not a word";
    fault = check_headers(request, found);
    if (fault != NULL)
        return fault;
    if (!http_1_0 && found[SINGLE_HOST].name == NULL)
        return "the Host header is missing";
    if (found[SINGLE_ENCODING].name != NULL) {
        if (http_1_0)
            return "Transfer-Encoding under HTTP/1.0";
        if (found[SINGLE_LENGTH].name != NULL)
            return "Content-Length together with Transfer-Encoding";
        if (found[SINGLE_ENCODING].value_len != strlen("chunked") ||
            strncasecmp(found[SINGLE_ENCODING].value, "chunked", strlen("chunked")) != 0)
            return "a Transfer-Encoding other than chunked";
        body.chunked = true;
    }
    if (found[SINGLE_LENGTH].name != NULL && !parse_length(&found[SINGLE_LENGTH], &body.length))
        return "the Content-Length is not a number";
    if ((body.chunked || body.length > 0) &&
        (strcmp(request->method, "GET") == 0 || strcmp(request->method, "DELETE") == 0))
        return "a body where the method takes none";
    *ret_body = body;
    return NULL;
}
