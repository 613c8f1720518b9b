#include "device/carried.h"

#include <stddef.h>
#include <string.h>

#define LOOK_AT_LOG "The join server's log says more (\"not carried\")."
#define TRY_AGAIN "Nothing, when it was once: the device tries again. "
#define LIES "Its join server is broken, or the URL is not that of a join server."
#define ASK_HOME "Ask the operator of the partner: his side counts each refusal with its reason."

struct row {
    const char *word;
    struct device_explanation explanation;
};

static const struct row outcomes[] = {
    {"unreachable",
        {"The partner could not be connected to, or the connection broke before an answer.",
            "It is down, or its URL, its name or the network between is wrong.",
            TRY_AGAIN LOOK_AT_LOG}},
    {"timeout",
        {"The partner did not answer in time.",
            "It is slow or overloaded, or its time here (timeout_ms) is too short. It may have "
            "spent the device's nonce all the same.",
            TRY_AGAIN "If it goes on, ask its operator, or give it more time (cradle partner set "
                      "--timeout-ms)."}},
    {"untrusted",
        {"The partner's certificate is not believed, so nothing was sent.",
            "It has expired, is of another name, or of a CA that its credential here does not "
            "name; or the name leads to an address that is not public.",
            "Have it renewed, or put the right CA beside the partner's credential. " LOOK_AT_LOG}},
    {"failing", {"The partner answered with an HTTP status that says that it cannot work now.",
                    "It is overloaded, or a part of it is down.", TRY_AGAIN ASK_HOME}},
    {"refused",
        {"The partner answered with another HTTP status than 2xx.",
            "It does not know who asks (the certificate or token here), the URL is wrong, or it fails "
            "for this request alone (HTTP 500).",
            "Check the partner's URL and credential. " LOOK_AT_LOG}},
    {"cut", {"The partner's answer broke off, or is too long.", LIES, LOOK_AT_LOG}},
    {"not_json", {"The partner's answer is no JSON.", LIES, LOOK_AT_LOG}},
    {"other_message", {"The partner's answer is of another MessageType.", LIES, LOOK_AT_LOG}},
    {"other_transaction", {"The partner's answer is of another transaction.", LIES, LOOK_AT_LOG}},
    {"other_ids", {"The partner's answer is of another sender or receiver.", LIES, LOOK_AT_LOG}},
    {"no_result", {"The partner's answer has no ResultCode.", LIES, LOOK_AT_LOG}},
    {"incomplete", {"The partner says Success without what was asked for.", LIES, LOOK_AT_LOG}},
    {"other_version", {"The partner does not know the ProtocolVersion that it is spoken to in.",
                          "Its record here names the wrong version.",
                          "Correct it (cradle partner set --protocol-version)."}},
    {"clear_key", {"The partner's answer holds a key in clear, which was not sent on.",
                      "Keys in clear go over mutual TLS only, all the way.",
                      "The partner wraps its keys; or who asks comes by mutual TLS."}},
    {"open", {"The partner was left alone, since it had failed too often just before.",
                 "A probe finds out at intervals whether it is back.",
                 "Look at the outcome that it failed with, counted beside this one."}},
    {"full", {"Too many requests were on their way.",
                 "The partner answers slower than it is asked, or one network asks too much.",
                 TRY_AGAIN "If it goes on, let more be on their way (cradle partner set "
                           "--max-in-flight, roaming.requests)."}},
    {"url", {"The partner's URL may not be posted to.",
                "It is no good URL, or one without TLS to where only TLS will do.",
                "Correct it (cradle partner set --url)."}},
    {"credential", {"The partner's credential could not be read, so nothing was sent.",
                       "Its files are missing in the folder of credentials, or are no credential.",
                       "Put them there. " LOOK_AT_LOG}},
    {"not_found", {"DNS did not answer about this JoinEUI, or not so that it is believed.",
                      "The resolver is away, DNSSEC fails, or dns.mode is off.",
                      "Look at it with cradle dns; and at the settings of [dns]."}},
    {"no_server", {"DNS knows no join server of this JoinEUI.",
                      "Its owner has not published one, or the device has a wrong JoinEUI.",
                      "Nothing here; or a route of its own for these JoinEUIs."}},
    {"stopped",
        {"The join server was stopping.", "It was restarted while requests were on their way.",
            "Nothing: the device tries again."}},
    {"internal", {"The join server here could not carry it.",
                     "Memory was missing, or it has a fault.", "See its log."}},
    {"loop",
        {"The request had been here before.",
            "Join servers send requests of these JoinEUIs round in a circle.",
            "Of the routes of the servers in it, one is wrong: find it with cradle route explain."}},
    {"hops", {"The request had passed too many join servers.",
                 "The way is longer than roaming.max_hops, or goes in a circle.",
                 "Shorten the way; or allow more (roaming.max_hops)."}},
};

