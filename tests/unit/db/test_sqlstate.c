#include "db/sqlstate.h"

#include "tests/support/suite.h"
#include <stdio.h>
#include <string.h>

START_TEST(exact_state_comes_before_its_class)
{
    ck_assert_str_eq(db_sqlstate_find("57014")->prefix, "57014");
    ck_assert(!db_sqlstate_find("57014")->drop);
    ck_assert(db_sqlstate_find("08006")->drop);
    ck_assert(db_sqlstate_find("08006")->unknown);
}
END_TEST

START_TEST(demoted_primary_is_left_and_has_committed_nothing)
{
    ck_assert(db_sqlstate_find("25006")->drop);
    ck_assert(!db_sqlstate_find("25006")->unknown);
}
END_TEST

START_TEST(unlisted_state_committed_nothing_and_keeps_the_connection)
{
    ck_assert(!db_sqlstate_find("23505")->drop);
    ck_assert(!db_sqlstate_find("23505")->unknown);
    ck_assert(!db_sqlstate_find("42501")->unknown);
}
END_TEST

START_TEST(table_has_no_duplicate_and_every_entry_is_found)
{
    for (unsigned i = 0; db_sqlstate_at(i); i++) {
        const char *prefix = db_sqlstate_at(i)->prefix;
        char state[6];

        ck_assert(strlen(prefix) == 2 || strlen(prefix) == 5);
        snprintf(state, sizeof(state), "%s%s", prefix, strlen(prefix) == 2 ? "ZZZ" : "");
        ck_assert_ptr_eq(db_sqlstate_find(state), db_sqlstate_at(i));
        /* Not knowing what happened and going on with the same session do not go together. */
        ck_assert(!db_sqlstate_at(i)->unknown || db_sqlstate_at(i)->drop);
    }
}
END_TEST

SUITE_MAIN("db sqlstate", 10, exact_state_comes_before_its_class,
    demoted_primary_is_left_and_has_committed_nothing,
    unlisted_state_committed_nothing_and_keeps_the_connection,
    table_has_no_duplicate_and_every_entry_is_found)
