#include "base/program.h"

#include "base/error.h"
#include "base/log.h"
#include "base/manager.h"
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_ERROR] = "error",
};

static void print_help(const struct program *program)
{
    printf("usage: %s --config FILE [--set section.key=value]...\n%s\n\n", program->name,
        program->about);
    printf(
        "Exit status %d: a setting or the PIN is wrong; starting again will not help.\n\nSettings:\n",
        PROGRAM_EXIT_CONFIG);
    for (size_t i = 0; i < program->n_settings; i++) {
        const struct config_setting *s = &program->table[i];

        printf("  %-24s %s", s->key, s->help);
        if (s->initial != NULL && s->initial[0] != '\0')
            printf("; default %s", s->initial);
        if (s->env != NULL)
            printf("; environment %s", s->env);
        printf("\n");
    }
}

static int set_log_level(const struct program *program, const char *text)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            log_init(program->name, (enum log_level)i);
            return 0;
        }
    }
    return error_set(
        ERROR_CONFIG, "log.level must be debug, info, warn or error, not \"%.20s\"", text);
}

static int set_log_format(const char *text)
{
    if (strcmp(text, "text") != 0 && strcmp(text, "json") != 0)
        return error_set(ERROR_CONFIG, "log.format must be text or json, not \"%.20s\"", text);
    log_init_format(strcmp(text, "json") == 0 ? LOG_JSON : LOG_TEXT);
    return 0;
}

static void stop_signals(sigset_t *ret)
{
    (void)sigemptyset(ret);
    (void)sigaddset(ret, SIGTERM);
    (void)sigaddset(ret, SIGINT);
}

int program_start(const struct program *program, int argc, char **argv, void *settings)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"set", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    const char *file = NULL, *overrides[PROGRAM_OVERRIDES_MAX];
    size_t n_overrides = 0;
    sigset_t signals;
    int option, r;

    log_init(program->name, LOG_LEVEL_INFO);
    manager_init();
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            file = optarg;
            break;
        case 's':
            if (n_overrides == PROGRAM_OVERRIDES_MAX)
                return error_set(ERROR_CONFIG, "more than %d options --set", PROGRAM_OVERRIDES_MAX);
            overrides[n_overrides++] = optarg;
            break;
        case 'h':
            print_help(program);
            return 1;
        case 'v':
            printf("%s %s\n", program->name, CRADLE_VERSION);
            return 1;
        default:
            return error_set(ERROR_CONFIG, "unknown option: see %s --help", program->name);
        }
    }
    if (optind < argc)
        return error_set(
            ERROR_CONFIG, "\"%.60s\" is not an option: see %s --help", argv[optind], program->name);
    r = config_load(program->table, program->n_settings, file, overrides, n_overrides, settings);
    if (r < 0)
        return r;
    r = set_log_level(program, *(char **)((char *)settings + program->log_level_offset));
    if (r == 0)
        r = set_log_format(*(char **)((char *)settings + program->log_format_offset));
    if (r < 0)
        return r;
    /* Blocked before any thread starts, so that only program_stop_wanted sees them. */
    stop_signals(&signals);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return 0;
}

bool program_stop_wanted(long wait_ms)
{
    const struct timespec wait = {wait_ms / 1000, wait_ms % 1000 * 1000000};
    sigset_t signals;

    stop_signals(&signals);
    return sigtimedwait(&signals, NULL, &wait) > 0;
}

int program_exit_status(int code)
{
    if (code >= 0)
        return EXIT_SUCCESS;
    return code == ERROR_CONFIG || code == ERROR_PIN ? PROGRAM_EXIT_CONFIG : EXIT_FAILURE;
}
