/* Organizations by their names, for the verbs that are given one. */
#pragma once

#include "cli/rest.h"

/** Its id; with `make` it is made when there is none of this name. */
int cli_organization_id(
    struct cli_rest *rest, const char *name, bool make, struct text *ret_id) MUST_CHECK;
