/* The whole in one folder: database, token, settings, and a manifest that says what belongs to it.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "cli/backup_files.h"
#include "cli/owner.h"
#include "cli/rest.h"
#include "cli/token.h"
#include "db/epoch.h"
#include "db/tool.h"
#include <dirent.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define WITNESSES_MAX 8
#define MANIFEST_VERSION 1
#define LSN_LEN 32

static const char dump_name[] = "database.dump", base_name[] = "base", token_name[] = "token",
                  configuration_name[] = "configuration", witness_name[] = "witness";

struct plan {
    char dir[PATH_MAX];
    char part[PATH_MAX]; /* its name until it is whole; "": nothing is there to be removed */
    bool check, files_only, base, no_token;
    const char *configuration; /* folder; NULL: that of --config */
    const char *witnesses[WITNESSES_MAX];
    size_t n_witnesses;
    struct db_epoch epoch;
    struct db_place begin, end;
    struct key_list keys_before; /* of the token, before the database was read */
    struct key_list keys;        /* that belong to the backup: of the copy, where there is one */
};

static int path_of(char out[static PATH_MAX], const char *dir, const char *name)
{
    if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return error_set(ERROR_CONFIG, "the path %.64s... is too long", dir);
    return 0;
}

static int make_folder(const char *path)
{
    return mkdir(path, 0700) == 0 ? 0 : error_set_errno("cannot make %s", path);
}

static void drop_unfinished(struct plan *plan)
{
    if (plan->part[0] != '\0')
        backup_remove(plan->part);
}

/* --- options ---------------------------------------------------------------------------------- */

static int set_dir(struct plan *plan, const char *dir)
{
    size_t len = strlen(dir);

    while (len > 1 && dir[len - 1] == '/')
        len--;
    if (len == 0 || len + sizeof(".part") > sizeof(plan->dir))
        return error_set(ERROR_CONFIG, "the path of the backup is empty or too long");
    memcpy(plan->dir, dir, len);
    plan->dir[len] = '\0';
    return 0;
}

static int read_options(int argc, char **argv, struct plan *plan)
{
    static const struct option table[] = {
        {"base", no_argument, NULL, 'b'},
        {"check", no_argument, NULL, 'c'},
        {"configuration", required_argument, NULL, 'f'},
        {"files-only", no_argument, NULL, 'o'},
        {"no-token", no_argument, NULL, 'n'},
        {"witness", required_argument, NULL, 'w'},
        {0},
    };
    bool makes = false;
    int c;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        makes = makes || c == 'b' || c == 'f' || c == 'n' || c == 'w';
        if (c == 'b')
            plan->base = true;
        else if (c == 'c')
            plan->check = true;
        else if (c == 'f')
            plan->configuration = optarg;
        else if (c == 'o')
            plan->files_only = true;
        else if (c == 'n')
            plan->no_token = true;
        else if (c == 'w' && plan->n_witnesses < WITNESSES_MAX)
            plan->witnesses[plan->n_witnesses++] = optarg;
        else
            return CLI_USAGE;
    }
    if (optind + 1 != argc || (plan->check && makes) || (plan->files_only && !plan->check))
        return CLI_USAGE;
    return set_dir(plan, argv[optind]);
}

/* --- the database ----------------------------------------------------------------------------- */

static int look(const struct cli_settings *settings, struct db_epoch *epoch, struct db_place *place)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    int r;

    if ((r = cli_owner_open(settings, &db)) < 0 || (r = db_check(db)) < 0)
        return r;
    return db_epoch_look(db, epoch, place);
}

static int copy_database(const struct cli_settings *settings, bool base, const char *path)
{
    int r;

    if (!base)
        return db_tool_run(settings->owner_conninfo,
            (const char *const[]){"pg_dump", "--no-password", "-Fc", "-f", path, NULL});
    if ((r = cli_need(settings->backup_conninfo, "database.backup_conninfo")) < 0)
        return r;
    return db_tool_run(
        settings->backup_conninfo, (const char *const[]){"pg_basebackup", "--no-password", "-D",
                                       path, "-X", "stream", "-c", "fast", NULL});
}

/* PostgreSQL's programs do not say where they could not write. */
static int keep_database(const struct cli_settings *settings, const struct plan *plan)
{
    char path[PATH_MAX], why[ERROR_TEXT_MAX];
    int r = path_of(path, plan->part, plan->base ? base_name : dump_name);

    if (r < 0 || (r = copy_database(settings, plan->base, path)) == 0)
        return r;
    (void)snprintf(why, sizeof(why), "%s", error_text());
    return error_set(r, "%s is not written: %.300s", path, why);
}

