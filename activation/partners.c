/* /v1/partners: the join servers that requests are carried to whose JoinEUI is not ours. The join
 * server hears of every change by the commit. */
#include "activation/credential.h"
#include "activation/operator_check.h"
#include "activation/peer_body.h"
#include "activation/peer_trust.h"
#include "base/error.h"
#include "db/partner.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLLECTION "/v1/partners"
#define VERSION_MAX 3 /* "1.1" */

/* --- what is said of one ---------------------------------------------------------------------- */

/* The members as they stand in the body. */
struct raw {
    char name[PEER_ID_MAX + 1];
    char url[PEER_URL_MAX + 1];
    char protocol_version[VERSION_MAX + 1];
    char credential[PEER_CREDENTIAL_MAX + 1];
    bool async;
    uint32_t timeout_ms, max_in_flight;
    struct net_id net_ids[PEER_NET_IDS_MAX];
    size_t n_net_ids;
    char san[PEER_SAN_MAX + 1];
    char ca[PEER_ANCHOR_MAX + 1];
    char crl[PEER_CRL_MAX + 1];
    bool has_name, has_url, has_protocol_version, has_credential, has_async, has_timeout_ms,
        has_max_in_flight, has_net_ids, has_san, has_ca, has_crl;
};

#define MEMBER(member, of_kind)                                                                    \
    .name = #member, .kind = (of_kind), .offset = offsetof(struct raw, member),                    \
    .size = sizeof(((struct raw *)0)->member),                                                     \
    .present_offset = offsetof(struct raw, has_##member)

static const struct json_field fields[] = {
    {MEMBER(name, JSON_TEXT)},
    {MEMBER(url, JSON_TEXT)},
    {MEMBER(protocol_version, JSON_TEXT)},
    {MEMBER(credential, JSON_TEXT), .nullable = true},
    {MEMBER(async, JSON_BOOL)},
    {MEMBER(timeout_ms, JSON_UNSIGNED), .max = UINT32_MAX},
    {MEMBER(max_in_flight, JSON_UNSIGNED), .max = UINT32_MAX},
    {.name = "net_ids",
        .kind = JSON_HEX_LIST,
        .offset = offsetof(struct raw, net_ids),
        .size = sizeof(struct net_id),
        .max = PEER_NET_IDS_MAX,
        .present_offset = offsetof(struct raw, has_net_ids),
        .len_offset = offsetof(struct raw, n_net_ids)},
    {MEMBER(san, JSON_TEXT), .nullable = true},
    {MEMBER(ca, JSON_TEXT), .nullable = true},
    {MEMBER(crl, JSON_TEXT), .nullable = true},
};

/* Each of these puts what the body says over what the partner is: 0, or the status of the answer
 * that it set. */

static unsigned take_name(struct act_call *call, const struct raw *raw, struct db_partner *partner)
{
    if (!raw->has_name)
        return 0;
    if (!act_peer_name_valid(raw->name))
        return act_call_bad_field(
            call, "name", "a partner's name has 1 to 64 bytes, no control characters and no /");
    memcpy(partner->name, raw->name, sizeof(raw->name));
    return 0;
}

static unsigned take_way(struct act_call *call, const struct raw *raw, struct db_partner *partner)
{
    int r;

    if (raw->has_url) {
        if ((r = act_partner_url_check(raw->url)) < 0)
            return peer_body_fault(call, "url", r);
        memcpy(partner->url, raw->url, sizeof(raw->url));
    }
    if (raw->has_credential) {
        if (raw->credential[0] != '\0' && (r = act_answer_credential_check(raw->credential)) < 0)
            return peer_body_fault(call, "credential", r);
        memcpy(partner->credential, raw->credential, sizeof(raw->credential));
    }
    if (raw->has_protocol_version) {
        partner->is_1_1 = strcmp(raw->protocol_version, "1.1") == 0;
        if (!partner->is_1_1 && strcmp(raw->protocol_version, "1.0") != 0)
            return act_call_bad_field(
                call, "protocol_version", "protocol_version is \"1.0\" or \"1.1\"");
    }
    return 0;
}

static unsigned take_bounds(
    struct act_call *call, const struct raw *raw, struct db_partner *partner)
{
    char why[80];

    if (raw->has_timeout_ms) {
        if (raw->timeout_ms < PARTNER_TIMEOUT_MIN_MS || raw->timeout_ms > PARTNER_TIMEOUT_MAX_MS) {
            (void)snprintf(why, sizeof(why), "timeout_ms is from %d to %d", PARTNER_TIMEOUT_MIN_MS,
                PARTNER_TIMEOUT_MAX_MS);
            return act_call_bad_field(call, "timeout_ms", why);
        }
        partner->timeout_ms = raw->timeout_ms;
    }
    if (raw->has_max_in_flight) {
        if (raw->max_in_flight < 1 || raw->max_in_flight > PARTNER_IN_FLIGHT_MAX) {
            (void)snprintf(
                why, sizeof(why), "max_in_flight is from 1 to %d", PARTNER_IN_FLIGHT_MAX);
            return act_call_bad_field(call, "max_in_flight", why);
        }
        partner->max_in_flight = raw->max_in_flight;
    }
    if (raw->has_net_ids) {
        if (peer_body_has_twice(raw->net_ids, raw->n_net_ids, sizeof(raw->net_ids[0])))
            return act_call_bad_field(call, "net_ids", "net_ids names a NetID twice");
        memcpy(partner->net_ids, raw->net_ids, sizeof(raw->net_ids));
        partner->n_net_ids = raw->n_net_ids;
    }
    if (raw->has_async)
        partner->is_async = raw->async;
    return 0;
}

static void drop_trust(struct db_partner *partner)
{
    free(partner->trust_anchor);
    free(partner->crl);
    partner->trust_anchor = partner->crl = NULL;
    partner->san[0] = '\0';
}

/* The three are said as a whole, or not at all; who does not post to us is known by nothing. */
static unsigned take_trust(struct act_call *call, const struct raw *raw, struct db_partner *partner)
{
    struct db_peer read = {0};
    const char *field = "san";
    bool is_said = raw->has_san || raw->has_ca || raw->has_crl;
    int r;

    if (!partner->is_async && raw->san[0] != '\0')
        return act_call_bad_field(
            call, "san", "san is for a partner that posts its answers (async)");
    if (!partner->is_async)
        drop_trust(partner);
    if (!is_said)
        return 0;
    if ((raw->san[0] != '\0') != (raw->ca[0] != '\0') || (raw->crl[0] != '\0' && !raw->has_ca))
        return act_call_bad_field(
            call, raw->san[0] == '\0' ? "san" : "ca", "san and ca are given together");
    /* A new CA with a list that nobody thought of would let those in again who are on it. */
    if (raw->san[0] != '\0' && partner->crl != NULL && !raw->has_crl)
        return act_call_bad_field(
            call, "crl", "crl is missing: it has a revocation list, and null takes it away");
    drop_trust(partner);
    if (raw->san[0] == '\0')
        return 0;
    r = act_peer_trust_read(
        raw->san, raw->ca, raw->crl[0] != '\0' ? raw->crl : NULL, &read, &field);
    if (r < 0) {
        act_peer_trust_done(&read);
        return peer_body_fault(call, field, r);
    }
    memcpy(partner->san, read.san, sizeof(partner->san));
    partner->trust_anchor = read.trust_anchor;
    partner->crl = read.crl;
    return 0;
}

/* What a body says, beside a name. */
struct said {
    bool trust; /* san, ca or crl */
    bool anything;
};

static unsigned read_body(struct act_call *call, struct db_partner *partner, struct said *ret)
{
    static unsigned (*const takers[])(struct act_call * call, const struct raw *raw,
        struct db_partner *partner) = {take_name, take_way, take_bounds, take_trust};
    struct raw *raw = calloc(1, sizeof(*raw));
    unsigned status;

    if (raw == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), raw);
    for (size_t i = 0; status == 0 && i < sizeof(takers) / sizeof(takers[0]); i++)
        status = takers[i](call, raw, partner);
    ret->trust = raw->has_san || raw->has_ca || raw->has_crl;
    ret->anything = ret->trust || raw->has_url || raw->has_protocol_version ||
                    raw->has_credential || raw->has_async || raw->has_timeout_ms ||
                    raw->has_max_in_flight || raw->has_net_ids;
    free(raw);
    return status;
}

