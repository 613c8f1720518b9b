/* Keys, CAs and revocation lists in PEM, as organizations and operators give them. The first byte
 * says which: 'K' a public key; else what is known of a peer, parted by NULs: SAN, CAs, revocation
 * lists. What is kept of them is read again as the same. */
#include "activation/peer_trust.h"
#include "activation/rsa_public.h"
#include "base/error.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/err.h>
#include <string.h>

static void try_key(const char *pem)
{
    char text[RSA_PUBLIC_TEXT_MAX];
    uint8_t digest[RSA_PUBLIC_DIGEST_LEN];
    struct keyd_public_key key;
    enum rsa_public_outcome outcome = rsa_public_parse(pem, sizeof(key.modulus), &key);

    FUZZ_HOLDS((unsigned)outcome <= RSA_PUBLIC_WEAK);
    rsa_public_explain(outcome, sizeof(key.modulus), text);
    FUZZ_HOLDS(text[0] != '\0');
    if (outcome != RSA_PUBLIC_OK)
        return;
    FUZZ_HOLDS(keyd_public_key_valid(&key, sizeof(key.modulus)));
    FUZZ_HOLDS(rsa_public_digest(pem, digest));
}

static void check_kept(const struct db_peer *kept)
{
    struct db_peer again = {.id = 0};
    const char *field = "";

    FUZZ_HOLDS(act_peer_trust_read(kept->san, kept->trust_anchor, kept->crl, &again, &field) == 0);
    FUZZ_HOLDS(strcmp(again.trust_anchor, kept->trust_anchor) == 0);
    FUZZ_HOLDS((again.crl == NULL) == (kept->crl == NULL));
    FUZZ_HOLDS(kept->crl == NULL || strcmp(again.crl, kept->crl) == 0);
    act_peer_trust_done(&again);
}

static void try_peer(char *text, size_t len)
{
    struct db_peer peer = {.id = 0};
    const char *field = "", *parts[3] = {text, "", NULL};
    int r;

    for (size_t at = 0, i = 1; i < 3 && at < len; at++)
        if (text[at] == '\0')
            parts[i++] = text + at + 1;
    r = act_peer_trust_read(parts[0], parts[1], parts[2], &peer, &field);
    FUZZ_HOLDS(r == 0 || (r == ERROR_INPUT && error_text()[0] != '\0'));
    FUZZ_HOLDS(field[0] != '\0');
    if (r == 0)
        check_kept(&peer);
    act_peer_trust_done(&peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size == 0)
        return 0;
    text = malloc(size);
    FUZZ_HOLDS(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] == 'K')
        try_key(text);
    else
        try_peer(text, size - 1);
    free(text);
    /* A queue of errors that grows would look like a leak, and end the looking for leaks. */
    ERR_clear_error();
    return 0;
}
