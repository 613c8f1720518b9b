/* What the threads of the activation service share. Made by main before any of them starts, and
 * taken apart by it after they have ended. */
#pragma once

#include "activation/body_slots.h"
#include "activation/metrics.h"
#include "activation/pace.h"
#include "activation/settings.h"
#include "activation/token_table.h"
#include "api/server.h"
#include "base/text.h"
#include "db/guard.h"
#include "hsm/client.h"

#define ACT_BIG_BODY 65536    /* bytes; a request that may bring more takes a body slot */
#define ACT_READY_FOR_MS 5000 /* how long a good check of database and keyds counts */

#define ACT_LISTENERS_MAX 2 /* plain, and with TLS */

struct act_workers;
struct act_job_worker;
struct order_makers;
struct act_job_events;
struct act_audit_keeper;
struct act_webhook_worker;
struct act_trust_keeper;

struct act_service {
    struct act_settings settings;
    struct keyd_pool *pool;
    struct db_guard *guard; /* of all database connections */
    struct api_server *servers[ACT_LISTENERS_MAX];
    _Atomic size_t n_servers; /* of these; raised when one has started */
    struct act_workers *workers;
    struct order_makers *order_makers; /* of the thread that does jobs */
    struct act_job_worker *jobs;
    struct act_job_events *events;
    struct act_audit_keeper *audit;
    struct act_webhook_worker *webhooks;
    struct act_trust_keeper *trust;
    struct text exchange_key; /* PEM; empty when none is configured */
    struct text audit_key;    /* PEM; written once, before has_audit_key is set */
    _Atomic bool has_audit_key;
    struct act_metrics metrics;
    _Atomic int64_t ready_until_ms; /* monotonic; set by main's housekeeping */
    struct act_token_table tokens;  /* a hint for admission */
    struct act_body_slots bodies, watches;
    struct act_pace pace; /* of imports */
};
