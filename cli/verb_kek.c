#include "cli/cli.h"

#include "activation/import_text.h"
#include "activation/operator_check.h"
#include "activation/rsa_public.h"
#include "base/base64.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/secret.h"
#include "cli/rest.h"
#include "db/account.h"
#include "hsm/client.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEKS "/v1/keks"
#define CONFLICT 409
#define NOT_FOUND 404
#define DEFAULT_LENGTH 16 /* of a KEK that is made: every network server opens AES-128 */

struct arguments {
    const char *ns, *as, *organization, *label, *sealed, *public_key, *out, *length;
    bool last;
};

static int read_arguments(int argc, char **argv, struct arguments *ret)
{
    static const struct option table[] = {
        {"ns", required_argument, NULL, 'n'},
        {"as", required_argument, NULL, 'a'},
        {"organization", required_argument, NULL, 'o'},
        {"label", required_argument, NULL, 'l'},
        {"sealed", required_argument, NULL, 's'},
        {"public-key", required_argument, NULL, 'p'},
        {"out", required_argument, NULL, 'f'},
        {"length", required_argument, NULL, 'b'},
        {"last", no_argument, NULL, 't'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'n':
            ret->ns = optarg;
            break;
        case 'a':
            ret->as = optarg;
            break;
        case 'o':
            ret->organization = optarg;
            break;
        case 'l':
            ret->label = optarg;
            break;
        case 's':
            ret->sealed = optarg;
            break;
        case 'p':
            ret->public_key = optarg;
            break;
        case 'f':
            ret->out = optarg;
            break;
        case 'b':
            ret->length = optarg;
            break;
        case 't':
            ret->last = true;
            break;
        default:
            return CLI_USAGE;
        }
    }
    return optind == argc &&
                   (ret->ns != NULL) + (ret->as != NULL) + (ret->organization != NULL) == 1 &&
                   ret->label != NULL
               ? 0
               : CLI_USAGE;
}

static int name_kek(const struct arguments *arguments, struct sealed_kek *kek)
{
    struct net_id net_id;
    struct eui64 ns_id = {0};
    bool has_ns_id;

    if (!import_id_valid(arguments->label, strlen(arguments->label)))
        return error_set(ERROR_INPUT,
            "a KEK label has 1 to %d printable characters without blank, quote and backslash",
            KEK_LABEL_MAX);
    (void)snprintf(kek->label, sizeof(kek->label), "%s", arguments->label);
    if (arguments->as != NULL) {
        if (!import_id_valid(arguments->as, strlen(arguments->as)))
            return error_set(ERROR_INPUT, "\"%.64s\" cannot be an AS-ID", arguments->as);
        kek->peer_kind = PEER_APPLICATION_SERVER;
        kek->kek_class = KEK_CLASS_AS;
        (void)snprintf(kek->peer_id, sizeof(kek->peer_id), "%s", arguments->as);
        return 0;
    }
    if (arguments->organization != NULL) {
        uint8_t id[ACCOUNT_ID_LEN];

        if (!hex_decode(arguments->organization, strlen(arguments->organization), id, sizeof(id)))
            return error_set(ERROR_INPUT, "an organization's id has 32 hexadecimal digits");
        kek->peer_kind = PEER_ORGANIZATION;
        kek->kek_class = KEK_CLASS_TRANSPORT;
        (void)hex_encode(id, sizeof(id), kek->peer_id);
        return 0;
    }
    if (!act_network_parse(arguments->ns, &net_id, &has_ns_id, &ns_id))
        return error_set(ERROR_INPUT,
            "a NetID has 6 hexadecimal digits, and an NSID behind it and a / has 16; not \"%.40s\"",
            arguments->ns);
    kek->peer_kind = PEER_NETWORK_SERVER;
    kek->kek_class = KEK_CLASS_NS;
    db_kek_peer_id(&net_id, has_ns_id ? &ns_id : NULL, kek->peer_id);
    return 0;
}

static int read_sealed(const char *path, uint8_t ret[static KEYD_OAEP_LEN])
{
    uint8_t bytes[KEYD_OAEP_LEN + 1];
    FILE *file = fopen(path, "re");
    size_t n;

    if (file == NULL)
        return error_set_errno("cannot read %s", path);
    n = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);
    if (n != KEYD_OAEP_LEN)
        return error_set(ERROR_INPUT,
            "%s is not a key encrypted to the exchange key: that has exactly %d bytes", path,
            KEYD_OAEP_LEN);
    memcpy(ret, bytes, KEYD_OAEP_LEN);
    return 0;
}

