#include "api/client.h"

#include "api/client_library.h"
#include "api/pin.h"
#include "api/reach.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/secret.h"
#include "base/text.h"
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Shares have counters by their number; a collision makes two peers one. */
#define N_SHARES 256
#define LOOK_MS 50         /* between looks at posts that wait for a connection */
#define IDLE_MS 1000       /* a post or the stop ends the wait */
#define SYSTEM_CAS_S 3600L /* how long the system's CAs are used before they are read again */
#define FILES_BESIDE_CONNECTIONS 16

static const char stopping_words[] = "the service is stopping";

struct slot {
    struct slot *next_free;
    CURL *easy; /* made at first use */
    struct curl_slist *headers;
    struct api_pin pin;
    struct api_post *post; /* NULL: free */
    size_t n_head, n_body; /* bytes received */
    size_t n_sent;         /* of the body, where it is sent once */
    bool was_cut;
    bool public_only; /* as the client's */
    bool was_refused; /* an address that is not public */
    char why[CURL_ERROR_SIZE];
};

struct share {
    struct api_post *first, **last; /* due, and waiting for a connection */
    unsigned n_active;
    unsigned n_failures; /* in a row */
};

struct api_client {
    struct api_client_config config;
    CURLM *multi;
    pthread_t thread;
    pthread_mutex_t lock;
    struct api_post *arrived, **arrived_last; /* under the lock */
    bool stopping, halted;
    int64_t stop_ms;
    /* The thread's own. */
    struct api_post *delayed; /* not due yet */
    struct share shares[N_SHARES];
    size_t turn; /* the share that is served next */
    size_t n_waiting, n_active;
    int64_t look_ms;
    struct slot *free_slots;
    struct slot slots[];
};

unsigned api_client_descriptors(unsigned max_connections)
{
    /* Idle connections are kept beside the active ones, and a name being looked up has sockets. */
    return 3 * max_connections + FILES_BESIDE_CONNECTIONS;
}

static void client_free(struct api_client *client)
{
    for (unsigned i = 0; i < client->config.max_connections; i++)
        curl_easy_cleanup(client->slots[i].easy);
    (void)curl_multi_cleanup(client->multi);
    (void)pthread_mutex_destroy(&client->lock);
    free(client);
}

static struct share *share_of(struct api_client *client, const struct api_post *post)
{
    return &client->shares[post->share % N_SHARES];
}

static unsigned most_active(const struct api_client *client, const struct share *share)
{
    const unsigned most =
        client->config.max_connections * API_CLIENT_SHARE_NUMERATOR / API_CLIENT_SHARE_DENOMINATOR;

    if (client->config.no_shares)
        return client->config.max_connections;
    if (share->n_failures >= API_CLIENT_FAILURES && most > API_CLIENT_PROBES)
        return API_CLIENT_PROBES;
    return most > 0 ? most : 1;
}

static void finish(
    struct api_post *post, enum api_post_outcome outcome, unsigned status, const char *why)
{
    post->outcome = outcome;
    post->status = status;
    (void)snprintf(post->why, sizeof(post->why), "%.*s", API_POST_WHY_MAX - 1, why);
    post->done(post);
}

void api_client_post(struct api_client *client, struct api_post *post)
{
    bool halted;

    post->next = NULL;
    pthread_mutex_lock(&client->lock);
    if (!(halted = client->halted)) {
        *client->arrived_last = post;
        client->arrived_last = &post->next;
    }
    pthread_mutex_unlock(&client->lock);
    if (halted)
        finish(post, API_POST_STOPPED, 0, stopping_words);
    else
        (void)curl_multi_wakeup(client->multi);
}

static bool is_idle(struct api_client *client)
{
    bool none_arrived;

    pthread_mutex_lock(&client->lock);
    none_arrived = client->arrived == NULL;
    pthread_mutex_unlock(&client->lock);
    return none_arrived && client->n_active == 0 && client->n_waiting == 0 &&
           client->delayed == NULL;
}

/* True when the stop was asked for. */
static bool take_arrived(struct api_client *client)
{
    struct api_post *list;
    bool stopping;

    pthread_mutex_lock(&client->lock);
    list = client->arrived;
    client->arrived = NULL;
    client->arrived_last = &client->arrived;
    stopping = client->stopping;
    pthread_mutex_unlock(&client->lock);
    while (list != NULL) {
        struct api_post *post = list;

        list = post->next;
        post->next = client->delayed;
        client->delayed = post;
        client->look_ms = 0;
    }
    return stopping;
}

