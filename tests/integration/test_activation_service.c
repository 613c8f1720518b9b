#include "tests/integration/activation_fixture.h"

#include "activation/service.h"
#include "base/hex.h"
#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"
#define GRANT "grant_type=client_credentials"
#define OUTPUT_MAX 2048
#define EXIT_CONFIG 78
#define IMPORT "/v1/batches/import?format=csv"

/* Characters of a token's text (activation/token.h). */
#define PLACE_OF_EXPIRY_HIGH 24 /* of bits that are zero for thousands of years */
#define PLACE_OF_EXPIRY_SET 28  /* of the highest bits that are set in this century */
#define PLACE_OF_RANDOM 40

static void ask_token(const char *headers, const char *form, struct act_test_answer *ret)
{
    act_ask("POST", "/v1/token", headers, form, strlen(form), ret);
}

static void get(const char *target, struct act_test_answer *ret)
{
    act_ask("GET", target, "", NULL, 0, ret);
}

/* Tells when /readyz has this status; the test's time limit is the bound. */
static void await_ready(unsigned status)
{
    for (;;) {
        struct act_test_answer answer;
        unsigned now;

        get("/readyz", &answer);
        now = answer.status;
        act_answer_done(&answer);
        if (now == status)
            return;
        (void)usleep(50000);
    }
}

START_TEST(a_token_answer_is_that_of_rfc_6749_and_not_to_be_stored)
{
    char form[300];
    struct act_test_answer answer;

    (void)snprintf(
        form, sizeof(form), GRANT "&client_id=%s&client_secret=%s", act_maker.id, act_maker.secret);
    ask_token(FORM, form, &answer);
    ck_assert_msg(answer.status == 200, "%s", answer.text);
    ck_assert_ptr_nonnull(strstr(answer.text, "Cache-Control: no-store\r\n"));
    ck_assert_ptr_nonnull(strstr(answer.text, "Content-Type: application/json\r\n"));
    ck_assert_ptr_nonnull(strstr(answer.body, "\"token_type\":\"Bearer\""));
    ck_assert_ptr_nonnull(strstr(answer.body, "\"expires_in\":3600"));
    act_answer_done(&answer);
}
END_TEST

START_TEST(an_unknown_client_and_a_wrong_secret_get_one_answer)
{
    char unknown[300], wrong[300];
    struct act_test_answer a, b;

    (void)snprintf(unknown, sizeof(unknown),
        GRANT "&client_id=00112233445566778899aabbccddeeff&client_secret=%s", act_maker.secret);
    (void)snprintf(wrong, sizeof(wrong), GRANT "&client_id=%s&client_secret=%s", act_maker.id,
        act_admin.secret);
    ask_token(FORM, unknown, &a);
    ask_token(FORM, wrong, &b);
    ck_assert_uint_eq(a.status, 401);
    ck_assert_uint_eq(b.status, 401);
    ck_assert_str_eq(a.body, b.body);
    ck_assert_ptr_nonnull(strstr(a.body, "\"error\":\"invalid_client\""));
    ck_assert_ptr_nonnull(strstr(a.text, "WWW-Authenticate: Basic"));
    act_answer_done(&a);
    act_answer_done(&b);
}
END_TEST