/* Debian keeps it out of PATH, beside the server of the same version. */
static const char *find_verifier(const char *base, char out[static PATH_MAX])
{
    char path[PATH_MAX], version[8] = "";
    FILE *file = path_of(path, base, "PG_VERSION") < 0 ? NULL : fopen(path, "re");

    if (file != NULL && fgets(version, sizeof(version), file) == NULL)
        version[0] = '\0';
    if (file != NULL)
        (void)fclose(file);
    version[strspn(version, "0123456789")] = '\0';
    (void)snprintf(out, PATH_MAX, "/usr/lib/postgresql/%s/bin/pg_verifybackup", version);
    return access(out, X_OK) == 0 ? out : "pg_verifybackup";
}

/* All of it is read, and a dump unpacked: what a disk has damaged is found. */
static int read_database(const char *dir)
{
    char path[PATH_MAX], program[PATH_MAX];
    int r = path_of(path, dir, dump_name);

    if (r < 0)
        return r;
    if (access(path, F_OK) == 0)
        return db_tool_run(
            NULL, (const char *const[]){"pg_restore", "-f", "/dev/null", path, NULL});
    /* PostgreSQL's manifest, and that all WAL is there that makes the copy whole. */
    if ((r = path_of(path, dir, base_name)) < 0)
        return r;
    return db_tool_run(NULL, (const char *const[]){find_verifier(path, program), "-q", path, NULL});
}

/* --- settings and witnesses ------------------------------------------------------------------- */

static bool has_ending(const char *name, const char *ending)
{
    const size_t len = strlen(name), ending_len = strlen(ending);

    return len > ending_len && strcmp(name + len - ending_len, ending) == 0;
}

static void close_folder(DIR **folder)
{
    if (*folder != NULL)
        (void)closedir(*folder);
}

