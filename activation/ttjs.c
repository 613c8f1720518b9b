/* /api/v2/devices/{dev_eui}/claim: application servers claim devices for their users, over the
 * claim API of The Things Join Server as The Things Stack calls it. It is the claim of
 * activation/claim_run.h; only its words are others.
 *
 * Its client has no Idempotency-Key, and is lost where a claim was made and its answer did not
 * come: the device is its organization's, and the code it knows is worthless. So the same claim
 * again, with the same code, is the same call, and makes its own code anew. */
#include "activation/ttjs.h"
#include "activation/claim_run.h"
#include "activation/code_hash.h"
#include "activation/ttjs_kek.h"
#include "base/aes.h"
#include "base/error.h"
#include <string.h>

#define EUI_TEXT_MAX 40    /* characters, in any spelling */
#define OWNER_TOKEN_MAX 64 /* characters of a code as it was typed */
#define NET_ID_TEXT_MAX 12

#define CLAIM "/api/v2/devices/{dev_eui}/claim"

static const char refused[] = "claim failed with given owner token"; /* its client compares it */

/* What the body says. The order is that of the struct that its client writes. */
struct ttjs_body {
    char owner_token[OWNER_TOKEN_MAX + 1];
    char home_net_id[NET_ID_TEXT_MAX + 1];
    char home_ns_id[EUI_TEXT_MAX + 1];
    char as_id[PEER_ID_MAX + 1];
    bool lock;
    char kek_label[KEK_LABEL_MAX + 1];
    uint8_t kek_key[TTJS_KEK_KEY_MAX];
    size_t kek_key_len;
    bool has_home_ns_id, has_kek;
};

#define TEXT(name_, member, ...)                                                                   \
    {                                                                                              \
        .name = (name_), .kind = JSON_TEXT, .offset = offsetof(struct ttjs_body, member),          \
        .size = sizeof(((struct ttjs_body *)0)->member), __VA_ARGS__                               \
    }
