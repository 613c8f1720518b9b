/* Signed statements: a JWS in compact form (RFC 7515), ES256, over a JSON document. One says where
 * a device's root keys came from and have been (docs/security.md), another what a delivery of new
 * credentials holds. One place for keyd, which signs, for the service, which
 * writes the document, and for `cradle`, which verifies. Pure.
 *
 *   BASE64URL({"alg":"ES256","typ":TYPE,"iat":TIME}) . BASE64URL(document)
 *   . BASE64URL(signature)
 *
 * The header is these bytes and no others; TYPE is that of the statement, and stands in what is
 * signed: no signature of one type is one of another. TIME, seconds since 1970 UTC, is that of the
 * signing, and keyd's own. The key is that of the audit's checkpoints, whose bytes begin otherwise
 * ("cradle-"): so no signature of the one is one of the other. */
#pragma once

#include "base/audit_key.h"

#define CUSTODY_DOCUMENT_MAX 8192

/** What a statement is about. */
enum custody_type {
    CUSTODY_OF_DEVICE = 1, /* "cradle-custody-v1" */
    CUSTODY_OF_DELIVERY,   /* "cradle-delivery-v1" */
};
#define CUSTODY_TYPE_LAST CUSTODY_OF_DELIVERY

/** Whether it can be a document: an object's braces around 1 to CUSTODY_DOCUMENT_MAX - 2 bytes
 * without control characters. */
bool custody_document_valid(const char *document, size_t len);
/** What is signed, added: header and document. */
void custody_input_write(
    enum custody_type type, uint64_t time, const char *document, size_t len, struct text *out);
/** All of it, added. */
void custody_write(enum custody_type type, uint64_t time, const char *document, size_t len,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN], struct text *out);
/** Takes one of that type apart, whoever signed it, and adds its document. ERROR_INPUT: it is none,
 * to the byte. */
int custody_read(enum custody_type type, const char *jws, size_t len, uint64_t *ret_time,
    struct text *ret_document, uint8_t ret_signature[static AUDIT_SIGNATURE_LEN]) MUST_CHECK;
/** The same of one that was signed by this key; else ERROR_INPUT. */
int custody_open(enum custody_type type, const char *jws, size_t len, const struct audit_key *key,
    uint64_t *ret_time, struct text *ret_document) MUST_CHECK;
