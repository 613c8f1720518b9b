#include "joinserver/forward_internal.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/secret.h"
#include "joinserver/share.h"
#include <stdio.h>
#include <string.h>

#define HTTPS "https://"
#define RANDOM_INSTANCE_LEN 8 /* bytes */
#define PLACE_BITS 16         /* of a TransactionID; the others count uses */

static const struct {
    const char *label, *outcome;
} refused_words[N_JOIN_FORWARD_TAKES] = {
#define WORD(word)                                                                                 \
    {                                                                                              \
        "reason=\"" word "\"", word                                                                \
    }
    [JOIN_FORWARD_LOOP] = WORD("loop"),
    [JOIN_FORWARD_TOO_FAR] = WORD("hops"),
    [JOIN_FORWARD_FULL] = WORD("full"),
    [JOIN_FORWARD_INTERNAL] = WORD("internal"),
#undef WORD
};

static void init_metrics(struct join_forwards *f)
{
    for (size_t i = JOIN_FORWARD_TAKEN + 1; i < N_JOIN_FORWARD_TAKES; i++)
        f->refused[i] = (struct metric){.name = "cradle_carry_refused_total",
            .labels = refused_words[i].label,
            .help = "Requests of a partner's JoinEUI that were not even tried to be carried."};
    f->unmatched = (struct metric){.name = "cradle_partner_answers_unmatched_total",
        .help = "Answers posted by partners that nothing waited for."};
}

static int choose_instance(struct join_forwards *f)
{
    uint8_t bytes[RANDOM_INSTANCE_LEN];
    int r;

    if (f->config.instance[0] != '\0') {
        if (!via_is_instance(f->config.instance))
            return error_set(ERROR_CONFIG,
                "roaming.instance is not a word of at most %d letters, digits, '.', '_' and '-'",
                VIA_INSTANCE_MAX);
        (void)snprintf(f->instance, sizeof(f->instance), "%s", f->config.instance);
        return 0;
    }
    if ((r = random_bytes(bytes, sizeof(bytes))) < 0)
        return r;
    f->instance[0] = 'c'; /* digits alone are none */
    (void)hex_encode(bytes, sizeof(bytes), f->instance + 1);
    return 0;
}

int join_forwards_open(const struct join_forwards_config *config, struct join_forwards **ret)
{
    struct join_forwards *f = calloc(1, sizeof(*f) + config->max_requests * sizeof(f->places[0]));
    int r;

    if (f == NULL)
        return error_set(
            ERROR_SYSTEM, "out of memory for %u carried requests", config->max_requests);
    f->config = *config;
    (void)pthread_mutex_init(&f->lock, NULL); /* cannot fail with default attributes on Linux */
    init_metrics(f);
    if ((r = choose_instance(f)) == 0 && (r = random_bytes(&f->n_uses, sizeof(f->n_uses))) == 0 &&
        (r = join_partners_new(config->max_requests, &f->partners)) == 0 &&
        (r = api_credentials_open(config->directory, &f->credentials)) == 0)
        r = api_client_start(
            &(struct api_client_config){.user_agent = "cradle-joinserver/" CRADLE_VERSION,
                .max_connections = config->max_requests,
                /* partners.h does that; by its number a partner would share with others */
                .no_shares = true},
            &f->client);
    if (r < 0) {
        join_forwards_stop(f, 0);
        join_forwards_free(f);
        return r;
    }
    *ret = f;
    return 0;
}

/* Of those that wait for an asynchronous partner the ones that are too late, to be answered. */
static struct join_forward *claim_late(struct join_forwards *f, int64_t now_ms)
{
    struct join_forward *late = NULL;

    pthread_mutex_lock(&f->lock);
    for (unsigned i = 0; i < f->n_begun && f->n_awaiting > 0; i++) {
        struct join_forward *forward = &f->places[i];

        if (!forward->is_awaiting || forward->is_answered || forward->deadline_ms > now_ms)
            continue;
        forward->is_answered = true;
        forward->next = late;
        late = forward;
    }
    pthread_mutex_unlock(&f->lock);
    return late;
}

