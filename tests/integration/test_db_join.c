#include "tests/integration/db_fixture.h"

#include "base/clock.h"
#include "base/text.h"
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct db *join;

static void setup(void)
{
    join = open_as("cradle_join");
}

static void teardown(void)
{
    db_close(join);
    join = NULL;
}

/** Commits one; whether it won. */
static bool commit_one(const struct db_join_commit *c)
{
    bool won = false;

    ck_ok(db_join_commit(join, c, 1, &won));
    return won;
}

START_TEST(load_gives_each_key_its_device)
{
    struct db_join_key keys[3] = {{eui_of(2), 5}, {eui_of(99), 5}, {eui_of(1), 5}};
    struct db_join_row rows[3];

    make_devices(1, 1, LW_MAC_1_0_3);
    make_devices(2, 1, LW_MAC_1_1);
    ck_ok(db_join_load(join, keys, 3, rows));
    ck_assert(rows[0].found && !rows[1].found && rows[2].found);
    ck_assert_mem_eq(&rows[0].record.dev_eui, &keys[0].dev_eui, 8);
    ck_assert_int_eq(rows[0].record.mac_version, LW_MAC_1_1);
    ck_assert(rows[0].has_app && rows[0].has_nwk);
    ck_assert_uint_eq(rows[0].nwk.tag[0], 0xb0);
    ck_assert_uint_eq(rows[0].app.tag[31], 0xa0);
    ck_assert_int_eq(rows[2].record.mac_version, LW_MAC_1_0_3);
    ck_assert(rows[2].has_app && !rows[2].has_nwk);
    ck_assert_str_eq(rows[2].app.kek_label, "store-device.1");
    ck_assert_uint_eq(rows[2].app.blob_len, 24);
    ck_assert_uint_eq(rows[2].app.blob[23], 1);
    ck_assert_int_eq(rows[2].record.credential, CREDENTIAL_ACTIVABLE);
    ck_assert_int_eq(rows[2].record.ownership, OWNERSHIP_CLAIMED);
    ck_assert_int_eq(rows[2].record.service, SERVICE_ACTIVE);
    ck_assert_int_eq(rows[2].record.trust, TRUST_OK);
    ck_assert_uint_eq(rows[2].record.ownership_epoch, 1);
    ck_assert(rows[2].record.has_home_net_id);
    ck_assert_uint_eq(rows[2].record.home_net_id.bytes[2], 0x13);
    ck_assert_str_eq(rows[2].record.as_id, "demo-as");
    ck_assert_uint_eq(rows[2].record.join_eui.bytes[3], 0xff);
    ck_assert_uint_eq(rows[2].state.join_nonce, 0);
    ck_assert_int_eq(rows[2].state.last_dev_nonce, DEVICE_NO_NONCE);
    ck_assert(!rows[2].state.has_retry && !rows[2].dev_nonce_used);
}
END_TEST

START_TEST(what_is_not_here_is_not_its_neighbour)
{
    const unsigned missing[] = {1, 3, 5}; /* before all devices, between them, after them */

    make_devices(2, 1, LW_MAC_1_1);
    make_devices(4, 1, LW_MAC_1_1);
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        const struct eui64 eui = eui_of(missing[i]);
        const struct db_join_key key = {eui, 5};
        struct db_join_session s;
        struct db_join_row row;

        for (unsigned neighbour = 2; neighbour <= 4; neighbour += 2) {
            uint16_t nonce = (uint16_t)(neighbour + i);
            struct db_join_row here = load_one(join, neighbour, nonce);
            struct db_join_commit c = commit_of(&here, nonce, true);

            ck_assert(commit_one(&c));
        }
        ck_ok(db_join_load(join, &key, 1, &row));
        ck_assert(!row.found && !row.has_app && !row.has_nwk && !row.state.has_retry);
        ck_assert(!row.record.has_home_net_id && row.record.as_id[0] == '\0');
        ck_assert_uint_eq(row.app.blob_len, 0);
        ck_assert_uint_eq(row.state.join_nonce, 0);
        ck_ok(db_join_session_find(join, &eui, 1, &s));
        ck_assert(!s.found && s.dev_nonce == 0);
    }
}
END_TEST

