/* cradle device: what the activation service tells a holder of his devices. */
#include "base/error.h"
#include "base/eui.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/rest.h"
#include <getopt.h>
#include <string.h>

#define DEVICES "/v1/devices"
#define EXPLAINED "10" /* attempts, from the newest back */
#define SIGNALS_EXPLAINED 5
#define SHOWN_INDENT 2

static int add_json(struct text *out, const json_t *value, size_t flags)
{
    char *line = json_dumps(value, flags);

    if (line == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    text_addf(out, "%s\n", line);
    secret_free(line); /* cli_wipe_libraries has jansson allocate so */
    return 0;
}

static int list_item(const json_t *item, void *out)
{
    return add_json(out, item, JSON_COMPACT);
}

/* What a terminal may take for a command is none. */
static void add_words(struct text *out, const char *words)
{
    for (const char *c = words; *c != '\0'; c++)
        text_add_len(out, (unsigned char)*c < ' ' || *c == 0x7F ? "?" : c, 1);
}

static void add_line(struct text *out, const char *head, const json_t *object, const char *member)
{
    text_add(out, head);
    add_words(out, cli_json_text(object, member));
    text_add(out, "\n");
}

/* For the verbs that take a DevEUI and nothing else: opens `rest`, and makes the path. */
static int open_device(const struct cli_settings *settings, int argc, char **argv,
    const char *below, struct cli_rest *rest, struct text *path)
{
    int r;

    if (argc != 2)
        return CLI_USAGE;
    if ((r = cli_rest_path(path, DEVICES, argv[1])) < 0 || (r = cli_rest_open(settings, rest)) < 0)
        return r;
    text_add(path, below);
    return path->failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

int cli_device_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {{"batch", required_argument, NULL, 'b'}, {0}};
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(text_done) struct text path = {0};
    const char *batch = NULL;
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c != 'b')
            return CLI_USAGE;
        batch = optarg;
    }
    if (optind != argc)
        return CLI_USAGE;
    /* It goes into the query as it is. */
    if (batch != NULL && batch[strspn(batch, "0123456789abcdefABCDEF")] != '\0')
        return error_set(ERROR_INPUT, "a batch's id is hexadecimal, not \"%.40s\"", batch);
    text_addf(
        &path, "%s%s", batch != NULL ? DEVICES "?batch=" : DEVICES, batch != NULL ? batch : "");
    if (path.failed)
        return error_set(ERROR_SYSTEM, "out of memory");
    if ((r = cli_rest_open(settings, &rest)) < 0)
        return r;
    return cli_rest_list(&rest, path.data, list_item, out);
}

int cli_device_show(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *device = NULL;
    CLEANUP(text_done) struct text path = {0};
    int r = open_device(settings, argc, argv, "", &rest, &path);

    if (r != 0 || (r = cli_rest_call(&rest, "GET", path.data, NULL, &device)) < 0)
        return r;
    return add_json(out, device, JSON_INDENT(SHOWN_INDENT));
}

int cli_device_joins(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(text_done) struct text path = {0};
    int r = open_device(settings, argc, argv, "/joins", &rest, &path);

    return r != 0 ? r : cli_rest_list(&rest, path.data, list_item, out);
}

static void explain_attempt(struct text *out, const json_t *attempt)
{
    const json_t *why = json_object_get(attempt, "explanation");
    const json_t *nonce = json_object_get(attempt, "dev_nonce");

    add_words(out, cli_json_text(attempt, "at"));
    text_add(out, "  ");
    add_words(out, cli_json_text(attempt, "join_type"));
    if (json_is_integer(nonce))
        text_addf(out, " with nonce %lld", (long long)json_integer_value(nonce));
    text_add(out, ", asked for by network ");
    add_words(out, cli_json_text(attempt, "sender_id"));
    if (!json_is_object(why)) {
        add_line(out, ": it joined, as DevAddr ", attempt, "dev_addr");
        return;
    }
    add_line(out, ": ", attempt, "outcome");
    add_line(out, "    what happened  ", why, "what");
    add_line(out, "    why            ", why, "why");
    add_line(out, "    what to do     ", why, "do");
}

static double points(const json_t *object, const char *member)
{
    return json_number_value(json_object_get(object, member));
}

