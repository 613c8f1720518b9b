/* /v1/certificates: what a maker may build, by its number. */
#include "activation/call.h"
#include "activation/operator_check.h"
#include "base/clock.h"
#include "db/certificate.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIND_MAX 7       /* "product" */
#define NUMBER_TRIES 8   /* numbers in a row that are all taken: the random source is not one */
#define NUMBER_RANDOM 10 /* characters of it */
#define QUOTA 0          /* prototypes of a module, unless an administrator grants some */

/* Base 32 without the letters that are taken for digits, and U. */
#define NUMBER_DIGITS "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

struct certificate_body {
    uint8_t organization[ACCOUNT_ID_LEN];
    char kind[KIND_MAX + 1];
    char name[ACCOUNT_NAME_MAX + 1];
    char module[CERTIFICATE_NUMBER_LEN + 1];
    bool has_module;
    uint32_t prototype_quota;
    bool has_prototype_quota;
};

#define QUOTA_FIELD                                                                                \
    {                                                                                              \
        .name = "prototype_quota", .kind = JSON_UNSIGNED,                                          \
        .offset = offsetof(struct certificate_body, prototype_quota),                              \
        .max = CERTIFICATE_QUOTA_MAX,                                                              \
        .present_offset = offsetof(struct certificate_body, has_prototype_quota)                   \
    }
static const struct json_field change_fields[] = {QUOTA_FIELD};

static const struct json_field fields[] = {
    {.name = "organization",
        .kind = JSON_HEX,
        .offset = offsetof(struct certificate_body, organization),
        .size = sizeof(((struct certificate_body *)0)->organization),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "kind",
        .kind = JSON_TEXT,
        .offset = offsetof(struct certificate_body, kind),
        .size = sizeof(((struct certificate_body *)0)->kind),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "name",
        .kind = JSON_TEXT,
        .offset = offsetof(struct certificate_body, name),
        .size = sizeof(((struct certificate_body *)0)->name),
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "module",
        .kind = JSON_TEXT,
        .offset = offsetof(struct certificate_body, module),
        .size = sizeof(((struct certificate_body *)0)->module),
        .present_offset = offsetof(struct certificate_body, has_module)},
    QUOTA_FIELD,
};

/* Of a product, what it is built with; of a module, how many prototypes there may be and are. */
static void write_ties(struct text *out, const struct db_certificate *c)
{
    if (c->module_id != 0)
        text_addf(out, ",\"module\":\"%s\"", c->module);
    else
        text_add(out, ",\"module\":null");
    if (c->number[0] == 'M')
        text_addf(out, ",\"prototype_quota\":%" PRIu32 ",\"prototypes\":%" PRIu32,
            c->prototype_quota, c->n_prototypes);
    else
        text_add(out, ",\"prototype_quota\":null,\"prototypes\":null");
}

static void write_certificate(struct text *out, const struct db_certificate *c)
{
    text_addf(out, "{\"number\":\"%s\",\"kind\":\"%s\",\"organization\":\"", c->number,
        c->number[0] == 'M' ? "module" : "product");
    text_add_hex(out, c->organization_public_id, sizeof(c->organization_public_id));
    text_add(out, "\",\"name\":");
    text_add_json(out, c->name);
    write_ties(out, c);
    text_addf(out, ",\"created_at\":\"%s\",\"revoked_at\":", c->created);
    text_addf(out, c->revoked_at[0] != '\0' ? "\"%s\"}" : "null}", c->revoked_at);
}

/* For whoever the module is of: its credentials become activable under that product, or do not any
 * more. Not how it is called. */
static int audit_for_module(
    struct act_call *call, const char *action, const struct db_certificate *c)
{
    CLEANUP(text_done) struct text detail = {0};

    text_addf(&detail, "{\"product\":\"%s\",\"module\":\"%s\"}", c->number, c->module);
    return act_call_audit(call, c->module_organization_id, action, c->number, detail.data);
}

static int audit_certificate(
    struct act_call *call, const char *action, const struct db_certificate *c)
{
    CLEANUP(text_done) struct text detail = {0};
    int r;