START_TEST(a_sigfox_device_is_asked_for_as_what_is_not_here)
{
    static const struct eui64 id = {{0, 0, 0, 0, 0x12, 0x34, 0xab, 0xcd}};
    const struct db_join_key keys[] = {{id, 5}, {eui_of(1), 5}};
    struct db_join_row rows[2];
    struct db_join_session s;

    make_devices(2, 1, LW_MAC_1_0_4);
    /* With all that a device that joins has, so that only its kind speaks against it. */
    ck_assert_int_eq(
        pg_sql(cluster, database,
            "INSERT INTO device (dev_eui, kind, join_eui, mac_version, credential, ownership,"
            "  service, trust, ownership_epoch, home_net_id, as_id, batch_id,"
            "  organization_id, owner_id)"
            " SELECT '\\x000000001234abcd', 'sigfox', join_eui, mac_version, credential,"
            "  ownership, service, trust, ownership_epoch, home_net_id, as_id, batch_id,"
            "  organization_id, owner_id FROM device;"
            "INSERT INTO device_join (dev_eui, join_nonce)"
            " VALUES ('\\x000000001234abcd', 7);"
            "INSERT INTO device_key (dev_eui, slot, kek_label, blob, tag)"
            " SELECT '\\x000000001234abcd', slot, kek_label, blob, tag FROM device_key"),
        0);
    ck_ok(db_join_load(join, keys, 2, rows));
    for (size_t i = 0; i < 2; i++) {
        ck_assert(!rows[i].found && !rows[i].has_app);
        ck_assert_uint_eq(rows[i].state.join_nonce, 0);
    }
    ck_ok(db_join_session_find(join, &id, 7, &s));
    ck_assert(!s.found);
    ck_assert_int_ne(
        pg_sql(cluster, database,
            "UPDATE device SET kind = 'lorawan' WHERE dev_eui = '\\x000000001234abcd'"),
        0);
}
END_TEST

START_TEST(counted_join_moves_both_nonces_and_remembers_the_retry)
{
    struct db_join_row row;
    struct db_join_commit c;

    make_devices(1, 1, LW_MAC_1_0_4);
    row = load_one(join, 1, 0);
    c = commit_of(&row, 0, true);
    ck_assert(commit_one(&c));
    row = load_one(join, 1, 1);
    ck_assert_uint_eq(row.state.join_nonce, 1);
    ck_assert_int_eq(row.state.last_dev_nonce, 0);
    ck_assert(row.state.has_retry);
    ck_assert_mem_eq(row.state.retry_fingerprint, c.fingerprint, JOIN_FINGERPRINT_LEN);
    ck_assert_int_ge(row.state.retry_age_ms, 0);
    ck_assert_int_lt(row.state.retry_age_ms, 60000);
    ck_assert_int_eq(n_dev_nonces(), 0);
}
END_TEST

START_TEST(success_event_holds_the_session_numbers)
{
    struct db_join_row row;
    struct db_join_commit c;
    char *event;

    make_devices(1, 1, LW_MAC_1_0_4);
    row = load_one(join, 1, 258);
    c = commit_of(&row, 258, true);
    ck_assert(commit_one(&c));
    event = pg_text(cluster, database,
        "SELECT encode(dev_eui, 'hex'), encode(join_eui, 'hex'), join_type, outcome, peer_id,"
        " sender_id, encode(net_id, 'hex'), encode(dev_addr, 'hex'), dev_nonce, join_nonce,"
        " opt_neg, encode(fingerprint, 'hex'), ownership_epoch, nonce_epoch, tableoid::regclass"
        "  <> 'join_event_default'::regclass, at > now() - interval '1 minute' FROM join_event");
    ck_assert_str_eq(event,
        "70b3d50000000001 70b3d5ff00000001 255 success 1 000013 000013 26010203 258 1 f "
        "02020202020202020202020202020202 1 0 t t \n");
    free(event);
}
END_TEST

