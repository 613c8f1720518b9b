/* The seeds of keyd_frame: requests and replies of each verb, as the code encodes them today.
 * `seeds_keyd_frame FOLDER` writes them; with --check, which is a test, it fails unless they are
 * all there, and nothing else that is named as they are. So who changes a frame makes its seeds
 * anew, and the fuzzer does not stop at its length: who adds a verb gives it seeds.
 *
 * A spoilt seed has one other byte and is refused, but for that byte. */
#include "hsm/frame_pieces.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED_MAX (1 + KEYD_FRAME_MAX) /* the kind, as the target has it, and the frame */
#define NAME_LEN_MAX 64
#define PATH_LEN_MAX 4096
#define N_KEKS 2

struct seed {
    enum keyd_verb verb;
    const char *variant; /* of its name; "" of the verb's first */
    void (*fill)(void);
    uint8_t n_keks, n_items;
    uint8_t spoilt;     /* the byte that stands */
    uint16_t spoilt_at; /* so far from the frame's end; 0: nowhere */
};

static struct keyd_request request;
static struct keyd_reply reply;
static struct sealed_kek keks[N_KEKS];

/* --- pieces ----------------------------------------------------------------------------------- */

static void fill(void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)(i + 1);
}

static struct eui64 an_eui(void)
{
    return (struct eui64){{0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 1}};
}

static struct sealed_key a_key(const char *label, uint8_t blob_len)
{
    struct sealed_key key = {.blob_len = blob_len, .tag_version = 2};

    memcpy(key.kek_label, label, strlen(label));
    fill(key.blob, blob_len);
    fill(key.tag, sizeof(key.tag));
    return key;
}

static struct sealed_kek a_kek(enum peer_kind kind, enum kek_class kek_class, const char *label)
{
    struct sealed_kek kek = {.peer_kind = kind,
        .peer_id = "000013",
        .kek_class = kek_class,
        .key = a_key("store-kek.1", SEALED_BLOB_MAX)};

    memcpy(kek.label, label, strlen(label));
    return kek;
}

static struct keyd_public_key a_public_key(uint16_t modulus_len)
{
    struct keyd_public_key key = {
        .modulus_len = modulus_len, .exponent_len = 3, .exponent = {1, 0, 1}};

    memset(key.modulus, 0xC1, modulus_len);
    return key;
}

static struct keyd_envelope an_envelope(uint8_t len)
{
    struct keyd_envelope envelope = {.len = len};

    fill(envelope.bytes, len);
    return envelope;
}

/* --- requests --------------------------------------------------------------------------------- */

static struct keyd_join_request a_join(uint8_t frame_len)
{
    struct keyd_join_request join = {.dev_eui = an_eui(),
        .join_eui = an_eui(),
        .app = a_key("store-device.1", 24),
        .has_nwk = true,
        .nwk = a_key("store-device.2", 24),
        .frame_len = frame_len,
        .plan = true,
        .accept = {.join_nonce = LW_JOIN_NONCE_MAX,
            .net_id = {{0, 0, 0x13}},
            .dev_addr = {{0x26, 1, 2, 3}},
            .dl_settings = 0x80,
            .rx_delay = 1,
            .has_cf_list = true,
            .cf_list = {1, 2, 3}},
        .as_kek = 1};

    fill(join.frame, frame_len);
    return join;
}

static void fill_joins(void)
{
    request.joins[0] = a_join(LW_JOIN_REQUEST_LEN);
    request.joins[1] = a_join(LW_JOIN_REQUEST_LEN);
    request.joins[1].has_nwk = false;
    request.joins[1].accept.has_cf_list = false;
    request.joins[1].explain = true;
    request.joins[1].ns_kek = request.joins[1].as_kek = KEYD_PLAIN;
}

static void fill_join_no_plan(void)
{
    request.joins[0] = a_join(LW_JOIN_REQUEST_LEN);
    request.joins[0].plan = false;
}

static void fill_join_other_join_eui(void)
{
    request.joins[0] = a_join(LW_JOIN_REQUEST_LEN);
    request.joins[0].has_air_join_eui = true;
    request.joins[0].air_join_eui = an_eui();
}

