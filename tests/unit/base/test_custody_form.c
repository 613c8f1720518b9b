/* Signed statements: one text for one statement, and of one type alone. */
#include "base/custody_form.h"

#include "base/error.h"
#include "tests/support/suite.h"
#include <string.h>

static const char document[] = "{\"a\":1}";
static const uint8_t signature[AUDIT_SIGNATURE_LEN] = {1, 2, 3};

static int read_as(enum custody_type type, const struct text *jws, struct text *ret)
{
    uint8_t got[AUDIT_SIGNATURE_LEN];
    uint64_t time = 0;
    int r = custody_read(type, jws->data, jws->len, &time, ret, got);

    if (r == 0) {
        ck_assert_uint_eq(time, 1780000000);
        ck_assert_mem_eq(got, signature, sizeof(got));
    }
    return r;
}

START_TEST(a_statement_is_read_as_its_own_type_alone)
{
    for (int type = CUSTODY_OF_DEVICE; type <= CUSTODY_TYPE_LAST; type++) {
        struct text jws = {0}, got = {0};

        custody_write(
            (enum custody_type)type, 1780000000, document, strlen(document), signature, &jws);
        for (int as = CUSTODY_OF_DEVICE; as <= CUSTODY_TYPE_LAST; as++) {
            const int r = read_as((enum custody_type)as, &jws, &got);

            ck_assert_int_eq(r, as == type ? 0 : ERROR_INPUT);
        }
        ck_assert_str_eq(got.data, document); /* once */
        text_done(&jws);
        text_done(&got);
    }
}
END_TEST

START_TEST(what_is_signed_of_two_types_differs)
{
    struct text custody = {0}, delivery = {0};

    custody_input_write(CUSTODY_OF_DEVICE, 5, document, strlen(document), &custody);
    custody_input_write(CUSTODY_OF_DELIVERY, 5, document, strlen(document), &delivery);
    ck_assert_str_ne(custody.data, delivery.data);
    text_done(&custody);
    text_done(&delivery);
}
END_TEST

/* Base64url of {"alg":"ES256","typ":"cradle-delivery-v1","iat":5} and {"a":1}. */
START_TEST(a_deliverys_statement_has_its_type_in_its_header)
{
    struct text input = {0};

    custody_input_write(CUSTODY_OF_DELIVERY, 5, document, strlen(document), &input);
    ck_assert_str_eq(input.data,
        "eyJhbGciOiJFUzI1NiIsInR5cCI6ImNyYWRsZS1kZWxpdmVyeS12MSIsImlhdCI6NX0.eyJhIjoxfQ");
    text_done(&input);
}
END_TEST

SUITE_MAIN("base-custody_form", 10, a_statement_is_read_as_its_own_type_alone,
    what_is_signed_of_two_types_differs, a_deliverys_statement_has_its_type_in_its_header)
