/* The life of a token: backup, rehearsal, restore, and the second one. */
#include "cli/token.h"

#include "db/rehearsal.h"
#include "hsm/token_life.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static int first_place(const struct cli_settings *settings, struct hsm_place *ret)
{
    int r;

    if ((r = cli_need(settings->hsm_uri, "hsm.uri")) < 0 ||
        (r = cli_need(settings->hsm_lock_file, "hsm.lock_file")) < 0)
        return r;
    *ret = (struct hsm_place){.uri = settings->hsm_uri, .lock_file = settings->hsm_lock_file};
    return 0;
}

static int second_place(const struct cli_settings *settings, struct hsm_place *ret)
{
    int r;

    if ((r = cli_need(settings->hsm_uri_2, "hsm.uri_2")) < 0 ||
        (r = cli_need(settings->hsm_lock_file_2, "hsm.lock_file_2")) < 0)
        return r;
    if (strcmp(settings->hsm_lock_file_2, settings->hsm_lock_file) == 0)
        return error_set(ERROR_CONFIG, "the second HSM token needs a lock file of its own");
    *ret = (struct hsm_place){.uri = settings->hsm_uri_2,
        .lock_file = settings->hsm_lock_file_2,
        .softhsm_conf = settings->hsm_softhsm2_conf_2};
    return 0;
}

int cli_hsm_compare(const struct cli_settings *settings, struct text *out)
{
    struct hsm_place first, second;
    int r;

    if (settings->hsm_uri_2[0] == '\0')
        return 0;
    if ((r = first_place(settings, &first)) < 0 || (r = second_place(settings, &second)) < 0)
        return r;
    return hsm_token_compare(&first, &second, out);
}

int cli_hsm_backup(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {{"second", no_argument, NULL, '2'}, {0}};
    struct hsm_place place;
    struct key_list keys;
    bool second = false;
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c != '2')
            return CLI_USAGE;
        second = true;
    }
    if (optind + 1 != argc)
        return CLI_USAGE;
    if (!second)
        return cli_token_keep(settings, argv[optind], &keys, out);
    r = second_place(settings, &place);
    return r < 0 ? r : hsm_token_backup(&place, argv[optind], &keys, out);
}

int cli_token_keep(const struct cli_settings *settings, const char *dir, struct key_list *ret_keys,
    struct text *out)
{
    struct hsm_place place;
    int r = first_place(settings, &place);

    return r < 0 ? r : hsm_token_backup(&place, dir, ret_keys, out);
}

int cli_hsm_restore(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {{"token-dir", required_argument, NULL, 't'}, {0}};
    const char *home = NULL;
    struct hsm_place place;
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c != 't')
            return CLI_USAGE;
        home = optarg;
    }
    if (optind + 1 != argc || home == NULL)
        return CLI_USAGE;
    if ((r = first_place(settings, &place)) < 0)
        return r;
    return hsm_token_restore(&place, argv[optind], home, out);
}

int cli_hsm_copy(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct hsm_place first, second;
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    if ((r = first_place(settings, &first)) < 0 || (r = second_place(settings, &second)) < 0)
        return r;
    return hsm_token_copy(&first, &second, out);
}

/* --- rehearsal -------------------------------------------------------------------------------- */

static int load_samples(const struct cli_settings *settings, struct hsm_sample *ret, size_t *ret_n)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(cleanup_free) struct db_sealed_sample *rows = calloc(DB_SAMPLES_MAX, sizeof(*rows));
    size_t n = 0;
    int r;

    if (rows == NULL)
        return error_set(ERROR_SYSTEM, "no memory");
    if ((r = cli_open_db(settings, &db)) < 0 || (r = db_sealed_samples(db, rows, &n)) < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        ret[i] = (struct hsm_sample){.dev_eui = rows[i].dev_eui,
            .join_eui = rows[i].join_eui,
            .slot = rows[i].slot,
            .key = rows[i].key};
    *ret_n = n;
    return 0;
}

static int read_rehearsal(
    int argc, char **argv, struct hsm_place *ret_restored, const char **ret_dir)
{
    static const struct option table[] = {
        {"uri", required_argument, NULL, 'u'},
        {"lock-file", required_argument, NULL, 'l'},
        {"softhsm2-conf", required_argument, NULL, 's'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'u')
            ret_restored->uri = optarg;
        else if (c == 'l')
            ret_restored->lock_file = optarg;
        else if (c == 's')
            ret_restored->softhsm_conf = optarg;
        else
            return CLI_USAGE;
    }
    *ret_dir = argv[optind];
    if ((ret_restored->uri == NULL) != (ret_restored->lock_file == NULL) ||
        optind + (ret_restored->uri == NULL ? 1 : 0) != argc ||
        (ret_restored->uri == NULL && ret_restored->softhsm_conf != NULL))
        return CLI_USAGE;
    return 0;
}

/* `restored` NULL: what is kept in `dir`. */
static int rehearse(const struct cli_settings *settings, const struct hsm_place *restored,
    const char *dir, struct text *out)
{
    CLEANUP(cleanup_free)
    struct hsm_sample *samples = calloc(DB_SAMPLES_MAX, sizeof(*samples));
    struct hsm_place live;
    size_t n = 0;
    int r;

    if (samples == NULL)
        return error_set(ERROR_SYSTEM, "no memory");
    if ((r = first_place(settings, &live)) < 0 || (r = load_samples(settings, samples, &n)) < 0)
        return r;
    return restored != NULL ? hsm_token_rehearse_at(&live, restored, samples, n, out)
                            : hsm_token_rehearse(&live, dir, samples, n, out);
}

int cli_token_rehearse(const struct cli_settings *settings, const char *dir, struct text *out)
{
    return rehearse(settings, NULL, dir, out);
}

int cli_token_keys(const struct cli_settings *settings, struct key_list *ret)
{
    struct hsm_place place;
    int r = first_place(settings, &place);

    return r < 0 ? r : hsm_token_list(&place, ret);
}

int cli_hsm_rehearse(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct hsm_place restored = {.uri = NULL};
    const char *dir = NULL;
    int r = read_rehearsal(argc, argv, &restored, &dir);

    return r != 0 ? r : rehearse(settings, restored.uri != NULL ? &restored : NULL, dir, out);
}
