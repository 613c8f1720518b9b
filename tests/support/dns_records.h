/* RDATA made by tests, as a name server would send it. */
#pragma once

#include "api/find_steps.h"
#include <stdio.h>
#include <string.h>

#define DNS_RECORDS_MAX 40
#define DNS_RDATA_MAX 600

/** Records of one answer. */
struct dns_records {
    uint8_t bytes[DNS_RECORDS_MAX][DNS_RDATA_MAX];
    size_t lengths[DNS_RECORDS_MAX];
    const void *records[DNS_RECORDS_MAX];
    size_t n;
};

static inline void dns_put(struct dns_records *to, const void *bytes, size_t len)
{
    memcpy(to->bytes[to->n] + to->lengths[to->n], bytes, len);
    to->lengths[to->n] += len;
}

static inline void dns_put_u16(struct dns_records *to, unsigned v)
{
    dns_put(to, (const uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static inline void dns_put_string(struct dns_records *to, const char *text)
{
    dns_put(to, (const uint8_t[]){(uint8_t)strlen(text)}, 1);
    dns_put(to, text, strlen(text));
}

static inline void dns_put_name(struct dns_records *to, const char *name)
{
    while (*name != '\0') {
        const size_t len = strcspn(name, ".");

        dns_put(to, (const uint8_t[]){(uint8_t)len}, 1);
        dns_put(to, name, len);
        name += len + (name[len] == '.');
    }
    dns_put(to, "", 1);
}

static inline void dns_end(struct dns_records *to)
{
    to->records[to->n] = to->bytes[to->n];
    to->n++;
}

static inline void dns_add_naptr(struct dns_records *to, unsigned order, unsigned preference,
    const char *flags, const char *service, const char *regexp, const char *target)
{
    dns_put_u16(to, order);
    dns_put_u16(to, preference);
    dns_put_string(to, flags);
    dns_put_string(to, service);
    dns_put_string(to, regexp);
    dns_put_name(to, target);
    dns_end(to);
}

static inline void dns_add_srv(
    struct dns_records *to, unsigned priority, unsigned weight, unsigned port, const char *target)
{
    dns_put_u16(to, priority);
    dns_put_u16(to, weight);
    dns_put_u16(to, port);
    dns_put_name(to, target);
    dns_end(to);
}

static inline void dns_add_uri(
    struct dns_records *to, unsigned priority, unsigned weight, const char *url)
{
    dns_put_u16(to, priority);
    dns_put_u16(to, weight);
    dns_put(to, url, strlen(url));
    dns_end(to);
}

static inline void dns_add_bytes(struct dns_records *to, const void *bytes, size_t len)
{
    dns_put(to, bytes, len);
    dns_end(to);
}

static inline struct find_answer dns_found(const struct dns_records *records, unsigned ttl)
{
    return (struct find_answer){.outcome = DNS_FOUND,
        .secure = true,
        .ttl = ttl,
        .records = records->records,
        .lengths = records->lengths,
        .n_records = records->n};
}
