#include "base/jwe.h"

#include "base/base64.h"
#include "base/error.h"
#include "base/rsa_oaep.h"
#include "base/secret.h"
#include <stdlib.h>
#include <string.h>

#define PIECE 3072 /* bytes of content that are sealed at once: whole groups of Base64 */
#define GROUP 3    /* bytes that four characters stand for */
#define PART_MAX (BASE64_LEN(RSA_OAEP_MAX) + 1) /* characters of a part that is not the content */

struct jwe_writer {
    struct gcm *gcm;
    uint8_t kept[GROUP]; /* sealed, and no whole group yet */
    size_t n_kept;
};

static void add_part(struct text *out, const void *bytes, size_t len)
{
    char text[PIECE / GROUP * 4 + 1];

    text_add(out, base64url_encode(bytes, len, text));
}

static int out_of_memory(void)
{
    return error_set(ERROR_SYSTEM, "out of memory for a file that is encrypted");
}

/* --- writing --------------------------------------------------------------------------------- */

int jwe_writer_new(const char *pem, const uint8_t key[static GCM_KEY_LEN],
    const uint8_t iv[static GCM_IV_LEN], struct jwe_writer **ret, struct text *out)
{
    CLEANUP(jwe_writer_freep) struct jwe_writer *writer = calloc(1, sizeof(*writer));
    size_t before = out->len, sealed_len;
    uint8_t sealed[RSA_OAEP_MAX];
    int r;

    if (writer == NULL)
        return out_of_memory();
    if ((r = gcm_new(key, &writer->gcm)) < 0 ||
        (r = rsa_oaep_seal(pem, key, GCM_KEY_LEN, sealed, &sealed_len)) < 0)
        return r;
    add_part(out, JWE_HEADER, strlen(JWE_HEADER));
    if (out->failed)
        return out_of_memory();
    if ((r = gcm_begin(writer->gcm, false, iv, out->data + before, out->len - before)) < 0)
        return r;
    text_add(out, ".");
    add_part(out, sealed, sealed_len);
    text_add(out, ".");
    add_part(out, iv, GCM_IV_LEN);
    text_add(out, ".");
    if (out->failed)
        return out_of_memory();
    *ret = writer;
    writer = NULL;
    return 0;
}

void jwe_writer_free(struct jwe_writer *writer)
{
    if (writer == NULL)
        return;
    gcm_free(writer->gcm);
    free(writer);
}

int jwe_writer_add(struct jwe_writer *writer, const void *bytes, size_t len, struct text *out)
{
    uint8_t piece[PIECE];
    const uint8_t *at = bytes;

    while (len > 0) {
        size_t n = sizeof(piece) - writer->n_kept, whole;
        int r;

        if (n > len)
            n = len;
        memcpy(piece, writer->kept, writer->n_kept);
        if ((r = gcm_add(writer->gcm, at, n, piece + writer->n_kept)) < 0)
            return r;
        n += writer->n_kept;
        at += n - writer->n_kept;
        len -= n - writer->n_kept;
        whole = n - n % GROUP;
        add_part(out, piece, whole);
        writer->n_kept = n - whole;
        memcpy(writer->kept, piece + whole, writer->n_kept);
    }
    return out->failed ? out_of_memory() : 0;
}

int jwe_writer_end(struct jwe_writer *writer, struct text *out)
{
    uint8_t tag[GCM_TAG_LEN];
    int r = gcm_end_seal(writer->gcm, tag);

    if (r < 0)
        return r;
    add_part(out, writer->kept, writer->n_kept);
    text_add(out, ".");
    add_part(out, tag, sizeof(tag));
    return out->failed ? out_of_memory() : 0;
}

/* --- reading --------------------------------------------------------------------------------- */

struct jwe_reader {
    FILE *file;
    struct gcm *gcm;
    char header[PART_MAX];
    size_t header_len;
    uint8_t iv[GCM_IV_LEN];
    long content; /* where it begins */
};

static int none(void)
{
    return error_set(
        ERROR_INPUT, "this is no JWE of RSA-OAEP and A256GCM, is for another key, or was changed");
}

