#include "activation/import_draft.h"

#include "activation/import_text.h"
#include "base/hex.h"
#include "device/tr005.h"
#include <string.h>
#include <strings.h>

#define WORD_BITS 64u
#define DEV_NONCE_MAX (IMPORT_DEV_NONCES - 1)
#define NONCE_SEPARATORS " \t,;|"

struct column;
typedef bool column_reader(
    struct import_draft *draft, const struct column *column, const char *text, size_t len);

static column_reader read_directive, read_tag, read_sigfox_id, read_pac, read_dev_eui,
    read_join_eui, read_key, read_mac_version, read_home_net_id, read_as_id, read_code, read_serial,
    read_name, read_join_nonce, read_dev_nonce, read_used_dev_nonces, read_state;

/* `kinds` is what the column takes besides a text. A number would lose the zeros that an EUI or a
 * key begins with. */
static const struct column {
    const char *name;
    column_reader *read; /* false: `fault` */
    enum import_lint fault;
    unsigned kinds;
    enum import_key_form form; /* of read_key */
    bool is_nwk;
    bool of_sigfox; /* of files that have Sigfox devices alone */
} columns[N_IMPORT_COLUMNS] = {
    [IMPORT_COLUMN_DIRECTIVE] = {NULL, read_directive, IMPORT_LINT_UNKNOWN_DIRECTIVE},
    [IMPORT_COLUMN_TAG] = {NULL, read_tag, IMPORT_LINT_BAD_TAG},
    [IMPORT_COLUMN_SIGFOX_ID] = {NULL, read_sigfox_id, IMPORT_LINT_BAD_SIGFOX_ID,
        .of_sigfox = true},
    [IMPORT_COLUMN_PAC] = {NULL, read_pac, IMPORT_LINT_BAD_PAC, .of_sigfox = true},
    [IMPORT_COLUMN_DEV_EUI] = {"dev_eui", read_dev_eui, IMPORT_LINT_BAD_DEV_EUI},
    [IMPORT_COLUMN_JOIN_EUI] = {"join_eui", read_join_eui, IMPORT_LINT_BAD_JOIN_EUI},
    [IMPORT_COLUMN_APP_KEY] = {"app_key", read_key, IMPORT_LINT_BAD_APP_KEY, 0, IMPORT_KEY_CLEAR,
        false},
    [IMPORT_COLUMN_NWK_KEY] = {"nwk_key", read_key, IMPORT_LINT_BAD_NWK_KEY, 0, IMPORT_KEY_CLEAR,
        true},
    [IMPORT_COLUMN_APP_KEY_WRAPPED] = {"app_key_wrapped", read_key, IMPORT_LINT_BAD_APP_KEY, 0,
        IMPORT_KEY_WRAPPED, false},
    [IMPORT_COLUMN_NWK_KEY_WRAPPED] = {"nwk_key_wrapped", read_key, IMPORT_LINT_BAD_NWK_KEY, 0,
        IMPORT_KEY_WRAPPED, true},
    [IMPORT_COLUMN_APP_KEY_SEALED] = {"app_key_sealed", read_key, IMPORT_LINT_BAD_APP_KEY, 0,
        IMPORT_KEY_SEALED, false},
    [IMPORT_COLUMN_NWK_KEY_SEALED] = {"nwk_key_sealed", read_key, IMPORT_LINT_BAD_NWK_KEY, 0,
        IMPORT_KEY_SEALED, true},
    [IMPORT_COLUMN_MAC_VERSION] = {"mac_version", read_mac_version, IMPORT_LINT_BAD_MAC_VERSION},
    [IMPORT_COLUMN_HOME_NET_ID] = {"home_net_id", read_home_net_id, IMPORT_LINT_BAD_HOME_NET_ID},
    [IMPORT_COLUMN_AS_ID] = {"as_id", read_as_id, IMPORT_LINT_BAD_AS_ID},
    [IMPORT_COLUMN_CODE] = {"code", read_code, IMPORT_LINT_BAD_CODE},
    [IMPORT_COLUMN_SERIAL] = {"serial", read_serial, IMPORT_LINT_BAD_SERIAL},
    [IMPORT_COLUMN_NAME] = {"name", read_name, IMPORT_LINT_NAME_CUT, 1u << IMPORT_NUMBER},
    [IMPORT_COLUMN_JOIN_NONCE] = {"join_nonce", read_join_nonce, IMPORT_LINT_BAD_JOIN_NONCE,
        1u << IMPORT_NUMBER},
    [IMPORT_COLUMN_DEV_NONCE] = {"dev_nonce", read_dev_nonce, IMPORT_LINT_BAD_DEV_NONCE,
        1u << IMPORT_NUMBER},
    [IMPORT_COLUMN_USED_DEV_NONCES] = {"used_dev_nonces", read_used_dev_nonces,
        IMPORT_LINT_BAD_USED_DEV_NONCES, 1u << IMPORT_NUMBER | 1u << IMPORT_LIST},
    [IMPORT_COLUMN_STATE] = {"state", read_state, IMPORT_LINT_BAD_STATE},
};

