/* Devices that a file brings, and the clients who bring them. */
#include "db/account.h"
#include "db/batch.h"
#include "db/eui_block.h"
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

#define N_OF_BLOCK 7 /* before it, first, inside, last, behind it, a Sigfox id, and one far off */
#define SIGFOX_OF_BLOCK 5

static void add_block(int64_t organization, struct eui64 first, enum device_kind kind)
{
    struct db_eui_block block = {
        .organization_id = organization, .kind = kind, .first = first, .size = 10};

    ck_ok(db_eui_block_add(activation, &block));
    if (kind == DEVICE_SIGFOX) /* open or closed, it is its maker's */
        ck_ok(db_eui_block_close(activation, block.row_id));
}

/* Rows around the block from 20 to 29, behind which lies the importer's own. */
static void rows_around(struct db_batch_row rows[static N_OF_BLOCK])
{
    static const uint32_t numbers[N_OF_BLOCK] = {19, 20, 25, 29, 40, 0, 1000};

    for (size_t i = 0; i < N_OF_BLOCK; i++) {
        rows[i] = (struct db_batch_row){.record = {.dev_eui = eui_of(numbers[i]),
                                            .mac_version = LW_MAC_1_0_2,
                                            .credential = CREDENTIAL_ACTIVABLE},
            .line = (int64_t)i + 1,
            .last_dev_nonce = DEVICE_NO_NONCE,
            .app = {.sealed = {.kek_label = "store-device.1", .blob_len = 24}}};
        if (i == SIGFOX_OF_BLOCK)
            rows[i].record.dev_eui = (struct eui64){{0, 0, 0, 0, 0x1f, 0, 0, 9}};
    }
}

START_TEST(what_lies_in_anothers_block_is_taken_though_no_device_is_there)
{
    static const enum db_batch_outcome of_anothers[N_OF_BLOCK] = {
        [1] = DB_BATCH_TAKEN, DB_BATCH_TAKEN, DB_BATCH_TAKEN, [SIGFOX_OF_BLOCK] = DB_BATCH_TAKEN};
    static const struct eui64 sigfox = {{0, 0, 0, 0, 0x1f, 0, 0, 0}};
    struct db_client maker = {.id = {1}, .organization = "maker"};
    struct db_client other = {.id = {2}, .organization = "other"};
    struct db_batch_row rows[N_OF_BLOCK];
    enum db_batch_outcome outcomes[N_OF_BLOCK];
    int64_t batch = 0;

    ck_ok(db_client_add(activation, &maker));
    ck_ok(db_client_add(activation, &other));
    add_block(maker.organization_id, eui_of(20), DEVICE_LORAWAN);
    add_block(maker.organization_id, sigfox, DEVICE_SIGFOX);
    add_block(other.organization_id, eui_of(30), DEVICE_LORAWAN);
    rows_around(rows);
    ck_ok(db_batch_begin(activation, other.organization_id, "csv", &batch));
    ck_ok(db_batch_foresee(activation, other.organization_id, rows, N_OF_BLOCK, outcomes));
    ck_assert_mem_eq(outcomes, of_anothers, sizeof(outcomes));
    ck_ok(db_batch_insert(activation, batch, other.organization_id, rows, N_OF_BLOCK, outcomes));
    ck_assert_mem_eq(outcomes, of_anothers, sizeof(outcomes));
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM device"), 3);

    /* Its maker makes them; and then they are there for the other one as any device is. */
    ck_ok(db_batch_begin(activation, maker.organization_id, "csv", &batch));
    ck_ok(db_batch_insert(activation, batch, maker.organization_id, rows + 1, 3, outcomes));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(outcomes[i], DB_BATCH_CREATED);
    ck_ok(db_batch_foresee(activation, maker.organization_id, rows + 1, 3, outcomes));
    ck_assert_int_eq(outcomes[0], DB_BATCH_EXISTS);
    ck_ok(db_batch_foresee(activation, other.organization_id, rows + 1, 3, outcomes));
    ck_assert_int_eq(outcomes[0], DB_BATCH_TAKEN);
}
END_TEST

START_TEST(what_was_there_before_the_block_stays_its_organization_s)
{
    struct db_client maker = {.id = {1}, .organization = "maker"};
    struct db_client other = {.id = {2}, .organization = "other"};
    struct db_batch_row rows[N_OF_BLOCK];
    enum db_batch_outcome outcomes[2];
    int64_t batch = 0;

    ck_ok(db_client_add(activation, &maker));
    ck_ok(db_client_add(activation, &other));
    rows_around(rows);
    ck_ok(db_batch_begin(activation, other.organization_id, "csv", &batch));
    ck_ok(db_batch_insert(activation, batch, other.organization_id, rows + 1, 1, outcomes));
    add_block(maker.organization_id, rows[1].record.dev_eui, DEVICE_LORAWAN);
    ck_ok(db_batch_insert(activation, batch, other.organization_id, rows + 1, 2, outcomes));
    ck_assert_int_eq(outcomes[0], DB_BATCH_EXISTS);
    ck_assert_int_eq(outcomes[1], DB_BATCH_TAKEN);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, client_is_found_with_its_organization);
    tcase_add_test(tcase, batch_makes_each_new_device_once);
    tcase_add_test(tcase, batch_that_fails_leaves_nothing_of_it);
    tcase_add_test(tcase, what_lies_in_anothers_block_is_taken_though_no_device_is_there);
    tcase_add_test(tcase, what_was_there_before_the_block_stays_its_organization_s);
}

int main(void)
{
    return run_suite("db batch", add);
}
