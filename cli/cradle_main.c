#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/wiping.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define EXIT_DONE 0
#define EXIT_FAILED 1
#define EXIT_WRONG_USE 2
#define WORDS_MAX 2
#define STATEMENT_MS 30000
#define OUT_FIRST 8192 /* bytes: more than any answer with a secret in it */

static const struct {
    const char *words[WORDS_MAX]; /* "hsm", "init"; the second may be NULL */
    const char *arguments;
    const char *help;
    cli_run run;
    bool offline; /* asks nobody, and needs no configuration */
} verbs[] = {
    {{"migrate", NULL}, "", "Brings the database's schema up to this program.", cli_migrate},
    {{"hsm", "init"}, "--exchange-key-out FILE [--exportable-keys] [--escrow FILE]",
        "Makes the keys in an empty token and writes the public exchange key; with --escrow also "
        "the file without which its storage KEKs cannot be rotated.",
        cli_hsm_init},
    {{"hsm", "export"}, "[--exchange-key-out FILE] [--audit-key-out FILE]",
        "Writes the public exchange key of the token once more, or the public key of its audit "
        "checkpoints.",
        cli_hsm_export},
    {{"hsm", "list"}, "",
        "Lists the keys in the token with their check values; fails where one is missing, or where "
        "the second token, if there is one, does not hold the same.",
        cli_hsm_list},
    {{"epoch", "show"}, "",
        "Shows which database cluster and timeline are vouched for and which are there, a line of "
        "JSON; fails where they differ.",
        cli_epoch_show},
    {{"epoch", "bump"}, "[--gap N] [--above N]",
        "After a restore, or a failover that may have lost commits: vouches for the database as it "
        "is, and leaves a gap in the JoinNonce of every device.",
        cli_epoch_bump},
    {{"hsm", "backup"}, "DIR [--second]",
        "Copies a SoftHSM token into a new folder, opens the copy and compares its keys.",
        cli_hsm_backup},
    {{"hsm", "rehearse"}, "DIR | --uri URI --lock-file FILE [--softhsm2-conf FILE]",
        "Makes a token of a backup for a moment, or takes one that was restored by its vendor's "
        "tools; compares it with the live one and opens sealed keys of the database with it.",
        cli_hsm_rehearse},
    {{"hsm", "restore"}, "DIR --token-dir DIR",
        "Puts a backup into a folder of SoftHSM tokens that has it not yet, and compares its keys.",
        cli_hsm_restore},
    {{"hsm", "copy"}, "",
        "Gives the second token, a copy of the first one's files, the keys that it lacks.",
        cli_hsm_copy},
    {{"backup", NULL},
        "DIRECTORY [--base] [--no-token] [--configuration DIR] [--witness FILE ...] | "
        "--check DIRECTORY [--files-only]",
        "Keeps database, token and settings in a new folder, with a list of what is in it, and reads "
        "all of it back: a token is made of the copy for a moment, and opens sealed keys. --base "
        "keeps the whole cluster. --check does that again with a folder that is there.",
        cli_backup},
    {{"hsm", "rotate"}, "device|kek [--escrow FILE] | tag|code",
        "Makes the next version of the storage KEK that seals device keys, or peers' KEKs, or of the "
        "key that makes tags, or hashes claim codes; it opens or checks, and does not seal yet. With "
        "--escrow a storage KEK can itself be rotated away later.",
        cli_hsm_rotate},
    {{"hsm", "activate"}, "device|kek|tag|code VERSION",
        "Lets that version seal: services seal everything anew under it, while joins go on.",
        cli_hsm_activate},
    {{"hsm", "open"}, "device|kek VERSION --escrow FILE",
        "Lets services seal anew what that version sealed: while this is open, keys could be taken "
        "out of the token by whoever has a key process.",
        cli_hsm_open},
    {{"hsm", "close"}, "", "Ends what `hsm open` began.", cli_hsm_close},
    {{"hsm", "progress"}, "",
        "Tells how far keys are sealed anew, and how many rows need which version.",
        cli_hsm_progress},
    {{"hsm", "retire"}, "device|kek|tag|code VERSION [--forget-labels]",
        "Destroys a version that nothing needs any more; refuses while something does. With "
        "--forget-labels claim codes that were replaced by a claim need theirs no more: lists of "
        "built devices are not checked by them.",
        cli_hsm_retire},
    {{"hsm", "pin-split"}, "--pin-file FILE [--needed K] [--on-disk] SHARE SHARE ...",
        "Makes a PIN that nobody is shown, for a token to be made, and a file with a share of it for "
        "each custodian: any K give it back, all of them where K is not said.",
        cli_hsm_pin_split, true},
    {{"hsm", "unlock"}, "--pin-file FILE [--on-disk] SHARE SHARE ...",
        "Puts the PIN together from shares, into a new file on a tmpfs, for services to start.",
        cli_hsm_unlock, true},
    {{"admin", "add"}, "--organization NAME [--role ROLE ...]",
        "Makes an administrator of the activation service, in the database itself; its secret is "
        "shown once.",
        cli_admin_add},
    {{"audit", "export"}, "FILE",
        "Writes the audit events that the client may see, with what proves them, to a new file.",
        cli_audit_export},
    {{"audit", "verify"}, "FILE --key PEM [--kept FILE]",
        "Checks such a file against the public audit key; asks nobody, and needs no configuration. "
        "Names the first event that is missing, was changed or was moved. With --kept it must go on "
        "from what an earlier export, or its first line, says.",
        cli_audit_verify, true},
    {{"organization", "add"},
        "--name NAME [--allow-clear-keys yes|no] [--subscription-required yes|no] "
        "[--claim-code-length 16|26] [--orders-need-approval yes|no] "
        "[--allow-legacy-delivery yes|no]",
        "Makes an organization.", cli_organization_add},
    {{"organization", "set"},
        "--name NAME [--allow-clear-keys yes|no] [--subscription-required yes|no] "
        "[--claim-code-length 16|26] [--orders-need-approval yes|no] "
        "[--allow-legacy-delivery yes|no]",
        "Says anew whether its files may hold root keys in clear, whether its devices join only "
        "with a subscription that runs, how long claim codes are that are made for it, whether its "
        "orders wait for another of its clients, and whether they may be delivered as id_key.bin; "
        "what is not given stays.",
        cli_organization_set},
    {{"organization", "list"}, "", "Lists the organizations, a line each.", cli_organization_list},
    {{"client", "add"}, "--organization NAME --role ROLE [--role ...] [--application-server AS-ID]",
        "Makes a client of the activation service, and its organization when there is none; its "
        "secret is shown once. An application server is one by its certificate, and has none.",
        cli_client_add},
    {{"client", "list"}, "--organization NAME",
        "Lists an organization's clients, a line each; the revoked ones too.", cli_client_list},
    {{"client", "revoke"}, "--organization NAME --client-id ID",
        "Refuses this client from now on, for good.", cli_client_revoke},
    {{"ns", "add"},
        "--name NAME --net-id HEX6 [--net-id ...] [--san SAN --ca FILE [--crl FILE]]"
        " [what cradle ns set takes]",
        "Makes a network server; its token is shown once.", cli_ns_add},
    {{"ns", "set"},
        "--name NAME [--ns-id HEX16 ... | --no-ns-id] [--allow-plain-keys yes|no]"
        " [--app-s-key wrapped|plain] [--session-key-id send|omit] [--answer-url URL|none]"
        " [--answer-credential NAME|none]",
        "Says anew which NSIDs are this network server's and how it is answered; what is not "
        "given stays.",
        cli_ns_set},
    {{"ns", "trust"}, "--name NAME --san SAN --ca FILE [--crl FILE | --no-crl]",
        "Says anew which client certificates are this network server's.", cli_ns_trust},
    {{"ns", "list"}, "", "Lists the network servers, a line each; the revoked ones too.",
        cli_ns_list},
    {{"ns", "revoke"}, "--name NAME",
        "Refuses this network server from now on, for good: its token and its certificate.",
        cli_ns_revoke},
    {{"as", "add"}, "--as-id ID [--san SAN --ca FILE [--crl FILE]] [what cradle as set takes]",
        "Makes an application server; its token is shown once.", cli_as_add},
    {{"as", "set"},
        "--as-id ID [--app-s-key wrapped|plain] [--answer-url URL|none]"
        " [--answer-credential NAME|none]",
        "Says anew how this application server is answered; what is not given stays.", cli_as_set},
    {{"as", "trust"}, "--as-id ID --san SAN --ca FILE [--crl FILE | --no-crl]",
        "Says anew which client certificates are this application server's.", cli_as_trust},
    {{"as", "list"}, "", "Lists the application servers, a line each; the revoked ones too.",
        cli_as_list},
    {{"as", "revoke"}, "--as-id ID",
        "Refuses this application server from now on, for good: its token and its certificate.",
        cli_as_revoke},
    {{"kek", "add"},
        "(--ns NETID[/NSID] | --as ASID | --organization ID) --label LABEL"
        " (--sealed FILE --length 16|24|32 | --public-key FILE [--length 16|24|32] [--out FILE])",
        "Takes a peer's key encryption key, as its RSAES-OAEP (SHA-1) text under the exchange key; "
        "or makes one and shows it, or writes it to FILE, encrypted so to a public key (PEM).",
        cli_kek_add},
    {{"kek", "list"}, "", "Lists the peers' key encryption keys, a line each.", cli_kek_list},
    {{"kek", "use"}, "(--ns NETID[/NSID] | --as ASID | --organization ID) --label LABEL",
        "Makes another KEK of the peer the current one, which wraps from now on.", cli_kek_use},
    {{"kek", "revoke"},
        "(--ns NETID[/NSID] | --as ASID | --organization ID) --label LABEL [--last]",
        "Removes a KEK of the peer that is not the current one; with --last its only one.",
        cli_kek_revoke},
    {{"route", "add"},
        "PREFIX/BITS [--kind local|local-any|partner|dns|refuse] [--partner NAME]"
        " [--organization ID]",
        "Says that requests for JoinEUIs beginning so are answered here, or where they go; and that "
        "these JoinEUIs are an organization's.",
        cli_route_add},
    {{"route", "set"}, "PREFIX/BITS [--kind KIND] [--partner NAME] [--organization ID|none]",
        "Says anew where they go and whose they are; what is not given stays.", cli_route_set},
    {{"route", "list"}, "", "Lists the routes, a line each.", cli_route_list},
    {{"route", "remove"}, "PREFIX/BITS", "Takes a route away.", cli_route_remove},
    {{"route", "explain"}, "JOINEUI [--net-id HEX6]",
        "Says where a request for it would go and why; with a NetID, what that network would have.",
        cli_route_explain},
    {{"dns", NULL}, "(JOINEUI | NETID) [--mode naptr|address]",
        "Asks DNS which server that leads to, as a join server with the same [dns] settings would, "
        "and shows each step and answer.",
        cli_dns},
    {{"partner", "add"}, "--name NAME --url URL [what cradle partner set takes]",
        "Makes a partner, a join server that others' JoinEUIs are asked of; the token of one that "
        "posts its answers is shown once.",
        cli_partner_add},
    {{"partner", "set"},
        "NAME [--url URL] [--protocol-version 1.0|1.1] [--credential NAME|none] [--async yes|no]"
        " [--timeout-ms N] [--max-in-flight N] [--net-ids HEX6 [--net-ids HEX6 ...] | --net-ids none]"
        " [--san SAN --ca FILE [--crl FILE|none]]",
        "Changes what is given; one that becomes asynchronous gets a token, shown once.",
        cli_partner_set},
    {{"partner", "list"}, "", "Lists the partners, a line each; the revoked ones too.",
        cli_partner_list},
    {{"partner", "show"}, "NAME", "Shows one.", cli_partner_show},
    {{"partner", "revoke"}, "NAME",
        "Carries nothing to it from now on, for good; no route may go to it.", cli_partner_revoke},
    {{"agreement", "add"},
        "(--home NETID --visited NETID [--both-ways] | --group NAME) [--starts-at TIME]"
        " [--ends-at TIME|never] [--allows activation,home_ns]",
        "Says that devices of a home network may visit another one, or those of each network of a "
        "group the others, from a time on and until one (as 2027-01-31T00:00:00Z): what is allowed "
        "is to join there, to ask who is home, or both.",
        cli_agreement_add},
    {{"agreement", "set"},
        "ID [--starts-at TIME] [--ends-at TIME|never] [--allows activation,home_ns]"
        " [--both-ways|--one-way]",
        "Changes one.", cli_agreement_set},
    {{"agreement", "list"}, "", "Lists the roaming agreements, a line each.", cli_agreement_list},
    {{"agreement", "remove"}, "ID", "Removes one, as if it had never been.", cli_agreement_remove},
    {{"group", "add"}, "NAME NETID,NETID,...", "Makes a group of networks, for agreements.",
        cli_group_add},
    {{"group", "set"}, "NAME NETID,NETID,...", "Says anew which networks are in it.",
        cli_group_set},
    {{"group", "list"}, "", "Lists the groups, a line each.", cli_group_list},
    {{"group", "remove"}, "NAME", "Removes one that no agreement is of.", cli_group_remove},
    {{"refusals"}, "",
        "Lists what visited networks were refused and why, counted, a line each: here, and by those "
        "that their requests were carried to, for an operator; for an owner what was about his "
        "devices.",
        cli_refusals},
    {{"subscription", "add"},
        "--organization ID --name NAME --ends-at TIME --count N [--starts-at TIME]"
        " [--renewal none|auto] [--notice-days N]",
        "Makes a subscription: so many devices of the organization may join until then. A TIME is "
        "as 2027-01-31T00:00:00Z.",
        cli_subscription_add},
    {{"subscription", "list"}, "", "Lists those that are yours to see, a line each.",
        cli_subscription_list},
    {{"subscription", "show"}, "ID", "Shows one.", cli_subscription_show},
    {{"subscription", "change"},
        "ID [--name NAME] [--ends-at TIME] [--count N] [--renewal none|auto] [--notice-days N]",
        "Extends it, ends it, or changes what else is given.", cli_subscription_change},
    {{"label", "csv"}, "[--join-eui HEX16] [--profile-id HEX8]",
        "Reads devices with their codes, JSON line by line, as POST /v1/batches/{batch}/codes "
        "answers them, and writes what a printer of labels needs. The options hold for lines that "
        "say no join_eui or profile_id. Asks nobody, and needs no configuration; so the next two.",
        cli_label_csv, true},
    {{"label", "svg"}, "[--line N] [--join-eui HEX16] [--profile-id HEX8]",
        "Draws the label of the device in line N, the first else.", cli_label_svg, true},
    {{"label", "sheet"}, "[--layout NAME] [--line N] [--join-eui HEX16] [--profile-id HEX8]",
        "Draws a page of labels, the first of them that in line N.", cli_label_sheet, true},
    {{"certificate", "add"},
        "--organization ID --kind module|product --name NAME [--module M_...]"
        " [--prototype-quota N]",
        "Makes a certificate of a maker: of a module, or of a product that is built with it.",
        cli_certificate_add},
    {{"certificate", "list"}, "", "Lists those that are yours to see, a line each.",
        cli_certificate_list},
    {{"block", "add"}, "--organization ID --kind lorawan|sigfox --first ID (--size N | --last ID)",
        "Gives a maker identifiers that its orders are made of.", cli_block_add},
    {{"block", "list"}, "", "Lists those that are yours to see, a line each.", cli_block_list},
    {{"order", "add"},
        "--count N --kind lorawan|sigfox --certificate M_... --public-key FILE"
        " [--join-eui EUI --mac-version VERSION [--profile-id HEX8]] [--delivery jwe|legacy]"
        " [--block ID]",
        "Orders credentials: keys made in the HSM, sealed to a public key (PEM).", cli_order_add},
    {{"order", "list"}, "", "Lists your organization's orders, a line each.", cli_order_list},
    {{"order", "approve"}, "BATCH", "Approves one that another client asked for.",
        cli_order_approve},
    {{"order", "reject"}, "BATCH [--reason TEXT]", "Rejects one that another client asked for.",
        cli_order_reject},
    {{"order", "withdraw"}, "BATCH", "Takes back one of its own that waits for approval.",
        cli_order_withdraw},
    {{"id-pac", NULL}, "CERTIFICATE FILE",
        "Says what was built, by a list of ID;PAC lines: those devices become activable under the "
        "certificate. Shows the lines that were refused, and how many there are of each outcome.",
        cli_id_pac},
    {{"device", "list"}, "[--batch ID]", "Lists the devices that are yours, a line each.",
        cli_device_list},
    {{"device", "show"}, "DEVEUI", "Shows one.", cli_device_show},
    {{"device", "joins"}, "DEVEUI", "Lists its attempts to join, a line each, the newest first.",
        cli_device_joins},
    {{"device", "explain"}, "DEVEUI",
        "Says of its last attempts why they were refused, and what to do.", cli_device_explain},
    {{"device", "custody"}, "DEVEUI [--out FILE]",
        "Writes the signed statement of where its root keys came from and have been, to a new file.",
        cli_device_custody},
    {{"custody", "verify"}, "FILE --key PEM",
        "Checks such a statement against the public audit key; asks nobody, and needs no "
        "configuration. Writes what it says, and when it was signed.",
        cli_custody_verify, true},
    {{"delivery", "open"}, "FILE --key PEM --audit-key PEM [--line N]",
        "Opens delivery.jwe of an order with its maker's private key, after a look that it is whole "
        "and was signed by the service's public audit key; asks nobody, and needs no configuration. "
        "Writes a line of JSON for each device, with its keys and claim code.",
        cli_delivery_open, true},
    {{"device", "preflight"}, "DEVEUI", "Says what it still needs to join.", cli_device_preflight},
    {{"device", "roaming"}, "DEVEUI agreed|none|NETID,NETID,...",
        "Says where else than at home it may join: in all networks that an agreement lets, in none,"
        " or of these in those alone.",
        cli_device_roaming},
    {{"device", "move"},
        "MOVE (--batch ID [--credential STATE] | --file FILE) [--ns NETID --as ASID] [--to ID [--days N]] "
        "[--confirm N]",
        "Moves many devices, those of a batch (in a state of their credential) or an identifier a line "
        "of a file, and prints what became of each: suspend, resume, release, rotate-code, reset-nonces, bind, offer, quarantine, "
        "lift or scrap.",
        cli_device_move},
    {{"top", NULL}, "[--url URL ...] [--ca FILE] [--interval SECONDS] [--once] [--json]",
        "Shows what services do now, by their metrics (two of this machine, where no URL is given): "
        "joins, times, peers, partners, jobs. q ends. Without a terminal a line an interval; --once "
        "reads twice and ends; needs no configuration.",
        cli_top, true},
    {{"sigfox", "decrypt"}, "--key-file FILE --id-key FILE --id-pac FILE [--out FILE]",
        "Makes one file of id_key.bin, id_pac.txt and the key (32 hexadecimal digits) that the "
        "first is encrypted with, to be imported as sigfox-csv: root keys in clear, so on their "
        "maker's machine. Asks nobody, and needs no configuration.",
        cli_sigfox_decrypt, true},
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))
#define NO_VERB N_VERBS
#define WORD_SHOWN 40

