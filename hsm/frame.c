#include "hsm/frame_items.h"

#include "base/error.h"
#include <string.h>

#define MAGIC_REQUEST 0x434B5131u /* "CKQ1" */
#define MAGIC_REPLY 0x434B5231u   /* "CKR1" */
#define MAGIC_HELLO 0x434B4831u   /* "CKH1" */

static const char *const verb_names[KEYD_N_VERBS + 1] = {
    [KEYD_VERB_JOIN] = "join",
    [KEYD_VERB_ADOPT_KEY] = "adopt-key",
    [KEYD_VERB_ADOPT_KEK] = "adopt-kek",
    [KEYD_VERB_HASH_CODE] = "hash-code",
    [KEYD_VERB_HASH_TOKEN] = "hash-token",
    [KEYD_VERB_SELF_TEST] = "self-test",
    [KEYD_VERB_APP_S_KEY] = "app-s-key",
    [KEYD_VERB_RANDOM] = "random",
    [KEYD_VERB_EXPORT_KEY] = "export-key",
    [KEYD_VERB_MAKE_KEK] = "make-kek",
    [KEYD_VERB_SIGN_CHECKPOINT] = "sign-checkpoint",
    [KEYD_VERB_AUDIT_KEY] = "audit-key",
    [KEYD_VERB_WEBHOOK_SECRET] = "webhook-secret",
    [KEYD_VERB_SIGN_CUSTODY] = "sign-custody",
    [KEYD_VERB_MAKE_KEY] = "make-key",
    [KEYD_VERB_DELIVERY_KEY] = "delivery-key",
    [KEYD_VERB_REWRAP_KEY] = "rewrap-key",
    [KEYD_VERB_REWRAP_KEK] = "rewrap-kek",
};

int keyd_verbs_format(unsigned verbs, char out[static KEYD_VERBS_TEXT_MAX])
{
    struct bytes_writer w = bytes_writer_over(out, KEYD_VERBS_TEXT_MAX);

    for (unsigned verb = 1; verb <= KEYD_N_VERBS; verb++) {
        if ((verbs & KEYD_MAY(verb)) == 0)
            continue;
        if (w.len > 0)
            bytes_write_u8(&w, ',');
        bytes_write(&w, verb_names[verb], strlen(verb_names[verb]));
        verbs &= ~KEYD_MAY(verb);
    }
    if (w.len == 0 || verbs != 0)
        return error_set(ERROR_INTERNAL, "a pool must say which verbs its key processes serve");
    bytes_write_u8(&w, 0);
    return w.failed ? error_set(ERROR_INTERNAL, "the names of the verbs do not fit") : 0;
}

int keyd_verbs_parse(const char *text, unsigned *ret_verbs)
{
    unsigned verbs = 0;

    while (true) {
        const size_t len = strcspn(text, ",");
        unsigned verb = 1;

        while (verb <= KEYD_N_VERBS &&
               (strlen(verb_names[verb]) != len || memcmp(verb_names[verb], text, len) != 0))
            verb++;
        if (verb > KEYD_N_VERBS)
            return error_set(ERROR_INPUT, "no such verb of keyd");
        verbs |= KEYD_MAY(verb);
        if (text[len] == '\0')
            break;
        text += len + 1;
    }
    *ret_verbs = verbs;
    return 0;
}

static size_t request_len(const struct keyd_verb_shape *shape, size_t n_keks, size_t n_items)
{
    return KEYD_REQUEST_HEADER_LEN + n_keks * KEYD_KEK_WIRE_LEN + shape->head_len +
           n_items * shape->request_len;
}

