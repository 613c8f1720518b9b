#include "activation/import_csv.h"

#include "base/error.h"
#include "base/hex.h"
#include <csv.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define COLUMNS_MAX 64 /* fields of a header line; names may not repeat, so far fewer are sane */
#define VERSION_TEXT_MAX 8

static const char byte_order_mark[] = "\xEF\xBB\xBF";

static const char *const format_names[] = {
    [IMPORT_THINGPARK_CSV] = "thingpark-csv",
    [IMPORT_CSV] = "csv",
};

enum column {
    COLUMN_IGNORED,
    COLUMN_DIRECTIVE,
    COLUMN_DEV_EUI,
    COLUMN_JOIN_EUI,
    COLUMN_APP_KEY,
    COLUMN_NWK_KEY,
    COLUMN_MAC_VERSION,
    COLUMN_HOME_NET_ID,
    COLUMN_AS_ID,
    N_COLUMNS
};

static enum import_fault read_directive(struct import_row *row, const char *text, size_t len);
static enum import_fault read_dev_eui(struct import_row *row, const char *text, size_t len);
static enum import_fault read_join_eui(struct import_row *row, const char *text, size_t len);
static enum import_fault read_app_key(struct import_row *row, const char *text, size_t len);
static enum import_fault read_nwk_key(struct import_row *row, const char *text, size_t len);
static enum import_fault read_mac_version(struct import_row *row, const char *text, size_t len);
static enum import_fault read_home_net_id(struct import_row *row, const char *text, size_t len);
static enum import_fault read_as_id(struct import_row *row, const char *text, size_t len);

/* An empty field is an absent one, except where `reads_empty` says that it is a fault itself. */
static const struct {
    const char *name; /* in the header line of "csv"; NULL: not there */
    enum import_fault (*read)(struct import_row *row, const char *text, size_t len);
    bool reads_empty;
} columns[N_COLUMNS] = {
    [COLUMN_DIRECTIVE] = {NULL, read_directive, true},
    [COLUMN_DEV_EUI] = {"dev_eui", read_dev_eui, false},
    [COLUMN_JOIN_EUI] = {"join_eui", read_join_eui, false},
    [COLUMN_APP_KEY] = {"app_key", read_app_key, false},
    [COLUMN_NWK_KEY] = {"nwk_key", read_nwk_key, false},
    [COLUMN_MAC_VERSION] = {"mac_version", read_mac_version, false},
    [COLUMN_HOME_NET_ID] = {"home_net_id", read_home_net_id, false},
    [COLUMN_AS_ID] = {"as_id", read_as_id, false},
};

static const enum column thingpark_columns[] = {COLUMN_DIRECTIVE, COLUMN_DEV_EUI, COLUMN_IGNORED,
    COLUMN_IGNORED, COLUMN_JOIN_EUI, COLUMN_APP_KEY};

struct reading {
    const struct import_defaults *defaults;
    struct import_file *file;
    char *fault;       /* of the file; "" while there is none */
    int result;        /* enum import_outcome, or negative */
    bool wants_header; /* the next row is the header line */
    bool strict_width; /* more fields than columns are a fault of the row */
    enum column map[COLUMNS_MAX];
    size_t n_columns;
    size_t field;           /* of the present row, from 0 */
    struct import_row *row; /* the present data row, once its first field was seen */
    unsigned line;          /* physical, being read */
    unsigned row_line;      /* where the present row began */
    bool row_ended;         /* since the physical line began */
};

bool import_format_parse(const char *text, enum import_format *ret)
{
    for (size_t i = 0; i < sizeof(format_names) / sizeof(format_names[0]); i++)
        if (strcmp(format_names[i], text) == 0) {
            *ret = (enum import_format)i;
            return true;
        }
    return false;
}

const char *import_format_text(enum import_format format)
{
    return format_names[format];
}

