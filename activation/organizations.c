/* /v1/organizations, their clients, and /v1/audit: who is who, and what was done. */
#include "activation/call.h"
#include "activation/credential.h"
#include "activation/operator_check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "device/code.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_TEXT_LEN ((size_t)2 * ACCOUNT_ID_LEN)

static const char bad_name[] = "name is not a text of 1 to 100 bytes without control characters";

static void write_organization(struct text *out, const struct db_organization *o)
{
    text_add(out, "{\"id\":\"");
    text_add_hex(out, o->id, sizeof(o->id));
    text_add(out, "\",\"name\":");
    text_add_json(out, o->name);
    text_addf(out, ",\"allow_clear_keys\":%s,\"subscription_required\":%s,\"claim_code_length\":%u",
        o->allow_clear_keys ? "true" : "false", o->subscription_required ? "true" : "false",
        o->claim_code_length);
    text_addf(out,
        ",\"orders_need_approval\":%s,\"allow_legacy_delivery\":%s,\"created_at\":\"%s\"}",
        o->orders_need_approval ? "true" : "false", o->allow_legacy_delivery ? "true" : "false",
        o->created);
}

static unsigned answer_organization(
    struct act_call *call, unsigned status, const struct db_organization *o)
{
    struct text body = {0};

    write_organization(&body, o);
    text_add(&body, "\n");
    return act_call_answer(call, status, TYPE_JSON, &body);
}

/* What a body may say of an organization. */
struct organization_body {
    char name[ACCOUNT_NAME_MAX + 1];
    bool has_name;
    bool allow_clear_keys;
    bool has_allow_clear_keys;
    bool subscription_required;
    bool has_subscription_required;
    uint32_t claim_code_length;
    bool has_claim_code_length;
    bool orders_need_approval;
    bool has_orders_need_approval;
    bool allow_legacy_delivery;
    bool has_allow_legacy_delivery;
};

static const struct json_field organization_fields[] = {
    {.name = "name",
        .kind = JSON_TEXT,
        .offset = offsetof(struct organization_body, name),
        .size = sizeof(((struct organization_body *)0)->name),
        .present_offset = offsetof(struct organization_body, has_name)},
    {.name = "allow_clear_keys",
        .kind = JSON_BOOL,
        .offset = offsetof(struct organization_body, allow_clear_keys),
        .present_offset = offsetof(struct organization_body, has_allow_clear_keys)},
    {.name = "subscription_required",
        .kind = JSON_BOOL,
        .offset = offsetof(struct organization_body, subscription_required),
        .present_offset = offsetof(struct organization_body, has_subscription_required)},
    {.name = "claim_code_length",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct organization_body, claim_code_length),
        .max = DEVICE_CODE_MAX,
        .present_offset = offsetof(struct organization_body, has_claim_code_length)},
    {.name = "orders_need_approval",
        .kind = JSON_BOOL,
        .offset = offsetof(struct organization_body, orders_need_approval),
        .present_offset = offsetof(struct organization_body, has_orders_need_approval)},
    {.name = "allow_legacy_delivery",
        .kind = JSON_BOOL,
        .offset = offsetof(struct organization_body, allow_legacy_delivery),
        .present_offset = offsetof(struct organization_body, has_allow_legacy_delivery)},
};

/* 0, or the status of the answer that was set. */
static unsigned read_organization(struct act_call *call, struct organization_body *ret)
{
    unsigned status = act_call_read(call, organization_fields,
        sizeof(organization_fields) / sizeof(organization_fields[0]), ret);

    if (status == 0 && ret->has_name && !act_name_valid(ret->name, ACCOUNT_NAME_MAX))
        return act_call_bad_field(call, "name", bad_name);
    if (status == 0 && ret->has_claim_code_length &&
        !device_code_length_is_made(ret->claim_code_length))
        return act_call_bad_field(call, "claim_code_length", "claim_code_length is not 16 or 26");
    return status;
}

static int audit_organization(
    struct act_call *call, const char *action, const struct db_organization *o)
{
    CLEANUP(text_done) struct text detail = {0};
    char id[ID_TEXT_LEN + 1];