START_TEST(what_is_wrong_with_a_grant_is_told_in_the_words_of_rfc_6749)
{
    static const struct {
        const char *headers, *form;
        unsigned status;
        const char *error;
    } cases[] = {
        {FORM, "grant_type=password&client_id=a&client_secret=b", 400, "unsupported_grant_type"},
        {FORM, "client_id=a&client_secret=b", 400, "invalid_request"},
        {FORM, GRANT "&" GRANT "&client_id=a&client_secret=b", 400, "invalid_request"},
        {FORM, GRANT "&client_id=%zz&client_secret=b", 400, "invalid_request"},
        {"Content-Type: application/json\r\n", "{}", 400, "invalid_request"},
        {"", GRANT, 400, "invalid_request"},
        {FORM, GRANT, 401, "invalid_client"},
        {FORM, GRANT "&client_id=a", 401, "invalid_client"},
        {FORM "Authorization: Basic !!\r\n", GRANT, 401, "invalid_client"},
        {FORM "Authorization: Bearer x\r\n", GRANT, 401, "invalid_client"},
        /* a:b */
        {FORM "Authorization: Basic YTpi\r\n", GRANT, 401, "invalid_client"},
        {FORM "Authorization: Basic YTpi\r\n", GRANT "&client_secret=b", 400, "invalid_request"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct act_test_answer answer;
        char error[40];

        ask_token(cases[i].headers, cases[i].form, &answer);
        ck_assert_msg(answer.status == cases[i].status, "%zu: %s", i, answer.text);
        act_member(answer.body, "error", error, sizeof(error));
        ck_assert_str_eq(error, cases[i].error);
        act_answer_done(&answer);
    }
}
END_TEST

START_TEST(importing_needs_a_valid_token_of_a_maker)
{
    static const char target[] = IMPORT;
    static const size_t places[] = {10, 40, 60};
    char bearer[160], altered[160];
    struct act_test_answer answer;
    char *at;

    act_ask("POST", target, "", "x", 1, &answer);
    ck_assert_uint_eq(answer.status, 401);
    ck_assert_ptr_nonnull(strstr(answer.text, "WWW-Authenticate: Bearer"));
    ck_assert_ptr_nonnull(strstr(answer.text, "application/problem+json"));
    act_answer_done(&answer);

    /* In the client's id, in the random bytes, and in the hash. */
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        (void)snprintf(altered, sizeof(altered), "%s", act_bearer(&act_maker, bearer));
        at = strstr(altered, "Bearer ") + strlen("Bearer ") + places[i];
        *at = *at == 'A' ? 'B' : 'A';
        act_ask("POST", target, altered, "x", 1, &answer);
        ck_assert_msg(answer.status == 401, "place %zu: %s", places[i], answer.text);
        act_answer_done(&answer);
    }

    act_ask("POST", target, act_bearer(&act_admin, bearer), "x", 1, &answer);
    ck_assert_uint_eq(answer.status, 403);
    act_answer_done(&answer);

    act_ask("POST", target, act_bearer(&act_maker, bearer), "x", 1, &answer);
    ck_assert_uint_eq(answer.status, 400);
    act_answer_done(&answer);
}
END_TEST

START_TEST(a_stranger_is_refused_before_his_body_is_taken)
{
    struct act_test_answer answer;

    /* The body that is announced never comes. */
    act_ask("POST", IMPORT, "Content-Length: 1000000\r\n", NULL, 0, &answer);
    ck_assert_uint_eq(answer.status, 401);
    act_answer_done(&answer);
}
END_TEST

static unsigned import_status(const char *bearer)
{
    struct act_test_answer answer;
    unsigned status;

    act_ask("POST", IMPORT, bearer, "x", 1, &answer);
    status = answer.status;
    act_answer_done(&answer);
    return status;
}

/* Asks until the answer has this status; the test's time limit is the bound. */
static void await_import(const char *bearer, unsigned status)
{
    while (import_status(bearer) != status)
        (void)usleep(50000);
}

/* Begins imports that announce a body and send none of it. */
static void hold(const char *bearer, int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fds[i] = act_begin(IMPORT, bearer, 1000);
}

static void let_go(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)close(fds[i]);
}

/* Another text with the shape of this token: one character altered. */
static const char *forge(const char *bearer, size_t place, char digit, char out[static 160])
{
    char *at;

    (void)snprintf(out, 160, "%s", bearer);
    at = strstr(out, "Bearer ") + strlen("Bearer ") + place;
    *at = *at != digit ? digit : '-';
    return out;
}

START_TEST(big_bodies_are_held_in_a_limited_number_and_let_go_with_their_connection)
{
    int held[ACT_BIG_BODIES_MAX];
    char maker[160], admin[160];

    (void)act_bearer(&act_maker, maker);
    (void)act_bearer(&act_admin, admin);
    await_import(maker, 400);
    hold(maker, held, ACT_BIG_BODIES_PER_ORGANIZATION);
    await_import(maker, 503);
    /* One organization's share is not all: another is heard, and refused for what he may not do. */
    ck_assert_uint_eq(import_status(admin), 403);
    hold(admin, held + ACT_BIG_BODIES_PER_ORGANIZATION,
        ACT_BIG_BODIES_MAX - ACT_BIG_BODIES_PER_ORGANIZATION);
    await_import(admin, 503);
    let_go(held, ACT_BIG_BODIES_MAX);
    await_import(maker, 400);
}
END_TEST

