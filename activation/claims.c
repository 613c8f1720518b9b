/* POST /v1/claims: a device becomes the claimant's who knows its code, and the code is made anew.
 *
 * What a code that is not right came to is the same for all devices, whether they are here or not:
 * the same steps, the same statements, the same answer. The reason stands in claim_event.
 *
 * A claim is found again by its Idempotency-Key, and then makes its own codes anew: so a lost
 * answer never costs a device. */
#include "activation/call.h"
#include "activation/code_hash.h"
#include "activation/operator_check.h"
#include "base/aes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "db/claim.h"
#include "device/tr005.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CLAIMS_MAX 1000
#define CLAIMS_BODY_MAX 524288 /* bytes */
#define EUI_TEXT_MAX 40        /* characters, in any spelling */
#define CODE_TEXT_MAX 64       /* characters of a code as it was typed */
#define NET_ID_TEXT_MAX 12
#define QR_TEXT_MAX 256   /* bytes; longer ones exist, and none on a device's label */
#define FIELD_MAX 40      /* "claims[999].home_net_id" */
#define TURNS_MAX 4       /* of a chunk that finds itself done by the same call, or does not know */
#define RETRY_TEXT_MAX 24 /* digits of Retry-After */

/* What the body says of one device. */
struct claim_item {
    char dev_eui[EUI_TEXT_MAX + 1];
    char code[CODE_TEXT_MAX + 1];
    char qr[QR_TEXT_MAX + 1];
    char home_net_id[NET_ID_TEXT_MAX + 1];
    char as_id[PEER_ID_MAX + 1];
    bool has_dev_eui, has_code, has_qr, has_home_net_id, has_as_id;
};

struct claims_body {
    struct claim_item one;
    size_t n_list;
    bool has_list;
    struct claim_item list[];
};

#define ITEM(member) offsetof(struct claim_item, member)
#define ITEM_SIZE(member) sizeof(((struct claim_item *)0)->member)
#define ITEM_TEXT(member)                                                                          \
    {                                                                                              \
        .name = #member, .kind = JSON_TEXT, .offset = ITEM(member), .size = ITEM_SIZE(member),     \
        .present_offset = ITEM(has_##member)                                                       \
    }
static const struct json_field item_fields[] = {
    ITEM_TEXT(dev_eui), ITEM_TEXT(code), ITEM_TEXT(qr), ITEM_TEXT(home_net_id), ITEM_TEXT(as_id)};
#define N_ITEM_FIELDS (sizeof(item_fields) / sizeof(item_fields[0]))
#define ELEMENT_LEN_MIN 2 /* bytes of the body that an element of a list takes, with its comma */

/* `one` stands first, so that its members have the offsets of an element's. */
#define LIST N_ITEM_FIELDS
static const struct json_field fields[] = {
    ITEM_TEXT(dev_eui),
    ITEM_TEXT(code),
    ITEM_TEXT(qr),
    ITEM_TEXT(home_net_id),
    ITEM_TEXT(as_id),
    [LIST] = {.name = "claims",
        .kind = JSON_LIST,
        .offset = offsetof(struct claims_body, list),
        .size = sizeof(struct claim_item),
        .max = CLAIMS_MAX,
        .present_offset = offsetof(struct claims_body, has_list),
        .len_offset = offsetof(struct claims_body, n_list),
        .fields = item_fields,
        .n_fields = N_ITEM_FIELDS},
};
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))
_Static_assert(offsetof(struct claims_body, one) == 0, "its members have the offsets of an item's");

/* Why a claim is not even looked at. */
enum claim_fault { FAULT_NONE, FAULT_LIMITED, FAULT_HOME, FAULT_AS };

struct entry {
    struct db_claim claim;
    char code[DEVICE_CODE_MAX + 1]; /* as it was given, in its normal form */
    enum claim_fault fault;
    int64_t wait_s;                     /* of FAULT_LIMITED */
    char new_code[DEVICE_CODE_MAX + 1]; /* "" until it is told */
    uint32_t generation;
};

/* Of secret_realloc, as are its body and entries: they hold codes. These are as large as the call:
 * most are about one device, and room for a list costs more than its claim. */
