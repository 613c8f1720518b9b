#include "cli/rest.h"

#include "api/client.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/secret.h"
#include "cli/curl.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MAX (16u << 20) /* a page of a list is far smaller */
#define TIMEOUT_S 60L
#define SILENCE_S 60L /* of an answer of any size */
#define DONE 200
#define UNAUTHORIZED 401
#define NO_CONTENT 204
#define SERVER_FAULT 500 /* and above */
#define SECRET_MAX 128   /* characters of the client's secret */
#define QUOTED_MAX 60    /* bytes of a setting that is refused */
#define KEY_BYTES 16     /* of an Idempotency-Key */

/** Where an answer goes. */
struct sink {
    CURL *curl;
    struct secret_buffer *answer;
    FILE *into; /* NULL, or for what is no refusal */
    int fault;  /* errno of what could not be written there */
};

static size_t take_answer(char *data, size_t size, size_t n, void *user)
{
    struct sink *sink = user;
    struct secret_buffer *answer = sink->answer;
    long status = 0;

    if (sink->into != NULL &&
        curl_easy_getinfo(sink->curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK &&
        status == DONE) {
        errno = EIO;
        if (fwrite(data, size, n, sink->into) == n)
            return size * n;
        sink->fault = errno;
        return 0; /* curl takes this as a failed write */
    }
    if (answer->len + size * n > ANSWER_MAX || secret_buffer_append(answer, data, size * n) < 0)
        return 0;
    return size * n;
}

struct exchange {
    const char *method, *path, *content_type, *body;
    FILE *from;                  /* what is sent in the place of `body`; NULL: nothing */
    FILE *into;                  /* NULL: the answer is an object */
    const char *user, *password; /* NULL: with the access token */
};

/* Where to look for what a call may have done. */
static const struct {
    const char *part; /* of its path; the first that is there counts */
    const char *list, *remove;
} traces[] = {
    {"/clients", "cradle client list", "cradle client revoke"},
    {"/v1/network-servers", "cradle ns list", "cradle ns revoke"},
    {"/v1/application-servers", "cradle as list", "cradle as revoke"},
    {"/v1/keks", "cradle kek list", "cradle kek revoke"},
    {"/v1/join-routes", "cradle route list", "cradle route remove"},
    {"/id-pac", "the same list, which finds what is done", NULL},
    {"/v1/organizations", "cradle organization list", NULL},
};

static bool is_post(const struct exchange *exchange)
{
    return strcmp(exchange->method, "POST") == 0;
}

static void say_doubt(const struct exchange *exchange, struct text *out)
{
    text_clear(out);
    text_add(out, "");
    if (strcmp(exchange->method, "GET") == 0)
        return;
    for (size_t i = 0; i < sizeof(traces) / sizeof(traces[0]); i++) {
        if (strstr(exchange->path, traces[i].part) == NULL)
            continue;
        text_addf(out, "; it may have been done all the same: look with %s", traces[i].list);
        if (is_post(exchange) && traces[i].remove != NULL)
            text_addf(out, ", and take away what was made with %s", traces[i].remove);
        return;
    }
}

/* As api/client.c has it: nobody but the anchors that are named, and nobody else's word where to.
 */
static bool set_trust(CURL *curl, const char *ca)
{
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           cli_curl_trust(curl, ca[0] != '\0' ? ca : NULL);
}

/* A small answer has a time in all; a large one may take as long as it goes on. */
static bool set_patience(CURL *curl, bool large)
{
    if (!large)
        return curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S) == CURLE_OK;
    return curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SILENCE_S) == CURLE_OK;
}

static size_t give_body(char *data, size_t size, size_t n, void *user)
{
    size_t len = fread(data, size, n, user);

    return len == 0 && ferror((FILE *)user) != 0 ? CURL_READFUNC_ABORT : len;
}

