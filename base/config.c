#include "base/config.h"

#include "base/error.h"
#include "base/shortage.h"
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_MAX 100
#define INI_LINE_ABOUT 198 /* of Debian's libinih; its header does not say */

struct loading {
    const struct config_setting *table;
    size_t n_settings;
    void *target;
    const char *source;
    int result;
};

static void *slot_of(void *target, const struct config_setting *setting)
{
    return (char *)target + setting->offset;
}

static int set_value(
    void *target, const struct config_setting *setting, const char *value, const char *source)
{
    switch (setting->kind) {
    case CONFIG_TEXT: {
        char *copy = strdup(value);
        char **slot = slot_of(target, setting);

        if (copy == NULL)
            return error_set(ERROR_SYSTEM, "out of memory for setting %s", setting->key);
        free(*slot);
        *slot = copy;
        return 0;
    }
    case CONFIG_UNSIGNED: {
        char *end = NULL;
        unsigned long v;

        errno = 0;
        v = strtoul(value, &end, 10);
        if (*value < '0' || *value > '9' || *end != '\0' || errno != 0 || v < setting->min ||
            v > setting->max)
            return error_set(ERROR_CONFIG, "%s: %s must be a number from %u to %u, not \"%.40s\"",
                source, setting->key, setting->min, setting->max, value);
        *(unsigned *)slot_of(target, setting) = (unsigned)v;
        return 0;
    }
    case CONFIG_BOOL:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return error_set(ERROR_CONFIG, "%s: %s must be true or false, not \"%.40s\"", source,
                setting->key, value);
        *(bool *)slot_of(target, setting) = strcmp(value, "true") == 0;
        return 0;
    }
    return error_set(ERROR_INTERNAL, "setting %s has no kind", setting->key);
}

static int set_by_key(struct loading *l, const char *key, const char *value)
{
    for (size_t i = 0; i < l->n_settings; i++)
        if (strcmp(l->table[i].key, key) == 0)
            return set_value(l->target, &l->table[i], value, l->source);
    return error_set(ERROR_CONFIG, "%s: unknown setting %s", l->source, key);
}

static int on_ini_entry(void *user, const char *section, const char *name, const char *value)
{
    struct loading *l = user;
    char key[KEY_MAX];

    if (l->result != 0)
        return 0;
    (void)snprintf(key, sizeof(key), "%s.%s", section, name);
    l->result = set_by_key(l, key, value != NULL ? value : "");
    return l->result == 0;
}

struct line_source {
    FILE *file;
    int line;
    int too_long; /* number of a line that does not fit; 0: none */
};

/* The library takes lines of a fixed length, and would read the rest of a longer one as another. */
static char *read_line(char *out, int size, void *stream)
{
    struct line_source *source = stream;
    char *line = fgets(out, size, source->file);

    if (line == NULL)
        return NULL;
    source->line++;
    if (strchr(line, '\n') != NULL || feof(source->file))
        return line;
    source->too_long = source->line;
    return NULL;
}

static int load_file(struct loading *l, const char *file)
{
    struct line_source source = {.file = fopen(file, "re")};
    int line;

    l->source = file;
    if (source.file == NULL)
        return error_set(shortage_or(ERROR_CONFIG), "cannot read the configuration file %s: %s",
            file, strerror(errno));
    line = ini_parse_stream(read_line, &source, on_ini_entry, l);
    (void)fclose(source.file);
    if (l->result != 0)
        return l->result;
    if (source.too_long > 0)
        return error_set(ERROR_CONFIG,
            "%s: line %d is longer than the %d characters that can be read", file, source.too_long,
            INI_LINE_ABOUT);
    if (line > 0)
        return error_set(ERROR_CONFIG, "%s: line %d is not a setting", file, line);
    return 0;
}

static int load_override(struct loading *l, const char *text)
{
    const char *equals = strchr(text, '=');
    char key[KEY_MAX];

    l->source = "option --set";
    if (equals == NULL || (size_t)(equals - text) >= sizeof(key))
        return error_set(
            ERROR_CONFIG, "option --set wants section.name=value, not \"%.60s\"", text);
    memcpy(key, text, (size_t)(equals - text));
    key[equals - text] = '\0';
    return set_by_key(l, key, equals + 1);
}

static int load_all(
    struct loading *l, const char *file, const char *const *overrides, size_t n_overrides)
{
    int r;

    for (size_t i = 0; i < l->n_settings; i++) {
        const struct config_setting *s = &l->table[i];
        const char *initial = s->initial;

        if (initial == NULL && s->kind == CONFIG_TEXT)
            continue;
        if (initial == NULL)
            initial = s->kind == CONFIG_BOOL ? "false" : "0";
        if ((r = set_value(l->target, s, initial, "default")) < 0)
            return r;
    }
    if (file != NULL && (r = load_file(l, file)) < 0)
        return r;
    for (size_t i = 0; i < l->n_settings; i++) {
        const char *value = l->table[i].env != NULL ? getenv(l->table[i].env) : NULL;

        if (value != NULL && (r = set_value(l->target, &l->table[i], value, l->table[i].env)) < 0)
            return r;
    }
    for (size_t i = 0; i < n_overrides; i++)
        if ((r = load_override(l, overrides[i])) < 0)
            return r;
    for (size_t i = 0; i < l->n_settings; i++)
        if (l->table[i].kind == CONFIG_TEXT && *(char **)slot_of(l->target, &l->table[i]) == NULL)
            return error_set(
                ERROR_CONFIG, "setting %s is missing: %s", l->table[i].key, l->table[i].help);
    return 0;
}

int config_load(const struct config_setting *table, size_t n_settings, const char *file,
    const char *const *overrides, size_t n_overrides, void *target)
{
    struct loading l = {.table = table, .n_settings = n_settings, .target = target};
    int r = load_all(&l, file, overrides, n_overrides);

    if (r < 0)
        config_done(table, n_settings, target);
    return r;
}

void config_done(const struct config_setting *table, size_t n_settings, void *target)
{
    for (size_t i = 0; i < n_settings; i++) {
        if (table[i].kind == CONFIG_TEXT) {
            char **slot = slot_of(target, &table[i]);

            free(*slot);
            *slot = NULL;
        }
    }
}

/* Who may not read a secret file. A credential that systemd hands over has its mask of rights
 * (ACL) where others have the group's: it says that the service's user may read it, and lies in a
 * folder that is nobody else's. */
static mode_t forbidden_bits(const char *path)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    const size_t len = folder != NULL ? strlen(folder) : 0;

    if (len > 0 && strncmp(path, folder, len) == 0 && path[len] == '/')
        return (S_IRWXG | S_IRWXO) & ~(mode_t)S_IRGRP;
    return S_IRWXG | S_IRWXO;
}

int config_read_secret_file(const char *path, char *out, size_t out_size)
{
    CLEANUP(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return error_set(shortage_or(ERROR_CONFIG), "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0)
        return error_set_errno("cannot look at %s", path);
    if ((st.st_mode & forbidden_bits(path)) != 0)
        return error_set(ERROR_CONFIG, "%s may be read by others: run chmod 600 on it", path);
    n = read(fd, out, out_size - 1);
    if (n < 0)
        return error_set_errno("cannot read %s", path);
    if ((size_t)n == out_size - 1)
        return error_set(ERROR_CONFIG, "%s is longer than %zu characters", path, out_size - 2);
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r'))
        n--;
    out[n] = '\0';
    if (n == 0)
        return error_set(ERROR_CONFIG, "%s is empty", path);
    return 0;
}
