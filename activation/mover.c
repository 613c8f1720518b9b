#include "activation/mover.h"

#include "base/hex.h"
#include "db/audit.h"
#include "db/replacement.h"
#include "db/signal.h"
#include "db/subscription.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ACTION_MAX 40
#define DETAIL_MAX 400
#define ROAMING_TEXT_MAX (16 + DEVICE_ROAMING_MAX * (NET_ID_TEXT_LEN + 3))

static const char released[] =
    "its last owner has released the device for the next one: it may be sold on";
static const char operators[] =
    "the device was put into quarantine by the operator of this service: ask him";
static const char replaced[] =
    "another device has its place: one that is in use again is resumed by itself";
static const char no_lorawan[] =
    "the device is a Sigfox device: it does not join, and has neither DevNonces nor a home network";
static const char unentitled[] =
    "the device needs a subscription that runs: have its own extended, or take a place in another";

const char *move_refusal_name(unsigned refusal)
{
    const char *axis =
        refusal >= MOVE_REFUSED_STATE ? device_move_axis(refusal - MOVE_REFUSED_STATE) : NULL;

    return axis != NULL                           ? axis
           : refusal == MOVE_REFUSED_RELEASED     ? "released"
           : refusal == MOVE_REFUSED_OPERATOR     ? "operator"
           : refusal == MOVE_REFUSED_REPLACED     ? "replaced"
           : refusal == MOVE_REFUSED_SUBSCRIPTION ? "subscription"
           : refusal == MOVE_REFUSED_KIND         ? "kind"
                                                  : "unknown";
}

void move_refusal_explain(
    enum device_move move, unsigned refusal, char out[static DEVICE_MOVE_FAULT_MAX])
{
    if (refusal >= MOVE_REFUSED_STATE)
        device_move_explain(move, refusal - MOVE_REFUSED_STATE, out);
    else
        (void)snprintf(out, DEVICE_MOVE_FAULT_MAX, "%s",
            refusal == MOVE_REFUSED_RELEASED       ? released
            : refusal == MOVE_REFUSED_OPERATOR     ? operators
            : refusal == MOVE_REFUSED_REPLACED     ? replaced
            : refusal == MOVE_REFUSED_SUBSCRIPTION ? unentitled
            : refusal == MOVE_REFUSED_KIND         ? no_lorawan
                                                   : "there is no such device, or it is not yours");
}

/* --- what may be moved ------------------------------------------------------------------------ */

/* Scrapping is for good, and its holder's alone. */
static bool acts_as_operator(const struct mover *mover)
{
    return mover->is_operator && (mover->move == MOVE_QUARANTINE || mover->move == MOVE_LIFT);
}

/* What its holder has put into quarantine himself becomes the operator's: or he could lift it
 * first. */
static bool is_take_over(const struct mover *mover, const struct db_device *device)
{
    return mover->move == MOVE_QUARANTINE && mover->is_operator &&
           device->record.trust == TRUST_QUARANTINED &&
           strcmp(device->quarantined_by, "operator") != 0;
}

/* What is suspended for want of a subscription becomes its owner's to resume. */
static bool is_hand_over(const struct mover *mover, const struct db_device *device)
{
    return mover->move == MOVE_SUSPEND && device->is_suspended_by_subscription &&
           device->record.ownership == OWNERSHIP_CLAIMED;
}

/* Also one that nobody asked for is not its holder's to lift; one by its signals is, for he wanted
 * it so. */
static bool is_held_by_operator(const struct mover *mover, const struct db_device *device)
{
    return (mover->move == MOVE_LIFT || mover->move == MOVE_SCRAP) && !mover->is_operator &&
           device->record.trust == TRUST_QUARANTINED &&
           strcmp(device->quarantined_by, "holder") != 0 &&
           strcmp(device->quarantined_by, "service") != 0;
}

/* A device that its last owner has released is its maker's no more, neither to hold nor to destroy:
 * it may have been sold on. */
