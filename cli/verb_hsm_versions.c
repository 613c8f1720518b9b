/* Versions of keys (docs/keys.md). */
#include "cli/owner.h"

#include "base/error.h"
#include "base/log.h"
#include "db/fence.h"
#include "hsm/ceremony.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_MAX 9999

/** What a verb was told. */
struct versions_call {
    struct hsm_ceremony ceremony;
    struct hsm_ceremony second; /* without uri: there is none */
    enum hsm_family family;
    unsigned version; /* 0: none */
    bool forget_labels;
};

static bool parse_version(const char *text, unsigned *ret)
{
    char *end = NULL;
    unsigned long v = strtoul(text, &end, 10);

    if (text[0] < '1' || text[0] > '9' || *end != '\0' || v > VERSION_MAX)
        return false;
    *ret = (unsigned)v;
    return true;
}

static int read_second(const struct cli_settings *settings, struct versions_call *ret)
{
    int r;

    if (settings->hsm_uri_2[0] == '\0')
        return 0;
    if ((r = cli_need(settings->hsm_lock_file_2, "hsm.lock_file_2")) < 0)
        return r;
    ret->second = (struct hsm_ceremony){.uri = settings->hsm_uri_2,
        .lock_file = settings->hsm_lock_file_2,
        .softhsm_conf = settings->hsm_softhsm2_conf_2,
        .escrow_path = ret->ceremony.escrow_path};
    return 0;
}

/* [--escrow FILE] [--forget-labels], and as many words as there must be. */
static int read_call(const struct cli_settings *settings, int argc, char **argv, int n_words,
    struct versions_call *ret)
{
    static const struct option table[] = {
        {"escrow", required_argument, NULL, 'e'}, {"forget-labels", no_argument, NULL, 'f'}, {0}};
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'e')
            ret->ceremony.escrow_path = optarg;
        else if (c == 'f')
            ret->forget_labels = true;
        else
            return CLI_USAGE;
    }
    if (argc - optind != n_words ||
        (n_words > 0 && !hsm_family_parse(argv[optind], &ret->family)) ||
        (n_words > 1 && !parse_version(argv[optind + 1], &ret->version)))
        return CLI_USAGE;
    if ((r = cli_need(settings->hsm_uri, "hsm.uri")) < 0 ||
        (r = cli_need(settings->hsm_lock_file, "hsm.lock_file")) < 0)
        return r;
    ret->ceremony.uri = settings->hsm_uri;
    ret->ceremony.lock_file = settings->hsm_lock_file;
    return read_second(settings, ret);
}

/* --- one act on all tokens -------------------------------------------------------------------- */

typedef int (*act_on)(
    const struct versions_call *call, const struct hsm_ceremony *ceremony, struct text *out);

static int act_on_second(const struct versions_call *call, act_on act, struct text *out)
{
    char text[ERROR_TEXT_MAX];
    int r;

    if (call->second.uri == NULL)
        return 1;
    text_add(out, "the second token:\n");
    r = act(call, &call->second, out);
    if (r >= 0)
        return r;
    (void)snprintf(text, sizeof(text), "%s", error_text());
    return error_set(r, "the second token: %s (`cradle hsm copy` gives it what it lacks)", text);
}

/* What was done is done, and told, where what comes behind it failed. */
static void tell_done(const struct text *out)
{
    if (out->len > 0)
        (void)fwrite(out->data, 1, out->len, stdout);
    (void)fflush(stdout);
}

/* Tokens of which one lets another version seal would seal under this one after that serves. An act
 * that was done in one of them alone can be repeated: outcome 1 only where there was nothing to do.
 * A token that shows more than the other may serve: so the second begins what adds, and ends what
 * takes away. */
static int act_on_all(const struct versions_call *call, act_on act, bool adds, struct text *out)
{
    int first = 1, second = 1;

    if (adds)
        second = act_on_second(call, act, out);
    if (second >= 0) {
        if (call->second.uri != NULL)
            text_add(out, "the first token:\n");
        first = act(call, &call->ceremony, out);
    }
    if (!adds && first >= 0)
        second = act_on_second(call, act, out);
    if (first < 0 || second < 0) {
        tell_done(out);
        return first < 0 ? first : second;
    }
    return first == 1 && second == 1 ? 1 : 0;
}

