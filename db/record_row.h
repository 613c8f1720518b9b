/* A device's record among the columns of a row. Private to db/. */
#pragma once

#include "db/rows.h"
#include "device/record.h"

/** Of table device `d`, in the order that db_row_record reads them in. */
#define DB_RECORD_COLUMNS                                                                          \
    "d.join_eui, d.mac_version, d.credential, d.ownership, d.service, d.trust,"                    \
    " d.ownership_epoch, d.nonce_epoch, d.home_net_id, d.as_id"
#define DB_N_RECORD_COLUMNS 10

/** All of it but dev_eui, from column `first` on. A name that is none fails the rows. */
void db_row_record(struct db_rows *rows, size_t row, int first, struct device_record *ret);
