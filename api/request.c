#include "api/internal.h"

#include "base/base64.h"
#include <assert.h>
#include <string.h>
#include <strings.h>

#define KEPT_MAX ((size_t)2048) /* bytes of a body, and of an answer, between two requests */

static const char *const methods[] = {
    [API_GET] = "GET",
    [API_POST] = "POST",
    [API_PUT] = "PUT",
    [API_PATCH] = "PATCH",
    [API_DELETE] = "DELETE",
};

enum api_method request_method_of(const char *text)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(text, methods[i]) == 0)
            return (enum api_method)i;
    return API_OTHER;
}

void request_settled(struct api_request *request)
{
    if (request->admitted)
        atomic_fetch_sub(&request->server->n_admitted, 1);
    request->admitted = false;
}

void request_reset(struct api_request *request)
{
    struct api_server *server = request->server;
    struct api_connection *connection = request->connection;

    request_settled(request);
    if (request->stream != NULL)
        stream_detach(request);
    if (request->data_done != NULL)
        request->data_done(request->data);
    /* The next request on this connection will want as much, unless it was unusually much. */
    if (request->body.capacity > KEPT_MAX)
        secret_buffer_done(&request->body);
    secret_buffer_clear(&request->body);
    if (request->answer.capacity > KEPT_MAX)
        answer_done(request);
    answer_clear(request);
    *request = (struct api_request){.server = server,
        .connection = connection,
        .body = request->body,
        .answer = request->answer};
}

void request_done(struct api_request *request)
{
    request_reset(request);
    secret_buffer_done(&request->body);
    answer_done(request);
}

enum api_method api_request_method(const struct api_request *request)
{
    return request->method;
}

const char *api_request_path(const struct api_request *request)
{
    return request->path;
}

bool api_request_network(const struct api_request *request, uint64_t *ret)
{
    if (api_request_is_plain(request) || request->connection == NULL)
        return false;
    *ret = tally_network_of_key(request->connection->address);
    return true;
}

bool api_request_is_plain(const struct api_request *request)
{
    return request->server->config.listener.tls == API_TLS_NONE;
}

const char *api_request_query(const struct api_request *request, const char *name)
{
    if (request->head != NULL)
        return head_query(request->head, name);
    return MHD_lookup_connection_value(request->mhd, MHD_GET_ARGUMENT_KIND, name);
}

struct stranger {
    const char *const *known;
    size_t n_known;
    const char *name;
};

static bool find_stranger(void *context, const char *name)
{
    struct stranger *stranger = context;

    for (size_t i = 0; i < stranger->n_known; i++)
        if (strcmp(name, stranger->known[i]) == 0)
            return true;
    stranger->name = name;
    return false;
}

static enum MHD_Result find_stranger_pair(
    void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    (void)value;
    return find_stranger(context, name) ? MHD_YES : MHD_NO;
}

const char *api_request_unknown_query(
    const struct api_request *request, const char *const *known, size_t n_known)
{
    struct stranger stranger = {.known = known, .n_known = n_known};

    if (request->head != NULL)
        head_each_query(request->head, find_stranger, &stranger);
    else
        (void)MHD_get_connection_values(
            request->mhd, MHD_GET_ARGUMENT_KIND, find_stranger_pair, &stranger);
    return stranger.name;
}

const char *api_request_peer_san(const struct api_request *request)
{
    const struct tls_session *tls;

    if (request->connection == NULL)
        return NULL; /* a stream's head */
    tls = &request->connection->tls;
    return tls->verified ? tls->san : NULL;
}

bool api_request_has_certificate(const struct api_request *request)
{
    return request->connection != NULL && tls_session_has_certificate(request->connection);
}

const char *api_request_check_certificate(const struct api_request *request, api_trust_find find,
    void *context, char san[static API_SAN_MAX + 1])
{
    assert(request->connection != NULL);
    return tls_session_check(request->connection, find, context, san);
}

