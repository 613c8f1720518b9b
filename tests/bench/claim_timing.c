/* claim-timing: how long a refused claim takes, by why it is refused. As timing.c, whose messages
 * network servers send: one request at a time on one connection, in an order without any pattern;
 * the classes differ in the device that is claimed and in nothing else. Which of the loaded devices
 * is in which class is scripts/lib/timing_claims.py's doing; between any two of them lies a DevEUI
 * that nobody has (settings->stride is 2).
 *
 * Wrong claims are counted. Each client makes as many as it may, each of another device; then the
 * line "reset" asks whoever reads it to have what they cost forgiven, and a line answers that it is
 * done. */
#include "tests/bench/verbs.h"

#include "base/error.h"
#include "db/claim.h"
#include "tests/bench/ask.h"
#include "tests/bench/fleet.h"
#include <stdio.h>
#include <string.h>

#define CONTROL_SHARE 2 /* a control for so many tries of a class: it differs by little */
#define WARM_UP 1000
#define TOKEN_MAX 400
#define CLIENTS_MAX 1000
#define LINE_MAX_LEN 16

/* Device n is of class n % KNOWN_CLASSES; what is not here stands between. */
enum claim_class {
    TAKEN,
    CODE,
    QUARANTINED,
    NO_CODE,
    CREDENTIAL,
    LOCKED,
    CONTROL,
    UNKNOWN,
    N_CLASSES
};
#define KNOWN_CLASSES UNKNOWN

static const char *const class_names[N_CLASSES] = {[TAKEN] = "taken",
    [CODE] = "code",
    [QUARANTINED] = "quarantined",
    [NO_CODE] = "no_code",
    [CREDENTIAL] = "credential",
    [LOCKED] = "locked",
    [CONTROL] = "control",
    [UNKNOWN] = "unknown"};

struct claim_timing {
    const struct bench_settings *settings;
    struct bench_fleet fleet;
    struct bench_order order; /* of the rows of tries */
    uint32_t n_rows;          /* of each class but the control */
    uint32_t n_control;
    uint32_t sequence;
    char (*tokens)[TOKEN_MAX];
    uint32_t n_tokens;
    struct bench_ask ask;
    struct text body, request;
    size_t refusal_len; /* of the first one; all are as long */
    int64_t *ns[N_CLASSES];
    uint32_t n[N_CLASSES];
};

static int forgive(void)
{
    char line[LINE_MAX_LEN];

    (void)puts("reset");
    (void)fflush(stdout);
    return fgets(line, sizeof(line), stdin) != NULL
               ? 0
               : error_set(ERROR_SYSTEM, "nobody has the wrong claims forgiven");
}

/* Devices that a client claims before all is forgiven are never the same. */
static uint32_t device_for(struct claim_timing *t, enum claim_class c)
{
    uint32_t turn = t->sequence / t->n_tokens % DB_CLAIM_CLIENT_BURST;
    uint32_t n_each = t->fleet.n / KNOWN_CLASSES / DB_CLAIM_CLIENT_BURST;
    uint32_t nth = bench_order_random(&t->order, n_each) * DB_CLAIM_CLIENT_BURST + turn;

    return nth * KNOWN_CLASSES + (c == UNKNOWN ? CODE : c);
}

