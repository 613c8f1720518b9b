#include "cli/cli.h"

#include "base/error.h"
#include "db/epoch.h"
#include "lorawan/types.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

static int open_owner(const struct cli_settings *settings, struct db **ret)
{
    const struct db_config config = {.conninfo = settings->owner_conninfo, .program = "cradle"};
    CLEANUP(db_cleanup) struct db *db = NULL;
    int r;

    if ((r = cli_need(settings->owner_conninfo, "database.owner_conninfo")) < 0 ||
        (r = db_open(&config, &db)) < 0 || (r = db_check(db)) < 0)
        return r;
    *ret = db;
    db = NULL;
    return 0;
}

static void write_epoch(const struct db_epoch *epoch, struct text *out)
{
    text_addf(out,
        "\"epoch\":%" PRIu32 ",\"join_nonce_total\":%" PRIu32 ",\"system_identifier\":\"%" PRIu64
        "\",\"timeline\":%" PRIu32,
        epoch->epoch, epoch->join_nonce_total, epoch->system_identifier, epoch->timeline);
}

int cli_epoch_show(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct db_epoch epoch;
    struct db_place place;
    bool same;
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    if ((r = open_owner(settings, &db)) < 0 || (r = db_epoch_look(db, &epoch, &place)) != 0)
        return r;
    same = epoch.system_identifier == place.system_identifier && epoch.timeline == place.timeline &&
           !place.is_dump;
    text_add(out, "{");
    write_epoch(&epoch, out);
    text_addf(out,
        ",\"present\":{\"system_identifier\":\"%" PRIu64 "\",\"timeline\":%" PRIu32
        ",\"position\":\"%" PRIX64 "/%" PRIX64 "\"},\"vouched_for\":%s}\n",
        place.system_identifier, place.timeline, place.lsn >> 32, place.lsn & UINT32_MAX,
        same ? "true" : "false");
    return same ? 0 : CLI_NO;
}

static int read_number(
    const char *option, const char *text, uint32_t min, uint32_t max, uint32_t *ret)
{
    unsigned long n;
    char *end;

    errno = 0;
    n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n < min || n > max)
        return cli_usage(option, "takes a number of JoinNonces");
    *ret = (uint32_t)n;
    return 0;
}

static int read_arguments(int argc, char **argv, uint32_t *ret_gap, uint32_t *ret_above)
{
    static const struct option table[] = {
        {"gap", required_argument, NULL, 'g'},
        {"above", required_argument, NULL, 'a'},
        {0},
    };
    int c, r = 0;

    while (r == 0 && (c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'g')
            r = read_number("--gap", optarg, 1, DB_EPOCH_GAP_MAX, ret_gap);
        else if (c == 'a')
            r = read_number("--above", optarg, 0, LW_JOIN_NONCE_MAX, ret_above);
        else
            r = CLI_USAGE;
    }
    return r == 0 && optind < argc ? CLI_USAGE : r;
}

static void write_report(const struct db_epoch_report *report, uint32_t gap, struct text *out)
{
    text_add(out, "{");
    write_epoch(&report->after, out);
    text_addf(out,
        ",\"gap\":%" PRIu32 ",\"before\":{\"epoch\":%" PRIu32 ",\"join_nonce_total\":%" PRIu32
        "},\"devices_low\":%" PRIu64 ",\"devices_used_up\":%" PRIu64 ",\"first_low\":[",
        gap, report->before.epoch, report->before.join_nonce_total, report->n_low,
        report->n_used_up);
    for (size_t i = 0; i < report->n_shown; i++) {
        text_add(out, i > 0 ? ",\"" : "\"");
        text_add_hex(out, report->low[i].bytes, sizeof(report->low[i].bytes));
        text_add(out, "\"");
    }
    text_add(out, "]}\n");
}

int cli_epoch_bump(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    uint32_t gap = DB_EPOCH_GAP, above = 0;
    struct db_epoch_report report;
    int r;

    if ((r = read_arguments(argc, argv, &gap, &above)) != 0 ||
        (r = open_owner(settings, &db)) < 0 || (r = db_epoch_bump(db, gap, above, &report)) < 0)
        return r;
    write_report(&report, gap, out);
    return 0;
}
