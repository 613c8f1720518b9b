/* POST /v1/batches/import: a file of devices with their keys, answered row by row. The whole file
 * is read and checked before the first key is sealed; repeating a request changes nothing twice. */
#pragma once

#include "activation/routes.h"

#define IMPORT_BODY_MAX ((size_t)4 * 1024 * 1024) /* bytes of a file */

unsigned act_post_import(struct act_call *call);