START_TEST(a_session_is_found_among_the_last_ten_of_the_present_owner)
{
    const struct eui64 one = eui_of(1), two = eui_of(2);
    struct db_join_session s;
    char sqlstate[6];

    make_devices(1, 2, LW_MAC_1_0_4);
    for (uint16_t nonce = 1; nonce <= DB_JOIN_SESSIONS_MAX + 1; nonce++) {
        struct db_join_row row = load_one(join, 1, (uint16_t)(nonce + 100));
        struct db_join_commit c = commit_of(&row, (uint16_t)(nonce + 100), true);

        c.opt_neg = nonce % 2 == 0;
        ck_assert(commit_one(&c));
    }
    for (uint32_t nonce = 0; nonce <= DB_JOIN_SESSIONS_MAX + 2; nonce++) {
        ck_ok(db_join_session_find(join, &one, nonce, &s));
        ck_assert_int_eq(s.found, nonce >= 2 && nonce <= DB_JOIN_SESSIONS_MAX + 1);
        if (!s.found)
            continue;
        ck_assert_uint_eq(s.dev_nonce, nonce + 100);
        ck_assert_int_eq(s.opt_neg, nonce % 2 == 0);
        ck_assert_uint_eq(s.net_id.bytes[2], 0x13);
        ck_assert_uint_eq(s.join_eui.bytes[3], 0xff);
    }
    ck_ok(db_join_session_find(join, &two, 2, &s)); /* another device */
    ck_assert(!s.found);
    pg_try(cluster, database, "cradle_activation",
        "UPDATE device SET ownership_epoch = ownership_epoch + 1", sqlstate);
    ck_assert_str_eq(sqlstate, "00000");
    ck_ok(db_join_session_find(join, &one, DB_JOIN_SESSIONS_MAX + 1, &s));
    ck_assert(!s.found);
}
END_TEST

START_TEST(a_refused_join_is_no_session)
{
    const struct eui64 one = eui_of(1);
    struct db_join_session s;
    struct db_join_refusal f[DB_JOIN_SESSIONS_MAX + 1] = {0};
    struct db_join_row row;
    struct db_join_commit c;

    make_devices(1, 1, LW_MAC_1_0_4);
    row = load_one(join, 1, 5);
    c = commit_of(&row, 5, true);
    ck_assert(commit_one(&c));
    for (size_t i = 0; i < sizeof(f) / sizeof(f[0]); i++)
        f[i] = (struct db_join_refusal){.dev_eui = one,
            .outcome = "mic_failed",
            .sender_id = "000013",
            .peer_id = 1,
            .ownership_epoch = 1,
            .refused_ms = clock_monotonic_ms()};
    ck_ok(db_join_refusals(join, f, sizeof(f) / sizeof(f[0])));
    ck_ok(db_join_session_find(join, &one, 1, &s));
    ck_assert_msg(s.found, "refusals count among the last joins");
}
END_TEST

START_TEST(stale_join_nonce_loses_and_writes_nothing)
{
    struct db_join_row row;
    struct db_join_commit first, second;

    make_devices(1, 1, LW_MAC_1_0_3);
    row = load_one(join, 1, 10);
    first = commit_of(&row, 10, false);
    second = commit_of(&row, 11, false);
    ck_assert(commit_one(&first));
    ck_assert(!commit_one(&second));
    row = load_one(join, 1, 11);
    ck_assert_uint_eq(row.state.join_nonce, 1);
    ck_assert(!row.dev_nonce_used);
    ck_assert_mem_eq(row.state.retry_fingerprint, first.fingerprint, JOIN_FINGERPRINT_LEN);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM join_event"), 1);
}
END_TEST

START_TEST(batch_tells_winners_from_losers)
{
    struct db_join_key keys[4];
    struct db_join_row rows[4];
    struct db_join_commit c[4];
    bool won[4];

    make_devices(1, 4, LW_MAC_1_0_3);
    for (uint32_t i = 0; i < 4; i++)
        keys[i] = (struct db_join_key){eui_of(4 - i), (uint16_t)i};
    ck_ok(db_join_load(join, keys, 4, rows));
    for (uint32_t i = 0; i < 4; i++)
        c[i] = commit_of(&rows[i], (uint16_t)i, false);
    c[1].old_join_nonce = 9;
    c[3].gate_rev += 1;
    ck_ok(db_join_commit(join, c, 4, won));
    ck_assert(won[0] && !won[1] && won[2] && !won[3]);
}
END_TEST