/* Of any size, in chunks. */
static bool set_body(CURL *curl, const struct exchange *exchange)
{
    if (exchange->from != NULL)
        return curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L) == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_body) == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_READDATA, exchange->from) == CURLE_OK;
    return exchange->body == NULL ||
           curl_easy_setopt(curl, CURLOPT_POSTFIELDS, exchange->body) == CURLE_OK;
}

static bool set_options(CURL *curl, const struct cli_rest *rest, const struct exchange *exchange,
    const char *url, struct curl_slist *headers, struct sink *sink, char *why)
{
    return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           set_trust(curl, rest->settings->activation_ca) &&
           curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, exchange->method) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
           set_body(curl, exchange) &&
           (exchange->user == NULL ||
               (curl_easy_setopt(curl, CURLOPT_USERNAME, exchange->user) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_PASSWORD, exchange->password) == CURLE_OK)) &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink) == CURLE_OK &&
           set_patience(curl, exchange->into != NULL) &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "cradle/" CRADLE_VERSION) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why) == CURLE_OK;
}

/* Random: the command does not try again, and no other call is taken for this one. */
static int add_key(struct curl_slist **headers)
{
    uint8_t key[KEY_BYTES];
    char header[sizeof("Idempotency-Key: ") + 2 * sizeof(key)] = "Idempotency-Key: ";
    int r = random_bytes(key, sizeof(key));

    if (r < 0)
        return r;
    (void)hex_encode(key, sizeof(key), header + strlen(header));
    return cli_header_add(headers, header);
}

/* A file without a name is told of by the folder that it was made in. */
static int cannot_write(FILE *into, int fault)
{
    char link[32], path[PATH_MAX] = "the answer";
    ssize_t n;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fileno(into));
    n = readlink(link, path, sizeof(path) - 1);
    if (n > 0)
        path[n] = '\0';
    errno = fault;
    return error_set_errno("cannot write %s", path);
}

static int perform(
    struct cli_rest *rest, const struct exchange *exchange, struct secret_buffer *answer)
{
    CLEANUP(cli_curl_cleanup) CURL *curl = curl_easy_init();
    CLEANUP(cli_headers_cleanup) struct curl_slist *headers = NULL;
    CLEANUP(text_done) struct text url = {0}, type = {0};
    char why[CURL_ERROR_SIZE] = "";
    struct sink sink = {.curl = curl, .answer = answer, .into = exchange->into};
    CURLcode code;
    long sent = 0;
    int r = 0;

    rest->status = 0;
    say_doubt(exchange, &rest->doubt);
    text_addf(&url, "%s%s", rest->url.data, exchange->path);
    if (exchange->content_type != NULL) {
        text_addf(&type, "Content-Type: %s", exchange->content_type);
        r = type.failed ? error_set(ERROR_SYSTEM, "out of memory")
                        : cli_header_add(&headers, type.data);
    }
    if (r == 0 && exchange->user == NULL)
        r = cli_header_add(&headers, rest->authorization.data);
    if (r == 0 && exchange->user == NULL && is_post(exchange))
        r = add_key(&headers);
    if (r < 0)
        return r;
    if (curl == NULL || rest->doubt.failed || url.failed ||
        !set_options(curl, rest, exchange, url.data, headers, &sink, why))
        return error_set(ERROR_SYSTEM, "libcurl does not start");
    code = curl_easy_perform(curl);
    if (sink.fault != 0)
        return cannot_write(sink.into, sink.fault);
    if (code != CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent);
        return error_set(ERROR_SYSTEM, "no answer from the activation service: %s%s",
            why[0] != '\0' ? why : curl_easy_strerror(code), sent > 0 ? rest->doubt.data : "");
    }
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &rest->status);
    if (sink.into != NULL && fflush(sink.into) != 0) /* before it is read again, or believed */
        return cannot_write(sink.into, errno);
    return 0;
}

const char *cli_json_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

bool cli_json_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

