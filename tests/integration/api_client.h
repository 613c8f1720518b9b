/* A stranger to the service of api_service.h, speaking plain bytes. Faults end the test. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

#define CLIENT_IN_MAX ((size_t)128 * 1024)

struct client {
    int fd;
    size_t len;
    char in[CLIENT_IN_MAX]; /* heard and not yet taken */
};

struct answer {
    unsigned status;
    char head[2048];
    char body[4096]; /* its beginning */
    size_t body_len;
};

/** A connected socket; -1 when refused. */
int client_dial(void);
struct client *client_new(void);
/** From an address of 127.0.0.0/8 of one's own choice. */
int client_dial_from(const char *address);
struct client *client_new_from(const char *address);
void client_free(struct client *client);

/** False when the server has closed: its answer may still be heard. */
bool client_say_bytes(struct client *client, const char *bytes, size_t len);
void client_say(struct client *client, const char *fmt, ...) PRINTF_LIKE(2, 3);
void client_post(struct client *client, const char *path, const char *body);

/** Reads what comes; false at the end of the stream or a reset. */
bool client_listen(struct client *client);
/** The next answer; false when the connection closed before it. */
bool client_hear(struct client *client, struct answer *answer);
/** The next answer has this status and, unless NULL, this body. */
void client_expect(struct client *client, unsigned status, const char *body);
/** A problem document with Connection: close, and then the end. */
void client_expect_refusal(struct client *client, unsigned status, const char *what);