/** What an owner or operator may do between load and commit; each makes the join lose its race. */
static const char *const gate_changes[] = {
    "UPDATE device SET service = 'suspended'",
    "UPDATE device SET trust = 'quarantined'",
    "UPDATE device SET credential = 'scrapped'",
    "UPDATE device SET ownership = 'unowned', owner_id = NULL",
    "UPDATE device SET ownership_epoch = ownership_epoch + 1",
    "UPDATE device SET home_net_id = '\\x000014'",
    "UPDATE device SET home_net_id = NULL",
    "UPDATE device SET as_id = 'other'",
    "UPDATE device SET join_eui = '\\x0000000000000002'",
    "UPDATE device SET mac_version = '1.0.2'",
    "UPDATE device SET nonce_epoch = nonce_epoch + 1",
    "UPDATE device_key SET kek_label = 'store-device.2'",
    "DELETE FROM device_key",
};

START_TEST(gate_change_between_load_and_commit_makes_the_join_lose)
{
    char sqlstate[6];
    struct db_join_row row;
    struct db_join_commit c;

    make_devices(1, 1, LW_MAC_1_0_3);
    row = load_one(join, 1, 1);
    pg_try(cluster, database, "cradle_activation", gate_changes[_i], sqlstate);
    ck_assert_str_eq(sqlstate, "00000");
    c = commit_of(&row, 1, false);
    ck_assert_msg(!commit_one(&c), "%s", gate_changes[_i]);
}
END_TEST

START_TEST(update_that_changes_nothing_leaves_the_gate_alone)
{
    struct db_join_row row;
    struct db_join_commit c;
    char sqlstate[6];

    make_devices(1, 1, LW_MAC_1_0_3);
    row = load_one(join, 1, 1);
    pg_try(cluster, database, "cradle_activation", "UPDATE device SET service = service", sqlstate);
    c = commit_of(&row, 1, false);
    ck_assert(commit_one(&c));
}
END_TEST

START_TEST(newer_nonce_epoch_starts_empty_and_keeps_join_nonce)
{
    struct db_join_row row;
    struct db_join_commit c;

    make_devices(1, 1, LW_MAC_1_0_3);
    row = load_one(join, 1, 5);
    c = commit_of(&row, 5, false);
    ck_assert(commit_one(&c));
    pg_sql(cluster, database, "UPDATE device SET nonce_epoch = nonce_epoch + 1");
    row = load_one(join, 1, 5);
    ck_assert(!row.dev_nonce_used);
    ck_assert_uint_eq(row.record.nonce_epoch, 1);
    ck_assert_uint_eq(row.state.nonce_epoch, 0);
    c = commit_of(&row, 5, false);
    ck_assert(commit_one(&c));
    row = load_one(join, 1, 5);
    ck_assert(row.dev_nonce_used);
    ck_assert_uint_eq(row.state.nonce_epoch, 1);
    ck_assert_uint_eq(row.state.join_nonce, 2);
    /* A record loaded before the reset must not bring the old epoch back. */
    c = commit_of(&row, 6, false);
    c.nonce_epoch = 0;
    ck_assert(!commit_one(&c));
}
END_TEST

START_TEST(newer_nonce_epoch_resets_the_counter)
{
    struct db_join_row row;
    struct db_join_commit c;

    make_devices(1, 1, LW_MAC_1_0_4);
    row = load_one(join, 1, 500);
    c = commit_of(&row, 500, true);
    ck_assert(commit_one(&c));
    pg_sql(cluster, database, "UPDATE device SET nonce_epoch = 3");
    row = load_one(join, 1, 0);
    c = commit_of(&row, 0, true);
    ck_assert(commit_one(&c));
    row = load_one(join, 1, 0);
    ck_assert_int_eq(row.state.last_dev_nonce, 0);
    ck_assert_uint_eq(row.state.nonce_epoch, 3);
    ck_assert_uint_eq(row.state.join_nonce, 2);
}
END_TEST

