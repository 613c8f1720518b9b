#include "tests/integration/activation_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_A "000102030405060708090a0b0c0d0e0f"
#define KEY_B "101112131415161718191a1b1c1d1e1f"
#define JOIN "20635f0000000100"
#define HOME "mac_version=1.0.3&home_net_id=000013&as_id=demo-as"

static size_t read_sample(char *out, size_t size)
{
    char path[512];
    FILE *file;
    size_t n;

    (void)snprintf(path, sizeof(path), "%s/thingpark-sample.csv", getenv("CRADLE_TEST_DATA"));
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    n = fread(out, 1, size - 1, file);
    (void)fclose(file);
    out[n] = '\0';
    return n;
}

static int64_t number(const char *sql)
{
    return pg_number(act_cluster, ACT_DATABASE, sql);
}

START_TEST(the_sample_is_imported_with_a_warning_on_each_row_that_shares_a_key)
{
    char sample[4096];
    size_t len = read_sample(sample, sizeof(sample));
    struct act_test_answer answer;

    act_import("format=thingpark-csv&" HOME, sample, len, &answer);
    ck_assert_msg(answer.status == 200, "%s", answer.text);
    ck_assert_ptr_nonnull(strstr(answer.text, "application/x-ndjson"));
    ck_assert_uint_eq(act_count(&answer, "\n"), 16);
    ck_assert_uint_eq(act_count(&answer, "\"outcome\":\"created\""), 16);
    ck_assert_uint_eq(act_count(&answer, "duplicate-key"), 6);
    ck_assert_uint_eq(act_count(&answer, "reason"), 0);
    act_answer_done(&answer);
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE dev_eui BETWEEN "
                            "'\\x20635f00c4000000' AND '\\x20635f00c40000ff' AND "
                            "credential = 'activable' AND ownership = 'claimed' AND "
                            "service = 'active' AND ownership_epoch = 1 AND as_id = 'demo-as'"),
        16);

    act_import("format=thingpark-csv&" HOME, sample, len, &answer);
    ck_assert_uint_eq(answer.status, 200);
    ck_assert_uint_eq(act_count(&answer, "\"outcome\":\"exists\""), 16);
    act_answer_done(&answer);
}
END_TEST

START_TEST(each_row_has_its_own_outcome_and_no_answer_holds_a_key)
{
    static const char file[] =
        "dev_eui,join_eui,mac_version,app_key,nwk_key\n"
        "20635f0001000001," JOIN ",1.1," KEY_A "," KEY_B "\n"
        "20635f0001000002," JOIN ",1.0.4," KEY_B "0,\n"
        "20635f0001000001," JOIN ",1.0.4," KEY_A ",\n"
        "20635f0001000003,70b3d50000000001,1.0.4," KEY_A ",\n" KEY_A "," JOIN ",1.0.4," KEY_A ",\n";
    struct act_test_answer answer;

    act_import("format=csv", file, strlen(file), &answer);
    ck_assert_msg(answer.status == 200, "%s", answer.text);
    ck_assert_uint_eq(act_count(&answer, "\n"), 5);
    ck_assert_ptr_nonnull(strstr(
        answer.body, "{\"line\":2,\"dev_eui\":\"20635f0001000001\",\"outcome\":\"created\","));
    ck_assert_ptr_nonnull(
        strstr(answer.body, "{\"line\":3,\"dev_eui\":\"20635f0001000002\","
                            "\"outcome\":\"refused\",\"reason\":\"bad-app-key\""));
    ck_assert_ptr_nonnull(
        strstr(answer.body, "{\"line\":4,\"dev_eui\":\"20635f0001000001\",\"outcome\":\"exists\","
                            "\"reason\":\"dev-eui-exists\""));
    ck_assert_ptr_nonnull(strstr(answer.body, "foreign-join-eui"));
    ck_assert_ptr_nonnull(strstr(answer.body, "{\"line\":6,\"dev_eui\":null,"));
    for (size_t i = 0; i + 8 <= strlen(KEY_A); i++) {
        char part[9];

        (void)snprintf(part, sizeof(part), "%.8s", &KEY_A[i]);
        ck_assert_uint_eq(act_count(&answer, part), 0);
    }
    act_answer_done(&answer);
    ck_assert_int_eq(
        number("SELECT count(*) FROM device_key WHERE dev_eui = '\\x20635f0001000001'"), 2);
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE dev_eui IN ('\\x20635f0001000001',"
                            "'\\x20635f0001000003') AND ownership = 'unowned' AND "
                            "service = 'inactive' AND home_net_id IS NULL"),
        2);
}
END_TEST

