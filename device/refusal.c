#include "device/refusal.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NS_HAS_NO_KEK "the network server has no KEK"
#define AS_HAS_NO_KEK "the device's application server has no KEK"

#define TO_OPERATOR "Tell the operator of this join server."
#define TRY_AGAIN "Let the device try again: nothing was spent on this attempt."
#define NS_KEK_TO_DO                                                                               \
    "The operator of this join server gives the network server a KEK (cradle kek add --ns)."
#define AS_KEK_TO_DO                                                                               \
    "The operator of this join server gives the application server a KEK (cradle kek add --as), "  \
    "or its AS-ID in the device's record is corrected."

static const struct {
    const char *reason;  /* as it is recorded */
    const char *outcome; /* with which any other reason is explained so, too; or NULL */
    struct device_explanation explanation;
} refusals[N_DEVICE_REFUSALS] = {
    [REFUSAL_NOT_ACTIVABLE] = {"the credential is not activable", NULL,
        {"The device's credential has not been released for joining, or was scrapped.",
            "Its maker says which devices of a batch were built; only those may join.",
            "Ask the maker to make the device activable. A scrapped one never joins again."}},
    [REFUSAL_UNCLAIMED] = {"nobody has claimed the device", NULL,
        {"The device belongs to nobody yet.",
            "A device joins only the network that its owner has named.",
            "Claim it with the code on its label, and name its home network."}},
    [REFUSAL_NOT_HOME] = {"the sender is not the device's home network", NULL,
        {"Another network than the device's home network asked for the join.",
            "A gateway of that network heard the device. Only the home network is answered, and "
            "those that it has a roaming agreement with; this one has none.",
            "If that network is the right one, set the device's home NetID to it; if the device is "
            "to join there away from home, the operator of this join server adds what the networks "
            "have agreed upon (cradle agreement add); else nothing is wrong, as long as the home "
            "network asks, too."}},
    [REFUSAL_AGREEMENT_ENDED] = {"the roaming agreement with the sender has ended", NULL,
        {"A visited network asked for the join, whose agreement with the device's home network is "
         "over.",
            "Roaming agreements have an end. Until then the device could join there.",
            "The two networks agree anew, and the operator of this join server says so (cradle "
            "agreement add, or set --ends-at)."}},
    [REFUSAL_AGREEMENT_NOT_BEGUN] = {"the roaming agreement with the sender has not begun", NULL,
        {"A visited network asked for the join, whose agreement with the device's home network is "
         "still to begin.",
            "Roaming agreements have a start. From then on the device can join there.",
            "Wait for it; or the operator of this join server corrects the start (cradle agreement "
            "set --starts-at)."}},
    [REFUSAL_AGREEMENT_ELSE] = {"the roaming agreement with the sender does not allow activation",
        NULL,
        {"A visited network asked for the join, whose agreement with the device's home network "
         "does not allow it.",
            "An agreement may be about HomeNSReq alone: the visited network then learns who is "
            "home to the device, and asks there.",
            "Nothing is wrong where that is what was agreed; else the operator of this join "
            "server corrects it (cradle agreement set --allows)."}},
    [REFUSAL_ROAMING_NARROWED] = {"the owner does not let the device join in that network", NULL,
        {"A visited network asked for the join, and the device's owner does not want it there.",
            "The networks have an agreement; the owner has narrowed it for this device.",
            "Nothing is wrong where that is wanted; else set the device's roaming to \"agreed\", or "
            "to a list with that network (cradle device roaming)."}},
    [REFUSAL_OTHER_JOIN_EUI] = {"the frame's JoinEUI is not the device's", NULL,
        {"The device joins under another JoinEUI than its record has.",
            "The JoinEUI (AppEUI) in the device's firmware and the one in the maker's file differ.",
            "Correct the JoinEUI in the device, or have the maker correct the record."}},
    [REFUSAL_TEST_NETWORK] = {"the test window is for another network", NULL,
        {"Another network than that of the device's factory test asked for the join.",
            "Nobody owns the device yet, and its maker lets it join in one network only.",
            "If that network is the right one, open the test window for its NetID; else nothing is "
            "wrong."}},
    [REFUSAL_TEST_EXPIRED] = {"the test window is over", NULL,
        {"The time of the device's factory test is over.",
            "Nobody owns the device yet, and its maker let it join until a time that has passed.",
            "Open the test window anew, or have the device claimed."}},
    [REFUSAL_TEST_USED_UP] = {"the joins of the test window are used up", NULL,
        {"The device has joined as often as its factory test allows.",
            "Nobody owns the device yet, and its maker let it join a number of times that is "
            "reached. Rejoins count, too.",
            "Open the test window anew, or have the device claimed."}},
    [REFUSAL_INACTIVE] = {"the device's service is not active", NULL,
        {"The device's service has not been started.",
            "A device that is owned may still wait for its service.",
            "Resume the device's service, or claim it with a home network."}},
    [REFUSAL_SUSPENDED] = {"the device is suspended", NULL,
        {"The device is suspended.", "Its owner has suspended it, or its subscription has ended.",
            "Resume it, or renew its subscription."}},
    [REFUSAL_QUARANTINED] = {"the device is quarantined", NULL,
        {"The device is quarantined.",
            "Somebody judged that its keys, or the device, may be in other hands.",
            "Find out why, and have the quarantine lifted; or replace the device."}},
    [REFUSAL_DEV_NONCE_USED] = {"the DevNonce was used before", NULL,
        {"The device sent a DevNonce that it has used before.",
            "A Join-Request is valid once. Either an old one was sent again by somebody, or the "
            "device repeats its DevNonces.",
            "Once is no matter: the device joins with its next DevNonce. If it goes on, its random "
            "numbers are not random: mend the firmware, and have its nonces reset."}},
    [REFUSAL_DEV_NONCE_NOT_ABOVE] = {"the DevNonce is not above the last one", NULL,
        {"The device sent a DevNonce that is not above its last one.",
            "Either an old Join-Request was sent again by somebody, or the device lost its "
            "counter, as after a firmware update or a reset to its factory state.",
            "Have the device's nonces reset, once; see that its firmware keeps DevNonce over "
            "restarts and updates."}},
    [REFUSAL_DEV_NONCES_USED_UP] = {"all DevNonces are used: the device's nonces must be reset",
        NULL,
        {"The device has used its last DevNonce.",
            "It counted to 65535, or was made to jump there. No greater one exists.",
            "Have the device's nonces reset, and set its counter back."}},
    [REFUSAL_RJ_COUNT_NOT_ABOVE] = {"the RJcount is not above the last one", NULL,
        {"The device sent a Rejoin-Request whose RJcount is not above the last one.",
            "Either an old request was sent again by somebody, or the device lost its counter.",
            "Let the device join anew; see that its firmware keeps RJcount over restarts."}},
    [REFUSAL_JOIN_NONCES_USED_UP] = {"all 2^24 - 1 JoinNonces are used", "join_nonce_exhausted",
        {"All 16,777,215 joins that a device can have are used up.",
            "JoinNonce has 24 bits, and none is ever used twice.",
            "Replace the device, or have it made anew with other keys. Find out why it joins so "
            "often."}},
    [REFUSAL_NONCE_EPOCH_WENT_BACK] = {"the device's nonce epoch went back", NULL,
        {"The device's record is older than the memory of its joins.",
            "Only a database that was restored in part looks so.",
            TO_OPERATOR " The device's nonces must be reset."}},
    [REFUSAL_MIC_WRONG] = {"the MIC is wrong", "mic_failed",
        {"The Join-Request was not signed with the device's root key.",
            "The key in the device and the one in its record differ, its EUIs are in the wrong "
            "byte order, or somebody else sends in its name.",
            "Compare the AppKey (1.1: NwkKey), the EUIs and the LoRaWAN version of the device with "
            "its record. Ask the maker about other devices of its batch."}},
    [REFUSAL_MIC_OTHER_KEY] =
        {"the MIC is wrong: it is by the AppKey, not the NwkKey: the two are swapped, or "
         "the device is not of LoRaWAN 1.1",
            NULL,
            {"The Join-Request was signed with the AppKey of the record, where its NwkKey "
             "is due.",
                "The two keys are swapped in the device or in its record, or the device works"
                " as one of LoRaWAN 1.0 and its record says 1.1.",
                "Swap the keys, or have the maker correct the LoRaWAN version of the record."}},
    [REFUSAL_MIC_DEV_EUI_REVERSED] =
        {"the MIC is wrong: the device computed it over its DevEUI in the other byte order"
         " than it sends",
            NULL,
            {"The key is right; the MIC was computed over the DevEUI in the wrong byte "
             "order.",
                "In a Join-Request an EUI goes least significant byte first. The firmware "
                "sends it so, and signs it the other way round.",
                "Correct the firmware: the MIC is over the bytes as they are sent."}},
    [REFUSAL_MIC_JOIN_EUI_REVERSED] =
        {"the MIC is wrong: the device computed it over its JoinEUI in the other byte "
         "order than it sends",
            NULL,
            {"The key is right; the MIC was computed over the JoinEUI in the wrong byte "
             "order.",
                "In a Join-Request an EUI goes least significant byte first. The firmware "
                "sends it so, and signs it the other way round.",
                "Correct the firmware: the MIC is over the bytes as they are sent."}},
    [REFUSAL_MIC_BOTH_REVERSED] =
        {"the MIC is wrong: the device computed it over its JoinEUI and DevEUI in the "
         "other byte order than it sends",
            NULL,
            {"The key is right; the MIC was computed over the JoinEUI and DevEUI in the "
             "wrong byte order.",
                "In a Join-Request an EUI goes least significant byte first. The firmware "
                "sends them so, and signs them the other way round.",
                "Correct the firmware: the MIC is over the bytes as they are sent."}},
    [REFUSAL_MIC_UNCHECKED] = {"not checked: too many wrong MICs within a minute", NULL,
        {"The Join-Request was not looked at.",
            "Of a device with more than 60 wrong MICs within a minute one request in four is "
            "checked, so that nobody can guess a MIC.",
            "See the attempts with a wrong MIC before it. A device that stops for a minute is "
            "checked again."}},
    [REFUSAL_JOIN_EUI_NOT_ROUTED] = {"the JoinEUI is not one that this join server answers",
        "unknown_receiver",
        {"The network server asked for a JoinEUI that does not belong to this join server.",
            "The JoinEUI in the device is another than its maker was given, or the operator of "
            "this join server has not said that it is ours.",
            "Correct the JoinEUI in the device; or the operator of this join server adds its "
            "prefix (cradle route add)."}},
    [REFUSAL_ROUTE_REFUSES] = {"a route refuses this JoinEUI", NULL,
        {"The network server asked for a JoinEUI that this join server is told to refuse.",
            "The operator of this join server has a route of kind refuse for it.",
            "Ask the operator of this join server; cradle route explain names the route."}},
    [REFUSAL_MALFORMED] = {"the request is malformed", "malformed",
        {"The network server sent a request that is not one.",
            "The reason says which member was wrong. The device is not at fault.",
            "Tell the operator of the network server."}},
    [REFUSAL_FRAME_SIZE] = {"the frame has the wrong length", "frame_size",
        {"The frame is too long or too short for a Join-Request or Rejoin-Request.",
            "The device sends something else, or the network server changed it.",
            "Look at the frame (PHYPayload) in the network server's log."}},
    [REFUSAL_OPT_NEG] = {"OptNeg is set for a device that is not 1.1", NULL,
        {"The network server wants LoRaWAN 1.1 for a device whose record says 1.0.x.",
            "Its device profile and the device's record name different LoRaWAN versions.",
            "Set the version of the device's profile in the network server to that of its "
            "record."}},
    [REFUSAL_NO_REJOIN_BEFORE_1_1] = {"only a 1.1 device can rejoin", NULL,
        {"A Rejoin-Request came for a device whose record says LoRaWAN 1.0.x.",
            "Rejoining began with LoRaWAN 1.1.",
            "If the device speaks 1.1, have the maker correct its record, which needs both root "
            "keys; else somebody else sends in its name."}},
    [REFUSAL_NO_SESSION] = {"the device has no session that can rejoin", NULL,
        {"The device wants to rejoin and has no session that could be renewed.",
            "It has not joined under its present owner, keys and JoinEUI, or not as 1.1.",
            "Let the device join (Join-Request) instead."}},
    [REFUSAL_SESSION_NET_ID] = {"the NetID in the frame is not the session's", "refused",
        {"The device rejoins in the name of another network than its session is of.",
            "The NetID in its frame is not the one that it was given when it joined.",
            "Let the device join (Join-Request) instead."}},
    [REFUSAL_KEYS_INCOMPLETE] = {"the device's root keys are not complete", NULL,
        {"A root key that the device's LoRaWAN version needs is missing.",
            "1.1 needs AppKey and NwkKey, older versions AppKey alone.",
            "Have the maker correct the device's version, or import it with its keys."}},
    [REFUSAL_NS_KEK_MISSING] = {NS_HAS_NO_KEK, NULL,
        {"The network server's key encryption key (KEK) is missing.",
            "Session keys leave only under a KEK of whoever gets them.", NS_KEK_TO_DO}},
    [REFUSAL_NS_KEK_MISSING_TOKEN] = {NS_HAS_NO_KEK
        ", and keys in clear are for mutual TLS, not for a token",
        NULL,
        {"The network server's key encryption key (KEK) is missing.",
            "It may have keys in clear, but asked with a token instead of a certificate.",
            NS_KEK_TO_DO " Or it uses its certificate."}},
    [REFUSAL_NS_KEK_MISSING_URL] = {NS_HAS_NO_KEK
        ", and keys in clear do not go to an answer URL that is not https",
        NULL,
        {"The network server's key encryption key (KEK) is missing.",
            "It may have keys in clear, but its answers go to a URL without TLS.",
            NS_KEK_TO_DO " Or it takes its answers at an https URL."}},
    [REFUSAL_NS_KEK_MISSING_SETTING] = {NS_HAS_NO_KEK ", and join.plain_keys is off", NULL,
        {"The network server's key encryption key (KEK) is missing.",
            "It may have keys in clear, but this join server gives none.", NS_KEK_TO_DO}},
    [REFUSAL_AS_KEK_MISSING] = {AS_HAS_NO_KEK, NULL,
        {"The device's application server has no key encryption key (KEK), or none was named.",
            "The AppSKey leaves only under a KEK of the application server.", AS_KEK_TO_DO}},
    [REFUSAL_AS_KEK_MISSING_TOKEN] = {AS_HAS_NO_KEK
        ", and AppSKey in clear is for mutual TLS, not for a token",
        NULL,
        {"The device's application server has no key encryption key (KEK).",
            "Whoever asked may have the AppSKey in clear, but asked with a token instead of a "
            "certificate.",
            AS_KEK_TO_DO}},
    [REFUSAL_AS_KEK_MISSING_URL] = {AS_HAS_NO_KEK
        ", and AppSKey in clear does not go to a URL that is not https",
        NULL,
        {"The device's application server has no key encryption key (KEK).",
            "Whoever asked may have the AppSKey in clear, but its answers go to a URL without "
            "TLS.",
            AS_KEK_TO_DO}},
    [REFUSAL_AS_CLEAR_SETTING] = {"AppSKey is to be in clear, and join.plain_keys is off", NULL,
        {"The network server is to have the AppSKey in clear, and this join server gives none so.",
            "The peer's record and the join server's configuration contradict each other.",
            TO_OPERATOR " Either cradle ns set --app-s-key wrapped, or join.plain_keys."}},
    [REFUSAL_KEY_ALTERED] = {"the sealed device key was altered or moved", NULL,
        {"The device's sealed root key does not belong to its record.",
            "Somebody wrote to the database, or the HSM's token is another one.",
            TO_OPERATOR " This is an alarm."}},
    [REFUSAL_KEK_ALTERED] = {"the sealed KEK was altered or moved", NULL,
        {"The sealed KEK does not belong to the peer that it stands with.",
            "Somebody wrote to the database, or the HSM's token is another one.",
            TO_OPERATOR " This is an alarm."}},
    [REFUSAL_STORAGE_KEK_UNKNOWN] = {"the token does not hold the storage KEK", NULL,
        {"The HSM does not hold the key under which the device's key is sealed.",
            "The join server uses another token than the one that the device came in by.",
            TO_OPERATOR " The HSM's token must be the one of the database."}},
    [REFUSAL_KEYD_INPUT] = {"the input cannot be used", NULL,
        {"The key process could not use the request.",
            "Key process and join server are not of one version, or a record is damaged.",
            TO_OPERATOR " " TRY_AGAIN}},
    [REFUSAL_HSM_FAILED] = {"the HSM failed", NULL,
        {"The HSM did not do its work.", "It is away, full or out of order.",
            TRY_AGAIN " If it goes on: tell the operator of this join server."}},
    [REFUSAL_KEYD_UNKNOWN] = {"keyd gave an unknown status", NULL,
        {"The key process gave an answer that the join server does not know.",
            "The two are not of one version.", TO_OPERATOR " " TRY_AGAIN}},
    [REFUSAL_KEYD_NO_ANSWER] = {"the key process did not answer", NULL,
        {"The key process did not answer in time.", "It is being started again, or overloaded.",
            TRY_AGAIN " If it goes on: tell the operator of this join server."}},
    [REFUSAL_DATABASE_NO_ANSWER] = {"the database did not answer", "unavailable",
        {"The join server could not do its work.", "Its database is away or overloaded.",
            TRY_AGAIN " If it goes on: tell the operator of this join server."}},
    [REFUSAL_DATABASE_REFUSED] = {"the database did not take the join", NULL,
        {"The join could not be made durable, so it was not answered.",
            "The database is away, overloaded or without its standby.",
            "Let the device try again. If it goes on: tell the operator of this join server."}},
    [REFUSAL_ROW_CHANGED] = {"the device's row changed at every try", NULL,
        {"The device's record changed again and again while the join was worked on.",
            "Many joins or changes of this device came at once.", TRY_AGAIN}},
    [REFUSAL_RETRY_NOT_DURABLE] = {"the join it repeats is not durable yet", NULL,
        {"The network server repeated a join that is not yet stored for good.",
            "The database waits for its standby.",
            "Let the device try again. If it goes on: tell the operator of this join server."}},
    [REFUSAL_SLOWED] = {"the device joined too often in a short time", "slowed",
        {"The device has joined again and again, and is slowed down.",
            "A device that joins without end costs all others their time. Most often it never gets "
            "the answers to its joins, or starts anew all the time.",
            "See that the network's answers reach it, and that it does not restart; it may join "
            "once in a while (some seconds), and as often as any when it has rested."}},
    [REFUSAL_LATE_IN_QUEUE] = {"no worker was free in time", "deadline",
        {"The join server was too busy to answer in time.",
            "An answer is of use to a device for a few seconds only.",
            TRY_AGAIN " If it goes on: tell the operator of this join server."}},
    [REFUSAL_LATE_FOR_KEY] = {"the deadline passed before the key was opened", NULL,
        {"The join server was too busy to answer in time.",
            "An answer is of use to a device for a few seconds only.",
            TRY_AGAIN " If it goes on: tell the operator of this join server."}},
    [REFUSAL_LATE_FOR_COMMIT] = {"the deadline passed before the commit", NULL,
        {"The join server was too busy to answer in time.",
            "An answer is of use to a device for a few seconds only.",
            TRY_AGAIN " If it goes on: tell the operator of this join server."}},
    [REFUSAL_OTHER] = {NULL, NULL,
        {"The join was refused.", "The recorded reason is all that is known.",
            "Ask the operator of this join server, and name the reason as it stands."}},
};

