/* What every service does before and after its work: options, settings, log level, signals, exit
 * status. */
#pragma once

#include "base/config.h"

#define PROGRAM_OVERRIDES_MAX 64

/** EX_CONFIG of sysexits: a setting or the PIN is wrong. Starting again will not help, and a
 * supervisor should not. */
#define PROGRAM_EXIT_CONFIG 78

struct program {
    const char *name;  /* "cradle-joinserver" */
    const char *about; /* one sentence for --help */
    const struct config_setting *table;
    size_t n_settings;
    /* Of the char * of the settings log.level and log.format in the settings struct. */
    size_t log_level_offset, log_format_offset;
};

/** Takes over what a service manager hands over (base/manager.h), reads `--config FILE`, `--set
 * section.key=value`, `--help` and `--version`, loads the settings into `settings`, sets the log
 * up, and blocks SIGTERM and SIGINT (call it before any thread starts) and ignores SIGPIPE. Outcome
 * 1: help or the version was printed, end with status 0. */
int program_start(const struct program *program, int argc, char **argv, void *settings);

/** Waits for SIGTERM or SIGINT, at most so long; true when one came. */
bool program_stop_wanted(long wait_ms);

/** The exit status of a run that returned `code`: 0, PROGRAM_EXIT_CONFIG or 1. */
int program_exit_status(int code);