static void end_late(
    struct join_forwards *f, int64_t now_ms, enum join_carried outcome, const char *why)
{
    struct join_forward *late = claim_late(f, now_ms);

    while (late != NULL) {
        struct join_forward *forward = late;

        late = forward->next;
        join_forward_answer(forward, outcome, NULL, NULL, why);
    }
}

void join_forwards_sweep(struct join_forwards *f, int64_t now_ms)
{
    end_late(f, now_ms, JOIN_CARRIED_TIMEOUT, "it took the request, and posted no answer in time");
}

unsigned join_forwards_awaiting(struct join_forwards *f)
{
    unsigned n;

    pthread_mutex_lock(&f->lock);
    n = f->n_awaiting;
    pthread_mutex_unlock(&f->lock);
    return n;
}

void join_forwards_stop(struct join_forwards *f, int64_t give_up_ms)
{
    if (f == NULL)
        return;
    api_client_halt(f->client, give_up_ms);
    end_late(f, INT64_MAX, JOIN_CARRIED_STOPPED, "the join server is stopping");
}

void join_forwards_free(struct join_forwards *f)
{
    if (f == NULL)
        return;
    api_client_stop(f->client, 0);
    for (unsigned i = 0; i < f->n_begun; i++)
        secret_buffer_done(&f->places[i].post.answer);
    api_credentials_close(f->credentials);
    join_partners_free(f->partners);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
}

/* NULL when all are taken, or the share of who asks. */
static struct join_forward *take_place(struct join_forwards *f, int64_t peer_id)
{
    unsigned *taken = &f->taken[join_share_of(peer_id)];
    struct join_forward *forward = NULL;

    pthread_mutex_lock(&f->lock);
    if (join_share_allows(*taken, f->config.max_requests - f->n_taken)) {
        if ((forward = f->free_places) != NULL)
            f->free_places = forward->next;
        else
            forward = &f->places[f->n_begun++]; /* n_taken < max_requests */
        *forward = (struct join_forward){.owner = f,
            .n_users = 1,
            .peer_id = peer_id,
            .key = {.id = JOIN_PARTNER_FOUND, .name = forward->name}, /* until more is known */
            .transaction_id = f->n_uses++ << PLACE_BITS | (uint32_t)(forward - f->places)};
        (*taken)++;
        f->n_taken++;
    }
    pthread_mutex_unlock(&f->lock);
    return forward;
}

static void give_place(struct join_forward *forward)
{
    struct join_forwards *f = forward->owner;

    text_done(&forward->asked);
    text_done(&forward->via);
    text_done(&forward->body);
    secret_buffer_done(&forward->post.answer);
    api_credential_release(f->credentials, forward->credential);
    forward->credential = NULL;
    pthread_mutex_lock(&f->lock);
    if (forward->is_awaiting)
        f->n_awaiting--;
    forward->is_awaiting = false;
    f->taken[join_share_of(forward->peer_id)]--;
    f->n_taken--;
    forward->next = f->free_places;
    f->free_places = forward;
    pthread_mutex_unlock(&f->lock);
}

void join_forward_release(struct join_forward *forward)
{
    bool last;

    pthread_mutex_lock(&forward->owner->lock);
    last = --forward->n_users == 0;
    pthread_mutex_unlock(&forward->owner->lock);
    if (last)
        give_place(forward);
}

static enum join_forward_take judge_way(const struct join_forwards *f, const struct text *via)
{
    if (via->failed)
        return JOIN_FORWARD_INTERNAL;
    switch (via_judge(via->len > 0 ? via->data : "", f->instance, f->config.max_hops)) {
    case VIA_GOOD:
        return JOIN_FORWARD_TAKEN;
    case VIA_LOOP:
        return JOIN_FORWARD_LOOP;
    case VIA_TOO_LONG:
        break;
    }
    return JOIN_FORWARD_TOO_FAR;
}