START_TEST(a_jump_is_a_trust_signal)
{
    struct db_join_row row;
    struct db_join_commit c;

    make_devices(1, 1, LW_MAC_1_0_4);
    row = load_one(join, 1, 5);
    c = commit_of(&row, 5, true);
    ck_assert(commit_one(&c));
    row = load_one(join, 1, 5000);
    c = commit_of(&row, 5000, true);
    c.jump_from = 5;
    ck_assert(commit_one(&c));
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT sum(to_value - from_value) FROM trust_signal"
                         " WHERE kind = 'dev_nonce_jump' AND ownership_epoch = 1"),
        4995);
}
END_TEST

START_TEST(resolve_tells_which_of_two_requests_was_committed)
{
    struct db_join_row row;
    struct db_join_commit c[2];
    bool won[2] = {false, true};

    make_devices(1, 1, LW_MAC_1_0_3);
    row = load_one(join, 1, 1);
    c[0] = commit_of(&row, 1, false);
    c[1] = commit_of(&row, 2, false);
    ck_assert(commit_one(&c[0]));
    ck_ok(db_join_resolve(join, c, 2, won));
    ck_assert(won[0] && !won[1]);
}
END_TEST

START_TEST(a_refusal_of_what_was_not_looked_up_is_kept_for_a_known_device_alone)
{
    struct db_join_refusal refusals[2] = {{.dev_eui = eui_of(1),
                                              .outcome = "malformed",
                                              .join_type = LW_JOIN,
                                              .peer_id = 1,
                                              .sender_id = "000013",
                                              .refused_ms = clock_monotonic_ms()},
        {.dev_eui = eui_of(2), .outcome = "malformed", .join_type = LW_JOIN, .peer_id = 1}};

    make_devices(1, 1, LW_MAC_1_0_3);
    pg_sql(cluster, database, "UPDATE device SET ownership_epoch = 7");
    ck_ok(db_join_refusals(join, refusals, 2));
    ck_assert_int_eq(
        pg_number(cluster, database, "SELECT sum(ownership_epoch)::int8 FROM join_event"), 7);
}
END_TEST

START_TEST(refusals_are_written_in_bulk)
{
    struct db_join_refusal refusals[3] = {0};

    make_devices(0, 3, LW_MAC_1_0_3);

    for (uint32_t i = 0; i < 3; i++) {
        refusals[i] = (struct db_join_refusal){.dev_eui = eui_of(i),
            .outcome = "MICFailed",
            .join_type = i == 2 ? LW_REJOIN_1 : LW_JOIN,
            .dev_nonce = (int32_t)i,
            .peer_id = 1,
            .sender_id = "000013",
            .was_loaded = true,
            .ownership_epoch = 1,
            .refused_ms = clock_monotonic_ms()};
        snprintf(refusals[i].reason, sizeof(refusals[i].reason), "reason %u", i);
    }
    ck_ok(db_join_refusals(join, refusals, 3));
    ck_ok(db_join_refusals(join, refusals, 0));
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT count(*) FROM join_event WHERE outcome = 'MICFailed' AND reason ="
                         " 'reason ' || dev_nonce AND join_nonce IS NULL"
                         " AND join_type = CASE dev_nonce WHEN 2 THEN 1 ELSE 255 END"),
        3);
}
END_TEST

START_TEST(a_refusal_written_late_stands_where_it_happened)
{
    struct db_join_refusal refusal = {.dev_eui = eui_of(1),
        .outcome = "mic_failed",
        .join_type = LW_JOIN,
        .peer_id = 1,
        .sender_id = "000013",
        .was_loaded = true,
        .ownership_epoch = 1};
    struct db_join_commit c;
    struct db_join_row row;

    make_devices(1, 1, LW_MAC_1_0_4);
    refusal.refused_ms = clock_monotonic_ms() - 60000;
    row = load_one(join, 1, 5);
    c = commit_of(&row, 5, true);
    ck_assert(commit_one(&c));
    ck_ok(db_join_refusals(join, &refusal, 1));
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT count(*) FROM join_event refused, join_event joined"
                         " WHERE refused.outcome = 'mic_failed' AND joined.outcome = 'success'"
                         " AND refused.at < joined.at"),
        1);
}
END_TEST