/* --- what is answered ------------------------------------------------------------------------- */

static void write_text_or_null(struct text *out, const char *name, const char *value)
{
    text_addf(out, ",\"%s\":", name);
    if (value != NULL && value[0] != '\0')
        text_add_json(out, value);
    else
        text_add(out, "null");
}

/* Without the closing brace. */
static void write_partner(struct text *out, const struct db_partner_entry *entry)
{
    const struct db_partner *partner = &entry->partner;
    char net_id[NET_ID_TEXT_LEN + 1];

    text_add(out, "{\"name\":");
    text_add_json(out, partner->name);
    write_text_or_null(out, "url", partner->url);
    text_addf(out, ",\"protocol_version\":\"%s\"", partner->is_1_1 ? "1.1" : "1.0");
    write_text_or_null(out, "credential", partner->credential);
    text_addf(out, ",\"async\":%s,\"timeout_ms\":%u,\"max_in_flight\":%u,\"net_ids\":[",
        partner->is_async ? "true" : "false", partner->timeout_ms, partner->max_in_flight);
    for (size_t i = 0; i < partner->n_net_ids; i++)
        text_addf(out, "%s\"%s\"", i > 0 ? "," : "", net_id_format(&partner->net_ids[i], net_id));
    text_add(out, "]");
    write_text_or_null(out, "san", partner->san);
    text_addf(out, ",\"created_at\":\"%s\"", entry->created);
    write_text_or_null(out, "revoked_at", entry->revoked);
}

