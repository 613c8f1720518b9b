/* A PKCS#11 module for tests: the real module's function list with chosen entries failing on demand
 * (the idea of p11-kit's mock module). */
#include "tests/support/p11_fault.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* A module's entry points take no context, so these must be global. */
static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST list;
static struct p11_fault_control *control;

static void hang(uint32_t ms)
{
    (void)nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

/* CKR_OK: the call goes on to the real module. */
static CK_RV told_to_fail(enum p11_fault_function function)
{
    uint32_t call, first, n, process;

    if (control == NULL)
        return CKR_OK;
    process = atomic_load(&control->process);
    if (process != 0 && process != (uint32_t)getpid())
        return CKR_OK;
    call = atomic_fetch_add(&control->calls[function], 1) + 1;
    if (atomic_load(&control->function) != (uint32_t)function)
        return CKR_OK;
    first = atomic_load(&control->first);
    n = atomic_load(&control->n);
    if (call < first || call - first >= n)
        return CKR_OK;
    switch (atomic_load(&control->act)) {
    case P11_FAULT_HANG:
        hang(atomic_load(&control->hang_ms));
        return CKR_OK;
    case P11_FAULT_KILL:
        (void)raise(SIGKILL);
        return CKR_OK;
    default:
        return (CK_RV)atomic_load(&control->rv);
    }
}

#define WRAP(name, parameters, arguments)                                                          \
    static CK_RV fault_##name parameters                                                           \
    {                                                                                              \
        CK_RV rv = told_to_fail(P11_FAULT_##name);                                                 \
                                                                                                   \
        return rv != CKR_OK ? rv : real->name arguments;                                           \
    }

WRAP(C_Initialize, (void *a), (a))
WRAP(C_Finalize, (void *a), (a))
WRAP(C_GetSlotList, (CK_BBOOL a, CK_SLOT_ID *b, CK_ULONG *c), (a, b, c))
WRAP(C_GetTokenInfo, (CK_SLOT_ID a, CK_TOKEN_INFO *b), (a, b))
WRAP(C_OpenSession, (CK_SLOT_ID a, CK_FLAGS b, void *c, CK_NOTIFY d, CK_SESSION_HANDLE *e),
    (a, b, c, d, e))
WRAP(C_CloseSession, (CK_SESSION_HANDLE a), (a))
WRAP(C_Login, (CK_SESSION_HANDLE a, CK_USER_TYPE b, unsigned char *c, CK_ULONG d), (a, b, c, d))
WRAP(C_GetMechanismInfo, (CK_SLOT_ID a, CK_MECHANISM_TYPE b, CK_MECHANISM_INFO *c), (a, b, c))
WRAP(C_FindObjectsInit, (CK_SESSION_HANDLE a, CK_ATTRIBUTE *b, CK_ULONG c), (a, b, c))
WRAP(C_FindObjects, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE *b, CK_ULONG c, CK_ULONG *d),
    (a, b, c, d))
WRAP(C_FindObjectsFinal, (CK_SESSION_HANDLE a), (a))
WRAP(C_GetAttributeValue, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b, CK_ATTRIBUTE *c, CK_ULONG d),
    (a, b, c, d))
WRAP(C_CopyObject,
    (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b, CK_ATTRIBUTE *c, CK_ULONG d, CK_OBJECT_HANDLE *e),
    (a, b, c, d, e))
WRAP(C_CreateObject, (CK_SESSION_HANDLE a, CK_ATTRIBUTE *b, CK_ULONG c, CK_OBJECT_HANDLE *d),
    (a, b, c, d))
WRAP(C_DestroyObject, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b), (a, b))
WRAP(C_SignInit, (CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c), (a, b, c))
WRAP(C_Sign, (CK_SESSION_HANDLE a, unsigned char *b, CK_ULONG c, unsigned char *d, CK_ULONG *e),
    (a, b, c, d, e))
WRAP(C_DecryptInit, (CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c), (a, b, c))
WRAP(C_Decrypt, (CK_SESSION_HANDLE a, unsigned char *b, CK_ULONG c, unsigned char *d, CK_ULONG *e),
    (a, b, c, d, e))
WRAP(C_DeriveKey,
    (CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c, CK_ATTRIBUTE *d, CK_ULONG e,
        CK_OBJECT_HANDLE *f),
    (a, b, c, d, e, f))
WRAP(C_WrapKey,
    (CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c, CK_OBJECT_HANDLE d, unsigned char *e,
        CK_ULONG *f),
    (a, b, c, d, e, f))
WRAP(C_UnwrapKey,
    (CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_OBJECT_HANDLE c, unsigned char *d, CK_ULONG e,
        CK_ATTRIBUTE *f, CK_ULONG g, CK_OBJECT_HANDLE *h),
    (a, b, c, d, e, f, g, h))

WRAP(C_GenerateKey,
    (CK_SESSION_HANDLE a, CK_MECHANISM *b, CK_ATTRIBUTE *c, CK_ULONG d, CK_OBJECT_HANDLE *e),
    (a, b, c, d, e))
WRAP(C_GenerateRandom, (CK_SESSION_HANDLE a, unsigned char *b, CK_ULONG c), (a, b, c))

static void map_control(void)
{
    const char *path = getenv(P11_FAULT_CONTROL_ENV);
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *p;

    if (fd < 0)
        return;
    p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (p != MAP_FAILED)
        control = p;
}

static CK_RV load_real(void)
{
    const char *path = getenv(P11_FAULT_MODULE_ENV);
    void *module = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    union {
        void *symbol;
        CK_RV (*function)(CK_FUNCTION_LIST **);
    } get;

    if (module == NULL)
        return CKR_GENERAL_ERROR;
    get.symbol = dlsym(module, "C_GetFunctionList");
    if (get.symbol == NULL || get.function(&real) != CKR_OK)
        return CKR_GENERAL_ERROR;
    list = *real;
#define REPLACE(name) list.name = fault_##name;
    P11_FAULT_FUNCTIONS(REPLACE)
#undef REPLACE
    map_control();
    return CKR_OK;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret)
{
    if (real == NULL && load_real() != CKR_OK)
        return CKR_GENERAL_ERROR;
    *ret = &list;
    return CKR_OK;
}
