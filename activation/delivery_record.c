#include "activation/delivery_record.h"

#include "base/aes.h"
#include "base/base64.h"
#include "base/bytes.h"
#include "base/error.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define AAD_LEN (DELIVERY_BATCH_ID_LEN + 4 + sizeof(struct eui64))

static_assert(DELIVERY_KEYS_MAX >= 2 * KEYD_WRAPPED_LEN, "two wrapped keys have room");
static_assert(DELIVERY_KEYS_MAX >= sizeof(struct keyd_record), "and a record of id_key.bin has");

size_t delivery_keys_len(const struct delivery_shape *shape)
{
    if (shape->is_legacy)
        return shape->is_sigfox ? (size_t)2 * AES_KEY_LEN : (size_t)3 * AES_KEY_LEN;
    return shape->has_nwk ? (size_t)2 * KEYD_WRAPPED_LEN : KEYD_WRAPPED_LEN;
}

static size_t clear_len(const struct delivery_shape *shape)
{
    return delivery_keys_len(shape) + 1 + DELIVERY_CODE_MAX;
}

size_t delivery_sealed_len(const struct delivery_shape *shape)
{
    return GCM_IV_LEN + clear_len(shape) + GCM_TAG_LEN;
}

static size_t head_len(const struct delivery_shape *shape)
{
    return sizeof(uint32_t) + sizeof(struct eui64) +
           (size_t)(shape->has_nwk ? 2 : 1) * KEYD_KCV_LEN;
}

size_t delivery_record_len(const struct delivery_shape *shape)
{
    return head_len(shape) + delivery_sealed_len(shape);
}

static int begin(
    struct gcm *gcm, bool open, const uint8_t *batch, const struct delivery_record *record)
{
    uint8_t aad[AAD_LEN];
    struct bytes_writer w = bytes_writer_over(aad, sizeof(aad));

    bytes_write(&w, batch, DELIVERY_BATCH_ID_LEN);
    bytes_write_u32_be(&w, record->line);
    bytes_write(&w, record->dev_eui.bytes, sizeof(record->dev_eui.bytes));
    return gcm_begin(gcm, open, record->sealed, aad, w.len);
}

int delivery_seal(struct gcm *gcm, const uint8_t batch[static DELIVERY_BATCH_ID_LEN],
    const struct delivery_shape *shape, const struct delivery_secret *secret,
    const uint8_t iv[static GCM_IV_LEN], struct delivery_record *record)
{
    size_t keys_len = delivery_keys_len(shape), len = clear_len(shape);
    size_t code_len = strlen(secret->code);
    uint8_t clear[DELIVERY_SEALED_MAX] = {0};
    int r;

    memcpy(clear, secret->keys, keys_len);
    clear[keys_len] = (uint8_t)code_len;
    memcpy(clear + keys_len + 1, secret->code, code_len);
    memcpy(record->sealed, iv, GCM_IV_LEN);
    if ((r = begin(gcm, false, batch, record)) == 0 &&
        (r = gcm_add(gcm, clear, len, record->sealed + GCM_IV_LEN)) == 0)
        r = gcm_end_seal(gcm, record->sealed + GCM_IV_LEN + len);
    secret_wipe(clear, sizeof(clear));
    return r;
}

int delivery_open(struct gcm *gcm, const uint8_t batch[static DELIVERY_BATCH_ID_LEN],
    const struct delivery_shape *shape, const struct delivery_record *record,
    struct delivery_secret *ret)
{
    size_t keys_len = delivery_keys_len(shape), len = clear_len(shape);
    uint8_t clear[DELIVERY_SEALED_MAX];
    int r;

    if ((r = begin(gcm, true, batch, record)) == 0 &&
        (r = gcm_add(gcm, record->sealed + GCM_IV_LEN, len, clear)) == 0)
        r = gcm_end_open(gcm, record->sealed + GCM_IV_LEN + len);
    if (r == 0 && clear[keys_len] > DELIVERY_CODE_MAX)
        r = 1;
    if (r == 0) {
        *ret = (struct delivery_secret){.keys = {0}};
        memcpy(ret->keys, clear, keys_len);
        memcpy(ret->code, clear + keys_len + 1, clear[keys_len]);
    }
    secret_wipe(clear, sizeof(clear));
    return r;
}

void delivery_record_write(
    const struct delivery_shape *shape, const struct delivery_record *record, uint8_t *out)
{
    struct bytes_writer w = bytes_writer_over(out, delivery_record_len(shape));

    bytes_write_u32_be(&w, record->line);
    bytes_write(&w, record->dev_eui.bytes, sizeof(record->dev_eui.bytes));
    bytes_write(&w, record->app_kcv, sizeof(record->app_kcv));
    if (shape->has_nwk)
        bytes_write(&w, record->nwk_kcv, sizeof(record->nwk_kcv));
    bytes_write(&w, record->sealed, delivery_sealed_len(shape));
}

void delivery_record_read(
    const struct delivery_shape *shape, const uint8_t *bytes, struct delivery_record *ret)
{
    struct bytes_reader r = bytes_reader_over(bytes, delivery_record_len(shape));

    *ret = (struct delivery_record){.line = bytes_read_u32_be(&r)};
    bytes_read(&r, ret->dev_eui.bytes, sizeof(ret->dev_eui.bytes));
    bytes_read(&r, ret->app_kcv, sizeof(ret->app_kcv));
    if (shape->has_nwk)
        bytes_read(&r, ret->nwk_kcv, sizeof(ret->nwk_kcv));
    bytes_read(&r, ret->sealed, delivery_sealed_len(shape));
}

void delivery_line_write(
    const struct delivery_shape *shape, const struct delivery_record *record, struct text *out)
{
    char eui[DEVICE_ID_TEXT_LEN + 1], sealed[BASE64_LEN(DELIVERY_SEALED_MAX) + 1];

    text_reserve(out, DELIVERY_LINE_MAX);
    text_addf(out, "{\"line\":%" PRIu32 ",\"dev_eui\":\"%s\"", record->line,
        device_id_format(&record->dev_eui, eui));
    if (!shape->is_sigfox)
        text_addf(out, ",\"join_eui\":\"%s\",\"mac_version\":\"%s\"",
            eui64_format(&shape->join_eui, eui), lw_mac_version_text(shape->mac_version));
    text_add(out, ",\"app_kcv\":\"");
    text_add_hex(out, record->app_kcv, sizeof(record->app_kcv));
    if (shape->has_nwk) {
        text_add(out, "\",\"nwk_kcv\":\"");
        text_add_hex(out, record->nwk_kcv, sizeof(record->nwk_kcv));
    }
    text_addf(out, "\",\"sealed\":\"%s\"}\n",
        base64url_encode(record->sealed, delivery_sealed_len(shape), sealed));
}

void delivery_digest_add(uint8_t digest[static DELIVERY_DIGEST_LEN], const char *line, size_t len)
{
    uint8_t input[DELIVERY_DIGEST_LEN + DELIVERY_LINE_MAX];

    assert(len <= DELIVERY_LINE_MAX);
    memcpy(input, digest, DELIVERY_DIGEST_LEN);
    memcpy(input + DELIVERY_DIGEST_LEN, line, len);
    digest_sha256(input, DELIVERY_DIGEST_LEN + len, digest);
}
