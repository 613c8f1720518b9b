#include "api/find_steps.h"

#include "base/error.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

#define HTTPS_PORT 443
#define HTTP_PORT 80
#define NAME_SHOWN 80 /* characters of a name, and of what is said of it, in `why` */
#define WHY_SHOWN 64

static int add_suffix(char *name, size_t len, const char *suffix)
{
    int n;

    while (*suffix == '.')
        suffix++;
    n = snprintf(name + len, FIND_NAME_MAX + 1 - len, ".%s", suffix);
    if (n < 0 || (size_t)n > FIND_NAME_MAX - len)
        return error_set(ERROR_INPUT, "a name with the suffix \"%.40s...\" is too long", suffix);
    for (char *c = name + len; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    n += (int)len;
    if (name[n - 1] == '.')
        name[n - 1] = '\0';
    return suffix[0] != '\0' && dns_name_is_good(name)
               ? 0
               : error_set(ERROR_INPUT, "\"%.*s\" is no suffix of names", (int)text_fit(suffix, 80),
                     suffix);
}

int find_name_of_join_eui(
    const struct eui64 *join_eui, const char *suffix, char out[static FIND_NAME_MAX + 1])
{
    char digits[EUI64_TEXT_LEN + 1];
    size_t len = 0;

    (void)eui64_format(join_eui, digits);
    for (size_t i = EUI64_TEXT_LEN; i-- > 0;) {
        out[len++] = digits[i];
        out[len++] = '.';
    }
    return add_suffix(out, len - 1, suffix);
}

int find_name_of_net_id(
    const struct net_id *net_id, const char *suffix, char out[static FIND_NAME_MAX + 1])
{
    (void)net_id_format(net_id, out);
    return add_suffix(out, NET_ID_TEXT_LEN, suffix);
}

/* The first that went wrong is what explains it; that something is not there explains least. */
static void say_why(struct find_steps *steps, enum dns_outcome outcome, const char *why)
{
    if (steps->why[0] != '\0' && steps->outcome != DNS_NONE)
        return;
    steps->outcome = outcome;
    (void)snprintf(steps->why, sizeof(steps->why), "%s of %.*s%s%.*s",
        dns_type_name(steps->current.question.type), NAME_SHOWN, steps->current.question.name,
        why[0] != '\0' ? ": " : "", WHY_SHOWN, why);
}

/* Ends it, whatever was found. */
static void give_up(struct find_steps *steps, enum dns_outcome outcome, const char *why)
{
    steps->why[0] = '\0';
    say_why(steps, outcome, why);
    steps->n_targets = 0;
    steps->ended = true;
}

static void push(struct find_steps *steps, enum dns_type type, const char *name,
    const struct dns_url *url, bool https, bool alternative)
{
    struct find_pending *pending;

    if (steps->n_pending == FIND_PENDING_MAX) {
        give_up(steps, DNS_REFUSED, "there are too many records");
        return;
    }
    pending = &steps->pending[steps->n_pending++];
    *pending =
        (struct find_pending){.alternative = alternative, .https = https, .question.type = type};
    (void)snprintf(pending->question.name, sizeof(pending->question.name), "%s", name);
    if (url != NULL)
        pending->url = *url;
}

static struct dns_url url_to(bool https, const char *host, uint16_t port)
{
    struct dns_url url = {.https = https, .port = port, .path = "/"};

    (void)snprintf(url.host, sizeof(url.host), "%s", host);
    return url;
}

static uint16_t usual_port(bool https)
{
    return https ? HTTPS_PORT : HTTP_PORT;
}

void find_steps_begin(struct find_steps *steps, const struct find_rules *rules, const char *name)
{
    const struct dns_url url = url_to(true, name, HTTPS_PORT);

    memset(steps, 0, sizeof(*steps));
    steps->rules = *rules;
    steps->outcome = DNS_NONE;
    steps->ttl = UINT32_MAX;
    steps->secure = true;
    push(steps, rules->address_only ? DNS_A : DNS_NAPTR, name, &url, true, true);
}

bool find_steps_next(struct find_steps *steps, struct find_question *ret)
{
    const struct find_pending *next =
        steps->n_pending > 0 ? &steps->pending[steps->n_pending - 1] : NULL;

    if (steps->ended)
        return false;
    if (next == NULL || steps->n_targets == FIND_TARGETS_MAX ||
        (next->alternative && steps->n_targets > 0)) {
        if (steps->n_targets == 0 && steps->why[0] == '\0')
            say_why(steps, DNS_NONE, "there is none"); /* found, and without a record */
        steps->ended = true;
        return false;
    }
    if (steps->n_steps == steps->rules.max_steps) {
        if (steps->n_targets == 0)
            give_up(steps, DNS_FAILED, "it takes more than dns.max_steps look-ups");
        steps->ended = true;
        return false;
    }
    steps->current = *next;
    steps->n_pending--;
    steps->n_steps++;
    *ret = steps->current.question;
    return true;
}

/* --- answers; what is pushed last is asked first --- */

static bool naptr_is_before(const struct dns_naptr *a, const struct dns_naptr *b)
{
    if (a->order != b->order)
        return a->order < b->order;
    if (a->preference != b->preference)
        return a->preference < b->preference;
    return a->https && !b->https;
}

static void push_naptr(struct find_steps *steps, const struct dns_naptr *naptr)
{
    const struct dns_url url = url_to(naptr->https, naptr->target, usual_port(naptr->https));

    switch (naptr->next) {
    case DNS_NEXT_SRV:
        push(steps, DNS_SRV, naptr->target, NULL, naptr->https, true);
        return;
    case DNS_NEXT_ADDRESS:
        push(steps, DNS_A, naptr->target, &url, naptr->https, true);
        return;
    case DNS_NEXT_URL:
        push(steps, DNS_A, naptr->url.host, &naptr->url, naptr->https, true);
        return;
    case DNS_NEXT_URI:
        push(steps, DNS_URI, naptr->target, NULL, naptr->https, true);
        return;
    case DNS_NEXT_NAPTR:
        push(steps, DNS_NAPTR, naptr->target, NULL, naptr->https, true);
        return;
    }
}

static void say_malformed(struct find_steps *steps, const struct find_answer *answer, size_t at)
{
    char why[WHY_SHOWN + 1];

    (void)snprintf(why, sizeof(why), "malformed: %s",
        dns_read_fault(steps->current.question.type, answer->records[at], answer->lengths[at]));
    say_why(steps, DNS_FAILED, why);
}

static void take_naptr(struct find_steps *steps, const struct find_answer *answer)
{
    struct dns_naptr found[FIND_RECORDS_MAX], naptr;
    size_t n = 0, at, bad = answer->n_records;

    for (size_t i = 0; i < answer->n_records; i++) {
        const enum dns_read read = dns_read_naptr(answer->records[i], answer->lengths[i], &naptr);

        if (read == DNS_READ_MALFORMED)
            bad = i;
        if (read != DNS_READ_OK)
            continue;
        for (at = n++; at > 0 && naptr_is_before(&naptr, &found[at - 1]); at--)
            found[at] = found[at - 1];
        found[at] = naptr;
    }
    if (n == 0 && bad < answer->n_records)
        say_malformed(steps, answer, bad);
    else if (n == 0)
        say_why(steps, DNS_NONE, "it has no service LWN or LWNS with a flag that is known");
    while (n > 0 && found[n - 1].order != found[0].order)
        n--;
    while (n > 0)
        push_naptr(steps, &found[--n]);
}

/* RFC 2782: of one priority, the next is drawn with a chance by weight; those of weight 0 stand
 * first among which is drawn. */
static size_t draw(struct find_steps *steps, const uint16_t *weights, const bool *drawn, size_t n)
{
    uint32_t sum = 0, at;
    size_t last = 0;

    for (size_t i = 0; i < n; i++)
        sum += drawn[i] ? 0 : weights[i];
    at = steps->rules.random(steps->rules.random_context, sum + 1);
    for (int weightless = 1; weightless >= 0; weightless--)
        for (size_t i = 0; i < n; i++) {
            if (drawn[i] || (weights[i] == 0) != (weightless == 1))
                continue;
            last = i;
            if (weights[i] >= at)
                return i;
            at -= weights[i];
        }
    return last;
}

/* Records as they are to be tried: lower priorities first. */
static void order_by_weight(struct find_steps *steps, const uint16_t *priorities,
    const uint16_t *weights, size_t n, size_t ret[static FIND_RECORDS_MAX])
{
    bool drawn[FIND_RECORDS_MAX] = {false};

    for (size_t done = 0; done < n; done++) {
        bool out[FIND_RECORDS_MAX];
        uint32_t lowest = UINT32_MAX;

        for (size_t i = 0; i < n; i++)
            if (!drawn[i] && priorities[i] < lowest)
                lowest = priorities[i];
        for (size_t i = 0; i < n; i++)
            out[i] = drawn[i] || priorities[i] != lowest;
        ret[done] = draw(steps, weights, out, n);
        drawn[ret[done]] = true;
    }
}

/* SRV and URI: both have priorities and weights. */
static void take_weighted(struct find_steps *steps, const struct find_answer *answer)
{
    const bool is_srv = steps->current.question.type == DNS_SRV, https = steps->current.https;
    uint16_t priorities[FIND_RECORDS_MAX], weights[FIND_RECORDS_MAX];
    struct dns_url urls[FIND_RECORDS_MAX];
    size_t order[FIND_RECORDS_MAX], n = 0, bad = answer->n_records;

    for (size_t i = 0; i < answer->n_records; i++) {
        struct dns_srv srv;
        struct dns_uri uri;
        const enum dns_read read = is_srv
                                       ? dns_read_srv(answer->records[i], answer->lengths[i], &srv)
                                       : dns_read_uri(answer->records[i], answer->lengths[i], &uri);

        if (read != DNS_READ_OK || (!is_srv && uri.url.https != https)) {
            bad = i;
            continue;
        }
        if (is_srv && srv.target[0] == '\0')
            continue;
        priorities[n] = is_srv ? srv.priority : uri.priority;
        weights[n] = is_srv ? srv.weight : uri.weight;
        urls[n++] = is_srv ? url_to(https, srv.target, srv.port) : uri.url;
    }
    if (n == 0 && bad < answer->n_records)
        say_malformed(steps, answer, bad);
    else if (n == 0)
        say_why(steps, DNS_NONE, "there is no such service");
    order_by_weight(steps, priorities, weights, n, order);
    while (n-- > 0)
        push(steps, DNS_A, urls[order[n]].host, &urls[order[n]], https, false);
}

/* Whether one may connect there: http carries keys in clear, so to this machine alone. */
static bool may_use(const struct find_steps *steps, const struct dns_address *address)
{
    return (steps->rules.allow_private || dns_address_is_public(address)) &&
           (steps->half.url.https || dns_address_is_loopback(address));
}

static void take_addresses(struct find_steps *steps, const struct find_answer *answer)
{
    const bool is_first = steps->current.question.type == DNS_A;
    bool refused = false;

    if (is_first)
        steps->half = (struct find_target){.url = steps->current.url};
    for (size_t i = 0; i < answer->n_records; i++) {
        struct dns_address address;

        if (dns_read_address(answer->records[i], answer->lengths[i], &address) != DNS_READ_OK ||
            (address.len == 4) != is_first)
            say_malformed(steps, answer, i);
        else if (!may_use(steps, &address))
            refused = true;
        else if (steps->half.n_addresses < FIND_ADDRESSES_MAX)
            steps->half.addresses[steps->half.n_addresses++] = address;
    }
    if (refused)
        say_why(steps, DNS_REFUSED,
            steps->half.url.https ? "addresses that are not public are not used"
                                  : "service LWN (http) is used on loopback only");
}

/* Both questions for addresses are asked, whatever came of the first. */
static void next_addresses(struct find_steps *steps)
{
    if (steps->current.question.type == DNS_A)
        push(steps, DNS_AAAA, steps->current.question.name, NULL, true, false);
    else if (steps->half.n_addresses > 0)
        steps->targets[steps->n_targets++] = steps->half;
    if (steps->n_targets > 0) {
        steps->outcome = DNS_FOUND;
        steps->why[0] = '\0';
    }
}

static void take_found(struct find_steps *steps, const struct find_answer *answer)
{
    const enum dns_type type = steps->current.question.type;

    if (answer->ttl < steps->ttl)
        steps->ttl = answer->ttl;
    steps->secure = steps->secure && answer->secure;
    if (type == DNS_A || type == DNS_AAAA)
        take_addresses(steps, answer);
    else if (answer->n_records > FIND_RECORDS_MAX)
        say_why(steps, DNS_REFUSED, "it has too many records");
    else if (type == DNS_NAPTR)
        take_naptr(steps, answer);
    else
        take_weighted(steps, answer);
}

void find_steps_take(struct find_steps *steps, const struct find_answer *answer)
{
    const enum dns_type type = steps->current.question.type;
    const char *why = answer->why != NULL ? answer->why : "";

    switch (answer->outcome) {
    case DNS_BOGUS:
        give_up(steps, DNS_BOGUS, why);
        return;
    case DNS_FOUND:
        take_found(steps, answer);
        break;
    case DNS_NONE:
        if (type == DNS_A)
            steps->half = (struct find_target){.url = steps->current.url};
        else if (type != DNS_AAAA || steps->half.n_addresses == 0)
            say_why(steps, DNS_NONE, "there is none");
        break;
    default:
        if (type == DNS_A)
            steps->half = (struct find_target){.url = steps->current.url};
        say_why(steps, answer->outcome, why);
        break;
    }
    if (type == DNS_A || type == DNS_AAAA)
        next_addresses(steps);
    if (answer->outcome == DNS_TIMEOUT) /* the time was for all questions together */
        steps->ended = true;
}

const char *find_target_url(const struct find_target *target, char out[static FIND_URL_MAX])
{
    const struct dns_url *url = &target->url;
    const bool is_v6 = target->addresses[0].len == 16;
    char address[DNS_ADDRESS_TEXT_MAX], port[8] = "";

    if (url->port != usual_port(url->https))
        (void)snprintf(port, sizeof(port), ":%u", url->port);
    if (url->https)
        (void)snprintf(out, FIND_URL_MAX, "https://%s%s%s", url->host, port, url->path);
    else
        (void)snprintf(out, FIND_URL_MAX, "http://%s%s%s%s%s", is_v6 ? "[" : "",
            dns_address_format(&target->addresses[0], address), is_v6 ? "]" : "", port, url->path);
    return out;
}
