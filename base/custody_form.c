#include "base/custody_form.h"

#include "base/base64.h"
#include "base/error.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX 80
#define TIME_NAME "\"iat\":"
#define HEADER "{\"alg\":\"ES256\",\"typ\":\"%s\"," TIME_NAME "%" PRIu64 "}"
#define ROUNDING 3 /* what whole groups of Base64 may be longer than what they hold */
#define JWS_MAX (2 * CUSTODY_DOCUMENT_MAX) /* characters */

static const struct {
    const char *typ;
    const char *none; /* what to say of another text */
} types[CUSTODY_TYPE_LAST + 1] = {
    [CUSTODY_OF_DEVICE] = {"cradle-custody-v1", "this is no custody statement"},
    [CUSTODY_OF_DELIVERY] = {"cradle-delivery-v1", "this is no statement of a delivery"},
};

static void add_base64url(struct text *out, const void *bytes, size_t len)
{
    CLEANUP(cleanup_free) char *text = malloc(BASE64_LEN(len) + 1);

    if (text == NULL)
        out->failed = true;
    else
        text_add(out, base64url_encode(bytes, len, text));
}

bool custody_document_valid(const char *document, size_t len)
{
    if (len < 3 || len > CUSTODY_DOCUMENT_MAX || document[0] != '{' || document[len - 1] != '}')
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)document[i] < ' ')
            return false;
    return true;
}

void custody_input_write(
    enum custody_type type, uint64_t time, const char *document, size_t len, struct text *out)
{
    char header[HEADER_MAX];
    int header_len = snprintf(header, sizeof(header), HEADER, types[type].typ, time);

    add_base64url(out, header, (size_t)header_len);
    text_add(out, ".");
    add_base64url(out, document, len);
}

void custody_write(enum custody_type type, uint64_t time, const char *document, size_t len,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN], struct text *out)
{
    custody_input_write(type, time, document, len, out);
    text_add(out, ".");
    add_base64url(out, signature, AUDIT_SIGNATURE_LEN);
}

static int none(enum custody_type type)
{
    return error_set(ERROR_INPUT, "%s", types[type].none);
}

static int no_memory(void)
{
    return error_set(ERROR_SYSTEM, "out of memory for a signed statement");
}

/* The bytes of a part; -1 for what is no Base64url, or too long. */
static ssize_t open_part(const char *text, size_t len, char *out, size_t out_size)
{
    return base64url_decode(text, len, (uint8_t *)out, out_size);
}

/* Behind whatever comes before it: the header is made anew to compare. */
static bool read_time(const char *header, uint64_t *ret)
{
    const char *at = strstr(header, TIME_NAME);

    return at != NULL && sscanf(at + strlen(TIME_NAME), "%19" SCNu64 "}", ret) == 1;
}

int custody_read(enum custody_type type, const char *jws, size_t len, uint64_t *ret_time,
    struct text *ret_document, uint8_t ret_signature[static AUDIT_SIGNATURE_LEN])
{
    CLEANUP(text_done) struct text again = {0};
    CLEANUP(cleanup_free) char *document = malloc(CUSTODY_DOCUMENT_MAX + ROUNDING);
    char header[HEADER_MAX + ROUNDING] = "", signature[AUDIT_SIGNATURE_LEN + ROUNDING];
    const char *first, *second;
    ssize_t header_len, document_len, signature_len;
    uint64_t time;

    if (document == NULL)
        return no_memory();
    if (len > JWS_MAX || (first = memchr(jws, '.', len)) == NULL ||
        (second = memchr(first + 1, '.', len - (size_t)(first + 1 - jws))) == NULL)
        return none(type);
    header_len = open_part(jws, (size_t)(first - jws), header, sizeof(header) - 1);
    document_len = open_part(
        first + 1, (size_t)(second - first - 1), document, CUSTODY_DOCUMENT_MAX + ROUNDING);
    signature_len =
        open_part(second + 1, len - (size_t)(second + 1 - jws), signature, sizeof(signature));
    if (header_len < 0 || signature_len != AUDIT_SIGNATURE_LEN || document_len < 0 ||
        !custody_document_valid(document, (size_t)document_len))
        return none(type);
    header[header_len] = '\0';
    if (!read_time(header, &time))
        return none(type);
    /* Made anew, with the type that is asked for: one text for one statement. */
    custody_write(type, time, document, (size_t)document_len, (const uint8_t *)signature, &again);
    if (again.failed)
        return no_memory();
    if (again.len != len || memcmp(again.data, jws, len) != 0)
        return none(type);
    *ret_time = time;
    memcpy(ret_signature, signature, AUDIT_SIGNATURE_LEN);
    text_add_len(ret_document, document, (size_t)document_len);
    return ret_document->failed ? no_memory() : 0;
}

int custody_open(enum custody_type type, const char *jws, size_t len, const struct audit_key *key,
    uint64_t *ret_time, struct text *ret_document)
{
    CLEANUP(text_done) struct text input = {0}, document = {0};
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    int r = custody_read(type, jws, len, ret_time, &document, signature);

    if (r < 0)
        return r;
    custody_input_write(type, *ret_time, document.data, document.len, &input);
    if (input.failed)
        return no_memory();
    if (!audit_key_signed_bytes(key, input.data, input.len, signature))
        return error_set(ERROR_INPUT, "the statement was not signed by this key, or was changed");
    text_add_len(ret_document, document.data, document.len);
    return ret_document->failed ? no_memory() : 0;
}