static int make_request(struct claim_timing *t, enum claim_class c)
{
    CLEANUP(bench_device_wipe) struct simdev device;
    char code[BENCH_CODE_LEN + 1];

    for (size_t i = 0; i < BENCH_CODE_LEN; i++)
        code[i] = "0123456789ABCDEF"[bench_order_random(&t->order, 16)];
    code[BENCH_CODE_LEN] = '\0';
    bench_device_make(&t->fleet, device_for(t, c), &device);
    if (c == UNKNOWN)
        device.dev_eui.bytes[sizeof(device.dev_eui.bytes) - 1] ^= 1;
    text_clear(&t->body);
    text_add(&t->body, "{\"dev_eui\":\"");
    text_add_hex(&t->body, device.dev_eui.bytes, sizeof(device.dev_eui.bytes));
    text_addf(&t->body, "\",\"code\":\"%s\",\"home_net_id\":\"%s\",\"as_id\":\"%s\"}", code,
        t->settings->net_id, t->settings->as_id);
    text_clear(&t->request);
    text_addf(&t->request,
        "POST /v1/claims HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        t->tokens[t->sequence % t->n_tokens], t->body.len);
    text_add_len(&t->request, t->body.data, t->body.len);
    return t->body.failed || t->request.failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

/* The control is a device that is the claimant's already: nothing is counted, so it is quicker. */
static int check(struct claim_timing *t, enum claim_class c, size_t len)
{
    const char *wanted = c == CONTROL ? "\"status\":409" : "problem:claim-refused\"";

    if (strstr(t->ask.answer, wanted) == NULL)
        return error_set(ERROR_INTERNAL, "an answer of class %s is not %s: %.300s", class_names[c],
            wanted, strchr(t->ask.answer, '{') != NULL ? strchr(t->ask.answer, '{') : "");
    if (c == CONTROL)
        return 0;
    if (t->refusal_len == 0)
        t->refusal_len = len;
    return len == t->refusal_len ? 0 : error_set(ERROR_INTERNAL, "refusals are not of one length");
}

static int try_one(struct claim_timing *t, enum claim_class c, bool counts)
{
    int64_t ns = 0;
    size_t len = 0;
    int r = t->sequence % (t->n_tokens * DB_CLAIM_CLIENT_BURST) == 0 ? forgive() : 0;

    if (r == 0)
        r = make_request(t, c);
    t->sequence++;
    if (r == 0)
        r = bench_ask(&t->ask, &t->request, &ns, &len);
    if (r == 0)
        r = check(t, c, len);
    if (r == 0 && counts)
        t->ns[c][t->n[c]++] = ns;
    return r;
}

static enum claim_class class_of(const struct claim_timing *t, uint32_t number)
{
    static const enum claim_class compared[] = {
        TAKEN, CODE, QUARANTINED, NO_CODE, CREDENTIAL, LOCKED, UNKNOWN};

    return number < t->n_control ? CONTROL : compared[(number - t->n_control) / t->n_rows];
}

static int run(struct claim_timing *t)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < WARM_UP; i++)
        r = try_one(t, (enum claim_class)(i % N_CLASSES), false);
    for (uint32_t i = 0; r == 0 && i < t->order.n; i++)
        for (uint32_t j = 0; r == 0 && j < t->settings->in_a_row; j++)
            r = try_one(t, class_of(t, t->order.devices[i]), true);
    return r;
}

static int read_tokens(struct claim_timing *t)
{
    FILE *file = fopen(t->settings->tokens, "re");

    if (file == NULL)
        return error_set_errno("cannot read %.200s", t->settings->tokens);
    while (t->n_tokens < CLIENTS_MAX && fgets(t->tokens[t->n_tokens], TOKEN_MAX, file) != NULL) {
        t->tokens[t->n_tokens][strcspn(t->tokens[t->n_tokens], "\n")] = '\0';
        t->n_tokens++;
    }
    (void)fclose(file);
    return t->n_tokens > 0 ? 0 : error_set(ERROR_CONFIG, "there is no token");
}

static int prepare(struct claim_timing *t, const struct bench_settings *settings)
{
    uint16_t ports[BENCH_PORTS_MAX];
    size_t n_ports = 0;
    int r;

    t->settings = settings;
    t->n_rows = settings->tries / settings->in_a_row;
    t->n_control = t->n_rows / CONTROL_SHARE;
    if (settings->stride % 2 != 0 || settings->devices < KNOWN_CLASSES * DB_CLAIM_CLIENT_BURST)
        return error_set(ERROR_CONFIG, "%d devices of each class and an even stride are wanted",
            DB_CLAIM_CLIENT_BURST);
    for (int i = 0; i < N_CLASSES; i++)
        if ((t->ns[i] = calloc(settings->tries, sizeof(*t->ns[i]))) == NULL)
            return error_set(ERROR_SYSTEM, "out of memory");
    if ((t->tokens = calloc(CLIENTS_MAX, sizeof(*t->tokens))) == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    if ((r = read_tokens(t)) < 0 || (r = bench_fleet_make(settings, &t->fleet)) < 0 ||
        (r = bench_order_make(
             t->n_rows * KNOWN_CLASSES + t->n_control, settings->seed, &t->order)) < 0 ||
        (r = bench_ports_parse(settings, ports, &n_ports)) < 0)
        return r;
    return bench_wire_open(&(struct bench_wiring){.credentials = NULL}, ports[0], &t->ask.wire);
}

static void claim_timing_done(struct claim_timing *t)
{
    bench_wire_close(&t->ask.wire);
    for (int i = 0; i < N_CLASSES; i++)
        free(t->ns[i]);
    free(t->tokens);
    bench_fleet_done(&t->fleet);
    bench_order_done(&t->order);
    text_done(&t->body);
    text_done(&t->request);
}

int bench_claim_timing(const struct bench_settings *settings)
{
    CLEANUP(claim_timing_done) struct claim_timing t = {.ask.wire = {.fd = -1}};
    int r = prepare(&t, settings);

    if (r == 0)
        r = run(&t);
    if (r < 0)
        return r;
    bench_samples_print(class_names, t.ns, t.n, N_CLASSES);
    return 0;
}
