#include "device/moves.h"

#include "tests/support/suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_CREDENTIALS (CREDENTIAL_SCRAPPED + 1)
#define N_OWNERSHIPS (OWNERSHIP_OFFERED + 1)
#define N_SERVICES (SERVICE_SUSPENDED + 1)
#define N_TRUSTS (TRUST_QUARANTINED + 1)
#define N_STATES (N_CREDENTIALS * N_OWNERSHIPS * N_SERVICES * N_TRUSTS)

/* Every state that the axes can be in, by a number. */
static struct device_record state_of(unsigned i)
{
    struct device_record record = {.credential = (enum device_credential)(i % N_CREDENTIALS),
        .ownership = (enum device_ownership)(i / N_CREDENTIALS % N_OWNERSHIPS),
        .service = (enum device_service)(i / N_CREDENTIALS / N_OWNERSHIPS % N_SERVICES),
        .trust = (enum device_trust)(i / N_CREDENTIALS / N_OWNERSHIPS / N_SERVICES),
        .ownership_epoch = 3,
        .nonce_epoch = 5,
        .has_home_net_id = true,
        .as_id = "as"};

    return record;
}

/* The rules once more, in other words. */
static bool should_be_legal(enum device_move move, const struct device_record *r)
{
    bool claimed = r->ownership == OWNERSHIP_CLAIMED;
    bool trusted = r->trust != TRUST_QUARANTINED;
    bool built = r->credential == CREDENTIAL_DELIVERED ||
                 r->credential == CREDENTIAL_PERSONALIZED || r->credential == CREDENTIAL_ACTIVABLE;

    switch (move) {
    case MOVE_CLAIM:
        return r->ownership == OWNERSHIP_UNOWNED && trusted && built;
    case MOVE_SUSPEND:
        return claimed && r->service == SERVICE_ACTIVE;
    case MOVE_RESUME:
        return claimed && r->service == SERVICE_SUSPENDED;
    case MOVE_RELEASE:
    case MOVE_OFFER:
        return claimed && trusted && built;
    case MOVE_ACCEPT:
        return r->ownership == OWNERSHIP_OFFERED && trusted && built;
    case MOVE_DECLINE:
        return r->ownership == OWNERSHIP_OFFERED;
    case MOVE_ROTATE_CODE:
        return claimed;
    case MOVE_RESET_NONCES:
    case MOVE_BIND:
        return claimed && trusted;
    case MOVE_QUARANTINE:
        return trusted && r->credential != CREDENTIAL_SCRAPPED;
    case MOVE_LIFT:
        return r->trust != TRUST_OK;
    case MOVE_SUSPECT:
        return r->trust == TRUST_OK && r->credential != CREDENTIAL_SCRAPPED;
    case MOVE_TRUST:
        return r->trust == TRUST_SUSPECT;
    case MOVE_SCRAP:
        return r->ownership != OWNERSHIP_OFFERED && r->credential != CREDENTIAL_SCRAPPED;
    case MOVE_REPLACE:
        return claimed && r->credential != CREDENTIAL_SCRAPPED;
    case MOVE_TAKE_PLACE:
        return claimed && trusted && built;
    case MOVE_SUBSCRIBE:
        return claimed && r->credential != CREDENTIAL_SCRAPPED;
    case MOVE_UNSUBSCRIBE:
        return claimed;
    case N_DEVICE_MOVES:
        break;
    }
    return false;
}

START_TEST(each_move_is_legal_from_where_it_should_be)
{
    char fault[DEVICE_MOVE_FAULT_MAX];

    for (unsigned i = 0; i < N_STATES; i++) {
        struct device_record record = state_of(i);
        bool legal = device_move_judge((enum device_move)_i, &record, fault);

        ck_assert_msg(legal == should_be_legal((enum device_move)_i, &record),
            "%s from %s, %s, %s, %s", device_move_text((enum device_move)_i),
            device_credential_text(record.credential), device_ownership_text(record.ownership),
            device_service_text(record.service), device_trust_text(record.trust));
        ck_assert_int_eq(fault[0] == '\0', legal);
        ck_assert(legal || strstr(fault, device_move_text((enum device_move)_i)) != NULL);
    }
}
END_TEST

