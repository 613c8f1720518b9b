#include "api/json.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

struct target {
    char version[4];
    uint8_t dev_eui[8];
    uint8_t cf_list[4];
    uint32_t transaction, rx_delay;
    char code[8];
    bool has_cf_list, has_rx_delay, has_result, has_code;
};

static const struct json_field result_fields[] = {
    {.name = "ResultCode",
        .kind = JSON_TEXT,
        .offset = offsetof(struct target, code),
        .size = sizeof(((struct target *)0)->code),
        .required = true,
        .present_offset = offsetof(struct target, has_code)},
};

static const struct json_field fields[] = {
    {.name = "ProtocolVersion",
        .kind = JSON_TEXT,
        .offset = offsetof(struct target, version),
        .size = 4,
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "TransactionID",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct target, transaction),
        .max = UINT32_MAX,
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "DevEUI",
        .kind = JSON_HEX,
        .offset = offsetof(struct target, dev_eui),
        .size = 8,
        .required = true,
        .present_offset = JSON_NO_PRESENT},
    {.name = "RxDelay",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct target, rx_delay),
        .max = 15,
        .present_offset = offsetof(struct target, has_rx_delay)},
    {.name = "CFList",
        .kind = JSON_HEX,
        .offset = offsetof(struct target, cf_list),
        .size = 4,
        .empty_is_absent = true,
        .present_offset = offsetof(struct target, has_cf_list)},
    {.name = "Result",
        .kind = JSON_OBJECT,
        .present_offset = offsetof(struct target, has_result),
        .fields = result_fields,
        .n_fields = 1},
};
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

static enum json_outcome read_bytes(
    const char *text, size_t len, struct target *target, char *fault)
{
    enum json_outcome outcome;

    memset(target, 0xa5, sizeof(*target)); /* nothing may depend on what stood there before */
    outcome = json_read(text, len, fields, N_FIELDS, target, fault);
    ck_assert((outcome == JSON_OK) == (fault[0] == '\0'));
    ck_assert_uint_lt(strlen(fault), JSON_FAULT_MAX);
    return outcome;
}

static enum json_outcome read_all(const char *text, struct target *target, char *fault)
{
    return read_bytes(text, strlen(text), target, fault);
}

#define HEAD "{\"ProtocolVersion\":\"1.0\",\"TransactionID\":7,\"DevEUI\":\"0102030405060708\""

static const char *const good[] = {
    HEAD "}",
    " \r\n\t" HEAD " } \n",
    "\xef\xbb\xbf" HEAD "}",
    HEAD ",\"Extra\":{\"DevEUI\":[1.5,null,true]}}",
    HEAD ",\"CFList\":\"\"}",
    HEAD ",\"CFList\":null}",
    "{\"TransactionID\":7,\"DevEUI\":\"0x0102030405060708\",\"ProtocolVersion\":\"1.0\"}",
    "{\"TransactionID\":7,\"DevEUI\":\"0X0102030405060708\",\"ProtocolVersion\":\"1.0\"}",
    "{\"TransactionID\":7,\"DevEUI\":\"010203040506070\\u0038\",\"ProtocolVersion\":\"1.0\"}",
};

