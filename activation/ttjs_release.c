/* DELETE /api/v2/devices/{dev_eui}/claim and .../{dev_eui,dev_eui,...}/claims: the release of
 * device/moves.h, of one device or of a list, each of which succeeds or fails by itself.
 *
 * The answer has the only copy of the new code, and may be lost: on its way, or where it was not
 * sent because what was committed is on no standby yet. So the same release again, by the same
 * client, makes its code anew; within a day, and no more once anybody has the device or has made it
 * another code. */
#include "activation/claim_run.h"
#include "activation/code_hash.h"
#include "activation/devices.h"
#include "activation/ttjs.h"
#include "base/aes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include "device/moves.h"
#include <stdio.h>
#include <string.h>

#define TURNS_MAX 4 /* of what changes under our hands */
#define N_MAX DB_TTJS_RELEASE_MAX

struct release {
    struct eui64 dev_eui;
    enum problem problem; /* of one that is not done: with its fault */
    char fault[DEVICE_MOVE_FAULT_MAX];
    bool done;
    char code[DEVICE_CODE_MADE_MAX + 1];
};

/* Of act_claim_room: it holds codes. */
struct releases {
    struct act_call *call;
    struct db_claimant who;
    struct release all[N_MAX];
    size_t n;
    /* Of one turn: what is still to be done, releases before what was released before. */
    struct release *due[N_MAX];
    struct db_ttjs_claim before[N_MAX];
    struct device_record after[N_MAX];
    struct keyd_claim_code clear[N_MAX];
    struct db_code codes[N_MAX];
    size_t n_due, n_fresh; /* all, and the releases */
};
_Static_assert(N_MAX <= KEYD_BATCH_MAX, "they are one message to keyd");

static void releases_freep(struct releases **releases)
{
    secret_free(*releases);
}

static void fail(struct release *release, enum problem problem, const char *fault)
{
    release->problem = problem;
    (void)snprintf(release->fault, sizeof(release->fault), "%s", fault);
}

/* Those that are not done, and what the database has of them. */
static int load(struct releases *all, struct release *ret[N_MAX], struct db_ttjs_claim *claims)
{
    struct act_call *call = all->call;
    struct eui64 dev_euis[N_MAX] = {0};
    bool all_here = true;
    size_t n = 0;
    int r;

    for (size_t i = 0; i < all->n; i++) {
        if (all->all[i].done)
            continue;
        dev_euis[n] = all->all[i].dev_eui;
        ret[n++] = &all->all[i];
    }
    r = db_ttjs_load(call->worker->db, call->caller->organization_id, dev_euis, n, claims);
    for (size_t i = 0; i < n; i++)
        all_here = all_here && claims[i].is_here;
    if (r == 0 && !all_here)
        r = db_ttjs_load_released(call->worker->db, &all->who, claims, n);
    return r < 0 ? r : (int)n;
}

/* Whether it may be done, in this turn, as far as was seen. */
static bool judge(
    const struct act_call *call, const struct db_ttjs_claim *claim, struct release *release)
{
    char fault[DEVICE_MOVE_FAULT_MAX];

    if (!claim->is_here && !claim->is_released)
        fail(release, PROBLEM_NOT_FOUND, TTJS_NO_CLAIM);
    else if (claim->is_here && (!ttjs_is_own(call, claim) || !claim->is_claimed_here))
        fail(release, PROBLEM_FORBIDDEN, TTJS_OTHER_AS);
    else if (claim->is_here && !device_move_judge(MOVE_RELEASE, &claim->record, fault))
        fail(release, PROBLEM_CONFLICT, fault);
    else {
        fail(release, PROBLEM_CONFLICT, ACT_DEVICE_CHANGED);
        return true;
    }
    return false;
}

/* Looks at those that are not done, and finds out which may be. */
static int look(struct releases *all)
{
    struct db_ttjs_claim claims[N_MAX];
    struct release *left[N_MAX];
    int n = load(all, left, claims);

    if (n < 0)
        return n;
    all->n_due = all->n_fresh = 0;
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < n; i++) {
            if (claims[i].is_released != (again != 0) || !judge(all->call, &claims[i], left[i]))
                continue;
            all->due[all->n_due] = left[i];
            all->before[all->n_due++] = claims[i];
        }
        if (!again)
            all->n_fresh = all->n_due;
    }
    return 0;
}

