/* What owners do to their devices: the compare-and-set that makes a move of device/moves.h, and the
 * codes that go with it. Role cradle_activation. */
#pragma once

#include "db/code.h"
#include "db/device_view.h"

#define DB_DEVICE_CHANGE_MAX 64 /* devices of one call of these */

/** A device that is to become another: what it was when it was read, and what it will be. */
struct db_device_change {
    int64_t owner_id, new_owner_id; /* 0: nobody */
    const struct db_device *before;
    const struct device_record *after;
    const char *name; /* "": none */
    const char *quarantined_by;
};

/* In a transaction of the caller, for up to DB_DEVICE_CHANGE_MAX different devices, all or none of
 * them: after an outcome the transaction is to be undone. Devices are locked in the order of their
 * DevEUIs, and come first. */

/** Makes of each what it is to be, where it is the owner's and still as it was read, home and name
 * too. What is unowned then has no owner, anything else the new one. Outcome 1: one has changed
 * meanwhile. */
int db_device_change(struct db *db, const struct db_device_change *changes, size_t n);
/** Behind it: no sealed key of the devices is left. */
int db_device_destroy_keys(struct db *db, const struct db_device_change *changes, size_t n);
/** Behind it: who has put them into quarantine, "" for nobody, where that is still who it was when
 * the device was read. Outcome 1: of one it is not. */
int db_device_mark_quarantine(struct db *db, const struct db_device_change *changes, size_t n);

/** Whether a network server speaks for the NetID, and whether there is such an application server.
 */
int db_home_known(
    struct db *db, const struct net_id *net_id, const char *as_id, bool *ret_home, bool *ret_as);

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
/** In a transaction of the caller: stores codes of up to DB_DEVICE_CHANGE_MAX devices, each of the
 * generation behind the one that was read; `made_by`: the call's name. Outcome 1: of one there is
 * another meanwhile, and the transaction is to be undone. */
int db_code_renew(struct db *db, const struct db_code *codes, size_t n,
    enum db_code_renewal renewal, int64_t organization_id,
    const uint8_t made_by[static DB_CODE_CALL_LEN]);

/** Forgets wrong claims of a device, so that its weak code can be tried again. */
int db_code_unlock(struct db *db, const struct eui64 *dev_eui);