static void fill_rejoin_0(void)
{
    request.joins[0] = a_join(LW_REJOIN_LEN_0_2);
    for (size_t i = 0; i < KEYD_SESSIONS_MAX; i++)
        request.joins[0].sessions[i] = (struct keyd_session){
            .present = i < 2, .plan = i == 0, .join_nonce = 7, .nonce = (uint16_t)(i + 1)};
}

static void fill_rejoin_1(void)
{
    request.joins[0] = a_join(LW_REJOIN_LEN_1);
}

static void fill_app_s_key(void)
{
    request.app_s_key = (struct keyd_app_s_key_request){.dev_eui = an_eui(),
        .join_eui = an_eui(),
        .app = a_key("store-device.1", 24),
        .has_nwk = true,
        .nwk = a_key("store-device.1", 24),
        .opt_neg = true,
        .join_nonce = 7,
        .nonce = 8,
        .net_id = {{0, 0, 0x13}}};
}

static void fill_app_s_key_plain(void)
{
    fill_app_s_key();
    request.app_s_key.has_air_join_eui = true;
    request.app_s_key.air_join_eui = an_eui();
    request.app_s_key.has_nwk = request.app_s_key.opt_neg = false;
    request.app_s_key.as_kek = KEYD_PLAIN;
}

/* The clear one last: there are zeros behind it. */
static void fill_adopts(void)
{
    static const enum keyd_key_form forms[] = {
        KEYD_FORM_SEALED, KEYD_FORM_WRAPPED, KEYD_FORM_CLEAR};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct keyd_adopt_request *q = &request.adopts[i];

        *q = (struct keyd_adopt_request){.dev_eui = an_eui(),
            .join_eui = an_eui(),
            .slot = i == 0 ? KEY_SLOT_NWK : KEY_SLOT_APP,
            .form = forms[i],
            .transport_kek = forms[i] == KEYD_FORM_WRAPPED ? 0 : KEYD_NO_KEK};
        fill(q->sealed, sizeof(q->sealed));
    }
}

static void fill_adopt_kek(void)
{
    request.adopt_kek = (struct keyd_adopt_kek_request){
        .key_len = 32, .kek = a_kek(PEER_APPLICATION_SERVER, KEK_CLASS_AS, "as")};
    fill(request.adopt_kek.oaep, sizeof(request.adopt_kek.oaep));
}

static void fill_codes(void)
{
    request.codes[0] = (struct keyd_claim_code){
        .dev_eui = an_eui(), .generation = 1, .code_len = 4, .code = {'A', 'B', 'C', 'D'}};
    request.codes[1] =
        (struct keyd_claim_code){.dev_eui = an_eui(), .version = 3, .code_len = KEYD_CODE_MAX};
    memset(request.codes[1].code, 'Z', KEYD_CODE_MAX);
}

static void fill_tokens(void)
{
    request.tokens[0].body_len = 24;
    request.tokens[1].body_len = KEYD_TOKEN_MAX;
    fill(request.tokens[0].body, 24);
    fill(request.tokens[1].body, KEYD_TOKEN_MAX);
}

static void fill_nothing(void)
{
}

static void fill_randoms(void)
{
    request.randoms[0].len = 1;
    request.randoms[1].len = KEYD_RANDOM_MAX;
}

static void fill_exports(void)
{
    request.export.to = a_public_key(KEYD_RSA_MIN);
    for (size_t i = 0; i < 2; i++)
        request.export.items[i] = (struct keyd_export_request){.dev_eui = an_eui(),
            .join_eui = an_eui(),
            .slot = i == 0 ? KEY_SLOT_APP : KEY_SLOT_NWK,
            .key = a_key("store-device.1", i == 0 ? 24 : 32)};
}

static void fill_exports_4096(void)
{
    fill_exports();
    request.export.to = a_public_key(KEYD_EXPORT_RSA_MAX);
}

static void fill_make_kek(void)
{
    request.make_kek = (struct keyd_make_kek_request){.to = a_public_key(KEYD_RSA_MAX),
        .key_len = 16,
        .kek = a_kek(PEER_ORGANIZATION, KEK_CLASS_TRANSPORT, "transport")};
}

