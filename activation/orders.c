/* POST /v1/batches and what is said about an order: credentials that are made here, in the HSM, for
 * a maker who builds devices with them. What becomes of one is its job's (db/job.h). */
#include "activation/batches.h"
#include "activation/operator_check.h"
#include "activation/rsa_public.h"
#include "base/hex.h"
#include "db/join_route.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_TEXT_LEN ((size_t)2 * ACCOUNT_ID_LEN)
#define WORD_MAX 15
#define EUI_MAX 31 /* of any spelling of base/eui.h */
#define DETAIL_MAX 300

struct order_body {
    uint32_t count;
    char kind[WORD_MAX + 1];
    char certificate[CERTIFICATE_NUMBER_LEN + 1];
    char join_eui[EUI_MAX + 1];
    char mac_version[WORD_MAX + 1];
    uint8_t profile_id[DB_ORDER_PROFILE_ID_LEN];
    char delivery[WORD_MAX + 1];
    char public_key[RSA_PUBLIC_PEM_MAX + 1];
    uint8_t block[ACCOUNT_ID_LEN];
    bool has_join_eui, has_mac_version, has_profile_id, has_delivery, has_block;
};

#define MEMBER(member, as, ...)                                                                    \
    {                                                                                              \
        .name = #member, .kind = (as), .offset = offsetof(struct order_body, member),              \
        .size = sizeof(((struct order_body *)0)->member), __VA_ARGS__                              \
    }
#define REQUIRED .required = true, .present_offset = JSON_NO_PRESENT
#define OPTIONAL(member) .present_offset = offsetof(struct order_body, has_##member)
static const struct json_field fields[] = {
    MEMBER(count, JSON_UNSIGNED, .max = UINT32_MAX, REQUIRED),
    MEMBER(kind, JSON_TEXT, REQUIRED),
    MEMBER(certificate, JSON_TEXT, REQUIRED),
    MEMBER(join_eui, JSON_TEXT, OPTIONAL(join_eui)),
    MEMBER(mac_version, JSON_TEXT, OPTIONAL(mac_version)),
    MEMBER(profile_id, JSON_HEX, OPTIONAL(profile_id)),
    MEMBER(delivery, JSON_TEXT, OPTIONAL(delivery)),
    MEMBER(public_key, JSON_TEXT, REQUIRED),
    MEMBER(block, JSON_HEX, OPTIONAL(block)),
};

/* --- what is asked ---------------------------------------------------------------------------- */

/* Each of these: 0, or the status of the answer it set. */

static unsigned read_join_eui(
    struct act_call *call, const struct order_body *body, struct db_order_wish *wish)
{
    struct db_route_entry route, owned;
    int r;

    if (!eui64_parse(body->join_eui, strlen(body->join_eui), &wish->join_eui))
        return act_call_bad_field(call, "join_eui",
            "join_eui is missing, or not 16 hexadecimal digits: every LoRaWAN device has one");
    if ((r = db_join_route_longest(call->worker->db, &wish->join_eui, &route, &owned)) < 0)
        return act_call_failed(call, r);
    if (r > 0 || !db_route_is_local(&route.route))
        return act_call_bad_field(call, "join_eui",
            "join_eui is none of this service's: joins would be asked for elsewhere");
    if (owned.route.organization_id != 0 &&
        owned.route.organization_id != call->caller->organization_id)
        return act_call_bad_field(
            call, "join_eui", "join_eui is in a range that belongs to another organization");
    return 0;
}

static unsigned read_kind(
    struct act_call *call, const struct order_body *body, struct db_order_wish *wish)
{
    static const char no_meaning[] = "a Sigfox device has no JoinEUI, version and ProfileID";

    if (strcmp(body->kind, device_kind_text(DEVICE_SIGFOX)) == 0) {
        wish->kind = DEVICE_SIGFOX;
        if (body->has_join_eui || body->has_mac_version || body->has_profile_id)
            return act_call_bad_field(call,
                body->has_join_eui      ? "join_eui"
                : body->has_mac_version ? "mac_version"
                                        : "profile_id",
                no_meaning);
        return 0;
    }
    wish->kind = DEVICE_LORAWAN;
    if (strcmp(body->kind, device_kind_text(DEVICE_LORAWAN)) != 0)
        return act_call_bad_field(call, "kind", "kind is lorawan or sigfox");
    if (!lw_mac_version_parse(body->mac_version, &wish->mac_version))
        return act_call_bad_field(call, "mac_version",
            "mac_version is missing, or none of 1.0.0, 1.0.1, 1.0.2, 1.0.3, 1.0.4 and 1.1");
    wish->profile_id = body->has_profile_id ? body->profile_id : NULL;
    return read_join_eui(call, body, wish);
}