#define TEXT(k, field, about)                                                                      \
    {                                                                                              \
        .key = (k), .kind = CONFIG_TEXT, .offset = offsetof(struct cli_settings, field),           \
        .initial = "", .help = (about)                                                             \
    }

/* None is required here: each verb asks for what it needs. */
static const struct config_setting settings_table[] = {
    TEXT("database.owner_conninfo", owner_conninfo, "libpq connection string, role cradle_owner"),
    TEXT("database.backup_conninfo", backup_conninfo,
        "libpq connection string, a role that may replicate: backup --base"),
    TEXT("database.conninfo", conninfo, "libpq connection string, role cradle_activation"),
    TEXT("activation.url", activation_url, "the activation service: https://HOST:8444"),
    TEXT("activation.ca", activation_ca,
        "PEM file of the CA of its certificate; empty: the system's"),
    TEXT("activation.client_id", client_id, "as whom it is called"),
    TEXT("activation.client_secret_file", client_secret_file, "file with that client's secret"),
    TEXT("hsm.uri", hsm_uri, "RFC 7512 URI with module-path, token and pin-source"),
    TEXT("hsm.lock_file", hsm_lock_file, "the lock that every keyd on this token takes"),
    TEXT("hsm.uri_2", hsm_uri_2, "URI of a second token with the same keys"),
    TEXT("hsm.lock_file_2", hsm_lock_file_2, "its lock"),
    TEXT("hsm.softhsm2_conf_2", hsm_softhsm2_conf_2, "its SOFTHSM2_CONF; empty: that of the other"),
    FIND_SETTINGS(struct cli_settings, dns, "naptr"),
};

