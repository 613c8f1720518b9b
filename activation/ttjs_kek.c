#include "activation/ttjs_kek.h"

#include "activation/import_text.h"
#include "activation/operator_check.h"
#include "activation/pem.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "db/peer.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

#define ID_TEXT_LEN ((size_t)2 * KEK_ID_LEN)

static void pkey_free(EVP_PKEY **pkey)
{
    EVP_PKEY_free(*pkey);
}

static void context_free(EVP_PKEY_CTX **context)
{
    EVP_PKEY_CTX_free(*context);
}

static EVP_PKEY *read_exchange_key(const struct text *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
    EVP_PKEY *pkey =
        bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, act_pem_no_pass_phrase, NULL) : NULL;

    BIO_free(bio);
    return pkey;
}

/* RSAES-OAEP, SHA-1, MGF1-SHA-1, empty label: the form that /v1/keks takes. */
static int seal(
    const struct text *pem, const uint8_t *key, size_t key_len, uint8_t ret[static KEYD_OAEP_LEN])
{
    CLEANUP(pkey_free) EVP_PKEY *pkey = read_exchange_key(pem);
    CLEANUP(context_free)
    EVP_PKEY_CTX *context = pkey != NULL ? EVP_PKEY_CTX_new(pkey, NULL) : NULL;
    size_t len = KEYD_OAEP_LEN;

    if (context == NULL || EVP_PKEY_get_size(pkey) != KEYD_OAEP_LEN ||
        EVP_PKEY_encrypt_init(context) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha1()) != 1 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha1()) != 1 ||
        EVP_PKEY_encrypt(context, ret, &len, key, key_len) != 1 || len != KEYD_OAEP_LEN)
        return error_set(ERROR_CONFIG, "a KEK cannot be encrypted to the exchange key");
    return 0;
}

static int adopt(struct act_call *call, const uint8_t *key, size_t key_len, struct ttjs_kek *ret)
{
    uint8_t sealed[KEYD_OAEP_LEN], kcv[KEYD_KCV_LEN];
    enum keyd_status status = KEYD_HSM_FAILED;
    int r = seal(&call->worker->service->exchange_key, key, key_len, sealed);

    if (r == 0)
        r = keyd_adopt_kek(call->worker->keyd, sealed, (unsigned)key_len, &ret->kek, kcv, &status,
            clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);
    if (r == 0 && status != KEYD_OK)
        r = error_set(ERROR_HSM, "a KEK was not sealed: %s", keyd_status_text(status));
    return r;
}

unsigned ttjs_kek_take(struct act_call *call, const char *label, const uint8_t *key, size_t key_len,
    struct ttjs_kek *ret)
{
    bool may_be_same = true;
    int r;

    if (!import_id_valid(label, strlen(label)))
        return act_call_problem(call, PROBLEM_BAD_REQUEST,
            "kek.label has 1 to 64 printable characters without blank, quote and backslash");
    if (key_len > TTJS_KEK_KEY_MAX || !act_key_length_valid((unsigned)key_len))
        return act_call_problem(
            call, PROBLEM_BAD_REQUEST, "kek.key is not 16, 24 or 32 bytes in hexadecimal digits");
    if (call->worker->service->exchange_key.len == 0)
        return act_call_problem(call, PROBLEM_BAD_REQUEST,
            "kek is not taken here: this service was given no exchange key");
    *ret =
        (struct ttjs_kek){.kek = {.peer_kind = PEER_APPLICATION_SERVER, .kek_class = KEK_CLASS_AS}};
    memcpy(ret->kek.peer_id, call->caller->as_id, sizeof(ret->kek.peer_id));
    memcpy(ret->kek.label, label, strlen(label) + 1);
    if ((r = adopt(call, key, key_len, ret)) < 0 ||
        (r = db_kek_compare(call->worker->db, &ret->kek, &may_be_same)) < 0)
        return act_call_failed(call, r);
    ret->is_new = r > 0;
    if (!may_be_same)
        return act_call_problem(call, PROBLEM_BAD_REQUEST,
            "kek has the label of another KEK of this application server");
    return 0;
}

int ttjs_kek_keep(struct act_call *call, const struct ttjs_kek *kek)
{
    CLEANUP(text_done) struct text detail = {0};
    uint8_t id[KEK_ID_LEN];
    char text[ID_TEXT_LEN + 1];
    int r;

    if (!kek->is_new)
        return 0;
    r = db_kek_add_spare(call->worker->db, &kek->kek, id);
    if (r != 0) /* 1: another claim with it was faster */
        return r < 0 ? r : 0;
    text_add(&detail, "{\"application_server\":");
    text_add_json(&detail, kek->kek.peer_id);
    text_add(&detail, ",\"label\":");
    text_add_json(&detail, kek->kek.label);
    text_add(&detail, ",\"by_claim\":true}");
    return act_call_audit(call, 0, "kek.create", hex_encode(id, sizeof(id), text), detail.data);
}
