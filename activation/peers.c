/* /v1/network-servers and /v1/application-servers: who may speak to the join server, and how it is
 * answered there. The join server hears of every change by the commit. */
#include "activation/credential.h"
#include "activation/operator_check.h"
#include "activation/peer_body.h"
#include "activation/peer_known.h"
#include "db/peer.h"
#include <stdio.h>
#include <string.h>

#define ACTION_MAX 40

static const struct {
    const char *collection; /* the path of all */
    const char *object;     /* as in "network_server.create" */
    const char *none;
} kinds[] = {
    [PEER_NETWORK_SERVER] = {"/v1/network-servers", "network_server",
        "there is no such network server, or it is revoked already"},
    [PEER_APPLICATION_SERVER] = {"/v1/application-servers", "application_server",
        "there is no such application server, or it is revoked already"},
};

static enum peer_kind kind_of(const struct act_call *call)
{
    const char *collection = kinds[PEER_NETWORK_SERVER].collection;

    return strncmp(call->route->path, collection, strlen(collection)) == 0
               ? PEER_NETWORK_SERVER
               : PEER_APPLICATION_SERVER;
}

/* "000013,000024" as a JSON array of both. */
static void write_ids(struct text *out, const char *name, const char *ids)
{
    text_addf(out, ",\"%s\":[", name);
    for (const char *id = ids; id != NULL; id = strchr(id, ',')) {
        if (*id == ',')
            id++;
        text_addf(out, "%s\"%.*s\"", id == ids ? "" : ",", (int)strcspn(id, ","), id);
    }
    text_add(out, "]");
}

static void write_text_or_null(struct text *out, const char *name, const char *value)
{
    text_addf(out, ",\"%s\":", name);
    if (value != NULL && value[0] != '\0')
        text_add_json(out, value);
    else
        text_add(out, "null");
}

/* Without the closing brace. */
static void write_peer(struct text *out, const struct db_peer_entry *entry)
{
    const struct db_peer *peer = &entry->peer;
    bool is_ns = peer->kind == PEER_NETWORK_SERVER;

    text_addf(out, "{\"%s\":", peer_name_member(peer->kind));
    text_add_json(out, peer->name);
    if (is_ns) {
        write_ids(out, "net_ids", entry->net_ids);
        write_ids(out, "ns_ids", entry->ns_ids);
        text_addf(out, ",\"allow_plain_keys\":%s", peer->allow_plain_keys ? "true" : "false");
        text_addf(out, ",\"session_key_id\":\"%s\"",
            act_peer_words[PEER_CHOICE_SESSION_KEY_ID][peer->session_key_id_omit]);
    }
    text_addf(
        out, ",\"app_s_key\":\"%s\"", act_peer_words[PEER_CHOICE_APP_S_KEY][peer->app_s_key_plain]);
    write_text_or_null(out, "san", peer->san);
    write_text_or_null(out, "answer_url", peer->answer_url);
    write_text_or_null(out, "answer_credential", peer->answer_credential);
    text_addf(out, ",\"created_at\":\"%s\"", entry->created);
    write_text_or_null(out, "revoked_at", entry->revoked);
}

/* What the record is now, without PEM and without the token. */
static int audit_peer(
    struct act_call *call, const char *verb, const struct db_peer_entry *entry, bool trust_changed)
{
    CLEANUP(text_done) struct text detail = {0};
    char action[ACTION_MAX];

    write_peer(&detail, entry);
    text_addf(&detail, ",\"trust_changed\":%s,\"has_crl\":%s}", trust_changed ? "true" : "false",
        entry->peer.crl != NULL ? "true" : "false");
    (void)snprintf(action, sizeof(action), "%s.%s", kinds[entry->peer.kind].object, verb);
    return act_call_audit(call, 0, action, entry->peer.name, detail.data);
}

/* 409 that says who is in the way. */
static unsigned answer_taken(struct act_call *call, const struct db_peer *peer, bool is_new)
{
    CLEANUP(text_done) struct text who = {0};
    int r = act_peer_taken_write(call->worker->db, peer, is_new, &who);

    return r < 0 ? act_call_failed(call, r) : act_call_problem(call, PROBLEM_CONFLICT, who.data);
}

