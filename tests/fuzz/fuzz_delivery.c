/* A delivery that anybody may have made: its maker's bench opens it with his key. What RSA and the
 * manifest's signature would say is not tried here: keys stand as they are where they would be
 * encrypted, and whatever is signed is signed by the right one. The first byte chooses what the
 * rest is: a file, what is in a JWE, the lines of devices behind a good head, or a device. */
#include "base/aes.h"
#include "base/base64.h"
#include "base/bytes.h"
#include "base/custody_form.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/jwe.h"
#include "base/rsa_oaep.h"
#include "cli/delivery_file.h"
#include "tests/fuzz/fuzz.h"

#include <inttypes.h>
#include <string.h>

#define EVERY_LINE 0
#define MODE_SIGFOX 1
#define MODE_1_1 2

struct seen {
    size_t n;
    struct delivery_opened last;
};

static const uint8_t content_key[GCM_KEY_LEN] = {1}, batch_key[GCM_KEY_LEN] = {2};
static const uint8_t transport_key[AES_KEY_LEN] = {3}, content_iv[GCM_IV_LEN] = {4};
static const uint8_t batch[DELIVERY_BATCH_ID_LEN] = {5};

/* --- in the place of base/rsa_oaep.c and base/audit_key.c ------------------------------------- */

int rsa_oaep_seal(const char *pem, const void *clear, size_t len, uint8_t ret[static RSA_OAEP_MAX],
    size_t *ret_len)
{
    (void)pem;
    memcpy(ret, clear, len);
    *ret_len = len;
    return 0;
}

int rsa_oaep_open(
    const char *pem, const void *sealed, size_t len, uint8_t *ret, size_t size, size_t *ret_len)
{
    (void)pem;
    if (len > size)
        return error_set(ERROR_INPUT, "it was not encrypted to this key");
    memcpy(ret, sealed, len);
    *ret_len = len;
    return 0;
}

struct audit_key {
    int unused;
};

int audit_key_read(const char *pem, size_t len, struct audit_key **ret)
{
    (void)pem;
    (void)len;
    (void)ret;
    return ERROR_INTERNAL;
}

void audit_key_write(const uint8_t point[static AUDIT_POINT_LEN], struct text *out)
{
    (void)point;
    (void)out;
}

void audit_key_free(struct audit_key *key)
{
    (void)key;
}

bool audit_key_signed_bytes(const struct audit_key *key, const void *bytes, size_t len,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN])
{
    (void)key;
    (void)bytes;
    (void)len;
    (void)signature;
    return true;
}

bool audit_key_signed(const struct audit_key *key, const struct audit_checkpoint *checkpoint,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN])
{
    (void)checkpoint;
    return audit_key_signed_bytes(key, NULL, 0, signature);
}

/* --- what is tried ---------------------------------------------------------------------------- */

static int take(void *context, const struct delivery_opened *device)
{
    struct seen *seen = context;

    FUZZ_HOLDS(device->line > 0 && device->shape != NULL);
    FUZZ_HOLDS(memchr(device->code, '\0', sizeof(device->code)) != NULL);
    seen->n++;
    seen->last = *device;
    seen->last.shape = NULL; /* the reading's */
    return 0;
}

static int open_file(const char *bytes, size_t len, int64_t line, struct seen *seen)
{
    FILE *file = len > 0 ? fmemopen((void *)(uintptr_t)bytes, len, "r") : NULL;
    int r;

    *seen = (struct seen){.n = 0};
    if (file == NULL)
        return ERROR_INPUT;
    r = delivery_file_open(file, "", NULL, line, take, seen);
    (void)fclose(file);
    FUZZ_HOLDS(r == 0 || (r == ERROR_INPUT && error_text()[0] != '\0'));
    FUZZ_HOLDS(r != 0 || line == EVERY_LINE || seen->n > 0);
    return r;
}

static void wrap(const char *content, size_t len, struct text *out)
{
    CLEANUP(jwe_writer_freep) struct jwe_writer *writer = NULL;

    FUZZ_HOLDS(jwe_writer_new("", content_key, content_iv, &writer, out) == 0);
    FUZZ_HOLDS(jwe_writer_add(writer, content, len / 2, out) == 0);
    FUZZ_HOLDS(jwe_writer_add(writer, content + len / 2, len - len / 2, out) == 0);
    FUZZ_HOLDS(jwe_writer_end(writer, out) == 0);
}

struct expected {
    const char *at, *end;
};

static int expect(void *context, const uint8_t *bytes, size_t len)
{
    struct expected *expected = context;

    FUZZ_HOLDS((size_t)(expected->end - expected->at) >= len);
    FUZZ_HOLDS(memcmp(expected->at, bytes, len) == 0);
    expected->at += len;
    return 0;
}

/* What was written is read again, and whatever it says, it is judged. */
static int open_content(const char *content, size_t len, int64_t line, struct seen *seen)
{
    CLEANUP(text_done) struct text jwe = {0};
    struct expected expected = {.at = content, .end = content + len};
    FILE *file;

    wrap(content, len, &jwe);
    file = fmemopen(jwe.data, jwe.len, "r");
    FUZZ_HOLDS(file != NULL && jwe_read(file, "", expect, &expected) == 0);
    FUZZ_HOLDS(expected.at == expected.end);
    (void)fclose(file);
    return open_file(jwe.data, jwe.len, line, seen);
}