static unsigned read_certificate(
    struct act_call *call, const char *number, struct db_certificate *ret)
{
    int r = 1;

    /* As a text that is asked for; what does not look so is none. */
    if (strlen(number) == CERTIFICATE_NUMBER_LEN && number[0] == 'M' && act_as_id_valid(number))
        r = db_certificate_find(call->worker->db, number, ret);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || ret->organization_id != call->caller->organization_id)
        return act_call_bad_field(call, "certificate",
            "certificate is no certificate of a module that this organization has");
    return ret->revoked_at[0] == '\0'
               ? 0
               : act_call_bad_field(call, "certificate", "the certificate is revoked");
}

static unsigned read_block(
    struct act_call *call, const struct order_body *body, struct db_order_wish *wish)
{
    struct db_eui_block block;
    int r;

    if (!body->has_block)
        return 0;
    if ((r = db_eui_block_find(call->worker->db, body->block, &block)) < 0)
        return act_call_failed(call, r);
    if (r > 0 || block.organization_id != call->caller->organization_id || block.kind != wish->kind)
        return act_call_bad_field(
            call, "block", "block is none of this kind that this organization has");
    if (block.closed_at[0] != '\0')
        return act_call_bad_field(call, "block", "the block is closed");
    wish->block_id = block.row_id;
    return 0;
}

static unsigned read_delivery(struct act_call *call, const struct order_body *body,
    const struct db_organization *organization, struct db_order_wish *wish)
{
    wish->delivery = ORDER_JWE;
    if (body->has_delivery && !db_order_delivery_parse(body->delivery, &wish->delivery))
        return act_call_bad_field(call, "delivery", "delivery is jwe or legacy");
    if (wish->delivery != ORDER_LEGACY)
        return 0;
    if (!organization->allow_legacy_delivery)
        return act_call_problem_of(call, PROBLEM_FORBIDDEN, "delivery",
            "id_key.bin protects nothing against being changed, and this organization is not "
            "allowed it (allow_legacy_delivery): order with delivery jwe");
    return wish->kind == DEVICE_LORAWAN && wish->mac_version == LW_MAC_1_1
               ? act_call_bad_field(call, "delivery",
                     "a record of id_key.bin has one key, and a device of LoRaWAN 1.1 two: order "
                     "with delivery jwe")
               : 0;
}

static unsigned read_public_key(
    struct act_call *call, const struct order_body *body, struct db_order_wish *wish)
{
    struct keyd_public_key key;
    char detail[RSA_PUBLIC_TEXT_MAX];
    enum rsa_public_outcome outcome = rsa_public_parse(body->public_key, KEYD_RSA_MAX, &key);

    wish->public_key = body->public_key;
    if (outcome == RSA_PUBLIC_OK)
        return rsa_public_digest(body->public_key, wish->key_digest)
                   ? 0
                   : act_call_problem(call, PROBLEM_INTERNAL, NULL);
    rsa_public_explain(outcome, KEYD_RSA_MAX, detail);
    return act_call_bad_field(call, "public_key", detail);
}

static unsigned read_order(struct act_call *call, const struct order_body *body,
    const struct db_organization *organization, struct db_order_wish *wish)
{
    struct db_certificate certificate;
    unsigned status;

    if (body->count < 1 || body->count > DB_ORDER_MAX)
        return act_call_bad_field(call, "count", "count is not an integer from 1 to 1,000,000");
    wish->n = body->count;
    if ((status = read_kind(call, body, wish)) != 0 ||
        (status = read_certificate(call, body->certificate, &certificate)) != 0 ||
        (status = read_block(call, body, wish)) != 0 ||
        (status = read_delivery(call, body, organization, wish)) != 0)
        return status;
    wish->organization_id = organization->row_id;
    wish->client_id = call->caller->client_id;
    wish->module_id = certificate.row_id;
    wish->code_length = organization->claim_code_length;
    wish->request_id = api_request_id(call->request);
    return read_public_key(call, body, wish);
}

/* --- what is done ----------------------------------------------------------------------------- */

