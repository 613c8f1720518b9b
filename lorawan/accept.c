#include "lorawan/accept.h"

#include "base/bytes.h"
#include "base/error.h"
#include <assert.h>
#include <string.h>

#define CMAC_LEN 16

void lw_accept_mic_prefix(enum lw_join_type join_type, const struct eui64 *join_eui, uint16_t nonce,
    uint8_t out[static LW_ACCEPT_MIC_PREFIX_LEN])
{
    struct bytes_writer w = bytes_writer_over(out, LW_ACCEPT_MIC_PREFIX_LEN);

    bytes_write_u8(&w, (uint8_t)join_type);
    bytes_write_reversed(&w, join_eui->bytes, sizeof(join_eui->bytes));
    bytes_write_u16_le(&w, nonce);
    assert(!w.failed && w.len == LW_ACCEPT_MIC_PREFIX_LEN);
}

int lw_accept_mic_input(const struct lw_join_accept *accept, enum lw_join_type join_type,
    const struct eui64 *join_eui, uint16_t nonce, uint8_t out[static LW_ACCEPT_MIC_INPUT_MAX],
    size_t *ret_len)
{
    uint8_t plain[LW_JOIN_ACCEPT_PLAIN_MAX];
    size_t plain_len = 0;
    size_t prefix_len = 0;

    int r = lw_join_accept_build(accept, plain, &plain_len);
    if (r < 0)
        return r;
    bool opt_neg = (accept->dl_settings & LW_OPT_NEG) != 0;
    if (!opt_neg && join_type != LW_JOIN)
        return error_set(ERROR_INPUT, "a rejoin cannot be answered with OptNeg 0");
    if (opt_neg) {
        lw_accept_mic_prefix(join_type, join_eui, nonce, out);
        prefix_len = LW_ACCEPT_MIC_PREFIX_LEN;
    }
    memcpy(out + prefix_len, plain, plain_len);
    *ret_len = prefix_len + plain_len;
    return 0;
}

int lw_accept_protect(const struct lw_join_accept *accept, const struct lw_key *mic_key,
    const struct lw_key *enc_key, const struct eui64 *join_eui, uint16_t nonce,
    enum lw_join_type join_type, uint8_t out[static LW_JOIN_ACCEPT_MAX], size_t *ret_len)
{
    uint8_t mic_input[LW_ACCEPT_MIC_INPUT_MAX];
    uint8_t clear[LW_JOIN_ACCEPT_MAX];
    uint8_t hidden[LW_JOIN_ACCEPT_MAX];
    uint8_t cmac[CMAC_LEN];
    size_t mic_input_len = 0;
    size_t len = 0;

    int r = lw_accept_mic_input(accept, join_type, join_eui, nonce, mic_input, &mic_input_len);
    if (r < 0)
        return r;
    r = mic_key->cmac(mic_key->key, mic_input, mic_input_len, cmac);
    if (r < 0)
        return r;

    r = lw_join_accept_build(accept, clear, &len);
    if (r < 0)
        return r;
    memcpy(clear + len, cmac, LW_MIC_LEN);
    len += LW_MIC_LEN;

    /* The network decrypts so that a device needs AES in the encrypt direction alone. */
    r = enc_key->ecb_decrypt(enc_key->key, clear + 1, len - 1, hidden + 1);
    if (r < 0)
        return r;
    hidden[0] = clear[0];
    memcpy(out, hidden, len);
    *ret_len = len;
    return 0;
}
