#include "db/peer_names.h"

#include <string.h>

#define NAME_MAX_LEN 24

/* Names of enum values in the tables. */
struct named {
    int value;
    const char *name;
};
static const struct named peer_kinds[] = {
    {PEER_NETWORK_SERVER, "network_server"},
    {PEER_APPLICATION_SERVER, "application_server"},
    {PEER_ORGANIZATION, "organization"},
};
static const struct named kek_classes[] = {
    {KEK_CLASS_NS, "ns"},
    {KEK_CLASS_AS, "as"},
    {KEK_CLASS_TRANSPORT, "transport"},
};
#define N_PEER_KINDS (sizeof(peer_kinds) / sizeof(*peer_kinds))
#define N_KEK_CLASSES (sizeof(kek_classes) / sizeof(*kek_classes))

static const char *name_of(const struct named *names, size_t n_names, int value)
{
    for (size_t i = 0; i < n_names; i++)
        if (names[i].value == value)
            return names[i].name;
    return "";
}

static int read_named(
    struct db_rows *rows, size_t row, int column, const struct named *names, size_t n_names)
{
    char text[NAME_MAX_LEN];

    db_row_text(rows, row, column, text, sizeof(text));
    for (size_t i = 0; i < n_names; i++)
        if (strcmp(names[i].name, text) == 0)
            return names[i].value;
    rows->failed = true;
    return names[0].value;
}

const char *db_peer_kind_name(enum peer_kind kind)
{
    return name_of(peer_kinds, N_PEER_KINDS, (int)kind);
}

enum peer_kind db_row_peer_kind(struct db_rows *rows, size_t row, int column)
{
    return (enum peer_kind)read_named(rows, row, column, peer_kinds, N_PEER_KINDS);
}

enum kek_class db_row_kek_class(struct db_rows *rows, size_t row, int column)
{
    return (enum kek_class)read_named(rows, row, column, kek_classes, N_KEK_CLASSES);
}

void db_param_kek_peer(struct db_params *p, const struct sealed_kek *kek)
{
    db_param_text(p, db_peer_kind_name(kek->peer_kind));
    db_param_text(p, kek->peer_id);
    db_param_text(p, name_of(kek_classes, N_KEK_CLASSES, (int)kek->kek_class));
}

void db_param_route(struct db_params *p, const struct db_join_route *route)
{
    struct eui64 prefix = route->prefix;

    /* One way to write a prefix, so that the same one twice is seen as such. */
    for (unsigned bit = route->prefix_len; bit < 8 * sizeof(prefix.bytes); bit++)
        prefix.bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
    db_param_bytes(p, prefix.bytes, sizeof(prefix.bytes));
    db_param_int(p, DB_INT2, route->prefix_len);
}

static void put_id_or_null(struct db_params *p, int64_t id)
{
    if (id != 0)
        db_param_int(p, DB_INT8, id);
    else
        db_param_null(p, DB_INT8);
}

void db_param_route_target(struct db_params *p, const struct db_join_route *route)
{
    db_param_text(p, db_route_kind_name(route->kind));
    put_id_or_null(p, route->partner_id);
    put_id_or_null(p, route->organization_id);
}

void db_row_route(struct db_rows *rows, size_t row, int column, struct db_join_route *ret)
{
    char kind[NAME_MAX_LEN];

    *ret = (struct db_join_route){0};
    db_row_bytes(rows, row, column, ret->prefix.bytes, sizeof(ret->prefix.bytes));
    ret->prefix_len = (unsigned)db_row_int(rows, row, column + 1, 0, JOIN_ROUTE_BITS_MAX);
    db_row_text(rows, row, column + 2, kind, sizeof(kind));
    if (!db_route_kind_parse(kind, &ret->kind))
        rows->failed = true;
    if (!db_row_is_null(rows, row, column + 3))
        ret->partner_id = db_row_int(rows, row, column + 3, 1, INT64_MAX);
    if (!db_row_is_null(rows, row, column + 4))
        ret->organization_id = db_row_int(rows, row, column + 4, 1, INT64_MAX);
}
