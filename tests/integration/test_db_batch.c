/* Devices that a file brings, and the clients who bring them. */
#include "db/account.h"
#include "db/batch.h"
#include "tests/integration/db_fixture.h"

static struct db *activation;

static void setup(void)
{
    activation = open_as("cradle_activation");
}

static void teardown(void)
{
    db_close(activation);
}

START_TEST(client_is_found_with_its_organization)
{
    struct db_client first = {
        .id = {1}, .organization = "maker", .roles = ROLES_MAKER, .secret_hash = {9}};
    struct db_client second = {.id = {2}, .organization = "maker", .roles = ROLE_ADMIN};
    struct db_client found;
    uint8_t unknown[ACCOUNT_ID_LEN] = {3};

    ck_ok(db_client_add(activation, &first));
    ck_ok(db_client_add(activation, &second));
    ck_assert_int_eq(first.organization_id, second.organization_id);
    ck_ok(db_client_find(activation, first.id, &found));
    ck_assert_mem_eq(found.id, first.id, ACCOUNT_ID_LEN);
    ck_assert_int_eq(found.organization_id, first.organization_id);
    ck_assert_str_eq(found.organization, "maker");
    ck_assert_uint_eq(found.roles, ROLES_MAKER);
    ck_assert_uint_eq(found.secret_hash[0], 9);
    ck_assert(!found.revoked);
    pg_sql(cluster, database, "UPDATE client SET revoked_at = now()");
    ck_ok(db_client_find(activation, first.id, &found));
    ck_assert(found.revoked);
    ck_assert_int_eq(db_client_find(activation, unknown, &found), 1);
}
END_TEST

START_TEST(batch_makes_each_new_device_once)
{
    struct db_client client = {.id = {1}, .organization = "maker"};
    struct db_batch_row rows[4] = {0};
    enum db_batch_outcome outcomes[4];
    int64_t batch = 0;

    make_devices(1, 1, LW_MAC_1_0_3);
    ck_ok(db_client_add(activation, &client));
    ck_ok(db_batch_begin(activation, client.organization_id, "csv", &batch));
    for (int i = 0; i < 4; i++)
        rows[i] = (struct db_batch_row){.record = {.dev_eui = eui_of((uint32_t[]){9, 1, 9, 5}[i]),
                                            .mac_version = LW_MAC_1_0_2,
                                            .credential = CREDENTIAL_ACTIVABLE},
            .line = i + 1,
            .last_dev_nonce = DEVICE_NO_NONCE,
            .app = {.sealed = {
                        .kek_label = "store-device.1", .blob_len = 24, .tag = {(uint8_t)(i + 1)}}}};
    ck_ok(db_batch_insert(activation, batch, client.organization_id, rows, 4, outcomes));
    ck_assert_int_eq(outcomes[0], DB_BATCH_CREATED);
    ck_assert_int_eq(outcomes[1], DB_BATCH_EXISTS);
    ck_assert_int_eq(outcomes[2], DB_BATCH_EXISTS);
    ck_assert_int_eq(outcomes[3], DB_BATCH_CREATED);
    ck_ok(db_batch_finish(activation, batch, 2, 2));
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM device"), 3);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM device_key"), 3);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM device_join"), 3);
    /* The first of two rows is the one that counts, and no device is owned that was not claimed. */
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT get_byte(tag, 0) FROM device_key WHERE dev_eui ="
                         " '\\x70b3d50000000009'"),
        1);
    ck_assert_int_eq(
        pg_number(cluster, database, "SELECT count(*) FROM device WHERE owner_id IS NULL"), 2);
    ck_assert_int_eq(
        pg_number(cluster, database,
            "SELECT count(*) FROM batch WHERE finished_at IS NOT NULL AND n_created = 2"
            " AND n_refused = 2"),
        1);
}
END_TEST

START_TEST(batch_that_fails_leaves_nothing_of_it)
{
    struct db_client client = {.id = {1}, .organization = "maker"};
    struct db_batch_row rows[2] = {0};
    enum db_batch_outcome outcomes[2];
    int64_t batch = 0;

    ck_ok(db_client_add(activation, &client));
    ck_ok(db_batch_begin(activation, client.organization_id, "csv", &batch));
    for (uint32_t i = 0; i < 2; i++)
        rows[i] = (struct db_batch_row){.record = {.dev_eui = eui_of(i)},
            .line = i + 1,
            .last_dev_nonce = DEVICE_NO_NONCE,
            .app = {.sealed = {.kek_label = "store-device.1", .blob_len = i ? 25 : 24}}};
    ck_assert_int_eq(
        db_batch_insert(activation, batch, client.organization_id, rows, 2, outcomes), ERROR_DB);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM device"), 0);
    rows[1].app.sealed.blob_len = 24;
    ck_ok(db_batch_insert(activation, batch, client.organization_id, rows, 2, outcomes));
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, client_is_found_with_its_organization);
    tcase_add_test(tcase, batch_makes_each_new_device_once);
    tcase_add_test(tcase, batch_that_fails_leaves_nothing_of_it);
}

int main(void)
{
    return run_suite("db batch", add);
}
