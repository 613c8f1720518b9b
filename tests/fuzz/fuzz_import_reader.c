/* Import files in pieces: any cutting gives the same rows, lints and fault as the whole. The first
 * byte chooses the format and what the request says, the second how the file is cut and how large a
 * chunk is; the rest is the file. */
#include "activation/import_reader.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define CHOICE_FORMAT 0x03
#define CHOICE_VERSION 0x04
#define CHOICE_1_1 0x08
#define CHOICE_HOME 0x10
#define CHOICE_RESUME 0x20
#define CHOICE_SIGFOX 0x40 /* whatever CHOICE_FORMAT says */
#define RESUME_LINE 3
#define CHUNK_ROWS_MAX 4
#define PIECE_MAX 17
#define FNV_BASIS UINT64_C(14695981039346656037)
#define FNV_PRIME UINT64_C(1099511628211)

/* All that came of a reading. */
struct result {
    uint64_t hash; /* of the rows */
    uint64_t last_line, n_given;
    /* The last row up to RESUME_LINE, where each chunk has one row; 0: there is none. */
    uint64_t resume_line, n_before;
    uint8_t resume_digest[DIGEST_LEN];
    int outcome;
    char fault[IMPORT_FAULT_MAX];
};

static void add(struct result *result, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++)
        result->hash = (result->hash ^ bytes[i]) * FNV_PRIME;
}

static void add_text(struct result *result, const char *text, size_t size)
{
    FUZZ_HOLDS(memchr(text, '\0', size) != NULL);
    add(result, text, strlen(text) + 1);
}

static void add_key(struct result *result, const struct import_key *key)
{
    static const size_t lens[] = {0, AES_KEY_LEN, IMPORT_WRAPPED_LEN, KEYD_OAEP_LEN};

    FUZZ_HOLDS(key->form <= IMPORT_KEY_SEALED);
    add(result, &key->form, sizeof(key->form));
    add(result, key->sealed, lens[key->form]);
}

static void check_good(const struct import_row *row)
{
    FUZZ_HOLDS(row->state == CREDENTIAL_PERSONALIZED || row->state == CREDENTIAL_ACTIVABLE);
    if (row->is_sigfox) {
        FUZZ_HOLDS(row->has_dev_eui && device_id_is_sigfox(&row->dev_eui));
        FUZZ_HOLDS(row->app.form != IMPORT_KEY_NONE && row->nwk.form == IMPORT_KEY_NONE);
        FUZZ_HOLDS(!row->has_join_eui && !row->has_mac_version && !row->has_home_net_id);
        FUZZ_HOLDS(row->as_id[0] == '\0' && !row->has_join_nonce && !row->has_dev_nonce);
        FUZZ_HOLDS(row->n_used_dev_nonces == 0);
        return;
    }
    FUZZ_HOLDS(row->has_dev_eui && row->has_join_eui && row->has_mac_version);
    FUZZ_HOLDS(row->app.form != IMPORT_KEY_NONE);
    FUZZ_HOLDS((row->nwk.form != IMPORT_KEY_NONE) == (row->mac_version == LW_MAC_1_1));
    FUZZ_HOLDS(row->has_home_net_id == (row->as_id[0] != '\0'));
    FUZZ_HOLDS(row->join_nonce <= LW_JOIN_NONCE_MAX);
    for (uint32_t i = 1; i < row->n_used_dev_nonces; i++)
        FUZZ_HOLDS(row->used_dev_nonces[i - 1] < row->used_dev_nonces[i]);
}

static void add_row(struct result *result, struct import_row *row)
{
    const uint8_t flags[] = {row->has_dev_eui, row->has_join_eui, row->has_mac_version,
        row->has_home_net_id, row->has_join_nonce, row->has_dev_nonce, (uint8_t)row->mac_version,
        (uint8_t)row->state, row->is_sigfox};

    FUZZ_HOLDS(row->line > result->last_line);
    FUZZ_HOLDS(row->lints >> N_IMPORT_LINTS == 0);
    if (!import_row_refused(row))
        check_good(row);
    import_lint_row(row, NULL, NULL);
    result->last_line = row->line;
    result->n_given++;
    add(result, &row->line, sizeof(row->line));
    add(result, &row->lints, sizeof(row->lints));
    add(result, flags, sizeof(flags));
    add(result, &row->dev_eui, sizeof(row->dev_eui));
    add(result, &row->join_eui, sizeof(row->join_eui));
    add_key(result, &row->app);
    add_key(result, &row->nwk);
    add(result, &row->home_net_id, sizeof(row->home_net_id));
    add_text(result, row->as_id, sizeof(row->as_id));
    add_text(result, row->code, sizeof(row->code));
    add_text(result, row->serial, sizeof(row->serial));
    add_text(result, row->name, sizeof(row->name));
    add(result, &row->join_nonce, sizeof(row->join_nonce));
    add(result, &row->dev_nonce, sizeof(row->dev_nonce));
    add(result, row->used_dev_nonces, row->n_used_dev_nonces * sizeof(*row->used_dev_nonces));
}