/* Arrivals are put in front of the delayed, so that reversing puts them behind the waiting as they
 * arrived. */
static void make_due(struct api_client *client, int64_t now_ms)
{
    struct api_post *due = NULL;

    for (struct api_post **at = &client->delayed; *at != NULL;) {
        struct api_post *post = *at;

        if (post->start_ms > now_ms) {
            if (post->start_ms < client->look_ms)
                client->look_ms = post->start_ms;
            at = &post->next;
            continue;
        }
        *at = post->next;
        post->next = due;
        due = post;
    }
    while (due != NULL) {
        struct api_post *post = due;
        struct share *share = share_of(client, post);

        due = post->next;
        post->next = NULL;
        *share->last = post;
        share->last = &post->next;
        client->n_waiting++;
    }
}

static struct api_post *unlink_waiting(
    struct api_client *client, struct share *share, struct api_post **at)
{
    struct api_post *post = *at;

    *at = post->next;
    if (post->next == NULL)
        share->last = at;
    client->n_waiting--;
    return post;
}

static void end_waiting(struct api_client *client, int64_t now_ms)
{
    for (size_t i = 0; i < N_SHARES && client->n_waiting > 0; i++) {
        struct share *share = &client->shares[i];

        for (struct api_post **at = &share->first; *at != NULL;) {
            if ((*at)->deadline_ms > now_ms)
                at = &(*at)->next;
            else
                finish(unlink_waiting(client, share, at), API_POST_TIMEOUT, 0,
                    "no connection was free in time");
        }
    }
}

/* Posts that are due, and those that are too late. */
static void look(struct api_client *client, int64_t now_ms)
{
    if (now_ms < client->look_ms)
        return;
    client->look_ms = now_ms + IDLE_MS;
    make_due(client, now_ms);
    end_waiting(client, now_ms);
    if (client->n_waiting > 0 && client->look_ms > now_ms + LOOK_MS)
        client->look_ms = now_ms + LOOK_MS;
}

/* Counted and forgotten. */
static size_t take_head(char *data, size_t size, size_t n, void *context)
{
    struct slot *slot = context;

    (void)data;
    slot->n_head += size * n;
    return slot->n_head <= API_CLIENT_ANSWER_MAX ? size * n : 0;
}

/* Counted, and kept where the post wants it. */
static size_t take_body(char *data, size_t size, size_t n, void *context)
{
    struct slot *slot = context;
    struct api_post *post = slot->post;
    const size_t max = post->answer_max > 0 ? post->answer_max : API_CLIENT_ANSWER_MAX;

    slot->n_body += size * n;
    if (slot->n_body > max)
        slot->was_cut = true;
    if (slot->was_cut ||
        (post->answer_max > 0 && secret_buffer_append(&post->answer, data, size * n) < 0))
        return 0;
    return size * n;
}

/* The body of what is sent once. The library would send a POST again, on another connection, when
 * one that it had used before breaks without an answer; a body that comes from here it cannot have
 * twice, and says so when a piece of it was sent. */
static size_t give_body(char *data, size_t size, size_t n, void *context)
{
    struct slot *slot = context;
    const size_t left = slot->post->body_len - slot->n_sent;
    const size_t len = left < size * n ? left : size * n;

    memcpy(data, (const char *)slot->post->body + slot->n_sent, len);
    slot->n_sent += len;
    return len;
}

/* Called for each address before it is connected to: what a name stands for is known only here. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct slot *slot = context;

    (void)purpose;
    if (slot->public_only && !api_address_is_public(&address->addr)) {
        slot->was_refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool add_header(struct slot *slot, const char *name, const char *value)
{
    CLEANUP(text_done) struct text line = {0};
    struct curl_slist *longer;

    text_addf(&line, "%s:%s%s", name, value[0] != '\0' ? " " : "", value);
    longer = line.failed ? NULL : curl_slist_append(slot->headers, line.data);
    secret_wipe(line.data, line.len);
    if (longer == NULL)
        return false;
    slot->headers = longer;
    return true;
}

static bool add_headers(struct slot *slot, const struct api_post *post)
{
    for (size_t i = 0; i < post->n_headers; i++)
        if (!add_header(slot, post->headers[i].name, post->headers[i].value))
            return false;
    return true;
}

static struct curl_blob blob_of(const char *text)
{
    /* Not written to, in spite of its type. */
    return (struct curl_blob){
        .data = (void *)(uintptr_t)text, .len = strlen(text), .flags = CURL_BLOB_NOCOPY};
}

