/* Answers of name servers: the input is cut into answers, each a kind, a TTL and records, and a
 * search is walked with them. Whatever they hold, names and URLs that come out are good ones, and
 * the walk ends within its bounds. */
#include "api/find_steps.h"
#include "base/bytes.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define RECORDS_MAX 32

static uint32_t draw(void *context, uint32_t below)
{
    FUZZ_HOLDS(below > 0);
    *(uint32_t *)context = *(uint32_t *)context * 1103515245U + 12345U;
    return *(uint32_t *)context % below;
}

/* A byte of outcome, and then records: each a length and so many bytes, until one of length 0. */
static struct find_answer read_answer(struct bytes_reader *r, const void **records, size_t *lengths)
{
    struct find_answer answer = {.records = records, .lengths = lengths};
    const uint8_t kind = bytes_read_u8(r);

    answer.outcome = kind < 0x80 ? DNS_FOUND : (enum dns_outcome)(kind % DNS_REFUSED);
    answer.secure = (kind & 1) != 0;
    answer.ttl = bytes_read_u8(r);
    while (answer.outcome == DNS_FOUND && answer.n_records < RECORDS_MAX) {
        const uint8_t len = bytes_read_u8(r);

        if (len == 0 || r->len - r->at < len)
            break;
        records[answer.n_records] = r->data + r->at;
        lengths[answer.n_records++] = len;
        bytes_skip(r, len);
    }
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct find_steps steps;
    struct bytes_reader r = bytes_reader_over(data, size);
    const uint8_t flags = bytes_read_u8(&r);
    uint32_t seed = flags;
    const struct find_rules rules = {.address_only = (flags & 1) != 0,
        .allow_private = (flags & 2) != 0,
        .max_steps = FIND_STEPS_MAX,
        .random = draw,
        .random_context = &seed};
    struct find_question question;
    char url[FIND_URL_MAX];
    struct dns_url read;

    find_steps_begin(&steps, &rules, "start.example");
    while (find_steps_next(&steps, &question)) {
        const void *records[RECORDS_MAX];
        size_t lengths[RECORDS_MAX];
        const struct find_answer answer = read_answer(&r, records, lengths);

        FUZZ_HOLDS(dns_name_is_good(question.name));
        find_steps_take(&steps, &answer);
    }
    FUZZ_HOLDS(steps.n_steps <= FIND_STEPS_MAX);
    FUZZ_HOLDS((steps.outcome == DNS_FOUND) == (steps.n_targets > 0));
    FUZZ_HOLDS((steps.why[0] == '\0') == (steps.n_targets > 0));
    for (size_t i = 0; i < steps.n_targets; i++) {
        const struct find_target *target = &steps.targets[i];

        FUZZ_HOLDS(dns_name_is_good(target->url.host));
        FUZZ_HOLDS(target->n_addresses > 0 && target->n_addresses <= FIND_ADDRESSES_MAX);
        (void)find_target_url(target, url);
        if (target->url.https && strlen(url) <= DNS_URL_MAX)
            FUZZ_HOLDS(dns_read_url(url, strlen(url), &read) == DNS_READ_OK &&
                       strcmp(read.host, target->url.host) == 0 &&
                       strcmp(read.path, target->url.path) == 0 && read.port == target->url.port);
        for (size_t j = 0; j < target->n_addresses; j++) {
            FUZZ_HOLDS(rules.allow_private || dns_address_is_public(&target->addresses[j]));
            FUZZ_HOLDS(target->url.https || dns_address_is_loopback(&target->addresses[j]));
        }
    }
    return 0;
}
