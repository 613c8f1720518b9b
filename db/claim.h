/* Claims: the compare-and-set that gives a device to whoever knows its code, and what wrong codes
 * cost. Role cradle_activation. */
#pragma once

#include "db/account.h"
#include "db/code.h"

#define DB_CLAIM_CHUNK_MAX 32 /* claims of one statement; two codes each go to keyd at once */
#define DB_CLAIM_CALL_LEN DB_CODE_CALL_LEN

/* What wrong claims may cost whoever makes them: leaky buckets. A wrong one is forgiven each
 * `..._S` seconds; beyond `..._BURST` that are not forgiven no more are looked at. */
#define DB_CLAIM_CLIENT_S 6
#define DB_CLAIM_CLIENT_BURST 5
#define DB_CLAIM_NETWORK_S 2
#define DB_CLAIM_NETWORK_BURST 30
/* Of a device only those who have tried it wrongly themselves are held up, and within that time of
 * theirs: else strangers could keep its owner out. */
#define DB_CLAIM_DEVICE_S 4320
#define DB_CLAIM_DEVICE_BURST 5
#define DB_CLAIM_OWN_S 3600
#define DB_CLAIM_WEAK_MAX 20 /* wrong ones lock a weak code until somebody entitled unlocks it */
/* More wrong ones than that of all clients within that time, and for as long from then on each
 * client's is forgiven so much more slowly, and holds that client up at once. Nobody is held up for
 * what others did. */
#define DB_CLAIM_ALARM_MAX 3000
#define DB_CLAIM_ALARM_S 600
#define DB_CLAIM_ALARM_SLOWER 10

/** Who claims. */
struct db_claimant {
    int64_t organization_id;
    uint8_t client_id[ACCOUNT_ID_LEN];
    const char *request_id;
    bool has_network; /* where it comes from, as far as that says something */
    uint64_t network;
    uint8_t call[DB_CLAIM_CALL_LEN]; /* its name: the same call finds its own claims */
};

/** What became of a claim. All from CLAIM_UNKNOWN on are told alike. */
enum db_claim_outcome {
    CLAIM_CLAIMED,
    CLAIM_REPEATED, /* the same call had claimed it before, and has the newest code again */
    CLAIM_OWN,      /* it is the claimant's already; nothing has changed */
    CLAIM_AGAIN,    /* the same call claimed it just now: load and try again */
    CLAIM_NO_PLACE, /* the code is right, and the subscription's last place taken meanwhile, or its
                     * end come; nothing has changed */
    CLAIM_LIMITED,  /* behind as many wrong ones of its client as he may make: not looked at */
    CLAIM_UNKNOWN,  /* no such device */
    CLAIM_QUARANTINED,
    CLAIM_TAKEN,      /* it is somebody else's */
    CLAIM_CREDENTIAL, /* not delivered yet, or scrapped */
    CLAIM_NO_CODE,    /* it never had one */
    CLAIM_LOCKED,     /* weak, and tried wrongly too often */
    CLAIM_CODE,       /* the code is not the device's */
    CLAIM_RACED,      /* another claim was faster; no guess, and not counted */
};
#define DB_N_CLAIM_OUTCOMES (CLAIM_RACED + 1)
const char *db_claim_outcome_text(enum db_claim_outcome outcome);

/** How the subscription stands that a claim is to take a place of: of the claimant's own alone, and
 * asked before any code is looked at. */
enum db_claim_place {
    PLACE_FREE,    /* or none is wanted, or the device holds it already */
    PLACE_UNKNOWN, /* there is no such subscription of the claimant's */
    PLACE_ENDED,   /* it does not run */
    PLACE_FULL,
};

/** A claim on its way. */
struct db_claim {
    const struct db_claimant *claimant;
    struct eui64 dev_eui;
    bool has_home_net_id;
    struct net_id home_net_id;
    char as_id[PEER_ID_MAX + 1]; /* "": none */
    bool has_subscription;
    uint8_t subscription[ACCOUNT_ID_LEN];
    /* Of db_claim_load. */
    uint32_t generation; /* of the device's code, and 1 where there is none */
    uint16_t code_key;   /* version of the code key that it is to be hashed with; 0: the newest */
    bool is_made;        /* here, and not by a file; false where there is none */
    int64_t wait_s;      /* not to be looked at before; 0: now */
    unsigned allowance;  /* how many wrong ones its client may still make at once: 1 and more */
    bool home_known, as_known; /* where they are named; else true */
    enum db_claim_place place;
    /* Of keyd: the given code at `generation`, and the new one at the next. */
    uint8_t hash[DB_CODE_HASH_LEN];
    uint8_t new_hash[DB_CODE_HASH_LEN];
    uint16_t hash_version, new_hash_version;
    /* Of db_claim_settle. */
    enum db_claim_outcome outcome;
    uint32_t ownership_epoch; /* of what came through */
};

/** Fills what claims need to be hashed and judged. One cost, whether a device is here or not. */
int db_claim_load(struct db *db, struct db_claim *claims, size_t n);

/** In a transaction of the caller, of up to DB_CLAIM_CHUNK_MAX different devices, by one claimant
 * or many: those whose code is right become their claimants', with their new code, its hash, the
 * place that they were to take and an audit event in the claimant's history; wrong ones are
 * counted. They are judged in their order, as if one came after the other: once a client has made
 * as many wrong ones as his claims allow, the rest of his are CLAIM_LIMITED. Each leaves a
 * claim_event, but for those, for what is the claimant's already and, unless this is the last turn,
 * for CLAIM_RACED. */
int db_claim_settle(struct db *db, struct db_claim *claims, size_t n, bool last);

/** Takes the call's name for this connection, so that a repetition does not make codes anew behind
 * the back of a call that is about to tell them. Outcome 1: another connection has it. It is free
 * again after db_claim_unlock, and when the session ends. */
int db_claim_lock(struct db *db, const struct db_claimant *claimant, int *ret_session);
void db_claim_unlock(struct db *db, const struct db_claimant *claimant, int session);

/** Counts the wrong claims of all clients, and raises the alarm that DB_CLAIM_ALARM_MAX is about,
 * or goes on with it. *ret_on: whether it lasts; *ret_n: how many there are, counted no further
 * than one too many. */
int db_claim_watch(struct db *db, bool *ret_on, int64_t *ret_n);

/** Forgets what is forgiven, and attempts older than DB_CLAIM_EVENT_DAYS. *ret_n: how many. */
#define DB_CLAIM_EVENT_DAYS 90
#define DB_CLAIM_PIECE 1000
int db_claim_purge(struct db *db, size_t *ret_n);
