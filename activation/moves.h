/* POST /v1/devices/moves: what a call does to one device, done to many by a job. */
#pragma once

#include "activation/rights.h"
#include "device/moves.h"

/** Who may ask for the move, of one device or of many. */
enum act_right act_move_right(enum device_move move);
