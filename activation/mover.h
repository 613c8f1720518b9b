/* What a move of device/moves.h does, to one device or to a chunk of them: the one implementation
 * behind a call about a device and behind a job about a fleet.
 *
 * mover_load reads the devices and judges them; no lock is held then, and whoever asks for new
 * codes may have them made. mover_make makes the legal moves in one transaction of the caller:
 * devices, codes, offers, keys and audit events, all or none. */
#pragma once

#include "activation/worker.h"
#include "db/device_change.h"
#include "db/offer.h"
#include "device/moves.h"

#define MOVER_MAX DB_DEVICE_CHANGE_MAX

/** Who moves, and what the move needs to know. */
struct mover {
    enum device_move move;
    int64_t organization_id; /* of the client that asks */
    const uint8_t *client_id;
    const char *request_id;
    bool is_operator;                  /* may quarantine whatever is here, and lift it */
    const char *job;                   /* for the audit, as hex; NULL: none */
    uint8_t made_by[DB_CODE_CALL_LEN]; /* the name of who makes new codes */
    /* MOVE_BIND: where to, unless it stays. */
    bool rebinds, has_home_net_id;
    struct net_id home_net_id;
    char as_id[PEER_ID_MAX + 1]; /* "": none */
    bool narrows;                /* where it may roam, unless that stays */
    struct device_roaming roaming;
    const char *name; /* its new name; NULL: it keeps the one it has */
    /* MOVE_OFFER */
    int64_t to_id, lifetime_s;
};

/** Why a device is not moved. Kept with a job's rows, so numbers are never given anew; one from
 * MOVE_REFUSED_STATE on has what device_move_against says added. */
enum move_refusal {
    MOVE_NOT_REFUSED,
    MOVE_REFUSED_UNKNOWN,      /* not here, or not the organization's */
    MOVE_REFUSED_RELEASED,     /* its last owner released it for the next one */
    MOVE_REFUSED_OPERATOR,     /* in quarantine by the operator */
    MOVE_REFUSED_SUBSCRIPTION, /* it needs one that runs */
    MOVE_REFUSED_REPLACED,     /* another device has its place: to be resumed by itself alone */
    MOVE_REFUSED_KIND,         /* a Sigfox device has neither DevNonces nor a home network */
    MOVE_REFUSED_STATE = DEVICE_MOVE_AGAINST_MAX,
};
/** A word for it, and a sentence. */
const char *move_refusal_name(unsigned refusal);
void move_refusal_explain(
    enum device_move move, unsigned refusal, char out[static DEVICE_MOVE_FAULT_MAX]);

struct moving {
    struct db_device_moving found;
    unsigned refusal; /* 0: it may be moved */
    struct device_record after;
    struct db_code code; /* with a new generation, of a move that renews it; its hash is to come */
    struct db_offer offer; /* MOVE_OFFER, once it is made */
};

/** ret[i] belongs to dev_euis[i]: up to MOVER_MAX different ones. */
int mover_load(struct act_worker *worker, const struct mover *mover, const struct eui64 *dev_euis,
    size_t n, struct moving *ret) MUST_CHECK;
/** In a transaction of the caller. Outcome 1: a device has changed since it was read; the
 * transaction is to be undone. */
int mover_make(struct act_worker *worker, const struct mover *mover, struct moving *moving,
    size_t n) MUST_CHECK;
