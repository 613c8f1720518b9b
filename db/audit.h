/* What was done, and what was answered already. Both are written in the transaction of the change
 * (db_begin .. db_commit). Role cradle_activation. */
#pragma once

#include "base/merkle.h"
#include "db/account.h"

#define AUDIT_OBJECT_MAX 200

struct db_audit_event {
    int64_t organization_id;  /* in whose history it stands; 0: of nobody's */
    const uint8_t *client_id; /* who did it; NULL: the cradle command */
    const char *request_id;
    const char *action; /* "organization.create" */
    const char *object; /* id that the world sees */
    const char *detail; /* JSON object, without secrets */
};
int db_audit_add(struct db *db, const struct db_audit_event *event);
/** At least one: what one client did by one request, in this order. */
int db_audit_add_all(struct db *db, const struct db_audit_event *events, size_t n);
/** Whether a call's changes were committed: asked on a fresh connection when that is not known. */
int db_audit_has(struct db *db, const char *request_id, bool *ret);

#define DB_AUDIT_LIST_MAX 500
struct db_audit_entry {
    int64_t id;
    char at[DB_TIME_TEXT_LEN + 1];
    char client_id[2 * ACCOUNT_ID_LEN + 1]; /* hex; "" for none */
    char request_id[41];
    char action[61];
    char object[AUDIT_OBJECT_MAX + 1];
    char *detail;                  /* on the heap */
    int64_t seq;                   /* where it was chained; 0: it was not yet, and has no hash */
    uint8_t hash[MERKLE_HASH_LEN]; /* its leaf (base/audit_form.h) */
};
struct db_audit_list {
    struct db_audit_entry *entries;
    size_t n;
};
/** In the order of writing, after `after`. `organization_id` 0: of all. */
int db_audit_list_load(
    struct db *db, int64_t organization_id, int64_t after, size_t n_max, struct db_audit_list *ret);
void db_audit_list_done(struct db_audit_list *list);

/* --- Idempotency-Key ------------------------------------------------------------------------- */

#define IDEMPOTENCY_KEY_MAX 255
#define IDEMPOTENCY_FINGERPRINT_LEN 32
#define IDEMPOTENCY_DAYS 1
#define IDEMPOTENCY_PIECE 1000 /* keys of one statement that forgets them */

struct db_idempotency {
    const uint8_t *client_id;
    const char *route; /* "POST /v1/organizations" */
    const char *key;
    uint8_t fingerprint[IDEMPOTENCY_FINGERPRINT_LEN];
};

/** What was answered. Texts on the heap; NULL: none. */
struct db_idempotency_answer {
    uint8_t fingerprint[IDEMPOTENCY_FINGERPRINT_LEN];
    unsigned status; /* 0: not answered yet */
    char *content_type, *location, *body;
};
void db_idempotency_answer_done(struct db_idempotency_answer *answer);

/** Takes the key inside the transaction; waits for another that has it in its hands. Outcome 1: it
 * was used before, and `ret` says what was answered. */
int db_idempotency_take(
    struct db *db, const struct db_idempotency *call, struct db_idempotency_answer *ret);
/** Takes the keys of different calls of one route, no two of them of one client and key, and waits
 * for others as that does. ret_other[i]: this key was used for another call. */
int db_idempotency_take_all(
    struct db *db, const struct db_idempotency *const *calls, size_t n, bool *ret_other);
/** Keeps the answer, inside the same transaction. `content_type`, `location` and `body` may be
 * NULL. */
int db_idempotency_keep(struct db *db, const struct db_idempotency *call, unsigned status,
    const char *content_type, const char *location, const char *body);
/** Forgets what is older than IDEMPOTENCY_DAYS, at most IDEMPOTENCY_PIECE of it. *ret_n: how many
 * there were. */
int db_idempotency_purge(struct db *db, size_t *ret_n);