static enum import_fault read_directive(struct import_row *row, const char *text, size_t len)
{
    static const char create[] = "CREATE_OTAA";

    (void)row;
    return len == sizeof(create) - 1 && memcmp(text, create, len) == 0 ? IMPORT_FAULT_NONE
                                                                       : IMPORT_FAULT_DIRECTIVE;
}

static enum import_fault read_dev_eui(struct import_row *row, const char *text, size_t len)
{
    row->has_dev_eui = eui64_parse(text, len, &row->dev_eui);
    return row->has_dev_eui ? IMPORT_FAULT_NONE : IMPORT_FAULT_DEV_EUI;
}

static enum import_fault read_join_eui(struct import_row *row, const char *text, size_t len)
{
    row->has_join_eui = eui64_parse(text, len, &row->join_eui);
    return row->has_join_eui ? IMPORT_FAULT_NONE : IMPORT_FAULT_JOIN_EUI;
}

static enum import_fault read_app_key(struct import_row *row, const char *text, size_t len)
{
    row->has_app = hex_decode_spelled(text, len, row->app.bytes, sizeof(row->app.bytes));
    return row->has_app ? IMPORT_FAULT_NONE : IMPORT_FAULT_APP_KEY;
}

static enum import_fault read_nwk_key(struct import_row *row, const char *text, size_t len)
{
    row->has_nwk = hex_decode_spelled(text, len, row->nwk.bytes, sizeof(row->nwk.bytes));
    return row->has_nwk ? IMPORT_FAULT_NONE : IMPORT_FAULT_NWK_KEY;
}

static enum import_fault read_mac_version(struct import_row *row, const char *text, size_t len)
{
    char version[VERSION_TEXT_MAX + 1];

    if (len > VERSION_TEXT_MAX)
        return IMPORT_FAULT_MAC_VERSION;
    memcpy(version, text, len);
    version[len] = '\0';
    row->has_mac_version = lw_mac_version_parse(version, &row->mac_version);
    return row->has_mac_version ? IMPORT_FAULT_NONE : IMPORT_FAULT_MAC_VERSION;
}

static enum import_fault read_home_net_id(struct import_row *row, const char *text, size_t len)
{
    row->has_home_net_id = net_id_parse(text, len, &row->home_net_id);
    return row->has_home_net_id ? IMPORT_FAULT_NONE : IMPORT_FAULT_HOME_NET_ID;
}

static enum import_fault read_as_id(struct import_row *row, const char *text, size_t len)
{
    if (!import_id_valid(text, len))
        return IMPORT_FAULT_AS_ID;
    memcpy(row->as_id, text, len);
    row->as_id[len] = '\0';
    return IMPORT_FAULT_NONE;
}

static void PRINTF_LIKE(2, 3) break_file(struct reading *reading, const char *fmt, ...)
{
    va_list args;

    if (reading->result != IMPORT_OK)
        return;
    va_start(args, fmt);
    (void)vsnprintf(reading->fault, IMPORT_FILE_FAULT_MAX, fmt, args);
    va_end(args);
    reading->result = IMPORT_BROKEN;
}

/* A column is named by its place: what stands there may be anything, also a key. */
static void read_header_field(struct reading *reading, const char *text, size_t len)
{
    enum column found = COLUMN_IGNORED;

    for (size_t i = 0; i < N_COLUMNS; i++)
        if (columns[i].name != NULL && strlen(columns[i].name) == len &&
            strncasecmp(columns[i].name, text, len) == 0)
            found = (enum column)i;
    if (found == COLUMN_IGNORED || reading->n_columns == COLUMNS_MAX) {
        break_file(reading,
            "line %u, column %zu: not one of dev_eui, join_eui, app_key, nwk_key, mac_version, "
            "home_net_id and as_id",
            reading->line, reading->field + 1);
        return;
    }
    for (size_t i = 0; i < reading->n_columns; i++)
        if (reading->map[i] == found) {
            break_file(
                reading, "line %u: column %s is there twice", reading->line, columns[found].name);
            return;
        }
    reading->map[reading->n_columns++] = found;
}

