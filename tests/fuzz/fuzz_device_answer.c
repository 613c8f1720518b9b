/* Any body as a join server's answer to the simulated device: what is read is judged, and only what
 * device, network server and application server agree upon is found good. The first byte is what
 * was asked. */
#include "base/error.h"
#include "cli/device_json.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define ASKED_REJOIN 1
#define ASKED_1_1 2
#define ASKED_KEKS 4
#define TRANSACTION 7
#define NONCE 258

static const struct simdev_kek kek = {.label = "k", .bytes = {8}, .len = 16};

static void ask(uint8_t asked, struct simdev *device, struct simdev_network *network)
{
    *device = (struct simdev){.dev_eui = {{1, 2, 3, 4, 5, 6, 7, 8}},
        .join_eui = {{8, 7, 6, 5, 4, 3, 2, 1}},
        .mac_version = (asked & ASKED_1_1) != 0 ? LW_MAC_1_1 : LW_MAC_1_0_3,
        .app_key = {.bytes = {1}},
        .nwk_key = {.bytes = {2}},
        .rejoins = (asked & ASKED_REJOIN) != 0 && (asked & ASKED_1_1) != 0};
    *network = (struct simdev_network){.net_id = {{0, 0, 0x13}}, .rx_delay = 1};
    if ((asked & ASKED_KEKS) != 0) {
        network->ns = (struct simdev_key_ring){.keks = {kek}, .n_keks = 1};
        network->as = network->ns;
    }
}

static void check_texts(const struct simdev_answer *answer)
{
    FUZZ_HOLDS(memchr(answer->result_code, '\0', sizeof(answer->result_code)) != NULL);
    FUZZ_HOLDS(memchr(answer->description, '\0', sizeof(answer->description)) != NULL);
    FUZZ_HOLDS(memchr(answer->session_key_id, '\0', sizeof(answer->session_key_id)) != NULL);
    FUZZ_HOLDS(answer->phy_payload_len <= sizeof(answer->phy_payload));
    for (size_t i = 0; i < SIMDEV_N_KEYS; i++) {
        FUZZ_HOLDS(answer->keys[i].aes_key_len <= sizeof(answer->keys[i].aes_key));
        FUZZ_HOLDS(memchr(answer->keys[i].kek_label, '\0', KEK_LABEL_MAX + 1) != NULL);
    }
}

static void judge(const struct simdev *device, const struct simdev_network *network,
    const struct simdev_answer *answer)
{
    struct simdev_result result = {.opened = false};
    int r = simdev_answer_check(device, network, NONCE, answer, &result);

    FUZZ_HOLDS(r >= 0 && r < SIMDEV_N_VERDICTS);
    FUZZ_HOLDS(simdev_verdict_text((enum simdev_verdict)r)[0] != '\0');
    FUZZ_HOLDS(r != SIMDEV_AGREE || result.opened);
    for (size_t i = 0; r == SIMDEV_AGREE && i < SIMDEV_N_KEYS; i++)
        FUZZ_HOLDS(
            answer->keys[i].present == simdev_key_expected((enum simdev_key)i, result.opt_neg));
    simdev_result_wipe(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct simdev_network network;
    struct simdev_answer answer;
    struct simdev device;
    char detail[32];
    int r;

    if (size == 0)
        return 0;
    ask(data[0], &device, &network);
    simdev_problem_detail((const char *)data + 1, size - 1, detail, sizeof(detail));
    FUZZ_HOLDS(memchr(detail, '\0', sizeof(detail)) != NULL);
    r = simdev_answer_parse(
        (const char *)data + 1, size - 1, &device, &network, TRANSACTION, &answer);
    FUZZ_HOLDS(r == 0 || (r == ERROR_INPUT && error_text()[0] != '\0'));
    check_texts(&answer);
    if (r == 0 && strcmp(answer.result_code, "Success") == 0)
        judge(&device, &network, &answer);
    return 0;
}