static bool is_on_its_way(const struct mover *mover, const struct db_device_moving *found)
{
    bool is_of_trust =
        mover->move == MOVE_QUARANTINE || mover->move == MOVE_LIFT || mover->move == MOVE_SCRAP;

    return is_of_trust && !acts_as_operator(mover) && found->released_by_another;
}

/* It may have a name, and may be bound to nothing. */
static bool is_of_joins(const struct mover *mover)
{
    return device_move_is_of_joins(mover->move) &&
           (mover->move != MOVE_BIND || mover->has_home_net_id || mover->roaming.narrowed);
}

static unsigned judge(const struct mover *mover, const struct db_device_moving *found)
{
    const struct db_device *device = &found->device;
    unsigned against;

    if (!found->is_here || !(device->is_held || acts_as_operator(mover)))
        return MOVE_REFUSED_UNKNOWN;
    if (is_of_joins(mover) && device_kind_of(&device->record.dev_eui) == DEVICE_SIGFOX)
        return MOVE_REFUSED_KIND;
    if (is_take_over(mover, device) || is_hand_over(mover, device))
        return MOVE_NOT_REFUSED;
    if ((against = device_move_against(mover->move, &device->record)) != 0)
        return MOVE_REFUSED_STATE + against;
    if (is_on_its_way(mover, found))
        return MOVE_REFUSED_RELEASED;
    if (mover->move == MOVE_RESUME && mover->job != NULL && device->has_replaced_by)
        return MOVE_REFUSED_REPLACED;
    if (mover->move == MOVE_RESUME && !device->is_entitled)
        return MOVE_REFUSED_SUBSCRIPTION;
    return is_held_by_operator(mover, device) ? MOVE_REFUSED_OPERATOR : MOVE_NOT_REFUSED;
}

static void plan(const struct mover *mover, struct moving *moving)
{
    struct device_record *after = &moving->after;

    *after = moving->found.device.record;
    if (!is_take_over(mover, &moving->found.device) && !is_hand_over(mover, &moving->found.device))
        device_move_make(mover->move, after);
    if (mover->move == MOVE_BIND && mover->rebinds) {
        after->has_home_net_id = mover->has_home_net_id;
        after->home_net_id = mover->home_net_id;
        memcpy(after->as_id, mover->as_id, sizeof(after->as_id));
    }
    if (mover->move == MOVE_BIND && mover->narrows)
        after->roaming = mover->roaming;
    if (device_move_renews_code(mover->move)) {
        moving->code.dev_eui = after->dev_eui;
        moving->code.generation = moving->found.code_generation + 1;
    }
}

int mover_load(struct act_worker *worker, const struct mover *mover, const struct eui64 *dev_euis,
    size_t n, struct moving *ret)
{
    struct db_device_moving found[MOVER_MAX];
    int r = db_device_load_moving(worker->db, dev_euis, n, mover->organization_id, found);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        ret[i] = (struct moving){.found = found[i]};
        ret[i].refusal = judge(mover, &ret[i].found);
        ret[i].after.dev_eui = dev_euis[i];
        if (ret[i].refusal == MOVE_NOT_REFUSED)
            plan(mover, &ret[i]);
    }
    return 0;
}

/* --- making them ------------------------------------------------------------------------------ */

/* Those of a chunk that are moved, as the statements want them. */
struct chunk {
    struct moving *moving[MOVER_MAX];
    struct db_device_change changes[MOVER_MAX];
    struct db_code codes[MOVER_MAX];
    struct db_offer offers[MOVER_MAX];
    struct eui64 dev_euis[MOVER_MAX];
    size_t n;
};

