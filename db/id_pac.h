/* The list of what a maker has really built: devices that become activable by their identifier and
 * the code (PAC) on their label. Role cradle_activation. */
#pragma once

#include "db/certificate.h"
#include "db/claim.h"

#define DB_ID_PAC_CHUNK_MAX 64 /* lines of one statement, and codes that keyd hashes at once */
/* What a client may be wrong about at once in a list, of devices that are not his to know: more
 * than with claims, for of many labels some are misread. It is the same bucket, and forgiven as
 * slowly. */
#define DB_ID_PAC_BURST 30

/** What became of a line. All from ID_PAC_UNKNOWN on are told alike where `told` is false. */
enum db_id_pac_outcome {
    ID_PAC_ACTIVABLE,   /* it became so */
    ID_PAC_HANDED_OVER, /* the same, and it is the certificate's organization's from now on */
    ID_PAC_EXISTS,      /* it was already, under this certificate; nothing has changed */
    ID_PAC_RACED,       /* it has changed since it was loaded: load and try again */
    ID_PAC_HELD, /* not looked at, behind as many wrong ones as the client may make; nor are those
                  * behind it */
    ID_PAC_LIMITED, /* not looked at: this client has tried this device wrongly too often */
    ID_PAC_QUOTA,   /* a prototype too many */
    ID_PAC_PRODUCT, /* no prototype any more: the module has a product */
    ID_PAC_UNKNOWN, /* no such device */
    ID_PAC_SCRAPPED,
    ID_PAC_NO_CODE,   /* it never had one that its label could say */
    ID_PAC_LOCKED,    /* weak, and tried wrongly too often */
    ID_PAC_CODE,      /* the code is not the device's */
    ID_PAC_ELSEWHERE, /* activable already, under another certificate or none */
    ID_PAC_QUARANTINED,
    ID_PAC_ORDERED, /* it has no key yet */
    ID_PAC_MODULE,  /* not of the certificate's module, nor brought in by its organization */
};
#define DB_N_ID_PAC_OUTCOMES (ID_PAC_MODULE + 1)

/** A line on its way. */
struct db_id_pac {
    struct eui64 dev_eui;
    /* Of db_id_pac_load. */
    uint32_t generation;            /* of the code that its label has; 1 where there is none */
    bool is_made;                   /* here, and not by a file; false where there is none */
    int64_t wait_s;                 /* not to be looked at before; 0: now */
    uint16_t code_key;              /* version of the code key to hash it with; 0: the newest */
    uint8_t hash[DB_CODE_HASH_LEN]; /* of keyd: the given code at `generation` */
    uint16_t hash_version;
    /* Of db_id_pac_settle. */
    enum db_id_pac_outcome outcome;
    bool told;                              /* the device is the caller's: he is told the reason */
    int64_t batch_id;                       /* of one that became activable; else 0 */
    int64_t former_id;                      /* the organization that such a one was of */
    char other[CERTIFICATE_NUMBER_LEN + 1]; /* under which it is activable; "": under none */
};

/** As db_claim_load, with DB_ID_PAC_BURST: what lines need to be hashed, for how long nothing of
 * this client is looked at, and how often he may still be wrong. One cost, whether a device is here
 * or not. */
int db_id_pac_load(struct db *db, const struct db_claimant *claimant, struct db_id_pac *lines,
    size_t n, int64_t *ret_wait_s, size_t *ret_allowance);

/** In a transaction of the caller, of different devices: those whose code is right, and that are of
 * the certificate's module or were brought in by its organization, which is the claimant's, become
 * activable under it; those that nobody owns become its organization's, with an audit event in the
 * history of both. Of a module, prototypes as far as its quota goes. Wrong ones are counted, and
 * leave a claim_event where they are not told. Nothing is looked at behind `allowance` of these.
 * Outcome 1: the certificate is revoked, and nothing has changed. */
int db_id_pac_settle(struct db *db, const struct db_claimant *claimant, int64_t certificate_id,
    size_t allowance, struct db_id_pac *lines, size_t n);