/* Statistics are told when a session ends, and of those that go on within about a second. */
START_TEST(joins_are_counted_for_whoever_asks)
{
    CLEANUP(db_cleanup) struct db *other = open_as("cradle_activation");
    struct db_join_refusal refused = {.dev_eui = eui_of(2), .outcome = "MICFailed"};
    struct db_join_row row;
    struct db_join_commit c;
    int64_t before, now;

    make_devices(1, 2, LW_MAC_1_0_3);
    ck_ok(db_join_count(other, &before));
    row = load_one(join, 1, 5);
    c = commit_of(&row, 5, false);
    ck_assert(commit_one(&c));
    ck_ok(db_join_refusals(join, &refused, 1));
    db_close(join);
    join = NULL;
    do
        ck_ok(db_join_count(other, &now));
    while (now < before + 2);
    ck_assert_int_eq(now, before + 2);
}
END_TEST

START_TEST(partitions_are_three_months_ahead_and_take_back_the_stray)
{
    static const char count_sql[] =
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'join_event'::regclass";

    ck_assert_int_eq(pg_number(cluster, database, count_sql), 4);
    ck_ok(db_join_event_partitions(join));
    ck_assert_int_eq(pg_number(cluster, database, count_sql), 4);
    /* A month without its partition: the row is kept in the default one, then moved. */
    pg_sql(cluster, database,
        "DO $$ BEGIN EXECUTE 'DROP TABLE join_event_' || to_char(now() AT TIME ZONE 'UTC',"
        " 'YYYY_MM'); END $$");
    pg_sql(cluster, database,
        "INSERT INTO join_event (at, dev_eui, join_type, outcome, ownership_epoch)"
        " VALUES (now(), '\\x0000000000000001', 255, 'success', 1)");
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM join_event_default"), 1);
    ck_ok(db_join_event_partitions(join));
    ck_assert_int_eq(pg_number(cluster, database, count_sql), 4);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM join_event_default"), 0);
    ck_assert_int_eq(pg_number(cluster, database, "SELECT count(*) FROM join_event"), 1);
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT count(*) FROM pg_index WHERE indrelid IN (SELECT inhrelid FROM"
                         " pg_inherits WHERE inhparent = 'join_event'::regclass)"),
        5 * 4);
}
END_TEST

START_TEST(batch_beyond_its_bound_is_our_own_mistake)
{
    static struct db_join_key keys[DB_JOIN_BATCH_MAX + 1];
    static struct db_join_row rows[DB_JOIN_BATCH_MAX + 1];

    ck_assert_int_eq(db_join_load(join, keys, DB_JOIN_BATCH_MAX + 1, rows), ERROR_INTERNAL);
    ck_assert_int_eq(db_join_load(join, keys, 0, rows), ERROR_INTERNAL);
}
END_TEST

/** The generic plan of a statement as the session runs it. */
static char *explain(enum db_statement_id id)
{
    const struct db_statement *s = db_statement_at(id);
    struct text sql = {0};
    struct text plan = {0};
    PGresult *result;

    ck_ok(db_prepare(join, id));
    text_addf(&sql, "EXPLAIN EXECUTE %s (", s->name);
    for (size_t i = 0; i < s->n_params; i++)
        text_add(&sql, i ? ", NULL" : "NULL");
    text_add(&sql, ")");
    result = PQexec(join->conn, sql.data);
    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
    for (int i = 0; i < PQntuples(result); i++)
        text_addf(&plan, "%s\n", PQgetvalue(result, i, 0));
    PQclear(result);
    text_done(&sql);
    return plan.data;
}

