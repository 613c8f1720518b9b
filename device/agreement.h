/* What networks have agreed upon about each other's devices: who may have whose devices join away
 * from home, and whose HomeNSReq is answered (TS002-1.0 6). Pure: the database room fills it, and
 * who judges says what time it is. */
#pragma once

#include "base/eui.h"
#include <stdbool.h>

/** What an agreement may allow: bits. */
enum device_away {
    AWAY_ACTIVATION = 1 << 0, /* a join or rejoin through the visited network */
    AWAY_HOME_NS = 1 << 1,    /* to be told who is home to a device */
};
#define AWAY_ALL ((unsigned)AWAY_ACTIVATION | (unsigned)AWAY_HOME_NS)

/** What two networks have agreed upon. A greater one wins: it says more, and is nearer to a yes. */
enum device_agreed {
    AGREED_NOTHING,
    AGREED_ENDED,
    AGREED_NOT_BEGUN,
    AGREED_ELSE, /* one that runs allows other things only */
    AGREED,
    N_DEVICE_AGREED
};

#define AGREEMENT_NO_END INT64_MAX

struct device_agreement {
    int64_t group_id; /* 0: of the pair that follows; else every two members, both ways */
    struct net_id home, visited; /* `visited` may have devices of `home` */
    bool both_ways;
    unsigned allows;          /* of enum device_away */
    int64_t starts_s, ends_s; /* since 1970: it runs from the first on, and at the second no more */
};

struct device_group_member {
    struct net_id net_id;
    int64_t group_id;
};

/** All of them. Both arrays are on the heap, and whoever has filled them has them sorted. */
struct device_agreements {
    struct device_agreement *agreements;
    size_t n_agreements;
    struct device_group_member *members; /* each network once in a group */
    size_t n_members;
};

/** Once, before anything is judged: by the number of the group, then by pair; members by network.
 * Of an agreement both ways `agreements` holds one for each way. */
void device_agreements_sort(struct device_agreements *a);
void device_agreements_done(struct device_agreements *a);

/** Where one agreement stands at the time. */
enum device_agreed device_agreement_at(
    const struct device_agreement *agreement, unsigned what, int64_t now_s);

/** What the home network of a device and another one have agreed upon, of one bit of enum
 * device_away: the best of all agreements that are about both. */
enum device_agreed device_agreements_judge(const struct device_agreements *a,
    const struct net_id *home, const struct net_id *visited, unsigned what, int64_t now_s);
