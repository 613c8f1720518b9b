#include "cli/prom_page.h"

#include "base/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:"

static int compare(const void *a, const void *b)
{
    const struct prom_sample *x = a, *y = b;
    const int by_name = strcmp(x->name, y->name);

    return by_name != 0 ? by_name : strcmp(x->labels, y->labels);
}

/* Where the labels end: at a brace outside of quotes. NULL: nowhere. */
static char *labels_end(char *at)
{
    bool quoted = false;

    for (; *at != '\0'; at++) {
        if (quoted && *at == '\\' && at[1] != '\0')
            at++;
        else if (*at == '"')
            quoted = !quoted;
        else if (*at == '}' && !quoted)
            return at;
    }
    return NULL;
}

/* A line without its end, which is cut up. */
static bool read_sample(char *line, struct prom_sample *ret)
{
    char *at = line + strspn(line, NAME_CHARACTERS);
    char *end, *name_end = at;

    if (at == line)
        return false;
    ret->name = line;
    ret->labels = "";
    if (*at == '{') {
        if ((end = labels_end(at + 1)) == NULL)
            return false;
        ret->labels = at + 1;
        *end = '\0';
        at = end + 1;
    }
    if (*at != ' ' && *at != '\t')
        return false;
    *name_end = '\0';
    ret->value = strtod(at + 1, &end);
    return end != at + 1 && isfinite(ret->value);
}

/* Lines, at most as many as are read. */
static size_t count_lines(const char *text, size_t len)
{
    const char *const end = text + len;
    size_t n = 1;

    while (n < PROM_SAMPLES_MAX && (text = memchr(text, '\n', (size_t)(end - text))) != NULL) {
        text++;
        n++;
    }
    return n;
}

int prom_page_read(const char *text, size_t len, struct prom_page *ret)
{
    CLEANUP(prom_page_done) struct prom_page page = {0};
    const size_t n_max = count_lines(text, len);
    char *rest, *line;

    if (len > PROM_TEXT_MAX)
        return error_set(ERROR_INPUT, "more than %u bytes of metrics", PROM_TEXT_MAX);
    page.text = malloc(len + 1);
    page.samples = calloc(n_max, sizeof(*page.samples));
    if (page.text == NULL || page.samples == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for metrics");
    memcpy(page.text, text, len);
    page.text[len] = '\0';
    for (line = strtok_r(page.text, "\n", &rest); line != NULL && page.n < n_max;
         line = strtok_r(NULL, "\n", &rest))
        if (line[0] != '#' && read_sample(line, &page.samples[page.n]))
            page.n++;
    if (page.n == 0)
        return error_set(ERROR_INPUT, "what was answered is no page of metrics");
    qsort(page.samples, page.n, sizeof(*page.samples), compare);
    *ret = page;
    page = (struct prom_page){0};
    return 0;
}

void prom_page_done(struct prom_page *page)
{
    free(page->text);
    free(page->samples);
    *page = (struct prom_page){0};
}

/* One value in quotes, from behind the first of them; returns where it ends. */
static const char *read_value(const char *at, char out[static PROM_LABEL_MAX])
{
    size_t n = 0;

    for (; *at != '\0' && *at != '"'; at++) {
        char c = *at;

        if (c == '\\' && at[1] != '\0') {
            at++;
            c = *at == 'n' ? '\n' : *at;
        }
        if (n < PROM_LABEL_MAX - 1)
            out[n++] = c;
    }
    out[n] = '\0';
    return *at == '"' ? at + 1 : at;
}

bool prom_label(const struct prom_sample *sample, const char *name, char out[static PROM_LABEL_MAX])
{
    const size_t name_len = strlen(name);
    const char *at = sample->labels;

    for (;;) {
        const char *begin = at += strspn(at, ", ");
        const size_t len = strspn(at, NAME_CHARACTERS);

        at += len;
        if (len == 0 || at[0] != '=' || at[1] != '"')
            break;
        at = read_value(at + 2, out);
        if (len == name_len && memcmp(begin, name, len) == 0)
            return true;
    }
    out[0] = '\0';
    return false;
}

size_t prom_find(const struct prom_page *page, const char *name, size_t *ret_first)
{
    size_t low = 0, high = page->n, n = 0;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (strcmp(page->samples[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + n < page->n && strcmp(page->samples[low + n].name, name) == 0)
        n++;
    *ret_first = low;
    return n;
}

double prom_growth(const struct prom_page *before, const struct prom_sample *now)
{
    const struct prom_sample *then =
        before != NULL && before->n > 0
            ? bsearch(now, before->samples, before->n, sizeof(*before->samples), compare)
            : NULL;

    if (now->value < 0)
        return 0;
    return then == NULL || then->value < 0 || now->value < then->value ? now->value
                                                                       : now->value - then->value;
}

double prom_quantile(double q, const double *bounds, const double *counts, size_t n)
{
    const double total = n > 0 ? counts[n - 1] : 0;
    const double rank = q * total;
    size_t i = 0;
    double below, from;

    if (n < 2 || !(total > 0))
        return -1;
    while (i < n - 1 && counts[i] < rank)
        i++;
    if (i == n - 1)
        return bounds[n - 2];
    below = i > 0 ? counts[i - 1] : 0;
    from = i > 0 ? bounds[i - 1] : 0;
    return counts[i] > below ? from + (bounds[i] - from) * (rank - below) / (counts[i] - below)
                             : bounds[i];
}