/* Of a route whose bodies may be big; the maker has no right to what it does. */
START_TEST(a_body_that_says_to_be_small_needs_no_place)
{
    static const struct {
        const char *header, *body;
        unsigned status;
    } asked[] = {
        {"", "{}", 403},
        {"Content-Length: 65537\r\n", NULL, 503},
        {"Transfer-Encoding: chunked\r\n", NULL, 503},
    };
    int held[ACT_BIG_BODIES_PER_ORGANIZATION];
    char maker[160], headers[240];

    (void)act_bearer(&act_maker, maker);
    await_import(maker, 400);
    hold(maker, held, ACT_BIG_BODIES_PER_ORGANIZATION);
    await_import(maker, 503);
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        struct act_test_answer answer;

        (void)snprintf(headers, sizeof(headers), "%s%s", maker, asked[i].header);
        act_ask("POST", "/v1/claims", headers, asked[i].body,
            asked[i].body != NULL ? strlen(asked[i].body) : 0, &answer);
        ck_assert_msg(answer.status == asked[i].status, "%s: %s", asked[i].header, answer.text);
        act_answer_done(&answer);
    }
    let_go(held, ACT_BIG_BODIES_PER_ORGANIZATION);
}
END_TEST

START_TEST(forged_tokens_do_not_keep_a_maker_from_importing)
{
    int held[ACT_BIG_BODIES_MAX];
    char maker[160], forged[160];

    (void)act_bearer(&act_maker, maker);
    await_import(maker, 400);
    (void)forge(maker, PLACE_OF_RANDOM, 'A', forged);
    await_import(forged, 401);
    hold(forged, held, ACT_BIG_BODIES_MAX);
    await_import(forged, 503);
    ck_assert_uint_eq(import_status(maker), 400);
    let_go(held, ACT_BIG_BODIES_MAX);
    await_import(forged, 401);
}
END_TEST

START_TEST(a_token_of_an_earlier_run_is_unknown_until_it_was_verified_once)
{
    int held[ACT_BIG_BODIES_MAX];
    char old[160], older[160], forged[160];

    (void)act_bearer(&act_maker, old);
    (void)act_bearer(&act_maker, older);
    ck_assert_int_eq(act_stop(), 0);
    act_start(NULL);
    ck_assert_uint_eq(import_status(old), 400);
    (void)forge(old, PLACE_OF_RANDOM, 'A', forged);
    await_import(forged, 401);
    hold(forged, held, ACT_BIG_BODIES_MAX);
    await_import(forged, 503);
    ck_assert_uint_eq(import_status(old), 400);
    ck_assert_uint_eq(import_status(older), 503);
    let_go(held, ACT_BIG_BODIES_MAX);
    await_import(older, 400);
}
END_TEST

START_TEST(a_token_that_by_its_own_words_cannot_be_valid_is_refused_before_a_body)
{
    static const size_t places[] = {PLACE_OF_EXPIRY_HIGH, PLACE_OF_EXPIRY_SET};
    char maker[160], forged[160], headers[240];

    (void)act_bearer(&act_maker, maker);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct act_test_answer answer;

        /* The body that is announced never comes. */
        (void)snprintf(headers, sizeof(headers), "%sContent-Length: 1000000\r\n",
            forge(maker, places[i], i == 0 ? 'B' : 'A', forged));
        act_ask("POST", IMPORT, headers, NULL, 0, &answer);
        ck_assert_msg(answer.status == 401, "place %zu: %s", places[i], answer.text);
        act_answer_done(&answer);
    }
}
END_TEST

START_TEST(a_client_that_leaves_gives_its_slot_back)
{
    char bearer[160];

    (void)act_bearer(&act_maker, bearer);
    for (size_t i = 0; i < 2 * ACT_BIG_BODIES_MAX; i++) {
        await_import(bearer, 400);
        (void)close(act_begin(IMPORT, bearer, (size_t)5 << 20));
    }
    await_import(bearer, 400);
}
END_TEST

