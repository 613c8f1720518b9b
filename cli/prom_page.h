/* What a service answers to GET /metrics (Prometheus's text format, version 0.0.4), read for
 * `cradle top`; pure. The text may be anybody's: nothing in it is believed, and what is no sample
 * is passed over. */
#pragma once

#include "base/cleanup.h"
#include <stdbool.h>
#include <stddef.h>

#define PROM_TEXT_MAX (4u << 20) /* bytes of a page */
#define PROM_SAMPLES_MAX 40000   /* the rest is passed over */
#define PROM_LABEL_MAX 128       /* bytes of a label's value that are read, with a NUL */

/* Its texts are of the page. */
struct prom_sample {
    const char *name;
    const char *labels; /* between the braces, as it came; "" without */
    double value;       /* finite */
};

struct prom_page {
    char *text;                  /* a copy, cut into pieces */
    struct prom_sample *samples; /* by name, then labels */
    size_t n;
};

/** ERROR_INPUT: it is too long, or no page at all (no sample in it). */
int prom_page_read(const char *text, size_t len, struct prom_page *ret) MUST_CHECK;
void prom_page_done(struct prom_page *page);

/** The value of a label, unescaped, cut to fit; false where there is none. */
bool prom_label(
    const struct prom_sample *sample, const char *name, char out[static PROM_LABEL_MAX]);
/** The samples of a name stand together: from *ret_first on; returns how many. */
size_t prom_find(const struct prom_page *page, const char *name, size_t *ret_first);
/** How much a counter has grown since `before` (NULL: it is new there). A counter that is less than
 * it was has begun at 0 again: its service was restarted. */
double prom_growth(const struct prom_page *before, const struct prom_sample *now);

/** The quantile `q` (0..1) of a histogram, as histogram_quantile() of Prometheus has it: linear
 * within a bucket, and the highest bound where it lies beyond. `bounds` rise, the last is +Inf
 * (HUGE_VAL); `counts` are cumulative. Negative: nothing was counted. */
double prom_quantile(double q, const double *bounds, const double *counts, size_t n);
