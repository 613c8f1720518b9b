#include "activation/token_table.h"

#include "base/aes.h"
#include "base/secret.h"
#include <string.h>

void act_token_table_init(struct act_token_table *table)
{
    memset(table, 0, sizeof(*table));
    (void)pthread_mutex_init(&table->lock, NULL);
}

void act_token_table_done(struct act_token_table *table)
{
    (void)pthread_mutex_destroy(&table->lock);
    secret_wipe(table, sizeof(*table));
}

/* Not in constant time: what could be learnt is how a digest begins, and no text is found from it.
 */
static struct act_known_token *find(
    struct act_token_table *table, const uint8_t digest[static ACT_TOKEN_DIGEST_LEN])
{
    for (size_t i = 0; i < ACT_TOKENS_MAX; i++)
        if (memcmp(table->tokens[i].digest, digest, ACT_TOKEN_DIGEST_LEN) == 0)
            return &table->tokens[i];
    return NULL;
}

/* The one that has to make room for another of this client. One that is over is older than all. */
static struct act_known_token *choose(struct act_token_table *table,
    const uint8_t client_id[static ACT_TOKEN_CLIENT_LEN], int64_t now_unix_s)
{
    struct act_known_token *oldest = NULL, *own = NULL;
    size_t n_own = 0;

    for (size_t i = 0; i < ACT_TOKENS_MAX; i++) {
        struct act_known_token *token = &table->tokens[i];

        if (token->expires_unix_s <= now_unix_s)
            token->noted = 0;
        if (oldest == NULL || token->noted < oldest->noted)
            oldest = token;
        if (token->noted == 0 || memcmp(token->client_id, client_id, sizeof(token->client_id)) != 0)
            continue;
        n_own++;
        if (own == NULL || token->noted < own->noted)
            own = token;
    }
    return n_own >= ACT_TOKENS_PER_CLIENT_MAX ? own : oldest;
}

void act_token_table_note(struct act_token_table *table, const char *text,
    const struct act_token *token, int64_t organization_id, int64_t now_unix_s)
{
    uint8_t digest[ACT_TOKEN_DIGEST_LEN];
    struct act_known_token *place;

    digest_sha256(text, strlen(text), digest);
    (void)pthread_mutex_lock(&table->lock);
    place = find(table, digest);
    if (place == NULL)
        place = choose(table, token->client_id, now_unix_s);
    memcpy(place->digest, digest, sizeof(place->digest));
    memcpy(place->client_id, token->client_id, sizeof(place->client_id));
    place->organization_id = organization_id;
    place->expires_unix_s = token->expires_unix_s;
    place->noted = ++table->n_noted;
    (void)pthread_mutex_unlock(&table->lock);
}

int64_t act_token_table_knows(struct act_token_table *table, const char *text, int64_t now_unix_s)
{
    uint8_t digest[ACT_TOKEN_DIGEST_LEN];
    const struct act_known_token *token;
    int64_t organization_id;

    digest_sha256(text, strlen(text), digest);
    (void)pthread_mutex_lock(&table->lock);
    token = find(table, digest);
    organization_id =
        token != NULL && now_unix_s < token->expires_unix_s ? token->organization_id : 0;
    (void)pthread_mutex_unlock(&table->lock);
    return organization_id;
}

void act_token_table_forget(struct act_token_table *table, const char *text)
{
    uint8_t digest[ACT_TOKEN_DIGEST_LEN];
    struct act_known_token *token;

    digest_sha256(text, strlen(text), digest);
    (void)pthread_mutex_lock(&table->lock);
    token = find(table, digest);
    if (token != NULL)
        *token = (struct act_known_token){0};
    (void)pthread_mutex_unlock(&table->lock);
}