static bool has_column(const struct reading *reading, enum column column)
{
    for (size_t i = 0; i < reading->n_columns; i++)
        if (reading->map[i] == column)
            return true;
    return false;
}

static void check_header(struct reading *reading)
{
    const char *missing = NULL;

    if (!has_column(reading, COLUMN_DEV_EUI))
        missing = "dev_eui";
    else if (!has_column(reading, COLUMN_JOIN_EUI))
        missing = "join_eui";
    else if (!has_column(reading, COLUMN_APP_KEY) && !has_column(reading, COLUMN_NWK_KEY))
        missing = "app_key";
    else if (!has_column(reading, COLUMN_MAC_VERSION) && !reading->defaults->has_mac_version)
        missing = "mac_version";
    if (missing != NULL)
        break_file(reading, "line %u: there is no column %s", reading->row_line, missing);
    reading->wants_header = false;
}

static void set_fault(struct import_row *row, enum import_fault fault)
{
    if (row->fault == IMPORT_FAULT_NONE)
        row->fault = fault;
}

static void read_data_field(struct reading *reading, const char *text, size_t len)
{
    enum column column = COLUMN_IGNORED;

    if (reading->row == NULL) {
        if (reading->file->n_rows == IMPORT_ROWS_MAX) {
            reading->result = IMPORT_TOO_MANY;
            return;
        }
        reading->row = import_file_add(reading->file, reading->row_line);
        if (reading->row == NULL) {
            reading->result = error_set(ERROR_SYSTEM, "out of memory for the rows of a file");
            return;
        }
    }
    if (reading->field < reading->n_columns)
        column = reading->map[reading->field];
    else if (reading->strict_width)
        set_fault(reading->row, IMPORT_FAULT_FIELDS);
    if (columns[column].read != NULL && (len > 0 || columns[column].reads_empty))
        set_fault(reading->row, columns[column].read(reading->row, text, len));
}

static void on_field(void *data, size_t len, void *context)
{
    struct reading *reading = context;

    if (reading->result != IMPORT_OK)
        return;
    if (reading->wants_header)
        read_header_field(reading, data, len);
    else
        read_data_field(reading, data, len);
    reading->field++;
}

/* LoRaWAN 1.1 6.1.1: NwkKey and AppKey; 1.0.x has one root key, under either name in files. */
static enum import_fault settle_keys(struct import_row *row)
{
    if (!row->has_app && !row->has_nwk)
        return IMPORT_FAULT_NO_KEY;
    if (row->mac_version == LW_MAC_1_1) {
        if (!row->has_app)
            return IMPORT_FAULT_NO_APP_KEY;
        return row->has_nwk ? IMPORT_FAULT_NONE : IMPORT_FAULT_NO_NWK_KEY;
    }
    if (row->has_app && row->has_nwk)
        return IMPORT_FAULT_TWO_KEYS;
    if (row->has_nwk) {
        row->app = row->nwk;
        row->has_app = true;
        row->has_nwk = false;
        secret_key_wipe(&row->nwk);
    }
    return IMPORT_FAULT_NONE;
}

static enum import_fault settle_row(struct import_row *row, const struct import_defaults *defaults)
{
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
    if (!row->has_dev_eui)
        return IMPORT_FAULT_NO_DEV_EUI;
    if (!row->has_join_eui)
        return IMPORT_FAULT_NO_JOIN_EUI;
    if (!row->has_mac_version)
        return IMPORT_FAULT_NO_MAC_VERSION;
    if (row->has_home_net_id && row->as_id[0] == '\0')
        return IMPORT_FAULT_NO_AS_ID;
    if (!row->has_home_net_id && row->as_id[0] != '\0')
        return IMPORT_FAULT_NO_HOME_NET_ID;
    return settle_keys(row);
}