    text_add(&detail, "{\"name\":");
    text_add_json(&detail, o->name);
    text_addf(&detail,
        ",\"allow_clear_keys\":%s,\"subscription_required\":%s,\"claim_code_length\":%u",
        o->allow_clear_keys ? "true" : "false", o->subscription_required ? "true" : "false",
        o->claim_code_length);
    text_addf(&detail, ",\"orders_need_approval\":%s,\"allow_legacy_delivery\":%s}",
        o->orders_need_approval ? "true" : "false", o->allow_legacy_delivery ? "true" : "false");
    return act_call_audit(
        call, o->row_id, action, hex_encode(o->id, sizeof(o->id), id), detail.data);
}

static unsigned post_organization(struct act_call *call)
{
    struct db_organization o = {0};
    struct organization_body body;
    char id[ID_TEXT_LEN + 1];
    unsigned status = read_organization(call, &body);
    int r;

    if (status != 0)
        return status;
    if (!body.has_name)
        return act_call_bad_field(call, "name", "name is missing");
    memcpy(o.name, body.name, sizeof(o.name));
    o.allow_clear_keys = body.has_allow_clear_keys && body.allow_clear_keys;
    o.subscription_required = body.has_subscription_required && body.subscription_required;
    o.claim_code_length = body.has_claim_code_length ? body.claim_code_length : DEVICE_CODE_HEX_LEN;
    o.orders_need_approval = body.has_orders_need_approval && body.orders_need_approval;
    o.allow_legacy_delivery = body.has_allow_legacy_delivery && body.allow_legacy_delivery;
    if ((r = db_organization_add(call->worker->db, &o)) > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, "there is an organization of this name");
    if (r < 0 || (r = audit_organization(call, "organization.create", &o)) < 0)
        return act_call_failed(call, r);
    act_call_locate(call, "/v1/organizations/%s", hex_encode(o.id, sizeof(o.id), id));
    return answer_organization(call, 201, &o);
}

