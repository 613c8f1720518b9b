/* /v1/batches/{batch}/files: what a maker fetches of an order, who has fetched it, and its end. */
#include "activation/delivery.h"

#include "activation/batches.h"
#include "activation/code_hash.h"
#include "activation/label.h"
#include "activation/worker.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DETAIL_MAX 160
#define LINE_LAST 1000000 /* of an order */
#define TYPE_BYTES "application/octet-stream"
/* Room for a chunk of the longest lines, sealed: what a secret is written into is not moved. */
#define PIECE_MAX ((size_t)1 << 19)

static const char no_files[] = "there is no such order, or it is not yours to have";
static const char weak[] =
    "nothing protects the records of this file against being changed or swapped, and equal blocks "
    "look equal: use delivery.jwe wherever a bench can read it";

static const struct file {
    const char *name, *type;
    bool of_jwe, of_legacy; /* deliveries that it is of */
    bool holds_keys;
    const char *line;    /* of one in parts, what the query calls the first line; else NULL */
    const char *warning; /* NULL: none */
    int (*write)(struct delivery *d);
} files[] = {
    {"delivery.jwe", TYPE_JOSE, true, false, true, NULL, NULL, delivery_write_jwe},
    {"id_key.bin", TYPE_BYTES, false, true, true, NULL, weak, delivery_write_id_key},
    {"id_key.key", TYPE_TEXT, false, true, true, NULL, NULL, delivery_write_id_key_key},
    {"id_pac.txt", TYPE_TEXT, true, true, false, NULL, NULL, delivery_write_id_pac},
    {"labels.csv", LABEL_CSV_TYPE, true, true, false, NULL, NULL, delivery_write_labels_csv},
    {"labels.svg", LABEL_SVG_TYPE, true, true, false, "line", NULL, delivery_write_label},
    {"sheet.svg", LABEL_SVG_TYPE, true, true, false, "from", NULL, delivery_write_sheet},
};
#define N_FILES (sizeof(files) / sizeof(files[0]))

static bool is_of(const struct file *file, const struct db_order_files *order)
{
    return order->is_legacy ? file->of_legacy : file->of_jwe;
}

/* --- records --------------------------------------------------------------------------------- */

int delivery_send(struct delivery *d)
{
    int r = d->piece.len > 0 || d->piece.failed ? act_call_piece(d->call, d->type, &d->piece) : 0;

    text_clear(&d->piece);
    return r;
}

int delivery_walk(struct delivery *d, delivery_take take, void *context)
{
    const size_t record_len = delivery_record_len(&d->shape);
    struct db *db = d->call->worker->db;
    struct db_order_files now;
    size_t len;
    int64_t line = d->line;
    int r = db_order_file_at(db, d->batch_id, &line, d->bytes, &len);

    while (r == 0) {
        int taken = 0;

        for (size_t at = 0; taken == 0 && at + record_len <= len; at += record_len) {
            struct delivery_record record;

            delivery_record_read(&d->shape, d->bytes + at, &record);
            line = record.line;
            if (line >= d->line)
                taken = take(d, &record, context);
        }
        if (taken != 0)
            return taken < 0 ? taken : 0;
        if ((r = delivery_send(d)) == 0)
            r = db_order_file_read(db, d->batch_id, &line, d->bytes, &len);
    }
    if (r < 0)
        return r;
    /* What is deleted meanwhile ends like this, too. */
    if ((r = db_order_files(d->call->worker->db, d->batch_id, &now)) == 0 && now.are_gone)
        r = error_set(ERROR_DB, "the files were deleted meanwhile");
    return r;
}

static int open_delivery(struct delivery *d)
{
    int r = act_delivery_key(d->call->worker, d->order.batch, d->order.code_key, d->key);

    if (r < 0 || (r = gcm_new(d->key, &d->gcm)) < 0)
        return r;
    text_reserve(&d->piece, PIECE_MAX);
    if ((d->bytes = malloc(DB_ORDER_PART_MAX)) == NULL || d->piece.failed)
        return error_set(ERROR_SYSTEM, "out of memory for a file");
    return 0;
}

static void close_delivery(struct delivery *d)
{
    gcm_free(d->gcm);
    free(d->bytes);
    if (d->piece.data != NULL)
        secret_wipe(d->piece.data, d->piece.capacity);
    text_done(&d->piece);
    secret_wipe(d->key, sizeof(d->key));
}