/* What the record is now, without PEM and without the token. */
static int audit_partner(struct act_call *call, const char *action,
    const struct db_partner_entry *entry, bool trust_changed, bool new_token)
{
    CLEANUP(text_done) struct text detail = {0};

    write_partner(&detail, entry);
    text_addf(&detail, ",\"trust_changed\":%s,\"has_crl\":%s,\"new_token\":%s}",
        trust_changed ? "true" : "false", entry->partner.crl != NULL ? "true" : "false",
        new_token ? "true" : "false");
    return act_call_audit(call, 0, action, entry->partner.name, detail.data);
}

/* 409 that says who is in the way. */
static unsigned answer_taken(struct act_call *call, const struct db_partner *partner)
{
    CLEANUP(db_partner_entry_done) struct db_partner_entry other = {0};
    CLEANUP(text_done) struct text why = {0};
    int r = db_partner_find(call->worker->db, partner->name, &other);

    if (r < 0)
        return act_call_failed(call, r);
    if (r == 0 && other.revoked[0] == '\0' && other.partner.id != partner->id)
        text_addf(&why, "the partner %s is there already", partner->name);
    else
        text_addf(&why, "the SAN %s is that of another partner or peer", partner->san);
    return act_call_problem(call, PROBLEM_CONFLICT, why.data);
}

