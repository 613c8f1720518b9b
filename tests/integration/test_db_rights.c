#include "tests/integration/db_fixture.h"

#include <stdlib.h>
#include <string.h>

#define DENIED "42501"
#define DONE "00000"

/* What each service may and may not do, one line each. */
static const struct {
    const char *role, *sql, *sqlstate;
} acts[] = {
    {"cradle_join", "SELECT * FROM device", DONE},
    {"cradle_join", "SELECT * FROM device_join", DONE},
    {"cradle_join", "SELECT blob FROM device_key", DONE},
    {"cradle_join", "SELECT * FROM dev_nonce_page", DONE},
    {"cradle_join", "SELECT * FROM join_event", DONE},
    {"cradle_join", "SELECT * FROM peer, peer_net_id, kek, join_route", DONE},
    {"cradle_join", "UPDATE device_join SET join_nonce = join_nonce", DONE},
    {"cradle_join", "SELECT join_event_partitions()", DONE},
    {"cradle_join", "UPDATE device SET owner_id = NULL", DENIED},
    {"cradle_join", "UPDATE device SET ownership_epoch = 7", DENIED},
    {"cradle_join", "UPDATE device SET service = 'active'", DENIED},
    {"cradle_join", "INSERT INTO device (dev_eui) VALUES ('x')", DENIED},
    {"cradle_join", "DELETE FROM device", DENIED},
    {"cradle_join", "UPDATE device_key SET blob = blob", DENIED},
    {"cradle_join", "UPDATE device_join SET gate_rev = 0", DENIED},
    {"cradle_join", "UPDATE device_join SET dev_eui = dev_eui", DENIED},
    {"cradle_join", "INSERT INTO device_join (dev_eui) VALUES ('x')", DENIED},
    {"cradle_join", "DELETE FROM device_join", DENIED},
    {"cradle_join", "INSERT INTO dev_nonce_page (page) VALUES (1)", DENIED},
    {"cradle_join", "UPDATE dev_nonce_page SET bits = bits", DENIED},
    {"cradle_join", "DELETE FROM dev_nonce_page", DENIED},
    {"cradle_join", "UPDATE join_event SET outcome = 'x'", DENIED},
    {"cradle_join", "DELETE FROM join_event", DENIED},
    {"cradle_join", "SELECT * FROM client", DENIED},
    {"cradle_join", "SELECT weak FROM claim_code", DENIED},
    {"cradle_join", "DELETE FROM claim_code", DENIED},
    {"cradle_join", "UPDATE peer SET allow_plain_keys = true", DENIED},
    {"cradle_join", "UPDATE peer SET revoked_at = now()", DENIED},
    {"cradle_join", "UPDATE kek SET is_current = false", DENIED},
    {"cradle_join", "DELETE FROM kek", DENIED},
    {"cradle_join", "DELETE FROM join_route", DENIED},
    {"cradle_join", "INSERT INTO join_route (prefix) VALUES ('x')", DENIED},
    {"cradle_join", "SELECT * FROM partner, partner_net_id", DONE},
    {"cradle_join", "UPDATE partner SET url = 'x'", DENIED},
    {"cradle_join", "INSERT INTO partner (name) VALUES ('x')", DENIED},
    {"cradle_join", "DELETE FROM partner_net_id", DENIED},
    {"cradle_join", "DELETE FROM roaming_carried_refusal", DENIED},
    {"cradle_join", "UPDATE roaming_carried_refusal SET sender = 'x'", DENIED},
    {"cradle_activation", "UPDATE roaming_carried_refusal SET n = 1", DENIED},
    {"cradle_join", "UPDATE join_route SET kind = 'refuse'", DENIED},
    {"cradle_join", "SELECT * FROM database_epoch", DONE},
    {"cradle_join", "SELECT database_timeline(), system_identifier FROM pg_control_system()", DONE},
    {"cradle_join", "SELECT database_take_timeline()", DONE},
    {"cradle_join", "UPDATE database_epoch SET timeline = 7", DENIED},
    {"cradle_activation", "SELECT database_timeline(), pg_current_wal_insert_lsn()", DONE},
    {"cradle_activation", "UPDATE database_epoch SET join_nonce_total = 0", DENIED},
    {"cradle_activation", "UPDATE device_join SET join_nonce_gap = 0", DENIED},
    {"cradle_join", "CREATE TABLE mine (a int)", DENIED},
    {"cradle_activation", "SELECT * FROM device, device_key, batch, client, peer, kek", DONE},
    {"cradle_activation", "UPDATE device SET service = 'suspended'", DONE},
    {"cradle_activation", "UPDATE peer SET revoked_at = now()", DONE},
    {"cradle_activation", "UPDATE kek SET is_current = false", DONE},
    {"cradle_activation", "DELETE FROM kek", DONE},
    {"cradle_activation", "DELETE FROM join_route", DONE},
    {"cradle_activation", "UPDATE join_route SET kind = 'refuse'", DONE},
    {"cradle_activation", "UPDATE join_route SET prefix = prefix", DENIED},
    {"cradle_activation", "UPDATE partner SET revoked_at = now()", DONE},
    {"cradle_activation", "UPDATE partner SET name = name", DENIED},
    {"cradle_activation", "DELETE FROM partner", DENIED},
    {"cradle_activation", "DELETE FROM peer", DENIED},
    {"cradle_activation", "SELECT * FROM claim_code", DONE},
    {"cradle_activation", "UPDATE claim_code SET generation = generation + 1", DONE},
    {"cradle_activation", "UPDATE claim_code SET dev_eui = dev_eui", DENIED},
    {"cradle_activation", "DELETE FROM claim_code", DENIED},
    {"cradle_activation", "UPDATE kek SET blob = blob", DONE},
    {"cradle_activation", "UPDATE kek SET label = label", DENIED},
    {"cradle_activation", "UPDATE kek SET peer_id = peer_id", DENIED},
    {"cradle_activation", "UPDATE key_rewrap SET target = target", DENIED},
    {"cradle_activation", "DELETE FROM key_rewrap", DENIED},
    {"cradle_join", "SELECT * FROM key_rewrap", DENIED},
    {"cradle_activation", "SELECT * FROM key_fence", DONE},
    {"cradle_activation", "INSERT INTO key_fence VALUES ('x')", DENIED},
    {"cradle_activation", "DELETE FROM key_fence", DENIED},
    {"cradle_join", "SELECT * FROM key_fence", DENIED},
    {"cradle_activation", "SELECT * FROM join_event", DONE},
    {"cradle_activation", "SELECT gate_rev FROM device_join", DONE},
    {"cradle_activation", "SELECT join_nonce, last_dev_nonce, nonce_epoch FROM device_join", DONE},
    {"cradle_activation", "SELECT retry_fingerprint FROM device_join", DENIED},
    {"cradle_activation", "SELECT pending_join_nonce FROM device_join", DENIED},
    {"cradle_activation", "UPDATE device_join SET join_nonce = 0", DENIED},
    {"cradle_activation", "UPDATE device_join SET last_dev_nonce = -1", DENIED},
    {"cradle_activation", "UPDATE device_join SET gate_rev = 0", DENIED},
    {"cradle_activation", "INSERT INTO device_join (dev_eui, gate_rev) VALUES ('x', 5)", DENIED},
    {"cradle_activation", "INSERT INTO device_join (dev_eui, rj_count1) VALUES ('x', 5)", DENIED},
    {"cradle_activation", "UPDATE device_join SET recent_nonces = ''", DENIED},
    {"cradle_activation", "UPDATE dev_nonce_page SET bits = bits", DENIED},
    {"cradle_activation", "SELECT * FROM dev_nonce_page", DONE},
    {"cradle_activation", "SELECT * FROM export, job_part", DONE},
    {"cradle_activation", "DELETE FROM job_part", DONE},
    {"cradle_activation", "UPDATE job_part SET bytes = bytes", DENIED},
    {"cradle_activation", "UPDATE export SET public_key = NULL", DENIED},
    {"cradle_activation", "DELETE FROM export", DENIED},
    {"cradle_join", "SELECT * FROM export", DENIED},
    {"cradle_activation", "SELECT * FROM replacement, claim_rule, claim_rule_range", DONE},
    {"cradle_activation", "UPDATE replacement SET by_epoch = 7", DENIED},
    {"cradle_activation", "UPDATE claim_rule SET n_used = 0", DONE},
    {"cradle_activation", "UPDATE claim_rule SET max_devices = 7", DENIED},
    {"cradle_activation", "UPDATE claim_rule SET expires_at = now()", DENIED},
    {"cradle_activation", "UPDATE claim_rule SET to_id = 1", DENIED},
    {"cradle_activation", "DELETE FROM claim_rule", DENIED},
    {"cradle_activation", "DELETE FROM claim_rule_range", DENIED},
    {"cradle_join", "SELECT * FROM claim_rule", DENIED},
    {"cradle_join", "SELECT * FROM replacement", DENIED},
    {"cradle_activation", "SELECT * FROM move, move_device", DONE},
    {"cradle_activation", "UPDATE move SET to_id = NULL", DENIED},
    {"cradle_activation", "UPDATE move_device SET dev_eui = dev_eui", DENIED},
    {"cradle_activation", "UPDATE job SET move = 'release'", DENIED},
    {"cradle_join", "SELECT * FROM move_device", DENIED},
    {"cradle_activation", "SELECT * FROM webhook, webhook_delivery, webhook_refused", DONE},
    {"cradle_activation", "UPDATE webhook SET generation = generation + 1", DONE},
    {"cradle_activation", "UPDATE webhook SET organization_id = 1", DENIED},
    {"cradle_activation", "UPDATE webhook SET public_id = public_id", DENIED},
    {"cradle_activation", "UPDATE webhook_delivery SET body = '{}'", DENIED},
    {"cradle_activation", "UPDATE webhook_delivery SET webhook_id = 1", DENIED},
    {"cradle_activation", "SELECT * FROM subscription, device_entitlement", DONE},
    {"cradle_activation", "UPDATE subscription SET n_places = n_places, walk = walk", DONE},
    {"cradle_activation", "UPDATE subscription SET n_used = 0", DENIED},
    {"cradle_activation", "UPDATE subscription SET organization_id = 1", DENIED},
    {"cradle_activation", "DELETE FROM subscription", DENIED},
    {"cradle_activation", "UPDATE device_entitlement SET dev_eui = dev_eui", DONE},
    {"cradle_join", "SELECT * FROM subscription", DENIED},
    {"cradle_join", "SELECT * FROM device_entitlement", DENIED},
    {"cradle_join", "SELECT entitlement_settle('{}', 'x')", DENIED},
    {"cradle_join", "SELECT * FROM webhook", DENIED},
    {"cradle_join", "SELECT * FROM webhook_delivery", DENIED},
    {"cradle_join", "SELECT webhook_tell(1, 1, '', now(), NULL)", DENIED},
    {"cradle_join", "SELECT * FROM job_part", DENIED},
    {"cradle_activation", "DELETE FROM dev_nonce_page", DENIED},
    {"cradle_activation", "INSERT INTO join_event (at) VALUES (now())", DENIED},
    {"cradle_activation", "DELETE FROM join_event", DENIED},
    {"cradle_activation", "DELETE FROM device", DENIED},
    {"cradle_activation", "SELECT join_event_partitions()", DENIED},
    {"cradle_activation", "DELETE FROM schema_migration", DENIED},
    {"cradle_activation", "CREATE TABLE mine (a int)", DENIED},
    {"cradle_activation", "SELECT * FROM audit_event, audit_chain, audit_node", DONE},
    {"cradle_activation", "SELECT * FROM audit_pending, audit_checkpoint", DONE},
    {"cradle_activation", "UPDATE audit_event SET detail = '{}'", DENIED},
    {"cradle_activation", "DELETE FROM audit_event", DENIED},
    {"cradle_activation", "UPDATE audit_chain SET chain = chain", DENIED},
    {"cradle_activation", "DELETE FROM audit_chain", DENIED},
    {"cradle_activation", "TRUNCATE audit_chain", DENIED},
    {"cradle_activation", "UPDATE audit_node SET hash = hash", DENIED},
    {"cradle_activation", "DELETE FROM audit_node", DENIED},
    {"cradle_activation", "UPDATE audit_checkpoint SET root = root", DENIED},
    {"cradle_activation", "DELETE FROM audit_checkpoint", DENIED},
    {"cradle_activation", "INSERT INTO audit_pending VALUES (1)", DENIED},
    {"cradle_activation", "UPDATE audit_pending SET event_id = 1", DENIED},
    {"cradle_activation", "TRUNCATE audit_pending", DENIED},
    {"cradle_activation", "ALTER TABLE audit_event DISABLE TRIGGER ALL", DENIED},
    {"cradle_join", "SELECT * FROM audit_event", DENIED},
    {"cradle_join", "SELECT * FROM audit_chain", DENIED},
    {"cradle_join", "SELECT * FROM audit_pending", DENIED},
    {"cradle_activation", "SELECT * FROM trust_signal, trust_scan", DONE},
    {"cradle_activation", "UPDATE trust_signal SET judged = true", DONE},
    {"cradle_activation", "UPDATE trust_signal SET at = now()", DENIED},
    {"cradle_activation", "DELETE FROM trust_scan", DENIED},
    {"cradle_join", "SELECT * FROM trust_signal", DENIED},
    {"cradle_join", "UPDATE trust_signal SET judged = true", DENIED},
    {"cradle_join", "UPDATE organization SET quarantine_clones = false", DENIED},
    {"stranger", "SELECT * FROM public.device", DENIED},
    {"stranger", "SELECT * FROM public.join_event", DENIED},
    {"stranger", "SELECT * FROM public.schema_migration", DENIED},
    {"stranger", "SELECT public.join_event_partitions()", DENIED},
};

