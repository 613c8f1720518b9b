#include "cli/rest.h"

#include "api/client.h"
#include "base/error.h"
#include "base/secret.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (16u << 20) /* a page of a list is far smaller */
#define TIMEOUT_S 60L
#define UNAUTHORIZED 401
#define SECRET_MAX 128 /* characters of the client's secret */

static void curl_cleanup(CURL **curl)
{
    curl_easy_cleanup(*curl);
}

static void headers_cleanup(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

static size_t take_answer(char *data, size_t size, size_t n, void *user)
{
    struct secret_buffer *answer = user;

    if (answer->len + size * n > ANSWER_MAX || secret_buffer_append(answer, data, size * n) < 0)
        return 0; /* curl takes this as a failed write */
    return size * n;
}

static int add_header(struct curl_slist **list, const char *header)
{
    struct curl_slist *longer = curl_slist_append(*list, header);

    if (longer == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    *list = longer;
    return 0;
}

struct exchange {
    const char *method, *path, *content_type, *body;
    const char *user, *password; /* NULL: with the access token */
};

static bool set_options(CURL *curl, const struct cli_rest *rest, const struct exchange *exchange,
    const char *url, struct curl_slist *headers, struct secret_buffer *answer, char *why)
{
    const char *ca = rest->settings->activation_ca;

    return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, exchange->method) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
           (exchange->body == NULL ||
               curl_easy_setopt(curl, CURLOPT_POSTFIELDS, exchange->body) == CURLE_OK) &&
           (exchange->user == NULL ||
               (curl_easy_setopt(curl, CURLOPT_USERNAME, exchange->user) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_PASSWORD, exchange->password) == CURLE_OK)) &&
           (ca[0] == '\0' || curl_easy_setopt(curl, CURLOPT_CAINFO, ca) == CURLE_OK) &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "cradle/" CRADLE_VERSION) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why) == CURLE_OK;
}

static int perform(
    struct cli_rest *rest, const struct exchange *exchange, struct secret_buffer *answer)
{
    CLEANUP(curl_cleanup) CURL *curl = curl_easy_init();
    CLEANUP(headers_cleanup) struct curl_slist *headers = NULL;
    CLEANUP(text_done) struct text url = {0}, type = {0};
    char why[CURL_ERROR_SIZE] = "";
    CURLcode code;
    int r = 0;

    rest->status = 0;
    text_addf(&url, "%s%s", rest->settings->activation_url, exchange->path);
    if (exchange->content_type != NULL) {
        text_addf(&type, "Content-Type: %s", exchange->content_type);
        r = type.failed ? ERROR_SYSTEM : add_header(&headers, type.data);
    }
    if (r == 0 && exchange->user == NULL)
        r = add_header(&headers, rest->authorization.data);
    if (r < 0 || curl == NULL || url.failed ||
        !set_options(curl, rest, exchange, url.data, headers, answer, why))
        return error_set(ERROR_SYSTEM, "libcurl does not start");
    code = curl_easy_perform(curl);
    if (code != CURLE_OK)
        return error_set(ERROR_SYSTEM, "no answer from the activation service: %s",
            why[0] != '\0' ? why : curl_easy_strerror(code));
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &rest->status);
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
    return detail[0] != '\0'
               ? error_set(ERROR_INPUT, "%s", detail)
               : error_set(ERROR_INPUT, "the activation service answers HTTP %ld", rest->status);
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
    if (ret_answer != NULL) {
        *ret_answer = answer;
        answer = NULL;
    }
    return 0;
}

static int read_secret(const char *path, char ret[static SECRET_MAX + 1])
{
    FILE *file = fopen(path, "re");
    size_t n;

    if (file == NULL)
        return error_set_errno("cannot read %s", path);
    n = fread(ret, 1, SECRET_MAX + 1, file);
    (void)fclose(file);
    if (n > SECRET_MAX)
        return error_set(ERROR_CONFIG, "%s is longer than a client's secret", path);
    ret[n] = '\0';
    ret[strcspn(ret, "\r\n")] = '\0';
    return 0;
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
    int r;

    *ret = (struct cli_rest){.settings = settings};
    if ((r = cli_need(settings->activation_url, "activation.url")) < 0 ||
        (r = cli_need(settings->client_id, "activation.client_id")) < 0 ||
        (r = cli_need(settings->client_secret_file, "activation.client_secret_file")) < 0)
        return r;
    if (api_client_check_url(settings->activation_url) < 0)
        return error_set(
            ERROR_CONFIG, "activation.url is not https, or http with a loopback address in digits");
    if ((r = read_secret(settings->client_secret_file, secret)) < 0)
        return r;
    r = exchange_json(ret, &exchange, &answer);
    secret_wipe(secret, sizeof(secret));
    if (ret->status == UNAUTHORIZED)
        return error_set(ERROR_CONFIG,
            "the activation service knows no client %.40s with the secret in %s",
            settings->client_id, settings->client_secret_file);
    if (r < 0)
        return r;
    text_addf(
        &ret->authorization, "Authorization: Bearer %s", cli_json_text(answer, "access_token"));
    return ret->authorization.failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

void cli_rest_done(struct cli_rest *rest)
{
    if (rest->authorization.data != NULL)
        secret_wipe(rest->authorization.data, rest->authorization.len);
    text_done(&rest->authorization);
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
    free(text);
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

        text_addf(&place, "%s%s%s", path, cursor.len > 0 ? "?cursor=" : "",
            cursor.len > 0 ? cursor.data : "");
        if (place.failed)
            return error_set(ERROR_SYSTEM, "out of memory");
        if ((r = cli_rest_call(rest, "GET", place.data, NULL, &page)) < 0)
            return r;
        items = json_object_get(page, "items");
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