START_TEST(what_stands_against_a_move_is_said_by_its_number_too)
{
    char fault[DEVICE_MOVE_FAULT_MAX], again[DEVICE_MOVE_FAULT_MAX];
    enum device_move move = (enum device_move)_i, parsed;

    ck_assert(device_move_parse(device_move_text(move), &parsed));
    ck_assert_int_eq(parsed, move);
    ck_assert(!device_move_parse("", &parsed));
    for (unsigned i = 0; i < N_STATES; i++) {
        struct device_record record = state_of(i);
        unsigned against = device_move_against(move, &record);
        const char *axis = device_move_axis(against);

        ck_assert_int_eq(against == 0, device_move_judge(move, &record, fault));
        ck_assert_uint_lt(against, DEVICE_MOVE_AGAINST_MAX);
        device_move_explain(move, against, again);
        ck_assert_str_eq(again, fault);
        ck_assert_int_eq(axis == NULL, against == 0);
        ck_assert(axis == NULL || strstr(fault, axis) != NULL);
    }
    /* They are stored: what they say is theirs for ever. */
    device_move_explain(MOVE_RESUME, 16 * 3 + SERVICE_ACTIVE, fault);
    ck_assert_str_eq(fault, "the device's service is active, which stands against resume");
    ck_assert_ptr_null(device_move_axis(DEVICE_MOVE_AGAINST_MAX));
}
END_TEST

START_TEST(a_change_of_owners_comes_with_a_new_code)
{
    enum device_move move = (enum device_move)_i;

    ck_assert_int_eq(device_move_renews_code(move), move == MOVE_CLAIM || move == MOVE_RELEASE ||
                                                        move == MOVE_ROTATE_CODE ||
                                                        move == MOVE_ACCEPT);
}
END_TEST

START_TEST(a_move_changes_what_it_says_and_keeps_the_rest)
{
    char fault[DEVICE_MOVE_FAULT_MAX];
    enum device_move move = (enum device_move)_i;
    bool taken = move == MOVE_CLAIM || move == MOVE_ACCEPT;
    bool new_owner = taken || move == MOVE_RELEASE;
    bool trusts = move == MOVE_LIFT || move == MOVE_TRUST || move == MOVE_RESET_NONCES;

    for (unsigned i = 0; i < N_STATES; i++) {
        struct device_record before = state_of(i), after = before;

        if (!device_move_judge(move, &before, fault))
            continue;
        device_move_make(move, &after);
        ck_assert_int_eq(
            after.credential, move == MOVE_SCRAP ? CREDENTIAL_SCRAPPED : before.credential);
        ck_assert_int_eq(after.trust, move == MOVE_QUARANTINE ? TRUST_QUARANTINED
                                      : move == MOVE_SUSPECT  ? TRUST_SUSPECT
                                      : trusts                ? TRUST_OK
                                                              : before.trust);
        ck_assert_int_eq(after.ownership, taken || move == MOVE_DECLINE ? OWNERSHIP_CLAIMED
                                          : move == MOVE_RELEASE        ? OWNERSHIP_UNOWNED
                                          : move == MOVE_OFFER          ? OWNERSHIP_OFFERED
                                                                        : before.ownership);
        ck_assert_int_eq(
            after.service, taken || move == MOVE_RESUME || move == MOVE_TAKE_PLACE ? SERVICE_ACTIVE
                           : move == MOVE_SUSPEND || move == MOVE_REPLACE ? SERVICE_SUSPENDED
                           : move == MOVE_RELEASE || move == MOVE_SCRAP   ? SERVICE_INACTIVE
                                                                          : before.service);
        ck_assert_uint_eq(after.ownership_epoch, before.ownership_epoch + new_owner);
        ck_assert_uint_eq(after.nonce_epoch, before.nonce_epoch + (move == MOVE_RESET_NONCES));
        ck_assert_int_eq(after.has_home_net_id, !new_owner);
        ck_assert_str_eq(after.as_id, new_owner ? "" : "as");
    }
}
END_TEST

START_TEST(each_move_stands_in_the_document)
{
    char path[512], row[600];
    static char text[1 << 16];
    const char *docs = getenv("CRADLE_DOCS");
    FILE *file;
    size_t n;

    ck_assert_ptr_nonnull(docs);
    (void)snprintf(path, sizeof(path), "%s/owners.md", docs);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    (void)snprintf(row, sizeof(row), "| %s | %s |", device_move_text((enum device_move)_i),
        device_move_sentence((enum device_move)_i));
    ck_assert_msg(strstr(text, row) != NULL, "%s", row);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("moves");
    TCase *tc = tcase_create("moves");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tc, each_move_is_legal_from_where_it_should_be, 0, N_DEVICE_MOVES);
    tcase_add_loop_test(
        tc, what_stands_against_a_move_is_said_by_its_number_too, 0, N_DEVICE_MOVES);
    tcase_add_loop_test(tc, a_change_of_owners_comes_with_a_new_code, 0, N_DEVICE_MOVES);
    tcase_add_loop_test(tc, a_move_changes_what_it_says_and_keeps_the_rest, 0, N_DEVICE_MOVES);
    tcase_add_loop_test(tc, each_move_stands_in_the_document, 0, N_DEVICE_MOVES);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
