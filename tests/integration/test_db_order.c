#include "db/batch_view.h"
#include "db/order.h"

#include "tests/integration/db_fixture.h"
#include <pthread.h>
#include <string.h>

#define N_RACERS 12
#define N_OF_ONE 7 /* identifiers that a racer wants */
#define FIRST 0x70b3d57ed0000000
#define JOIN_EUI                                                                                   \
    {                                                                                              \
        {                                                                                          \
            0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 1                                                  \
        }                                                                                          \
    }
#define PROFILE_ID_LAST 4

static struct db *db;
static int64_t maker;
static uint8_t asker[ACCOUNT_ID_LEN] = {1}, other[ACCOUNT_ID_LEN] = {2};
static struct db_certificate module;

static int64_t number_of(const char *sql)
{
    return pg_number(cluster, database, sql);
}

static struct eui64 eui(uint64_t value)
{
    static const struct eui64 zero;

    return db_eui_block_at(&zero, (int64_t)value);
}

static void add_client(const uint8_t *id, const char *organization)
{
    struct db_client client = {.roles = ROLES_MAKER};

    memcpy(client.id, id, sizeof(client.id));
    (void)strncpy(client.organization, organization, sizeof(client.organization) - 1);
    ck_ok(db_client_add(db, &client));
    maker = client.organization_id;
}

/* A maker with two clients and the certificate of a module. */
static void begin(void)
{
    db = open_as("cradle_activation");
    add_client(other, "a maker");
    add_client(asker, "a maker");
    module = (struct db_certificate){
        .number = "M_0123_4567_89", .organization_id = maker, .name = "a module"};
    ck_ok(db_certificate_add(db, &module));
}

static void end(void)
{
    db_close(db);
    db = NULL;
}

static struct db_eui_block add_block(uint64_t first, int64_t size)
{
    struct db_eui_block block = {
        .organization_id = maker, .kind = DEVICE_LORAWAN, .first = eui(first), .size = size};

    ck_ok(db_eui_block_add(db, &block));
    return block;
}

static struct db_order_wish wish_of(int64_t n)
{
    return (struct db_order_wish){
        .organization_id = maker,
        .client_id = asker,
        .module_id = module.row_id,
        .kind = DEVICE_LORAWAN,
        .n = n,
        .join_eui = JOIN_EUI,
        .mac_version = LW_MAC_1_1,
        .delivery = ORDER_JWE,
        .public_key = "a key",
        .key_digest = {1, 2, 3},
        .code_length = 16,
        .request_id = "asking",
    };
}

static struct db_batch add_order(struct db *with, const struct db_order_wish *wish)
{
    uint8_t id[ACCOUNT_ID_LEN];
    struct db_batch batch;

    ck_ok(db_order_add(with, wish, id));
    ck_ok(db_batch_find(with, id, &batch));
    return batch;
}

/* In a transaction that ends as the outcome wants. */
static int begin_order(
    struct db *with, const struct db_batch *batch, const uint8_t *decided_by, int64_t *ret_left)
{
    int r;

    ck_ok(db_begin(with));
    r = db_order_begin(with, batch->row_id, decided_by, "begun", ret_left);
    if (r == 0)
        ck_ok(db_commit(with));
    else
        db_rollback(with);
    return r;
}

static struct db_batch look_at(const struct db_batch *batch)
{
    struct db_batch now;

    ck_ok(db_batch_find(db, batch->id, &now));
    return now;
}

START_TEST(an_order_is_seen_as_it_was_asked_for)
{
    static const uint8_t profile_id[DB_ORDER_PROFILE_ID_LEN] = {1, 2, 3, PROFILE_ID_LAST};
    struct db_order_wish wish;
    struct db_batch batch;

    begin();
    wish = wish_of(3);
    wish.profile_id = profile_id;
    batch = add_order(db, &wish);
    ck_assert(batch.is_order && !batch.has_job);
    ck_assert_int_eq(batch.organization_id, maker);
    ck_assert_str_eq(batch.format, DB_ORDER_FORMAT);
    ck_assert_str_eq(batch.order.certificate, module.number);
    ck_assert_int_eq(batch.order.n, 3);
    ck_assert_int_eq(batch.order.kind, DEVICE_LORAWAN);
    ck_assert(!batch.order.is_given && !batch.order.is_decided);
    ck_assert_mem_eq(&batch.order.join_eui, &wish.join_eui, sizeof(wish.join_eui));
    ck_assert_int_eq(batch.order.mac_version, LW_MAC_1_1);
    ck_assert(batch.order.has_profile_id);
    ck_assert_mem_eq(batch.order.profile_id, profile_id, sizeof(profile_id));
    ck_assert_int_eq(batch.order.delivery, ORDER_JWE);
    ck_assert_uint_eq(batch.order.code_length, 16);
    ck_assert_mem_eq(batch.order.key_digest, wish.key_digest, sizeof(wish.key_digest));
    ck_assert_int_eq(batch.order.state, ORDER_REQUESTED);
    ck_assert_mem_eq(batch.order.asked_by, asker, sizeof(asker));
    ck_assert_int_eq(number_of("SELECT count(*) FROM job"), 0);
    end();
}
END_TEST

