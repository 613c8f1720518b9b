#include "activation/import_parse.h"

#include "base/error.h"
#include <csv.h>
#include <inttypes.h>
#include <string.h>

#define COLUMNS_MAX                                                                                \
    64 /* fields of a header line: The Things Stack has 26, names may not repeat                   \
        */
#define BUFFER_STEP 4096
#define NAME_SHOWN_MAX 24 /* letters of an unknown column's name */

struct import_table {
    struct import_reading *reading;
    struct csv_parser parser;
    bool wants_header, knows_delimiter;
    enum import_column map[COLUMNS_MAX];
    size_t n_columns;
    size_t field;        /* of the present row, from 0 */
    uint64_t field_line; /* where the present field begins */
    bool row_ended;      /* since the physical line began */
    bool row_open;       /* the row goes on in the next line */
};

int import_table_new(struct import_reading *reading, struct import_table **ret)
{
    const struct import_rules *rules = reading->rules;
    struct import_table *table = secret_realloc(NULL, sizeof(*table));

    if (table == NULL)
        return error_set(ERROR_SYSTEM, "out of memory for reading a file");
    *table = (struct import_table){.reading = reading, .wants_header = rules->has_header};
    if (csv_init(&table->parser, CSV_STRICT | CSV_STRICT_FINI | CSV_REPALL_NL) != 0) {
        secret_free(table);
        return error_set(ERROR_INTERNAL, "the CSV parser does not start");
    }
    /* Fields pass through the parser's buffer: it is wiped whenever it moves or goes. */
    csv_set_realloc_func(&table->parser, secret_realloc);
    csv_set_free_func(&table->parser, secret_free);
    csv_set_blk_size(&table->parser, BUFFER_STEP);
    csv_set_delim(&table->parser, (unsigned char)rules->delimiter);
    table->knows_delimiter = !rules->finds_delimiter;
    if (!rules->has_header) {
        memcpy(table->map, rules->places, rules->n_columns * sizeof(*rules->places));
        table->n_columns = rules->n_columns;
    }
    *ret = table;
    return 0;
}

void import_table_free(struct import_table *table)
{
    if (table == NULL)
        return;
    csv_free(&table->parser);
    secret_free(table);
}

/* A header line that is missing leaves EUIs, keys and codes in its place: only what cannot be one,
 * a short word with hardly a digit, is said again. */
static bool may_be_shown(const char *name, size_t len)
{
    bool only_hex = true;

    for (size_t i = 0; i < len; i++) {
        char lower = (char)(name[i] | 0x20);

        if (name[i] != '_' && (lower < 'a' || lower > 'z'))
            return false;
        only_hex = only_hex && lower >= 'a' && lower <= 'f';
    }
    return len > 0 && len <= NAME_SHOWN_MAX && !only_hex;
}

static void break_unknown(struct import_table *table, const char *name, size_t len)
{
    struct import_reading *reading = table->reading;
    const struct import_rules *rules = reading->rules;
    char known[IMPORT_FAULT_MAX];
    size_t at = 0;

    for (size_t i = 0; i < rules->n_columns && at < sizeof(known); i++)
        at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s",
            i == 0                      ? ""
            : i + 1 == rules->n_columns ? " and "
                                        : ", ",
            rules->names[i].text);
    if (may_be_shown(name, len))
        import_reading_break(reading, "line %" PRIu64 ", column %zu, \"%.*s\": not one of %s",
            reading->line, table->field + 1, (int)len, name, known);
    else
        import_reading_break(reading, "line %" PRIu64 ", column %zu: not one of %s", reading->line,
            table->field + 1, known);
}

static bool has_column(const struct import_table *table, enum import_column column)
{
    for (size_t i = 0; i < table->n_columns; i++)
        if (table->map[i] == column)
            return true;
    return false;
}

static void read_name(struct import_table *table, const char *name, size_t len)
{
    struct import_reading *reading = table->reading;
    enum import_column column = import_rules_find(reading->rules, name, len);

    if (column == IMPORT_COLUMN_IGNORED && !reading->rules->ignores_unknown) {
        break_unknown(table, name, len);
    } else if (table->n_columns == COLUMNS_MAX) {
        import_reading_break(reading, "line %" PRIu64 ": there are more than %d columns",
            reading->line, COLUMNS_MAX);
    } else if (column != IMPORT_COLUMN_IGNORED && has_column(table, column)) {
        import_reading_break(reading, "line %" PRIu64 ", column %zu: %s is there twice",
            reading->line, table->field + 1, import_column_name(column));
    } else {
        table->map[table->n_columns++] = column;
    }
}

