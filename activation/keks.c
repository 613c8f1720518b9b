/* /v1/keks: the key encryption keys shared with network servers, application servers and
 * organizations. Each comes encrypted to the exchange key and is opened inside the HSM alone, or is
 * made there and leaves it once, encrypted to a public key of its peer's. */
#include "activation/call.h"
#include "activation/import_text.h"
#include "activation/operator_check.h"
#include "activation/rsa_public.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "db/peer.h"
#include <stdio.h>
#include <string.h>

#define ID_TEXT_LEN ((size_t)2 * KEK_ID_LEN)
#define SEALED_TEXT_MAX BASE64_LEN(KEYD_OAEP_LEN)
#define KEY_LEN_MAX 32
#define LAST "last" /* the query that takes a peer's only KEK away */

struct kek_body {
    char network_server[PEER_ID_MAX + 1], application_server[PEER_ID_MAX + 1];
    uint8_t organization[ACCOUNT_ID_LEN];
    bool has_network_server, has_application_server, has_organization;
    char label[KEK_LABEL_MAX + 1];
    char sealed[SEALED_TEXT_MAX + 1];
    char public_key[RSA_PUBLIC_PEM_MAX + 1];
    bool has_sealed, has_public_key;
    uint32_t length;
};

#define MEMBER(member, as, ...)                                                                    \
    {                                                                                              \
        .name = #member, .kind = (as), .offset = offsetof(struct kek_body, member),                \
        .size = sizeof(((struct kek_body *)0)->member), __VA_ARGS__                                \
    }
#define REQUIRED .required = true, .present_offset = JSON_NO_PRESENT

static const struct json_field fields[] = {
    MEMBER(
        network_server, JSON_TEXT, .present_offset = offsetof(struct kek_body, has_network_server)),
    MEMBER(application_server, JSON_TEXT,
        .present_offset = offsetof(struct kek_body, has_application_server)),
    MEMBER(organization, JSON_HEX, .present_offset = offsetof(struct kek_body, has_organization)),
    MEMBER(label, JSON_TEXT, REQUIRED),
    MEMBER(sealed, JSON_TEXT, .present_offset = offsetof(struct kek_body, has_sealed)),
    MEMBER(public_key, JSON_TEXT, .present_offset = offsetof(struct kek_body, has_public_key)),
    MEMBER(length, JSON_UNSIGNED, .max = KEY_LEN_MAX, REQUIRED),
};

/* The peer as the body named it. */
static void write_whose(struct text *out, enum peer_kind kind, const char *peer_id)
{
    static const char *const members[] = {
        [PEER_NETWORK_SERVER] = "network_server",
        [PEER_APPLICATION_SERVER] = "application_server",
        [PEER_ORGANIZATION] = "organization",
    };

    text_addf(out, "\"%s\":", members[kind]);
    text_add_json(out, peer_id);
}

static void write_kek(struct text *out, const struct db_kek_entry *entry)
{
    text_add(out, "{\"id\":\"");
    text_add_hex(out, entry->id, sizeof(entry->id));
    text_add(out, "\",");
    write_whose(out, entry->peer_kind, entry->peer_id);
    text_add(out, ",\"label\":");
    text_add_json(out, entry->label);
    text_addf(out, ",\"current\":%s,\"created_at\":\"%s\"", entry->is_current ? "true" : "false",
        entry->created);
}

/* `organization_id` 0: of no organization's history. */
static int audit_kek(struct act_call *call, int64_t organization_id, const char *action,
    const struct db_kek_entry *entry, bool generated)
{
    CLEANUP(text_done) struct text detail = {0};
    char id[ID_TEXT_LEN + 1];

    text_add(&detail, "{");
    write_whose(&detail, entry->peer_kind, entry->peer_id);
    text_add(&detail, ",\"label\":");
    text_add_json(&detail, entry->label);
    text_add(&detail, generated ? ",\"generated\":true}" : "}");
    return act_call_audit(
        call, organization_id, action, hex_encode(entry->id, sizeof(entry->id), id), detail.data);
}

