#include "activation/import_report.h"

#include "tests/support/suite.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static struct import_row *add(struct import_file *file)
{
    struct import_row *row = import_file_add(file, (unsigned)file->n_rows + 1);

    ck_assert_ptr_nonnull(row);
    row->has_dev_eui = true;
    row->dev_eui.bytes[7] = (uint8_t)file->n_rows;
    memset(row->app.bytes, 0xAB, sizeof(row->app.bytes));
    return row;
}

START_TEST(each_row_is_one_line_in_the_order_of_the_file)
{
    static const enum import_result results[] = {IMPORT_CREATED, IMPORT_EXISTS, IMPORT_CREATED};
    struct import_file file = {0};
    struct text out = {0};

    (void)add(&file);
    (void)add(&file);
    add(&file)->fault = IMPORT_FAULT_APP_KEY;
    file.rows[2].has_dev_eui = false;
    import_report_write(&file, results, &out);
    ck_assert_str_eq(out.data,
        "{\"line\":1,\"dev_eui\":\"0000000000000001\",\"outcome\":\"created\"}\n"
        "{\"line\":2,\"dev_eui\":\"0000000000000002\",\"outcome\":\"exists\","
        "\"reason\":\"dev_eui_exists\",\"field\":\"dev_eui\",\"detail\":"
        "\"a device with this DevEUI is here already; nothing of it was changed\"}\n"
        "{\"line\":3,\"dev_eui\":null,\"outcome\":\"refused\","
        "\"reason\":\"bad_app_key\",\"field\":\"app_key\",\"detail\":"
        "\"the AppKey is not 32 hexadecimal digits\"}\n");
    text_done(&out);
    import_file_done(&file);
}
END_TEST

START_TEST(a_shared_key_names_its_lines_but_not_thousands_of_them)
{
    enum { N = 30 };
    enum import_result results[N];
    struct import_file file = {0};
    struct text out = {0};

    file.group_rows = calloc(N, sizeof(*file.group_rows));
    file.group_ends = calloc(1, sizeof(*file.group_ends));
    for (unsigned i = 0; i < N; i++) {
        struct import_row *row = add(&file);

        row->warnings = 1u << IMPORT_WARN_DUPLICATE_KEY;
        row->key_group = 0;
        file.group_rows[i] = i;
        results[i] = IMPORT_CREATED;
    }
    file.group_ends[0] = 3;
    file.n_groups = 1;
    import_report_write(&file, results, &out);
    ck_assert_ptr_nonnull(strstr(out.data, "\"warnings\":[{\"type\":\"duplicate_key\",\"detail\":"
                                           "\"the same key stands in lines 1, 2, 3\"}]}\n"));
    text_clear(&out);
    file.group_ends[0] = N;
    import_report_write(&file, results, &out);
    ck_assert_ptr_nonnull(strstr(out.data, "18, 19, 20 and 10 more\""));
    ck_assert_ptr_null(strstr(out.data, "20, 21"));
    text_done(&out);
    import_file_done(&file);
}
END_TEST

START_TEST(each_row_names_the_lines_of_its_own_group)
{
    static const enum import_result results[5];
    static uint32_t rows[] = {1, 3, 0, 2}, ends[] = {2, 4};
    static const uint32_t groups[] = {1, 0, 1, 0, IMPORT_NO_GROUP};
    static const char *const said[] = {
        "lines 1, 3\"", "lines 2, 4\"", "lines 1, 3\"", "lines 2, 4\"", "\"line\":5"};
    struct import_file file = {0};
    struct text out = {0};
    const char *line;

    for (size_t i = 0; i < 5; i++) {
        struct import_row *row = add(&file);

        row->key_group = groups[i];
        row->warnings = groups[i] != IMPORT_NO_GROUP ? 1u << IMPORT_WARN_DUPLICATE_KEY : 0;
    }
    file.group_rows = rows;
    file.group_ends = ends;
    file.n_groups = 2;
    import_report_write(&file, results, &out);
    line = out.data;
    for (size_t i = 0; i < 5; i++) {
        const char *end = strchr(line, '\n');

        ck_assert_ptr_nonnull(end);
        ck_assert_ptr_nonnull(memmem(line, (size_t)(end - line), said[i], strlen(said[i])));
        line = end + 1;
    }
    ck_assert_int_eq(*line, '\0');
    text_done(&out);
    file.group_rows = file.group_ends = NULL;
    import_file_done(&file);
}
END_TEST

START_TEST(every_fault_and_warning_is_told_in_json_with_a_code_of_its_own)
{
    enum import_result result = IMPORT_CREATED;

    for (int i = 0; i < N_IMPORT_FAULTS; i++) {
        struct import_file file = {0};
        struct text out = {0};
        json_t *root;

        add(&file)->fault = (enum import_fault)i;
        file.rows[0].warnings =
            1u << IMPORT_WARN_WEAK_KEY | 1u << IMPORT_WARN_NOT_ROUTED | 1u << IMPORT_WARN_BOM;
        import_report_write(&file, &result, &out);
        root = json_loads(out.data, JSON_REJECT_DUPLICATES, NULL);
        ck_assert_msg(root != NULL, "%s", out.data);
        ck_assert_uint_eq(json_array_size(json_object_get(root, "warnings")), 3);
        ck_assert_str_eq(json_string_value(json_object_get(root, "outcome")),
            i == IMPORT_FAULT_NONE ? "created" : "refused");
        ck_assert_int_eq(json_object_get(root, "reason") != NULL, i != IMPORT_FAULT_NONE);
        ck_assert_msg(strstr(out.data, "abab") == NULL, "a key in the answer");
        json_decref(root);
        text_done(&out);
        import_file_done(&file);
        ck_assert_ptr_nonnull(import_fault_code((enum import_fault)i));
        ck_assert_ptr_nonnull(import_fault_detail((enum import_fault)i));
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(import_fault_detail((enum import_fault)i),
                import_fault_detail((enum import_fault)k));
    }
    for (int i = 0; i < N_IMPORT_WARNINGS; i++)
        ck_assert_ptr_nonnull(import_warning_type((enum import_warning)i));
    for (int i = 0; i < N_IMPORT_RESULTS; i++)
        ck_assert_ptr_nonnull(import_result_text((enum import_result)i));
}
END_TEST

SUITE_MAIN("import_report", 10, each_row_is_one_line_in_the_order_of_the_file,
    a_shared_key_names_its_lines_but_not_thousands_of_them,
    each_row_names_the_lines_of_its_own_group,
    every_fault_and_warning_is_told_in_json_with_a_code_of_its_own)