START_TEST(what_is_given_begins_right_behind_what_was_given_last)
{
    struct db_order_wish wish;
    struct db_batch first, second;
    struct db_eui_block block;
    struct eui64 expected = eui(FIRST + 3);
    int64_t left;

    begin();
    block = add_block(FIRST, 5);
    wish = wish_of(3);
    first = add_order(db, &wish);
    wish.n = 2;
    second = add_order(db, &wish);
    ck_ok(begin_order(db, &first, NULL, &left));
    ck_ok(begin_order(db, &second, other, &left));
    first = look_at(&first);
    second = look_at(&second);
    ck_assert_int_eq(first.order.state, ORDER_APPROVED);
    ck_assert(first.has_job && first.order.is_given && !first.order.is_decided);
    ck_assert_mem_eq(&first.order.first, &block.first, sizeof(block.first));
    ck_assert_mem_eq(first.order.block, block.id, sizeof(block.id));
    ck_assert_mem_eq(&second.order.first, &expected, sizeof(expected));
    ck_assert(second.order.is_decided);
    ck_assert_mem_eq(second.order.decided_by, other, sizeof(other));
    ck_assert_int_eq(number_of("SELECT n_given FROM eui_block"), 5);
    end();
}
END_TEST

START_TEST(its_job_waits_for_whoever_works_on_jobs)
{
    struct db_order_wish wish;
    struct db_batch batch;
    struct db_job job;
    int64_t left;

    begin();
    (void)add_block(FIRST, 9);
    wish = wish_of(9);
    batch = add_order(db, &wish);
    ck_ok(begin_order(db, &batch, NULL, &left));
    batch = look_at(&batch);
    ck_ok(db_job_find(db, batch.job_id, &job));
    ck_assert_int_eq(job.kind, JOB_ORDER);
    ck_assert_int_eq(job.state, JOB_WAITING);
    ck_assert_int_eq(job.n_rows, 9);
    ck_assert_int_eq(job.batch_id, batch.row_id);
    ck_assert_int_eq(job.organization_id, maker);
    end();
}
END_TEST

START_TEST(an_order_that_is_cancelled_before_its_job_began_is_cancelled_with_it)
{
    struct db_order_wish wish;
    struct db_batch batch;
    struct db_job job;
    int64_t left;

    begin();
    (void)add_block(FIRST, 9);
    wish = wish_of(4);
    batch = add_order(db, &wish);
    ck_ok(begin_order(db, &batch, NULL, &left));
    batch = look_at(&batch);
    ck_ok(db_job_find(db, batch.job_id, &job));
    ck_ok(db_job_cancel(db, &job));
    ck_assert_int_eq(look_at(&batch).order.state, ORDER_CANCELLED);
    /* What was given is never given again. */
    ck_assert_int_eq(number_of("SELECT n_given FROM eui_block"), 4);
    end();
}
END_TEST

START_TEST(an_order_bigger_than_what_is_left_takes_nothing)
{
    struct db_order_wish wish;
    struct db_batch batch;
    int64_t left = 0;

    begin();
    wish = wish_of(6);
    batch = add_order(db, &wish);
    ck_assert_int_eq(begin_order(db, &batch, NULL, &left), DB_ORDER_NO_ROOM);
    ck_assert_int_eq(left, -1);
    (void)add_block(FIRST, 5);
    (void)add_block(FIRST + 5, 3);
    ck_assert_int_eq(begin_order(db, &batch, NULL, &left), DB_ORDER_NO_ROOM);
    ck_assert_int_eq(left, 5);
    ck_assert_int_eq(number_of("SELECT sum(n_given)::int8 FROM eui_block"), 0);
    ck_assert_int_eq(number_of("SELECT count(*) FROM job"), 0);
    ck_assert_int_eq(look_at(&batch).order.state, ORDER_REQUESTED);
    end();
}
END_TEST