/* What the statement did: rows and pages of every step, without times. Freed by the caller. */
static char *explain_run(
    enum db_statement_id id, unsigned device, const char *before, const char *after)
{
    struct text sql = {0}, plan = {0};
    const struct eui64 eui = eui_of(device);
    char hex[EUI64_TEXT_LEN + 1];
    PGresult *result;

    ck_ok(db_prepare(join, id));
    text_addf(&sql, "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE %s",
        db_statement_at(id)->name);
    text_addf(&sql, "%s%s%s", before, eui64_format(&eui, hex), after);
    result = PQexec(join->conn, sql.data);
    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
    for (int i = 0; i < PQntuples(result); i++)
        text_addf(&plan, "%s\n", PQgetvalue(result, i, 0));
    PQclear(result);
    text_done(&sql);
    return plan.data;
}

static const struct {
    enum db_statement_id id;
    const char *before, *after; /* the DevEUI */
} costs[] = {
    {DB_JOIN_LOAD, "(ARRAY['\\x", "']::bytea[], ARRAY[5])"},
    {DB_JOIN_SESSION, "('\\x", "', 1)"},
};

START_TEST(what_is_not_here_costs_as_much_as_what_is)
{
    char *here = NULL, *missing = NULL;

    for (unsigned device = 2; device <= 6; device += 2) {
        make_devices(device, 1, LW_MAC_1_0_3);
        struct db_join_row row = load_one(join, device, 5);
        struct db_join_commit c = commit_of(&row, 5, false);

        ck_assert(commit_one(&c));
    }
    /* The first time marks rows as seen by all. */
    for (int i = 0; i < 2; i++) {
        free(here);
        free(missing);
        here = explain_run(costs[_i].id, 4, costs[_i].before, costs[_i].after);
        missing = explain_run(costs[_i].id, 3, costs[_i].before, costs[_i].after);
    }
    ck_assert_ptr_nonnull(strstr(here, "Buffers: shared hit="));
    ck_assert_msg(strcmp(here, missing) == 0, "%.2000s\nis not\n%.2000s", here, missing);
    free(here);
    free(missing);
}
END_TEST

START_TEST(a_page_is_looked_up_by_its_whole_key_even_when_planned_on_an_empty_vacuumed_table)
{
    char *load;
    const char *scan;

    pg_sql(cluster, database, "VACUUM ANALYZE dev_nonce_page");
    pg_sql(cluster, database, "VACUUM ANALYZE device");
    load = explain(DB_JOIN_LOAD);
    scan = strstr(load, "using dev_nonce_page_pkey");
    ck_assert_msg(scan != NULL, "%s", load);
    scan = strstr(scan, "Index Cond: ");
    ck_assert_msg(scan != NULL && strstr(scan, "dev_eui = ") != NULL, "%s", load);
    for (const char *const *column = (const char *const[]){"(dev_eui = ", "(join_eui = ",
             "(nonce_epoch = ", "(page = ", NULL};
         *column != NULL; column++) {
        const char *found = strstr(scan, *column);

        ck_assert_msg(found != NULL && found < strchr(scan, '\n'), "%s: %s", *column, load);
    }
    free(load);
}
END_TEST

START_TEST(plans_made_on_empty_tables_use_the_keys)
{
    char *load = explain(DB_JOIN_LOAD);
    char *commit = explain(DB_JOIN_COMMIT);
    char *resolve = explain(DB_JOIN_RESOLVE);
    char *session = explain(DB_JOIN_SESSION);
    const char *loop, *sort, *row;

    ck_assert_ptr_nonnull(strstr(load, "Index Scan using device_pkey"));
    ck_assert_ptr_nonnull(strstr(load, "Index Scan using device_join_pkey"));
    ck_assert_ptr_nonnull(strstr(load, "Index Scan using device_key_pkey"));
    ck_assert_ptr_nonnull(strstr(load, "Index Scan using dev_nonce_page_pkey"));
    ck_assert_msg(!strstr(load, "Seq Scan"), "%s", load);
    ck_assert_msg(!strstr(commit, "Seq Scan"), "%s", commit);
    ck_assert_msg(!strstr(resolve, "Seq Scan"), "%s", resolve);
    ck_assert_msg(!strstr(session, "Seq Scan"), "%s", session);
    /* Rows are updated one after another, as they come out of the sort. */
    loop = strstr(commit, "Nested Loop");
    sort = loop ? strstr(loop, "Sort Key: ") : NULL;
    row = loop ? strstr(loop, "Index Scan using device_join_pkey") : NULL;
    ck_assert_msg(sort && strncmp(sort, "Sort Key: u.dev_eui\n", 20) == 0, "%s", commit);
    ck_assert_msg(row && sort < row, "%s", commit);
    free(load);
    free(commit);
    free(resolve);
    free(session);
}
END_TEST

