/* The database as its owner has it: opened by the commands that act on it without a service, and
 * told what they have done. */
#pragma once

#include "cli/cli.h"

/** With database.owner_conninfo; db_close it. */
int cli_owner_open(const struct cli_settings *settings, struct db **ret) MUST_CHECK;

/** An audit event of nobody's history but the administrators': who ran the command, and `members`,
 * the JSON of further members ("\"said\":\"...\""), without secrets. What was done is done: a
 * database that is away undoes nothing, and a warning says that it is not in the audit. */
void cli_owner_tell(const struct cli_settings *settings, const char *action, const char *object,
    const struct text *members);