static const struct row codes[] = {
    {"UnknownDevEUI",
        {"The partner does not know the device, or does not tell this network of it.",
            "A device that is not there, one whose home has no agreement with the network that "
            "asks, and one whose owner does not want it there are answered alike.",
            ASK_HOME}},
    {"NoRoamingAgreement",
        {"The home of the device has no roaming agreement with the network that asks.",
            "It never had one, it is over or has not begun; or the device is not there at all.",
            "The two networks agree, and the operator at home says so."}},
    {"DevRoamingDisallowed", {"The device may not roam.", "Its home says so.", ASK_HOME}},
    {"RoamingActDisallowed",
        {"The device may not be activated away from home.", "Its home says so.", ASK_HOME}},
    {"ActivationDisallowed", {"The device may not be activated now.",
                                 "Its home says so: it may be suspended.", ASK_HOME}},
    {"MICFailed", {"The frame's MIC is wrong.",
                      "The device and its home have different keys, or somebody made the frame up.",
                      "Its owner compares the device's key with that at its home."}},
    {"JoinReqFailed", {"The partner refused the join.", "Often the device's nonce was used before.",
                          "Once is no matter: the device joins with its next one. " ASK_HOME}},
    {"FrameReplayed",
        {"The frame's nonce was used before.", "It was sent again, or the device repeats nonces.",
            "Once is no matter: the device joins with its next one. " ASK_HOME}},
    {"UnknownSender", {"The partner does not know the network that asks, or not by this server.",
                          "Its record of this server does not name that NetID or AS-ID.",
                          "Its operator adds it to that record."}},
    {"UnkownReceiver",
        {"The partner is not the join server of this JoinEUI, and knows none.",
            "The route here is too wide, or one there is missing.",
            "Compare the routes (cradle route explain) with the partner's operator."}},
    {"UnknownReceiver",
        {"The partner is not the join server of this JoinEUI, and knows none.",
            "The route here is too wide, or one there is missing.",
            "Compare the routes (cradle route explain) with the partner's operator."}},
    {"Other",
        {"The partner refused for a reason that TS002 has no word for.",
            "It may be overloaded, want a KEK of the network that asks, or fail to ask the next "
            "server.",
            TRY_AGAIN ASK_HOME}},
};

static const struct device_explanation other_code = {
    "The partner refused.", "Its ResultCode says why, in the words of TS002.", ASK_HOME};
static const struct device_explanation other_outcome = {"It was not carried.",
    "The outcome says why, in the words of a join server of another version.", LOOK_AT_LOG};

static const struct device_explanation *find(
    const struct row *rows, size_t n, const char *word, const struct device_explanation *otherwise)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].word, word) == 0)
            return &rows[i].explanation;
    return otherwise;
}

const struct device_explanation *device_carried_explain(
    const char *outcome, const char *result_code)
{
    if (strcmp(outcome, CARRIED_ANSWERED) == 0)
        return find(codes, sizeof(codes) / sizeof(codes[0]), result_code, &other_code);
    return find(outcomes, sizeof(outcomes) / sizeof(outcomes[0]), outcome, &other_outcome);
}

bool device_carried_is_known(const char *outcome)
{
    return strcmp(outcome, CARRIED_ANSWERED) == 0 ||
           device_carried_explain(outcome, "") != &other_outcome;
}