static int make_codes(struct releases *all)
{
    struct act_worker *worker = all->call->worker;
    uint8_t random[N_MAX][DEVICE_CODE_RANDOM_LEN];
    int r = keyd_random(worker->keyd, random[0], sizeof(random[0]), all->n_due,
        clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);

    for (size_t i = 0; r == 0 && i < all->n_due; i++) {
        struct keyd_claim_code *clear = &all->clear[i];

        device_code_make(random[i], all->call->caller->claim_code_length, all->due[i]->code);
        clear->dev_eui = all->due[i]->dev_eui;
        clear->generation = all->before[i].generation + 1;
        clear->code_len = (uint8_t)strlen(all->due[i]->code);
        memcpy(clear->code, all->due[i]->code, clear->code_len);
        if (i >= all->n_fresh)
            continue;
        all->after[i] = all->before[i].record;
        device_move_make(MOVE_RELEASE, &all->after[i]);
    }
    secret_wipe(random, sizeof(random));
    if (r == 0)
        r = act_code_hash(worker, all->clear, all->n_due, all->codes);
    secret_wipe(all->clear, sizeof(all->clear));
    return r;
}

/* Only the database knows what became of a commit whose connection broke, and what it has of the
 * call tells it of the first turn alone. */
static int commit(struct act_call *call, bool is_first)
{
    bool committed = false;
    int r = db_commit(call->worker->db);

    if (r != ERROR_DB_UNKNOWN || !is_first)
        return r;
    log_warn("request=%s the result of a release's commit is unknown: %s",
        api_request_id(call->request), error_text());
    db_drop(call->worker->db);
    r = db_audit_has(call->worker->db, api_request_id(call->request), &committed);
    return r < 0 || committed ? r : error_set(ERROR_DB, "database: the commit did not happen");
}

static int settle(struct releases *all, bool is_first)
{
    struct act_call *call = all->call;
    struct db *db = call->worker->db;
    bool done[N_MAX] = {false};
    int r = db_begin(db);

    if (r == 0 && all->n_fresh > 0)
        r = db_ttjs_release(db, &all->who, call->caller->as_id, all->before, all->after, all->codes,
            all->n_fresh, done);
    if (r == 0 && all->n_due > all->n_fresh)
        r = db_ttjs_reissue(db, &all->who, call->caller->as_id, &all->codes[all->n_fresh],
            all->n_due - all->n_fresh, &done[all->n_fresh]);
    if (r != 0) {
        db_rollback(db);
        return r < 0 ? r : 0;
    }
    r = commit(call, is_first);
    for (size_t i = 0; r == 0 && i < all->n_due; i++)
        all->due[i]->done = done[i];
    return r;
}

static bool all_due_done(const struct releases *all)
{
    for (size_t i = 0; i < all->n_due; i++)
        if (!all->due[i]->done)
            return false;
    return true;
}

static int run(struct releases *all)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        int r = look(all);

        if (r < 0 || all->n_due == 0 || (r = make_codes(all)) < 0 || (r = settle(all, i == 0)) < 0)
            return r;
        if (all_due_done(all))
            break;
    }
    return 0;
}

/* All releases of one client have the same name: one that is made again is known by it. */
static void name_releases(const struct act_call *call, uint8_t ret[static DB_CODE_CALL_LEN])
{
    char id[2 * ACCOUNT_ID_LEN + 1], name[sizeof(id) + 16];
    int len = snprintf(name, sizeof(name), "%s|ttjs release",
        hex_encode(call->caller->client_id, ACCOUNT_ID_LEN, id));

    digest_sha256(name, (size_t)len, ret);
}

static void set_who(struct releases *all, struct act_call *call)
{
    all->call = call;
    all->who.organization_id = call->caller->organization_id;
    memcpy(all->who.client_id, call->caller->client_id, sizeof(all->who.client_id));
    all->who.request_id = api_request_id(call->request);
    name_releases(call, all->who.call);
}

