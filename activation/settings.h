/* The settings of cradle-activation: one table, read by base/config.h. */
#pragma once

#include "base/config.h"
#include "hsm/settings.h"

struct act_settings {
    char *address;
    char *proxies;
    unsigned port;
    char *tls_address;
    unsigned tls_port;
    unsigned tls_connections_per_address; /* 0: no limit */
    char *tls_certificate;                /* "": no such listener */
    char *tls_key;
    char *conninfo;
    char *failover;
    char *witness;
    struct hsm_service_settings hsm;
    bool hsm_export;
    char *exchange_key; /* path of a PEM file; "" for none */
    char *log_level, *log_format;
    unsigned token_lifetime_s;
    unsigned workers;
    bool webhook_allow_private;
    char *webhook_ca;                               /* path of a PEM file; "": the system's CAs */
    unsigned trust_suspect_at, trust_quarantine_at; /* points of device/signal.h */
    unsigned import_idle_s, import_total_s, import_percent_beside_joins;
};

extern const struct config_setting act_settings_table[];
extern const size_t act_n_settings;
