/* A name server for tests (name_server.py): Knot DNS on loopback, with zones that are really
 * signed. Faults end the test. */
#pragma once

#include <stddef.h>

struct names;

/** `zones`: "zone NAME HOW MINIMUM" and its records, lines, as name_server.py says. */
struct names *names_start(const char *zones);
/** Zones again, with other records; they are served when it returns. */
void names_set(struct names *names, const char *zones);
/** As libunbound wants it, "127.0.0.1@PORT". */
const char *names_address(const struct names *names);
/** The file of DS records. */
const char *names_trust_anchor(const struct names *names);
void names_stop(struct names *names);
