/* timing: how long a refusal takes, by why it is refused. One request at a time on one connection,
 * in an order without any pattern; the classes differ in the device that is asked for and in
 * nothing else. Which of the loaded devices is in which class is scripts/lib/bench_timing.py's
 * doing; between any two of them lies a DevEUI that nobody has (settings->stride is 2). */
#include "tests/bench/verbs.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "cli/device_json.h"
#include "joinserver/ts002.h"
#include "tests/bench/ask.h"
#include "tests/bench/fleet.h"
#include <stdio.h>
#include <string.h>

#define CONTROL_SHARE 10 /* a control for so many tries of a class */
#define WARM_UP 2000
#define TRANSACTION_BASE 1000000000u /* all have ten digits */
#define NONCES 2048                  /* of the page that the devices have */
#define SESSIONS 3                   /* that the devices have, from JoinNonce 1 */
#define KNOWN_CLASSES 3

/* Device n is of class n % KNOWN_CLASSES; what is not here stands between. */
enum timing_class { OTHERS, UNCLAIMED, CONTROL, UNKNOWN, N_CLASSES };

static const char *const class_names[N_CLASSES] = {[OTHERS] = "not_yours",
    [UNCLAIMED] = "unclaimed",
    [CONTROL] = "control",
    [UNKNOWN] = "unknown"};

struct timing;

struct timing_message {
    const char *name;
    const char *refusal; /* ResultCode of all but the control */
    void (*write)(struct timing *t, const struct simdev *device);
};

struct timing {
    const struct bench_settings *settings;
    const struct timing_message *message;
    struct bench_fleet fleet;
    struct simdev_network network;
    struct bench_order order; /* of the rows of tries */
    uint32_t n_rows;          /* of each class but the control */
    uint32_t n_control;
    uint32_t sequence;
    struct bench_ask ask;
    struct text body, request;
    size_t refusal_len; /* of the first one; all are as long */
    int64_t *ns[N_CLASSES];
    uint32_t n[N_CLASSES];
};

static void make_mic(struct timing *t, uint8_t mic[static LW_MIC_LEN])
{
    for (size_t i = 0; i < LW_MIC_LEN; i++)
        mic[i] = (uint8_t)bench_order_random(&t->order, UINT8_MAX + 1);
}

static void write_join(struct timing *t, const struct simdev *device)
{
    struct lw_join_request join = {.join_eui = device->join_eui, .dev_eui = device->dev_eui};
    uint8_t frame[LW_JOIN_REQUEST_LEN];

    join.dev_nonce = (uint16_t)bench_order_random(&t->order, NONCES);
    make_mic(t, join.mic);
    lw_join_request_build(&join, frame);
    simdev_request_json(
        &t->body, device, &t->network, frame, sizeof(frame), TRANSACTION_BASE + t->sequence);
}

static void write_header(
    struct timing *t, const char *message_type, const char *sender_id, const struct simdev *device)
{
    char join_eui[EUI64_TEXT_LEN + 1], dev_eui[EUI64_TEXT_LEN + 1];

    text_addf(&t->body,
        "{\"ProtocolVersion\":\"1.0\",\"MessageType\":\"%s\",\"TransactionID\":%u,"
        "\"SenderID\":\"%s\",\"ReceiverID\":\"%s\",\"DevEUI\":\"%s\"",
        message_type, TRANSACTION_BASE + t->sequence, sender_id,
        eui64_format(&device->join_eui, join_eui), eui64_format(&device->dev_eui, dev_eui));
}

/* Of type 1, which needs no session. */
static void write_rejoin(struct timing *t, const struct simdev *device)
{
    struct lw_rejoin_request rejoin = {
        .type = LW_REJOIN_1, .join_eui = device->join_eui, .dev_eui = device->dev_eui};
    uint8_t frame[LW_REJOIN_MAX];

    rejoin.rj_count = (uint16_t)bench_order_random(&t->order, NONCES);
    make_mic(t, rejoin.mic);
    write_header(t, "RejoinReq", t->settings->net_id, device);
    text_add(&t->body, ",\"PHYPayload\":\"");
    text_add_hex(&t->body, frame, lw_rejoin_request_build(&rejoin, frame));
    text_addf(&t->body, "\",\"DevAddr\":\"26000001\",\"DLSettings\":\"%02x\",\"RxDelay\":1}",
        (unsigned)LW_OPT_NEG);
}

static void write_home_ns(struct timing *t, const struct simdev *device)
{
    write_header(t, "HomeNSReq", t->settings->net_id, device);
    text_add(&t->body, "}");
}

/* For a session that the device has, if it is there. */
static void write_app_s_key(struct timing *t, const struct simdev *device)
{
    uint8_t id[SESSION_KEY_ID_LEN];

    ts002_session_key_id(&device->dev_eui, 1 + bench_order_random(&t->order, SESSIONS), id);
    write_header(t, TS002_APP_S_KEY_REQ, t->settings->as_id, device);
    text_add(&t->body, ",\"SessionKeyID\":\"");
    text_add_hex(&t->body, id, sizeof(id));
    text_add(&t->body, "\"}");
}

static const struct timing_message messages[] = {
    {"JoinReq", "UnknownDevEUI", write_join},
    {"RejoinReq", "UnknownDevEUI", write_rejoin},
    {"HomeNSReq", "NoRoamingAgreement", write_home_ns},
    {TS002_APP_S_KEY_REQ, "UnknownDevEUI", write_app_s_key},
};
#define N_MESSAGES (sizeof(messages) / sizeof(messages[0]))
#define JOIN_REQ (&messages[0])

