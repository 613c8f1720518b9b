#include "cli/delivery_file.h"

#include "activation/operator_check.h"
#include "base/aes.h"
#include "base/base64.h"
#include "base/custody_form.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/jwe.h"
#include "base/rsa_oaep.h"
#include "base/text.h"
#include "lorawan/types.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX (3 * CUSTODY_DOCUMENT_MAX) /* bytes; the manifest's is the longest */
#define TRANSPORT_MAX 32
#define ROUNDING 3 /* what whole groups of Base64 may be longer than what they hold */

struct delivery_reading {
    const char *private_pem;
    const struct audit_key *audit_key;
    int64_t line;
    delivery_device take; /* NULL: only looked through */
    void *context;
    /* From the file's head. */
    uint64_t n_lines;
    uint8_t batch[DELIVERY_BATCH_ID_LEN];
    struct delivery_shape shape;
    int64_t count;
    char digest_wanted[2 * DELIVERY_DIGEST_LEN + 1];
    uint8_t transport[TRANSPORT_MAX];
    size_t transport_len;
    struct gcm *gcm;
    /* So far. */
    uint8_t digest[DELIVERY_DIGEST_LEN];
    int64_t n;
    bool found;
    char text[LINE_MAX];
    size_t len;
};

static void json_cleanup(json_t **json)
{
    json_decref(*json);
}