static void fill_checkpoint(void)
{
    request.checkpoint = (struct audit_checkpoint){.seq = 9, .count = 8};
    fill(request.checkpoint.organization, sizeof(request.checkpoint.organization));
    fill(request.checkpoint.chain, sizeof(request.checkpoint.chain));
    fill(request.checkpoint.root, sizeof(request.checkpoint.root));
}

static void fill_webhooks(void)
{
    for (size_t i = 0; i < 2; i++) {
        fill(request.webhooks[i].id, sizeof(request.webhooks[i].id));
        request.webhooks[i].generation = (uint32_t)(i + 1);
    }
}

static void fill_custody(void)
{
    static const char document[] = "{\"dev_eui\":\"70b3d57ed0000001\"}";

    request.custody =
        (struct keyd_custody_request){.type = CUSTODY_OF_DEVICE, .len = sizeof(document) - 1};
    memcpy(request.custody.document, document, sizeof(document) - 1);
}

static void fill_makes(void)
{
    for (size_t i = 0; i < 4; i++)
        request.makes[i] = (struct keyd_make_request){.dev_eui = an_eui(),
            .join_eui = an_eui(),
            .slot = i == 1 ? KEY_SLOT_NWK : KEY_SLOT_APP,
            .is_sigfox = i == 2,
            .form = i == 3 ? KEYD_MADE_WRAPPED : KEYD_MADE_RECORD,
            .transport_kek = i == 3};
}

static void fill_delivery(void)
{
    fill(request.delivery.batch, sizeof(request.delivery.batch));
    request.delivery.version = 2;
}

static void fill_rewrap_keys(void)
{
    for (size_t i = 0; i < 2; i++)
        request.rewrap_keys[i] = (struct keyd_rewrap_key_request){.dev_eui = an_eui(),
            .join_eui = an_eui(),
            .slot = i == 0 ? KEY_SLOT_APP : KEY_SLOT_NWK,
            .key = a_key("store-device.1", 24)};
}

static void fill_rewrap_keks(void)
{
    request.rewrap_keks[0] = a_kek(PEER_NETWORK_SERVER, KEK_CLASS_NS, "ns");
    request.rewrap_keks[1] = a_kek(PEER_ORGANIZATION, KEK_CLASS_TRANSPORT, "transport");
}

/* Of a request to make a KEK, from its end: the name, the length of the KEK and the exponent, which
 * has 3 bytes of its place. */
#define MAKE_KEK_LEN_AT (KEYD_KEK_NAME_WIRE_LEN + 1)
#define MAKE_KEK_ODD_AT (MAKE_KEK_LEN_AT + KEYD_RSA_EXPONENT_MAX - 2)