static bool fill(struct join_forward *forward, struct api_request *request,
    const struct join_work *work, const struct text *via)
{
    size_t len;
    const char *body = api_request_body(request, &len);

    forward->delivery = work->delivery;
    forward->http = work->delivery != NULL ? NULL : request;
    forward->started_us = api_request_started_us(request);
    forward->taken_ms = clock_monotonic_ms();
    forward->terms = work->terms;
    forward->request = work->request;
    (void)snprintf(forward->request_id, sizeof(forward->request_id), "%s", api_request_id(request));
    trace_begin(api_request_header(request, "traceparent"), &forward->trace);
    text_add_len(&forward->asked, body, len);
    forward->n_hops = via_hops(via->len > 0 ? via->data : "");
    via_write(&forward->via, via->len > 0 ? via->data : "", forward->owner->instance);
    return !forward->asked.failed && !forward->via.failed;
}

static enum join_forward_take take(struct join_forwards *f, struct api_request *request,
    const struct join_work *work, struct join_forward **ret)
{
    CLEANUP(text_done) struct text via = {0};
    struct join_forward *forward;
    enum join_forward_take outcome;

    api_request_joined_header(request, "Via", &via);
    if ((outcome = judge_way(f, &via)) != JOIN_FORWARD_TAKEN)
        return outcome;
    if ((forward = take_place(f, work->peer_id)) == NULL)
        return JOIN_FORWARD_FULL;
    if (!fill(forward, request, work, &via)) {
        give_place(forward);
        return JOIN_FORWARD_INTERNAL;
    }
    *ret = forward;
    return JOIN_FORWARD_TAKEN;
}

enum join_forward_take join_forward_take(struct join_forwards *f, struct api_request *request,
    const struct join_work *work, const struct db_join_route *route, struct join_forward **ret)
{
    enum join_forward_take outcome = take(f, request, work, ret);

    if (outcome == JOIN_FORWARD_TAKEN) {
        (*ret)->route = *route;
        return outcome;
    }
    metric_add(&f->refused[outcome], 1);
    join_forwards_refused(f, &work->request, route, refused_words[outcome].outcome, "");
    return outcome;
}

struct join_target join_target_of(const struct db_partner *partner)
{
    return (struct join_target){
        .key = {.id = partner->id, .name = partner->name, .max_in_flight = partner->max_in_flight},
        .url = partner->url,
        .credential = partner->credential,
        .version = partner->is_1_1 ? TS002_1_1 : TS002_1_0,
        .is_async = partner->is_async,
        .timeout_ms = partner->timeout_ms};
}

void join_forward_end(struct join_forward *forward, enum join_carried outcome, const char *why)
{
    if (!forward->has_place)
        join_partner_count(forward->owner->partners, &forward->key, outcome);
    if (join_forward_claim(forward))
        join_forward_answer(forward, outcome, NULL, NULL, why);
}

static enum join_carried outcome_of(const struct api_post *post)
{
    switch (post->outcome) {
    case API_POST_ANSWERED:
        break;
    case API_POST_TIMEOUT:
        return JOIN_CARRIED_TIMEOUT;
    case API_POST_UNTRUSTED:
    case API_POST_NOT_PUBLIC:
        return JOIN_CARRIED_UNTRUSTED;
    case API_POST_STOPPED:
        return JOIN_CARRIED_STOPPED;
    case API_POST_FAILED:
        return JOIN_CARRIED_INTERNAL;
    case API_POST_UNREACHABLE:
        return JOIN_CARRIED_UNREACHABLE;
    }
    if (post->status >= 502 || post->status == 408 || post->status == 429)
        return JOIN_CARRIED_FAILING;
    return post->status / 100 == 2 ? JOIN_CARRIED : JOIN_CARRIED_REFUSED;
}

