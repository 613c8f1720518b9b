#include "db/record_row.h"

#include <string.h>

#define MAC_VERSION_MAX 8
#define STATE_NAME_MAX 16

enum record_column {
    JOIN_EUI,
    MAC_VERSION,
    CREDENTIAL,
    OWNERSHIP,
    SERVICE,
    TRUST,
    OWNERSHIP_EPOCH,
    NONCE_EPOCH,
    HOME_NET_ID,
    AS_ID,
    ROAMING,
    N_RECORD_COLUMNS
};
_Static_assert((int)N_RECORD_COLUMNS == DB_N_RECORD_COLUMNS, "the header says another number");

void db_row_lorawan(
    struct db_rows *rows, size_t row, int join_eui, int mac_version, struct device_record *ret)
{
    char version[MAC_VERSION_MAX];

    memset(&ret->join_eui, 0, sizeof(ret->join_eui));
    ret->mac_version = LW_MAC_1_0_0;
    if (db_row_is_null(rows, row, mac_version))
        return;
    db_row_bytes(rows, row, join_eui, ret->join_eui.bytes, sizeof(ret->join_eui.bytes));
    db_row_text(rows, row, mac_version, version, sizeof(version));
    if (!lw_mac_version_parse(version, &ret->mac_version))
        rows->failed = true;
}

static void read_roaming(struct db_rows *rows, size_t row, int column, struct device_roaming *ret)
{
    size_t len;

    *ret = (struct device_roaming){.narrowed = !db_row_is_null(rows, row, column)};
    if (!ret->narrowed)
        return;
    len = db_row_bytes_upto(rows, row, column, ret->net_ids, sizeof(ret->net_ids));
    ret->n = (uint8_t)(len / sizeof(ret->net_ids[0]));
}

void db_row_record(struct db_rows *rows, size_t row, int first, struct device_record *ret)
{
    char credential[STATE_NAME_MAX], ownership[STATE_NAME_MAX], service[STATE_NAME_MAX],
        trust[STATE_NAME_MAX];

    db_row_lorawan(rows, row, first + JOIN_EUI, first + MAC_VERSION, ret);
    db_row_text(rows, row, first + CREDENTIAL, credential, sizeof(credential));
    db_row_text(rows, row, first + OWNERSHIP, ownership, sizeof(ownership));
    db_row_text(rows, row, first + SERVICE, service, sizeof(service));
    db_row_text(rows, row, first + TRUST, trust, sizeof(trust));
    if (!device_credential_parse(credential, &ret->credential) ||
        !device_ownership_parse(ownership, &ret->ownership) ||
        !device_service_parse(service, &ret->service) || !device_trust_parse(trust, &ret->trust))
        rows->failed = true;
    ret->ownership_epoch = (uint32_t)db_row_int(rows, row, first + OWNERSHIP_EPOCH, 0, UINT32_MAX);
    ret->nonce_epoch = (uint32_t)db_row_int(rows, row, first + NONCE_EPOCH, 0, UINT32_MAX);
    ret->has_home_net_id = !db_row_is_null(rows, row, first + HOME_NET_ID);
    if (ret->has_home_net_id)
        db_row_bytes(
            rows, row, first + HOME_NET_ID, ret->home_net_id.bytes, sizeof(ret->home_net_id.bytes));
    db_row_text(rows, row, first + AS_ID, ret->as_id, sizeof(ret->as_id));
    read_roaming(rows, row, first + ROAMING, &ret->roaming);
}

enum test_column {
    TEST_NET_ID,
    TEST_AS_ID,
    TEST_MAX_JOINS,
    TEST_EXPIRED,
    TEST_JOINS,
    N_TEST_COLUMNS
};
_Static_assert((int)N_TEST_COLUMNS == DB_N_TEST_COLUMNS, "the header says another number");

void db_row_test_window(struct db_rows *rows, size_t row, int first, struct device_test_window *ret)
{
    ret->present = !db_row_is_null(rows, row, first + TEST_NET_ID);
    if (!ret->present)
        return;
    db_row_bytes(rows, row, first + TEST_NET_ID, ret->net_id.bytes, sizeof(ret->net_id.bytes));
    db_row_text(rows, row, first + TEST_AS_ID, ret->as_id, sizeof(ret->as_id));
    ret->max_joins = (uint16_t)db_row_int(rows, row, first + TEST_MAX_JOINS, 1, INT16_MAX);
    ret->expired = db_row_bool(rows, row, first + TEST_EXPIRED);
    if (!db_row_is_null(rows, row, first + TEST_JOINS))
        ret->joins = (uint16_t)db_row_int(rows, row, first + TEST_JOINS, 0, INT16_MAX);
}