static void on_row(int terminator, void *context)
{
    struct reading *reading = context;

    (void)terminator;
    reading->row_ended = true;
    if (reading->result != IMPORT_OK || reading->field == 0)
        return; /* an empty line, or the LF of a CRLF */
    if (reading->wants_header)
        check_header(reading);
    else if (reading->row->fault == IMPORT_FAULT_NONE)
        set_fault(reading->row, settle_row(reading->row, reading->defaults));
    reading->field = 0;
    reading->row = NULL;
}

/* The length of the physical line at `text`, with its terminator. */
static size_t line_len(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n')
            return i + 1;
        if (text[i] == '\r')
            return i + 1 < len && text[i + 1] == '\n' ? i + 2 : i + 1;
    }
    return len;
}

/* Line by line, so that every row and every fault has a line number: the parser gives none. */
static int read_lines(
    struct reading *reading, struct csv_parser *parser, const char *body, size_t len)
{
    bool row_open = false;

    for (size_t at = 0; at < len && reading->result == IMPORT_OK;) {
        size_t n = line_len(body + at, len - at);
        const char *line = body + at;

        at += n;
        reading->line++;
        if (n > IMPORT_LINE_MAX) {
            break_file(reading, "line %u is longer than %d bytes", reading->line, IMPORT_LINE_MAX);
            break;
        }
        if (!row_open) {
            reading->row_line = reading->line;
            if (line[0] == '#')
                continue;
        }
        reading->row_ended = false;
        if (csv_parse(parser, line, n, on_field, on_row, reading) != n) {
            if (csv_error(parser) == CSV_ENOMEM)
                return error_set(ERROR_SYSTEM, "out of memory for a field of a file");
            break_file(reading, "line %u: a quote stands where none may be", reading->line);
            break;
        }
        row_open = !reading->row_ended;
        if (row_open && parser->entry_pos > IMPORT_FIELD_MAX)
            break_file(reading, "line %u: a field is longer than %d bytes", reading->row_line,
                IMPORT_FIELD_MAX);
    }
    if (reading->result == IMPORT_OK && csv_fini(parser, on_field, on_row, reading) != 0)
        break_file(reading, "line %u: a quoted field has no end", reading->row_line);
    return reading->result;
}

int import_csv_read(enum import_format format, const char *body, size_t len,
    const struct import_defaults *defaults, struct import_file *ret,
    char fault[static IMPORT_FILE_FAULT_MAX])
{
    const size_t bom_len = sizeof(byte_order_mark) - 1;
    bool has_bom = len >= bom_len && memcmp(body, byte_order_mark, bom_len) == 0;
    struct reading reading = {.defaults = defaults, .file = ret, .fault = fault};
    struct csv_parser parser;
    int r;

    fault[0] = '\0';
    *ret = (struct import_file){0};
    if (format == IMPORT_CSV) {
        reading.wants_header = true;
        reading.strict_width = true;
    } else {
        memcpy(reading.map, thingpark_columns, sizeof(thingpark_columns));
        reading.n_columns = sizeof(thingpark_columns) / sizeof(thingpark_columns[0]);
    }
    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_REPALL_NL) != 0)
        return error_set(ERROR_INTERNAL, "the CSV parser does not start");
    /* Fields pass through the parser's buffer: it is wiped whenever it moves or goes. */
    csv_set_realloc_func(&parser, secret_realloc);
    csv_set_free_func(&parser, secret_free);
    r = has_bom ? read_lines(&reading, &parser, body + bom_len, len - bom_len)
                : read_lines(&reading, &parser, body, len);
    csv_free(&parser);
    if (r != IMPORT_OK)
        return r;
    if (ret->n_rows == 0)
        return IMPORT_EMPTY;
    if (has_bom)
        ret->rows[0].warnings |= 1u << IMPORT_WARN_BOM;
    return IMPORT_OK;
}
