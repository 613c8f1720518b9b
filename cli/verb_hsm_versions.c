/* Versions of storage KEKs (docs/keys.md). */
#include "cli/cli.h"

#include "db/rewrap.h"
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
};

static bool parse_family(const char *text, enum hsm_family *ret)
{
    *ret = strcmp(text, "kek") == 0 ? HSM_FAMILY_KEK : HSM_FAMILY_DEVICE;
    return strcmp(text, "kek") == 0 || strcmp(text, "device") == 0;
}

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

/* [--escrow FILE], and as many words as there must be. */
static int read_call(const struct cli_settings *settings, int argc, char **argv, int n_words,
    struct versions_call *ret)
{
    static const struct option table[] = {{"escrow", required_argument, NULL, 'e'}, {0}};
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c != 'e')
            return CLI_USAGE;
        ret->ceremony.escrow_path = optarg;
    }
    if (argc - optind != n_words || (n_words > 0 && !parse_family(argv[optind], &ret->family)) ||
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
    if (first < 0 || second < 0) { /* what was done is done, and told */
        if (out->len > 0)
            (void)fwrite(out->data, 1, out->len, stdout);
        (void)fflush(stdout);
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

/* --- the verbs -------------------------------------------------------------------------------- */

int cli_hsm_rotate(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct versions_call call = {0};
    const char *family;
    unsigned version;
    int r = read_call(settings, argc, argv, 1, &call);

    if (r == 0)
        r = hsm_ceremony_rotate(&call.ceremony, call.family, &version, out);
    if (r != 0)
        return r;
    family = call.family == HSM_FAMILY_DEVICE ? "device" : "kek";
    text_addf(out,
        "Back the token up, and copy it to every other token with these keys; then "
        "`cradle hsm activate %s %u`\n",
        family, version);
    return 0;
}

int cli_hsm_activate(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct versions_call call = {0};
    int r = read_call(settings, argc, argv, 2, &call);

    return r != 0 ? r : already(act_on_all(&call, activate, true, out), &call, "seals already");
}

int cli_hsm_open(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct versions_call call = {0};
    int r = read_call(settings, argc, argv, 2, &call);

    if (r == 0 && call.ceremony.escrow_path == NULL)
        return CLI_USAGE;
    return r != 0 ? r
                  : already(act_on_all(&call, open_version, true, out), &call, "is open already");
}

int cli_hsm_close(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    struct versions_call call = {0};
    int r = read_call(settings, argc, argv, 0, &call);

    return r != 0 ? r : act_on_all(&call, close_all, false, out);
}

static int open_database(const struct cli_settings *settings, struct db **ret)
{
    const struct db_config config = {.conninfo = settings->owner_conninfo, .program = "cradle"};
    int r = cli_need(settings->owner_conninfo, "database.owner_conninfo");

    return r < 0 ? r : db_open(&config, ret);
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

/* Of the rows that there are; an older backup of the database has others. */
static int must_be_unused(struct db *db, const char *label)
{
    struct db_rewrap_progress walk;
    int64_t n = 0;
    int r = db_rewrap_uses(db, label, &n);

    if (r == 0)
        r = db_rewrap_progress(db, &walk);
    /* They came behind the walk: from a service whose token had not heard of the new version. */
    if (r == 0 && n > 0 && walk.finished && !walk_is_towards(&walk, label))
        r = db_rewrap_again(db, walk.target);
    if (r < 0)
        return r;
    if (n > 0)
        return error_set(ERROR_CONFIG,
            "%lld rows are sealed under %s: they could not be opened any more. %s", (long long)n,
            label, walk.finished ? "The walk had ended before; it begins anew" : walk.reason);
    if (walk_is_towards(&walk, label))
        return error_set(ERROR_CONFIG,
            "no service has seen yet that another version than %s seals: try again in a minute",
            label);
    if (walk.target[0] == '\0' || !walk.finished)
        return error_set(ERROR_CONFIG,
            "nothing is sealed under %s, but the walk towards %s has not ended: try again in a "
            "minute",
            label, walk.target[0] == '\0' ? "another version" : walk.target);
    return 0;
}

/* A version that was never activated may go at once: nothing can be sealed under it. */
int cli_hsm_retire(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct versions_call call = {0};
    char label[HSM_FAMILY_LABEL_MAX];
    int r = read_call(settings, argc, argv, 2, &call);

    if (r != 0)
        return r;
    hsm_family_label(call.family, call.version, label);
    if ((r = open_database(settings, &db)) == 0 && (r = must_be_unused(db, label)) == 0)
        r = already(act_on_all(&call, retire, false, out), &call, "is in no token");
    return r;
}

/* Rows by version are a question for the database alone. */
int cli_hsm_progress(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    struct db_rewrap_progress walk;
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    if ((r = open_database(settings, &db)) < 0 || (r = db_rewrap_progress(db, &walk)) < 0)
        return r;
    if (walk.target[0] == '\0') {
        text_add(out, "no service has looked yet\n");
        return 0;
    }
    text_addf(out, "towards %s: %s, %lld sealed anew, %lld stay%s%s\n", walk.target,
        walk.finished ? "finished" : "under way", (long long)walk.n_done, (long long)walk.n_stuck,
        walk.reason[0] != '\0' ? "; the last: " : "", walk.reason);
    return 0;
}
