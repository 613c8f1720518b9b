#include "hsm/token_life.h"

#include "base/hex.h"
#include "base/log.h"
#include "hsm/keyd.h"
#include "hsm/token_files.h"
#include "hsm/token_keys.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SERIAL_LEN 16
#define KEYS_FILE "keys"
#define TOKEN_FOLDER "token"
#define LINE_LEN 256

static void show(const struct key_list *list, struct text *report)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct key_list_key *key = &list->keys[i];
        char kcv[2 * KEY_LIST_KCV_LEN + 1];

        if (token_keys_is_mark(key->label))
            text_addf(report, "%-22s a mark\n", key->label);
        else
            text_addf(report, "%-22s check value %s\n", key->label,
                hex_encode(key->kcv, KEY_LIST_KCV_LEN, kcv));
    }
}

/* --- a token, opened where it is -------------------------------------------------------------- */

/* Where `ret_serial` is given, the token must be SoftHSM's. */
static int list_locked(
    const struct hsm_place *place, int lock, struct key_list *ret, char *ret_serial)
{
    CLEANUP(token_setting_restore) struct token_setting setting = {0};
    CLEANUP(p11_token_close) struct p11_token token = {0};
    int r = token_setting_change(place->softhsm_conf, &setting);

    if (r == 0)
        r = p11_token_open(&token, place->uri, false, lock);
    if (r == 0)
        r = token_keys_list(&token, ret);
    if (r == 0 && ret->n == 0)
        return error_set(ERROR_CONFIG, "the token holds none of our keys");
    if (r < 0 || ret_serial == NULL)
        return r;
    if (strcmp(token.quirks->name, "softhsm") != 0)
        return error_set(ERROR_CONFIG,
            "the token is no SoftHSM's: back it up, restore it and copy it by its vendor's tools; "
            "`cradle hsm rehearse --uri` tries what they restored");
    memcpy(ret_serial, token.info.serialNumber, SERIAL_LEN);
    ret_serial[SERIAL_LEN] = '\0';
    return 0;
}

int hsm_token_list(const struct hsm_place *place, struct key_list *ret)
{
    CLEANUP(cleanup_close) int lock = -1;
    int r = p11_lock(place->lock_file, &lock);

    return r < 0 ? r : list_locked(place, lock, ret, NULL);
}

static int must_be_same(const struct key_list *wanted, const struct key_list *got, const char *what)
{
    char why[KEY_LIST_TEXT_MAX];
    enum key_list_order order = key_list_difference(wanted, got, why);

    if (order == KEY_LIST_MORE) {
        (void)key_list_difference(got, wanted, why);
        return error_set(ERROR_CONFIG, "%s holds more than it should: of the other, %s", what, why);
    }
    return order == KEY_LIST_SAME ? 0 : error_set(ERROR_CONFIG, "%s is not good: %s", what, why);
}

int hsm_token_compare(
    const struct hsm_place *first, const struct hsm_place *second, struct text *report)
{
    struct key_list one, other;
    int r = hsm_token_list(first, &one);

    if (r == 0)
        r = hsm_token_list(second, &other);
    if (r == 0)
        r = must_be_same(&one, &other, "the second token");
    if (r == 0)
        text_addf(report, "the second token holds the same %zu keys\n", one.n);
    return r;
}

/* --- a list that stands beside a backup ------------------------------------------------------- */

static void close_file(FILE **file)
{
    if (*file != NULL)
        (void)fclose(*file);
}

static int path_of(char out[static PATH_MAX], const char *dir, const char *name)
{
    if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return error_set(ERROR_CONFIG, "the path %.64s... is too long", dir);
    return 0;
}

static int write_list(const char *dir, const struct key_list *list)
{
    char path[PATH_MAX], kcv[2 * KEY_LIST_KCV_LEN + 1];
    CLEANUP(close_file) FILE *file = NULL;
    int r = path_of(path, dir, KEYS_FILE);

    if (r < 0)
        return r;
    if ((file = fopen(path, "wxe")) == NULL)
        return error_set_errno("cannot make %s", path);
    for (size_t i = 0; i < list->n; i++)
        (void)fprintf(file, "%s %s\n", list->keys[i].label,
            hex_encode(list->keys[i].kcv, KEY_LIST_KCV_LEN, kcv));
    if (fflush(file) != 0 || ferror(file) != 0 || fchmod(fileno(file), 0600) != 0 ||
        fsync(fileno(file)) != 0)
        return error_set_errno("cannot write %s", path);
    return 0;
}