/* What is not in a plan is not read: the index holds sessions alone. */
START_TEST(refusals_are_never_read_to_find_a_session)
{
    char *session = explain(DB_JOIN_SESSION);
    char *resolve = explain(DB_JOIN_RESOLVE);

    ck_assert_msg(strstr(session, "Index") && !strstr(session, "outcome"), "%s", session);
    ck_assert_msg(strstr(resolve, "Index") && !strstr(resolve, "outcome"), "%s", resolve);
    free(session);
    free(resolve);
}
END_TEST

START_TEST(load_of_ten_thousand_devices_uses_the_keys)
{
    char *load;

    make_devices(1, 10000, LW_MAC_1_0_3);
    pg_sql(cluster, database, "ANALYZE");
    load = explain(DB_JOIN_LOAD);
    ck_assert_msg(
        !strstr(load, "Seq Scan") && strstr(load, "Index Scan using device_pkey"), "%s", load);
    free(load);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, load_gives_each_key_its_device);
    tcase_add_test(tcase, what_is_not_here_is_not_its_neighbour);
    tcase_add_test(tcase, a_sigfox_device_is_asked_for_as_what_is_not_here);
    tcase_add_loop_test(
        tcase, what_is_not_here_costs_as_much_as_what_is, 0, sizeof(costs) / sizeof(*costs));
    tcase_add_test(tcase, counted_join_moves_both_nonces_and_remembers_the_retry);
    tcase_add_test(tcase, success_event_holds_the_session_numbers);
    tcase_add_test(tcase, a_session_is_found_among_the_last_ten_of_the_present_owner);
    tcase_add_test(tcase, a_refused_join_is_no_session);
    tcase_add_test(tcase, stale_join_nonce_loses_and_writes_nothing);
    tcase_add_test(tcase, batch_tells_winners_from_losers);
    tcase_add_loop_test(tcase, gate_change_between_load_and_commit_makes_the_join_lose, 0,
        sizeof(gate_changes) / sizeof(*gate_changes));
    tcase_add_test(tcase, update_that_changes_nothing_leaves_the_gate_alone);
    tcase_add_test(tcase, newer_nonce_epoch_starts_empty_and_keeps_join_nonce);
    tcase_add_test(tcase, newer_nonce_epoch_resets_the_counter);
    tcase_add_test(tcase, a_jump_is_a_trust_signal);
    tcase_add_test(tcase, resolve_tells_which_of_two_requests_was_committed);
    tcase_add_test(tcase, a_refusal_of_what_was_not_looked_up_is_kept_for_a_known_device_alone);
    tcase_add_test(tcase, refusals_are_written_in_bulk);
    tcase_add_test(tcase, a_refusal_written_late_stands_where_it_happened);
    tcase_add_test(tcase, refusals_are_never_read_to_find_a_session);
    tcase_add_test(tcase, joins_are_counted_for_whoever_asks);
    tcase_add_test(tcase, partitions_are_three_months_ahead_and_take_back_the_stray);
    tcase_add_test(tcase, batch_beyond_its_bound_is_our_own_mistake);
    tcase_add_test(
        tcase, a_page_is_looked_up_by_its_whole_key_even_when_planned_on_an_empty_vacuumed_table);
    tcase_add_test(tcase, plans_made_on_empty_tables_use_the_keys);
    tcase_add_test(tcase, load_of_ten_thousand_devices_uses_the_keys);
}

int main(void)
{
    return run_suite("db join", add);
}