START_TEST(every_tolerated_spelling_is_read_alike)
{
    static const uint8_t eui[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct target target;
    char fault[JSON_FAULT_MAX];

    ck_assert_msg(read_all(good[_i], &target, fault) == JSON_OK, "%s: %s", good[_i], fault);
    ck_assert_str_eq(target.version, "1.0");
    ck_assert_uint_eq(target.transaction, 7);
    ck_assert_mem_eq(target.dev_eui, eui, sizeof(eui));
    ck_assert(
        !target.has_cf_list && !target.has_rx_delay && !target.has_result && !target.has_code);
    ck_assert_uint_eq(target.rx_delay, 0);
}
END_TEST

START_TEST(optional_and_nested_members_are_marked_present)
{
    static const uint8_t list[4] = {0xde, 0xad, 0xbe, 0xef};
    struct target target;
    char fault[JSON_FAULT_MAX];

    ck_assert_int_eq(read_all(HEAD ",\"CFList\":\"DEADbeef\",\"RxDelay\":0,"
                                   "\"Result\":{\"ResultCode\":\"Success\"}}",
                         &target, fault),
        JSON_OK);
    ck_assert(target.has_cf_list && target.has_rx_delay && target.has_result && target.has_code);
    ck_assert_mem_eq(target.cf_list, list, 4);
    ck_assert_str_eq(target.code, "Success");
}
END_TEST

static const char *const not_json[] = {
    "",
    " ",
    "{",
    "[]",
    "7",
    "\"a\"",
    "null",
    HEAD,
    HEAD "} x",
    HEAD "}{}",
    HEAD ",}",
    HEAD ",\"DevEUI\":\"0102030405060708\"}",
    HEAD ",\"Extra\":{\"a\":1,\"a\":1}}",
    HEAD ",\"Extra\":\"\xff\"}",
    HEAD ",\"Extra\":\"\xc0\xaf\"}",
    HEAD ",\"Extra\":\"\xed\xa0\x80\"}",
    HEAD ",\"Extra\":\"\\ud800\"}",
    HEAD ",\"Extra\":\"a\\u0000b\"}",
    HEAD ",\"Ex\\u0000tra\":1}",
    HEAD ",\"Extra\":\"a\nb\"}",
    HEAD ",\"Extra\":01}",
    HEAD ",\"Extra\":NaN}",
    HEAD ",\"Extra\":99999999999999999999}",
    "{'ProtocolVersion':'1.0'}",
    "\xef\xbb\xbf\xef\xbb\xbf" HEAD "}",
    "\xff\xfe{\0}\0",
};

START_TEST(what_is_no_json_object_is_refused)
{
    struct target target;
    char fault[JSON_FAULT_MAX];

    ck_assert_msg(
        read_all(not_json[_i], &target, fault) == JSON_NOT_JSON, "accepted: %s", not_json[_i]);
}
END_TEST

START_TEST(a_nul_byte_in_the_body_is_refused)
{
    static const char inside[] = HEAD ",\"Extra\":\"a\0b\"}";
    static const char behind[] = HEAD "}\0";
    struct target target;
    char fault[JSON_FAULT_MAX];

    ck_assert_int_eq(read_bytes(inside, sizeof(inside) - 1, &target, fault), JSON_NOT_JSON);
    ck_assert_int_eq(read_bytes(behind, sizeof(behind) - 1, &target, fault), JSON_NOT_JSON);
}
END_TEST

START_TEST(nesting_beyond_the_bound_is_refused)
{
    size_t depth = 100000;
    char *text = malloc(2 * depth + 32);
    struct target target;
    char fault[JSON_FAULT_MAX];

    memcpy(text, "{\"a\":", sizeof("{\"a\":"));
    memset(text + 5, '[', depth);
    memset(text + 5 + depth, ']', depth);
    memcpy(text + 5 + 2 * depth, "}", sizeof("}"));
    ck_assert_int_eq(read_all(text, &target, fault), JSON_NOT_JSON);
    ck_assert_ptr_nonnull(strstr(fault, "deep"));
    free(text);
}
END_TEST

static const struct {
    const char *text;
    const char *member;
} bad_fields[] = {
    {"{}", "ProtocolVersion"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":7}", "DevEUI"},
    {"{\"ProtocolVersion\":\"1.0.0\",\"TransactionID\":7,\"DevEUI\":\"0102030405060708\"}",
        "ProtocolVersion"},
    {"{\"ProtocolVersion\":1.0,\"TransactionID\":7,\"DevEUI\":\"0102030405060708\"}",
        "ProtocolVersion"},
    {"{\"ProtocolVersion\":null,\"TransactionID\":7,\"DevEUI\":\"0102030405060708\"}",
        "ProtocolVersion"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":7.0,\"DevEUI\":\"0102030405060708\"}",
        "TransactionID"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":-1,\"DevEUI\":\"0102030405060708\"}",
        "TransactionID"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":4294967296,\"DevEUI\":\"0102030405060708\"}",
        "TransactionID"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":\"7\",\"DevEUI\":\"0102030405060708\"}",
        "TransactionID"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":true,\"DevEUI\":\"0102030405060708\"}",
        "TransactionID"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":7,\"DevEUI\":\"01020304050607\"}", "DevEUI"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":7,\"DevEUI\":\"010203040506070809\"}",
        "DevEUI"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":7,\"DevEUI\":\"010203040506070g\"}", "DevEUI"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":7,\"DevEUI\":\"0x0x020304050607\"}", "DevEUI"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":7,\"DevEUI\":72623859790382856}", "DevEUI"},
    {"{\"ProtocolVersion\":\"1.0\",\"TransactionID\":7,\"DevEUI\":\"\"}", "DevEUI"},
    {HEAD ",\"RxDelay\":16}", "RxDelay"},
    {HEAD ",\"RxDelay\":null}", "RxDelay"},
    {HEAD ",\"CFList\":\"0\"}", "CFList"},
    {HEAD ",\"CFList\":0}", "CFList"},
    {HEAD ",\"Result\":\"Success\"}", "Result"},
    {HEAD ",\"Result\":[]}", "Result"},
    {HEAD ",\"Result\":{}}", "Result.ResultCode"},
    {HEAD ",\"Result\":{\"ResultCode\":\"12345678\"}}", "Result.ResultCode"},
};

START_TEST(a_bad_member_is_named)
{
    struct target target;
    char fault[JSON_FAULT_MAX];
    size_t len = strlen(bad_fields[_i].member);

    ck_assert_msg(read_all(bad_fields[_i].text, &target, fault) == JSON_BAD_FIELD, "accepted: %s",
        bad_fields[_i].text);
    ck_assert_msg(strncmp(fault, bad_fields[_i].member, len) == 0 && fault[len] == ' ', "%s: %s",
        bad_fields[_i].text, fault);
}
END_TEST

START_TEST(the_other_members_are_filled_beside_a_bad_one)
{
    struct target target;
    char fault[JSON_FAULT_MAX];

    ck_assert_int_eq(read_all("{\"DevEUI\":\"zz\",\"RxDelay\":99,\"TransactionID\":42,"
                              "\"ProtocolVersion\":\"1.1\",\"Result\":{\"ResultCode\":\"Other\"}}",
                         &target, fault),
        JSON_BAD_FIELD);
    ck_assert_int_eq(strncmp(fault, "DevEUI ", 7), 0); /* the first in the table's order */
    ck_assert_uint_eq(target.transaction, 42);
    ck_assert_str_eq(target.version, "1.1");
    ck_assert_str_eq(target.code, "Other");
    ck_assert(!target.has_rx_delay && target.rx_delay == 0);
}
END_TEST

struct lists {
    uint8_t ids[3][2];
    size_t n_ids;
    char text[8];
    bool has_ids, has_text;
};

static const struct json_field list_fields[] = {
    {.name = "ids",
        .kind = JSON_HEX_LIST,
        .offset = offsetof(struct lists, ids),
        .size = 2,
        .max = 3,
        .present_offset = offsetof(struct lists, has_ids),
        .len_offset = offsetof(struct lists, n_ids)},
    {.name = "text",
        .kind = JSON_TEXT,
        .offset = offsetof(struct lists, text),
        .size = sizeof(((struct lists *)0)->text),
        .nullable = true,
        .present_offset = offsetof(struct lists, has_text)},
};

static enum json_outcome read_lists(const char *text, struct lists *target)
{
    char fault[JSON_FAULT_MAX];

    memset(target, 0xa5, sizeof(*target));
    return json_read(text, strlen(text), list_fields, 2, target, fault);
}

START_TEST(a_list_of_hex_has_its_elements_and_their_number)
{
    static const char *const wrong[] = {"{\"ids\":\"0102\"}", "{\"ids\":[\"0102\",\"03\"]}",
        "{\"ids\":[\"0102\",1]}", "{\"ids\":null}",
        "{\"ids\":[\"0001\",\"0002\",\"0003\",\"0004\"]}"};
    static const uint8_t zeros[6] = {0};
    struct lists target;

    ck_assert_int_eq(read_lists("{\"ids\":[\"0102\",\"0xfF-03\"]}", &target), JSON_OK);
    ck_assert(target.has_ids && !target.has_text);
    ck_assert_uint_eq(target.n_ids, 2);
    ck_assert_mem_eq(target.ids, "\x01\x02\xff\x03\0\0", 6);
    ck_assert_int_eq(read_lists("{\"ids\":[]}", &target), JSON_OK);
    ck_assert(target.has_ids);
    ck_assert_uint_eq(target.n_ids, 0);
    ck_assert_int_eq(read_lists("{}", &target), JSON_OK);
    ck_assert(!target.has_ids);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_int_eq(read_lists(wrong[i], &target), JSON_BAD_FIELD);
        ck_assert_uint_eq(target.n_ids, 0);
        ck_assert_mem_eq(target.ids, zeros, sizeof(zeros));
    }
}
END_TEST

