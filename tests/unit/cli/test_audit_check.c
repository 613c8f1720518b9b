/* Exports of a history made here, whole and with every kind of change to them. */
#include "cli/audit_check.h"

#include "base/audit_line.h"
#include "base/error.h"
#include "tests/support/suite.h"
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define N_EVENTS 11
#define N_OWN 6 /* of the organization: the even ones */
#define KEPT_AT 5
#define LINES_MAX (N_EVENTS + 3)
#define SCALAR_LEN 32

struct history {
    struct audit_record records[N_EVENTS];
    struct audit_link links[N_EVENTS];
    uint8_t leaves[N_EVENTS][MERKLE_HASH_LEN];
    struct merkle_tree trees[N_EVENTS + 1]; /* after so many */
};

static struct history history;
static const char *other_action; /* of event 3, where it is not NULL */
static EVP_PKEY *pkey;
static struct audit_key *key;
static const uint8_t own[AUDIT_ID_LEN] = {0xA0, 1};

/** The lines of an export, which tests take apart. */
struct export
{
    char *lines[LINES_MAX];
    size_t n;
};

static void make_history(void)
{
    uint8_t chain[MERKLE_HASH_LEN] = {0}, chains[2][MERKLE_HASH_LEN] = {{0}};
    uint64_t counts[2] = {0};

    for (size_t i = 0; i < N_EVENTS; i++) {
        const size_t whose = i % 2;
        uint8_t made[MERKLE_LEVELS][MERKLE_HASH_LEN];
        struct audit_record *record = &history.records[i];
        struct audit_link *link = &history.links[i];

        *record = (struct audit_record){.id = (int64_t)i + 1,
            .at = "2026-01-02T03:04:05.678901Z",
            .has_organization = whose == 0,
            .has_client = i > 3,
            .request_id = "request",
            .action = "do.something",
            .object = "\"\\\xC3\xA4",
            .detail = "{\"name\": \"x\"}"};
        if (other_action != NULL && i == 2)
            record->action = other_action;
        if (whose == 0)
            memcpy(record->organization, own, sizeof(own));
        link->seq = i + 1;
        link->organization_seq = ++counts[whose];
        link->salt[0] = (uint8_t)i;
        ck_assert_int_eq(audit_chain(chain, record, chain), 0);
        ck_assert_int_eq(audit_chain(chains[whose], record, chains[whose]), 0);
        memcpy(link->chain, chain, sizeof(chain));
        memcpy(link->organization_chain, chains[whose], sizeof(chain));
        ck_assert_int_eq(audit_leaf(link, record->organization, history.leaves[i]), 0);
        history.trees[i + 1] = history.trees[i];
        (void)merkle_append(&history.trees[i + 1], history.leaves[i], made);
    }
}

static void sign(const struct audit_checkpoint *checkpoint, uint8_t ret[AUDIT_SIGNATURE_LEN])
{
    uint8_t bytes[AUDIT_CHECKPOINT_LEN], der[80];
    const unsigned char *at = der;
    size_t len = sizeof(der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ECDSA_SIG *sig;

    audit_checkpoint_write(checkpoint, bytes);
    ck_assert_int_eq(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
    ck_assert_int_eq(EVP_DigestSign(ctx, der, &len, bytes, sizeof(bytes)), 1);
    sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
    ck_assert_int_eq(BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, SCALAR_LEN), SCALAR_LEN);
    ck_assert_int_eq(BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + SCALAR_LEN, SCALAR_LEN), SCALAR_LEN);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
}

static void add_checkpoint(struct export *export, bool of_all, uint64_t seq)
{
    struct audit_checkpoint checkpoint = {
        .seq = seq, .count = of_all ? seq : N_OWN, .time = 1767323045};
    uint8_t signature[AUDIT_SIGNATURE_LEN];
    struct text line = {0};

    if (!of_all)
        memcpy(checkpoint.organization, own, sizeof(own));
    memcpy(checkpoint.chain,
        of_all ? history.links[seq - 1].chain : history.links[N_EVENTS - 1].organization_chain,
        MERKLE_HASH_LEN);
    merkle_tree_root(&history.trees[seq], checkpoint.root);
    sign(&checkpoint, signature);
    audit_checkpoint_line_write(&checkpoint, signature, &line);
    export->lines[export->n++] = line.data;
}

/* From the leaves: what the tree of nodes gives is another test's. */
static size_t path_of(size_t leaf, uint8_t path[MERKLE_LEVELS][MERKLE_HASH_LEN])
{
    struct merkle_place places[MERKLE_LEVELS];
    const size_t n = merkle_path(N_EVENTS, leaf, places);

    for (size_t i = 0; i < n; i++) {
        static uint8_t part[N_EVENTS][MERKLE_HASH_LEN];
        size_t from = (size_t)(places[i].place << places[i].level), n_part = 0;

        for (; from < N_EVENTS && n_part < (size_t)1 << places[i].level; from++)
            memcpy(part[n_part++], history.leaves[from], MERKLE_HASH_LEN);
        merkle_root(part, n_part, path[i]);
    }
    return n;
}

