#include "activation/moves.h"

#include "activation/home.h"
#include "activation/jobs.h"
#include "activation/move_call.h"
#include "base/error.h"
#include "base/hex.h"
#include "db/batch_view.h"
#include "db/move.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOVES_BODY_MAX 524288 /* bytes */
#define MOVE_TEXT_MAX 16
#define CREDENTIAL_TEXT_MAX 16
#define FIELD_MAX 24
#define DETAIL_MAX 240

/* What a body may say of a move, besides which devices. */
enum { SAYS_HOME = 1, SAYS_OFFER = 2, SAYS_CONFIRM = 4 };

/* Moves that go by an offer's or a code's own call are made of one device at a time. */
static const struct {
    bool of_many;
    enum act_right right;
    unsigned says;
} moves[N_DEVICE_MOVES] = {
    [MOVE_CLAIM] = {false, RIGHT_CLAIM, 0},
    [MOVE_SUSPEND] = {true, RIGHT_DEVICES_CHANGE, 0},
    [MOVE_RESUME] = {true, RIGHT_DEVICES_CHANGE, 0},
    [MOVE_RELEASE] = {true, RIGHT_DEVICES_CHANGE, 0},
    [MOVE_ROTATE_CODE] = {true, RIGHT_DEVICES_CHANGE, 0},
    [MOVE_RESET_NONCES] = {true, RIGHT_DEVICES_CHANGE, 0},
    [MOVE_BIND] = {true, RIGHT_DEVICES_CHANGE, SAYS_HOME},
    [MOVE_OFFER] = {true, RIGHT_DEVICES_CHANGE, SAYS_OFFER},
    [MOVE_ACCEPT] = {false, RIGHT_DEVICES_CHANGE, 0},
    [MOVE_DECLINE] = {false, RIGHT_DEVICES_CHANGE, 0},
    [MOVE_QUARANTINE] = {true, RIGHT_QUARANTINE, 0},
    [MOVE_LIFT] = {true, RIGHT_QUARANTINE, 0},
    [MOVE_SCRAP] = {true, RIGHT_DEVICES, SAYS_CONFIRM},
};

enum act_right act_move_right(enum device_move move)
{
    return moves[move].right;
}

struct moves_body {
    struct act_home home; /* first: its fields say so */
    char move[MOVE_TEXT_MAX + 1];
    uint8_t batch[ACCOUNT_ID_LEN];
    uint8_t to[ACCOUNT_ID_LEN];
    uint32_t days, confirm;
    char credential[CREDENTIAL_TEXT_MAX + 1];
    bool has_devices, has_batch, has_to, has_days, has_confirm, has_credential;
    size_t n_devices;
    struct eui64 devices[DB_MOVE_DEVICES_MAX];
};

#define MEMBER(member) offsetof(struct moves_body, member)
#define SIZE_OF(member) sizeof(((struct moves_body *)0)->member)
static const struct json_field fields[] = {
    ACT_HOME_FIELD(home_net_id),
    ACT_HOME_FIELD(as_id),
    {.name = "move",
        .kind = JSON_TEXT,
        .offset = MEMBER(move),
        .size = SIZE_OF(move),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "devices",
        .kind = JSON_DEVICES,
        .offset = MEMBER(devices),
        .size = sizeof(struct eui64),
        .max = DB_MOVE_DEVICES_MAX,
        .present_offset = MEMBER(has_devices),
        .len_offset = MEMBER(n_devices)},
    {.name = "batch",
        .kind = JSON_HEX,
        .offset = MEMBER(batch),
        .size = SIZE_OF(batch),
        .present_offset = MEMBER(has_batch)},
    {.name = "credential",
        .kind = JSON_TEXT,
        .offset = MEMBER(credential),
        .size = SIZE_OF(credential),
        .present_offset = MEMBER(has_credential)},
    {.name = "to",
        .kind = JSON_HEX,
        .offset = MEMBER(to),
        .size = SIZE_OF(to),
        .present_offset = MEMBER(has_to)},
    {.name = "days",
        .kind = JSON_UNSIGNED,
        .offset = MEMBER(days),
        .max = UINT16_MAX,
        .present_offset = MEMBER(has_days)},
    {.name = "confirm",
        .kind = JSON_UNSIGNED,
        .offset = MEMBER(confirm),
        .max = DB_MOVE_BATCH_MAX,
        .present_offset = MEMBER(has_confirm)},
};
_Static_assert(sizeof(struct eui64) == 8, "a list of EUIs is a list of 8 bytes each");

/* --- what is asked ---------------------------------------------------------------------------- */

struct asked {
    struct moves_body *body;
    struct mover mover;
    struct db_move_order order;
    struct db_move_devices devices;
};

static void body_freep(struct moves_body **body)
{
    free(*body);
}