static int read_list(const char *dir, struct key_list *ret)
{
    char path[PATH_MAX], line[LINE_LEN];
    CLEANUP(close_file) FILE *file = NULL;
    int r = path_of(path, dir, KEYS_FILE);

    *ret = (struct key_list){0};
    if (r < 0)
        return r;
    if ((file = fopen(path, "re")) == NULL) {
        (void)error_set_errno("%s is no backup of a token: cannot read %s", dir, path);
        return ERROR_CONFIG;
    }
    while (r == 0 && fgets(line, sizeof(line), file) != NULL) {
        uint8_t kcv[KEY_LIST_KCV_LEN];
        char *blank = strchr(line, ' ');

        line[strcspn(line, "\n")] = '\0';
        if (blank == NULL || !hex_decode(blank + 1, strlen(blank + 1), kcv, sizeof(kcv)))
            return error_set(ERROR_CONFIG, "%s is damaged", path);
        *blank = '\0';
        r = key_list_add(ret, line, kcv);
    }
    return r;
}

/* --- a place for a token, for a while --------------------------------------------------------- */

/** A folder of tokens with a configuration and a lock, which is removed at the end. */
struct stage {
    char dir[PATH_MAX], home[PATH_MAX], conf[PATH_MAX], lock_file[PATH_MAX];
    struct hsm_place place;
};

static void stage_end(struct stage *stage)
{
    if (stage->dir[0] != '\0')
        token_files_remove(stage->dir);
}

static int stage_begin(struct stage *stage, const char *like)
{
    const char *parent = getenv("TMPDIR");
    int r;

    if (parent == NULL || parent[0] != '/')
        parent = "/tmp";
    if ((r = path_of(stage->dir, parent, "cradle-rehearsal-XXXXXX")) < 0)
        return r;
    if (mkdtemp(stage->dir) == NULL) {
        r = error_set_errno("cannot make %s", stage->dir);
        stage->dir[0] = '\0';
        return r;
    }
    if ((r = path_of(stage->home, stage->dir, "tokens")) < 0 ||
        (r = path_of(stage->conf, stage->dir, "softhsm2.conf")) < 0 ||
        (r = path_of(stage->lock_file, stage->dir, "lock")) < 0 ||
        (r = token_files_make(stage->home)) < 0)
        return r;
    return token_files_configure(stage->conf, stage->home, like);
}

/* A refused PIN of a copy would not count at the token; but it is the same PIN. */
static struct hsm_place staged(const struct stage *stage, const struct hsm_place *live)
{
    return (struct hsm_place){
        .uri = live->uri, .lock_file = stage->lock_file, .softhsm_conf = stage->conf};
}

static int copy_token(const char *from_home, const char *to_home)
{
    char name[NAME_MAX + 1], from[PATH_MAX], to[PATH_MAX];
    int r;

    if ((r = token_files_only(from_home, name)) < 0 || (r = path_of(from, from_home, name)) < 0 ||
        (r = path_of(to, to_home, name)) < 0)
        return r;
    return token_files_copy(from, to);
}

/* Opens a copy of what is kept in `home`, so that it stays as it is. */
static int list_copy(const struct hsm_place *live, const char *home, struct key_list *ret)
{
    CLEANUP(stage_end) struct stage stage = {.dir = ""};
    struct hsm_place place;
    int r = stage_begin(&stage, live->softhsm_conf);

    if (r == 0)
        r = copy_token(home, stage.home);
    place = staged(&stage, live);
    return r < 0 ? r : hsm_token_list(&place, ret);
}

/* --- backup and restore ----------------------------------------------------------------------- */

static void drop_unfinished(char (*path)[PATH_MAX])
{
    if ((*path)[0] != '\0')
        token_files_remove(*path);
}

static int copy_live(const struct hsm_place *place, const char *to_home, struct key_list *ret)
{
    CLEANUP(cleanup_close) int lock = -1;
    char serial[SERIAL_LEN + 1], home[PATH_MAX], name[NAME_MAX + 1], from[PATH_MAX], to[PATH_MAX];
    int r;

    /* Whoever makes a key holds the lock, and running key processes write nothing. */
    if ((r = p11_lock(place->lock_file, &lock)) < 0 ||
        (r = list_locked(place, lock, ret, serial)) < 0 ||
        (r = token_files_home(place->softhsm_conf, home)) < 0 ||
        (r = token_files_find(home, serial, name)) < 0 || (r = path_of(from, home, name)) < 0 ||
        (r = path_of(to, to_home, name)) < 0)
        return r;
    return token_files_copy(from, to);
}