#define N_SETTINGS (sizeof(settings_table) / sizeof(settings_table[0]))

int cli_usage(const char *what, const char *why)
{
    (void)fprintf(stderr, "cradle: %s %s\n", what, why);
    return CLI_USAGE;
}

int cli_need(const char *value, const char *setting)
{
    return value[0] != '\0' ? 0
                            : error_set(ERROR_CONFIG, "the configuration does not say %s", setting);
}

int cli_open_db(const struct cli_settings *settings, struct db **ret)
{
    const struct db_config config = {
        .conninfo = settings->conninfo, .program = "cradle", .statement_ms = STATEMENT_MS};
    CLEANUP(db_cleanup) struct db *db = NULL;
    int r;

    if ((r = cli_need(settings->conninfo, "database.conninfo")) < 0 ||
        (r = db_open(&config, &db)) < 0 || (r = db_check(db)) < 0)
        return r;
    *ret = db;
    db = NULL;
    return 0;
}

static void print_verb(FILE *to, size_t verb, const char *prefix)
{
    const char *second = verbs[verb].words[1];
    const char *arguments = verbs[verb].arguments;

    (void)fprintf(to, "%scradle %s%s%s%s%s%s\n", prefix,
        verbs[verb].offline ? "" : "--config FILE ", verbs[verb].words[0],
        second != NULL ? " " : "", second != NULL ? second : "", arguments[0] != '\0' ? " " : "",
        arguments);
}

