#include "device/preflight.h"

#include "device/nonce.h"

static bool is_activable(const struct device_preflight *f)
{
    return f->record.credential == CREDENTIAL_ACTIVABLE;
}

static bool is_claimed(const struct device_preflight *f)
{
    return f->record.ownership != OWNERSHIP_UNOWNED;
}

static bool is_active(const struct device_preflight *f)
{
    return f->record.service == SERVICE_ACTIVE;
}

static bool is_entitled(const struct device_preflight *f)
{
    return f->is_entitled;
}

static bool is_trusted(const struct device_preflight *f)
{
    return f->record.trust != TRUST_QUARANTINED;
}

static bool has_home(const struct device_preflight *f)
{
    return f->record.has_home_net_id;
}

static bool is_home_known(const struct device_preflight *f)
{
    return f->home_is_known;
}

static bool may_have_network_keys(const struct device_preflight *f)
{
    return f->home_has_kek || f->home_may_have_plain_keys;
}

static bool has_as(const struct device_preflight *f)
{
    return f->record.as_id[0] != '\0';
}

static bool is_as_known(const struct device_preflight *f)
{
    return f->as_is_known;
}

static bool may_have_app_s_key(const struct device_preflight *f)
{
    return f->as_has_kek || f->home_has_plain_app_s_key;
}

static bool is_routed(const struct device_preflight *f)
{
    return f->join_eui_is_routed;
}

static bool has_root_keys(const struct device_preflight *f)
{
    return f->has_app && f->has_nwk == (f->record.mac_version == LW_MAC_1_1);
}

static bool has_dev_nonces(const struct device_preflight *f)
{
    if (f->record.nonce_epoch < f->state.nonce_epoch) /* no join could be committed */
        return false;
    if (!device_nonce_is_counted(f->record.mac_version))
        return f->n_used <= UINT16_MAX;
    return f->record.nonce_epoch > f->state.nonce_epoch || f->state.last_dev_nonce < UINT16_MAX;
}

static bool has_join_nonces(const struct device_preflight *f)
{
    return device_next_join_nonce(&f->state) != 0;
}

static const struct {
    const char *name;
    const char *to_do;
    bool (*passes)(const struct device_preflight *facts);
    bool of_joins;
} checks[N_DEVICE_CHECKS] = {
    [CHECK_CREDENTIAL] = {"credential",
        "Have the maker make the device activable; a scrapped one never joins again.",
        is_activable},
    [CHECK_CLAIMED] = {"claimed", "Claim the device with the code on its label.", is_claimed},
    [CHECK_SERVICE] = {"service", "Resume the device's service.", is_active},
    [CHECK_TRUST] = {"trust", "Have the quarantine lifted, or replace the device.", is_trusted},
    [CHECK_HOME_NAMED] = {"home_network_named", "Name the NetID of the device's home network.",
        has_home, true},
    [CHECK_HOME_KNOWN] = {"home_network_known",
        "No network server speaks for the home NetID: correct the NetID, or have the operator of "
        "this join server add the network server (cradle ns add).",
        is_home_known, true},
    [CHECK_HOME_KEK] = {"network_server_kek",
        "The home network's server has no KEK: have the operator of this join server add one "
        "(cradle kek add --ns).",
        may_have_network_keys, true},
    [CHECK_AS_NAMED] = {"application_server_named",
        "Name the AS-ID of the device's application server.", has_as, true},
    [CHECK_AS_KNOWN] = {"application_server_known",
        "There is no application server of this AS-ID: correct the AS-ID, or have the operator of "
        "this join server add it (cradle as add).",
        is_as_known, true},
    [CHECK_AS_KEK] = {"application_server_kek",
        "The application server has no KEK: have the operator of this join server add one "
        "(cradle kek add --as).",
        may_have_app_s_key, true},
    [CHECK_JOIN_EUI] = {"join_eui_routed",
        "The device's JoinEUI is not answered by this join server: have the maker correct it, or "
        "the operator route its prefix here (cradle route explain, add and set).",
        is_routed, true},
    [CHECK_ROOT_KEYS] = {"root_keys",
        "The keys do not fit the LoRaWAN version (1.1: AppKey and NwkKey, older: AppKey alone): "
        "have the maker correct the record.",
        has_root_keys, true},
    [CHECK_DEV_NONCES] = {"dev_nonces_left",
        "All DevNonces are used: have the device's nonces reset, and set its counter back.",
        has_dev_nonces, true},
    [CHECK_JOIN_NONCES] = {"join_nonces_left",
        "All JoinNonces are used: replace the device, or have it made anew with other keys.",
        has_join_nonces, true},
    [CHECK_SUBSCRIPTION] = {"subscription",
        "Have the device's subscription extended by who sold it, or take a place in another for it.",
        is_entitled},
};

const char *device_check_name(enum device_check check)
{
    return checks[check].name;
}

const char *device_check_to_do(enum device_check check)
{
    return checks[check].to_do;
}

bool device_check_applies(enum device_check check, enum device_kind kind)
{
    return kind == DEVICE_LORAWAN || !checks[check].of_joins;
}

bool device_check_passes(enum device_check check, const struct device_preflight *facts)
{
    return checks[check].passes(facts);
}
