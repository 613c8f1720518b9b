/* Lists of what was built, in pieces: any cutting gives the same lines and the same fault as the
 * whole. The first byte says how the list is cut; the rest is the list. */
#include "activation/id_pac_reader.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define LINES_KEPT 256

struct result {
    struct id_pac_line lines[LINES_KEPT];
    size_t n;
    enum id_pac_reading outcome;
    char fault[ID_PAC_FAULT_MAX];
};

static void take(struct result *result, struct id_pac_chunk *chunk)
{
    FUZZ_HOLDS(chunk->n <= ID_PAC_CHUNK_LINES);
    for (size_t i = 0; i < chunk->n; i++) {
        const struct id_pac_line *line = &chunk->lines[i];

        FUZZ_HOLDS((line->fault == ID_PAC_LINE_GOOD) == (line->code[0] != '\0'));
        FUZZ_HOLDS(memchr(line->code, '\0', sizeof(line->code)) != NULL);
        if (result->n < LINES_KEPT)
            result->lines[result->n++] = *line;
    }
    chunk->n = 0;
}

/* A piece is a block of its own, so that a sanitizer sees one byte too far, and one too late. */
static void read_list(const uint8_t *data, size_t size, size_t piece, struct result *result)
{
    static struct id_pac_chunk chunk; /* a line is written whole: what was there does not matter */
    struct id_pac_reader *reader = NULL;
    uint32_t last = 0;

    result->n = 0;
    result->outcome = ID_PAC_READ;
    chunk.n = 0;
    FUZZ_HOLDS(id_pac_reader_new(&reader) == 0);
    for (size_t at = 0; at < size && result->outcome != ID_PAC_BROKEN;) {
        size_t len = size - at < piece ? size - at : piece, n;
        char *exact = malloc(len);

        FUZZ_HOLDS(exact != NULL);
        memcpy(exact, data + at, len);
        result->outcome = id_pac_reader_feed(reader, exact, len, &chunk, &n);
        free(exact);
        FUZZ_HOLDS(n <= len && n > 0 && (n == len || result->outcome != ID_PAC_READ));
        at += n;
        take(result, &chunk);
    }
    if (result->outcome != ID_PAC_BROKEN)
        result->outcome = id_pac_reader_end(reader, &chunk);
    take(result, &chunk);
    memcpy(result->fault, id_pac_reader_fault(reader), sizeof(result->fault));
    FUZZ_HOLDS((result->fault[0] != '\0') == (result->outcome == ID_PAC_BROKEN));
    for (size_t i = 0; i < result->n; i++) {
        FUZZ_HOLDS(result->lines[i].number > last);
        last = result->lines[i].number;
    }
    id_pac_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct result whole, cut;

    if (size == 0)
        return 0;
    read_list(data + 1, size - 1, size, &whole);
    read_list(data + 1, size - 1, (size_t)data[0] % 32 + 1, &cut);
    FUZZ_HOLDS(whole.n == cut.n && strcmp(whole.fault, cut.fault) == 0);
    for (size_t i = 0; i < whole.n; i++)
        FUZZ_HOLDS(whole.lines[i].number == cut.lines[i].number &&
                   whole.lines[i].fault == cut.lines[i].fault &&
                   memcmp(&whole.lines[i].dev_eui, &cut.lines[i].dev_eui,
                       sizeof(whole.lines[i].dev_eui)) == 0 &&
                   strcmp(whole.lines[i].code, cut.lines[i].code) == 0);
    return 0;
}