int keyd_request_encode(enum keyd_verb verb, uint32_t sequence,
    const struct sealed_kek *const *keks, size_t n_keks, const void *items, size_t n_items,
    uint8_t out[static KEYD_FRAME_MAX], size_t *ret_len)
{
    const struct keyd_verb_shape *shape = keyd_verb_shape((unsigned)verb);
    struct bytes_writer w = bytes_writer_over(out, KEYD_FRAME_MAX);

    if (shape == NULL || n_keks > shape->keks_max || n_items < 1 || n_items > shape->items_max)
        return error_set(
            ERROR_INPUT, "a keyd request of %zu items and %zu KEKs cannot be", n_items, n_keks);
    bytes_write_u32_be(&w, MAGIC_REQUEST);
    bytes_write_u8(&w, (uint8_t)verb);
    bytes_write_u8(&w, (uint8_t)n_keks);
    bytes_write_u8(&w, (uint8_t)n_items);
    bytes_write_u8(&w, 0);
    bytes_write_u32_be(&w, sequence);
    bytes_write_u32_be(&w, (uint32_t)request_len(shape, n_keks, n_items));
    for (size_t i = 0; i < n_keks; i++)
        keyd_write_kek(&w, keks[i]);
    if (shape->write_head != NULL)
        shape->write_head(&w, items);
    for (size_t i = 0; i < n_items; i++)
        shape->write_request(&w, items, i, n_keks);
    if (w.failed)
        return error_set(ERROR_INPUT, "a value does not fit a keyd request");
    *ret_len = w.len;
    return 0;
}

int keyd_request_decode(const uint8_t *data, size_t len, struct keyd_request *ret)
{
    struct bytes_reader r = bytes_reader_over(data, len);
    const struct keyd_verb_shape *shape;

    if (bytes_read_u32_be(&r) != MAGIC_REQUEST)
        return error_set(ERROR_INPUT, "not a keyd request");
    ret->verb = (enum keyd_verb)bytes_read_u8(&r);
    ret->n_keks = bytes_read_u8(&r);
    ret->n_items = bytes_read_u8(&r);
    if (bytes_read_u8(&r) != 0)
        r.failed = true;
    ret->sequence = bytes_read_u32_be(&r);
    shape = keyd_verb_shape((unsigned)ret->verb);
    if (r.failed || shape == NULL || ret->n_keks > shape->keks_max || ret->n_items < 1 ||
        ret->n_items > shape->items_max)
        return error_set(ERROR_INPUT, "the header of a keyd request is wrong");
    if (bytes_read_u32_be(&r) != len || len != request_len(shape, ret->n_keks, ret->n_items))
        return error_set(ERROR_INPUT, "the length of a keyd request is wrong");
    for (size_t i = 0; i < ret->n_keks; i++)
        keyd_read_kek(&r, &ret->keks[i]);
    if (shape->read_head != NULL)
        shape->read_head(&r, ret);
    for (size_t i = 0; i < ret->n_items; i++)
        shape->read_request(&r, ret, i);
    if (!bytes_reader_done(&r))
        return error_set(ERROR_INPUT, "a field of a keyd request is out of range");
    return 0;
}

int keyd_reply_encode(
    const struct keyd_reply *reply, uint8_t out[static KEYD_FRAME_MAX], size_t *ret_len)
{
    const struct keyd_verb_shape *shape = keyd_verb_shape((unsigned)reply->verb);
    struct bytes_writer w = bytes_writer_over(out, KEYD_FRAME_MAX);

    if (shape == NULL || reply->n_items < 1 || reply->n_items > shape->items_max)
        return error_set(ERROR_INTERNAL, "a keyd reply of %zu items cannot be", reply->n_items);
    bytes_write_u32_be(&w, MAGIC_REPLY);
    bytes_write_u8(&w, (uint8_t)reply->verb);
    bytes_write_u8(&w, 0);
    bytes_write_u8(&w, (uint8_t)reply->n_items);
    bytes_write_u8(&w, 0);
    bytes_write_u32_be(&w, reply->sequence);
    bytes_write_u32_be(&w, (uint32_t)(KEYD_REPLY_HEADER_LEN + reply->n_items * shape->reply_len));
    bytes_write_u32_be(&w, reply->operations);
    bytes_write_u32_be(&w, reply->rss_kib);
    for (size_t i = 0; i < reply->n_items; i++)
        shape->write_reply(&w, reply, i);
    if (w.failed)
        return error_set(ERROR_INTERNAL, "a value does not fit a keyd reply");
    *ret_len = w.len;
    return 0;
}

