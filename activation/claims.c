/* POST /v1/claims: a device becomes the claimant's who knows its code, and the code is made anew.
 *
 * What a code that is not right came to is the same for all devices, whether they are here or not:
 * the same steps, the same statements, the same answer. The reason stands in claim_event.
 *
 * A claim is found again by its Idempotency-Key, and then makes its own codes anew: so a lost
 * answer never costs a device. */
#include "activation/claim_run.h"
#include "activation/home.h"
#include "activation/operator_check.h"
#include "device/sigfox_tag.h"
#include "device/tr005.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CLAIMS_MAX 1000
#define CLAIMS_BODY_MAX 524288 /* bytes */
#define EUI_TEXT_MAX 40        /* characters, in any spelling */
#define CODE_TEXT_MAX 64       /* characters of a code as it was typed */
#define NET_ID_TEXT_MAX 12
#define QR_TEXT_MAX 256 /* bytes; longer ones exist, and none on a device's label */
#define FIELD_MAX 40    /* "claims[999].home_net_id" */

/* What the body says of one device. */
struct claim_item {
    char dev_eui[EUI_TEXT_MAX + 1];
    char code[CODE_TEXT_MAX + 1];
    char qr[QR_TEXT_MAX + 1];
    char home_net_id[NET_ID_TEXT_MAX + 1];
    char as_id[PEER_ID_MAX + 1];
    uint8_t subscription_id[ACCOUNT_ID_LEN];
    bool has_dev_eui, has_code, has_qr, has_home_net_id, has_as_id, has_subscription_id;
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
#define ITEM_FIELDS                                                                                \
    ITEM_TEXT(dev_eui), ITEM_TEXT(code), ITEM_TEXT(qr), ITEM_TEXT(home_net_id), ITEM_TEXT(as_id),  \
    {                                                                                              \
        .name = "subscription_id", .kind = JSON_HEX, .offset = ITEM(subscription_id),              \
        .size = ITEM_SIZE(subscription_id), .present_offset = ITEM(has_subscription_id)            \
    }
static const struct json_field item_fields[] = {ITEM_FIELDS};
#define N_ITEM_FIELDS (sizeof(item_fields) / sizeof(item_fields[0]))
#define ELEMENT_LEN_MIN 2 /* bytes of the body that an element of a list takes, with its comma */

/* `one` stands first, so that its members have the offsets of an element's. */
#define LIST N_ITEM_FIELDS
static const struct json_field fields[] = {
    ITEM_FIELDS,
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

/* Of secret_realloc, as is its body: they hold codes. */
struct claims_run {
    struct act_claim_run run; /* first */
    struct claims_body *body;
    bool locked; /* the call is this connection's */
    int session;
};

static void run_freep(struct claims_run **claims)
{
    if (*claims == NULL)
        return;
    if ((*claims)->locked)
        db_claim_unlock(
            (*claims)->run.call->worker->db, &(*claims)->run.claimant, (*claims)->session);
    secret_free((*claims)->body);
    secret_free((*claims)->run.entries);
    secret_free(*claims);
}

/* --- what is asked ---------------------------------------------------------------------------- */

/* False: it is no text of a Sigfox device's label. */
static bool read_sigfox(const char *qr, struct act_claim_entry *ret)
{
    CLEANUP(sigfox_tag_wipe) struct sigfox_tag tag;
    uint8_t *eui = ret->claim.dev_eui.bytes;
    const size_t n_zeros = sizeof(ret->claim.dev_eui.bytes) - sizeof(tag.id);

    if (!sigfox_tag_parse(qr, strlen(qr), &tag))
        return false;
    memset(eui, 0, n_zeros);
    memcpy(eui + n_zeros, tag.id, sizeof(tag.id));
    memcpy(ret->code, tag.pac, sizeof(ret->code));
    return true;
}

/* Which device, and its code. NULL, or what is wrong, with its member. */
static const char *read_device(
    const struct claim_item *item, struct act_claim_entry *ret, const char **ret_member)
{
    CLEANUP(tr005_wipe) struct tr005 tag = {0};
    enum tr005_outcome outcome;

    *ret_member = "qr";
    if (item->has_qr) {
        if (item->has_dev_eui || item->has_code)
            return "qr stands for dev_eui and code: give the one or the two";
        if (read_sigfox(item->qr, ret))
            return NULL;
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
    if (!device_id_parse(item->dev_eui, strlen(item->dev_eui), &ret->claim.dev_eui))
        return "dev_eui is no DevEUI of 16 hexadecimal digits and no Sigfox id";
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
static unsigned read_item(struct act_call *call, const char *place, const struct claim_item *item,
    struct act_claim_entry *ret)
{
    char field[FIELD_MAX];
    const char *member, *fault = read_device(item, ret, &member);

    ret->claim.has_subscription = item->has_subscription_id;
    memcpy(ret->claim.subscription, item->subscription_id, sizeof(ret->claim.subscription));
    if (fault == NULL)
        fault = read_home(item, &ret->claim, &member);
    /* The identifier itself tells it, whether the device is here or not. */
    if (fault == NULL && ret->claim.has_home_net_id &&
        device_kind_of(&ret->claim.dev_eui) == DEVICE_SIGFOX) {
        member = "home_net_id";
        fault = ACT_NO_HOME;
    }
    if (fault == NULL)
        return 0;
    (void)snprintf(field, sizeof(field), "%s%s", place, member);
    return act_call_bad_field(call, field, fault);
}

static unsigned read_list(struct claims_run *claims)
{
    const struct act_claim_run *run = &claims->run;
    char place[FIELD_MAX];

    for (size_t i = 0; i < run->n; i++) {
        unsigned status;

        (void)snprintf(place, sizeof(place), "claims[%zu].", i);
        status = read_item(run->call, place, &claims->body->list[i], &run->entries[i]);
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

static unsigned read_body(struct claims_run *claims)
{
    struct act_claim_run *run = &claims->run;
    struct act_call *call = run->call;
    struct json_field sized[N_FIELDS];
    const struct claim_item *one;
    struct claims_body *body;
    unsigned status;
    size_t len;

    (void)api_request_body(call->request, &len);
    memcpy(sized, fields, sizeof(sized));
    sized[LIST].room = len / ELEMENT_LEN_MIN < CLAIMS_MAX ? len / ELEMENT_LEN_MIN + 1 : CLAIMS_MAX;
    body = act_claim_room(sizeof(*body) + sized[LIST].room * sizeof(body->list[0]));
    if ((claims->body = body) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    status = act_call_read(call, sized, N_FIELDS, body);
    if (status != 0 || (status = act_call_key(call, &run->key)) != 0)
        return status;
    one = &body->one;
    run->n = body->has_list ? body->n_list : 1;
    run->entries = act_claim_room((run->n + 1) * sizeof(run->entries[0])); /* a list may be empty */
    if (run->entries == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if (!body->has_list)
        return read_item(call, "", one, &run->entries[0]);
    if (one->has_dev_eui || one->has_code || one->has_qr || one->has_home_net_id ||
        one->has_as_id || one->has_subscription_id)
        return act_call_bad_field(call, "claims", "claims stands alone: each of them says its own");
    if (run->n == 0)
        return act_call_bad_field(call, "claims", "claims is empty");
    if (run->key == NULL)
        return act_call_bad_field(call, "Idempotency-Key",
            "Idempotency-Key is missing: after a lost answer only the call with the same key tells "
            "all new codes");
    return read_list(claims);
}

static void name(struct act_claim_run *run)
{
    CLEANUP(text_done) struct text what = {0};

    for (size_t i = 0; i < run->n; i++) {
        const struct db_claim *claim = &run->entries[i].claim;

        text_add_hex(&what, claim->dev_eui.bytes, sizeof(claim->dev_eui.bytes));
        text_addf(&what, "|%d|", claim->has_home_net_id);
        text_add_hex(&what, claim->home_net_id.bytes, sizeof(claim->home_net_id.bytes));
        text_addf(&what, "|%s", claim->as_id);
        if (claim->has_subscription) {
            text_add(&what, "|");
            text_add_hex(&what, claim->subscription, sizeof(claim->subscription));
        }
        text_add(&what, "\n");
    }
    act_claim_run_name(run, "POST /v1/claims", &what);
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

static void write_entry(struct text *out, const struct act_claim_entry *entry)
{
    char dev_eui[EUI64_TEXT_LEN + 1];

    text_addf(
        out, "{\"dev_eui\":\"%s\",\"outcome\":", device_id_format(&entry->claim.dev_eui, dev_eui));
    if (entry->fault == FAULT_LIMITED) {
        text_addf(out, "\"limited\",\"retry_after_s\":%" PRId64 "}", entry->wait_s);
    } else if (entry->fault == FAULT_ENDED || entry->fault == FAULT_FULL) {
        text_add(out, "\"no-place\"}");
    } else if (entry->fault != FAULT_NONE) {
        text_addf(out, "\"invalid\",\"field\":\"%s\"}",
            entry->fault == FAULT_HOME ? "home_net_id"
            : entry->fault == FAULT_AS ? "as_id"
                                       : "subscription_id");
    } else if (entry->claim.outcome == CLAIM_NO_PLACE) {
        text_add(out, "\"no-place\"}");
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

static unsigned answer_list(struct act_claim_run *run)
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

static unsigned answer_one(struct act_claim_run *run)
{
    struct act_call *call = run->call;
    const struct act_claim_entry *entry = &run->entries[0];
    struct text body = {0};
    unsigned status = act_claim_refuse(call, entry);

    if (status != 0)
        return status;
    if (entry->claim.outcome == CLAIM_OWN)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "this device is yours already; rotate-code gives it a new code");
    write_entry(&body, entry);
    text_add(&body, "\n");
    call->shown_once = true;
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* A list takes longer than its client may wait: the repetition must not run beside it. 0, or the
 * status of the answer it set. */
static unsigned take_call(struct claims_run *claims)
{
    struct act_call *call = claims->run.call;
    int r;

    if (!claims->body->has_list)
        return 0;
    r = db_claim_lock(call->worker->db, &claims->run.claimant, &claims->session);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0) {
        act_call_header(call, "Retry-After", "1");
        return act_call_problem(
            call, PROBLEM_CONFLICT, "the same call is under way: repeat it when that has ended");
    }
    claims->locked = true;
    return 0;
}

static struct claims_run *claims_new(struct act_call *call)
{
    struct claims_run *claims = act_claim_room(sizeof(*claims));

    if (claims != NULL)
        claims->run.call = call;
    return claims;
}

/* 0, or the status of the answer it set. */
static unsigned read_call(struct claims_run *claims)
{
    struct act_call *call = claims->run.call;
    unsigned status;

    if (api_request_unknown_query(call->request, NULL, 0) != NULL)
        return act_call_problem(call, PROBLEM_BAD_REQUEST, "this call takes no query");
    if ((status = read_body(claims)) != 0)
        return status;
    name(&claims->run);
    return 0;
}

static unsigned post_claims(struct act_call *call)
{
    CLEANUP(run_freep) struct claims_run *claims = claims_new(call);
    struct act_claim_run *run;
    size_t n = 0;
    unsigned status;
    int r = 0;

    if (claims == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    run = &claims->run;
    if ((status = read_call(claims)) != 0)
        return status;
    if ((status = take_call(claims)) != 0)
        return status;
    for (size_t at = 0; r == 0 && at < run->n; at += n)
        r = act_claim_run_chunk(run, at, &n);
    if (r != 0)
        return act_claim_run_failed(run, r);
    return claims->body->has_list ? answer_list(run) : answer_one(run);
}

/* --- calls that wait together ----------------------------------------------------------------- */

_Static_assert(ACT_TOGETHER_MAX <= DB_CLAIM_CHUNK_MAX, "they are one chunk");

/* What is of the same device, or is perhaps the same call, comes behind the other. */
static bool is_behind(const struct act_claim_run *run, const struct act_claim_run *other)
{
    const struct db_idempotency *call = &run->idempotency, *before = &other->idempotency;

    if (eui64_to_u64(&run->entries[0].claim.dev_eui) ==
        eui64_to_u64(&other->entries[0].claim.dev_eui))
        return true;
    return run->key != NULL && other->key != NULL && strcmp(run->key, other->key) == 0 &&
           memcmp(call->client_id, before->client_id, ACCOUNT_ID_LEN) == 0;
}

static bool goes_with(
    const struct claims_run *claims, struct act_claim_run *const *others, size_t n)
{
    bool behind = claims->body->has_list;

    for (size_t i = 0; i < n && !behind; i++)
        behind = is_behind(&claims->run, others[i]);
    return !behind;
}

static void post_claims_together(struct act_call *const *calls, size_t n)
{
    struct claims_run *all[ACT_TOGETHER_MAX] = {NULL};
    struct act_claim_run *runs[ACT_TOGETHER_MAX];
    bool done[ACT_TOGETHER_MAX];
    size_t n_runs = 0;

    for (size_t i = 0; i < n; i++) {
        all[i] = claims_new(calls[i]);
        if (all[i] != NULL && read_call(all[i]) == 0 && goes_with(all[i], runs, n_runs)) {
            runs[n_runs++] = &all[i]->run;
        } else { /* what it has read would lie there until the others have ended */
            run_freep(&all[i]);
            all[i] = NULL;
        }
    }
    if (n_runs > 0)
        act_claim_run_together(runs, n_runs, done);
    for (size_t i = 0; i < n_runs; i++) {
        if (done[i] && runs[i]->other_call)
            (void)act_claim_run_failed(runs[i], CLAIM_RUN_OTHER_CALL);
        else if (done[i])
            (void)answer_one(runs[i]);
    }
    for (size_t i = 0; i < n; i++)
        run_freep(&all[i]);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/claims",
        .right = RIGHT_CLAIM,
        .body_max = CLAIMS_BODY_MAX,
        .work = post_claims,
        .work_together = post_claims_together},
};

const struct act_area act_area_claims = ACT_AREA(routes);
