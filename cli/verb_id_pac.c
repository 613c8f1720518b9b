/* cradle id-pac: the list of what was built, and which lines of it were refused. */
#include "base/error.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/rest.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CERTIFICATES "/v1/certificates"

static const char *const outcomes[] = {"activable", "exists", "refused"};
#define N_OUTCOMES (sizeof(outcomes) / sizeof(outcomes[0]))
#define REFUSED (N_OUTCOMES - 1)

static void close_file(FILE **file)
{
    if (*file != NULL)
        (void)fclose(*file);
}

/* The refused lines as they were answered, and behind them how many there are of each. */
static int sum_up(FILE *answer, struct text *out)
{
    CLEANUP(cleanup_free) char *line = NULL;
    uint64_t counts[N_OUTCOMES] = {0};
    size_t size = 0;
    ssize_t len;

    rewind(answer);
    while ((len = getline(&line, &size, answer)) > 0) {
        CLEANUP(cli_json_done)
        json_t *row = json_loadb(line, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
        const char *outcome = cli_json_text(row, "outcome");
        size_t i = 0;

        while (i < N_OUTCOMES && strcmp(outcomes[i], outcome) != 0)
            i++;
        if (i == N_OUTCOMES)
            return error_set(ERROR_INPUT, "the activation service answers a line without outcome");
        counts[i]++;
        if (i == REFUSED)
            text_add_len(out, line, (size_t)len);
    }
    if (ferror(answer) != 0)
        return error_set(ERROR_SYSTEM, "the answer cannot be read again");
    for (size_t i = 0; i < N_OUTCOMES; i++)
        text_addf(out, "%s\"%s\":%" PRIu64, i == 0 ? "{" : ",", outcomes[i], counts[i]);
    text_add(out, "}\n");
    return 0;
}

int cli_id_pac(const struct cli_settings *settings, int argc, char **argv, struct text *out)
{
    CLEANUP(cli_rest_done) struct cli_rest rest = {0};
    CLEANUP(text_done) struct text path = {0};
    CLEANUP(close_file) FILE *list = NULL;
    CLEANUP(close_file) FILE *answer = NULL;
    int r;

    if (argc != 3)
        return CLI_USAGE;
    if ((list = fopen(argv[2], "re")) == NULL)
        return error_set(ERROR_INPUT, "%s: %s", argv[2], strerror(errno));
    (void)setvbuf(list, NULL, _IONBF, 0); /* no copy of a PAC stays in a buffer */
    if ((answer = tmpfile()) == NULL)
        return error_set_errno("cannot make a temporary file in " P_tmpdir);
    if ((r = cli_rest_path(&path, CERTIFICATES, argv[1])) < 0 ||
        (r = cli_rest_open(settings, &rest)) < 0)
        return r;
    text_add(&path, "/id-pac");
    if (path.failed)
        return error_set(ERROR_SYSTEM, "out of memory");
    r = cli_rest_upload(&rest, path.data, "text/plain", list, answer);
    if (ferror(list) != 0)
        return error_set(ERROR_INPUT, "%s cannot be read", argv[2]);
    return r < 0 ? r : sum_up(answer, out);
}
