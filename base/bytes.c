#include "base/bytes.h"

#include <string.h>

static const uint8_t *take(struct bytes_reader *r, size_t len)
{
    const uint8_t *p;

    if (r->failed || len > r->len - r->at) {
        r->failed = true;
        return NULL;
    }
    p = r->data + r->at;
    r->at += len;
    return p;
}

static uint64_t read_be(struct bytes_reader *r, size_t len)
{
    const uint8_t *p = take(r, len);
    uint64_t v = 0;

    if (p != NULL)
        for (size_t i = 0; i < len; i++)
            v = v << 8 | p[i];
    return v;
}

static uint32_t read_le(struct bytes_reader *r, size_t len)
{
    const uint8_t *p = take(r, len);
    uint32_t v = 0;

    if (p != NULL)
        for (size_t i = len; i > 0; i--)
            v = v << 8 | p[i - 1];
    return v;
}

uint8_t bytes_read_u8(struct bytes_reader *r)
{
    return (uint8_t)read_be(r, 1);
}

uint16_t bytes_read_u16_be(struct bytes_reader *r)
{
    return (uint16_t)read_be(r, 2);
}

uint32_t bytes_read_u32_be(struct bytes_reader *r)
{
    return (uint32_t)read_be(r, 4);
}

uint64_t bytes_read_u64_be(struct bytes_reader *r)
{
    return read_be(r, 8);
}

uint16_t bytes_read_u16_le(struct bytes_reader *r)
{
    return (uint16_t)read_le(r, 2);
}

uint32_t bytes_read_u24_le(struct bytes_reader *r)
{
    return read_le(r, 3);
}

void bytes_read(struct bytes_reader *r, void *out, size_t len)
{
    const uint8_t *p = take(r, len);

    if (p == NULL)
        memset(out, 0, len);
    else
        memcpy(out, p, len);
}

void bytes_read_reversed(struct bytes_reader *r, void *out, size_t len)
{
    const uint8_t *p = take(r, len);
    uint8_t *o = out;

    for (size_t i = 0; i < len; i++)
        o[i] = p == NULL ? 0 : p[len - 1 - i];
}

void bytes_skip(struct bytes_reader *r, size_t len)
{
    (void)take(r, len);
}

bool bytes_reader_done(const struct bytes_reader *r)
{
    return !r->failed && r->at == r->len;
}

static uint8_t *reserve(struct bytes_writer *w, size_t len)
{
    uint8_t *p;

    if (w->failed || len > w->capacity - w->len) {
        w->failed = true;
        return NULL;
    }
    p = w->data + w->len;
    w->len += len;
    return p;
}

static void write_be(struct bytes_writer *w, uint64_t v, size_t len)
{
    uint8_t *p = reserve(w, len);

    if (p != NULL)
        for (size_t i = len; i > 0; i--, v >>= 8)
            p[i - 1] = (uint8_t)v;
}

static void write_le(struct bytes_writer *w, uint32_t v, size_t len)
{
    uint8_t *p = reserve(w, len);

    if (p != NULL)
        for (size_t i = 0; i < len; i++, v >>= 8)
            p[i] = (uint8_t)v;
}

void bytes_write_u8(struct bytes_writer *w, uint8_t v)
{
    write_be(w, v, 1);
}

void bytes_write_u16_be(struct bytes_writer *w, uint16_t v)
{
    write_be(w, v, 2);
}

void bytes_write_u32_be(struct bytes_writer *w, uint32_t v)
{
    write_be(w, v, 4);
}

void bytes_write_u64_be(struct bytes_writer *w, uint64_t v)
{
    write_be(w, v, 8);
}

void bytes_write_u16_le(struct bytes_writer *w, uint16_t v)
{
    write_le(w, v, 2);
}

void bytes_write_u24_le(struct bytes_writer *w, uint32_t v)
{
    write_le(w, v, 3);
}

void bytes_write(struct bytes_writer *w, const void *data, size_t len)
{
    uint8_t *p = reserve(w, len);

    if (p != NULL && len > 0)
        memcpy(p, data, len);
}

void bytes_write_reversed(struct bytes_writer *w, const void *data, size_t len)
{
    const uint8_t *d = data;
    uint8_t *p = reserve(w, len);

    if (p != NULL)
        for (size_t i = 0; i < len; i++)
            p[i] = d[len - 1 - i];
}

void bytes_write_prefixed(struct bytes_writer *w, const void *data, size_t len)
{
    if (len > UINT16_MAX) {
        w->failed = true;
        return;
    }
    bytes_write_u16_be(w, (uint16_t)len);
    bytes_write(w, data, len);
}
