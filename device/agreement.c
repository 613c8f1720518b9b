#include "device/agreement.h"

#include <stdlib.h>
#include <string.h>

static int compare_ids(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_net_ids(const struct net_id *a, const struct net_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* What they are looked up by: agreements of pairs come first, since theirs is group 0. */
static int compare_agreements(const void *a, const void *b)
{
    const struct device_agreement *x = a, *y = b;
    int c = compare_ids(x->group_id, y->group_id);

    if (c == 0 && x->group_id == 0)
        c = compare_net_ids(&x->home, &y->home);
    if (c == 0 && x->group_id == 0)
        c = compare_net_ids(&x->visited, &y->visited);
    return c;
}

static int compare_members(const void *a, const void *b)
{
    const struct device_group_member *x = a, *y = b;
    int c = compare_net_ids(&x->net_id, &y->net_id);

    return c != 0 ? c : compare_ids(x->group_id, y->group_id);
}

void device_agreements_sort(struct device_agreements *a)
{
    if (a->n_agreements > 0)
        qsort(a->agreements, a->n_agreements, sizeof(*a->agreements), compare_agreements);
    if (a->n_members > 0)
        qsort(a->members, a->n_members, sizeof(*a->members), compare_members);
}

void device_agreements_done(struct device_agreements *a)
{
    free(a->agreements);
    free(a->members);
    *a = (struct device_agreements){0};
}

enum device_agreed device_agreement_at(
    const struct device_agreement *agreement, unsigned what, int64_t now_s)
{
    if (now_s >= agreement->ends_s)
        return AGREED_ENDED;
    if (now_s < agreement->starts_s)
        return AGREED_NOT_BEGUN;
    return (agreement->allows & what) != 0 ? AGREED : AGREED_ELSE;
}

/* Where those of a pair or a group begin. */
static size_t find_agreement(
    const struct device_agreements *a, const struct device_agreement *wanted)
{
    size_t low = 0, high = a->n_agreements;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_agreements(&a->agreements[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The best of those that are looked up alike, or what was known before. */
static enum device_agreed judge_alike(const struct device_agreements *a,
    const struct device_agreement *wanted, unsigned what, int64_t now_s, enum device_agreed best)
{
    for (size_t i = find_agreement(a, wanted);
         i < a->n_agreements && compare_agreements(&a->agreements[i], wanted) == 0; i++) {
        enum device_agreed found = device_agreement_at(&a->agreements[i], what, now_s);

        if (found > best)
            best = found;
    }
    return best;
}

static size_t find_member(const struct device_agreements *a, const struct net_id *net_id)
{
    size_t low = 0, high = a->n_members;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_net_ids(&a->members[middle].net_id, net_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_member(const struct device_agreements *a, size_t i, const struct net_id *net_id)
{
    return i < a->n_members && compare_net_ids(&a->members[i].net_id, net_id) == 0;
}

enum device_agreed device_agreements_judge(const struct device_agreements *a,
    const struct net_id *home, const struct net_id *visited, unsigned what, int64_t now_s)
{
    struct device_agreement wanted = {.home = *home, .visited = *visited};
    enum device_agreed best = judge_alike(a, &wanted, what, now_s, AGREED_NOTHING);
    size_t h = find_member(a, home), v = find_member(a, visited);

    /* Groups of each are in order: those of both are met in one walk over the two. */
    while (best != AGREED && is_member(a, h, home) && is_member(a, v, visited)) {
        int c = compare_ids(a->members[h].group_id, a->members[v].group_id);

        if (c == 0) {
            wanted.group_id = a->members[h].group_id;
            best = judge_alike(a, &wanted, what, now_s, best);
        }
        h += c <= 0;
        v += c >= 0;
    }
    return best;
}