struct claims_run {
    struct act_call *call;
    struct claims_body *body;
    struct db_claimant claimant;
    const char *key; /* Idempotency-Key; NULL: none */
    struct db_idempotency idempotency;
    bool key_taken;
    bool locked; /* the call is this connection's */
    int session;
    struct entry *entries;
    size_t n;
    /* Of one chunk. */
    struct entry *due[DB_CLAIM_CHUNK_MAX];
    struct db_claim claims[DB_CLAIM_CHUNK_MAX];
    size_t n_due;
    uint8_t random[DB_CLAIM_CHUNK_MAX][DEVICE_CODE_RANDOM_LEN];
    struct keyd_claim_code clear[2 * DB_CLAIM_CHUNK_MAX];
    struct db_code hashed[2 * DB_CLAIM_CHUNK_MAX];
};
_Static_assert(2 * DB_CLAIM_CHUNK_MAX <= KEYD_BATCH_MAX, "a chunk is one message to keyd");

static void run_freep(struct claims_run **run)
{
    if (*run == NULL)
        return;
    if ((*run)->locked)
        db_claim_unlock((*run)->call->worker->db, &(*run)->claimant, (*run)->session);
    secret_free((*run)->body);
    secret_free((*run)->entries);
    secret_free(*run);
}

static void *make_room(size_t len)
{
    void *room = secret_realloc(NULL, len);

    if (room != NULL)
        memset(room, 0, len);
    return room;
}

/* --- what is asked ---------------------------------------------------------------------------- */

/* Which device, and its code. NULL, or what is wrong, with its member. */
static const char *read_device(
    const struct claim_item *item, struct entry *ret, const char **ret_member)
{
    CLEANUP(tr005_wipe) struct tr005 tag = {0};
    enum tr005_outcome outcome;

    *ret_member = "qr";
    if (item->has_qr) {
        if (item->has_dev_eui || item->has_code)
            return "qr stands for dev_eui and code: give the one or the two";
        outcome = tr005_parse_claim(item->qr, strlen(item->qr), &tag);
        if (outcome != TR005_OK)
            return tr005_outcome_text(outcome);
        ret->claim.dev_eui = tag.dev_eui;
        memcpy(ret->code, tag.token, sizeof(ret->code));
        return NULL;
    }
    *ret_member = "dev_eui";
    if (!item->has_dev_eui)
        return "dev_eui is missing";
    if (!eui64_parse(item->dev_eui, strlen(item->dev_eui), &ret->claim.dev_eui))
        return "dev_eui is not 16 hexadecimal digits";
    *ret_member = "code";
    if (!item->has_code)
        return "code is missing";
    return device_code_parse(item->code, strlen(item->code), ret->code)
               ? NULL
               : "code is not 1 to 32 letters and digits";
}

/* The same of where it is to join. */
static const char *read_home(
    const struct claim_item *item, struct db_claim *ret, const char **ret_member)
{
    *ret_member = "home_net_id";
    if (item->has_home_net_id != item->has_as_id)
        return "home_net_id and as_id go together: give both or neither";
    if (!item->has_home_net_id)
        return NULL;
    ret->has_home_net_id = true;
    if (!net_id_parse(item->home_net_id, strlen(item->home_net_id), &ret->home_net_id))
        return "home_net_id is not 6 hexadecimal digits";
    *ret_member = "as_id";
    if (!act_as_id_valid(item->as_id))
        return "as_id is not 1 to 64 printable characters without blank, quote and backslash";
    memcpy(ret->as_id, item->as_id, sizeof(ret->as_id));
    return NULL;
}

/* 0, or the status of the answer it set. `place`: "" or "claims[3].". */
static unsigned read_item(
    struct act_call *call, const char *place, const struct claim_item *item, struct entry *ret)
{
    char field[FIELD_MAX];
    const char *member, *fault = read_device(item, ret, &member);

    if (fault == NULL)
        fault = read_home(item, &ret->claim, &member);
    if (fault == NULL)
        return 0;
    (void)snprintf(field, sizeof(field), "%s%s", place, member);
    return act_call_bad_field(call, field, fault);
}

