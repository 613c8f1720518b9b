/* Of a carried request: what its partner's answer is worth, and how who asked is answered. */
#include "joinserver/forward_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include <stdio.h>
#include <string.h>

#define NOT_FOUND_YET "(dns)" /* in the place of a partner's name */

bool join_forwards_may_tell(struct join_forwards *f, const struct trace *trace)
{
    int64_t now_s = clock_monotonic_ms() / 1000;

    if ((trace->flags & TRACE_SAMPLED) == 0)
        return false;
    if (atomic_exchange(&f->lines_s, now_s) != now_s)
        atomic_store(&f->n_lines, 0);
    return atomic_fetch_add(&f->n_lines, 1) < JOIN_TRACE_LINES_PER_S;
}

bool join_forward_claim(struct join_forward *forward)
{
    struct join_forwards *f = forward->owner;
    bool claimed;

    pthread_mutex_lock(&f->lock);
    claimed = !forward->is_answered;
    forward->is_answered = true;
    pthread_mutex_unlock(&f->lock);
    return claimed;
}

static void log_carried(struct join_forward *forward, const char *code)
{
    char trace[TRACE_ID_TEXT_LEN + 1];
    const enum log_level level =
        join_forwards_may_tell(forward->owner, &forward->trace) ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;

    log_write(level, "carried type=%s peer=%lld partner=\"%s\" result=%s trace=%s request=%s",
        forward->request.message_type, (long long)forward->peer_id, forward->name, code,
        trace_format_id(&forward->trace, trace), forward->request_id);
}

static void log_refused(struct join_forward *forward, enum join_carried outcome, const char *why)
{
    char trace[TRACE_ID_TEXT_LEN + 1], prefix[EUI64_TEXT_LEN + 1];
    const struct db_join_route *route = &forward->route;
    unsigned n =
        join_partner_complains(forward->owner->partners, &forward->key, clock_monotonic_ms());

    if (n > 0)
        log_warn("not carried type=%s peer=%lld partner=\"%s\" n=%u reason=%s route=%s/%u "
                 "why=\"%s\" trace=%s request=%s",
            forward->request.message_type, (long long)forward->peer_id,
            forward->name[0] != '\0' ? forward->name : NOT_FOUND_YET, n,
            join_carried_row(outcome)->name, eui64_format(&route->prefix, prefix),
            route->prefix_len, why, trace_format_id(&forward->trace, trace), forward->request_id);
}

/* Half an answer would be worse than none: the server says 500 of one that memory was missing for.
 */
static void send_text(struct join_forward *forward, struct text *text)
{
    if (forward->delivery != NULL) {
        join_delivery_send(forward->delivery, text);
    } else {
        api_answer_text(forward->http, 200, "application/json", text);
        api_give_back(&forward->http, 1);
    }
    secret_wipe(text->data, text->capacity);
    text_done(text);
}

static void end_place(struct join_forward *forward, enum join_carried outcome)
{
    struct join_forwards *f = forward->owner;

    if (forward->has_place)
        join_partner_end(f->partners, &forward->place, outcome,
            clock_monotonic_us() - forward->started_us, clock_monotonic_ms());
    forward->has_place = false;
}

void join_forwards_refused(struct join_forwards *f, const struct ts002_request *request,
    const struct db_join_route *route, const char *outcome, const char *result_code)
{
    const bool by_application_server = strcmp(request->message_type, TS002_APP_S_KEY_REQ) == 0;
    struct db_roaming_refused refused = {.side = ROAMING_CARRIED,
        .carried = {.partner_id = route->partner_id,
            .join_prefix = route->prefix,
            .join_prefix_len = route->prefix_len},
        .n = 1};
    struct db_roaming_carried *c = &refused.carried;

    if (f->config.refusals.table == NULL)
        return;
    if (by_application_server)
        (void)snprintf(c->sender, sizeof(c->sender), "%s", request->sender_id);
    else
        (void)net_id_format(&request->sender, c->sender);
    (void)snprintf(c->message_type, sizeof(c->message_type), "%s", request->message_type);
    (void)snprintf(c->outcome, sizeof(c->outcome), "%s", outcome);
    (void)snprintf(c->result_code, sizeof(c->result_code), "%s", result_code);
    refused.first_ms = refused.last_ms = clock_monotonic_ms();
    if (!roaming_refusals_add(f->config.refusals.table, &refused))
        metric_add(f->config.refusals.dropped, 1);
}

/* After who asked has the answer. */
static void tell_operators(const struct join_forward *forward, enum join_carried outcome,
    const struct carry_answer *answer)
{
    if (answer == NULL || !carry_is_success(answer->heard))
        join_forwards_refused(forward->owner, &forward->request, &forward->route,
            join_carried_row(outcome)->name, answer != NULL ? carry_code_name(answer->heard) : "");
}

void join_forward_answer(struct join_forward *forward, enum join_carried outcome, struct text *text,
    const struct carry_answer *answer, const char *why)
{
    const struct join_carried_row *row = join_carried_row(outcome);
    struct text refusal = {0};

    if (answer != NULL && forward->has_place)
        join_partner_answered(&forward->place, answer->heard);
    end_place(forward, outcome);
    if (answer == NULL) {
        ts002_write_refusal(&refusal, &forward->request, row->result, row->description);
        log_refused(forward, outcome, why);
    } else {
        log_carried(forward, answer->code);
    }
    send_text(forward, text != NULL ? text : &refusal);
    tell_operators(forward, outcome, answer);
    join_forward_release(forward);
}

/* As of our own: a session key that leaves in clear has TLS around it all the way. */
static bool may_show_keys(const struct join_forward *forward)
{
    return forward->uses_tls && forward->terms.mutual_tls && forward->terms.tls_to_the_end;
}

void join_forward_judge(struct join_forward *forward, const char *body, size_t len)
{
    struct carry_answer answer;
    struct text text = {0};
    enum carry_fault fault;

    if (len > JOIN_FORWARD_ANSWER_MAX) { /* one that came as a request may be longer */
        join_forward_answer(forward, JOIN_CARRIED_CUT, NULL, NULL, "its answer is too long");
        return;
    }
    fault = carry_answer(body, len, &forward->request, &forward->out, &answer, &text);

    if (fault == CARRY_GOOD && !text.failed && (!answer.has_clear_key || may_show_keys(forward))) {
        join_forward_answer(forward, JOIN_CARRIED, &text, &answer, NULL);
        return;
    }
    secret_wipe(text.data, text.capacity);
    if (fault != CARRY_GOOD)
        join_forward_answer(forward, join_carried_of_fault(fault), NULL, NULL,
            "its answer is not the answer to the request");
    else if (text.failed)
        join_forward_answer(forward, JOIN_CARRIED_INTERNAL, NULL, NULL, "out of memory");
    else
        join_forward_answer(forward, JOIN_CARRIED_CLEAR_KEY, NULL, NULL,
            "its answer holds a key in clear, and who asked has not come by mutual TLS");
    text_done(&text);
}