static struct export make_export(bool of_all)
{
    struct export export = {.n = 0};

    if (history.trees[N_EVENTS].n == 0)
        make_history();
    add_checkpoint(&export, of_all, N_EVENTS);
    for (size_t i = 0; i < N_EVENTS; i++) {
        uint8_t path[MERKLE_LEVELS][MERKLE_HASH_LEN];
        struct text text = {0};
        const struct audit_line line = {.record = &history.records[i],
            .link = &history.links[i],
            .leaf = history.leaves[i],
            .path = path,
            .n_path = path_of(i, path),
            .of_all = of_all};

        if (!of_all && i % 2 != 0)
            continue;
        audit_line_write(&line, &text);
        export.lines[export.n++] = text.data;
        if (of_all && i + 1 == KEPT_AT)
            add_checkpoint(&export, true, KEPT_AT);
    }
    return export;
}

static void export_done(struct export *export)
{
    for (size_t i = 0; i < export->n; i++)
        free(export->lines[i]);
}

static int check(const struct export *export, struct text *out)
{
    CLEANUP(audit_check_freep) struct audit_check *check = NULL;
    int r = audit_check_new(key, &check);

    for (size_t i = 0; r == 0 && i < export->n; i++)
        r = audit_check_line(check, export->lines[i], strlen(export->lines[i]));
    return r < 0 ? r : audit_check_end(check, out);
}

static void must_fail(const struct export *export, const char *saying, const char *what)
{
    struct text out = {0};
    int r = check(export, &out);

    ck_assert_msg(r == ERROR_INPUT, "%s was not found", what);
    ck_assert_msg(strstr(error_text(), saying) != NULL, "%s: %s", what, error_text());
    ck_assert_uint_eq(out.len, 0);
}

/* Number of the event on a line; 0 of a checkpoint. */
static size_t event_on(const struct export *export, size_t line)
{
    size_t n = 0;

    for (size_t i = 0; i <= line; i++)
        n += strstr(export->lines[i], "{\"checkpoint\"") == NULL;
    return strstr(export->lines[line], "{\"checkpoint\"") == NULL ? n : 0;
}

START_TEST(a_whole_export_is_good)
{
    for (int of_all = 0; of_all < 2; of_all++) {
        struct export export = make_export(of_all == 1);
        struct text out = {0};

        ck_assert_msg(check(&export, &out) == 0, "%s", error_text());
        ck_assert_ptr_nonnull(strstr(out.data, of_all == 1 ? "\"events\":11" : "\"events\":6"));
        ck_assert_ptr_nonnull(strstr(out.data, "\"signed\":\"2026-01-02T03:04:05Z\""));
        text_done(&out);
        export_done(&export);
    }
}
END_TEST

START_TEST(each_byte_that_is_changed_is_found_and_its_event_named)
{
    for (int of_all = 0; of_all < 2; of_all++) {
        struct export export = make_export(of_all == 1);

        for (size_t line = 0; line < export.n; line++) {
            const size_t event = event_on(&export, line);
            char on_line[40], of_event[40] = "line";

            (void)snprintf(on_line, sizeof(on_line), "line %zu: ", line + 1);
            if (event > 0)
                (void)snprintf(of_event, sizeof(of_event), "event %zu ", event);
            for (char *c = export.lines[line]; c[1] != '\0'; c++) {
                *c ^= 1;
                must_fail(&export, on_line, export.lines[line]);
                must_fail(&export, of_event, export.lines[line]);
                *c ^= 1;
            }
        }
        export_done(&export);
    }
}
END_TEST

START_TEST(each_line_that_is_missing_is_found_and_named)
{
    for (int of_all = 0; of_all < 2; of_all++) {
        struct export export = make_export(of_all == 1);

        for (size_t line = 1; line < export.n; line++) {
            struct export less = export;
            char expected[40];
            const size_t event = event_on(&export, line);

            if (event == 0) /* a kept checkpoint proves others, and needs no other proof */
                continue;
            memmove(&less.lines[line], &less.lines[line + 1],
                (export.n - line - 1) * sizeof(less.lines[0]));
            less.n--;
            (void)snprintf(
                expected, sizeof(expected), "event %zu%s", event, of_all ? "" : " of the");
            /* The line of a checkpoint tells before the next event does. */
            must_fail(&less, of_all == 1 && event == KEPT_AT ? "line 6" : expected, "a line less");
        }
        export_done(&export);
    }
}
END_TEST

