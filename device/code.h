/* The text of a claim code: what a label says, and whoever has the device can show. Codes are
 * secrets; nothing here prints one, and the caller wipes what it holds. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_CODE_MAX 32      /* characters (TR005, and the OwnerToken of The Things Stack) */
#define DEVICE_CODE_BITS_MIN 64 /* a given code with fewer is weak */

/* Codes that are made here have one of two lengths: hexadecimal digits, or characters of
 * Crockford's base 32, which has no I, L, O and U. */
#define DEVICE_CODE_HEX_LEN 16    /* 64 bits */
#define DEVICE_CODE_BASE32_LEN 26 /* 130 bits */
#define DEVICE_CODE_MADE_MAX DEVICE_CODE_BASE32_LEN
#define DEVICE_CODE_RANDOM_LEN 17 /* bytes for either */

/** The normal form of a code as people type it: blanks, tabs and dashes go, letters become
 * capitals. False when anything but 1..DEVICE_CODE_MAX of A-Z and 0-9 is left; `out` is then all
 * zero. */
bool device_code_parse(const char *text, size_t len, char out[static DEVICE_CODE_MAX + 1]);

/** At most so many bits an attacker has to guess of a code (normal form) that looks like this, were
 * it random: digits, hexadecimal digits or any characters. 0 for "". */
unsigned device_code_bits(const char *code);
/** Fewer than DEVICE_CODE_BITS_MIN. Only for codes that somebody else made: one in 1,800 of our
 * short ones has no letter in it and is as strong as the others. */
bool device_code_is_weak(const char *code);

/** A code of one of the two lengths from random bytes, with a NUL. The same bytes are taken
 * whatever the length. */
void device_code_make(const uint8_t random[static DEVICE_CODE_RANDOM_LEN], unsigned length,
    char out[static DEVICE_CODE_MADE_MAX + 1]);
bool device_code_length_is_made(unsigned length);
/** What a code in its normal form is, if it was made here: of one as long as those in base 32, O is
 * 0, and I and L are 1, for they are taken for one another. By the same steps, whatever it is. One
 * that a file gave may have all letters, and stays as it is. */
void device_code_as_made(char code[static DEVICE_CODE_MAX + 1]);
