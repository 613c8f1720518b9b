/* The table of statements. The SQL of each stands beside the function that runs it; here they have
 * their numbers. Prepared on first use in each connection. Private to db/. */
#pragma once

#include "db/params.h"

enum db_statement_id {
    DB_CHECK,
    DB_EPOCH_LOOK,
    DB_EPOCH_TAKE,
    DB_EPOCH_BUMP,
    DB_EPOCH_SEQUENCES,
    DB_EPOCH_LOW,
    DB_MIGRATIONS,
    DB_JOIN_LOAD,
    DB_JOIN_COMMIT,
    DB_LEFT_END,
    DB_JOIN_RESOLVE,
    DB_JOIN_SETTLE,
    DB_JOIN_SESSION,
    DB_JOIN_REFUSALS,
    DB_JOIN_PARTITIONS,
    DB_JOIN_COUNT,
    DB_DIRECTORY_PEERS,
    DB_DIRECTORY_NS_IDS,
    DB_DIRECTORY_KEKS,
    DB_DIRECTORY_ROUTES,
    DB_DIRECTORY_PARTNERS,
    DB_PARTNER_ADD,
    DB_PARTNER_LIST,
    DB_PARTNER_FIND,
    DB_PARTNER_HOLD,
    DB_PARTNER_LOCK,
    DB_PARTNER_SET,
    DB_PARTNER_ROUTE,
    DB_PARTNER_REVOKE,
    DB_PEER_ADD,
    DB_PEER_SET_TRUST,
    DB_PEER_LOCK,
    DB_PEER_SET,
    DB_KEK_ADD,
    DB_KEK_LOCK,
    DB_KEK_RETIRE,
    DB_KEK_MAKE_CURRENT,
    DB_KEK_MAKE_FIRST,
    DB_ROUTE_ADD,
    DB_PEER_LIST,
    DB_PEER_FIND,
    DB_PEER_REVOKE,
    DB_KEK_LIST,
    DB_KEK_HOLD,
    DB_KEK_FIND_ID,
    DB_KEK_COMPARE,
    DB_KEK_REMOVE,
    DB_ROUTE_LIST,
    DB_ROUTE_FIND,
    DB_ROUTE_LOCK,
    DB_ROUTE_LONGEST,
    DB_ROUTE_SET,
    DB_NET_ID_SPOKEN,
    DB_JOIN_EUI_OWNERS_LOCK,
    DB_JOIN_EUI_OWNERS_HOLD,
    DB_JOIN_EUIS_OF_OTHERS,
    DB_ROUTE_REMOVE,
    DB_CERTIFICATE_ADD,
    DB_CERTIFICATE_FIND,
    DB_CERTIFICATE_LIST,
    DB_CERTIFICATE_REVOKE,
    DB_CLIENT_ADD,
    DB_CLIENT_FIND,
    DB_CLIENT_STANDING,
    DB_ORGANIZATION_ADD,
    DB_ORGANIZATION_FIND,
    DB_ORGANIZATION_SET,
    DB_ORGANIZATION_LIST,
    DB_ORGANIZATION_CLIENT_ADD,
    DB_ORGANIZATION_CLIENT_LIST,
    DB_ORGANIZATION_CLIENT_REVOKE,
    DB_CERTIFICATE_HOLDER_FIND,
    DB_AUDIT_ADD,
    DB_AUDIT_HAS,
    DB_AUDIT_LIST,
    DB_AUDIT_LIST_ALL,
    DB_AUDIT_WAITS,
    DB_AUDIT_TURN,
    DB_AUDIT_HEAD,
    DB_AUDIT_FRONTIER,
    DB_AUDIT_WAITING,
    DB_AUDIT_CHAIN_ADD,
    DB_AUDIT_NODE_ADD,
    DB_AUDIT_WAITED,
    DB_AUDIT_CHECKPOINT_DUE,
    DB_AUDIT_CHECKPOINT_ADD,
    DB_AUDIT_CHECKPOINT_NEXT,
    DB_AUDIT_EXTENT,
    DB_AUDIT_PAGE_ALL,
    DB_AUDIT_PAGE_OWN,
    DB_AUDIT_NODES,
    DB_IDEMPOTENCY_TAKE,
    DB_IDEMPOTENCY_TAKE_ALL,
    DB_IDEMPOTENCY_COMPARE,
    DB_IDEMPOTENCY_FIND,
    DB_IDEMPOTENCY_KEEP,
    DB_IDEMPOTENCY_PURGE,
    DB_JOB_ADD,
    DB_JOB_CALL,
    DB_JOB_RESUME,
    DB_JOB_ADVANCE,
    DB_JOB_RENEW,
    DB_JOB_SWEEP,
    DB_JOB_FIND,
    DB_JOB_END,
    DB_JOB_CANCEL,
    DB_JOB_ROWS_ADD,
    DB_JOB_REPORT,
    DB_JOB_LIST,
    DB_JOB_LOOK,
    DB_REPORT_KEPT,
    DB_REPORT_EXPIRE,
    DB_REPORT_PURGE,
    DB_EXPORT_OPEN,
    DB_EXPORT_ADD,
    DB_EXPORT_TAKE,
    DB_EXPORT_LOAD,
    DB_EXPORT_LOAD_BATCH,
    DB_EXPORT_NONCES,
    DB_EXPORT_ADVANCE,
    DB_EXPORT_EXPOSE,
    DB_EXPORT_WRITE,
    DB_EXPORT_END,
    DB_EXPORT_PUT_BACK,
    DB_EXPORT_READ,
    DB_EXPORT_FORMAT,
    DB_EXPORT_DISCARD,
    DB_EXPORT_SWEEP,
    DB_BATCH_BEGIN,
    DB_BATCH_FINISH,
    DB_BATCH_DEVICES,
    DB_BATCH_KEYS,
    DB_BATCH_HOT,
    DB_BATCH_NONCES,
    DB_BATCH_KNOWN_KEYS,
    DB_BATCH_KNOWN_DEVICES,
    DB_BATCH_FIND,
    DB_BATCH_LIST,
    DB_DEVICE_FIND,
    DB_DEVICE_LIST,
    DB_DEVICE_LIST_BATCH,
    DB_DEVICE_PREFLIGHT,
    DB_ATTEMPT_LIST,
    DB_ATTEMPT_USES,
    DB_CODE_GIVE,
    DB_CODE_BEGIN,
    DB_CODE_END,
    DB_CODE_WALK,
    DB_CODE_MAKE,
    DB_CLAIM_LOAD,
    DB_CLAIM_SETTLE,
    DB_CLAIM_COUNT,
    DB_CLAIM_WATCH,
    DB_CLAIM_FORGIVE,
    DB_CLAIM_FORGET,
    DB_DEVICE_CHANGE,
    DB_HOME_KNOWN,
    DB_CODE_STANDING,
    DB_CODE_RENEW,
    DB_CODE_UNLOCK,
    DB_MOVE_ADD,
    DB_MOVE_LIST,
    DB_MOVE_LIST_BATCH,
    DB_MOVE_TAKE,
    DB_MOVE_LOAD,
    DB_MOVE_ADVANCE,
    DB_MOVE_END,
    DB_MOVE_PUT_BACK,
    DB_ORDER_RUN_TAKE,
    DB_ORDER_RUN_BEGIN,
    DB_ORDER_RUN_CODES,
    DB_ORDER_RUN_WRITE,
    DB_ORDER_RUN_ADVANCE,
    DB_ORDER_RUN_END,
    DB_ORDER_RUN_PUT_BACK,
    DB_ORDER_RUN_MARK,
    DB_ORDER_FILES,
    DB_ORDER_FILE_HOLD,
    DB_ORDER_FILE_TAKE,
    DB_ORDER_FILE_READ,
    DB_ORDER_FILE_AT,
    DB_ORDER_FILE_LIST,
    DB_ORDER_FILE_DISCARD,
    DB_ORDER_FILE_PURGE,
    DB_CODE_WALK_JOB,
    DB_CODE_MAKE_JOB,
    DB_OFFER_ADD,
    DB_OFFER_FIND,
    DB_OFFER_LIST,
    DB_OFFER_END,
    DB_OFFER_EXPIRE,
    DB_OFFER_PURGE,
    DB_DEVICE_LOAD_MOVING,
    DB_DEVICE_DESTROY_KEYS,
    DB_DEVICE_MARK_QUARANTINE,
    DB_CLAIM_LOCK,
    DB_CLAIM_UNLOCK,
    DB_CODE_FORGIVE,
    DB_CUSTODY_DEVICE,
    DB_CUSTODY_KEYS,
    DB_CUSTODY_EVENTS,
    DB_CUSTODY_DELIVERIES,
    DB_REHEARSAL_SAMPLES,
    DB_TEST_WINDOW_OPEN,
    DB_TEST_WINDOW_MISSING,
    DB_TEST_WINDOW_CLOSE,
    DB_TEST_WINDOW_LIST,
    DB_WEBHOOK_ADD,
    DB_WEBHOOK_FIND,
    DB_WEBHOOK_LIST,
    DB_WEBHOOK_SET,
    DB_WEBHOOK_EMPTY,
    DB_WEBHOOK_REMOVE,
    DB_WEBHOOK_SCAN,
    DB_WEBHOOK_TRIED,
    DB_WEBHOOK_REFUSED,
    DB_WEBHOOK_FIRST_JOINS,
    DB_WEBHOOK_OLD,
    DB_WEBHOOK_SURPLUS,
    DB_WEBHOOK_FORGET,
    DB_BACKLOG,
    DB_CLOCK_READ,
    DB_CLOCK_JOBS,
    DB_CLOCK_DELIVERIES,
    DB_CLOCK_WEBHOOKS,
    DB_CLOCK_FIRST_JOINS,
    DB_CLOCK_ATTEMPTS,
    DB_CLOCK_REFUSED,
    DB_CLOCK_LIMITS,
    DB_CLOCK_RULES,
    DB_CLOCK_SIGNALS,
    DB_CLOCK_SUSPECTS,
    DB_CLOCK_SUBSCRIPTIONS,
    DB_DELIVERY_LIST,
    DB_DELIVERY_FIND,
    DB_DELIVERY_REPLAY,
    DB_DELIVERY_TAKE,
    DB_DELIVERY_SETTLE,
    DB_SUBSCRIPTION_ADD,
    DB_SUBSCRIPTION_FIND,
    DB_SUBSCRIPTION_LIST,
    DB_SUBSCRIPTION_SET,
    DB_SUBSCRIPTION_TAKE,
    DB_SUBSCRIPTION_GIVE_BACK,
    DB_SUBSCRIPTION_SETTLE,
    DB_SUBSCRIPTION_HAND_OVER,
    DB_SUBSCRIPTION_NOTICE,
    DB_SUBSCRIPTION_DUE,
    DB_SUBSCRIPTION_WALK,
    DB_ORGANIZATION_WALK,
    DB_CERTIFICATE_SET_QUOTA,
    DB_AGREEMENTS,
    DB_AGREEMENT_MEMBERS,
    DB_AGREEMENT_ADD,
    DB_AGREEMENT_HOLD,
    DB_AGREEMENT_LIST,
    DB_AGREEMENT_SET,
    DB_AGREEMENT_REMOVE,
    DB_GROUP_ADD,
    DB_GROUP_HOLD,
    DB_GROUP_SET,
    DB_GROUP_REMOVE,
    DB_GROUP_LIST,
    DB_ROAMING_REFUSED,
    DB_ROAMING_CARRIED,
    DB_ROAMING_CARRIED_PURGE,
    DB_ROAMING_REFUSAL_LIST,
    DB_ROAMING_REFUSAL_PURGE,
    DB_EUI_BLOCK_ADD,
    DB_EUI_BLOCK_OVERLAPPING,
    DB_EUI_BLOCK_FIND,
    DB_EUI_BLOCK_LIST,
    DB_EUI_BLOCK_CLOSE,
    DB_ORDER_LOCK,
    DB_ORDER_ADD,
    DB_ORDER_TAKE,
    DB_ORDER_LEFT,
    DB_ORDER_BEGIN,
    DB_ORDER_REJECT,
    DB_ORDER_WITHDRAW,
    DB_ORGANIZATION_POLICY,
    DB_ORGANIZATION_SET_POLICY,
    DB_SIGNAL_SCAN,
    DB_SIGNAL_NONCES,
    DB_SIGNAL_REJOINS,
    DB_SIGNAL_SUSPENDED,
    DB_SIGNAL_RATES,
    DB_SIGNAL_SHARED,
    DB_SIGNAL_WAITING,
    DB_SIGNAL_DEVICES,
    DB_SIGNAL_LIST,
    DB_SIGNAL_MOVE,
    DB_SIGNAL_JUDGED,
    DB_SIGNAL_LATER,
    DB_SIGNAL_FORGET,
    DB_SIGNAL_PURGE,
    DB_REPLACEMENT_LOCK,
    DB_REPLACEMENT_ADD,
    DB_REPLACEMENT_ENTITLE,
    DB_REPLACEMENT_PLACES,
    DB_REPLACEMENT_MAKE_WAY,
    DB_REPLACEMENT_SETTLE,
    DB_REPLACEMENT_END,
    DB_RULE_CHECK,
    DB_RULE_ADD,
    DB_RULE_FIND,
    DB_RULE_LIST,
    DB_RULE_RANGES,
    DB_RULE_SKIPPED,
    DB_RULE_ACCEPT,
    DB_RULE_END,
    DB_RULE_TAKE,
    DB_RULE_LOAD,
    DB_RULE_CLAIM,
    DB_RULE_EXPIRE,
    DB_RULE_WAKE,
    DB_ID_PAC_LOAD,
    DB_ID_PAC_SETTLE,
    DB_ID_PAC_PROTOTYPES,
    DB_ID_PAC_HAND_OVER,
    DB_ID_PAC_TRIED,
    DB_TTJS_NS_ID,
    DB_TTJS_KEEP,
    DB_TTJS_LOAD,
    DB_TTJS_RELEASE,
    DB_TTJS_LOAD_RELEASED,
    DB_TTJS_REISSUE,
    DB_REWRAP_TAKE,
    DB_REWRAP_DEVICES,
    DB_REWRAP_KEKS,
    DB_REWRAP_ORDERS,
    DB_REWRAP_WRITE_DEVICES,
    DB_REWRAP_WRITE_KEKS,
    DB_REWRAP_WRITE_ORDERS,
    DB_REWRAP_STEP,
    DB_REWRAP_USES,
    DB_REWRAP_AGAIN,
    DB_REWRAP_WAKE,
    DB_REWRAP_FORGET_LABELS,
    DB_REWRAP_PROGRESS,
    DB_FENCE_LOCK,
    DB_FENCE_HOLDERS,
    DB_FENCE_RAISE,
    DB_FENCE_HOLD,
    DB_FENCE_LOWER,
    DB_N_STATEMENTS,
};

