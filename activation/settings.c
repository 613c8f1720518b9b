#include "activation/settings.h"

#include "activation/pace.h"
#include "device/signal.h"

#define DAY_S 86400u
#define WORKERS_MAX 32u
#define CONNECTIONS_MAX 100000u

#define SCORE_MAX 10000u
#define TO_TEXT_(number) #number
#define TO_TEXT(number) TO_TEXT_(number)

#define TEXT(k, field, first, about)                                                               \
    {                                                                                              \
        .key = (k), .kind = CONFIG_TEXT, .offset = offsetof(struct act_settings, field),           \
        .initial = (first), .help = (about)                                                        \
    }
#define NUMBER(k, field, first, least, most, about)                                                \
    {                                                                                              \
        .key = (k), .kind = CONFIG_UNSIGNED, .offset = offsetof(struct act_settings, field),       \
        .initial = (first), .min = (least), .max = (most), .help = (about)                         \
    }

const struct config_setting act_settings_table[] = {
    TEXT("listener-plain.address", address, "127.0.0.1",
        "address of the plain listener: loopback, or any when proxies are named"),
    TEXT("listener-plain.proxies", proxies, "",
        "networks of proxies that take TLS off (10.0.0.0/8, fd00::/8): only they and loopback may "
        "connect"),
    {
        .key = "listener-plain.port",
        .env = "CRADLE_ACTIVATION_PORT",
        .kind = CONFIG_UNSIGNED,
        .offset = offsetof(struct act_settings, port),
        .initial = "8080",
        .max = 65535,
        .help = "its port; 0: any free one",
    },
    TEXT("listener-tls.address", tls_address, "0.0.0.0", "address of the listener with TLS"),
    {
        .key = "listener-tls.port",
        .env = "CRADLE_ACTIVATION_TLS_PORT",
        .kind = CONFIG_UNSIGNED,
        .offset = offsetof(struct act_settings, tls_port),
        .initial = "8444",
        .max = 65535,
        .help = "its port; 0: any free one",
    },
    /* Not of the plain listener: who comes there is a proxy, or on this machine. */
    NUMBER("listener-tls.connections_per_address", tls_connections_per_address, "256", 0,
        CONNECTIONS_MAX,
        "connections of one client address (IPv4, or an IPv6 /64) on it; 0: no limit"),
    TEXT("listener-tls.certificate", tls_certificate, "",
        "PEM file of its certificate chain; empty: no such listener"),
    TEXT("listener-tls.key", tls_key, "", "PEM file of its key"),
    TEXT("database.conninfo", conninfo, NULL, "libpq connection string, role cradle_activation"),
    TEXT("database.failover", failover, "bump",
        "a timeline that changed is refused until cradle epoch bump (bump), or taken, because no "
        "failover loses a commit (synchronous)"),
    TEXT("database.witness", witness, "",
        "file that keeps what was last seen of the database, so that one that was set back is "
        "noticed; empty: none"),
    HSM_SERVICE_SETTINGS(struct act_settings, hsm),
    {
        .key = "hsm.export",
        .kind = CONFIG_BOOL,
        .offset = offsetof(struct act_settings, hsm_export),
        .initial = "false",
        .help = "let this service export root keys, sealed to a public key of their owner's",
    },
    TEXT("hsm.exchange_key", exchange_key, "", "PEM file of the public exchange key, published"),
    TEXT("log.level", log_level, "info", "debug, info, warn or error"),
    TEXT("log.format", log_format, "text", "text, or json: an object a line"),
    NUMBER("token.lifetime_s", token_lifetime_s, "3600", 1, DAY_S, "seconds a token is valid"),
    NUMBER("token.workers", workers, "6", 2, WORKERS_MAX,
        "threads with a database connection; one of them is always free for short calls"),
    NUMBER("import.idle_s", import_idle_s, "60", 1, DAY_S,
        "seconds that a file may bring no row, before the import is interrupted"),
    NUMBER("import.total_s", import_total_s, "14400", 1, DAY_S,
        "seconds that one call may import, before it is interrupted"),
    NUMBER("import.percent_beside_joins", import_percent_beside_joins, "33", 1, ACT_PACE_FULL,
        "percent of the time that imports may work while devices join; 100: as fast as they can"),
    NUMBER("trust.suspect_at", trust_suspect_at, TO_TEXT(DEVICE_SUSPECT_AT), 2, SCORE_MAX,
        "points of signals that make a device suspect"),
    /* No less: what can be brought about without a device's key must not do (device/signal.h). */
    NUMBER("trust.quarantine_at", trust_quarantine_at, TO_TEXT(DEVICE_QUARANTINE_AT),
        DEVICE_QUARANTINE_AT, SCORE_MAX,
        "points that put it into quarantine, where its owner's policy says so"),
    {
        .key = "webhook.allow_private",
        .env = "CRADLE_WEBHOOK_ALLOW_PRIVATE",
        .kind = CONFIG_BOOL,
        .offset = offsetof(struct act_settings, webhook_allow_private),
        .initial = "false",
        .help = "post to private, loopback and link-local addresses, too: every organization may "
                "then reach what this machine reaches",
    },
    {
        .key = "webhook.ca",
        .env = "CRADLE_WEBHOOK_CA",
        .kind = CONFIG_TEXT,
        .offset = offsetof(struct act_settings, webhook_ca),
        .initial = "",
        .help =
            "PEM file of the CAs that webhooks' receivers are verified with; empty: the system's",
    },
};

const size_t act_n_settings = sizeof(act_settings_table) / sizeof(act_settings_table[0]);
