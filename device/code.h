/* The text of a claim code: what a label says, and whoever has the device can show. Codes are
 * secrets; nothing here prints one, and the caller wipes what it holds. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_CODE_MAX 32      /* characters (TR005, and the OwnerToken of The Things Stack) */
#define DEVICE_CODE_BITS_MIN 64 /* a given code with fewer is weak */
#define DEVICE_CODE_RANDOM_LEN 8
#define DEVICE_CODE_MADE_LEN (2 * DEVICE_CODE_RANDOM_LEN) /* of one that is made here */

/** The normal form of a code as people type it: blanks, tabs and dashes go, letters become
 * capitals. False when anything but 1..DEVICE_CODE_MAX of A-Z and 0-9 is left; `out` is then all
 * zero. */
bool device_code_parse(const char *text, size_t len, char out[static DEVICE_CODE_MAX + 1]);

/** At most so many bits an attacker has to guess of a code (normal form) that looks like this, were
 * it random: digits, hexadecimal digits or any characters. 0 for "". */
unsigned device_code_bits(const char *code);
/** Fewer than DEVICE_CODE_BITS_MIN. Only for codes that somebody else made: one in 1,800 of ours
 * has no letter in it and is as strong as the others. */
bool device_code_is_weak(const char *code);

/** A code of 64 bits, in capital hexadecimal digits, from random bytes; with a NUL. */
void device_code_make(
    const uint8_t random[static DEVICE_CODE_RANDOM_LEN], char out[static DEVICE_CODE_MADE_LEN + 1]);
