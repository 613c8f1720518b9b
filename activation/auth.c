#include "activation/auth.h"

#include "base/clock.h"
#include "base/log.h"
#include <string.h>

/* Names of one certificate that are looked up: anybody may show one with many. */
#define NAMES_MAX 8

enum act_bearing act_bears_token(
    struct act_service *service, const struct api_request *request, int64_t *ret_organization_id)
{
    const char *text = api_request_bearer(request);
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN];
    int64_t now = clock_unix_s();
    struct act_token token;

    *ret_organization_id = 0;
    if (text == NULL || !act_token_parse(text, body, hash, &token))
        return BEARS_NONE;
    /* Before it is known: it may have been issued while the clock was ahead. */
    if (!act_token_is_timely(&token, now, service->settings.token_lifetime_s))
        return BEARS_STALE;
    *ret_organization_id = act_token_table_knows(&service->tokens, text, now);
    return *ret_organization_id != 0 ? BEARS_KNOWN : BEARS_UNKNOWN;
}

/* A token as it was shown, by one request or by several of those that are looked at together. */
struct shown {
    const char *text;
    struct act_token token;
    uint8_t body[ACT_TOKEN_BODY_LEN], hash[ACT_TOKEN_HASH_LEN];
    struct db_client client;
    bool good;
};

/* Which of them the text is; else one more. */
static size_t find_shown(struct shown *all, size_t *n, const char *text)
{
    struct shown *one = &all[*n];

    one->text = text;
    one->good = act_token_parse(text, one->body, one->hash, &one->token);
    for (size_t i = 0; one->good && i < *n; i++)
        if (all[i].good && memcmp(all[i].body, one->body, sizeof(one->body)) == 0 &&
            secret_equal(all[i].hash, one->hash, sizeof(one->hash)))
            return i;
    return (*n)++;
}

/* Those that may be good so far, in their order. */
static size_t remaining(struct shown *all, size_t n, struct shown **ret)
{
    size_t n_good = 0;

    for (size_t i = 0; i < n; i++)
        if (all[i].good)
            ret[n_good++] = &all[i];
    return n_good;
}

static int check_hashes(struct act_worker *worker, struct shown *all, size_t n)
{
    uint8_t right[ACT_TOGETHER_MAX][KEYD_HASH_LEN];
    const uint8_t *bodies[ACT_TOGETHER_MAX];
    struct shown *due[ACT_TOGETHER_MAX];
    size_t n_due = remaining(all, n, due);
    int r;

    for (size_t i = 0; i < n_due; i++)
        bodies[i] = due[i]->body;
    r = keyd_hash_tokens(worker->keyd, bodies, ACT_TOKEN_BODY_LEN, n_due, right,
        clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    for (size_t i = 0; r == 0 && i < n_due; i++)
        due[i]->good = secret_equal(due[i]->hash, right[i], sizeof(due[i]->hash)) &&
                       clock_unix_s() < due[i]->token.expires_unix_s;
    return r;
}

static int check_clients(struct act_worker *worker, struct shown *all, size_t n)
{
    struct db_client clients[ACT_TOGETHER_MAX];
    const uint8_t *ids[ACT_TOGETHER_MAX];
    struct shown *due[ACT_TOGETHER_MAX];
    bool found[ACT_TOGETHER_MAX];
    size_t n_due = remaining(all, n, due);
    int r;

    if (n_due == 0)
        return 0;
    for (size_t i = 0; i < n_due; i++)
        ids[i] = due[i]->token.client_id;
    r = db_clients_find(worker->db, ids, n_due, clients, found);
    for (size_t i = 0; r == 0 && i < n_due; i++) {
        due[i]->good = found[i] && !clients[i].revoked;
        if (due[i]->good)
            due[i]->client = clients[i];
    }
    return r;
}

/* A token that is good stays known, one that is not is forgotten. */
static void note(struct act_token_table *known, const struct shown *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (all[i].good)
            act_token_table_note(
                known, all[i].text, &all[i].token, all[i].client.organization_id, clock_unix_s());
        else
            act_token_table_forget(known, all[i].text);
    }
}