/* The partner as it is now; with the token where there is a new one, shown this once. */
static unsigned answer_partner(struct act_call *call, unsigned status, const char *action,
    const char *name, bool trust_changed, const struct act_secret *token)
{
    CLEANUP(db_partner_entry_done) struct db_partner_entry now = {0};
    struct text body = {0};
    int r = db_partner_find(call->worker->db, name, &now);

    if (r != 0 || (r = audit_partner(call, action, &now, trust_changed, token != NULL)) < 0)
        return act_call_failed(call, r);
    write_partner(&body, &now);
    if (token != NULL) {
        call->shown_once = true;
        text_addf(&body, ",\"token\":\"%s\"", token->text);
    }
    text_add(&body, "}\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

/* --- calls ------------------------------------------------------------------------------------ */

static unsigned post_partner(struct act_call *call)
{
    CLEANUP(db_partner_entry_done)
    struct db_partner_entry wanted = {.partner = {.timeout_ms = PARTNER_TIMEOUT_DEFAULT_MS,
                                          .max_in_flight = PARTNER_IN_FLIGHT_DEFAULT}};
    CLEANUP(act_secret_wipe) struct act_secret token = {0};
    struct db_partner *partner = &wanted.partner;
    struct said said;
    unsigned status = read_body(call, partner, &said);
    int r;

    if (status != 0)
        return status;
    if (partner->name[0] == '\0')
        return act_call_bad_field(call, "name", "name is missing");
    if (partner->url[0] == '\0')
        return act_call_bad_field(call, "url", "url is missing");
    if (partner->is_async && (r = act_secret_make(&token, partner->token_hash)) < 0)
        return act_call_failed(call, r);
    if ((r = db_partner_add(call->worker->db, partner)) > 0)
        return answer_taken(call, partner);
    if (r < 0)
        return act_call_failed(call, r);
    act_call_locate_name(call, COLLECTION, partner->name);
    return answer_partner(
        call, 201, "partner.create", partner->name, said.trust, partner->is_async ? &token : NULL);
}

static unsigned get_partners(struct act_call *call)
{
    CLEANUP(db_partner_list_done) struct db_partner_list list = {0};
    CLEANUP(text_done) struct text body = {0};
    int64_t after;
    size_t limit;
    unsigned status = act_call_page_number(call, &limit, &after);
    int r;

    if (status != 0)
        return status;
    if ((r = db_partner_list_load(call->worker->db, after, limit + 1, &list)) < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < list.n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_partner(&body, &list.entries[i]);
        text_add(&body, "}");
    }
    act_list_end_number(&body, list.n > limit ? list.entries[limit - 1].partner.id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned none(struct act_call *call)
{
    char why[ACT_NONE_MAX];

    return act_call_problem(call, PROBLEM_NOT_FOUND,
        act_none_named("partner", act_call_param(call, 0), ", or it is revoked already", why));
}

/* The partner of the path. Outcome 1: there is none. */
static int find(struct act_call *call, struct db_partner_entry *ret)
{
    const char *name = act_call_param(call, 0);

    /* Other bytes are no text that could be asked for. */
    return act_peer_name_valid(name) ? db_partner_find(call->worker->db, name, ret) : 1;
}

static unsigned get_partner(struct act_call *call)
{
    CLEANUP(db_partner_entry_done) struct db_partner_entry entry = {0};
    struct text body = {0};
    int r = find(call, &entry);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return none(call);
    write_partner(&body, &entry);
    write_text_or_null(&body, "ca", entry.partner.trust_anchor);
    write_text_or_null(&body, "crl", entry.partner.crl);
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* The partner of the path, when it may be changed, and held until the call is over. 0, or the
 * status of the answer that was set. */
static unsigned hold(struct act_call *call, struct db_partner_entry *ret)
{
    const char *name = act_call_param(call, 0);
    int r = act_peer_name_valid(name) ? db_partner_lock(call->worker->db, name) : 1;

    if (r == 0)
        r = find(call, ret);
    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 || ret->revoked[0] != '\0' ? none(call) : 0;
}

static unsigned patch_partner(struct act_call *call)
{
    CLEANUP(db_partner_entry_done) struct db_partner_entry wanted = {0};
    CLEANUP(act_secret_wipe) struct act_secret token = {0};
    struct db_partner *partner = &wanted.partner;
    char name[PEER_ID_MAX + 1];
    bool was_async, new_token;
    struct said said;
    unsigned status = hold(call, &wanted);
    int r;

    if (status != 0)
        return status;
    was_async = partner->is_async;
    memcpy(name, partner->name, sizeof(name));
    if ((status = read_body(call, partner, &said)) != 0)
        return status;
    if (strcmp(name, partner->name) != 0)
        return act_call_bad_field(call, "name", "a partner keeps its name");
    if (!said.anything)
        return act_call_says_nothing(call);
    new_token = partner->is_async && !was_async;
    if (new_token && (r = act_secret_make(&token, partner->token_hash)) < 0)
        return act_call_failed(call, r);
    if ((r = db_partner_set(call->worker->db, partner, new_token)) > 0)
        return answer_taken(call, partner);
    if (r < 0)
        return act_call_failed(call, r);
    return answer_partner(
        call, 200, "partner.change", partner->name, said.trust, new_token ? &token : NULL);
}

static unsigned delete_partner(struct act_call *call)
{
    CLEANUP(db_partner_entry_done) struct db_partner_entry before = {0}, now = {0};
    char prefix[EUI64_TEXT_LEN + 1], why[160];
    struct eui64 named;
    unsigned bits, status = hold(call, &before);
    int r;

    if (status != 0)
        return status;
    r = db_partner_revoke(call->worker->db, before.partner.name, &named, &bits);
    if (r == DB_PARTNER_HAS_ROUTE) {
        (void)snprintf(why, sizeof(why), "the route %s/%u goes to it: change or remove it first",
            eui64_format(&named, prefix), bits);
        return act_call_problem(call, PROBLEM_CONFLICT, why);
    }
    if (r > 0)
        return none(call);
    if (r < 0 || (r = db_partner_find(call->worker->db, before.partner.name, &now)) != 0 ||
        (r = audit_partner(call, "partner.revoke", &now, false, false)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = COLLECTION,
        .right = RIGHT_PARTNERS,
        .body_max = PEER_BODY_MAX,
        .work = post_partner,
        .changes = true},
    {.method = API_GET, .path = COLLECTION, .right = RIGHT_PARTNERS, .work = get_partners},
    {.method = API_GET, .path = COLLECTION "/{name}", .right = RIGHT_PARTNERS, .work = get_partner},
    {.method = API_PATCH,
        .path = COLLECTION "/{name}",
        .right = RIGHT_PARTNERS,
        .body_max = PEER_BODY_MAX,
        .work = patch_partner,
        .changes = true},
    {.method = API_DELETE,
        .path = COLLECTION "/{name}",
        .right = RIGHT_PARTNERS,
        .work = delete_partner,
        .changes = true},
};

const struct act_area act_area_partners = ACT_AREA(routes);