static const struct timing_message *message_of(const char *name)
{
    for (size_t i = 0; i < N_MESSAGES; i++)
        if (strcmp(messages[i].name, name) == 0)
            return &messages[i];
    return NULL;
}

/* The control is a Join-Request to a device of ours, and its MIC is wrong: keyd is asked. */
static const struct timing_message *message_for(const struct timing *t, enum timing_class c)
{
    return c == CONTROL ? JOIN_REQ : t->message;
}

static int make_request(struct timing *t, enum timing_class c)
{
    const struct timing_message *message = message_for(t, c);
    CLEANUP(bench_device_wipe) struct simdev device;
    enum timing_class known = c == UNKNOWN ? OTHERS : c;
    uint32_t number =
        bench_order_random(&t->order, t->fleet.n / KNOWN_CLASSES) * KNOWN_CLASSES + known;

    bench_device_make(&t->fleet, number, &device);
    if (c == UNKNOWN)
        device.dev_eui.bytes[sizeof(device.dev_eui.bytes) - 1] ^= 1;
    bench_network_for(&t->network, &t->fleet, number);
    text_clear(&t->body);
    message->write(t, &device);
    t->sequence++;
    text_clear(&t->request);
    text_addf(&t->request,
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        strcmp(message->name, TS002_APP_S_KEY_REQ) == 0 ? t->settings->as_token
                                                        : t->settings->token,
        t->body.len);
    text_add_len(&t->request, t->body.data, t->body.len);
    return t->body.failed || t->request.failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

static int check(struct timing *t, enum timing_class c, size_t len)
{
    const char *code = c == CONTROL ? "MICFailed" : t->message->refusal;
    char wanted[64];

    (void)snprintf(wanted, sizeof(wanted), "\"ResultCode\":\"%s\"", code);
    if (strstr(t->ask.answer, wanted) == NULL)
        return error_set(ERROR_INTERNAL, "an answer of class %s is not %s: %.200s", class_names[c],
            code, strrchr(t->ask.answer, '\n') != NULL ? strrchr(t->ask.answer, '\n') + 1 : "");
    if (c == CONTROL)
        return 0;
    if (t->refusal_len == 0)
        t->refusal_len = len;
    return len == t->refusal_len ? 0 : error_set(ERROR_INTERNAL, "refusals are not of one length");
}

static int try_one(struct timing *t, enum timing_class c, bool counts)
{
    int64_t ns = 0;
    size_t len = 0;
    int r = make_request(t, c);

    if (r == 0)
        r = bench_ask(&t->ask, &t->request, &ns, &len);
    if (r == 0)
        r = check(t, c, len);
    if (r == 0 && counts)
        t->ns[c][t->n[c]++] = ns;
    return r;
}

/* Every order of the tries is as likely as any other: what one leaves behind for the next one falls
 * upon all classes alike. */
static enum timing_class class_of(const struct timing *t, uint32_t number)
{
    static const enum timing_class compared[] = {OTHERS, UNCLAIMED, UNKNOWN};

    return number < t->n_control ? CONTROL : compared[(number - t->n_control) / t->n_rows];
}

static int run(struct timing *t)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < WARM_UP; i++)
        r = try_one(t, (enum timing_class)(i % N_CLASSES), false);
    for (uint32_t i = 0; r == 0 && i < t->order.n; i++)
        for (uint32_t j = 0; r == 0 && j < t->settings->in_a_row; j++)
            r = try_one(t, class_of(t, t->order.devices[i]), true);
    return r;
}

static int prepare(struct timing *t, const struct bench_settings *settings)
{
    uint16_t ports[BENCH_PORTS_MAX];
    size_t n_ports = 0;
    int r;

    t->settings = settings;
    t->message = message_of(settings->message);
    t->n_rows = settings->tries / settings->in_a_row;
    t->n_control = t->n_rows / CONTROL_SHARE;
    if (t->message == NULL)
        return error_set(ERROR_CONFIG, "%.30s is not a message to be timed", settings->message);
    if (settings->stride % 2 != 0 || settings->devices < KNOWN_CLASSES)
        return error_set(ERROR_CONFIG, "devices of three classes and an even stride are wanted");
    for (int i = 0; i < N_CLASSES; i++)
        if ((t->ns[i] = calloc(settings->tries, sizeof(*t->ns[i]))) == NULL)
            return error_set(ERROR_SYSTEM, "out of memory");
    if ((r = bench_fleet_make(settings, &t->fleet)) < 0 ||
        (r = bench_network_make(settings, &t->network)) < 0 ||
        (r = bench_order_make(t->n_rows * 3 + t->n_control, settings->seed, &t->order)) < 0 ||
        (r = bench_ports_parse(settings, ports, &n_ports)) < 0)
        return r;
    return bench_wire_open(&(struct bench_wiring){.credentials = NULL}, ports[0], &t->ask.wire);
}

static void timing_done(struct timing *t)
{
    bench_wire_close(&t->ask.wire);
    for (int i = 0; i < N_CLASSES; i++)
        free(t->ns[i]);
    bench_fleet_done(&t->fleet);
    bench_network_wipe(&t->network);
    bench_order_done(&t->order);
    text_done(&t->body);
    text_done(&t->request);
}

int bench_timing(const struct bench_settings *settings)
{
    CLEANUP(timing_done) struct timing t = {.ask.wire = {.fd = -1}};
    int r = prepare(&t, settings);

    if (r == 0)
        r = run(&t);
    if (r < 0)
        return r;
    bench_samples_print(class_names, t.ns, t.n, N_CLASSES);
    return 0;
}