const char *import_column_name(enum import_column column)
{
    return columns[column].name;
}

void import_draft_begin(struct import_draft *draft, uint64_t line)
{
    secret_wipe(&draft->row, sizeof(draft->row));
    draft->row.line = line;
    if (draft->has_used)
        memset(draft->used, 0, sizeof(draft->used));
    draft->has_used = false;
}

struct pac {
    uint8_t bytes[8];
};

static void pac_wipe(struct pac *pac)
{
    secret_wipe(pac, sizeof(*pac));
}

static bool read_directive(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    static const char create[] = "CREATE_OTAA";

    (void)draft, (void)column;
    return len == sizeof(create) - 1 && memcmp(text, create, len) == 0;
}

static bool read_dev_eui(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    (void)column;
    draft->row.is_sigfox = device_id_says_sigfox(text, len);
    draft->row.has_dev_eui = device_id_parse(text, len, &draft->row.dev_eui);
    if (draft->row.is_sigfox && !draft->row.has_dev_eui) {
        import_row_add_lint(&draft->row, IMPORT_LINT_BAD_SIGFOX_ID);
        return true;
    }
    return draft->row.has_dev_eui;
}

static bool read_sigfox_id(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    struct eui64 id = {{0}};
    size_t at = sizeof(id.bytes) - SIGFOX_ID_LEN;

    (void)column;
    draft->row.has_dev_eui =
        len == 2 * (size_t)SIGFOX_ID_LEN && hex_decode(text, len, id.bytes + at, SIGFOX_ID_LEN);
    draft->row.dev_eui = id;
    return draft->row.has_dev_eui;
}

/* As it is printed; it is the device's claim code. */
static bool read_pac(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    CLEANUP(pac_wipe) struct pac pac;

    (void)column;
    return len == 2 * sizeof(pac.bytes) && hex_decode(text, len, pac.bytes, sizeof(pac.bytes)) &&
           device_code_parse(text, len, draft->row.code);
}

/* The tag may have said it already. */
static bool read_join_eui(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    struct import_row *row = &draft->row;
    struct eui64 join_eui;

    (void)column;
    if (!eui64_parse(text, len, &join_eui))
        return false;
    if (row->has_join_eui && memcmp(&row->join_eui, &join_eui, sizeof(join_eui)) != 0)
        import_row_add_lint(row, IMPORT_LINT_TAG_DIFFERS);
    row->join_eui = join_eui;
    row->has_join_eui = true;
    return true;
}

