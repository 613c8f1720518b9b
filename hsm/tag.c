#include "hsm/tag.h"

#include "base/bytes.h"
#include <assert.h>
#include <string.h>

#define TYPE_DEVICE_KEY 1
#define TYPE_PEER_KEK 2
#define TYPE_FINGERPRINT_KEY 3

static void write_text(struct bytes_writer *w, const char *text)
{
    bytes_write_prefixed(w, text, strlen(text));
}

static void write_number(struct bytes_writer *w, unsigned value)
{
    uint8_t byte = (uint8_t)value;

    bytes_write_prefixed(w, &byte, sizeof(byte));
}

size_t hsm_tag_input_device(const struct eui64 *dev_eui, const struct eui64 *join_eui,
    enum key_slot slot, const struct sealed_key *key, uint8_t out[static HSM_TAG_INPUT_MAX])
{
    struct bytes_writer w = bytes_writer_over(out, HSM_TAG_INPUT_MAX);

    bytes_write_u8(&w, TYPE_DEVICE_KEY);
    bytes_write_prefixed(&w, dev_eui->bytes, sizeof(dev_eui->bytes));
    bytes_write_prefixed(&w, join_eui->bytes, sizeof(join_eui->bytes));
    write_number(&w, (unsigned)slot);
    write_text(&w, key->kek_label);
    bytes_write_prefixed(&w, key->blob, key->blob_len);
    assert(!w.failed);
    return w.len;
}

size_t hsm_tag_input_kek(const struct sealed_kek *kek, uint8_t out[static HSM_TAG_INPUT_MAX])
{
    struct bytes_writer w = bytes_writer_over(out, HSM_TAG_INPUT_MAX);

    bytes_write_u8(&w, TYPE_PEER_KEK);
    write_number(&w, (unsigned)kek->peer_kind);
    write_text(&w, kek->peer_id);
    write_number(&w, (unsigned)kek->kek_class);
    write_text(&w, kek->label);
    write_text(&w, kek->key.kek_label);
    bytes_write_prefixed(&w, kek->key.blob, kek->key.blob_len);
    assert(!w.failed);
    return w.len;
}

size_t hsm_tag_input_fingerprint_key(uint8_t out[static HSM_TAG_INPUT_MAX])
{
    struct bytes_writer w = bytes_writer_over(out, HSM_TAG_INPUT_MAX);

    bytes_write_u8(&w, TYPE_FINGERPRINT_KEY);
    write_text(&w, "fingerprint");
    assert(!w.failed);
    return w.len;
}