static bool set_credential(struct slot *slot, const struct api_credential *credential)
{
    CURL *easy = slot->easy;
    bool good = true;

    if (credential->certificate != NULL) {
        struct curl_blob certificate = blob_of(credential->certificate);
        struct curl_blob key = blob_of(credential->key);

        good = good && curl_easy_setopt(easy, CURLOPT_SSLCERT_BLOB, &certificate) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_SSLKEY_BLOB, &key) == CURLE_OK;
    }
    if (credential->anchors != NULL) {
        struct curl_blob anchors = blob_of(credential->anchors);

        good = good && curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &anchors) == CURLE_OK;
    }
    if (credential->authorization != NULL)
        good = good && add_header(slot, "Authorization", credential->authorization);
    return good;
}

/* How it is connected and who is believed; the same for all posts. */
static bool set_transport(const struct api_client *client, struct slot *slot)
{
    CURL *easy = slot->easy;
    const unsigned connect_ms =
        client->config.connect_ms > 0 ? client->config.connect_ms : API_CLIENT_CONNECT_MS;

    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           /* The system's CAs are in a file and again in a folder, which would be looked at beside
            * a credential's own CAs, and keeps those of the file from being kept in memory. */
           curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, SYSTEM_CAS_S) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, slot) == CURLE_OK &&
           /* A name server that does not answer must not hold this thread up at the end. */
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, client->config.user_agent) == CURLE_OK;
}

static bool set_body(struct slot *slot, const struct api_post *post)
{
    CURL *easy = slot->easy;

    if (curl_easy_setopt(easy, CURLOPT_POST, 1L) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body_len) != CURLE_OK)
        return false;
    if (!post->once)
        return curl_easy_setopt(easy, CURLOPT_POSTFIELDS, post->body) == CURLE_OK;
    return curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READDATA, slot) == CURLE_OK;
}

static bool set_exchange(struct slot *slot, const struct api_post *post, long timeout_ms)
{
    CURL *easy = slot->easy;

    return curl_easy_setopt(easy, CURLOPT_URL, post->url) == CURLE_OK && set_body(slot, post) &&
           curl_easy_setopt(easy, CURLOPT_HTTPHEADER, slot->headers) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_head) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, slot) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, slot->why) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, slot) == CURLE_OK;
}

static bool slot_begin(
    struct api_client *client, struct slot *slot, struct api_post *post, long timeout_ms)
{
    if (slot->easy == NULL)
        slot->easy = curl_easy_init();
    else
        curl_easy_reset(slot->easy);
    slot->n_head = slot->n_body = slot->n_sent = 0;
    slot->was_cut = false;
    post->answer_is_whole = post->answer_is_too_long = false;
    secret_buffer_clear(&post->answer);
    slot->public_only = client->config.public_only;
    slot->was_refused = false;
    slot->why[0] = '\0';
    return slot->easy != NULL && set_transport(client, slot) &&
           add_header(slot, "Content-Type", post->content_type) &&
           add_header(slot, "Expect", "") && /* 100-continue would cost a round trip */
           add_headers(slot, post) &&
           (post->credential == NULL || set_credential(slot, post->credential)) &&
           set_exchange(slot, post, timeout_ms) &&
           api_pin_set(&slot->pin, slot->easy, post->pinned_port, post->pinned, post->n_pinned) &&
           curl_multi_add_handle(client->multi, slot->easy) == CURLM_OK;
}

static void slot_end(struct api_client *client, struct slot *slot)
{
    curl_slist_free_all(slot->headers);
    slot->headers = NULL;
    api_pin_done(&slot->pin);
    slot->post = NULL;
    slot->next_free = client->free_slots;
    client->free_slots = slot;
}