static const struct seed requests[] = {
    {KEYD_VERB_JOIN, "", fill_joins, .n_keks = 2, .n_items = 2},
    {KEYD_VERB_JOIN, "_no_plan", fill_join_no_plan, .n_items = 1},
    {KEYD_VERB_JOIN, "_other_join_eui", fill_join_other_join_eui, .n_keks = 2, .n_items = 1},
    {KEYD_VERB_JOIN, "_rejoin_0", fill_rejoin_0, .n_keks = 2, .n_items = 1},
    {KEYD_VERB_JOIN, "_rejoin_1", fill_rejoin_1, .n_keks = 2, .n_items = 1},
    {KEYD_VERB_JOIN, "_no_such_kek", fill_rejoin_1, .n_keks = 2, .n_items = 1, .spoilt = 2,
        .spoilt_at = 1},
    {KEYD_VERB_ADOPT_KEY, "", fill_adopts, .n_keks = 1, .n_items = 3},
    {KEYD_VERB_ADOPT_KEY, "_longer", fill_adopts, .n_keks = 1, .n_items = 3, .spoilt = 1,
        .spoilt_at = 1},
    {KEYD_VERB_ADOPT_KEK, "", fill_adopt_kek, .n_items = 1},
    {KEYD_VERB_HASH_CODE, "", fill_codes, .n_items = 2},
    {KEYD_VERB_HASH_TOKEN, "", fill_tokens, .n_items = 2},
    {KEYD_VERB_SELF_TEST, "", fill_nothing, .n_items = 1},
    {KEYD_VERB_APP_S_KEY, "", fill_app_s_key, .n_keks = 1, .n_items = 1},
    {KEYD_VERB_APP_S_KEY, "_plain", fill_app_s_key_plain, .n_items = 1},
    {KEYD_VERB_RANDOM, "", fill_randoms, .n_items = 2},
    {KEYD_VERB_EXPORT_KEY, "", fill_exports, .n_items = 2},
    {KEYD_VERB_EXPORT_KEY, "_4096", fill_exports_4096, .n_items = 1},
    {KEYD_VERB_MAKE_KEK, "", fill_make_kek, .n_items = 1},
    {KEYD_VERB_MAKE_KEK, "_even", fill_make_kek, .n_items = 1, .spoilt = 2,
        .spoilt_at = MAKE_KEK_ODD_AT},
    {KEYD_VERB_MAKE_KEK, "_17", fill_make_kek, .n_items = 1, .spoilt = 17,
        .spoilt_at = MAKE_KEK_LEN_AT},
    {KEYD_VERB_SIGN_CHECKPOINT, "", fill_checkpoint, .n_items = 1},
    {KEYD_VERB_AUDIT_KEY, "", fill_nothing, .n_items = 1},
    {KEYD_VERB_WEBHOOK_SECRET, "", fill_webhooks, .n_items = 2},
    {KEYD_VERB_WEBHOOK_SECRET, "_never_made", fill_webhooks, .n_items = 1, .spoilt = 0,
        .spoilt_at = 1},
    {KEYD_VERB_SIGN_CUSTODY, "", fill_custody, .n_items = 1},
    {KEYD_VERB_MAKE_KEY, "", fill_makes, .n_keks = 2, .n_items = 4},
    {KEYD_VERB_MAKE_KEY, "_no_such_kek", fill_makes, .n_keks = 2, .n_items = 4, .spoilt = 2,
        .spoilt_at = 1},
    {KEYD_VERB_DELIVERY_KEY, "", fill_delivery, .n_items = 1},
    {KEYD_VERB_REWRAP_KEY, "", fill_rewrap_keys, .n_items = 2},
    {KEYD_VERB_REWRAP_KEK, "", fill_rewrap_keks, .n_items = 2},
};
#define N_REQUESTS (sizeof(requests) / sizeof(requests[0]))

/* --- replies ---------------------------------------------------------------------------------- */

static struct keyd_join_reply a_join_reply(bool opt_neg, uint8_t key_len)
{
    struct keyd_join_reply a = {.phy_payload_len = opt_neg ? LW_JOIN_ACCEPT_MAX : 17,
        .opt_neg = opt_neg,
        .app_s_key = an_envelope(key_len)};

    fill(a.phy_payload, a.phy_payload_len);
    if (opt_neg)
        a.f_nwk_s_int_key = a.s_nwk_s_int_key = a.nwk_s_enc_key = an_envelope(key_len);
    else
        a.nwk_s_key = an_envelope(key_len);
    return a;
}

static void fill_join_reply(void)
{
    reply.joins[0] = a_join_reply(true, KEYD_WRAPPED_LEN);
    reply.joins[0].session = KEYD_SESSIONS_MAX - 1;
    reply.joins[1] = a_join_reply(false, KEYD_WRAPPED_LEN);
}

static void fill_join_reply_clear(void)
{
    reply.joins[0] = a_join_reply(true, AES_KEY_LEN);
}

static void fill_join_reply_mistake(void)
{
    reply.joins[0] =
        (struct keyd_join_reply){.status = KEYD_MIC_FAILED, .mistake = LW_MIC_BOTH_REVERSED};
}

static void fill_adopt_reply(void)
{
    reply.adopts[0].sealed = a_key("store-device.1", 24);
    fill(reply.adopts[0].kcv, KEYD_KCV_LEN);
    fill(reply.adopts[0].fingerprint, KEYD_FINGERPRINT_LEN);
    reply.adopts[1].status = KEYD_BAD_INPUT;
}