static void take_chunk(struct result *result, struct import_chunk *chunk)
{
    FUZZ_HOLDS(chunk->n_rows <= chunk->n_full && chunk->n_nonces <= IMPORT_CHUNK_NONCES);
    for (size_t i = 0; i < chunk->n_rows; i++)
        add_row(result, &chunk->rows[i]);
    if (chunk->n_rows == 1 && result->last_line <= RESUME_LINE) {
        result->resume_line = result->last_line;
        result->n_before = result->n_given;
        memcpy(result->resume_digest, chunk->digest, sizeof(result->resume_digest));
    }
    import_chunk_clear(chunk);
}

/* A piece is a block of its own, so that a sanitizer sees one byte too far. */
static int feed_piece(struct import_reader *reader, struct import_chunk *chunk,
    struct result *result, const uint8_t *bytes, size_t len)
{
    uint8_t *exact = malloc(len > 0 ? len : 1);
    size_t at = 0, n;
    int r;

    FUZZ_HOLDS(exact != NULL);
    memcpy(exact, bytes, len);
    do {
        r = import_reader_feed(reader, exact + at, len - at, chunk, &n);
        FUZZ_HOLDS(n <= len - at);
        at += n;
        if (r == IMPORT_FULL)
            take_chunk(result, chunk);
    } while (r == IMPORT_FULL);
    FUZZ_HOLDS(r == IMPORT_BROKEN || r == IMPORT_DIFFERS || (r == IMPORT_OK && at == len));
    free(exact);
    return r;
}

/* seed 0: whole. */
static void read_file(uint8_t choice, size_t capacity, unsigned seed, const struct result *before,
    const uint8_t *data, size_t size, struct result *result)
{
    static struct import_chunk chunk; /* allocated once: its nonces are large */
    struct import_defaults defaults = {
        .mac_version = LW_MAC_1_0_3, .state = CREDENTIAL_PERSONALIZED};
    struct import_reader *reader = NULL;

    *result = (struct result){.hash = FNV_BASIS};
    defaults.has_mac_version = (choice & CHOICE_VERSION) != 0;
    if ((choice & CHOICE_1_1) != 0)
        defaults.mac_version = LW_MAC_1_1;
    defaults.has_home_net_id = (choice & CHOICE_HOME) != 0;
    if (defaults.has_home_net_id)
        defaults.as_id[0] = 'a';
    if (chunk.rows == NULL)
        FUZZ_HOLDS(import_chunk_init(&chunk, CHUNK_ROWS_MAX) == 0);
    chunk.n_full = capacity;
    FUZZ_HOLDS(import_reader_new(
                   (choice & CHOICE_SIGFOX) != 0 ? IMPORT_SIGFOX_CSV : choice & CHOICE_FORMAT,
                   &defaults, &reader) == 0);
    import_reader_resume_after(reader, before->resume_line, before->resume_digest);
    for (size_t at = 0, n; result->outcome == IMPORT_OK && at < size; at += n) {
        n = seed == 0 ? size : (unsigned)rand_r(&seed) % PIECE_MAX;
        n = n < size - at ? n : size - at;
        result->outcome = feed_piece(reader, &chunk, result, data + at, n);
    }
    while (result->outcome == IMPORT_OK || result->outcome == IMPORT_FULL) {
        result->outcome = import_reader_end(reader, &chunk);
        take_chunk(result, &chunk);
        if (result->outcome == IMPORT_OK)
            break;
    }
    take_chunk(result, &chunk);
    FUZZ_HOLDS(result->outcome >= 0);
    FUZZ_HOLDS(result->last_line <= import_reader_line(reader));
    FUZZ_HOLDS(result->n_given <= import_reader_rows(reader));
    memcpy(result->fault, import_reader_fault(reader), sizeof(result->fault));
    FUZZ_HOLDS(memchr(result->fault, '\0', sizeof(result->fault)) != NULL);
    FUZZ_HOLDS((result->outcome == IMPORT_BROKEN) == (result->fault[0] != '\0'));
    import_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result before = {0}, single, whole, cut;

    if (size < 2)
        return 0;
    if ((data[0] & CHOICE_RESUME) != 0) {
        read_file(data[0], 1, 0, &before, data + 2, size - 2, &single);
        before = single;
    }
    read_file(data[0], CHUNK_ROWS_MAX, 0, &before, data + 2, size - 2, &whole);
    read_file(
        data[0], 1 + data[1] % CHUNK_ROWS_MAX, 1u + data[1], &before, data + 2, size - 2, &cut);
    FUZZ_HOLDS(whole.outcome != IMPORT_DIFFERS); /* it is the same file */
    FUZZ_HOLDS(
        (data[0] & CHOICE_RESUME) == 0 ||
        (whole.outcome == single.outcome && whole.n_given == single.n_given - single.n_before));
    FUZZ_HOLDS(whole.outcome == cut.outcome);
    FUZZ_HOLDS(whole.hash == cut.hash && whole.n_given == cut.n_given);
    FUZZ_HOLDS(strcmp(whole.fault, cut.fault) == 0);
    return 0;
}