static void gather(const struct mover *mover, struct moving *moving, size_t n, struct chunk *ret)
{
    const char *mark = mover->move != MOVE_QUARANTINE ? ""
                       : mover->is_operator           ? "operator"
                                                      : "holder";

    ret->n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct db_device *device = &moving[i].found.device;

        if (moving[i].refusal != MOVE_NOT_REFUSED)
            continue;
        ret->moving[ret->n] = &moving[i];
        ret->changes[ret->n] = (struct db_device_change){.owner_id = device->owner_id,
            .new_owner_id = device->owner_id,
            .before = device,
            .after = &moving[i].after,
            .name = mover->move == MOVE_RELEASE ? ""
                    : mover->name != NULL       ? mover->name
                                                : device->name,
            .quarantined_by = mark};
        ret->codes[ret->n] = moving[i].code;
        ret->dev_euis[ret->n] = moving[i].after.dev_eui;
        ret->offers[ret->n] = (struct db_offer){.dev_eui = moving[i].after.dev_eui,
            .from_id = mover->organization_id,
            .to_id = mover->to_id};
        ret->n++;
    }
}

static int make_offers(struct act_worker *worker, const struct mover *mover, struct chunk *c)
{
    int r = db_offer_add(worker->db, c->offers, c->n, mover->lifetime_s);

    for (size_t i = 0; r == 0 && i < c->n; i++)
        c->moving[i]->offer = c->offers[i];
    return r;
}

/* Judged once more when nobody else can change the devices: a subscription may have ended since. */
static int resume(struct act_worker *worker, const struct mover *mover, struct chunk *c)
{
    size_t n_suspended = 0;
    int r = db_replacement_end(worker->db, c->changes, c->n);

    if (r == 0)
        r = db_subscription_settle(worker->db, c->dev_euis, c->n, mover->request_id, &n_suspended);
    return r < 0 ? r : n_suspended > 0;
}

static int lift(struct act_worker *worker, struct chunk *c)
{
    int r = db_device_mark_quarantine(worker->db, c->changes, c->n);

    return r != 0 ? r : db_signal_forget(worker->db, c->dev_euis, c->n);
}

/* What the move is besides the axes. */
static int make_more(struct act_worker *worker, const struct mover *mover, struct chunk *c)
{
    struct db *db = worker->db;
    int r = 0;

    switch (mover->move) {
    case MOVE_RELEASE:
    case MOVE_ROTATE_CODE:
        return db_code_renew(db, c->codes, c->n,
            mover->move == MOVE_RELEASE ? CODE_RELEASED : CODE_ROTATED, mover->organization_id,
            mover->made_by);
    case MOVE_OFFER:
        return make_offers(worker, mover, c);
    case MOVE_SCRAP:
        if ((r = db_device_destroy_keys(db, c->changes, c->n)) < 0)
            return r;
        return db_device_mark_quarantine(db, c->changes, c->n);
    case MOVE_SUSPEND:
        return db_subscription_hand_over(db, c->dev_euis, c->n);
    case MOVE_RESUME:
        return resume(worker, mover, c);
    case MOVE_RESET_NONCES:
        return db_signal_forget(db, c->dev_euis, c->n);
    case MOVE_QUARANTINE:
        return db_device_mark_quarantine(db, c->changes, c->n);
    case MOVE_LIFT:
        return lift(worker, c);
    default:
        return r;
    }
}

/* --- the audit -------------------------------------------------------------------------------- */

struct told {
    char object[EUI64_TEXT_LEN + 1];
    char detail[DETAIL_MAX];
};

/* `"roaming":` and what an owner says of it, where he says it. */
static void write_roaming(
    const struct mover *mover, const char *comma, char out[static ROAMING_TEXT_MAX])
{
    const struct device_roaming *roaming = &mover->roaming;
    char net_id[NET_ID_TEXT_LEN + 1];
    size_t len;

    out[0] = '\0';
    if (!mover->narrows)
        return;
    len = (size_t)snprintf(
        out, ROAMING_TEXT_MAX, "%s\"roaming\":%s", comma, !roaming->narrowed ? "\"agreed\"" : "[");
    for (size_t i = 0; i < roaming->n; i++)
        len += (size_t)snprintf(out + len, ROAMING_TEXT_MAX - len, "%s\"%s\"", i > 0 ? "," : "",
            net_id_format(&roaming->net_ids[i], net_id));
    if (roaming->narrowed)
        (void)snprintf(out + len, ROAMING_TEXT_MAX - len, "]");
}

