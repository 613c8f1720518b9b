/* Access tokens that this process has itself issued or verified, remembered as SHA-256 of their
 * text. Before a body is taken only this can be asked: verifying a token takes keyd and the
 * database, and the server's thread may wait for neither.
 *
 * It is a hint for admission and grants nothing: a token that stands here may have been revoked
 * since, and one that does not may be good (issued by another process, or before a restart). Every
 * request is still verified in full by a worker (activation/auth.h). */
#pragma once

#include "activation/token.h"
#include <pthread.h>

#define ACT_TOKENS_MAX 1024          /* tokens known at once; 64 KiB */
#define ACT_TOKENS_PER_CLIENT_MAX 16 /* so that one client does not crowd out the others */
#define ACT_TOKEN_DIGEST_LEN 32

struct act_known_token {
    uint8_t digest[ACT_TOKEN_DIGEST_LEN];
    uint8_t client_id[ACT_TOKEN_CLIENT_LEN];
    int64_t organization_id; /* the client's */
    int64_t expires_unix_s;  /* an entry whose time is over is free; so is one of zeros */
    uint64_t noted;          /* the larger, the later it was noted */
};

/** Any thread may call; the lock is held for one look over the entries. */
struct act_token_table {
    pthread_mutex_t lock;
    uint64_t n_noted;
    struct act_known_token tokens[ACT_TOKENS_MAX];
};

void act_token_table_init(struct act_token_table *table);
/** Wipes everything. */
void act_token_table_done(struct act_token_table *table);

/** Remembers a token that was just issued or verified. It takes the place of itself, else of the
 * client's oldest where the client has its share, else of one that is over, else of the oldest. */
void act_token_table_note(struct act_token_table *table, const char *text,
    const struct act_token *token, int64_t organization_id, int64_t now_unix_s);
/** Whose client's it is, when the token is here and its time is not over; else 0. */
int64_t act_token_table_knows(struct act_token_table *table, const char *text, int64_t now_unix_s);
/** Forgets a token that was found not to be valid. */
void act_token_table_forget(struct act_token_table *table, const char *text);