START_TEST(blocks_without_room_closed_or_not_named_are_passed_by)
{
    struct db_eui_block small, closed, wide, named;
    struct db_order_wish wish;
    struct db_batch batch;
    int64_t left;

    begin();
    small = add_block(FIRST, 2);
    closed = add_block(FIRST + 2, 100);
    wide = add_block(FIRST + 200, 100);
    named = add_block(FIRST + 300, 100);
    ck_ok(db_eui_block_close(db, closed.row_id));
    ck_assert_int_eq(db_eui_block_close(db, closed.row_id), 1);
    wish = wish_of(10);
    batch = add_order(db, &wish);
    ck_ok(begin_order(db, &batch, NULL, &left));
    ck_assert_mem_eq(look_at(&batch).order.block, wide.id, sizeof(wide.id));
    wish.block_id = named.row_id;
    batch = add_order(db, &wish);
    ck_ok(begin_order(db, &batch, NULL, &left));
    ck_assert_mem_eq(look_at(&batch).order.block, named.id, sizeof(named.id));
    wish.block_id = small.row_id;
    batch = add_order(db, &wish);
    ck_assert_int_eq(begin_order(db, &batch, NULL, &left), DB_ORDER_NO_ROOM);
    ck_assert_int_eq(left, 2);
    end();
}
END_TEST

START_TEST(a_block_of_another_maker_or_kind_is_not_taken_from)
{
    struct db_eui_block block = {.kind = DEVICE_SIGFOX, .first = eui(1), .size = 100};
    struct db_order_wish wish;
    struct db_batch batch;
    int64_t left, ours;

    begin();
    ours = maker;
    block.organization_id = ours;
    ck_ok(db_eui_block_add(db, &block));
    other[1] = 1;
    add_client(other, "another maker");
    other[1] = 0;
    (void)add_block(FIRST, 100);
    maker = ours;
    wish = wish_of(1);
    batch = add_order(db, &wish);
    ck_assert_int_eq(begin_order(db, &batch, NULL, &left), DB_ORDER_NO_ROOM);
    ck_assert_int_eq(left, -1);
    end();
}
END_TEST

START_TEST(the_last_64_bit_number_may_be_of_a_block)
{
    struct eui64 expected = eui(UINT64_MAX);
    struct db_eui_block block;
    struct db_order_wish wish;
    struct db_batch batch;
    int64_t left;

    begin();
    block = add_block(UINT64_MAX - 1, 2);
    wish = wish_of(1);
    batch = add_order(db, &wish);
    ck_ok(begin_order(db, &batch, NULL, &left));
    batch = add_order(db, &wish);
    ck_ok(begin_order(db, &batch, NULL, &left));
    batch = look_at(&batch);
    ck_assert_mem_eq(&batch.order.first, &expected, sizeof(expected));
    ck_assert_mem_eq(batch.order.block, block.id, sizeof(block.id));
    end();
}
END_TEST

START_TEST(no_two_blocks_share_an_identifier)
{
    struct db_eui_block block, found, refused;

    begin();
    block = add_block(FIRST, 10);
    refused = block;
    refused.first = eui(FIRST + 9);
    refused.size = 1;
    ck_assert_int_eq(db_eui_block_add(db, &refused), 1);
    ck_ok(db_eui_block_overlapping(db, &refused.first, refused.size, &found));
    ck_assert_mem_eq(found.id, block.id, sizeof(block.id));
    refused.first = eui(FIRST - 1);
    refused.size = 2;
    ck_assert_int_eq(db_eui_block_add(db, &refused), 1);
    refused.size = 1;
    ck_assert_int_eq(db_eui_block_overlapping(db, &refused.first, refused.size, &found), 1);
    ck_ok(db_eui_block_add(db, &refused));
    (void)add_block(FIRST + 10, 1);
    end();
}
END_TEST

START_TEST(an_order_is_decided_once)
{
    struct db_order_wish wish;
    struct db_batch batch;
    int64_t left;

    begin();
    (void)add_block(FIRST, 9);
    wish = wish_of(1);
    batch = add_order(db, &wish);
    ck_ok(db_order_reject(db, batch.row_id, other, "not now"));
    ck_assert_int_eq(db_order_reject(db, batch.row_id, other, ""), 1);
    ck_assert_int_eq(db_order_withdraw(db, batch.row_id), 1);
    ck_assert_int_eq(begin_order(db, &batch, other, &left), DB_ORDER_OVER);
    batch = look_at(&batch);
    ck_assert_int_eq(batch.order.state, ORDER_REJECTED);
    ck_assert_str_eq(batch.order.reason, "not now");
    batch = add_order(db, &wish);
    ck_ok(db_order_withdraw(db, batch.row_id));
    ck_assert_int_eq(begin_order(db, &batch, other, &left), DB_ORDER_OVER);
    ck_assert_int_eq(look_at(&batch).order.state, ORDER_CANCELLED);
    ck_assert_int_eq(number_of("SELECT n_given FROM eui_block"), 0);
    end();
}
END_TEST