/* A code is told by its generation, in the audit and everywhere else. */
static void write_detail(
    const struct mover *mover, const struct moving *moving, char out[static DETAIL_MAX])
{
    const struct device_record *after = &moving->after;
    char net_id[NET_ID_TEXT_LEN + 1] = "", offer[2 * ACCOUNT_ID_LEN + 1], job[64] = "";
    char roaming[ROAMING_TEXT_MAX];
    const char *comma = ",";

    if (mover->job != NULL)
        (void)snprintf(job, sizeof(job), "\"job\":\"%s\"", mover->job);
    else
        comma = "";
    switch (mover->move) {
    case MOVE_RELEASE:
    case MOVE_ROTATE_CODE:
        (void)snprintf(out, DETAIL_MAX, "{%s%s\"generation\":%" PRIu32 "}", job, comma,
            moving->code.generation);
        return;
    case MOVE_OFFER:
        (void)snprintf(out, DETAIL_MAX, "{%s%s\"offer\":\"%s\"}", job, comma,
            hex_encode(moving->offer.id, sizeof(moving->offer.id), offer));
        return;
    case MOVE_QUARANTINE:
    case MOVE_LIFT:
    case MOVE_SCRAP:
        (void)snprintf(out, DETAIL_MAX, "{%s%s\"by\":\"%s\"}", job, comma,
            mover->is_operator ? "operator" : "holder");
        return;
    case MOVE_BIND:
        if (after->has_home_net_id) {
            write_roaming(mover, ",", roaming);
            (void)snprintf(out, DETAIL_MAX, "{%s%s\"home_net_id\":\"%s\",\"as_id\":\"%s\"%s}", job,
                comma, net_id_format(&after->home_net_id, net_id), after->as_id, roaming);
            return;
        }
        write_roaming(mover, comma, roaming);
        (void)snprintf(out, DETAIL_MAX, "{%s%s}", job, roaming);
        return;
    default:
        break;
    }
    (void)snprintf(out, DETAIL_MAX, "{%s}", job);
}

/* In the holder's history, and what an operator did stands there as his; an offer in that of both.
 */
static int tell(struct act_worker *worker, const struct mover *mover, struct chunk *c)
{
    struct db_audit_event events[2 * MOVER_MAX];
    struct told told[MOVER_MAX];
    char action[ACTION_MAX];
    size_t n = 0;

    (void)snprintf(action, sizeof(action), "device.%s", device_move_text(mover->move));
    for (size_t i = 0; i < c->n; i++) {
        const struct moving *moving = c->moving[i];

        (void)device_id_format(&moving->after.dev_eui, told[i].object);
        write_detail(mover, moving, told[i].detail);
        events[n] = (struct db_audit_event){.organization_id = moving->found.device.holder_id,
            .client_id = mover->client_id,
            .request_id = mover->request_id,
            .action = action,
            .object = told[i].object,
            .detail = told[i].detail};
        if (mover->move == MOVE_OFFER) {
            events[n + 1] = events[n];
            events[++n].organization_id = mover->to_id;
        }
        n++;
    }
    return db_audit_add_all(worker->db, events, n);
}

int mover_make(
    struct act_worker *worker, const struct mover *mover, struct moving *moving, size_t n)
{
    struct chunk c;
    int r;

    gather(mover, moving, n, &c);
    if (c.n == 0)
        return 0;
    if ((r = db_device_change(worker->db, c.changes, c.n)) != 0 ||
        (r = make_more(worker, mover, &c)) != 0)
        return r;
    return tell(worker, mover, &c);
}
