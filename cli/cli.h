/* The `cradle` command: the REST API of the activation service for an operator and administrator;
 * and direct access to database and token for the key ceremony, the schema and the first
 * administrator. One row of the verb table (cradle_main.c) a verb; one file a group.
 */
#pragma once

#include "api/find.h"
#include "base/text.h"
#include "db/db.h"
#include <stddef.h>

struct cli_settings {
    const char *config_file; /* of --config; NULL: none */
    char *owner_conninfo;    /* role cradle_owner: migrate */
    char *backup_conninfo;   /* a role that may replicate: backup --base */
    char *conninfo;          /* role cradle_activation: the first administrator */
    char *activation_url;
    char *activation_ca; /* PEM file; "": the system's */
    char *client_id;
    char *client_secret_file;
    char *hsm_uri;
    char *hsm_lock_file;
    char *hsm_uri_2;
    char *hsm_lock_file_2;
    char *hsm_softhsm2_conf_2;
    struct find_settings dns;
};

/** Outcome of a verb besides 0 and an error: it was called wrongly. Its usage is shown. */
#define CLI_USAGE 1
/** What was asked has the answer no: it is shown, and the command fails. */
#define CLI_NO 2

/** Says what the fault is, "`what` `why`", in a line above the usage. Returns CLI_USAGE. */
int cli_usage(const char *what, const char *why);

/** Runs a verb; argv[0] is its last word, the rest its own arguments. What it has to say goes to
 * `out`, which is printed on success, and with CLI_NO. */
typedef int (*cli_run)(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);

int cli_migrate(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_epoch_show(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_epoch_bump(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_backup(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_init(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_export(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
/** Whether the second token, if there is one, holds the same keys; a line to `out`. */
int cli_hsm_compare(const struct cli_settings *settings, struct text *out);
int cli_hsm_backup(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_rehearse(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_restore(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_pin_split(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_unlock(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_copy(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_rotate(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_activate(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_open(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_close(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_retire(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_hsm_progress(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_audit_export(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_audit_verify(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_admin_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_organization_add(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_organization_set(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_organization_list(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_client_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_client_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_client_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_ns_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_ns_trust(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_as_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_as_trust(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_ns_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_ns_set(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_as_set(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_as_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_ns_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_as_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_dns(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_route_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_route_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_route_set(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_route_explain(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_partner_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_partner_set(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_partner_show(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_partner_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_partner_revoke(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_route_remove(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_kek_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_kek_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_kek_use(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_kek_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_id_pac(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_device_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_device_show(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_device_joins(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_device_explain(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_device_custody(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_custody_verify(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_delivery_open(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_device_preflight(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_agreement_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_agreement_set(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_agreement_list(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_agreement_remove(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_group_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_group_set(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_group_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_group_remove(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_refusals(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_device_roaming(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_subscription_add(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_subscription_list(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_subscription_show(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_subscription_change(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_label_csv(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_label_svg(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_label_sheet(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_certificate_add(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_certificate_list(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_block_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_block_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_order_add(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_order_list(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_order_approve(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_order_reject(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_order_withdraw(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_sigfox_decrypt(
    const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_top(const struct cli_settings *settings, int argc, char **argv, struct text *out);
int cli_device_move(const struct cli_settings *settings, int argc, char **argv, struct text *out);

/** ERROR_CONFIG naming the setting when `value` is empty. */
int cli_need(const char *value, const char *setting);
/** A connection in the role of the activation service. */
int cli_open_db(const struct cli_settings *settings, struct db **ret);