START_TEST(each_role_may_do_its_part_and_no_more)
{
    make_devices(1, 2, LW_MAC_1_0_3);
    pg_sql(cluster, database, "CREATE ROLE stranger LOGIN");
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        char sqlstate[6];

        pg_try(cluster, database, acts[i].role, acts[i].sql, sqlstate);
        ck_assert_msg(strcmp(sqlstate, acts[i].sqlstate) == 0, "%s: %s: %s, not %s", acts[i].role,
            acts[i].sql, sqlstate, acts[i].sqlstate);
    }
}
END_TEST

START_TEST(strangers_cannot_connect_to_a_migrated_database)
{
    char *acl = pg_text(cluster, database,
        "SELECT has_database_privilege('cradle_join', 'cradle_template', 'CONNECT'),"
        " has_database_privilege('cradle_join', 'cradle_template', 'TEMP'),"
        " (SELECT datacl::text LIKE '%{=%' OR datacl::text LIKE '%,=%' FROM pg_database"
        "  WHERE datname = 'cradle_template')");

    ck_assert_str_eq(acl, "t f f \n");
    free(acl);
}
END_TEST

START_TEST(functions_with_rights_of_the_owner_fix_their_search_path)
{
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT count(*) FROM pg_proc WHERE prosecdef AND pronamespace ="
                         " 'public'::regnamespace"),
        10);
    ck_assert_int_eq(pg_number(cluster, database,
                         "SELECT count(*) FROM pg_proc WHERE prosecdef AND pronamespace ="
                         " 'public'::regnamespace AND proconfig::text NOT LIKE '%search_path%'"),
        0);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, each_role_may_do_its_part_and_no_more);
    tcase_add_test(tcase, strangers_cannot_connect_to_a_migrated_database);
    tcase_add_test(tcase, functions_with_rights_of_the_owner_fix_their_search_path);
}

int main(void)
{
    return run_suite("db rights", add);
}