START_TEST(a_token_ends_with_its_lifetime)
{
    char bearer[160];

    ck_assert_int_eq(act_stop(), 0);
    act_start("token.lifetime_s=1");
    (void)act_bearer(&act_maker, bearer);
    await_import(bearer, 401);
    ck_assert_int_eq(act_stop(), 0);
    act_start(NULL);
}
END_TEST

/* RSAES-OAEP with SHA-1, the library's default, to the published exchange key. */
static void seal_to_exchange_key(const uint8_t *key, size_t len, const char *path)
{
    FILE *pem = fopen(act_hsm.exchange_pem, "re");
    EVP_PKEY *exchange = pem != NULL ? PEM_read_PUBKEY(pem, NULL, NULL, NULL) : NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(exchange, NULL);
    uint8_t sealed[512];
    size_t sealed_len = sizeof(sealed);
    FILE *out = fopen(path, "we");

    ck_assert(pem != NULL && out != NULL && ctx != NULL);
    ck_assert_int_eq(EVP_PKEY_encrypt_init(ctx), 1);
    ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    ck_assert_int_eq(EVP_PKEY_encrypt(ctx, sealed, &sealed_len, key, len), 1);
    ck_assert_uint_eq(fwrite(sealed, 1, sealed_len, out), sealed_len);
    (void)fclose(out);
    (void)fclose(pem);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(exchange);
}

START_TEST(a_kek_is_adopted_for_a_known_peer_and_shown_by_its_check_value)
{
    static const uint8_t key[16] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7,
        0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
    const uint8_t zeros[16] = {0};
    char path[200], out[OUTPUT_MAX], err[OUTPUT_MAX], kcv[7], expected[33];
    uint8_t cmac[16];
    size_t cmac_len;

    (void)snprintf(path, sizeof(path), "%s/kek.bin", act_hsm.dir);
    seal_to_exchange_key(key, sizeof(key), path);
    ck_assert_ptr_nonnull(EVP_Q_mac(NULL, "CMAC", NULL, "AES-128-CBC", NULL, key, sizeof(key),
        zeros, sizeof(zeros), cmac, sizeof(cmac), &cmac_len));
    (void)hex_encode(cmac, 3, expected);
    ck_assert_msg(act_cradle(out, err, sizeof(out),
                      (const char *const[]){"kek", "add", "--ns", "000013", "--label", "ns-000013",
                          "--sealed", path, "--length", "16", NULL}) == 0,
        "%s", err);
    act_member(out, "kcv", kcv, sizeof(kcv));
    ck_assert_str_eq(kcv, expected);
    ck_assert_int_eq(act_cradle(out, err, sizeof(out),
                         (const char *const[]){"kek", "add", "--ns", "000099", "--label", "l",
                             "--sealed", path, "--length", "16", NULL}),
        1);
    ck_assert_ptr_nonnull(strstr(err, "no network server"));
    ck_assert_int_eq(act_cradle(out, err, sizeof(out),
                         (const char *const[]){"kek", "add", "--as", "demo-as", "--label", "as",
                             "--sealed", path, "--length", "32", NULL}),
        1);
    ck_assert_ptr_nonnull(strstr(err, "32 bytes"));
}
END_TEST

START_TEST(a_revoked_client_is_out_at_once)
{
    char out[OUTPUT_MAX], err[OUTPUT_MAX], bearer[160], sql[200];
    struct act_test_client client;
    struct act_test_answer answer;

    ck_assert_int_eq(act_cradle(out, err, sizeof(out),
                         (const char *const[]){"client", "add", "--organization", "Gone", "--role",
                             "maker", "--role", "admin", NULL}),
        0);
    ck_assert_ptr_nonnull(strstr(out, "\"roles\":[\"admin\",\"module_maker\",\"product_maker\"]"));
    act_member(out, "client_id", client.id, sizeof(client.id));
    act_member(out, "client_secret", client.secret, sizeof(client.secret));
    (void)act_bearer(&client, bearer);
    (void)snprintf(
        sql, sizeof(sql), "UPDATE client SET revoked_at = now() WHERE id = '\\x%s'", client.id);
    ck_assert_int_eq(pg_sql(act_cluster, ACT_DATABASE, sql), 0);
    act_ask("POST", IMPORT, bearer, "x", 1, &answer);
    ck_assert_uint_eq(answer.status, 401);
    act_answer_done(&answer);
}
END_TEST

