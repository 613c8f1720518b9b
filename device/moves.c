#include "device/moves.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define BIT(value) (1U << (unsigned)(value))
#define ANY (~0U)
#define KEEP (-1)

enum axis { AXIS_CREDENTIAL, AXIS_OWNERSHIP, AXIS_SERVICE, AXIS_TRUST, N_AXES };

static const struct {
    const char *text, *sentence;
    unsigned from[N_AXES]; /* bits of the states that it may begin in */
    int to[N_AXES];        /* state, or KEEP */
    bool new_owner;        /* a new ownership epoch, and no home of before */
    bool new_nonces;       /* a new nonce epoch */
    bool new_code;
    bool of_joins;
} moves[N_DEVICE_MOVES] = {
    [MOVE_CLAIM] = {"claim",
        "Whoever knows the code of a device that nobody owns becomes its owner, and the code is made "
        "anew; the device may join the network that he names.",
        {BIT(CREDENTIAL_DELIVERED) | BIT(CREDENTIAL_PERSONALIZED) | BIT(CREDENTIAL_ACTIVABLE),
            BIT(OWNERSHIP_UNOWNED), ANY, BIT(TRUST_OK) | BIT(TRUST_SUSPECT)},
        {KEEP, OWNERSHIP_CLAIMED, SERVICE_ACTIVE, KEEP}, .new_owner = true, .new_code = true},
    [MOVE_SUSPEND] = {"suspend",
        "The device joins no more until it is resumed; sessions that it has go on, for they are its "
        "network's.",
        {ANY, BIT(OWNERSHIP_CLAIMED), BIT(SERVICE_ACTIVE), ANY},
        {KEEP, KEEP, SERVICE_SUSPENDED, KEEP}},
    [MOVE_RESUME] = {"resume", "A suspended device may join again.",
        {ANY, BIT(OWNERSHIP_CLAIMED), BIT(SERVICE_SUSPENDED), ANY},
        {KEEP, KEEP, SERVICE_ACTIVE, KEEP}},
    [MOVE_RELEASE] = {"release",
        "The device is nobody's, and joins no more; it gets a new code, which the next owner needs.",
        {BIT(CREDENTIAL_DELIVERED) | BIT(CREDENTIAL_PERSONALIZED) | BIT(CREDENTIAL_ACTIVABLE),
            BIT(OWNERSHIP_CLAIMED), ANY, BIT(TRUST_OK) | BIT(TRUST_SUSPECT)},
        {KEEP, OWNERSHIP_UNOWNED, SERVICE_INACTIVE, KEEP}, .new_owner = true, .new_code = true},
    [MOVE_ROTATE_CODE] = {"rotate-code",
        "The device gets a new code, and the one before is worthless; nothing else changes.",
        {ANY, BIT(OWNERSHIP_CLAIMED), ANY, ANY}, {KEEP, KEEP, KEEP, KEEP}, .new_code = true},
    [MOVE_RESET_NONCES] = {"reset-nonces",
        "The DevNonces and RJcounts of before are forgotten, for a device that has lost its memory and "
        "counts from the start; the JoinNonce goes on. Join-Requests that somebody recorded of it can "
        "be played again until the device has counted beyond them. Signals of before do not count any "
        "more.",
        {ANY, BIT(OWNERSHIP_CLAIMED), ANY, BIT(TRUST_OK) | BIT(TRUST_SUSPECT)},
        {KEEP, KEEP, KEEP, TRUST_OK}, .new_nonces = true, .of_joins = true},
    [MOVE_BIND] = {"bind",
        "The device has another home network and application server; it joins there from now on.",
        {ANY, BIT(OWNERSHIP_CLAIMED), ANY, BIT(TRUST_OK) | BIT(TRUST_SUSPECT)},
        {KEEP, KEEP, KEEP, KEEP}, .of_joins = true},
    [MOVE_OFFER] = {"offer",
        "Another organization may accept the device within the offer's time; until then it goes on as "
        "it is.",
        {BIT(CREDENTIAL_DELIVERED) | BIT(CREDENTIAL_PERSONALIZED) | BIT(CREDENTIAL_ACTIVABLE),
            BIT(OWNERSHIP_CLAIMED), ANY, BIT(TRUST_OK) | BIT(TRUST_SUSPECT)},
        {KEEP, OWNERSHIP_OFFERED, KEEP, KEEP}},
    [MOVE_ACCEPT] = {"accept",
        "The device belongs to the organization that it was offered to, with a new code; it joins the "
        "network that the new owner names, and has to join anew.",
        {BIT(CREDENTIAL_DELIVERED) | BIT(CREDENTIAL_PERSONALIZED) | BIT(CREDENTIAL_ACTIVABLE),
            BIT(OWNERSHIP_OFFERED), ANY, BIT(TRUST_OK) | BIT(TRUST_SUSPECT)},
        {KEEP, OWNERSHIP_CLAIMED, SERVICE_ACTIVE, KEEP}, .new_owner = true, .new_code = true},
    [MOVE_DECLINE] = {"decline",
        "The offer is over, and the device its owner's alone; either of the two may end it so.",
        {ANY, BIT(OWNERSHIP_OFFERED), ANY, ANY}, {KEEP, OWNERSHIP_CLAIMED, KEEP, KEEP}},
    [MOVE_QUARANTINE] = {"quarantine",
        "The device may be in other hands, or its keys: it joins no more, and is neither claimed nor "
        "handed on, until the quarantine is lifted by who imposed it.",
        {ANY & ~BIT(CREDENTIAL_SCRAPPED), ANY, ANY, BIT(TRUST_OK) | BIT(TRUST_SUSPECT)},
        {KEEP, KEEP, KEEP, TRUST_QUARANTINED}},
    [MOVE_LIFT] = {"lift",
        "The device is trusted again, whatever was seen of it until now: signals of before do not "
        "count any more.",
        {ANY, ANY, ANY, BIT(TRUST_SUSPECT) | BIT(TRUST_QUARANTINED)}, {KEEP, KEEP, KEEP, TRUST_OK}},
    [MOVE_SUSPECT] = {"suspect",
        "The service has seen what speaks for a second device with the same key, or for an attack. "
        "The device joins as before.",
        {ANY & ~BIT(CREDENTIAL_SCRAPPED), ANY, ANY, BIT(TRUST_OK)},
        {KEEP, KEEP, KEEP, TRUST_SUSPECT}},
    [MOVE_TRUST] = {"trust", "What made the device suspect has faded, and nothing new was seen.",
        {ANY, ANY, ANY, BIT(TRUST_SUSPECT)}, {KEEP, KEEP, KEEP, TRUST_OK}},
    [MOVE_SCRAP] = {"scrap",
        "The device is no more: its sealed keys are destroyed, and its DevEUI is never given to "
        "another. There is no way back.",
        {ANY & ~BIT(CREDENTIAL_SCRAPPED), BIT(OWNERSHIP_UNOWNED) | BIT(OWNERSHIP_CLAIMED), ANY,
            ANY},
        {CREDENTIAL_SCRAPPED, KEEP, SERVICE_INACTIVE, KEEP}},
    [MOVE_REPLACE] = {"replace",
        "Another device has taken its place: it joins no more, and stays its owner's, who sees by "
        "which one it was replaced. One that was repaired may be resumed, and then is not replaced any "
        "more.",
        {ANY & ~BIT(CREDENTIAL_SCRAPPED), BIT(OWNERSHIP_CLAIMED), ANY, ANY},
        {KEEP, KEEP, SERVICE_SUSPENDED, KEEP}},
    [MOVE_TAKE_PLACE] = {"take-place",
        "The device has the name, the home network and the application server of the one that it "
        "replaces, and may join.",
        {BIT(CREDENTIAL_DELIVERED) | BIT(CREDENTIAL_PERSONALIZED) | BIT(CREDENTIAL_ACTIVABLE),
            BIT(OWNERSHIP_CLAIMED), ANY, BIT(TRUST_OK) | BIT(TRUST_SUSPECT)},
        {KEEP, KEEP, SERVICE_ACTIVE, KEEP}},
    [MOVE_SUBSCRIBE] = {"subscribe",
        "The device holds a place in a subscription of its owner's, instead of the one that it held; "
        "one that was suspended for want of it is resumed.",
        {ANY & ~BIT(CREDENTIAL_SCRAPPED), BIT(OWNERSHIP_CLAIMED), ANY, ANY},
        {KEEP, KEEP, KEEP, KEEP}},
    [MOVE_UNSUBSCRIBE] = {"unsubscribe",
        "The device holds no subscription, and its place is free; where its owner's devices need one "
        "it is suspended.",
        {ANY, BIT(OWNERSHIP_CLAIMED), ANY, ANY}, {KEEP, KEEP, KEEP, KEEP}},
};