START_TEST(a_broken_file_names_its_line_and_what_is_before_it_stands)
{
    static const char file[] = "CREATE_OTAA,20635f0002000001,,," JOIN "," KEY_A "\n"
                               "CREATE_OTAA,20635f0002000002,,," JOIN ",\"" KEY_B "\n";
    struct act_test_answer answer;

    act_import("format=thingpark-csv&" HOME, file, strlen(file), &answer);
    ck_assert_uint_eq(answer.status, 400);
    ck_assert_ptr_nonnull(strstr(answer.text, "application/problem+json"));
    ck_assert_ptr_nonnull(strstr(answer.body, "line 2"));
    ck_assert_uint_eq(act_count(&answer, "1011"), 0);
    act_answer_done(&answer);
    ck_assert_int_eq(number("SELECT count(*) FROM device WHERE dev_eui BETWEEN "
                            "'\\x20635f0002000000' AND '\\x20635f00020000ff'"),
        1);
    ck_assert_int_eq(
        number("SELECT count(*) FROM job WHERE state = 'interrupted' AND line = 1"), 1);
}
END_TEST

START_TEST(a_query_that_is_not_complete_names_what_is_missing)
{
    static const struct {
        const char *query, *named;
    } cases[] = {
        {"", "format"},
        {"format=xml", "format"},
        {"format=csv&mac_version=2.0", "mac_version"},
        {"format=csv&mac_version=1.0.3&home_net_id=000013", "as_id"},
        {"format=csv&mac_version=1.0.3&home_net_id=13&as_id=demo-as", "home_net_id"},
        {"format=csv&state=scrapped", "state"},
        {"format=csv&dry_run=perhaps", "dry_run"},
        {"format=csv&colour=red", "nothing else"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct act_test_answer answer;

        act_import(cases[i].query, "dev_eui\n", 8, &answer);
        ck_assert_msg(answer.status == 400, "%s: %s", cases[i].query, answer.text);
        ck_assert_msg(strstr(answer.body, cases[i].named) != NULL, "%s", answer.body);
        act_answer_done(&answer);
    }
}
END_TEST

START_TEST(no_number_of_rows_or_bytes_is_too_large)
{
    const size_t size = (size_t)5 << 20;
    char *file = calloc(1, size);
    struct act_test_answer answer;
    size_t len = 0;

    ck_assert_ptr_nonnull(file);
    for (unsigned i = 0; i < 10000; i++)
        len += (size_t)snprintf(file + len, size - len,
            "CREATE_OTAA,20635f0003%06x,,," JOIN ",%08x%08x5555555512345678\n", i, i, ~i);
    act_import("format=thingpark-csv&" HOME, file, len, &answer);
    ck_assert_msg(answer.status == 200, "%.500s", answer.text);
    ck_assert_uint_eq(act_count(&answer, "\"outcome\":\"created\"}\n"), 10000);
    act_answer_done(&answer);

    memset(file, '\n', size);
    len = (size_t)snprintf(
        file + size - 100, 100, "CREATE_OTAA,20635f0004000001,,," JOIN "," KEY_A "\n");
    act_import("format=thingpark-csv&" HOME, file, size - 100 + len, &answer);
    ck_assert_msg(answer.status == 200, "%.500s", answer.text);
    ck_assert_ptr_nonnull(strstr(answer.body, "\"dev_eui\":\"20635f0004000001\""));
    act_answer_done(&answer);
    free(file);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_sample_is_imported_with_a_warning_on_each_row_that_shares_a_key,
        each_row_has_its_own_outcome_and_no_answer_holds_a_key,
        a_broken_file_names_its_line_and_what_is_before_it_stands,
        a_query_that_is_not_complete_names_what_is_missing,
        no_number_of_rows_or_bytes_is_too_large};

    return act_test_main("activation-import", tests, sizeof(tests) / sizeof(tests[0]));
}