/* On the client's thread. What an asynchronous partner says to the post is an acknowledgement. */
static void post_ended(struct api_post *post)
{
    struct join_forward *forward = post->context;
    enum join_carried outcome = outcome_of(post);

    if (outcome == JOIN_CARRIED && !forward->is_async && !post->answer_is_whole)
        outcome = JOIN_CARRIED_CUT;
    if (outcome == JOIN_CARRIED && !forward->is_async) {
        if (join_forward_claim(forward))
            join_forward_judge(forward, post->answer.len > 0 ? (const char *)post->answer.data : "",
                post->answer.len);
    } else if (outcome != JOIN_CARRIED && join_forward_claim(forward)) {
        join_forward_answer(forward, outcome, NULL, NULL, post->why);
    }
    secret_buffer_done(&post->answer);
    join_forward_release(forward);
}

static void set_headers(struct join_forward *forward)
{
    size_t n = 0;

    forward->headers[n++] = (struct api_post_header){.name = "Via", .value = forward->via.data};
    if (trace_is_any(&forward->trace))
        forward->headers[n++] = (struct api_post_header){
            .name = "traceparent", .value = trace_format(&forward->trace, forward->traceparent)};
    forward->post.headers = forward->headers;
    forward->post.n_headers = n;
}

static void post_it(struct join_forward *forward, unsigned timeout_ms)
{
    struct join_forwards *f = forward->owner;

    forward->post = (struct api_post){
        .url = forward->url,
        .credential = forward->credential,
        .content_type = "application/json",
        .pinned = forward->pinned,
        .n_pinned = forward->n_pinned,
        .pinned_port = forward->pinned_port,
        .body = forward->body.data,
        .body_len = forward->body.len,
        .once = true,
        .answer_max = JOIN_FORWARD_ANSWER_MAX,
        .share = (uint64_t)forward->key.id,
        .deadline_ms = forward->deadline_ms,
        .attempt_ms = timeout_ms,
        .done = post_ended,
        .context = forward,
    };
    set_headers(forward);
    pthread_mutex_lock(&f->lock);
    forward->n_users++;
    if (forward->is_async) {
        forward->is_awaiting = true;
        f->n_awaiting++;
    }
    pthread_mutex_unlock(&f->lock);
    api_client_post(f->client, &forward->post);
}

/* What the partner is shown. There an application server is another peer than the network servers
 * that ask through us: where there is a credential for its requests, NAME.AS-ID, it is that. */
static int take_credential(struct join_forward *forward, const char *name)
{
    char of_sender[API_CREDENTIAL_NAME_MAX + 1 + PEER_ID_MAX + 1];
    struct api_credentials *credentials = forward->owner->credentials;

    if (name[0] == '\0')
        return 0;
    (void)snprintf(of_sender, sizeof(of_sender), "%s.%s", name, forward->request.sender_id);
    if (strcmp(forward->request.message_type, TS002_APP_S_KEY_REQ) == 0 &&
        api_credential_get(credentials, of_sender, &forward->credential) == 0)
        return 0;
    return api_credential_get(credentials, name, &forward->credential);
}

/* Whoever sees a token has it: where DNS says who a server is, our own CAs must say so, too. */
static bool may_show(const struct join_forward *forward)
{
    const struct api_credential *credential = forward->credential;

    if (forward->n_pinned == 0 || credential == NULL || credential->authorization == NULL ||
        credential->anchors != NULL)
        return true;
    (void)error_set(
        ERROR_CONFIG, "a token is shown to a server that DNS names where a .ca is beside it");
    return false;
}

/* What can be in the way, before anything is sent. */
static enum join_carried prepare(struct join_forward *forward, const struct join_target *target)
{
    struct join_forwards *f = forward->owner;
    enum join_carried outcome = join_partner_take(
        f->partners, &forward->key, forward->peer_id, clock_monotonic_ms(), &forward->place);

