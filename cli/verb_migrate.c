#include "cli/cli.h"

#include "db/migrate.h"

int cli_migrate(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct db_config config = {.conninfo = settings->owner_conninfo, .program = "cradle"};
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    if ((r = cli_need(settings->owner_conninfo, "database.owner_conninfo")) < 0 ||
        (r = db_open(&config, &db)) < 0)
        return r;
    return db_migrate(db, out);
}