/* --- calls ----------------------------------------------------------------------------------- */

/* 0, or the status of the answer it set. */
static unsigned find(struct act_call *call, int64_t *ret_batch_id, struct db_order_files *ret)
{
    struct db_batch batch;
    unsigned status = act_batch_find(call, 0, &batch);
    int r;

    if (status != 0)
        return status;
    *ret_batch_id = batch.row_id;
    r = db_order_files(call->worker->db, batch.row_id, ret);
    return r < 0   ? act_call_failed(call, r)
           : r > 0 ? act_call_problem(call, PROBLEM_NOT_FOUND, no_files)
                   : 0;
}

static unsigned find_ready(struct act_call *call, int64_t *ret_batch_id, struct db_order_files *ret)
{
    unsigned status = find(call, ret_batch_id, ret);

    if (status != 0)
        return status;
    if (!ret->is_ready && ret->are_gone)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "the order was cancelled or has failed: it has no files");
    if (!ret->is_ready)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "the order is not ready: its files are there when all of its credentials are made");
    if (ret->are_gone)
        return act_call_problem(call, PROBLEM_GONE,
            "the files of this order were deleted: what they held is nowhere else");
    return 0;
}

static int audit(struct act_call *call, const char *action, const char *detail)
{
    return act_call_audit(
        call, call->caller->organization_id, action, act_call_param(call, 0), detail);
}

/* Before the first byte leaves. Outcome 1: the files are gone. */
static int take(const struct delivery *d, const struct file *file)
{
    struct act_call *call = d->call;
    struct db *db = call->worker->db;
    char detail[DETAIL_MAX], name[DB_ORDER_FILE_NAME_MAX + 1];
    int64_t times = 0;
    int r = db_begin(db);

    (void)snprintf(name, sizeof(name), "%s", file->name);
    if (file->line != NULL)
        (void)snprintf(name, sizeof(name), "%s?%s=%" PRId64, file->name, file->line, d->line);
    if (r == 0)
        r = db_order_file_take(db, d->batch_id, name, file->holds_keys, call->caller->client_id,
            api_request_id(call->request), &times);
    if (r == 0) {
        (void)snprintf(
            detail, sizeof(detail), "{\"file\":\"%s\",\"times\":%" PRId64 "}", name, times);
        r = audit(call, "delivery.download", detail);
    }
    if (r != 0) {
        db_rollback(db);
        return r;
    }
    return db_commit(db);
}

static int send_file(struct delivery *d, const struct file *file)
{
    int r = open_delivery(d);

    if (r == 0 && (r = take(d, file)) == 0) {
        act_call_header(d->call, "Cache-Control", "no-store");
        d->type = file->type;
        r = file->write(d);
    }
    close_delivery(d);
    return r;
}

/* 0, or the status of the answer it set. */
static unsigned read_query(struct act_call *call, const struct file *file, struct delivery *d)
{
    const char *const known[] = {file->line, "layout"};
    const size_t n_known = file->write == delivery_write_sheet ? 2 : file->line != NULL ? 1 : 0;
    const char *text = file->line != NULL ? api_request_query(call->request, file->line) : NULL;
    char *end = NULL;

    if (api_request_unknown_query(call->request, known, n_known) != NULL)
        return act_call_problem(
            call, PROBLEM_BAD_REQUEST, "the query names something that this file does not have");
    d->line = text != NULL ? strtoll(text, &end, 10) : 1;
    if (text != NULL &&
        (*text < '0' || *text > '9' || *end != '\0' || d->line < 1 || d->line > LINE_LAST))
        return act_call_bad_field(call, file->line, "a line is a number from 1 on");
    d->layout = n_known == 2 ? api_request_query(call->request, "layout") : NULL;
    if (d->layout != NULL && label_layout_find(d->layout) == NULL)
        return act_call_bad_field(
            call, "layout", "there is no such page of labels: see docs/makers.md");
    return 0;
}