static int audit(struct act_call *call, const char *action, const struct db_batch *b)
{
    CLEANUP(text_done) struct text detail = {0};
    char id[ID_TEXT_LEN + 1], first[DEVICE_ID_TEXT_LEN + 1];

    text_addf(&detail,
        "{\"kind\":\"%s\",\"count\":%" PRId64 ",\"certificate\":\"%s\",\"delivery\":\"%s\""
        ",\"state\":\"%s\"",
        device_kind_text(b->order.kind), b->order.n, b->order.certificate,
        db_order_delivery_text(b->order.delivery), db_order_state_text(b->order.state));
    text_add(&detail, ",\"public_key_sha256\":\"");
    text_add_hex(&detail, b->order.key_digest, sizeof(b->order.key_digest));
    text_add(&detail, "\"");
    if (b->order.is_given)
        text_addf(&detail, ",\"first\":\"%s\"", device_id_format(&b->order.first, first));
    if (b->order.reason[0] != '\0') {
        text_add(&detail, ",\"reason\":");
        text_add_json(&detail, b->order.reason);
    }
    text_add(&detail, "}");
    return act_call_audit(
        call, b->organization_id, action, hex_encode(b->id, sizeof(b->id), id), detail.data);
}

/* Records what was done to the batch of this id, and answers it as it is by now. */
static unsigned answer(
    struct act_call *call, unsigned status, const char *action, const uint8_t *batch_id)
{
    struct db_batch batch;
    struct text body = {0};
    int r = db_batch_find(call->worker->db, batch_id, &batch);

    if (r < 0 || (r == 0 && (r = audit(call, action, &batch)) < 0))
        return act_call_failed(call, r);
    if (r > 0)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    act_batch_write(&body, &batch);
    text_add(&body, "\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

static const char over[] = "the order does not wait for anybody any more";

static unsigned begin(struct act_call *call, const struct db_batch *batch, const uint8_t *approver)
{
    char detail[DETAIL_MAX];
    int64_t left = 0;
    int r = db_order_begin(
        call->worker->db, batch->row_id, approver, api_request_id(call->request), &left);

    if (r <= 0)
        return r < 0 ? act_call_failed(call, r) : 0;
    if (r == DB_ORDER_OVER)
        return act_call_problem(call, PROBLEM_CONFLICT, over);
    if (left < 0)
        (void)snprintf(detail, sizeof(detail),
            "block exhausted: this organization has no open block of %s identifiers; an "
            "administrator gives it one",
            device_kind_text(batch->order.kind));
    else
        (void)snprintf(detail, sizeof(detail),
            "block exhausted: the one with most left has %" PRId64 " of the %" PRId64
            " identifiers wanted, which are of one block; an administrator gives another",
            left, batch->order.n);
    return act_call_problem(call, PROBLEM_CONFLICT, detail);
}

static unsigned add(struct act_call *call, const struct db_order_wish *wish, struct db_batch *ret)
{
    uint8_t batch_id[ACCOUNT_ID_LEN];
    char detail[DETAIL_MAX];
    int r = db_order_add(call->worker->db, wish, batch_id);

    if (r > 0) {
        (void)snprintf(detail, sizeof(detail),
            "%d orders of this organization have not ended: wait for one, or cancel one",
            DB_ORDER_OPEN_MAX);
        return act_call_problem(call, PROBLEM_CONFLICT, detail);
    }
    if (r == 0 && (r = db_batch_find(call->worker->db, batch_id, ret)) > 0)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    return r < 0 ? act_call_failed(call, r) : 0;
}

static unsigned post_order(struct act_call *call)
{
    CLEANUP(cleanup_free) struct order_body *body = calloc(1, sizeof(*body));
    struct db_order_wish wish = {0};
    struct db_organization organization;
    struct db_batch batch;
    char id[ID_TEXT_LEN + 1];
    unsigned status;
    int r;

    if (body == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if ((status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), body)) != 0)
        return status;
    if ((r = db_organization_find(
             call->worker->db, call->caller->organization_public_id, &organization)) != 0)
        return r < 0 ? act_call_failed(call, r) : act_call_problem(call, PROBLEM_INTERNAL, NULL);
    if ((status = read_order(call, body, &organization, &wish)) != 0 ||
        (status = add(call, &wish, &batch)) != 0)
        return status;
    if (!organization.orders_need_approval && (status = begin(call, &batch, NULL)) != 0)
        return status;
    act_call_locate(call, "/v1/batches/%s", hex_encode(batch.id, sizeof(batch.id), id));
    return answer(call, 201, "order.ask", batch.id);
}

/* --- the word of another ---------------------------------------------------------------------- */

/* The order of the path, which waits. 0, or the status of the answer it set. */
static unsigned find_waiting(struct act_call *call, struct db_batch *ret)
{
    char detail[DETAIL_MAX];
    unsigned status = act_batch_find(call, 0, ret);

    if (status != 0)
        return status;
    if (!ret->is_order)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "the batch was not ordered, but brought in");
    if (ret->order.state == ORDER_REQUESTED)
        return 0;
    (void)snprintf(
        detail, sizeof(detail), "%s: it is %s", over, db_order_state_text(ret->order.state));
    return act_call_problem(call, PROBLEM_CONFLICT, detail);
}