/* What is said of another move than this one. NULL: nothing. */
static const char *find_stray(const struct moves_body *body, unsigned says)
{
    if ((says & SAYS_HOME) == 0 && (body->home.has_home_net_id || body->home.has_as_id))
        return body->home.has_home_net_id ? "home_net_id" : "as_id";
    if ((says & SAYS_OFFER) == 0 && (body->has_to || body->has_days))
        return body->has_to ? "to" : "days";
    return (says & SAYS_CONFIRM) == 0 && body->has_confirm ? "confirm" : NULL;
}

/* 0, or the status of the answer it set. */
static unsigned read_move(struct act_call *call, struct asked *asked)
{
    const struct moves_body *body = asked->body;
    char detail[DETAIL_MAX];
    enum device_move move;
    const char *stray;

    if (!device_move_parse(body->move, &move) || !moves[move].of_many)
        return act_call_bad_field(call, "move",
            "move is none of suspend, resume, release, rotate-code, reset-nonces, bind, offer, "
            "quarantine, lift and scrap");
    if (!act_right_allows(moves[move].right, call->caller->roles)) {
        (void)snprintf(
            detail, sizeof(detail), "this client may not %s", act_right_text(moves[move].right));
        return act_call_problem(call, PROBLEM_FORBIDDEN, detail);
    }
    if ((stray = find_stray(body, moves[move].says)) != NULL) {
        (void)snprintf(detail, sizeof(detail), "%s has no meaning for %s", stray, body->move);
        return act_call_bad_field(call, stray, detail);
    }
    asked->mover = act_move_of(call, move);
    return 0;
}

static unsigned read_home(struct act_call *call, struct asked *asked)
{
    const struct act_home *home = &asked->body->home;
    struct device_record record = {0};
    unsigned status;

    if (!home->has_home_net_id && !home->has_as_id)
        return act_call_bad_field(
            call, "home_net_id", "home_net_id and as_id are missing: null for both binds to none");
    if ((status = act_home_set(call, home, &record)) != 0)
        return status;
    asked->order.rebinds = true;
    asked->order.has_home_net_id = record.has_home_net_id;
    asked->order.home_net_id = record.home_net_id;
    memcpy(asked->order.as_id, record.as_id, sizeof(asked->order.as_id));
    return 0;
}

static unsigned read_offer(struct act_call *call, struct asked *asked)
{
    const struct moves_body *body = asked->body;

    if (!body->has_to)
        return act_call_bad_field(call, "to", "to is missing: the id of an organization");
    return act_offer_read(call, body->to, body->has_days ? &body->days : NULL, &asked->mover);
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct eui64));
}

static unsigned check_list(struct act_call *call, const struct moves_body *body)
{
    CLEANUP(cleanup_free) struct eui64 *sorted = NULL;
    char detail[DETAIL_MAX], dev_eui[EUI64_TEXT_LEN + 1];

    if (body->n_devices == 0)
        return act_call_bad_field(call, "devices", "devices is empty");
    if ((sorted = malloc(body->n_devices * sizeof(*sorted))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    memcpy(sorted, body->devices, body->n_devices * sizeof(*sorted));
    qsort(sorted, body->n_devices, sizeof(*sorted), compare);
    for (size_t i = 1; i < body->n_devices; i++) {
        if (compare(&sorted[i - 1], &sorted[i]) != 0)
            continue;
        (void)snprintf(detail, sizeof(detail), "%s stands twice in devices",
            device_id_format(&sorted[i], dev_eui));
        return act_call_bad_field(call, "devices", detail);
    }
    return 0;
}

/* Of the organization; an operator quarantines and lifts those of any. */
static unsigned find_batch(struct act_call *call, struct asked *asked)
{
    enum device_move move = asked->mover.move;
    bool any = asked->mover.is_operator && (move == MOVE_QUARANTINE || move == MOVE_LIFT);
    struct db_batch batch;
    int r = db_batch_find(call->worker->db, asked->body->batch, &batch);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || (batch.organization_id != call->caller->organization_id && !any))
        return act_call_bad_field(
            call, "batch", "batch is none that this organization has brought in");
    asked->devices.batch_id = batch.row_id;
    asked->devices.any_holder = any;
    asked->devices.has_credential = asked->body->has_credential;
    if (asked->devices.has_credential &&
        !device_credential_parse(asked->body->credential, &asked->devices.credential))
        return act_call_bad_field(call, "credential",
            "credential is none of ordered, generated, delivered, personalized, activable and "
            "scrapped");
    return 0;
}

static unsigned read_devices(struct act_call *call, struct asked *asked)
{
    const struct moves_body *body = asked->body;

    if (body->has_devices == body->has_batch)
        return act_call_bad_field(call, "devices",
            "which devices? Give devices, a list of identifiers, or batch: the one or the other");
    if (body->has_batch)
        return find_batch(call, asked);
    if (body->has_credential)
        return act_call_bad_field(call, "credential",
            "credential goes with batch: the devices of a list are named one by one");
    asked->devices.list = body->devices;
    asked->devices.n = body->n_devices;
    return check_list(call, body);
}

static unsigned read_body(struct act_call *call, struct asked *asked)
{
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), asked->body);

    if (status != 0 || (status = read_move(call, asked)) != 0 ||
        (status = read_devices(call, asked)) != 0)
        return status;
    if (asked->mover.move == MOVE_BIND && (status = read_home(call, asked)) != 0)
        return status;
    if (asked->mover.move == MOVE_OFFER && (status = read_offer(call, asked)) != 0)
        return status;
    asked->order.move = asked->mover.move;
    asked->order.as_operator = asked->mover.is_operator;
    asked->order.to_id = asked->mover.to_id;
    asked->order.lifetime_s = asked->mover.lifetime_s;
    (void)snprintf(
        asked->order.request_id, sizeof(asked->order.request_id), "%s", asked->mover.request_id);
    return 0;
}

