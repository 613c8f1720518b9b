/* A list of what was built at work: chunks of its lines, each hashed in keyd and settled in one
 * transaction. What is committed is done: the same list again finds it, and goes on. */
#pragma once

#include "activation/call.h"
#include "activation/id_pac_report.h"

#define ID_PAC_REFUSED_MAX 10000 /* lines of one list; with so many no more are looked at */

/** Why a list cannot go on, where nothing has failed. */
enum id_pac_stop {
    ID_PAC_GOES_ON = 0,
    ID_PAC_MANY_WRONG,     /* more than the client may make at once: `wait_s` */
    ID_PAC_MANY_REFUSED,   /* ID_PAC_REFUSED_MAX */
    ID_PAC_NO_CERTIFICATE, /* it was revoked since the call began */
    ID_PAC_NO_CLIENT,      /* and so was the client */
};

struct id_pac_work;

struct id_pac_run {
    struct act_call *call;
    struct db_certificate certificate; /* of the caller's organization */
    struct db_claimant claimant;
    struct id_pac_chunk *chunk; /* the one being read; of secret_realloc, as the next */
    struct id_pac_work *work;
    struct id_pac_report report;
    uint32_t line;  /* all up to it are done */
    int64_t wait_s; /* of ID_PAC_MANY_WRONG */
};

/** With the call and the certificate in place: makes room. */
int id_pac_run_begin(struct id_pac_run *run) MUST_CHECK;
void id_pac_run_done(struct id_pac_run *run);

/** Does the lines of the chunk, which is empty then. Outcome: an id_pac_stop; the lines up to
 * run->line are done. */
int id_pac_run_chunk(struct id_pac_run *run) MUST_CHECK;
