#include "cli/audit_check.h"

#include "base/audit_line.h"
#include "base/error.h"
#include "base/hex.h"
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#define TIME_TEXT_MAX 32

struct audit_check {
    const struct audit_key *key;
    uint64_t n_lines;
    bool of_all;
    struct audit_checkpoint signed_one; /* the first line's */
    uint64_t n;                         /* events so far */
    uint64_t last_seq;
    uint64_t n_kept;                /* checkpoints so far, without the first line's */
    uint64_t kept_seq;              /* of the last of them */
    uint8_t chain[MERKLE_HASH_LEN]; /* of the last event */
    struct merkle_tree tree;        /* of all */
    bool has_expected;
    struct audit_checkpoint expected;
    struct text again; /* a line as it should be */
};

static void json_cleanup(json_t **value)
{
    json_decref(*value);
}

int audit_check_new(const struct audit_key *key, struct audit_check **ret)
{
    struct audit_check *check = calloc(1, sizeof(*check));

    if (check == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for the check");
    check->key = key;
    *ret = check;
    return 0;
}

void audit_check_free(struct audit_check *check)
{
    if (check != NULL)
        text_done(&check->again);
    free(check);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* What is missing or of another kind reads as nothing: the line that is made anew is another then.
 */

static const char *text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

static uint64_t number_at(const json_t *object, const char *name)
{
    const json_int_t v = json_integer_value(json_object_get(object, name));

    return v > 0 ? (uint64_t)v : 0;
}

static bool hex_at(const json_t *object, const char *name, uint8_t *ret, size_t len)
{
    const char *text = text_at(object, name);

    return hex_decode(text, strlen(text), ret, len);
}

/** An event's line, taken apart. The texts are the document's. */
struct event {
    struct audit_record record;
    struct audit_link link;
    uint8_t leaf[MERKLE_HASH_LEN];
    uint8_t path[MERKLE_LEVELS][MERKLE_HASH_LEN];
    size_t n_path;
};

static void read_event(const json_t *object, struct event *ret)
{
    const json_t *proof = json_object_get(object, "proof");
    const char *at = text_at(object, "at");
    struct audit_record *record = &ret->record;

    *ret = (struct event){0};
    record->id = (int64_t)number_at(object, "id");
    if (strlen(at) == AUDIT_TIME_LEN)
        memcpy(record->at, at, AUDIT_TIME_LEN);
    record->has_organization = hex_at(object, "organization", record->organization, AUDIT_ID_LEN);
    record->has_client = hex_at(object, "client_id", record->client, AUDIT_ID_LEN);
    record->request_id = text_at(object, "request_id");
    record->action = text_at(object, "action");
    record->object = text_at(object, "object");
    record->detail = text_at(object, "detail");
    ret->link.seq = number_at(object, "seq");
    ret->link.organization_seq = number_at(object, "organization_seq");
    (void)hex_at(object, "salt", ret->link.salt, AUDIT_SALT_LEN);
    (void)hex_at(object, "organization_chain", ret->link.organization_chain, MERKLE_HASH_LEN);
    (void)hex_at(object, "chain", ret->link.chain, MERKLE_HASH_LEN);
    (void)hex_at(object, "hash", ret->leaf, MERKLE_HASH_LEN);
    for (; ret->n_path < json_array_size(proof) && ret->n_path < MERKLE_LEVELS; ret->n_path++) {
        const char *hash = json_string_value(json_array_get(proof, ret->n_path));

        (void)hex_decode(hash != NULL ? hash : "", hash != NULL ? strlen(hash) : 0,
            ret->path[ret->n_path], MERKLE_HASH_LEN);
    }
}

static void read_checkpoint(const json_t *object, struct audit_checkpoint *ret,
    uint8_t ret_signature[static AUDIT_SIGNATURE_LEN])
{
    *ret = (struct audit_checkpoint){.seq = number_at(object, "seq"),
        .count = number_at(object, "count"),
        .time = number_at(object, "time")};
    (void)hex_at(object, "organization", ret->organization, AUDIT_ID_LEN);
    (void)hex_at(object, "chain", ret->chain, MERKLE_HASH_LEN);
    (void)hex_at(object, "root", ret->root, MERKLE_HASH_LEN);
    (void)hex_at(object, "signature", ret_signature, AUDIT_SIGNATURE_LEN);
}

/* --- checking --------------------------------------------------------------------------------- */

static int bad_line(const struct audit_check *check, const char *why)
{
    return error_set(ERROR_INPUT, "line %" PRIu64 ": %s", check->n_lines, why);
}

static int bad_event(const struct audit_check *check, uint64_t number, const char *why)
{
    return error_set(ERROR_INPUT, "line %" PRIu64 ": event %" PRIu64 "%s %s", check->n_lines,
        number, check->of_all ? "" : " of the organization", why);
}

static bool same_line(const struct audit_check *check, const char *line, size_t len)
{
    return !check->again.failed && check->again.len == len &&
           memcmp(check->again.data, line, len) == 0;
}

static int check_checkpoint(struct audit_check *check, const json_t *object, const char *line,
    size_t len, struct audit_checkpoint *ret)
{
    uint8_t signature[AUDIT_SIGNATURE_LEN] = {0};

    read_checkpoint(object, ret, signature);
    text_clear(&check->again);
    audit_checkpoint_line_write(ret, signature, &check->again);
    if (!same_line(check, line, len) || !audit_checkpoint_valid(ret))
        return bad_line(check, "the checkpoint was changed, or is none");
    if (check->key != NULL && !audit_key_signed(check->key, ret, signature))
        return bad_line(check, "the checkpoint was changed, or was not signed by this key");
    return 0;
}

int audit_check_expect(struct audit_check *check, const char *line, size_t len)
{
    CLEANUP(json_cleanup) json_t *object = NULL;
    const json_t *checkpoint = NULL;

    check->n_lines = 1;
    if (len > 0 && len <= AUDIT_CHECK_LINE_MAX && line[len - 1] == '\n')
        object = json_loadb(line, len - 1, JSON_REJECT_DUPLICATES, NULL);
    checkpoint = json_object_get(object, "checkpoint");
    if (checkpoint == NULL || check_checkpoint(check, checkpoint, line, len, &check->expected) < 0)
        return error_set(ERROR_INPUT, "what was kept does not begin with a checkpoint of this key");
    check->n_lines = 0;
    check->has_expected = true;
    return 0;
}

/* Whether the history is still the one of which the kept checkpoint was. */
static int meet_expected(const struct audit_check *check)
{
    const struct audit_checkpoint *expected = &check->expected;
    uint8_t root[MERKLE_HASH_LEN];

    if (!check->has_expected || check->n != expected->count)
        return 0;
    merkle_tree_root(&check->tree, root);
    if (memcmp(check->chain, expected->chain, sizeof(check->chain)) != 0 ||
        (check->of_all && memcmp(root, expected->root, sizeof(root)) != 0))
        return error_set(ERROR_INPUT,
            "line %" PRIu64 ": up to event %" PRIu64
            "%s the history is another than the one that was signed before: it was written anew",
            check->n_lines, check->n, check->of_all ? "" : " of the organization");
    return 0;
}

static int take_first(struct audit_check *check, const json_t *object, const char *line, size_t len)
{
    static const uint8_t nobody[AUDIT_ID_LEN];
    int r;

    if (object == NULL)
        return bad_line(check, "an export begins with its checkpoint, and this does not");
    r = check_checkpoint(check, object, line, len, &check->signed_one);
    check->of_all = memcmp(check->signed_one.organization, nobody, sizeof(nobody)) == 0;
    if (r < 0 || !check->has_expected)
        return r;
    if (memcmp(check->signed_one.organization, check->expected.organization, AUDIT_ID_LEN) != 0)
        return bad_line(check, "what was kept is of another organization, or of all");
    if (check->signed_one.count < check->expected.count)
        return bad_line(check, "there are fewer events than were signed before");
    return 0;
}

/* One that was signed long ago, behind its event. */
static int take_kept(struct audit_check *check, const json_t *object, const char *line, size_t len)
{
    struct audit_checkpoint kept;
    uint8_t root[MERKLE_HASH_LEN];
    int r = check_checkpoint(check, object, line, len, &kept);

    if (r < 0)
        return r;
    merkle_tree_root(&check->tree, root);
    if (!check->of_all || kept.seq != check->n || kept.seq <= check->kept_seq ||
        memcmp(kept.organization, check->signed_one.organization, AUDIT_ID_LEN) != 0)
        return bad_line(check, "the checkpoint does not stand behind its event");
    if (memcmp(kept.chain, check->chain, sizeof(kept.chain)) != 0 ||
        memcmp(kept.root, root, sizeof(root)) != 0)
        return bad_line(
            check, "the checkpoint says otherwise: an event before it was changed since");
    check->n_kept++;
    check->kept_seq = kept.seq;
    return 0;
}

/* The one whose turn it is. */
static int check_place(const struct audit_check *check, const struct event *event)
{
    const uint64_t number = check->of_all ? event->link.seq : event->link.organization_seq;

    if (check->n == check->signed_one.count)
        return bad_line(check, "there are more lines than were signed");
    if (number != check->n + 1)
        return bad_event(check, check->n + 1, "does not stand here: it is missing, or was moved");
    if (event->link.seq <= check->last_seq || event->link.seq > check->signed_one.seq)
        return bad_event(check, check->n + 1, "was changed: it says that it stands elsewhere");
    return 0;
}

static int check_proof(struct audit_check *check, struct event *event)
{
    const uint8_t *chain = check->of_all ? event->link.chain : event->link.organization_chain;
    uint8_t hash[MERKLE_HASH_LEN];
    int r;

    if (!check->of_all &&
        (!event->record.has_organization ||
            memcmp(event->record.organization, check->signed_one.organization, AUDIT_ID_LEN) != 0))
        return bad_event(check, check->n + 1, "is of another organization");
    if ((r = audit_chain(check->chain, &event->record, check->chain)) < 0)
        return r;
    if (memcmp(check->chain, chain, sizeof(check->chain)) != 0)
        return bad_event(check, check->n + 1, "was changed");
    if ((r = audit_leaf(&event->link, event->record.organization, hash)) < 0)
        return r;
    if (memcmp(hash, event->leaf, sizeof(hash)) != 0)
        return bad_event(check, check->n + 1, "was changed: it is not what its hash is of");
    if (!merkle_path_root(check->signed_one.seq, event->link.seq - 1, event->leaf, event->path,
            event->n_path, hash) ||
        memcmp(hash, check->signed_one.root, sizeof(hash)) != 0)
        return bad_event(check, check->n + 1, "was changed: it is not what was signed");
    return 0;
}

static int take_event(struct audit_check *check, const json_t *object, const char *line, size_t len)
{
    uint8_t made[MERKLE_LEVELS][MERKLE_HASH_LEN];
    struct event event;
    struct audit_line again = {
        .record = &event.record, .link = &event.link, .leaf = event.leaf, .path = event.path};
    int r;

    read_event(object, &event);
    if ((r = check_place(check, &event)) < 0)
        return r;
    again.n_path = event.n_path;
    again.of_all = check->of_all;
    text_clear(&check->again);
    audit_line_write(&again, &check->again);
    if (!same_line(check, line, len) || event.record.at[0] == '\0')
        return bad_event(check, check->n + 1, "was changed: no export has such a line");
    if ((r = check_proof(check, &event)) < 0)
        return r;
    if (check->of_all)
        (void)merkle_append(&check->tree, event.leaf, made);
    check->n++;
    check->last_seq = event.link.seq;
    return meet_expected(check);
}

int audit_check_line(struct audit_check *check, const char *line, size_t len)
{
    CLEANUP(json_cleanup) json_t *object = NULL;
    const json_t *checkpoint;

    check->n_lines++;
    if (len == 0 || len > AUDIT_CHECK_LINE_MAX || line[len - 1] != '\n')
        return bad_line(check, "the file breaks off here");
    object = json_loadb(line, len - 1, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object))
        return bad_event(check, check->n + 1, "was changed: the line is no JSON object");
    checkpoint = json_object_get(object, "checkpoint");
    if (check->n_lines == 1)
        return take_first(check, checkpoint, line, len);
    return checkpoint != NULL ? take_kept(check, checkpoint, line, len)
                              : take_event(check, object, line, len);
}

int audit_check_end(struct audit_check *check, struct text *out)
{
    const struct audit_checkpoint *all = &check->signed_one;
    const time_t t = (time_t)all->time;
    char text[TIME_TEXT_MAX];
    struct tm tm;

    if (check->n_lines == 0)
        return error_set(ERROR_INPUT, "the file is empty");
    if (check->n != all->count)
        return error_set(ERROR_INPUT,
            "event %" PRIu64 "%s is missing: the file ends before it, and %" PRIu64
            " events were signed",
            check->n + 1, check->of_all ? "" : " of the organization", all->count);
    if (memcmp(check->chain, all->chain, sizeof(check->chain)) != 0)
        return error_set(ERROR_INPUT, "the chain does not lead to what was signed");
    if (gmtime_r(&t, &tm) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return error_set(ERROR_INPUT, "the checkpoint's time is none");
    text_addf(out, "{\"good\":true,\"events\":%" PRIu64 ",\"organization\":", all->count);
    if (check->of_all) {
        text_add(out, "null");
    } else {
        text_add(out, "\"");
        text_add_hex(out, all->organization, sizeof(all->organization));
        text_add(out, "\"");
    }
    text_addf(out, ",\"seq\":%" PRIu64 ",\"checkpoints\":%" PRIu64 ",\"signed\":\"%s\"}\n",
        all->seq, check->n_kept + 1, text);
    return 0;
}
