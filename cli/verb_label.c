/* cradle label csv, svg, sheet: labels of the devices whose codes come in on standard input, from
 * POST /v1/batches/{batch}/codes for instance. Asks nobody. */
#include "base/error.h"
#include "base/hex.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/label_line.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_ROOM 4096    /* bytes; a longer one is told to be too long */
#define BUFFER_ROOM 65536 /* of standard input */
#define PIECE_ROOM 65536  /* of standard output, before a piece goes out */

struct label_options {
    struct label_defaults defaults;
    const struct label_layout *layout;
    uint64_t line; /* the first one that counts, from 1 */
};

/* Standard input, line by line, in memory that is ours to wipe. */
struct label_input {
    const struct label_options *options;
    char *buffer, *text; /* of secret_realloc */
    uint64_t line;       /* that was read last */
    struct label label;
};

static void input_done(struct label_input *input)
{
    secret_free(input->text);
    if (input->buffer != NULL) {
        (void)fclose(stdin); /* it has the buffer until then */
        secret_free(input->buffer);
    }
    label_wipe(&input->label);
}

static int input_open(const struct label_options *options, struct label_input *ret)
{
    ret->options = options;
    ret->text = secret_realloc(NULL, LINE_ROOM);
    ret->buffer = secret_realloc(NULL, BUFFER_ROOM);
    if (ret->text == NULL || ret->buffer == NULL)
        return error_set(ERROR_SYSTEM, "out of memory");
    (void)setvbuf(stdin, ret->buffer, _IOFBF, BUFFER_ROOM);
    return 0;
}

#define INPUT_END 1

/* The next label from options.line on. Outcome INPUT_END: there is none. */
static int input_next(struct label_input *input)
{
    char why[ERROR_TEXT_MAX];
    size_t len;
    int r;

    do {
        if (fgets(input->text, LINE_ROOM, stdin) == NULL)
            return ferror(stdin) != 0 ? error_set_errno("cannot read standard input") : INPUT_END;
        input->line++;
        len = strlen(input->text);
        if (len == LINE_ROOM - 1)
            return error_set(ERROR_INPUT, "line %llu is too long", (unsigned long long)input->line);
    } while (
        input->line < input->options->line || input->text[strspn(input->text, " \r\n")] == '\0');
    r = cli_label_line(input->text, len, &input->options->defaults, &input->label);
    if (r < 0) {
        (void)snprintf(why, sizeof(why), "%s", error_text());
        return error_set(r, "line %llu: %.400s", (unsigned long long)input->line, why);
    }
    return 0;
}

static int none_there(const struct label_input *input)
{
    return error_set(ERROR_INPUT, "there is no line %llu: standard input has %llu",
        (unsigned long long)input->options->line, (unsigned long long)input->line);
}

/* --- what is made of them --------------------------------------------------------------------- */

/* As long as there are more, goes out in pieces: a file of codes has any size. */
static int flush(struct text *out)
{
    bool whole = out->failed || fwrite(out->data, 1, out->len, stdout) == out->len;

    if (out->failed)
        return error_set(ERROR_SYSTEM, "out of memory for labels");
    secret_wipe(out->data, out->len);
    text_clear(out);
    return whole ? 0 : error_set_errno("cannot write the answer");
}

static int make_csv(struct label_input *input, struct text *out)
{
    int r;

    text_reserve(out, PIECE_ROOM + LABEL_CSV_LINE_MAX);
    text_add(out, label_csv_head());
    while ((r = input_next(input)) == 0 && (r = label_csv_line(&input->label, out)) == 0)
        if (out->len > PIECE_ROOM && (r = flush(out)) < 0)
            return r;
    return r == INPUT_END ? 0 : r;
}

static int make_svg(struct label_input *input, struct text *out)
{
    int r = input_next(input);

    if (r != 0)
        return r < 0 ? r : none_there(input);
    text_reserve(out, LABEL_SVG_MAX);
    return label_svg(&input->label, out);
}

static int make_sheet(struct label_input *input, struct text *out)
{
    const struct label_layout *layout = input->options->layout;
    struct label_sheet sheet;
    int r = 0;

    text_reserve(out, (size_t)(label_layout_size(layout) + 2) * LABEL_SVG_MAX);
    label_sheet_begin(&sheet, layout, out);
    while (sheet.n < label_layout_size(layout) && (r = input_next(input)) == 0 &&
           (r = label_sheet_add(&sheet, &input->label, out)) == 0)
        ;
    if (r < 0)
        return r;
    if (sheet.n == 0)
        return none_there(input);
    label_sheet_end(&sheet, out);
    return 0;
}

/* --- the verbs -------------------------------------------------------------------------------- */

static int unknown_layout(const char *name)
{
    CLEANUP(text_done) struct text names = {0};
    const struct label_layout *layout;

    for (size_t i = 0; (layout = label_layout_at(i)) != NULL; i++)
        text_addf(&names, "%s%s", i > 0 ? ", " : "", label_layout_name(layout));
    if (names.failed)
        return error_set(ERROR_SYSTEM, "out of memory");
    return error_set(ERROR_CONFIG, "there is no layout %.40s: it is one of %s", name, names.data);
}

static int read_line_number(const char *text, uint64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoull(text, &end, 10);
    return text[0] >= '1' && text[0] <= '9' && *end == '\0' && errno == 0
               ? 0
               : cli_usage("--line", "takes a number from 1 on");
}

static int read_option(int c, struct label_options *ret)
{
    switch (c) {
    case 'a':
        ret->layout = label_layout_find(optarg);
        return ret->layout != NULL ? 0 : unknown_layout(optarg);
    case 'l':
        return read_line_number(optarg, &ret->line);
    case 'j':
        ret->defaults.has_join_eui = eui64_parse(optarg, strlen(optarg), &ret->defaults.join_eui);
        return ret->defaults.has_join_eui ? 0
                                          : cli_usage("--join-eui", "takes 16 hexadecimal digits");
    case 'p':
        return hex_decode(optarg, strlen(optarg), ret->defaults.profile_id,
                   sizeof(ret->defaults.profile_id))
                   ? 0
                   : cli_usage("--profile-id", "takes 8 hexadecimal digits");
    default:
        return CLI_USAGE;
    }
}

static int run(const struct option *table, int argc, char **argv,
    int (*make)(struct label_input *input, struct text *out), struct text *out)
{
    CLEANUP(input_done) struct label_input input = {0};
    struct label_options options = {.layout = label_layout_at(0), .line = 1};
    int c, r;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1)
        if ((r = read_option(c, &options)) != 0)
            return r;
    if (optind != argc)
        return CLI_USAGE;
    if ((r = input_open(&options, &input)) < 0 || (r = make(&input, out)) < 0)
        secret_wipe(out->data, out->len);
    return r;
}

#define OF_ALL                                                                                     \
    {"join-eui", required_argument, NULL, 'j'},                                                    \
    {                                                                                              \
        "profile-id", required_argument, NULL, 'p'                                                 \
    }

int cli_label_csv(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {OF_ALL, {0}};

    (void)settings;
    return run(table, argc, argv, make_csv, out);
}

int cli_label_svg(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {OF_ALL, {"line", required_argument, NULL, 'l'}, {0}};

    (void)settings;
    return run(table, argc, argv, make_svg, out);
}

int cli_label_sheet(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    static const struct option table[] = {OF_ALL, {"line", required_argument, NULL, 'l'},
        {"layout", required_argument, NULL, 'a'}, {0}};

    (void)settings;
    return run(table, argc, argv, make_sheet, out);
}