/* What the service says about it: a problem document's detail, or its title. */
static int refusal(const struct cli_rest *rest, const json_t *answer)
{
    const char *detail = cli_json_text(answer, "detail");

    if (detail[0] == '\0')
        detail = cli_json_text(answer, "title");
    if (detail[0] != '\0')
        return error_set(ERROR_INPUT, "%s", detail);
    /* Not the service's own word: something between has no answer of it. */
    return error_set(ERROR_INPUT, "the activation service answers HTTP %ld%s", rest->status,
        rest->status >= SERVER_FAULT ? rest->doubt.data : "");
}

int cli_rest_need(
    const struct cli_rest *rest, const json_t *answer, const char *name, const char **ret)
{
    *ret = cli_json_text(answer, name);
    return (*ret)[0] != '\0'
               ? 0
               : error_set(ERROR_INPUT, "the activation service answers HTTP %ld without %s%s",
                     rest->status, name, rest->doubt.data);
}

static int exchange_json(
    struct cli_rest *rest, const struct exchange *exchange, json_t **ret_answer)
{
    CLEANUP(secret_buffer_done) struct secret_buffer body = {0};
    CLEANUP(cli_json_done) json_t *answer = NULL;
    int r = perform(rest, exchange, &body);

    if (r < 0)
        return r;
    if (body.len > 0)
        answer = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
    if (rest->status < 200 || rest->status > 299)
        return refusal(rest, answer);
    if (!json_is_object(answer) && (rest->status != NO_CONTENT || ret_answer != NULL))
        return error_set(ERROR_INPUT,
            "what answers HTTP %ld at activation.url is not the activation service: it sends no "
            "JSON object%s",
            rest->status, rest->doubt.data);
    if (ret_answer != NULL) {
        *ret_answer = answer;
        answer = NULL;
    }
    return 0;
}

static int exchange_file(struct cli_rest *rest, const struct exchange *exchange)
{
    CLEANUP(secret_buffer_done) struct secret_buffer body = {0};
    CLEANUP(cli_json_done) json_t *answer = NULL;
    int r = perform(rest, exchange, &body);

    if (r < 0 || rest->status == DONE)
        return r;
    if (body.len > 0)
        answer = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
    return refusal(rest, answer);
}

int cli_rest_download(struct cli_rest *rest, const char *path, FILE *into)
{
    const struct exchange exchange = {.method = "GET", .path = path, .into = into};

    return exchange_file(rest, &exchange);
}

int cli_rest_upload(
    struct cli_rest *rest, const char *path, const char *content_type, FILE *from, FILE *into)
{
    const struct exchange exchange = {
        .method = "POST", .path = path, .content_type = content_type, .from = from, .into = into};

    return exchange_file(rest, &exchange);
}

static int read_secret(const char *path, char ret[static SECRET_MAX + 1])
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t more = fd < 0 ? -1 : 1;

    /* Without stdio, whose buffer would keep a copy. */
    while (more > 0 && n <= SECRET_MAX) {
        more = read(fd, ret + n, SECRET_MAX + 1 - n);
        n += more > 0 ? (size_t)more : 0;
    }
    if (more < 0)
        return error_set_errno("cannot read %s", path);
    if (n > SECRET_MAX)
        return error_set(ERROR_CONFIG, "%s is longer than a client's secret", path);
    ret[n] = '\0';
    ret[strcspn(ret, "\r\n")] = '\0';
    return 0;
}