enum db_shape {
    DB_SHAPE_ONE, /* exactly one row */
    DB_SHAPE_ONE_OR_NONE,
    DB_SHAPE_MANY, /* any number */
};

struct db_statement {
    const char *name;
    const char *sql;
    enum db_shape shape;
    bool commits; /* outside a transaction, its end is a commit */
    size_t n_params;
    enum db_type params[DB_PARAMS_MAX];
};

extern const struct db_statement db_check_statement;
extern const struct db_statement db_epoch_look_statement;
extern const struct db_statement db_epoch_take_statement;
extern const struct db_statement db_epoch_bump_statement;
extern const struct db_statement db_epoch_sequences_statement;
extern const struct db_statement db_epoch_low_statement;
extern const struct db_statement db_migrations_statement;
extern const struct db_statement db_join_load_statement;
extern const struct db_statement db_join_commit_statement;
extern const struct db_statement db_left_end_statement;
extern const struct db_statement db_join_resolve_statement;
extern const struct db_statement db_join_settle_statement;
extern const struct db_statement db_join_session_statement;
extern const struct db_statement db_join_refusals_statement;
extern const struct db_statement db_join_partitions_statement;
extern const struct db_statement db_join_count_statement;
extern const struct db_statement db_directory_peers_statement;
extern const struct db_statement db_directory_ns_ids_statement;
extern const struct db_statement db_directory_keks_statement;
extern const struct db_statement db_directory_routes_statement;
extern const struct db_statement db_directory_partners_statement;
extern const struct db_statement db_partner_add_statement;
extern const struct db_statement db_partner_list_statement;
extern const struct db_statement db_partner_find_statement;
extern const struct db_statement db_partner_hold_statement;
extern const struct db_statement db_partner_lock_statement;
extern const struct db_statement db_partner_set_statement;
extern const struct db_statement db_partner_route_statement;
extern const struct db_statement db_partner_revoke_statement;
extern const struct db_statement db_peer_add_statement;
extern const struct db_statement db_peer_set_trust_statement;
extern const struct db_statement db_peer_lock_statement;
extern const struct db_statement db_peer_set_statement;
extern const struct db_statement db_kek_add_statement;
extern const struct db_statement db_kek_lock_statement;
extern const struct db_statement db_kek_retire_statement;
extern const struct db_statement db_kek_make_current_statement;
extern const struct db_statement db_kek_make_first_statement;
extern const struct db_statement db_route_add_statement;
extern const struct db_statement db_peer_list_statement;
extern const struct db_statement db_peer_find_statement;
extern const struct db_statement db_peer_revoke_statement;
extern const struct db_statement db_kek_list_statement;
extern const struct db_statement db_kek_hold_statement;
extern const struct db_statement db_kek_find_id_statement;
extern const struct db_statement db_kek_compare_statement;
extern const struct db_statement db_kek_remove_statement;
extern const struct db_statement db_route_list_statement;
extern const struct db_statement db_route_find_statement;
extern const struct db_statement db_route_lock_statement;
extern const struct db_statement db_route_longest_statement;
extern const struct db_statement db_route_set_statement;
extern const struct db_statement db_net_id_spoken_statement;
extern const struct db_statement db_join_eui_owners_lock_statement;
extern const struct db_statement db_join_eui_owners_hold_statement;
extern const struct db_statement db_join_euis_of_others_statement;
extern const struct db_statement db_route_remove_statement;
extern const struct db_statement db_certificate_add_statement;
extern const struct db_statement db_certificate_find_statement;
extern const struct db_statement db_certificate_list_statement;
extern const struct db_statement db_certificate_revoke_statement;
extern const struct db_statement db_client_add_statement;
extern const struct db_statement db_client_find_statement;
extern const struct db_statement db_client_standing_statement;
extern const struct db_statement db_organization_add_statement;
extern const struct db_statement db_organization_find_statement;
extern const struct db_statement db_organization_set_statement;
extern const struct db_statement db_organization_list_statement;
extern const struct db_statement db_organization_client_add_statement;
extern const struct db_statement db_organization_client_list_statement;
extern const struct db_statement db_organization_client_revoke_statement;
extern const struct db_statement db_certificate_holder_find_statement;
extern const struct db_statement db_audit_add_statement;
extern const struct db_statement db_audit_has_statement;
extern const struct db_statement db_audit_list_statement;
extern const struct db_statement db_audit_list_all_statement;
extern const struct db_statement db_audit_waits_statement;
extern const struct db_statement db_audit_turn_statement;
extern const struct db_statement db_audit_head_statement;
extern const struct db_statement db_audit_frontier_statement;
extern const struct db_statement db_audit_waiting_statement;
extern const struct db_statement db_audit_chain_add_statement;
extern const struct db_statement db_audit_node_add_statement;
extern const struct db_statement db_audit_waited_statement;
extern const struct db_statement db_audit_checkpoint_due_statement;
extern const struct db_statement db_audit_checkpoint_add_statement;
extern const struct db_statement db_audit_checkpoint_next_statement;
extern const struct db_statement db_audit_extent_statement;
extern const struct db_statement db_audit_page_all_statement;
extern const struct db_statement db_audit_page_own_statement;
extern const struct db_statement db_audit_nodes_statement;
extern const struct db_statement db_idempotency_take_statement;
extern const struct db_statement db_idempotency_take_all_statement;
extern const struct db_statement db_idempotency_compare_statement;
extern const struct db_statement db_idempotency_find_statement;
extern const struct db_statement db_idempotency_keep_statement;
extern const struct db_statement db_idempotency_purge_statement;
extern const struct db_statement db_job_add_statement;
extern const struct db_statement db_job_call_statement;
extern const struct db_statement db_job_resume_statement;
extern const struct db_statement db_job_advance_statement;
extern const struct db_statement db_job_renew_statement;
extern const struct db_statement db_job_sweep_statement;
extern const struct db_statement db_job_find_statement;
extern const struct db_statement db_job_end_statement;
extern const struct db_statement db_job_cancel_statement;
extern const struct db_statement db_job_rows_add_statement;
extern const struct db_statement db_job_report_statement;
extern const struct db_statement db_job_list_statement;
extern const struct db_statement db_job_look_statement;
extern const struct db_statement db_report_kept_statement;
extern const struct db_statement db_report_expire_statement;
extern const struct db_statement db_report_purge_statement;
extern const struct db_statement db_export_open_statement;
extern const struct db_statement db_export_add_statement;
extern const struct db_statement db_export_take_statement;
extern const struct db_statement db_export_load_statement;
extern const struct db_statement db_export_load_batch_statement;
extern const struct db_statement db_export_nonces_statement;
extern const struct db_statement db_export_advance_statement;
extern const struct db_statement db_export_expose_statement;
extern const struct db_statement db_export_write_statement;
extern const struct db_statement db_export_end_statement;
extern const struct db_statement db_export_put_back_statement;
extern const struct db_statement db_export_read_statement;
extern const struct db_statement db_export_format_statement;
extern const struct db_statement db_export_discard_statement;
extern const struct db_statement db_export_sweep_statement;
extern const struct db_statement db_batch_begin_statement;
extern const struct db_statement db_batch_finish_statement;
extern const struct db_statement db_batch_devices_statement;
extern const struct db_statement db_batch_keys_statement;
extern const struct db_statement db_batch_hot_statement;
extern const struct db_statement db_batch_nonces_statement;
extern const struct db_statement db_batch_known_keys_statement;
extern const struct db_statement db_batch_known_devices_statement;
extern const struct db_statement db_batch_find_statement;
extern const struct db_statement db_batch_list_statement;
extern const struct db_statement db_device_find_statement;
extern const struct db_statement db_device_list_statement;
extern const struct db_statement db_device_list_batch_statement;
extern const struct db_statement db_device_preflight_statement;
extern const struct db_statement db_attempt_list_statement;
extern const struct db_statement db_attempt_uses_statement;
extern const struct db_statement db_code_give_statement;
extern const struct db_statement db_code_begin_statement;
extern const struct db_statement db_code_end_statement;
extern const struct db_statement db_code_walk_statement;
extern const struct db_statement db_code_make_statement;
extern const struct db_statement db_claim_load_statement;
extern const struct db_statement db_claim_settle_statement;
extern const struct db_statement db_claim_count_statement;
extern const struct db_statement db_claim_watch_statement;
extern const struct db_statement db_claim_forgive_statement;
extern const struct db_statement db_claim_forget_statement;
extern const struct db_statement db_device_change_statement;
extern const struct db_statement db_home_known_statement;
extern const struct db_statement db_code_standing_statement;
extern const struct db_statement db_code_renew_statement;
extern const struct db_statement db_code_unlock_statement;
extern const struct db_statement db_move_add_statement;
extern const struct db_statement db_move_list_statement;
extern const struct db_statement db_move_list_batch_statement;
extern const struct db_statement db_move_take_statement;
extern const struct db_statement db_move_load_statement;
extern const struct db_statement db_move_advance_statement;
extern const struct db_statement db_move_end_statement;
extern const struct db_statement db_move_put_back_statement;
extern const struct db_statement db_order_run_take_statement;
extern const struct db_statement db_order_run_begin_statement;
extern const struct db_statement db_order_run_codes_statement;
extern const struct db_statement db_order_run_write_statement;
extern const struct db_statement db_order_run_advance_statement;
extern const struct db_statement db_order_run_end_statement;
extern const struct db_statement db_order_run_put_back_statement;
extern const struct db_statement db_order_run_mark_statement;
extern const struct db_statement db_order_files_statement;
extern const struct db_statement db_order_file_hold_statement;
extern const struct db_statement db_order_file_take_statement;
extern const struct db_statement db_order_file_read_statement;
extern const struct db_statement db_order_file_at_statement;
extern const struct db_statement db_order_file_list_statement;
extern const struct db_statement db_order_file_discard_statement;
extern const struct db_statement db_order_file_purge_statement;
extern const struct db_statement db_code_walk_job_statement;
extern const struct db_statement db_code_make_job_statement;
extern const struct db_statement db_offer_add_statement;
extern const struct db_statement db_offer_find_statement;
extern const struct db_statement db_offer_list_statement;
extern const struct db_statement db_offer_end_statement;
extern const struct db_statement db_offer_expire_statement;
extern const struct db_statement db_offer_purge_statement;
extern const struct db_statement db_device_destroy_keys_statement;
extern const struct db_statement db_device_load_moving_statement;
extern const struct db_statement db_device_mark_quarantine_statement;
extern const struct db_statement db_claim_lock_statement;
extern const struct db_statement db_claim_unlock_statement;
extern const struct db_statement db_code_forgive_statement;
extern const struct db_statement db_custody_device_statement;
extern const struct db_statement db_custody_keys_statement;
extern const struct db_statement db_custody_events_statement;
extern const struct db_statement db_custody_deliveries_statement;
extern const struct db_statement db_rehearsal_samples_statement;
extern const struct db_statement db_test_window_open_statement;
extern const struct db_statement db_test_window_missing_statement;
extern const struct db_statement db_test_window_close_statement;
extern const struct db_statement db_test_window_list_statement;
extern const struct db_statement db_webhook_add_statement;
extern const struct db_statement db_webhook_find_statement;
extern const struct db_statement db_webhook_list_statement;
extern const struct db_statement db_webhook_set_statement;
extern const struct db_statement db_webhook_empty_statement;
extern const struct db_statement db_webhook_remove_statement;
extern const struct db_statement db_webhook_scan_statement;
extern const struct db_statement db_webhook_tried_statement;
extern const struct db_statement db_webhook_refused_statement;
extern const struct db_statement db_webhook_first_joins_statement;
extern const struct db_statement db_webhook_old_statement;
extern const struct db_statement db_webhook_surplus_statement;
extern const struct db_statement db_webhook_forget_statement;
extern const struct db_statement db_backlog_statement;
extern const struct db_statement db_clock_read_statement;
extern const struct db_statement db_clock_jobs_statement;
extern const struct db_statement db_clock_deliveries_statement;
extern const struct db_statement db_clock_webhooks_statement;
extern const struct db_statement db_clock_first_joins_statement;
extern const struct db_statement db_clock_attempts_statement;
extern const struct db_statement db_clock_refused_statement;
extern const struct db_statement db_clock_limits_statement;
extern const struct db_statement db_clock_rules_statement;
extern const struct db_statement db_clock_signals_statement;
extern const struct db_statement db_clock_suspects_statement;
extern const struct db_statement db_clock_subscriptions_statement;
extern const struct db_statement db_delivery_list_statement;
extern const struct db_statement db_delivery_find_statement;
extern const struct db_statement db_delivery_replay_statement;
extern const struct db_statement db_delivery_take_statement;
extern const struct db_statement db_delivery_settle_statement;
extern const struct db_statement db_rule_wake_statement;
extern const struct db_statement db_id_pac_load_statement;
extern const struct db_statement db_id_pac_settle_statement;
extern const struct db_statement db_id_pac_prototypes_statement;
extern const struct db_statement db_id_pac_hand_over_statement;
extern const struct db_statement db_id_pac_tried_statement;
extern const struct db_statement db_ttjs_ns_id_statement;
extern const struct db_statement db_ttjs_keep_statement;
extern const struct db_statement db_ttjs_load_statement;
extern const struct db_statement db_ttjs_release_statement;
extern const struct db_statement db_ttjs_load_released_statement;
extern const struct db_statement db_ttjs_reissue_statement;
extern const struct db_statement db_rewrap_take_statement;
extern const struct db_statement db_rewrap_devices_statement;
extern const struct db_statement db_rewrap_keks_statement;
extern const struct db_statement db_rewrap_orders_statement;
extern const struct db_statement db_rewrap_write_devices_statement;
extern const struct db_statement db_rewrap_write_keks_statement;
extern const struct db_statement db_rewrap_write_orders_statement;
extern const struct db_statement db_rewrap_step_statement;
extern const struct db_statement db_rewrap_uses_statement;
extern const struct db_statement db_rewrap_again_statement;
extern const struct db_statement db_rewrap_wake_statement;
extern const struct db_statement db_rewrap_forget_labels_statement;
extern const struct db_statement db_rewrap_progress_statement;
extern const struct db_statement db_fence_lock_statement;
extern const struct db_statement db_fence_holders_statement;
extern const struct db_statement db_fence_raise_statement;
extern const struct db_statement db_fence_hold_statement;
extern const struct db_statement db_fence_lower_statement;
extern const struct db_statement db_replacement_lock_statement;
extern const struct db_statement db_replacement_add_statement;
extern const struct db_statement db_replacement_entitle_statement;
extern const struct db_statement db_replacement_places_statement;
extern const struct db_statement db_replacement_make_way_statement;
extern const struct db_statement db_replacement_settle_statement;
extern const struct db_statement db_replacement_end_statement;
extern const struct db_statement db_rule_check_statement;
extern const struct db_statement db_rule_add_statement;
extern const struct db_statement db_rule_find_statement;
extern const struct db_statement db_rule_list_statement;
extern const struct db_statement db_rule_ranges_statement;
extern const struct db_statement db_rule_skipped_statement;
extern const struct db_statement db_rule_accept_statement;
extern const struct db_statement db_rule_end_statement;
extern const struct db_statement db_rule_take_statement;
extern const struct db_statement db_rule_load_statement;
extern const struct db_statement db_rule_claim_statement;
extern const struct db_statement db_rule_expire_statement;
extern const struct db_statement db_organization_policy_statement;
extern const struct db_statement db_organization_set_policy_statement;
extern const struct db_statement db_signal_scan_statement;
extern const struct db_statement db_signal_nonces_statement;
extern const struct db_statement db_signal_rejoins_statement;
extern const struct db_statement db_signal_suspended_statement;
extern const struct db_statement db_signal_rates_statement;
extern const struct db_statement db_signal_shared_statement;
extern const struct db_statement db_signal_waiting_statement;
extern const struct db_statement db_signal_devices_statement;
extern const struct db_statement db_signal_list_statement;
extern const struct db_statement db_signal_move_statement;
extern const struct db_statement db_signal_judged_statement;
extern const struct db_statement db_signal_later_statement;
extern const struct db_statement db_signal_forget_statement;
extern const struct db_statement db_signal_purge_statement;
extern const struct db_statement db_subscription_add_statement;
extern const struct db_statement db_subscription_find_statement;
extern const struct db_statement db_subscription_list_statement;
extern const struct db_statement db_subscription_set_statement;
extern const struct db_statement db_subscription_take_statement;
extern const struct db_statement db_subscription_give_back_statement;
extern const struct db_statement db_subscription_settle_statement;
extern const struct db_statement db_subscription_hand_over_statement;
extern const struct db_statement db_subscription_notice_statement;
extern const struct db_statement db_subscription_due_statement;
extern const struct db_statement db_subscription_walk_statement;
extern const struct db_statement db_organization_walk_statement;
extern const struct db_statement db_certificate_set_quota_statement;
extern const struct db_statement db_agreements_statement;
extern const struct db_statement db_agreement_members_statement;
extern const struct db_statement db_agreement_add_statement;
extern const struct db_statement db_agreement_hold_statement;
extern const struct db_statement db_agreement_list_statement;
extern const struct db_statement db_agreement_set_statement;
extern const struct db_statement db_agreement_remove_statement;
extern const struct db_statement db_group_add_statement;
extern const struct db_statement db_group_hold_statement;
extern const struct db_statement db_group_set_statement;
extern const struct db_statement db_group_remove_statement;
extern const struct db_statement db_group_list_statement;
extern const struct db_statement db_roaming_refused_statement;
extern const struct db_statement db_roaming_carried_statement;
extern const struct db_statement db_roaming_carried_purge_statement;
extern const struct db_statement db_roaming_refusal_list_statement;
extern const struct db_statement db_roaming_refusal_purge_statement;
extern const struct db_statement db_eui_block_add_statement;
extern const struct db_statement db_eui_block_overlapping_statement;
extern const struct db_statement db_eui_block_find_statement;
extern const struct db_statement db_eui_block_list_statement;
extern const struct db_statement db_eui_block_close_statement;
extern const struct db_statement db_order_lock_statement;
extern const struct db_statement db_order_add_statement;
extern const struct db_statement db_order_take_statement;
extern const struct db_statement db_order_left_statement;
extern const struct db_statement db_order_begin_statement;
extern const struct db_statement db_order_reject_statement;
extern const struct db_statement db_order_withdraw_statement;

/** Whose a device is by now. The expression of the indexes device_holder and device_of_batch; a
 * list of a holder's devices bounds whole rows, as in db/export.c. */
#define DB_HOLDER "coalesce(owner_id, organization_id)"

/** The JoinNonce below which nothing of a row of device_join may be used: the last one, and the
 * gaps that the device has not left out yet. */
#define DB_JOIN_NONCE_FLOOR(row)                                                                   \
    "least(" row                                                                                   \
    ".join_nonce + greatest((SELECT e.join_nonce_total FROM database_epoch e WHERE e.only_one)"    \
    " - " row ".join_nonce_gap, 0), 16777215)"

/** A number of ours as a text of SQL. */
#define DB_DECIMAL_(number) #number
#define DB_DECIMAL(number) DB_DECIMAL_(number)

/** A column of type timestamptz as DB_TIME_TEXT_LEN characters. */
#define DB_UTC(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

const struct db_statement *db_statement_at(enum db_statement_id id);
