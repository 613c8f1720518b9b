/* A device's record among the columns of a row. Private to db/. */
#pragma once

#include "db/rows.h"
#include "device/record.h"

/** Of table device `d`, in the order that db_row_record reads them in. */
#define DB_RECORD_COLUMNS                                                                          \
    "d.join_eui, d.mac_version, d.credential, d.ownership, d.service, d.trust,"                    \
    " d.ownership_epoch, d.nonce_epoch, d.home_net_id, d.as_id, d.roaming"
#define DB_N_RECORD_COLUMNS 11

/** Its test window, of table device `d`; `joins` is the SQL of device_join.test_joins. */
#define DB_TEST_COLUMNS(joins)                                                                     \
    "d.test_net_id, d.test_as_id, d.test_max_joins, d.test_until <= clock_timestamp(), " joins
#define DB_N_TEST_COLUMNS 5
void db_row_test_window(
    struct db_rows *rows, size_t row, int first, struct device_test_window *ret);

/** The first DevEUI that there may be; identifiers below it are Sigfox ids (base/eui.h). */
#define DB_FIRST_DEV_EUI "'\\x0000000100000000'::bytea"

/** What a LoRaWAN device alone has; both columns are null of a Sigfox one. */
void db_row_lorawan(
    struct db_rows *rows, size_t row, int join_eui, int mac_version, struct device_record *ret);

/** All of it but dev_eui and test, from column `first` on. A name that is none fails the rows. */
void db_row_record(struct db_rows *rows, size_t row, int first, struct device_record *ret);