static unsigned post_peer(struct act_call *call)
{
    CLEANUP(peer_body_done) struct peer_body wanted = {.peer.kind = kind_of(call)};
    CLEANUP(db_peer_entry_done) struct db_peer_entry made = {0};
    CLEANUP(act_secret_wipe) struct act_secret token = {0};
    struct db_peer *peer = &wanted.peer;
    struct text body = {0};
    unsigned status = peer_body_read(call, &wanted);
    int r;

    if (status != 0)
        return status;
    if (!wanted.has_name)
        return act_call_bad_field(call, peer_name_member(peer->kind),
            peer->kind == PEER_NETWORK_SERVER ? "name is missing" : "as_id is missing");
    if (peer->kind == PEER_NETWORK_SERVER && peer->n_net_ids == 0)
        return act_call_bad_field(call, "net_ids", "net_ids is missing");
    if (peer->answer_credential[0] != '\0' && peer->answer_url[0] == '\0')
        return act_call_bad_field(
            call, "answer_credential", "answer_credential is for an answer_url");
    if ((r = act_secret_make(&token, peer->token_hash)) < 0)
        return act_call_failed(call, r);
    if ((r = db_peer_add(call->worker->db, peer)) > 0)
        return answer_taken(call, peer, true);
    if (r < 0 || (r = db_peer_find(call->worker->db, peer->kind, peer->name, &made)) != 0 ||
        (r = audit_peer(call, "create", &made, wanted.has_trust)) < 0)
        return act_call_failed(call, r);
    act_call_locate_name(call, kinds[peer->kind].collection, peer->name);
    call->shown_once = true;
    write_peer(&body, &made);
    text_addf(&body, ",\"token\":\"%s\"}\n", token.text);
    return act_call_answer(call, 201, TYPE_JSON, &body);
}