/* Up to the next dot, which is taken, or the end of the text. -1: too long. */
static ssize_t read_part(FILE *file, char *out)
{
    size_t n = 0;
    int c;

    while ((c = getc_unlocked(file)) != EOF && c != '.' && c != '\n' && c != '\r') {
        if (n + 1 == PART_MAX)
            return -1;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return (ssize_t)n;
}

/* The whole groups of it fit `size`, which is a multiple of GROUP. */
static bool read_bytes(FILE *file, uint8_t *out, size_t size, size_t *ret_len)
{
    char text[PART_MAX];
    ssize_t n = read_part(file, text), len;

    if (n < 0 || (len = base64url_decode(text, (size_t)n, out, size)) < 0)
        return false;
    *ret_len = (size_t)len;
    return true;
}

static int read_head(struct jwe_reader *reader, const char *pem)
{
    uint8_t sealed[RSA_OAEP_MAX + GROUP], key[GCM_KEY_LEN], iv[GCM_IV_LEN],
        header[sizeof(JWE_HEADER) + GROUP];
    size_t sealed_len, iv_len, key_len;
    ssize_t header_len = read_part(reader->file, reader->header);
    int r;

    if (header_len < 0)
        return none();
    reader->header_len = (size_t)header_len;
    header_len = base64url_decode(reader->header, reader->header_len, header, sizeof(header));
    if ((size_t)header_len != strlen(JWE_HEADER) ||
        memcmp(header, JWE_HEADER, strlen(JWE_HEADER)) != 0 ||
        !read_bytes(reader->file, sealed, sizeof(sealed), &sealed_len) ||
        !read_bytes(reader->file, iv, sizeof(iv), &iv_len) || iv_len != sizeof(iv))
        return none();
    memcpy(reader->iv, iv, sizeof(iv));
    if ((reader->content = ftell(reader->file)) < 0)
        return error_set_errno("cannot read a file");
    r = rsa_oaep_open(pem, sealed, sealed_len, key, sizeof(key), &key_len);
    if (r == 0)
        r = key_len == sizeof(key) ? gcm_new(key, &reader->gcm) : none();
    secret_wipe(key, sizeof(key));
    return r;
}

static int read_piece(FILE *file, uint8_t *out, size_t *ret_len, bool *ret_last)
{
    char text[PIECE / GROUP * 4 + 1];
    size_t n = 0;
    ssize_t len;
    int c = 0;

    while (n < sizeof(text) - 1 && (c = getc_unlocked(file)) != EOF && c != '.')
        text[n++] = (char)c;
    text[n] = '\0';
    *ret_last = c == '.';
    *ret_len = 0;
    if (n == 0 && *ret_last)
        return 0;
    if (c == EOF || (len = base64url_decode(text, n, out, PIECE)) < 0)
        return none();
    *ret_len = (size_t)len;
    return 0;
}

static int pass(struct jwe_reader *reader, jwe_take take, void *context)
{
    uint8_t sealed[PIECE], clear[PIECE], tag[GCM_TAG_LEN + GROUP];
    bool last = false;
    size_t len;
    int r;

    if (fseek(reader->file, reader->content, SEEK_SET) != 0)
        return error_set_errno("cannot read a file again");
    r = gcm_begin(reader->gcm, true, reader->iv, reader->header, reader->header_len);
    while (r == 0 && !last) {
        if ((r = read_piece(reader->file, sealed, &len, &last)) == 0 &&
            (r = gcm_add(reader->gcm, sealed, len, clear)) == 0 && take != NULL)
            r = take(context, clear, len);
    }
    secret_wipe(clear, sizeof(clear));
    if (r != 0)
        return r;
    if (!read_bytes(reader->file, tag, sizeof(tag) / GROUP * GROUP, &len) || len != GCM_TAG_LEN)
        return none();
    r = gcm_end_open(reader->gcm, tag);
    return r > 0 ? none() : r;
}

int jwe_read(FILE *file, const char *pem, jwe_take take, void *context)
{
    struct jwe_reader reader = {.file = file};
    int r = read_head(&reader, pem);

    if (r == 0 && (r = pass(&reader, NULL, NULL)) == 0)
        r = pass(&reader, take, context);
    gcm_free(reader.gcm);
    return r;
}