/* Every path goes behind it, so it has none of its own. */
static int read_url(const char *url, struct text *ret)
{
    const char *host;
    size_t len;

    if (api_client_check_url(url) < 0)
        return error_set(
            ERROR_CONFIG, "activation.url is not https, or http with a loopback address in digits");
    if ((host = strstr(url, "://")) == NULL || (len = strcspn(host + 3, "/?#")) == 0 ||
        (host[3 + len] != '\0' && strcmp(host + 3 + len, "/") != 0))
        return error_set(ERROR_CONFIG,
            "activation.url is https://HOST[:PORT] without a path or query, not \"%.*s\"",
            (int)text_fit(url, QUOTED_MAX), url);
    text_add_len(ret, url, (size_t)(host - url) + 3 + len);
    return ret->failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

int cli_rest_open(const struct cli_settings *settings, struct cli_rest *ret)
{
    CLEANUP(cli_json_done) json_t *answer = NULL;
    char secret[SECRET_MAX + 1];
    struct exchange exchange = {.method = "POST",
        .path = "/v1/token",
        .content_type = "application/x-www-form-urlencoded",
        .body = "grant_type=client_credentials",
        .user = settings->client_id,
        .password = secret};
    const char *token;
    int r;

    *ret = (struct cli_rest){.settings = settings};
    if ((r = cli_need(settings->activation_url, "activation.url")) < 0 ||
        (r = cli_need(settings->client_id, "activation.client_id")) < 0 ||
        (r = cli_need(settings->client_secret_file, "activation.client_secret_file")) < 0)
        return r;
    if ((r = read_url(settings->activation_url, &ret->url)) < 0 ||
        (r = read_secret(settings->client_secret_file, secret)) < 0)
        return r;
    r = exchange_json(ret, &exchange, &answer);
    secret_wipe(secret, sizeof(secret));
    if (ret->status == UNAUTHORIZED)
        return error_set(ERROR_CONFIG,
            "the activation service knows no client %.40s with the secret in %s",
            settings->client_id, settings->client_secret_file);
    if (r < 0 || (r = cli_rest_need(ret, answer, "access_token", &token)) < 0)
        return r;
    text_reserve(&ret->authorization, sizeof("Authorization: Bearer ") + strlen(token));
    text_addf(&ret->authorization, "Authorization: Bearer %s", token);
    return ret->authorization.failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

void cli_rest_done(struct cli_rest *rest)
{
    if (rest->authorization.data != NULL)
        secret_wipe(rest->authorization.data, rest->authorization.len);
    text_done(&rest->authorization);
    text_done(&rest->url);
    text_done(&rest->doubt);
}

int cli_rest_call(struct cli_rest *rest, const char *method, const char *path, const json_t *body,
    json_t **ret_answer)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    const struct exchange exchange = {.method = method,
        .path = path,
        .content_type = body != NULL ? "application/json" : NULL,
        .body = text};
    int r;

    if (body != NULL && text == NULL)
        return error_set(ERROR_INPUT, "an argument is not UTF-8");
    r = exchange_json(rest, &exchange, ret_answer);
    secret_free(text); /* cli_wipe_libraries has jansson allocate so */
    return r;
}

int cli_rest_list(struct cli_rest *rest, const char *path,
    int (*each)(const json_t *item, void *context), void *context)
{
    CLEANUP(text_done) struct text cursor = {0};
    int r = 0;

    do {
        CLEANUP(cli_json_done) json_t *page = NULL;
        CLEANUP(text_done) struct text place = {0};
        const json_t *items;

        text_add(&place, path);
        if (cursor.len > 0)
            text_addf(&place, "%ccursor=%s", strchr(path, '?') == NULL ? '?' : '&', cursor.data);
        if (place.failed)
            return error_set(ERROR_SYSTEM, "out of memory");
        if ((r = cli_rest_call(rest, "GET", place.data, NULL, &page)) < 0)
            return r;
        items = json_object_get(page, "items");
        if (!json_is_array(items))
            return error_set(ERROR_INPUT, "the activation service answers a list without items");
        for (size_t i = 0; r == 0 && i < json_array_size(items); i++)
            r = each(json_array_get(items, i), context);
        text_clear(&cursor);
        text_add(&cursor, cli_json_text(page, "next"));
    } while (r == 0 && cursor.len > 0);
    return r;
}

int cli_rest_path(struct text *out, const char *collection, const char *name)
{
    char *escaped = curl_easy_escape(NULL, name, 0);

    if (escaped != NULL && name[0] != '\0')
        text_addf(out, "%s/%s", collection, escaped);
    else
        out->failed = true;
    curl_free(escaped);
    return out->failed ? error_set(ERROR_INPUT, "there is nothing of this name") : 0;
}
