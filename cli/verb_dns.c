/* cradle dns: where a JoinEUI or NetID leads, step by step, as the join server would go. */
#include "api/find.h"
#include "base/error.h"
#include "cli/cli.h"
#include <getopt.h>
#include <pthread.h>
#include <string.h>

#define RECORD_TEXT_MAX 600
#define MODE_OFF "off"
#define MODE_USUAL "naptr"

struct search {
    struct find find;
    struct text *out;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done;
};

static void write_naptr(struct text *out, const void *rdata, size_t len)
{
    static const char *const flags[] = {[DNS_NEXT_SRV] = "S",
        [DNS_NEXT_ADDRESS] = "A",
        [DNS_NEXT_URL] = "U",
        [DNS_NEXT_URI] = "U",
        [DNS_NEXT_NAPTR] = ""};
    struct dns_naptr naptr;
    const enum dns_read read = dns_read_naptr(rdata, len, &naptr);

    if (read != DNS_READ_OK) {
        if (read == DNS_READ_OTHER)
            text_add(out, "another service");
        else
            text_addf(out, "malformed: %s", dns_read_fault(DNS_NAPTR, rdata, len));
        return;
    }
    text_addf(out, "order %u preference %u \"%s\" %s ", naptr.order, naptr.preference,
        flags[naptr.next], naptr.https ? "LWNS" : "LWN");
    if (naptr.next == DNS_NEXT_URL)
        text_addf(out, "http%s://%s:%u%s", naptr.url.https ? "s" : "", naptr.url.host,
            naptr.url.port, naptr.url.path);
    else
        text_add(out, naptr.target);
}

static void write_record(struct text *out, enum dns_type type, const void *rdata, size_t len)
{
    char address_text[DNS_ADDRESS_TEXT_MAX];
    struct dns_address address;
    struct dns_srv srv;
    struct dns_uri uri;

    if (type == DNS_NAPTR)
        write_naptr(out, rdata, len);
    else if (type == DNS_SRV && dns_read_srv(rdata, len, &srv) == DNS_READ_OK)
        text_addf(out, "priority %u weight %u port %u %s", srv.priority, srv.weight, srv.port,
            srv.target[0] != '\0' ? srv.target : "(no such service)");
    else if (type == DNS_URI && dns_read_uri(rdata, len, &uri) == DNS_READ_OK)
        text_addf(out, "priority %u weight %u http%s://%s:%u%s", uri.priority, uri.weight,
            uri.url.https ? "s" : "", uri.url.host, uri.url.port, uri.url.path);
    else if ((type == DNS_A || type == DNS_AAAA) &&
             dns_read_address(rdata, len, &address) == DNS_READ_OK)
        text_add(out, dns_address_format(&address, address_text));
    else
        text_addf(out, "malformed: %s", dns_read_fault(type, rdata, len));
}

/* On the resolver's thread; the main thread looks at the text only when all is done. */
static void write_step(
    struct find *find, const struct find_question *question, const struct find_answer *answer)
{
    struct text *out = ((struct search *)find->context)->out;

    text_addf(out, "%s %s: %s", dns_type_name(question->type), question->name,
        dns_outcome_name(answer->outcome));
    if (answer->outcome == DNS_FOUND || answer->outcome == DNS_NONE)
        text_addf(out, ", %s", answer->secure ? "validated" : "not validated");
    if (answer->outcome == DNS_FOUND)
        text_addf(out, ", TTL %u", answer->ttl);
    if (answer->why != NULL)
        text_addf(out, ": %s", answer->why);
    text_add(out, "\n");
    for (size_t i = 0; i < answer->n_records; i++) {
        text_add(out, "    ");
        write_record(out, question->type, answer->records[i], answer->lengths[i]);
        text_add(out, "\n");
    }
}

static void note_done(struct find *find)
{
    struct search *search = find->context;

    (void)pthread_mutex_lock(&search->lock);
    search->is_done = true;
    (void)pthread_cond_signal(&search->changed);
    (void)pthread_mutex_unlock(&search->lock);
}

static void write_targets(struct text *out, const struct find_steps *steps)
{
    char url[FIND_URL_MAX], address[DNS_ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < steps->n_targets; i++) {
        const struct find_target *target = &steps->targets[i];

        text_addf(out, "server %s at", find_target_url(target, url));
        for (size_t j = 0; j < target->n_addresses; j++)
            text_addf(out, " %s", dns_address_format(&target->addresses[j], address));
        text_add(out, "\n");
    }
}

/* Where it leads nowhere the steps are printed nevertheless, by who prints the error. */
static int search_name(struct finder *finder, const char *name, struct text *out)
{
    struct search search = {.out = out,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
        .find = {.done = note_done, .heard = write_step}};
    const struct find_steps *steps = &search.find.steps;

    search.find.context = &search;
    finder_ask(finder, &search.find, name);
    (void)pthread_mutex_lock(&search.lock);
    while (!search.is_done)
        (void)pthread_cond_wait(&search.changed, &search.lock);
    (void)pthread_mutex_unlock(&search.lock);
    write_targets(out, steps);
    if (steps->outcome == DNS_FOUND)
        text_addf(out, "found, %s, for %u s\n", steps->secure ? "validated" : "not validated",
            steps->ttl);
    else
        text_addf(out, "%s: %s\n", dns_outcome_name(steps->outcome), steps->why);
    return steps->outcome == DNS_FOUND ? 0 : CLI_NO;
}

/* 16 digits are a JoinEUI's, 6 a NetID's, in any spelling. */
static int name_of(
    const struct finder *finder, const char *text, char out[static FIND_NAME_MAX + 1])
{
    struct eui64 join_eui;
    struct net_id net_id;

    if (eui64_parse(text, strlen(text), &join_eui))
        return finder_name_of_join_eui(finder, &join_eui, out);
    if (net_id_parse(text, strlen(text), &net_id))
        return finder_name_of_net_id(finder, &net_id, out);
    return error_set(ERROR_INPUT, "a JoinEUI is 16 hexadecimal digits and a NetID 6, not \"%.*s\"",
        (int)text_fit(text, 40), text);
}

int cli_dns(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {{"mode", required_argument, NULL, 'm'}, {0}};
    static char usual[] = MODE_USUAL;
    struct find_settings dns = settings->dns;
    struct finder *finder = NULL;
    char name[FIND_NAME_MAX + 1];
    const bool is_off = strcmp(dns.mode, MODE_OFF) == 0;
    bool has_mode = false;
    int c, r;

    if (is_off)
        dns.mode = usual;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c != 'm')
            return CLI_USAGE;
        dns.mode = optarg;
        has_mode = true;
    }
    if (argc != optind + 1)
        return CLI_USAGE;
    if (has_mode && strcmp(dns.mode, "naptr") != 0 && strcmp(dns.mode, "address") != 0)
        return error_set(ERROR_INPUT, "--mode is naptr or address");
    if ((r = finder_start(&dns, &finder)) != 0)
        return r;
    if (is_off)
        text_addf(out, "mode is off in [dns]: so it would be with mode = %s\n", dns.mode);
    if ((r = name_of(finder, argv[optind], name)) == 0)
        r = search_name(finder, name, out);
    finder_stop(finder);
    return r;
}
