/* What every fuzz target includes. A target is one file with LLVMFuzzerTestOneInput; a row in
 * meson.build builds it with replay_main.c (its corpus as an ordinary test) and, with
 * -Dfuzzers=true under clang, with libFuzzer. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/** A property that must hold for every input; also with NDEBUG. */
#define FUZZ_HOLDS(property)                                                                       \
    do {                                                                                           \
        if (!(property))                                                                           \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