static void fill_adopt_kek_reply(void)
{
    reply.adopt_kek.sealed = a_key("store-kek.1", 40);
    fill(reply.adopt_kek.kcv, KEYD_KCV_LEN);
}

static void fill_hash_reply(void)
{
    reply.hashes[0].version = 2;
    fill(reply.hashes[0].hash, KEYD_HASH_LEN);
}

static void fill_app_s_key_reply(void)
{
    reply.app_s_key.app_s_key = an_envelope(KEYD_WRAPPED_LEN);
}

static void fill_random_reply(void)
{
    reply.randoms[0].len = KEYD_RANDOM_MAX;
    fill(reply.randoms[0].bytes, KEYD_RANDOM_MAX);
    reply.randoms[1].status = KEYD_HSM_FAILED;
}

static void fill_export_reply(void)
{
    reply.exports[0].len = KEYD_RSA_MIN;
    fill(reply.exports[0].text, KEYD_RSA_MIN);
    reply.exports[1].status = KEYD_CANNOT_EXPORT;
}

static void fill_make_kek_reply(void)
{
    reply.make_kek.sealed = a_key("store-kek.1", 24);
    reply.make_kek.made.len = KEYD_RSA_MAX;
    fill(reply.make_kek.made.text, KEYD_RSA_MAX);
    fill(reply.make_kek.made.kcv, KEYD_KCV_LEN);
}

static void fill_make_kek_reply_refused(void)
{
    reply.make_kek.status = KEYD_HSM_FAILED;
}

static void fill_sign_reply(void)
{
    reply.signed_checkpoint.time = 1700000000;
    fill(reply.signed_checkpoint.signature, AUDIT_SIGNATURE_LEN);
}

static void fill_audit_key_reply(void)
{
    fill(reply.audit_key.point, AUDIT_POINT_LEN);
}

static void fill_make_reply(void)
{
    struct keyd_make_reply *a = &reply.makes[0];

    a->sealed = a_key("store-device.1", 24);
    fill(a->kcv, KEYD_KCV_LEN);
    fill(a->fingerprint, KEYD_FINGERPRINT_LEN);
    fill(a->wrapped, KEYD_WRAPPED_LEN);
    fill(a->record.identifier, AES_KEY_LEN);
    fill(a->record.key, AES_KEY_LEN);
    fill(a->record.no_key, AES_KEY_LEN);
    reply.makes[1].status = KEYD_KEK_UNKNOWN;
}

/* What is the newest is said of the second, which has not changed. */
static void fill_rewrap_reply(void)
{
    reply.rewraps[0].changed = true;
    reply.rewraps[0].sealed = a_key("store-device.2", 24);
    memcpy(reply.rewraps[1].newest, "store-device.2", sizeof("store-device.2"));
    reply.rewraps[1].newest_tag = 3;
}

