#include "joinserver/breaker.h"

bool breaker_rests(const struct breaker *b, int64_t now_ms)
{
    return b->state != BREAKER_CLOSED &&
           (b->is_probing || (b->state == BREAKER_OPEN && now_ms < b->open_until_ms));
}

enum breaker_pass breaker_ask(struct breaker *b, int64_t now_ms)
{
    if (b->state == BREAKER_CLOSED)
        return BREAKER_LET_THROUGH;
    if (breaker_rests(b, now_ms))
        return BREAKER_REFUSE;
    b->state = BREAKER_HALF_OPEN;
    b->is_probing = true;
    return BREAKER_PROBE;
}

static void open_it(struct breaker *b, int64_t pause_ms, int64_t now_ms)
{
    b->state = BREAKER_OPEN;
    b->pause_ms = pause_ms < BREAKER_PAUSE_MAX_MS ? pause_ms : BREAKER_PAUSE_MAX_MS;
    b->open_until_ms = now_ms + b->pause_ms;
}

static unsigned n_failed(const struct breaker *b)
{
    unsigned n = 0;

    for (uint32_t bits = b->window; bits != 0; bits &= bits - 1)
        n++;
    return n;
}

static void note(struct breaker *b, bool failed)
{
    b->n_in_row = failed ? b->n_in_row + 1 : 0;
    b->window = b->window << 1 | (failed ? 1 : 0);
    if (b->n_window < BREAKER_WINDOW)
        b->n_window++;
}

static void end_probe(struct breaker *b, enum breaker_verdict verdict, int64_t now_ms)
{
    b->is_probing = false;
    if (verdict == BREAKER_WELL)
        *b = (struct breaker){.state = BREAKER_CLOSED};
    else if (verdict == BREAKER_FAILED)
        open_it(b, 2 * b->pause_ms, now_ms);
}

void breaker_end(
    struct breaker *b, enum breaker_pass pass, enum breaker_verdict verdict, int64_t now_ms)
{
    if (pass == BREAKER_PROBE) {
        end_probe(b, verdict, now_ms);
        return;
    }
    /* What was let through before it opened says nothing about what is now. */
    if (verdict == BREAKER_NOTHING_KNOWN || b->state != BREAKER_CLOSED)
        return;
    note(b, verdict == BREAKER_FAILED);
    if (b->n_in_row >= BREAKER_FAILURES ||
        (b->n_window >= BREAKER_WINDOW_LEAST && 2 * n_failed(b) >= b->n_window))
        open_it(b, BREAKER_PAUSE_MS, now_ms);
}

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[N_BREAKER_STATES] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};

    return names[state];
}
