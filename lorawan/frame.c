#include "lorawan/frame.h"

#include "base/bytes.h"
#include "base/error.h"
#include <assert.h>
#include <string.h>

#define MHDR_TYPE_MASK 0xE0u
#define MHDR_RFU_MASK 0x1Cu
#define MHDR_MAJOR_MASK 0x03u

const char *lw_frame_outcome_text(enum lw_frame_outcome outcome)
{
    static const char *const texts[LW_N_FRAME_OUTCOMES] = {
        [LW_FRAME_OK] = "ok",
        [LW_FRAME_WRONG_LENGTH] = "wrong frame length",
        [LW_FRAME_WRONG_TYPE] = "not this type of frame",
        [LW_FRAME_WRONG_MAJOR] = "not LoRaWAN R1",
        [LW_FRAME_RFU_SET] = "reserved MHDR bits are set",
        [LW_FRAME_WRONG_REJOIN] = "rejoin type and frame length do not agree",
    };

    if ((unsigned)outcome >= LW_N_FRAME_OUTCOMES)
        return "unknown outcome";
    return texts[outcome];
}

/* The type is looked at first: another type's Major and RFU bits are none of our business. */
static enum lw_frame_outcome mhdr_check(uint8_t mhdr, uint8_t expected)
{
    if ((mhdr & MHDR_TYPE_MASK) != (expected & MHDR_TYPE_MASK))
        return LW_FRAME_WRONG_TYPE;
    if ((mhdr & MHDR_MAJOR_MASK) != (expected & MHDR_MAJOR_MASK))
        return LW_FRAME_WRONG_MAJOR;
    if ((mhdr & MHDR_RFU_MASK) != 0)
        return LW_FRAME_RFU_SET;
    return LW_FRAME_OK;
}

enum lw_frame_outcome lw_join_request_parse(
    const uint8_t *frame, size_t len, struct lw_join_request *ret)
{
    if (len != LW_JOIN_REQUEST_LEN)
        return LW_FRAME_WRONG_LENGTH;

    struct bytes_reader r = bytes_reader_over(frame, len);
    enum lw_frame_outcome outcome = mhdr_check(bytes_read_u8(&r), LW_MHDR_JOIN_REQUEST);
    if (outcome != LW_FRAME_OK)
        return outcome;

    bytes_read_reversed(&r, ret->join_eui.bytes, sizeof(ret->join_eui.bytes));
    bytes_read_reversed(&r, ret->dev_eui.bytes, sizeof(ret->dev_eui.bytes));
    ret->dev_nonce = bytes_read_u16_le(&r);
    bytes_read(&r, ret->mic, sizeof(ret->mic));
    return LW_FRAME_OK;
}

void lw_join_request_build(
    const struct lw_join_request *request, uint8_t out[static LW_JOIN_REQUEST_LEN])
{
    struct bytes_writer w = bytes_writer_over(out, LW_JOIN_REQUEST_LEN);

    bytes_write_u8(&w, LW_MHDR_JOIN_REQUEST);
    bytes_write_reversed(&w, request->join_eui.bytes, sizeof(request->join_eui.bytes));
    bytes_write_reversed(&w, request->dev_eui.bytes, sizeof(request->dev_eui.bytes));
    bytes_write_u16_le(&w, request->dev_nonce);
    bytes_write(&w, request->mic, sizeof(request->mic));
    assert(!w.failed && w.len == LW_JOIN_REQUEST_LEN);
}

static void copy_reversed(const uint8_t *in, uint8_t *out)
{
    struct bytes_reader r = bytes_reader_over(in, sizeof(struct eui64));

    bytes_read_reversed(&r, out, sizeof(struct eui64));
}

void lw_join_request_mistaken(const uint8_t frame[static LW_JOIN_REQUEST_LEN],
    enum lw_mic_mistake mistake, uint8_t out[static LW_JOIN_REQUEST_MIC_INPUT_LEN])
{
    const size_t join_eui = 1, dev_eui = join_eui + sizeof(struct eui64); /* behind the MHDR */

    memcpy(out, frame, LW_JOIN_REQUEST_MIC_INPUT_LEN);
    if (mistake == LW_MIC_JOIN_EUI_REVERSED || mistake == LW_MIC_BOTH_REVERSED)
        copy_reversed(frame + join_eui, out + join_eui);
    if (mistake == LW_MIC_DEV_EUI_REVERSED || mistake == LW_MIC_BOTH_REVERSED)
        copy_reversed(frame + dev_eui, out + dev_eui);
}

