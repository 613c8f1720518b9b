/* What a device is: identity, the four axes of its state, and the memory of its joins. Pure values.
 * The database room fills them; decisions over them are total functions. */
#pragma once

#include "base/sealed.h"
#include "lorawan/types.h"

/** Each axis is stored as the text of its name (device_..._text / _parse). */
enum device_credential {
    CREDENTIAL_ORDERED,
    CREDENTIAL_GENERATED,
    CREDENTIAL_DELIVERED,
    CREDENTIAL_PERSONALIZED,
    CREDENTIAL_ACTIVABLE,
    CREDENTIAL_SCRAPPED,
};
enum device_ownership { OWNERSHIP_UNOWNED, OWNERSHIP_CLAIMED, OWNERSHIP_OFFERED };
enum device_service { SERVICE_INACTIVE, SERVICE_ACTIVE, SERVICE_SUSPENDED };
enum device_trust { TRUST_OK, TRUST_SUSPECT, TRUST_QUARANTINED };

const char *device_credential_text(enum device_credential v);
const char *device_ownership_text(enum device_ownership v);
const char *device_service_text(enum device_service v);
const char *device_trust_text(enum device_trust v);
bool device_credential_parse(const char *text, enum device_credential *ret);
bool device_ownership_parse(const char *text, enum device_ownership *ret);
bool device_service_parse(const char *text, enum device_service *ret);
bool device_trust_parse(const char *text, enum device_trust *ret);

/** What a device's identifier is, and it alone tells. A Sigfox device has no JoinEUI (zeros in its
 * record), no LoRaWAN version (the first one) and no home network, and never joins. */
enum device_kind { DEVICE_LORAWAN, DEVICE_SIGFOX };
enum device_kind device_kind_of(const struct eui64 *dev_eui);
/** "lorawan", "sigfox": as it is stored, and told. */
const char *device_kind_text(enum device_kind kind);

/** A maker's factory test: while nobody owns the device, the network that the maker names may have
 * it join, so often and so long. */
struct device_test_window {
    bool present;
    struct net_id net_id;
    char as_id[PEER_ID_MAX + 1]; /* "" when none was named */
    uint16_t max_joins, joins;   /* that it may have, and has had: rejoins count, too */
    bool expired;                /* by the database's clock, at load */
};

/** Where else than at home its owner lets it join. Not narrowed: in every network that an agreement
 * lets (device/agreement.h). Narrowed: in those of these that an agreement lets; without one,
 * nowhere but at home. */
#define DEVICE_ROAMING_MAX 16
struct device_roaming {
    bool narrowed;
    uint8_t n; /* of net_ids, which are in order, each once */
    struct net_id net_ids[DEVICE_ROAMING_MAX];
};
bool device_roaming_equal(const struct device_roaming *a, const struct device_roaming *b);
/** Whether it leaves the network, which is not the home of the device, as it is. */
bool device_roaming_allows(const struct device_roaming *roaming, const struct net_id *net_id);
/** Puts them in order, each once. False, and nothing is made, of more than DEVICE_ROAMING_MAX. */
bool device_roaming_list(const struct net_id *net_ids, size_t n, struct device_roaming *ret);

struct device_record {
    struct eui64 dev_eui; /* or Sigfox id (base/eui.h) */
    struct eui64 join_eui;
    enum lw_mac_version mac_version;
    enum device_credential credential;
    enum device_ownership ownership;
    enum device_service service;
    enum device_trust trust;
    uint32_t ownership_epoch;
    uint32_t nonce_epoch; /* bumped by reset-nonces */
    bool has_home_net_id;
    struct net_id home_net_id;
    char as_id[PEER_ID_MAX + 1]; /* "" when none was named */
    struct device_roaming roaming;
    struct device_test_window test; /* absent from what was loaded without it (db/record_row.h) */
};

/** Its window as those who may know of it are told: "open", "used_up" or "expired". */
const char *device_test_window_text(const struct device_test_window *window);

/** Whose KEK wraps its AppSKey: the application server that its owner named or, of a device in a
 * factory test, its maker. "" when none was named. */
const char *device_as_id(const struct device_record *record);

#define DEVICE_NO_NONCE (-1)
#define JOIN_FINGERPRINT_LEN 16

/** A session that a Rejoin-Request of type 0 or 2 can be of: one made with OptNeg (LoRaWAN 1.1
 * 6.2.4). Its keys follow from these numbers and the root keys. */
struct device_session {
    bool present;
    uint32_t join_nonce;
    uint16_t nonce; /* DevNonce or RJcount of the request that made it */
    struct net_id net_id;
    int32_t rj_count0; /* the last one taken in it; DEVICE_NO_NONCE before the first */
};

/** Whether a device got a Join-Accept is known only when it proves a session: beside the one proved
 * last, the two answered last are kept. As db/join.c numbers them. */
enum { DEVICE_SESSION_CURRENT, DEVICE_SESSION_PENDING, DEVICE_SESSION_PREVIOUS, DEVICE_N_SESSIONS };

/** The hot row of a device (table device_join). */
struct device_join_state {
    uint32_t join_nonce;     /* last one used; 0 before the first join */
    uint32_t join_nonce_gap; /* what epoch bumps leave out before the next one */
    int32_t last_dev_nonce;  /* counted versions; DEVICE_NO_NONCE before the first */
    int32_t rj_count1;       /* last RJcount1 taken; DEVICE_NO_NONCE before the first */
    uint32_t nonce_epoch;    /* the epoch that last_dev_nonce, rj_count1 and the pages belong to */
    struct device_session sessions[DEVICE_N_SESSIONS];
    int64_t gate_rev;
    bool has_retry;
    uint8_t retry_fingerprint[JOIN_FINGERPRINT_LEN];
    int64_t retry_age_ms; /* by the database's clock, at load */
};