static int already(int r, const struct versions_call *call, const char *what)
{
    char label[HSM_FAMILY_LABEL_MAX];

    hsm_family_label(call->family, call->version, label);
    return r == 1 ? error_set(ERROR_CONFIG, "%s %s", label, what) : r;
}

static int activate(
    const struct versions_call *call, const struct hsm_ceremony *ceremony, struct text *out)
{
    return hsm_ceremony_activate(ceremony, call->family, call->version, out);
}

static int open_version(
    const struct versions_call *call, const struct hsm_ceremony *ceremony, struct text *out)
{
    return hsm_ceremony_open(ceremony, call->family, call->version, out);
}

static int close_all(
    const struct versions_call *call, const struct hsm_ceremony *ceremony, struct text *out)
{
    (void)call;
    return hsm_ceremony_close(ceremony, out);
}

static int retire(
    const struct versions_call *call, const struct hsm_ceremony *ceremony, struct text *out)
{
    return hsm_ceremony_retire(ceremony, call->family, call->version, out);
}

/* --- the audit -------------------------------------------------------------------------------- */

/* The words of the act name the versions and their check values. */
static void record(const struct cli_settings *settings, const char *action, const char *object,
    const struct text *out)
{
    CLEANUP(text_done) struct text members = {0};

    if (out->len == 0)
        return;
    text_add(&members, "\"said\":");
    text_add_json(&members, out->data);
    cli_owner_tell(settings, action, object, &members);
}

static int recorded(int r, const struct cli_settings *settings, const struct versions_call *call,
    const char *action, const struct text *out)
{
    char label[HSM_FAMILY_LABEL_MAX];

    hsm_family_label(call->family, call->version, label);
    if (r == 0)
        record(settings, action, label, out);
    return r;
}

/* --- the verbs -------------------------------------------------------------------------------- */

int cli_hsm_rotate(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct versions_call call = {0};
    unsigned version;
    int r = read_call(settings, argc, argv, 1, &call);

    if (r == 0 && call.ceremony.escrow_path != NULL && !hsm_family_is_store(call.family))
        return error_set(ERROR_CONFIG, "a %s key needs no escrow file: nothing is sealed under it",
            hsm_family_word(call.family));
    if (r == 0)
        r = hsm_ceremony_rotate(&call.ceremony, call.family, &version, out);
    if (r != 0)
        return r;
    call.version = version;
    (void)recorded(0, settings, &call, "hsm.rotate", out);
    text_addf(out,
        "Back the token up, and copy it to every other token with these keys; then "
        "`cradle hsm activate %s %u`\n",
        hsm_family_word(call.family), version);
    return 0;
}

int cli_hsm_activate(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct versions_call call = {0};
    int r = read_call(settings, argc, argv, 2, &call);

    if (r != 0)
        return r;
    r = recorded(act_on_all(&call, activate, true, out), settings, &call, "hsm.activate", out);
    return already(r, &call, "seals already");
}

/* What a walk could not do it may be able to do now; if it is not told, it looks by itself, later.
 */
static void wake(const struct cli_settings *settings)
{
    CLEANUP(db_cleanup) struct db *db = NULL;

    if (cli_owner_open(settings, &db) < 0 || db_rewrap_wake(db) < 0)
        log_warn("the walk goes on within ten minutes: %s", error_text());
}

int cli_hsm_open(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct versions_call call = {0};
    int r = read_call(settings, argc, argv, 2, &call);

    if (r == 0 && call.ceremony.escrow_path == NULL)
        return CLI_USAGE;
    if (r != 0)
        return r;
    r = recorded(act_on_all(&call, open_version, true, out), settings, &call, "hsm.open", out);
    if (r == 0)
        wake(settings);
    return already(r, &call, "is open already");
}

int cli_hsm_close(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct versions_call call = {0};
    int r = read_call(settings, argc, argv, 0, &call);

    if (r == 0)
        r = act_on_all(&call, close_all, false, out);
    if (r == 0)
        record(settings, "hsm.close", "rewrap", out);
    return r;
}