bool api_request_claim_peer(struct api_request *request, int64_t peer_id)
{
    if (connection_claim_peer(request->connection, peer_id))
        return true;
    metric_add(&request->server->metrics[METRIC_OVER_PEER], 1);
    request->close = true;
    return false;
}

const char *api_request_header(const struct api_request *request, const char *name)
{
    if (request->head != NULL)
        return head_header(request->head, name);
    return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

struct joining {
    const char *name;
    struct text *out;
};

static enum MHD_Result join_header(
    void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    const struct joining *joining = context;

    (void)kind;
    if (strcasecmp(name, joining->name) == 0 && value != NULL) {
        text_add(joining->out, joining->out->len > 0 ? ", " : "");
        text_add(joining->out, value);
    }
    return MHD_YES;
}

void api_request_joined_header(
    const struct api_request *request, const char *name, struct text *out)
{
    struct joining joining = {.name = name, .out = out};

    (void)MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, join_header, &joining);
}

const char *api_request_body(const struct api_request *request, size_t *ret_len)
{
    if (ret_len != NULL)
        *ret_len = request->body_len;
    return request->body.data != NULL ? (const char *)request->body.data : "";
}

int64_t api_request_started_us(const struct api_request *request)
{
    return request->started_us;
}

const char *api_request_id(const struct api_request *request)
{
    return request->id;
}

void api_request_set_data(struct api_request *request, void *data, void (*done)(void *data))
{
    if (request->data_done != NULL && request->data != data)
        request->data_done(request->data);
    request->data = data;
    request->data_done = done;
}

void *api_request_data(const struct api_request *request)
{
    return request->data;
}

void api_defer(struct api_request *request)
{
    assert(request->state == REQUEST_HANDLING && !request->deferred && request->stream == NULL);
    assert(!request->body_streams); /* the body would be waited for by nobody */
    request->deferred = true;
    atomic_fetch_add(&request->server->n_deferred, 1);
}

/* The credentials behind `scheme` (RFC 9110 11.4: a name without case, then blanks); NULL when the
 * header is absent or of another scheme. */
static const char *credentials(const struct api_request *request, const char *scheme)
{
    const char *value = api_request_header(request, MHD_HTTP_HEADER_AUTHORIZATION);
    size_t len = strlen(scheme);

    if (value == NULL || strncasecmp(value, scheme, len) != 0 || value[len] != ' ')
        return NULL;
    return value + len + strspn(value + len, " ");
}

const char *api_request_bearer(const struct api_request *request)
{
    static const char padding[] = "=";
    const char *token = credentials(request, "Bearer");
    size_t len = 0;

    if (token == NULL)
        return NULL;
    /* token68 of RFC 9110 11.2 */
    while (base64_value(token[len]) >= 0 || (token[len] != '\0' && strchr("-._~", token[len])))
        len++;
    if (len == 0 || token[len + strspn(token + len, padding)] != '\0')
        return NULL;
    return token;
}

bool api_request_basic(const struct api_request *request, char *user, size_t user_size,
    char *password, size_t password_size)
{
    const char *text = credentials(request, "Basic");
    char plain[384]; /* longer ones are refused */
    const char *colon;
    ssize_t len;
    bool good = false;

    user[0] = '\0';
    password[0] = '\0';
    len = text != NULL ? base64_decode(text, (uint8_t *)plain, sizeof(plain)) : -1;
    if (len < 0)
        return false;
    colon = memchr(plain, ':', (size_t)len);
    if (colon != NULL && memchr(plain, '\0', (size_t)len) == NULL) {
        size_t user_len = (size_t)(colon - plain);
        size_t password_len = (size_t)len - user_len - 1;

        if (user_len < user_size && password_len < password_size) {
            memcpy(user, plain, user_len);
            user[user_len] = '\0';
            memcpy(password, colon + 1, password_len);
            password[password_len] = '\0';
            good = true;
        }
    }
    secret_wipe(plain, sizeof(plain));
    return good;
}
