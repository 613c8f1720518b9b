#include "lorawan/derive.h"

#include "base/bytes.h"
#include <assert.h>
#include <string.h>

/* First bytes of the lifetime keys' blocks, LoRaWAN 1.1 6.1.1.4. */
#define BLOCK_JS_ENC_KEY 0x05
#define BLOCK_JS_INT_KEY 0x06

void lw_block_session_1_0(enum lw_session_key key, uint32_t join_nonce, const struct net_id *net_id,
    uint16_t dev_nonce, uint8_t out[static LW_BLOCK_LEN])
{
    struct bytes_writer w = bytes_writer_over(out, LW_BLOCK_LEN);

    memset(out, 0, LW_BLOCK_LEN);
    bytes_write_u8(&w, (uint8_t)key);
    bytes_write_u24_le(&w, join_nonce & LW_JOIN_NONCE_MAX);
    bytes_write_reversed(&w, net_id->bytes, sizeof(net_id->bytes));
    bytes_write_u16_le(&w, dev_nonce);
    assert(!w.failed);
}

void lw_block_session_1_1(enum lw_session_key key, uint32_t join_nonce,
    const struct eui64 *join_eui, uint16_t nonce, uint8_t out[static LW_BLOCK_LEN])
{
    struct bytes_writer w = bytes_writer_over(out, LW_BLOCK_LEN);

    memset(out, 0, LW_BLOCK_LEN);
    bytes_write_u8(&w, (uint8_t)key);
    bytes_write_u24_le(&w, join_nonce & LW_JOIN_NONCE_MAX);
    bytes_write_reversed(&w, join_eui->bytes, sizeof(join_eui->bytes));
    bytes_write_u16_le(&w, nonce);
    assert(!w.failed);
}

static void lifetime_block(
    uint8_t first, const struct eui64 *dev_eui, uint8_t out[static LW_BLOCK_LEN])
{
    struct bytes_writer w = bytes_writer_over(out, LW_BLOCK_LEN);

    memset(out, 0, LW_BLOCK_LEN);
    bytes_write_u8(&w, first);
    bytes_write_reversed(&w, dev_eui->bytes, sizeof(dev_eui->bytes));
    assert(!w.failed);
}

void lw_block_js_enc_key(const struct eui64 *dev_eui, uint8_t out[static LW_BLOCK_LEN])
{
    lifetime_block(BLOCK_JS_ENC_KEY, dev_eui, out);
}

void lw_block_js_int_key(const struct eui64 *dev_eui, uint8_t out[static LW_BLOCK_LEN])
{
    lifetime_block(BLOCK_JS_INT_KEY, dev_eui, out);
}