static const char *peer_member(enum peer_kind kind)
{
    switch (kind) {
    case PEER_NETWORK_SERVER:
        return "network_server";
    case PEER_APPLICATION_SERVER:
        return "application_server";
    case PEER_ORGANIZATION:
        break;
    }
    return "organization";
}

/* A public key for the service: a private one must not get so far. */
static int read_public_key(const char *path, char ret[static RSA_PUBLIC_PEM_MAX + 1])
{
    struct keyd_public_key key;
    enum rsa_public_outcome outcome;
    char why[RSA_PUBLIC_TEXT_MAX];
    FILE *file = fopen(path, "re");
    size_t n;

    if (file == NULL)
        return error_set_errno("cannot read %s", path);
    n = fread(ret, 1, RSA_PUBLIC_PEM_MAX + 1, file);
    (void)fclose(file);
    if (n > RSA_PUBLIC_PEM_MAX || memchr(ret, '\0', n) != NULL) {
        secret_wipe(ret, RSA_PUBLIC_PEM_MAX + 1);
        return error_set(ERROR_INPUT, "%s is no public key in PEM, of at most %d characters", path,
            RSA_PUBLIC_PEM_MAX);
    }
    ret[n] = '\0';
    outcome = rsa_public_parse(ret, KEYD_RSA_MAX, &key);
    if (outcome == RSA_PUBLIC_OK)
        return 0;
    secret_wipe(ret, RSA_PUBLIC_PEM_MAX + 1);
    rsa_public_explain(outcome, KEYD_RSA_MAX, why);
    return error_set(ERROR_INPUT, "%s: %s", path, why);
}

/** Where a KEK that is made goes: opened before it is made, for there is no second copy. */
struct output {
    const char *path;
    FILE *file; /* NULL: it goes to standard output with the rest */
    bool whole;
};

static void output_done(struct output *output)
{
    if (output->file != NULL)
        (void)fclose(output->file);
    if (output->file != NULL && !output->whole)
        (void)unlink(output->path);
}

static int output_open(struct output *output, const char *path)
{
    output->path = path;
    if (path == NULL)
        return 0;
    output->file = fopen(path, "wxe");
    return output->file != NULL ? 0 : error_set_errno("cannot make %s", path);
}

static int output_write(struct output *output, const char *sealed, struct text *out)
{
    uint8_t bytes[KEYD_RSA_MAX];
    const ssize_t n = base64_decode(sealed, bytes, sizeof(bytes));

    if (n <= 0)
        return error_set(ERROR_INPUT, "the service answered no key: is it an older one?");
    if (output->file == NULL) {
        text_add(out, ",\"sealed\":");
        text_add_json(out, sealed);
        return 0;
    }
    if (fwrite(bytes, 1, (size_t)n, output->file) != (size_t)n || fflush(output->file) != 0)
        return error_set_errno(
            "cannot write %s: the KEK is there, but the only copy of it is lost; cradle kek revoke "
            "it, and make another",
            output->path);
    output->whole = true;
    return 0;
}

/* Of a key that comes it is said, of one that is made it may be. */
static int read_length(const struct arguments *arguments, unsigned *ret)
{
    unsigned long length = DEFAULT_LENGTH;
    char *end = NULL;

    if (arguments->length != NULL) {
        length = strtoul(arguments->length, &end, 10);
        if (*end != '\0' || length > UINT8_MAX)
            length = 0;
    }
    if (!act_key_length_valid((unsigned)length))
        return error_set(ERROR_INPUT, "--length is 16, 24 or 32");
    *ret = (unsigned)length;
    return 0;
}

/* The body's member that says where the key is: the sealed key, or the public key. */
static int read_key(const struct arguments *arguments, json_t *body)
{
    char text[BASE64_LEN(KEYD_OAEP_LEN) + 1], pem[RSA_PUBLIC_PEM_MAX + 1];
    const bool comes = arguments->sealed != NULL;
    uint8_t sealed[KEYD_OAEP_LEN];
    int r = comes ? read_sealed(arguments->sealed, sealed)
                  : read_public_key(arguments->public_key, pem);

    if (r < 0)
        return r;
    return json_object_set_new(body, comes ? "sealed" : "public_key",
               json_string(comes ? base64_encode(sealed, sizeof(sealed), text) : pem)) == 0
               ? 0
               : error_set(ERROR_SYSTEM, "out of memory");
}