static unsigned get_peers(struct act_call *call)
{
    CLEANUP(db_peer_list_done) struct db_peer_list list = {0};
    CLEANUP(text_done) struct text body = {0};
    int64_t after;
    size_t limit;
    unsigned status = act_call_page_number(call, &limit, &after);
    int r;

    if (status != 0)
        return status;
    r = db_peer_list_load(call->worker->db, kind_of(call), after, limit + 1, &list);
    if (r < 0)
        return act_call_failed(call, r);
    text_add(&body, ACT_LIST_BEGIN);
    for (size_t i = 0; i < list.n && i < limit; i++) {
        text_add(&body, i > 0 ? "," : "");
        write_peer(&body, &list.entries[i]);
        text_add(&body, "}");
    }
    act_list_end_number(&body, list.n > limit ? list.entries[limit - 1].peer.id : 0);
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* The peer of the path. Outcome 1: there is none. */
static int find(struct act_call *call, struct db_peer_entry *ret)
{
    const char *name = act_call_param(call, 0);

    /* Other bytes are no text that could be asked for. */
    return act_peer_name_valid(name) ? db_peer_find(call->worker->db, kind_of(call), name, ret) : 1;
}

static unsigned get_peer(struct act_call *call)
{
    CLEANUP(db_peer_entry_done) struct db_peer_entry entry = {0};
    struct text body = {0};
    enum peer_kind kind = kind_of(call);
    int r = find(call, &entry);

    if (r < 0)
        return act_call_failed(call, r);
    if (r > 0)
        return act_call_problem(call, PROBLEM_NOT_FOUND, kinds[kind].none);
    write_peer(&body, &entry);
    if (kind == PEER_NETWORK_SERVER &&
        (r = act_peer_keks_write(call->worker->db, entry.peer.name, &body)) < 0) {
        text_done(&body);
        return act_call_failed(call, r);
    }
    write_text_or_null(&body, "ca", entry.peer.trust_anchor);
    write_text_or_null(&body, "crl", entry.peer.crl);
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

/* The peer of the path, when it may be changed, and held until the call is over. 0, or the status
 * of the answer that was set. */
static unsigned hold(struct act_call *call, struct db_peer_entry *ret)
{
    enum peer_kind kind = kind_of(call);
    const char *name = act_call_param(call, 0);
    int r = act_peer_name_valid(name) ? db_peer_lock(call->worker->db, kind, name) : 1;

    if (r == 0)
        r = find(call, ret);

    if (r < 0)
        return act_call_failed(call, r);
    return r > 0 || ret->revoked[0] != '\0'
               ? act_call_problem(call, PROBLEM_NOT_FOUND, kinds[kind].none)
               : 0;
}

/* What the statements find where another was faster. */
static unsigned answer_outcome(struct act_call *call, const struct db_peer *peer, int r)
{
    switch (r) {
    case DB_PEER_HAS_NO_URL:
        return act_call_problem(
            call, PROBLEM_CONFLICT, "it has no answer URL to show a credential at");
    case DB_PEER_SAN_TAKEN:
        return answer_taken(call, peer, false);
    case DB_PEER_SAN_RACE:
        return act_call_problem(call, PROBLEM_CONFLICT,
            "another peer was given this SAN at the same moment: try again");
    case DB_PEER_UNKNOWN:
        return act_call_problem(call, PROBLEM_NOT_FOUND, kinds[peer->kind].none);
    default:
        return act_call_failed(call, r);
    }
}

static unsigned patch_peer(struct act_call *call)
{
    CLEANUP(peer_body_done) struct peer_body wanted = {.peer.kind = kind_of(call)};
    CLEANUP(db_peer_entry_done) struct db_peer_entry before = {0}, now = {0};
    struct db_peer *peer = &wanted.peer;
    struct text body = {0};
    unsigned status = hold(call, &before);
    int r = 0;

    if (status == 0)
        status = peer_body_read(call, &wanted);
    if (status != 0)
        return status;
    if (wanted.has_name && strcmp(peer->name, before.peer.name) != 0)
        return act_call_bad_field(call, peer_name_member(peer->kind), "a peer keeps its name");
    if (wanted.set == 0 && !wanted.has_trust)
        return act_call_says_nothing(call);
    /* A new CA with a list that nobody thought of would let those in again who are on it. */
    if (wanted.has_trust && peer->san[0] != '\0' && before.peer.crl != NULL && !wanted.has_crl)
        return act_call_bad_field(
            call, "crl", "crl is missing: it has a revocation list, and null takes it away");
    memcpy(peer->name, before.peer.name, sizeof(peer->name));
    if (wanted.set != 0)
        r = db_peer_set(call->worker->db, peer, wanted.set);
    if (r == 0 && wanted.has_trust)
        r = db_peer_set_trust(call->worker->db, peer);
    if (r != 0)
        return answer_outcome(call, peer, r);
    if ((r = db_peer_find(call->worker->db, peer->kind, peer->name, &now)) != 0 ||
        (r = audit_peer(call, "change", &now, wanted.has_trust)) < 0)
        return act_call_failed(call, r);
    write_peer(&body, &now);
    text_add(&body, "}\n");
    return act_call_answer(call, 200, TYPE_JSON, &body);
}

static unsigned delete_peer(struct act_call *call)
{
    CLEANUP(db_peer_entry_done) struct db_peer_entry before = {0}, now = {0};
    enum peer_kind kind = kind_of(call);
    unsigned status = hold(call, &before);
    int r;

    if (status != 0)
        return status;
    if ((r = db_peer_revoke(call->worker->db, kind, before.peer.name)) > 0)
        return act_call_problem(call, PROBLEM_NOT_FOUND, kinds[kind].none);
    if (r < 0 || (r = db_peer_find(call->worker->db, kind, before.peer.name, &now)) != 0 ||
        (r = audit_peer(call, "revoke", &now, false)) < 0)
        return act_call_failed(call, r);
    return act_call_no_content(call);
}

#define ROUTES_OF(all, one)                                                                        \
    {.method = API_POST,                                                                           \
        .path = (all),                                                                             \
        .right = RIGHT_PEERS,                                                                      \
        .body_max = PEER_BODY_MAX,                                                                 \
        .work = post_peer,                                                                         \
        .changes = true},                                                                          \
        {.method = API_GET, .path = (all), .right = RIGHT_PEERS, .work = get_peers},               \
        {.method = API_GET, .path = (one), .right = RIGHT_PEERS, .work = get_peer},                \
        {.method = API_PATCH,                                                                      \
            .path = (one),                                                                         \
            .right = RIGHT_PEERS,                                                                  \
            .body_max = PEER_BODY_MAX,                                                             \
            .work = patch_peer,                                                                    \
            .changes = true},                                                                      \
    {                                                                                              \
        .method = API_DELETE, .path = (one), .right = RIGHT_PEERS, .work = delete_peer,            \
        .changes = true                                                                            \
    }

static const struct act_route routes[] = {
    ROUTES_OF("/v1/network-servers", "/v1/network-servers/{name}"),
    ROUTES_OF("/v1/application-servers", "/v1/application-servers/{as_id}"),
};

const struct act_area act_area_peers = ACT_AREA(routes);