static int malformed(const char *what)
{
    return error_set(ERROR_INPUT, "this is no delivery: %s", what);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

/* --- its head -------------------------------------------------------------------------------- */

static bool read_shape(const json_t *manifest, struct delivery_shape *ret)
{
    const char *join_eui = text_of(manifest, "join_eui");

    *ret = (struct delivery_shape){.is_sigfox = strcmp(text_of(manifest, "kind"), "sigfox") == 0};
    if (ret->is_sigfox)
        return true;
    if (!eui64_parse(join_eui, strlen(join_eui), &ret->join_eui) ||
        !lw_mac_version_parse(text_of(manifest, "mac_version"), &ret->mac_version))
        return false;
    ret->has_nwk = ret->mac_version == LW_MAC_1_1;
    return true;
}

static int open_transport(struct delivery_reading *d, const json_t *manifest)
{
    const char *text = text_of(json_object_get(manifest, "transport_key"), "text");
    uint8_t sealed[RSA_OAEP_MAX + ROUNDING];
    ssize_t len = base64url_decode(text, strlen(text), sealed, sizeof(sealed));
    int r;

    if (len < 0)
        return malformed("its transport key cannot be read");
    r = rsa_oaep_open(
        d->private_pem, sealed, (size_t)len, d->transport, sizeof(d->transport), &d->transport_len);
    if (r == 0 && !act_key_length_valid((unsigned)d->transport_len))
        return malformed("its transport key is no AES key");
    return r;
}

static int read_manifest(struct delivery_reading *d)
{
    CLEANUP(text_done) struct text document = {0};
    CLEANUP(json_cleanup) json_t *manifest = NULL;
    const char *batch, *digest;
    uint64_t time;
    int r = custody_open(CUSTODY_OF_DELIVERY, d->text, d->len, d->audit_key, &time, &document);

    if (r < 0)
        return r;
    manifest = json_loadb(document.data, document.len, JSON_REJECT_DUPLICATES, NULL);
    batch = text_of(manifest, "batch");
    digest = text_of(manifest, "digest");
    if (strlen(batch) != 2 * sizeof(d->batch) ||
        !hex_decode(batch, strlen(batch), d->batch, sizeof(d->batch)) ||
        strlen(digest) != sizeof(d->digest_wanted) - 1 || !read_shape(manifest, &d->shape))
        return malformed("its manifest says other things than one does");
    memcpy(d->digest_wanted, digest, sizeof(d->digest_wanted));
    d->count = json_integer_value(json_object_get(manifest, "count"));
    return open_transport(d, manifest);
}

static int read_batch_key(struct delivery_reading *d)
{
    CLEANUP(json_cleanup)
    json_t *json = json_loadb(d->text, d->len, JSON_REJECT_DUPLICATES, NULL);
    const char *text = text_of(json, "batch_key");
    uint8_t key[GCM_KEY_LEN + ROUNDING];
    int r;

    if (base64url_decode(text, strlen(text), key, sizeof(key)) != GCM_KEY_LEN)
        return malformed("it has no batch_key");
    r = gcm_new(key, &d->gcm);
    secret_wipe(key, sizeof(key));
    return r;
}

/* --- its records ----------------------------------------------------------------------------- */

static bool read_record(
    const struct delivery_shape *shape, const json_t *json, struct delivery_record *ret)
{
    const char *id = text_of(json, "dev_eui"), *sealed = text_of(json, "sealed");
    const char *app_kcv = text_of(json, "app_kcv"), *nwk_kcv = text_of(json, "nwk_kcv");
    uint8_t bytes[DELIVERY_SEALED_MAX + ROUNDING];
    int64_t line = json_integer_value(json_object_get(json, "line"));
    size_t len = delivery_sealed_len(shape);

    *ret = (struct delivery_record){.line = (uint32_t)line};
    if (line <= 0 || line > UINT32_MAX || !device_id_parse(id, strlen(id), &ret->dev_eui) ||
        !hex_decode(app_kcv, strlen(app_kcv), ret->app_kcv, sizeof(ret->app_kcv)) ||
        (shape->has_nwk &&
            !hex_decode(nwk_kcv, strlen(nwk_kcv), ret->nwk_kcv, sizeof(ret->nwk_kcv))) ||
        base64url_decode(sealed, strlen(sealed), bytes, sizeof(bytes)) != (ssize_t)len)
        return false;
    memcpy(ret->sealed, bytes, len);
    return true;
}

static int unwrap(const struct delivery_reading *d, const uint8_t *wrapped, const uint8_t *kcv,
    struct secret_key *ret)
{
    static const uint8_t zeros[AES_KEY_LEN];
    uint8_t mac[AES_KEY_LEN];
    int r = aes_unwrap(d->transport, d->transport_len, wrapped, KEYD_WRAPPED_LEN, ret->bytes);

    if (r == 0)
        r = aes_cmac(ret, zeros, sizeof(zeros), mac);
    if (r == 0 && memcmp(mac, kcv, KEYD_KCV_LEN) != 0)
        r = 1;
    return r;
}

static int open_device(const struct delivery_reading *d, const struct delivery_record *record,
    struct delivery_opened *ret)
{
    struct delivery_secret secret;
    int r = delivery_open(d->gcm, d->batch, &d->shape, record, &secret);

    *ret = (struct delivery_opened){
        .line = record->line, .shape = &d->shape, .dev_eui = record->dev_eui};
    if (r == 0) {
        memcpy(ret->code, secret.code, sizeof(ret->code));
        r = unwrap(d, secret.keys, record->app_kcv, &ret->app_key);
        if (r == 0 && d->shape.has_nwk)
            r = unwrap(d, secret.keys + KEYD_WRAPPED_LEN, record->nwk_kcv, &ret->nwk_key);
    }
    secret_wipe(&secret, sizeof(secret));
    return r > 0 ? error_set(ERROR_INPUT, "line %" PRIu32 " does not open", record->line) : r;
}

static int read_device(struct delivery_reading *d)
{
    CLEANUP(json_cleanup) json_t *json = NULL;
    struct delivery_record record;
    struct delivery_opened device;
    int r;

    if (d->len > DELIVERY_LINE_MAX)
        return malformed("a line of a device is too long");
    delivery_digest_add(d->digest, d->text, d->len);
    d->n++;
    if (d->take == NULL)
        return 0;
    json = json_loadb(d->text, d->len, JSON_REJECT_DUPLICATES, NULL);
    if (!read_record(&d->shape, json, &record))
        return malformed("a line of a device cannot be read");
    if (d->line != 0 && record.line != d->line)
        return 0;
    d->found = true;
    if ((r = open_device(d, &record, &device)) == 0)
        r = d->take(d->context, &device);
    secret_wipe(&device, sizeof(device));
    return r;
}

/* --- line by line ---------------------------------------------------------------------------- */

static int read_line(struct delivery_reading *d)
{
    switch (d->n_lines++) {
    case 0:
        d->len--; /* the line feed is none of the signed text's */
        return read_manifest(d);
    case 1:
        return read_batch_key(d);
    default:
        return read_device(d);
    }
}

static int take_piece(void *context, const uint8_t *bytes, size_t len)
{
    struct delivery_reading *d = context;
    int r = 0;

    for (size_t i = 0; r == 0 && i < len; i++) {
        if (d->len == sizeof(d->text))
            return malformed("a line is too long");
        d->text[d->len++] = (char)bytes[i];
        if (bytes[i] == '\n') {
            r = read_line(d);
            d->len = 0;
        }
    }
    return r;
}

static int look_whether_whole(const struct delivery_reading *d)
{
    char digest[2 * DELIVERY_DIGEST_LEN + 1];

    if (d->n_lines < 2 || d->len != 0)
        return malformed("it ends too early");
    if (d->n != d->count ||
        strcmp(hex_encode(d->digest, sizeof(d->digest), digest), d->digest_wanted) != 0)
        return malformed("its devices are not those that were signed");
    return 0;
}

static int read_once(
    const struct delivery_reading *wanted, FILE *file, delivery_device take, bool *ret_found)
{
    struct delivery_reading *d = secret_realloc(NULL, sizeof(*d));
    int r;

    if (d == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a delivery");
    *d = *wanted;
    d->take = take;
    rewind(file);
    if ((r = jwe_read(file, d->private_pem, take_piece, d)) == 0)
        r = look_whether_whole(d);
    *ret_found = d->found;
    gcm_free(d->gcm);
    secret_free(d);
    return r;
}

int delivery_file_open(FILE *file, const char *private_pem, const struct audit_key *audit_key,
    int64_t line, delivery_device take, void *context)
{
    CLEANUP(cleanup_free) struct delivery_reading *wanted = calloc(1, sizeof(*wanted));
    bool found;
    int r;

    if (wanted == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for a delivery");
    wanted->private_pem = private_pem;
    wanted->audit_key = audit_key;
    wanted->line = line;
    wanted->context = context;
    if ((r = read_once(wanted, file, NULL, &found)) == 0 &&
        (r = read_once(wanted, file, take, &found)) == 0 && line != 0 && !found)
        r = error_set(ERROR_INPUT, "the delivery has no line %" PRId64, line);
    return r;
}