START_TEST(a_word_may_stand_in_the_place_of_a_list)
{
    static const struct word_bits words[] = {{"all", 4}, {"none", 0}, {NULL, 0}};
    static const struct {
        const char *body;
        size_t n;
    } taken[] = {{"{\"ids\":\"all\"}", 4}, {"{\"ids\":\"none\"}", 0}, {"{\"ids\":[\"0102\"]}", 1}};
    static const char *const wrong[] = {"{\"ids\":\"some\"}", "{\"ids\":\"\"}",
        "{\"ids\":[\"all\"]}", "{\"ids\":null}", "{\"ids\":5}"};
    struct json_field field = list_fields[0];
    char fault[JSON_FAULT_MAX];
    struct lists target;

    field.words = words;
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        memset(&target, 0xa5, sizeof(target));
        ck_assert_int_eq(
            json_read(taken[i].body, strlen(taken[i].body), &field, 1, &target, fault), JSON_OK);
        ck_assert(target.has_ids);
        ck_assert_uint_eq(target.n_ids, taken[i].n);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_int_eq(
            json_read(wrong[i], strlen(wrong[i]), &field, 1, &target, fault), JSON_BAD_FIELD);
        ck_assert(!target.has_ids && target.n_ids == 0);
        ck_assert_str_eq(
            fault, "ids is not all, none or a list of at most 3 texts of 4 hexadecimal digits");
    }
}
END_TEST

