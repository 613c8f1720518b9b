#include "tests/integration/keyd_fault.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

struct p11_fault_control *keyd_fault_open(char *uri, size_t uri_size)
{
    char path[256];
    int fd;
    void *p;

    (void)snprintf(path, sizeof(path), "%s/fault", keyd_test_hsm.dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, sizeof(struct p11_fault_control)), 0);
    p = mmap(NULL, sizeof(struct p11_fault_control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert(p != MAP_FAILED);
    (void)close(fd);
    ck_assert_int_eq(setenv(P11_FAULT_CONTROL_ENV, path, 1), 0);
    ck_assert_int_eq(setenv(P11_FAULT_MODULE_ENV, SOFTHSM_MODULE, 1), 0);
    softhsm_uri(&keyd_test_hsm, P11_FAULT_PATH, uri, uri_size);
    keyd_fault_disarm(p);
    return p;
}

void keyd_fault_disarm(struct p11_fault_control *control)
{
    atomic_store(&control->function, P11_FAULT_N_FUNCTIONS);
}

void keyd_fault_arm(struct p11_fault_control *control, enum p11_fault_function function,
    unsigned first, unsigned n, unsigned long rv)
{
    keyd_fault_disarm(control);
    atomic_store(&control->first, first);
    atomic_store(&control->n, n);
    atomic_store(&control->rv, rv);
    atomic_store(&control->calls[function], 0);
    atomic_store(&control->function, (uint32_t)function);
}
