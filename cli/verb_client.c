#include "cli/cli.h"

#include "activation/credential.h"
#include "activation/operator_check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "cli/organization.h"
#include "db/audit.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_BYTES 16 /* of the id that stands where a call has its X-Request-Id */

static int add_role(const char *name, unsigned *bits)
{
    for (const struct word_bits *w = account_role_names; w->word != NULL; w++)
        if (strcmp(w->word, name) == 0) {
            *bits |= w->bits;
            return 0;
        }
    return error_set(ERROR_INPUT,
        "there is no role %.40s: the roles are admin, operator, maker (or module_maker and "
        "product_maker), owner, application_server and auditor",
        name);
}

static void write_roles(struct text *out, unsigned roles)
{
    const char *comma = "";

    text_add(out, "\"roles\":[");
    for (const struct word_bits *w = account_role_names; w->word != NULL; w++) {
        /* "maker" is written as the two that it is. */
        if ((w->bits & (w->bits - 1)) != 0 || (roles & w->bits) == 0)
            continue;
        text_addf(out, "%s\"%s\"", comma, w->word);
        comma = ",";
    }
    text_add(out, "]}");
}

static void write_client(
    const struct db_client *client, const struct act_secret *secret, struct text *out)
{
    text_add(out, "{\"client_id\":\"");
    text_add_hex(out, client->id, sizeof(client->id));
    text_add(out, "\",\"client_secret\":");
    text_add_json(out, secret->text);
    text_add(out, ",\"organization\":");
    text_add_json(out, client->organization);
    text_add(out, ",");
    write_roles(out, client->roles);
    text_add(out, "\n");
}

/* *bits gets what --role names, besides what is there; `ret_as_id` may be NULL: no such option. */
static int read_arguments(
    int argc, char **argv, const char **ret_organization, unsigned *bits, const char **ret_as_id)
{
    static const struct option table[] = {
        {"organization", required_argument, NULL, 'o'},
        {"role", required_argument, NULL, 'r'},
        {"application-server", required_argument, NULL, 'a'},
        {0},
    };
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'o')
            *ret_organization = optarg;
        else if (c == 'a' && ret_as_id != NULL)
            *ret_as_id = optarg;
        else if (c != 'r')
            return CLI_USAGE;
        else if ((r = add_role(optarg, bits)) < 0)
            return r;
    }
    if (optind != argc || *ret_organization == NULL || *bits == 0)
        return CLI_USAGE;
    if (!act_name_valid(*ret_organization, ACCOUNT_NAME_MAX))
        return error_set(ERROR_INPUT,
            "an organization's name has 1 to %d bytes and no control characters", ACCOUNT_NAME_MAX);
    return 0;
}

/* The administrator and the event that tells of him, together. */
static int add_admin(struct db *db, struct db_client *client)
{
    CLEANUP(text_done) struct text detail = {0};
    uint8_t request[REQUEST_BYTES];
    char request_id[2 * sizeof(request) + 1], id[2 * sizeof(client->id) + 1];
    struct db_audit_event event = {.request_id = request_id,
        .action = "client.create",
        .object = hex_encode(client->id, sizeof(client->id), id)};
    int r = random_bytes(request, sizeof(request));

    if (r < 0)
        return r;
    (void)hex_encode(request, sizeof(request), request_id);
    text_add(&detail, "{\"name\":\"\",");
    write_roles(&detail, client->roles);
    if (detail.failed)
        return error_set(ERROR_SYSTEM, "out of memory");
    if ((r = db_begin(db)) < 0)
        return r;
    if ((r = db_client_add(db, client)) == 0) {
        event.organization_id = client->organization_id;
        event.detail = detail.data;
        r = db_audit_add(db, &event);
    }
    if (r == 0)
        return db_commit(db);
    db_rollback(db);
    return r;
}

int cli_admin_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(db_cleanup) struct db *db = NULL;
    CLEANUP(act_secret_wipe) struct act_secret secret = {0};
    struct db_client client = {.roles = ROLE_ADMIN};
    const char *organization = NULL;
    int r = read_arguments(argc, argv, &organization, &client.roles, NULL);

    if (r != 0)
        return r;
    (void)snprintf(client.organization, sizeof(client.organization), "%s", organization);
    if ((r = random_bytes(client.id, sizeof(client.id))) < 0 ||
        (r = act_secret_make(&secret, client.secret_hash)) < 0 ||
        (r = cli_open_db(settings, &db)) < 0 || (r = add_admin(db, &client)) < 0)
        return r;
    write_client(&client, &secret, out);
    return 0;
}

