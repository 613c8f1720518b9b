#include "db/hosts.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *keyword;
    size_t at; /* in struct db_host */
} lists[] = {
    {"host", offsetof(struct db_host, host)},
    {"hostaddr", offsetof(struct db_host, hostaddr)},
    {"port", offsetof(struct db_host, port)},
};
#define N_LISTS (sizeof(lists) / sizeof(*lists))
#define PORTS 2 /* the one of them that may say one for all */

static void set(struct db_host *host, size_t list, const char *text)
{
    memcpy((char *)host + lists[list].at, &text, sizeof(text));
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val && *options->val ? options->val : NULL;
    return NULL;
}

static size_t entries(const char *list)
{
    size_t n = list ? 1 : 0;

    for (; list && *list; list++)
        n += *list == ',';
    return n;
}

static bool has_gap(const char *list)
{
    size_t len = list ? strlen(list) : 0;

    return len && (*list == ',' || list[len - 1] == ',' || strstr(list, ",,"));
}

/** Gives each host its part of one list. */
static int deal(struct db_hosts *hosts, size_t list, const char *value)
{
    char *text = strdup(value), *rest = text;

    if (!text)
        return error_set_errno("database");
    hosts->texts[list] = text;
    for (unsigned i = 0; i < hosts->n; i++)
        set(&hosts->hosts[i], list, rest && strchr(value, ',') ? strsep(&rest, ",") : text);
    return 0;
}

static int deal_all(struct db_hosts *hosts, const PQconninfoOption *options)
{
    const char *values[N_LISTS];
    size_t counts[N_LISTS], n;

    for (size_t i = 0; i < N_LISTS; i++) {
        values[i] = value_of(options, lists[i].keyword);
        counts[i] = entries(values[i]);
        if (has_gap(values[i]))
            return 0;
    }
    n = counts[0] ? counts[0] : counts[1];
    if (n < 2 || (counts[0] && counts[1] && counts[0] != counts[1]) ||
        (counts[PORTS] > 1 && counts[PORTS] != n))
        return 0;
    if (n > DB_HOSTS_MAX)
        return error_set(ERROR_CONFIG, "database: a conninfo has at most %d hosts", DB_HOSTS_MAX);
    hosts->n = (unsigned)n;
    for (size_t i = 0; i < N_LISTS; i++) {
        int r = values[i] ? deal(hosts, i, values[i]) : 0;

        if (r < 0)
            return r;
    }
    return 0;
}

int db_hosts_find(const char *conninfo, struct db_hosts *ret)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    struct db_hosts hosts = {0};
    int r = options ? deal_all(&hosts, options) : 0;

    PQconninfoFree(options);
    if (r < 0) {
        db_hosts_done(&hosts);
        return r;
    }
    *ret = hosts;
    return 0;
}

void db_hosts_done(struct db_hosts *hosts)
{
    for (size_t i = 0; i < N_LISTS; i++)
        free(hosts->texts[i]);
    *hosts = (struct db_hosts){0};
}

void db_hosts_next(struct db_hosts *hosts)
{
    if (hosts->n)
        hosts->at = (hosts->at + 1) % hosts->n;
}