static unsigned read_list(struct claims_run *run)
{
    char place[FIELD_MAX];

    for (size_t i = 0; i < run->n; i++) {
        unsigned status;

        (void)snprintf(place, sizeof(place), "claims[%zu].", i);
        status = read_item(run->call, place, &run->body->list[i], &run->entries[i]);
        if (status != 0)
            return status;
        for (size_t k = 0; k < i; k++) {
            if (eui64_to_u64(&run->entries[k].claim.dev_eui) !=
                eui64_to_u64(&run->entries[i].claim.dev_eui))
                continue;
            (void)snprintf(place, sizeof(place), "claims[%zu].dev_eui", i);
            return act_call_bad_field(run->call, place, "dev_eui stands twice in claims");
        }
    }
    return 0;
}

static unsigned read_body(struct claims_run *run)
{
    struct act_call *call = run->call;
    struct json_field sized[N_FIELDS];
    const struct claim_item *one;
    unsigned status;
    size_t len;

    (void)api_request_body(call->request, &len);
    memcpy(sized, fields, sizeof(sized));
    sized[LIST].room = len / ELEMENT_LEN_MIN < CLAIMS_MAX ? len / ELEMENT_LEN_MIN + 1 : CLAIMS_MAX;
    run->body = make_room(sizeof(*run->body) + sized[LIST].room * sizeof(run->body->list[0]));
    if (run->body == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    status = act_call_read(call, sized, N_FIELDS, run->body);
    if (status != 0 || (status = act_call_key(call, &run->key)) != 0)
        return status;
    one = &run->body->one;
    run->n = run->body->has_list ? run->body->n_list : 1;
    run->entries = make_room((run->n + 1) * sizeof(run->entries[0])); /* a list may be empty */
    if (run->entries == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if (!run->body->has_list)
        return read_item(call, "", one, &run->entries[0]);
    if (one->has_dev_eui || one->has_code || one->has_qr || one->has_home_net_id || one->has_as_id)
        return act_call_bad_field(call, "claims", "claims stands alone: each of them says its own");
    if (run->n == 0)
        return act_call_bad_field(call, "claims", "claims is empty");
    if (run->key == NULL)
        return act_call_bad_field(call, "Idempotency-Key",
            "Idempotency-Key is missing: after a lost answer only the call with the same key tells "
            "all new codes");
    return read_list(run);
}

/* Without the codes: a digest of one that is not keyed would tell a weak one. */
static void fingerprint(const struct claims_run *run, uint8_t out[static 32])
{
    CLEANUP(text_done) struct text text = {0};

    for (size_t i = 0; i < run->n; i++) {
        const struct db_claim *claim = &run->entries[i].claim;

        text_add_hex(&text, claim->dev_eui.bytes, sizeof(claim->dev_eui.bytes));
        text_addf(&text, "|%d|", claim->has_home_net_id);
        text_add_hex(&text, claim->home_net_id.bytes, sizeof(claim->home_net_id.bytes));
        text_addf(&text, "|%s\n", claim->as_id);
    }
    digest_sha256(text.data != NULL ? text.data : "", text.len, out);
}

static void set_claimant(struct claims_run *run)
{
    const struct act_caller *caller = run->call->caller;

    run->claimant.organization_id = caller->organization_id;
    memcpy(run->claimant.client_id, caller->client_id, sizeof(run->claimant.client_id));
    run->claimant.request_id = api_request_id(run->call->request);
    run->claimant.has_network = api_request_network(run->call->request, &run->claimant.network);
    act_call_name(run->call, run->key, run->claimant.call);
    run->idempotency = (struct db_idempotency){
        .client_id = caller->client_id, .route = "POST /v1/claims", .key = run->key};
    fingerprint(run, run->idempotency.fingerprint);
}

/* --- a chunk ---------------------------------------------------------------------------------- */

/* Those that may be looked at now, at most as many as could all be wrong. *ret_n: how many entries
 * from `at` on it is about. */
static int load(struct claims_run *run, size_t at, size_t *ret_n)
{
    size_t n = run->n - at < DB_CLAIM_CHUNK_MAX ? run->n - at : DB_CLAIM_CHUNK_MAX, allowance = 1;
    int64_t wait_s = 0;
    int r;

    for (size_t i = 0; i < n; i++)
        run->claims[i] = run->entries[at + i].claim;
    r = db_claim_load(run->call->worker->db, &run->claimant, run->claims, n, &wait_s, &allowance);
    if (r < 0)
        return r;
    if (wait_s == 0 && n > allowance)
        n = allowance;
    run->n_due = 0;
    for (size_t i = 0; i < n; i++) {
        struct entry *entry = &run->entries[at + i];
        const struct db_claim *claim = &run->claims[i];

        entry->wait_s = wait_s > claim->wait_s ? wait_s : claim->wait_s;
        if (entry->wait_s != 0)
            metric_add(&run->call->worker->service->metrics.claims[COUNT_CLAIM_LIMITED], 1);
        entry->fault = !claim->home_known   ? FAULT_HOME
                       : !claim->as_known   ? FAULT_AS
                       : entry->wait_s != 0 ? FAULT_LIMITED
                                            : FAULT_NONE;
        if (entry->fault != FAULT_NONE)
            continue;
        run->due[run->n_due] = entry;
        run->claims[run->n_due++] = *claim;
    }
    *ret_n = n;
    return 0;
}

static void put_code(struct keyd_claim_code *ret, const struct db_claim *claim, uint32_t generation,
    const char *code)
{
    *ret = (struct keyd_claim_code){
        .dev_eui = claim->dev_eui, .generation = generation, .code_len = (uint8_t)strlen(code)};
    memcpy(ret->code, code, ret->code_len);
}

/* As it was typed, or as what it must be if it was made here. Both are there whichever is taken. */
static void put_given(struct keyd_claim_code *ret, const struct db_claim *claim, const char *typed)
{
    char read[2][DEVICE_CODE_MAX + 1];

    memcpy(read[0], typed, sizeof(read[0]));
    memcpy(read[1], typed, sizeof(read[1]));
    device_code_as_made(read[1]);
    put_code(ret, claim, claim->generation, read[claim->is_made]);
    secret_wipe(read, sizeof(read));
}

/* The given code and the one to come, of right and wrong ones alike. */
static int hash(struct claims_run *run)
{
    struct act_worker *worker = run->call->worker;
    size_t n = run->n_due;
    int r = keyd_random(worker->keyd, run->random[0], sizeof(run->random[0]), n,
        clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct entry *entry = run->due[i];

        device_code_make(run->random[i], run->call->caller->claim_code_length, entry->new_code);
        entry->generation = run->claims[i].generation + 1;
        put_given(&run->clear[2 * i], &run->claims[i], entry->code);
        put_code(&run->clear[2 * i + 1], &run->claims[i], entry->generation, entry->new_code);
    }
    r = act_code_hash(worker, run->clear, 2 * n, run->hashed);
    secret_wipe(run->clear, sizeof(run->clear));
    for (size_t i = 0; r == 0 && i < n; i++) {
        memcpy(run->claims[i].hash, run->hashed[2 * i].hash, sizeof(run->claims[i].hash));
        memcpy(
            run->claims[i].new_hash, run->hashed[2 * i + 1].hash, sizeof(run->claims[i].new_hash));
    }
    return r;
}

/* In the transaction. Outcome 1: the key was used for another call. */
static int take_key(struct claims_run *run)
{
    CLEANUP(db_idempotency_answer_done) struct db_idempotency_answer before = {0};
    int r;

    if (run->key == NULL || run->key_taken)
        return 0;
    r = db_idempotency_take(run->call->worker->db, &run->idempotency, &before);
    return r > 0 ? memcmp(before.fingerprint, run->idempotency.fingerprint,
                       sizeof(before.fingerprint)) != 0
                 : r;
}

/* Somebody was faster, perhaps the same call; the last turn takes that for what it says. */
static bool is_raced(struct claims_run *run, bool last)
{
    bool raced = false;

    for (size_t i = 0; i < run->n_due; i++) {
        enum db_claim_outcome *outcome = &run->claims[i].outcome;

        raced |= *outcome == CLAIM_AGAIN || *outcome == CLAIM_RACED;
        if (last && *outcome == CLAIM_AGAIN)
            *outcome = CLAIM_OWN;
    }
    return raced && !last;
}

/* Outcome 1: as take_key; 2: once more, from its load on, for another of the same call was faster
 * or the result of the commit is not known. A claim that did come through finds itself then. */
#define CHUNK_OTHER_CALL 1
#define CHUNK_ONCE_MORE 2
static int settle(struct claims_run *run, bool last)
{
    struct db *db = run->call->worker->db;
    int r = db_begin(db);

    if (r == 0)
        r = take_key(run);
    if (r == 0)
        r = db_claim_settle(db, &run->claimant, run->claims, run->n_due);
    if (r == 0 && is_raced(run, last))
        r = CHUNK_ONCE_MORE;
    if (r != 0) {
        db_rollback(db);
        return r;
    }
    r = db_commit(db);
    if (r == ERROR_DB_UNKNOWN) {
        log_warn("request=%s the result of a claim's commit is unknown: %s",
            run->claimant.request_id, error_text());
        db_drop(db);
        return CHUNK_ONCE_MORE;
    }
    return r;
}

static enum act_claim_counter counter_of(enum db_claim_outcome outcome)
{
    return outcome == CLAIM_CLAIMED    ? COUNT_CLAIM_CLAIMED
           : outcome == CLAIM_REPEATED ? COUNT_CLAIM_REPEATED
           : outcome == CLAIM_OWN      ? COUNT_CLAIM_OWN
                                       : COUNT_CLAIM_REFUSED;
}

/* What is committed may be told. */
static void take_over(struct claims_run *run)
{
    struct act_metrics *metrics = &run->call->worker->service->metrics;

    run->key_taken = true;
    for (size_t i = 0; i < run->n_due; i++) {
        struct entry *entry = run->due[i];

        entry->claim = run->claims[i];
        if (entry->claim.outcome > CLAIM_REPEATED)
            secret_wipe(entry->new_code, sizeof(entry->new_code));
        metric_add(&metrics->claims[counter_of(entry->claim.outcome)], 1);
    }
}

/* The entries from `at` on, *ret_n of them. */
static int run_chunk(struct claims_run *run, size_t at, size_t *ret_n)
{
    int r = CHUNK_ONCE_MORE;

    for (int i = 0; i < TURNS_MAX && r == CHUNK_ONCE_MORE; i++) {
        if ((r = load(run, at, ret_n)) < 0 || run->n_due == 0 || (r = hash(run)) < 0)
            return r;
        r = settle(run, i == TURNS_MAX - 1);
    }
    if (r == CHUNK_ONCE_MORE)
        return error_set(ERROR_DB, "database: a claim did not come to an end");
    if (r == 0)
        take_over(run);
    return r;
}

/* --- the answer ------------------------------------------------------------------------------- */

static void write_home(struct text *out, const struct db_claim *claim)
{
    if (!claim->has_home_net_id) {
        text_add(out, ",\"home_net_id\":null,\"as_id\":null");
        return;
    }
    text_add(out, ",\"home_net_id\":\"");
    text_add_hex(out, claim->home_net_id.bytes, sizeof(claim->home_net_id.bytes));
    text_add(out, "\",\"as_id\":");
    text_add_json(out, claim->as_id);
}

static void write_entry(struct text *out, const struct entry *entry)
{
    char dev_eui[EUI64_TEXT_LEN + 1];

    text_addf(
        out, "{\"dev_eui\":\"%s\",\"outcome\":", eui64_format(&entry->claim.dev_eui, dev_eui));
    if (entry->fault == FAULT_LIMITED) {
        text_addf(out, "\"limited\",\"retry_after_s\":%" PRId64 "}", entry->wait_s);
    } else if (entry->fault != FAULT_NONE) {
        text_addf(out, "\"invalid\",\"field\":\"%s\"}",
            entry->fault == FAULT_HOME ? "home_net_id" : "as_id");
    } else if (entry->claim.outcome == CLAIM_OWN) {
        text_add(out, "\"own\"}");
    } else if (entry->claim.outcome > CLAIM_REPEATED) {
        text_add(out, "\"refused\"}");
    } else {
        text_addf(out, "\"claimed\",\"code\":\"%s\",\"generation\":%" PRIu32, entry->new_code,
            entry->generation);
        text_addf(out, ",\"ownership_epoch\":%" PRIu32, entry->claim.ownership_epoch);
        write_home(out, &entry->claim);
        text_add(out, "}");
    }
}

static unsigned answer_list(struct claims_run *run)
{
    struct text body = {0};

    text_reserve(&body, run->n * (DEVICE_CODE_MAX + PEER_ID_MAX + 160));
    text_add(&body, "{\"results\":[");
    for (size_t i = 0; i < run->n; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_entry(&body, &run->entries[i]);
    }
    text_add(&body, "]}\n");
    run->call->shown_once = true;
    return act_call_answer(run->call, 200, TYPE_JSON, &body);
}

static unsigned answer_limited(struct act_call *call, int64_t wait_s)
{
    char text[RETRY_TEXT_MAX];

    (void)snprintf(text, sizeof(text), "%" PRId64, wait_s);
    act_call_header(call, "Retry-After", text);
    return act_call_problem(call, PROBLEM_TOO_MANY,
        "too many claims with wrong codes: none is looked at before Retry-After is over");
}

static unsigned answer_one(struct claims_run *run)
{
    struct act_call *call = run->call;
    const struct entry *entry = &run->entries[0];
    struct text body = {0};

    switch (entry->fault) {
    case FAULT_LIMITED:
        return answer_limited(call, entry->wait_s);
    case FAULT_HOME:
        return act_call_bad_field(
            call, "home_net_id", "home_net_id is of no network server that is known here");
    case FAULT_AS:
        return act_call_bad_field(
            call, "as_id", "as_id is no application server that is known here");
    case FAULT_NONE:
        break;
    }
    if (entry->claim.outcome == CLAIM_OWN)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "this device is yours already; rotate-code gives it a new code");
    if (entry->claim.outcome > CLAIM_REPEATED)
        return act_call_problem(call, PROBLEM_CLAIM_REFUSED,
            "no device that can be claimed has this DevEUI and this code");
    write_entry(&body, entry);
    text_add(&body, "\n");
    call->shown_once = true;
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* A list takes longer than its client may wait: the repetition must not run beside it. 0, or the
 * status of the answer it set. */
static unsigned take_call(struct claims_run *run)
{
    int r;

    if (!run->body->has_list)
        return 0;
    r = db_claim_lock(run->call->worker->db, &run->claimant, &run->session);
    if (r < 0)
        return act_call_failed(run->call, r);
    if (r > 0) {
        act_call_header(run->call, "Retry-After", "1");
        return act_call_problem(run->call, PROBLEM_CONFLICT,
            "the same call is under way: repeat it when that has ended");
    }
    run->locked = true;
    return 0;
}

static unsigned post_claims(struct act_call *call)
{
    CLEANUP(run_freep) struct claims_run *run = make_room(sizeof(*run));
    size_t n = 0;
    unsigned status;
    int r = 0;

    if (run == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    run->call = call;
    if (api_request_unknown_query(call->request, NULL, 0) != NULL)
        return act_call_problem(call, PROBLEM_BAD_REQUEST, "this call takes no query");
    if ((status = read_body(run)) != 0)
        return status;
    set_claimant(run);
    if ((status = take_call(run)) != 0)
        return status;
    for (size_t at = 0; r == 0 && at < run->n; at += n)
        r = run_chunk(run, at, &n);
    if (r == CHUNK_OTHER_CALL)
        return act_call_problem(
            call, PROBLEM_UNPROCESSABLE, "this Idempotency-Key was used for another call");
    if (r < 0)
        return act_call_failed(call, r);
    return run->body->has_list ? answer_list(run) : answer_one(run);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/claims",
        .right = RIGHT_CLAIM,
        .body_max = CLAIMS_BODY_MAX,
        .work = post_claims},
};

const struct act_area act_area_claims = ACT_AREA(routes);