int hsm_token_backup(
    const struct hsm_place *place, const char *dir, struct key_list *ret_keys, struct text *report)
{
    CLEANUP(drop_unfinished) char part[PATH_MAX] = "";
    char home[PATH_MAX];
    struct key_list live, kept;
    struct stat st;
    int r;

    if (lstat(dir, &st) == 0)
        return error_set(ERROR_CONFIG, "%s is there already: nothing is ever overwritten", dir);
    if (snprintf(home, sizeof(home), "%s.part", dir) >= (int)sizeof(home))
        return error_set(ERROR_CONFIG, "the path of the backup is too long");
    if ((r = token_files_make(home)) < 0)
        return r;
    memcpy(part, home, sizeof(part));
    if ((r = path_of(home, part, TOKEN_FOLDER)) < 0 || (r = token_files_make(home)) < 0 ||
        (r = copy_live(place, home, &live)) < 0 || (r = write_list(part, &live)) < 0 ||
        (r = list_copy(place, home, &kept)) < 0 ||
        (r = must_be_same(&live, &kept, "the backup")) < 0 || (r = token_files_sync(home)) < 0 ||
        (r = token_files_sync(part)) < 0)
        return r;
    if (rename(part, dir) != 0)
        return error_set_errno("cannot make %s", dir);
    part[0] = '\0';
    show(&kept, report);
    text_addf(
        report, "%zu keys are in %s, which was opened and compared with the token\n", kept.n, dir);
    *ret_keys = kept;
    return 0;
}

/* Marks of what does not seal yet, and twins that `cradle hsm close` destroys. */
static bool comes_and_goes(const char *label)
{
    return token_keys_is_mark(label) || p11_store_version(label, P11_LABEL_REWRAP_DEVICE) > 0 ||
           p11_store_version(label, P11_LABEL_REWRAP_KEK) > 0;
}

int hsm_token_must_keep(const struct key_list *before, const struct key_list *after)
{
    struct key_list wanted = {0};
    char why[KEY_LIST_TEXT_MAX];
    enum key_list_order order;

    for (size_t i = 0; i < before->n; i++) {
        if (!comes_and_goes(before->keys[i].label))
            wanted.keys[wanted.n++] = before->keys[i];
    }
    order = key_list_difference(&wanted, after, why);
    return order == KEY_LIST_SAME || order == KEY_LIST_MORE
               ? 0
               : error_set(ERROR_CONFIG,
                     "the token has changed since the copy of the database was begun, which may "
                     "need what has gone: %s",
                     why);
}

static int check_kept(const struct hsm_place *place, const char *dir,
    char ret_home[static PATH_MAX], struct key_list *ret)
{
    struct key_list said;
    int r;

    if ((r = read_list(dir, &said)) < 0 || (r = path_of(ret_home, dir, TOKEN_FOLDER)) < 0 ||
        (r = list_copy(place, ret_home, ret)) < 0)
        return r;
    return must_be_same(&said, ret, "the backup");
}

static int compare_restored(
    const struct hsm_place *place, const char *home, const struct key_list *wanted)
{
    CLEANUP(stage_end) struct stage stage = {.dir = ""};
    char conf[PATH_MAX];
    struct hsm_place restored;
    struct key_list got;
    int r = stage_begin(&stage, place->softhsm_conf);

    if (r < 0 || (r = path_of(conf, stage.dir, "restored.conf")) < 0 ||
        (r = token_files_configure(conf, home, place->softhsm_conf)) < 0)
        return r;
    restored = staged(&stage, place);
    restored.softhsm_conf = conf;
    r = hsm_token_list(&restored, &got);
    return r < 0 ? r : must_be_same(wanted, &got, "the restored token");
}

int hsm_token_restore(
    const struct hsm_place *place, const char *dir, const char *home, struct text *report)
{
    char kept_home[PATH_MAX];
    struct key_list kept;
    int r;

    if ((r = check_kept(place, dir, kept_home, &kept)) < 0 ||
        (r = copy_token(kept_home, home)) < 0 || (r = token_files_sync(home)) < 0 ||
        (r = compare_restored(place, home, &kept)) < 0)
        return r;
    show(&kept, report);
    text_addf(report, "%zu keys are in %s, which was opened and compared with the backup\n", kept.n,
        home);
    return 0;
}

/* --- rehearsal -------------------------------------------------------------------------------- */