struct list_target {
    struct list_item {
        char name[4];
        uint32_t number;
        bool has_name;
    } items[3];
    size_t n;
    bool has_items;
};

static const struct json_field item_fields[] = {
    {.name = "name",
        .kind = JSON_TEXT,
        .offset = offsetof(struct list_item, name),
        .size = sizeof(((struct list_item *)0)->name),
        .required = true,
        .present_offset = offsetof(struct list_item, has_name)},
    {.name = "number",
        .kind = JSON_UNSIGNED,
        .offset = offsetof(struct list_item, number),
        .max = 9,
        .present_offset = JSON_NO_PRESENT},
};

static const struct json_field object_list_fields[] = {
    {.name = "items",
        .kind = JSON_LIST,
        .offset = offsetof(struct list_target, items),
        .size = sizeof(struct list_item),
        .max = 3,
        .present_offset = offsetof(struct list_target, has_items),
        .len_offset = offsetof(struct list_target, n),
        .fields = item_fields,
        .n_fields = 2},
};

static enum json_outcome read_items(
    const char *text, struct list_target *target, char fault[static JSON_FAULT_MAX])
{
    size_t n;

    memset(target, 0x5a, sizeof(*target));
    return json_read_known(text, strlen(text), object_list_fields, 1, target, &n, fault);
}

START_TEST(a_list_of_objects_has_its_elements_and_their_faults_a_place)
{
    static const struct {
        const char *text, *fault;
    } wrong[] = {
        {"{\"items\":{}}", "items is not a list of at most 3 objects"},
        {"{\"items\":[{\"name\":\"a\"},{}]}", "items[1].name is missing"},
        {"{\"items\":[{\"name\":\"a\"},7]}", "items[1] is not an object"},
        {"{\"items\":[{\"name\":\"a\",\"number\":10}]}",
            "items[0].number is not an integer from 0 to 9"},
        {"{\"items\":[{\"name\":\"a\",\"colour\":1}]}", "items[0].colour is not known here"},
        {"{\"items\":[{},{},{},{}]}", "items is not a list of at most 3 objects"},
    };
    struct list_target target;
    char fault[JSON_FAULT_MAX];

    ck_assert_int_eq(
        read_items("{\"items\":[{\"name\":\"a\"},{\"name\":\"bc\",\"number\":7}]}", &target, fault),
        JSON_OK);
    ck_assert(target.has_items);
    ck_assert_uint_eq(target.n, 2);
    ck_assert_str_eq(target.items[0].name, "a");
    ck_assert_uint_eq(target.items[0].number, 0);
    ck_assert_str_eq(target.items[1].name, "bc");
    ck_assert_uint_eq(target.items[1].number, 7);
    ck_assert(!target.items[2].has_name && target.items[2].name[0] == '\0');
    ck_assert_int_eq(read_items("{}", &target, fault), JSON_OK);
    ck_assert(!target.has_items && target.n == 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_int_eq(read_items(wrong[i].text, &target, fault), JSON_BAD_FIELD);
        ck_assert_str_eq(fault, wrong[i].fault);
    }
}
END_TEST

START_TEST(a_list_is_held_to_the_room_that_its_target_has)
{
    static const char one[] = "{\"items\":[{\"name\":\"a\"}]}";
    static const char two[] = "{\"items\":[{\"name\":\"a\"},{\"name\":\"b\"}]}";
    struct json_field sized = object_list_fields[0];
    struct list_target target;
    char fault[JSON_FAULT_MAX];
    size_t n;

    sized.room = 1;
    memset(&target, 0x5a, sizeof(target));
    ck_assert_int_eq(json_read_known(one, strlen(one), &sized, 1, &target, &n, fault), JSON_OK);
    ck_assert_uint_eq(target.n, 1);
    ck_assert_str_eq(target.items[0].name, "a");
    ck_assert_int_eq(target.items[1].name[0], 0x5a); /* not touched */
    ck_assert_int_eq(
        json_read_known(two, strlen(two), &sized, 1, &target, &n, fault), JSON_BAD_FIELD);
    ck_assert_str_eq(fault, "items is not a list of at most 3 objects");
}
END_TEST