    text_add(&detail, "{\"name\":");
    text_add_json(&detail, c->name);
    write_ties(&detail, c);
    text_add(&detail, "}");
    r = act_call_audit(call, c->organization_id, action, c->number, detail.data);
    if (r < 0 || c->module_id == 0 || c->module_organization_id == c->organization_id)
        return r;
    return audit_for_module(call, action, c);
}

static int make_number(char letter, char ret[static CERTIFICATE_NUMBER_LEN + 1])
{
    uint8_t random[NUMBER_RANDOM];
    char text[NUMBER_RANDOM + 1] = "";
    int r = random_bytes(random, sizeof(random));

    for (size_t i = 0; i < NUMBER_RANDOM; i++)
        text[i] = NUMBER_DIGITS[random[i] % 32];
    (void)snprintf(
        ret, CERTIFICATE_NUMBER_LEN + 1, "%c_%.4s_%.4s_%.2s", letter, text, text + 4, text + 8);
    return r;
}

/* True when that could be a number: other bytes are no text that could be asked for. */
static bool is_number(const char *text)
{
    return strspn(text, "_" NUMBER_DIGITS) == CERTIFICATE_NUMBER_LEN &&
           text[CERTIFICATE_NUMBER_LEN] == '\0';
}

/* 0, or the status of the answer it set. */
static unsigned read_ties(
    struct act_call *call, const struct certificate_body *body, struct db_certificate *c)
{
    const bool is_module = body->kind[0] == 'm';
    struct db_certificate module;
    int r = 1;

    if (body->has_module && is_module)
        return act_call_bad_field(call, "module", "module is for a certificate of a product");
    if (body->has_prototype_quota && !is_module)
        return act_call_bad_field(
            call, "prototype_quota", "prototype_quota is for a certificate of a module");
    c->prototype_quota = body->has_prototype_quota ? body->prototype_quota : QUOTA;
    if (!body->has_module)
        return 0;
    if (body->module[0] == 'M' && is_number(body->module))
        r = db_certificate_find(call->worker->db, body->module, &module);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || module.revoked_at[0] != '\0')
        return act_call_bad_field(
            call, "module", "module is no certificate of a module that is good");
    c->module_id = module.row_id;
    c->module_organization_id = module.organization_id;
    memcpy(c->module, module.number, sizeof(c->module));
    return 0;
}

static unsigned post_certificate(struct act_call *call)
{
    struct certificate_body wanted;
    struct db_certificate c = {0};
    struct db_organization o;
    struct text body = {0};
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &wanted);
    char letter;
    int r;

    if (status != 0)
        return status;
    if (strcmp(wanted.kind, "module") != 0 && strcmp(wanted.kind, "product") != 0)
        return act_call_bad_field(call, "kind", "kind is module or product");
    if (!act_name_valid(wanted.name, ACCOUNT_NAME_MAX))
        return act_call_bad_field(
            call, "name", "name is not a text of 1 to 100 bytes without control characters");
    if ((status = read_ties(call, &wanted, &c)) != 0)
        return status;
    if ((r = db_organization_find(call->worker->db, wanted.organization, &o)) > 0)
        return act_call_bad_field(call, "organization", "there is no such organization");
    if (r < 0)
        return act_call_failed(call, r);
    letter = wanted.kind[0] == 'm' ? 'M' : 'P';
    c.organization_id = o.row_id;
    memcpy(c.organization_public_id, o.id, sizeof(o.id));
    memcpy(c.name, wanted.name, sizeof(c.name));
    r = 1;
    for (int i = 0; i < NUMBER_TRIES && r > 0; i++)
        if ((r = make_number(letter, c.number)) == 0)
            r = db_certificate_add(call->worker->db, &c);
    if (r > 0)
        return act_call_problem(call, PROBLEM_CONFLICT, "no number is free");
    if (r < 0 || (r = audit_certificate(call, "certificate.create", &c)) < 0)
        return act_call_failed(call, r);
    act_call_locate(call, "/v1/certificates/%s", c.number);
    write_certificate(&body, &c);
    text_add(&body, "\n");
    return act_call_answer(call, 201, TYPE_JSON, &body);
}

static bool sees_all(const struct act_call *call)
{
    return (call->caller->roles & ROLE_ADMIN) != 0;
}

