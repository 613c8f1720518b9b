/* A library for tests, to be preloaded: the n-th allocation or start of a thread fails, once. Where
 * that was is written to standard error. */
#include "tests/support/memory_fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))
#define FRAMES_MAX 40

/* The functions of the C library take no context, so these must be global. */
static struct memory_fault_control *control;
static _Atomic uint32_t own_calls; /* since this process started */

#define KIND_NAME(name) #name,
static const char *const kind_names[] = {MEMORY_FAULT_KINDS(KIND_NAME)};
#undef KIND_NAME

/* The function of this name that the process would have without us. */
#define NEXT(name, ret)                                                                            \
    do {                                                                                           \
        if (*(ret) == NULL) {                                                                      \
            void *symbol = dlsym(RTLD_NEXT, name);                                                 \
                                                                                                   \
            memcpy((ret), &symbol, sizeof(symbol));                                                \
        }                                                                                          \
    } while (0)

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv(MEMORY_FAULT_ENV);
    void *frame, *p;
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    (void)backtrace(&frame, 1); /* loads what it needs, now */
    p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (p != MAP_FAILED)
        control = p;
}

static void tell(enum memory_fault_kind kind)
{
    void *frames[FRAMES_MAX];
    char line[128];
    int n = snprintf(
        line, sizeof(line), "memory fault: %s in process %d\n", kind_names[kind], (int)getpid());

    if (n > 0)
        (void)!write(STDERR_FILENO, line, (size_t)n);
    n = backtrace(frames, FRAMES_MAX);
    backtrace_symbols_fd(frames, n, STDERR_FILENO);
}

static bool told_to_fail(enum memory_fault_kind kind)
{
    uint32_t call, own, armed = 1;

    if (control == NULL || (atomic_load(&control->kinds) & 1u << kind) == 0 ||
        strcmp(program_invocation_short_name, control->program) != 0)
        return false;
    own = atomic_fetch_add(&own_calls, 1) + 1;
    call = atomic_fetch_add(&control->calls, 1) + 1;
    if (atomic_load(&control->from_start) != 0)
        call = own;
    if (call != atomic_load(&control->first) ||
        !atomic_compare_exchange_strong(&control->armed, &armed, 0))
        return false;
    atomic_fetch_add(&control->failed, 1);
    tell(kind);
    errno = ENOMEM;
    return true;
}

VISIBLE void *malloc(size_t size)
{
    static void *(*next)(size_t);

    NEXT("malloc", &next);
    return told_to_fail(MEMORY_FAULT_malloc) ? NULL : next(size);
}

VISIBLE void *calloc(size_t n, size_t size)
{
    static void *(*next)(size_t, size_t);

    NEXT("calloc", &next);
    return told_to_fail(MEMORY_FAULT_calloc) ? NULL : next(n, size);
}

VISIBLE void *realloc(void *p, size_t size)
{
    static void *(*next)(void *, size_t);

    NEXT("realloc", &next);
    return told_to_fail(MEMORY_FAULT_realloc) ? NULL : next(p, size);
}

VISIBLE void *aligned_alloc(size_t alignment, size_t size)
{
    static void *(*next)(size_t, size_t);

    NEXT("aligned_alloc", &next);
    return told_to_fail(MEMORY_FAULT_aligned) ? NULL : next(alignment, size);
}

VISIBLE int posix_memalign(void **ret, size_t alignment, size_t size)
{
    static int (*next)(void **, size_t, size_t);

    NEXT("posix_memalign", &next);
    return told_to_fail(MEMORY_FAULT_aligned) ? ENOMEM : next(ret, alignment, size);
}

VISIBLE void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    static void *(*next)(void *, size_t, int, int, int, off_t);

    NEXT("mmap", &next);
    return told_to_fail(MEMORY_FAULT_mmap) ? MAP_FAILED
                                           : next(at, len, protection, flags, fd, offset);
}

VISIBLE int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
    void *(*start)(void *), void *restrict argument)
{
    static int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

    NEXT("pthread_create", &next);
    return told_to_fail(MEMORY_FAULT_thread) ? EAGAIN : next(thread, attributes, start, argument);
}

/* --- C++: a token's module may be written in it ---------------------------------------------- */

/* Throws from the C++ library that is there, wherever it was loaded. */
static void throw_bad_alloc(void)
{
    void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    void *symbol = library != NULL ? dlsym(library, "_ZSt17__throw_bad_allocv") : NULL;
    void (*throw_it)(void);

    if (symbol == NULL)
        abort();
    memcpy(&throw_it, &symbol, sizeof(throw_it));
    throw_it();
}

/* operator new: of an allocator of the program's own, or what the C++ library does, which may be
 * loaded where only its module sees it. */
static void *new_of(const char *name, void *(**next)(size_t), size_t size)
{
    static void *(*plain)(size_t);

    NEXT(name, next);
    NEXT("malloc", &plain);
    if (told_to_fail(MEMORY_FAULT_new))
        throw_bad_alloc();
    return *next != NULL ? (*next)(size) : plain(size > 0 ? size : 1);
}

VISIBLE void *_Znwm(size_t size); /* operator new(unsigned long) */
VISIBLE void *_Znwm(size_t size)
{
    static void *(*next)(size_t);

    return new_of("_Znwm", &next, size);
}

VISIBLE void *_Znam(size_t size); /* operator new[](unsigned long) */
VISIBLE void *_Znam(size_t size)
{
    static void *(*next)(size_t);

    return new_of("_Znam", &next, size);
}
