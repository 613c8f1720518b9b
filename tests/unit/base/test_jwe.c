#include "base/jwe.h"

#include "base/error.h"
#include "tests/support/suite.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#define CONTENT 10000
#define PEM_MAX 4096

static char private_pem[PEM_MAX], other_pem[PEM_MAX], public_pem[PEM_MAX];
static const uint8_t key[GCM_KEY_LEN] = {1, 2, 3}, iv[GCM_IV_LEN] = {4};
static uint8_t content[CONTENT];

static void make(char *private_out, char *public_out)
{
    EVP_PKEY *pkey = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());

    ck_assert_ptr_nonnull(pkey);
    ck_assert_int_eq(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL), 1);
    ck_assert_int_gt(BIO_read(bio, private_out, PEM_MAX - 1), 0);
    if (public_out != NULL) {
        ck_assert_int_eq(PEM_write_bio_PUBKEY(bio, pkey), 1);
        ck_assert_int_gt(BIO_read(bio, public_out, PEM_MAX - 1), 0);
    }
    BIO_free(bio);
    EVP_PKEY_free(pkey);
}

static void make_keys(void)
{
    if (public_pem[0] != '\0')
        return;
    make(private_pem, public_pem);
    make(other_pem, NULL);
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i * 31 + i / 256);
}

/* The content in pieces of `step`. */
static void write_all(size_t len, size_t step, struct text *out)
{
    CLEANUP(jwe_writer_freep) struct jwe_writer *writer = NULL;

    ck_assert_int_eq(jwe_writer_new(public_pem, key, iv, &writer, out), 0);
    for (size_t at = 0; at < len; at += step)
        ck_assert_int_eq(
            jwe_writer_add(writer, content + at, len - at < step ? len - at : step, out), 0);
    ck_assert_int_eq(jwe_writer_end(writer, out), 0);
}

static int take(void *context, const uint8_t *bytes, size_t len)
{
    text_add_len(context, (const char *)bytes, len);
    return 0;
}

static int read_all(const struct text *jwe, const char *pem, struct text *ret)
{
    FILE *file = fmemopen(jwe->data, jwe->len, "r");
    int r;

    ck_assert_ptr_nonnull(file);
    r = jwe_read(file, pem, take, ret);
    (void)fclose(file);
    return r;
}

START_TEST(what_is_written_in_any_pieces_is_read_again)
{
    static const size_t lengths[] = {0, 1, 2, 3, 3071, 3072, 3073, 6144, CONTENT};
    static const size_t steps[] = {1, 2, 1000, 3072, CONTENT};

    make_keys();
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {

        for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
            CLEANUP(text_done) struct text jwe = {0}, got = {0};

            write_all(lengths[i], steps[k], &jwe);
            ck_assert_int_eq(read_all(&jwe, private_pem, &got), 0);
            ck_assert_uint_eq(got.len, lengths[i]);
            if (got.len > 0)
                ck_assert_mem_eq(got.data, content, got.len);
        }
    }
}
END_TEST

START_TEST(what_was_changed_or_cut_or_is_for_another_gives_nothing)
{
    CLEANUP(text_done) struct text jwe = {0};

    make_keys();
    write_all(4000, 1000, &jwe);
    for (size_t at = 0; at < jwe.len; at += 97) {
        CLEANUP(text_done) struct text got = {0};
        char was = jwe.data[at];

        jwe.data[at] = was == 'A' ? 'B' : 'A';
        ck_assert_int_eq(read_all(&jwe, private_pem, &got), ERROR_INPUT);
        ck_assert_uint_eq(got.len, 0);
        jwe.data[at] = was;
    }
    for (size_t len = 1; len < jwe.len; len += 501) {
        CLEANUP(text_done) struct text got = {0};
        struct text cut = {.data = jwe.data, .len = len};

        ck_assert_int_eq(read_all(&cut, private_pem, &got), ERROR_INPUT);
        ck_assert_uint_eq(got.len, 0);
    }
    {
        CLEANUP(text_done) struct text got = {0};

        ck_assert_int_eq(read_all(&jwe, other_pem, &got), ERROR_INPUT);
        ck_assert_int_eq(read_all(&jwe, public_pem, &got), ERROR_INPUT);
        ck_assert_uint_eq(got.len, 0);
    }
}
END_TEST

SUITE_MAIN("base jwe", 30, what_is_written_in_any_pieces_is_read_again,
    what_was_changed_or_cut_or_is_for_another_gives_nothing)
