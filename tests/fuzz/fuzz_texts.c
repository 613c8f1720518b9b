/* The short texts that paths, queries and members of bodies hold: identifiers, codes, moments,
 * routes, names, URLs, shares. What is read is written in its normal form and read as the same. */
#include "activation/import_text.h"
#include "activation/moment.h"
#include "activation/operator_check.h"
#include "api/client.h"
#include "base/base64.h"
#include "base/error.h"
#include "base/eui.h"
#include "base/shares.h"
#include "base/text.h"
#include "device/code.h"
#include "lorawan/types.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <time.h>

static void try_identifiers(const char *text, size_t len)
{
    char eui_text[EUI64_TEXT_LEN + 1], net_text[NET_ID_TEXT_LEN + 1],
        device_text[DEVICE_ID_TEXT_LEN + 1];
    struct eui64 eui, again;
    struct net_id net_id, net_again;
    const bool is_eui = eui64_parse(text, len, &eui);

    if (is_eui)
        FUZZ_HOLDS(eui64_parse(eui64_format(&eui, eui_text), EUI64_TEXT_LEN, &again) &&
                   memcmp(&eui, &again, sizeof(eui)) == 0);
    if (net_id_parse(text, len, &net_id))
        FUZZ_HOLDS(net_id_parse(net_id_format(&net_id, net_text), NET_ID_TEXT_LEN, &net_again) &&
                   memcmp(&net_id, &net_again, sizeof(net_id)) == 0);
    if (device_id_parse(text, len, &eui)) {
        (void)device_id_format(&eui, device_text);
        FUZZ_HOLDS(device_id_parse(device_text, strlen(device_text), &again) &&
                   memcmp(&eui, &again, sizeof(eui)) == 0);
    } else {
        FUZZ_HOLDS(!is_eui);
    }
    FUZZ_HOLDS(!device_id_says_sigfox(text, len) || !is_eui);
}

static void try_code(const char *text, size_t len)
{
    char code[DEVICE_CODE_MAX + 1], again[DEVICE_CODE_MAX + 1];

    if (!device_code_parse(text, len, code)) {
        FUZZ_HOLDS(code[0] == '\0');
        return;
    }
    FUZZ_HOLDS(code[0] != '\0' && device_code_parse(code, strlen(code), again));
    FUZZ_HOLDS(strcmp(code, again) == 0);
    FUZZ_HOLDS(device_code_is_weak(code) == (device_code_bits(code) < DEVICE_CODE_BITS_MIN));
    device_code_as_made(code);
    memcpy(again, code, sizeof(again));
    device_code_as_made(again);
    FUZZ_HOLDS(strcmp(code, again) == 0);
}

/* What is made here is read as itself. */
static void try_made_code(const char *text, size_t len)
{
    static const unsigned lengths[] = {DEVICE_CODE_HEX_LEN, DEVICE_CODE_BASE32_LEN};
    char made[DEVICE_CODE_MADE_MAX + 1], code[DEVICE_CODE_MAX + 1];

    if (len < DEVICE_CODE_RANDOM_LEN)
        return;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        device_code_make((const uint8_t *)text, lengths[i], made);
        FUZZ_HOLDS(device_code_length_is_made((unsigned)strlen(made)));
        FUZZ_HOLDS(device_code_parse(made, strlen(made), code) && strcmp(code, made) == 0);
        device_code_as_made(code);
        FUZZ_HOLDS(strcmp(code, made) == 0);
    }
}

static void try_moment(const char *text)
{
    int64_t moment;
    char again[32];
    struct tm tm;
    time_t at;

    if (!act_moment_parse(text, &moment))
        return;
    at = (time_t)moment;
    FUZZ_HOLDS(gmtime_r(&at, &tm) != NULL &&
               strftime(again, sizeof(again), "%Y-%m-%dT%H:%M:%SZ", &tm) == strlen(text));
    FUZZ_HOLDS(strcmp(text, again) == 0);
}

static void try_routes(const char *text)
{
    struct db_join_route route;
    struct net_id net_id;
    struct eui64 ns_id;
    bool has_ns_id;

    if (act_route_parse(text, '/', &route)) {
        FUZZ_HOLDS(route.prefix_len <= 64);
        FUZZ_HOLDS(route.prefix_len == 64 || eui64_to_u64(&route.prefix) << route.prefix_len == 0);
    }
    if (act_network_parse(text, &net_id, &has_ns_id, &ns_id))
        FUZZ_HOLDS(has_ns_id == (strchr(text, '/') != NULL));
}

static void try_names(const char *text)
{
    char out[ACT_NONE_MAX];
    const char *said = act_none_named("peer", text, "", out);

    FUZZ_HOLDS(memchr(said, '\0', sizeof(out)) != NULL);
    if (act_peer_name_valid(text))
        FUZZ_HOLDS(text[0] != '\0' && text[text_fit(text, strlen(text))] == '\0');
    if (act_as_id_valid(text))
        FUZZ_HOLDS(act_peer_name_valid(text) && strchr(text, ' ') == NULL);
    FUZZ_HOLDS(act_answer_credential_check(text) == 0 || error_text()[0] != '\0');
}

static void try_urls(const char *text)
{
    /* What goes to a public address alone goes there anyway. */
    FUZZ_HOLDS(api_client_check_public_url(text) != 0 || api_client_check_url(text) == 0);
    FUZZ_HOLDS(act_answer_url_check(text) != 0 || api_client_check_url(text) == 0);
    FUZZ_HOLDS((act_partner_url_check(text) == 0) == (act_answer_url_check(text) == 0));
}

static void try_share(const char *text)
{
    char written[SHARES_TEXT_MAX];
    struct share share, again;

    if (share_read(text, &share) != 0)
        return;
    share_write(&share, written);
    FUZZ_HOLDS(share_read(written, &again) == 0 && memcmp(&share, &again, sizeof(share)) == 0);
}

static void try_base64(const char *text, size_t len)
{
    uint8_t *bytes = malloc(len + 3);
    char *again = malloc(BASE64_LEN(len) + 1);
    ssize_t n;

    FUZZ_HOLDS(bytes != NULL && again != NULL);
    n = base64_decode(text, bytes, len + 3);
    if (n >= 0)
        FUZZ_HOLDS(strcmp(base64_encode(bytes, (size_t)n, again), text) == 0);
    n = base64url_decode(text, len, bytes, len + 3);
    if (n >= 0)
        FUZZ_HOLDS(strlen(base64url_encode(bytes, (size_t)n, again)) == len &&
                   memcmp(again, text, len) == 0);
    free(bytes);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum lw_mac_version version, again;
    char *text = malloc(size + 1);

    FUZZ_HOLDS(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    try_identifiers(text, size);
    try_code(text, size);
    try_made_code(text, size);
    try_moment(text);
    try_routes(text);
    try_names(text);
    if (strncmp(text, "http", 4) == 0)
        try_urls(text);
    try_share(text);
    try_base64(text, size);
    if (lw_mac_version_parse(text, &version))
        FUZZ_HOLDS(lw_mac_version_parse(lw_mac_version_text(version), &again) && again == version);
    free(text);
    return 0;
}