/* The verbs beginning with `word`, or all of them. False when there is none. */
static bool print_help(FILE *to, const char *word)
{
    bool found = false;

    for (size_t i = 0; i < N_VERBS; i++) {
        if (word != NULL && strcmp(verbs[i].words[0], word) != 0)
            continue;
        print_verb(to, i, found ? "       " : "usage: ");
        (void)fprintf(to, "           %s\n", verbs[i].help);
        found = true;
    }
    return found;
}

static size_t find_verb(int argc, char **argv)
{
    for (size_t i = 0; i < N_VERBS; i++)
        if (argc >= 1 && strcmp(verbs[i].words[0], argv[0]) == 0 &&
            (verbs[i].words[1] == NULL || (argc >= 2 && strcmp(verbs[i].words[1], argv[1]) == 0)))
            return i;
    return NO_VERB;
}

static bool is_first_word(const char *word)
{
    for (size_t i = 0; i < N_VERBS; i++)
        if (strcmp(verbs[i].words[0], word) == 0)
            return true;
    return false;
}

static int say_no_verb(int argc, char **argv)
{
    const bool is_group = argc > 0 && is_first_word(argv[0]);
    const char *second = is_group && argc > 1 ? argv[1] : "";

    if (argc == 0)
        (void)fputs("cradle: a verb is missing; try cradle --help\n", stderr);
    else
        (void)fprintf(stderr, "cradle: no such verb \"%.*s%s%.*s\"; try cradle%s%s --help\n",
            (int)text_fit(argv[0], WORD_SHOWN), argv[0], second[0] != '\0' ? " " : "",
            (int)text_fit(second, WORD_SHOWN), second, is_group ? " " : "",
            is_group ? argv[0] : "");
    return EXIT_WRONG_USE;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return true;
    return false;
}

