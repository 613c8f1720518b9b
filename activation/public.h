/* What anyone may ask without a token: health, counters, the description, the exchange key. */
#pragma once

#include "activation/routes.h"

unsigned act_get_health(struct act_service *service, struct api_request *request);
/** 503 unless database and keyds were found well within the last ACT_READY_FOR_MS. */
unsigned act_get_ready(struct act_service *service, struct api_request *request);
unsigned act_get_metrics(struct act_service *service, struct api_request *request);
unsigned act_get_openapi(struct act_service *service, struct api_request *request);
/** 404 when no exchange key is configured. */
unsigned act_get_exchange_key(struct act_service *service, struct api_request *request);

/** The OpenAPI description, merged of activation/openapi/ and compiled in. */
extern const char act_openapi_json[];
extern const size_t act_openapi_json_len;
