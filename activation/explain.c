#include "activation/explain.h"

#include "device/nonce.h"

/* The time of a refusal is reckoned back from when it was written, that of a join is its commit's:
 * the first may seem to be a little before the second. */
#define CLOCKS_APART_US 1000000

enum device_refusal explain_refusal(const struct db_attempt *attempt)
{
    return attempt->success ? REFUSAL_NONE : device_refusal_find(attempt->outcome, attempt->reason);
}

bool explain_needs_use(const struct db_attempt *attempt)
{
    enum device_refusal refusal = explain_refusal(attempt);

    return attempt->join_type == LW_JOIN && attempt->dev_nonce != DEVICE_NO_NONCE &&
           (refusal == REFUSAL_DEV_NONCE_USED || refusal == REFUSAL_DEV_NONCE_NOT_ABOVE ||
               refusal == REFUSAL_DEV_NONCES_USED_UP);
}

/* The last one before the attempt: the only one since the device's nonces were reset. */
static const struct db_nonce_use *find_use(
    const struct db_attempt *attempt, const struct explain_facts *facts)
{
    for (size_t i = 0; i < facts->n_uses; i++)
        if (facts->uses[i].dev_nonce == attempt->dev_nonce &&
            facts->uses[i].at_us <= attempt->at_us + CLOCKS_APART_US)
            return &facts->uses[i];
    return NULL;
}

static void add_nonce(
    struct text *why, const struct db_attempt *attempt, const struct explain_facts *facts)
{
    const struct db_nonce_use *use = find_use(attempt, facts);
    const char *version = lw_mac_version_text(facts->record->mac_version);

    text_addf(why, " It sent DevNonce %d", (int)attempt->dev_nonce);
    if (use != NULL)
        text_addf(why, ", which it joined with at %s.", use->at);
    else
        text_add(why, ", which it did not join with under its present owner.");
    if (!device_nonce_is_counted(facts->record->mac_version)) {
        text_addf(why,
            " It is a LoRaWAN %s device: it draws DevNonces at random, and each may be used once "
            "in its life.",
            version);
        return;
    }
    text_addf(
        why, " It is a LoRaWAN %s device: it counts, and each must be above the last", version);
    if (facts->last_dev_nonce != DEVICE_NO_NONCE)
        text_addf(why, ", which is %d by now", (int)facts->last_dev_nonce);
    text_add(why, ".");
}

static void add_join_euis(
    struct text *why, const struct db_attempt *attempt, const struct explain_facts *facts)
{
    char frame[EUI64_TEXT_LEN + 1], record[EUI64_TEXT_LEN + 1];

    text_addf(why, " The device sent %s; its record has %s.",
        eui64_format(&attempt->join_eui, frame), eui64_format(&facts->record->join_eui, record));
}

static void add_networks(
    struct text *why, const struct db_attempt *attempt, const struct explain_facts *facts)
{
    char home[NET_ID_TEXT_LEN + 1];

    text_addf(why, " Network %s asked; ", attempt->sender_id);
    if (facts->record->has_home_net_id)
        text_addf(why, "the home network is %s.", net_id_format(&facts->record->home_net_id, home));
    else
        text_add(why, "no home network is named.");
}

static void add_test(
    struct text *why, const struct db_attempt *attempt, const struct explain_facts *facts)
{
    char test[NET_ID_TEXT_LEN + 1];

    text_addf(why, " Network %s asked", attempt->sender_id);
    if (facts->record->test.present)
        text_addf(
            why, "; the test window is for %s", net_id_format(&facts->record->test.net_id, test));
    text_add(why, ".");
}

/* As it is now, which may not be as it was then. */
static void add_suspension(struct text *why, const struct db_device *device)
{
    if (device->record.service != SERVICE_SUSPENDED)
        text_add(why, " It is not suspended any more.");
    else if (!device->is_suspended_by_subscription)
        text_add(why, " It is suspended by its owner.");
    else if (device->subscription.present)
        text_addf(why, " It is suspended since its subscription %s ended at %s.",
            device->subscription.name, device->subscription.ends_at);
    else
        text_add(why, " It holds no subscription, and its owner's devices need one.");
}

static void add_facts(
    struct text *why, const struct db_attempt *attempt, const struct explain_facts *facts)
{
    switch (explain_refusal(attempt)) {
    case REFUSAL_NOT_HOME:
    case REFUSAL_AGREEMENT_ENDED:
    case REFUSAL_AGREEMENT_NOT_BEGUN:
    case REFUSAL_AGREEMENT_ELSE:
    case REFUSAL_ROAMING_NARROWED:
        add_networks(why, attempt, facts);
        break;
    case REFUSAL_TEST_NETWORK:
        add_test(why, attempt, facts);
        break;
    case REFUSAL_OTHER_JOIN_EUI:
    case REFUSAL_JOIN_EUI_NOT_ROUTED:
    case REFUSAL_ROUTE_REFUSES:
        add_join_euis(why, attempt, facts);
        break;
    case REFUSAL_SUSPENDED:
        add_suspension(why, facts->device);
        break;
    case REFUSAL_RJ_COUNT_NOT_ABOVE:
        text_addf(why, " It sent RJcount %d.", (int)attempt->dev_nonce);
        break;
    case REFUSAL_MALFORMED:
    case REFUSAL_FRAME_SIZE:
    case REFUSAL_OTHER:
        text_addf(why, " As recorded: %s.", attempt->reason);
        break;
    default:
        if (explain_needs_use(attempt))
            add_nonce(why, attempt, facts);
    }
}

void explain_write(
    struct text *out, const struct db_attempt *attempt, const struct explain_facts *facts)
{
    const struct device_explanation *e = device_refusal_explain(explain_refusal(attempt));
    CLEANUP(text_done) struct text why = {0};

    text_add(&why, e->why);
    add_facts(&why, attempt, facts);
    text_add(out, "{\"what\":");
    text_add_json(out, e->what);
    text_add(out, ",\"why\":");
    text_add_json(out, why.failed ? e->why : why.data);
    text_add(out, ",\"do\":");
    text_add_json(out, e->to_do);
    text_add(out, "}");
}