/* The manifest of these lines, and the batch's key. */
static void write_head(
    const struct delivery_shape *shape, const char *lines, size_t len, struct text *out)
{
    static const uint8_t signature[AUDIT_SIGNATURE_LEN];
    CLEANUP(text_done) struct text document = {0};
    uint8_t digest[DELIVERY_DIGEST_LEN] = {0};
    char eui[EUI64_TEXT_LEN + 1], key[BASE64_LEN(GCM_KEY_LEN) + 1];
    size_t n = 0;

    for (const char *end; (end = memchr(lines, '\n', len)) != NULL; n++) {
        const size_t line_len = (size_t)(end - lines) + 1;

        if (line_len <= DELIVERY_LINE_MAX)
            delivery_digest_add(digest, lines, line_len);
        lines += line_len;
        len -= line_len;
    }
    text_add(&document, "{\"batch\":\"");
    text_add_hex(&document, batch, sizeof(batch));
    text_addf(&document, "\",\"count\":%zu,\"digest\":\"", n);
    text_add_hex(&document, digest, sizeof(digest));
    if (shape->is_sigfox)
        text_add(&document, "\",\"kind\":\"sigfox");
    else
        text_addf(&document, "\",\"join_eui\":\"%s\",\"mac_version\":\"%s",
            eui64_format(&shape->join_eui, eui), lw_mac_version_text(shape->mac_version));
    text_addf(&document, "\",\"transport_key\":{\"text\":\"%s\"}}",
        base64url_encode(transport_key, sizeof(transport_key), key));
    custody_write(CUSTODY_OF_DELIVERY, 1, document.data, document.len, signature, out);
    text_addf(
        out, "\n{\"batch_key\":\"%s\"}\n", base64url_encode(batch_key, sizeof(batch_key), key));
}

static struct delivery_shape shape_of(uint8_t mode)
{
    struct delivery_shape shape = {.is_sigfox = (mode & MODE_SIGFOX) != 0,
        .mac_version = (mode & MODE_1_1) != 0 ? LW_MAC_1_1 : LW_MAC_1_0_3};

    shape.has_nwk = !shape.is_sigfox && shape.mac_version == LW_MAC_1_1;
    return shape;
}

static int open_lines(const struct delivery_shape *shape, const char *lines, size_t len,
    int64_t line, struct seen *seen)
{
    CLEANUP(text_done) struct text content = {0};

    write_head(shape, lines, len, &content);
    text_add_len(&content, lines, len);
    return open_content(content.data, content.len, line, seen);
}

static void seal_key(const uint8_t *key, uint8_t *ret_wrapped, uint8_t *ret_kcv)
{
    static const uint8_t zeros[AES_KEY_LEN];
    struct secret_key clear;
    uint8_t mac[AES_KEY_LEN];

    memcpy(clear.bytes, key, sizeof(clear.bytes));
    FUZZ_HOLDS(aes_wrap(transport_key, sizeof(transport_key), key, AES_KEY_LEN, ret_wrapped) == 0 &&
               aes_cmac(&clear, zeros, sizeof(zeros), mac) == 0);
    memcpy(ret_kcv, mac, KEYD_KCV_LEN);
}

/* A device as a service writes it, of any bytes, is the same on the bench. */
static void try_device(const struct delivery_shape *shape, struct bytes_reader *r)
{
    static const uint8_t iv[GCM_IV_LEN] = {6};
    CLEANUP(gcm_freep) struct gcm *gcm = NULL;
    CLEANUP(text_done) struct text line = {0};
    struct delivery_record record = {.line = bytes_read_u32_be(r) | 1};
    struct delivery_secret secret = {.code = ""};
    uint8_t app[AES_KEY_LEN], nwk[AES_KEY_LEN];
    struct seen seen;

    bytes_read(r, record.dev_eui.bytes, sizeof(record.dev_eui.bytes));
    bytes_read(r, app, sizeof(app));
    bytes_read(r, nwk, sizeof(nwk));
    for (size_t i = 0; i < DELIVERY_CODE_MAX; i++)
        secret.code[i] = (char)bytes_read_u8(r);
    seal_key(app, secret.keys, record.app_kcv);
    if (shape->has_nwk)
        seal_key(nwk, secret.keys + KEYD_WRAPPED_LEN, record.nwk_kcv);
    FUZZ_HOLDS(gcm_new(batch_key, &gcm) == 0 &&
               delivery_seal(gcm, batch, shape, &secret, iv, &record) == 0);
    delivery_line_write(shape, &record, &line);
    FUZZ_HOLDS(open_lines(shape, line.data, line.len, record.line, &seen) == 0 && seen.n == 1);
    FUZZ_HOLDS(seen.last.line == record.line && strcmp(seen.last.code, secret.code) == 0);
    FUZZ_HOLDS(memcmp(&seen.last.dev_eui, &record.dev_eui, sizeof(record.dev_eui)) == 0);
    FUZZ_HOLDS(memcmp(seen.last.app_key.bytes, app, sizeof(app)) == 0);
    FUZZ_HOLDS(!shape->has_nwk || memcmp(seen.last.nwk_key.bytes, nwk, sizeof(nwk)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes_reader r = bytes_reader_over(data, size);
    const uint8_t kind = bytes_read_u8(&r), mode = bytes_read_u8(&r);
    const struct delivery_shape shape = shape_of(mode);
    struct seen seen;
    const char *rest = (const char *)data + r.at;

    if (r.failed)
        return 0;
    switch (kind) {
    case 'F':
        (void)open_file(rest, size - r.at, mode, &seen);
        break;
    case 'C':
        (void)open_content(rest, size - r.at, mode, &seen);
        break;
    case 'L':
        (void)open_lines(&shape, rest, size - r.at, mode >> 4, &seen);
        break;
    default:
        try_device(&shape, &r);
        break;
    }
    return 0;
}