/* --- the job ---------------------------------------------------------------------------------- */

/* There is no way back, so their number is said twice. */
static unsigned check_confirmed(
    struct act_call *call, const struct asked *asked, const struct db_job *job)
{
    char detail[DETAIL_MAX];

    if (asked->mover.move != MOVE_SCRAP ||
        (asked->body->has_confirm && asked->body->confirm == job->n_rows))
        return 0;
    (void)snprintf(detail, sizeof(detail),
        "confirm is not %" PRId64
        ", the number of these devices: their keys are destroyed for good",
        job->n_rows);
    return act_call_bad_field(call, "confirm", detail);
}

/* What becomes of each device stands in the report. */
static unsigned check_reports(struct act_call *call)
{
    int64_t kept;
    int r = db_report_kept(call->worker->db, call->caller->organization_id, &kept);

    if (r < 0)
        return act_call_failed(call, r);
    return kept < DB_REPORT_ROWS_MAX
               ? 0
               : act_call_problem(call, PROBLEM_CONFLICT, ACT_REPORTS_FULL ": " ACT_REPORTS_ADVICE);
}

static unsigned add_job(struct act_call *call, const struct asked *asked, struct db_job *ret)
{
    char detail[DETAIL_MAX];
    int r = db_move_add(call->worker->db, call->caller->organization_id, call->caller->client_id,
        &asked->order, &asked->devices, ret);

    if (r == 0)
        return check_confirmed(call, asked, ret);
    if (r == DB_MOVE_TOO_MANY_JOBS)
        (void)snprintf(detail, sizeof(detail),
            "%d jobs of this organization that move devices have not ended: wait for one, or "
            "cancel one",
            DB_MOVE_OPEN_MAX);
    else if (r == DB_MOVE_TOO_MANY_DEVICES)
        (void)snprintf(detail, sizeof(detail),
            "the batch has more than %d such devices: name them, up to %d in a call%s",
            DB_MOVE_BATCH_MAX, DB_MOVE_DEVICES_MAX,
            asked->mover.move == MOVE_SCRAP ? ", or say in which state they are (credential)" : "");
    else
        return act_call_failed(call, r);
    return act_call_problem(call, PROBLEM_CONFLICT, detail);
}

static int audit(struct act_call *call, const struct db_job *job)
{
    char id[2 * ACCOUNT_ID_LEN + 1], detail[DETAIL_MAX];

    (void)snprintf(detail, sizeof(detail), "{\"move\":\"%s\",\"devices\":%" PRId64 "}",
        device_move_text(job->move), job->n_rows);
    return act_call_audit(
        call, job->organization_id, "move.begin", hex_encode(job->id, sizeof(job->id), id), detail);
}

static unsigned post_moves(struct act_call *call)
{
    CLEANUP(body_freep) struct moves_body *body = calloc(1, sizeof(*body));
    struct asked asked = {.body = body};
    struct text answer = {0};
    struct db_job job;
    char id[2 * ACCOUNT_ID_LEN + 1];
    unsigned status;
    int r;

    if (body == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if ((status = read_body(call, &asked)) != 0 || (status = check_reports(call)) != 0 ||
        (status = add_job(call, &asked, &job)) != 0)
        return status;
    if ((r = audit(call, &job)) < 0)
        return act_call_failed(call, r);
    act_job_write(&job, &answer);
    act_call_locate(call, "/v1/jobs/%s", hex_encode(job.id, sizeof(job.id), id));
    return act_call_answer(call, 202, TYPE_JSON, &answer);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/devices/moves",
        .right = RIGHT_MOVES,
        .body_max = MOVES_BODY_MAX,
        .work = post_moves,
        .changes = true,
        .is_long = true},
};

const struct act_area act_area_moves = ACT_AREA(routes);
