#include "base/shares.h"

#include "base/aes.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/secret.h"
#include <stdio.h>
#include <string.h>

#define HEAD "cradle-share-1"
#define HEAD_LEN_MAX 120
#define CHECK_LEN 4
#define DIGEST_LEN 32
#define BYTES_HEX (2 * (SHARES_SECRET_LEN + SHARES_DIGEST_LEN))

/* Eight steps, whatever the values. */
static uint8_t multiply(uint8_t a, uint8_t b)
{
    uint8_t product = 0;

    for (unsigned i = 0; i < 8; i++) {
        const uint8_t use = (uint8_t) - (b & 1), carry = (uint8_t) - (a >> 7);

        product = (uint8_t)(product ^ (a & use));
        a = (uint8_t)((a << 1) ^ (carry & 0x1B));
        b >>= 1;
    }
    return product;
}

/* a to the 254: its inverse, and of 0 it is 0. */
static uint8_t invert(uint8_t a)
{
    uint8_t power = a, result = 1;

    for (unsigned bit = 1; bit < 8; bit++) {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    return result;
}

static void digest_of(const uint8_t *secret, uint8_t ret[static SHARES_DIGEST_LEN])
{
    uint8_t hash[DIGEST_LEN];

    digest_sha256(secret, SHARES_SECRET_LEN, hash);
    memcpy(ret, hash, SHARES_DIGEST_LEN);
    secret_wipe(hash, sizeof(hash));
}

/* Each byte is a polynomial of its own, whose value at 0 it is; a share is the values at its
 * number. */
int shares_split(
    const uint8_t secret[static SHARES_SECRET_LEN], unsigned needed, unsigned n, struct share *ret)
{
    uint8_t coefficients[SHARES_MAX - 1][SHARES_SECRET_LEN], set[SHARES_SET_LEN];
    int r;

    if (needed < 2 || needed > n || n > SHARES_MAX)
        return error_set(ERROR_INPUT,
            "%u of %u shares cannot be: at least 2 are needed, and there are %d at most", needed, n,
            SHARES_MAX);
    if ((r = random_bytes(coefficients, sizeof(coefficients))) < 0 ||
        (r = random_bytes(set, sizeof(set))) < 0)
        return r;
    for (unsigned i = 0; i < n; i++) {
        ret[i] = (struct share){.needed = needed, .n = n, .number = i + 1};
        memcpy(ret[i].set, set, sizeof(set));
        digest_of(secret, ret[i].digest);
        for (size_t b = 0; b < SHARES_SECRET_LEN; b++) {
            uint8_t value = 0;

            for (unsigned c = needed - 1; c > 0; c--)
                value = multiply((uint8_t)(value ^ coefficients[c - 1][b]), (uint8_t)(i + 1));
            ret[i].bytes[b] = (uint8_t)(value ^ secret[b]);
        }
    }
    secret_wipe(coefficients, sizeof(coefficients));
    return 0;
}

static int check_shares(const struct share *shares, size_t n_shares)
{
    if (n_shares == 0)
        return error_set(ERROR_INPUT, "there are no shares");
    for (size_t i = 0; i < n_shares; i++) {
        if (memcmp(shares[i].set, shares[0].set, SHARES_SET_LEN) != 0 ||
            shares[i].needed != shares[0].needed || shares[i].n != shares[0].n)
            return error_set(ERROR_INPUT, "share %u is of another PIN than share %u",
                shares[i].number, shares[0].number);
        for (size_t j = 0; j < i; j++) {
            if (shares[i].number == shares[j].number)
                return error_set(ERROR_INPUT, "share %u is there twice", shares[i].number);
        }
    }
    if (n_shares < shares[0].needed)
        return error_set(
            ERROR_INPUT, "there are %zu shares, and %u are needed", n_shares, shares[0].needed);
    return 0;
}

/* Lagrange, at 0. */
int shares_join(const struct share *shares, size_t n_shares, uint8_t ret[static SHARES_SECRET_LEN])
{
    uint8_t secret[SHARES_SECRET_LEN] = {0}, digest[SHARES_DIGEST_LEN];
    int r = check_shares(shares, n_shares);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n_shares; i++) {
        uint8_t weight = 1;

        for (size_t j = 0; j < n_shares; j++) {
            const uint8_t x = (uint8_t)shares[j].number;

            if (j != i)
                weight = multiply(weight, multiply(x, invert(x ^ (uint8_t)shares[i].number)));
        }
        for (size_t b = 0; b < SHARES_SECRET_LEN; b++)
            secret[b] = (uint8_t)(secret[b] ^ multiply(weight, shares[i].bytes[b]));
    }
    digest_of(secret, digest);
    if (memcmp(digest, shares[0].digest, sizeof(digest)) != 0)
        r = error_set(ERROR_INPUT, "the shares do not fit together: one of them was changed");
    else
        memcpy(ret, secret, sizeof(secret));
    secret_wipe(secret, sizeof(secret));
    return r;
}