static unsigned get_file(struct act_call *call)
{
    const char *name = act_call_param(call, 1);
    struct delivery d = {.call = call};
    unsigned status = find_ready(call, &d.batch_id, &d.order);
    size_t i = 0;
    int r;

    if (status != 0)
        return status;
    while (i < N_FILES && (strcmp(files[i].name, name) != 0 || !is_of(&files[i], &d.order)))
        i++;
    if (i == N_FILES)
        return act_call_problem(call, PROBLEM_NOT_FOUND, "the order has no file of this name");
    if ((status = read_query(call, &files[i], &d)) != 0)
        return status;
    d.shape = (struct delivery_shape){.is_sigfox = d.order.is_sigfox,
        .has_nwk = !d.order.is_sigfox && d.order.mac_version == LW_MAC_1_1,
        .is_legacy = d.order.is_legacy,
        .join_eui = d.order.join_eui,
        .mac_version = d.order.mac_version};
    r = send_file(&d, &files[i]);
    if (r > 0)
        return act_call_problem(call, PROBLEM_GONE, "the files of this order were deleted");
    if (r < 0 && !call->in_pieces)
        return act_call_failed(call, r);
    if (r == 0 && !call->in_pieces && files[i].line != NULL)
        return act_call_problem(call, PROBLEM_NOT_FOUND, "the order has no such line");
    if (r == 0 && !call->in_pieces) /* an order of which nothing could be made */
        r = act_call_piece(call, files[i].type, &(struct text){0});
    if (r < 0)
        log_warn("request=%s a file broke off: %s", api_request_id(call->request), error_text());
    call->broken_off = r < 0;
    return call->status;
}

static void add_time(struct text *out, const char *member, const char *time)
{
    text_addf(out, ",\"%s\":", member);
    if (time[0] != '\0')
        text_add_json(out, time);
    else
        text_add(out, "null");
}

static void write_file(
    struct text *out, const struct file *file, const struct db_order_taken *taken)
{
    text_addf(out, "{\"name\":\"%s\",\"holds_keys\":%s,\"times\":%" PRId64, file->name,
        file->holds_keys ? "true" : "false", taken != NULL ? taken->times : 0);
    add_time(out, "first_at", taken != NULL ? taken->first_at : "");
    add_time(out, "last_at", taken != NULL ? taken->last_at : "");
    add_time(out, "warning", file->warning != NULL ? file->warning : "");
    text_add(out, "}");
}

static unsigned get_files(struct act_call *call)
{
    struct db_order_taken taken[DB_ORDER_FILES_LISTED_MAX];
    struct db_order_files order;
    struct text body = {0};
    int64_t batch_id;
    const char *before = "";
    size_t n = 0;
    unsigned status = find(call, &batch_id, &order);
    int r;

    if (status != 0)
        return status;
    if ((r = db_order_file_list(call->worker->db, batch_id, taken, &n)) < 0)
        return act_call_failed(call, r);
    text_addf(&body, "{\"ready\":%s,\"items\":[", order.is_ready ? "true" : "false");
    for (size_t i = 0; i < N_FILES; i++) {
        const struct db_order_taken *found = NULL;

        if (!order.is_ready || !is_of(&files[i], &order))
            continue;
        for (size_t k = 0; k < n; k++)
            if (strcmp(taken[k].name, files[i].name) == 0)
                found = &taken[k];
        text_add(&body, before);
        write_file(&body, &files[i], found);
        before = ",";
    }
    text_add(&body, "]");
    add_time(&body, "until", order.until);
    add_time(&body, "deleted_at", order.deleted_at);
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned delete_files(struct act_call *call)
{
    struct db_order_files order;
    int64_t batch_id;
    unsigned status = find_ready(call, &batch_id, &order);
    int r;

    if (status != 0)
        return status;
    if ((r = db_order_file_discard(call->worker->db, batch_id)) > 0)
        return act_call_problem(call, PROBLEM_GONE, "the files of this order were deleted");
    if (r == 0)
        r = audit(call, "delivery.delete", NULL);
    return r < 0 ? act_call_failed(call, r) : act_call_no_content(call);
}

static const struct act_route routes[] = {
    {.method = API_GET,
        .path = "/v1/batches/{batch}/files",
        .right = RIGHT_FILES,
        .work = get_files},
    {.method = API_DELETE,
        .path = "/v1/batches/{batch}/files",
        .right = RIGHT_FILES,
        .work = delete_files,
        .changes = true},
    {.method = API_GET,
        .path = "/v1/batches/{batch}/files/{name}",
        .right = RIGHT_FILES,
        .work = get_file,
        .is_long = true,
        .streams = STREAMS_ANSWER},
};

const struct act_area act_area_delivery = ACT_AREA(routes);
