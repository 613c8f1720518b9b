#include "tests/integration/db_fixture.h"

#include "base/clock.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEST_TIMEOUT_S 100
#define PATIENCE_MS 20000

struct pg_cluster *cluster;
char database[32];

void cluster_up(void)
{
    ck_assert_int_eq(pg_cluster_start(&cluster), 0);
}

void cluster_down(void)
{
    pg_cluster_stop(cluster);
    cluster = NULL;
}

void clone_up(void)
{
    static unsigned n_clones;

    snprintf(database, sizeof(database), "test_%u", ++n_clones);
    ck_assert_int_eq(pg_clone(cluster, database), 0);
}

struct db *open_as(const char *role)
{
    char conninfo[PG_CONNINFO_MAX];
    struct db_config config = {.conninfo = pg_conninfo(cluster, database, role, conninfo),
        .program = "test",
        .statement_ms = 30000};
    struct db *db = NULL;

    ck_ok(db_open(&config, &db));
    return db;
}

struct eui64 eui_of(uint32_t number)
{
    struct eui64 eui = {{0x70, 0xb3, 0xd5, 0, (uint8_t)(number >> 24), (uint8_t)(number >> 16),
        (uint8_t)(number >> 8), (uint8_t)number}};

    return eui;
}

static struct db_batch_row row_of(uint32_t number, enum lw_mac_version version)
{
    struct db_batch_row row = {
        .record = {.dev_eui = eui_of(number),
            .join_eui = {{0x70, 0xb3, 0xd5, 0xff, 0, 0, 0, 1}},
            .mac_version = version,
            .credential = CREDENTIAL_ACTIVABLE,
            .ownership = OWNERSHIP_CLAIMED,
            .service = SERVICE_ACTIVE,
            .trust = TRUST_OK,
            .ownership_epoch = 1,
            .has_home_net_id = true,
            .home_net_id = {{0, 0, 0x13}},
            .as_id = "demo-as"},
        .line = number + 1,
        .app = {.sealed = {.kek_label = "store-device.1", .blob_len = 24}},
        .has_nwk = version == LW_MAC_1_1,
        .last_dev_nonce = DEVICE_NO_NONCE,
    };

    memset(row.app.sealed.blob, (int)(number & 0xff), row.app.sealed.blob_len);
    memset(row.app.sealed.tag, 0xa0, sizeof(row.app.sealed.tag));
    row.nwk = row.app;
    memset(row.nwk.sealed.tag, 0xb0, sizeof(row.nwk.sealed.tag));
    return row;
}

void make_devices(uint32_t first, uint32_t n, enum lw_mac_version version)
{
    CLEANUP(db_cleanup) struct db *db = open_as("cradle_activation");
    static struct db_batch_row rows[DB_BATCH_ROWS_MAX];
    static enum db_batch_outcome outcomes[DB_BATCH_ROWS_MAX];
    int64_t organization, batch = 0;

    ck_assert_int_eq(pg_sql(cluster, database,
                         "INSERT INTO organization (name) VALUES ('maker') ON CONFLICT DO NOTHING"),
        0);
    organization = pg_number(cluster, database, "SELECT id FROM organization WHERE name = 'maker'");
    ck_ok(db_batch_begin(db, organization, "csv", &batch));
    for (uint32_t at = 0; at < n; at += DB_BATCH_ROWS_MAX) {
        uint32_t m = n - at < DB_BATCH_ROWS_MAX ? n - at : DB_BATCH_ROWS_MAX;

        for (uint32_t i = 0; i < m; i++)
            rows[i] = row_of(first + at + i, version);
        ck_ok(db_batch_insert(db, batch, organization, rows, m, outcomes));
        for (uint32_t i = 0; i < m; i++)
            ck_assert_int_eq(outcomes[i], DB_BATCH_CREATED);
    }
    ck_ok(db_batch_finish(db, batch, n, 0));
}

struct db_join_row load_one(struct db *db, uint32_t number, uint16_t dev_nonce)
{
    struct db_join_key key = {.dev_eui = eui_of(number), .dev_nonce = dev_nonce};
    struct db_join_row row;

    ck_ok(db_join_load(db, &key, 1, &row));
    return row;
}

struct db_join_commit commit_of(const struct db_join_row *row, uint16_t dev_nonce, bool counted)
{
    struct db_join_commit c = {
        .dev_eui = row->record.dev_eui,
        .join_eui = row->record.join_eui,
        .air_join_eui = row->record.join_eui,
        .old_join_nonce = row->state.join_nonce,
        .new_join_nonce = row->state.join_nonce + row->state.join_nonce_gap + 1,
        .gate_rev = row->state.gate_rev,
        .nonce_epoch = row->record.nonce_epoch,
        .join_type = LW_JOIN,
        .proved = DB_JOIN_NONE_PROVED,
        .jump_from = DEVICE_NO_NONCE,
        .counted = counted,
        .dev_nonce = dev_nonce,
        .sender_id = "000013",
        .peer_id = 1,
        .net_id = {{0, 0, 0x13}},
        .dev_addr = {{0x26, 1, 2, 3}},
        .ownership_epoch = row->record.ownership_epoch,
    };

    memset(c.fingerprint, dev_nonce & 0xff, sizeof(c.fingerprint));
    return c;
}

int64_t n_dev_nonces(void)
{
    return pg_number(cluster, database,
        "SELECT (SELECT coalesce(sum(bit_count(bits)), 0) FROM dev_nonce_page)"
        " + (SELECT coalesce(sum(octet_length(recent_nonces) / 2), 0) FROM device_join)");
}

void wait_until(const char *sql)
{
    const int64_t deadline = clock_monotonic_ms() + PATIENCE_MS;

    while (pg_number(cluster, database, sql) != 1) {
        ck_assert_msg(clock_monotonic_ms() < deadline, "in vain: %s", sql);
        sched_yield();
    }
}

int run_suite(const char *name, void (*add)(TCase *tcase))
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner;
    int n_failed;

    tcase_add_unchecked_fixture(tcase, cluster_up, cluster_down);
    tcase_add_checked_fixture(tcase, clone_up, NULL);
    tcase_set_timeout(tcase, TEST_TIMEOUT_S);
    add(tcase);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    /* libpq and the cluster belong to this process and its threads. */
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