    if (outcome != JOIN_CARRIED) {
        (void)error_set(ERROR_DEADLINE, "it is left alone, or has enough to do");
        return outcome;
    }
    forward->has_place = true;
    if (api_client_check_url(target->url) < 0)
        return JOIN_CARRIED_URL;
    if (take_credential(forward, target->credential) < 0 || !may_show(forward))
        return JOIN_CARRIED_CREDENTIAL;
    if (!carry_request(forward->asked.data, forward->asked.len, &forward->request, &forward->out,
            &forward->body)) {
        (void)error_set(ERROR_SYSTEM, "the request could not be written anew");
        return JOIN_CARRIED_INTERNAL;
    }
    return JOIN_CARRIED;
}

unsigned join_forward_time_ms(unsigned timeout_ms, unsigned n_hops, bool is_delivered)
{
    const unsigned less_ms = n_hops * JOIN_FORWARD_HOP_MS;

    timeout_ms -= less_ms < timeout_ms / 2 ? less_ms : timeout_ms / 2;
    return is_delivered && timeout_ms > JOIN_FORWARD_DELIVERED_MS ? JOIN_FORWARD_DELIVERED_MS
                                                                  : timeout_ms;
}

void join_forward_send(struct join_forward *forward, const struct join_target *target)
{
    const unsigned timeout_ms =
        join_forward_time_ms(target->timeout_ms, forward->n_hops, forward->delivery != NULL);
    enum join_carried outcome;

    forward->key = target->key;
    (void)snprintf(forward->name, sizeof(forward->name), "%s", target->key.name);
    forward->key.name = forward->name;
    (void)snprintf(forward->url, sizeof(forward->url), "%s", target->url);
    forward->uses_tls = strncmp(target->url, HTTPS, sizeof(HTTPS) - 1) == 0;
    forward->n_pinned = target->n_pinned;
    forward->pinned_port = target->pinned_port;
    if (target->n_pinned > 0)
        memcpy(forward->pinned, target->pinned, target->n_pinned * sizeof(forward->pinned[0]));
    forward->is_async = target->is_async;
    forward->deadline_ms = forward->taken_ms + (int64_t)timeout_ms;
    forward->out = (struct carry_out){.version = target->version,
        .transaction_id = forward->transaction_id,
        .ns_id_is_its_own = forward->terms.ns_id_is_its_own};
    outcome = prepare(forward, target);
    if (outcome == JOIN_CARRIED)
        post_it(forward, timeout_ms);
    else if (join_forward_claim(forward))
        join_forward_answer(forward, outcome, NULL, NULL, error_text());
}

bool join_forwards_answered(
    struct join_forwards *f, int64_t partner_id, const char *body, size_t len)
{
    struct join_forward *forward = NULL;
    uint32_t transaction_id, at;

    if (carry_read_transaction(body, len, &transaction_id)) {
        at = transaction_id & ((1u << PLACE_BITS) - 1);
        pthread_mutex_lock(&f->lock);
        if (at < f->n_begun && f->places[at].is_awaiting && !f->places[at].is_answered &&
            f->places[at].transaction_id == transaction_id && f->places[at].key.id == partner_id) {
            forward = &f->places[at];
            forward->is_answered = true;
        }
        pthread_mutex_unlock(&f->lock);
    }
    if (forward == NULL) {
        metric_add(&f->unmatched, 1);
        return false;
    }
    join_forward_judge(forward, body, len);
    return true;
}

void join_forwards_note(struct join_forwards *f, const struct api_request *request,
    const struct ts002_request *message, int64_t peer_id)
{
    char id[TRACE_ID_TEXT_LEN + 1];
    struct trace trace;

    if (trace_read(api_request_header(request, "traceparent"), &trace) &&
        join_forwards_may_tell(f, &trace))
        log_info("asked type=%s peer=%lld trace=%s request=%s", message->message_type,
            (long long)peer_id, trace_format_id(&trace, id), api_request_id(request));
}

void join_forwards_metrics(
    struct join_forwards *f, const struct join_directory *directory, struct text *out)
{
    metrics_write(out, f->refused + JOIN_FORWARD_TAKEN + 1, N_JOIN_FORWARD_TAKES - 1);
    metrics_write(out, &f->unmatched, 1);
    join_partners_metrics(f->partners, directory, out);
}