START_TEST(unknown_paths_and_wrong_methods_are_problems)
{
    struct act_test_answer answer;

    get("/v1/nothing", &answer);
    ck_assert_uint_eq(answer.status, 404);
    ck_assert_ptr_nonnull(strstr(answer.text, "application/problem+json"));
    act_answer_done(&answer);
    get("/v1/token", &answer);
    ck_assert_uint_eq(answer.status, 405);
    ck_assert_ptr_nonnull(strstr(answer.text, "Allow: POST\r\n"));
    act_answer_done(&answer);
}
END_TEST

START_TEST(what_is_open_to_all_answers)
{
    static const struct {
        const char *target, *type, *holds;
    } cases[] = {
        {"/healthz", "text/plain", "alive"},
        {"/readyz", "text/plain", "ready"},
        {"/metrics", "text/plain", "cradle_access_tokens_total{outcome=\"issued\"}"},
        {"/v1/openapi.json", "application/json", "\"3.1.0\""},
        {"/v1/exchange-key", "application/x-pem-file", "-----BEGIN PUBLIC KEY-----"},
    };

    await_ready(200);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct act_test_answer answer;

        get(cases[i].target, &answer);
        ck_assert_msg(answer.status == 200, "%s", answer.text);
        ck_assert_ptr_nonnull(strstr(answer.text, cases[i].type));
        ck_assert_ptr_nonnull(strstr(answer.body, cases[i].holds));
        act_answer_done(&answer);
    }
}
END_TEST

START_TEST(the_service_is_not_ready_without_its_database_and_ready_again_with_it)
{
    struct act_test_answer answer;
    char bearer[160];

    await_ready(200);
    pg_cluster_kill(act_cluster);
    await_ready(503);
    ask_token(FORM, GRANT "&client_id=00112233445566778899aabbccddeeff&client_secret=x", &answer);
    ck_assert_uint_eq(answer.status, 503);
    ck_assert_ptr_nonnull(strstr(answer.text, "Retry-After: "));
    act_answer_done(&answer);
    ck_assert_int_eq(pg_cluster_resume(act_cluster), 0);
    await_ready(200);
    (void)act_bearer(&act_maker, bearer);
}
END_TEST

START_TEST(a_wrong_pin_ends_the_service_for_good_and_a_signal_ends_it_well)
{
    ck_assert_int_eq(act_stop(), 0);
    ck_assert_int_eq(act_run_to_end(act_hsm.uri_wrong), EXIT_CONFIG);
    act_start(NULL);
    await_ready(200);
}
END_TEST