static const struct seed replies[] = {
    {KEYD_VERB_JOIN, "", fill_join_reply, .n_items = 2},
    {KEYD_VERB_JOIN, "_clear", fill_join_reply_clear, .n_items = 1},
    {KEYD_VERB_JOIN, "_mistake", fill_join_reply_mistake, .n_items = 1},
    {KEYD_VERB_ADOPT_KEY, "", fill_adopt_reply, .n_items = 2},
    {KEYD_VERB_ADOPT_KEY, "_refused_and_known", fill_adopt_reply, .n_items = 2, .spoilt = 1,
        .spoilt_at = 1},
    {KEYD_VERB_ADOPT_KEK, "", fill_adopt_kek_reply, .n_items = 1},
    {KEYD_VERB_HASH_CODE, "", fill_hash_reply, .n_items = 2},
    {KEYD_VERB_HASH_TOKEN, "", fill_hash_reply, .n_items = 2},
    {KEYD_VERB_SELF_TEST, "", fill_hash_reply, .n_items = 1},
    {KEYD_VERB_APP_S_KEY, "", fill_app_s_key_reply, .n_items = 1},
    {KEYD_VERB_RANDOM, "", fill_random_reply, .n_items = 2},
    {KEYD_VERB_EXPORT_KEY, "", fill_export_reply, .n_items = 2},
    {KEYD_VERB_MAKE_KEK, "", fill_make_kek_reply, .n_items = 1},
    {KEYD_VERB_MAKE_KEK, "_refused", fill_make_kek_reply_refused, .n_items = 1},
    {KEYD_VERB_SIGN_CHECKPOINT, "", fill_sign_reply, .n_items = 1},
    {KEYD_VERB_AUDIT_KEY, "", fill_audit_key_reply, .n_items = 1},
    {KEYD_VERB_WEBHOOK_SECRET, "", fill_hash_reply, .n_items = 2},
    {KEYD_VERB_SIGN_CUSTODY, "", fill_sign_reply, .n_items = 1},
    {KEYD_VERB_MAKE_KEY, "", fill_make_reply, .n_items = 2},
    {KEYD_VERB_DELIVERY_KEY, "", fill_hash_reply, .n_items = 1},
    {KEYD_VERB_REWRAP_KEY, "", fill_rewrap_reply, .n_items = 2},
    {KEYD_VERB_REWRAP_KEK, "", fill_rewrap_reply, .n_items = 2},
    /* A tag that is not of zeros, before its version. */
    {KEYD_VERB_REWRAP_KEK, "_unchanged_with_key", fill_rewrap_reply, .n_items = 2, .spoilt = 1,
        .spoilt_at = 3},
};
#define N_REPLIES (sizeof(replies) / sizeof(replies[0]))

/* --- making and comparing --------------------------------------------------------------------- */

struct made {
    char name[NAME_LEN_MAX];
    uint8_t bytes[SEED_MAX];
    size_t len;
};

static int encode_request(const struct seed *seed, uint8_t *out, size_t *ret_len)
{
    const struct sealed_kek *named[N_KEKS] = {&keks[0], &keks[1]};

    memset(&request, 0, sizeof(request));
    seed->fill();
    return keyd_request_encode(
        seed->verb, 7, named, seed->n_keks, request.joins, seed->n_items, out, ret_len);
}

static int encode_reply(const struct seed *seed, uint8_t *out, size_t *ret_len)
{
    memset(&reply, 0, sizeof(reply));
    reply.verb = seed->verb;
    reply.sequence = 7;
    reply.n_items = seed->n_items;
    reply.operations = 100;
    reply.rss_kib = 4096;
    seed->fill();
    return keyd_reply_encode(&reply, out, ret_len);
}

static bool decodes(const struct made *made)
{
    const uint8_t *frame = made->bytes + 1;

    return (made->bytes[0] == 'Q' ? keyd_request_decode(frame, made->len - 1, &request)
                                  : keyd_reply_decode(frame, made->len - 1, &reply)) == 0;
}

