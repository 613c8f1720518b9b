#include "hsm/frame_pieces.h"

#include <string.h>

static bool printable_label(const char *label, size_t size, bool may_be_empty)
{
    size_t len = strnlen(label, size);

    if (len == size || (len == 0 && !may_be_empty))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (label[i] < 0x20 || label[i] > 0x7E)
            return false;
    }
    return true;
}

static void write_label(struct bytes_writer *w, const char *label, size_t size)
{
    static const uint8_t zeros[KEK_LABEL_MAX + 1];
    size_t len = strnlen(label, size);

    bytes_write(w, label, len);
    bytes_write(w, zeros, size - len);
}

/* NUL-terminated, printable before, zero after: one text has one form. */
void keyd_read_label(struct bytes_reader *r, char *label, size_t size)
{
    bytes_read(r, label, size);
    if (r->failed)
        return;
    if (!printable_label(label, size, false)) {
        r->failed = true;
        return;
    }
    for (size_t i = strlen(label); i < size; i++) {
        if (label[i] != '\0')
            r->failed = true;
    }
}

unsigned keyd_read_ranged(struct bytes_reader *r, unsigned min, unsigned max)
{
    unsigned v = bytes_read_u8(r);

    if (v < min || v > max) {
        r->failed = true;
        return min;
    }
    return v;
}

uint16_t keyd_read_version(struct bytes_reader *r, unsigned min)
{
    const uint16_t v = bytes_read_u16_be(r);

    if (v < min || v > KEYED_VERSION_MAX) {
        r->failed = true;
        return (uint16_t)min;
    }
    return v;
}

void keyd_read_zeros(struct bytes_reader *r, size_t len)
{
    uint8_t piece[64];

    while (len > 0 && !r->failed) {
        const size_t n = len < sizeof(piece) ? len : sizeof(piece);

        bytes_read(r, piece, n);
        for (size_t i = 0; i < n; i++) {
            if (piece[i] != 0)
                r->failed = true;
        }
        len -= n;
    }
}

void keyd_write_zeros(struct bytes_writer *w, size_t len)
{
    static const uint8_t zeros[64];

    while (len > 0) {
        const size_t n = len < sizeof(zeros) ? len : sizeof(zeros);

        bytes_write(w, zeros, n);
        len -= n;
    }
}

void keyd_read_padded(struct bytes_reader *r, uint8_t *out, size_t len, size_t size)
{
    bytes_read(r, out, len);
    keyd_read_zeros(r, size - len);
}

void keyd_write_padded(struct bytes_writer *w, const uint8_t *data, size_t len, size_t size)
{
    bytes_write(w, data, len);
    keyd_write_zeros(w, size - len);
}

static bool blob_len_valid(unsigned len)
{
    return len == 24 || len == 32 || len == 40;
}

bool keyd_sealed_key_valid(const struct sealed_key *key)
{
    return printable_label(key->kek_label, sizeof(key->kek_label), false) &&
           blob_len_valid(key->blob_len) && key->tag_version >= 1 &&
           key->tag_version <= KEYED_VERSION_MAX;
}

static bool kek_name_valid(const struct sealed_kek *kek)
{
    return (int)kek->peer_kind >= PEER_NETWORK_SERVER && kek->peer_kind <= PEER_ORGANIZATION &&
           (int)kek->kek_class >= KEK_CLASS_NS && kek->kek_class <= KEK_CLASS_TRANSPORT &&
           printable_label(kek->peer_id, sizeof(kek->peer_id), false) &&
           printable_label(kek->label, sizeof(kek->label), false);
}

bool keyd_sealed_kek_valid(const struct sealed_kek *kek)
{
    return kek_name_valid(kek) && keyd_sealed_key_valid(&kek->key);
}

void keyd_write_sealed_key(struct bytes_writer *w, const struct sealed_key *key)
{
    if (!keyd_sealed_key_valid(key)) {
        w->failed = true;
        return;
    }
    write_label(w, key->kek_label, sizeof(key->kek_label));
    bytes_write_u8(w, key->blob_len);
    bytes_write(w, key->blob, key->blob_len);
    keyd_write_zeros(w, SEALED_BLOB_MAX - key->blob_len);
    bytes_write(w, key->tag, sizeof(key->tag));
    bytes_write_u16_be(w, key->tag_version);
}

void keyd_read_sealed_key(struct bytes_reader *r, struct sealed_key *key)
{
    *key = (struct sealed_key){0};
    keyd_read_label(r, key->kek_label, sizeof(key->kek_label));
    key->blob_len = bytes_read_u8(r);
    if (!blob_len_valid(key->blob_len)) {
        key->blob_len = 0;
        r->failed = true;
        return;
    }
    bytes_read(r, key->blob, key->blob_len);
    keyd_read_zeros(r, (size_t)(SEALED_BLOB_MAX - key->blob_len));
    bytes_read(r, key->tag, sizeof(key->tag));
    key->tag_version = keyd_read_version(r, 1);
}

void keyd_write_kek_name(struct bytes_writer *w, const struct sealed_kek *kek)
{
    if (!kek_name_valid(kek)) {
        w->failed = true;
        return;
    }
    bytes_write_u8(w, (uint8_t)kek->peer_kind);
    write_label(w, kek->peer_id, sizeof(kek->peer_id));
    bytes_write_u8(w, (uint8_t)kek->kek_class);
    write_label(w, kek->label, sizeof(kek->label));
}