/* The target names what sealed when the walk began, as "store-device.2 store-kek.1". */
static bool walk_is_towards(const struct db_rewrap_progress *walk, const char *label)
{
    const size_t len = strlen(label);

    for (const char *p = walk->target; (p = strstr(p, label)) != NULL; p += len)
        if ((p == walk->target || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\0'))
            return true;
    return false;
}

/* "12 device keys and 3 KEKs of peers". */
static void name_uses(const struct db_rewrap_use *uses, size_t n, struct text *out)
{
    for (size_t i = 0; i < n; i++)
        text_addf(out, "%s%lld %s",
            i == 0       ? ""
            : i + 1 == n ? " and "
                         : ", ",
            (long long)uses[i].n, uses[i].what);
}

/* They came behind the walk: from a service whose token had not heard of the new version. */
static int refuse_used(struct db *db, const char *label, const struct db_rewrap_use *uses, size_t n,
    const struct db_rewrap_progress *walk)
{
    CLEANUP(text_done) struct text named = {0};
    const bool again = walk->finished && !walk_is_towards(walk, label);
    int r = again ? db_rewrap_again(db, walk->target) : 0;

    if (r < 0)
        return r;
    name_uses(uses, n, &named);
    if (named.failed)
        return error_set(ERROR_SYSTEM, "no memory");
    return error_set(ERROR_CONFIG, "%s need %s: they could not be used any more. %s", named.data,
        label, again ? "The walk had ended before; it begins anew" : walk->reason);
}

/* Whether every service has seen that another version seals is what the walk tells. */
static int must_have_been_walked(const struct db_rewrap_progress *walk, const char *label)
{
    if (walk_is_towards(walk, label))
        return error_set(ERROR_CONFIG,
            "no service has seen yet that another version than %s seals: try again in a minute",
            label);
    if (walk->target[0] == '\0' || !walk->finished)
        return error_set(ERROR_CONFIG,
            "nothing is sealed under %s, but the walk towards %s has not ended: try again in a "
            "minute",
            label, walk->target[0] == '\0' ? "another version" : walk->target);
    return 0;
}

/* Nothing walks over codes: whoever can name one makes it anew. */
static int refuse_used_code(const char *label, const struct db_rewrap_use *uses, size_t n)
{
    CLEANUP(text_done) struct text named = {0};

    name_uses(uses, n, &named);
    if (named.failed)
        return error_set(ERROR_SYSTEM, "no memory");
    return error_set(ERROR_CONFIG,
        "%s need %s: a code is hashed anew when its device is claimed, or by rotate-code; files are "
        "deleted when their time is over (docs/keys.md)",
        named.data, label);
}

static bool are_labels(const struct db_rewrap_use *uses, size_t n)
{
    return n == 1 && strcmp(uses[0].what, DB_REWRAP_LABELS) == 0;
}

/* Only where nothing else is in the way: what is forgotten is not to be had again. */
static int forget_labels(
    struct db *db, const char *label, struct db_rewrap_use *uses, size_t *n, struct text *out)
{
    int64_t n_forgotten = 0;
    int r;

    if ((r = db_rewrap_forget_labels(db, label, &n_forgotten)) < 0)
        return r;
    text_addf(out, "%lld " DB_REWRAP_LABELS " were forgotten\n", (long long)n_forgotten);
    return db_rewrap_uses(db, label, uses, n);
}

/* Of the rows that there are; an older backup of the database has others. */
static int must_be_unused(struct db *db, const struct versions_call *call, const char *label,
    bool never_sealed, struct text *out)
{
    struct db_rewrap_use uses[DB_REWRAP_USES_MAX];
    struct db_rewrap_progress walk;
    size_t n = 0;
    int r = db_rewrap_uses(db, label, uses, &n);

    if (r == 0)
        r = db_rewrap_progress(db, &walk);
    if (r == 0 && call->forget_labels && are_labels(uses, n)) {
        r = never_sealed ? 0 : must_have_been_walked(&walk, label);
        if (r == 0)
            r = forget_labels(db, label, uses, &n, out);
    }
    if (r < 0)
        return r;
    if (n > 0)
        return call->family == HSM_FAMILY_CODE ? refuse_used_code(label, uses, n)
                                               : refuse_used(db, label, uses, n, &walk);
    return never_sealed ? 0 : must_have_been_walked(&walk, label);
}

/* What was sealed under it and is not stored yet cannot be stored any more: so rows are counted for
 * the last time. A fence that is up when this is killed stands before rows that came just before
 * it, too, until the retirement is repeated. */
static int fence_off(struct db *db, const struct versions_call *call, const char *label)
{
    struct db_rewrap_use uses[DB_REWRAP_USES_MAX];
    struct db_rewrap_progress walk;
    size_t n = 0;
    int r = db_fence_raise(db, label);

    if (r == 0)
        r = db_fence_uses(db, label, uses, &n);
    if (r == 0 && n > 0 && call->family == HSM_FAMILY_CODE)
        return refuse_used_code(label, uses, n);
    if (r == 0 && n > 0 && (r = db_rewrap_progress(db, &walk)) == 0)
        r = refuse_used(db, label, uses, n, &walk);
    return r;
}

/** Of one version, in all tokens. */
struct standing {
    bool never_sealed;
    bool may_have_sealed; /* else it is pending, or in no token: a fence could stand in the way of
                           * one that is made later */
};

/* Before it goes in any of the tokens, each of them must be able to do without it. */
static int may_retire(const struct versions_call *call, struct standing *ret)
{
    const struct hsm_ceremony *const tokens[] = {&call->ceremony, &call->second};
    size_t n_there = 0, n_pending = 0;

    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]) && tokens[i]->uri != NULL; i++) {
        bool pending = false;
        int r = hsm_ceremony_may_retire(tokens[i], call->family, call->version, &pending);

        if (r < 0 && i > 0) {
            char text[ERROR_TEXT_MAX];

            (void)snprintf(text, sizeof(text), "%s", error_text());
            return error_set(r, "the second token: %s", text);
        }
        if (r < 0)
            return r;
        n_there += r == 0 ? 1 : 0;
        n_pending += pending ? 1 : 0;
    }
    ret->never_sealed = n_there > 0 && n_pending == n_there;
    ret->may_have_sealed = n_pending < n_there;
    return 0;
}

