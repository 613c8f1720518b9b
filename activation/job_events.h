/* How jobs go on, as server-sent events: one thread looks for all who watch, whenever a job of any
 * is announced to have changed, and at least each ACT_EVENTS_LOOK_MS. How many may watch at once is
 * said by their places (activation/body_slots.h). */
#pragma once

#include "activation/service.h"
#include "api/stream.h"
#include "db/job.h"

#define ACT_EVENTS_LOOK_MS 1000   /* between two looks, should an announcement be missed */
#define ACT_EVENTS_PAUSE_MS 100   /* at least, between two looks */
#define ACT_EVENTS_ALIVE_MS 15000 /* silence before a comment is sent, to find out who is gone */
#define ACT_EVENTS_LIFE_MS                                                                         \
    900000 /* then the stream ends and is to be asked for again, with a token                      \
            * that is good then */

struct act_job_events;

/** One event: the job as it is, and if it has ended the event "end". True when it has. */
bool act_job_event_write(const struct db_job *job, struct text *out);

int act_job_events_start(struct act_service *service, struct act_job_events **ret);
/** Takes over a stream on which `job` was told and that is to hear more. Outcome 1: the thread is
 * stopping, and the stream is the caller's still. */
int act_job_events_watch(
    struct act_job_events *events, struct api_stream *stream, const struct db_job *job) MUST_CHECK;
/** Ends all streams, and the thread; no more are taken. May be called again; NULL is fine. */
void act_job_events_stop(struct act_job_events *events);
/** After act_job_events_stop, once no worker runs any more. NULL is fine. */
void act_job_events_free(struct act_job_events *events);