static unsigned get_certificates(struct act_call *call)
{
    CLEANUP(text_done) struct text body = {0};
    struct db_certificate *list;
    size_t limit, n = 0;
    int64_t after;
    unsigned status = act_call_page_number(call, &limit, &after);
    int r;

    if (status != 0)
        return status;
    if ((list = calloc(limit + 1, sizeof(*list))) == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    r = db_certificate_list(call->worker->db, sees_all(call) ? 0 : call->caller->organization_id,
        after, list, limit + 1, &n);
    if (r == 0) {
        text_add(&body, ACT_LIST_BEGIN);
        for (size_t i = 0; i < n && i < limit; i++) {
            text_add(&body, i > 0 ? "," : "");
            write_certificate(&body, &list[i]);
        }
        act_list_end_number(&body, n > limit ? list[limit - 1].row_id : 0);
    }
    free(list);
    return r < 0 ? act_call_failed(call, r) : act_call_answer(call, 200, TYPE_JSON, &body);
}

static const char none[] = "there is no such certificate, or it is revoked already";

/* The certificate of the path. Outcome 1: there is none, or it is not the caller's to see. */
static int find(struct act_call *call, struct db_certificate *ret)
{
    const char *number = act_call_param(call, 0);
    int r = is_number(number) ? db_certificate_find(call->worker->db, number, ret) : 1;

    return r != 0 ? r : !sees_all(call) && ret->organization_id != call->caller->organization_id;
}

static unsigned get_certificate(struct act_call *call)
{
    struct db_certificate c;
    struct text body = {0};
    int r = find(call, &c);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return act_call_problem(
            call, PROBLEM_NOT_FOUND, "there is no such certificate, or it is not yours to see");
    write_certificate(&body, &c);
    text_add(&body, "\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned patch_certificate(struct act_call *call)
{
    struct certificate_body wanted;
    struct db_certificate c;
    struct text body = {0};
    unsigned status;
    int r = find(call, &c);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0 || c.revoked_at[0] != '\0')
        return act_call_problem(call, PROBLEM_NOT_FOUND, none);
    status = act_call_read(
        call, change_fields, sizeof(change_fields) / sizeof(change_fields[0]), &wanted);
    if (status != 0)
        return status;
    if (c.number[0] != 'M')
        return act_call_bad_field(
            call, "prototype_quota", "prototype_quota is for a certificate of a module");
    r = db_certificate_set_quota(call->worker->db, c.row_id, wanted.prototype_quota);
    if (r > 0)
        return act_call_problem_of(call, PROBLEM_CONFLICT, "prototype_quota",
            "more devices are prototypes of this module than that already");
    if (r == 0)
        r = find(call, &c);
    if (r != 0 || (r = audit_certificate(call, "certificate.change", &c)) < 0)
        return r < 0 ? act_call_failed(call, r) : act_call_problem(call, PROBLEM_NOT_FOUND, none);
    write_certificate(&body, &c);
    text_add(&body, "\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned delete_certificate(struct act_call *call)
{
    struct db_certificate c;
    int r = find(call, &c);

    if (r == 0)
        r = db_certificate_revoke(call->worker->db, c.number);
    if (r > 0)
        return act_call_problem(call, PROBLEM_NOT_FOUND, none);
    if (r < 0 || (r = audit_certificate(call, "certificate.revoke", &c)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/certificates",
        .right = RIGHT_CERTIFICATES,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_certificate,
        .changes = true},
    {.method = API_GET,
        .path = "/v1/certificates",
        .right = RIGHT_CERTIFICATES_SEE,
        .work = get_certificates},
    {.method = API_GET,
        .path = "/v1/certificates/{number}",
        .right = RIGHT_CERTIFICATES_SEE,
        .work = get_certificate},
    {.method = API_PATCH,
        .path = "/v1/certificates/{number}",
        .right = RIGHT_CERTIFICATES,
        .body_max = ACT_JSON_BODY_MAX,
        .work = patch_certificate,
        .changes = true},
    {.method = API_DELETE,
        .path = "/v1/certificates/{number}",
        .right = RIGHT_CERTIFICATES,
        .work = delete_certificate,
        .changes = true},
};

const struct act_area act_area_certificates = ACT_AREA(routes);
