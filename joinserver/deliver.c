#include "joinserver/deliver.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/secret.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define COMPLAIN_MS 1000 /* between log lines about one peer */
#define WHY_MAX ERROR_TEXT_MAX

enum undelivered {
    UNDELIVERED_TIMEOUT,
    UNDELIVERED_UNREACHABLE,
    UNDELIVERED_FAILING,
    UNDELIVERED_REFUSED,
    UNDELIVERED_UNTRUSTED,
    UNDELIVERED_CREDENTIAL,
    UNDELIVERED_URL,
    UNDELIVERED_QUEUE_FULL,
    UNDELIVERED_STOPPED,
    UNDELIVERED_INTERNAL,
    N_UNDELIVERED
};

static const struct {
    const char *reason, *label;
} undelivered[N_UNDELIVERED] = {
#define REASON(name)                                                                               \
    {                                                                                              \
        name, "reason=\"" name "\""                                                                \
    }
    [UNDELIVERED_TIMEOUT] = REASON("timeout"),         /* the last attempt was not answered */
    [UNDELIVERED_UNREACHABLE] = REASON("unreachable"), /* it had no connection, or that broke */
    [UNDELIVERED_FAILING] = REASON("failing"),         /* it was answered 5xx, 408 or 429 */
    [UNDELIVERED_REFUSED] = REASON("refused"),         /* an HTTP status that is final */
    [UNDELIVERED_UNTRUSTED] = REASON("untrusted"),     /* the peer's server certificate */
    [UNDELIVERED_CREDENTIAL] = REASON("credential"),   /* the request was refused, as for the */
    [UNDELIVERED_URL] = REASON("url"),                 /* next two */
    [UNDELIVERED_QUEUE_FULL] = REASON("queue_full"),
    [UNDELIVERED_STOPPED] = REASON("stopped"),
    [UNDELIVERED_INTERNAL] = REASON("internal"),
#undef REASON
};

struct join_delivery {
    struct join_delivery *next;
    struct join_deliveries *owner;
    struct api_post post;
    int64_t peer_id;
    int64_t started_us;
    unsigned n_attempts;
    const struct api_credential *credential;
    struct secret_buffer body; /* wrapped session keys */
    char peer_name[PEER_ID_MAX + 1];
    char url[PEER_URL_MAX + 1];
};

/* Under a flood a peer that is away is worth a line a second. */
struct complaint {
    int64_t logged_ms;
    unsigned n_unlogged;
};

struct join_deliveries {
    struct join_deliveries_config config;
    struct api_credentials *credentials;
    struct api_client *client;
    pthread_mutex_t lock;
    struct join_delivery *free_places;
    unsigned n_begun; /* places that were taken ever; memory of the others is not touched */
    unsigned n_taken;
    unsigned taken[JOIN_SHARES]; /* by peer */
    struct complaint complaints[JOIN_SHARES];
    struct metric delivered, retried;
    struct metric undelivered[N_UNDELIVERED];
    struct metric_histogram seconds;
    struct join_delivery places[];
};

static void init_metrics(struct join_deliveries *d)
{
    d->delivered = (struct metric){.name = "cradle_join_answers_delivered_total",
        .help = "Answers that a peer took at its answer URL."};
    d->retried = (struct metric){.name = "cradle_join_answer_retries_total",
        .help = "Attempts to deliver an answer after one that failed."};
    for (size_t i = 0; i < N_UNDELIVERED; i++)
        d->undelivered[i] = (struct metric){.name = "cradle_join_answers_undelivered_total",
            .labels = undelivered[i].label,
            .help = "Answers that were not taken at an answer URL, or had no place to wait there."};
    d->seconds = (struct metric_histogram){.name = "cradle_join_answer_delivery_seconds",
        .help = "From the first byte of a request to its answer being taken at the answer URL."};
}

