#include "activation/export_line.h"

#include "device/nonce.h"
#include <ctype.h>
#include <string.h>

#define PAGE_NONCES (8u * DB_EXPORT_PAGE_BYTES)

/* --- Cradle's own: a JSON object a line, its members named as the columns of an import
 * ------------ */

static void add_member(struct text *out, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    text_addf(out, ",\"%s\":", name);
    text_add_json(out, value);
}

static bool is_used(const struct db_export_nonces *page, uint32_t bit)
{
    return bit < PAGE_NONCES && (page->bits[bit / 8] >> (bit % 8) & 1) != 0;
}

/* "1 7 100-250"; a range ends with its page. */
static void add_used_nonces(struct text *out, const struct export_line *line)
{
    const char *before = ",\"used_dev_nonces\":\"";

    for (size_t i = 0; i < line->n_pages; i++) {
        const struct db_export_nonces *page = &line->pages[i];
        uint32_t base = page->page * PAGE_NONCES;

        for (uint32_t bit = 0; bit < PAGE_NONCES; bit++) {
            uint32_t first = bit;

            if (!is_used(page, bit))
                continue;
            while (is_used(page, bit + 1))
                bit++;
            text_addf(out, "%s%u", before, base + first);
            if (bit > first)
                text_addf(out, "-%u", base + bit);
            before = " ";
        }
    }
    if (before[0] == ' ')
        text_add(out, "\"");
}

static void add_counted(struct text *out, const struct export_line *line)
{
    const struct db_export_row *row = line->row;

    text_addf(out, ",\"join_nonce\":%u", row->join_nonce);
    if (!device_nonce_is_counted(row->record.mac_version))
        add_used_nonces(out, line);
    else if (row->last_dev_nonce != DEVICE_NO_NONCE)
        text_addf(out, ",\"dev_nonce\":%d", row->last_dev_nonce);
}

static void write_cradle(const struct export_line *line, struct text *out)
{
    const struct db_export_row *row = line->row;
    const struct device_record *record = &row->record;
    char dev_eui[DEVICE_ID_TEXT_LEN + 1], join_eui[EUI64_TEXT_LEN + 1];
    char net_id[NET_ID_TEXT_LEN + 1];
    bool joins = device_kind_of(&record->dev_eui) == DEVICE_LORAWAN;

    text_addf(out, "{\"dev_eui\":\"%s\"", device_id_format(&record->dev_eui, dev_eui));
    add_member(out, "join_eui", joins ? eui64_format(&record->join_eui, join_eui) : "");
    add_member(out, "mac_version", joins ? lw_mac_version_text(record->mac_version) : "");
    add_member(out, "app_key_sealed", line->app_key != NULL ? line->app_key : "");
    add_member(out, "nwk_key_sealed", line->nwk_key != NULL ? line->nwk_key : "");
    if (joins)
        add_counted(out, line);
    if (record->has_home_net_id && record->as_id[0] != '\0') {
        add_member(out, "home_net_id", net_id_format(&record->home_net_id, net_id));
        add_member(out, "as_id", record->as_id);
    }
    add_member(out, "serial", row->serial);
    add_member(out, "name", row->name);
    if (record->credential == CREDENTIAL_PERSONALIZED || record->credential == CREDENTIAL_ACTIVABLE)
        add_member(out, "state", device_credential_text(record->credential));
    text_add(out, "}\n");
}

/* --- CSV, quoted as RFC 4180 has it where need be ------------------------------------------------
 */

static void add_field(struct text *out, const char *value, const char *delimiter)
{
    bool quoted = value[strcspn(value, "\"\r\n;,")] != '\0';

    text_add(out, delimiter);
    text_add(out, quoted ? "\"" : "");
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '"')
            text_add(out, "\"");
        text_add_len(out, c, 1);
    }
    text_add(out, quoted ? "\"" : "");
}

static const char *upper(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    return text;
}

/* "MAC_V1_0_3"; the first version has two numbers there. */
static void add_tts_version(struct text *out, enum lw_mac_version version)
{
    const char *name = version == LW_MAC_1_0_0 ? "1.0" : lw_mac_version_text(version);

    text_add(out, ";MAC_V");
    for (const char *c = name; *c != '\0'; c++)
        text_add_len(out, *c == '.' ? "_" : c, 1);
}

static void write_tts(const struct export_line *line, struct text *out)
{
    char dev_eui[EUI64_TEXT_LEN + 1], join_eui[EUI64_TEXT_LEN + 1];

    (void)eui64_format(&line->row->record.dev_eui, dev_eui);
    (void)eui64_format(&line->row->record.join_eui, join_eui);
    text_addf(out, "eui-%s", dev_eui);
    add_field(out, upper(dev_eui), ";");
    add_field(out, upper(join_eui), ";");
    add_field(out, line->row->name, ";");
    add_tts_version(out, line->row->record.mac_version);
    text_add(out, "\n");
}

/* A directive, B DevEUI, C DevAddr, D model, E JoinEUI, F AppKey, G to J the network's own, K name.
 * A key is forbidden there while the join server is another's. */
static void write_thingpark(const struct export_line *line, struct text *out)
{
    char dev_eui[EUI64_TEXT_LEN + 1], join_eui[EUI64_TEXT_LEN + 1];

    (void)eui64_format(&line->row->record.dev_eui, dev_eui);
    (void)eui64_format(&line->row->record.join_eui, join_eui);
    text_add(out, "CREATE_OTAA");
    add_field(out, upper(dev_eui), ",");
    add_field(out, line->model, ",,");
    add_field(out, upper(join_eui), ",");
    add_field(out, line->row->name, ",,,,,,");
    text_add(out, "\n");
}

static const struct {
    const char *head, *content_type;
    void (*write)(const struct export_line *line, struct text *out);
} formats[] = {
    [EXPORT_CRADLE_JSONL] = {"", "application/x-ndjson", write_cradle},
    [EXPORT_TTS_CSV] = {"id;dev_eui;join_eui;name;lorawan_version\n", "text/csv; charset=utf-8",
        write_tts},
    [EXPORT_THINGPARK_CSV] = {"", "text/csv; charset=utf-8", write_thingpark},
};

const char *export_line_head(enum db_export_format format)
{
    return formats[format].head;
}

const char *export_line_content_type(enum db_export_format format)
{
    return formats[format].content_type;
}

void export_line_write(
    enum db_export_format format, const struct export_line *line, struct text *out)
{
    formats[format].write(line, out);
}