static void start_post(struct api_client *client, struct api_post *post, int64_t now_ms)
{
    struct slot *slot = client->free_slots;
    int64_t timeout_ms = post->deadline_ms - now_ms;

    if (timeout_ms > (int64_t)post->attempt_ms)
        timeout_ms = (int64_t)post->attempt_ms;
    if (timeout_ms <= 0) {
        finish(post, API_POST_TIMEOUT, 0, "no connection was free in time");
        return;
    }
    client->free_slots = slot->next_free;
    slot->post = post;
    if (slot_begin(client, slot, post, (long)timeout_ms)) {
        client->n_active++;
        share_of(client, post)->n_active++;
        return;
    }
    slot_end(client, slot);
    finish(post, API_POST_FAILED, 0, "libcurl does not take it");
}

/* One of each share in turn, while connections are free. */
static void start_waiting(struct api_client *client, int64_t now_ms)
{
    size_t n_passed = 0;

    while (client->n_waiting > 0 && client->free_slots != NULL && n_passed < N_SHARES) {
        struct share *share = &client->shares[client->turn];

        client->turn = (client->turn + 1) % N_SHARES;
        if (share->first == NULL || share->n_active >= most_active(client, share)) {
            n_passed++;
            continue;
        }
        n_passed = 0;
        start_post(client, unlink_waiting(client, share, &share->first), now_ms);
    }
}

static enum api_post_outcome outcome_of(CURLcode code, long status)
{
    /* Its status line is the answer, even when the rest was cut. */
    if (status >= 200)
        return API_POST_ANSWERED;
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return API_POST_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return API_POST_UNTRUSTED;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
    case CURLE_URL_MALFORMAT:
    case CURLE_NOT_BUILT_IN:
        return API_POST_FAILED;
    default:
        return API_POST_UNREACHABLE;
    }
}

/* Whether the peer hung up as servers do that want another client certificate: on a connection that
 * TLS was just agreed upon, and without a word. */
static bool was_hung_up(const struct slot *slot, CURLcode code)
{
    curl_off_t shaken_us = 0;
    long n_connections = 0;

    (void)curl_easy_getinfo(slot->easy, CURLINFO_APPCONNECT_TIME_T, &shaken_us);
    (void)curl_easy_getinfo(slot->easy, CURLINFO_NUM_CONNECTS, &n_connections);
    return (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING) &&
           shaken_us > 0 && n_connections > 0 && slot->n_head == 0;
}

/* Why there is no answer, in words that name the peer, and what it was shown. */
static void explain(const struct slot *slot, CURLcode code, char why[static CURL_ERROR_SIZE])
{
    const struct api_post *post = slot->post;
    const struct api_credential *credential = post->credential;
    const bool has_shown = credential != NULL && credential->certificate != NULL;
    const char *name = has_shown && credential->name != NULL ? credential->name : "";
    const char *shown = has_shown ? "client certificate " : "no client certificate";
    char said[CURL_ERROR_SIZE];

    api_pin_explain(&slot->pin, post->url, post->pinned, post->n_pinned,
        slot->why[0] != '\0' ? slot->why : curl_easy_strerror(code), said, sizeof(said));
    if (was_hung_up(slot, code))
        (void)snprintf(why, CURL_ERROR_SIZE,
            "the connection was closed right after the TLS handshake; %s%s was shown", shown, name);
    else if (code == CURLE_SSL_CONNECT_ERROR)
        (void)snprintf(why, CURL_ERROR_SIZE, "the TLS handshake failed; %s%s was shown: %.*s",
            shown, name, API_POST_WHY_MAX, said);
    else
        (void)snprintf(why, CURL_ERROR_SIZE, "%s", said);
}

static void end_slot(struct api_client *client, struct slot *slot, CURLcode code)
{
    struct api_post *post = slot->post;
    struct share *share = share_of(client, post);
    enum api_post_outcome outcome;
    char why[CURL_ERROR_SIZE];
    long status = 0;

    (void)curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    outcome = outcome_of(code, status);
    if (slot->was_refused && outcome == API_POST_UNREACHABLE)
        outcome = API_POST_NOT_PUBLIC;
    client->n_active--;
    share->n_active--;
    share->n_failures = outcome == API_POST_ANSWERED ? 0 : share->n_failures + 1;
    if (outcome == API_POST_ANSWERED)
        (void)snprintf(why, sizeof(why), "HTTP status %ld", status);
    else
        explain(slot, code, why);
    (void)curl_multi_remove_handle(client->multi, slot->easy);
    post->answer_is_whole = code == CURLE_OK;
    post->answer_is_too_long = slot->was_cut;
    slot_end(client, slot);
    finish(post, outcome, (unsigned)status, why);
}

