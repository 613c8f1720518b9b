#include "base/bytes.h"
#include "tests/support/suite.h"

START_TEST(what_is_written_is_read_back)
{
    uint8_t data[64], raw[3] = {1, 2, 3}, back[3];
    struct bytes_writer w = bytes_writer_over(data, sizeof(data));
    struct bytes_reader r;

    bytes_write_u8(&w, 0xAB);
    bytes_write_u16_be(&w, 0x1234);
    bytes_write_u32_be(&w, 0xDEADBEEF);
    bytes_write_u64_be(&w, UINT64_C(0x0102030405060708));
    bytes_write_u16_le(&w, 0x1234);
    bytes_write_u24_le(&w, 0x010203);
    bytes_write(&w, raw, 3);
    bytes_write_reversed(&w, raw, 3);
    ck_assert(!w.failed);
    ck_assert_uint_eq(data[1], 0x12);  /* big-endian */
    ck_assert_uint_eq(data[15], 0x34); /* little-endian */

    r = bytes_reader_over(data, w.len);
    ck_assert_uint_eq(bytes_read_u8(&r), 0xAB);
    ck_assert_uint_eq(bytes_read_u16_be(&r), 0x1234);
    ck_assert_uint_eq(bytes_read_u32_be(&r), 0xDEADBEEF);
    ck_assert(bytes_read_u64_be(&r) == UINT64_C(0x0102030405060708));
    ck_assert_uint_eq(bytes_read_u16_le(&r), 0x1234);
    ck_assert_uint_eq(bytes_read_u24_le(&r), 0x010203);
    bytes_read(&r, back, 3);
    ck_assert_mem_eq(back, raw, 3);
    ck_assert(!bytes_reader_done(&r));
    bytes_read_reversed(&r, back, 3);
    ck_assert_mem_eq(back, raw, 3);
    ck_assert(bytes_reader_done(&r));
}
END_TEST

START_TEST(a_short_reader_yields_zeros_and_stays_failed)
{
    const uint8_t data[3] = {9, 9, 9};
    struct bytes_reader r = bytes_reader_over(data, sizeof(data));
    uint8_t back[4] = {7, 7, 7, 7};

    ck_assert_uint_eq(bytes_read_u32_be(&r), 0);
    ck_assert_uint_eq(bytes_read_u8(&r), 0);
    bytes_read(&r, back, 4);
    ck_assert_uint_eq(back[0], 0);
    ck_assert(r.failed);
    ck_assert(!bytes_reader_done(&r));
}
END_TEST

START_TEST(a_full_writer_writes_nothing_more)
{
    uint8_t data[4] = {0};
    struct bytes_writer w = bytes_writer_over(data, 3);

    bytes_write_u32_be(&w, 0xFFFFFFFF);
    bytes_write_u8(&w, 1);
    ck_assert(w.failed);
    ck_assert_uint_eq(w.len, 0);
    ck_assert_uint_eq(data[0], 0);
}
END_TEST

START_TEST(a_prefixed_field_tells_its_length)
{
    uint8_t data[8];
    struct bytes_writer w = bytes_writer_over(data, sizeof(data));

    bytes_write_prefixed(&w, "abc", 3);
    ck_assert_uint_eq(w.len, 5);
    ck_assert_mem_eq(data, "\0\3abc", 5);
    bytes_write_prefixed(&w, data, (size_t)UINT16_MAX + 1);
    ck_assert(w.failed);
}
END_TEST

SUITE_MAIN("base bytes", 4, what_is_written_is_read_back,
    a_short_reader_yields_zeros_and_stays_failed, a_full_writer_writes_nothing_more,
    a_prefixed_field_tells_its_length)