static void name_seed(const struct seed *seed, bool is_request, char name[static NAME_LEN_MAX])
{
    char verb[KEYD_VERBS_TEXT_MAX] = "";

    if (keyd_verbs_format(KEYD_MAY(seed->verb), verb) < 0)
        abort();
    for (char *c = verb; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
    (void)snprintf(
        name, NAME_LEN_MAX, "%s_%.24s%s", is_request ? "request" : "reply", verb, seed->variant);
}

/* False, with a sentence, for a seed that is not what it says. */
static bool make(const struct seed *seed, bool is_request, struct made *ret)
{
    size_t len = 0;
    int r;

    name_seed(seed, is_request, ret->name);
    ret->bytes[0] = is_request ? 'Q' : 'R';
    r = is_request ? encode_request(seed, ret->bytes + 1, &len)
                   : encode_reply(seed, ret->bytes + 1, &len);
    ret->len = 1 + len;
    if (r < 0 || !decodes(ret)) {
        (void)fprintf(stderr, "%s does not decode\n", ret->name);
        return false;
    }
    if (seed->spoilt_at == 0)
        return true;
    ret->bytes[ret->len - seed->spoilt_at] = seed->spoilt;
    if (decodes(ret))
        (void)fprintf(stderr, "%s decodes, though it is spoilt\n", ret->name);
    return !decodes(ret);
}

static bool write_seed(const char *path, const struct made *made)
{
    FILE *file = fopen(path, "wbe");
    bool good = file != NULL && fwrite(made->bytes, 1, made->len, file) == made->len;

    good = file != NULL && fclose(file) == 0 && good;
    if (!good)
        (void)fprintf(stderr, "cannot write %s\n", path);
    return good;
}

static bool check_seed(const char *path, const struct made *made)
{
    static uint8_t bytes[SEED_MAX + 1];
    FILE *file = fopen(path, "rbe");
    size_t len = 0;

    if (file != NULL) {
        len = fread(bytes, 1, sizeof(bytes), file);
        (void)fclose(file);
    }
    if (len == made->len && memcmp(bytes, made->bytes, len) == 0)
        return true;
    (void)fprintf(stderr, "%s is not what %s is now\n", path, made->name);
    return false;
}

static bool each_seed(const char *folder, bool (*act)(const char *path, const struct made *made))
{
    static struct made made;
    char path[PATH_LEN_MAX];
    bool good = true;

    for (size_t i = 0; i < N_REQUESTS + N_REPLIES; i++) {
        const bool is_request = i < N_REQUESTS;

        if (!make(is_request ? &requests[i] : &replies[i - N_REQUESTS], is_request, &made) ||
            (size_t)snprintf(path, sizeof(path), "%s/%s", folder, made.name) >= sizeof(path)) {
            good = false;
            continue;
        }
        good = act(path, &made) && good;
    }
    return good;
}

static bool has_verb(const struct seed *seeds, size_t n, unsigned verb)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned)seeds[i].verb == verb && seeds[i].spoilt_at == 0)
            return true;
    return false;
}

static bool has_all_verbs(void)
{
    bool good = true;

    for (unsigned verb = 1; verb <= KEYD_N_VERBS; verb++) {
        if (has_verb(requests, N_REQUESTS, verb) && has_verb(replies, N_REPLIES, verb))
            continue;
        (void)fprintf(stderr, "verb %u has no request or no reply here\n", verb);
        good = false;
    }
    return good;
}

static bool is_ours(const char *name)
{
    char ours[NAME_LEN_MAX];

    for (size_t i = 0; i < N_REQUESTS + N_REPLIES; i++) {
        name_seed(i < N_REQUESTS ? &requests[i] : &replies[i - N_REQUESTS], i < N_REQUESTS, ours);
        if (strcmp(name, ours) == 0)
            return true;
    }
    return false;
}

/* A frame that nothing makes anew is one of yesterday's some day. */
static bool has_only_ours(const char *folder)
{
    struct dirent *entry;
    DIR *dir = opendir(folder);
    bool good = dir != NULL;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if ((strncmp(entry->d_name, "request_", 8) != 0 &&
                strncmp(entry->d_name, "reply_", 6) != 0) ||
            is_ours(entry->d_name))
            continue;
        (void)fprintf(stderr, "%s/%s is not made here\n", folder, entry->d_name);
        good = false;
    }
    if (dir != NULL)
        (void)closedir(dir);
    return good;
}

int main(int argc, char **argv)
{
    const bool check = argc == 3 && strcmp(argv[1], "--check") == 0;
    const char *folder = argv[argc - 1];
    bool good;

    if (argc != 2 && !check) {
        (void)fprintf(stderr, "usage: seeds_keyd_frame [--check] FOLDER\n");
        return 2;
    }
    keks[0] = a_kek(PEER_NETWORK_SERVER, KEK_CLASS_NS, "ns");
    keks[1] = a_kek(PEER_APPLICATION_SERVER, KEK_CLASS_AS, "as");
    good = has_all_verbs();
    good = each_seed(folder, check ? check_seed : write_seed) && good;
    if (check)
        good = has_only_ours(folder) && good;
    if (!good && check)
        (void)fprintf(stderr,
            "\nThe frames have changed since their seeds were made. Make them anew, with\n"
            "tests/fuzz/seeds_keyd_frame of the build: seeds_keyd_frame %s\n",
            folder);
    return good ? 0 : 1;
}