/* What an agreement does not give to who asks for the home network of a device. */
static const struct device_explanation home_ns_refusals[N_DEVICE_REFUSALS] = {
    [REFUSAL_NOT_HOME] = {"Another network than the device's home network asked who is home to it.",
        "A gateway of that network heard the device. Only networks that have a roaming agreement "
        "with the home network are told; this one has none.",
        "If the device is to be in that network away from home, the operator of this join server "
        "adds what the networks have agreed upon (cradle agreement add); else nothing is wrong."},
    [REFUSAL_AGREEMENT_ENDED] = {"A visited network asked who is home to the device, and its "
                                 "agreement with the home network is over.",
        "Roaming agreements have an end. Until then the visited network was told.",
        "The two networks agree anew, and the operator of this join server says so (cradle "
        "agreement add, or set --ends-at)."},
    [REFUSAL_AGREEMENT_NOT_BEGUN] = {"A visited network asked who is home to the device, and its "
                                     "agreement with the home network is still to begin.",
        "Roaming agreements have a start. From then on the visited network is told.",
        "Wait for it; or the operator of this join server corrects the start (cradle agreement set "
        "--starts-at)."},
    [REFUSAL_AGREEMENT_ELSE] = {"A visited network asked who is home to the device, and its "
                                "agreement with the home network does not allow that.",
        "The agreement is about joins alone (activation): the device can join there, and the "
        "visited network is not told who is home to it.",
        "Nothing is wrong where that is what was agreed; else the operator of this join server "
        "corrects it (cradle agreement set ID --allows activation,home_ns)."},
    [REFUSAL_ROAMING_NARROWED] = {"A visited network asked who is home to the device, and the "
                                  "device's owner does not want it there.",
        "The networks have an agreement; the owner has narrowed it for this device.",
        "Nothing is wrong where that is wanted; else set the device's roaming to \"agreed\", or to a "
        "list with that network (cradle device roaming)."},
};

const char *device_refusal_reason(enum device_refusal refusal)
{
    return refusal < N_DEVICE_REFUSALS ? refusals[refusal].reason : NULL;
}

const struct device_explanation *device_refusal_explain(enum device_refusal refusal)
{
    bool is_known = refusal > REFUSAL_NONE && refusal < N_DEVICE_REFUSALS;

    return &refusals[is_known ? refusal : REFUSAL_OTHER].explanation;
}

const struct device_explanation *device_refusal_explain_home_ns(enum device_refusal refusal)
{
    bool has_own = refusal < N_DEVICE_REFUSALS && home_ns_refusals[refusal].what != NULL;

    return has_own ? &home_ns_refusals[refusal] : device_refusal_explain(refusal);
}

enum device_refusal device_refusal_find(const char *outcome, const char *reason)
{
    enum device_refusal found = REFUSAL_OTHER;

    for (unsigned i = 0; i < N_DEVICE_REFUSALS; i++) {
        if (reason != NULL && refusals[i].reason != NULL && strcmp(refusals[i].reason, reason) == 0)
            return (enum device_refusal)i;
        if (refusals[i].outcome != NULL && strcmp(refusals[i].outcome, outcome) == 0)
            found = (enum device_refusal)i;
    }
    return found;
}