#define AXIS_STATES 16 /* more than any axis has: the number of what stands against a move */
_Static_assert((N_AXES + 1) * AXIS_STATES <= DEVICE_MOVE_AGAINST_MAX, "its numbers are in range");

static const char *const axis_names[N_AXES] = {"credential", "ownership", "service", "trust"};

static unsigned state_of(const struct device_record *record, enum axis axis)
{
    switch (axis) {
    case AXIS_CREDENTIAL:
        return record->credential;
    case AXIS_OWNERSHIP:
        return record->ownership;
    case AXIS_SERVICE:
        return record->service;
    default:
        return record->trust;
    }
}

static const char *text_of(enum axis axis, unsigned state)
{
    switch (axis) {
    case AXIS_CREDENTIAL:
        return device_credential_text((enum device_credential)state);
    case AXIS_OWNERSHIP:
        return device_ownership_text((enum device_ownership)state);
    case AXIS_SERVICE:
        return device_service_text((enum device_service)state);
    default:
        return device_trust_text((enum device_trust)state);
    }
}

const char *device_move_text(enum device_move move)
{
    assert((unsigned)move < N_DEVICE_MOVES);
    return moves[move].text;
}

const char *device_move_sentence(enum device_move move)
{
    assert((unsigned)move < N_DEVICE_MOVES);
    return moves[move].sentence;
}