static int open_sample(struct keyd *keyd, const struct hsm_sample *s)
{
    const struct p11_store_kek *kek = p11_store_find(&keyd->keys.device, s->key.kek_label);
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    int r;

    if (kek == NULL)
        return error_set(ERROR_CONFIG,
            "the restored token lacks %s, which keys of the database are sealed under",
            s->key.kek_label);
    r = keyd_check_device_tag(keyd, &s->dev_eui, &s->join_eui, s->slot, &s->key);
    if (r > 0)
        return error_set(
            ERROR_CONFIG, "the tag of a sealed key of the database is not the restored token's");
    if (r == 0)
        r = p11_unwrap(&keyd->token, keyd->token.work, kek->handle, P11_USE_DEVICE, s->key.blob,
            s->key.blob_len, &key);
    return r < 0 ? r : p11_destroy(&keyd->token, &key);
}

static int open_samples(
    const struct hsm_place *place, const struct hsm_sample *samples, size_t n_samples)
{
    static struct keyd keyd; /* too large for the stack */
    CLEANUP(token_setting_restore) struct token_setting setting = {0};
    CLEANUP(cleanup_close) int lock = -1;
    int r;

    keyd = (struct keyd){0};
    if ((r = token_setting_change(place->softhsm_conf, &setting)) == 0 &&
        (r = p11_lock(place->lock_file, &lock)) == 0)
        r = p11_token_open(&keyd.token, place->uri, false, lock);
    if (r == 0)
        r = keyd_init(&keyd);
    for (size_t i = 0; r == 0 && i < n_samples; i++)
        r = open_sample(&keyd, &samples[i]);
    p11_token_close(&keyd.token);
    return r;
}

int hsm_token_rehearse_at(const struct hsm_place *live, const struct hsm_place *restored,
    const struct hsm_sample *samples, size_t n_samples, struct text *report)
{
    struct key_list now, then;
    int r;

    if ((r = hsm_token_list(live, &now)) < 0 || (r = hsm_token_list(restored, &then)) < 0 ||
        (r = must_be_same(&now, &then, "what was restored")) < 0 ||
        (r = open_samples(restored, samples, n_samples)) < 0)
        return r;
    show(&then, report);
    text_addf(report,
        "a token was made of it and holds the %zu keys of the live one; it passed the test of a "
        "key process and opened %zu sealed keys of the database\n",
        then.n, n_samples);
    return 0;
}

int hsm_token_rehearse(const struct hsm_place *live, const char *dir,
    const struct hsm_sample *samples, size_t n_samples, struct text *report)
{
    CLEANUP(stage_end) struct stage stage = {.dir = ""};
    struct hsm_place place;
    char home[PATH_MAX];
    struct key_list kept;
    int r = check_kept(live, dir, home, &kept);

    if (r < 0 || (r = stage_begin(&stage, live->softhsm_conf)) < 0 ||
        (r = copy_token(home, stage.home)) < 0)
        return r;
    place = staged(&stage, live);
    return hsm_token_rehearse_at(live, &place, samples, n_samples, report);
}

/* --- a second token --------------------------------------------------------------------------- */

static int folder_of(
    const struct hsm_place *place, int lock, struct key_list *ret_keys, char ret[static PATH_MAX])
{
    char serial[SERIAL_LEN + 1], home[PATH_MAX], name[NAME_MAX + 1];
    int r;

    if ((r = list_locked(place, lock, ret_keys, serial)) < 0 ||
        (r = token_files_home(place->softhsm_conf, home)) < 0 ||
        (r = token_files_find(home, serial, name)) < 0)
        return r;
    return path_of(ret, home, name);
}

int hsm_token_copy(
    const struct hsm_place *first, const struct hsm_place *second, struct text *report)
{
    CLEANUP(cleanup_close) int lock = -1;
    CLEANUP(cleanup_close) int lock_2 = -1;
    char from[PATH_MAX], to[PATH_MAX], why[KEY_LIST_TEXT_MAX];
    struct key_list keys, keys_2;
    int r, n;

    if ((r = p11_lock(first->lock_file, &lock)) < 0 ||
        (r = p11_lock(second->lock_file, &lock_2)) < 0 ||
        (r = folder_of(first, lock, &keys, from)) < 0 ||
        (r = folder_of(second, lock_2, &keys_2, to)) < 0)
        return r;
    if (strcmp(from, to) == 0)
        return error_set(ERROR_CONFIG, "the second token is the first one: %s", from);
    if (key_list_difference(&keys, &keys_2, why) == KEY_LIST_ANOTHER)
        return error_set(ERROR_CONFIG, "the second token is not good: %s", why);
    if ((n = token_files_add(from, to)) < 0)
        return n;
    if ((r = list_locked(second, lock_2, &keys_2, NULL)) < 0 ||
        (r = must_be_same(&keys, &keys_2, "the second token")) < 0)
        return r;
    show(&keys_2, report);
    text_addf(
        report, "the second token holds the same %zu keys; %d objects were copied\n", keys_2.n, n);
    return 0;
}
