/* What a carried request says of its way: W3C Trace Context (`traceparent`), so that a request is
 * found again in each server's log, and `Via` (RFC 9110 7.6.3), so that none goes round in a
 * circle. Pure, but for random numbers. */
#pragma once

#include "base/text.h"
#include <stdbool.h>
#include <stdint.h>

#define TRACE_ID_LEN 16
#define TRACE_PARENT_LEN 8
#define TRACE_TEXT_LEN 55 /* "00-" 32 digits "-" 16 digits "-" 2 digits */
#define TRACE_ID_TEXT_LEN (2 * TRACE_ID_LEN)
#define TRACE_SAMPLED 0x01

struct trace {
    uint8_t id[TRACE_ID_LEN];
    uint8_t parent[TRACE_PARENT_LEN];
    uint8_t flags;
};

/** Reads a traceparent header; false when there is none (NULL) or it is none to be believed: of
 * another form, of version ff, or with an id of zeros. */
bool trace_read(const char *header, struct trace *ret);
/** The trace that a request is carried on under: of the header's id and flags where it is good,
 * else a new one that nobody asked to be recorded; the parent is always new. Without random numbers
 * it is a trace of zeros, which is not to be sent. */
void trace_begin(const char *header, struct trace *ret);
bool trace_is_any(const struct trace *trace);
const char *trace_format(const struct trace *trace, char out[static TRACE_TEXT_LEN + 1]);
const char *trace_format_id(const struct trace *trace, char out[static TRACE_ID_TEXT_LEN + 1]);

/* Characters of an instance id: letters, digits, '.', '_', '-'; not digits and dots alone. */
#define VIA_INSTANCE_MAX 64
#define VIA_MAX 4096 /* characters of a Via that is read; a longer one has too many hops */

enum via_judgement {
    VIA_GOOD,
    VIA_LOOP,     /* it has been here */
    VIA_TOO_LONG, /* it has passed `max_hops` servers or more */
};

bool via_is_instance(const char *text);
/** Servers that a request has passed, by its Via headers, joined. */
unsigned via_hops(const char *via);
/** Judges the Via headers of a request, joined; "" for none. Case does not matter. */
enum via_judgement via_judge(const char *via, const char *instance, unsigned max_hops);
/** The Via header of what is sent on. */
void via_write(struct text *out, const char *via, const char *instance);
