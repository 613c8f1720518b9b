#include "activation/peer_body.h"

#include "activation/operator_check.h"
#include "activation/peer_trust.h"
#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_NAME_MAX ((size_t)3 * PEER_ID_MAX) /* percent-encoded */
#define WORD_MAX 7                              /* of a choice: "wrapped" */

/* The members as they stand in the body. */
struct raw {
    char name[PEER_ID_MAX + 1];
    struct net_id net_ids[PEER_NET_IDS_MAX];
    struct eui64 ns_ids[PEER_NS_IDS_MAX];
    size_t n_net_ids, n_ns_ids;
    char san[PEER_SAN_MAX + 1];
    char ca[PEER_ANCHOR_MAX + 1];
    char crl[PEER_CRL_MAX + 1];
    char app_s_key[WORD_MAX + 1], session_key_id[WORD_MAX + 1];
    char answer_url[PEER_URL_MAX + 1];
    char answer_credential[PEER_CREDENTIAL_MAX + 1];
    bool allow_plain_keys;
    bool has_name, has_net_ids, has_ns_ids, has_san, has_ca, has_crl, has_app_s_key,
        has_session_key_id, has_answer_url, has_answer_credential, has_allow_plain_keys;
};

#define TEXT(member)                                                                               \
    {                                                                                              \
        .name = #member, .kind = JSON_TEXT, .offset = offsetof(struct raw, member),                \
        .size = sizeof(((struct raw *)0)->member),                                                 \
        .present_offset = offsetof(struct raw, has_##member)                                       \
    }
#define TEXT_OR_NULL(member)                                                                       \
    {                                                                                              \
        .name = #member, .kind = JSON_TEXT, .offset = offsetof(struct raw, member),                \
        .size = sizeof(((struct raw *)0)->member), .nullable = true,                               \
        .present_offset = offsetof(struct raw, has_##member)                                       \
    }
#define IDS(member, id)                                                                            \
    {                                                                                              \
        .name = #member, .kind = JSON_HEX_LIST, .offset = offsetof(struct raw, member),            \
        .size = sizeof(struct id), .max = sizeof(((struct raw *)0)->member) / sizeof(struct id),   \
        .present_offset = offsetof(struct raw, has_##member),                                      \
        .len_offset = offsetof(struct raw, n_##member)                                             \
    }
#define OF_BOTH                                                                                    \
    TEXT_OR_NULL(san), TEXT_OR_NULL(ca), TEXT_OR_NULL(crl), TEXT(app_s_key),                       \
        TEXT_OR_NULL(answer_url), TEXT_OR_NULL(answer_credential)

static const struct json_field ns_fields[] = {
    TEXT(name),
    OF_BOTH,
    IDS(net_ids, net_id),
    IDS(ns_ids, eui64),
    TEXT(session_key_id),
    {.name = "allow_plain_keys",
        .kind = JSON_BOOL,
        .offset = offsetof(struct raw, allow_plain_keys),
        .present_offset = offsetof(struct raw, has_allow_plain_keys)},
};
static const struct json_field as_fields[] = {
    {.name = "as_id",
        .kind = JSON_TEXT,
        .offset = offsetof(struct raw, name),
        .size = sizeof(((struct raw *)0)->name),
        .present_offset = offsetof(struct raw, has_name)},
    OF_BOTH,
};
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

const char *peer_name_member(enum peer_kind kind)
{
    return kind == PEER_NETWORK_SERVER ? "name" : "as_id";
}

void peer_body_done(struct peer_body *body)
{
    act_peer_trust_done(&body->peer);
}

static unsigned read_name(struct act_call *call, const struct raw *raw, struct peer_body *body)
{
    bool is_ns = body->peer.kind == PEER_NETWORK_SERVER;

    if (!raw->has_name)
        return 0;
    if (is_ns ? !act_peer_name_valid(raw->name) : !act_as_id_valid(raw->name))
        return act_call_bad_field(call, peer_name_member(body->peer.kind),
            is_ns ? "a network server's name has 1 to 64 bytes, no control characters and no /"
                  : "an AS-ID has 1 to 64 printable characters without blank, quote, backslash "
                    "and /");
    memcpy(body->peer.name, raw->name, sizeof(raw->name));
    body->has_name = true;
    return 0;
}

bool peer_body_has_twice(const void *ids, size_t n, size_t size)
{
    const uint8_t *at = ids;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (memcmp(at + i * size, at + k * size, size) == 0)
                return true;
    return false;
}

static unsigned read_ids(struct act_call *call, const struct raw *raw, struct peer_body *body)
{
    struct db_peer *peer = &body->peer;

    if (raw->has_net_ids) {
        if (raw->n_net_ids == 0)
            return act_call_bad_field(call, "net_ids", "net_ids names none");
        if (peer_body_has_twice(raw->net_ids, raw->n_net_ids, sizeof(raw->net_ids[0])))
            return act_call_bad_field(call, "net_ids", "net_ids names a NetID twice");
        memcpy(peer->net_ids, raw->net_ids, sizeof(raw->net_ids));
        peer->n_net_ids = raw->n_net_ids;
        body->set |= DB_PEER_NET_IDS;
    }
    if (raw->has_ns_ids) {
        if (peer_body_has_twice(raw->ns_ids, raw->n_ns_ids, sizeof(raw->ns_ids[0])))
            return act_call_bad_field(call, "ns_ids", "ns_ids names an NSID twice");
        memcpy(peer->ns_ids, raw->ns_ids, sizeof(raw->ns_ids));
        peer->n_ns_ids = raw->n_ns_ids;
        body->set |= DB_PEER_NS_IDS;
    }
    return 0;
}

static unsigned read_choices(struct act_call *call, const struct raw *raw, struct peer_body *body)
{
    const struct {
        const char *name;
        bool present;
        const char *word;
        enum act_peer_choice choice;
        bool *value;
        unsigned member;
    } choices[] = {
        {"app_s_key", raw->has_app_s_key, raw->app_s_key, PEER_CHOICE_APP_S_KEY,
            &body->peer.app_s_key_plain, DB_PEER_APP_S_KEY_PLAIN},
        {"session_key_id", raw->has_session_key_id, raw->session_key_id, PEER_CHOICE_SESSION_KEY_ID,
            &body->peer.session_key_id_omit, DB_PEER_SESSION_KEY_ID_OMIT},
    };
    char detail[64];

    for (size_t i = 0; i < COUNT(choices); i++) {
        if (!choices[i].present)
            continue;
        if (!act_peer_word_parse(choices[i].choice, choices[i].word, choices[i].value)) {
            (void)snprintf(detail, sizeof(detail), "%s is %s or %s", choices[i].name,
                act_peer_words[choices[i].choice][0], act_peer_words[choices[i].choice][1]);
            return act_call_bad_field(call, choices[i].name, detail);
        }
        body->set |= choices[i].member;
    }
    if (raw->has_allow_plain_keys) {
        body->peer.allow_plain_keys = raw->allow_plain_keys;
        body->set |= DB_PEER_ALLOW_PLAIN_KEYS;
    }
    return 0;
}

unsigned peer_body_fault(struct act_call *call, const char *field, int code)
{
    return code == ERROR_INPUT ? act_call_bad_field(call, field, error_text())
                               : act_call_failed(call, code);
}

/* null, or "": none. */
static unsigned read_answering(struct act_call *call, const struct raw *raw, struct peer_body *body)
{
    struct db_peer *peer = &body->peer;
    int r;

    if (raw->has_answer_url) {
        if (raw->answer_url[0] != '\0' && (r = act_answer_url_check(raw->answer_url)) < 0)
            return peer_body_fault(call, "answer_url", r);
        memcpy(peer->answer_url, raw->answer_url, sizeof(raw->answer_url));
        body->set |= DB_PEER_ANSWER_URL;
    }
    if (raw->has_answer_credential) {
        if (raw->answer_credential[0] != '\0' &&
            (r = act_answer_credential_check(raw->answer_credential)) < 0)
            return peer_body_fault(call, "answer_credential", r);
        memcpy(peer->answer_credential, raw->answer_credential, sizeof(raw->answer_credential));
        body->set |= DB_PEER_ANSWER_CREDENTIAL;
    }
    return 0;
}

/* The three are said as a whole, or not at all. */
static unsigned read_trust(struct act_call *call, const struct raw *raw, struct peer_body *body)
{
    const char *field = "san";
    int r;

    if (!raw->has_san && !raw->has_ca && !raw->has_crl)
        return 0;
    if ((raw->san[0] != '\0') != (raw->ca[0] != '\0'))
        return act_call_bad_field(
            call, raw->san[0] == '\0' ? "san" : "ca", "san and ca are given together");
    if (raw->san[0] == '\0' && (raw->crl[0] != '\0' || !raw->has_san || !raw->has_ca))
        return act_call_bad_field(call, "san", "san, ca and crl are given as a whole");
    body->has_trust = true;
    body->has_crl = raw->has_crl;
    if (raw->san[0] == '\0')
        return 0;
    r = act_peer_trust_read(
        raw->san, raw->ca, raw->crl[0] != '\0' ? raw->crl : NULL, &body->peer, &field);
    return r < 0 ? peer_body_fault(call, field, r) : 0;
}

unsigned peer_body_read(struct act_call *call, struct peer_body *body)
{
    static unsigned (*const readers[])(struct act_call * call, const struct raw *raw,
        struct peer_body *body) = {read_name, read_ids, read_choices, read_answering, read_trust};
    bool is_ns = body->peer.kind == PEER_NETWORK_SERVER;
    struct raw *raw = calloc(1, sizeof(*raw));
    unsigned status;

    if (raw == NULL)
        return act_call_problem(call, PROBLEM_INTERNAL, NULL);
    status = act_call_read(
        call, is_ns ? ns_fields : as_fields, is_ns ? COUNT(ns_fields) : COUNT(as_fields), raw);
    for (size_t i = 0; status == 0 && i < COUNT(readers); i++)
        status = readers[i](call, raw, body);
    free(raw);
    return status;
}

void act_call_locate_name(struct act_call *call, const char *collection, const char *name)
{
    static const char unreserved[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char encoded[PATH_NAME_MAX + 1];
    size_t n = 0;

    for (const unsigned char *c = (const unsigned char *)name; *c != '\0'; c++) {
        if (strchr(unreserved, *c) != NULL)
            encoded[n++] = (char)*c;
        else
            n += (size_t)snprintf(encoded + n, sizeof(encoded) - n, "%%%02X", *c);
    }
    encoded[n] = '\0';
    act_call_locate(call, "%s/%s", collection, encoded);
}