static bool is_its_own(const struct act_call *call, const struct db_batch *batch)
{
    return memcmp(batch->order.asked_by, call->caller->client_id, ACCOUNT_ID_LEN) == 0;
}

/* What may have been taken away since it was asked for. */
static unsigned check_still_allowed(struct act_call *call, const struct db_batch *batch)
{
    struct db_certificate certificate;
    struct db_organization organization;
    bool is_revoked = false, clear = false;
    unsigned status = read_certificate(call, batch->order.certificate, &certificate);
    int r;

    if (status != 0)
        return status;
    if ((r = db_client_standing(call->worker->db, batch->order.asked_by, &is_revoked, &clear)) <
            0 ||
        (r = db_organization_find(
             call->worker->db, call->caller->organization_public_id, &organization)) < 0)
        return act_call_failed(call, r);
    if (is_revoked)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "the client that asked for the order was revoked: reject it, and ask anew");
    return batch->order.delivery == ORDER_LEGACY && !organization.allow_legacy_delivery
               ? act_call_problem(call, PROBLEM_CONFLICT,
                     "this organization is not allowed delivery legacy any more: reject the order")
               : 0;
}

static unsigned post_approve(struct act_call *call)
{
    struct db_batch batch;
    unsigned status = find_waiting(call, &batch);

    if (status != 0)
        return status;
    if (is_its_own(call, &batch))
        return act_call_problem(call, PROBLEM_FORBIDDEN,
            "this client asked for the order: another of the organization's approves it");
    if ((status = check_still_allowed(call, &batch)) != 0 ||
        (status = begin(call, &batch, call->caller->client_id)) != 0)
        return status;
    return answer(call, 200, "order.approve", batch.id);
}

struct reject_body {
    char reason[DB_ORDER_REASON_MAX + 1];
    bool has_reason;
};
static const struct json_field reject_fields[] = {
    {.name = "reason",
        .kind = JSON_TEXT,
        .offset = offsetof(struct reject_body, reason),
        .size = sizeof(((struct reject_body *)0)->reason),
        .present_offset = offsetof(struct reject_body, has_reason)},
};

static unsigned post_reject(struct act_call *call)
{
    struct reject_body body;
    struct db_batch batch;
    unsigned status = find_waiting(call, &batch);
    int r;

    if (status == 0)
        status = act_call_read(
            call, reject_fields, sizeof(reject_fields) / sizeof(reject_fields[0]), &body);
    if (status != 0)
        return status;
    if (is_its_own(call, &batch))
        return act_call_problem(call, PROBLEM_FORBIDDEN,
            "this client asked for the order: it withdraws it, and another rejects it");
    if (body.has_reason && !act_name_valid(body.reason, DB_ORDER_REASON_MAX))
        return act_call_bad_field(
            call, "reason", "reason is not a text of 1 to 200 bytes without control characters");
    r = db_order_reject(call->worker->db, batch.row_id, call->caller->client_id, body.reason);
    if (r != 0)
        return r < 0 ? act_call_failed(call, r) : act_call_problem(call, PROBLEM_CONFLICT, over);
    return answer(call, 200, "order.reject", batch.id);
}

static unsigned post_withdraw(struct act_call *call)
{
    struct db_batch batch;
    unsigned status = find_waiting(call, &batch);
    int r;

    if (status != 0)
        return status;
    if (!is_its_own(call, &batch))
        return act_call_problem(call, PROBLEM_FORBIDDEN,
            "another client asked for the order: only that one withdraws it; others reject it");
    if ((r = db_order_withdraw(call->worker->db, batch.row_id)) != 0)
        return r < 0 ? act_call_failed(call, r) : act_call_problem(call, PROBLEM_CONFLICT, over);
    return answer(call, 200, "order.withdraw", batch.id);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/batches",
        .right = RIGHT_ORDER,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_order,
        .changes = true},
    {.method = API_POST,
        .path = "/v1/batches/{batch}/approve",
        .right = RIGHT_ORDER_DECIDE,
        .work = post_approve,
        .changes = true},
    {.method = API_POST,
        .path = "/v1/batches/{batch}/reject",
        .right = RIGHT_ORDER_DECIDE,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_reject,
        .changes = true},
    {.method = API_POST,
        .path = "/v1/batches/{batch}/withdraw",
        .right = RIGHT_ORDER,
        .work = post_withdraw,
        .changes = true},
};

const struct act_area act_area_orders = ACT_AREA(routes);