static bool read_tag(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    static const enum import_lint lints[N_TR005_OUTCOMES] = {
        [TR005_DOUBLED_TAG] = IMPORT_LINT_BAD_TAG,
        [TR005_CHECKSUM] = IMPORT_LINT_BROKEN_CHECKSUM,
        [TR005_TOKEN] = IMPORT_LINT_BAD_CODE,
        [TR005_SERIAL] = IMPORT_LINT_BAD_SERIAL,
    };
    struct import_row *row = &draft->row;
    CLEANUP(tr005_wipe) struct tr005 tag;
    enum tr005_outcome outcome = tr005_parse(text, len, &tag);

    (void)column;
    if (outcome == TR005_NO_TAG) {
        import_draft_field(draft, IMPORT_COLUMN_DEV_EUI, IMPORT_TEXT, text, len);
        return true;
    }
    if (outcome != TR005_OK && outcome < TR005_DOUBLED_TAG)
        return false;
    if (outcome != TR005_OK)
        import_row_add_lint(row, lints[outcome]);
    row->dev_eui = tag.dev_eui;
    row->join_eui = tag.join_eui;
    row->has_dev_eui = row->has_join_eui = true;
    import_draft_field(draft, IMPORT_COLUMN_CODE, IMPORT_TEXT, tag.token, strlen(tag.token));
    import_draft_field(draft, IMPORT_COLUMN_SERIAL, IMPORT_TEXT, tag.serial, strlen(tag.serial));
    return true;
}

static bool read_key(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    struct import_row *row = &draft->row;
    struct import_key *key = column->is_nwk ? &row->nwk : &row->app;
    bool good = false;

    if (key->form != IMPORT_KEY_NONE) {
        import_row_add_lint(row, IMPORT_LINT_TWO_KEY_FORMS);
        return true;
    }
    if (column->form == IMPORT_KEY_CLEAR)
        good = hex_decode_spelled(text, len, key->clear.bytes, sizeof(key->clear.bytes));
    else if (column->form == IMPORT_KEY_WRAPPED)
        good = import_blob_parse(text, len, key->wrapped, sizeof(key->wrapped));
    else
        good = import_blob_parse(text, len, key->sealed, sizeof(key->sealed));
    key->form = good ? column->form : IMPORT_KEY_NONE;
    return good;
}

static bool read_mac_version(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    (void)column;
    draft->row.has_mac_version = import_version_parse(text, len, &draft->row.mac_version);
    return draft->row.has_mac_version;
}

static bool read_home_net_id(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    (void)column;
    draft->row.has_home_net_id = net_id_parse(text, len, &draft->row.home_net_id);
    return draft->row.has_home_net_id;
}

static bool read_as_id(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    (void)column;
    if (!import_id_valid(text, len))
        return false;
    memcpy(draft->row.as_id, text, len);
    draft->row.as_id[len] = '\0';
    return true;
}

static bool read_code(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    (void)column;
    return device_code_parse(text, len, draft->row.code);
}

