#include "base/audit_line.h"

#include <inttypes.h>
#include <string.h>

static void add_hex(struct text *out, const char *name, const void *bytes, size_t len)
{
    text_addf(out, ",\"%s\":\"", name);
    text_add_hex(out, bytes, len);
    text_add(out, "\"");
}

static void add_id(struct text *out, const char *name, const uint8_t *id)
{
    if (id != NULL)
        add_hex(out, name, id, AUDIT_ID_LEN);
    else
        text_addf(out, ",\"%s\":null", name);
}

static void add_text(struct text *out, const char *name, const char *value)
{
    text_addf(out, ",\"%s\":", name);
    text_add_json(out, value);
}

void audit_line_write(const struct audit_line *line, struct text *out)
{
    const struct audit_record *record = line->record;
    const struct audit_link *link = line->link;

    text_addf(out, "{\"seq\":%" PRIu64 ",\"organization_seq\":%" PRIu64 ",\"id\":%" PRId64,
        link->seq, link->organization_seq, record->id);
    add_text(out, "at", record->at);
    add_id(out, "organization", record->has_organization ? record->organization : NULL);
    add_id(out, "client_id", record->has_client ? record->client : NULL);
    add_text(out, "request_id", record->request_id);
    add_text(out, "action", record->action);
    add_text(out, "object", record->object);
    add_text(out, "detail", record->detail);
    add_hex(out, "salt", link->salt, sizeof(link->salt));
    add_hex(out, "organization_chain", link->organization_chain, sizeof(link->organization_chain));
    if (line->of_all)
        add_hex(out, "chain", link->chain, sizeof(link->chain));
    add_hex(out, "hash", line->leaf, MERKLE_HASH_LEN);
    text_add(out, ",\"proof\":[");
    for (size_t i = 0; i < line->n_path; i++) {
        text_add(out, i > 0 ? ",\"" : "\"");
        text_add_hex(out, line->path[i], MERKLE_HASH_LEN);
        text_add(out, "\"");
    }
    text_add(out, "]}\n");
}

void audit_checkpoint_line_write(const struct audit_checkpoint *checkpoint,
    const uint8_t signature[static AUDIT_SIGNATURE_LEN], struct text *out)
{
    static const uint8_t nobody[AUDIT_ID_LEN];
    const bool of_all = memcmp(checkpoint->organization, nobody, sizeof(nobody)) == 0;

    text_addf(out, "{\"checkpoint\":{\"seq\":%" PRIu64 ",\"count\":%" PRIu64 ",\"time\":%" PRIu64,
        checkpoint->seq, checkpoint->count, checkpoint->time);
    add_id(out, "organization", of_all ? NULL : checkpoint->organization);
    add_hex(out, "chain", checkpoint->chain, sizeof(checkpoint->chain));
    add_hex(out, "root", checkpoint->root, sizeof(checkpoint->root));
    add_hex(out, "signature", signature, AUDIT_SIGNATURE_LEN);
    text_add(out, "}}\n");
}