void keyd_read_kek_name(struct bytes_reader *r, struct sealed_kek *kek)
{
    *kek = (struct sealed_kek){0};
    kek->peer_kind = (enum peer_kind)keyd_read_ranged(r, PEER_NETWORK_SERVER, PEER_ORGANIZATION);
    keyd_read_label(r, kek->peer_id, sizeof(kek->peer_id));
    kek->kek_class = (enum kek_class)keyd_read_ranged(r, KEK_CLASS_NS, KEK_CLASS_TRANSPORT);
    keyd_read_label(r, kek->label, sizeof(kek->label));
}

void keyd_write_status(struct bytes_writer *w, enum keyd_status status)
{
    bytes_write_u8(w, (uint8_t)status);
}

enum keyd_status keyd_read_status(struct bytes_reader *r)
{
    return (enum keyd_status)keyd_read_ranged(r, KEYD_OK, KEYD_STATUS_LAST);
}

void keyd_write_kek(struct bytes_writer *w, const struct sealed_kek *kek)
{
    keyd_write_kek_name(w, kek);
    keyd_write_sealed_key(w, &kek->key);
}

void keyd_read_kek(struct bytes_reader *r, struct sealed_kek *kek)
{
    keyd_read_kek_name(r, kek);
    keyd_read_sealed_key(r, &kek->key);
}

void keyd_write_sealed_reply(struct bytes_writer *w, enum keyd_status status,
    const struct sealed_key *sealed, const uint8_t kcv[static KEYD_KCV_LEN])
{
    keyd_write_status(w, status);
    if (status != KEYD_OK) {
        keyd_write_zeros(w, KEYD_SEALED_REPLY_LEN - 1);
        return;
    }
    keyd_write_sealed_key(w, sealed);
    bytes_write(w, kcv, KEYD_KCV_LEN);
}

enum keyd_status keyd_read_sealed_reply(
    struct bytes_reader *r, struct sealed_key *sealed, uint8_t kcv[static KEYD_KCV_LEN])
{
    enum keyd_status status = keyd_read_status(r);

    *sealed = (struct sealed_key){0};
    if (status != KEYD_OK) {
        memset(kcv, 0, KEYD_KCV_LEN);
        keyd_read_zeros(r, KEYD_SEALED_REPLY_LEN - 1);
        return status;
    }
    keyd_read_sealed_key(r, sealed);
    bytes_read(r, kcv, KEYD_KCV_LEN);
    return status;
}

bool keyd_kek_key_len_valid(unsigned len)
{
    return len == 16 || len == 24 || len == 32;
}

/* --- public keys and what is encrypted to them ------------------------------------------------ */

bool keyd_public_key_valid(const struct keyd_public_key *key, size_t modulus_max)
{
    const size_t n = key->modulus_len, e = key->exponent_len;

    if (n < KEYD_RSA_MIN || n > modulus_max || n > KEYD_RSA_MAX || e < 1 ||
        e > KEYD_RSA_EXPONENT_MAX)
        return false;
    /* One number has one form, and KEYD_RSA_MIN bytes are as many bits as they can be. */
    if (key->modulus[0] == 0 || key->exponent[0] == 0 ||
        (n == KEYD_RSA_MIN && (key->modulus[0] & 0x80) == 0))
        return false;
    /* Even numbers are no RSA key; 1 as the exponent would let everything out in clear. */
    return (key->modulus[n - 1] & 1) != 0 && (key->exponent[e - 1] & 1) != 0 &&
           (e > 1 || key->exponent[0] > 1);
}

void keyd_write_public_key(
    struct bytes_writer *w, const struct keyd_public_key *key, size_t modulus_max)
{
    if (!keyd_public_key_valid(key, modulus_max)) {
        w->failed = true;
        return;
    }
    bytes_write_u16_be(w, key->modulus_len);
    keyd_write_padded(w, key->modulus, key->modulus_len, modulus_max);
    bytes_write_u8(w, key->exponent_len);
    keyd_write_padded(w, key->exponent, key->exponent_len, KEYD_RSA_EXPONENT_MAX);
}

void keyd_read_public_key(struct bytes_reader *r, struct keyd_public_key *key, size_t modulus_max)
{
    *key = (struct keyd_public_key){.modulus_len = bytes_read_u16_be(r)};
    if (key->modulus_len > modulus_max) {
        r->failed = true;
        return;
    }
    keyd_read_padded(r, key->modulus, key->modulus_len, modulus_max);
    key->exponent_len = (uint8_t)keyd_read_ranged(r, 1, KEYD_RSA_EXPONENT_MAX);
    keyd_read_padded(r, key->exponent, key->exponent_len, KEYD_RSA_EXPONENT_MAX);
    if (!keyd_public_key_valid(key, modulus_max))
        r->failed = true;
}

static bool rsa_text_len_valid(size_t len, size_t modulus_max)
{
    return len == 0 || (len >= KEYD_RSA_MIN && len <= modulus_max);
}

void keyd_write_rsa_text(
    struct bytes_writer *w, const uint8_t *text, uint16_t len, size_t modulus_max)
{
    if (!rsa_text_len_valid(len, modulus_max)) {
        w->failed = true;
        return;
    }
    bytes_write_u16_be(w, len);
    keyd_write_padded(w, text, len, modulus_max);
}

uint16_t keyd_read_rsa_text(struct bytes_reader *r, uint8_t *text, size_t modulus_max)
{
    const uint16_t len = bytes_read_u16_be(r);

    memset(text, 0, modulus_max);
    if (!rsa_text_len_valid(len, modulus_max)) {
        r->failed = true;
        return 0;
    }
    keyd_read_padded(r, text, len, modulus_max);
    return len;
}