START_TEST(lines_that_were_exchanged_or_repeated_are_found)
{
    for (int of_all = 0; of_all < 2; of_all++) {
        struct export export = make_export(of_all == 1);
        struct export more = export;
        char expected[40];

        for (size_t line = 1; line + 1 < export.n; line++) {
            struct export moved = export;

            moved.lines[line] = export.lines[line + 1];
            moved.lines[line + 1] = export.lines[line];
            /* In the place of a checkpoint its neighbour is good. */
            (void)snprintf(expected, sizeof(expected),
                "line %zu: ", line + (event_on(&export, line) > 0 ? 1 : 2));
            must_fail(&moved, expected, "two lines exchanged");
        }
        more.lines[more.n] = more.lines[more.n - 1];
        more.n++;
        must_fail(&more, "more lines than were signed", "a line more");
        export_done(&export);
    }
}
END_TEST

START_TEST(what_was_signed_by_another_or_for_another_is_found)
{
    struct export all = make_export(true), own_one = make_export(false), mixed = own_one;
    struct audit_key *right = key;
    EVP_PKEY *other = EVP_EC_gen("P-256");
    struct text out = {0};
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    long len;

    /* An event of nobody's among an organization's own. */
    mixed.lines[1] = all.lines[2];
    must_fail(&mixed, "line 2", "another's line");
    mixed = own_one;
    mixed.lines[0] = all.lines[0];
    must_fail(&mixed, "line 2", "an organization's events as all");
    ck_assert_int_eq(PEM_write_bio_PUBKEY(bio, other), 1);
    len = BIO_get_mem_data(bio, &pem);
    ck_assert_int_eq(audit_key_read(pem, (size_t)len, &key), 0);
    must_fail(&all, "line 1: the checkpoint", "another key");
    audit_key_free(key);
    key = right;
    ck_assert_int_eq(check(&all, &out), 0);
    text_done(&out);
    BIO_free(bio);
    EVP_PKEY_free(other);
    export_done(&all);
    export_done(&own_one);
}
END_TEST

static int check_from(const struct export *export, const char *kept)
{
    CLEANUP(audit_check_freep) struct audit_check *check = NULL;
    CLEANUP(text_done) struct text out = {0};
    int r = audit_check_new(key, &check);

    if (r == 0)
        r = audit_check_expect(check, kept, strlen(kept));
    for (size_t i = 0; r == 0 && i < export->n; i++)
        r = audit_check_line(check, export->lines[i], strlen(export->lines[i]));
    return r < 0 ? r : audit_check_end(check, &out);
}

/* All of it good and signed, and not what was signed before. */
START_TEST(a_history_that_does_not_go_on_from_what_was_kept_is_found)
{
    struct export all = make_export(true), own_one = make_export(false), anew;

    ck_assert_int_eq(check_from(&all, all.lines[0]), 0);
    ck_assert_int_eq(check_from(&all, all.lines[KEPT_AT + 1]), 0);
    ck_assert_int_eq(check_from(&own_one, own_one.lines[0]), 0);
    ck_assert_int_lt(check_from(&all, own_one.lines[0]), 0);
    ck_assert_int_lt(check_from(&all, all.lines[1]), 0);
    ck_assert_int_lt(check_from(&all, ""), 0);
    other_action = "another.thing";
    history.trees[N_EVENTS].n = 0;
    anew = make_export(true);
    ck_assert_int_eq(check_from(&anew, anew.lines[0]), 0);
    ck_assert_int_lt(check_from(&anew, all.lines[KEPT_AT + 1]), 0);
    ck_assert_ptr_nonnull(strstr(error_text(), "line 6: up to event 5 the history is another"));
    export_done(&anew);
    anew = make_export(false);
    ck_assert_int_lt(check_from(&anew, own_one.lines[0]), 0);
    ck_assert_ptr_nonnull(strstr(error_text(), "up to event 6 of the organization"));
    export_done(&anew);
    export_done(&all);
    export_done(&own_one);
}
END_TEST

START_TEST(what_is_no_export_is_refused)
{
    static const char *const files[] = {"", "\n", "{}\n", "[]\n", "{\"checkpoint\":{}}\n",
        "{\"checkpoint\":7}\n", "{\"checkpoint\":null}\n", "{\"checkpoint\"", "\xFF\n"};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char line[64];
        struct export export = {.lines = {line}, .n = files[i][0] != '\0'};

        (void)snprintf(line, sizeof(line), "%s", files[i]);
        must_fail(&export, "", files[i]);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_whole_export_is_good,
        each_byte_that_is_changed_is_found_and_its_event_named,
        each_line_that_is_missing_is_found_and_named,
        lines_that_were_exchanged_or_repeated_are_found,
        what_was_signed_by_another_or_for_another_is_found,
        a_history_that_does_not_go_on_from_what_was_kept_is_found,
        what_is_no_export_is_refused,
    };
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    long len;
    int failed = 1;

    pkey = EVP_EC_gen("P-256");
    if (bio != NULL && pkey != NULL && PEM_write_bio_PUBKEY(bio, pkey) == 1) {
        len = BIO_get_mem_data(bio, &pem);
        if (audit_key_read(pem, (size_t)len, &key) == 0)
            failed = suite_run("cli audit check", tests, sizeof(tests) / sizeof(tests[0]), 60);
    }
    audit_key_free(key);
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    return failed;
}
