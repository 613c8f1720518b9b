#include "cli/device_join.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "cli/curl.h"
#include "cli/device_json.h"
#include "cli/device_options.h"
#include <stdio.h>
#include <string.h>

#define BODY_MAX 65536 /* a JoinAns has less than 2 KB */
#define DETAIL_MAX 200 /* of a problem, for people */

/* All that one join came to. */
struct join_report {
    long http_status; /* 0: no answer */
    bool answered;    /* `answer` is a JoinAns */
    bool success;     /* ... of ResultCode Success: `verdict` and `result` count */
    struct simdev_answer answer;
    enum simdev_verdict verdict;
    struct simdev_result result;
    char error[ERROR_TEXT_MAX]; /* "" when all agree */
};

static void report_wipe(struct join_report *report)
{
    secret_wipe(report, sizeof(*report));
}

static size_t take_body(char *data, size_t size, size_t n, void *user)
{
    struct secret_buffer *body = user;

    if (body->len + size * n > BODY_MAX || secret_buffer_append(body, data, size * n) < 0)
        return 0; /* curl takes this as a failed write */
    return size * n;
}

static int add_token(struct curl_slist **list, const char *token)
{
    char header[SIMDEV_TOKEN_MAX + 32];

    (void)snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
    int r = cli_header_add(list, header);
    secret_wipe(header, sizeof(header));
    return r;
}

/* Whom to believe, and who we are. */
static bool set_tls(CURL *curl, const struct simdev_options *options)
{
    return cli_curl_trust(curl, options->ca) &&
           (options->cert == NULL ||
               (curl_easy_setopt(curl, CURLOPT_SSLCERT, options->cert) == CURLE_OK &&
                   curl_easy_setopt(curl, CURLOPT_SSLKEY, options->key) == CURLE_OK));
}

static int post(const struct simdev_options *options, const struct text *request,
    struct secret_buffer *body, long *ret_status)
{
    CLEANUP(cli_curl_cleanup) CURL *curl = curl_easy_init();
    CLEANUP(cli_headers_cleanup) struct curl_slist *headers = NULL;
    char why[CURL_ERROR_SIZE] = "";

    if (curl == NULL)
        return error_set(ERROR_SYSTEM, "libcurl does not start");
    int r = cli_header_add(&headers, "Content-Type: application/json");
    if (r == 0 && options->token[0] != '\0')
        r = add_token(&headers, options->token);
    if (r < 0)
        return r;

    if (curl_easy_setopt(curl, CURLOPT_URL, options->url) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->data) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)request->len) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, body) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)options->timeout_s) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) != CURLE_OK || !set_tls(curl, options) ||
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "cradle-device/" CRADLE_VERSION) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why) != CURLE_OK)
        return error_set(ERROR_SYSTEM, "libcurl is too old");

    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
    if (code != CURLE_OK)
        return error_set(ERROR_SYSTEM, "no answer from the join server: %s",
            why[0] != '\0' ? why : curl_easy_strerror(code));
    return 0;
}

/* Asks and judges; report->error says what went wrong, if anything did. Returns the exit code. */
static int ask(const struct simdev_options *options, const struct text *request,
    uint32_t transaction_id, struct join_report *report)
{
    CLEANUP(secret_buffer_done) struct secret_buffer body = {.data = NULL};
    struct simdev_answer *answer = &report->answer;
    char detail[DETAIL_MAX];
    int r = post(options, request, &body, &report->http_status);

    if (r < 0)
        return SIMDEV_EXIT_ERROR;
    if (report->http_status != 200) {
        simdev_problem_detail(
            body.len ? (const char *)body.data : "", body.len, detail, sizeof(detail));
        (void)error_set(ERROR_INPUT, "the join server answers HTTP %ld%s%s", report->http_status,
            detail[0] != '\0' ? ", " : "", detail);
        return SIMDEV_EXIT_ERROR;
    }
    if (body.len == 0) {
        (void)error_set(ERROR_INPUT, "acknowledged; the answer goes to the peer's answer URL");
        return SIMDEV_EXIT_ERROR;
    }
    r = simdev_answer_parse(body.len ? (const char *)body.data : "", body.len, &options->device,
        &options->network, transaction_id, answer);
    if (r < 0)
        return SIMDEV_EXIT_ERROR;
    report->answered = true;
    if (strcmp(answer->result_code, "Success") != 0) {
        (void)error_set(ERROR_INPUT, "the join server refuses: %s%s%s", answer->result_code,
            answer->description[0] ? ", " : "", answer->description);
        return SIMDEV_EXIT_REFUSED;
    }

    r = simdev_answer_check(
        &options->device, &options->network, options->dev_nonce, answer, &report->result);
    if (r < 0)
        return SIMDEV_EXIT_ERROR;
    report->success = true;
    report->verdict = (enum simdev_verdict)r;
    if (r == SIMDEV_AGREE)
        return SIMDEV_EXIT_AGREE;
    bool of_a_key = r >= SIMDEV_KEY_MISSING;
    (void)error_set(ERROR_INPUT, "%s%s%s", simdev_verdict_text(report->verdict),
        of_a_key ? ": " : "", of_a_key ? simdev_key_name(report->result.fault_key) : "");
    return SIMDEV_EXIT_DISAGREE;
}