static int copy_settings(const char *from, const char *to, struct text *out)
{
    CLEANUP(close_folder) DIR *folder = opendir(from);
    char source[PATH_MAX], target[PATH_MAX];
    const struct dirent *entry;
    struct stat st;
    size_t n = 0;
    int r;

    if (folder == NULL)
        return error_set_errno("cannot read the folder of the configuration, %s", from);
    while ((entry = readdir(folder)) != NULL) {
        /* Nothing else: PIN, passwords and private keys are kept apart from the token. */
        if (!has_ending(entry->d_name, ".ini") && !has_ending(entry->d_name, ".conf"))
            continue;
        if ((r = path_of(source, from, entry->d_name)) < 0 ||
            (r = path_of(target, to, entry->d_name)) < 0)
            return r;
        if (stat(source, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        if ((r = backup_file_copy(source, target)) < 0)
            return r;
        n++;
    }
    text_addf(out,
        "%zu files of settings from %s (*.ini, *.conf; PINs, passwords and private keys "
        "are to be kept elsewhere)\n",
        n, from);
    return n > 0 ? 0 : error_set(ERROR_CONFIG, "there is no *.ini or *.conf in %s", from);
}

static int keep_settings(
    const struct cli_settings *settings, const struct plan *plan, struct text *out)
{
    const char *slash = strrchr(settings->config_file, '/');
    char from[PATH_MAX], to[PATH_MAX];
    int r;

    if (plan->configuration != NULL)
        (void)snprintf(from, sizeof(from), "%s", plan->configuration);
    else if (slash == NULL)
        (void)snprintf(from, sizeof(from), ".");
    else
        (void)snprintf(from, sizeof(from), "%.*s/", (int)(slash - settings->config_file),
            settings->config_file);
    if ((r = path_of(to, plan->part, configuration_name)) < 0 || (r = make_folder(to)) < 0)
        return r;
    return copy_settings(from, to, out);
}

static int keep_witnesses(const struct plan *plan)
{
    char folder[PATH_MAX], to[PATH_MAX];
    int r;

    if (plan->n_witnesses == 0)
        return 0;
    if ((r = path_of(folder, plan->part, witness_name)) < 0 || (r = make_folder(folder)) < 0)
        return r;
    for (size_t i = 0; i < plan->n_witnesses; i++) {
        const char *slash = strrchr(plan->witnesses[i], '/');

        if ((r = path_of(to, folder, slash != NULL ? slash + 1 : plan->witnesses[i])) < 0 ||
            (r = backup_file_copy(plan->witnesses[i], to)) < 0)
            return r;
    }
    return 0;
}

/* --- the token -------------------------------------------------------------------------------- */

/* Files that somebody else makes in the token's folder its key processes could not open. */
static int check_user(const struct cli_settings *settings)
{
    struct stat st;

    if (settings->hsm_lock_file[0] == '\0' || stat(settings->hsm_lock_file, &st) != 0 ||
        st.st_uid == geteuid())
        return 0;
    return error_set(ERROR_CONFIG,
        "%s belongs to user %u: run this as the token's user, by runuser or sudo -u",
        settings->hsm_lock_file, (unsigned)st.st_uid);
}

/* A version that was destroyed meanwhile may be needed by the copy of the database. */
static int keep_token(const struct cli_settings *settings, struct plan *plan, struct text *out)
{
    char path[PATH_MAX];
    int r;

    if (plan->no_token) {
        r = cli_token_keys(settings, &plan->keys);
        return r < 0 ? r : hsm_token_must_keep(&plan->keys_before, &plan->keys);
    }
    if ((r = path_of(path, plan->part, token_name)) < 0 ||
        (r = cli_token_keep(settings, path, &plan->keys, out)) < 0 ||
        (r = hsm_token_must_keep(&plan->keys_before, &plan->keys)) < 0)
        return r;
    return cli_token_rehearse(settings, path, out);
}

static int list_keys(const struct key_list *keys, json_t **ret)
{
    CLEANUP(cli_json_done) json_t *list = json_array();

    for (size_t i = 0; i < keys->n; i++) {
        char kcv[2 * KEY_LIST_KCV_LEN + 1];

        (void)hex_encode(keys->keys[i].kcv, KEY_LIST_KCV_LEN, kcv);
        if (json_array_append_new(list,
                json_pack("{s:s, s:s}", "label", keys->keys[i].label, "check_value", kcv)) != 0)
            return error_set(ERROR_SYSTEM, "no memory");
    }
    *ret = list;
    list = NULL;
    return 0;
}

/* --- the manifest ----------------------------------------------------------------------------- */

static const char *lsn_text(uint64_t lsn, char out[static LSN_LEN])
{
    (void)snprintf(out, LSN_LEN, "%" PRIX64 "/%" PRIX64, lsn >> 32, lsn & UINT32_MAX);
    return out;
}

static const char *form_text(const struct plan *plan)
{
    return plan->base ? "base backup" : "dump";
}

static int make_manifest(const struct plan *plan, json_t **ret)
{
    CLEANUP(cli_json_done) json_t *keys = NULL;
    CLEANUP(cli_json_done) json_t *files = NULL;
    const struct db_place *begin = &plan->begin;
    char now[CLOCK_TEXT_LEN + 1], system[24], lsn[LSN_LEN], lsn_end[LSN_LEN];
    const bool vouched = plan->epoch.system_identifier == begin->system_identifier &&
                         plan->epoch.timeline == begin->timeline && !begin->is_dump;
    int r;

    if ((r = list_keys(&plan->keys, &keys)) < 0 || (r = backup_files_list(plan->part, &files)) < 0)
        return r;
    (void)snprintf(system, sizeof(system), "%" PRIu64, begin->system_identifier);
    *ret = json_pack("{s:i, s:s, s:s, s:{s:s, s:s, s:I, s:s, s:s, s:I, s:I, s:b}, s:O, s:O}",
        "version", MANIFEST_VERSION, "made_at", clock_rfc3339(now), "program", CRADLE_VERSION,
        "database", "form", form_text(plan), "system_identifier", system, "timeline",
        (json_int_t)begin->timeline, "lsn_before", lsn_text(begin->lsn, lsn), "lsn_after",
        lsn_text(plan->end.lsn, lsn_end), "epoch", (json_int_t)plan->epoch.epoch,
        "join_nonce_total", (json_int_t)plan->epoch.join_nonce_total, "vouched_for", vouched,
        "keys", keys, "files", files);
    return *ret != NULL ? 0 : error_set(ERROR_SYSTEM, "no memory for the manifest");
}

static int keep_manifest(const struct plan *plan, struct text *out)
{
    CLEANUP(cli_json_done) json_t *manifest = NULL;
    char lsn[LSN_LEN];
    int r;

    if ((r = make_manifest(plan, &manifest)) < 0 ||
        (r = backup_manifest_write(plan->part, manifest)) < 0 ||
        (r = backup_folder_sync(plan->part)) < 0)
        return r;
    text_addf(out,
        "timeline %" PRIu32 ", position %s, epoch %" PRIu32 ", join_nonce_total %" PRIu32 "\n",
        plan->begin.timeline, lsn_text(plan->begin.lsn, lsn), plan->epoch.epoch,
        plan->epoch.join_nonce_total);
    return 0;
}

/* --- the verb --------------------------------------------------------------------------------- */

static int begin(struct plan *plan)
{
    struct stat st;
    char part[PATH_MAX];
    int r;

    if (lstat(plan->dir, &st) == 0)
        return error_set(
            ERROR_CONFIG, "%s is there already: nothing is ever overwritten", plan->dir);
    if (snprintf(part, sizeof(part), "%s.part", plan->dir) >= (int)sizeof(part))
        return error_set(ERROR_CONFIG, "the path of the backup is too long");
    if ((r = make_folder(part)) < 0)
        return r;
    memcpy(plan->part, part, sizeof(part));
    return 0;
}

/* Where the folder lies may say more than an auditor has to know: its name is enough. */
static void add_folder_name(struct text *out, const char *dir)
{
    const char *slash = strrchr(dir, '/');
    char name[PATH_MAX];

    (void)snprintf(name, sizeof(name), "%s", slash != NULL && slash[1] != '\0' ? slash + 1 : dir);
    for (char *p = name; *p != '\0'; p++)
        if (*p < ' ' || *p > '~') /* perhaps no UTF-8 */
            *p = '?';
    text_add_json(out, name);
}

/* Whoever has the folder can show by its manifest which event is of it. */
static void tell(const struct cli_settings *settings, const struct plan *plan, const char *digest)
{
    CLEANUP(text_done) struct text members = {0};
    char lsn[LSN_LEN];

    text_add(&members, "\"folder\":");
    add_folder_name(&members, plan->dir);
    text_addf(&members, ",\"form\":\"%s\",\"token\":%s,\"lsn\":\"%s\",\"manifest_sha256\":\"%s\"",
        form_text(plan), plan->no_token ? "false" : "true", lsn_text(plan->end.lsn, lsn), digest);
    cli_owner_tell(settings, "database.backup", digest, &members);
}

static int make_backup(const struct cli_settings *settings, struct plan *plan, struct text *out)
{
    struct db_epoch later;
    char parent[PATH_MAX], manifest[PATH_MAX], digest[BACKUP_HASH_LEN + 1], *slash;
    int r;

    /* The token after the database: a key that was sealed meanwhile must find its KEK; and what it
     * held before it must hold then. */
    if ((r = check_user(settings)) < 0 || (r = look(settings, &plan->epoch, &plan->begin)) != 0 ||
        (r = begin(plan)) < 0 || (r = cli_token_keys(settings, &plan->keys_before)) < 0 ||
        (r = keep_database(settings, plan)) < 0 || (r = read_database(plan->part)) < 0 ||
        (r = look(settings, &later, &plan->end)) != 0 ||
        (r = keep_token(settings, plan, out)) < 0 || (r = keep_settings(settings, plan, out)) < 0 ||
        (r = keep_witnesses(plan)) < 0 || (r = keep_manifest(plan, out)) < 0 ||
        (r = path_of(manifest, plan->part, BACKUP_MANIFEST)) < 0 ||
        (r = backup_file_hash(manifest, digest)) < 0)
        return r;
    if (rename(plan->part, plan->dir) != 0)
        return error_set_errno("cannot make %s", plan->dir);
    plan->part[0] = '\0';
    (void)snprintf(parent, sizeof(parent), "%s", plan->dir);
    slash = strrchr(parent, '/');
    if (slash != NULL)
        slash[slash == parent ? 1 : 0] = '\0';
    if ((r = backup_folder_sync(slash != NULL ? parent : ".")) < 0)
        return r;
    tell(settings, plan, digest);
    text_addf(out, "%s is whole, and was read back\n", plan->dir);
    return 0;
}

static int check_backup(
    const struct cli_settings *settings, const struct plan *plan, struct text *out)
{
    CLEANUP(cli_json_done) json_t *manifest = NULL;
    char token[PATH_MAX];
    int r;

    if ((r = backup_manifest_read(plan->dir, &manifest)) < 0 ||
        (r = backup_files_check(plan->dir, json_object_get(manifest, "files"))) < 0 ||
        (r = read_database(plan->dir)) < 0 || (r = path_of(token, plan->dir, token_name)) < 0)
        return r;
    text_addf(out, "all %zu files are those that were backed up at %s\n",
        json_array_size(json_object_get(manifest, "files")), cli_json_text(manifest, "made_at"));
    if (plan->files_only || access(token, F_OK) != 0)
        return 0;
    if ((r = check_user(settings)) < 0)
        return r;
    return cli_token_rehearse(settings, token, out);
}

int cli_backup(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(drop_unfinished) struct plan plan = {.dir = ""};
    int r = read_options(argc, argv, &plan);

    (void)umask(077);
    if (r != 0)
        return r;
    return plan.check ? check_backup(settings, &plan, out) : make_backup(settings, &plan, out);
}