static bool add_is_well_formed(const struct arguments *arguments)
{
    const bool comes = arguments->sealed != NULL, made = arguments->public_key != NULL;

    return comes != made && (made || (arguments->length != NULL && arguments->out == NULL)) &&
           !arguments->last;
}

int cli_kek_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *body = NULL;
    CLEANUP(cli_json_done) json_t *made = NULL;
    CLEANUP(output_done) struct output output = {0};
    struct arguments arguments = {0};
    struct sealed_kek kek = {0};
    unsigned length = 0;
    const char *kcv, *sealed = NULL;
    int r;

    if (read_arguments(argc, argv, &arguments) != 0 || !add_is_well_formed(&arguments))
        return CLI_USAGE;
    if ((r = read_length(&arguments, &length)) < 0 || (r = name_kek(&arguments, &kek)) < 0)
        return r;
    body = json_pack("{s:s,s:s,s:i}", peer_member(kek.peer_kind), kek.peer_id, "label", kek.label,
        "length", (int)length);
    if ((r = read_key(&arguments, body)) < 0 || (r = cli_rest_open(settings, &rest)) < 0 ||
        (r = output_open(&output, arguments.out)) < 0 ||
        (r = cli_rest_call(&rest, "POST", KEKS, body, &made)) < 0 ||
        (r = cli_rest_need(&rest, made, "kcv", &kcv)) < 0 ||
        (arguments.public_key != NULL && (r = cli_rest_need(&rest, made, "sealed", &sealed)) < 0))
        return r;
    text_add(out, "{\"label\":");
    text_add_json(out, kek.label);
    text_add(out, ",\"kcv\":");
    text_add_json(out, kcv);
    if (sealed != NULL) {
        text_addf(out, ",\"current\":%s", cli_json_true(made, "current") ? "true" : "false");
        r = output_write(&output, sealed, out);
    }
    text_add(out, "}\n");
    return r;
}

/* For the verbs that name a KEK and need nothing else; `ret_last` may be NULL: no such option. */
static int read_name(int argc, char **argv, struct sealed_kek *kek, bool *ret_last)
{
    struct arguments arguments = {0};

    if (read_arguments(argc, argv, &arguments) != 0 || arguments.sealed != NULL ||
        arguments.public_key != NULL || arguments.out != NULL || arguments.length != NULL ||
        (arguments.last && ret_last == NULL))
        return CLI_USAGE;
    if (ret_last != NULL)
        *ret_last = arguments.last;
    return name_kek(&arguments, kek);
}

static const char *class_name(enum kek_class kek_class)
{
    switch (kek_class) {
    case KEK_CLASS_NS:
        return "ns";
    case KEK_CLASS_AS:
        return "as";
    case KEK_CLASS_TRANSPORT:
        break;
    }
    return "transport";
}

static int no_such_kek(const struct sealed_kek *kek)
{
    return error_set(ERROR_INPUT, "%s %s has no KEK with the label %s",
        kek->kek_class == KEK_CLASS_NS   ? "NetID"
        : kek->kek_class == KEK_CLASS_AS ? "AS-ID"
                                         : "organization",
        kek->peer_id, kek->label);
}

static void add_kek(
    struct text *out, const char *peer_id, enum kek_class kek_class, const char *label)
{
    text_add(out, "{\"peer\":");
    text_add_json(out, peer_id);
    text_addf(out, ",\"class\":\"%s\",\"label\":", class_name(kek_class));
    text_add_json(out, label);
}

/* What the service lists: who and which, and *ret_id. */
static void read_kek(const json_t *item, struct sealed_kek *ret, const char **ret_id)
{
    static const struct {
        enum peer_kind kind;
        enum kek_class kek_class;
    } classes[] = {{PEER_NETWORK_SERVER, KEK_CLASS_NS}, {PEER_APPLICATION_SERVER, KEK_CLASS_AS},
        {PEER_ORGANIZATION, KEK_CLASS_TRANSPORT}};

    *ret = (struct sealed_kek){0};
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        const char *peer = cli_json_text(item, peer_member(classes[i].kind));

        if (peer[0] == '\0')
            continue;
        ret->peer_kind = classes[i].kind;
        ret->kek_class = classes[i].kek_class;
        (void)snprintf(ret->peer_id, sizeof(ret->peer_id), "%s", peer);
    }
    (void)snprintf(ret->label, sizeof(ret->label), "%s", cli_json_text(item, "label"));
    *ret_id = cli_json_text(item, "id");
}