bool device_move_parse(const char *text, enum device_move *ret)
{
    for (unsigned i = 0; i < N_DEVICE_MOVES; i++)
        if (strcmp(moves[i].text, text) == 0) {
            *ret = (enum device_move)i;
            return true;
        }
    return false;
}

bool device_move_renews_code(enum device_move move)
{
    assert((unsigned)move < N_DEVICE_MOVES);
    return moves[move].new_code;
}

bool device_move_is_of_joins(enum device_move move)
{
    assert((unsigned)move < N_DEVICE_MOVES);
    return moves[move].of_joins;
}

unsigned device_move_against(enum device_move move, const struct device_record *record)
{
    assert((unsigned)move < N_DEVICE_MOVES);
    for (unsigned axis = 0; axis < N_AXES; axis++) {
        unsigned state = state_of(record, (enum axis)axis);

        if ((moves[move].from[axis] & BIT(state)) == 0)
            return (axis + 1) * AXIS_STATES + state;
    }
    return 0;
}

const char *device_move_axis(unsigned against)
{
    return against >= AXIS_STATES && against < (N_AXES + 1) * AXIS_STATES
               ? axis_names[against / AXIS_STATES - 1]
               : NULL;
}

void device_move_explain(
    enum device_move move, unsigned against, char fault[static DEVICE_MOVE_FAULT_MAX])
{
    const char *axis = device_move_axis(against);

    fault[0] = '\0';
    if (axis != NULL)
        (void)snprintf(fault, DEVICE_MOVE_FAULT_MAX,
            "the device's %s is %s, which stands against %s", axis,
            text_of((enum axis)(against / AXIS_STATES - 1), against % AXIS_STATES),
            moves[move].text);
}

bool device_move_judge(enum device_move move, const struct device_record *record,
    char fault[static DEVICE_MOVE_FAULT_MAX])
{
    unsigned against = device_move_against(move, record);

    device_move_explain(move, against, fault);
    return against == 0;
}

void device_move_make(enum device_move move, struct device_record *record)
{
    const int *to = moves[move].to;

    if (to[AXIS_CREDENTIAL] != KEEP)
        record->credential = (enum device_credential)to[AXIS_CREDENTIAL];
    if (to[AXIS_OWNERSHIP] != KEEP)
        record->ownership = (enum device_ownership)to[AXIS_OWNERSHIP];
    if (to[AXIS_SERVICE] != KEEP)
        record->service = (enum device_service)to[AXIS_SERVICE];
    if (to[AXIS_TRUST] != KEEP)
        record->trust = (enum device_trust)to[AXIS_TRUST];
    record->nonce_epoch += moves[move].new_nonces;
    if (!moves[move].new_owner)
        return;
    record->ownership_epoch++;
    record->has_home_net_id = false;
    memset(&record->home_net_id, 0, sizeof(record->home_net_id));
    record->as_id[0] = '\0';
    record->roaming = (struct device_roaming){0};
}