static bool read_serial(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    (void)column;
    if (len > IMPORT_SERIAL_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    memcpy(draft->row.serial, text, len);
    draft->row.serial[len] = '\0';
    return true;
}

/* Cut between characters: the bytes of one that begin with binary 10 go with those before them. */
static bool read_name(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    size_t n = len;

    (void)column;
    if (len > IMPORT_NAME_MAX)
        for (n = IMPORT_NAME_MAX; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80; n--)
            ;
    memcpy(draft->row.name, text, n);
    draft->row.name[n] = '\0';
    return n == len;
}

static bool read_join_nonce(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    (void)column;
    draft->row.has_join_nonce =
        import_number_parse(text, len, LW_JOIN_NONCE_MAX, &draft->row.join_nonce);
    return draft->row.has_join_nonce;
}

static bool read_dev_nonce(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    uint32_t nonce = 0;

    (void)column;
    draft->row.has_dev_nonce = import_number_parse(text, len, DEV_NONCE_MAX, &nonce);
    draft->row.dev_nonce = (uint16_t)nonce;
    return draft->row.has_dev_nonce;
}

static void add_used(struct import_draft *draft, uint32_t first, uint32_t last)
{
    draft->has_used = true;
    for (uint32_t word = first / WORD_BITS; word <= last / WORD_BITS; word++) {
        uint64_t bits = UINT64_MAX;

        if (word == first / WORD_BITS)
            bits &= UINT64_MAX << first % WORD_BITS;
        if (word == last / WORD_BITS)
            bits &= UINT64_MAX >> (WORD_BITS - 1 - last % WORD_BITS);
        draft->used[word] |= bits;
    }
}

/* Ranges could be written to overlap many times over: each nonce of the list costs at most one. */
static bool read_range(struct import_draft *draft, const char *text, size_t len, size_t *budget)
{
    const char *dash = memchr(text, '-', len);
    size_t first_len = dash != NULL ? (size_t)(dash - text) : len;
    uint32_t first, last;

    if (!import_number_parse(text, first_len, DEV_NONCE_MAX, &first))
        return false;
    last = first;
    if (dash != NULL && !import_number_parse(dash + 1, len - first_len - 1, DEV_NONCE_MAX, &last))
        return false;
    if (last < first || last - first >= *budget)
        return false;
    *budget -= last - first + 1;
    add_used(draft, first, last);
    return true;
}

static bool read_used_dev_nonces(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    size_t budget = IMPORT_DEV_NONCES;

    (void)column;
    for (size_t at = 0, end; at < len; at = end) {
        while (at < len && strchr(NONCE_SEPARATORS, text[at]) != NULL)
            at++;
        for (end = at; end < len && strchr(NONCE_SEPARATORS, text[end]) == NULL;)
            end++;
        if (end > at && !read_range(draft, text + at, end - at, &budget))
            return false;
    }
    return true;
}

static bool read_state(
    struct import_draft *draft, const struct column *column, const char *text, size_t len)
{
    static const enum device_credential states[] = {CREDENTIAL_PERSONALIZED, CREDENTIAL_ACTIVABLE};

    (void)column;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        const char *name = device_credential_text(states[i]);

        if (strlen(name) == len && strncasecmp(name, text, len) == 0) {
            draft->row.state = states[i];
            return true;
        }
    }
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

void import_draft_field(struct import_draft *draft, enum import_column index, enum import_kind kind,
    const char *text, size_t len)
{
    const struct column *column = &columns[index];

    while (len > 0 && is_blank(text[len - 1]))
        len--;
    while (len > 0 && is_blank(*text)) {
        text++;
        len--;
    }
    draft->row.is_sigfox |= column->of_sigfox; /* also where it is empty */
    if (column->read == NULL || (len == 0 && index != IMPORT_COLUMN_DIRECTIVE))
        return;
    if ((kind != IMPORT_TEXT && (column->kinds & 1u << kind) == 0) ||
        !column->read(draft, column, text, len))
        import_row_add_lint(&draft->row, column->fault);
}

static bool has_used(const struct import_draft *draft, uint32_t nonce)
{
    return (draft->used[nonce / WORD_BITS] >> nonce % WORD_BITS & 1) != 0;
}

static void settle_nonces(struct import_draft *draft)
{
    struct import_row *row = &draft->row;

    if (row->mac_version < LW_MAC_1_0_4) {
        if (row->has_dev_nonce)
            add_used(draft, row->dev_nonce, row->dev_nonce);
        return;
    }
    for (uint32_t nonce = IMPORT_DEV_NONCES; draft->has_used && !row->has_dev_nonce && nonce > 0;
         nonce--)
        if (has_used(draft, nonce - 1)) {
            row->dev_nonce = (uint16_t)(nonce - 1);
            row->has_dev_nonce = true;
        }
}

/* LoRaWAN 1.1 6.1.1: NwkKey and AppKey; 1.0.x has one root key, under either name in files. */
static void settle_keys(struct import_row *row, bool app_key_wins)
{
    bool has_app = row->app.form != IMPORT_KEY_NONE;
    bool has_nwk = row->nwk.form != IMPORT_KEY_NONE;

    if (!has_app && !has_nwk) {
        import_row_add_lint(row, IMPORT_LINT_MISSING_KEY);
    } else if (row->mac_version == LW_MAC_1_1) {
        if (!has_app)
            import_row_add_lint(row, IMPORT_LINT_MISSING_APP_KEY);
        if (!has_nwk)
            import_row_add_lint(row, IMPORT_LINT_MISSING_NWK_KEY);
    } else if (has_nwk) {
        if (!has_app)
            row->app = row->nwk;
        else
            import_row_add_lint(
                row, app_key_wins ? IMPORT_LINT_NWK_KEY_UNUSED : IMPORT_LINT_TWO_ROOT_KEYS);
        secret_wipe(&row->nwk, sizeof(row->nwk));
    }
}

/* What the file says of all its devices where they join is not of these. */
static void settle_sigfox(struct import_draft *draft)
{
    struct import_row *row = &draft->row;

    if (!row->has_dev_eui)
        import_row_add_lint(row, IMPORT_LINT_BAD_SIGFOX_ID);
    if (row->app.form == IMPORT_KEY_NONE)
        import_row_add_lint(row, IMPORT_LINT_MISSING_KEY);
    if (row->has_join_eui || row->has_mac_version || row->has_home_net_id ||
        row->as_id[0] != '\0' || row->nwk.form != IMPORT_KEY_NONE || row->has_join_nonce ||
        row->has_dev_nonce || draft->has_used)
        import_row_add_lint(row, IMPORT_LINT_LORAWAN_FIELD);
}

void import_draft_settle(
    struct import_draft *draft, const struct import_defaults *defaults, bool app_key_wins)
{
    struct import_row *row = &draft->row;
    bool unread = import_row_refused(row);

    if (row->state != CREDENTIAL_PERSONALIZED && row->state != CREDENTIAL_ACTIVABLE)
        row->state = defaults->state;
    if (row->is_sigfox) {
        if (!unread)
            settle_sigfox(draft);
        return;
    }
    if (!row->has_mac_version && defaults->has_mac_version) {
        row->mac_version = defaults->mac_version;
        row->has_mac_version = true;
    }
    if (!row->has_home_net_id && defaults->has_home_net_id) {
        row->home_net_id = defaults->home_net_id;
        row->has_home_net_id = true;
    }
    if (row->as_id[0] == '\0')
        memcpy(row->as_id, defaults->as_id, sizeof(row->as_id));
    if (unread)
        return; /* what could not be read is not also missing */
    if (!row->has_dev_eui)
        import_row_add_lint(row, IMPORT_LINT_MISSING_DEV_EUI);
    if (!row->has_join_eui)
        import_row_add_lint(row, IMPORT_LINT_MISSING_JOIN_EUI);
    if (row->has_home_net_id && row->as_id[0] == '\0')
        import_row_add_lint(row, IMPORT_LINT_MISSING_AS_ID);
    if (!row->has_home_net_id && row->as_id[0] != '\0')
        import_row_add_lint(row, IMPORT_LINT_MISSING_HOME_NET_ID);
    if (!row->has_mac_version) {
        import_row_add_lint(row, IMPORT_LINT_MISSING_MAC_VERSION);
        return;
    }
    settle_keys(row, app_key_wins);
    settle_nonces(draft);
}

void import_draft_give(struct import_draft *draft, struct import_chunk *chunk)
{
    struct import_row *row = &chunk->rows[chunk->n_rows++];
    uint16_t *nonces = chunk->nonces + chunk->n_nonces;
    uint32_t n = 0;

    for (uint32_t word = 0; draft->has_used && word < IMPORT_NONCE_WORDS; word++)
        for (uint64_t bits = draft->used[word]; bits != 0; bits &= bits - 1)
            nonces[n++] = (uint16_t)(word * WORD_BITS + (uint32_t)__builtin_ctzll(bits));
    *row = draft->row;
    row->used_dev_nonces = n > 0 ? nonces : NULL;
    row->n_used_dev_nonces = n;
    chunk->n_nonces += n;
    secret_wipe(&draft->row, sizeof(draft->row));
}