static int list_kek(const json_t *item, void *context)
{
    struct text *out = context;
    struct sealed_kek kek;
    const char *id;

    read_kek(item, &kek, &id);
    add_kek(out, kek.peer_id, kek.kek_class, kek.label);
    text_addf(
        out, ",\"current\":%s,\"created\":", cli_json_true(item, "current") ? "true" : "false");
    text_add_json(out, cli_json_text(item, "created_at"));
    text_add(out, "}\n");
    return 0;
}

int cli_kek_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    int r;

    (void)argv;
    if (argc != 1)
        return CLI_USAGE;
    r = cli_rest_open(settings, &rest);
    return r < 0 ? r : cli_rest_list(&rest, KEKS, list_kek, out);
}

struct search {
    const struct sealed_kek *kek;
    struct text path; /* of the one that was found */
};

#define FOUND 1 /* ends the list */

static void search_done(struct search *search)
{
    text_done(&search->path);
}

static int compare(const json_t *item, void *context)
{
    struct search *search = context;
    struct sealed_kek kek;
    const char *id;

    read_kek(item, &kek, &id);
    if (kek.kek_class != search->kek->kek_class || strcmp(kek.peer_id, search->kek->peer_id) != 0 ||
        strcmp(kek.label, search->kek->label) != 0)
        return 0;
    return cli_rest_path(&search->path, KEKS, id) < 0 ? ERROR_INPUT : FOUND;
}

/* One call for the KEK that the arguments name, which may be gone by then. `ret_last` may be NULL:
 * no such option. */
static int change(const struct cli_settings *settings, int argc, char **argv, const char *method,
    const json_t *body, struct cli_rest *rest, struct sealed_kek *kek, bool *ret_last)
{
    CLEANUP(search_done) struct search search = {.kek = kek};
    int r;

    if ((r = read_name(argc, argv, kek, ret_last)) != 0 ||
        (r = cli_rest_open(settings, rest)) < 0 ||
        (r = cli_rest_list(rest, KEKS, compare, &search)) < 0)
        return r;
    if (r != FOUND)
        return no_such_kek(kek);
    if (ret_last != NULL && *ret_last)
        text_add(&search.path, "?last=true");
    if (search.path.failed)
        return error_set(ERROR_SYSTEM, "out of memory");
    r = cli_rest_call(rest, method, search.path.data, body, NULL);
    return rest->status == NOT_FOUND ? no_such_kek(kek) : r;
}

int cli_kek_use(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *body = json_pack("{s:b}", "current", 1);
    struct sealed_kek kek = {0};
    int r = change(settings, argc, argv, "PATCH", body, &rest, &kek, NULL);

    if (r != 0)
        return r;
    add_kek(out, kek.peer_id, kek.kek_class, kek.label);
    text_add(out, ",\"current\":true}\n");
    return 0;
}

int cli_kek_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    struct sealed_kek kek = {0};
    bool last = false;
    int r = change(settings, argc, argv, "DELETE", NULL, &rest, &kek, &last);

    if (rest.status == CONFLICT && last)
        return error_set(ERROR_INPUT,
            "%s is the current KEK of %s and not its last one: remove the others first", kek.label,
            kek.peer_id);
    if (rest.status == CONFLICT)
        return error_set(ERROR_INPUT,
            "%s is the current KEK of %s: add another first (cradle kek add), or make another one "
            "current (cradle kek use); --last removes it when it is the only one, and %s",
            kek.label, kek.peer_id,
            kek.kek_class == KEK_CLASS_TRANSPORT
                ? "keys that are wrapped under it are refused from then on"
                : "joins that need it are refused from then on, or answered in clear where that is "
                  "allowed");
    if (r != 0)
        return r;
    add_kek(out, kek.peer_id, kek.kek_class, kek.label);
    text_add(out, "}\n");
    return 0;
}