static struct releases *begin(struct act_call *call)
{
    struct releases *all = act_claim_room(sizeof(*all));

    if (all == NULL)
        (void)act_call_problem(call, PROBLEM_INTERNAL, NULL);
    else
        set_who(all, call);
    return all;
}

static void write_token(struct text *out, const struct release *release)
{
    text_addf(out, "{\"ownerToken\":\"%s\"}", release->code);
}

unsigned ttjs_delete_claim(struct act_call *call)
{
    CLEANUP(releases_freep) struct releases *all = begin(call);
    const char *text = act_call_param(call, 0);
    struct text body = {0};
    unsigned status;
    int r;

    if (all == NULL)
        return call->status;
    if ((status = ttjs_no_query(call)) != 0)
        return status;
    if (!ttjs_read_dev_eui(text, strlen(text), &all->all[0].dev_eui))
        return act_call_problem(call, PROBLEM_BAD_REQUEST, TTJS_BAD_EUI);
    all->n = 1;
    if ((r = run(all)) < 0)
        return act_call_failed(call, r);
    if (!all->all[0].done)
        return act_call_problem(call, all->all[0].problem, all->all[0].fault);
    text_reserve(&body, 64); /* and nowhere else is a copy of the code */
    write_token(&body, &all->all[0]);
    text_add(&body, "\n");
    call->shown_once = true;
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* --- a list ----------------------------------------------------------------------------------- */

static bool has(const struct releases *all, const struct eui64 *dev_eui)
{
    for (size_t i = 0; i < all->n; i++)
        if (eui64_to_u64(&all->all[i].dev_eui) == eui64_to_u64(dev_eui))
            return true;
    return false;
}

/* 0, or the status of the answer it set. One that stands twice is one. */
static unsigned read_list(struct act_call *call, struct releases *all)
{
    const char *at = act_call_param(call, 0);

    for (;;) {
        size_t len = strcspn(at, ",");
        struct eui64 dev_eui;

        if (!ttjs_read_dev_eui(at, len, &dev_eui))
            return act_call_problem(call, PROBLEM_BAD_REQUEST, TTJS_BAD_EUI);
        if (!has(all, &dev_eui)) {
            if (all->n == N_MAX)
                return act_call_problem(
                    call, PROBLEM_BAD_REQUEST, "at most 20 devices are released at once");
            all->all[all->n++].dev_eui = dev_eui;
        }
        if (at[len] == '\0')
            return 0;
        at += len + 1;
    }
}
_Static_assert(N_MAX == 20, "the sentence says another number");

/* What failed, or else the new codes. */
static void write_list(struct text *out, const struct releases *all, bool failures)
{
    const char *comma = "{";
    char dev_eui[EUI64_TEXT_LEN + 1];

    for (size_t i = 0; i < all->n; i++) {
        if (all->all[i].done == failures)
            continue;
        text_addf(out, "%s\"%s\":", comma, eui64_format(&all->all[i].dev_eui, dev_eui));
        if (failures)
            api_problem_message(out, all->all[i].problem, all->all[i].fault);
        else
            write_token(out, &all->all[i]);
        comma = ",";
    }
    text_add(out, "}\n");
}

unsigned ttjs_delete_claims(struct act_call *call)
{
    CLEANUP(releases_freep) struct releases *all = begin(call);
    struct text body = {0};
    size_t n_done = 0;
    unsigned status;
    int r;

    if (all == NULL)
        return call->status;
    if ((status = ttjs_no_query(call)) != 0 || (status = read_list(call, all)) != 0)
        return status;
    if ((r = run(all)) < 0)
        return act_call_failed(call, r);
    for (size_t i = 0; i < all->n; i++)
        n_done += all->all[i].done;
    text_reserve(&body, N_MAX * (EUI64_TEXT_LEN + DEVICE_MOVE_FAULT_MAX + 24));
    write_list(&body, all, n_done < all->n);
    call->shown_once = n_done == all->n;
    return act_call_answer(call, n_done == all->n ? 200 : 400, TYPE_JSON, &body);
}
