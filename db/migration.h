/* The migrations compiled into the program (made by scripts/embed-sql). Private to db/. */
#pragma once

#include <stddef.h>

struct db_migration {
    int number;
    const char *name;
    const char *checksum; /* SHA-256 of the text, lower-case hex */
    const char *text;
};

extern const struct db_migration db_migrations[];
extern const size_t db_n_migrations;
