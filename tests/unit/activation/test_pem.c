#include "activation/pem.h"

#include "activation/operator_check.h"
#include "activation/peer_trust.h"
#include "activation/rsa_public.h"
#include "base/error.h"
#include "tests/support/suite.h"
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PEM_MAX 8192
#define DAY_S 86400
#define PATIENCE_MS 10000
#define ENCRYPTED                                                                                  \
    "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,000102030405060708090A0B0C0D0E0F\n\n"

static char ca_pem[PEM_MAX], crl_pem[PEM_MAX], key_pem[PEM_MAX];

static void take(BIO *bio, char out[static PEM_MAX])
{
    int n = BIO_read(bio, out, PEM_MAX - 1);

    ck_assert_int_gt(n, 0);
    out[n] = '\0';
    BIO_free(bio);
}

/* A CA, its empty revocation list and its public key. */
static void setup(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *ca = X509_new();
    X509_CRL *crl = X509_CRL_new();
    X509_EXTENSION *is_ca =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    X509_NAME *name = X509_get_subject_name(ca);
    ASN1_TIME *now = X509_time_adj(NULL, 0, NULL), *later = X509_time_adj(NULL, DAY_S, NULL);
    BIO *bios[] = {BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem())};

    (void)X509_NAME_add_entry_by_txt(
        name, "CN", MBSTRING_UTF8, (const unsigned char *)"ca", -1, -1, 0);
    (void)X509_set_version(ca, X509_VERSION_3);
    (void)X509_set_issuer_name(ca, name);
    (void)X509_set1_notBefore(ca, now);
    (void)X509_set1_notAfter(ca, later);
    (void)X509_set_pubkey(ca, key);
    (void)X509_add_ext(ca, is_ca, -1);
    ck_assert_int_gt(X509_sign(ca, key, EVP_sha256()), 0);
    (void)X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    (void)X509_CRL_set_issuer_name(crl, name);
    (void)X509_CRL_set1_lastUpdate(crl, now);
    (void)X509_CRL_set1_nextUpdate(crl, later);
    ck_assert_int_gt(X509_CRL_sign(crl, key, EVP_sha256()), 0);
    (void)PEM_write_bio_X509(bios[0], ca);
    (void)PEM_write_bio_X509_CRL(bios[1], crl);
    (void)PEM_write_bio_PUBKEY(bios[2], key);
    take(bios[0], ca_pem);
    take(bios[1], crl_pem);
    take(bios[2], key_pem);
    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
    X509_EXTENSION_free(is_ca);
    X509_CRL_free(crl);
    X509_free(ca);
    EVP_PKEY_free(key);
}

/* With the words behind its first line. */
static void write_with(const char *pem, const char *words, char out[static PEM_MAX])
{
    const char *behind = strchr(pem, '\n');

    ck_assert_ptr_nonnull(behind);
    (void)snprintf(out, PEM_MAX, "%.*s\n%s%s", (int)(behind - pem), pem, words, behind + 1);
}

static int read_trust(const char *ca, const char *crl, const char **ret_field)
{
    struct db_peer peer = {0};
    int r = act_peer_trust_read("a.b", ca, crl, &peer, ret_field);

    act_peer_trust_done(&peer);
    return r;
}

static int all_refused(void)
{
    char encrypted[PEM_MAX];
    const char *field;
    struct keyd_public_key key;

    write_with(ca_pem, ENCRYPTED, encrypted);
    if (read_trust(encrypted, NULL, &field) != ERROR_INPUT)
        return 1;
    write_with(crl_pem, ENCRYPTED, encrypted);
    if (read_trust(ca_pem, encrypted, &field) != ERROR_INPUT)
        return 2;
    write_with(key_pem, ENCRYPTED, encrypted);
    return rsa_public_parse(encrypted, KEYD_RSA_MAX, &key) == RSA_PUBLIC_MALFORMED ? 0 : 3;
}

/* Of no terminal, where OpenSSL asks standard error, and waits for standard input. */
static void ask_us(int end)
{
    if (setsid() < 0 || dup2(end, STDIN_FILENO) < 0 || dup2(end, STDERR_FILENO) < 0)
        _exit(4);
    (void)close(end);
}

START_TEST(nobody_is_asked_for_a_pass_phrase)
{
    struct pollfd asker = {.events = POLLIN};
    char asked[PEM_MAX] = "";
    int ends[2], status;
    pid_t child;

    setup();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void)close(ends[0]);
        ask_us(ends[1]);
        _exit(all_refused());
    }
    (void)close(ends[1]);
    asker.fd = ends[0];
    ck_assert_int_eq(poll(&asker, 1, PATIENCE_MS), 1);
    if (read(asker.fd, asked, sizeof(asked) - 1) > 0)
        (void)kill(child, SIGKILL);
    (void)close(asker.fd);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_str_eq(asked, "");
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}
END_TEST

static int read_pair(const char *first, const char *second, bool are_lists, const char **ret_field)
{
    char both[2 * PEM_MAX];

    ck_assert_uint_lt(strlen(first) + strlen(second), sizeof(both));
    memcpy(both, first, strlen(first));
    memcpy(both + strlen(first), second, strlen(second) + 1);
    return are_lists ? read_trust(ca_pem, both, ret_field) : read_trust(both, NULL, ret_field);
}

START_TEST(a_damaged_block_is_refused_by_its_number)
{
    setup();
    for (int are_lists = 0; are_lists < 2; are_lists++) {
        const char *good = are_lists ? crl_pem : ca_pem, *name = are_lists ? "crl" : "ca";
        char damaged[4][PEM_MAX], expected[40];
        const char *field = NULL;

        ck_assert_int_eq(read_pair(good, good, are_lists, &field), 0);
        /* Cut off; not Base64; not what it says; encrypted. */
        (void)snprintf(damaged[0], PEM_MAX, "%.*s", (int)strlen(good) - 40, good);
        write_with(good, "!!!!\n", damaged[1]);
        write_with(good, "AAAA", damaged[2]);
        write_with(good, ENCRYPTED, damaged[3]);
        (void)snprintf(expected, sizeof(expected), "block 2 of %s is damaged", name);
        for (int i = 0; i < 4; i++) {
            ck_assert_int_eq(read_pair(good, damaged[i], are_lists, &field), ERROR_INPUT);
            ck_assert_msg(strstr(error_text(), expected) != NULL, "%d: %s", i, error_text());
            ck_assert_str_eq(field, name);
            ck_assert_uint_eq(ERR_peek_error(), 0);
        }
        /* Words around the blocks are none of them. */
        ck_assert_int_eq(read_pair(good, "behind\n", are_lists, &field), 0);
    }
}
END_TEST

START_TEST(a_name_that_is_refused_is_quoted_as_utf8)
{
    struct db_peer peer = {0};
    char san[PEER_SAN_MAX] = "x";
    const char *field;

    for (size_t i = 0; i < 60; i++)
        memcpy(san + 1 + 2 * i, "\xc3\xa4", 2);
    ck_assert_int_eq(act_peer_trust_read(san, "", NULL, &peer, &field), ERROR_INPUT);
    ck_assert_msg(act_name_valid(error_text(), ERROR_TEXT_MAX), "%s", error_text());
}
END_TEST

SUITE_MAIN("pem", 20, a_damaged_block_is_refused_by_its_number,
    a_name_that_is_refused_is_quoted_as_utf8, nobody_is_asked_for_a_pass_phrase)
