/* What the tag of a sealed key is over, and what the fingerprint key is made of (base/sealed.h):
 * pure, so that a test can hold it to the text. A type byte, then fields each with a 16-bit
 * big-endian length; numbers are fields of one byte. */
#pragma once

#include "base/sealed.h"
#include <stddef.h>

#define HSM_TAG_INPUT_MAX 256

/** Returns the length written. Labels and blob_len must be valid. */
size_t hsm_tag_input_device(const struct eui64 *dev_eui, const struct eui64 *join_eui,
    enum key_slot slot, const struct sealed_key *key, uint8_t out[static HSM_TAG_INPUT_MAX]);
size_t hsm_tag_input_kek(const struct sealed_kek *kek, uint8_t out[static HSM_TAG_INPUT_MAX]);
size_t hsm_tag_input_fingerprint_key(uint8_t out[static HSM_TAG_INPUT_MAX]);