static unsigned get_organizations(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    uint8_t cursor[ACCOUNT_ID_LEN];
    struct db_organization *list;
    bool has_cursor;
    size_t limit, n;
    unsigned status = act_call_page(call, &limit, cursor, &has_cursor);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_organization_list(call->worker->db, has_cursor ? cursor : NULL, list, limit + 1, &n);
    if (r == 0) {
        text_add(&body, ACT_LIST_BEGIN);
        for (size_t i = 0; i < n && i < limit; i++) {
            text_add(&body, i > 0 ? "," : "");
            write_organization(&body, &list[i]);
        }
        act_list_end(&body, n > limit ? list[limit - 1].id : NULL);
    }
    free(list);
    return r < 0 ? act_call_failed(call, r) : act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned get_organization(struct act_call *call)
{
    struct db_organization o;
    unsigned status = act_call_organization(call, 0, &o);

    return status != 0 ? status : answer_organization(call, 200, &o);
}

static unsigned patch_organization(struct act_call *call)
{
    struct db_organization o;
    struct organization_body body;
    struct db_organization_change change = {0};
    unsigned status = act_call_organization(call, 0, &o);
    int r;

    if (status == 0)
        status = read_organization(call, &body);
    if (status != 0)
        return status;
    if (body.has_name)
        change.name = body.name;
    if (body.has_allow_clear_keys)
        change.allow_clear_keys = &body.allow_clear_keys;
    if (body.has_subscription_required)
        change.subscription_required = &body.subscription_required;
    if (body.has_claim_code_length)
        change.claim_code_length = &body.claim_code_length;
    if (body.has_orders_need_approval)
        change.orders_need_approval = &body.orders_need_approval;
    if (body.has_allow_legacy_delivery)
        change.allow_legacy_delivery = &body.allow_legacy_delivery;
    if ((r = db_organization_set(call->worker->db, o.row_id, &change, &o)) > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, "there is an organization of this name");
    if (r < 0 || (r = audit_organization(call, "organization.change", &o)) < 0)
        return act_call_failed(call, r);
    return answer_organization(call, 200, &o);
}

/* --- clients --------------------------------------------------------------------------------- */

/* In a list of roles "maker" is written as the two that it is. */
static void write_roles(struct text *out, unsigned roles)
{
    const char *comma = "";

    text_add(out, "[");
    for (const struct word_bits *w = account_role_names; w->word != NULL; w++) {
        if ((w->bits & (w->bits - 1)) != 0 || (roles & w->bits) == 0)
            continue;
        text_addf(out, "%s\"%s\"", comma, w->word);
        comma = ",";
    }
    text_add(out, "]");
}

static void write_client(
    struct text *out, const struct db_client *c, const struct act_secret *secret)
{
    text_add(out, "{\"client_id\":\"");
    text_add_hex(out, c->id, sizeof(c->id));
    text_add(out, "\",\"name\":");
    text_add_json(out, c->name);
    text_add(out, ",\"roles\":");
    write_roles(out, c->roles);
    text_add(out, ",\"application_server\":");
    if (c->as_id[0] != '\0')
        text_add_json(out, c->as_id);
    else
        text_add(out, "null");
    if (secret != NULL)
        text_addf(out, ",\"client_secret\":\"%s\"", secret->text);
    text_addf(out, ",\"created_at\":\"%s\",\"revoked_at\":", c->created);
    text_addf(out, c->revoked ? "\"%s\"}" : "%s}", c->revoked ? c->revoked_at : "null");
}

struct client_body {
    char name[ACCOUNT_NAME_MAX + 1];
    unsigned roles;
    char as_id[PEER_ID_MAX + 1]; /* "": it is no application server */
};

static const struct json_field client_fields[] = {
    {.name = "name",
        .kind = JSON_TEXT,
        .offset = offsetof(struct client_body, name),
        .size = sizeof(((struct client_body *)0)->name),
        .present_offset = JSON_NO_PRESENT},
    {.name = "roles",
        .kind = JSON_WORDS,
        .offset = offsetof(struct client_body, roles),
        .required = true,
        .words = account_role_names,
        .present_offset = JSON_NO_PRESENT},
    {.name = "application_server",
        .kind = JSON_TEXT,
        .offset = offsetof(struct client_body, as_id),
        .size = sizeof(((struct client_body *)0)->as_id),
        .nullable = true,
        .present_offset = JSON_NO_PRESENT},
};

static int audit_client(struct act_call *call, const char *action, const struct db_client *c)
{
    CLEANUP(text_done) struct text detail = {0};
    char id[ID_TEXT_LEN + 1];

    text_add(&detail, "{\"name\":");
    text_add_json(&detail, c->name);
    text_add(&detail, ",\"roles\":");
    write_roles(&detail, c->roles);
    if (c->as_id[0] != '\0') {
        text_add(&detail, ",\"application_server\":");
        text_add_json(&detail, c->as_id);
    }
    text_add(&detail, "}");
    return act_call_audit(
        call, c->organization_id, action, hex_encode(c->id, sizeof(c->id), id), detail.data);
}

/* An application server shows its certificate: the secret of its client is nobody's. */
static unsigned add_client(struct act_call *call, struct db_client *client)
{
    int r = db_organization_client_add(call->worker->db, client);

    if (r == DB_CLIENT_NO_PEER)
        return act_call_bad_field(call, "application_server",
            "application_server is no application server that is known here");
    if (r == DB_CLIENT_PEER_TAKEN)
        return act_call_problem_of(call, PROBLEM_CONFLICT, "application_server",
            "this application server is another client already: revoke that one first");
    return r < 0 || (r = audit_client(call, "client.create", client)) < 0 ? act_call_failed(call, r)
                                                                          : 0;
}

static unsigned post_client(struct act_call *call)
{
    CLEANUP(act_secret_wipe) struct act_secret secret = {0};
    CLEANUP(text_done) struct text body = {0};
    struct db_organization o;
    struct db_client client = {0};
    struct client_body wanted;
    char organization[ID_TEXT_LEN + 1], id[ID_TEXT_LEN + 1];
    unsigned status = act_call_organization(call, 0, &o);
    int r;

    if (status == 0)
        status = act_call_read(
            call, client_fields, sizeof(client_fields) / sizeof(client_fields[0]), &wanted);
    if (status != 0)
        return status;
    if (wanted.roles == 0)
        return act_call_bad_field(call, "roles", "roles names none");
    if (wanted.name[0] != '\0' && !act_name_valid(wanted.name, ACCOUNT_NAME_MAX))
        return act_call_bad_field(call, "name", bad_name);
    if (wanted.as_id[0] != '\0' && wanted.roles != ROLE_APPLICATION_SERVER)
        return act_call_bad_field(
            call, "roles", "a client that is an application server has that role and no other");
    client.organization_id = o.row_id;
    client.roles = wanted.roles;
    memcpy(client.name, wanted.name, sizeof(client.name));
    memcpy(client.as_id, wanted.as_id, sizeof(client.as_id));
    if ((r = random_bytes(client.id, sizeof(client.id))) < 0 ||
        (r = act_secret_make(&secret, client.secret_hash)) < 0)
        return act_call_failed(call, r);
    if ((status = add_client(call, &client)) != 0)
        return status;
    act_call_locate(call, "/v1/organizations/%s/clients/%s",
        hex_encode(o.id, sizeof(o.id), organization), hex_encode(client.id, sizeof(client.id), id));
    call->shown_once = client.as_id[0] == '\0';
    write_client(&body, &client, client.as_id[0] == '\0' ? &secret : NULL);
    text_add(&body, "\n");
    return act_call_answer(call, 201, TYPE_JSON, &body);
}

static unsigned get_clients(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    uint8_t cursor[ACCOUNT_ID_LEN];
    struct db_organization o;
    struct db_client *list;
    bool has_cursor;
    size_t limit, n;
    unsigned status = act_call_organization(call, 0, &o);
    int r;

    if (status == 0)
        status = act_call_page(call, &limit, cursor, &has_cursor);
    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_organization_client_list(
        call->worker->db, o.row_id, has_cursor ? cursor : NULL, list, limit + 1, &n);
    if (r == 0) {
        text_add(&body, ACT_LIST_BEGIN);
        for (size_t i = 0; i < n && i < limit; i++) {
            text_add(&body, i > 0 ? "," : "");
            write_client(&body, &list[i], NULL);
        }
        act_list_end(&body, n > limit ? list[limit - 1].id : NULL);
    }
    free(list);
    return r < 0 ? act_call_failed(call, r) : act_call_answer(call, 200, TYPE_JSON, &body);
}

/* At once: every call looks the client up. */
static unsigned delete_client(struct act_call *call)
{
    const char *text = act_call_param(call, 1);
    struct db_organization o;
    struct db_client client;
    uint8_t id[ACCOUNT_ID_LEN];
    unsigned status = act_call_organization(call, 0, &o);
    int r = 1;

    if (status != 0)
        return status;
    if (strlen(text) == ID_TEXT_LEN && hex_decode(text, strlen(text), id, sizeof(id)) &&
        (r = db_organization_client_revoke(call->worker->db, o.row_id, id)) == 0)
        r = db_client_find(call->worker->db, id, &client);
    if (r > 0)
        return act_call_problem(call, PROBLEM_NOT_FOUND,
            "the organization has no such client, or it is revoked already");
    if (r < 0 || (r = audit_client(call, "client.revoke", &client)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/organizations",
        .right = RIGHT_ORGANIZATIONS,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_organization,
        .changes = true},
    {.method = API_GET,
        .path = "/v1/organizations",
        .right = RIGHT_ORGANIZATIONS,
        .work = get_organizations},
    {.method = API_GET,
        .path = "/v1/organizations/{organization}",
        .right = RIGHT_ORGANIZATION,
        .work = get_organization},
    {.method = API_PATCH,
        .path = "/v1/organizations/{organization}",
        .right = RIGHT_ORGANIZATIONS,
        .body_max = ACT_JSON_BODY_MAX,
        .work = patch_organization,
        .changes = true},
    {.method = API_POST,
        .path = "/v1/organizations/{organization}/clients",
        .right = RIGHT_CLIENTS,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_client,
        .changes = true},
    {.method = API_GET,
        .path = "/v1/organizations/{organization}/clients",
        .right = RIGHT_CLIENTS,
        .work = get_clients},
    {.method = API_DELETE,
        .path = "/v1/organizations/{organization}/clients/{client}",
        .right = RIGHT_CLIENTS,
        .work = delete_client,
        .changes = true},
};

const struct act_area act_area_accounts = ACT_AREA(routes);