/* In whose history a KEK stands: an organization's own. */
static int history_of(struct act_call *call, const struct db_kek_entry *entry, int64_t *ret)
{
    struct db_organization o;
    uint8_t id[ACCOUNT_ID_LEN];
    int r;

    *ret = 0;
    if (entry->peer_kind != PEER_ORGANIZATION ||
        !hex_decode(entry->peer_id, strlen(entry->peer_id), id, sizeof(id)))
        return 0;
    r = db_organization_find(call->worker->db, id, &o);
    if (r == 0)
        *ret = o.row_id;
    return r < 0 ? r : 0;
}

static bool ns_id_known(
    const struct db_directory *directory, const struct net_id *net_id, const struct eui64 *ns_id)
{
    for (size_t i = 0; i < directory->n_peers; i++)
        if (db_peer_has_net_id(&directory->peers[i], net_id) &&
            db_peer_has_ns_id(&directory->peers[i], ns_id))
            return true;
    return false;
}

/* A KEK of a peer nobody knows is a slip of the pen, found much later as a join without keys. */
static unsigned name_network(struct act_call *call, const struct kek_body *body,
    const struct db_directory *directory, struct sealed_kek *kek)
{
    struct net_id net_id;
    struct eui64 ns_id = {0};
    bool has_ns_id;

    if (!act_network_parse(body->network_server, &net_id, &has_ns_id, &ns_id))
        return act_call_bad_field(call, "network_server",
            "a NetID has 6 hexadecimal digits, and an NSID behind it and a / has 16");
    if (!db_directory_speaks(directory, &net_id))
        return act_call_bad_field(
            call, "network_server", "no network server speaks for this NetID");
    if (has_ns_id && !ns_id_known(directory, &net_id, &ns_id))
        return act_call_bad_field(
            call, "network_server", "no network server of this NetID has that NSID");
    kek->peer_kind = PEER_NETWORK_SERVER;
    kek->kek_class = KEK_CLASS_NS;
    db_kek_peer_id(&net_id, has_ns_id ? &ns_id : NULL, kek->peer_id);
    return 0;
}

static unsigned name_application(struct act_call *call, const struct kek_body *body,
    const struct db_directory *directory, struct sealed_kek *kek)
{
    if (!db_directory_has_as(directory, body->application_server))
        return act_call_bad_field(
            call, "application_server", "there is no application server with this AS-ID");
    kek->peer_kind = PEER_APPLICATION_SERVER;
    kek->kek_class = KEK_CLASS_AS;
    memcpy(kek->peer_id, body->application_server, sizeof(kek->peer_id));
    return 0;
}

static unsigned name_organization(
    struct act_call *call, const struct kek_body *body, struct sealed_kek *kek)
{
    struct db_organization o;
    int r = db_organization_find(call->worker->db, body->organization, &o);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return act_call_bad_field(call, "organization", "there is no such organization");
    kek->peer_kind = PEER_ORGANIZATION;
    kek->kek_class = KEK_CLASS_TRANSPORT;
    (void)hex_encode(o.id, sizeof(o.id), kek->peer_id);
    return 0;
}

/* Whose it is and what it is called. 0, or the status of the answer that was set. */
static unsigned name_kek(struct act_call *call, const struct kek_body *body, struct sealed_kek *kek)
{
    CLEANUP(db_directory_done) struct db_directory directory = {0};
    int r;

    if (body->has_network_server + body->has_application_server + body->has_organization != 1)
        return act_call_problem(call, PROBLEM_BAD_REQUEST,
            "exactly one of network_server, application_server and organization is needed");
    if (!import_id_valid(body->label, strlen(body->label)))
        return act_call_bad_field(call, "label",
            "a KEK label has 1 to 64 printable characters without blank, quote and backslash");
    memcpy(kek->label, body->label, sizeof(kek->label));
    if (body->has_organization)
        return name_organization(call, body, kek);
    if ((r = db_directory_load(call->worker->db, &directory)) < 0)
        return act_call_failed(call, r);
    return body->has_network_server ? name_network(call, body, &directory, kek)
                                    : name_application(call, body, &directory, kek);
}

