/* Bounded cursors over bytes with a sticky error: read or write a whole record, then look once at
 * `failed`. A failed reader yields zeros; a failed writer writes nothing more. LE is the order on
 * the air (LoRaWAN 1.1 1.3); BE is the order of people, JSON and the keyd frames. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes_reader {
    const uint8_t *data;
    size_t len;
    size_t at;
    bool failed;
};

struct bytes_writer {
    uint8_t *data;
    size_t capacity;
    size_t len;
    bool failed;
};

static inline struct bytes_reader bytes_reader_over(const void *data, size_t len)
{
    return (struct bytes_reader){.data = data, .len = len};
}

static inline struct bytes_writer bytes_writer_over(void *data, size_t capacity)
{
    return (struct bytes_writer){.data = data, .capacity = capacity};
}

uint8_t bytes_read_u8(struct bytes_reader *r);
uint16_t bytes_read_u16_be(struct bytes_reader *r);
uint32_t bytes_read_u32_be(struct bytes_reader *r);
uint64_t bytes_read_u64_be(struct bytes_reader *r);
uint16_t bytes_read_u16_le(struct bytes_reader *r);
uint32_t bytes_read_u24_le(struct bytes_reader *r);
void bytes_read(struct bytes_reader *r, void *out, size_t len);
/** Reads `len` bytes in reversed order. */
void bytes_read_reversed(struct bytes_reader *r, void *out, size_t len);
void bytes_skip(struct bytes_reader *r, size_t len);
/** True when nothing failed and nothing is left. */
bool bytes_reader_done(const struct bytes_reader *r);

void bytes_write_u8(struct bytes_writer *w, uint8_t v);
void bytes_write_u16_be(struct bytes_writer *w, uint16_t v);
void bytes_write_u32_be(struct bytes_writer *w, uint32_t v);
void bytes_write_u64_be(struct bytes_writer *w, uint64_t v);
void bytes_write_u16_le(struct bytes_writer *w, uint16_t v);
void bytes_write_u24_le(struct bytes_writer *w, uint32_t v);
void bytes_write(struct bytes_writer *w, const void *data, size_t len);
void bytes_write_reversed(struct bytes_writer *w, const void *data, size_t len);
/** A 16-bit big-endian length, then the bytes. */
void bytes_write_prefixed(struct bytes_writer *w, const void *data, size_t len);