START_TEST(the_command_says_what_is_wrong_in_one_sentence)
{
    static const struct {
        const char *const args[10];
        int status;
        const char *said;
    } cases[] = {
        {{"nothing", NULL}, 2, "no such verb \"nothing\"; try cradle --help"},
        {{"route", "lst", NULL}, 2, "no such verb \"route lst\"; try cradle route --help"},
        {{"route", NULL}, 2, "no such verb \"route\"; try cradle route --help"},
        {{NULL}, 2, "a verb is missing; try cradle --help"},
        {{"client", "add", NULL}, 2, "usage: "},
        {{"client", "add", "--organization", "x", "--role", "king", NULL}, 1, "no role king"},
        {{"ns", "add", "--name", "home", "--net-id", "13", NULL}, 1, "NetID"},
        {{"as", "add", "--as-id", "demo-as", NULL}, 1, "already"},
        {{"as", "add", "--as-id", "two words", NULL}, 1, "AS-ID"},
        {{"route", "add", "20635f/24", NULL}, 1, "already"},
        {{"route", "add", "20635f/20", NULL}, 1, "PREFIX/BITS"},
        {{"hsm", "init", "--exchange-key-out", "/dev/null", NULL}, 1, ""},
        {{"kek", "add", "--ns", "000013", "--label", "l", "--sealed", "/dev/null", "--length",
             "16"},
            1, "exchange key"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *args[11] = {0};
        char out[OUTPUT_MAX], err[OUTPUT_MAX];

        memcpy(args, cases[i].args, sizeof(cases[i].args));
        ck_assert_msg(
            act_cradle(out, err, sizeof(out), args) == cases[i].status, "%zu: %s", i, err);
        ck_assert_str_eq(out, "");
        ck_assert_msg(strstr(err, cases[i].said) != NULL, "%zu: %s", i, err);
        ck_assert(err[0] != '\0');
    }
}
END_TEST

START_TEST(the_keys_of_the_token_are_listed_with_check_values)
{
    char out[OUTPUT_MAX], err[OUTPUT_MAX];

    ck_assert_int_eq(
        act_cradle(out, err, sizeof(out), (const char *const[]){"hsm", "list", NULL}), 0);
    ck_assert_ptr_nonnull(strstr(out, "store-device.1"));
    ck_assert_ptr_nonnull(strstr(out, "store-device-export.1"));
    ck_assert_ptr_nonnull(strstr(out, "token.1"));
}
END_TEST

/* How many of this service's key processes there are, and how many of them serve exports. */
static unsigned count_keyds(unsigned *ret_exporting)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    unsigned n = 0;

    *ret_exporting = 0;
    ck_assert_ptr_nonnull(proc);
    while ((entry = readdir(proc)) != NULL) {
        char path[300], line[OUTPUT_MAX];
        size_t len;
        FILE *f;

        (void)snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        f = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? fopen(path, "re") : NULL;
        if (f == NULL)
            continue; /* no process, or one that has just ended */
        len = fread(line, 1, sizeof(line), f);
        (void)fclose(f);
        if (memmem(line, len, "--verbs", 7) == NULL ||
            memmem(line, len, act_hsm.lock_file, strlen(act_hsm.lock_file)) == NULL)
            continue;
        n++;
        *ret_exporting += memmem(line, len, "export-key", 10) != NULL;
    }
    (void)closedir(proc);
    return n;
}

START_TEST(root_keys_can_be_exported_only_where_the_configuration_says_so)
{
    unsigned exporting = 0;

    ck_assert_uint_gt(count_keyds(&exporting), 0);
    ck_assert_uint_eq(exporting, 0);
    ck_assert_int_eq(act_stop(), 0);
    act_start("hsm.export=true");
    ck_assert_uint_gt(count_keyds(&exporting), 0);
    ck_assert_uint_gt(exporting, 0);
    ck_assert_int_eq(act_stop(), 0);
    act_start(NULL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_token_answer_is_that_of_rfc_6749_and_not_to_be_stored,
        an_unknown_client_and_a_wrong_secret_get_one_answer,
        what_is_wrong_with_a_grant_is_told_in_the_words_of_rfc_6749,
        importing_needs_a_valid_token_of_a_maker, a_stranger_is_refused_before_his_body_is_taken,
        big_bodies_are_held_in_a_limited_number_and_let_go_with_their_connection,
        forged_tokens_do_not_keep_a_maker_from_importing,
        a_token_of_an_earlier_run_is_unknown_until_it_was_verified_once,
        a_token_that_by_its_own_words_cannot_be_valid_is_refused_before_a_body,
        a_body_that_says_to_be_small_needs_no_place, a_client_that_leaves_gives_its_slot_back,
        a_token_ends_with_its_lifetime,
        a_kek_is_adopted_for_a_known_peer_and_shown_by_its_check_value,
        a_revoked_client_is_out_at_once, unknown_paths_and_wrong_methods_are_problems,
        what_is_open_to_all_answers,
        the_service_is_not_ready_without_its_database_and_ready_again_with_it,
        a_wrong_pin_ends_the_service_for_good_and_a_signal_ends_it_well,
        the_command_says_what_is_wrong_in_one_sentence,
        the_keys_of_the_token_are_listed_with_check_values,
        root_keys_can_be_exported_only_where_the_configuration_says_so};

    return act_test_main("activation-service", tests, sizeof(tests) / sizeof(tests[0]));
}