/* A version that was never activated may go at once: nothing can be sealed under it. */
int cli_hsm_retire(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct versions_call call = {0};
    char label[HSM_FAMILY_LABEL_MAX];
    struct standing standing = {0};
    int r = read_call(settings, argc, argv, 2, &call);

    if (r != 0)
        return r;
    if (call.forget_labels && call.family != HSM_FAMILY_CODE)
        return CLI_USAGE;
    hsm_family_label(call.family, call.version, label);
    if ((r = may_retire(&call, &standing)) == 0 && (r = cli_owner_open(settings, &db)) == 0)
        r = must_be_unused(db, &call, label, standing.never_sealed, out);
    record(settings, "hsm.forget-labels", label, out);
    if (r == 0 && standing.may_have_sealed)
        r = fence_off(db, &call, label);
    if (r < 0)
        tell_done(out);
    if (r == 0)
        r = recorded(act_on_all(&call, retire, false, out), settings, &call, "hsm.retire", out);
    return already(r, &call, "is in no token");
}

/* Rows by version are a question for the database alone. */
int cli_hsm_progress(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct db_rewrap_use uses[DB_REWRAP_USES_MAX];
    struct db_rewrap_progress walk;
    size_t n = 0;
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    if ((r = cli_owner_open(settings, &db)) < 0 || (r = db_rewrap_progress(db, &walk)) < 0 ||
        (r = db_rewrap_uses(db, "", uses, &n)) < 0)
        return r;
    if (walk.target[0] == '\0')
        text_add(out, "no service has looked yet\n");
    else
        text_addf(out, "towards %s: %s, %lld sealed anew, %lld stay%s%s\n", walk.target,
            walk.finished ? "finished" : "under way", (long long)walk.n_done,
            (long long)walk.n_stuck, walk.reason[0] != '\0' ? "; the last: " : "", walk.reason);
    for (size_t i = 0; i < n; i++)
        text_addf(out, "%-22s %12lld %s\n", uses[i].key, (long long)uses[i].n, uses[i].what);
    return 0;
}
