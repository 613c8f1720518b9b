/* The failing PKCS#11 module as the tests of keyd use it: a control file in the token's folder. */
#pragma once

#include "tests/integration/keyd_fixture.h"
#include "tests/support/p11_fault.h"

/** Makes and maps the control file and names it in the environment; the URI goes to `uri`. */
struct p11_fault_control *keyd_fault_open(char *uri, size_t uri_size);
/** From now on, calls `first`.. (counted from 1) of a function fail, `n` of them. */
void keyd_fault_arm(struct p11_fault_control *control, enum p11_fault_function function,
    unsigned first, unsigned n, unsigned long rv);
void keyd_fault_disarm(struct p11_fault_control *control);