int keyd_reply_decode(const uint8_t *data, size_t len, struct keyd_reply *ret)
{
    struct bytes_reader r = bytes_reader_over(data, len);
    const struct keyd_verb_shape *shape;

    if (bytes_read_u32_be(&r) != MAGIC_REPLY)
        return error_set(ERROR_INPUT, "not a keyd reply");
    ret->verb = (enum keyd_verb)bytes_read_u8(&r);
    if (bytes_read_u8(&r) != 0)
        r.failed = true;
    ret->n_items = bytes_read_u8(&r);
    if (bytes_read_u8(&r) != 0)
        r.failed = true;
    ret->sequence = bytes_read_u32_be(&r);
    shape = keyd_verb_shape((unsigned)ret->verb);
    if (r.failed || shape == NULL || ret->n_items < 1 || ret->n_items > shape->items_max)
        return error_set(ERROR_INPUT, "the header of a keyd reply is wrong");
    if (bytes_read_u32_be(&r) != len ||
        len != KEYD_REPLY_HEADER_LEN + ret->n_items * shape->reply_len)
        return error_set(ERROR_INPUT, "the length of a keyd reply is wrong");
    ret->operations = bytes_read_u32_be(&r);
    ret->rss_kib = bytes_read_u32_be(&r);
    for (size_t i = 0; i < ret->n_items; i++)
        shape->read_reply(&r, ret, i);
    if (!bytes_reader_done(&r))
        return error_set(ERROR_INPUT, "a field of a keyd reply is out of range");
    return 0;
}

bool keyd_reply_holds_secrets(const struct keyd_reply *reply)
{
    bool clear = false;

    if (reply->verb == KEYD_VERB_APP_S_KEY)
        return reply->app_s_key.app_s_key.len == AES_KEY_LEN;
    if (reply->verb == KEYD_VERB_RANDOM || reply->verb == KEYD_VERB_WEBHOOK_SECRET ||
        reply->verb == KEYD_VERB_DELIVERY_KEY)
        return true;
    if (reply->verb != KEYD_VERB_JOIN)
        return false;
    for (size_t i = 0; i < reply->n_items; i++) {
        const struct keyd_join_reply *a = &reply->joins[i];

        clear = clear || a->nwk_s_key.len == AES_KEY_LEN || a->f_nwk_s_int_key.len == AES_KEY_LEN ||
                a->s_nwk_s_int_key.len == AES_KEY_LEN || a->nwk_s_enc_key.len == AES_KEY_LEN ||
                a->app_s_key.len == AES_KEY_LEN;
    }
    return clear;
}

/* Every item of every verb begins with its status. */
bool keyd_reply_has_failure(const struct keyd_reply *reply, const uint8_t *frame)
{
    const struct keyd_verb_shape *shape = keyd_verb_shape((unsigned)reply->verb);

    for (size_t i = 0; shape != NULL && i < reply->n_items; i++) {
        if (frame[KEYD_REPLY_HEADER_LEN + i * shape->reply_len] == KEYD_HSM_FAILED)
            return true;
    }
    return false;
}

/* --- hello ----------------------------------------------------------------------------------- */

void keyd_hello_encode(const struct keyd_hello *hello, uint8_t out[static KEYD_HELLO_LEN])
{
    static const uint8_t zeros[KEYD_HELLO_TEXT_MAX];
    struct bytes_writer w = bytes_writer_over(out, KEYD_HELLO_LEN);
    size_t len = strnlen(hello->text, KEYD_HELLO_TEXT_MAX - 1);

    bytes_write_u32_be(&w, MAGIC_HELLO);
    bytes_write_u8(&w, (uint8_t)hello->state);
    bytes_write(&w, zeros, 3);
    for (size_t i = 0; i < len; i++) {
        char c = hello->text[i];
        bytes_write_u8(&w, c >= 0x20 && c <= 0x7E ? (uint8_t)c : '?');
    }
    bytes_write(&w, zeros, KEYD_HELLO_TEXT_MAX - len);
}

int keyd_hello_decode(const uint8_t *data, size_t len, struct keyd_hello *ret)
{
    struct bytes_reader r = bytes_reader_over(data, len);

    if (bytes_read_u32_be(&r) != MAGIC_HELLO)
        return error_set(ERROR_INPUT, "not a keyd hello");
    ret->state = (enum keyd_exit)bytes_read_u8(&r);
    bytes_skip(&r, 3);
    keyd_read_label(&r, ret->text, sizeof(ret->text));
    if (!bytes_reader_done(&r))
        return error_set(ERROR_INPUT, "a keyd hello is malformed");
    return 0;
}
