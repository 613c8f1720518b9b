/* The legal moves between the states of a device (the four axes of device/record.h): one table,
 * with a sentence for each. Pure. What a move does besides the axes (owner, codes, rows of history)
 * is the database's. */
#pragma once

#include "device/record.h"

enum device_move {
    MOVE_CLAIM,
    MOVE_SUSPEND,
    MOVE_RESUME,
    MOVE_RELEASE,
    MOVE_ROTATE_CODE,
    MOVE_RESET_NONCES,
    MOVE_BIND,
    MOVE_OFFER,
    MOVE_ACCEPT,
    MOVE_DECLINE,
    MOVE_QUARANTINE,
    MOVE_LIFT,
    MOVE_SUSPECT,
    MOVE_TRUST,
    MOVE_SCRAP,
    MOVE_REPLACE,
    MOVE_TAKE_PLACE,
    MOVE_SUBSCRIBE,
    MOVE_UNSUBSCRIBE,
    N_DEVICE_MOVES
};

/** "rotate-code": the word of the REST API and of audit events ("device.rotate-code"). */
const char *device_move_text(enum device_move move);
bool device_move_parse(const char *text, enum device_move *ret);
/** What it does, as docs/owners.md has it. */
const char *device_move_sentence(enum device_move move);

#define DEVICE_MOVE_FAULT_MAX 160
/** Whether the move is legal from where the device is. `fault` says which axis stands against it,
 * with its state; "" where it is legal. */
bool device_move_judge(enum device_move move, const struct device_record *record,
    char fault[static DEVICE_MOVE_FAULT_MAX]);
/** The same as a number, 0 where it is legal: the axis and its state, for whoever keeps it and says
 * it later. Numbers are never given anew, and less than DEVICE_MOVE_AGAINST_MAX. */
#define DEVICE_MOVE_AGAINST_MAX 128
unsigned device_move_against(enum device_move move, const struct device_record *record);
/** "service", the axis of such a number; NULL for one that is none. */
const char *device_move_axis(unsigned against);
/** The sentence of such a number. */
void device_move_explain(
    enum device_move move, unsigned against, char fault[static DEVICE_MOVE_FAULT_MAX]);
/** Whether the device gets a new code. */
bool device_move_renews_code(enum device_move move);
/** Whether it is about joining, which a Sigfox device never does (device_kind_of). */
bool device_move_is_of_joins(enum device_move move);
/** Makes a legal move: axes, epochs, and the home where the move ends it. */
void device_move_make(enum device_move move, struct device_record *record);
