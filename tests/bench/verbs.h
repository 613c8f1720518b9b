/* The verbs of cradle-bench. Each prints its result as one JSON line, the last, on standard output.
 * They return 0, or a negative code with error_text(); 1: answers were wrong. */
#pragma once

#include "tests/bench/settings.h"

/** Makes the devices in the database, each with sealed keys and ready to join. */
int bench_load_devices(const struct bench_settings *settings);

/** Writes the devices to a file as a maker would send it, their keys in clear. */
int bench_import_file(const struct bench_settings *settings);

/** Joins with all devices against running join servers and checks every answer. Prints the line
 * "begin" when the measured time starts and "end" when it is over, for whoever reads the clocks of
 * other processes. */
int bench_joins(const struct bench_settings *settings);

/** More joins than the join servers can answer: three times their maximum, which is found first,
 * and a modest rate before and after; or with `within` all devices once in so many seconds, and
 * again those that were refused, until all have joined. Answers are checked, and that no refusal
 * has spent a nonce. */
int bench_storm(const struct bench_settings *settings);

/** Claims devices of an import file with codes, each once, and checks every answer; prints "begin"
 * and "end" as bench_joins does. */
int bench_claims(const struct bench_settings *settings);

/** The same acts asked of keyd with nothing around them. */
int bench_keyd_limit(const struct bench_settings *settings);

/** Round trips of requests that are refused, in nanoseconds by why they are. */
int bench_timing(const struct bench_settings *settings);

/** The same of claims. */
int bench_claim_timing(const struct bench_settings *settings);

/** One device joins `tries` times, a DevNonce each, every answer checked; nanoseconds of each join.
 * Before every `in_a_row` of them, and at the end, their number is printed and a line waited for.
 */
int bench_history(const struct bench_settings *settings);

/** Commits as many joins of each device as it is old: so that lists of DevNonces are of all
 * lengths. The join servers must be idle. */
int bench_age_devices(const struct bench_settings *settings);

/** The same rows committed with nothing around them. The join servers must be idle. */
int bench_commit_limit(const struct bench_settings *settings);