START_TEST(what_no_field_names_is_refused_where_that_is_said)
{
    static const struct {
        const char *body, *fault;
        size_t n_members;
    } cases[] = {
        {"{\"text\":\"a\"}", "", 1},
        {"{}", "", 0},
        {"{\"txet\":\"a\"}", "txet is not known here", 1},
        {"{\"text\":0,\"txet\":\"a\"}", "txet is not known here", 2},
        {"{\"a b\":1}", "body has a member that is not known here, and whose name is no word", 1},
        {"{\"\":1}", "body has a member that is not known here, and whose name is no word", 1},
        {"{\"\u00e4\":1}", "body has a member that is not known here, and whose name is no word",
            1},
        {"[]", "not a JSON object", 0},
    };
    struct lists target;
    char fault[JSON_FAULT_MAX];
    size_t n;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)json_read_known(
            cases[i].body, strlen(cases[i].body), list_fields, 2, &target, &n, fault);
        ck_assert_str_eq(fault, cases[i].fault);
        ck_assert_uint_eq(n, cases[i].n_members);
    }
    ck_assert_int_eq(read_lists("{\"txet\":\"a\"}", &target), JSON_OK);
}
END_TEST

START_TEST(an_object_within_has_its_own_members)
{
    static const char body[] = HEAD ",\"Result\":{\"ResultCode\":\"Success\",\"Code\":1}}";
    struct target target;
    char fault[JSON_FAULT_MAX];
    size_t n;

    ck_assert_int_eq(
        json_read_known(body, strlen(body), fields, N_FIELDS, &target, &n, fault), JSON_BAD_FIELD);
    ck_assert_str_eq(fault, "Result.Code is not known here");
}
END_TEST

START_TEST(null_is_present_where_it_may_be)
{
    struct lists target;

    ck_assert_int_eq(read_lists("{\"text\":null}", &target), JSON_OK);
    ck_assert(target.has_text);
    ck_assert_str_eq(target.text, "");
    ck_assert_int_eq(read_lists("{\"text\":\"a\"}", &target), JSON_OK);
    ck_assert_str_eq(target.text, "a");
    ck_assert_int_eq(read_lists("{\"text\":0}", &target), JSON_BAD_FIELD);
}
END_TEST

START_TEST(a_fault_never_quotes_a_value)
{
    static const char *const texts[] = {
        "{\"ProtocolVersion\":\"5ec2e7\",\"TransactionID\":1,\"DevEUI\":\"5ec2e7\"}",
        "{\"a\":5ec2e7}",
        "{\"5ec2e7\":1,\"5ec2e7\":1}",
        "5ec2e7",
    };
    struct target target;
    char fault[JSON_FAULT_MAX];

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_int_ne(read_all(texts[i], &target, fault), JSON_OK);
        ck_assert_msg(strstr(fault, "5ec2e7") == NULL, "%s", fault);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *tc = tcase_create("json");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(
        tc, every_tolerated_spelling_is_read_alike, 0, (int)(sizeof(good) / sizeof(good[0])));
    tcase_add_test(tc, optional_and_nested_members_are_marked_present);
    tcase_add_loop_test(
        tc, what_is_no_json_object_is_refused, 0, (int)(sizeof(not_json) / sizeof(not_json[0])));
    tcase_add_test(tc, a_nul_byte_in_the_body_is_refused);
    tcase_add_test(tc, nesting_beyond_the_bound_is_refused);
    tcase_add_loop_test(
        tc, a_bad_member_is_named, 0, (int)(sizeof(bad_fields) / sizeof(bad_fields[0])));
    tcase_add_test(tc, the_other_members_are_filled_beside_a_bad_one);
    tcase_add_test(tc, a_list_of_hex_has_its_elements_and_their_number);
    tcase_add_test(tc, a_list_of_objects_has_its_elements_and_their_faults_a_place);
    tcase_add_test(tc, a_word_may_stand_in_the_place_of_a_list);
    tcase_add_test(tc, a_list_is_held_to_the_room_that_its_target_has);
    tcase_add_test(tc, what_no_field_names_is_refused_where_that_is_said);
    tcase_add_test(tc, an_object_within_has_its_own_members);
    tcase_add_test(tc, null_is_present_where_it_may_be);
    tcase_add_test(tc, a_fault_never_quotes_a_value);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
