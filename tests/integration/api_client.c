#include "tests/integration/api_client.h"

#include "tests/integration/api_service.h"
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_WAIT_S 30 /* for one answer: only a hang takes it */

int client_dial(void)
{
    return client_dial_from("127.0.0.1");
}

int client_dial_from(const char *address)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)service.port)};
    const struct timeval patience = {.tv_sec = ANSWER_WAIT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(inet_pton(AF_INET, address, &from.sin_addr), 1);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

struct client *client_new(void)
{
    return client_new_from("127.0.0.1");
}

struct client *client_new_from(const char *address)
{
    struct client *client = calloc(1, sizeof(*client));

    client->fd = client_dial_from(address);
    ck_assert_int_ge(client->fd, 0);
    return client;
}

void client_free(struct client *client)
{
    (void)close(client->fd);
    free(client);
}

bool client_say_bytes(struct client *client, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(client->fd, bytes, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

void client_say(struct client *client, const char *fmt, ...)
{
    char text[4096];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ck_assert(n > 0 && (size_t)n < sizeof(text));
    (void)client_say_bytes(client, text, (size_t)n);
}

void client_post(struct client *client, const char *path, const char *body)
{
    client_say(client, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s", path,
        strlen(body), body);
}

bool client_listen(struct client *client)
{
    ssize_t n = recv(client->fd, client->in + client->len, sizeof(client->in) - client->len - 1, 0);

    ck_assert_msg(n >= 0 || errno == ECONNRESET, "no answer: the server hangs");
    if (n <= 0)
        return false;
    client->len += (size_t)n;
    client->in[client->len] = '\0';
    return true;
}

bool client_hear(struct client *client, struct answer *answer)
{
    const char *end, *length;
    size_t head_len;

    *answer = (struct answer){0};
    while ((end = strstr(client->in, "\r\n\r\n")) == NULL)
        if (!client_listen(client))
            return false;
    head_len = (size_t)(end - client->in) + 4;
    ck_assert_uint_lt(head_len, sizeof(answer->head));
    memcpy(answer->head, client->in, head_len);
    ck_assert_int_eq(sscanf(answer->head, "HTTP/1.1 %u", &answer->status), 1);
    length = strcasestr(answer->head, "\r\nContent-Length:");
    if (length != NULL)
        answer->body_len = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    while (client->len < head_len + answer->body_len)
        if (!client_listen(client))
            return false;
    memcpy(answer->body, client->in + head_len,
        answer->body_len < sizeof(answer->body) ? answer->body_len : sizeof(answer->body) - 1);
    client->len -= head_len + answer->body_len;
    memmove(client->in, client->in + head_len + answer->body_len, client->len + 1);
    return true;
}

void client_expect(struct client *client, unsigned status, const char *body)
{
    struct answer answer;

    ck_assert_msg(client_hear(client, &answer), "closed before the answer");
    ck_assert_msg(
        answer.status == status, "%u instead of %u: %s", answer.status, status, answer.head);
    if (body != NULL)
        ck_assert_str_eq(answer.body, body);
}

void client_expect_refusal(struct client *client, unsigned status, const char *what)
{
    struct answer answer;

    ck_assert_msg(client_hear(client, &answer), "%s: closed before the answer", what);
    ck_assert_msg(answer.status == status, "%s: %u", what, answer.status);
    ck_assert_msg(strcasestr(answer.head, "\r\nConnection: close\r\n") != NULL, "%s", what);
    ck_assert_msg(strstr(answer.head, "application/problem+json") != NULL, "%s", what);
    ck_assert_msg(!client_hear(client, &answer), "%s: a second answer %u", what, answer.status);
}
