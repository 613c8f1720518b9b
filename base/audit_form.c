#include "base/audit_form.h"

#include "base/aes.h"
#include "base/bytes.h"
#include "base/error.h"
#include <string.h>

#define EVENT_MAGIC "CAE1"
#define LEAF_PREFIX "cradle-audit-leaf-v1"
#define CHECKPOINT_PREFIX "cradle-audit-checkpoint-v1"
#define NUMBER_LEN 8
#define LEAF_LEN                                                                                   \
    (sizeof(LEAF_PREFIX) - 1 + NUMBER_LEN + AUDIT_ID_LEN + NUMBER_LEN + MERKLE_HASH_LEN +          \
        AUDIT_SALT_LEN)

_Static_assert(
    sizeof(CHECKPOINT_PREFIX) - 1 + AUDIT_ID_LEN + 3 * NUMBER_LEN + 2 * MERKLE_HASH_LEN ==
        AUDIT_CHECKPOINT_LEN,
    "a checkpoint has these bytes and no others");

static void add_number(struct text *out, uint64_t v, unsigned n_bytes)
{
    for (unsigned i = n_bytes; i-- > 0;)
        text_add_len(out, &(const char){(char)(v >> 8 * i & 0xFF)}, 1);
}

/* Its length in front, of so many bytes. */
static bool add_field(struct text *out, const void *data, size_t len, unsigned len_bytes)
{
    if ((uint64_t)len >> 8 * len_bytes != 0)
        return false;
    add_number(out, len, len_bytes);
    text_add_len(out, data, len);
    return true;
}

static bool add_word(struct text *out, const char *text)
{
    return add_field(out, text, strlen(text), 2);
}

int audit_record_write(const struct audit_record *record, struct text *out)
{
    text_add(out, EVENT_MAGIC);
    add_number(out, (uint64_t)record->id, NUMBER_LEN);
    if (strlen(record->at) != AUDIT_TIME_LEN)
        return error_set(ERROR_INPUT, "an audit event's time has another form");
    text_add(out, record->at);
    if (!add_field(out, record->organization, record->has_organization ? AUDIT_ID_LEN : 0, 2) ||
        !add_field(out, record->client, record->has_client ? AUDIT_ID_LEN : 0, 2) ||
        !add_word(out, record->request_id) || !add_word(out, record->action) ||
        !add_word(out, record->object) ||
        !add_field(out, record->detail, strlen(record->detail), 4))
        return error_set(ERROR_INPUT, "an audit event is too long to be chained");
    return 0;
}

int audit_chain(const uint8_t before[static MERKLE_HASH_LEN], const struct audit_record *record,
    uint8_t ret[static MERKLE_HASH_LEN])
{
    CLEANUP(text_done) struct text bytes = {0};
    int r;

    text_add_len(&bytes, (const char *)before, MERKLE_HASH_LEN);
    if ((r = audit_record_write(record, &bytes)) < 0)
        return r;
    if (bytes.failed)
        return error_set(ERROR_SYSTEM, "out of memory for an audit event");
    digest_sha256(bytes.data, bytes.len, ret);
    return 0;
}

int audit_leaf(const struct audit_link *link, const uint8_t organization[static AUDIT_ID_LEN],
    uint8_t ret[static MERKLE_HASH_LEN])
{
    uint8_t entry[LEAF_LEN];
    struct bytes_writer w = bytes_writer_over(entry, sizeof(entry));

    bytes_write(&w, LEAF_PREFIX, sizeof(LEAF_PREFIX) - 1);
    bytes_write_u64_be(&w, link->seq);
    bytes_write(&w, organization, AUDIT_ID_LEN);
    bytes_write_u64_be(&w, link->organization_seq);
    bytes_write(&w, link->organization_chain, MERKLE_HASH_LEN);
    bytes_write(&w, link->salt, AUDIT_SALT_LEN);
    return merkle_leaf(entry, w.len, ret);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;

    for (size_t i = 0; i < len; i++)
        any |= bytes[i];
    return any == 0;
}

bool audit_checkpoint_valid(const struct audit_checkpoint *checkpoint)
{
    const bool of_all = is_zero(checkpoint->organization, AUDIT_ID_LEN);

    return checkpoint->seq >> MERKLE_LEVELS == 0 && checkpoint->count <= checkpoint->seq &&
           (!of_all || checkpoint->count == checkpoint->seq) &&
           (checkpoint->count == 0) == is_zero(checkpoint->chain, MERKLE_HASH_LEN);
}

void audit_checkpoint_write(
    const struct audit_checkpoint *checkpoint, uint8_t ret[static AUDIT_CHECKPOINT_LEN])
{
    struct bytes_writer w = bytes_writer_over(ret, AUDIT_CHECKPOINT_LEN);

    bytes_write(&w, CHECKPOINT_PREFIX, sizeof(CHECKPOINT_PREFIX) - 1);
    bytes_write(&w, checkpoint->organization, AUDIT_ID_LEN);
    bytes_write_u64_be(&w, checkpoint->seq);
    bytes_write_u64_be(&w, checkpoint->count);
    bytes_write_u64_be(&w, checkpoint->time);
    bytes_write(&w, checkpoint->chain, MERKLE_HASH_LEN);
    bytes_write(&w, checkpoint->root, MERKLE_HASH_LEN);
}