/* --- text ------------------------------------------------------------------------------------- */

static void check_of(const char *text, char out[static 2 * CHECK_LEN + 1])
{
    uint8_t hash[DIGEST_LEN];

    digest_sha256((const uint8_t *)text, strlen(text), hash);
    (void)hex_encode(hash, CHECK_LEN, out);
}

void share_write(const struct share *share, char out[static SHARES_TEXT_MAX])
{
    char head[HEAD_LEN_MAX], bytes[BYTES_HEX + 1], set[2 * SHARES_SET_LEN + 1];
    char check[2 * CHECK_LEN + 1];

    (void)hex_encode(share->bytes, SHARES_SECRET_LEN, bytes);
    (void)hex_encode(share->digest, SHARES_DIGEST_LEN, bytes + 2 * SHARES_SECRET_LEN);
    (void)snprintf(head, sizeof(head), HEAD " %u %u %u %s %s", share->needed, share->n,
        share->number, hex_encode(share->set, SHARES_SET_LEN, set), bytes);
    check_of(head, check);
    (void)snprintf(out, SHARES_TEXT_MAX, "%s %s\n", head, check);
    secret_wipe(head, sizeof(head));
    secret_wipe(bytes, sizeof(bytes));
}

int share_read(const char *text, struct share *ret)
{
    char set[2 * SHARES_SET_LEN + 1] = "", bytes[BYTES_HEX + 1] = "", check[2 * CHECK_LEN + 1] = "";
    char again[SHARES_TEXT_MAX];
    bool good;

    *ret = (struct share){0};
    good = sscanf(text, HEAD " %2u %2u %2u %8s %40s %8s", &ret->needed, &ret->n, &ret->number, set,
               bytes, check) == 6 &&
           hex_decode(set, strlen(set), ret->set, SHARES_SET_LEN) && strlen(bytes) == BYTES_HEX &&
           hex_decode(bytes, 2 * SHARES_SECRET_LEN, ret->bytes, SHARES_SECRET_LEN) &&
           hex_decode(bytes + 2 * SHARES_SECRET_LEN, 2 * SHARES_DIGEST_LEN, ret->digest,
               SHARES_DIGEST_LEN) &&
           ret->needed >= 2 && ret->needed <= ret->n && ret->n <= SHARES_MAX && ret->number >= 1 &&
           ret->number <= ret->n;
    if (good) {
        share_write(ret, again);
        good = strncmp(again, text, strlen(again) - 1) == 0 &&
               strspn(text + strlen(again) - 1, " \r\n") == strlen(text + strlen(again) - 1);
        secret_wipe(again, sizeof(again));
    }
    secret_wipe(bytes, sizeof(bytes));
    return good ? 0 : error_set(ERROR_INPUT, "this is no share, or a character of it is wrong");
}