static void check_header(struct import_table *table)
{
    struct import_reading *reading = table->reading;
    const char *missing = NULL;
    bool has_key = false;

    for (unsigned i = IMPORT_COLUMN_APP_KEY; i <= IMPORT_COLUMN_NWK_KEY_SEALED; i++)
        has_key = has_key || has_column(table, (enum import_column)i);
    if (!has_column(table, IMPORT_COLUMN_DEV_EUI))
        missing = import_column_name(IMPORT_COLUMN_DEV_EUI);
    else if (!has_column(table, IMPORT_COLUMN_JOIN_EUI))
        missing = import_column_name(IMPORT_COLUMN_JOIN_EUI);
    else if (!has_key)
        missing = import_column_name(IMPORT_COLUMN_APP_KEY);
    else if (!has_column(table, IMPORT_COLUMN_MAC_VERSION) && !reading->defaults.has_mac_version)
        missing = import_column_name(IMPORT_COLUMN_MAC_VERSION);
    if (missing != NULL)
        import_reading_break(
            reading, "line %" PRIu64 ": there is no column %s", reading->row_line, missing);
    table->wants_header = false;
    table->knows_delimiter = true;
}

static void on_field(void *data, size_t len, void *context)
{
    struct import_table *table = context;
    struct import_reading *reading = table->reading;

    if (reading->result != IMPORT_OK)
        return;
    if (table->wants_header) {
        read_name(table, data, len);
    } else {
        if (table->field == 0)
            import_draft_begin(&reading->draft, reading->row_line);
        if (table->field < table->n_columns)
            import_draft_field(&reading->draft, table->map[table->field], IMPORT_TEXT, data, len);
    }
    table->field++;
    table->field_line = reading->line;
}

static void on_row(int terminator, void *context)
{
    struct import_table *table = context;
    struct import_reading *reading = table->reading;

    (void)terminator;
    table->row_ended = true;
    if (reading->result != IMPORT_OK || table->field == 0)
        return; /* an empty line, or the LF of a CRLF */
    if (table->wants_header) {
        check_header(table);
    } else {
        if ((reading->rules->has_header || reading->rules->has_all_columns) &&
            table->field != table->n_columns)
            import_row_add_lint(&reading->draft.row, IMPORT_LINT_FIELD_COUNT);
        import_reading_give(reading);
    }
    table->field = 0;
}

static void parse(struct import_table *table, const char *bytes, size_t len)
{
    struct import_reading *reading = table->reading;

    if (reading->result != IMPORT_OK || len == 0 ||
        csv_parse(&table->parser, bytes, len, on_field, on_row, table) == len)
        return;
    if (csv_error(&table->parser) == CSV_ENOMEM)
        reading->result = error_set(ERROR_SYSTEM, "out of memory for a field of a file");
    else
        import_reading_break(
            reading, "line %" PRIu64 ": a quote stands where none may be", reading->line);
}

/* No name holds either of them, so the first one is what separates the names. */
static size_t find_delimiter(struct import_table *table, const char *bytes, size_t len)
{
    size_t at = 0;

    while (at < len && bytes[at] != ';' && bytes[at] != ',')
        at++;
    parse(table, bytes, at);
    if (at < len) {
        csv_set_delim(&table->parser, (unsigned char)bytes[at]);
        table->knows_delimiter = true;
    }
    return at;
}

void import_table_feed(struct import_table *table, const char *bytes, size_t len, bool ends_line)
{
    struct import_reading *reading = table->reading;
    size_t at = 0;

    if (!table->row_open && table->field == 0)
        table->field_line = reading->row_line;
    if (!table->knows_delimiter)
        at = find_delimiter(table, bytes, len);
    parse(table, bytes + at, len - at);
    if (!ends_line || reading->result != IMPORT_OK)
        return;
    table->row_open = !table->row_ended;
    table->row_ended = false;
    if (table->row_open && table->parser.entry_pos > IMPORT_FIELD_MAX)
        import_reading_break(reading,
            "line %" PRIu64 ": a quoted field has no end, or is longer than %d bytes",
            table->field_line, IMPORT_FIELD_MAX);
}

void import_table_end(struct import_table *table)
{
    struct import_reading *reading = table->reading;

    if (reading->result == IMPORT_OK && csv_fini(&table->parser, on_field, on_row, table) != 0)
        import_reading_break(
            reading, "line %" PRIu64 ": a quoted field has no end", table->field_line);
}

bool import_table_in_row(const struct import_table *table)
{
    return table->row_open;
}
