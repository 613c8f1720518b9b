#include "activation/rights.h"

#include "activation/moves.h"
#include "activation/routes.h"
#include "db/account.h"
#include "tests/support/suite.h"
#include <string.h>

#define ROLES_ALL (2u * ROLE_AUDITOR - 1)

START_TEST(every_right_has_a_sentence_of_its_own)
{
    for (unsigned i = 0; i < N_ACT_RIGHTS; i++) {
        ck_assert_ptr_nonnull(act_right_text((enum act_right)i));
        ck_assert(act_right_text((enum act_right)i)[0] != '\0');
        for (unsigned k = 0; k < i; k++)
            ck_assert_str_ne(act_right_text((enum act_right)i), act_right_text((enum act_right)k));
    }
}
END_TEST

START_TEST(rights_name_only_roles_that_exist)
{
    for (unsigned i = 0; i < N_ACT_RIGHTS; i++)
        if (act_right_roles((enum act_right)i) != ROLES_CLIENT)
            ck_assert_uint_eq(act_right_roles((enum act_right)i) & ~ROLES_ALL, 0);
}
END_TEST

START_TEST(every_right_is_used_by_a_route)
{
    for (unsigned i = 0; i < N_ACT_RIGHTS; i++) {
        bool used = false;

        for (size_t k = 0; k < act_route_count(); k++)
            used |= act_route_at(k)->right == (enum act_right)i;
        ck_assert_msg(used, "right %u", i);
    }
}
END_TEST

START_TEST(anyone_may_do_what_names_no_role_and_nobody_else_the_rest)
{
    for (unsigned i = 0; i < N_ACT_RIGHTS; i++) {
        enum act_right right = (enum act_right)i;
        unsigned roles = act_right_roles(right);

        ck_assert_int_eq(act_right_allows(right, 0), roles == ROLES_ANYONE);
        ck_assert(act_right_allows(right, ROLES_ALL));
        ck_assert_int_eq(act_right_allows(right, ~roles), roles == ROLES_ANYONE);
        for (unsigned role = 1; role < ROLES_ALL; role <<= 1)
            ck_assert_int_eq(
                act_right_allows(right, role), roles == ROLES_ANYONE || (roles & role) != 0);
    }
}
END_TEST

START_TEST(importing_is_for_makers_alone)
{
    ck_assert(act_right_allows(RIGHT_IMPORT, ROLES_MAKER));
    ck_assert(act_right_allows(RIGHT_IMPORT, ROLES_MAKER | ROLE_ADMIN));
    ck_assert(!act_right_allows(RIGHT_IMPORT, ROLE_ADMIN));
}
END_TEST

START_TEST(exporting_is_for_whoever_devices_belong_to)
{
    ck_assert_uint_eq(act_right_roles(RIGHT_EXPORT), ROLES_MAKER | (unsigned)ROLE_OWNER);
    ck_assert(!act_right_allows(RIGHT_EXPORT, ROLE_ADMIN));
    ck_assert_uint_eq(act_right_roles(RIGHT_WEBHOOKS), ROLES_MAKER | (unsigned)ROLE_OWNER);
}
END_TEST

START_TEST(many_devices_are_moved_by_whoever_may_move_one)
{
    static const enum device_move of_many[] = {MOVE_SUSPEND, MOVE_RESUME, MOVE_RELEASE,
        MOVE_ROTATE_CODE, MOVE_RESET_NONCES, MOVE_BIND, MOVE_OFFER, MOVE_QUARANTINE, MOVE_LIFT,
        MOVE_SCRAP};
    unsigned roles = 0;

    for (size_t i = 0; i < sizeof(of_many) / sizeof(of_many[0]); i++)
        roles |= act_right_roles(act_move_right(of_many[i]));
    ck_assert_uint_eq(act_right_roles(RIGHT_MOVES), roles);
}
END_TEST

START_TEST(cancelling_is_for_whoever_may_begin_a_job)
{
    ck_assert_uint_eq(act_right_roles(RIGHT_JOBS_CANCEL),
        act_right_roles(RIGHT_IMPORT) | act_right_roles(RIGHT_EXPORT) |
            act_right_roles(RIGHT_MOVES) | act_right_roles(RIGHT_ORDER));
    ck_assert(!act_right_allows(RIGHT_JOBS_CANCEL, ROLE_AUDITOR | ROLE_APPLICATION_SERVER));
}
END_TEST

START_TEST(ordering_is_for_makers_of_modules_and_its_means_come_from_administrators)
{
    ck_assert_uint_eq(act_right_roles(RIGHT_ORDER), ROLE_MODULE_MAKER);
    ck_assert_uint_eq(act_right_roles(RIGHT_ORDER_DECIDE), ROLE_MODULE_MAKER);
    ck_assert_uint_eq(act_right_roles(RIGHT_EUI_BLOCKS_MAKE), ROLE_ADMIN);
    ck_assert_uint_eq(act_right_roles(RIGHT_CERTIFICATES), ROLE_ADMIN);
}
END_TEST

SUITE_MAIN("rights", 10, ordering_is_for_makers_of_modules_and_its_means_come_from_administrators,
    many_devices_are_moved_by_whoever_may_move_one, cancelling_is_for_whoever_may_begin_a_job,
    every_right_has_a_sentence_of_its_own, rights_name_only_roles_that_exist,
    every_right_is_used_by_a_route, anyone_may_do_what_names_no_role_and_nobody_else_the_rest,
    importing_is_for_makers_alone, exporting_is_for_whoever_devices_belong_to)