int join_deliveries_open(const struct join_deliveries_config *config, struct join_deliveries **ret)
{
    struct join_deliveries *d = calloc(1, sizeof(*d) + config->max_answers * sizeof(d->places[0]));
    int r;

    if (d == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for %u answers", config->max_answers);
    d->config = *config;
    (void)pthread_mutex_init(&d->lock, NULL); /* cannot fail with default attributes on Linux */
    init_metrics(d);
    for (unsigned i = 0; i < JOIN_SHARES; i++)
        d->complaints[i].logged_ms = clock_monotonic_ms() - COMPLAIN_MS;
    if ((r = api_credentials_open(config->directory, &d->credentials)) == 0)
        r = api_client_start(
            &(struct api_client_config){.user_agent = "cradle-joinserver/" CRADLE_VERSION,
                .max_connections = config->max_connections},
            &d->client);
    if (r < 0) {
        join_deliveries_stop(d, 0);
        return r;
    }
    *ret = d;
    return 0;
}

static void note_undelivered(struct join_deliveries *d, int64_t peer_id, const char *peer_name,
    enum undelivered what, const char *why)
{
    struct complaint *complaint = &d->complaints[join_share_of(peer_id)];
    const int64_t now_ms = clock_monotonic_ms();
    unsigned n = 0;

    metric_add(&d->undelivered[what], 1);
    pthread_mutex_lock(&d->lock);
    complaint->n_unlogged++;
    if (now_ms - complaint->logged_ms >= COMPLAIN_MS) {
        n = complaint->n_unlogged;
        *complaint = (struct complaint){.logged_ms = now_ms};
    }
    pthread_mutex_unlock(&d->lock);
    if (n > 0)
        log_error("answers not delivered peer=%lld name=\"%s\" n=%u reason=%s why=\"%s\"",
            (long long)peer_id, peer_name, n, undelivered[what].reason, why);
}

/* What the last second of each peer still has to tell. */
static void log_rest(struct join_deliveries *d)
{
    unsigned n = 0;

    for (unsigned i = 0; i < JOIN_SHARES; i++)
        n += d->complaints[i].n_unlogged;
    if (n > 0)
        log_error("answers not delivered n=%u, without a line of their own", n);
}

void join_deliveries_stop(struct join_deliveries *d, int64_t give_up_ms)
{
    if (d == NULL)
        return;
    api_client_stop(d->client, give_up_ms);
    log_rest(d);
    for (unsigned i = 0; i < d->n_begun; i++)
        secret_buffer_done(&d->places[i].body);
    api_credentials_close(d->credentials);
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
}

/* NULL when all are taken. The caller holds the lock. */
static struct join_delivery *free_place(struct join_deliveries *d)
{
    struct join_delivery *delivery = d->free_places;

    if (delivery != NULL) {
        d->free_places = delivery->next;
    } else if (d->n_begun < d->config.max_answers) {
        delivery = &d->places[d->n_begun++];
        delivery->owner = d;
    }
    return delivery;
}

static struct join_delivery *take_place(struct join_deliveries *d, int64_t peer_id)
{
    unsigned *taken = &d->taken[join_share_of(peer_id)];
    struct join_delivery *delivery = NULL;

    pthread_mutex_lock(&d->lock);
    if (join_share_allows(*taken, d->config.max_answers - d->n_taken))
        delivery = free_place(d);
    if (delivery != NULL) {
        (*taken)++;
        d->n_taken++;
        delivery->peer_id = peer_id;
    }
    pthread_mutex_unlock(&d->lock);
    return delivery;
}

void join_delivery_give(struct join_delivery *delivery)
{
    struct join_deliveries *d = delivery->owner;

    secret_buffer_done(&delivery->body);
    api_credential_release(d->credentials, delivery->credential);
    delivery->credential = NULL;
    pthread_mutex_lock(&d->lock);
    d->taken[join_share_of(delivery->peer_id)]--;
    d->n_taken--;
    delivery->next = d->free_places;
    d->free_places = delivery;
    pthread_mutex_unlock(&d->lock);
}

enum join_delivery_take join_delivery_take(struct join_deliveries *d, const struct db_peer *peer,
    int64_t started_us, struct join_delivery **ret)
{
    const struct api_credential *credential = NULL;
    struct join_delivery *delivery;

    if (api_client_check_url(peer->answer_url) < 0) {
        note_undelivered(d, peer->id, peer->name, UNDELIVERED_URL, error_text());
        return JOIN_DELIVERY_UNUSABLE;
    }
    if (peer->answer_credential[0] != '\0' &&
        api_credential_get(d->credentials, peer->answer_credential, &credential) < 0) {
        note_undelivered(d, peer->id, peer->name, UNDELIVERED_CREDENTIAL, error_text());
        return JOIN_DELIVERY_UNUSABLE;
    }
    if ((delivery = take_place(d, peer->id)) == NULL) {
        api_credential_release(d->credentials, credential);
        note_undelivered(
            d, peer->id, peer->name, UNDELIVERED_QUEUE_FULL, "too many answers are waiting");
        return JOIN_DELIVERY_FULL;
    }
    delivery->credential = credential;
    delivery->started_us = started_us;
    delivery->n_attempts = 0;
    (void)snprintf(delivery->peer_name, sizeof(delivery->peer_name), "%s", peer->name);
    (void)snprintf(delivery->url, sizeof(delivery->url), "%s", peer->answer_url);
    *ret = delivery;
    return JOIN_DELIVERY_TAKEN;
}

int64_t join_delivery_backoff_ms(unsigned n_attempts, uint16_t dice)
{
    int64_t pause_ms = JOIN_ANSWER_BACKOFF_MS;

    for (unsigned i = 1; i < n_attempts && pause_ms < JOIN_ANSWER_BACKOFF_MAX_MS; i++)
        pause_ms *= 2;
    if (pause_ms > JOIN_ANSWER_BACKOFF_MAX_MS)
        pause_ms = JOIN_ANSWER_BACKOFF_MAX_MS;
    return pause_ms / 2 + pause_ms / 2 * dice / UINT16_MAX;
}

bool join_delivery_is_final(enum api_post_outcome outcome, unsigned status)
{
    switch (outcome) {
    case API_POST_ANSWERED:
        return status < 500 && status != 408 && status != 429;
    case API_POST_UNREACHABLE:
    case API_POST_TIMEOUT:
    case API_POST_FAILED:
        return false;
    case API_POST_NOT_PUBLIC: /* not by this client, whose peers' URLs the operator has set */
    case API_POST_UNTRUSTED:  /* somebody else, or a certificate to be renewed: not in seconds */
    case API_POST_STOPPED:
        return true;
    }
    return true;
}

static enum undelivered reason_of(const struct api_post *post)
{
    switch (post->outcome) {
    case API_POST_ANSWERED:
        return join_delivery_is_final(post->outcome, post->status) ? UNDELIVERED_REFUSED
                                                                   : UNDELIVERED_FAILING;
    case API_POST_UNREACHABLE:
        return UNDELIVERED_UNREACHABLE;
    case API_POST_TIMEOUT:
        return UNDELIVERED_TIMEOUT;
    case API_POST_NOT_PUBLIC:
    case API_POST_UNTRUSTED:
        return UNDELIVERED_UNTRUSTED;
    case API_POST_STOPPED:
        return UNDELIVERED_STOPPED;
    case API_POST_FAILED:
        break;
    }
    return UNDELIVERED_INTERNAL;
}

/* Without chance all pauses are the shortest. */
static bool post_again(struct join_delivery *delivery)
{
    struct api_post *post = &delivery->post;
    uint16_t dice = 0;
    int64_t start_ms;

    if (random_bytes(&dice, sizeof(dice)) < 0)
        dice = 0;
    start_ms = clock_monotonic_ms() + join_delivery_backoff_ms(++delivery->n_attempts, dice);
    if (start_ms + JOIN_ANSWER_ATTEMPT_MIN_MS > post->deadline_ms)
        return false;
    metric_add(&delivery->owner->retried, 1);
    post->start_ms = start_ms;
    api_client_post(delivery->owner->client, post);
    return true;
}

static void attempt_ended(struct api_post *post)
{
    struct join_delivery *delivery = post->context;
    struct join_deliveries *d = delivery->owner;

    if (post->outcome == API_POST_ANSWERED && post->status / 100 == 2) {
        metric_add(&d->delivered, 1);
        metric_observe_us(&d->seconds, clock_monotonic_us() - delivery->started_us);
    } else if (!join_delivery_is_final(post->outcome, post->status) && post_again(delivery)) {
        return;
    } else {
        note_undelivered(d, delivery->peer_id, delivery->peer_name, reason_of(post), post->why);
    }
    join_delivery_give(delivery);
}

void join_delivery_send(struct join_delivery *delivery, const struct text *answer)
{
    /* Half an answer would be worse than none. */
    if (answer->failed || secret_buffer_append(&delivery->body, answer->data, answer->len) < 0) {
        note_undelivered(delivery->owner, delivery->peer_id, delivery->peer_name,
            UNDELIVERED_INTERNAL, "out of memory");
        join_delivery_give(delivery);
        return;
    }
    delivery->post = (struct api_post){
        .url = delivery->url,
        .credential = delivery->credential,
        .content_type = "application/json",
        .body = delivery->body.data,
        .body_len = delivery->body.len,
        .share = (uint64_t)delivery->peer_id,
        .deadline_ms = delivery->started_us / 1000 + JOIN_ANSWER_BUDGET_MS,
        .attempt_ms = JOIN_ANSWER_ATTEMPT_MS,
        .done = attempt_ended,
        .context = delivery,
    };
    api_client_post(delivery->owner->client, &delivery->post);
}

void join_deliveries_metrics(struct join_deliveries *d, struct text *out)
{
    unsigned n_taken;

    pthread_mutex_lock(&d->lock);
    n_taken = d->n_taken;
    pthread_mutex_unlock(&d->lock);
    metrics_write(out, &d->delivered, 1);
    metrics_write(out, d->undelivered, N_UNDELIVERED);
    metrics_write(out, &d->retried, 1);
    text_addf(out,
        "# HELP cradle_join_answers_waiting Answers that wait to be delivered to an answer URL now.\n"
        "# TYPE cradle_join_answers_waiting gauge\ncradle_join_answers_waiting %u\n",
        n_taken);
    metrics_write_histogram(out, &d->seconds);
}