int lw_join_accept_build(const struct lw_join_accept *accept,
    uint8_t out[static LW_JOIN_ACCEPT_PLAIN_MAX], size_t *ret_len)
{
    if (accept->join_nonce > LW_JOIN_NONCE_MAX)
        return error_set(ERROR_INPUT, "a JoinNonce has 24 bits, %u has more", accept->join_nonce);

    struct bytes_writer w = bytes_writer_over(out, LW_JOIN_ACCEPT_PLAIN_MAX);
    bytes_write_u8(&w, LW_MHDR_JOIN_ACCEPT);
    bytes_write_u24_le(&w, accept->join_nonce);
    bytes_write_reversed(&w, accept->net_id.bytes, sizeof(accept->net_id.bytes));
    bytes_write_reversed(&w, accept->dev_addr.bytes, sizeof(accept->dev_addr.bytes));
    bytes_write_u8(&w, accept->dl_settings);
    bytes_write_u8(&w, accept->rx_delay);
    if (accept->has_cf_list)
        bytes_write(&w, accept->cf_list, sizeof(accept->cf_list));
    assert(!w.failed);
    *ret_len = w.len;
    return 0;
}

enum lw_frame_outcome lw_join_accept_parse(
    const uint8_t *plain, size_t len, struct lw_join_accept *ret)
{
    if (len != LW_JOIN_ACCEPT_PLAIN_LEN && len != LW_JOIN_ACCEPT_PLAIN_MAX)
        return LW_FRAME_WRONG_LENGTH;

    struct bytes_reader r = bytes_reader_over(plain, len);
    enum lw_frame_outcome outcome = mhdr_check(bytes_read_u8(&r), LW_MHDR_JOIN_ACCEPT);
    if (outcome != LW_FRAME_OK)
        return outcome;

    *ret = (struct lw_join_accept){.has_cf_list = len == LW_JOIN_ACCEPT_PLAIN_MAX};
    ret->join_nonce = bytes_read_u24_le(&r);
    bytes_read_reversed(&r, ret->net_id.bytes, sizeof(ret->net_id.bytes));
    bytes_read_reversed(&r, ret->dev_addr.bytes, sizeof(ret->dev_addr.bytes));
    ret->dl_settings = bytes_read_u8(&r);
    ret->rx_delay = bytes_read_u8(&r);
    if (ret->has_cf_list)
        bytes_read(&r, ret->cf_list, sizeof(ret->cf_list));
    return LW_FRAME_OK;
}

/* The length a rejoin-request of this type has; 0 for a type that is none. */
static size_t rejoin_len(unsigned type)
{
    switch (type) {
    case LW_REJOIN_0:
    case LW_REJOIN_2:
        return LW_REJOIN_LEN_0_2;
    case LW_REJOIN_1:
        return LW_REJOIN_LEN_1;
    default:
        return 0;
    }
}

enum lw_frame_outcome lw_rejoin_request_parse(
    const uint8_t *frame, size_t len, struct lw_rejoin_request *ret)
{
    if (len != LW_REJOIN_LEN_0_2 && len != LW_REJOIN_LEN_1)
        return LW_FRAME_WRONG_LENGTH;

    struct bytes_reader r = bytes_reader_over(frame, len);
    enum lw_frame_outcome outcome = mhdr_check(bytes_read_u8(&r), LW_MHDR_REJOIN_REQUEST);
    if (outcome != LW_FRAME_OK)
        return outcome;
    uint8_t type = bytes_read_u8(&r);
    if (rejoin_len(type) != len)
        return LW_FRAME_WRONG_REJOIN;

    *ret = (struct lw_rejoin_request){.type = (enum lw_join_type)type};
    if (type == LW_REJOIN_1)
        bytes_read_reversed(&r, ret->join_eui.bytes, sizeof(ret->join_eui.bytes));
    else
        bytes_read_reversed(&r, ret->net_id.bytes, sizeof(ret->net_id.bytes));
    bytes_read_reversed(&r, ret->dev_eui.bytes, sizeof(ret->dev_eui.bytes));
    ret->rj_count = bytes_read_u16_le(&r);
    bytes_read(&r, ret->mic, sizeof(ret->mic));
    return LW_FRAME_OK;
}

size_t lw_rejoin_request_build(
    const struct lw_rejoin_request *request, uint8_t out[static LW_REJOIN_MAX])
{
    size_t len = rejoin_len(request->type);
    if (len == 0)
        return 0;

    struct bytes_writer w = bytes_writer_over(out, len);
    bytes_write_u8(&w, LW_MHDR_REJOIN_REQUEST);
    bytes_write_u8(&w, (uint8_t)request->type);
    if (request->type == LW_REJOIN_1)
        bytes_write_reversed(&w, request->join_eui.bytes, sizeof(request->join_eui.bytes));
    else
        bytes_write_reversed(&w, request->net_id.bytes, sizeof(request->net_id.bytes));
    bytes_write_reversed(&w, request->dev_eui.bytes, sizeof(request->dev_eui.bytes));
    bytes_write_u16_le(&w, request->rj_count);
    bytes_write(&w, request->mic, sizeof(request->mic));
    assert(!w.failed && w.len == len);
    return len;
}
