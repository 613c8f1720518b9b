/* The hosts of a conninfo, to be tried one at a time. Private to db/.
 *
 * libpq tries a list of hosts by itself, but with the calls that do not block it never leaves a
 * host that is silent: of `host=a,b` a frozen `a` would keep us from `b` for as long as it is
 * frozen. So each host is given a time of its own, and the one that served last is first. */
#pragma once

#include "base/error.h"

#define DB_HOSTS_MAX 16

/** What is put in the place of the conninfo's own; NULL: it says nothing. */
struct db_host {
    const char *host, *hostaddr, *port;
};

struct db_hosts {
    char *texts[3]; /* owned: what the hosts point into */
    struct db_host hosts[DB_HOSTS_MAX];
    unsigned n;      /* 0: not a list, or one that libpq has to judge: the conninfo goes as it is */
    unsigned at;     /* the host to begin with */
    unsigned trying; /* the one that is connected to, or was last */
};

/** Of a conninfo, a string or a URI. ERROR_CONFIG: more than DB_HOSTS_MAX. A list that cannot be
 * dealt out (not as many ports as hosts, nor one; a gap) is none: libpq judges it as it is. */
int db_hosts_find(const char *conninfo, struct db_hosts *ret);
void db_hosts_done(struct db_hosts *hosts);

/** The next one is to be tried first: this one was silent. */
void db_hosts_next(struct db_hosts *hosts);
