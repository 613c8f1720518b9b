/* What owners do to their devices: the compare-and-set that makes a move of device/moves.h, and the
 * codes that go with it. Role cradle_activation. */
#pragma once

#include "db/code.h"
#include "db/device_view.h"

/** In a transaction of the caller: makes `after` of a device that is the owner's (0: nobody's) and
 * still as it was read, home and name too. What is unowned then has no owner, anything else the new
 * one. Outcome 1: it has changed meanwhile. */
int db_device_change(struct db *db, int64_t owner_id, int64_t new_owner_id,
    const struct db_device *before, const struct device_record *after, const char *name);

/** In the same transaction: no sealed key of the device is left. */
int db_device_destroy_keys(struct db *db, const struct eui64 *dev_eui);
/** In the same transaction: who has put it into quarantine, "" for nobody, where that is still who
 * it was when the device was read. Outcome 1: it is not. */
int db_device_mark_quarantine(struct db *db, const struct db_device *before, const char *by);

/** Whether a network server speaks for the NetID, and whether there is such an application server.
 */
int db_home_known(
    struct db *db, const struct net_id *net_id, const char *as_id, bool *ret_home, bool *ret_as);

#define DB_CODE_REISSUE_DAYS 30
struct db_code_standing {
    uint32_t generation; /* 0: it has no code */
    bool reissuable; /* the organization released the device within DB_CODE_REISSUE_DAYS, and nobody
                      * has it since: its code can be made anew */
    bool former;     /* it released it at any time, and nobody has it since */
    bool of_another; /* another organization did: the device is on its way to the next owner */
};
/** Outcome 1: there is no such device. */
int db_code_standing(struct db *db, const struct eui64 *dev_eui, int64_t organization_id,
    struct db_code_standing *ret);

/** Of whom a new code is. */
enum db_code_renewal {
    CODE_ROTATED,  /* its owner's */
    CODE_RELEASED, /* the next owner's, from the organization that releases it */
    CODE_REISSUED, /* the same, once more */
};
/** In a transaction of the caller: stores a code of the generation behind the one that was read;
 * `made_by`: the call's name. Outcome 1: there is another one meanwhile. */
int db_code_renew(struct db *db, const struct db_code *code, enum db_code_renewal renewal,
    int64_t organization_id, const uint8_t made_by[static DB_CODE_CALL_LEN]);

/** Forgets wrong claims of a device, so that its weak code can be tried again. */
int db_code_unlock(struct db *db, const struct eui64 *dev_eui);
