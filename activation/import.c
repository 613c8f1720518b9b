#include "activation/import.h"

#include "activation/call.h"
#include "activation/import_check.h"
#include "activation/import_csv.h"
#include "activation/import_report.h"
#include "activation/import_store.h"
#include "base/error.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DETAIL_MAX 256

struct import {
    enum import_format format;
    struct import_defaults defaults;
    struct import_file file;
    struct db_directory directory;
    enum import_result *results;
};

static void import_done(struct import *import)
{
    import_file_done(&import->file);
    db_directory_done(&import->directory);
    free(import->results);
}

static const char *const known_queries[] = {"format", "mac_version", "home_net_id", "as_id"};
#define N_KNOWN_QUERIES (sizeof(known_queries) / sizeof(known_queries[0]))

/* NULL when the query is complete, else what is wrong with it. */
static const char *read_query(const struct api_request *request, struct import *import)
{
    const char *format = api_request_query(request, "format");
    const char *version = api_request_query(request, "mac_version");
    const char *home = api_request_query(request, "home_net_id");
    const char *as_id = api_request_query(request, "as_id");
    struct import_defaults *defaults = &import->defaults;

    if (api_request_unknown_query(request, known_queries, N_KNOWN_QUERIES) != NULL)
        return "the query may have format, mac_version, home_net_id and as_id, and nothing else";
    if (format == NULL || !import_format_parse(format, &import->format))
        return "format must be thingpark-csv or csv";
    if (version != NULL && !lw_mac_version_parse(version, &defaults->mac_version))
        return "mac_version must be 1.0.0, 1.0.1, 1.0.2, 1.0.3, 1.0.4 or 1.1";
    defaults->has_mac_version = version != NULL;
    if (version == NULL && import->format == IMPORT_THINGPARK_CSV)
        return "mac_version is missing: the file does not say it";
    if ((home == NULL) != (as_id == NULL))
        return "home_net_id and as_id go together: give both or neither";
    if (home == NULL)
        return NULL;
    if (!net_id_parse(home, strlen(home), &defaults->home_net_id))
        return "home_net_id must be 6 hexadecimal digits";
    defaults->has_home_net_id = true;
    if (!import_id_valid(as_id, strlen(as_id)))
        return "as_id must be 1 to 64 printable characters without blank, quote and backslash";
    (void)snprintf(defaults->as_id, sizeof(defaults->as_id), "%s", as_id);
    return NULL;
}

static const char *check_query(const struct import *import)
{
    const struct import_defaults *defaults = &import->defaults;

    if (!defaults->has_home_net_id)
        return NULL;
    if (!import_home_known(&import->directory, &defaults->home_net_id))
        return "home_net_id: no network server here speaks for this NetID";
    if (!import_as_known(&import->directory, defaults->as_id))
        return "as_id: no application server here has this AS-ID";
    return NULL;
}

static unsigned fail(struct act_call *call, int code, size_t n_created)
{
    char detail[DETAIL_MAX];

    log_error("request=%s import failed after created=%zu: %s: %s", api_request_id(call->request),
        n_created, error_name(code), error_text());
    (void)snprintf(detail, sizeof(detail),
        "%zu rows%s were created before the service failed. Repeating the same request is safe: "
        "rows that are here already are answered \"exists\"",
        n_created, code == ERROR_DB_UNKNOWN ? " or more" : "");
    return act_call_problem(call, PROBLEM_UNAVAILABLE, detail);
}

/* Reads the body into rows. Returns 0, or the status of the answer it gave. */
static unsigned read_file(struct act_call *call, struct import *import)
{
    char fault[IMPORT_FILE_FAULT_MAX];
    char detail[DETAIL_MAX];
    size_t len;
    const char *body = api_request_body(call->request, &len);
    int r = import_csv_read(import->format, body, len, &import->defaults, &import->file, fault);

    switch (r) {
    case IMPORT_OK:
        return 0;
    case IMPORT_BROKEN:
        return act_call_problem(call, PROBLEM_BAD_REQUEST, fault);
    case IMPORT_TOO_MANY:
        (void)snprintf(detail, sizeof(detail),
            "a file may have %d rows; nothing of this one was imported", IMPORT_ROWS_MAX);
        return act_call_problem(call, PROBLEM_BODY_TOO_LARGE, detail);
    case IMPORT_EMPTY:
        return act_call_problem(call, PROBLEM_BAD_REQUEST, "the file has no row of a device");
    default:
        return fail(call, r, 0);
    }
}

static void count(struct act_metrics *metrics, const struct import *import)
{
    static const enum act_import_counter counters[N_IMPORT_RESULTS] = {
        [IMPORT_REFUSED] = COUNT_REFUSED,
        [IMPORT_CREATED] = COUNT_CREATED,
        [IMPORT_EXISTS] = COUNT_EXISTS,
    };

    for (size_t i = 0; i < import->file.n_rows; i++)
        metric_add(&metrics->imports[counters[import->results[i]]], 1);
}

unsigned act_post_import(struct act_call *call)
{
    struct act_worker *worker = call->worker;
    const struct act_caller *caller = call->caller;
    CLEANUP(import_done) struct import import = {0};
    CLEANUP(text_done) struct text report = {0};
    const char *complaint = read_query(call->request, &import);
    size_t n_created = 0;
    unsigned status;
    int r;

    if (complaint != NULL)
        return act_call_problem(call, PROBLEM_BAD_REQUEST, complaint);
    if ((r = db_directory_load(worker->db, &import.directory)) < 0)
        return fail(call, r, 0);
    if ((complaint = check_query(&import)) != NULL)
        return act_call_problem(call, PROBLEM_BAD_REQUEST, complaint);
    if ((status = read_file(call, &import)) != 0)
        return status;
    if ((r = import_check(&import.file, &import.directory)) < 0)
        return fail(call, r, 0);
    /* Zero is "refused": what the rows with a fault stay. */
    import.results = calloc(import.file.n_rows, sizeof(*import.results));
    if (import.results == NULL)
        return fail(call, error_set(ERROR_SYSTEM, "out of memory for the outcomes"), 0);
    r = import_store(worker, caller, import_format_text(import.format), &import.file,
        import.results, &n_created);
    if (r < 0)
        return fail(call, r, n_created);
    count(&worker->service->metrics, &import);
    log_info("request=%s organization=%" PRId64 " import rows=%zu created=%zu",
        api_request_id(call->request), caller->organization_id, import.file.n_rows, n_created);
    import_report_write(&import.file, import.results, &report);
    return act_call_answer(call, 200, TYPE_NDJSON, &report);
}

static const struct act_route routes[] = {
    {.method = API_POST,
        .path = "/v1/batches/import",
        .right = RIGHT_IMPORT,
        .body_max = IMPORT_BODY_MAX,
        .work = act_post_import,
        .is_long = true},
};

const struct act_area act_area_imports = ACT_AREA(routes);