START_TEST(who_asked_cannot_approve_even_in_the_database)
{
    struct db_order_wish wish;
    struct db_batch batch;
    int64_t left;

    begin();
    (void)add_block(FIRST, 9);
    wish = wish_of(1);
    batch = add_order(db, &wish);
    ck_assert_int_lt(begin_order(db, &batch, asker, &left), 0);
    ck_assert_int_eq(number_of("SELECT n_given FROM eui_block"), 0);
    end();
}
END_TEST

START_TEST(an_organization_has_so_many_open_orders_and_no_more)
{
    uint8_t id[ACCOUNT_ID_LEN];
    struct db_order_wish wish;
    struct db_batch batch;

    begin();
    wish = wish_of(1);
    for (int i = 0; i < DB_ORDER_OPEN_MAX; i++)
        batch = add_order(db, &wish);
    ck_assert_int_eq(db_order_add(db, &wish, id), 1);
    ck_ok(db_order_withdraw(db, batch.row_id));
    ck_ok(db_order_add(db, &wish, id));
    end();
}
END_TEST

START_TEST(a_quota_is_of_a_module_and_never_below_what_was_used)
{
    struct db_certificate product = {.number = "P_0123_4567_89", .name = "a product"}, found;

    begin();
    product.organization_id = maker;
    product.module_id = module.row_id;
    ck_ok(db_certificate_add(db, &product));
    ck_ok(db_certificate_find(db, product.number, &found));
    ck_assert_str_eq(found.module, module.number);
    ck_assert_int_eq(db_certificate_set_quota(db, product.row_id, 1), 1);
    ck_ok(db_certificate_set_quota(db, module.row_id, 5));
    ck_assert_int_eq(pg_sql(cluster, database,
                         "UPDATE certificate SET n_prototypes = 3"
                         " WHERE kind = 'module'"),
        0);
    ck_assert_int_eq(db_certificate_set_quota(db, module.row_id, 2), 1);
    ck_ok(db_certificate_set_quota(db, module.row_id, 3));
    ck_ok(db_certificate_find(db, module.number, &found));
    ck_assert_uint_eq(found.prototype_quota, 3);
    ck_assert_uint_eq(found.n_prototypes, 3);
    end();
}
END_TEST

struct racer {
    pthread_t thread;
    pthread_barrier_t *start;
    struct db *db;
    struct db_batch batch;
    bool asks; /* for an order; else it begins one */
    const uint8_t *decided_by;
    int64_t left;
    int result;
};

static int ask(struct racer *r)
{
    struct db_order_wish wish = wish_of(1);
    uint8_t id[ACCOUNT_ID_LEN];

    return db_order_add(r->db, &wish, id);
}

static void *race(void *arg)
{
    struct racer *r = arg;

    r->result = db_begin(r->db);
    pthread_barrier_wait(r->start);
    if (r->result == 0 && r->asks)
        r->result = ask(r);
    else if (r->result == 0)
        r->result = db_order_begin(r->db, r->batch.row_id, r->decided_by, "racing", &r->left);
    if (r->result == 0)
        r->result = db_commit(r->db);
    else
        db_rollback(r->db);
    return NULL;
}

static void run_racers(struct racer racers[static N_RACERS])
{
    pthread_barrier_t start;

    pthread_barrier_init(&start, NULL, N_RACERS);
    for (unsigned i = 0; i < N_RACERS; i++) {
        racers[i].start = &start;
        racers[i].db = open_as("cradle_activation");
        ck_assert_int_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < N_RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        db_close(racers[i].db);
    }
    pthread_barrier_destroy(&start);
}

#define N_DISTINCT "SELECT count(DISTINCT first) FROM batch_order WHERE first IS NOT NULL"

