/* The HTTP client of services: POSTs with a deadline, many at once, on one thread of its own.
 *
 * https is verified always: against the CAs of the post's credential or, without those, the
 * system's. http goes to loopback addresses only. No redirect is followed, no proxy used, no cookie
 * kept; the body of the answer is kept where the post says so, and else discarded. Connections are
 * kept and used again, each only with the credential that it was opened with. What passes through
 * is wiped from memory.
 *
 * No share (a peer) holds more than three quarters of the connections, and one that only fails but
 * API_CLIENT_PROBES of them, until it answers: others do not wait for it.
 *
 * A client of `public_only` connects to no address but those of the public Internet (api/reach.h),
 * whatever a name stood for when it was looked at: each address is judged as it is connected to. */
#pragma once

#include "api/credential.h"
#include "api/dns_rdata.h"
#include "base/secret.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define API_CLIENT_CONNECT_MS 1000  /* to be connected, TLS included, where nothing else is said */
#define API_CLIENT_ANSWER_MAX 16384 /* bytes of a head, and of a body not kept; then it is cut */
#define API_CLIENT_FAILURES 4       /* in a row: a share has but its probes then */
#define API_CLIENT_PROBES 4         /* connections */
#define API_CLIENT_SHARE_NUMERATOR 3
#define API_CLIENT_SHARE_DENOMINATOR 4
#define API_POST_WHY_MAX 160

enum api_post_outcome {
    API_POST_ANSWERED,    /* with `status`, whatever that is */
    API_POST_UNREACHABLE, /* no connection, or it broke, or what was heard is no HTTP */
    API_POST_TIMEOUT,     /* nothing until attempt_ms or deadline_ms */
    API_POST_UNTRUSTED,   /* the server's certificate is not good: nothing was sent */
    API_POST_NOT_PUBLIC,  /* of the host's addresses the client connects to none that answered */
    API_POST_FAILED,      /* by ourselves: no memory, or what the library does not take */
    API_POST_STOPPED,     /* the client was stopped first */
};

struct api_client;
struct api_post;

/** Called once a post, on the client's thread, which must not be held up (but see api_client_halt).
 * It may post the same again, unless the outcome is API_POST_STOPPED. */
typedef void (*api_post_done)(struct api_post *post);

/** A header of a post. */
struct api_post_header {
    const char *name, *value;
};

/** One POST; the caller's memory, which it leaves alone from api_client_post until `done`. */
struct api_post {
    const char *url;                         /* see api_client_check_url */
    const struct api_credential *credential; /* NULL: none */
    const char *content_type;
    const struct api_post_header *headers; /* besides Content-Type */
    size_t n_headers;
    const void *body;
    size_t body_len;
    const struct dns_address *pinned; /* connects to these alone (api/pin.h); the certificate is the
                                         host's all the same */
    size_t n_pinned;                  /* 0: to what the host stands for */
    uint16_t pinned_port;             /* the URL's */
    bool once;         /* never sent a second time, whatever happens to its connection: the library
                        * repeats what broke without an answer on one that it had used before */
    size_t answer_max; /* bytes of the answer's body to be kept in `answer`; 0: none */
    uint64_t share;    /* which peer this is for */
    int64_t start_ms;  /* monotonic: not sent before */
    int64_t deadline_ms; /* monotonic: given up then */
    unsigned attempt_ms; /* for this exchange, however far away the deadline is */
    api_post_done done;
    void *context;
    /* What came of it. */
    enum api_post_outcome outcome;
    unsigned status;
    /* Of an answer: all of it came, and it was cut because it is longer than answer_max. */
    bool answer_is_whole, answer_is_too_long;
    struct secret_buffer answer; /* the caller's to give back (secret_buffer_done), after `done` */
    char why[API_POST_WHY_MAX];  /* for the log; no URL, no body */
    /* The client's own. */
    struct api_post *next;
};

/** Whether the client posts there: https, or http to a loopback address in digits; no user, no
 * password, no fragment. ERROR_INPUT says what is wrong, without repeating the URL. */
int api_client_check_url(const char *url) MUST_CHECK;
/** The same for a client of `public_only`: https alone, and no host in digits that is not public. A
 * name is not asked for. */
int api_client_check_public_url(const char *url) MUST_CHECK;

struct api_client_config {
    const char *user_agent;   /* must outlive the client */
    unsigned max_connections; /* at once */
    unsigned connect_ms;      /* to be connected; 0: API_CLIENT_CONNECT_MS */
    bool public_only;
    bool no_shares; /* who posts has no more than max_connections posts, and shares them out */
};

/** What a client of so many connections needs of open files. */
unsigned api_client_descriptors(unsigned max_connections);

int api_client_start(const struct api_client_config *config, struct api_client **ret);
/** Posts go on until `give_up_ms` (monotonic); the rest ends with API_POST_STOPPED, and so does, on
 * the thread that posts it, what is posted afterwards. NULL is fine. */
void api_client_halt(struct api_client *client, int64_t give_up_ms);
/** The same, and the client is gone: nothing may be posted by other threads any more. */
void api_client_stop(struct api_client *client, int64_t give_up_ms);

/** From any thread. */
void api_client_post(struct api_client *client, struct api_post *post);