static json_t *roles_of(unsigned roles)
{
    json_t *names = json_array();

    for (const struct word_bits *w = account_role_names; w->word != NULL; w++)
        if ((w->bits & (w->bits - 1)) == 0 && (roles & w->bits) != 0)
            (void)json_array_append_new(names, json_string(w->word));
    return names;
}

int cli_client_add(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(cli_json_done) json_t *body = NULL;
    CLEANUP(cli_json_done) json_t *made = NULL;
    CLEANUP(text_done) struct text id = {0}, path = {0};
    const char *organization = NULL, *as_id = NULL, *client_id, *secret = NULL;
    unsigned roles = 0;
    int r = read_arguments(argc, argv, &organization, &roles, &as_id);

    if (r != 0 || (r = cli_rest_open(settings, &rest)) < 0 ||
        (r = cli_organization_id(&rest, organization, true, &id)) < 0)
        return r;
    text_addf(&path, "/v1/organizations/%s/clients", id.data);
    body = json_pack("{s:o,s:s*}", "roles", roles_of(roles), "application_server", as_id);
    if ((r = cli_rest_call(&rest, "POST", path.data, body, &made)) < 0 ||
        (r = cli_rest_need(&rest, made, "client_id", &client_id)) < 0 ||
        (as_id == NULL && (r = cli_rest_need(&rest, made, "client_secret", &secret)) < 0))
        return r;
    text_add(out, "{\"client_id\":");
    text_add_json(out, client_id);
    text_add(out, as_id == NULL ? ",\"client_secret\":" : ",\"application_server\":");
    text_add_json(out, as_id == NULL ? secret : as_id);
    text_add(out, ",\"organization\":");
    text_add_json(out, organization);
    text_add(out, ",");
    write_roles(out, roles);
    text_add(out, "\n");
    return 0;
}

static int list_client(const json_t *item, void *context)
{
    struct text *out = context;
    const json_t *roles = json_object_get(item, "roles");
    const char *comma = "";

    text_add(out, "{\"client_id\":");
    text_add_json(out, cli_json_text(item, "client_id"));
    text_add(out, ",\"name\":");
    text_add_json(out, cli_json_text(item, "name"));
    text_add(out, ",\"roles\":[");
    for (size_t i = 0; i < json_array_size(roles); i++, comma = ",") {
        const char *role = json_string_value(json_array_get(roles, i));

        text_add(out, comma);
        text_add_json(out, role != NULL ? role : "");
    }
    text_add(out, "]");
    if (cli_json_text(item, "application_server")[0] != '\0') {
        text_add(out, ",\"application_server\":");
        text_add_json(out, cli_json_text(item, "application_server"));
    }
    text_add(out, ",\"created\":");
    text_add_json(out, cli_json_text(item, "created_at"));
    if (cli_json_text(item, "revoked_at")[0] != '\0') {
        text_add(out, ",\"revoked\":");
        text_add_json(out, cli_json_text(item, "revoked_at"));
    }
    text_add(out, "}\n");
    return 0;
}

/* For the verbs that look at the clients of an organization that is there; `ret_client` may be
 * NULL: no such option. The path of all its clients goes to `path`. */
static int open_clients(const struct cli_settings *settings, int argc, char **argv,
    const char **ret_client, struct cli_rest *rest, struct text *path)
{
    static const struct option table[] = {
        {"organization", required_argument, NULL, 'o'},
        {"client-id", required_argument, NULL, 'i'},
        {0},
    };
    CLEANUP(text_done) struct text id = {0};
    const char *organization = NULL;
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'o')
            organization = optarg;
        else if (c == 'i' && ret_client != NULL)
            *ret_client = optarg;
        else
            return CLI_USAGE;
    }
    if (optind != argc || organization == NULL || (ret_client != NULL && *ret_client == NULL))
        return CLI_USAGE;
    if ((r = cli_rest_open(settings, rest)) < 0 ||
        (r = cli_organization_id(rest, organization, false, &id)) < 0)
        return r;
    text_addf(path, "/v1/organizations/%s/clients", id.data);
    return path->failed ? error_set(ERROR_SYSTEM, "out of memory") : 0;
}

int cli_client_list(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(text_done) struct text path = {0};
    int r = open_clients(settings, argc, argv, NULL, &rest, &path);

    return r != 0 ? r : cli_rest_list(&rest, path.data, list_client, out);
}

int cli_client_revoke(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(text_done) struct text all = {0}, path = {0};
    const char *client = NULL;
    int r = open_clients(settings, argc, argv, &client, &rest, &all);

    if (r != 0 || (r = cli_rest_path(&path, all.data, client)) < 0 ||
        (r = cli_rest_call(&rest, "DELETE", path.data, NULL, NULL)) < 0)
        return r;
    text_add(out, "{\"client_id\":");
    text_add_json(out, client);
    text_add(out, "}\n");
    return 0;
}