static void add_json_text(struct text *out, const char *name, const char *value)
{
    text_addf(out, ",\"%s\":", name);
    if (value != NULL && value[0] != '\0')
        text_add_json(out, value);
    else
        text_add(out, "null");
}

static void add_json_hex(
    struct text *out, const char *name, bool present, const void *bytes, size_t len)
{
    text_addf(out, present ? ",\"%s\":\"" : ",\"%s\":null", name);
    if (present) {
        text_add_hex(out, bytes, len);
        text_add(out, "\"");
    }
}

static void add_json_keys(struct text *out, const struct simdev_result *result)
{
    const char *comma = "";

    text_add(out, ",\"keys\":{");
    for (size_t k = 0; k < SIMDEV_N_KEYS; k++) {
        if (!simdev_key_expected((enum simdev_key)k, result->opt_neg))
            continue;
        text_addf(out, "%s\"%s\":\"", comma, simdev_key_name((enum simdev_key)k));
        text_add_hex(out, result->keys[k].bytes, sizeof(result->keys[k].bytes));
        text_add(out, "\"");
        comma = ",";
    }
    text_add(out, "}");
}

static void write_json(
    struct text *out, const struct simdev_options *options, const struct join_report *report)
{
    const struct simdev_answer *answer = &report->answer;
    const struct simdev_result *result = &report->result;
    const struct lw_join_accept *accept = &result->accept;
    bool opened = report->success && result->opened;

    text_addf(out, "{\"http_status\":%ld,\"agree\":%s", report->http_status,
        report->success && report->verdict == SIMDEV_AGREE ? "true" : "false");
    add_json_text(out, "result_code", report->answered ? answer->result_code : NULL);
    text_addf(out, ",\"dev_nonce\":%u", options->dev_nonce);
    if (opened)
        text_addf(out, ",\"join_nonce\":%u,\"opt_neg\":%s", accept->join_nonce,
            result->opt_neg ? "true" : "false");
    else
        text_add(out, ",\"join_nonce\":null,\"opt_neg\":null");
    add_json_hex(out, "dev_addr", opened, accept->dev_addr.bytes, sizeof(accept->dev_addr.bytes));
    add_json_hex(out, "net_id", opened, accept->net_id.bytes, sizeof(accept->net_id.bytes));
    add_json_text(out, "session_key_id", report->success ? answer->session_key_id : NULL);
    add_json_hex(out, "phy_payload", report->success, answer->phy_payload, answer->phy_payload_len);
    if (options->show_keys && opened)
        add_json_keys(out, result);
    add_json_text(out, "error", report->error);
    text_add(out, "}\n");
}

static void write_envelope(
    struct text *out, enum simdev_key key, const struct simdev_envelope *envelope)
{
    text_addf(out, "  %-12s for the %s server, %s%s\n", simdev_key_name(key),
        key == SIMDEV_APP_S ? "application" : "network",
        envelope->kek_label[0] ? "wrapped under " : "in clear", envelope->kek_label);
}

static void write_human(
    struct text *out, const struct simdev_options *options, const struct join_report *report)
{
    const struct simdev_result *result = &report->result;
    char eui[EUI64_TEXT_LEN + 1];
    char id[2 * AES_KEY_LEN + 1];

