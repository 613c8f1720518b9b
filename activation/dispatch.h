/* The server's two questions, answered from the route table: may this request send its body, and
 * what is to be done with the whole request. Context: struct act_service. */
#pragma once

#include "api/server.h"

long act_admit(struct api_request *request, void *service);
void act_handle(struct api_request *request, void *service);