/* True when a connection has become free. */
static bool take_ended(struct api_client *client)
{
    const CURLMsg *message;
    bool any = false;
    int n_left;

    while ((message = curl_multi_info_read(client->multi, &n_left)) != NULL) {
        CURL *easy = message->easy_handle;
        CURLcode code = message->data.result;
        struct slot *slot = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &slot);
        end_slot(client, slot, code);
        any = true;
    }
    return any;
}

static void end_waiting_posts(struct api_client *client)
{
    (void)take_arrived(client);
    make_due(client, INT64_MAX);
    for (size_t i = 0; i < N_SHARES; i++)
        while (client->shares[i].first != NULL)
            finish(unlink_waiting(client, &client->shares[i], &client->shares[i].first),
                API_POST_STOPPED, 0, stopping_words);
}

static void abandon(struct api_client *client)
{
    for (unsigned i = 0; i < client->config.max_connections; i++) {
        struct slot *slot = &client->slots[i];
        struct api_post *post = slot->post;

        if (post == NULL)
            continue;
        (void)curl_multi_remove_handle(client->multi, slot->easy);
        slot_end(client, slot);
        finish(post, API_POST_STOPPED, 0, stopping_words);
    }
    end_waiting_posts(client);
}

static void *run(void *arg)
{
    struct api_client *client = arg;

    for (;;) {
        const bool stopping = take_arrived(client);
        int64_t now_ms = clock_monotonic_ms(), until_ms;
        bool freed;
        int n_running;

        look(client, now_ms);
        start_waiting(client, now_ms);
        (void)curl_multi_perform(client->multi, &n_running);
        freed = take_ended(client);
        now_ms = clock_monotonic_ms();
        until_ms = client->look_ms;
        if (stopping && (is_idle(client) || now_ms >= client->stop_ms))
            break;
        if (stopping && client->stop_ms < until_ms)
            until_ms = client->stop_ms;
        if (!freed && until_ms > now_ms)
            (void)curl_multi_poll(client->multi, NULL, 0, (int)(until_ms - now_ms), NULL);
    }
    abandon(client);
    return NULL;
}

int api_client_start(const struct api_client_config *config, struct api_client **ret)
{
    struct api_client *client;
    int r = client_library_start();

    if (r < 0)
        return r;
    client = calloc(1, sizeof(*client) + config->max_connections * sizeof(client->slots[0]));
    if (client == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for %u connections", config->max_connections);
    client->config = *config;
    client->arrived_last = &client->arrived;
    (void)pthread_mutex_init(
        &client->lock, NULL); /* cannot fail with default attributes on Linux */
    for (size_t i = 0; i < N_SHARES; i++)
        client->shares[i].last = &client->shares[i].first;
    for (unsigned i = 0; i < config->max_connections; i++) {
        client->slots[i].next_free = client->free_slots;
        client->free_slots = &client->slots[i];
    }
    client->multi = curl_multi_init();
    if (client->multi == NULL || curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS,
                                     (long)config->max_connections) != CURLM_OK)
        r = error_set(ERROR_SYSTEM, "libcurl does not start");
    else if (pthread_create(&client->thread, NULL, run, client) != 0)
        r = error_set(ERROR_SYSTEM, "cannot start the thread of the HTTP client");
    if (r < 0) {
        client_free(client);
        return r;
    }
    *ret = client;
    return 0;
}

void api_client_halt(struct api_client *client, int64_t give_up_ms)
{
    if (client == NULL || client->halted)
        return;
    pthread_mutex_lock(&client->lock);
    client->stopping = true;
    client->stop_ms = give_up_ms;
    pthread_mutex_unlock(&client->lock);
    (void)curl_multi_wakeup(client->multi);
    (void)pthread_join(client->thread, NULL);
    pthread_mutex_lock(&client->lock);
    client->halted = true;
    pthread_mutex_unlock(&client->lock);
    end_waiting_posts(client); /* what came behind the thread's last look */
}

void api_client_stop(struct api_client *client, int64_t give_up_ms)
{
    if (client == NULL)
        return;
    api_client_halt(client, give_up_ms);
    client_free(client);
}
