/* The control file of the library that makes one allocation, or one start of a thread, fail: mapped
 * by each process that the library is preloaded into, and by the test (fault_memory.py). */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define MEMORY_FAULT_ENV "CRADLE_MEMORY_FAULT" /* path of the control file */
#define MEMORY_FAULT_PROGRAM_LEN 32

/* What is counted and failed; strdup() and the like allocate with malloc(). */
#define MEMORY_FAULT_KINDS(X)                                                                      \
    X(malloc)                                                                                      \
    X(calloc)                                                                                      \
    X(realloc)                                                                                     \
    X(aligned)                                                                                     \
    X(new)                                                                                         \
    X(mmap)                                                                                        \
    X(thread)

#define MEMORY_FAULT_ENUM(name) MEMORY_FAULT_##name,
enum memory_fault_kind { MEMORY_FAULT_KINDS(MEMORY_FAULT_ENUM) MEMORY_FAULT_N_KINDS };
#undef MEMORY_FAULT_ENUM

/** It acts once, in one process of the program. */
struct memory_fault_control {
    _Atomic uint32_t armed;      /* 1: not done yet */
    _Atomic uint32_t kinds;      /* a bit for each kind that counts */
    _Atomic uint32_t first;      /* the call that fails, from 1 */
    _Atomic uint32_t from_start; /* 1: each process counts from its start; 0: all together */
    _Atomic uint32_t calls;      /* of all processes, since the test set it to 0 */
    _Atomic uint32_t failed;     /* how often one was failed, ever */
    char program[MEMORY_FAULT_PROGRAM_LEN]; /* name of the executable file */
};
