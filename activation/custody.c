/* GET /v1/devices/{dev_eui}/custody: where a device's root keys came from and have been, signed in
 * the HSM. Everything in it is a recorded fact; what was not recorded is said to be so. */
#include "activation/devices.h"

#include "activation/worker.h"
#include "base/aes.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/custody_form.h"
#include "base/error.h"
#include "db/custody.h"
#include <inttypes.h>
#include <string.h>

#define SCHEMA "cradle-custody-v1"
#define FINGERPRINT_INPUT_MAX 64
#define NOT_RECORDED "not recorded"
#define MECHANISM "AES key wrap (RFC 3394)"
#define NOT_IN_CLEAR                                                                               \
    "It was not in clear in its maker's file. How he made and kept it is not recorded."
#define MADE_HERE                                                                                   \
    "It did not exist before: the HSM's generator made it, wrapped it for whoever had ordered it, " \
    "and it was in clear nowhere here."
#define BINDING "HMAC-SHA-256 over DevEUI, JoinEUI, slot, KEK and wrapped key"

static const char no_key[] =
    "the token holds no key that signs (audit.1): its operator makes one (docs/operations.md)";

/* By the word that is stored with a key. */
static const struct {
    const char *origin, *came, *before;
} origins[] = {
    {"clear", "in clear", "It was in clear in its maker's file, and in the call that brought it."},
    {"wrapped", "wrapped under the maker's transport KEK", NOT_IN_CLEAR},
    {"sealed", "sealed to the exchange key", NOT_IN_CLEAR},
    {"made", "generated in the HSM", MADE_HERE},
};
#define N_ORIGINS (sizeof(origins) / sizeof(origins[0]))

static const char *const actors[] = {
    [CUSTODY_MAKER] = "maker",
    [CUSTODY_OWNER] = "owner",
    [CUSTODY_FORMER_MAKER] = "former maker",
    [CUSTODY_FORMER_OWNER] = "former owner",
};

static void add_text(struct text *out, const char *member, const char *value)
{
    text_addf(out, ",\"%s\":", member);
    if (value[0] != '\0')
        text_add_json(out, value);
    else
        text_add(out, "null");
}

static void write_origin(struct text *out, const struct db_custody_key *key)
{
    size_t i = 0;

    while (i < N_ORIGINS && strcmp(origins[i].origin, key->origin) != 0)
        i++;
    add_text(out, "came", i < N_ORIGINS ? origins[i].came : NOT_RECORDED);
    add_text(out, "before_adoption", i < N_ORIGINS ? origins[i].before : NOT_RECORDED);
    add_text(out, "transport_kek", key->transport_kek);
}

/* Of this device alone: as it stands in the database anybody who may import could try with it which
 * key another's device has. */
static void write_fingerprint(
    struct text *out, const struct eui64 *dev_eui, const struct db_custody_key *key)
{
    uint8_t input[FINGERPRINT_INPUT_MAX], digest[MERKLE_HASH_LEN];
    struct bytes_writer w = bytes_writer_over(input, sizeof(input));

    bytes_write(&w, SCHEMA, strlen(SCHEMA));
    bytes_write(&w, dev_eui->bytes, sizeof(dev_eui->bytes));
    bytes_write_u8(&w, (uint8_t)key->slot);
    bytes_write(&w, key->fingerprint, sizeof(key->fingerprint));
    digest_sha256(input, w.len, digest);
    text_add_hex(out, digest, sizeof(key->fingerprint));
}

static void write_key(
    struct text *out, const struct eui64 *dev_eui, const struct db_custody_key *key)
{
    bool is_sigfox = device_kind_of(dev_eui) == DEVICE_SIGFOX;

    text_addf(out, "{\"key\":\"%s\"",
        is_sigfox                   ? "nak"
        : key->slot == KEY_SLOT_APP ? "app_key"
                                    : "nwk_key");
    write_origin(out, key);
    text_add(out, ",\"sealed\":{\"kek\":");
    text_add_json(out, key->kek_label);
    text_add(out, ",\"mechanism\":\"" MECHANISM "\",\"bound_by\":\"" BINDING "\"}");
    text_add(out, ",\"fingerprint\":\"");
    if (key->has_fingerprint)
        write_fingerprint(out, dev_eui, key);
    else
        text_add(out, NOT_RECORDED);
    text_add(out, "\"}");
}

/* Whoever has the file and what opens it has the key: it is exposed to him from then on, whoever
 * the device is handed over to. */