static unsigned adopt(struct act_call *call, const struct kek_body *body, struct sealed_kek *kek,
    uint8_t ret_kcv[static KEYD_KCV_LEN])
{
    uint8_t sealed[KEYD_OAEP_LEN];
    enum keyd_status status = KEYD_HSM_FAILED;
    char detail[96];
    int r;

    if (base64_decode(body->sealed, sealed, sizeof(sealed)) != KEYD_OAEP_LEN)
        return act_call_bad_field(call, "sealed",
            "sealed is not a key encrypted to the exchange key: that has 384 bytes, in Base64");
    r = keyd_adopt_kek(call->worker->keyd, sealed, body->length, kek, ret_kcv, &status,
        clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    if (r < 0)
        return act_call_failed(call, r);
    if (status == KEYD_BAD_INPUT) {
        (void)snprintf(detail, sizeof(detail),
            "sealed does not open with the exchange key to a key of %u bytes", body->length);
        return act_call_bad_field(call, "sealed", detail);
    }
    if (status != KEYD_OK)
        return act_call_failed(
            call, error_set(ERROR_HSM, "a KEK was not sealed: %s", keyd_status_text(status)));
    return 0;
}

static unsigned make(struct act_call *call, const struct kek_body *body, struct sealed_kek *kek,
    struct keyd_made_kek *ret)
{
    struct keyd_public_key to;
    enum rsa_public_outcome outcome = rsa_public_parse(body->public_key, KEYD_RSA_MAX, &to);
    enum keyd_status status = KEYD_HSM_FAILED;
    char detail[RSA_PUBLIC_TEXT_MAX];
    int r;

    if (outcome != RSA_PUBLIC_OK) {
        rsa_public_explain(outcome, KEYD_RSA_MAX, detail);
        return act_call_bad_field(call, "public_key", detail);
    }
    r = keyd_make_kek(call->worker->keyd, &to, body->length, kek, ret, &status,
        clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    if (r == 0 && status != KEYD_OK)
        r = error_set(ERROR_HSM, "a KEK was not made: %s", keyd_status_text(status));
    return r < 0 ? act_call_failed(call, r) : 0;
}

/* The key of one that is named, in the form that the body has. */
static unsigned take_key(struct act_call *call, const struct kek_body *body, struct sealed_kek *kek,
    struct keyd_made_kek *ret)
{
    if (!act_key_length_valid(body->length))
        return act_call_bad_field(call, "length", "length is 16, 24 or 32");
    if (body->has_sealed && body->has_public_key)
        return act_call_bad_field(call, "public_key",
            "public_key is for a KEK that is made here, and sealed for one that comes: not both");
    if (!body->has_sealed && !body->has_public_key)
        return act_call_bad_field(call, "sealed",
            "sealed is missing, or public_key, to which a KEK that is made here is encrypted");
    return body->has_public_key ? make(call, body, kek, ret) : adopt(call, body, kek, ret->kcv);
}

static void answer_key(struct text *body, const struct keyd_made_kek *made)
{
    char sealed[BASE64_LEN(KEYD_RSA_MAX) + 1];

    text_add(body, ",\"kcv\":\"");
    text_add_hex(body, made->kcv, sizeof(made->kcv));
    if (made->len > 0)
        text_addf(body, "\",\"sealed\":\"%s", base64_encode(made->text, made->len, sealed));
    text_add(body, "\"}\n");
}

static unsigned post_kek(struct act_call *call)
{
    struct kek_body wanted;
    struct keyd_made_kek key = {.len = 0};
    struct sealed_kek kek = {0};
    struct db_kek_entry made;
    struct text body = {0};
    uint8_t id[KEK_ID_LEN];
    char text[ID_TEXT_LEN + 1];
    int64_t history;
    unsigned status = act_call_read(call, fields, sizeof(fields) / sizeof(fields[0]), &wanted);
    int r;

    if (status == 0)
        status = name_kek(call, &wanted, &kek);
    if (status == 0)
        status = take_key(call, &wanted, &kek, &key);
    if (status != 0)
        return status;
    r = wanted.has_public_key ? db_kek_add_spare(call->worker->db, &kek, id)
                              : db_kek_add(call->worker->db, &kek, id);
    if (r > 0)
        return act_call_problem(
            call, PROBLEM_CONFLICT, "a KEK of this peer with the label is there already");
    if (r < 0 || (r = db_kek_find(call->worker->db, id, &made)) != 0 ||
        (r = history_of(call, &made, &history)) < 0 ||
        (r = audit_kek(call, history, "kek.create", &made, wanted.has_public_key)) < 0)
        return act_call_failed(call, r);
    act_call_locate(call, "/v1/keks/%s", hex_encode(id, sizeof(id), text));
    call->shown_once = wanted.has_public_key; /* nobody can make the same again */
    write_kek(&body, &made);
    answer_key(&body, &key);
    return act_call_answer(call, 201, TYPE_JSON, &body);
}

static unsigned get_keks(struct act_call *call)
{
    CLEANUP(db_kek_list_done) struct db_kek_list list = {0};
    CLEANUP(text_done) struct text body = {0};
    int64_t after;
    size_t limit;
    unsigned status = act_call_page_number(call, &limit, &after);
    int r;

    if (status != 0)
        return status;
    if ((r = db_kek_list_load(call->worker->db, after, limit + 1, &list)) < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < list.n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_kek(&body, &list.entries[i]);
        text_add(&body, "}");
    }
    act_list_end_number(&body, list.n > limit ? list.entries[limit - 1].row_id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* The KEK of the path. 0, or the status of the answer set. */
static unsigned find_kek(struct act_call *call, struct db_kek_entry *ret)
{
    const char *text = act_call_param(call, 0);
    uint8_t id[KEK_ID_LEN];
    int r = 1;

    if (strlen(text) == ID_TEXT_LEN && hex_decode(text, strlen(text), id, sizeof(id)))
        r = db_kek_find(call->worker->db, id, ret);
    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return act_call_problem(call, PROBLEM_NOT_FOUND, "there is no such KEK");
    return 0;
}

static unsigned patch_kek(struct act_call *call)
{
    struct {
        bool current;
    } wanted;
    static const struct json_field current[] = {{.name = "current",
        .kind = JSON_BOOL,
        .required = true,
        .present_offset = JSON_NO_PRESENT}};
    struct db_kek_entry entry;
    struct text body = {0};
    int64_t history;
    unsigned status = find_kek(call, &entry);
    int r;

    if (status == 0)
        status = act_call_read(call, current, 1, &wanted);
    if (status != 0)
        return status;
    if (!wanted.current)
        return act_call_bad_field(
            call, "current", "current is true: another KEK is made the current one instead");
    if ((r = db_kek_use(call->worker->db, entry.id)) > 0)
        return act_call_problem(call, PROBLEM_NOT_FOUND, "there is no such KEK");
    if (r < 0 || (r = history_of(call, &entry, &history)) < 0 ||
        (r = audit_kek(call, history, "kek.use", &entry, false)) < 0)
        return act_call_failed(call, r);
    entry.is_current = true;
    write_kek(&body, &entry);
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned delete_kek(struct act_call *call)
{
    const char *query = api_request_query(call->request, LAST);
    bool last = query != NULL && strcmp(query, "true") == 0;
    struct db_kek_entry entry;
    int64_t history;
    unsigned status = find_kek(call, &entry);
    int r;

    if (status != 0)
        return status;
    if (query != NULL && !last && strcmp(query, "false") != 0)
        return act_call_bad_field(call, LAST, "last is true or false");
    if ((r = db_kek_revoke(call->worker->db, entry.id, last)) == DB_KEK_UNKNOWN)
        return act_call_problem(call, PROBLEM_NOT_FOUND, "there is no such KEK");
    if (r == DB_KEK_IS_CURRENT && last)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "it is the current KEK of its peer and not its last one: remove the others first");
    if (r == DB_KEK_IS_CURRENT)
        return act_call_problem(call, PROBLEM_CONFLICT,
            "it is the current KEK of its peer: add another, or make another one current, first; "
            "last=true removes it when it is the only one");
    if (r < 0 || (r = history_of(call, &entry, &history)) < 0 ||
        (r = audit_kek(call, history, "kek.remove", &entry, false)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/keks",
        .right = RIGHT_KEKS,
        .body_max = ACT_JSON_BODY_MAX,
        .work = post_kek,
        .changes = true},
    {.method = API_GET, .path = "/v1/keks", .right = RIGHT_KEKS, .work = get_keks},
    {.method = API_PATCH,
        .path = "/v1/keks/{kek}",
        .right = RIGHT_KEKS,
        .body_max = ACT_JSON_BODY_MAX,
        .work = patch_kek,
        .changes = true},
    {.method = API_DELETE,
        .path = "/v1/keks/{kek}",
        .right = RIGHT_KEKS,
        .work = delete_kek,
        .changes = true,
        .query = LAST},
};

const struct act_area act_area_keks = ACT_AREA(routes);