/* Nothing, where there is nothing to say. */
static void explain_trust(struct text *out, const json_t *answer)
{
    const json_t *signals = json_object_get(answer, "signals");

    if (json_array_size(signals) == 0)
        return;
    text_add(out, "\nIts trust is ");
    add_words(out, cli_json_text(answer, "trust"));
    text_addf(out, ": what was seen of it weighs %.1f points; at %.0f it is suspect\n",
        points(answer, "score"), points(answer, "suspect_at"));
    for (size_t i = 0; i < json_array_size(signals) && i < SIGNALS_EXPLAINED; i++) {
        const json_t *signal = json_array_get(signals, i);
        const json_t *why = json_object_get(signal, "explanation");

        add_words(out, cli_json_text(signal, "at"));
        text_add(out, "  ");
        add_words(out, cli_json_text(signal, "kind"));
        text_addf(out, ", %.1f points by now\n", points(signal, "weight_now"));
        add_line(out, "    what was seen  ", why, "what");
        add_line(out, "    why            ", why, "why");
        add_line(out, "    what to do     ", why, "do");
    }
}

int cli_device_explain(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *page = NULL;
    CLEANUP(cli_json_done) json_t *signals = NULL;
    CLEANUP(text_done) struct text path = {0};
    CLEANUP(text_done) struct text trust_path = {0};
    const json_t *items;
    struct eui64 id;
    int r = open_device(settings, argc, argv, "/joins?limit=" EXPLAINED, &rest, &path);

    if (r != 0 || (r = cli_rest_call(&rest, "GET", path.data, NULL, &page)) < 0)
        return r;
    items = json_object_get(page, "items");
    for (size_t i = 0; i < json_array_size(items); i++)
        explain_attempt(out, json_array_get(items, i));
    if (device_id_parse(argv[1], strlen(argv[1]), &id) && device_id_is_sigfox(&id))
        text_add(out,
            "A Sigfox device does not join: joins are of LoRaWAN alone. Whether it may be "
            "used tells: cradle device preflight\n");
    else if (json_array_size(items) == 0)
        text_add(out, "No attempt has come to this join server under the device's present owner: "
                      "no gateway has heard it, or its network does not ask here. Whether all is "
                      "well on this side tells: cradle device preflight\n");
    if ((r = cli_rest_path(&trust_path, DEVICES, argv[1])) < 0)
        return r;
    text_add(&trust_path, "/signals");
    if (trust_path.failed)
        return error_set(ERROR_SYSTEM, "out of memory");
    if ((r = cli_rest_call(&rest, "GET", trust_path.data, NULL, &signals)) < 0)
        return r;
    explain_trust(out, signals);
    return 0;
}

/* Whose maker tests it: its own word, and not of its first join in an owner's network. */
static void add_test_window(struct text *out, const json_t *window)
{
    if (!json_is_object(window))
        return;
    add_line(out, "test     ", window, "state");
    text_add(out, "         in network ");
    add_words(out, cli_json_text(window, "net_id"));
    text_addf(out, ", %lld of %lld joins had, until ",
        (long long)json_integer_value(json_object_get(window, "joins")),
        (long long)json_integer_value(json_object_get(window, "max_joins")));
    add_words(out, cli_json_text(window, "expires_at"));
    text_add(out, "\n");
}

int cli_device_preflight(
    const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *answer = NULL;
    CLEANUP(text_done) struct text path = {0};
    const json_t *checks;
    size_t n_missing = 0;
    bool joins;
    int r = open_device(settings, argc, argv, "/preflight", &rest, &path);

    if (r != 0 || (r = cli_rest_call(&rest, "GET", path.data, NULL, &answer)) < 0)
        return r;
    checks = json_object_get(answer, "checks");
    joins = strcmp(cli_json_text(answer, "kind"), "sigfox") != 0;
    if (!joins)
        add_line(out, "", answer, "note");
    for (size_t i = 0; i < json_array_size(checks); i++) {
        const json_t *check = json_array_get(checks, i);
        bool ok = cli_json_true(check, "ok");

        add_line(out, ok ? "ok       " : "MISSING  ", check, "check");
        if (!ok)
            add_line(out, "         ", check, "what_to_do");
        n_missing += !ok;
    }
    add_test_window(out, json_object_get(answer, "test_window"));
    add_words(out, cli_json_text(answer, "dev_eui"));
    if (n_missing == 0)
        text_add(out, joins ? ": ready to join\n" : ": ready to be used\n");
    else
        text_addf(out, ": not ready, %zu of %zu are missing\n", n_missing, json_array_size(checks));
    return 0;
}
