/* What an import file says, row by row, before anything of it is sealed or stored: keys in clear
 * stand here and nowhere else, in memory that is wiped when it is given back. */
#pragma once

#include "base/sealed.h"
#include "base/secret.h"
#include "lorawan/types.h"

#define IMPORT_ROWS_MAX 10000 /* data rows of one file */

/** Why a row is refused. Each has a stable code, the field at fault and a sentence. */
enum import_fault {
    IMPORT_FAULT_NONE,
    IMPORT_FAULT_DIRECTIVE,
    IMPORT_FAULT_FIELDS,
    IMPORT_FAULT_DEV_EUI,
    IMPORT_FAULT_JOIN_EUI,
    IMPORT_FAULT_APP_KEY,
    IMPORT_FAULT_NWK_KEY,
    IMPORT_FAULT_MAC_VERSION,
    IMPORT_FAULT_HOME_NET_ID,
    IMPORT_FAULT_AS_ID,
    IMPORT_FAULT_NO_DEV_EUI,
    IMPORT_FAULT_NO_JOIN_EUI,
    IMPORT_FAULT_NO_KEY,
    IMPORT_FAULT_NO_APP_KEY,
    IMPORT_FAULT_NO_NWK_KEY,
    IMPORT_FAULT_NO_MAC_VERSION,
    IMPORT_FAULT_TWO_KEYS,
    IMPORT_FAULT_NO_HOME_NET_ID,
    IMPORT_FAULT_NO_AS_ID,
    IMPORT_FAULT_UNKNOWN_HOME,
    IMPORT_FAULT_UNKNOWN_AS,
    IMPORT_FAULT_REPEATED_DEV_EUI,
    N_IMPORT_FAULTS
};

/** What is remarkable in a row that is taken all the same; bits of import_row.warnings. */
enum import_warning {
    IMPORT_WARN_DUPLICATE_KEY,
    IMPORT_WARN_WEAK_KEY,
    IMPORT_WARN_NOT_ROUTED,
    IMPORT_WARN_BOM,
    N_IMPORT_WARNINGS
};

#define IMPORT_NO_GROUP UINT32_MAX

struct import_row {
    unsigned line; /* physical line where the row begins, from 1 */
    enum import_fault fault;
    unsigned warnings; /* 1u << enum import_warning */
    bool has_dev_eui, has_join_eui, has_app, has_nwk, has_mac_version, has_home_net_id;
    struct eui64 dev_eui;
    struct eui64 join_eui;
    struct secret_key app, nwk; /* once checked: the keys of the slots APP and NWK */
    enum lw_mac_version mac_version;
    struct net_id home_net_id;
    char as_id[PEER_ID_MAX + 1]; /* "" without one */
    uint32_t key_group;          /* of rows sharing a key, or IMPORT_NO_GROUP */
};

/** The rows of a file, and which of them share a key. */
struct import_file {
    struct import_row *rows; /* of secret_realloc */
    size_t n_rows, capacity;
    uint32_t *group_rows; /* row numbers: rows of group 0, of group 1, ... */
    uint32_t *group_ends; /* the end of each group in group_rows */
    size_t n_groups;
};

/** Wipes and frees everything. */
void import_file_done(struct import_file *file);
/** One more row, all zero but its line; NULL without memory. */
struct import_row *import_file_add(struct import_file *file, unsigned line);

const char *import_fault_code(enum import_fault fault);
const char *import_fault_field(enum import_fault fault);
const char *import_fault_detail(enum import_fault fault);
const char *import_warning_type(enum import_warning warning);
