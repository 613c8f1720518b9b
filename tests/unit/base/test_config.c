#include "base/config.h"
#include "base/error.h"
#include "tests/support/suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct settings {
    char *name;
    unsigned port;
    bool on;
};

static const struct config_setting table[] = {
    {"a.name", "CRADLE_TEST_NAME", CONFIG_TEXT, offsetof(struct settings, name), NULL, 0, 0,
        "a name"},
    {"a.port", "CRADLE_TEST_PORT", CONFIG_UNSIGNED, offsetof(struct settings, port), "80", 1, 65535,
        ""},
    {"b.on", NULL, CONFIG_BOOL, offsetof(struct settings, on), "false", 0, 0, ""},
};

/* Each test runs in a process of its own, which removes its file when it ends. */
static char path[] = "/tmp/cradle-config-XXXXXX";

static void remove_file(void)
{
    (void)unlink(path);
}

static void file_with(const char *text)
{
    static bool made;
    FILE *f;

    if (!made) {
        close(mkstemp(path));
        ck_assert_int_eq(atexit(remove_file), 0);
    }
    made = true;
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static int load(const char *text, const char *override, struct settings *s)
{
    *s = (struct settings){0};
    file_with(text);
    return config_load(table, 3, path, &override, override != NULL, s);
}

START_TEST(the_later_source_wins)
{
    struct settings s;

    unsetenv("CRADLE_TEST_PORT");
    ck_assert_int_eq(load("[a]\nname = x\n", NULL, &s), 0);
    ck_assert_uint_eq(s.port, 80);
    ck_assert(!s.on);
    config_done(table, 3, &s);
    ck_assert_int_eq(load("[a]\nname = x\nport = 81\n[b]\non = true\n", NULL, &s), 0);
    ck_assert_uint_eq(s.port, 81);
    ck_assert(s.on);
    config_done(table, 3, &s);
    setenv("CRADLE_TEST_PORT", "82", 1);
    ck_assert_int_eq(load("[a]\nname = x\nport = 81\n", NULL, &s), 0);
    ck_assert_uint_eq(s.port, 82);
    config_done(table, 3, &s);
    ck_assert_int_eq(load("[a]\nname = x\nport = 81\n", "a.port=83", &s), 0);
    ck_assert_uint_eq(s.port, 83);
    config_done(table, 3, &s);
    unsetenv("CRADLE_TEST_PORT");
}
END_TEST

START_TEST(a_fault_names_the_setting)
{
    static const char *const bad[][2] = {
        {"[a]\nport = 81\n", "a.name"},
        {"[a]\nname = x\nport = 0\n", "a.port"},
        {"[a]\nname = x\nport = 65536\n", "a.port"},
        {"[a]\nname = x\nport = -1\n", "a.port"},
        {"[a]\nname = x\nport = 8x\n", "a.port"},
        {"[a]\nname = x\n[b]\non = yes\n", "b.on"},
        {"[a]\nname = x\ncolour = red\n", "a.colour"},
        {"[a]\nname = x\nnonsense\n", "line 3"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct settings s;

        ck_assert_int_eq(load(bad[i][0], NULL, &s), ERROR_CONFIG);
        ck_assert_msg(strstr(error_text(), bad[i][1]) != NULL, "%s", error_text());
        ck_assert_ptr_null(s.name);
    }
}
END_TEST

START_TEST(a_line_too_long_to_be_read_whole_is_named)
{
    char text[4096] = "[a]\nname = x\n";
    struct settings s;

    memset(text + strlen(text), 'y', 3000);
    ck_assert_int_eq(load(text, NULL, &s), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "line 3") != NULL, "%s", error_text());
}
END_TEST

START_TEST(a_missing_file_is_named)
{
    struct settings s = {0};

    ck_assert_int_eq(config_load(table, 3, "/nonexistent/cradle.ini", NULL, 0, &s), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error_text(), "/nonexistent/cradle.ini"));
}
END_TEST

START_TEST(a_secret_file_is_read_only_when_nobody_else_may)
{
    char out[16];

    file_with("1234\n");
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert_int_eq(config_read_secret_file(path, out, sizeof(out)), ERROR_CONFIG);
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert_int_eq(config_read_secret_file(path, out, sizeof(out)), 0);
    ck_assert_str_eq(out, "1234");
    file_with("\n");
    ck_assert_int_eq(config_read_secret_file(path, out, sizeof(out)), ERROR_CONFIG);
    file_with("01234567890123456789");
    ck_assert_int_eq(config_read_secret_file(path, out, sizeof(out)), ERROR_CONFIG);
}
END_TEST

SUITE_MAIN("base config", 4, the_later_source_wins, a_fault_names_the_setting,
    a_line_too_long_to_be_read_whole_is_named, a_missing_file_is_named,
    a_secret_file_is_read_only_when_nobody_else_may)
