/* The control file of the failing PKCS#11 module: mapped by the module in every keyd and by the
 * test. The module hands every call to the real one, except the ones it is told to fail. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define P11_FAULT_MODULE_ENV "P11_FAULT_MODULE"   /* path of the real module */
#define P11_FAULT_CONTROL_ENV "P11_FAULT_CONTROL" /* path of the control file */

/* Every function cradle-keyd calls. */
#define P11_FAULT_FUNCTIONS(X)                                                                     \
    X(C_Initialize)                                                                                \
    X(C_GetSlotList)                                                                               \
    X(C_GetTokenInfo)                                                                              \
    X(C_OpenSession)                                                                               \
    X(C_Login)                                                                                     \
    X(C_GetMechanismInfo)                                                                          \
    X(C_FindObjectsInit)                                                                           \
    X(C_FindObjects)                                                                               \
    X(C_FindObjectsFinal)                                                                          \
    X(C_GetAttributeValue)                                                                         \
    X(C_CopyObject)                                                                                \
    X(C_CreateObject)                                                                              \
    X(C_DestroyObject)                                                                             \
    X(C_SignInit)                                                                                  \
    X(C_Sign)                                                                                      \
    X(C_DecryptInit)                                                                               \
    X(C_Decrypt)                                                                                   \
    X(C_DeriveKey)                                                                                 \
    X(C_WrapKey)                                                                                   \
    X(C_UnwrapKey)                                                                                 \
    X(C_GenerateKey)                                                                               \
    X(C_GenerateRandom)                                                                            \
    X(C_CloseSession)                                                                              \
    X(C_Finalize)

#define P11_FAULT_ENUM(name) P11_FAULT_##name,
enum p11_fault_function { P11_FAULT_FUNCTIONS(P11_FAULT_ENUM) P11_FAULT_N_FUNCTIONS };
#undef P11_FAULT_ENUM

enum p11_fault_act {
    P11_FAULT_FAIL, /* the call is not made and gives `rv` */
    P11_FAULT_HANG, /* it is made `hang_ms` later */
    P11_FAULT_KILL  /* the process is killed before it */
};

struct p11_fault_control {
    _Atomic uint32_t function; /* P11_FAULT_N_FUNCTIONS: none */
    _Atomic uint32_t first;    /* the first call that fails, counted from 1 */
    _Atomic uint32_t n;        /* how many fail from there on */
    _Atomic uint64_t rv;       /* with this CK_RV */
    _Atomic uint32_t calls[P11_FAULT_N_FUNCTIONS];
    _Atomic uint32_t act; /* enum p11_fault_act; 0 fails */
    _Atomic uint32_t hang_ms;
    _Atomic uint32_t process; /* its calls alone are counted and fail; 0: those of all */
};
