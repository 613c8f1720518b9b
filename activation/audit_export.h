/* /v1/audit/export and /v1/audit/key: the events to take away, and what proves them. */
#pragma once

#include "activation/routes.h"

unsigned act_get_audit_export(struct act_call *call);
unsigned act_get_audit_key(struct act_service *service, struct api_request *request);
