/* The thread that posts deliveries to webhooks. It has a database connection, a keyd channel and an
 * HTTP client of its own. Any number of services may do so at once. */
#pragma once

#include "activation/service.h"

#define ACT_WEBHOOK_CONNECTIONS 32    /* deliveries on their way at once */
#define ACT_WEBHOOK_LOOK_MS 500       /* between two looks for deliveries that are due */
#define ACT_WEBHOOK_SCAN_MS 2000      /* between two looks for what is told afterwards */
#define ACT_WEBHOOK_PURGE_MS 60000    /* between two looks for what is old or too much */
#define ACT_WEBHOOK_AGAIN_S 10        /* before one is posted that this service could not post */
#define ACT_WEBHOOK_CONNECT_MS 5000   /* to be connected, TLS included */
#define ACT_WEBHOOK_ANSWER_MS 10000   /* to be answered, from the beginning on */
#define ACT_WEBHOOK_DEADLINE_MS 20000 /* the same with the wait for a connection */
#define ACT_WEBHOOK_STOP_MS 2000      /* for posts on their way when the service stops */

struct act_webhook_worker;

/** Calls on keyd channel number `channel`. */
int act_webhook_worker_start(
    struct act_service *service, unsigned channel, struct act_webhook_worker **ret);
/** Asks it to begin no more posts, and does not wait. NULL is fine. */
void act_webhook_worker_ask_stop(struct act_webhook_worker *worker);
/** Waits for the posts on their way, ACT_WEBHOOK_STOP_MS at most; the rest is posted again when its
 * lease is over. NULL is fine. */
void act_webhook_worker_stop(struct act_webhook_worker *worker);