START_TEST(of_many_orders_at_once_none_overlaps_and_no_gap_is_left)
{
    static struct racer racers[N_RACERS];
    struct db_order_wish wish;
    unsigned n_begun = 0;

    begin();
    /* Room for 5 in the one, for 3 in the other, and a rest in each. */
    (void)add_block(FIRST, 5 * N_OF_ONE + 1);
    (void)add_block(FIRST + 1000, 3 * N_OF_ONE + N_OF_ONE - 1);
    wish = wish_of(N_OF_ONE);
    for (unsigned i = 0; i < N_RACERS; i++)
        racers[i] = (struct racer){.batch = add_order(db, &wish)};
    run_racers(racers);
    for (unsigned i = 0; i < N_RACERS; i++) {
        struct db_batch batch = look_at(&racers[i].batch);
        uint64_t at;

        ck_assert(racers[i].result == 0 || racers[i].result == DB_ORDER_NO_ROOM);
        ck_assert(batch.order.is_given == (racers[i].result == 0));
        if (racers[i].result != 0) {
            ck_assert_int_eq(racers[i].left, N_OF_ONE - 1);
            continue;
        }
        /* Each at a whole number of orders behind its block's first. */
        at = eui64_to_u64(&batch.order.first) - FIRST;
        ck_assert_uint_eq((at >= 1000 ? at - 1000 : at) % N_OF_ONE, 0);
        n_begun++;
    }
    ck_assert_uint_eq(n_begun, 5 + 3);
    ck_assert_int_eq(number_of(N_DISTINCT), 5 + 3);
    ck_assert_int_eq(number_of("SELECT sum(n_given)::int8 FROM eui_block"), (5 + 3) * N_OF_ONE);
    end();
}
END_TEST

START_TEST(of_many_who_approve_one_order_one_does)
{
    static struct racer racers[N_RACERS];
    struct db_order_wish wish;
    struct db_batch batch;
    unsigned n_begun = 0;

    begin();
    (void)add_block(FIRST, N_RACERS * N_OF_ONE);
    wish = wish_of(N_OF_ONE);
    batch = add_order(db, &wish);
    for (unsigned i = 0; i < N_RACERS; i++)
        racers[i] = (struct racer){.batch = batch, .decided_by = other};
    run_racers(racers);
    for (unsigned i = 0; i < N_RACERS; i++) {
        ck_assert(racers[i].result == 0 || racers[i].result == DB_ORDER_OVER);
        n_begun += racers[i].result == 0;
    }
    ck_assert_uint_eq(n_begun, 1);
    ck_assert_int_eq(number_of("SELECT n_given FROM eui_block"), N_OF_ONE);
    ck_assert_int_eq(number_of("SELECT count(*) FROM job"), 1);
    end();
}
END_TEST

START_TEST(of_many_who_ask_at_once_no_more_do_than_may_be_open)
{
    static struct racer racers[N_RACERS];
    struct db_order_wish wish;
    unsigned n_asked = 0;

    begin();
    wish = wish_of(1);
    for (int i = 0; i < DB_ORDER_OPEN_MAX - 2; i++)
        (void)add_order(db, &wish);
    for (unsigned i = 0; i < N_RACERS; i++)
        racers[i] = (struct racer){.asks = true};
    run_racers(racers);
    for (unsigned i = 0; i < N_RACERS; i++) {
        ck_assert_int_ge(racers[i].result, 0);
        n_asked += racers[i].result == 0;
    }
    ck_assert_uint_eq(n_asked, 2);
    ck_assert_int_eq(number_of("SELECT count(*) FROM batch_order"), DB_ORDER_OPEN_MAX);
    end();
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, an_order_is_seen_as_it_was_asked_for);
    tcase_add_test(tcase, what_is_given_begins_right_behind_what_was_given_last);
    tcase_add_test(tcase, its_job_waits_for_whoever_works_on_jobs);
    tcase_add_test(tcase, an_order_that_is_cancelled_before_its_job_began_is_cancelled_with_it);
    tcase_add_test(tcase, an_order_bigger_than_what_is_left_takes_nothing);
    tcase_add_test(tcase, blocks_without_room_closed_or_not_named_are_passed_by);
    tcase_add_test(tcase, a_block_of_another_maker_or_kind_is_not_taken_from);
    tcase_add_test(tcase, the_last_64_bit_number_may_be_of_a_block);
    tcase_add_test(tcase, no_two_blocks_share_an_identifier);
    tcase_add_test(tcase, an_order_is_decided_once);
    tcase_add_test(tcase, who_asked_cannot_approve_even_in_the_database);
    tcase_add_test(tcase, an_organization_has_so_many_open_orders_and_no_more);
    tcase_add_test(tcase, a_quota_is_of_a_module_and_never_below_what_was_used);
    tcase_add_test(tcase, of_many_orders_at_once_none_overlaps_and_no_gap_is_left);
    tcase_add_test(tcase, of_many_who_approve_one_order_one_does);
    tcase_add_test(tcase, of_many_who_ask_at_once_no_more_do_than_may_be_open);
}

int main(void)
{
    return run_suite("db order", add);
}