static const struct json_field kek_fields[] = {
    TEXT("label", kek_label, .required = true, .present_offset = JSON_NO_PRESENT),
    {.name = "key",
        .kind = JSON_BYTES,
        .offset = offsetof(struct ttjs_body, kek_key),
        .size = TTJS_KEK_KEY_MAX,
        .len_offset = offsetof(struct ttjs_body, kek_key_len),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
};
static const struct json_field fields[] = {
    TEXT("ownerToken", owner_token, .required = true, .present_offset = JSON_NO_PRESENT),
    TEXT("homeNetID", home_net_id, .required = true, .present_offset = JSON_NO_PRESENT),
    TEXT("homeNSID", home_ns_id, .empty_is_absent = true,
        .present_offset = offsetof(struct ttjs_body, has_home_ns_id)),
    TEXT("asID", as_id, .empty_is_absent = true, .present_offset = JSON_NO_PRESENT),
    {.name = "lock",
        .kind = JSON_BOOL,
        .offset = offsetof(struct ttjs_body, lock),
        .nullable = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "kek",
        .kind = JSON_OBJECT,
        .fields = kek_fields,
        .n_fields = sizeof(kek_fields) / sizeof(kek_fields[0]),
        .empty_is_absent = true,
        .present_offset = offsetof(struct ttjs_body, has_kek)},
};

/* Of secret_realloc: it holds codes. */
struct put {
    struct act_claim_run run;
    struct act_claim_entry entry;
    struct ttjs_body body;
    struct db_ttjs_terms terms;
    struct ttjs_kek kek;
};

static void put_freep(struct put **put)
{
    secret_free(*put);
}

static unsigned bad(struct act_call *call, const char *fault)
{
    return act_call_problem(
        call, json_memory_ran_out() ? PROBLEM_UNAVAILABLE : PROBLEM_BAD_REQUEST, fault);
}

/* A client of a later version may say more: what is not known here is overlooked. */
static unsigned read_body(struct put *put)
{
    struct act_call *call = put->run.call;
    struct ttjs_body *body = &put->body;
    struct db_claim *claim = &put->entry.claim;
    char fault[JSON_FAULT_MAX];
    size_t len;
    const char *text = api_request_body(call->request, &len);

    if (json_read(text, len, fields, sizeof(fields) / sizeof(fields[0]), body, fault) != JSON_OK)
        return bad(call, fault);
    if (!device_code_parse(body->owner_token, strlen(body->owner_token), put->entry.code))
        return bad(call, "ownerToken is not 1 to 32 letters and digits");
    claim->has_home_net_id = true;
    if (!net_id_parse(body->home_net_id, strlen(body->home_net_id), &claim->home_net_id))
        return bad(call, "homeNetID is not 6 hexadecimal digits");
    put->terms.has_home_ns_id = body->has_home_ns_id;
    if (body->has_home_ns_id &&
        !eui64_parse(body->home_ns_id, strlen(body->home_ns_id), &put->terms.home_ns_id))
        return bad(call, "homeNSID is not 16 hexadecimal digits");
    put->terms.locked = body->lock;
    return 0;
}

/* Where it is to join. 0, or the status of the answer it set. */
static unsigned check_home(struct put *put)
{
    struct act_call *call = put->run.call;
    const char *own = call->caller->as_id;
    bool fits = true;
    int r = 0;

    if (put->body.as_id[0] != '\0' && strcmp(put->body.as_id, own) != 0)
        return act_call_problem(
            call, PROBLEM_FORBIDDEN, "asID is not the application server of this certificate");
    memcpy(put->entry.claim.as_id, own, sizeof(put->entry.claim.as_id));
    if (put->terms.has_home_ns_id)
        r = db_ttjs_ns_id_fits(
            call->worker->db, &put->entry.claim.home_net_id, &put->terms.home_ns_id, &fits);
    if (r < 0)
        return act_call_failed(call, r);
    return fits ? 0 : bad(call, "homeNSID is of no network server of homeNetID");
}

/* By what it asks for, and the keyed hash of its code: a digest that is not keyed would tell a weak
 * one. No code has generation 0, so that the hash is of no other use. */
static int name_call(struct put *put)
{
    const struct db_claim *claim = &put->entry.claim;
    struct keyd_claim_code clear = {
        .dev_eui = claim->dev_eui, .code_len = (uint8_t)strlen(put->entry.code)};
    CLEANUP(text_done) struct text text = {0};
    struct db_code hashed;
    int r;

    act_claim_run_name(&put->run, "PUT " CLAIM, &text); /* who claims: it has no key */
    memcpy(clear.code, put->entry.code, clear.code_len);
    r = act_code_hash(put->run.call->worker, &clear, 1, &hashed);
    secret_wipe(&clear, sizeof(clear));
    if (r < 0)
        return r;
    text_add_hex(&text, put->run.claimant.client_id, sizeof(put->run.claimant.client_id));
    text_add(&text, "|" CLAIM "|");
    text_add_hex(&text, claim->dev_eui.bytes, sizeof(claim->dev_eui.bytes));
    text_add(&text, "|");
    text_add_hex(&text, claim->home_net_id.bytes, sizeof(claim->home_net_id.bytes));
    text_add(&text, "|");
    text_add_hex(&text, hashed.hash, sizeof(hashed.hash));
    text_add(&text, "|");
    if (put->terms.has_home_ns_id)
        text_add_hex(&text, put->terms.home_ns_id.bytes, sizeof(put->terms.home_ns_id.bytes));
    if (text.failed)
        return error_set(ERROR_SYSTEM, "out of memory for a claim");
    digest_sha256(text.data, text.len, put->run.claimant.call);
    return 0;
}

/* Of the one claim. Made again after its owner has bound the device elsewhere, it is not what this
 * call asks for, and his code stays what it is. */
static int keep_terms(struct act_claim_run *run, const struct db_claim *claim)
{
    const struct put *put = run->context;
    const struct db_claim *asked = &put->entry.claim;
    int r;

    if (claim->outcome > CLAIM_REPEATED)
        return 0;
    if (!claim->has_home_net_id || strcmp(claim->as_id, asked->as_id) != 0 ||
        memcmp(&claim->home_net_id, &asked->home_net_id, sizeof(claim->home_net_id)) != 0) {
        (void)act_call_problem(run->call, PROBLEM_CLAIM_REFUSED, refused);
        return CLAIM_RUN_ANSWERED;
    }
    r = db_ttjs_keep(run->call->worker->db, claim, &put->terms);
    return r == 0 && put->body.has_kek ? ttjs_kek_keep(run->call, &put->kek) : r;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void write_claim(
    struct text *out, const struct net_id *home_net_id, const struct db_ttjs_terms *terms)
{
    text_add(out, "{\"homeNetID\":\"");
    text_add_hex(out, home_net_id->bytes, sizeof(home_net_id->bytes));
    if (terms->has_home_ns_id) {
        text_add(out, "\",\"homeNSID\":\"");
        text_add_hex(out, terms->home_ns_id.bytes, sizeof(terms->home_ns_id.bytes));
    }
    text_addf(out, "\",\"locked\":%s", terms->locked ? "true" : "false");
}

static unsigned answer_put(struct put *put)
{
    struct act_call *call = put->run.call;
    const struct act_claim_entry *entry = &put->entry;
    struct text body = {0};

    switch (entry->fault) {
    case FAULT_LIMITED:
        return act_claim_refuse(call, entry);
    case FAULT_HOME:
        return bad(call, "homeNetID is of no network server that is known here");
    case FAULT_AS: /* revoked since it was asked who calls */
        return act_call_problem(call, PROBLEM_UNAUTHENTICATED, ACT_CERTIFICATE_NEEDED);
    case FAULT_SUBSCRIPTION:
    case FAULT_ENDED:
    case FAULT_FULL: /* it asks for none */
    case FAULT_NONE:
        break;
    }
    if (entry->claim.outcome > CLAIM_REPEATED)
        return act_call_problem(call, PROBLEM_CLAIM_REFUSED, refused);
    text_reserve(&body, 256); /* and nowhere else is a copy of the code */
    write_claim(&body, &entry->claim.home_net_id, &put->terms);
    text_addf(&body, ",\"ownerToken\":\"%s\"}\n", entry->new_code);
    call->shown_once = true;
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

bool ttjs_read_dev_eui(const char *text, size_t len, struct eui64 *ret)
{
    return eui64_parse(text, len, ret) && !device_id_is_sigfox(ret);
}

unsigned ttjs_no_query(struct act_call *call)
{
    return api_request_unknown_query(call->request, NULL, 0) == NULL
               ? 0
               : bad(call, "this call takes no query");
}

static unsigned put_claim(struct act_call *call)
{
    CLEANUP(put_freep) struct put *put = act_claim_room(sizeof(*put));
    const char *text = act_call_param(call, 0);
    unsigned status;
    size_t n;
    int r;

    if (put == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    put->run.call = call;
    if (!ttjs_read_dev_eui(text, strlen(text), &put->entry.claim.dev_eui))
        return bad(call, TTJS_BAD_EUI);
    if ((status = ttjs_no_query(call)) != 0 || (status = read_body(put)) != 0 ||
        (status = check_home(put)) != 0)
        return status;
    if (put->body.has_kek && (status = ttjs_kek_take(call, put->body.kek_label, put->body.kek_key,
                                  put->body.kek_key_len, &put->kek)) != 0)
        return status;
    put->run.entries = &put->entry;
    put->run.n = 1;
    put->run.also = keep_terms;
    put->run.context = put;
    if ((r = name_call(put)) < 0)
        return act_call_failed(call, r);
    if ((r = act_claim_run_chunk(&put->run, 0, &n)) != 0)
        return act_claim_run_failed(&put->run, r);
    return answer_put(put);
}

bool ttjs_is_own(const struct act_call *call, const struct db_ttjs_claim *claim)
{
    return strcmp(claim->record.as_id, call->caller->as_id) == 0 && claim->record.has_home_net_id;
}

static unsigned get_claim(struct act_call *call)
{
    const char *text = act_call_param(call, 0);
    struct db_ttjs_claim claim;
    struct text body = {0};
    struct eui64 dev_eui;
    int r;

    if (!ttjs_read_dev_eui(text, strlen(text), &dev_eui))
        return bad(call, TTJS_BAD_EUI);
    r = db_ttjs_load(call->worker->db, call->caller->organization_id, &dev_eui, 1, &claim);
    if (r < 0)
        return act_call_failed(call, r);
    if (!claim.is_here)
        return act_call_problem(call, PROBLEM_NOT_FOUND, TTJS_NO_CLAIM);
    if (!ttjs_is_own(call, &claim))
        return act_call_problem(call, PROBLEM_FORBIDDEN, TTJS_OTHER_AS);
    write_claim(&body, &claim.record.home_net_id, &claim.terms);
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

#define CALL(verb, path_, handler)                                                                 \
    .method = (verb), .path = (path_), .right = RIGHT_CLAIM_TTJS, .work = (handler),               \
    .by_certificate = true
static const struct act_route routes[] = {
    {CALL(API_PUT, CLAIM, put_claim), .body_max = ACT_JSON_BODY_MAX},
    {CALL(API_GET, CLAIM, get_claim)},
    {CALL(API_DELETE, CLAIM, ttjs_delete_claim)},
    {CALL(API_DELETE, "/api/v2/devices/{dev_euis}/claims", ttjs_delete_claims)},
};

const struct act_area act_area_ttjs = ACT_AREA(routes);
