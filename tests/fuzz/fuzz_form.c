/* Any body as a form: what is read is written and read again as the same. */
#include "activation/form.h"
#include "base/text.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define LONGEST 32
#define SHORTEST 4
#define N_FIELDS 3

/* Blocks of their own size, so that a sanitizer sees one byte too far. */
static void make_fields(struct form_field fields[static N_FIELDS])
{
    static const struct form_field wanted[N_FIELDS] = {
        {.name = "grant_type", .size = LONGEST},
        {.name = "client_id", .size = LONGEST / 2},
        {.name = "s", .size = SHORTEST},
    };

    for (size_t i = 0; i < N_FIELDS; i++) {
        fields[i] = wanted[i];
        fields[i].value = malloc(wanted[i].size);
        FUZZ_HOLDS(fields[i].value != NULL);
        memset(fields[i].value, 'x', wanted[i].size);
    }
}

static void free_fields(struct form_field fields[static N_FIELDS])
{
    for (size_t i = 0; i < N_FIELDS; i++)
        free(fields[i].value);
}

static void write_form(const struct form_field fields[static N_FIELDS], struct text *out)
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (!fields[i].present)
            continue;
        text_addf(out, "&%s=", fields[i].name);
        for (const char *c = fields[i].value; *c != '\0'; c++)
            text_addf(out, "%%%02x", (unsigned char)*c);
    }
    text_add(out, "");
}

static void check_again(const struct form_field fields[static N_FIELDS])
{
    CLEANUP(text_done) struct text text = {0};
    struct form_field again[N_FIELDS];

    write_form(fields, &text);
    make_fields(again);
    FUZZ_HOLDS(form_read(text.data != NULL ? text.data : "", text.len, again, N_FIELDS) == FORM_OK);
    for (size_t i = 0; i < N_FIELDS; i++)
        FUZZ_HOLDS(
            again[i].present == fields[i].present && strcmp(again[i].value, fields[i].value) == 0);
    free_fields(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct form_field fields[N_FIELDS];
    char *type = malloc(size + 1);
    enum form_outcome outcome;

    FUZZ_HOLDS(type != NULL);
    memcpy(type, data, size);
    type[size] = '\0';
    FUZZ_HOLDS(!form_is_type(type) || strlen(type) >= strlen("application/x-www-form-urlencoded"));
    FUZZ_HOLDS(!form_is_type(NULL));
    free(type);
    make_fields(fields);
    outcome = form_read((const char *)data, size, fields, N_FIELDS);
    FUZZ_HOLDS((unsigned)outcome <= FORM_REPEATED);
    for (size_t i = 0; i < N_FIELDS; i++) {
        FUZZ_HOLDS(memchr(fields[i].value, '\0', fields[i].size) != NULL);
        FUZZ_HOLDS(fields[i].present || fields[i].value[0] == '\0');
    }
    if (outcome == FORM_OK)
        check_again(fields);
    free_fields(fields);
    return 0;
}
