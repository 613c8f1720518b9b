#include "activation/delivery.h"

#include "activation/label.h"
#include "activation/worker.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/jwe.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BATCH_KEY_LINE "{\"batch_key\":\"%s\"}\n"

/* --- delivery.jwe ---------------------------------------------------------------------------- */

struct jwe_file {
    struct jwe_writer *writer;
    struct text line;
};

static int add_line(struct delivery *d, const struct delivery_record *record, void *context)
{
    struct jwe_file *file = context;

    text_clear(&file->line);
    delivery_line_write(&d->shape, record, &file->line);
    if (file->line.failed)
        return error_set(ERROR_SYSTEM, "out of memory for a delivery");
    return jwe_writer_add(file->writer, file->line.data, file->line.len, &d->piece);
}

/* What the maker finds first: what was signed, and what opens the records. */
static int add_head(struct delivery *d, struct jwe_file *file)
{
    char key[BASE64_LEN(GCM_KEY_LEN) + 1], line[sizeof(BATCH_KEY_LINE) + sizeof(key)];
    int len =
        snprintf(line, sizeof(line), BATCH_KEY_LINE, base64url_encode(d->key, sizeof(d->key), key));
    int r;

    if ((r = jwe_writer_add(
             file->writer, d->order.manifest, strlen(d->order.manifest), &d->piece)) == 0 &&
        (r = jwe_writer_add(file->writer, "\n", 1, &d->piece)) == 0)
        r = jwe_writer_add(file->writer, line, (size_t)len, &d->piece);
    secret_wipe(key, sizeof(key));
    secret_wipe(line, sizeof(line));
    return r;
}

static int begin_jwe(struct delivery *d, struct jwe_file *file)
{
    uint8_t random[2 * GCM_KEY_LEN];
    int r = keyd_random(
        d->call->worker->keyd, random, GCM_KEY_LEN, 2, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);

    if (r == 0)
        r = jwe_writer_new(
            d->order.public_key, random, random + GCM_KEY_LEN, &file->writer, &d->piece);
    secret_wipe(random, sizeof(random));
    return r;
}

int delivery_write_jwe(struct delivery *d)
{
    struct jwe_file file = {.writer = NULL};
    int r = begin_jwe(d, &file);

    if (r == 0 && (r = add_head(d, &file)) == 0 && (r = delivery_walk(d, add_line, &file)) == 0 &&
        (r = jwe_writer_end(file.writer, &d->piece)) == 0)
        r = delivery_send(d);
    jwe_writer_free(file.writer);
    text_done(&file.line);
    return r;
}

/* --- files of plain lines and records ----------------------------------------------------------
 */

static int open_record(
    struct delivery *d, const struct delivery_record *record, struct delivery_secret *ret)
{
    int r = delivery_open(d->gcm, d->order.batch, &d->shape, record, ret);

    return r > 0 ? error_set(ERROR_DB, "database: line %" PRIu32 " of a delivery does not open",
                       record->line)
                 : r;
}

static int add_id_key(struct delivery *d, const struct delivery_record *record, void *context)
{
    struct delivery_secret secret;
    int r = open_record(d, record, &secret);

    (void)context;
    if (r == 0)
        text_add_len(&d->piece, (const char *)secret.keys, delivery_keys_len(&d->shape));
    secret_wipe(&secret, sizeof(secret));
    return r;
}

int delivery_write_id_key(struct delivery *d)
{
    return delivery_walk(d, add_id_key, NULL);
}

int delivery_write_id_key_key(struct delivery *d)
{
    char text[BASE64_LEN(DB_ORDER_TEXT_MAX) + 1];

    text_add(&d->piece, base64_encode(d->order.transport_text, d->order.transport_text_len, text));
    text_add(&d->piece, "\n");
    return delivery_send(d);
}

static int add_id_pac(struct delivery *d, const struct delivery_record *record, void *context)
{
    const size_t skip = d->shape.is_sigfox ? sizeof(struct eui64) - SIGFOX_ID_LEN : 0;
    struct delivery_secret secret;
    int r = open_record(d, record, &secret);

    (void)context;
    for (size_t i = skip; r == 0 && i < sizeof(record->dev_eui.bytes); i++)
        text_addf(&d->piece, "%02X", record->dev_eui.bytes[i]);
    if (r == 0) {
        text_add(&d->piece, ";");
        text_add(&d->piece, secret.code);
        text_add(&d->piece, ";N/A\n");
    }
    secret_wipe(&secret, sizeof(secret));
    return r;
}

int delivery_write_id_pac(struct delivery *d)
{
    return delivery_walk(d, add_id_pac, NULL);
}

/* --- labels ---------------------------------------------------------------------------------- */

static int read_label(struct delivery *d, const struct delivery_record *record, struct label *ret)
{
    struct delivery_secret secret;
    int r = open_record(d, record, &secret);

    if (r == 0) {
        *ret = (struct label){.kind = d->shape.is_sigfox ? LABEL_SIGFOX : LABEL_LORAWAN,
            .dev_eui = record->dev_eui,
            .join_eui = d->shape.join_eui};
        memcpy(ret->profile_id, d->order.profile, sizeof(ret->profile_id));
        memcpy(ret->code, secret.code, sizeof(ret->code));
    }
    secret_wipe(&secret, sizeof(secret));
    return r;
}

static int add_csv(struct delivery *d, const struct delivery_record *record, void *context)
{
    struct label label;
    int r = read_label(d, record, &label);

    (void)context;
    text_reserve(&d->piece, LABEL_CSV_LINE_MAX);
    if (r == 0)
        r = label_csv_line(&label, &d->piece);
    label_wipe(&label);
    return r;
}

int delivery_write_labels_csv(struct delivery *d)
{
    text_add(&d->piece, label_csv_head());
    return delivery_walk(d, add_csv, NULL);
}

static int add_label(struct delivery *d, const struct delivery_record *record, void *context)
{
    struct label label;
    int r;

    (void)context;
    if (record->line != d->line)
        return DELIVERY_ENOUGH;
    r = read_label(d, record, &label);
    text_reserve(&d->piece, LABEL_SVG_MAX);
    if (r == 0)
        r = label_svg(&label, &d->piece);
    label_wipe(&label);
    if (r == 0)
        r = delivery_send(d);
    return r < 0 ? r : DELIVERY_ENOUGH;
}

int delivery_write_label(struct delivery *d)
{
    return delivery_walk(d, add_label, NULL);
}

static int add_to_sheet(struct delivery *d, const struct delivery_record *record, void *context)
{
    struct label_sheet *sheet = context;
    struct label label;
    int r;

    if (sheet->n == label_layout_size(sheet->layout))
        return DELIVERY_ENOUGH;
    if ((r = read_label(d, record, &label)) == 0) {
        if (sheet->n == 0) {
            text_reserve(&d->piece, LABEL_SVG_MAX);
            label_sheet_begin(sheet, sheet->layout, &d->piece);
        }
        text_reserve(&d->piece, LABEL_SVG_MAX);
        r = label_sheet_add(sheet, &label, &d->piece);
    }
    label_wipe(&label);
    return r == 0 ? delivery_send(d) : r;
}

int delivery_write_sheet(struct delivery *d)
{
    struct label_sheet sheet = {
        .layout = d->layout != NULL ? label_layout_find(d->layout) : label_layout_at(0)};
    int r = delivery_walk(d, add_to_sheet, &sheet);

    if (r < 0 || sheet.n == 0)
        return r;
    text_reserve(&d->piece, LABEL_SVG_MAX);
    label_sheet_end(&sheet, &d->piece);
    return delivery_send(d);
}
