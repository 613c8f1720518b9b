#include "lorawan/types.h"

#include <string.h>

/* The first name of a version is the one it is written with. */
static const struct {
    const char *text;
    enum lw_mac_version version;
} mac_versions[] = {
    {"1.0.0", LW_MAC_1_0_0},
    {"1.0", LW_MAC_1_0_0},
    {"1.0.1", LW_MAC_1_0_1},
    {"1.0.2", LW_MAC_1_0_2},
    {"1.0.3", LW_MAC_1_0_3},
    {"1.0.4", LW_MAC_1_0_4},
    {"1.1", LW_MAC_1_1},
    {"1.1.0", LW_MAC_1_1},
    {"1.1.1", LW_MAC_1_1},
};

const char *lw_mac_version_text(enum lw_mac_version version)
{
    for (size_t i = 0; i < sizeof(mac_versions) / sizeof(mac_versions[0]); i++) {
        if (mac_versions[i].version == version)
            return mac_versions[i].text;
    }
    return "unknown";
}

bool lw_mac_version_parse(const char *text, enum lw_mac_version *ret)
{
    for (size_t i = 0; i < sizeof(mac_versions) / sizeof(mac_versions[0]); i++) {
        if (strcmp(mac_versions[i].text, text) == 0) {
            *ret = mac_versions[i].version;
            return true;
        }
    }
    return false;
}