int act_authenticate_all(struct act_worker *worker, const struct api_request *const *requests,
    size_t n, struct act_caller *ret, bool *ret_good)
{
    struct shown all[ACT_TOGETHER_MAX];
    size_t of[ACT_TOGETHER_MAX], n_all = 0;
    int r;

    for (size_t i = 0; i < n; i++) {
        const char *text = api_request_bearer(requests[i]);

        ret_good[i] = text != NULL;
        if (text != NULL)
            of[i] = find_shown(all, &n_all, text);
    }
    if ((r = check_hashes(worker, all, n_all)) < 0 || (r = check_clients(worker, all, n_all)) < 0)
        return r;
    note(&worker->service->tokens, all, n_all);
    for (size_t i = 0; i < n; i++) {
        const struct db_client *client;

        ret_good[i] = ret_good[i] && all[of[i]].good;
        if (!ret_good[i])
            continue;
        client = &all[of[i]].client;
        ret[i] = (struct act_caller){
            .organization_id = client->organization_id,
            .claim_code_length = client->claim_code_length,
            .roles = client->roles,
        };
        memcpy(ret[i].client_id, client->id, sizeof(ret[i].client_id));
        memcpy(ret[i].organization_public_id, client->organization_public_id,
            sizeof(ret[i].organization_public_id));
    }
    return 0;
}

int act_authenticate(
    struct act_worker *worker, const struct api_request *request, struct act_caller *ret)
{
    struct act_caller caller;
    bool good;
    int r = act_authenticate_all(worker, &request, 1, &caller, &good);

    if (r < 0 || !good)
        return r < 0 ? r : 1;
    *ret = caller;
    return 0;
}

struct look {
    struct db *db;
    struct db_certificate_holder found; /* of the name found last: trust_check takes one only */
    unsigned n;
    int failed;
};

static void look_done(struct look *look)
{
    db_certificate_holder_done(&look->found);
}

static bool find_trust(const char *san, void *context, struct api_trust *ret)
{
    struct look *look = context;
    struct db_certificate_holder holder = {0};
    int r = look->failed < 0 || look->n++ >= NAMES_MAX
                ? 1
                : db_certificate_holder_find(look->db, san, &holder);

    if (r != 0) {
        look->failed = r < 0 ? r : look->failed;
        db_certificate_holder_done(&holder);
        return false;
    }
    *ret = (struct api_trust){.anchors = holder.trust_anchor, .crls = holder.crl};
    holder.trust_anchor = holder.crl = NULL;
    db_certificate_holder_done(&look->found);
    look->found = holder;
    return true;
}

int act_authenticate_certificate(
    struct act_worker *worker, const struct api_request *request, struct act_caller *ret)
{
    CLEANUP(look_done) struct look look = {.db = worker->db};
    const struct db_client *client = &look.found.client;
    char san[API_SAN_MAX + 1];
    const char *fault;

    if (!api_request_has_certificate(request))
        return 1;
    fault = api_request_check_certificate(request, find_trust, &look, san);
    if (look.failed < 0)
        return look.failed;
    if (fault != NULL)
        return 1;
    if (!look.found.is_client) {
        log_info("request=%s a good certificate's peer is no client peer=%s",
            api_request_id(request), san);
        return 1;
    }
    *ret = (struct act_caller){.organization_id = client->organization_id,
        .claim_code_length = client->claim_code_length,
        .roles = client->roles};
    memcpy(ret->client_id, client->id, sizeof(ret->client_id));
    memcpy(ret->organization_public_id, client->organization_public_id,
        sizeof(ret->organization_public_id));
    memcpy(ret->as_id, client->as_id, sizeof(ret->as_id));
    return 0;
}
