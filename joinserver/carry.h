/* Messages that another join server answers, carried there and back (TS002 clause 5: sender and
 * receiver stay who they are). Of a request and of its answer all members are kept, known or not,
 * but those that belong to the way from one server to the next:
 *
 *   TransactionID    ours towards the partner, the requester's in the answer
 *   ProtocolVersion  the partner's, and the requester's in the answer, with ResultCodes of it alone
 *   SenderNSID       (1.1) the requester's where its record has it; else 02-00-00-00-00 and its
 *                    NetID, so that one network is one sender. In the answer ReceiverNSID is the
 *                    requester's own. 1.0 has neither
 *   ReceiverToken    of the answer: the requester's SenderToken, whatever the partner echoes
 *
 * A member of a request whose name is one of its header's, or DevEUI or PHYPayload, in another case
 * is not carried: there are readers that would take it for the one that was judged here.
 *
 * Pure. What passes through is wiped, where json_wipe_memory was called. */
#pragma once

#include "joinserver/message.h"

#define CARRY_CODE_MAX 32     /* bytes of a ResultCode */
#define CARRY_CODE_UNKNOWN 23 /* the number of all that are not known, behind those that are */
#define N_CARRY_CODES (CARRY_CODE_UNKNOWN + 1)

/** How a request goes on. */
struct carry_out {
    enum ts002_version version; /* the partner's */
    uint32_t transaction_id;    /* ours */
    bool ns_id_is_its_own; /* the request's SenderNSID is one that its sender is known to have */
};

/** The request for the partner. False: there is none, since the body is not what the request was
 * read from, or memory is missing. */
bool carry_request(const char *body, size_t len, const struct ts002_request *request,
    const struct carry_out *out, struct text *ret) MUST_CHECK;

/** Why an answer is not believed. Each is a series of a metric. */
enum carry_fault {
    CARRY_GOOD,
    CARRY_NOT_JSON,
    CARRY_OTHER_MESSAGE,     /* MessageType is not the one that answers the request */
    CARRY_OTHER_TRANSACTION, /* TransactionID is not the request's, or missing */
    CARRY_OTHER_IDS,         /* SenderID and ReceiverID are not the request's, swapped */
    CARRY_NO_RESULT,         /* Result.ResultCode is missing, or no text of a code's length */
    CARRY_INCOMPLETE,        /* Success without what the requester asked for */
    CARRY_OTHER_VERSION,     /* the partner does not know the ProtocolVersion that it is said to */
    N_CARRY_FAULTS
};

struct carry_answer {
    char code[CARRY_CODE_MAX]; /* ResultCode, as the requester reads it */
    unsigned heard;            /* and as it came: one of N_CARRY_CODES */
    bool has_clear_key;        /* an AESKey without KEKLabel is in it */
};

/** "(unknown)" of CARRY_CODE_UNKNOWN. What is counted by it is bounded, whatever partners say. */
const char *carry_code_name(unsigned code);
bool carry_is_success(unsigned code);

/** The answer for the requester, of the partner's answer to what carry_request made. */
enum carry_fault carry_answer(const char *body, size_t len, const struct ts002_request *request,
    const struct carry_out *out, struct carry_answer *ret, struct text *ret_text) MUST_CHECK;

/** The TransactionID of a message, where it has one and is the answer of a join server; false for
 * anything else. For answers that come as requests of their own. */
bool carry_read_transaction(const char *body, size_t len, uint32_t *ret);

const char *carry_fault_name(enum carry_fault fault);