/* What a file of an older version may still say, and what has come in its place. */
static const struct {
    const char *key, *instead;
} former[] = {
    {"hsm.keyd", "remove it: KEKs go through the activation service, which [activation] names"},
};

static int load_settings(const char *file, struct cli_settings *ret)
{
    char why[ERROR_TEXT_MAX];
    int r = config_load(settings_table, N_SETTINGS, file, NULL, 0, ret);

    (void)snprintf(why, sizeof(why), "%s", error_text());
    for (size_t i = 0; r < 0 && i < sizeof(former) / sizeof(former[0]); i++)
        if (strstr(why, former[i].key) != NULL)
            return error_set(r, "%.300s: %s", why, former[i].instead);
    return r;
}

static int run_verb(size_t verb, const char *config_file, int argc, char **argv)
{
    CLEANUP(text_done) struct text out = {0};
    struct cli_settings settings = {.config_file = config_file};
    int n_more = verbs[verb].words[1] != NULL ? 1 : 0;
    int r;

    text_reserve(&out, OUT_FIRST); /* a secret in it is not left behind where it grows */
    if ((r = secret_process_harden(0, NULL)) == 0 && (r = cli_wipe_libraries()) == 0 &&
        (r = load_settings(config_file, &settings)) == 0) {
        optind = 0; /* the GNU way to begin with another argument vector */
        opterr = 0;
        r = verbs[verb].run(&settings, argc - n_more, argv + n_more, &out);
    }
    config_done(settings_table, N_SETTINGS, &settings);
    if (r == CLI_USAGE) {
        print_verb(stderr, verb, "usage: ");
        return EXIT_WRONG_USE;
    }
    if (r >= 0 && out.failed)
        r = error_set(ERROR_SYSTEM, "out of memory for the answer");
    if (r >= 0 && out.len > 0 &&
        (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0))
        r = error_set_errno("cannot write the answer");
    secret_wipe(out.data, out.len);
    if (r < 0)
        (void)fprintf(stderr, "cradle: %s\n", error_text());
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    const char *config_file = NULL;
    size_t verb;
    int c;

    log_init("cradle", LOG_LEVEL_WARN);
    (void)setvbuf(stdout, NULL, _IONBF, 0); /* no copy of a secret stays in a buffer */
    (void)signal(SIGPIPE, SIG_IGN);
    /* '+': options behind the verb are the verb's. */
    while ((c = getopt_long(argc, argv, "+", table, NULL)) != -1) {
        if (c == 'h')
            return print_help(stdout, NULL) ? EXIT_DONE : EXIT_FAILED;
        if (c == 'v') {
            (void)puts("cradle " CRADLE_VERSION);
            return EXIT_DONE;
        }
        if (c != 'c') {
            (void)fputs("Try cradle --help\n", stderr);
            return EXIT_WRONG_USE;
        }
        config_file = optarg;
    }
    argc -= optind;
    argv += optind;
    if (argc > 0 && asks_for_help(argc, argv) && print_help(stdout, argv[0]))
        return EXIT_DONE;
    if ((verb = find_verb(argc, argv)) == NO_VERB)
        return say_no_verb(argc, argv);
    if (config_file == NULL && !verbs[verb].offline) {
        (void)fputs("cradle: --config FILE is missing; try cradle --help\n", stderr);
        return EXIT_WRONG_USE;
    }
    return run_verb(verb, config_file, argc, argv);
}
