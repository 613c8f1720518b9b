/* The exact bytes of the audit: what of an event is hashed, what a leaf of the tree is, and what a
 * checkpoint's signature is over. One place for the service that chains, for keyd that signs and
 * for `cradle audit verify`. Numbers are big-endian. Pure.
 *
 *   event       "CAE1" | id 8 | time 27 | organization | client | request id | action | object
 *               | detail; the time as "2026-01-02T03:04:05.678901Z"; of the others each has its
 *               length in front, of 2 bytes, that of the detail of 4. Organization and client are
 *               16 bytes, or none where there is none; the detail is the JSON text as the database
 *               writes it.
 *   chain       h(n) = SHA-256(h(n-1) | event n); h(0) is 32 zero bytes. One over all events, and
 *               one over those of each organization ("of nobody" is one, too).
 *   leaf        SHA-256(0x00 | "cradle-audit-leaf-v1" | seq 8 | organization 16
 *               | organization's number 8 | organization's chain 32 | salt 16)
 *   checkpoint  "cradle-audit-checkpoint-v1" | organization 16 | seq 8 | count 8 | time 8
 *               | chain 32 | root 32
 *
 * The tree is that of RFC 9162 over the leaves in the order of seq (base/merkle.h). An organization
 * of 16 zero bytes is none; a checkpoint of it is over all. */
#pragma once

#include "base/cleanup.h"
#include "base/merkle.h"
#include "base/text.h"

#define AUDIT_ID_LEN 16
#define AUDIT_SALT_LEN 16
#define AUDIT_TIME_LEN 27
#define AUDIT_SIGNATURE_LEN 64 /* ECDSA over P-256 with SHA-256: r | s */
#define AUDIT_POINT_LEN 65     /* of its public key, not compressed */

struct audit_record {
    int64_t id;
    char at[AUDIT_TIME_LEN + 1];
    bool has_organization, has_client;
    uint8_t organization[AUDIT_ID_LEN], client[AUDIT_ID_LEN]; /* zeros where there is none */
    const char *request_id, *action, *object;
    const char *detail; /* JSON text */
};

/** Where an event stands. */
struct audit_link {
    uint64_t seq;              /* from 1, without a gap */
    uint64_t organization_seq; /* the same of its organization's events */
    uint8_t chain[MERKLE_HASH_LEN];
    uint8_t organization_chain[MERKLE_HASH_LEN];
    uint8_t salt[AUDIT_SALT_LEN]; /* random: nobody guesses an event from its leaf */
};

/** How far the events go, and what they come to. */
struct audit_checkpoint {
    uint8_t organization[AUDIT_ID_LEN]; /* zeros: all events */
    uint64_t seq;                       /* of the last event of all; the size of the tree */
    uint64_t count;                     /* events, of the organization or of all */
    uint64_t time;                      /* of signing, seconds since 1970 UTC */
    uint8_t chain[MERKLE_HASH_LEN];     /* of the last of these; zeros for none */
    uint8_t root[MERKLE_HASH_LEN];
};
#define AUDIT_CHECKPOINT_LEN 130

/** Makes the next hash of a chain. ERROR_INPUT for a text that is longer than its length can say;
 * ERROR_SYSTEM without memory. */
int audit_chain(const uint8_t before[static MERKLE_HASH_LEN], const struct audit_record *record,
    uint8_t ret[static MERKLE_HASH_LEN]) MUST_CHECK;
/** The bytes of an event, added. Failure is the text's, or ERROR_INPUT. */
int audit_record_write(const struct audit_record *record, struct text *out) MUST_CHECK;
int audit_leaf(const struct audit_link *link, const uint8_t organization[static AUDIT_ID_LEN],
    uint8_t ret[static MERKLE_HASH_LEN]) MUST_CHECK;

/** Whether a checkpoint can be one: counts that agree, and a chain where there are events. */
bool audit_checkpoint_valid(const struct audit_checkpoint *checkpoint);
void audit_checkpoint_write(
    const struct audit_checkpoint *checkpoint, uint8_t ret[static AUDIT_CHECKPOINT_LEN]);