static void write_delivery(struct text *out, const struct db_custody_delivery *d)
{
    text_addf(out, "{\"exposed_to\":\"%s\",\"file\":", actors[d->exposed_to]);
    text_add_json(out, d->file);
    text_addf(out, ",\"first_at\":\"%s\",\"last_at\":\"%s\",\"times\":%" PRId64 "}", d->first_at,
        d->last_at, d->times);
}

/* The hash of a history is for those whose history it is. */
static void write_event(struct text *out, const struct db_custody_event *e)
{
    text_add(out, "{\"action\":");
    text_add_json(out, e->action);
    text_addf(out, ",\"at\":\"%s\",\"by\":\"%s\",\"seq\":", e->at, actors[e->actor]);
    if (e->seq > 0)
        text_addf(out, "%" PRId64, e->seq);
    else
        text_add(out, "null");
    text_add(out, ",\"organization_chain\":");
    if (e->seq > 0 && e->is_own) {
        text_add(out, "\"");
        text_add_hex(out, e->chain, sizeof(e->chain));
        text_add(out, "\"}");
    } else {
        text_add(out, "null}");
    }
}

/* An export between the two statements that were asked for it is one, too. */
static const char *exposed_since(const struct db_device *device, const struct db_custody *c)
{
    if (device->exposed_since[0] != '\0')
        return device->exposed_since;
    for (size_t i = 0; i < c->n_events; i++)
        if (strcmp(c->events[i].action, "device.export") == 0)
            return c->events[i].at;
    return "";
}

static void write_document(
    struct text *out, const struct db_device *device, const struct db_custody *c)
{
    const struct device_record *r = &device->record;
    const char *since = exposed_since(device, c);

    text_add(out, "{\"schema\":\"" SCHEMA "\",");
    act_device_identity_write(out, r);
    text_addf(out, ",\"credential\":\"%s\",\"issued_to\":\"%s\",\"adopted_at\":\"%s\"",
        device_credential_text(r->credential),
        device->is_brought ? actors[CUSTODY_MAKER] : actors[CUSTODY_OWNER], device->created_at);
    add_text(out, "import_format", c->import_format);
    text_addf(out, ",\"exposed\":%s", since[0] != '\0' ? "true" : "false");
    add_text(out, "exposed_since", since);
    text_add(out, ",\"keys\":[");
    for (size_t i = 0; i < c->n_keys; i++) {
        text_add(out, i > 0 ? "," : "");
        write_key(out, &r->dev_eui, &c->keys[i]);
    }
    text_add(out, "],\"deliveries\":[");
    for (size_t i = 0; i < c->n_deliveries; i++) {
        text_add(out, i > 0 ? "," : "");
        write_delivery(out, &c->deliveries[i]);
    }
    text_add(out, "],\"events\":[");
    for (size_t i = 0; i < c->n_events; i++) {
        text_add(out, i > 0 ? "," : "");
        write_event(out, &c->events[i]);
    }
    text_addf(out, "],\"more_events\":%s}", c->has_more ? "true" : "false");
}

static unsigned sign(struct act_call *call, const struct text *document)
{
    struct text jws = {0};
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    enum keyd_status status = KEYD_HSM_FAILED;
    uint64_t time = 0;
    int r = keyd_sign_custody(call->worker->keyd, CUSTODY_OF_DEVICE, document->data, document->len,
        &time, signature, &status, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);

    if (r < 0)
        return act_call_failed(call, r);
    if (status == KEYD_NO_AUDIT_KEY)
        return act_call_problem(call, PROBLEM_CONFLICT, no_key);
    if (status != KEYD_OK)
        return act_call_failed(
            call, error_set(ERROR_HSM, "key process: %s", keyd_status_text(status)));
    custody_write(CUSTODY_OF_DEVICE, time, document->data, document->len, signature, &jws);
    act_call_header(call, "Cache-Control", "no-store");
    return act_call_answer(call, 200, TYPE_JOSE, &jws);
}

unsigned act_device_custody(struct act_call *call)
{
    CLEANUP(text_done) struct text document = {0};
    struct db_custody custody;
    struct db_device device;
    unsigned status = act_device_find(call, 0, &device);
    int r;

    if (status != 0)
        return status;
    r = db_custody_load(
        call->worker->db, &device.record.dev_eui, call->caller->organization_id, &custody);
    if (r != 0)
        return r < 0 ? act_call_failed(call, r)
                     : act_call_problem(call, PROBLEM_NOT_FOUND, ACT_NO_DEVICE);
    write_document(&document, &device, &custody);
    if (document.failed)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    return sign(call, &document);
}