    if (options->device.rejoins)
        text_addf(out, "Rejoin-Request of type %u: DevEUI %s, RJcount %u\n",
            (unsigned)options->device.rejoin_type, eui64_format(&options->device.dev_eui, eui),
            options->dev_nonce);
    else
        text_addf(out, "Join-Request: DevEUI %s, DevNonce %u\n",
            eui64_format(&options->device.dev_eui, eui), options->dev_nonce);
    if (report->answered)
        text_addf(out, "Answer: %s\n", report->answer.result_code);
    if (report->success && result->opened) {
        text_addf(out, "Join-Accept: MIC right, JoinNonce %u, DevAddr %s, ",
            result->accept.join_nonce, hex_encode(result->accept.dev_addr.bytes, 4, id));
        text_addf(out, "NetID %s, keys of LoRaWAN %s\n",
            hex_encode(result->accept.net_id.bytes, 3, id), result->opt_neg ? "1.1" : "1.0");
        for (size_t k = 0; k < SIMDEV_N_KEYS; k++) {
            if (report->answer.keys[k].present)
                write_envelope(out, (enum simdev_key)k, &report->answer.keys[k]);
            if (options->show_keys && simdev_key_expected((enum simdev_key)k, result->opt_neg))
                text_addf(out, "  %-12s %s\n", simdev_key_name((enum simdev_key)k),
                    hex_encode(result->keys[k].bytes, AES_KEY_LEN, id));
        }
        if (report->answer.session_key_id[0] != '\0')
            text_addf(out, "SessionKeyID: %s\n", report->answer.session_key_id);
    }
    secret_wipe(id, sizeof(id));
    if (report->error[0] == '\0')
        text_addf(out, "Joined: %s.\n", simdev_verdict_text(SIMDEV_AGREE));
    else
        text_addf(out, "Not joined: %s.\n", report->error);
}

static int print(struct text *out)
{
    if (out->failed || fputs(out->data, stdout) == EOF || fflush(stdout) == EOF) {
        (void)fputs("cradle-device: cannot write the result\n", stderr);
        return -1;
    }
    return 0;
}

static void secret_text_done(struct text *t)
{
    if (t->data != NULL)
        secret_wipe(t->data, t->len);
    text_done(t);
}

static int run(const struct simdev_options *options)
{
    CLEANUP(report_wipe) struct join_report report = {.http_status = 0};
    CLEANUP(text_done) struct text request = {.data = NULL};
    CLEANUP(secret_text_done) struct text out = {.data = NULL};
    uint8_t frame[SIMDEV_FRAME_MAX];
    size_t frame_len = 0;
    uint32_t transaction_id = 0;

    if (random_bytes(&transaction_id, sizeof(transaction_id)) < 0 ||
        simdev_frame_build(
            &options->device, &options->network, options->dev_nonce, frame, &frame_len) < 0) {
        (void)fprintf(stderr, "cradle-device: %s\n", error_text());
        return SIMDEV_EXIT_ERROR;
    }
    simdev_request_json(
        &request, &options->device, &options->network, frame, frame_len, transaction_id);
    if (options->print_request) {
        text_add(&request, "\n");
        return print(&request) < 0 ? SIMDEV_EXIT_ERROR : SIMDEV_EXIT_AGREE;
    }
    if (request.failed) {
        (void)fputs("cradle-device: out of memory\n", stderr);
        return SIMDEV_EXIT_ERROR;
    }

    int code = ask(options, &request, transaction_id, &report);
    if (code != SIMDEV_EXIT_AGREE)
        (void)snprintf(report.error, sizeof(report.error), "%s", error_text());
    if (options->json)
        write_json(&out, options, &report);
    else
        write_human(&out, options, &report);
    return print(&out) < 0 ? SIMDEV_EXIT_ERROR : code;
}

int simdev_join_main(int argc, char **argv)
{
    CLEANUP(simdev_options_wipe) struct simdev_options options = {.url = NULL};

    if (simdev_options_read(argc, argv, &options) < 0) {
        (void)fprintf(stderr, "cradle-device join: %s\n", error_text());
        return SIMDEV_EXIT_ERROR;
    }
    if (options.help) {
        simdev_options_help(stdout);
        return SIMDEV_EXIT_AGREE;
    }
    return run(&options);
}
