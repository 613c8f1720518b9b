#include "activation/batches.h"

#include "base/hex.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

unsigned act_batch_find(struct act_call *call, size_t index, struct db_batch *ret)
{
    const char *text = act_call_param(call, index);
    uint8_t id[ACCOUNT_ID_LEN];
    int r = 1;

    if (strlen(text) == (size_t)2 * ACCOUNT_ID_LEN &&
        hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_batch_find(call->worker->db, id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || ret->organization_id != call->caller->organization_id)
        return act_call_problem(
            call, PROBLEM_NOT_FOUND, "there is no such batch, or it is not yours to see");
    return 0;
}

static void write_batch(struct text *out, const struct db_batch *b)
{
    text_add(out, "{\"id\":\"");
    text_add_hex(out, b->id, sizeof(b->id));
    text_add(out, "\",\"format\":");
    text_add_json(out, b->format);
    text_addf(out,
        ",\"created\":%" PRId64 ",\"exists\":%" PRId64 ",\"refused\":%" PRId64 ",\"job\":",
        b->created, b->exists, b->refused);
    if (b->has_job) {
        text_add(out, "\"");
        text_add_hex(out, b->job_id, sizeof(b->job_id));
        text_add(out, "\"");
    } else {
        text_add(out, "null");
    }
    text_addf(out, ",\"created_at\":\"%s\",\"finished_at\":", b->created_at);
    text_addf(out, b->finished_at[0] != '\0' ? "\"%s\"}" : "null%s}", b->finished_at);
}

static unsigned get_batches(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    uint8_t cursor[ACCOUNT_ID_LEN];
    struct db_batch *list;
    bool has_cursor;
    size_t limit, n;
    unsigned status = act_call_page(call, &limit, cursor, &has_cursor);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_batch_list(call->worker->db, call->caller->organization_id, has_cursor ? cursor : NULL,
        list, limit + 1, &n);
    if (r == 0) {
        text_add(&body, ACT_LIST_BEGIN);
        for (size_t i = 0; i < n && i < limit; i++) {
            text_add(&body, i > 0 ? "," : "");
            write_batch(&body, &list[i]);
        }
        act_list_end(&body, n > limit ? list[limit - 1].id : NULL);
    }
    free(list);
    return r < 0 ? act_call_failed(call, r) : act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned get_batch(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    struct db_batch batch;
    unsigned status = act_batch_find(call, 0, &batch);

    if (status != 0)
        return status;
    write_batch(&body, &batch);
    text_add(&body, "\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static const struct act_route routes[] = {
    {.method = API_GET, .path = "/v1/batches", .right = RIGHT_BATCHES, .work = get_batches},
    {.method = API_GET, .path = "/v1/batches/{batch}", .right = RIGHT_BATCHES, .work = get_batch},
};

const struct act_area act_area_batches = ACT_AREA(routes);
